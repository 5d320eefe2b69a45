"""The best combination of likelihoods, exactly.

    T_L = 2 max_c max_{0 <= μ <= μ_max} F_c(μ),   F_c(μ) = Σ_{i in c} ln L_i(μ)/L_i(0)

c runs over the maximal sets of pairwise combinable likelihoods (arXiv:2012.12246): nothing addable is
left out, members that lower the sum stay. The search is over μ, not over sets: at fixed μ the best set is the heaviest
maximal clique of a graph (`inference.cliques`), which decomposes into blocks. Concave curves lie below their tangents,
so on an interval [a, b] every set obeys F_c <= min(T_a, T_b) <= κ T_a + (1-κ) T_b, a straight line for each c, whose largest
value over all c is again a clique problem at each end. Minimised over κ in [0, 1] this bounds the interval; it is split or
discarded. The tangents at the best point found have slope zero, so the proof needs few points (about ten per model),
and each point costs one evaluation per curve. The result is exact to `TOLERANCE` in ln L.

Curves that are not known to be concave (`is_concave`) start on a finer grid and are bounded by the steeper of
tangent and chord; for them the result is exact as far as they are concave between neighbouring points.

Rules:
- `maximal`: as above, the published rule.
- `free`: any pairwise combinable set, so members that hurt are dropped.
- `legacy-offset`: reproduces the search of the second version of the reference program, for comparisons only. Weights at
  μ = 1 are lifted by |min w| + 1 if any is negative, the heaviest set of lifted weights is taken, μ̂ of that set rescales
  the model, and this repeats until μ̂ = 1 within 1 %, at most 5 times.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from inference.cliques import BoolMatrix, CliqueSearch
from inference.likelihoods.batch import CurveSet
from inference.likelihoods.protocol import Likelihood
from inference.search import (
    BAD_POINT,
    BEST,
    BEST_MU,
    DONE,
    NEEDS_POINT,
    NUM_POINTS,
    REQUEST,
    TOLERANCE,
    SearchState,
    add_point,
    advance,
    find_point,
    maximise,
    run_compiled,
    start_search,
)
from inference.settings import CombinationRule
from inference.types import Outcome

log = logging.getLogger(__name__)

__all__ = ["TOLERANCE", "CombinationResult", "CombinationRule", "combine", "find_best_combination"]

_LEGACY_ITERATIONS = 5
_LEGACY_PRECISION = 0.01


class CombinationResult(NamedTuple):
    """Best combination.

    Attributes:
        members: indices into the given curves, ascending.
        mu_hat: signal strength of the maximum, within [0, mu_max].
        tl: 2 ln L(μ̂)/L(0) of the members; nan if there is no result.
        log_ratios: ln L(μ̂)/L(0) per member.
        outcome: OK; NO_LIKELIHOOD if nothing can be combined; FIT_FAILED if the search did not converge.
        failures: indices of the curves left out because they yield no number.
        num_points: signal strengths at which the curves were evaluated.
    """

    members: tuple[int, ...]
    mu_hat: float
    tl: float
    log_ratios: tuple[float, ...]
    outcome: Outcome
    failures: tuple[int, ...] = ()
    num_points: int = 0


def find_best_combination(
    curves: Sequence[Likelihood],
    is_combinable: BoolMatrix,
    mu_max: float = math.inf,
    rule: CombinationRule = CombinationRule.MAXIMAL,
    min_members: int = 1,
) -> CombinationResult:
    """Best combination of likelihoods; see the module for the equation and the rules.

    Args:
        curves: likelihoods, length n.
        is_combinable: symmetric, shape (n, n); the diagonal is ignored.
        mu_max: largest allowed signal strength, may be inf.
        rule: which sets compete.
        min_members: 1, or 2 to leave out curves that cannot be combined with any other (maximal rule).

    Returns:
        The best combination. Curves whose outcome is not OK, or whose fit fails at some μ, are left out and listed.

    Raises:
        ValueError: if the shapes do not match or min_members is neither 1 nor 2.

    Examples:
        >>> from inference.likelihoods.truncated_gaussian import TruncatedGaussianLikelihood
        >>> curves = [TruncatedGaussianLikelihood(1.0, 0.5), TruncatedGaussianLikelihood(1.0, 1.0)]
        >>> result = find_best_combination(curves, ~np.eye(2, dtype=bool))
        >>> result.members, round(result.mu_hat, 6), round(result.tl, 6)
        ((0, 1), 1.0, 5.0)
    """
    matrix = np.asarray(is_combinable, dtype=np.bool_)
    if matrix.shape != (len(curves), len(curves)):
        raise ValueError(f"combinability has shape {matrix.shape}, but there are {len(curves)} curves")
    if min_members not in (1, 2):
        raise ValueError("min_members is 1 or 2")
    return combine(CurveSet(curves), matrix, mu_max, rule, min_members)


def combine(
    curve_set: CurveSet, is_combinable: BoolMatrix, mu_max: float, rule: CombinationRule, min_members: int = 1
) -> CombinationResult:
    """As `find_best_combination`, for curves that are arrays already."""
    is_usable = curve_set.is_usable
    if min_members == 1 and is_usable.size and is_usable.all():  # the usual case
        search = _Search(curve_set, is_combinable, mu_max, rule)
        result = search.run_legacy() if rule is CombinationRule.LEGACY_OFFSET else search.run()
        if result is not None:
            return result
        is_usable = np.ones(is_usable.size, dtype=np.bool_)
        is_usable[search.find_bad()] = False
    is_usable = is_usable.copy()
    while True:
        nodes: NDArray[np.int64] = np.flatnonzero(is_usable)
        if min_members == 2:
            partners = is_combinable[np.ix_(nodes, nodes)]
            np.fill_diagonal(partners, False)
            nodes = nodes[partners.any(axis=1)]
        failures = tuple(np.flatnonzero(~is_usable).tolist())
        if nodes.size == 0:
            return CombinationResult((), 0.0, math.nan, (), Outcome.NO_LIKELIHOOD, failures)
        is_whole = nodes.size == is_usable.size
        chosen = curve_set if is_whole else curve_set.select(nodes)
        search = _Search(chosen, is_combinable if is_whole else is_combinable[np.ix_(nodes, nodes)], mu_max, rule)
        result = search.run_legacy() if rule is CombinationRule.LEGACY_OFFSET else search.run()
        if result is None:
            is_usable[nodes[search.find_bad()]] = False
            continue
        return result._replace(members=tuple(int(nodes[i]) for i in result.members), failures=failures)


@lru_cache(maxsize=4096)
def _clique_search(elements: bytes, size: int) -> CliqueSearch:
    """Cliques of a combinability matrix: neighbouring models of a walk are seen by the same results."""
    return CliqueSearch(np.frombuffer(elements, dtype=np.bool_).reshape(size, size))


class _Search:
    """One search over μ."""

    def __init__(self, curve_set: CurveSet, is_combinable: BoolMatrix, mu_max: float, rule: CombinationRule) -> None:
        self._set = curve_set
        self._mu_max = float(mu_max)
        self._cliques = _clique_search(is_combinable.tobytes(), len(is_combinable))
        self._is_free = rule is CombinationRule.FREE
        self._state: SearchState | None = None

    @property
    def _known(self) -> SearchState:
        if self._state is None:
            self._state = start_search(self._set.curves.kind.size)
        return self._state

    def find_bad(self) -> NDArray[np.int64]:
        """Curves without a number at some point."""
        state = self._known
        values = state.value[: state.counters[NUM_POINTS]], state.slope[: state.counters[NUM_POINTS]]
        is_good = np.isfinite(values[0]) & np.isfinite(values[1])
        return np.flatnonzero(~is_good.all(axis=0))

    def run(self) -> CombinationResult | None:
        """Branch and bound over μ, then polish μ̂ of the winner; None if a curve has no number at some μ."""
        curves, graph = self._set.curves, self._cliques.graph
        if not self._set.others:
            code, self._state = run_compiled(curves, graph, self._mu_max, self._is_free)
        else:
            code = NEEDS_POINT
            while code == NEEDS_POINT:
                code = advance(self._known, curves, graph, self._mu_max, self._is_free, False)
                if code == NEEDS_POINT:
                    self._ask()
        if code == BAD_POINT:
            return None
        if code != DONE:
            log.warning("combination of %d curves did not converge", curves.kind.size)
        return self._result(Outcome.OK if code == DONE else Outcome.FIT_FAILED)

    def run_legacy(self) -> CombinationResult | None:
        """Search of the reference program's second version: offset weights at μ = 1, μ̂ by iteration."""
        mu, state, curves = min(1.0, self._mu_max), self._known, self._set.curves
        for _ in range(_LEGACY_ITERATIONS):
            point = find_point(state, curves, mu, False)
            if point == -1:
                point = self._ask()
            if point < 0 or not (np.isfinite(state.value[point]).all() and np.isfinite(state.slope[point]).all()):
                return None
            weights = 2.0 * state.value[point]
            lifted = weights + (1.0 - weights.min()) if weights.min() < 0.0 else weights
            _, is_member = self._cliques.heaviest(lifted)
            state.numbers[BEST], state.numbers[BEST_MU] = float(state.value[point][is_member].sum()), mu
            state.best_set[:] = is_member
            code, mu_hat = NEEDS_POINT, 0.0
            while code == NEEDS_POINT:
                code, mu_hat = maximise(state, curves, self._mu_max, False, is_member)
                if code == NEEDS_POINT:
                    self._ask()
            if code == BAD_POINT:
                return None
            if abs(mu_hat / mu - 1.0) < _LEGACY_PRECISION:
                return self._result(Outcome.OK)
            if mu_hat > 0.0:
                mu = mu_hat
        return self._result(Outcome.FIT_FAILED)

    def _ask(self) -> int:
        """Evaluate all curves at the μ the search needs; the number of the point."""
        state = self._known
        point = int(add_point(state, self._set.curves))
        self._set.ask_others(float(state.numbers[REQUEST]), state.value[point], state.slope[point])
        return point

    def _result(self, outcome: Outcome) -> CombinationResult:
        state = self._known
        best_mu = float(state.numbers[BEST_MU])
        points = state.mu[: state.counters[NUM_POINTS]].tolist()
        values = state.value[points.index(best_mu)]
        members = tuple(np.flatnonzero(state.best_set).tolist())
        log_ratios = tuple(values[list(members)].tolist())
        return CombinationResult(
            members=members,
            mu_hat=best_mu if members else 0.0,
            tl=2.0 * math.fsum(log_ratios),
            log_ratios=log_ratios,
            outcome=outcome,
            num_points=len(points),
        )
