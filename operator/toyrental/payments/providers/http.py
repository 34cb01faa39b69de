"""What providers over HTTP share: sending a request, and what it means when it goes wrong."""

from datetime import timedelta
from typing import Any

import httpx

from toyrental.payments.providers.port import (
    NotSent,
    OutcomeUnknown,
    Refused,
    Trouble,
    TryLater,
    Unauthorized,
)

CONNECTIONS = 16


def open_client(endpoint: str, timeout: timedelta) -> httpx.AsyncClient:
    """Return a client of one endpoint: few connections, no redirects, no proxy from outside."""
    return httpx.AsyncClient(
        base_url=endpoint.rstrip("/"),
        timeout=timeout.total_seconds(),
        limits=httpx.Limits(max_connections=CONNECTIONS),
        follow_redirects=False,
        trust_env=False,
    )


async def send(
    client: httpx.AsyncClient, method: str, path: str, **request: Any
) -> httpx.Response | Trouble:
    """Send a request; return the answer, or what is known of a request that got none.

    What never reached the provider is told from what may have. Neither carries anything of the
    request or of the answer's body: both may hold secrets.
    """
    try:
        response = await client.request(method, path, **request)
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol):
        return NotSent("the provider cannot be reached")
    except httpx.TimeoutException:
        return OutcomeUnknown("no answer in time")
    except httpx.TransportError:
        return OutcomeUnknown("the connection broke")
    return trouble_of(response) or response


def trouble_of(response: httpx.Response) -> Trouble | None:
    """Return what such a status code means, or None where that depends on the body."""
    status = response.status_code
    if status in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
        return Unauthorized("the provider refused the credentials")
    if status in {httpx.codes.TOO_MANY_REQUESTS, httpx.codes.CONFLICT}:
        return TryLater("the provider asks to try later", _retry_after(response))
    if httpx.codes.is_server_error(status):
        return OutcomeUnknown(f"the provider answered {status}")
    if httpx.codes.is_redirect(status):
        return Refused("redirect", "the endpoint redirects, which is not followed")
    return None


def _retry_after(response: httpx.Response) -> timedelta | None:
    seconds = response.headers.get("Retry-After", "")
    return timedelta(seconds=int(seconds)) if seconds.isdecimal() else None
