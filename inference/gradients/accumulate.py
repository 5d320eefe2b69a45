"""Adds the derivatives of all contributions up to those of the predictions, compiled."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from inference.gradients.planes import column_slope, locate_with_slopes
from inference.interpolation import MAX_FULL, WIDTH_UNIT_GEV, GridArrays
from inference.types import FloatArray, IntArray


class Places(NamedTuple):
    """Where topologies lie in maps; one place per topology, diagram and axes.

    Attributes:
        of_hit: place of each hit.
        x: coordinates [GeV; widths transformed], shape (num_places, MAX_FULL).
        raw: coordinates [GeV], widths not transformed.
        is_width: which of them are widths.
        start: first entry of each coordinate in `column`, shape (num_places * MAX_FULL + 1,).
        column: parameters that a coordinate depends on.
        share: ∂x/∂θ of each.
    """

    of_hit: IntArray
    x: FloatArray
    raw: FloatArray
    is_width: NDArray[np.bool_]
    start: IntArray
    column: IntArray
    share: FloatArray


@njit(cache=True)
def add_regions(
    order: NDArray[np.int64],
    row: IntArray,
    grid: IntArray,
    column: IntArray,
    sqrts: IntArray,
    amount: FloatArray,
    topology: IntArray,
    weights: FloatArray,
    weight_slopes: FloatArray,
    places: Places,
    arrays: GridArrays,
    xsec: FloatArray,
    xsec_slopes: FloatArray,
) -> None:
    """Cross sections of signal regions and their slopes; hits in an order that keeps places and grids together.

    Args:
        order: hits to add.
        row: prediction of each hit; grid, column, sqrts: of its map; amount: coefficient times lifetime factor.
        topology: of each hit, index into the next two.
        weights: w [fb], shape (num_topologies, 2).
        weight_slopes: dw/dθ, shape (num_topologies, 2, num_parameters).
        places: coordinates.
        arrays: grids.
        xsec: added to [fb], shape (num_predictions,).
        xsec_slopes: added to, shape (num_predictions, num_parameters).
    """
    barycentric, vertex_slopes, slope = np.zeros(4), np.zeros((4, MAX_FULL)), np.zeros(MAX_FULL)
    last_place, last_grid, simplex = -1, -1, -1
    for h in order:
        place, g = places.of_hit[h], grid[h]
        if place != last_place or g != last_grid:
            simplex = locate_with_slopes(g, places.x[place], arrays, barycentric, vertex_slopes)
            last_place, last_grid = place, g
        if simplex < 0:
            continue
        value = column_slope(g, simplex, barycentric, vertex_slopes, column[h], arrays, slope)
        t, s = topology[h], sqrts[h]
        weight = amount[h] * weights[t, s]
        out = xsec_slopes[row[h]]
        xsec[row[h]] += weight * value
        for p in range(out.size):
            out[p] += amount[h] * value * weight_slopes[t, s, p]
        for i in range(arrays.full[g]):
            for e in range(places.start[place * MAX_FULL + i], places.start[place * MAX_FULL + i + 1]):
                out[places.column[e]] += weight * slope[i] * places.share[e]


@njit(cache=True)
def _limit_at(g: int, column: int, x: FloatArray, x_slopes: FloatArray, arrays: GridArrays, out: FloatArray) -> float:
    """Limit L(x) [fb], nan outside, and dL/dθ = Σ_i ∂L/∂x_i dx_i/dθ into `out`."""
    barycentric, vertex_slopes, slope = np.zeros(4), np.zeros((4, MAX_FULL)), np.zeros(MAX_FULL)
    simplex = locate_with_slopes(g, x, arrays, barycentric, vertex_slopes)
    out[:] = 0.0
    if simplex < 0:
        return math.nan
    value = column_slope(g, simplex, barycentric, vertex_slopes, column, arrays, slope)
    for i in range(arrays.full[g]):
        if slope[i] != 0.0:
            for p in range(out.size):
                out[p] += slope[i] * x_slopes[i, p]
    return float(value)


@njit(cache=True)
def add_limits(
    rows: IntArray,
    start: IntArray,
    members: IntArray,
    atom: IntArray,
    atom_grid: IntArray,
    atom_column: IntArray,
    atom_grid_exp: IntArray,
    atom_column_exp: IntArray,
    sqrts: IntArray,
    coefficient: FloatArray,
    factor: FloatArray,
    topology: IntArray,
    weights: FloatArray,
    weight_slopes: FloatArray,
    places: Places,
    arrays: GridArrays,
    xsec: FloatArray,
    xsec_slopes: FloatArray,
    limits: FloatArray,
    limit_slopes: FloatArray,
) -> None:
    """Cross sections and limits of clusters in limit maps, and their slopes.

    Args:
        rows: predictions; start, members: their hits.
        atom: map atom of each hit; atom_grid, atom_column, atom_grid_exp, atom_column_exp: its maps.
        sqrts, coefficient, factor, topology: of each hit.
        weights, weight_slopes, places, arrays: as in `add_regions`.
        xsec, xsec_slopes: as in `add_regions`.
        limits: output, observed and expected limit [fb], shape (2, num_predictions).
        limit_slopes: output, shape (2, num_predictions, num_parameters).
    """
    num_parameters = xsec_slopes.shape[1]
    mean, mean_slopes = np.empty(MAX_FULL), np.empty((MAX_FULL, num_parameters))
    seen_slopes, out = np.empty(num_parameters), np.empty(num_parameters)
    for k in range(rows.size):
        r = rows[k]
        total, seen = 0.0, 0.0
        mean[:] = 0.0
        mean_slopes[:] = 0.0
        seen_slopes[:] = 0.0
        for m in range(start[k], start[k + 1]):
            h = members[m]
            w = weights[topology[h], sqrts[h]]
            total += w
            seen += w * factor[h]
            for i in range(MAX_FULL):
                mean[i] += w * places.raw[places.of_hit[h], i]
        seen /= total
        for i in range(MAX_FULL):
            mean[i] /= total
        first = places.of_hit[members[start[k]]]
        if start[k + 1] - start[k] == 1:  # exactly, not up to rounding
            mean[:] = places.raw[first]
        for m in range(start[k], start[k + 1]):
            h = members[m]
            place = places.of_hit[h]
            slopes = weight_slopes[topology[h], sqrts[h]]
            w = weights[topology[h], sqrts[h]]
            xsec[r] += coefficient[h] * w
            for p in range(num_parameters):
                xsec_slopes[r, p] += coefficient[h] * slopes[p]
                seen_slopes[p] += (factor[h] - seen) * slopes[p] / total
            for i in range(MAX_FULL):
                away = (places.raw[place, i] - mean[i]) / total
                if away != 0.0:
                    for p in range(num_parameters):
                        mean_slopes[i, p] += away * slopes[p]
                for e in range(places.start[place * MAX_FULL + i], places.start[place * MAX_FULL + i + 1]):
                    mean_slopes[i, places.column[e]] += w / total * places.share[e]
        for i in range(MAX_FULL):
            if places.is_width[first, i]:  # averaged in GeV, looked up as ln(1 + Γ/unit)
                mean_slopes[i] /= WIDTH_UNIT_GEV + mean[i]
                mean[i] = places.x[first, i] if start[k + 1] - start[k] == 1 else math.log(1.0 + mean[i] / WIDTH_UNIT_GEV)
        a = atom[members[start[k]]]
        for kind in range(2):
            g = atom_grid[a] if kind == 0 else atom_grid_exp[a]
            if g < 0:
                continue
            c = atom_column[a] if kind == 0 else atom_column_exp[a]
            value = _limit_at(g, c, mean, mean_slopes, arrays, out)
            limits[kind, r] = value / seen
            for p in range(num_parameters):
                limit_slopes[kind, r, p] = (out[p] - value * seen_slopes[p] / seen) / seen
