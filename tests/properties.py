"""How hard properties are tried."""

from __future__ import annotations

import os

from hypothesis import settings

_TIMES = float(os.environ.get("TEST_EXAMPLES", "1"))


def examples(count: int) -> settings:
    """How often a property is tried: so many times, or TEST_EXAMPLES times as many for a long run."""
    return settings(max_examples=max(1, round(count * _TIMES)), deadline=None)
