"""Reconciling dashboards: the numbers of the read model, written down now and then."""

import time
from collections.abc import Iterable
from datetime import datetime, timedelta

from toyrental.dashboards import metrics, rules
from toyrental.dashboards.counts import Counts, ReadModel
from toyrental.dashboards.models import Dashboard
from toyrental.kube.cache import Cache
from toyrental.kube.writer import Writer
from toyrental.shared.clock import Clock
from toyrental.shared.resource import Key, Resource

_WHOLE_SECONDS = timedelta(seconds=1)
"""By how much a time on record may be earlier than it was."""

_MOST_MEASURED = 10_000
"""Of how many changes it is measured at most how long they wait, so that the list is bounded."""


class DashboardReconciler:
    """Keeps the numbers of each Dashboard current, with at most one write in five seconds."""

    kind = "Dashboard"
    needs = ("Dashboard", "Toy", "Rental", "Payment", "RepairTicket")

    def __init__(self, cache: Cache, writer: Writer, clock: Clock) -> None:
        self._cache = cache
        self._writer = writer
        self._clock = clock
        self._model = ReadModel()
        self._written: dict[Key, datetime] = {}
        self._unshown: dict[Key, list[float]] = {}
        cache.listen(lambda before, after, _: self._model.change(before, after))
        metrics.show(self._model, self._unshown, works=writer.leads)

    def wakes(self, before: Resource | None, after: Resource | None) -> Iterable[Key]:
        """Return the shop's Dashboards, but for those that are about to be looked at anyway."""
        changed = after or before
        if isinstance(changed, Dashboard):
            yield changed.key
        elif changed is not None and changed.SERVED.kind in self.needs:
            now = time.monotonic()
            for dashboard in self._cache.in_namespace(self.kind, changed.namespace):
                came = self._unshown.get(dashboard.key)
                if came is None:
                    self._unshown[dashboard.key] = [now]
                    yield dashboard.key
                elif len(came) < _MOST_MEASURED:
                    came.append(now)

    async def reconcile(self, key: Key) -> datetime | None:
        """Write a Dashboard's numbers down where they changed, unless it is too early."""
        dashboard = self._cache.get(key)
        if not isinstance(dashboard, Dashboard):
            self._unshown.pop(key, None)
            self._written.pop(key, None)
            return None
        now = self._clock()
        if now < (rested := self._rested(dashboard, now)):
            return rested
        came = self._unshown.pop(key, [])
        decision = rules.decide(dashboard, self._count(dashboard), now)
        if decision.write is None:
            return None
        try:
            await self._writer.write(decision.write, by=key)
        except BaseException:
            if came := [*came, *self._unshown.get(key, ())]:
                self._unshown[key] = came[:_MOST_MEASURED]
            raise
        self._written[key] = self._clock()  # the rest is counted from when it surely is done
        metrics.shown(came)
        return None

    def _rested(self, dashboard: Dashboard, now: datetime) -> datetime:
        """Return from when on it may be written again; what was before the start is on record."""
        written = self._written.get(dashboard.key)
        if written is None:
            observed = dashboard.status.observed_time
            written = now - rules.REST if observed is None else observed + _WHOLE_SECONDS
        return min(written, now) + rules.REST

    def _count(self, dashboard: Dashboard) -> Counts:
        selector = dashboard.spec.selector
        if selector is None:
            return self._model.of_shop(dashboard.namespace)
        return self._model.of_toys(dashboard.namespace, selector.matches)
