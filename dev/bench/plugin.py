"""The command behind `make bench-plugin`: what a start of `kubectl toyrental` costs beside kubectl.

All take turns on one control plane, in one run, so that the ratios hold on a busy machine as well.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated, NamedTuple

import typer
from rich.console import Console
from rich.table import Table

from dev.bench import programs
from dev.bench.console import for_people
from dev.bench.errors import BenchError
from dev.bench.progress import Progress
from dev.cluster import Cluster, ControlPlane, build
from dev.cluster.console import plain

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")

PLUGIN = Path(sys.executable).with_name("kubectl-toyrental")
SHOP = "bench"


class Measured(NamedTuple):
    """A command, its CPU in milliseconds, what it is held against, and what it may take."""

    command: str
    milliseconds: float
    beside: str = ""
    most: float | None = None


@app.command()
def bench(
    rounds: Annotated[int, typer.Option(min=1, help="How often each command has its turn.")] = 10,
    toys: Annotated[int, typer.Option(min=1, max=5000, help="How many toys are in stock.")] = 100,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")] = False,
) -> None:
    """Measure the CPU time of the plugin beside kubectl's, on a real API server of its own.

    The least of all rounds counts: what a command takes when nothing is in its way. The aims are
    those of an idle machine.
    """
    console = plain()
    with (
        for_people(console),
        Progress(console) as progress,
        tempfile.TemporaryDirectory(prefix="toyrental-bench-") as folder,
    ):
        build.program(console)  # may take minutes the first time, and shows its own progress
        progress.begin("starting a control plane")
        plane = ControlPlane(Path(folder) / "plane", ephemeral=True, apply=programs.brought())
        with plane as cluster:
            _stock(cluster, toys)
            progress.begin("measuring", rounds)
            found = _measure(cluster, rounds)
    if as_json:
        print(json.dumps([each._asdict() for each in found], indent=2))
    else:
        _show(found)


def _stock(cluster: Cluster, toys: int) -> None:
    cluster.run_kubectl("create", "namespace", SHOP)
    rate = {"currency": "KRW", "minorUnits": 3000}
    items = [
        {
            "apiVersion": "toyrental.dev/v1alpha1",
            "kind": "Toy",
            "metadata": {"name": f"toy-{number}"},
            "spec": {"title": f"Toy {number}", "dailyRate": rate},
        }
        for number in range(toys)
    ]
    content = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
    cluster.run_kubectl("create", "--namespace", SHOP, "-f", "-", stdin=content)


def _measure(cluster: Cluster, rounds: int) -> list[Measured]:
    kubectl, where = str(cluster.kubectl), ("-n", SHOP, "--kubeconfig", str(cluster.kubeconfig))
    commands = {
        "kubectl version --client": [kubectl, "version", "--client"],
        "kubectl get toys": [kubectl, "get", "toys", *where],
        "kubectl toyrental --help": [str(PLUGIN), "--help"],
        "kubectl toyrental status": [str(PLUGIN), "status", *where],
        "kubectl toyrental toys": [str(PLUGIN), "toys", *where],
    }
    least = dict.fromkeys(commands, float("inf"))
    for _ in range(rounds):
        for name, command in commands.items():
            least[name] = min(least[name], _cpu(command))
    version, get, told, status, listed = least.items()
    return [
        Measured(*version),
        Measured(*get),
        Measured(*told, beside=version[0], most=300),
        Measured(*status, beside=get[0], most=600),
        Measured(*listed, beside=get[0]),
    ]


def _cpu(command: list[str]) -> float:
    """Return how many milliseconds of CPU a command takes. Raises BenchError where it fails."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if ended.returncode != 0:
        raise BenchError(f"`{' '.join(command)}` failed: {ended.stderr.strip()}")
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return round(used * 1000, 1)


def _show(found: list[Measured]) -> None:
    by_name = {each.command: each.milliseconds for each in found}
    table = Table("command", "CPU", "aim", "ratio", box=None, pad_edge=False)
    for each in found:
        most = f"at most {each.most:.0f} ms" if each.most else ""
        ratio = (
            f"{each.milliseconds / by_name[each.beside]:.1f} x {each.beside}" if each.beside else ""
        )
        table.add_row(each.command, f"{each.milliseconds:.0f} ms", most, ratio)
    console = Console(highlight=False, width=120)
    console.print(table)
    busy, cores = os.getloadavg()[0], os.cpu_count()
    console.print(f"The machine has {cores} cores; {busy:.1f} processes wanted one, on average.")


if __name__ == "__main__":
    app(prog_name="python -m dev.bench.plugin")
