"""The rules of kstatus for custom resources, by which Flux and `kubectl` tools read a status.

They are those of sigs.k8s.io/cli-utils, pkg/kstatus: an object being deleted terminates; one whose
observedGeneration is behind is in progress; then Reconciling, Stalled and Ready count, in that
order.
"""

from tests.support.api import Json


def status_of(content: Json) -> str:
    """Return `Current`, `InProgress`, `Failed` or `Terminating`."""
    metadata, status = content["metadata"], content.get("status") or {}
    if "deletionTimestamp" in metadata:
        return "Terminating"
    if status.get("observedGeneration", metadata.get("generation")) != metadata.get("generation"):
        return "InProgress"
    conditions = {each["type"]: each["status"] for each in status.get("conditions", [])}
    if conditions.get("Reconciling") == "True":
        return "InProgress"
    if conditions.get("Stalled") == "True":
        return "Failed"
    # A Ready that is False or Unknown says that it will be; where there is none, it is as it is.
    return "Current" if conditions.get("Ready", "True") == "True" else "InProgress"
