"""A headless Chromium: this machine's, else Debian's, unpacked with the libraries it needs."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from dev import debian

NAMES = ("chromium", "chromium-browser", "google-chrome")

_FONTS = """\
<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  <include ignore_missing="yes">/etc/fonts/fonts.conf</include>
  <dir>{unpacked}/usr/share/fonts</dir>
  <dir>/usr/share/fonts</dir>
  <match><edit name="family" mode="append_last"><string>DejaVu Sans</string></edit></match>
  <cachedir prefix="xdg">fontconfig</cachedir>
</fontconfig>
"""


@contextmanager
def browser() -> Iterator[Browser]:
    """Run a browser of its own. Raises NotToBeHad."""
    program, environment = _program()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program, env={**os.environ, **environment}
        )
        yield browser
        browser.close()


def _program() -> tuple[Path, dict[str, str]]:
    """Return the program, and in which environment it finds what it needs."""
    for name in NAMES:
        if found := shutil.which(name):
            return Path(found), {}
    unpacked = debian.unpacked("chromium", with_needs=True)
    libraries = {str(path.parent) for path in unpacked.rglob("*.so*")}
    fonts = unpacked / "fonts.conf"
    fonts.write_text(_FONTS.format(unpacked=unpacked))
    return unpacked / "usr/lib/chromium/chromium", {
        "LD_LIBRARY_PATH": ":".join(sorted(libraries)),
        "FONTCONFIG_FILE": str(fonts),
    }
