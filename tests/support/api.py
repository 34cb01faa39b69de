"""The API server as one user sees it, in plain dicts: the official client, made short."""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import yaml
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from kubernetes.dynamic import DynamicClient

from tests.support.waiting import eventually

Json = dict[str, Any]

TIMEOUT_SECONDS = 30


class Refused(Exception):
    """The API server did not do what was asked."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message


def can(verbs: str, resources: str, *names: str) -> Json:
    """Return an RBAC rule: `can("get list", "rentals toys")`, of these names only if any are given.

    The API group is the one that has these resources: ours, or the core for those of Kubernetes.
    """
    plurals = resources.split()
    groups = sorted({_group(plural.partition("/")[0]) for plural in plurals})
    rule: Json = {"apiGroups": groups, "resources": plurals, "verbs": verbs.split()}
    return rule | ({"resourceNames": list(names)} if names else {})


def _group(plural: str) -> str:
    if plural in {"configmaps", "namespaces", "secrets", "serviceaccounts", "users"}:
        return ""
    groups = {
        "events": "events.k8s.io",
        "leases": "coordination.k8s.io",
        "tokenreviews": "authentication.k8s.io",
    }
    return groups.get(plural, "toyrental.dev")


class Api:
    """Requests as one user. Everything the API server refuses raises `Refused`."""

    def __init__(self, kubeconfig: Path, token: str | None = None) -> None:
        """Be the user of the kubeconfig, or whoever the token belongs to."""
        self.kubeconfig = kubeconfig
        self._token = token
        configuration: Any = client.Configuration()
        config.load_kube_config(  # type: ignore[no-untyped-call]
            str(kubeconfig), client_configuration=configuration
        )
        if token is not None:
            configuration.api_key = {"authorization": f"Bearer {token}"}
            configuration.refresh_api_key_hook = None
            configuration.cert_file = configuration.key_file = None
            configuration.username = configuration.password = None
        self._client = client.ApiClient(configuration)
        # What is served is remembered for this very API server: others get its port later.
        self._remembered = tempfile.TemporaryDirectory(prefix="toyrental-discovery-")
        self._dynamic: Any = DynamicClient(  # type: ignore[no-untyped-call]
            self._client, cache_file=f"{self._remembered.name}/discovery.json"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection."""
        self._client.close()  # type: ignore[no-untyped-call]
        self._remembered.cleanup()

    def write_kubeconfig(self, path: Path) -> Path:
        """Write how to reach the API server as this user, for a program; return `path`."""
        content = yaml.safe_load(self.kubeconfig.read_text())
        if self._token is not None:
            for each in content["users"]:
                each["user"] = {"token": self._token}
        path.touch(mode=0o600)
        path.write_text(yaml.safe_dump(content))
        return path

    def create(self, body: Json, namespace: str | None = None, *, dry_run: bool = False) -> Json:
        """Create an object."""
        resource = self._resource(body["kind"], body["apiVersion"])
        return _do(resource.create, body=body, namespace=namespace, **_dry(dry_run))

    def apply(
        self,
        body: Json,
        namespace: str | None = None,
        subresource: str = "",
        *,
        manager: str = "tests",
        force: bool = False,
        dry_run: bool = False,
    ) -> Json:
        """Apply an object on the server, as `kubectl apply --server-side` does."""
        resource = self._resource(body["kind"], body["apiVersion"])
        return _do(
            (getattr(resource, subresource) if subresource else resource).server_side_apply,
            body=body,
            name=body["metadata"]["name"],
            namespace=namespace,
            field_manager=manager,
            force_conflicts=force,
            **_dry(dry_run),
        )

    def update(
        self,
        body: Json,
        namespace: str | None = None,
        subresource: str = "",
        *,
        dry_run: bool = False,
    ) -> Json:
        """Put a whole object in the place of the one that is there, as `kubectl replace` does."""
        resource = self._resource(body["kind"], body["apiVersion"])
        return _do(
            (getattr(resource, subresource) if subresource else resource).replace,
            body=body,
            name=body["metadata"]["name"],
            namespace=namespace,
            **_dry(dry_run),
        )

    def get(self, kind: str, name: str, namespace: str | None = None) -> Json:
        """Return an object as it is now."""
        return _do(self._resource(kind).get, name=name, namespace=namespace)

    def find(
        self, kind: str, namespace: str | None = None, *, labels: str = "", fields: str = ""
    ) -> list[Json]:
        """Return the objects of a kind that match the selectors."""
        found = _do(
            self._resource(kind).get,
            namespace=namespace,
            label_selector=labels or None,
            field_selector=fields or None,
        )
        items: list[Json] = found["items"]
        return items

    def patch(
        self,
        kind: str,
        name: str,
        namespace: str | None,
        change: Json,
        subresource: str = "",
        *,
        dry_run: bool = False,
    ) -> Json:
        """Merge a change into an object."""
        resource = self._resource(kind)
        return _do(
            (getattr(resource, subresource) if subresource else resource).patch,
            name=name,
            namespace=namespace,
            body=change,
            content_type="application/merge-patch+json",
            **_dry(dry_run),
        )

    def delete(
        self, kind: str, name: str, namespace: str | None = None, *, dry_run: bool = False
    ) -> None:
        """Delete an object, with its dependents in the background."""
        _do(
            self._resource(kind).delete,
            name=name,
            namespace=namespace,
            propagation_policy="Background",
            **_dry(dry_run),
        )

    def delete_all(self, kind: str, namespace: str, *, dry_run: bool = False) -> None:
        """Delete all objects of a kind in one request."""
        path = self._resource(kind).path(namespace=namespace)
        _do(self._dynamic.request, "delete", path, **_dry(dry_run))

    def request(self, method: str, path: str, body: Any = None, **more: Any) -> Json:
        """Send any request; `more` is what the client knows, such as `content_type`."""
        return _do(self._dynamic.request, method, path, body=body, **more)

    def may(self, verb: str, resource: str, namespace: str, name: str = "") -> bool:
        """Ask the API server whether this user may do that; `resource` as in `can`."""
        plural, _, subresource = resource.partition("/")
        attributes = {
            "verb": verb,
            "group": _group(plural),
            "resource": plural,
            "subresource": subresource,
            "namespace": namespace,
            "name": name,
        }
        review = self.create(
            {
                "apiVersion": "authorization.k8s.io/v1",
                "kind": "SelfSubjectAccessReview",
                "spec": {"resourceAttributes": attributes},
            }
        )
        return bool(review["status"]["allowed"])

    def who_am_i(self) -> str:
        """Return the name that the API server knows this user by."""
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        answer = self.request("post", "/apis/authentication.k8s.io/v1/selfsubjectreviews", review)
        return str(answer["status"]["userInfo"]["username"])

    def person(self, name: str, namespace: str, *rules: Json, role: str = "") -> "Api":
        """Return the API server as somebody sees who may do nothing but what the rules say.

        That is a service account in the namespace, with a token of its own, bound to a Role of
        these rules and to the ClusterRole `role`, if given. The permissions hold on return.
        """
        if rules:
            self.create({**_rbac("Role", name), "rules": list(rules)}, namespace)
            self.create(_binding(name, namespace, "Role", name), namespace)
        if role:
            self.bind(name, namespace, role, namespace)
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}
        self.create(account, namespace)
        token = self.request(
            "post",
            f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token",
            {
                "apiVersion": "authentication.k8s.io/v1",
                "kind": "TokenRequest",
                "spec": {"expirationSeconds": 3600},
            },
        )
        person = Api(self.kubeconfig, token["status"]["token"])
        eventually(
            lambda: person._holds(namespace, rules, role),
            explain=lambda: f"{name} was not given {rules or role}",
        )
        return person

    def bind(self, account: str, namespace: str, role: str, where: str) -> None:
        """Bind a service account of one namespace to a ClusterRole in another."""
        self.create(_binding(account, namespace, "ClusterRole", role), where)

    def bind_everywhere(self, account: str, namespace: str, role: str) -> None:
        """Bind a service account to a ClusterRole in every namespace."""
        binding = _binding(account, namespace, "ClusterRole", role)
        self.create(binding | {"kind": "ClusterRoleBinding"})

    def _holds(self, namespace: str, rules: tuple[Json, ...], role: str) -> bool:
        """Tell whether the authorizer knows of all this: it learns of bindings by watching."""
        review = self.create(
            {
                "apiVersion": "authorization.k8s.io/v1",
                "kind": "SelfSubjectRulesReview",
                "spec": {"namespace": namespace},
            }
        )
        held = review["status"]["resourceRules"]
        wanted = [rule | {"resourceNames": rule.get("resourceNames", [])} for rule in rules]
        known = [rule | {"resourceNames": rule.get("resourceNames", [])} for rule in held]
        groups = {group for rule in held for group in rule.get("apiGroups", ())}
        ours = bool(groups & {"toyrental.dev", "coordination.k8s.io", "*"})
        ours |= any("tokenreviews" in rule.get("resources", ()) for rule in held)
        return all(rule in known for rule in wanted) and (ours or not role)

    def _resource(self, kind: str, api_version: str | None = None) -> Any:
        api_version = api_version or _API_VERSIONS.get(kind, "toyrental.dev/v1alpha1")
        return self._dynamic.resources.get(api_version=api_version, kind=kind)


