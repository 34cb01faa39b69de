"""The board in a real browser: by keyboard alone, on a phone, live, and safe."""

from collections.abc import Callable, Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, CDPSession, Page, expect

from dev.chromium import browser as run_browser
from dev.debian import NotToBeHad
from tests.board.test_pages import paid, token_of
from tests.support import Json, Shop, condition, objects
from toyrental.payments.models import PaymentGateway
from toyrental.rentals.models import Rental
from toyrental.repairs.models import RepairTicket
from toyrental.stores.models import Toy

DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 360, "height": 740}
FINGER = 44
"""How many pixels high a button is at least, to be hit by a finger (WCAG 2.5.5)."""
MOST_TABS = 80
WITHIN_MS = 20_000

Opened = Callable[..., Page]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    try:
        with run_browser() as browser:
            yield browser
    except NotToBeHad as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def owner(house: Shop) -> str:
    """Give the token of the owner of a shop in which there is something of everything."""
    stocked(house)
    return token_of(house.person("hana", role="toyrental-store-owner"))


def stocked(house: Shop) -> None:
    house.create(objects.gateway("simulator", "http://127.0.0.1:1"))
    house.set_status(PaymentGateway, "simulator", circuit="Open", deferredPayments=2)
    for name, phase in (("bear", "Available"), ("lion", "Rented"), ("x" * 240, "Damaged")):
        house.create(objects.toy(name, category="plush"))
        house.set_status(Toy, name, phase=phase)
    rented(house, "late", "lion", condition("Overdue", "True"))
    house.create(objects.ticket("seam", toy="x" * 240, description="The seam is open."))
    returned(house, "back")


def rented(house: Shop, name: str, toy: str, *more: Json) -> Rental:
    order = paid(house, name, toy)
    house.patch(Rental, name, spec={"approval": {"decision": "Approved"}})
    said = [condition("Paid", "True"), condition("Ready", "True", message="It is out."), *more]
    house.set_status(Rental, name, phase="Rented", conditions=said)
    return order


def returned(house: Shop, name: str) -> None:
    rented(house, name, "bear")
    house.patch(Rental, name, spec={"desiredState": "Returned"})
    house.set_status(Rental, name, phase="Returned")


@pytest.fixture
def opened(browser: Browser, url: str, house: Shop, owner: str) -> Iterator[Opened]:
    """Open pages as the owner. None may complain, or ask anybody but the board for anything."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def asked(address: str) -> None:
        if not address.startswith(url):
            complaints.append(f"asked for {address}")

    def open_page(*, signed_in: bool = True, **how: object) -> Page:
        context = browser.new_context(base_url=url, **({"viewport": DESKTOP} | how))  # type: ignore[arg-type] # as given
        context.set_default_timeout(WITHIN_MS)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda said: complaints.append(said.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: asked(request.url))
        page.goto("/")
        if signed_in:
            page.get_by_label("Your token").fill(owner)
            page.get_by_role("button", name="Sign in").click()
            page.wait_for_url(f"**/shops/{house.name}")
            expect(page.get_by_text("Live", exact=True)).to_be_visible(timeout=WITHIN_MS)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


def tab_to(page: Page, name: str) -> None:
    """Go on by the Tab key until something of that name has the focus."""
    browser = page.context.new_cdp_session(page)
    passed: list[str] = []
    while len(passed) < MOST_TABS:
        page.keyboard.press("Tab")
        if (focused := read_out(browser)) == name:
            return
        passed.append(focused)
    pytest.fail(f"{name} cannot be reached by Tab; reached were {passed}")


def read_out(browser: CDPSession) -> str:
    """Return what a screen reader is told of the element that has the focus."""
    focused = browser.send("Runtime.evaluate", {"expression": "document.activeElement"})
    which = {"objectId": focused["result"]["objectId"], "fetchRelatives": False}
    (node,) = browser.send("Accessibility.getPartialAXTree", which)["nodes"]
    return str(node.get("name", {}).get("value", ""))


def test_an_order_is_approved_by_keyboard_alone(opened: Opened, house: Shop, owner: str) -> None:
    """R4: Given no mouse, then the owner signs in, finds the order, and approves it."""
    paid(house, "by-keyboard")
    page = opened(signed_in=False)
    tab_to(page, "Your token")
    page.keyboard.type(owner)
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/shops/{house.name}")
    tab_to(page, "Approve bear, order by-keyboard")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status").get_by_text("Order by-keyboard is approved.")).to_be_visible()
    expect(page.locator("#said")).to_be_focused()
    approval = house.get(Rental, "by-keyboard").spec.approval
    assert approval is not None
    assert approval.decision == "Approved"


def test_an_order_is_denied_by_keyboard_alone(opened: Opened, house: Shop) -> None:
    """R4: Given no mouse, then the reason can be opened, written, and sent."""
    paid(house, "unwanted")
    page = opened()
    tab_to(page, "Deny bear, order unwanted")
    page.keyboard.press("Enter")
    tab_to(page, "Why, for the customer")
    page.keyboard.type("It is promised to the school.")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Order unwanted is denied")).to_be_visible()
    approval = house.get(Rental, "unwanted").spec.approval
    assert approval is not None
    assert approval.reason == "It is promised to the school."


def test_a_toy_is_inspected_and_another_sent_to_repair(opened: Opened, house: Shop) -> None:
    """R12, R13: with a mouse, as most do."""
    returned(house, "seen")
    page = opened()
    page.get_by_role("button", name="In order: bear, order seen").click()
    expect(page.get_by_text("The inspection of seen is recorded.")).to_be_visible()
    inspection = house.get(Rental, "seen").spec.inspection
    assert inspection is not None
    assert inspection.result == "Accepted"
    page.get_by_label("Send bear to repair").click()
    page.get_by_label("What is wrong with it").locator("visible=true").fill("An ear is off.")
    page.get_by_role("button", name="Open a ticket").click()
    expect(page.get_by_role("status").get_by_text("Ticket bear-")).to_be_visible()
    assert "An ear is off." in [ticket.spec.description for ticket in house.find(RepairTicket)]


def test_news_come_without_a_reload_and_disturb_nobody(opened: Opened, house: Shop) -> None:
    """R3, R10: Given a page on which somebody writes, when an order comes, then they write on."""
    paid(house, "first")
    page = opened()
    page.evaluate("window.same = true")
    page.get_by_label("Deny bear, order first").click()
    field = page.get_by_label("Why, for the customer").locator("visible=true")
    field.fill("It is ")
    paid(house, "second")
    expect(page.get_by_role("button", name="Approve bear, order second")).to_be_visible()
    page.keyboard.type("broken")
    expect(field).to_have_value("It is broken")
    expect(page.locator("#live")).to_contain_text("to approve")
    assert page.evaluate("window.same")


def test_it_fits_a_phone(opened: Opened, house: Shop) -> None:
    """Given the narrowest phone, then nothing sticks out, and buttons are of a finger's height."""
    paid(house, "on-the-way")
    page = opened(viewport=PHONE, has_touch=True, is_mobile=True)
    assert sticks_out(page) == []
    heights = page.locator("main button:visible, main summary:visible").evaluate_all(
        "found => found.map(each => each.getBoundingClientRect().height)"
    )
    assert heights
    assert min(heights) >= FINGER
    page.get_by_role("button", name="Sign out").tap()
    page.wait_for_url("**/sign-in")
    assert sticks_out(page) == []


