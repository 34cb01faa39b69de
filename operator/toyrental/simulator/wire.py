"""HTTP as both faces of the simulator speak it: JSON in, JSON out, and every error the same shape.

It knows nothing of money and nothing of faults.
"""

import sqlite3
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

import structlog
from pydantic import BaseModel, ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from toyrental.simulator import answers
from toyrental.simulator.answers import Answer, RefusedError

MAX_BODY_BYTES = 64 * 1024
_MAX_PROBLEMS = 5
_MAX_NAME_LENGTH = 100

_M = TypeVar("_M", bound=BaseModel)
Handler = Callable[[Request], Awaitable[Response]]

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


def build(routes: Sequence[BaseRoute], directory: str) -> Starlette:
    """Make an application; `directory` is the sentence that says what there is."""

    async def on_unknown_path(_request: Request, _error: Exception) -> Response:
        return response(
            answers.invalid("path_unknown", f"There is nothing here. {directory}", status=404)
        )

    app = Starlette(
        routes=list(routes), exception_handlers={404: on_unknown_path, 405: _on_wrong_method}
    )
    # A redirect would be one more answer that callers have to think about.
    app.router.redirect_slashes = False
    return app


def route(path: str, **handlers: Handler) -> Route:
    """Serve a path by one handler a method; whatever they raise becomes an answer."""

    async def endpoint(request: Request) -> Response:
        handler = handlers["GET" if request.method == "HEAD" else request.method]
        try:
            return await handler(request)
        except RefusedError as error:
            return refused(error)
        except sqlite3.Error as error:
            _log.error("ledger unavailable", reason=str(error))
            return response(answers.unavailable())
        except Exception:  # noqa: BLE001 # the answer to a bug is JSON as well
            _log.exception("bug")
            return response(answers.broken())

    return Route(path, endpoint, methods=list(handlers))


def response(answer: Answer, headers: Mapping[str, str] | None = None) -> Response:
    """Send an answer."""
    return Response(answer.body, answer.status, headers, media_type="application/json")


def refused(error: RefusedError) -> Response:
    """Send and log that a request was refused."""
    _log.info("refused", status=error.answer.status, code=error.code)
    return response(error.answer)


async def json_body(request: Request) -> bytes:
    """Read a body that says it is JSON. Raises `RefusedError`."""
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != "application/json":
        raise RefusedError(
            answers.invalid(
                "content_type_unsupported",
                "The body must be JSON, sent with Content-Type: application/json.",
                status=415,
            )
        )
    return await _read(request)


async def body(request: Request, model: type[_M]) -> _M:
    """Read what is asked from a body of JSON. Raises `RefusedError`."""
    text = await json_body(request)
    try:
        return model.model_validate_json(text, by_name=False)
    except ValidationError as error:
        raise RefusedError(_problems(error)) from None


def query(request: Request, model: type[_M]) -> _M:
    """Read what is asked from the query. Raises `RefusedError`."""
    parameters = request.query_params
    if len(parameters.multi_items()) != len(parameters):
        raise RefusedError(
            answers.invalid("parameter_invalid", "A query parameter is given more than once.")
        )
    try:
        return model.model_validate(dict(parameters), by_name=False)
    except ValidationError as error:
        raise RefusedError(_problems(error)) from None


async def _read(request: Request) -> bytes:
    content = bytearray()
    try:
        async for chunk in request.stream():
            content += chunk
            if len(content) > MAX_BODY_BYTES:
                raise RefusedError(
                    answers.invalid(
                        "body_too_large",
                        f"The body has more than {MAX_BODY_BYTES} bytes; no request needs as many.",
                        status=413,
                    )
                )
    except ClientDisconnect:
        raise RefusedError(answers.invalid("body_incomplete", "The body ended too soon.")) from None
    return bytes(content)


def _problems(error: ValidationError) -> Answer:
    """Say what is wrong and where, without what was sent."""
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    named = [
        (".".join(map(str, problem["loc"]))[:_MAX_NAME_LENGTH], problem["msg"])
        for problem in problems
    ]
    message = "; ".join(
        f"{where}: {what}" if where else what for where, what in named[:_MAX_PROBLEMS]
    )
    return answers.invalid("parameter_invalid", f"{message}.", param=named[0][0])


async def _on_wrong_method(_request: Request, error: Exception) -> Response:
    allowed = error.headers if isinstance(error, HTTPException) else None
    return response(
        answers.invalid(
            "method_unsupported",
            "This path does not take this method; the Allow header names those it takes.",
            status=405,
        ),
        allowed,
    )
