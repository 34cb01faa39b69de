"""What kubectl runs to prove who somebody is: an exec credential plugin.

    python -m dev.signin.credential FOLDER mina

The folder is the provider's (`dev.cluster.oidc`). A token is kept there and used until shortly
before it expires; only then are the libraries loaded that sign in, for kubectl runs this with
each command.
"""

import json
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

MARGIN = timedelta(seconds=60)


def main() -> None:
    """Print an ExecCredential, or say why there is none and exit with 1."""
    folder, name = Path(sys.argv[1]), sys.argv[2]
    kept = folder / "tokens" / f"{name}.json"
    print(json.dumps(_still_good(kept) or _signed_in(folder, name, kept)))


def _still_good(kept: Path) -> dict[str, Any] | None:
    try:
        credential: dict[str, Any] = json.loads(kept.read_text())
    except (OSError, ValueError):
        return None
    expires = datetime.fromisoformat(credential["status"]["expirationTimestamp"])
    return credential if datetime.now(UTC) + MARGIN < expires else None


def _signed_in(folder: Path, name: str, kept: Path) -> dict[str, Any]:
    from dev.signin import flow  # noqa: PLC0415 -- half a second that most commands do without

    try:
        token, expires = flow.sign_in(folder, name)
    except flow.SignInError as error:
        sys.exit(f"{name} could not be signed in: {error}")
    credential = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "status": {"token": token, "expirationTimestamp": expires.isoformat()},
    }
    _keep(kept, json.dumps(credential))
    return credential


def _keep(path: Path, content: str) -> None:
    """Write a file for its owner only, whole or not at all: several may be at it."""
    path.parent.mkdir(mode=0o700, exist_ok=True)
    unfinished = path.with_suffix(f".{os.getpid()}")
    unfinished.touch(mode=0o600)
    unfinished.write_text(content)
    unfinished.rename(path)


if __name__ == "__main__":
    main()
