"""The command behind `make pictures`."""

import asyncio
import random
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer
from PIL import Image

from dev.bench.api import Access, Api
from dev.cluster import Cluster, ClusterError, ControlPlane, build, manifests, programs
from dev.cluster.console import plain
from dev.cluster.layout import Layout
from dev.debian import NotToBeHad
from dev.demo import house
from dev.generate.grafana import BOARDS
from dev.pictures import screens, sheet
from dev.pictures.day import Day

FOLDER = manifests.REPOSITORY / "docs" / "pictures"
SAMPLES = manifests.REPOSITORY / "manifests" / "samples"
COLOURS = 256
MOST_BYTES = 300_000
SEED = 5


def pictures(
    seconds: Annotated[float, typer.Option(min=20, help="How long the day lasts.")] = 120,
    folder: Annotated[
        Path, typer.Option("--folder", file_okay=False, help="Where the pictures go.")
    ] = FOLDER,
) -> None:
    """Draw the Grafana dashboards and photograph the board, of a shop that really runs.

    A control plane, the operator, the simulator, the board and a Prometheus are started on
    loopback, a busy day is played, and all is stopped again.
    """
    console = plain()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        build.program(console)
        with tempfile.TemporaryDirectory(prefix="toyrental-pictures-") as name:
            plane = ControlPlane(Path(name), ephemeral=True, apply=manifests.present())
            with plane as cluster:
                try:
                    for path in _drawn(cluster, plane.layout, folder, seconds):
                        console.print(f"{path}, {_made_small(path) / 1000:.0f} kB")
                finally:
                    programs.stop(plane.layout)
    except (ClusterError, NotToBeHad) as error:
        console.print(f"Error: {error}")
        raise typer.Exit(1) from None


def _drawn(cluster: Cluster, layout: Layout, folder: Path, seconds: float) -> list[Path]:
    simulator = house.start_simulator(layout)
    house.start_operator(layout, cluster)
    prometheus = house.start_prometheus(layout)
    toys = _opened(cluster, simulator)
    board = house.start_board(layout, cluster, house.SHOP)
    start = time.time()
    asyncio.run(_played(cluster, toys, seconds))
    cluster.run_kubectl("apply", "-f", str(SAMPLES / "30-repairticket.yaml"), _OF_SHOP)
    token = cluster.run_kubectl("create", "token", house.OWNER, _OF_SHOP).strip()
    drawn = list(screens.photograph(board, token, folder))
    source = sheet.Source(prometheus, start, time.time())
    for each in BOARDS:
        drawn.append(folder / f"grafana-{each.name}.png")
        sheet.draw(each, source, drawn[-1])
    return drawn


_OF_SHOP = f"--namespace={house.SHOP}"


def _opened(cluster: Cluster, simulator: str) -> list[str]:
    """Open the shop of the samples, and return the names of its toys."""

    def kubectl(*arguments: str) -> str:
        return cluster.run_kubectl(*arguments, _OF_SHOP)

    cluster.run_kubectl("create", "namespace", house.SHOP)
    kubectl("create", "serviceaccount", house.OWNER)
    account = f"--serviceaccount={house.SHOP}:{house.OWNER}"
    kubectl("create", "rolebinding", house.OWNER, "--clusterrole=toyrental-store-owner", account)
    for sample in ("00-shop", "10-toys", "40-dashboard"):
        kubectl("apply", "-f", str(SAMPLES / f"{sample}.yaml"))
    endpoint = f'{{"spec":{{"simulator":{{"endpoint":"{simulator}"}}}}}}'
    kubectl("patch", "paymentgateway", "simulator", "--type=merge", "-p", endpoint)
    kubectl("wait", "store/default", "paymentgateway/simulator", "--for=condition=Ready")
    names = kubectl("get", "toys", "--output=name").split()
    return [name.rpartition("/")[2] for name in names]


async def _played(cluster: Cluster, toys: list[str], seconds: float) -> None:
    chance = random.Random(SEED)  # noqa: S311 - plays, guards nothing
    async with Api(Access.read(cluster.kubeconfig)) as api:
        await Day(api, house.SHOP, toys, chance).play(seconds)


def _made_small(path: Path) -> int:
    """Reduce a picture to as many colours as it needs; return its bytes.

    Raises ClusterError where they are too many to be kept in a repository.
    """
    with Image.open(path) as picture:
        small = picture.convert("RGB").quantize(
            COLOURS, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE
        )
    small.save(path, optimize=True)
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise ClusterError(f"{path} has {size} bytes, more than {MOST_BYTES}")
    return size


if __name__ == "__main__":
    typer.run(pictures)
