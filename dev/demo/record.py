"""Records a run of the demo into docs/demo.md, and the best of it into README.md.

    make down; python -m dev.demo.record
    make down; python -m dev.demo.record --auth=oidc    # its last scene, into how-to/sign-in.md

It has to be the first shop of a fresh control plane, with the usual port free, for the record to
show what a newcomer sees.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

from dev.cluster.manifests import REPOSITORY

PAGE = REPOSITORY / "docs" / "demo.md"
README = REPOSITORY / "README.md"
SHOWN_IN_README = ("2", "3", "4", "8")

BEGIN = "<!-- begin: a run of the demo, recorded by `python -m dev.demo.record` -->\n"
END = "<!-- end: a run of the demo -->\n"

SIGN_IN_PAGE = REPOSITORY / "docs" / "how-to" / "sign-in.md"
SIGN_IN_BEGIN = (
    "<!-- begin: the end of the demo, recorded by `python -m dev.demo.record --auth=oidc` -->\n"
)
SIGN_IN_END = "<!-- end: the end of the demo -->\n"

_UID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def main() -> None:
    """Play the demo, with the flags given, and write it down."""
    played = subprocess.run(
        [sys.executable, "-m", "dev.demo", *sys.argv[1:]],
        env={**os.environ, "NO_COLOR": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=True,
    ).stdout
    if str(REPOSITORY) in played or "patch paymentgateway" in played:
        sys.exit("This run shows where it was played. Free the port, `make down`, and try again.")
    if "--auth=oidc" in sys.argv:
        put_between_marks(SIGN_IN_PAGE, last_scene(played), SIGN_IN_BEGIN, SIGN_IN_END)
        return
    put_between_marks(PAGE, played)
    put_between_marks(README, best_of(played))


def best_of(played: str) -> str:
    """Return some scenes of a run, and its end."""
    opening, *scenes = re.split(r"\n(?=\d+\. )", played)
    last, ending = scenes[-1].split("\nThe payment provider's ledger", 1)
    chosen = [scene for scene in (*scenes[:-1], last) if scene.split(".")[0] in SHOWN_IN_README]
    ending = "The payment provider's ledger" + ending.split("\nIt all goes on")[0]
    return "\n".join([opening.strip() + "\n…", *chosen, "…", ending])


def last_scene(played: str) -> str:
    """Return the last scene of a run, without its number."""
    scene = re.split(r"\n\d+\. ", played)[-1]
    return scene.split("\nThe payment provider's ledger")[0].strip()


def put_between_marks(page: Path, text: str, begin: str = BEGIN, end: str = END) -> None:
    """Replace what is between the marks of a page."""
    before, _, rest = page.read_text().partition(begin)
    _, _, after = rest.partition(end)
    page.write_text(f"{before}{begin}```console\n{text.strip()}\n```\n{end}{after}")


def commands(played: str) -> list[str]:
    """Return the titles and commands of a run, as they are in every run."""
    lines = (line.rstrip() for line in played.splitlines())
    told = [line for line in lines if re.match(r"\d+\. |   \$ ", line)]
    told = [re.sub(r"toy(-library|rental-demo)[-\w]*", "SHOP", line) for line in told]
    return [_UID.sub("UID", line) for line in told if "patch paymentgateway" not in line]


if __name__ == "__main__":
    main()
