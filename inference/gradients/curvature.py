"""Curvature of profiled likelihoods of analyses in the expected signal, as Fisher information needs it.

    I = Dᵀ C D,   C = d²(-ln L(μ; s))/ds ds' with the nuisances profiled,   D = ∂s/∂θ

Covariance models have a closed form (`fisher`). Here are the others: the derivative of -ln L in s is exact by the envelope theorem, so C D
is its central difference along the columns of D, two fits per parameter. Expected data of a workspace are those of the hypothesis itself,
nuisances at their nominal values; of other models those that they call expected.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from inference.analysis_models.protocol import AnalysisLikelihood
from inference.likelihoods.histfactory.likelihood import HistFactoryLikelihood
from inference.types import DataKind, FloatArray

RELATIVE_STEP = 3e-3
"""Step of a signal, in units of the square root of its size plus one event."""
MAX_ASYMMETRY = 0.02
"""Relative asymmetry of C above which two fits of a pair ended in different minima."""


def information_along(
    build: Callable[[FloatArray], AnalysisLikelihood], signal: FloatArray, directions: FloatArray, mu: float
) -> FloatArray:
    """Dᵀ C D of a likelihood, shape (num_parameters, num_parameters); nan if fits fail or end in different minima.

    Args:
        build: likelihood of a signal, always with the same data.
        signal: expected events per region at μ = 1, shape (num_regions,).
        directions: D, ∂s/∂θ, shape (num_regions, num_parameters).
        mu: signal strength.
    """
    size = directions.shape[1]
    information = np.zeros((size, size))
    for k in np.flatnonzero(directions.any(axis=0)).tolist():
        step = RELATIVE_STEP / float(np.max(np.abs(directions[:, k]) / np.sqrt(1.0 + np.abs(signal))))
        shift = step * directions[:, k]
        up, down = build(signal + shift).signal_slopes(mu), build(signal - shift).signal_slopes(mu)
        information[:, k] = directions.T @ (down - up) / (2.0 * step)
    asymmetry = float(np.max(np.abs(information - information.T), initial=0.0))
    if not asymmetry <= MAX_ASYMMETRY * float(np.max(np.abs(information), initial=0.0)):
        return np.full((size, size), math.nan)
    symmetric: FloatArray = 0.5 * (information + information.T)
    return symmetric


def workspace_information(likelihood: HistFactoryLikelihood, directions: FloatArray, mu: float, data_kind: DataKind) -> FloatArray:
    """Dᵀ C D of a workspace, shape (num_parameters, num_parameters).

    Args:
        likelihood: of the observed data.
        directions: D per bin of the workspace, shape (num_bins, num_parameters).
        mu: signal strength.
        data_kind: OBSERVED, else the expected data of the hypothesis.
    """
    model = likelihood.model
    if data_kind is DataKind.OBSERVED:
        return information_along(lambda signal: HistFactoryLikelihood(model, signal), likelihood.signal, directions, mu)
    nominal = model.table.inits.copy()
    nominal[model.poi_index] = mu
    counts = np.maximum(model.means_at(nominal, model.signal_arrays(likelihood.signal)), 0.0)
    return information_along(lambda signal: HistFactoryLikelihood(model, signal, counts=counts), likelihood.signal, directions, mu)
