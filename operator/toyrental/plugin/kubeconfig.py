"""Where the API server is, and who asks: what kubectl would take from the same kubeconfig.

Libraries that read a kubeconfig bring an HTTP stack with them that takes longer to load than the
whole command may take (docs/decisions/plugin.md).
"""

import base64
import json
import os
import subprocess
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

import yaml

Json = dict[str, Any]
Headers = tuple[tuple[str, str], ...]

IN_POD = Path("/var/run/secrets/kubernetes.io/serviceaccount")
CREDENTIAL_API = "client.authentication.k8s.io"
EXEC_SECONDS = 300
"""How long a credential plugin may take: it may ask a person to sign in."""


class NoAccess(Exception):
    """There is no way to an API server; `str()` says what to do."""


class Wanted(NamedTuple):
    """What the flags say; the rest is the kubeconfig's."""

    kubeconfig: str | None = None
    context: str | None = None
    namespace: str | None = None
    user: str | None = None
    groups: tuple[str, ...] = ()


@dataclass(frozen=True)
class Access:
    """An API server, and the credentials for it. Certificates and keys are PEM."""

    server: str
    namespace: str
    context: str = ""
    ca: str = ""
    insecure: bool = False
    server_name: str = ""
    proxy: str = ""
    certificate: str = field(default="", repr=False)
    key: str = field(default="", repr=False)
    headers: Headers = field(default=(), repr=False)


def find(wanted: Wanted) -> Access:
    """Return the way to the API server that the flags and the kubeconfig name.

    The kubeconfig is that of --kubeconfig, else those of $KUBECONFIG, else ~/.kube/config; without
    any, in a pod, its service account. Raises NoAccess.
    """
    files = _files(wanted.kubeconfig)
    config = _merged(files, must_exist=wanted.kubeconfig is not None)
    if not config["clusters"] and IN_POD.exists():
        return _of_the_pod(wanted)
    name = wanted.context or config["current-context"]
    if not name:
        raise NoAccess(
            f"no cluster is chosen in {_named(files)};"
            " choose one by --context, or name another file by --kubeconfig or $KUBECONFIG"
        )
    context = _entry(config, "contexts", name, "--context")
    cluster = _entry(config, "clusters", context.get("cluster", ""), f"context {name}")
    user = _entry(config, "users", context["user"], f"context {name}") if "user" in context else {}
    if not cluster.get("server"):
        raise NoAccess(f"the cluster of context {name} has no server in {_named(files)}")
    access = Access(
        server=cluster["server"].rstrip("/"),
        namespace=wanted.namespace or context.get("namespace") or "default",
        context=name,
        ca=_pem(cluster, "certificate-authority"),
        insecure=bool(cluster.get("insecure-skip-tls-verify")),
        server_name=cluster.get("tls-server-name") or "",
        proxy=cluster.get("proxy-url") or "",
        headers=_impersonation(wanted, user),
    )
    return _signed_in(access, user, cluster)


def contexts(kubeconfig: str | None) -> list[str]:
    """Return the names of all contexts."""
    return list(_merged(_files(kubeconfig), must_exist=False)["contexts"])


def _files(kubeconfig: str | None) -> list[Path]:
    if kubeconfig:
        return [Path(kubeconfig)]
    named = [part for part in os.environ.get("KUBECONFIG", "").split(os.pathsep) if part]
    return [Path(part) for part in named] or [Path.home() / ".kube" / "config"]


def _named(files: list[Path]) -> str:
    missing = "" if any(file.exists() for file in files) else " (which is not there)"
    return "the kubeconfig " + os.pathsep.join(str(file) for file in files) + missing


def _merged(files: list[Path], *, must_exist: bool) -> Json:
    """Return all entries by their names; of two, the first holds, as for kubectl."""
    merged: Json = {"current-context": "", "clusters": {}, "contexts": {}, "users": {}}
    for file in files:
        content = _content(file, must_exist=must_exist)
        merged["current-context"] = merged["current-context"] or content.get("current-context")
        for kind, entry in (("clusters", "cluster"), ("contexts", "context"), ("users", "user")):
            for each in content.get(kind) or ():
                found = (each.get(entry) or {}) | {"~": file.resolve().parent}
                merged[kind].setdefault(each["name"], found)
    return merged


