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
from numba import njit
from numpy.typing import NDArray

from critics.verdict import MAX_CONSTRAINTS, Constraint, Verdict, count_undefined
from database.results.combinability_facts import analysis_stem
from inference.lazy import Lazy
from inference.types import FloatArray, IntArray, PredictionKind, Predictions

if TYPE_CHECKING:
    from critics.settings import CriticSettings
    from database.results.store import ResultsStore


KIND_LABELS = {PredictionKind.UPPER_LIMIT: "ul", PredictionKind.EFFICIENCY_MAP: "em", PredictionKind.COMBINED: "comb"}
"""Kinds of results as reports call them."""


_LIMIT, _COMBINED = int(PredictionKind.UPPER_LIMIT), int(PredictionKind.COMBINED)


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
    rows, r_obs, r_exp = _best_expected(predictions, store, one_limit_per_analysis)
    return tuple(
        JudgedPrediction(row, store.results[predictions.result[row]].analysis_id, obs, exp)
        for row, obs, exp in zip(rows.tolist(), r_obs.tolist(), r_exp.tolist(), strict=True)
    )


@njit(cache=True)
def _rank_best_expected(
    result: IntArray,
    kind: NDArray[np.int8],
    xsec_fb: FloatArray,
    ul_obs_fb: FloatArray,
    ul_exp_fb: FloatArray,
    analysis: IntArray,
    num_analyses: int,
    one_limit_per_analysis: bool,
) -> tuple[IntArray, FloatArray, FloatArray]:
    """Rows that judge, ordered by observed r, with both r; see `select_best_expected`."""
    size = result.shape[0]
    r_obs, r_exp = np.full(size, np.nan), np.full(size, np.nan)
    best = np.full((3, num_analyses), -1, dtype=np.int64)
    rows, count = np.empty(size, dtype=np.int32), 0
    for row in range(size):
        if ul_obs_fb[row] > 0.0:
            r_obs[row] = xsec_fb[row] / ul_obs_fb[row]
        if ul_exp_fb[row] > 0.0:
            r_exp[row] = xsec_fb[row] / ul_exp_fb[row]
        if kind[row] == _LIMIT and not one_limit_per_analysis:
            rows[count] = row
            count += 1
        elif kind[row] != _COMBINED or np.isfinite(r_obs[row]):
            other = best[kind[row], analysis[result[row]]]
            if other >= 0:
                has_expected, had_expected = np.isfinite(r_exp[row]), np.isfinite(r_exp[other])
                mine = r_exp[row] if has_expected else r_obs[row]
                theirs = r_exp[other] if had_expected else r_obs[other]
                is_better = mine > theirs or (np.isnan(theirs) and not np.isnan(mine))
                if has_expected != had_expected:
                    is_better = has_expected
                if not is_better:
                    continue
            best[kind[row], analysis[result[row]]] = row
    for group in range(3):
        for number in range(num_analyses):
            if best[group, number] >= 0:
                rows[count] = best[group, number]
                count += 1
    for i in range(1, count):  # largest observed r first, undefined ones last; ties by position
        row, j = rows[i], i - 1
        mine = r_obs[row] if np.isfinite(r_obs[row]) else -np.inf
        while j >= 0:
            other = r_obs[rows[j]] if np.isfinite(r_obs[rows[j]]) else -np.inf
            if other > mine or (other == mine and rows[j] < row):
                break
            rows[j + 1] = rows[j]
            j -= 1
        rows[j + 1] = row
    return rows[:count], r_obs[rows[:count]], r_exp[rows[:count]]


def _best_expected(predictions: Predictions, store: ResultsStore, one_limit_per_analysis: bool) -> tuple[IntArray, FloatArray, FloatArray]:
    ranked: tuple[IntArray, FloatArray, FloatArray] = _rank_best_expected(
        predictions.result,
        predictions.kind,
        predictions.xsec_fb,
        predictions.ul_obs_fb,
        predictions.ul_exp_fb,
        store.result_analysis,
        len(store.results),
        one_limit_per_analysis,
    )
    return ranked


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
    rows, r_obs, r_exp = _best_expected(predictions, store, settings.v1_one_limit_per_analysis)
    num_undefined = int(np.count_nonzero(~np.isfinite(r_obs)))
    num_defined = rows.size - num_undefined
    undefined = [store.results[predictions.result[row]].analysis_id for row in rows[num_defined:].tolist()] if num_undefined else []
    if num_defined == 0 or r_obs[0] <= 0.0:
        return _unconstrained("upper limits (v1): no limit constrains the model", undefined)
    largest, expected = float(r_obs[0]), float(r_exp[0])
    mu_max = settings.v1_safety * settings.v1_threshold / largest
    analysis_id = store.results[predictions.result[rows[0]]].analysis_id
    reason = (
        f"upper limits (v1): {analysis_id} has the largest r = {largest:.3g} (expected {expected:.3g}), "
        f"so μ_max = {settings.v1_safety:g}·{settings.v1_threshold:g}/r = {mu_max:.4g}"
    )

    def describe() -> tuple[Constraint, ...]:
        tested = select_best_expected(predictions, store, one_limit_per_analysis=settings.v1_one_limit_per_analysis)
        return _describe("upper_limit_v1", tested[:num_defined], predictions, store)

    return Verdict(False, mu_max, largest, expected, reason, num_undefined, count_undefined(undefined), Lazy(describe))


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
    constraints = Lazy(lambda: _describe("upper_limit_v2", nearest, predictions, store))
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
