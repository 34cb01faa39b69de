"""The board as people see it: photographed in a real Chromium."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import expect

from dev.chromium import browser

WITHIN_MS = 20_000


@dataclass(frozen=True)
class Screen:
    """A device: the window in CSS pixels, and how many real ones each of them has."""

    name: str
    width: int
    height: int
    scale: float = 1.0
    colours: str = "light"


SCREENS = (
    Screen("desk", 1280, 1150),
    Screen("phone", 390, 844, 1.5),
    Screen("phone-dark", 390, 844, 1.5, "dark"),
)


def photograph(url: str, token: str, folder: Path) -> Iterator[Path]:
    """Sign in on each device and take a picture of the shop. Raises NotToBeHad."""
    with browser() as chromium:
        for screen in SCREENS:
            context = chromium.new_context(
                viewport={"width": screen.width, "height": screen.height},
                device_scale_factor=screen.scale,
                color_scheme="dark" if screen.colours == "dark" else "light",
                is_mobile=screen.width < 600,
            )
            page = context.new_page()
            page.goto(url)
            page.get_by_label("Your token").fill(token)
            page.get_by_role("button", name="Sign in").click()
            expect(page.get_by_text("Live", exact=True)).to_be_visible(timeout=WITHIN_MS)
            expect(page.get_by_text("toys available")).to_be_visible()
            path = folder / f"board-{screen.name}.png"
            page.screenshot(path=path)
            context.close()
            yield path
