"""Critics that compare each predicted cross section with its 95 % CL limit, r = σ/σ_UL.

- `judge_by_mu_max` (arXiv:2012.12246): caps the signal strength so that no analysis's best-expected prediction
  exceeds r = 1.3; a small excess over 1 is allowed because many limits are tested. It never excludes.
- `judge_by_counting` (second version of the reference program): counts how many of the sensitive predictions exceed
  r = 1.38 and compares with what chance gives; it excludes or admits and never caps.

Predictions whose r is undefined (no limit) are counted and neither exclude nor admit.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from critics.verdict import MAX_CONSTRAINTS, Constraint, Verdict, count_undefined
from database.results.combinability_facts import analysis_stem
from inference.types import PredictionKind, Predictions

if TYPE_CHECKING:
    from critics.settings import CriticSettings
    from database.results.store import ResultsStore


KIND_LABELS = {PredictionKind.UPPER_LIMIT: "ul", PredictionKind.EFFICIENCY_MAP: "em", PredictionKind.COMBINED: "comb"}
"""Kinds of results as reports call them."""


class JudgedPrediction(NamedTuple):
    """The prediction that stands for an analysis before a critic.

    Attributes:
        prediction: index into the predictions.
        analysis_id: e.g. "CMS-SUS-19-006".
        r_obs: predicted cross section over its observed limit; nan if undefined.
        r_exp: over its expected limit; nan where not published.
    """

    prediction: int
    analysis_id: str
    r_obs: float
    r_exp: float


def r_values(predictions: Predictions) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Observed and expected r = σ/σ_UL of every prediction; nan where there is no positive limit."""
    with np.errstate(invalid="ignore", divide="ignore"):
        r_obs = np.where(predictions.ul_obs_fb > 0.0, predictions.xsec_fb / predictions.ul_obs_fb, np.nan)
        r_exp = np.where(predictions.ul_exp_fb > 0.0, predictions.xsec_fb / predictions.ul_exp_fb, np.nan)
    return r_obs, r_exp


def select_best_expected(
    predictions: Predictions, store: ResultsStore, *, one_limit_per_analysis: bool = False
) -> tuple[JudgedPrediction, ...]:
    """Predictions that judge a model, ordered by observed r, largest first.

    Of the signal regions of an analysis the one with the largest expected r stands for it, so that fluctuations of
    many regions do not exclude. Limits on different topologies are different measurements and stand for themselves; as
    published (`one_limit_per_analysis`) only the one with the largest expected r did, or, where none has an expected limit,
    the one with the largest observed r. A prediction without an observed limit keeps its undefined r, except
    combinations, which are judged only if they have a limit.
    """
    r_obs, r_exp = r_values(predictions)
    rows = np.flatnonzero((predictions.kind != PredictionKind.COMBINED) | np.isfinite(r_obs))
    has_expected = np.isfinite(r_exp[rows])
    sensitivity = np.where(has_expected, r_exp[rows], np.nan_to_num(r_obs[rows], nan=-1.0))
    entry = store.result_analysis[predictions.result[rows]] * len(PredictionKind) + predictions.kind[rows]
    if not one_limit_per_analysis:
        is_limit = predictions.kind[rows] == PredictionKind.UPPER_LIMIT
        entry = np.where(is_limit, -1 - rows, entry)
    order = np.lexsort((rows, -sensitivity, ~has_expected, entry))
    is_first = np.r_[True, np.diff(entry[order]) != 0] if order.size else np.empty(0, dtype=np.bool_)
    best = (
        JudgedPrediction(index, store.results[predictions.result[index]].analysis_id, float(r_obs[index]), float(r_exp[index]))
        for index in rows[order[is_first]].tolist()
    )
    return _sorted_by_r(best)


def select_limits_then_regions(predictions: Predictions, store: ResultsStore) -> tuple[JudgedPrediction, ...]:
    """Every upper-limit prediction, and the best-expected region of each analysis that has none.

    Analyses are compared without the suffixes of their variants (`analysis_stem`); combinations do not count.
    """
    r_obs, r_exp = r_values(predictions)
    tested: list[JudgedPrediction] = []
    best: dict[str, JudgedPrediction] = {}
    with_limits: set[str] = set()
    for index, (result, kind) in enumerate(zip(predictions.result.tolist(), predictions.kind.tolist(), strict=True)):
        analysis_id = store.results[result].analysis_id
        entry = JudgedPrediction(index, analysis_id, float(r_obs[index]), float(r_exp[index]))
        if kind == PredictionKind.UPPER_LIMIT:
            tested.append(entry)
            with_limits.add(analysis_stem(analysis_id))
        elif kind == PredictionKind.EFFICIENCY_MAP:
            other = best.get(analysis_id)
            if other is None or _sensitivity(entry) > _sensitivity(other):
                best[analysis_id] = entry
    tested.extend(entry for analysis_id, entry in best.items() if analysis_stem(analysis_id) not in with_limits)
    return _sorted_by_r(tested)


