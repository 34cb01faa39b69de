"""HTTP as it was spoken: a server in the middle that writes down what passes, for people to review.

What differs from run to run is given a name, and no secret is written down.
"""

import json
import re
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, quote, unquote

import httpx
from aiohttp import web

from tests.payments.servers import Answer, Asked, Server
from tests.support.loopback import NO_TLS

ASKED_HEADERS = ("Authorization", "Content-Type", "Idempotency-Key", "Stripe-Version")
TOLD_HEADERS = ("Content-Type", "Retry-After", "Idempotent-Replayed")

_IDS = re.compile(r"\b(acct|card|ch|cus|pi|pm|re|seti|src|txn)_(?!card_)[A-Za-z0-9]{8,}\b")
_SECRET = re.compile(r'(?<="client_secret": ")[^"]+')
_TIMES = (
    re.compile(r"\b17\d{8}\b"),  # by Unix's clock
    re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d"),
)


class Spoken(NamedTuple):
    """A request and its answer."""

    asked: Asked
    body: str
    status: int
    headers: dict[str, str]
    told: str


class Recorder(Server):
    """Passes requests on to a provider, and keeps what was said."""

    def __init__(self, endpoint: str) -> None:
        super().__init__()
        self.spoken: list[Spoken] = []
        self.instead: Answer | None = None
        """What answers in the provider's place, if anything does."""

        self._endpoint = endpoint

    async def answer(self, asked: Asked) -> web.StreamResponse:
        body = await asked.request.read()
        if self.instead is not None:
            response = await self.instead(asked)
            assert isinstance(response, web.Response)
        else:
            response = await self._forward(asked, body)
        self.spoken.append(
            Spoken(
                asked, body.decode(), response.status, dict(response.headers), response.text or ""
            )
        )
        return response

    async def _forward(self, asked: Asked, body: bytes) -> web.Response:
        headers = {name: asked.headers[name] for name in ASKED_HEADERS if name in asked.headers}
        async with httpx.AsyncClient(trust_env=False, verify=NO_TLS) as client:
            answer = await client.request(
                asked.method, self._endpoint + asked.request.raw_path, headers=headers, content=body
            )
        kept = {name: answer.headers[name] for name in TOLD_HEADERS if name in answer.headers}
        return web.Response(status=answer.status_code, headers=kept, body=answer.content)


class Log:
    """What is written of a scenario."""

    def __init__(self, secrets: dict[str, str]) -> None:
        self._names = dict(secrets)
        self._numbers: dict[str, int] = {}
        self._lines: list[str] = []

    def calls(self, value: str, name: str) -> None:
        """Give a value that differs from run to run a name."""
        self._names[value] = name

    def adds(self, what: str, spoken: list[Spoken], answer: Any) -> None:
        """Write down what was asked, all that was spoken, and what the adapter made of it."""
        self._lines += [f"### {what}", ""]
        for each in spoken:
            self._lines += [*_asked(each), "", *_told(each), ""]
        self._lines += [f"=> {answer!r}", "", ""]

    def __str__(self) -> str:
        text = "\n".join(self._lines).rstrip() + "\n"
        for value, name in self._names.items():
            for form in (quote(value, safe=""), value):
                text = text.replace(form, name)
        text = _SECRET.sub("<secret>", text)
        for pattern in _TIMES:
            text = pattern.sub("<time>", text)
        return _IDS.sub(self._numbered, text)

    def _numbered(self, match: re.Match[str]) -> str:
        if match[0] not in self._names:
            self._numbers[match[1]] = self._numbers.get(match[1], 0) + 1
            self._names[match[0]] = f"{match[1]}_{self._numbers[match[1]]}"
        return self._names[match[0]]


def _asked(spoken: Spoken) -> list[str]:
    asked = spoken.asked
    query = asked.request.raw_path.partition("?")[2]
    path = asked.path + (f"?{unquote(query)}" if query else "")
    lines = [f"{asked.method} {path}", *_headers(asked.headers, ASKED_HEADERS)]
    return [*lines, "", *_body(spoken.body)] if spoken.body else lines


def _told(spoken: Spoken) -> list[str]:
    return [
        f"HTTP {spoken.status}",
        *_headers(spoken.headers, TOLD_HEADERS),
        "",
        *_body(spoken.told),
    ]


def _headers(headers: dict[str, str], names: tuple[str, ...]) -> list[str]:
    found = {name.title(): value for name, value in headers.items()}
    shown = {name: found[name] for name in names if name in found}
    if "Authorization" in shown:
        shown["Authorization"] = f"{shown['Authorization'].partition(' ')[0]} <key>"
    return [f"{name}: {value}" for name, value in shown.items()]


def _body(text: str) -> list[str]:
    """Write JSON with an indent, and a form as one parameter a line."""
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False).splitlines()
    except ValueError:
        return [f"{name}={value}" for name, value in parse_qsl(text)]
