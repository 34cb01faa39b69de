"""Signals for programs that tests start."""

import signal


def heed_ctrl_c() -> None:
    """Undo what a shell does to programs in the background: they inherit that SIGINT is ignored.

    For `preexec_fn` of subprocess.Popen; it takes no lock.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
