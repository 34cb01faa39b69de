"""Objects for programs: -o json, yaml and name."""

import json
import sys
from collections.abc import Iterable
from typing import Any

from toyrental.shared.resource import API_VERSION, GROUP

Json = dict[str, Any]


def show(content: Json, output: str) -> None:
    """Print a document as JSON or YAML."""
    if output == "json":
        sys.stdout.write(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
        return
    import yaml  # noqa: PLC0415 # most outputs do without

    plain = json.loads(json.dumps(content))  # of an enum YAML would not know the word
    sys.stdout.write(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True))


def show_objects(items: Iterable[Json], output: str) -> None:
    """Print objects as the API server has them; `name` prints what kubectl takes as arguments."""
    found = [without_managed_fields(item) for item in items]
    if output == "name":
        sys.stdout.writelines(f"{name_of(each)}\n" for each in found)
        return
    show({"apiVersion": "v1", "kind": "List", "items": found}, output)


def show_object(item: Json, output: str) -> None:
    """Print one object."""
    if output == "name":
        sys.stdout.write(f"{name_of(item)}\n")
        return
    show(without_managed_fields(item), output)


def name_of(item: Json) -> str:
    """Return what kubectl calls an object."""
    return f"{item['kind'].lower()}.{GROUP}/{item['metadata']['name']}"


def without_managed_fields(item: Json) -> Json:
    """Return an object without what no person reads; kubectl leaves it out as well."""
    metadata = {name: value for name, value in item["metadata"].items() if name != "managedFields"}
    return {"apiVersion": API_VERSION} | item | {"metadata": metadata}
