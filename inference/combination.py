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

import heapq
import itertools
import logging
import math
from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from inference.cliques import BoolMatrix, CliqueSearch
from inference.likelihoods.batch import CurvePoint, CurveTable
from inference.likelihoods.protocol import Likelihood
from inference.types import FloatArray, Outcome

log = logging.getLogger(__name__)

TOLERANCE = 1e-9
"""Absolute accuracy of ln L of the combination."""

_MAX_POINTS = 400
_MAX_DOUBLINGS = 60
_MU_PRECISION = 1e-10
_POLISH_GAIN = 1e-13
"""ln L still to gain below which μ̂ is final: 5e-7 of its uncertainty."""
_NON_CONCAVE_GRID = 8
_LEGACY_ITERATIONS = 5
_LEGACY_PRECISION = 0.01


class CombinationRule(StrEnum):
    """Which sets of combinable likelihoods compete."""

    MAXIMAL = "maximal"
    FREE = "free"
    LEGACY_OFFSET = "legacy-offset"


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


class _CurveFailedError(Exception):
    """Some curves have no number at some μ (internal: the search restarts without them)."""

    def __init__(self, indices: NDArray[np.int64]) -> None:
        super().__init__(f"curves {indices.tolist()}")
        self.indices = indices


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
    is_usable = np.array([curve.outcome is Outcome.OK for curve in curves], dtype=np.bool_)
    while True:
        nodes: NDArray[np.int64] = np.flatnonzero(is_usable)
        if min_members == 2:
            partners = matrix[np.ix_(nodes, nodes)]
            np.fill_diagonal(partners, False)
            nodes = nodes[partners.any(axis=1)]
        failures = tuple(int(i) for i in np.flatnonzero(~is_usable))
        if nodes.size == 0:
            return CombinationResult((), 0.0, math.nan, (), Outcome.NO_LIKELIHOOD, failures)
        search = _Search([curves[int(i)] for i in nodes], matrix[np.ix_(nodes, nodes)], mu_max, rule)
        try:
            result = search.run_legacy() if rule is CombinationRule.LEGACY_OFFSET else search.run()
        except _CurveFailedError as error:
            is_usable[nodes[error.indices]] = False
            continue
        return result._replace(members=tuple(int(nodes[i]) for i in result.members), failures=failures)


class _Interval(NamedTuple):
    """Part of the μ axis between two evaluated points; sorts by its bound, highest first."""

    negative_bound: float
    left: float
    right: float
    split: float


