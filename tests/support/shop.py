"""A shop, which is a namespace, as one user sees it: requests that speak in the models."""

from collections.abc import Callable
from typing import Any, TypeVar

import yaml

from tests.support.api import Api, Json, Refused
from tests.support.waiting import eventually
from toyrental.payments.models import Payment, PaymentGateway
from toyrental.shared.resource import API_VERSION, Resource

R = TypeVar("R", bound=Resource)

NOT_FOUND = 404


class Shop:
    """One namespace, seen by one user."""

    def __init__(self, api: Api, name: str) -> None:
        self.api = api
        self.name = name
        self._people: list[Shop] = []

    def create(self, resource: R) -> R:
        """Create a resource, and return it as the API server has it."""
        return type(resource).model_validate(self.api.create(body(resource), self.name))

    def create_raw(self, content: Json) -> Json:
        """Create an object from a dict, valid or not."""
        return self.api.create(content, self.name)

    def get(self, kind: type[R], name: str) -> R:
        """Return a resource as it is now."""
        return kind.model_validate(self.get_raw(kind, name))

    def get_raw(self, kind: type[Resource], name: str) -> Json:
        """Return a resource as it is now, with all that the models leave out."""
        return self.api.get(kind.SERVED.kind, name, self.name)

    def find(self, kind: type[R], *, labels: str = "", fields: str = "") -> list[R]:
        """Return the resources of a kind that match the selectors."""
        found = self.api.find(kind.SERVED.kind, self.name, labels=labels, fields=fields)
        return [kind.model_validate(each) for each in found]

    def patch(self, kind: type[R], name: str, **change: Any) -> R:
        """Merge a change into a resource: `spec={...}`, `metadata={...}`; None removes a field."""
        changed = self.api.patch(kind.SERVED.kind, name, self.name, change)
        return kind.model_validate(changed)

    def set_status(self, kind: type[R], name: str, **change: Any) -> R:
        """Merge a change into a resource's status; None removes a field."""
        kind_, status = kind.SERVED.kind, {"status": change}
        return kind.model_validate(self.api.patch(kind_, name, self.name, status, "status"))

    def delete(self, kind: type[Resource], name: str) -> None:
        """Delete a resource."""
        self.api.delete(kind.SERVED.kind, name, self.name)

    def exists(self, kind: type[Resource], name: str) -> bool:
        """Tell whether a resource is there."""
        try:
            self.get_raw(kind, name)
        except Refused as refused:
            if refused.status == NOT_FOUND:
                return False
            raise
        return True

    def wait(
        self, kind: type[R], name: str, until: Callable[[R], object], *, within: float = 30
    ) -> R:
        """Return a resource once `until` holds of it; it need not be there yet.

        Fails after `within` seconds with the resource and its Events.
        """

        def ask() -> R | None:
            try:
                seen = self.get(kind, name)
            except Refused as refused:
                if refused.status == NOT_FOUND:
                    return None
                raise
            return seen if until(seen) else None

        found = eventually(ask, within=within, explain=lambda: self.describe(kind, name))
        assert found is not None
        return found

    def gone(self, kind: type[Resource], name: str, *, within: float = 30) -> None:
        """Return once a resource is no longer there."""
        eventually(
            lambda: not self.exists(kind, name),
            within=within,
            explain=lambda: self.describe(kind, name),
        )

    def events(self, name: str) -> list[Json]:
        """Return the Events on the objects of that name, the oldest first."""
        found = self.api.find("Event", self.name, fields=f"regarding.name={name}")
        return sorted(found, key=lambda each: each.get("eventTime") or "")

    def secret(self, name: str, data: dict[str, str]) -> None:
        """Create a Secret."""
        metadata = {"name": name}
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data}
        self.api.create(secret, self.name)

    def person(self, name: str, *rules: Json, role: str = "") -> "Shop":
        """Return this shop as somebody sees who may do nothing but what the rules (`can`) say.

        With `role`, also what that ClusterRole allows in this namespace.
        """
        person = Shop(self.api.person(name, self.name, *rules, role=role), self.name)
        self._people.append(person)
        return person

    def close(self) -> None:
        """Close the connections of the people made here."""
        for person in self._people:
            person.close()
            person.api.close()

    def let_go(self) -> None:
        """Take the finalizers off, for no operator may be left to settle what they stand for."""
        for kind in (Payment, PaymentGateway):
            for each in self.find(kind):
                if each.metadata.finalizers:
                    self.patch(kind, each.name, metadata={"finalizers": None})

    def describe(self, kind: type[Resource], name: str) -> str:
        """Return a resource and its Events for a person to read."""
        try:
            seen = self.get_raw(kind, name)
        except Refused as refused:
            return f"{kind.SERVED.kind} {self.name}/{name}: {refused}"
        seen["metadata"].pop("managedFields", None)
        events = [f"{each['reason']}: {each.get('note', '')}" for each in self.events(name)]
        return f"\n{yaml.safe_dump(seen, sort_keys=False)}\nEvents:\n" + "\n".join(events)


def body(resource: Resource) -> Json:
    """Return a resource as it goes to the API server: what was said of it, no defaults."""
    content = resource.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude_none=True)
    return {"apiVersion": API_VERSION, "kind": resource.SERVED.kind, **content}
