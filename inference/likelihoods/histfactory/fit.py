"""Profiles the parameters of a HistFactory model: truncated Newton with exact Hessian products, within bounds.

Each step solves H p = -g by conjugate gradients, preconditioned with the Gauss-Newton metric, and searches along p,
projected on the bounds. Parameters at a bound whose gradient points outwards stay there. Directions of negative
curvature end the inner iteration (Steihaug), so that every step descends; near the minimum convergence is quadratic.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from inference.likelihoods.histfactory.cells import Cells
from inference.likelihoods.histfactory.kernels import (
    differentiate,
    evaluate_functions,
    evaluate_shifts,
    expect,
    multiply_hessian,
    objective,
)
from inference.likelihoods.histfactory.linear import dot
from inference.likelihoods.histfactory.metric import Layout, factorise_metric, solve_metric
from inference.types import FloatArray, IntArray

_MAX_ITERATIONS = 100
_SMALLEST_GAIN = 1e-10
"""A step that promises to lower -ln L by less than this is not needed."""


_AT_BOUND = 1e-10
"""Parameters this close to a bound are at it."""


class Problem(NamedTuple):
    """What all fits of a model share.

    Attributes:
        cells: cells and modifiers.
        layout: where derivatives live.
        poi: index of the signal strength among the parameters.
        is_free: 1 for parameters that fits may move (the signal strength apart), shape (num_parameters,).
        has_shift: 1 for parameters of a histosys.
        kind: Constraint values.
        lower, upper: bounds.
        is_polynomial: normsys code 4, else 1.
        code: histosys code 0, 2, or 4 for 4p.
    """

    cells: Cells
    layout: Layout
    poi: int
    is_free: IntArray
    has_shift: IntArray
    kind: IntArray
    lower: FloatArray
    upper: FloatArray
    is_polynomial: bool
    code: int


class FitSummary(NamedTuple):
    """What the kernel returns beside the arrays it fills.

    Attributes:
        has_converged: whether the minimum was found.
        value: -ln L without the constants of the data.
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
def fit_parameters(
    problem: Problem,
    scale: FloatArray,
    observed: FloatArray,
    auxdata: FloatArray,
    weight: FloatArray,
    mu: float,
    is_mu_free: bool,
    mu_low: float,
    with_curvature: bool,
    start: FloatArray,
    theta: FloatArray,
    mean: FloatArray,
    unit: FloatArray,
) -> FitSummary:
    """Minimise -ln L over the nuisances, and over μ if asked.

    Args:
        problem: the model.
        scale: per cell, expected signal events in signal cells and 1 elsewhere.
        observed: events per bin.
        auxdata, weight: centres and weights of the constraints per parameter.
        mu: signal strength, fixed or the starting value.
        is_mu_free: whether μ is fitted too.
        mu_low: lower bound of μ then; may be -inf.
        with_curvature: whether the second derivative of the profile is wanted.
        start: where the parameters start.
        theta: output, fitted parameters, μ at its index.
        mean: output, expected events per bin.
        unit: output, expected events per cell; signal cells for μ = 1.
    """
    cells, layout, poi = problem.cells, problem.layout, problem.poi
    size, num_bins, num_cells, num_functions = start.shape[0], observed.shape[0], cells.nominal.shape[0], cells.log_up.shape[0]
    num_shared = layout.shared.shape[0]
    is_free = problem.is_free.copy()
    is_free[poi] = 1 if is_mu_free else 0
    f, f_slope, f_bend = np.empty(num_functions), np.empty(num_functions), np.empty(num_functions)
    shift, side = np.zeros((5, size)), np.ones(size, dtype=np.int32)
    factor, trial, trial_mean = np.empty(num_cells), np.empty(size), np.empty(num_bins)
    along, tilt, hist_slope = np.empty(num_cells), np.empty(num_cells), np.empty(cells.hist_s.shape[0])
    gradient, curvature, diagonal = np.empty(size), np.empty(size), np.empty(size)
    jacobian = np.empty(num_shared * num_bins + layout.local.shape[0] + 1)
    residual, bin_weight, soft = np.empty(num_bins), np.empty(num_bins), np.empty(num_bins)
    inverse = np.zeros(size)
    n = min(num_bins, num_shared)
    matrix = np.empty((n, n))
    bins, rows = np.empty(num_bins), np.empty(num_shared)
    step, rest, image, z, d = np.empty(size), np.empty(size), np.empty(size), np.empty(size), np.empty(size)
    lower, upper = problem.lower.copy(), problem.upper.copy()
    lower[poi], upper[poi] = mu_low, math.inf
    for p in range(size):
        theta[p] = min(max(start[p], lower[p]), upper[p]) if is_free[p] else start[p]
    theta[poi] = mu
    evaluate_functions(theta, cells, problem.is_polynomial, side, f, f_slope, f_bend)
    evaluate_shifts(theta, problem.has_shift, problem.code, side, shift)
    expect(theta, mu, cells, scale, is_free, f, shift, factor, unit, mean)
    value = objective(mean, observed, theta, problem.kind, auxdata, weight)
    if not math.isfinite(value):
        return FitSummary(False, math.nan, math.nan, math.nan, 0, 0)
    has_converged = False
    is_last = False
    iteration = 0
    products = 0
    while True:
        differentiate(
            theta, mu, poi, cells, is_free, layout.slot, layout.stride, f_slope, f_bend, shift, factor, unit, mean, observed,
            problem.kind, auxdata, weight, gradient, curvature, diagonal, hist_slope, jacobian, residual, bin_weight,
        )  # fmt: skip
        if is_last:
            has_converged = True
            break
        if iteration == _MAX_ITERATIONS:
            break
        iteration += 1
        for p in range(size):
            inverse[p] = 0.0
            is_low, is_high = theta[p] - lower[p] <= _AT_BOUND, upper[p] - theta[p] <= _AT_BOUND
            if is_free[p] and not ((is_low and gradient[p] >= 0.0) or (is_high and gradient[p] <= 0.0)):
                inverse[p] = max(curvature[p] + max(diagonal[p], 0.0), 1e-8)
        for row in range(num_shared):
            p = layout.shared[row]
            if inverse[p] > 0.0 and problem.kind[p] == 0:
                total = 0.0
                for b in range(num_bins):
                    j = jacobian[row * num_bins + b]
                    total += bin_weight[b] * j * j
                inverse[p] = max(inverse[p], 1e-6 * total)
        for k in range(layout.local.shape[0]):
            p = layout.local[k]
            if inverse[p] > 0.0 and problem.kind[p] == 0:
                j = jacobian[num_shared * num_bins + k]
                inverse[p] = max(inverse[p], 1e-6 * bin_weight[layout.local_bin[k]] * j * j)
        for p in range(size):
            if inverse[p] > 0.0:
                inverse[p] = 1.0 / inverse[p]
        if not factorise_metric(layout, jacobian, bin_weight, inverse, soft, matrix):
            break
        # conjugate gradients on H step = -gradient
        for p in range(size):
            step[p] = 0.0
            rest[p] = -gradient[p] if inverse[p] > 0.0 else 0.0
        solve_metric(layout, jacobian, inverse, soft, matrix, rest, bins, rows, z)
        energy = dot(rest, z)
        first_energy = energy
        if energy < 2.0 * _SMALLEST_GAIN:
            has_converged = True
            break
        tolerance = min(0.05, max(first_energy, 1e-4))
        d[:] = z
        is_convex = True
        for inner in range(50):
            multiply_hessian(
                d, theta, mu, poi, cells, is_free, f_slope, factor, unit, hist_slope, curvature, diagonal, residual,
                bin_weight, along, tilt, image,
            )  # fmt: skip
            products += 1
            bending = dot(d, image)
            if not bending > 1e-10 * energy:
                is_convex = False
                if inner == 0:
                    step[:] = d
                break
            length = energy / bending
            for p in range(size):
                step[p] += length * d[p]
                rest[p] -= length * image[p] if inverse[p] > 0.0 else 0.0
            solve_metric(layout, jacobian, inverse, soft, matrix, rest, bins, rows, z)
            previous, energy = energy, dot(rest, z)
            if energy <= tolerance * first_energy:
                break
            ratio = energy / previous
            for p in range(size):
                d[p] = z[p] + ratio * d[p]
        descent = dot(gradient, step)
        if -descent < 2.0 * _SMALLEST_GAIN and is_convex:
            has_converged = True
            break
        length = 1.0
        is_accepted = False
        for attempt in range(50):
            expected = 0.0
            for p in range(size):
                trial[p] = theta[p]
                if is_free[p]:
                    trial[p] = min(max(theta[p] + length * step[p], lower[p]), upper[p])
                    expected += gradient[p] * (trial[p] - theta[p])
            if expected < 0.0:
                trial_mu = trial[poi]
                evaluate_functions(trial, cells, problem.is_polynomial, side, f, f_slope, f_bend)
                evaluate_shifts(trial, problem.has_shift, problem.code, side, shift)
                expect(trial, trial_mu, cells, scale, is_free, f, shift, factor, unit, trial_mean)
                trial_value = objective(trial_mean, observed, trial, problem.kind, auxdata, weight)
                if trial_value <= value + 1e-4 * expected + 1e-14 * abs(value):
                    is_accepted = True
                    break
            length *= 0.5 if attempt < 4 else 0.1
            if length < 1e-12:
                break
        if not is_accepted:
            has_converged = -descent < 1e-7 and is_convex
            evaluate_functions(theta, cells, problem.is_polynomial, side, f, f_slope, f_bend)
            evaluate_shifts(theta, problem.has_shift, problem.code, side, shift)
            expect(theta, mu, cells, scale, is_free, f, shift, factor, unit, mean)
            break
        is_last = is_convex and length == 1.0 and first_energy < 1e-6 and tolerance <= 2e-4
        value = trial_value
        mu = trial_mu
        theta[:] = trial
        mean[:] = trial_mean
    second = math.nan
    if has_converged and with_curvature:
        is_free[poi] = 1
        inverse[poi] = 0.0
        d[:] = 0.0
        d[poi] = 1.0
        multiply_hessian(
            d, theta, mu, poi, cells, is_free, f_slope, factor, unit, hist_slope, curvature, diagonal, residual, bin_weight,
            along, tilt, image,
        )  # fmt: skip
        second = image[poi]
        if factorise_metric(layout, jacobian, bin_weight, inverse, soft, matrix):
            for p in range(size):
                step[p] = 0.0
                rest[p] = image[p] if inverse[p] > 0.0 else 0.0
            reach = rest.copy()
            solve_metric(layout, jacobian, inverse, soft, matrix, rest, bins, rows, z)
            energy = dot(rest, z)
            first_energy = energy
            d[:] = z
            for _ in range(50):
                if not energy > 1e-12 * first_energy:
                    break
                multiply_hessian(
                    d, theta, mu, poi, cells, is_free, f_slope, factor, unit, hist_slope, curvature, diagonal, residual,
                    bin_weight, along, tilt, image,
                )  # fmt: skip
                bending = dot(d, image)
                if not bending > 0.0:
                    break
                length = energy / bending
                for p in range(size):
                    step[p] += length * d[p]
                    rest[p] -= length * image[p] if inverse[p] > 0.0 else 0.0
                solve_metric(layout, jacobian, inverse, soft, matrix, rest, bins, rows, z)
                previous, energy = energy, dot(rest, z)
                ratio = energy / previous
                for p in range(size):
                    d[p] = z[p] + ratio * d[p]
            second -= dot(reach, step)
    return FitSummary(has_converged, value, gradient[poi], second, iteration, products)
