"""Background and covariance of the signal regions, given the control regions and the constraints but not their own data.

The full model is linearised at its background-only fit θ̂ (`expansion`). Without the Poisson terms of the signal regions -ln L has there
the gradient g and the Hessian P, so that constraints and control regions alone say

    b = ν̂ - J_S P⁻¹ g,      V = J_S P⁻¹ J_Sᵀ

and Π Poisson(n | μ s + b + θ) × N(θ | 0, V) counts every datum once. Normalisations that no control region measures are limited by
their bounds: 12/(upper - lower)² is added to P for parameters without a constraint.

The same with log-normal bins, ν_b exp(θ_b) with V_bc/(ν̂_b ν̂_c), can never predict negative backgrounds; it is written as a pyhf
workspace with one normsys per eigenvector and bin.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from inference.likelihoods.covariance import CovarianceModel
from inference.likelihoods.histfactory import HistFactoryModel
from inference.likelihoods.simplified.errors import SimplificationError
from inference.likelihoods.simplified.expansion import expand_at_fit, invert_precision
from inference.settings import Conventions
from inference.types import FloatArray

_SMALLEST_MEAN = 1e-6
_SMALLEST_EIGENVALUE = 1e-12
"""Eigenvalues of the log-normal covariance below this share of the largest are left out."""


class BackgroundSummary(NamedTuple):
    """What is known of the background of the signal regions without their data.

    Attributes:
        bins: (channel, bin in the channel), shape (num_bins,).
        observed: observed events, shape (num_bins,).
        background: expected background b [events]; may be slightly negative where the linearisation is poor.
        covariance: V [events²], shape (num_bins, num_bins).
        means: background at the fit to all data, where the model was linearised [events].
        is_floored: whether a direction of the parameters had to be held, see `invert_precision`.
    """

    bins: tuple[tuple[str, int], ...]
    observed: FloatArray
    background: FloatArray
    covariance: FloatArray
    means: FloatArray
    is_floored: bool

    def model(self, conventions: Conventions = Conventions.DEFAULT) -> CovarianceModel:
        """The covariance model; signals are in the order of `bins`."""
        return CovarianceModel(self.observed, self.background, self.covariance, conventions=conventions)

    def lognormal_workspace(self, poi_name: str = "mu_SIG", parameters: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
        """The model with log-normal bins as a pyhf workspace: every bin a channel `channel[bin]` with one sample.

        Args:
            poi_name: parameter of interest.
            parameters: what the measurement says of parameters, e.g. of the luminosity, which scales signals.
        """
        means = np.maximum(self.means, _SMALLEST_MEAN)
        eigenvalues, vectors = np.linalg.eigh(self.covariance / np.outer(means, means))
        kept = eigenvalues > _SMALLEST_EIGENVALUE * max(float(eigenvalues[-1]), 0.0)
        shifts = vectors[:, kept] * np.sqrt(eigenvalues[kept])
        centre = means * np.exp((self.background - self.means) / means)
        channels, observations = [], []
        for row, (channel, position) in enumerate(self.bins):
            name = f"{channel}[{position}]"
            modifiers = [
                {"name": f"eigen_{k}", "type": "normsys", "data": {"hi": math.exp(shift), "lo": math.exp(-shift)}}
                for k, shift in enumerate(shifts[row].tolist())
            ]
            channels.append({"name": name, "samples": [{"name": "Bkg", "data": [float(centre[row])], "modifiers": modifiers}]})
            observations.append({"name": name, "data": [float(self.observed[row])]})
        measurement = {"name": "NormalMeasurement", "config": {"poi": poi_name, "parameters": [dict(item) for item in parameters]}}
        return {"channels": channels, "observations": observations, "measurements": [measurement], "version": "1.0.0"}


def condition_on_controls(model: HistFactoryModel, is_signal_bin: NDArray[np.bool_]) -> BackgroundSummary:
    """The summary of a full model.

    Args:
        model: the full model with its control regions.
        is_signal_bin: bins that signals may fill, shape (num_bins,); all others are controls.

    Raises:
        SimplificationError: there is no signal bin, or the background-only fit fails.
    """
    is_signal = np.asarray(is_signal_bin, dtype=np.bool_)
    if not is_signal.any():
        raise SimplificationError("the workspace has no signal region, so that there is nothing to summarise")
    expansion = expand_at_fit(model, is_signal)
    precision = expansion.hessian + np.diag(1.0 / expansion.widths**2)
    covariance, is_floored = invert_precision(precision)
    jacobian = expansion.jacobian[is_signal]
    background = expansion.means[is_signal] - jacobian @ (covariance @ expansion.gradient)
    spread = jacobian @ covariance @ jacobian.T
    bins = tuple(place for place, chosen in zip(model.bins, is_signal.tolist(), strict=True) if chosen)
    return BackgroundSummary(bins, model.observed[is_signal], background, 0.5 * (spread + spread.T), expansion.means[is_signal], is_floored)
