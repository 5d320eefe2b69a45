"""The Gauss-Newton metric of a fit, D + JᵀWJ, factorised in the smaller of its two forms.

Parameters that touch one bin only (staterror, most shapesys) are eliminated first: they soften the weights to
w' = w/(1 + w Σ j²/d). The others are solved for in bins (Woodbury: 1 + W'^½ J D⁻¹ Jᵀ W'^½) or in parameters (D + JᵀW'J).
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from inference.likelihoods.histfactory.linear import dot, factorise, solve
from inference.likelihoods.histfactory.problem import Problem, Work
from inference.types import FloatArray, IntArray

_DAMPING = 1e-6
"""Share of the diagonal of JᵀWJ that stands in for the missing constraint of a free factor; it changes no result."""


@njit(cache=True)
def _weigh_parameters(problem: Problem, theta: FloatArray, work: Work) -> None:
    """Writes 1/D for active parameters: constraints, and what bends upwards in the modifiers."""
    layout, inverse, num_bins = problem.layout, work.inverse, problem.layout.num_bins
    for p in range(inverse.shape[0]):
        inverse[p] = max(work.curvature[p] + max(work.own[p], 0.0), 1e-8) if work.is_active[p] else 0.0
    for row in range(layout.shared.shape[0]):
        p = layout.shared[row]
        if work.is_active[p] and problem.kind[p] == 0:
            total = 0.0
            for b in range(num_bins):
                j = work.jacobian[row * num_bins + b]
                total += work.bin_weight[b] * j * j
            inverse[p] = max(inverse[p], _DAMPING * total)
    for k in range(layout.local.shape[0]):
        p = layout.local[k]
        if work.is_active[p] and problem.kind[p] == 0:
            j = work.jacobian[layout.shared.shape[0] * num_bins + k]
            inverse[p] = max(inverse[p], _DAMPING * work.bin_weight[layout.local_bin[k]] * j * j)
    for p in range(inverse.shape[0]):
        if work.is_active[p]:
            if problem.kind[p] == 0:  # nothing may bend it (no events in its bins): no step is longer than its range
                width = problem.upper[p] - problem.lower[p] if p != problem.poi else 10.0 * max(1.0, abs(theta[p]))
                inverse[p] = max(inverse[p], abs(work.gradient[p]) / width)
            inverse[p] = 1.0 / inverse[p]


@njit(cache=True)
def add_damping(problem: Problem, work: Work, damping: float) -> None:
    """Adds a share of the Gauss-Newton diagonal to the curvature of the constraints."""
    layout, num_bins = problem.layout, problem.layout.num_bins
    for row in range(layout.shared.shape[0]):
        p = layout.shared[row]
        total = work.curvature[p]
        for b in range(num_bins):
            j = work.jacobian[row * num_bins + b]
            total += work.bin_weight[b] * j * j
        work.curvature[p] += damping * total
    for k in range(layout.local.shape[0]):
        p = layout.local[k]
        j = work.jacobian[layout.shared.shape[0] * num_bins + k]
        work.curvature[p] += damping * (work.curvature[p] + work.bin_weight[layout.local_bin[k]] * j * j)


@njit(cache=True)
def _add_outer_products(shared: IntArray, jacobian: FloatArray, inverse: FloatArray, num_bins: int, matrix: FloatArray) -> None:
    """Adds J D⁻¹ Jᵀ to the lower triangle, four parameters at a time."""
    rows = np.empty(shared.shape[0], dtype=np.int64)
    size = 0
    for row in range(shared.shape[0]):
        if inverse[shared[row]] > 0.0:
            rows[size] = row
            size += 1
    k = 0
    while k < size:
        i0 = rows[k]
        i1, i2, i3 = rows[min(k + 1, size - 1)], rows[min(k + 2, size - 1)], rows[min(k + 3, size - 1)]
        s0 = inverse[shared[i0]]
        s1 = inverse[shared[i1]] if k + 1 < size else 0.0
        s2 = inverse[shared[i2]] if k + 2 < size else 0.0
        s3 = inverse[shared[i3]] if k + 3 < size else 0.0
        v0, v1 = jacobian[i0 * num_bins : (i0 + 1) * num_bins], jacobian[i1 * num_bins : (i1 + 1) * num_bins]
        v2, v3 = jacobian[i2 * num_bins : (i2 + 1) * num_bins], jacobian[i3 * num_bins : (i3 + 1) * num_bins]
        for a in range(num_bins):
            x0, x1, x2, x3 = v0[a] * s0, v1[a] * s1, v2[a] * s2, v3[a] * s3
            if x0 != 0.0 or x1 != 0.0 or x2 != 0.0 or x3 != 0.0:
                target = matrix[a]
                for b in range(a + 1):
                    target[b] += (x0 * v0[b] + x1 * v1[b]) + (x2 * v2[b] + x3 * v3[b])
        k += 4


@njit(cache=True)
def factorise_metric(problem: Problem, theta: FloatArray, work: Work) -> bool:
    """Prepares solutions with the metric of the active parameters, from the derivatives of this moment.

    Returns:
        Whether the matrix is positive definite.
    """
    layout, jacobian, inverse, soft, matrix = problem.layout, work.slopes, work.inverse, work.soft, work.matrix
    jacobian[:] = work.jacobian
    _weigh_parameters(problem, theta, work)
    num_bins, num_shared = layout.num_bins, layout.shared.shape[0]
    soft[:] = 0.0
    offset = num_shared * num_bins
    for k in range(layout.local.shape[0]):
        j = jacobian[offset + k]
        soft[layout.local_bin[k]] += j * j * inverse[layout.local[k]]
    for b in range(num_bins):
        soft[b] = work.bin_weight[b] / (1.0 + work.bin_weight[b] * soft[b])
    matrix[:, :] = 0.0
    if num_bins <= num_shared:
        _add_outer_products(layout.shared, jacobian, inverse, num_bins, matrix)
        for b in range(num_bins):
            work.bins[b] = math.sqrt(soft[b])
        for a in range(num_bins):
            for b in range(a + 1):
                matrix[a, b] *= work.bins[a] * work.bins[b]
            matrix[a, a] += 1.0
    else:
        for row in range(num_shared):
            if inverse[layout.shared[row]] == 0.0:
                matrix[row, row] = 1.0
                continue
            matrix[row, row] = 1.0 / inverse[layout.shared[row]]
            for other in range(row + 1):
                if inverse[layout.shared[other]] == 0.0:
                    continue
                total = 0.0
                for b in range(num_bins):
                    total += jacobian[row * num_bins + b] * soft[b] * jacobian[other * num_bins + b]
                matrix[row, other] += total
    return factorise(matrix)


@njit(cache=True)
def solve_metric(problem: Problem, work: Work, rhs: FloatArray, out: FloatArray) -> None:
    """out = (D + JᵀWJ)⁻¹ rhs with the metric of the last `factorise_metric`; 0 for parameters that stay."""
    layout, jacobian, inverse, soft = problem.layout, work.slopes, work.inverse, work.soft
    bins, rows = work.bins, work.rows
    num_bins, num_shared = layout.num_bins, layout.shared.shape[0]
    offset = num_shared * num_bins
    bins[:] = 0.0
    for row in range(num_shared):
        p = layout.shared[row]
        x = rhs[p] * inverse[p]
        if x != 0.0:
            first = row * num_bins
            for b in range(num_bins):
                bins[b] += x * jacobian[first + b]
    for k in range(layout.local.shape[0]):
        p = layout.local[k]
        bins[layout.local_bin[k]] += jacobian[offset + k] * rhs[p] * inverse[p]
    if num_bins <= num_shared:
        for b in range(num_bins):
            bins[b] *= math.sqrt(soft[b])
        solve(work.matrix, bins)
        for b in range(num_bins):
            bins[b] *= math.sqrt(soft[b])
    else:
        for b in range(num_bins):
            bins[b] *= soft[b]
        for row in range(num_shared):
            total = 0.0
            if inverse[layout.shared[row]] != 0.0:
                for b in range(num_bins):
                    total += jacobian[row * num_bins + b] * bins[b]
            rows[row] = total
        solve(work.matrix, rows)
        for row in range(num_shared):
            x = rows[row]
            if x != 0.0:
                for b in range(num_bins):
                    bins[b] -= soft[b] * jacobian[row * num_bins + b] * x
    for p in range(rhs.shape[0]):
        out[p] = rhs[p] * inverse[p]
    for row in range(num_shared):
        p = layout.shared[row]
        if inverse[p] != 0.0:
            out[p] -= inverse[p] * dot(jacobian[row * num_bins : (row + 1) * num_bins], bins)
    for k in range(layout.local.shape[0]):
        p = layout.local[k]
        out[p] -= inverse[p] * jacobian[offset + k] * bins[layout.local_bin[k]]
    for p in range(rhs.shape[0]):
        if not work.is_active[p]:
            out[p] = 0.0
