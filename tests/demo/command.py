"""Running one of the repository's commands as a person does."""

import os
import subprocess
import sys

from dev.cluster.manifests import REPOSITORY


def run(module: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command, and return what it showed."""
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        env={**os.environ, "NO_COLOR": "1", **variables},
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=240,
    )
