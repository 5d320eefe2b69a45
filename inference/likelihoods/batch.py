"""Many likelihood curves evaluated at one signal strength in one go.

The combination asks for all curves at the same μ. Single regions and truncated Gaussians are gathered into arrays and
evaluated by one compiled call; every other likelihood is asked one by one. Each μ is evaluated once and remembered:
fits of expensive likelihoods are the cost of a search.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from inference.likelihoods.protocol import Likelihood
from inference.likelihoods.single_region import RegionProfiles, SingleRegionLikelihood, profile_arrays
from inference.likelihoods.truncated_gaussian import TruncatedGaussianLikelihood
from inference.settings import Conventions
from inference.types import FloatArray, IntArray


class CurvePoint(NamedTuple):
    """All curves at one signal strength.

    Attributes:
        mu: signal strength.
        value: ln L(μ)/L(0) per curve, shape (num_curves,).
        slope: d/dμ of the value, shape (num_curves,).
    """

    mu: float
    value: FloatArray
    slope: FloatArray


class _Regions:
    """Single regions of one convention, as arrays."""

    def __init__(self, positions: list[int], members: list[SingleRegionLikelihood]) -> None:
        self.positions: IntArray = np.array(positions, dtype=np.int32)
        self._observed = np.array([m.data for m in members], dtype=np.float64)
        self._background = np.array([m.background for m in members], dtype=np.float64)
        self._error = np.array([m.background_error for m in members], dtype=np.float64)
        self._signal = np.array([m.signal for m in members], dtype=np.float64)
        self._conventions = members[0].conventions
        self._nll_zero = self._profile(0.0).nll

    def _profile(self, mu: float) -> RegionProfiles:
        return profile_arrays(mu, self._observed, self._background, self._error, self._signal, self._conventions)

    def log_ratios(self, mu: float) -> tuple[FloatArray, FloatArray]:
        nll, slope, _ = self._profile(mu)
        return self._nll_zero - nll, -slope


class _Gaussians:
    """Truncated Gaussians as arrays."""

    def __init__(self, positions: list[int], members: list[TruncatedGaussianLikelihood]) -> None:
        self.positions: IntArray = np.array(positions, dtype=np.int32)
        self._centre = np.array([m.centre for m in members])
        self._inverse = 1.0 / np.array([m.sigma_mu for m in members]) ** 2

    def log_ratios(self, mu: float) -> tuple[FloatArray, FloatArray]:
        return 0.5 * mu * (2.0 * self._centre - mu) * self._inverse, (self._centre - mu) * self._inverse


class CurveTable:
    """Memo of all curves by signal strength.

    Args:
        curves: the likelihoods; their outcome must be OK.
    """

    def __init__(self, curves: Sequence[Likelihood]) -> None:
        self.num_curves = len(curves)
        self.is_concave = np.array([curve.is_concave for curve in curves], dtype=np.bool_)
        self._points: dict[float, CurvePoint] = {}
        regions: dict[Conventions, tuple[list[int], list[SingleRegionLikelihood]]] = {}
        gaussians: tuple[list[int], list[TruncatedGaussianLikelihood]] = ([], [])
        self._others: list[tuple[int, Likelihood]] = []
        for index, curve in enumerate(curves):
            if isinstance(curve, SingleRegionLikelihood):
                positions, members = regions.setdefault(curve.conventions, ([], []))
                positions.append(index)
                members.append(curve)
            elif isinstance(curve, TruncatedGaussianLikelihood):
                gaussians[0].append(index)
                gaussians[1].append(curve)
            else:
                self._others.append((index, curve))
        self._batches: list[_Regions | _Gaussians] = [_Regions(*group) for group in regions.values()]
        if gaussians[0]:
            self._batches.append(_Gaussians(*gaussians))

    @property
    def num_evaluated(self) -> int:
        """Distinct signal strengths evaluated so far."""
        return len(self._points)

    @property
    def evaluated(self) -> tuple[float, ...]:
        """The signal strengths evaluated so far."""
        return tuple(self._points)

    def at(self, mu: float) -> CurvePoint:
        """All curves at one μ; nan where a fit failed."""
        point = self._points.get(mu)
        if point is None:
            value, slope = np.empty(self.num_curves), np.empty(self.num_curves)
            for batch in self._batches:
                value[batch.positions], slope[batch.positions] = batch.log_ratios(mu)
            for index, curve in self._others:
                value[index], slope[index] = curve.log_ratio(mu)
            point = self._points[mu] = CurvePoint(mu, value, slope)
        return point
