"""Events decorate: whatever happens to one, the next is sent, and nobody waits."""

import asyncio
from typing import Any, cast

from toyrental.kinds import KINDS
from toyrental.kube import errors
from toyrental.kube import events as module
from toyrental.kube.cache import Cache
from toyrental.kube.events import Recorder
from toyrental.shared.decisions import Event
from toyrental.shared.resource import Key
from toyrental.stores.models import Toy

KEY = Key("Toy", "shop", "bear")


class Receiver:
    """Takes Events, or fails as it is told."""

    def __init__(self, *troubles: Exception) -> None:
        self.troubles = list(troubles)
        self.notes: list[str] = []

    async def create_event(self, _: str, event: dict[str, Any]) -> None:
        if self.troubles:
            raise self.troubles.pop(0)
        self.notes.append(event["note"])


def toy() -> Toy:
    cache = Cache(KINDS)
    raw = {
        "kind": "Toy",
        "metadata": {"name": "bear", "namespace": "shop", "uid": "u1", "resourceVersion": "1"},
        "spec": {"title": "Bear", "dailyRate": {"currency": "KRW", "minorUnits": 3000}},
    }
    cache.put(raw)
    found = cache.get(KEY)
    assert isinstance(found, Toy)
    return found


async def test_no_trouble_with_one_event_keeps_the_next_from_being_sent() -> None:
    receiver = Receiver(
        errors.Forbidden("creating an Event", "the namespace is being deleted", 403),
        errors.Unavailable("creating an Event", "no answer"),
        ValueError("a bug"),
    )
    recorder = Recorder(cast("Any", receiver), "test")
    recording = asyncio.create_task(recorder.run())
    for note in ("one", "two", "three", "four"):
        recorder.record(toy(), Event("Reserved", note))
    await asyncio.wait_for(recorder.flush(), 5)
    assert receiver.notes == ["four"]
    assert not recording.done()
    recording.cancel()


async def test_too_many_events_are_dropped_and_nobody_waits() -> None:
    recorder = Recorder(cast("Any", Receiver()), "test")
    for number in range(module.MOST_WAITING + 10):
        recorder.record(toy(), Event("Reserved", str(number)))


async def test_long_notes_are_cut_to_what_the_api_server_takes() -> None:
    receiver = Receiver()
    recorder = Recorder(cast("Any", receiver), "test")
    recorder.record(toy(), Event("Reserved", "x" * 5000))
    recording = asyncio.create_task(recorder.run())
    await asyncio.wait_for(recorder.flush(), 5)
    assert len(receiver.notes[0]) == 1024
    recording.cancel()