def sticks_out(page: Page) -> list[str]:
    """Return what is wider than the page."""
    found: list[str] = page.evaluate(
        """() => [...document.querySelectorAll("body *")]
            .filter(each => !each.closest(".unseen, .skip"))
            .filter(each => each.getBoundingClientRect().right > window.innerWidth + 0.5)
            .map(each => each.outerHTML.slice(0, 80))"""
    )
    wide: bool = page.evaluate("() => document.documentElement.scrollWidth > window.innerWidth")
    return [*found, *["the page"] * wide]


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_nothing_is_in_the_way_of_a_screen_reader(
    opened: Opened, house: Shop, colours: str
) -> None:
    """Given every page, then axe-core finds no fault: names, roles, landmarks, contrast."""
    paid(house, f"read-out-{colours}")
    page = opened(signed_in=False, color_scheme=colours)
    assert faults(page) == []
    page = opened(color_scheme=colours)
    for summary in page.locator("summary").all():
        summary.click()
    assert faults(page) == []
    unknown = page.context.new_page()
    unknown.goto("/shops/default")
    assert faults(unknown) == []


def faults(page: Page) -> list[str]:
    found = Axe().run(page).response["violations"]
    return [f"{each['id']}: {each['help']} {each['nodes'][0]['html'][:200]}" for each in found]


def test_what_is_read_out_first_is_what_matters(opened: Opened) -> None:
    """Given a screen reader, then there are landmarks, and headings that name each list."""
    page = opened()
    for landmark in ("banner", "main"):
        expect(page.get_by_role(landmark)).to_be_visible()
    for name in ("To approve", "To inspect", "Overdue", "Out and for today", "Stock"):
        expect(page.get_by_role("heading", name=name, exact=True)).to_be_visible()
    tab_to(page, "Skip to the content")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


def test_a_script_that_gets_into_the_page_does_not_run(
    browser: Browser, url: str, house: Shop, owner: str
) -> None:
    """Given a page into which a script was put, then its policy keeps it from running."""
    with browser.new_context(base_url=url) as context:
        page = context.new_page()
        page.goto("/")
        page.get_by_label("Your token").fill(owner)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url(f"**/shops/{house.name}")
        violated = page.evaluate(
            """() => new Promise(resolve => {
                document.addEventListener(
                    "securitypolicyviolation", event => resolve(event.violatedDirective));
                const script = document.createElement("script");
                script.textContent = "window.stolen = true";
                document.body.append(script);
            })"""
        )
        assert violated.startswith("script-src")
        assert page.evaluate("window.stolen") is None


def test_who_is_signed_out_elsewhere_is_told(opened: Opened, house: Shop) -> None:
    """Given a page left open, when its session ends, then it leads to signing in again."""
    page = opened()
    other = page.context.new_page()
    other.goto(f"/shops/{house.name}")
    other.get_by_role("button", name="Sign out").click()
    other.wait_for_url("**/sign-in")
    page.wait_for_url("**/sign-in")
