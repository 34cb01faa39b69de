"""The pages, as a web application."""

import asyncio
import json
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import tzinfo
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from toyrental.board import actions
from toyrental.board.reading import access, read
from toyrental.board.sessions import Session, Sessions
from toyrental.board.view import ShopView, known_as, shop_view
from toyrental.intents import Unusable
from toyrental.kube.client import Client
from toyrental.kube.errors import ApiError
from toyrental.shared.clock import utc_now

COOKIE = "toyrental-board"
LONGEST_FORM = 64 * 1024
MOST_STREAMS = 100
SECTIONS = ("summary", "waiting", "overdue", "today", "repairs", "payments", "stock")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
    " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}

_SHOP_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_HERE = Path(__file__).parent


class Settings(NamedTuple):
    """Which shops are shown (none: any), in which zone, and how the page behaves."""

    zone: tzinfo
    shops: tuple[str, ...] = ()
    https: bool = False
    idle_seconds: float = 1800
    look_seconds: float = 2


class Refused(Exception):
    """The page answers with an error of its own."""

    def __init__(self, status: int, title: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.title = title


class SignedOut(Exception):
    """Nobody is signed in, or not any more."""


Connect = Callable[[str], Client]
"""Makes a client, not entered yet, of whoever a token belongs to."""

Endpoint = Callable[[Request], Awaitable[Response]]


def build_app(settings: Settings, connect: Connect, closing: asyncio.Event) -> Starlette:
    """Return the application; live pages end once `closing` is set."""
    board = _Board(settings, connect, closing)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await board.sessions.close_all()

    return Starlette(
        routes=[
            Route("/", board.home),
            Route("/sign-in", board.sign_in, methods=["GET", "POST"]),
            Route("/sign-out", board.sign_out, methods=["POST"]),
            Route("/shops", board.choose),
            Route("/shops/{shop}", board.shop),
            Route("/shops/{shop}/live", board.live),
            Route("/shops/{shop}/rentals/{name}/{action}", board.on_rental, methods=["POST"]),
            Route("/shops/{shop}/toys/{name}/repair", board.repair, methods=["POST"]),
            Mount("/static", StaticFiles(directory=_HERE / "static")),
        ],
        middleware=[Middleware(_Headers)],
        exception_handlers={
            SignedOut: board.signed_out,
            Refused: board.refused,
            ApiError: board.api_error,
            404: board.not_found,
        },
        lifespan=lifespan,
    )


class _Board:
    def __init__(self, settings: Settings, connect: Connect, closing: asyncio.Event) -> None:
        self.sessions = Sessions(settings.idle_seconds)
        self._settings = settings
        self._connect = connect
        self._closing = closing
        self._streams = 0
        self._templates = Environment(
            loader=PackageLoader("toyrental.board"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    async def home(self, request: Request) -> Response:
        session = await self._session(request)
        if len(self._settings.shops) == 1:
            return RedirectResponse(f"/shops/{self._settings.shops[0]}", 303)
        return self._page("home.html", session=session, shops=self._settings.shops)

    async def choose(self, request: Request) -> Response:
        """Lead on from the form that asks for a shop's name."""
        await self._session(request)
        return RedirectResponse(
            f"/shops/{self._shop_of(request.query_params.get('name', ''))}", 303
        )

    async def sign_in(self, request: Request) -> Response:
        if request.method == "GET":
            return self._page("sign-in.html", session=None, fault="")
        _refuse_other_sites(request)
        token = (await _form(request)).get("token", "").strip()
        # A header takes no more than this; anything else is no token.
        if not re.fullmatch(r"[\x21-\x7e]+", token):
            return self._sign_in_again("Paste the token: one long word, as it was given to you.")
        client = await self._connect(token).__aenter__()
        try:
            user = await client.who_am_i()
        except ApiError as error:
            await client.__aexit__(None, None, None)
            if error.status != 401:
                raise
            return self._sign_in_again(
                "The API server does not know this token, or it has expired. Ask for a new one."
            )
        # Whoever was signed in before in this browser is not any more.
        await self.sessions.close(request.cookies.get(COOKIE, ""))
        response = RedirectResponse("/", 303)
        response.set_cookie(
            COOKIE,
            await self.sessions.open(known_as(user), client),
            httponly=True,
            samesite="strict",
            secure=self._settings.https or request.url.scheme == "https",
        )
        return response

    async def sign_out(self, request: Request) -> Response:
        session = await self._session(request)
        await self._checked_form(request, session)
        await self.sessions.close(request.cookies[COOKIE])
        response = RedirectResponse("/sign-in", 303)
        response.delete_cookie(COOKIE)
        return response

    async def shop(self, request: Request) -> Response:
        session = await self._session(request)
        view = await self._view(session, self._shop_of(request.path_params["shop"]))
        said = session.take_say()
        return self._page("shop.html", session=session, view=view, said=said, sections=SECTIONS)

    async def live(self, request: Request) -> Response:
        session = await self._session(request, active=False)
        shop = self._shop_of(request.path_params["shop"])
        if self._streams >= MOST_STREAMS:
            raise Refused(
                503, "Too many pages are open", "Close some, or reload from time to time."
            )
        headers = {"X-Accel-Buffering": "no"}
        return StreamingResponse(
            self._changes(session, shop, request.cookies[COOKIE]),
            media_type="text/event-stream",
            headers=headers,
        )

    async def _changes(self, session: Session, shop: str, name: str) -> AsyncIterator[str]:
        """Yield each section whenever it has changed, until the session ends."""
        shown: dict[str, str] = {}
        self._streams += 1
        try:
            while not self._closing.is_set():
                if await self.sessions.find(name, active=False) is None:
                    yield _event("ended", "")
                    return
                try:
                    sections = self._sections(session, await self._view(session, shop))
                except ApiError as error:
                    if error.status == 401:
                        await self.sessions.close(name)
                        continue
                    yield _event("trouble", str(error))
                else:
                    for section, html in sections.items():
                        if shown.get(section) != html:
                            yield _event("section", {"id": section, "html": html})
                    shown = sections
                    yield _event("looked", "")
                await self._pause()
        finally:
            self._streams -= 1

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(self._settings.look_seconds):
                await self._closing.wait()
        except TimeoutError:
            pass

    async def on_rental(self, request: Request) -> Response:
        params = request.path_params

        async def act(session: Session, shop: str, form: dict[str, str]) -> str:
            change = actions.on_rental(shop, params["name"], params["action"], form)
            await session.client.patch(change.key, change.patch)
            return change.done

        return await self._act(request, act)

    async def repair(self, request: Request) -> Response:
        toy = request.path_params["name"]

        async def act(session: Session, shop: str, form: dict[str, str]) -> str:
            ticket = actions.ticket(shop, toy, form, secrets.token_hex(3))
            await session.client.create(ticket)
            return f"Ticket {ticket.name} is open."

        return await self._act(request, act)

    async def _act(
        self, request: Request, act: Callable[[Session, str, dict[str, str]], Awaitable[str]]
    ) -> Response:
        """Do something as the person, and say on the page what came of it."""
        session = await self._session(request)
        form = await self._checked_form(request, session)
        shop = self._shop_of(request.path_params["shop"])
        try:
            session.say = (await act(session, shop, form), False)
        except Unusable as error:
            session.say = (str(error), True)
        except ApiError as error:
            if error.status == 401:
                raise
            session.say = (f"The API server refused: {error}", True)
        return RedirectResponse(f"/shops/{shop}", 303)

    async def _view(self, session: Session, shop: str) -> ShopView:
        seen, may = await asyncio.gather(read(session.client, shop), access(session, shop))
        return shop_view(shop, seen, may, utc_now(), self._settings.zone)

    def _sections(self, session: Session, view: ShopView) -> dict[str, str]:
        return {
            name: self._render(f"sections/{name}.html", session=session, view=view)
            for name in SECTIONS
        }

    async def _session(self, request: Request, *, active: bool = True) -> Session:
        session = await self.sessions.find(request.cookies.get(COOKIE, ""), active=active)
        if session is None:
            raise SignedOut
        return session

    async def _checked_form(self, request: Request, session: Session) -> dict[str, str]:
        _refuse_other_sites(request)
        form = await _form(request)
        if not secrets.compare_digest(form.get("csrf", "").encode(), session.csrf.encode()):
            raise Refused(403, "Not done", "The form is not from this page; reload it, try again.")
        return form

    def _shop_of(self, name: str) -> str:
        if not _SHOP_NAME.fullmatch(name):
            raise Refused(
                404, "No such shop", "A shop's name has small letters, digits and dashes."
            )
        if self._settings.shops and name not in self._settings.shops:
            raise Refused(404, "No such shop", f"This board does not show a shop named {name}.")
        return name

    def _render(self, template: str, **values: Any) -> str:
        return self._templates.get_template(template).render(values)

    def _page(self, template: str, status: int = 200, **values: Any) -> Response:
        return HTMLResponse(self._render(template, **values), status)

    def _sign_in_again(self, fault: str) -> Response:
        return self._page("sign-in.html", 401, session=None, fault=fault)

    async def signed_out(self, request: Request, _: Exception) -> Response:
        if request.url.path.endswith("/live"):
            return Response(status_code=401)
        return RedirectResponse("/sign-in", 303)

    async def refused(self, _: Request, error: Exception) -> Response:
        assert isinstance(error, Refused)  # noqa: S101 # as registered
        return self._error(error.status, error.title, str(error))

    async def api_error(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, ApiError)  # noqa: S101 # as registered
        if error.status == 401:
            await self.sessions.close(request.cookies.get(COOKIE, ""))
            return await self.signed_out(request, error)
        return self._error(502, "The API server does not answer as it should", str(error))

    async def not_found(self, _: Request, __: Exception) -> Response:
        return self._error(404, "No such page", "Go back to the shop.")

    def _error(self, status: int, title: str, message: str) -> Response:
        return self._page("error.html", status, session=None, title=title, message=message)


class _Headers:
    """Adds the headers that keep a page safe to every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                more = [(name.lower().encode(), text.encode()) for name, text in HEADERS.items()]
                message["headers"] = [*message["headers"], *more]
            await send(message)

        await self._app(scope, receive, send_with_headers)


def _refuse_other_sites(request: Request) -> None:
    """Refuse a form that another site's page sends. Who is no browser sends no such headers."""
    site = request.headers.get("sec-fetch-site", "same-origin")
    origin = request.headers.get("origin")
    foreign = origin is not None and urlsplit(origin).netloc != request.headers.get("host")
    if foreign or site not in {"same-origin", "none"}:
        raise Refused(403, "Not done", "The form comes from another site.")


async def _form(request: Request) -> dict[str, str]:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > LONGEST_FORM:
            raise Refused(413, "Not done", "That is too long; say it in fewer words.")
    return dict(parse_qsl(body.decode(errors="replace"), keep_blank_values=True))


def _event(name: str, data: object) -> str:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n"
