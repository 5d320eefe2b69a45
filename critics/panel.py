"""The critics' joint verdict on the predictions of one model.

Walk: predictions ──▶ **critics** ──▶ μ_max and veto ──▶ score. Critics run in the order of their cost and stop at the first
veto; caps of the signal strength combine to the smallest one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from critics.settings import CriticName, CriticSettings
from critics.upper_limit import judge_by_counting, judge_by_mu_max
from critics.verdict import Verdict
from inference.types import Predictions

if TYPE_CHECKING:
    from database.results.store import ResultsStore

__all__ = ["Critic", "CriticName", "CriticSettings", "judge"]

Critic = Callable[[Predictions, "ResultsStore", CriticSettings], Verdict]
"""Pure function that judges the predictions of one model; it does not act."""

CRITICS: Mapping[CriticName, Critic] = {
    CriticName.UPPER_LIMIT_V1: judge_by_mu_max,
    CriticName.UPPER_LIMIT_V2: judge_by_counting,
}
"""All critics, cheapest first."""


def judge(predictions: Predictions, store: ResultsStore, settings: CriticSettings) -> Verdict:
    """Verdict of the selected critics.

    Returns:
        The first veto; else the verdict with the smallest μ_max, whose reason lists what every critic said. Without
        critics nothing is constrained. `num_undefined` is the largest number that a critic reports.
    """
    admitted: list[Verdict] = []
    for name, critic in CRITICS.items():
        if name not in settings.critics:
            continue
        verdict = critic(predictions, store, settings)
        if verdict.is_excluded:
            num_undefined = max([verdict.num_undefined, *(other.num_undefined for other in admitted)])
            return verdict._replace(num_undefined=num_undefined)
        admitted.append(verdict)
    if not admitted:
        return Verdict(False, math.inf, math.nan, math.nan, "no critic is asked")
    tightest = min(admitted, key=lambda verdict: verdict.mu_max)
    return tightest._replace(
        reason="; ".join(verdict.reason for verdict in admitted),
        num_undefined=max(verdict.num_undefined for verdict in admitted),
    )
