"""Profiles the parameters of a HistFactory model: truncated Newton with exact Hessian products, within bounds.

Each step solves H p = -g by conjugate gradients, preconditioned with the Gauss-Newton metric, and searches along p,
projected on the bounds. Parameters at a bound whose gradient points outwards stay there. Directions of negative
curvature end the inner iteration (Steihaug), so that every step descends; steps that had to be shortened are damped
(Levenberg), as valleys of products of free factors need it; near the minimum convergence is quadratic.

Interpolations with a kink at α = 0 (codes 0 and 1) are smooth on either side: a step does not cross 0 but ends there, and
from 0 a parameter leaves to the side on which -ln L falls, if there is one.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from inference.likelihoods.histfactory.kernels import differentiate, evaluate, make_work, multiply_hessian
from inference.likelihoods.histfactory.linear import dot
from inference.likelihoods.histfactory.metric import add_damping, factorise_metric, solve_metric
from inference.likelihoods.histfactory.problem import Measured, Problem, Work
from inference.types import FloatArray, IntArray

_MAX_ITERATIONS = 100
_MAX_PRODUCTS = 50
"""Hessian products per Newton step."""
_SMALLEST_GAIN = 1e-10
"""A step that promises to lower -ln L by less than this is not needed."""
_SMALLEST_GAIN_OF_MU = 1e-14
"""The same where μ is fitted: the error of μ goes with the root of the gain."""
_LAST_ENERGY = 1e-6
"""A full step from this close (twice the promised gain) ends within the smallest gain."""
_FAR = 0.05
"""Energy above which every step makes a metric of its own."""
_FIRST_DAMPING = 1e-3
"""Levenberg damping after a step that had to be shortened a lot, relative to the Gauss-Newton curvature of each parameter."""
_AT_BOUND = 1e-10
"""Parameters this close to a bound are at it."""


class FitSummary(NamedTuple):
    """What the kernel returns beside the arrays it fills.

    Attributes:
        has_converged: whether the minimum was found.
        value: -ln L without the constants of the data; nan where the start cannot produce the data.
        slope: its derivative in μ (the envelope theorem: nuisances need not follow).
        curvature: second derivative in μ of the profiled curve; nan if not asked for or not defined.
        num_iterations: Newton steps.
        num_products: Hessian products.
    """

    has_converged: bool
    value: float
    slope: float
    curvature: float
    num_iterations: int
    num_products: int


@njit(cache=True)
def _choose_sides(
    problem: Problem, data: Measured, theta: FloatArray, is_free: IntArray, work: Work, lower: FloatArray, upper: FloatArray
) -> None:
    """At kinks: the side on which -ln L falls, and bounds that keep steps on one side. Parameters at a kink without such a side stay."""
    is_at_kink = False
    for p in range(theta.shape[0]):
        if problem.has_kink[p] and is_free[p]:
            lower[p] = max(problem.lower[p], 0.0) if theta[p] >= 0.0 else problem.lower[p]
            upper[p] = min(problem.upper[p], 0.0) if theta[p] <= 0.0 else problem.upper[p]
            is_at_kink |= theta[p] == 0.0
    if not is_at_kink:
        return
    work.side[:] = -1
    evaluate(problem, data, theta, work)
    differentiate(problem, data, theta, is_free, work)
    from_left = work.gradient.copy()
    work.side[:] = 1
    evaluate(problem, data, theta, work)
    differentiate(problem, data, theta, is_free, work)
    for p in range(theta.shape[0]):
        if problem.has_kink[p] and is_free[p] and theta[p] == 0.0:
            if work.gradient[p] < 0.0 and work.gradient[p] <= -from_left[p]:
                upper[p] = problem.upper[p]
            elif from_left[p] > 0.0:
                work.side[p] = -1
                lower[p] = problem.lower[p]
    evaluate(problem, data, theta, work)


@njit(cache=True)
def _solve_newton(
    problem: Problem, theta: FloatArray, work: Work, rest: FloatArray, tolerance: float, smallest: float, step: FloatArray
) -> tuple[float, int, bool]:
    """Conjugate gradients on H step = rest.

    Args:
        rest: in and out, what remains of the right-hand side; 0 for parameters that stay.
        smallest: nothing is done if the first energy is below this.
        tolerance: the energy restᵀ M⁻¹ rest falls by this factor; if negative, by its own first value within [1e-4, 0.05].
        step: output.

    Returns:
        First energy, number of Hessian products, whether no negative curvature was met.
    """
    size = theta.shape[0]
    z, d, image = np.empty(size), np.empty(size), np.empty(size)
    step[:] = 0.0
    solve_metric(problem, work, rest, z)
    energy = dot(rest, z)
    first_energy = energy
    if energy < smallest:
        return first_energy, 0, True
    target = (tolerance if tolerance > 0.0 else min(0.05, max(first_energy, 1e-4))) * first_energy
    d[:] = z
    for number in range(_MAX_PRODUCTS):
        multiply_hessian(problem, theta, d, work, image)
        bending = dot(d, image)
        if not bending > 1e-10 * energy:
            if number == 0:
                step[:] = d
            return first_energy, number + 1, False
        length = energy / bending
        for p in range(size):
            step[p] += length * d[p]
            if work.is_active[p]:
                rest[p] -= length * image[p]
        solve_metric(problem, work, rest, z)
        previous, energy = energy, dot(rest, z)
        if not energy > target:
            return first_energy, number + 1, True
        ratio = energy / previous
        for p in range(size):
            d[p] = z[p] + ratio * d[p]
    return first_energy, _MAX_PRODUCTS, True


@njit(cache=True)
def _profile_curvature(problem: Problem, theta: FloatArray, work: Work) -> float:
    """Second derivative in μ of the profiled curve: h_μμ - h_μθ H⁻¹ h_θμ; nan where the metric is singular."""
    size, poi = theta.shape[0], problem.poi
    direction, image, step = np.zeros(size), np.empty(size), np.empty(size)
    work.is_active[poi] = 0
    direction[poi] = 1.0
    multiply_hessian(problem, theta, direction, work, image)
    if not factorise_metric(problem, theta, work):
        return math.nan
    for p in range(size):
        direction[p] = image[p] if work.is_active[p] else 0.0
    rest = direction.copy()
    _solve_newton(problem, theta, work, rest, 1e-12, 0.0, step)
    return image[poi] - dot(direction, step)  # type: ignore[no-any-return]


@njit(cache=True)
def fit_parameters(
    problem: Problem,
    data: Measured,
    mu: float,
    is_mu_free: bool,
    mu_low: float,
    with_curvature: bool,
    start: FloatArray,
    theta: FloatArray,
    mean: FloatArray,
) -> FitSummary:
    """Minimise -ln L over the nuisances, and over μ if asked.

    Args:
        problem: the model.
        data: data and signal.
        mu: signal strength, fixed or the starting value.
        is_mu_free: whether μ is fitted too.
        mu_low: lower bound of μ then; may be -inf.
        with_curvature: whether the second derivative of the profile is wanted.
        start: where the parameters start.
        theta: output, fitted parameters, μ at its index.
        mean: output, expected events per bin.
    """
    size, poi = start.shape[0], problem.poi
    work = make_work(problem)
    gradient, is_active = work.gradient, work.is_active
    is_free = problem.is_free.copy()
    is_free[poi] = 1 if is_mu_free else 0
    trial, step, rest = np.empty(size), np.empty(size), np.empty(size)
    lower, upper = problem.lower.copy(), problem.upper.copy()
    lower[poi], upper[poi] = mu_low, math.inf
    has_kinks = problem.has_kink.any()
    smallest = 2.0 * (_SMALLEST_GAIN_OF_MU if is_mu_free else _SMALLEST_GAIN)
    last_energy = 1e-4 * _LAST_ENERGY if is_mu_free else _LAST_ENERGY
    for p in range(size):
        theta[p] = min(max(start[p], lower[p]), upper[p]) if is_free[p] else start[p]
    theta[poi] = mu
    value = evaluate(problem, data, theta, work)
    mean[:] = work.mean
    if not math.isfinite(value):
        return FitSummary(False, math.nan, math.nan, math.nan, 0, 0)
    has_converged, is_last, is_stale, energy = False, False, True, math.inf
    iteration, products, damping = 0, 0, 0.0
    while True:
        if has_kinks:
            _choose_sides(problem, data, theta, is_free, work, lower, upper)
        differentiate(problem, data, theta, is_free, work)
        for p in range(size):
            is_low, is_high = theta[p] - lower[p] <= _AT_BOUND, upper[p] - theta[p] <= _AT_BOUND
            is_held = (is_low and gradient[p] >= 0.0) or (is_high and gradient[p] <= 0.0) or (is_low and is_high)
            now_active = 1 if is_free[p] and not is_held else 0
            is_stale |= now_active > is_active[p]
            is_active[p] = now_active
        if is_last:
            has_converged = True
            break
        if iteration == _MAX_ITERATIONS:
            has_converged = energy < _LAST_ENERGY
            break
        iteration += 1
        if damping > 0.0:
            add_damping(problem, work, damping)
        if is_stale or damping > 0.0 or energy > _FAR:  # near the minimum the last metric is good enough
            if not factorise_metric(problem, theta, work):
                break
            is_stale = damping > 0.0
        for p in range(size):
            rest[p] = -gradient[p] if is_active[p] else 0.0
        energy, num_products, is_convex = _solve_newton(problem, theta, work, rest, -1.0, smallest, step)
        products += num_products
        if energy < smallest:
            has_converged = True
            break
        descent = dot(gradient, step)
        length, is_accepted, trial_value = 1.0, False, math.inf
        for attempt in range(50):
            expected = 0.0
            for p in range(size):
                trial[p] = theta[p]
                if is_active[p]:
                    trial[p] = min(max(theta[p] + length * step[p], lower[p]), upper[p])
                    if problem.has_kink[p] and abs(trial[p]) < _AT_BOUND:
                        trial[p] = 0.0
                    expected += gradient[p] * (trial[p] - theta[p])
            if expected < 0.0:
                trial_value = evaluate(problem, data, trial, work)
                if trial_value <= value + 1e-4 * expected + 1e-14 * abs(value):
                    is_accepted = True
                    break
            length *= 0.5 if attempt < 4 else 0.1
            if length < 1e-12:
                break
        if not is_accepted:
            has_converged = is_convex and -descent < 1e-7
            evaluate(problem, data, theta, work)
            differentiate(problem, data, theta, is_free, work)
            break
        if length < 0.2:
            damping = max(10.0 * damping, _FIRST_DAMPING)
        elif length == 1.0:
            damping = 0.1 * damping if damping > _FIRST_DAMPING else 0.0
        is_last = is_convex and damping == 0.0 and length == 1.0 and energy < last_energy
        value = trial_value
        theta[:] = trial
        mean[:] = work.mean
    slope = gradient[poi]
    second = math.nan
    if has_converged and with_curvature:
        second = _profile_curvature(problem, theta, work)
    return FitSummary(has_converged, value, slope, second, iteration, products)