class _Search:
    """State of one search over μ."""

    def __init__(self, curves: Sequence[Likelihood], is_combinable: BoolMatrix, mu_max: float, rule: CombinationRule) -> None:
        self._table = CurveTable(curves)
        self._cliques = CliqueSearch(is_combinable)
        self._mu_max = mu_max
        self._is_free = rule is CombinationRule.FREE
        self._is_bent = ~self._table.is_concave
        self._best = -math.inf
        self._best_mu = 0.0
        self._best_set: NDArray[np.bool_] = np.zeros(len(curves), dtype=np.bool_)

    def run(self) -> CombinationResult:
        """Branch and bound over μ, then polish μ̂ of the winner."""
        grid = [0.0, self._find_upper_end()]
        if self._is_bent.any() and grid[1] > 0.0:
            grid = np.linspace(0.0, grid[1], _NON_CONCAVE_GRID + 1).tolist()
        for mu in grid:
            self._offer(mu)
        queue: list[_Interval] = []
        for left, right in itertools.pairwise(grid):
            self._push(queue, left, right)
        while queue:
            interval = heapq.heappop(queue)
            if -interval.negative_bound <= self._best + TOLERANCE:
                break
            if self._table.num_evaluated >= _MAX_POINTS:
                gap = -interval.negative_bound - self._best
                log.warning("combination of %d curves did not converge, gap %.2g", self._table.num_curves, gap)
                return self._result(Outcome.FIT_FAILED)
            self._offer(interval.split)
            self._push(queue, interval.left, interval.split)
            self._push(queue, interval.split, interval.right)
        self._polish(self._best_set)
        return self._result(Outcome.OK)

    def run_legacy(self) -> CombinationResult:
        """Search of the reference program's second version: offset weights at μ = 1, μ̂ by iteration."""
        mu = min(1.0, self._mu_max)
        for _ in range(_LEGACY_ITERATIONS):
            weights = 2.0 * self._point(mu).value
            lifted = weights + (1.0 - weights.min()) if weights.min() < 0.0 else weights
            _, is_member = self._cliques.heaviest(lifted)
            self._best, self._best_mu, self._best_set = -math.inf, mu, is_member
            self._best = float(self._point(mu).value[is_member].sum())
            mu_hat = self._maximise(is_member)
            if abs(mu_hat / mu - 1.0) < _LEGACY_PRECISION:
                return self._result(Outcome.OK)
            if mu_hat > 0.0:
                mu = mu_hat
        return self._result(Outcome.FIT_FAILED)

    # -- pieces ---------------------------------------------------------------------------------------------------

    def _point(self, mu: float) -> CurvePoint:
        point = self._table.at(mu)
        is_bad = ~(np.isfinite(point.value) & np.isfinite(point.slope))
        if is_bad.any():
            raise _CurveFailedError(np.flatnonzero(is_bad))
        return point

    def _heaviest(self, weights: FloatArray) -> tuple[float, NDArray[np.bool_]]:
        if not self._is_free:
            return self._cliques.heaviest(weights)
        total, is_member = self._cliques.heaviest(np.maximum(weights, 0.0))
        return total, is_member & (weights > 0.0)

    def _offer(self, mu: float) -> None:
        """Best set at one μ becomes the incumbent if it is better than the one so far."""
        total, is_member = self._heaviest(self._point(mu).value)
        if total > self._best:
            self._best, self._best_mu, self._best_set = total, mu, is_member

    def _find_upper_end(self) -> float:
        """A μ <= mu_max above which no curve rises: the best μ of every combination lies below."""
        if self._mu_max <= 0.0:
            return 0.0
        mu = min(1.0, self._mu_max)
        for _ in range(_MAX_DOUBLINGS):
            if mu >= self._mu_max or not (self._point(mu).slope > 0.0).any():
                break
            mu = min(4.0 * mu, self._mu_max)
        return mu

    def _lines(self, left: CurvePoint, right: CurvePoint) -> tuple[FloatArray, FloatArray]:
        """Slopes of straight lines through the left and the right value that bound the curves in between."""
        rise, fall = left.slope, right.slope
        if self._is_bent.any():
            chord = (right.value - left.value) / (right.mu - left.mu)
            rise = np.where(self._is_bent, np.maximum(rise, chord), rise)
            fall = np.where(self._is_bent, np.minimum(fall, chord), fall)
        return rise, fall

    def _push(self, queue: list[_Interval], left_mu: float, right_mu: float) -> None:
        """Bound the interval; queue it unless the bound says that nothing better is in it."""
        width = right_mu - left_mu
        if width <= _MU_PRECISION * max(right_mu, 1e-3):
            return
        left, right = self._point(left_mu), self._point(right_mu)
        rise, fall = self._lines(left, right)
        ends_left, ends_right = (left.value, left.value + rise * width), (right.value - fall * width, right.value)
        # U(κ) = max over sets and both ends of a line in κ: convex. Cutting planes, from κ = 1 (left tangents) and 0.
        lines: list[tuple[float, float]] = []
        bound, best_set = math.inf, self._best_set
        kappa_low, kappa_high, kappa = 0.0, 1.0, 1.0
        for attempt in range(8):
            value, set_there, slope = -math.inf, best_set, 0.0
            for of_left, of_right in zip(ends_left, ends_right, strict=True):
                total, is_member = self._heaviest(kappa * of_left + (1.0 - kappa) * of_right)
                if total > value:
                    value, set_there = total, is_member
                    slope = float((of_left - of_right)[is_member].sum())
            if value < bound:
                bound, best_set = value, set_there
            if bound <= self._best + TOLERANCE:
                return
            lines.append((value - slope * kappa, slope))
            if slope > 0.0:
                kappa_high = min(kappa_high, kappa)
            else:
                kappa_low = max(kappa_low, kappa)
            if attempt == 0:
                kappa = 0.0
                continue
            kappa, lower = _lowest_of_upper_envelope(lines, kappa_low, kappa_high)
            if lower > self._best + TOLERANCE or bound - lower < 0.1 * TOLERANCE:
                break
        split = self._choose_split(left, right, best_set)
        heapq.heappush(queue, _Interval(-bound, left_mu, right_mu, split))

    def _choose_split(self, left: CurvePoint, right: CurvePoint, is_member: NDArray[np.bool_]) -> float:
        """Where the bounding set has its maximum as far as the two points know, kept away from the ends."""
        width = right.mu - left.mu
        rise, fall = float(left.slope[is_member].sum()), float(right.slope[is_member].sum())
        change = float((right.value - left.value)[is_member].sum())
        if rise > 0.0 > fall:
            step = _maximum_of_cubic(width, change, rise, fall)
            crossing = (change - fall * width) / (rise - fall)
            if step > 4.0 * crossing:
                step = crossing  # far from a parabola: the tangents know the scale
        else:
            step = 0.5 * width if left.mu > 0.1 * right.mu else 0.25 * width
        margin = 1e-6 * width
        return left.mu + min(max(step, margin), width - margin)

    def _polish(self, is_member: NDArray[np.bool_]) -> None:
        """Refine μ̂ of the winning set; never makes it worse."""
        self._maximise(is_member)
        if self._is_free:  # a member may have turned harmful on the way
            self._offer(self._best_mu)

    def _maximise(self, is_member: NDArray[np.bool_]) -> float:
        """μ̂ of one set on [0, mu_max]: bracketed root of the slope; the incumbent moves to the best point seen."""

        def slope_at(mu: float) -> float:
            point = self._point(mu)
            total = float(point.value[is_member].sum())
            if total > self._best or mu == self._best_mu:
                self._best, self._best_mu, self._best_set = total, mu, is_member
            return float(point.slope[is_member].sum())

        if not is_member.any():
            return 0.0
        low, high = 0.0, self._find_upper_end()
        for mu in sorted(self._table.evaluated):
            if low < mu < high:
                if float(self._point(mu).slope[is_member].sum()) > 0.0:
                    low = mu
                else:
                    high = mu
        slope_low, slope_high = slope_at(low), slope_at(high)
        if slope_low <= 0.0:
            return low
        if slope_high >= 0.0:
            return high
        for iteration in range(100):
            width = high - low
            if width <= _MU_PRECISION * high:
                break
            left, right = self._point(low), self._point(high)
            change = float((right.value - left.value)[is_member].sum())
            step = _maximum_of_cubic(width, change, slope_low, slope_high)
            if iteration % 4 == 3:
                step = 0.5 * width
            margin = 0.25 * _MU_PRECISION * high
            mu = low + min(max(step, margin), width - margin)
            slope = slope_at(mu)
            if slope == 0.0:
                return mu
            # a parabola through the slope says how much ln L there is still to gain
            curvature = (slope_low - slope_high) / width
            if slope * slope < 2.0 * curvature * _POLISH_GAIN:
                return mu
            if slope > 0.0:
                low, slope_low = mu, slope
            else:
                high, slope_high = mu, slope
        return low if abs(slope_low) < abs(slope_high) else high

    def _result(self, outcome: Outcome) -> CombinationResult:
        values = self._point(self._best_mu).value
        members = tuple(int(i) for i in np.flatnonzero(self._best_set))
        return CombinationResult(
            members=members,
            mu_hat=self._best_mu if members else 0.0,
            tl=2.0 * float(sum(values[i] for i in members)),
            log_ratios=tuple(float(values[i]) for i in members),
            outcome=outcome,
            num_points=self._table.num_evaluated,
        )


