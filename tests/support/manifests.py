"""Objects as they are about to be installed, and how to look at them."""

from collections.abc import Iterable

from tests.support.api import Json


class Objects:
    """What a chart or a kustomization makes."""

    def __init__(self, objects: Iterable[Json]) -> None:
        self.all = list(objects)

    def of(self, kind: str) -> list[Json]:
        """Return those of a kind."""
        return [each for each in self.all if each["kind"] == kind]

    def names(self, kind: str) -> list[str]:
        """Return the names of those of a kind, sorted."""
        return sorted(each["metadata"]["name"] for each in self.of(kind))

    def named(self, kind: str, name: str) -> Json:
        """Return the one of a kind that is called so."""
        (found,) = [each for each in self.of(kind) if each["metadata"]["name"] == name]
        return found

    def places(self, kind: str, name: str) -> list[str]:
        """Return the namespaces of those that are called so, sorted."""
        return sorted(
            each["metadata"]["namespace"]
            for each in self.of(kind)
            if each["metadata"]["name"] == name
        )

    def pod(self, deployment: str) -> Json:
        """Return the spec of a Deployment's pods."""
        spec: Json = self.named("Deployment", deployment)["spec"]["template"]["spec"]
        return spec

    def container(self, deployment: str) -> Json:
        """Return the one container of a Deployment's pods."""
        (container,) = self.pod(deployment)["containers"]
        found: Json = container
        return found

    def flags(self, deployment: str) -> dict[str, str | bool]:
        """Return the flags that a Deployment gives its program; True for those without a value."""
        flags = [argument for argument in self.container(deployment)["args"] if argument[0] == "-"]
        parted = [flag.partition("=") for flag in flags]
        return {name: value if sign else True for name, sign, value in parted}
