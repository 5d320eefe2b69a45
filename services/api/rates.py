"""How fast a campaign moves, from what the service itself sees of it.

Walkers share workers, so their own rates do not add up to the campaign's.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from datetime import datetime

WINDOW_S = 20.0
"""How far back the rate of a running campaign looks [s]."""
MIN_SPAN_S = 2.0
"""Shorter spans give no rate: batches arrive in portions [s]."""


def mean_rate(num_steps: int, created_at: datetime, updated_at: datetime) -> float | None:
    """Returns steps per second from creation to the last update [1/s]; None without a span or steps.

    Examples:
        >>> mean_rate(100, datetime(2026, 1, 1, 12, 0, 0), datetime(2026, 1, 1, 12, 0, 50))
        2.0
    """
    span_s = (updated_at - created_at).total_seconds()
    return num_steps / span_s if span_s > 0 and num_steps > 0 else None


class RateMeter:
    """Steps per second of campaigns, over the last seconds in which somebody looked; safe to use from several threads."""

    def __init__(self) -> None:
        """Starts without observations."""
        self._lock = threading.Lock()
        self._seen: dict[int, deque[tuple[float, int]]] = {}

    def observe(self, campaign_id: int, num_steps: int, now: float | None = None) -> float | None:
        """Notes how many steps are done and returns the rate [1/s]; None while the observations span too little time.

        Args:
            campaign_id: the campaign.
            num_steps: steps done by all walkers.
            now: clock reading [s], the monotonic clock's by default.
        """
        moment = time.monotonic() if now is None else now
        with self._lock:
            seen = self._seen.setdefault(campaign_id, deque())
            if not seen or moment - seen[-1][0] >= 0.1:
                seen.append((moment, num_steps))
            while len(seen) > 2 and seen[1][0] <= moment - WINDOW_S:
                seen.popleft()
            span_s = moment - seen[0][0]
            return (num_steps - seen[0][1]) / span_s if MIN_SPAN_S <= span_s <= 3 * WINDOW_S else None
