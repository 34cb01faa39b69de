"""What providers over HTTP share: sending a request, and what it means when it goes wrong."""

import asyncio
import functools
import json
import re
import ssl
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import httpx

from toyrental.payments.providers.port import (
    ANSWER_MISMATCH,
    Declined,
    NotSent,
    OutcomeUnknown,
    Refused,
    Trouble,
    TryLater,
    Unauthorized,
    UnderWay,
)

CONNECTIONS = 16
LONGEST_ANSWER = 4 * 1024 * 1024
"""Bytes: a page of a hundred payments is far below."""

LONGEST_PAUSE = timedelta(hours=1)
"""However long a provider asks us to stay away, we look again then."""

_CODE = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_ID = re.compile(r"[!-~]{1,255}")
_JSON = re.compile(r"application/([\w.-]+\+)?json", re.IGNORECASE)
_KEPT = ("Content-Type", "Retry-After")

Json = dict[str, Any]


def is_endpoint(text: str) -> bool:
    """Tell whether that is a URL that can be called."""
    try:
        url = httpx.URL(text)
        urlsplit(text)  # what it cannot split is not to be called either
    except (httpx.InvalidURL, ValueError):
        return False
    return url.scheme in {"http", "https"} and bool(url.host)


def open_client(endpoint: str, timeout: timedelta) -> httpx.AsyncClient:
    """Return a client of one endpoint: few connections, no redirects, no proxy from outside."""
    return httpx.AsyncClient(
        base_url=endpoint.rstrip("/"),
        timeout=timeout.total_seconds(),
        limits=httpx.Limits(max_connections=CONNECTIONS),
        follow_redirects=False,
        trust_env=False,
        verify=_authorities(),
    )


@functools.cache
def _authorities() -> ssl.SSLContext:
    """Read who may sign certificates: the same for each gateway, and 30 ms of CPU each time."""
    return httpx.create_ssl_context(trust_env=False)


async def send(
    client: httpx.AsyncClient, method: str, path: str, **request: Any
) -> httpx.Response | Trouble:
    """Send a request; return the answer, or what its status says of it."""
    answer = await exchange(client, method, path, **request)
    if not isinstance(answer, httpx.Response):
        return answer
    return trouble_of(answer) or answer


async def exchange(
    client: httpx.AsyncClient, method: str, path: str, **request: Any
) -> httpx.Response | NotSent | OutcomeUnknown:
    """Send a request; return the answer, or what is known of a request that got none.

    What never reached the provider is told from what may have. Neither carries anything of the
    request or of the answer's body: both may hold secrets.
    """
    try:
        # Connecting and answering have the client's timeout each; a trickle of bytes shall not
        # stretch it.
        async with asyncio.timeout(2 * _timeout(client)):
            return await _exchange(client, method, path, request)
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol):
        return NotSent("the provider cannot be reached")
    except (httpx.TimeoutException, TimeoutError):
        return OutcomeUnknown("no answer in time")
    except httpx.RequestError:
        return OutcomeUnknown("the connection broke")


async def _exchange(
    client: httpx.AsyncClient, method: str, path: str, request: Json
) -> httpx.Response | OutcomeUnknown:
    body = bytearray()
    async with client.stream(method, path, **request) as answer:
        async for chunk in answer.aiter_bytes():
            body += chunk
            if len(body) > LONGEST_ANSWER:
                return OutcomeUnknown("the answer is too long")
    kept = {name: answer.headers[name] for name in _KEPT if name in answer.headers}
    return httpx.Response(answer.status_code, headers=kept, content=bytes(body))


def _timeout(client: httpx.AsyncClient) -> float:
    return client.timeout.read or 60.0


def trouble_of(response: httpx.Response) -> Trouble | None:
    """Return what such a status code means, or None where that depends on the body."""
    status = response.status_code
    if status in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
        return Unauthorized("the provider refused the credentials")
    return trouble_beside_credentials(response)


def trouble_beside_credentials(response: httpx.Response) -> Trouble | None:
    """Do so for a provider that has other uses for 401 and 403."""
    status = response.status_code
    if status == httpx.codes.CONFLICT:
        return UnderWay("the same request is still in hand", _retry_after(response))
    if status == httpx.codes.TOO_MANY_REQUESTS:
        return TryLater("the provider asks to try later", _retry_after(response))
    if httpx.codes.is_server_error(status) or httpx.codes.is_informational(status):
        return OutcomeUnknown(f"the provider answered {status}")
    if httpx.codes.is_redirect(status):
        return Refused("redirect", "the endpoint redirects, which is not followed")
    return None


def _retry_after(response: httpx.Response) -> timedelta | None:
    seconds = response.headers.get("Retry-After", "")
    if not (seconds.isascii() and seconds.isdecimal()):
        return None
    return min(timedelta(seconds=min(int(seconds), 10**6)), LONGEST_PAUSE)


def body_of(response: httpx.Response) -> Any:
    """Return the JSON that was answered; None where it is none, or does not say that it is.

    What calls itself something else was not written by the provider, whatever it looks like.
    """
    type_ = response.headers.get("Content-Type", "").partition(";")[0].strip()
    if not _JSON.fullmatch(type_):
        return None
    try:
        return json.loads(response.content)
    except (ValueError, RecursionError):
        return None


def objects_of(value: Any) -> list[Json] | None:
    """Return a list of JSON objects as such; None where it is anything else."""
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        return None
    return value


def member(value: Any, *path: str) -> Any:
    """Return what is at a path of keys, or None where there is no such path."""
    for key in path:
        if not isinstance(value, dict):
            return None
        value = value.get(key)
    return value


def id_of(value: Any) -> str | None:
    """Return a provider's id if it is one that can be kept and sent again."""
    return value if isinstance(value, str) and _ID.fullmatch(value) else None


def code_of(value: Any, fallback: str) -> str:
    """Return a provider's code if it looks like one: anything else may be what it was sent."""
    return value if isinstance(value, str) and _CODE.fullmatch(value) else fallback


AUTHENTICATION_REQUIRED = "authentication_required"
CARD_DECLINED = "card_declined"
NO_SUCH_METHOD = Declined("resource_missing", "The provider knows no such payment method")


def card_declined(code: str) -> Declined:
    """Return a decline in our own words, by Stripe's codes."""
    if code == AUTHENTICATION_REQUIRED:
        return Declined(
            code, "The card asks for its owner's presence, which an automatic payment cannot give"
        )
    why = "" if code in {CARD_DECLINED, "generic_decline"} else f" ({code})"
    return Declined(code, f"The card was declined{why}")


UNREADABLE = OutcomeUnknown("the answer cannot be read")


def contradiction(what: str) -> Refused:
    """Return what it means that an answer is a success, but not of what was asked."""
    return Refused(ANSWER_MISMATCH, f"the provider answered with another {what} than was asked")