_API_VERSIONS = {
    "ClusterRole": "rbac.authorization.k8s.io/v1",
    "ConfigMap": "v1",
    "CustomResourceDefinition": "apiextensions.k8s.io/v1",
    "Event": "events.k8s.io/v1",
    "Lease": "coordination.k8s.io/v1",
    "MutatingAdmissionPolicy": "admissionregistration.k8s.io/v1",
    "MutatingAdmissionPolicyBinding": "admissionregistration.k8s.io/v1",
    "Namespace": "v1",
    "Role": "rbac.authorization.k8s.io/v1",
    "RoleBinding": "rbac.authorization.k8s.io/v1",
    "Secret": "v1",
    "ServiceAccount": "v1",
    "ValidatingAdmissionPolicy": "admissionregistration.k8s.io/v1",
    "ValidatingAdmissionPolicyBinding": "admissionregistration.k8s.io/v1",
}


def _do(method: Callable[..., Any], *args: Any, **kwargs: Any) -> Json:
    try:
        answer = method(*args, serialize=False, _request_timeout=TIMEOUT_SECONDS, **kwargs)
    except ApiException as error:
        raise _refused(error) from None
    content: Json = json.loads(answer.data)
    return content


def _refused(error: ApiException) -> Refused:
    try:
        told = json.loads(error.body or "")
    except ValueError:
        told = {}
    return Refused(
        error.status or 0,
        told.get("reason", error.reason or ""),
        told.get("message", str(error.body)),
    )


def _dry(dry_run: bool) -> dict[str, str]:
    return {"dry_run": "All"} if dry_run else {}


def _rbac(kind: str, name: str) -> Json:
    api_version = "rbac.authorization.k8s.io/v1"
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name}}


def _binding(account: str, namespace: str, kind: str, role: str) -> Json:
    ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role}
    subject = {"kind": "ServiceAccount", "name": account, "namespace": namespace}
    name = f"{account}-{kind}-{role}".lower()
    return {**_rbac("RoleBinding", name), "roleRef": ref, "subjects": [subject]}
