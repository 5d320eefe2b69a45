"""The combination of analyses with the smallest limit expected before looking, exactly.

Likelihoods of analyses that share no events are multiplied with one signal strength. Of the maximal sets of pairwise combinable analyses
the one is wanted that is expected to exclude the smallest μ. With expected data CLs(μ) = 2 [1 - Φ(√q_A)], q_A(μ) = Σ q_i(μ), so that the
heaviest set with weights q_i(μ) at the limit μ of a set is either this set or one with a smaller limit: a few steps lead to the best.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from database.results.combinability import CombinabilityMatrix, Override, build_combinability
from inference.cliques import CliqueSearch
from inference.likelihoods.product import ProductLikelihood
from inference.limits import find_upper_limit
from inference.multibin.analyses import Analysis
from inference.multibin.evaluate import Evaluated
from inference.multibin.settings import MultibinSettings

_MAX_STEPS = 20


class LeftOut(NamedTuple):
    """An analysis that is not in the combination.

    Attributes:
        analysis: its name.
        reason: the member that it is not combined with, and why.
    """

    analysis: str
    reason: str


class BestCombination(NamedTuple):
    """The most sensitive combination.

    Attributes:
        members: positions of its analyses.
        observed: product of their likelihoods.
        apriori: the same for the data expected before looking.
        mu_ul_apriori: its limit expected before looking.
        left_out: the others.
    """

    members: tuple[int, ...]
    observed: ProductLikelihood
    apriori: ProductLikelihood
    mu_ul_apriori: float
    left_out: tuple[LeftOut, ...]


@dataclass(frozen=True)
class _Result:
    """An analysis as the combinability wants it."""

    analysis_id: str
    experiment: str
    sqrts_tev: float
    dataset_start: int
    dataset_stop: int
    supersedes: tuple[str, ...]
    superseded_by: tuple[str, ...]


@dataclass(frozen=True)
class _Panel:
    results: tuple[_Result, ...]
    dataset_ids: tuple[str | None, ...]


def combinability_of(analyses: Sequence[Analysis], overrides: Sequence[Override] = ()) -> CombinabilityMatrix:
    """Which analyses may be combined, by the packaged facts and the decisions of the user.

    Raises:
        ConfigError: a decision names an unknown analysis.
    """
    results: list[_Result] = []
    ids: list[str] = []
    for analysis in analyses:
        start = len(ids)
        ids.extend(analysis.regions)
        results.append(
            _Result(analysis.name, analysis.experiment, analysis.sqrts_tev, start, len(ids), analysis.supersedes, analysis.superseded_by)
        )
    return build_combinability(_Panel(tuple(results), tuple(ids)), overrides=overrides)


def find_best_combination(
    evaluated: Sequence[Evaluated], matrix: CombinabilityMatrix, settings: MultibinSettings
) -> BestCombination | None:
    """The combination with the smallest expected limit; None if no analysis has a likelihood with a number.

    Args:
        evaluated: analyses and their likelihoods.
        matrix: which of them may be combined, in the same order.
        settings: test statistic and conventions.
    """
    curves = {}
    for k, entry in enumerate(evaluated):
        pair = entry.observed, entry.apriori
        if all(likelihood is not None and math.isfinite(likelihood.log_ratio(1.0).value) for likelihood in pair):
            curves[k] = entry
    if not curves:
        return None
    nodes = np.array(sorted(curves))
    search = CliqueSearch(np.ascontiguousarray(matrix.is_combinable[np.ix_(nodes, nodes)]))
    mu, best, limit = 1.0, None, math.inf
    for _ in range(_MAX_STEPS):
        weights = np.array([-2.0 * curves[k].apriori.log_ratio(mu).value for k in nodes.tolist()])  # type: ignore[union-attr]
        if not np.isfinite(weights).all():
            break
        members = tuple(nodes[np.flatnonzero(search.heaviest(weights)[1])].tolist())
        if members == best:
            break
        found = find_upper_limit(_product(curves, members, is_apriori=True), settings=settings.limit_settings).mu_ul
        if best is not None and not found < limit:
            break
        best, limit = members, found
        if not math.isfinite(limit) or limit <= 0.0:
            break
        mu = limit
    if best is None:
        best = (int(nodes[0]),)
    others = [k for k in nodes.tolist() if k not in best]
    left_out = tuple(LeftOut(evaluated[k].analysis.name, _why_not(k, best, evaluated, matrix)) for k in others)
    return BestCombination(best, _product(curves, best), _product(curves, best, is_apriori=True), limit, left_out)


def _product(curves: dict[int, Evaluated], members: tuple[int, ...], *, is_apriori: bool = False) -> ProductLikelihood:
    factors = [curves[k].apriori if is_apriori else curves[k].observed for k in members]
    return ProductLikelihood([factor for factor in factors if factor is not None])


def _why_not(k: int, members: tuple[int, ...], evaluated: Sequence[Evaluated], matrix: CombinabilityMatrix) -> str:
    blocking = next((m for m in members if not matrix.is_combinable[k, m]), None)
    if blocking is None:
        return "it would not make the combination more sensitive"
    return f"not combined with {evaluated[blocking].analysis.name}: {' '.join(matrix.reason(k, blocking).split())}"
