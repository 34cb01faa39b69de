"""The frame of a Kubernetes object: metadata, spec, status, and how its kind is served."""

from datetime import datetime
from typing import Any, ClassVar, NamedTuple, Self

from pydantic import Field

from toyrental.shared.model import Generation, Model, Rule

GROUP = "toyrental.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

RENTAL_UID_LABEL = f"{GROUP}/rental-uid"
"""The label of what was made for a rental: its Payment, its RepairTicket."""


class OwnerReference(Model):
    """Who an object belongs to: it is garbage-collected with its owner."""

    api_version: str = API_VERSION
    kind: str
    name: str
    uid: str
    controller: bool | None = None


class Metadata(Model):
    """The part of an object's metadata that the operator reads or sets."""

    name: str
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    finalizers: tuple[str, ...] = ()
    owner_references: tuple[OwnerReference, ...] = ()


class Column(NamedTuple):
    """A column that `kubectl get` prints; `wide` ones only with `-o wide`."""

    name: str
    path: str
    type: str = "string"
    wide: bool = False
    description: str = ""


class Served(NamedTuple):
    """How the API server serves a kind."""

    kind: str
    plural: str
    short_names: tuple[str, ...]
    columns: tuple[Column, ...]
    selectable: tuple[str, ...] = ()


class Key(NamedTuple):
    """The name of an object in the cluster, and its kind."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


KEEPS_STATUS = Rule(
    "!has(oldSelf.status) || has(self.status)",
    "the status is the record of what happened; it cannot be removed",
)
"""Holds what transition rules on a status cannot: that they are not evaded by removing it."""


class Status(Model):
    """The base of every status."""

    observed_generation: Generation | None = None
    """The generation of the spec that this status speaks of."""


class Resource(Model):
    """The base of every kind: subclasses narrow `spec` and `status`."""

    SERVED: ClassVar[Served]

    metadata: Metadata
    spec: Any
    status: Any

    @property
    def key(self) -> Key:
        """The kind, namespace and name."""
        return Key(self.SERVED.kind, self.metadata.namespace, self.metadata.name)

    @property
    def uid(self) -> str:
        """The uid that the API server gave this very object."""
        return self.metadata.uid

    @property
    def namespace(self) -> str:
        """The shop this object belongs to."""
        return self.metadata.namespace

    @property
    def name(self) -> str:
        """The name in the shop."""
        return self.metadata.name

    @property
    def created(self) -> datetime:
        """When the API server accepted the object (UTC)."""
        if self.metadata.creation_timestamp is None:
            raise ValueError(f"{self.key} has not been created yet")
        return self.metadata.creation_timestamp

    @property
    def deleting(self) -> bool:
        """Whether somebody deleted it and only finalizers hold it."""
        return self.metadata.deletion_timestamp is not None

    @property
    def rental_uid(self) -> str:
        """The uid of the rental that this object is about: what its logs are found by."""
        return self.metadata.labels.get(RENTAL_UID_LABEL, "")

    @property
    def settled(self) -> bool:
        """Whether nothing more will happen to it, so that a cache may keep it packed."""
        return False

    def with_status(self, **changes: Any) -> Self:
        """Return this object with its status changed, and observed at this generation."""
        changes.setdefault("observed_generation", self.metadata.generation)
        return self.model_copy(update={"status": self.status.model_copy(update=changes)})

    def with_spec(self, **changes: Any) -> Self:
        """Return this object with its spec changed."""
        return self.model_copy(update={"spec": self.spec.model_copy(update=changes)})

    def with_finalizers(self, finalizers: tuple[str, ...]) -> Self:
        """Return this object with these finalizers."""
        metadata = self.metadata.model_copy(update={"finalizers": finalizers})
        return self.model_copy(update={"metadata": metadata})

    def owned_by(self, owner: "Resource") -> bool:
        """Tell whether that very object is among the owners."""
        return any(ref.uid == owner.uid for ref in self.metadata.owner_references)

    def as_owner(self) -> OwnerReference:
        """Return the reference that makes another object a child of this one."""
        return OwnerReference(kind=self.SERVED.kind, name=self.name, uid=self.uid, controller=True)
