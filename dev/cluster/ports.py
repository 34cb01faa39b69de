"""Ports on loopback that nobody uses."""

import contextlib
import socket


def free(count: int) -> list[int]:
    """Return so many different free TCP ports of 127.0.0.1.

    They are only free, not held: whoever is told to use one must cope with another process having
    been faster (`ControlPlane.start` tries again with others).
    """
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
