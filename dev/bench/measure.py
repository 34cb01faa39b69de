"""Reading the meters: requests by the API server's own count, CPU time, memory."""

import os
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from . import programs
from .api import Api

_REQUESTS = re.compile(r"^apiserver_request_total\{(.*)\} (\S+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')
_VERBS = {"POST": "create", "PATCH": "patch", "APPLY": "apply", "PUT": "update", "DELETE": "delete"}
_GROUPS = {"toyrental.dev", "events.k8s.io"}


@dataclass(frozen=True)
class Requests:
    """Writes of our kinds and of Events, by what was written and how; and those refused."""

    written: Counter[str]
    refused: Counter[str]

    def since(self, earlier: "Requests") -> "Requests":
        """Return what came after an earlier count."""
        return Requests(self.written - earlier.written, self.refused - earlier.refused)


async def requests(api: Api) -> Requests:
    """Ask the API server what it was asked to write since it began."""
    return parsed(await api.text("/metrics"))


def parsed(metrics: str) -> Requests:
    """Return the writes that the API server's metrics tell of."""
    counted = Requests(Counter(), Counter())
    for labels, count in _REQUESTS.findall(metrics):
        label = dict(_LABEL.findall(labels))
        verb = _VERBS.get(label["verb"])
        if verb is None or label["group"] not in _GROUPS:
            continue
        what = "/".join(filter(None, (label["resource"], label["subresource"])))
        by_outcome = counted.written if label["code"].startswith("2") else counted.refused
        by_outcome[f"{verb} {what}"] += round(float(count))
    return counted


class CpuMeter:
    """The CPU time that processes use from now on, and what the rest of the machine does."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._pids = {**pids, "client": os.getpid()}
        self._before = self._read()
        self._machine = programs.machine_cpu_seconds()

    def _read(self) -> dict[str, float]:
        return {name: programs.cpu_seconds(pid) for name, pid in self._pids.items()}

    def read(self) -> dict[str, float]:
        """Return the CPU seconds used by each; `others` are processes that are not ours."""
        used = {name: now - self._before[name] for name, now in self._read().items()}
        machine = programs.machine_cpu_seconds() - self._machine
        return {**used, "others": max(machine - sum(used.values()), 0.0)}