def _lowest_of_upper_envelope(lines: Sequence[tuple[float, float]], low: float, high: float) -> tuple[float, float]:
    """Argument and value of min over [low, high] of the largest of the lines (intercept, slope)."""

    def envelope(x: float) -> float:
        return max(intercept + slope * x for intercept, slope in lines)

    candidates = [low, high]
    for k, (intercept, slope) in enumerate(lines):
        for other_intercept, other_slope in lines[:k]:
            if slope != other_slope:
                x = (other_intercept - intercept) / (slope - other_slope)
                if low < x < high:
                    candidates.append(x)
    best = min(candidates, key=envelope)
    return best, envelope(best)


def _maximum_of_cubic(width: float, change: float, rise: float, fall: float) -> float:
    """Position in (0, width) of the maximum of the cubic with the given end slopes rise > 0 > fall and difference."""
    mean = change / width
    # slope(t) = rise + 2 b t + 3 a t², t in units of the width
    a = rise + fall - 2.0 * mean
    b = 3.0 * mean - 2.0 * rise - fall
    discriminant = b * b - 3.0 * a * rise
    if discriminant < 0.0:
        return 0.5 * width
    denominator = -b + math.sqrt(discriminant)
    t = rise / denominator if denominator > 0.0 else 0.5
    return width * t if 0.0 < t < 1.0 else 0.5 * width
