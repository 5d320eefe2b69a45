"""Low-order fits of topology maps in two masses, and the grids on which they are written.

A map with mother mass m and daughter mass m₀ (both branches alike) is described by

    ln f(m, m₀) = Σ_{i+j ≤ d} c_ij xⁱ yʲ,   x = (ln m − x₀)/s_x,   y = (ln(m − m₀) − y₀)/s_y,

with d = 2, 3 or 4 (6, 10 or 15 coefficients); f is an efficiency or a cross-section limit. The fit is evaluated on a
regular grid of its own that fills the convex hull of the published points, so that the extent of a map, which the
results use to say where a topology is on shell, is kept.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import LinearNDInterpolator
from scipy.optimize import least_squares
from scipy.spatial import ConvexHull, QhullError

FloatArray = NDArray[np.float64]

DEGREES = (2, 3, 4)
MIN_POINTS = 15
"""Maps with fewer published points are left out."""
POINTS_PER_COEFFICIENT = 3
DEGREE_GAIN = 0.05
"""A higher degree is taken only if it lowers the typical error by this fraction."""
EFFICIENCY_FLOOR = 0.1
"""Efficiencies below this fraction of a map's largest one count with absolute errors, and not in the quoted ones."""
NEGLIGIBLE = 1e-4
"""Fitted efficiencies below this fraction of the largest one are written as 0."""
MAX_FIT_POINTS = 2000
NUM_LEVELS = {False: 13, True: 17}
"""Levels of the mother mass in the grid, by whether the map holds limits (of which there are few, so that they may be finer)."""
NUM_STEPS = {False: 9, True: 11}
"""Daughter masses on the level with most."""
STEP_POWER = 1.6
"""Daughter masses crowd towards small mass differences, where maps change fastest."""


class MassGrid(NamedTuple):
    """A published map in two masses.

    Attributes:
        masses: (m, m₀) [GeV], shape (num_points, 2).
        values: efficiencies or limits [fb], shape (num_points,).
    """

    masses: FloatArray
    values: FloatArray


class Fit(NamedTuple):
    """Coefficients of one map; symbols as at the top of this module.

    Attributes:
        exponents: (i, j), shape (num_coefficients, 2).
        coefficients: c_ij, shape (num_coefficients,).
        centre: (x₀, y₀).
        scale: (s_x, s_y).
        low: fitted values are not below this.
        high: fitted values are not above this.
    """

    exponents: NDArray[np.int64]
    coefficients: FloatArray
    centre: tuple[float, float]
    scale: tuple[float, float]
    low: float
    high: float

    def evaluate(self, masses: FloatArray) -> FloatArray:
        """f at the given masses [GeV], shape (n, 2)."""
        values = np.exp(np.clip(self._terms(masses) @ self.coefficients, -60.0, 60.0))
        return np.asarray(np.where(values < self.low, 0.0 if self.high <= 1 else self.low, np.minimum(values, self.high)))

    def _terms(self, masses: FloatArray) -> FloatArray:
        x = (np.log(masses[:, 0]) - self.centre[0]) / self.scale[0]
        y = (np.log(np.maximum(masses[:, 0] - masses[:, 1], 1.0)) - self.centre[1]) / self.scale[1]
        return np.asarray(x[:, None] ** self.exponents[:, 0] * y[:, None] ** self.exponents[:, 1])


class FitError(NamedTuple):
    """How far a written map is from the published one.

    Attributes:
        median: median of |written/published − 1| over the published points in the hull (efficiencies: above the floor).
        largest: its maximum.
        num_points: number of points compared.
    """

    median: float
    largest: float
    num_points: int


def fit_map(published: MassGrid, is_limit: bool) -> Fit | None:
    """The fit of lowest degree that does not lose much against the next; None if there are too few points to fit.

    Limits are fitted in ln f, efficiencies with relative errors above `EFFICIENCY_FLOOR` and absolute ones below;
    both with a loss that outliers do not dominate.
    """
    thinned = _thin(published)
    if len(thinned.values) < MIN_POINTS or thinned.values.max() <= 0:
        return None
    best: tuple[float, Fit] | None = None
    for degree in DEGREES:
        num_coefficients = (degree + 1) * (degree + 2) // 2
        if best is not None and len(thinned.values) < POINTS_PER_COEFFICIENT * num_coefficients:
            break
        fit = _fit_degree(thinned, degree, is_limit)
        error = _typical_error(thinned, fit, is_limit)
        if best is None or error < best[0] * (1 - DEGREE_GAIN):
            best = error, fit
    return None if best is None else best[1]


