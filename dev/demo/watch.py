"""The shop as `kubectl get --watch` tells of it, one process a kind."""

import contextlib
import json
import queue
import subprocess
import threading
import time
from dataclasses import dataclass
from typing import IO, Any, NamedTuple

from dev.cluster import Cluster

KINDS = ("toys", "rentals", "payments", "repairtickets")
# What changes at about the same time is put in order: each kind has a stream of its own.
TOGETHER_SECONDS = 0.05


@dataclass(frozen=True)
class Thing:
    """An object of the shop, as it was at one moment."""

    raw: dict[str, Any]

    @property
    def kind(self) -> str:
        """The kind, as kubectl is asked for it: rental, toy, payment."""
        return str(self.raw["kind"]).lower()

    @property
    def name(self) -> str:
        """The name."""
        return str(self.raw["metadata"]["name"])

    @property
    def uid(self) -> str:
        """The uid."""
        return str(self.raw["metadata"]["uid"])

    @property
    def version(self) -> int:
        """Its place in the order of all writes."""
        return int(self.raw["metadata"]["resourceVersion"])

    @property
    def spec(self) -> dict[str, Any]:
        """What was asked for."""
        return dict(self.raw.get("spec", {}))

    @property
    def status(self) -> dict[str, Any]:
        """What is."""
        return dict(self.raw.get("status", {}))

    @property
    def phase(self) -> str:
        """The phase; empty where nobody has looked at it yet, or the kind has none."""
        return str(self.status.get("phase", ""))

    def condition(self, kind: str) -> dict[str, str]:
        """Return the condition of that type; empty where it was not set yet."""
        found = (c for c in self.status.get("conditions", ()) if c["type"] == kind)
        return next(found, {})


class Change(NamedTuple):
    """What an object was, and is now: None before it was made, and once it is gone."""

    before: Thing | None
    after: Thing | None


class Watch:
    """Keeps the newest known state of every object in the shop."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.things: dict[str, Thing] = {}
        self._cluster = cluster
        self._namespace = namespace
        self._events: queue.Queue[dict[str, Any]] = queue.Queue()
        self._processes: list[subprocess.Popen[str]] = []
        self._threads: list[threading.Thread] = []

    def open(self) -> None:
        """Begin to watch."""
        try:
            for kind in KINDS:
                self._follow(kind)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the watching."""
        for process in self._processes:
            process.kill()
        for thread in self._threads:
            thread.join()
        for process in self._processes:
            process.communicate()

    def of(self, kind: str) -> list[Thing]:
        """Return all objects of a kind, in the order of their names."""
        return sorted((t for t in self.things.values() if t.kind == kind), key=lambda t: t.name)

    def changes(self, until: float) -> list[Change]:
        """Return what changes next, in order; nothing where nothing does `until` that moment."""
        wait = max(until - time.monotonic(), 0.0)
        try:
            events = [self._events.get(timeout=wait)]
        except queue.Empty:
            return []
        with contextlib.suppress(queue.Empty):
            while True:
                events.append(self._events.get(timeout=TOGETHER_SECONDS))
        events.sort(key=lambda event: Thing(event["object"]).version)
        return [self._take(event) for event in events]

    def _take(self, event: dict[str, Any]) -> Change:
        thing = Thing(event["object"])
        key = f"{thing.kind}/{thing.name}"
        before = self.things.pop(key, None)
        if event["type"] == "DELETED":
            return Change(before, None)
        self.things[key] = thing
        return Change(before, thing)

    def _follow(self, kind: str) -> None:
        cluster = self._cluster
        flags = [f"--kubeconfig={cluster.kubeconfig}", f"--namespace={self._namespace}"]
        if cluster.kubectl_cache:
            flags.append(f"--cache-dir={cluster.kubectl_cache}")
        process = subprocess.Popen(
            [
                str(cluster.kubectl),
                *flags,
                "get",
                kind,
                "--watch",
                "--output-watch-events",
                "--output=json",
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        self._processes.append(process)
        assert process.stdout is not None  # noqa: S101 -- it was asked for
        thread = threading.Thread(target=self._read, args=(process.stdout,), daemon=True)
        self._threads.append(thread)
        thread.start()

    def _read(self, stream: IO[str]) -> None:
        for line in stream:
            self._events.put(json.loads(line))
