"""How long lives are searched: `make test` takes seconds, TOYRENTAL_SEARCH=thorough an hour.

The fast search is the same each time, lest somebody's unrelated change be stopped by a find; the
thorough one is new each time.
"""

import os

from hypothesis import HealthCheck, settings

_UNHURRIED = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]

PROFILES = {
    "fast": settings(
        max_examples=200,
        stateful_step_count=60,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=_UNHURRIED,
    ),
    "thorough": settings(
        max_examples=30_000,
        stateful_step_count=80,
        deadline=None,
        suppress_health_check=_UNHURRIED,
    ),
}
CHOSEN = os.environ.get("TOYRENTAL_SEARCH", "fast")
SEARCH = PROFILES[CHOSEN]
SECONDS = 280 if CHOSEN == "fast" else 0
"""How long a search may take before it counts as hung; 0: as long as it likes."""
