"""Where a curve crosses a level: Newton's method inside a bracket that only ever shrinks, with a way around evaluations that fail."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from inference.types import Outcome

MAX_EVALUATIONS = 80
MAX_FAILURES = 12
RELATIVE_PRECISION = 1e-8
"""Width of a bracket that is small enough."""
NEWTON_PRECISION = 1e-5
"""A Newton step smaller than this, relative to where it leads, is the last: what remains is of the order of its square."""
_LARGEST_STEP = 30.0
"""Steps into the unknown grow at most by this factor."""
_BLIND_STEP = 3.0
"""The same where the slope gives no hint."""
_LARGEST_GROWTH = 1e9
"""A curve that has not crossed this many step widths away does not cross."""

ValueAndSlope = tuple[float, float]


class Crossing(NamedTuple):
    """Where a curve crosses 0.

    Attributes:
        position: the crossing; inf if there is none, nan if evaluations failed.
        outcome: OK, NON_FINITE without a crossing, or FIT_FAILED.
        num_evaluations: of the curve.
        slope: of the curve near the crossing; nan if not known.
    """

    position: float
    outcome: Outcome
    num_evaluations: int
    slope: float


def find_crossing(curve: Callable[[float], ValueAndSlope], low: float, guess: float, width: float) -> Crossing:
    """Crossing of a curve that is negative at `low` and rises.

    Args:
        curve: value and slope at a position; nan where it cannot be evaluated.
        low: position below the crossing.
        guess: where it may be, above `low`.
        width: length scale of the curve, for steps without any other information; > 0.

    A position that cannot be evaluated is replaced by one half way back to the last good one, later by one much closer to it; after 12 of
    them the search ends with FIT_FAILED. A curve that jumps over 0 has its crossing at the jump.

    Examples:
        >>> find_crossing(lambda x: (x * x - 2.0, 2.0 * x), low=0.0, guess=1.0, width=1.0).position
        1.4142135623...
    """
    high = math.inf
    start = last_good = low
    position = guess if guess > low else low + width
    num_failures = 0
    for number in range(1, MAX_EVALUATIONS + 1):
        value, slope = curve(position)
        if math.isnan(value):
            num_failures += 1
            if num_failures > MAX_FAILURES:
                return Crossing(math.nan, Outcome.FIT_FAILED, number, math.nan)
            position = last_good + (0.5 if num_failures <= 3 else 0.1) * (position - last_good)
            continue
        last_good = position
        if value == 0.0:
            return Crossing(position, Outcome.OK, number, slope)
        if value < 0.0:
            low = position
        else:
            high = position
        target = position - value / slope if slope > 0.0 else math.nan
        if abs(target - position) <= NEWTON_PRECISION * abs(target):
            return Crossing(min(max(target, low), high), Outcome.OK, number, slope)
        if high < math.inf and high - low <= RELATIVE_PRECISION * max(high, 1e-3 * width):
            return Crossing(0.5 * (low + high), Outcome.OK, number, slope)
        if not low < target < high:
            target = 0.5 * (low + high) if high < math.inf else low + _BLIND_STEP * max(low - start, width)
        elif high == math.inf:
            target = min(target, low + _LARGEST_STEP * max(low - start, width))
        if target - start > _LARGEST_GROWTH * width:
            return Crossing(math.inf, Outcome.NON_FINITE, number, math.nan)
        position = target
    return Crossing(math.nan, Outcome.FIT_FAILED, MAX_EVALUATIONS, math.nan)
