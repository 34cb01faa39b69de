"""localstripe, a stand-in for Stripe written by others, as a server on the loopback interface.

`python -m tests.payments.localstripe_server` prints its port and serves until it is killed. Where
localstripe deviates from what Stripe documents, in ways that matter to us, this makes up for it;
each function says which. Also other than at Stripe, and left so: a refund may be larger than what
was charged; amounts and currencies are not checked; pm_card_visa_chargeDeclined is charged (it is
refused only when attached to a customer), so that the declined card is pm_card_chargeCustomerFail.
"""

import json
import socket
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from localstripe import errors, resources, server

ACCOUNTS = {"sk_test_shop": "acct_shop", "sk_test_rotated": "acct_shop", "sk_test_o": "acct_other"}
"""localstripe takes any key that begins with sk_, and has no accounts."""

Handler = Callable[[web.Request], Awaitable[web.Response]]

_answers: dict[tuple[str, str], tuple[bytes, int, Any]] = {}
_in_hand: set[tuple[str, str]] = set()


def _keep_in_memory(_: Any) -> None:
    """Do not pickle the store to a file in /tmp, which every localstripe shares."""


def _accept_error_on_requires_action() -> None:
    """Let the parameter pass: localstripe does not know it, and answers with requires_action."""
    original = server.get_post_data

    async def get_post_data(request: web.Request, remove_auth: bool = True) -> Any:
        data = await original(request, remove_auth)
        if isinstance(data, dict) and request.path == "/v1/payment_intents":
            data.pop("error_on_requires_action", None)
        return data

    server.get_post_data = get_post_data


def _list_by_time() -> None:
    """List PaymentIntents the newest first, by `created[gte]`, which localstripe does not know."""
    original = resources.PaymentIntent._api_list_all

    def list_all(url: str, created: dict[str, str] | None = None, **more: Any) -> Any:
        listed = original(url, **more)
        since = int((created or {}).get("gte", 0))
        listed._list = [each for each in reversed(listed._list) if each.created >= since]
        return listed

    resources.PaymentIntent._api_list_all = list_all


def _list_refunds_in_order() -> None:
    """List Refunds the newest first, also those of one second."""
    original = resources.Refund._api_list_all

    def list_all(*args: Any, **more: Any) -> Any:
        listed = original(*args, **more)
        listed._list = [each for each in reversed(resources.store.values()) if each in listed._list]
        return listed

    resources.Refund._api_list_all = list_all


def _name_card_errors() -> None:
    """Say `card_error` of a declined card: localstripe says invalid_request_error of everything."""
    original = errors.UserError.to_response

    def to_response(self: Any) -> web.Response:
        if self.code == 402:
            self.body["error"] |= {"type": "card_error", "decline_code": "generic_decline"}
        answer: web.Response = original(self)
        return answer

    errors.UserError.to_response = to_response


@web.middleware
async def accounts(request: web.Request, handler: Handler) -> web.Response:
    """Know whose key it is."""
    key = _user(request)
    if request.path.startswith("/_config/"):
        return await handler(request)
    if key not in ACCOUNTS:
        error = {"type": "invalid_request_error", "message": f"Invalid API Key provided: {key}"}
        return web.json_response({"error": error}, status=401)
    if request.path == "/v1/account":
        account = {"id": ACCOUNTS[key], "object": "account", "charges_enabled": True}
        return web.json_response(account)
    return await handler(request)


@web.middleware
async def idempotency(request: web.Request, handler: Handler) -> web.Response:
    """Answer each idempotency key once: localstripe has none."""
    key = request.headers.get("Idempotency-Key")
    if request.method != "POST" or key is None:
        return await handler(request)
    body = await request.read()
    place = (ACCOUNTS.get(_user(request), ""), key)
    known = _answers.get(place)
    if known is not None:
        first, status, answered = known
        if first == body:
            return web.Response(status=status, body=answered, content_type="application/json")
        error = {"type": "idempotency_error", "message": "Keys for idempotent requests ..."}
        return web.json_response({"error": error}, status=400)
    if place in _in_hand:
        error = {"type": "idempotency_error", "code": "idempotency_key_in_use"}
        return web.json_response({"error": error}, status=409)
    _in_hand.add(place)
    try:
        response = await handler(request)
    finally:
        _in_hand.remove(place)
    _answers[place] = (body, response.status, response.body)
    return response


def _user(request: web.Request) -> str:
    return request.headers.get("Authorization", "").removeprefix("Bearer ")


async def set_accounts(request: web.Request) -> web.Response:
    """Change which keys are accepted."""
    ACCOUNTS.clear()
    ACCOUNTS.update(await request.json())
    return web.json_response({})


async def show(_: web.Request) -> web.Response:
    """Show the books."""
    kinds = (resources.PaymentIntent, resources.Refund)
    held = [each._export() for each in resources.store.values() if isinstance(each, kinds)]
    return web.Response(text=json.dumps(held, default=str), content_type="application/json")


def main() -> None:
    """Serve on a free port, and print it."""
    resources.Store.dump_to_disk = _keep_in_memory
    _accept_error_on_requires_action()
    _list_by_time()
    _list_refunds_in_order()
    _name_card_errors()
    server.app.middlewares.insert(0, idempotency)
    server.app.middlewares.insert(0, accounts)
    server.app.router.add_post("/_config/accounts", set_accounts)
    server.app.router.add_get("/_config/books", show)

    def say(line: str) -> None:
        if "Running on" in line:
            print(line.partition("Running on")[2].partition("=")[0].strip(), flush=True)

    web.run_app(server.app, host="127.0.0.1", port=_free_port(), print=say, access_log=None)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


if __name__ == "__main__":
    main()
