"""Branch and bound over the signal strength, compiled: the machine behind `inference.combination`.

The search asks for all curves at one μ after the other. As long as compiled code knows every curve it runs through; where it
does not (full likelihoods), it stops, says which μ it needs, and goes on when the point is there. What it knows of a point is
kept, so that going on repeats no fit.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from inference.cliques import Graph, heaviest_of_blocks
from inference.likelihoods.batch import Curves, evaluate_curves
from inference.types import FloatArray, IntArray

TOLERANCE = 1e-9
"""Absolute accuracy of ln L of the combination."""
MAX_POINTS = 400

_MAX_DOUBLINGS = 60
_MU_PRECISION = 1e-10
_POLISH_GAIN = 1e-13
"""ln L still to gain below which μ̂ is final: 5e-7 of its uncertainty."""
_NON_CONCAVE_GRID = 3
_MAX_ENDS = 200
"""Points beyond MAX_POINTS that the ends of the axis and the final polish may ask for."""

DONE, NEEDS_POINT, BAD_POINT, NOT_CONVERGED = range(4)
"""What `advance` says: finished, needs the curves at `request`, some curve has no number, too many points."""

_BOUNDING, _BRANCHING, _POLISHING = range(3)
_PHASE, NUM_POINTS, _NUM_INTERVALS, _PENDING = range(4)
BEST, BEST_MU, _UPPER_END, REQUEST = range(4)
"""Places of the numbers in `SearchState.counters` and `SearchState.numbers`."""


class SearchState(NamedTuple):
    """Everything a search knows.

    Attributes:
        counters: phase, number of points, number of intervals, pending interval or -1.
        numbers: best ln L ratio so far, its μ, upper end of the axis, the μ asked for.
        mu: signal strength of each known point.
        value, slope: curves at each point, shape (points, num_curves).
        bound, split: of each open interval: bound of ln L in it, where to divide it.
        ends: its two points.
        best_set: who is in the best combination so far, shape (num_curves,).
    """

    counters: NDArray[np.int64]
    numbers: FloatArray
    mu: FloatArray
    value: FloatArray
    slope: FloatArray
    bound: FloatArray
    split: FloatArray
    ends: IntArray
    best_set: NDArray[np.bool_]


@njit(cache=True)
def start_search(num_curves: int) -> SearchState:
    """A search that knows nothing yet."""
    size = MAX_POINTS + _MAX_ENDS
    counters, numbers = np.zeros(4, dtype=np.int64), np.zeros(4)
    counters[_PENDING] = -1
    numbers[BEST] = -np.inf
    return SearchState(
        counters, numbers, np.empty(size), np.empty((size, num_curves)), np.empty((size, num_curves)),
        np.empty(2 * size), np.empty(2 * size), np.empty((2 * size, 2), dtype=np.int32), np.zeros(num_curves, dtype=np.bool_),
    )  # fmt: skip


@njit(cache=True)
def add_point(state: SearchState, curves: Curves) -> int:
    """Evaluate the compiled curves at the μ asked for; the number of the point."""
    number = int(state.counters[NUM_POINTS])
    state.mu[number] = state.numbers[REQUEST]
    evaluate_curves(state.numbers[REQUEST], curves, state.value[number], state.slope[number])
    state.counters[NUM_POINTS] = number + 1
    return number


@njit(cache=True)
def _is_finite(state: SearchState, point: int) -> bool:
    is_finite = True
    for i in range(state.value.shape[1]):
        is_finite = is_finite and math.isfinite(state.value[point, i]) and math.isfinite(state.slope[point, i])
    return is_finite


@njit(cache=True)
def find_point(state: SearchState, curves: Curves, mu: float, is_compiled: bool) -> int:
    """Number of the point at μ; -1 if it has to be asked for, -2 if a curve has no number there."""
    for i in range(state.counters[NUM_POINTS]):
        if state.mu[i] == mu:
            return i if _is_finite(state, i) else -2
    state.numbers[REQUEST] = mu
    if not is_compiled:
        return -1
    point = add_point(state, curves)
    return point if _is_finite(state, point) else -2


@njit(cache=True)
def _heaviest(weights: FloatArray, graph: Graph, is_free: bool, is_member: NDArray[np.bool_]) -> float:
    """Best set for some weights: maximal, or, if free, without members that hurt."""
    if not is_free:
        return heaviest_of_blocks(weights, graph, is_member)
    total = heaviest_of_blocks(np.maximum(weights, 0.0), graph, is_member)
    for i in range(weights.shape[0]):
        if not weights[i] > 0.0:
            is_member[i] = False
    return total


@njit(cache=True)
def _offer(state: SearchState, point: int, graph: Graph, is_free: bool, is_member: NDArray[np.bool_]) -> None:
    """Best set at one point becomes the incumbent if it is better than the one so far."""
    total = _heaviest(state.value[point], graph, is_free, is_member)
    if total > state.numbers[BEST]:
        state.numbers[BEST], state.numbers[BEST_MU] = total, state.mu[point]
        state.best_set[:] = is_member


@njit(cache=True)
def _sum(values: FloatArray, is_member: NDArray[np.bool_]) -> float:
    total = 0.0
    for i in range(values.shape[0]):
        if is_member[i]:
            total += values[i]
    return total


@njit(cache=True)
def _find_upper_end(state: SearchState, curves: Curves, mu_max: float, is_compiled: bool) -> int:
    """Code; on DONE the upper end is a μ <= mu_max above which no curve rises: the best μ of every combination lies below."""
    state.numbers[_UPPER_END] = 0.0
    if mu_max <= 0.0:
        return DONE
    mu = min(1.0, mu_max)
    for _ in range(_MAX_DOUBLINGS):
        if mu >= mu_max:
            break
        point = find_point(state, curves, mu, is_compiled)
        if point < 0:
            return NEEDS_POINT if point == -1 else BAD_POINT
        is_rising = False
        for i in range(state.slope.shape[1]):
            is_rising = is_rising or state.slope[point, i] > 0.0
        if not is_rising:
            break
        mu = min(4.0 * mu, mu_max)
    state.numbers[_UPPER_END] = mu
    return DONE


@njit(cache=True)
def _lowest_of_upper_envelope(intercepts: FloatArray, slopes: FloatArray, low: float, high: float) -> tuple[float, float]:
    """Argument and value of min over [low, high] of the largest of the lines."""
    best, best_value = low, np.inf
    size = intercepts.shape[0]
    for k in range(-2, size * size):
        x = low if k == -2 else high
        if k >= 0:
            i, j = k // size, k % size
            if j >= i or slopes[i] == slopes[j]:
                continue
            x = (intercepts[j] - intercepts[i]) / (slopes[i] - slopes[j])
            if not low < x < high:
                continue
        value = -np.inf
        for i in range(size):
            value = max(value, intercepts[i] + slopes[i] * x)
        if value < best_value:
            best, best_value = x, value
    return best, best_value


@njit(cache=True)
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


@njit(cache=True)
def _choose_split(state: SearchState, left: int, right: int, is_member: NDArray[np.bool_]) -> float:
    """Where the bounding set has its maximum as far as the two points know, kept away from the ends."""
    width = state.mu[right] - state.mu[left]
    rise, fall = _sum(state.slope[left], is_member), _sum(state.slope[right], is_member)
    change = _sum(state.value[right], is_member) - _sum(state.value[left], is_member)
    if rise > 0.0 > fall:
        step = _maximum_of_cubic(width, change, rise, fall)
        crossing = (change - fall * width) / (rise - fall)
        if step > 4.0 * crossing:
            step = crossing  # far from a parabola: the tangents know the scale
    else:
        step = 0.5 * width if state.mu[left] > 0.1 * state.mu[right] else 0.25 * width
    margin = 1e-6 * width
    return float(state.mu[left] + min(max(step, margin), width - margin))


@njit(cache=True)
def _push(state: SearchState, left: int, right: int, graph: Graph, is_free: bool, is_bent: NDArray[np.bool_]) -> None:
    """Bound the interval; keep it unless the bound says that nothing better is in it."""
    width = state.mu[right] - state.mu[left]
    if width <= _MU_PRECISION * max(state.mu[right], 1e-3):
        return
    size = state.value.shape[1]
    # straight lines through the left and the right value that bound the curves in between, at both ends of the interval
    of_left, of_right = np.empty((2, size)), np.empty((2, size))
    for i in range(size):
        rise, fall = state.slope[left, i], state.slope[right, i]
        if is_bent[i]:
            chord = (state.value[right, i] - state.value[left, i]) / width
            rise, fall = max(rise, chord), min(fall, chord)
        of_left[0, i], of_left[1, i] = state.value[left, i], state.value[left, i] + rise * width
        of_right[0, i], of_right[1, i] = state.value[right, i] - fall * width, state.value[right, i]
    # U(κ) = max over sets and both ends of a line in κ: convex. Cutting planes, from κ = 1 (left tangents) and 0.
    weights, is_member = np.empty(size), np.empty(size, dtype=np.bool_)
    set_there, best_set = np.empty(size, dtype=np.bool_), state.best_set.copy()
    intercepts, slopes = np.empty(8), np.empty(8)
    bound, kappa_low, kappa_high, kappa = np.inf, 0.0, 1.0, 1.0
    for attempt in range(8):
        value, slope = -np.inf, 0.0
        for end in range(2):
            for i in range(size):
                weights[i] = kappa * of_left[end, i] + (1.0 - kappa) * of_right[end, i]
            total = _heaviest(weights, graph, is_free, is_member)
            if total > value:
                value = total
                set_there[:] = is_member
                slope = _sum(of_left[end] - of_right[end], is_member)
        if value < bound:
            bound = value
            best_set[:] = set_there
        if bound <= state.numbers[BEST] + TOLERANCE:
            return
        intercepts[attempt], slopes[attempt] = value - slope * kappa, slope
        if slope > 0.0:
            kappa_high = min(kappa_high, kappa)
        else:
            kappa_low = max(kappa_low, kappa)
        if attempt == 0:
            kappa = 0.0
            continue
        kappa, lower = _lowest_of_upper_envelope(intercepts[: attempt + 1], slopes[: attempt + 1], kappa_low, kappa_high)
        if lower > state.numbers[BEST] + TOLERANCE or bound - lower < 0.1 * TOLERANCE:
            break
    number = state.counters[_NUM_INTERVALS]
    state.bound[number], state.split[number] = bound, _choose_split(state, left, right, best_set)
    state.ends[number, 0], state.ends[number, 1] = left, right
    state.counters[_NUM_INTERVALS] = number + 1


@njit(cache=True)
def _pop(state: SearchState) -> bool:
    """Make the open interval with the highest bound the pending one: it moves to the end of the list."""
    last = state.counters[_NUM_INTERVALS] - 1
    if last < 0:
        return False
    best = 0
    for i in range(1, last + 1):
        if state.bound[i] > state.bound[best] or (
            state.bound[i] == state.bound[best] and state.mu[state.ends[i, 0]] < state.mu[state.ends[best, 0]]
        ):
            best = i
    for array in (state.bound, state.split):
        array[best], array[last] = array[last], array[best]
    for k in range(2):
        state.ends[best, k], state.ends[last, k] = state.ends[last, k], state.ends[best, k]
    state.counters[_PENDING] = last
    state.counters[_NUM_INTERVALS] = last
    return True


@njit(cache=True)
def _visit(state: SearchState, point: int, is_member: NDArray[np.bool_]) -> float:
    """Slope of a set at a point; the incumbent moves there if it is better or was there."""
    total = _sum(state.value[point], is_member)
    if total > state.numbers[BEST] or state.mu[point] == state.numbers[BEST_MU]:
        state.numbers[BEST], state.numbers[BEST_MU] = total, state.mu[point]
        state.best_set[:] = is_member
    return _sum(state.slope[point], is_member)


@njit(cache=True)
def maximise(state: SearchState, curves: Curves, mu_max: float, is_compiled: bool, is_member: NDArray[np.bool_]) -> tuple[int, float]:
    """Code and, on DONE, μ̂ of one set on [0, mu_max]: bracketed root of the slope; the incumbent moves to the best point seen."""
    if not is_member.any():
        return DONE, 0.0
    code = _find_upper_end(state, curves, mu_max, is_compiled)
    if code != DONE:
        return code, 0.0
    end = state.numbers[_UPPER_END]
    low = find_point(state, curves, 0.0, is_compiled)
    high = find_point(state, curves, end, is_compiled) if low >= 0 else low
    if low < 0 or high < 0:
        return (NEEDS_POINT if min(low, high) == -1 else BAD_POINT), 0.0
    slope_low, slope_high = _visit(state, low, is_member), _visit(state, high, is_member)
    if slope_low <= 0.0:
        return DONE, 0.0
    if slope_high >= 0.0:
        return DONE, end
    for iteration in range(200):
        # the tightest bracket among the known points, and whether one of them will do
        for i in range(state.counters[NUM_POINTS]):
            if state.mu[low] < state.mu[i] < state.mu[high] and _is_finite(state, i):
                slope = _visit(state, i, is_member)
                if slope > 0.0:
                    low, slope_low = i, slope
                else:
                    high, slope_high = i, slope
                curvature = (slope_low - slope_high) / (state.mu[high] - state.mu[low])
                if slope == 0.0 or slope * slope < 2.0 * curvature * _POLISH_GAIN:
                    return DONE, state.mu[i]
        width = state.mu[high] - state.mu[low]
        if width <= _MU_PRECISION * state.mu[high] or iteration > 100:
            break
        change = _sum(state.value[high], is_member) - _sum(state.value[low], is_member)
        step = _maximum_of_cubic(width, change, slope_low, slope_high)
        if iteration % 4 == 3:
            step = 0.5 * width
        margin = 0.25 * _MU_PRECISION * state.mu[high]
        mu = state.mu[low] + min(max(step, margin), width - margin)
        if state.counters[NUM_POINTS] >= state.mu.shape[0]:
            return NOT_CONVERGED, 0.0
        point = find_point(state, curves, mu, is_compiled)
        if point < 0:
            return (NEEDS_POINT if point == -1 else BAD_POINT), 0.0
    return DONE, state.mu[low] if abs(slope_low) < abs(slope_high) else state.mu[high]


@njit(cache=True)
def advance(state: SearchState, curves: Curves, graph: Graph, mu_max: float, is_free: bool, is_compiled: bool) -> int:
    """Go on with a search until it is done or needs the curves at `state.numbers[REQUEST]`; returns a code."""
    is_member = np.empty(state.best_set.shape[0], dtype=np.bool_)
    if state.counters[_PHASE] == _BOUNDING:
        if find_point(state, curves, 0.0, is_compiled) == -1:
            return NEEDS_POINT
        code = _find_upper_end(state, curves, mu_max, is_compiled)
        if code != DONE:
            return code
        end = state.numbers[_UPPER_END]
        num_intervals = _NON_CONCAVE_GRID if curves.is_bent.any() else 1
        points = np.empty(num_intervals + 1, dtype=np.int64)
        for k in range(num_intervals + 1):
            points[k] = find_point(state, curves, end * k / num_intervals, is_compiled)
            if points[k] < 0:
                return NEEDS_POINT if points[k] == -1 else BAD_POINT
        for k in range(num_intervals + 1):
            _offer(state, points[k], graph, is_free, is_member)
        for k in range(num_intervals):
            _push(state, points[k], points[k + 1], graph, is_free, curves.is_bent)
        state.counters[_PHASE] = _BRANCHING
    while state.counters[_PHASE] == _BRANCHING:
        is_exhausted = state.counters[_PENDING] < 0 and not _pop(state)
        if is_exhausted or state.bound[state.counters[_PENDING]] <= state.numbers[BEST] + TOLERANCE:
            state.counters[_PHASE] = _POLISHING
            break
        if state.counters[NUM_POINTS] >= MAX_POINTS:
            return NOT_CONVERGED
        pending = state.counters[_PENDING]
        point = find_point(state, curves, state.split[pending], is_compiled)
        if point < 0:
            return NEEDS_POINT if point == -1 else BAD_POINT
        left, right = state.ends[pending, 0], state.ends[pending, 1]
        state.counters[_PENDING] = -1
        _offer(state, point, graph, is_free, is_member)
        _push(state, left, point, graph, is_free, curves.is_bent)
        _push(state, point, right, graph, is_free, curves.is_bent)
    code, _ = maximise(state, curves, mu_max, is_compiled, state.best_set.copy())
    if code == DONE and is_free:  # a member may have turned harmful on the way
        _offer(state, find_point(state, curves, state.numbers[BEST_MU], is_compiled), graph, is_free, is_member)
    return code


@njit(cache=True)
def run_compiled(curves: Curves, graph: Graph, mu_max: float, is_free: bool) -> tuple[int, SearchState]:
    """A whole search over curves that compiled code knows; code and final state."""
    state = start_search(curves.kind.shape[0])
    return advance(state, curves, graph, mu_max, is_free, True), state
