"""Kubeconfig files: how a client finds an API server and proves who it is."""

import base64
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from .errors import ClusterError
from .layout import write_private


@dataclass(frozen=True)
class Access:
    """An API server's URL, the file of the CA that signed for it, and a bearer token."""

    server: str
    ca_file: Path
    token: str


def write(path: Path, access: Access, name: str) -> None:
    """Write a kubeconfig with everything in it: it can be copied elsewhere and still works."""
    ca = access.ca_file.read_bytes()
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "clusters": [
            {
                "name": name,
                "cluster": {"server": access.server, "certificate-authority-data": _base64(ca)},
            }
        ],
        "users": [{"name": name, "user": {"token": access.token}}],
        "contexts": [
            {"name": name, "context": {"cluster": name, "user": name, "namespace": "default"}}
        ],
    }
    write_private(path, yaml.safe_dump(content, sort_keys=False).encode())


def add(
    path: Path, users: Mapping[str, object], contexts: Mapping[str, str], namespace: str
) -> None:
    """Add users by their names, and contexts that name one of them each, to what `write` wrote.

    They replace any of the same names. A reader sees the file as it was or as it is, never half of
    it.
    """
    content = yaml.safe_load(path.read_text())
    cluster = content["clusters"][0]["name"]
    _put(content["users"], "user", users)
    ways = {
        name: {"cluster": cluster, "user": user, "namespace": namespace}
        for name, user in contexts.items()
    }
    _put(content["contexts"], "context", ways)
    unfinished = path.with_suffix(".unfinished")
    write_private(unfinished, yaml.safe_dump(content, sort_keys=False).encode())
    unfinished.rename(path)


def server(path: Path) -> str:
    """Return the API server's URL that a kubeconfig's current context names.

    Raises ClusterError when the file cannot be read or names none.
    """
    try:
        content = yaml.safe_load(path.read_text())
        context = _named(content, "contexts", content["current-context"])["context"]
        return str(_named(content, "clusters", context["cluster"])["cluster"]["server"])
    except OSError as error:
        raise ClusterError(f"The kubeconfig {path} cannot be read: {error.strerror}.") from error
    except (KeyError, TypeError, StopIteration, UnicodeError, yaml.YAMLError) as error:
        raise ClusterError(
            f"The kubeconfig {path} does not say which API server to use: "
            "its current-context must name a context whose cluster has a server."
        ) from error


def client(path: Path) -> httpx.Client:
    """Return a client for the API server of a kubeconfig that `write` wrote."""
    try:
        content = yaml.safe_load(path.read_text())
    except OSError as error:
        raise ClusterError(f"The kubeconfig {path} cannot be read: {error.strerror}.") from error
    context = _named(content, "contexts", content["current-context"])["context"]
    cluster = _named(content, "clusters", context["cluster"])["cluster"]
    user = _named(content, "users", context["user"])["user"]
    ca = base64.b64decode(cluster["certificate-authority-data"]).decode()
    return httpx.Client(
        base_url=cluster["server"],
        headers={"Authorization": f"Bearer {user['token']}"},
        verify=ssl.create_default_context(cadata=ca),
        trust_env=False,  # a proxy has no business on loopback
    )


def _put(entries: list[Any], kind: str, new: Mapping[str, object]) -> None:
    entries[:] = [entry for entry in entries if entry["name"] not in new]
    entries += [{"name": name, kind: content} for name, content in new.items()]


def _named(content: Any, section: str, name: str) -> Any:
    return next(entry for entry in content[section] if entry["name"] == name)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
