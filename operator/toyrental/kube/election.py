"""Leader election by a Lease: what one candidate knows of it, and what follows from that.

Pure. Every method is told the time, in seconds of this process's own monotonic clock. The times
that others wrote into the Lease are never read: clocks may differ as they like. Two rules make it
safe:

- A leader counts from when it *sent* the last renewal that was accepted, and works no longer than
  RENEW_DEADLINE_SECONDS.
- A candidate counts from when it *saw* the Lease change, waits for as long as the Lease says
  (LEASE_SECONDS, which is more), and then writes on the very version that it saw.
"""

import math
from dataclasses import dataclass, replace

LEASE_SECONDS = 10
"""How long a Lease that nobody renews is left to its holder: the most of a fail-over."""

RENEW_DEADLINE_SECONDS = 7.0
"""How long after its last renewal a leader works on; the rest is for clocks that run unevenly."""

RENEW_SECONDS = 2.0
LOOK_SECONDS = 1.0
LOOK_AGAIN_SECONDS = 0.5
RELEASED_SECONDS = 1


@dataclass(frozen=True)
class Lease:
    """A Lease as the API server holds it; a version of "" is one that is not there yet."""

    holder: str
    seconds: int = LEASE_SECONDS
    transitions: int = 0
    version: str = ""
    serves: str = ""
    """What its holder works on, in words: others with the same Lease should do the same."""

    @property
    def released(self) -> bool:
        """Whether its holder let go of it. A holder removed by hand may yet be at work."""
        return not self.holder and self.seconds == RELEASED_SECONDS

    def let_go(self) -> "Lease":
        """Return the Lease as its holder leaves it to others."""
        return replace(self, holder="", seconds=RELEASED_SECONDS)


class Election:
    """What the candidate `identity` knows. Nobody else may ever bear the same identity."""

    def __init__(self, identity: str, serves: str = "") -> None:
        self.identity = identity
        self.serves = serves
        self.known: Lease | None = None
        self._free_from = -math.inf
        self._leads_until = -math.inf
        self._in_doubt = True

    def leads(self, now: float) -> bool:
        """Tell whether this one may work."""
        return now < self._leads_until

    def left(self, now: float) -> float:
        """Return for how many seconds more it leads, unless it renews."""
        return max(self._leads_until - now, 0.0)

    def must_look(self, now: float) -> bool:
        """Tell whether the Lease has to be read before anything is written."""
        return self._in_doubt or not self.leads(now)

    def saw(self, lease: Lease | None, now: float) -> None:
        """Take in what the API server holds, or that it holds none.

        Of a Lease that was deleted the time is waited out all the same, if it was known; but no
        longer than a holder may work.
        """
        self._in_doubt = False
        before, self.known = self.known, lease
        if lease is None:
            self._free_from = min(self._free_from, now + LEASE_SECONDS)
            return
        if before is not None and before.version == lease.version:
            return
        ours = lease.holder == self.identity
        if not ours:
            self._leads_until = -math.inf
        self._free_from = now if ours or lease.released else now + lease.seconds

    def claim(self, now: float) -> Lease | None:
        """Return what to write, on the version known: a claim or a renewal, if it is time."""
        if not self.leads(now) and now < self._free_from:
            return None
        known = self.known or Lease(holder="")
        changes_hands = known.version != "" and known.holder != self.identity
        transitions = known.transitions + changes_hands
        return Lease(self.identity, LEASE_SECONDS, transitions, known.version, self.serves)

    def wrote(self, lease: Lease, sent: float) -> None:
        """Take in that a claim, sent at that time, was accepted."""
        self.known = lease
        self._free_from = -math.inf
        self._leads_until = sent + RENEW_DEADLINE_SECONDS

    def doubt(self) -> None:
        """Take in that something was refused or not answered: what was known may be no more."""
        self._in_doubt = True

    def let_go(self) -> bool:
        """Lead no more; tell whether the Lease is this one's, and others wait for its end."""
        self._leads_until = -math.inf
        return self.known is not None and self.known.holder == self.identity

    def rest(self, now: float) -> float:
        """Return in how many seconds to look, or to renew, again."""
        if self.leads(now):
            due = self._leads_until - RENEW_DEADLINE_SECONDS + RENEW_SECONDS
            rest = LOOK_AGAIN_SECONDS if self._in_doubt else max(due - now, 0.0)
            return min(rest, self.left(now))
        return min(self._free_from - now, LOOK_SECONDS) if now < self._free_from else LOOK_SECONDS