def _thin(published: MassGrid) -> MassGrid:
    step = -(-len(published.values) // MAX_FIT_POINTS)
    is_kept = np.zeros(len(published.values), dtype=bool)
    is_kept[::step] = True
    is_kept &= published.masses[:, 0] > published.masses[:, 1]
    return MassGrid(published.masses[is_kept], published.values[is_kept])


def _fit_degree(published: MassGrid, degree: int, is_limit: bool) -> Fit:
    masses, values = published
    logs = np.log(np.column_stack([masses[:, 0], np.maximum(masses[:, 0] - masses[:, 1], 1.0)]))
    low, high = logs.min(axis=0), logs.max(axis=0)
    centre, scale = (low + high) / 2, np.maximum((high - low) / 2, 1e-9)
    exponents = np.array([(i, j) for i in range(degree + 1) for j in range(degree + 1 - i)])
    top = float(values.max())
    bounds = (float(values[values > 0].min()) / 2, 2 * top) if is_limit else (NEGLIGIBLE * top, min(1.2 * top, 1.0))
    start = Fit(
        exponents,
        np.zeros(len(exponents)),
        (round(float(centre[0]), 6), round(float(centre[1]), 6)),
        (round(float(scale[0]), 6), round(float(scale[1]), 6)),
        *bounds,
    )
    terms = start._terms(masses)
    target = np.log(np.maximum(values, 1e-3 * top if not is_limit else bounds[0]))
    weight = np.ones(len(values)) if is_limit else 1 / (values + EFFICIENCY_FLOOR * top)
    emphasis = weight if is_limit else values * weight + 1e-2

    def residual(c: FloatArray) -> FloatArray:
        if is_limit:
            return np.asarray(terms @ c - target)
        return np.asarray((np.exp(np.clip(terms @ c, -40, 10)) - values) * weight)

    def jacobian(c: FloatArray) -> FloatArray:
        return terms if is_limit else np.asarray((np.exp(np.clip(terms @ c, -40, 10)) * weight)[:, None] * terms)

    guess = np.linalg.lstsq(terms * emphasis[:, None], target * emphasis, rcond=None)[0]
    solution = least_squares(residual, guess, jacobian, loss="soft_l1", f_scale=0.1, max_nfev=400)
    return start._replace(coefficients=np.array([float(f"{c:.5g}") for c in solution.x]))


def _typical_error(published: MassGrid, fit: Fit, is_limit: bool) -> float:
    is_compared = _is_compared(published.values, is_limit)
    relative = np.abs(fit.evaluate(published.masses[is_compared]) / published.values[is_compared] - 1)
    return float(np.median(relative) + np.quantile(relative, 0.9))


def _is_compared(values: FloatArray, is_limit: bool) -> NDArray[np.bool_]:
    return np.asarray(values > (0 if is_limit else EFFICIENCY_FLOOR * values.max()))


def grid_masses(published: MassGrid, is_limit: bool) -> FloatArray | None:
    """The regular grid (m, m₀) [whole GeV] that fills the hull of the published points; None if they span no area.

    Levels of m are equidistant in √m; on each level m − m₀ runs over the whole range of the hull.
    """
    masses = published.masses[published.masses[:, 0] > published.masses[:, 1]]
    try:
        corners = masses[ConvexHull(masses).vertices]
    except (QhullError, ValueError):
        return None
    levels = np.linspace(masses[:, 0].min() ** 0.5, masses[:, 0].max() ** 0.5, NUM_LEVELS[is_limit]) ** 2
    ranges = [_cut(corners, level) for level in levels]
    widest = max(high - low for low, high in ranges)
    rows: list[tuple[float, float]] = []
    for level, (low, high) in zip(levels, ranges, strict=True):
        num_steps = 1 if high - low < 0.5 else 2 + round((NUM_STEPS[is_limit] - 2) * (high - low) / widest)
        steps = np.linspace(0, 1, num_steps) ** STEP_POWER if num_steps > 1 else np.zeros(1)
        rows += [(round(float(level)), round(float(high - (high - low) * step))) for step in steps]
    return np.array(list(dict.fromkeys(rows)), dtype=np.float64)


def _cut(corners: FloatArray, level: float) -> tuple[float, float]:
    """Smallest and largest m₀ of the polygon at m = level."""
    found: list[float] = []
    for (m1, n1), (m2, n2) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        low, high = min(m1, m2), max(m1, m2)
        if low - 1e-6 <= level <= high + 1e-6:
            found += [n1, n2] if high - low < 1e-6 else [n1 + (n2 - n1) * float(np.clip((level - m1) / (m2 - m1), 0, 1))]
    return min(found), max(found)


def written_error(published: MassGrid, masses: FloatArray, values: FloatArray, is_limit: bool) -> FitError:
    """Compares what is read back from the written grid (linear interpolation) with the published points."""
    thinned = _thin(published)
    read = LinearNDInterpolator(masses, values)(thinned.masses)
    is_compared = _is_compared(thinned.values, is_limit) & np.isfinite(read)
    if not is_compared.any():
        return FitError(float("nan"), float("nan"), 0)
    relative = np.abs(read[is_compared] / thinned.values[is_compared] - 1)
    return FitError(float(np.median(relative)), float(relative.max()), int(is_compared.sum()))
