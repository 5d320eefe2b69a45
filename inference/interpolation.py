"""Interpolation of published maps: simplex look-up and barycentric weights, compiled.

Procedure of arXiv:1312.4175 §4 as implemented in SModelS 3.0: masses (and transformed widths) are shifted and rotated into the
plane of the published points (principal components), located in the Delaunay triangulation there, and interpolated linearly; a
point off the plane is accepted if the value is estimated to change by less than 5 %. Values are not allowed below the smallest
vertex value and are rounded to six significant digits.

All maps on one grid share the look-up: `evaluate_columns` returns the values of many maps (signal regions) at once.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from inference.simplices import GridArrays, build_grid_arrays, locate, walk_from
from inference.types import FloatArray, IntArray

__all__ = ["GridArrays", "build_grid_arrays", "evaluate_columns", "locate", "rescale_width", "round_to_six_digits"]

IN_PLANE_TOLERANCE_GEV = 1e-4
OFF_PLANE_TOLERANCE = 0.05
"""Largest estimated relative change of a value off the plane of the published points."""
NEGLIGIBLE = 100 * 2.220446049250313e-16
"""Values smaller than a hundred machine epsilons are 0."""
MAX_FULL = 6
WIDTH_UNIT_GEV = 1e-30


def rescale_width(width: float) -> float:
    """Coordinate of a total width [GeV] in a published map: ln(1 + Γ / 10⁻³⁰ GeV).

    Examples:
        >>> round(rescale_width(1e-30), 6), rescale_width(0.0)
        (0.693147, 0.0)
    """
    ratio = min(width, 1e50) / WIDTH_UNIT_GEV
    return ratio if ratio < 1e-10 else math.log(1.0 + ratio)


_POWERS = np.array([float(f"1e{k}") for k in range(-300, 301)])
_POWER_OFFSET = 300
_LOG10_OF_2 = math.log10(2.0)


@njit(cache=True)
def round_to_six_digits(value: float) -> float:
    """Value rounded to six significant digits; 0 stays 0."""
    if value == 0.0:
        return 0.0
    size = abs(value)
    exponent = math.floor((math.frexp(size)[1] - 1) * _LOG10_OF_2)  # floor(log10(size)) or one less
    if exponent < -290 or exponent > 290:
        return value
    if size >= _POWERS[exponent + 1 + _POWER_OFFSET]:
        exponent += 1
    digits = 5 - exponent
    if digits >= 0:
        scale = _POWERS[digits + _POWER_OFFSET]
        return float(np.rint(value * scale) / scale)
    scale = _POWERS[_POWER_OFFSET - digits]
    return float(np.rint(value / scale) * scale)


@njit(cache=True)
def _column_value(g: int, simplex: int, weights: FloatArray, column: int, arrays: GridArrays) -> float:
    dim = arrays.dim[g]
    row = arrays.simplex_offset[g] + simplex
    total = 0.0
    smallest = math.inf
    for k in range(dim + 1):
        y = arrays.values[arrays.value_offset[g] + np.int64(arrays.simplices[row, k]) * arrays.num_columns[g] + column]
        total += weights[k] * y
        smallest = min(smallest, y)
    return round_to_six_digits(max(total, smallest))


@njit(cache=True)
def _value_from(g: int, simplex: int, u: FloatArray, column: int, arrays: GridArrays, weights: FloatArray) -> float:
    """Value at u, whose simplex is searched from a given one; nan outside."""
    found = walk_from(g, simplex, u, arrays, weights)
    if found < 0:
        return math.nan
    return float(_column_value(g, found, weights, column, arrays))


@njit(cache=True)
def evaluate_columns(g: int, x: FloatArray, columns: IntArray, arrays: GridArrays, out: FloatArray) -> bool:
    """Values of several maps on grid g at masses x; nan where the point is outside the map.

    Args:
        g: grid number.
        x: coordinates [GeV; widths transformed], at least grid_full[g] of them.
        columns: columns of the grid's value block, shape (n,).
        arrays: the store's grid arrays.
        out: filled with the values, shape (n,).

    Returns:
        Whether the point is inside the map of at least one column.
    """
    full, dim = arrays.full[g], arrays.dim[g]
    p = np.zeros(MAX_FULL)
    significant = 0
    for j in range(full):
        total = 0.0
        for i in range(full):
            total += (x[i] - arrays.delta[g, i]) * arrays.rotation[g, i, j]
        p[j] = total
        if abs(total) > IN_PLANE_TOLERANCE_GEV:
            significant += 1
    weights = np.zeros(4)
    simplex = locate(g, p, arrays, weights)
    if simplex < 0:
        out[: columns.size] = math.nan
        return False
    for n in range(columns.size):
        value = _column_value(g, simplex, weights, columns[n], arrays)
        out[n] = 0.0 if abs(value) < NEGLIGIBLE else value
    if significant <= dim:
        return True
    alpha = 0.0
    for j in range(dim, full):
        alpha += p[j] * p[j]
    alpha = math.sqrt(alpha)
    if alpha == 0.0:
        return True
    return bool(_reject_off_plane(g, simplex, p, dim, alpha, columns, arrays, out))


@njit(cache=True)
def _reject_off_plane(
    g: int, simplex: int, p: FloatArray, dim: int, alpha: float, columns: IntArray, arrays: GridArrays, out: FloatArray
) -> bool:
    """Keep values that are estimated to change by less than 5 % over the distance alpha from the plane; nan for the others.

    Forward differences give the direction of the gradient, in which the value is tested once up and once down.
    """
    forward = np.empty(3, dtype=np.int32)
    forward_weights = np.empty((3, 4))
    shifted = p.copy()
    for i in range(dim):
        shifted[i] = p[i] + alpha
        forward[i] = walk_from(g, simplex, shifted, arrays, forward_weights[i])
        shifted[i] = p[i]
        if forward[i] < 0:
            out[: columns.size] = math.nan
            return False
    weights = np.empty(4)
    any_inside = False
    for n in range(columns.size):
        value, norm2, total = out[n], 0.0, 0.0
        for i in range(dim):
            slope = (_column_value(g, forward[i], forward_weights[i], columns[n], arrays) - value) / alpha
            norm2 += slope * slope
            total += slope
        if norm2 == 0.0:
            any_inside = True
            continue
        step = total / math.sqrt(norm2) * alpha
        shifted[dim - 1] = p[dim - 1] + step
        up = _value_from(g, simplex, shifted, columns[n], arrays, weights)
        shifted[dim - 1] = p[dim - 1] - step
        down = _value_from(g, simplex, shifted, columns[n], arrays, weights)
        shifted[dim - 1] = p[dim - 1]
        if value == 0.0:
            change = 0.0 if up == 0.0 else 1.0
            other = 0.0 if down == 0.0 else 1.0
        else:
            change, other = abs(up - value) / value, abs(down - value) / value
        if other > change:
            change = other
        if change < OFF_PLANE_TOLERANCE:
            any_inside = True
        else:
            out[n] = math.nan
    return any_inside