def _content(file: Path, *, must_exist: bool) -> Json:
    try:
        content = yaml.load(file.read_text(), Loader=_LOADER)  # noqa: S506 # a safe one
    except FileNotFoundError:
        if must_exist:
            raise NoAccess(f"there is no kubeconfig {file}; name another by --kubeconfig") from None
        return {}
    except (OSError, UnicodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise NoAccess(f"the kubeconfig {file} cannot be read: {why}") from error
    except yaml.YAMLError as error:
        why = " ".join(str(error).split())
        raise NoAccess(f"the kubeconfig {file} is no YAML: {why}") from error
    if not _is_kubeconfig(content):
        raise NoAccess(f"{file} is no kubeconfig: it should list clusters, contexts and users")
    return content or {}


_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _is_kubeconfig(content: object) -> bool:
    if content is None:
        return True
    return isinstance(content, dict) and all(
        isinstance(each, dict) and "name" in each
        for kind in ("clusters", "contexts", "users")
        for each in content.get(kind) or ()
    )


def _entry(config: Json, kind: str, name: str, whose: str) -> Json:
    entries: Json = config[kind]
    if name in entries:
        entry: Json = entries[name]
        return entry
    near = get_close_matches(name, entries, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(entries) or 'none'}"
    raise NoAccess(f"{whose}: the kubeconfig has no {kind[:-1]} named {name}; {hint}")


def _pem(entry: Json, name: str) -> str:
    """Return what is written in the kubeconfig, or in the file that it names."""
    if data := entry.get(f"{name}-data"):
        try:
            return base64.b64decode(data, validate=True).decode()
        except ValueError as error:
            raise NoAccess(f"{name}-data in the kubeconfig is not base64 of a PEM file") from error
    if path := entry.get(name):
        return _read(entry["~"] / path, name)
    return ""


def _read(path: Path, what: str) -> str:
    try:
        return path.read_text()
    except OSError as error:
        raise NoAccess(f"{what} {path} cannot be read: {error.strerror}") from error


def _impersonation(wanted: Wanted, user: Json) -> Headers:
    """Return who to act as: by the flags, else by the kubeconfig."""
    name, groups = wanted.user or user.get("as"), wanted.groups or user.get("as-groups") or ()
    if groups and not name:
        raise NoAccess("--as-group needs --as, which says who is to be in the group")
    found = (("Impersonate-User", name),) if name else ()
    return found + tuple(("Impersonate-Group", group) for group in groups)


def _signed_in(access: Access, user: Json, cluster: Json) -> Access:
    """Return the access with the user's credentials, the first kind that is there."""
    certificate, key = _pem(user, "client-certificate"), _pem(user, "client-key")
    if certificate:
        access = replace(access, certificate=certificate, key=key)
    if path := user.get("tokenFile"):
        return _bearing(access, _read(user["~"] / path, "tokenFile").strip())
    if token := user.get("token"):
        return _bearing(access, token)
    if user.get("username"):
        both = f"{user['username']}:{user.get('password') or ''}".encode()
        return _authorized(access, f"Basic {base64.b64encode(both).decode()}")
    if plugin := user.get("exec"):
        return _by_plugin(access, plugin, cluster, user["~"])
    if provider := user.get("auth-provider"):
        raise NoAccess(
            f"auth-provider {provider.get('name', '')} is not supported;"
            " use a credential plugin (exec) such as kubelogin in the kubeconfig"
        )
    return access


def _bearing(access: Access, token: str) -> Access:
    return _authorized(access, f"Bearer {token}")


def _authorized(access: Access, value: str) -> Access:
    return replace(access, headers=(*access.headers, ("Authorization", value)))


def _of_the_pod(wanted: Wanted) -> Access:
    host = os.environ.get("KUBERNETES_SERVICE_HOST", "")
    host = f"[{host}]" if ":" in host else host
    namespace = _read(IN_POD / "namespace", "the pod's namespace").strip()
    access = Access(
        server=f"https://{host}:{os.environ.get('KUBERNETES_SERVICE_PORT', '443')}",
        namespace=wanted.namespace or namespace,
        context="(the pod's own)",
        ca=_read(IN_POD / "ca.crt", "the pod's certificate authority"),
        headers=_impersonation(wanted, {}),
    )
    return _bearing(access, _read(IN_POD / "token", "the pod's token").strip())


def _by_plugin(access: Access, plugin: Json, cluster: Json, directory: Path) -> Access:
    """Have a credential plugin sign in (client.authentication.k8s.io)."""
    command = plugin.get("command") or ""
    program = str(directory / command) if "/" in command else command  # relative to the file
    variables = {each["name"]: each["value"] for each in plugin.get("env") or ()}
    info = _exec_info(access, plugin, cluster)
    try:
        ended = subprocess.run(  # noqa: S603 # what the person's own kubeconfig says
            [program, *(plugin.get("args") or ())],
            env=os.environ | variables | {"KUBERNETES_EXEC_INFO": json.dumps(info)},
            stdout=subprocess.PIPE,
            stdin=None if info["spec"]["interactive"] else subprocess.DEVNULL,
            timeout=EXEC_SECONDS,
            check=False,
        )
    except OSError as error:
        hint = " ".join(
            (plugin.get("installHint") or "install it, or correct the kubeconfig").split()
        )
        raise NoAccess(f"the credential plugin {command} cannot be run: {hint}") from error
    except subprocess.TimeoutExpired as error:
        raise NoAccess(f"the credential plugin {command} took too long; sign in again") from error
    if ended.returncode != 0:
        raise NoAccess(f"the credential plugin {command} failed with code {ended.returncode}")
    try:
        status = json.loads(ended.stdout)["status"]
        token, certificate = status.get("token"), status.get("clientCertificateData") or ""
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise NoAccess(f"the credential plugin {command} gave no ExecCredential") from error
    if certificate:
        access = replace(access, certificate=certificate, key=status.get("clientKeyData") or "")
    return _bearing(access, token) if token else access


def _exec_info(access: Access, plugin: Json, cluster: Json) -> Json:
    mode = plugin.get("interactiveMode") or "IfAvailable"
    terminal = os.isatty(0)
    if mode == "Always" and not terminal:
        raise NoAccess(f"the credential plugin {plugin.get('command')} needs a terminal to sign in")
    spec: Json = {"interactive": terminal and mode != "Never"}
    if plugin.get("provideClusterInfo"):
        ca = base64.b64encode(access.ca.encode()).decode()
        spec["cluster"] = {"server": access.server, "certificate-authority-data": ca} | {
            name: cluster[name]
            for name in ("tls-server-name", "insecure-skip-tls-verify", "proxy-url")
            if name in cluster
        }
        config = [
            each["extension"]
            for each in cluster.get("extensions") or ()
            if each.get("name") == f"{CREDENTIAL_API}/exec"
        ]
        if config:
            spec["cluster"]["config"] = config[0]
    version = plugin.get("apiVersion") or f"{CREDENTIAL_API}/v1"
    return {"apiVersion": version, "kind": "ExecCredential", "spec": spec}
