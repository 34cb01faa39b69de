"""The admin API: faults are set and removed while the simulator runs, on a port of its own.

It is for whoever runs the tests, never for those who pay; so it listens apart from the provider's
own API, and goes on answering while that one refuses connections.
"""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

import structlog
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response

from toyrental.simulator import answers, wire
from toyrental.simulator.answers import RefusedError
from toyrental.simulator.books import Books
from toyrental.simulator.fault_kinds import FaultInvalidError, parse
from toyrental.simulator.faults import Faults
from toyrental.simulator.models import Model

_DIRECTORY = "The admin API has /faults, /faults/{id}, /reset and /healthz."

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Reset(Model):
    """What is forgotten beside the faults and the webhooks that wait."""

    ledger: bool = False


class Controls(NamedTuple):
    """What the admin API works on."""

    faults: Faults
    books: Books
    let_go: Callable[[], Awaitable[None]]
    """Ends the requests that faults hold, and forgets the webhooks that wait."""

    settle: Callable[[], Awaitable[None]]
    """Makes the listener agree with the faults."""


def build_admin(controls: Controls) -> Starlette:
    """Make the ASGI application."""
    api = _Admin(controls)
    routes = [
        wire.route("/faults", GET=api.list_faults, POST=api.add_fault, DELETE=api.clear_faults),
        wire.route("/faults/{id}", DELETE=api.remove_fault),
        wire.route("/reset", POST=api.reset),
        wire.route("/healthz", GET=api.get_health),
    ]
    return wire.build(routes, _DIRECTORY)


class _Admin:
    def __init__(self, controls: Controls) -> None:
        self._controls = controls

    async def list_faults(self, _request: Request) -> Response:
        return wire.response(answers.ok({"faults": self._controls.faults.view()}))

    async def add_fault(self, request: Request) -> Response:
        text = await wire.json_body(request)
        try:
            added = self._controls.faults.add(parse(text))
        except FaultInvalidError as error:
            raise RefusedError(answers.invalid("fault_invalid", str(error))) from None
        _log.info("fault set", id=added["id"], kind=added["kind"])
        await self._controls.settle()
        return wire.response(answers.Answer(201, answers.to_json(added)))

    async def clear_faults(self, _request: Request) -> Response:
        self._controls.faults.clear()
        _log.info("faults removed")
        await self._controls.settle()
        return Response(status_code=204)

    async def remove_fault(self, request: Request) -> Response:
        if not self._controls.faults.remove(request.path_params["id"]):
            raise RefusedError(
                answers.invalid(
                    "fault_unknown",
                    "No such fault is set; GET /faults lists those that are.",
                    status=404,
                )
            )
        _log.info("fault removed", id=request.path_params["id"])
        await self._controls.settle()
        return Response(status_code=204)

    async def reset(self, request: Request) -> Response:
        told = "content-type" in request.headers
        asked = await wire.body(request, Reset) if told else Reset()
        self._controls.faults.clear()
        await self._controls.let_go()
        if asked.ledger:
            await self._controls.books.use(self._controls.books.ledger.clear)
        _log.info("reset", ledger=asked.ledger)
        await self._controls.settle()
        return Response(status_code=204)

    async def get_health(self, _request: Request) -> Response:
        return wire.response(answers.ok({"status": "ok"}))
