"""Kubernetes Events: what people are told of each step. They decorate, and may be lost."""

import asyncio
import logging
import uuid
from datetime import UTC, datetime
from typing import Any

from toyrental.kube import errors, metrics
from toyrental.kube.client import Client
from toyrental.shared.decisions import Event
from toyrental.shared.resource import API_VERSION, Resource

logger = logging.getLogger(__name__)

CONTROLLER = "toyrental.dev/operator"
SENDERS = 4
MOST_WAITING = 1000
NOTE_LENGTH = 1024


class Recorder:
    """Sends Events in the background. Whoever records one never waits, and never fails."""

    def __init__(self, client: Client, instance: str) -> None:
        self._client = client
        self._instance = instance
        self._waiting: asyncio.Queue[tuple[str, dict[str, Any]]] = asyncio.Queue(MOST_WAITING)

    def record(self, regarding: Resource, event: Event) -> None:
        """Tell people of a step on an object."""
        reference = {
            "apiVersion": API_VERSION,
            "kind": regarding.SERVED.kind,
            "namespace": regarding.namespace,
            "name": regarding.name,
            "uid": regarding.uid,
            "resourceVersion": regarding.metadata.resource_version,
        }
        self.tell(reference, event)

    def tell(self, regarding: dict[str, str], event: Event) -> None:
        """Tell people of something about any object, by a reference to it."""
        body = self._body(regarding, event)
        try:
            self._waiting.put_nowait((regarding["namespace"], body))
        except asyncio.QueueFull:
            metrics.EVENTS_LOST.inc()
            logger.debug("an Event is dropped: too many wait to be sent")

    async def run(self) -> None:
        """Send Events until cancelled: some at a time, for alone they fall behind the writes."""
        await asyncio.gather(*(self._send() for _ in range(SENDERS)))

    async def _send(self) -> None:
        while True:
            namespace, body = await self._waiting.get()
            try:
                await self._client.create_event(namespace, body)
            except errors.ApiError as error:
                metrics.EVENTS_LOST.inc()
                logger.debug("an Event is lost: %s", error)
            except Exception:
                metrics.EVENTS_LOST.inc()
                logger.exception("an Event is lost")
            finally:
                self._waiting.task_done()

    async def flush(self) -> None:
        """Wait until every Event so far was sent, or lost."""
        await self._waiting.join()

    def _body(self, regarding: dict[str, str], event: Event) -> dict[str, Any]:
        return {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {
                "name": f"{regarding['name'][:200]}.{uuid.uuid4().hex[:16]}",
                "namespace": regarding["namespace"],
            },
            "eventTime": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}",
            "type": event.type,
            "reason": event.reason,
            "note": event.note[:NOTE_LENGTH],
            "action": event.action,
            "reportingController": CONTROLLER,
            "reportingInstance": self._instance,
            "regarding": regarding,
        }
