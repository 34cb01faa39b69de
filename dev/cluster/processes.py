"""The processes of a control plane, as the operating system knows them.

Nothing is recorded that could go stale: a process is ours when its argv[0] is the path below our
own state directory that we start it by. So a crash at any moment leaves nothing that the next
start or stop does not find, and a process id that somebody else has since been given is never
taken for one of ours.
"""

import contextlib
from collections.abc import Iterator

import psutil

from .layout import PROCESSES, Layout


def find(layout: Layout) -> dict[str, psutil.Process]:
    """Return the running processes of this state directory by name; zombies are not running."""
    return dict(_ours(layout))


def kill(layout: Layout) -> list[str]:
    """Kill all of them and wait until they are gone; return the names of those that ran.

    Their data is thrown away, so there is nothing that a gentler end would save.
    """
    running = list(_ours(layout))
    for _, process in running:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()  # psutil checks that the id was not reused meanwhile
    psutil.wait_procs([process for _, process in running], timeout=10)
    return sorted({name for name, _ in running})


def _ours(layout: Layout) -> Iterator[tuple[str, psutil.Process]]:
    names = {str(layout.program(name)): name for name in PROCESSES}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            command = process.cmdline()
            if command and command[0] in names:
                yield names[command[0]], process
