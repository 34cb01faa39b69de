"""Who calls: the API server is asked whose a token is, and that is remembered for a moment."""

import hashlib
import json
import time
from collections import OrderedDict
from collections.abc import Callable

from toyrental import __version__
from toyrental.kube.errors import Forbidden, Unavailable
from toyrental.kube.forward import Forwarder, Outgoing

AGENT = f"toyrental-customer-proxy/{__version__}"

REMEMBERED_SECONDS = 10.0
"""For so long a token that has expired or was revoked meanwhile is still good."""
MOST_REMEMBERED = 1000

_REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews"
_CREATED = 201
_FORBIDDEN = 403


class Callers:
    """User names by token. Kept are digests, never tokens."""

    def __init__(self, forwarder: Forwarder, clock: Callable[[], float] = time.monotonic) -> None:
        self._forwarder = forwarder
        self._clock = clock
        self._known: OrderedDict[bytes, tuple[float, str]] = OrderedDict()

    async def whose(self, token: str) -> str | None:
        """Return the user name of whoever a token belongs to; None: it is no good.

        Raises Unavailable and Forbidden where the API server does not say.
        """
        digest = hashlib.sha256(token.encode()).digest()
        until, user = self._known.get(digest, (float("-inf"), ""))
        if self._clock() < until:
            return user
        self._known.pop(digest, None)
        found = await self._review(token)
        if found is not None:
            self._known[digest] = (self._clock() + REMEMBERED_SECONDS, found)
            if len(self._known) > MOST_REMEMBERED:
                self._known.popitem(last=False)
        return found

    async def _review(self, token: str) -> str | None:
        what = "asking whose a token is"
        review = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": token},
        }
        headers = {"Content-Type": "application/json", "User-Agent": AGENT}
        request = Outgoing("POST", _REVIEWS, headers, json.dumps(review).encode())
        async with self._forwarder.send(request) as answer:
            # What it says otherwise may have the token in it.
            if answer.status == _FORBIDDEN:
                raise Forbidden(what, "this needs the ClusterRole toyrental-token-reviewer", 403)
            if answer.status != _CREATED:
                raise Unavailable(what, f"the API server answers {answer.status}", answer.status)
            status = json.loads(await answer.read())["status"]
        return str(status["user"]["username"]) if status.get("authenticated") else None
