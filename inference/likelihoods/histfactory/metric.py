"""The Gauss-Newton metric of a fit, D + JᵀWJ, factorised in the smaller of its two forms.

Parameters that touch one bin only (staterror, most shapesys) are eliminated first: they soften the weights to
w' = w/(1 + w Σ j²/d). The others are solved for in bins (Woodbury: 1 + W'^½ J D⁻¹ Jᵀ W'^½) or in parameters (D + JᵀW'J).
"""

from __future__ import annotations

import math
from typing import NamedTuple

from numba import njit

from inference.likelihoods.histfactory.linear import factorise, solve
from inference.types import FloatArray, IntArray


class Layout(NamedTuple):
    """Where the derivatives of a model live; arrays over parameters unless said otherwise.

    Attributes:
        slot, stride: entry (parameter, bin) of the Jacobian is at slot + stride · bin; a last slot takes what nobody reads.
        shared: parameters that touch several bins (rows of the Jacobian), the parameter of interest last.
        local, local_bin: parameters that touch one bin, and that bin.
        num_bins: number of bins.
    """

    slot: IntArray
    stride: IntArray
    shared: IntArray
    local: IntArray
    local_bin: IntArray
    num_bins: int


@njit(cache=True)
def factorise_metric(
    layout: Layout, jacobian: FloatArray, bin_weight: FloatArray, inverse: FloatArray, soft: FloatArray, matrix: FloatArray
) -> bool:
    """Prepares solutions with the metric.

    Args:
        jacobian: d(mean)/dθ, shape (num_slots,).
        bin_weight: W per bin.
        inverse: 1/D per parameter; 0 for parameters that stay.
        soft: output, w' per bin.
        matrix: output, Cholesky factor, shape (n, n) with n = min(num_bins, number of shared parameters).

    Returns:
        Whether the matrix is positive definite.
    """
    num_bins, num_shared = layout.num_bins, layout.shared.shape[0]
    soft[:] = 0.0
    offset = num_shared * num_bins
    for k in range(layout.local.shape[0]):
        j = jacobian[offset + k]
        soft[layout.local_bin[k]] += j * j * inverse[layout.local[k]]
    for b in range(num_bins):
        soft[b] = bin_weight[b] / (1.0 + bin_weight[b] * soft[b])
    matrix[:, :] = 0.0
    if num_bins <= num_shared:
        for row in range(num_shared):
            scale = inverse[layout.shared[row]]
            if scale == 0.0:
                continue
            first = row * num_bins
            for a in range(num_bins):
                x = jacobian[first + a] * scale
                if x != 0.0:
                    target = matrix[a]
                    for b in range(a + 1):
                        target[b] += x * jacobian[first + b]
        for a in range(num_bins):
            root = math.sqrt(soft[a])
            for b in range(a + 1):
                matrix[a, b] *= root * math.sqrt(soft[b])
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
def solve_metric(
    layout: Layout,
    jacobian: FloatArray,
    inverse: FloatArray,
    soft: FloatArray,
    matrix: FloatArray,
    rhs: FloatArray,
    bins: FloatArray,
    rows: FloatArray,
    out: FloatArray,
) -> None:
    """out = (D + JᵀWJ)⁻¹ rhs; 0 for parameters that stay. `bins` and `rows` are scratch, per bin and shared parameter."""
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
        solve(matrix, bins)
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
        solve(matrix, rows)
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
            first = row * num_bins
            t0, t1, t2, t3 = 0.0, 0.0, 0.0, 0.0
            b = 0
            while b + 4 <= num_bins:
                t0 += jacobian[first + b] * bins[b]
                t1 += jacobian[first + b + 1] * bins[b + 1]
                t2 += jacobian[first + b + 2] * bins[b + 2]
                t3 += jacobian[first + b + 3] * bins[b + 3]
                b += 4
            while b < num_bins:
                t0 += jacobian[first + b] * bins[b]
                b += 1
            out[p] -= inverse[p] * ((t0 + t1) + (t2 + t3))
    for k in range(layout.local.shape[0]):
        p = layout.local[k]
        out[p] -= inverse[p] * jacobian[offset + k] * bins[layout.local_bin[k]]