def judge_by_mu_max(predictions: Predictions, store: ResultsStore, settings: CriticSettings) -> Verdict:
    """Cap of the signal strength: μ_max = 0.999 · 1.3/r_max (threshold and safety factor are settings).

    r_max is the largest observed r among the judging predictions (`select_best_expected`), those of the best combination
    included; without any, μ_max is inf.
    """
    tested = select_best_expected(predictions, store, one_limit_per_analysis=settings.v1_one_limit_per_analysis)
    defined, undefined = _split(tested)
    if not defined or defined[0].r_obs <= 0.0:
        return _unconstrained("upper limits (v1): no limit constrains the model", undefined)
    tightest = defined[0]
    mu_max = settings.v1_safety * settings.v1_threshold / tightest.r_obs
    reason = (
        f"upper limits (v1): {tightest.analysis_id} has the largest r = {tightest.r_obs:.3g} (expected {tightest.r_exp:.3g}), "
        f"so μ_max = {settings.v1_safety:g}·{settings.v1_threshold:g}/r = {mu_max:.4g}"
    )
    constraints = _describe("upper_limit_v1", defined, predictions, store)
    return Verdict(
        False, mu_max, tightest.r_obs, tightest.r_exp, reason, len(tested) - len(defined), count_undefined(undefined), constraints
    )


def max_allowed_exclusions(num_sensitive: int, probability: float = 0.05, quantile: float = 0.66) -> int:
    """Smallest m with BinomCDF(m; num_sensitive, probability) > quantile.

    Of n sensitive results without signal, a fraction `probability` exceeds its 95 % CL limit by chance.

    Examples:
        >>> [max_allowed_exclusions(n) for n in (0, 8, 9, 24, 25, 41, 42)]
        [0, 0, 1, 1, 2, 2, 3]
    """
    term = (1.0 - probability) ** num_sensitive
    total = term
    allowed = 0
    while total <= quantile and allowed < num_sensitive:
        term *= (num_sensitive - allowed) / (allowed + 1) * probability / (1.0 - probability)
        allowed += 1
        total += term
    return allowed


def judge_by_counting(predictions: Predictions, store: ResultsStore, settings: CriticSettings) -> Verdict:
    """Veto if more sensitive predictions (r_exp >= 0.7) are excluded (r_obs > 1.38) than chance allows.

    r_exp := r_obs where no expected limit is published. Without predictions the model passes.
    """
    tested = select_limits_then_regions(predictions, store)
    defined, undefined = _split(tested)
    if not defined:
        return _unconstrained("upper limits (v2): no prediction with a limit", undefined)
    sensitive = [e for e in defined if (e.r_exp if math.isfinite(e.r_exp) else e.r_obs) >= settings.v2_sensitivity]
    num_excluding = sum(entry.r_obs > settings.v2_threshold for entry in sensitive)
    allowed = max_allowed_exclusions(len(sensitive), settings.v2_probability, settings.v2_quantile)
    nearest = sensitive or defined
    worst = nearest[0]
    reason = (
        f"upper limits (v2): {num_excluding} of {len(sensitive)} sensitive predictions have r > {settings.v2_threshold:g}, "
        f"{allowed} allowed; largest r = {worst.r_obs:.3g} (expected {worst.r_exp:.3g}) from {worst.analysis_id}"
    )
    constraints = _describe("upper_limit_v2", nearest, predictions, store)
    is_excluded = num_excluding > allowed
    return Verdict(is_excluded, math.inf, worst.r_obs, worst.r_exp, reason, len(undefined), count_undefined(undefined), constraints)


def _split(tested: Iterable[JudgedPrediction]) -> tuple[list[JudgedPrediction], list[str]]:
    """Predictions with a finite observed r, and the analyses of the others."""
    defined, undefined = [], []
    for entry in tested:
        if math.isfinite(entry.r_obs):
            defined.append(entry)
        else:
            undefined.append(entry.analysis_id)
    return defined, undefined


def _unconstrained(reason: str, undefined: list[str]) -> Verdict:
    return Verdict(False, math.inf, math.nan, math.nan, reason, len(undefined), count_undefined(undefined))


def _describe(critic: str, entries: Sequence[JudgedPrediction], predictions: Predictions, store: ResultsStore) -> tuple[Constraint, ...]:
    """The nearest constraints, with what a reader needs to find them."""
    constraints = []
    for entry in entries[:MAX_CONSTRAINTS]:
        i = entry.prediction
        kind = PredictionKind(int(predictions.kind[i]))
        constraints.append(
            Constraint(
                critic=critic,
                analysis_ids=(entry.analysis_id,),
                kind=KIND_LABELS[kind],
                dataset_id=store.dataset_ids[int(predictions.dataset[i])] if kind is PredictionKind.EFFICIENCY_MAP else None,
                txnames=tuple(sorted({store.map_txnames[number] for number in predictions.map_ids[i]})),
                r_obs=entry.r_obs,
                r_exp=entry.r_exp,
            )
        )
    return tuple(constraints)


def _sensitivity(entry: JudgedPrediction) -> tuple[int, float]:
    """Order of preference: expected r, then observed r, then nothing."""
    if math.isfinite(entry.r_exp):
        return (2, entry.r_exp)
    if math.isfinite(entry.r_obs):
        return (1, entry.r_obs)
    return (0, 0.0)


def _sorted_by_r(entries: Iterable[JudgedPrediction]) -> tuple[JudgedPrediction, ...]:
    """Largest observed r first, undefined ones last; ties by analysis and position."""

    def order(entry: JudgedPrediction) -> tuple[float, str, int]:
        return (-entry.r_obs if math.isfinite(entry.r_obs) else math.inf, entry.analysis_id, entry.prediction)

    ordered: Sequence[JudgedPrediction] = sorted(entries, key=order)
    return tuple(ordered)
