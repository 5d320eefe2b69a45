"""Fisher information of the parameters of a model, from the curvature of its likelihoods.

    I = Σ_members μ² (∂s/∂θ)ᵀ C (∂s/∂θ),   C = d²(-ln L)/ds² with the nuisances profiled

(the expectation of the second derivative, where the term with ∂²s/∂θ² vanishes; arXiv:1007.1727 §2). With λ the mean and n the data
(n = λ where expected, the nuisances then at their central values):

    single region:        C = n/(λ² + n δ²), expected 1/(λ + δ²); with an uncertain signal from the slopes beside μ
    covariance V:         C = A - A T (TᵀAT + H)⁻¹ TA, A = diag(n/λ²), T = ∂λ/∂nuisance, H = V⁻¹ and, at second order, the bend of λ;
                          at first order, expected: C = (diag(λ) + V)⁻¹
    full likelihood:      differences of the exact first derivative (`curvature`)
    pair of limits:       s = σ/UL_exp, C = 1.96²

The inverse of I bounds the covariance of any estimate of θ (Cramér and Rao). Directions in which no member changes are null directions:
they are listed, and the pseudo-inverse says nothing about them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from inference.analysis_models.protocol import AnalysisLikelihood
from inference.analysis_models.region_sets import SetLikelihood
from inference.analysis_models.registry import find_analysis_model
from inference.gradients.curvature import information_along, workspace_information
from inference.gradients.likelihoods import build_region_likelihood, with_signal_uncertainty
from inference.gradients.predictions import PredictionGradients
from inference.likelihoods.covariance import CovarianceLikelihood, CovarianceModel
from inference.likelihoods.histfactory.likelihood import HistFactoryLikelihood
from inference.likelihoods.protocol import Likelihood
from inference.likelihoods.truncated_gaussian import CONFIDENCE_FACTOR
from inference.score import ScoreSettings
from inference.types import DataKind, FloatArray, PredictionKind, Predictions

if TYPE_CHECKING:
    from database.results.store import ResultsStore

NULL_EIGENVALUE = 1e-9
"""Eigenvalues of the information, scaled to a unit diagonal, below this fraction of the largest are null."""


class NullDirection(NamedTuple):
    """A combination of parameters that the data do not constrain.

    Attributes:
        direction: unit vector in parameter space, shape (num_parameters,).
        eigenvalue: of the scaled information; 0 for a parameter without any effect.
        names: parameters that take part in it by more than 1 %, the largest first.
    """

    direction: FloatArray
    eigenvalue: float
    names: tuple[str, ...]


class FisherInformation(NamedTuple):
    """Fisher information of a model's parameters.

    Attributes:
        names: parameters, in the order of rows and columns.
        matrix: the information, e.g. [1/GeV²] for two masses, shape (num_parameters, num_parameters).
        covariance: its pseudo-inverse in units where the diagonal is 1; along null directions it says nothing (not: zero uncertainty).
        standard_deviations: roots of the covariance's diagonal; inf for parameters that take part in a null direction.
        null_directions: what is not constrained; empty if all is well.
        num_members: likelihoods behind it.
        num_failed: likelihoods left out because a fit of theirs failed.
    """

    names: tuple[str, ...]
    matrix: FloatArray
    covariance: FloatArray
    standard_deviations: FloatArray
    null_directions: tuple[NullDirection, ...]
    num_members: int
    num_failed: int = 0


def member_information(
    mu: float,
    row: int,
    predictions: Predictions,
    gradients: PredictionGradients,
    store: ResultsStore,
    settings: ScoreSettings,
    data_kind: DataKind,
) -> FloatArray:
    """Information of one likelihood, shape (num_parameters, num_parameters).

    Args:
        mu: signal strength of the model.
        row: its prediction.
        predictions: of the model.
        gradients: their derivatives.
        store: compiled results.
        settings: how likelihoods are made.
        data_kind: OBSERVED: curvature at the data; else expected data with the signal in them.
    """
    kind = PredictionKind(int(predictions.kind[row]))
    if kind is PredictionKind.COMBINED:
        return _of_combination(mu, row, predictions, gradients, store, settings, data_kind)
    if kind is PredictionKind.EFFICIENCY_MAP:
        region = build_region_likelihood(row, predictions, store, settings)
        variance = region.background_error**2
        mean = mu * region.signal + region.background
        curvature = 1.0 / (mean + variance) if mean > 0.0 else 0.0
        if data_kind is DataKind.OBSERVED:
            curvature = _observed_curvature(region.observed, mean, region.background, variance)
        if settings.signal_uncertainty > 0.0 and region.signal > 0.0:
            data = region if data_kind is DataKind.OBSERVED else replace(region, observed=mean)
            curvature = _uncertain_curvature(with_signal_uncertainty(data, settings), mu, region.signal)
        slope = mu * store.results[int(predictions.result[row])].lumi_ifb * gradients.xsec_fb[row]
        return curvature * np.outer(slope, slope)
    xsec, limit = float(predictions.xsec_fb[row]), float(predictions.ul_exp_fb[row])
    slope = mu * CONFIDENCE_FACTOR * (gradients.xsec_fb[row] / limit - xsec * gradients.ul_exp_fb[row] / limit**2)
    return np.outer(slope, slope)


def _observed_curvature(n: float, without_nuisance: float, background: float, variance: float) -> float:
    """d²(-ln L)/ds² of a single region; where the background is held at 0, its nuisance no longer softens the curve."""
    if n == 0.0:
        return 0.0
    shifted = without_nuisance - variance
    mean = 0.5 * (shifted + math.sqrt(shifted * shifted + 4.0 * variance * n))
    smallest = without_nuisance - background
    return n / (mean * mean + n * variance) if mean > smallest else n / smallest**2


def _uncertain_curvature(likelihood: Likelihood, mu: float, signal: float) -> float:
    """d²(-ln L)/ds² of a region with an uncertain signal, from its exact slope on both sides of μ."""
    step = 1e-4 * max(mu, likelihood.sigma_mu)
    return (likelihood.log_ratio(mu - step).slope - likelihood.log_ratio(mu + step).slope) / (2.0 * step * signal * signal)


def _of_combination(
    mu: float,
    row: int,
    predictions: Predictions,
    gradients: PredictionGradients,
    store: ResultsStore,
    settings: ScoreSettings,
    data_kind: DataKind,
) -> FloatArray:
    result = int(predictions.result[row])
    model = find_analysis_model(store, result, settings.conventions)
    directions = gradients.region_yields[result]
    if model is None:
        return np.full((directions.shape[1], directions.shape[1]), math.nan)
    signal = predictions.region_yields[result]
    likelihood: AnalysisLikelihood = model.likelihood(signal)
    inner, inner_directions = likelihood, directions
    if isinstance(likelihood, SetLikelihood):
        columns = likelihood.columns
        inner, inner_directions = likelihood.inner, np.where(columns[:, None] >= 0, directions[np.maximum(columns, 0)], 0.0)
    if isinstance(inner, CovarianceLikelihood):
        return _of_covariance(mu, inner, inner_directions, data_kind)
    if isinstance(inner, HistFactoryLikelihood):
        return workspace_information(inner, inner_directions, mu, data_kind)
    kind = DataKind.OBSERVED if data_kind is DataKind.OBSERVED else DataKind.APRIORI
    return information_along(lambda yields: model.likelihood(yields, kind), signal, directions, mu)


def _of_covariance(mu: float, likelihood: CovarianceLikelihood, directions: FloatArray, data_kind: DataKind) -> FloatArray:
    model, signal = likelihood.model, likelihood.signal
    pulls, data = np.zeros(model.num_bins), model.observed
    is_free = np.ones(model.num_bins, dtype=np.bool_)
    if data_kind is DataKind.OBSERVED:
        pulls = likelihood.fit(mu).pulls
        bounds = model.data(DataKind.OBSERVED)
        is_free = (pulls > bounds.lower) & (pulls < bounds.upper)
    mean = np.maximum(model.offset + mu * signal + (model.sd + model.bend * pulls) * pulls, 0.0)
    if data_kind is not DataKind.OBSERVED:
        data = mean
    curvature = profiled_curvature(model, data, mean, pulls, is_free)
    slopes = mu * directions
    information: FloatArray = slopes.T @ curvature @ slopes
    return information


def profiled_curvature(
    model: CovarianceModel, data: FloatArray, mean: FloatArray, pulls: FloatArray, is_free: NDArray[np.bool_]
) -> FloatArray:
    """d²(-ln L)/ds ds' with the free nuisances profiled, shape (num_bins, num_bins).

    Args:
        model: background model.
        data: n per bin.
        mean: λ per bin; bins with λ = 0 carry no information.
        pulls: nuisances θ/sd.
        is_free: whether a nuisance is inside its bounds.
    """
    weight = np.divide(data, mean * mean, out=np.zeros_like(mean), where=mean > 0.0)
    excess = 1.0 - np.divide(data, mean, out=np.zeros_like(mean), where=mean > 0.0)
    tilt = model.sd + 2.0 * model.bend * pulls
    hessian = model.precision + np.diag(tilt * tilt * weight + 2.0 * model.bend * excess)
    free = np.flatnonzero(is_free)
    mixed = np.diag(tilt * weight)[free]
    curvature: FloatArray = np.diag(weight) - mixed.T @ np.linalg.solve(hessian[np.ix_(free, free)], mixed)
    return curvature


def build_information(parts: Sequence[FloatArray], names: Sequence[str]) -> FisherInformation:
    """Information of several independent likelihoods, with the covariance it implies.

    Args:
        parts: information per likelihood, shape (num_parameters, num_parameters) each; those with nan are left out and counted.
        names: of the parameters.

    Examples:
        One measurement of the sum of two parameters, with uncertainty 1, leaves their difference open:

        >>> found = build_information([np.ones((2, 2))], ["a", "b"])
        >>> len(found.null_directions), found.null_directions[0].names
        (1, ('a', 'b'))
    """
    size = len(names)
    usable = [part for part in parts if np.isfinite(part).all()]
    matrix: FloatArray = np.sum(usable, axis=0) if usable else np.zeros((size, size))
    scale = np.sqrt(np.maximum(np.diag(matrix), 0.0))  # at observed data a curve may bend the wrong way: it constrains nothing
    active = np.flatnonzero(scale > 0.0)
    inverse_scale = np.zeros(size)
    inverse_scale[active] = 1.0 / scale[active]
    scaled = matrix * np.outer(inverse_scale, inverse_scale)
    eigenvalues, vectors = np.linalg.eigh(scaled[np.ix_(active, active)]) if active.size else (np.zeros(0), np.zeros((0, 0)))
    is_null = eigenvalues < NULL_EIGENVALUE * eigenvalues.max(initial=0.0)
    null = [_null_direction(np.eye(size)[i], 0.0, names) for i in range(size) if scale[i] == 0.0]
    covariance = np.zeros((size, size))
    for eigenvalue, vector, is_open in zip(eigenvalues.tolist(), vectors.T, is_null.tolist(), strict=True):
        direction = np.zeros(size)
        direction[active] = vector * inverse_scale[active]
        if is_open:
            null.append(_null_direction(direction / np.linalg.norm(direction), eigenvalue, names))
        else:
            covariance += np.outer(direction, direction) / eigenvalue
    deviations = np.sqrt(np.diag(covariance))
    for found in null:
        deviations[[names.index(name) for name in found.names]] = np.inf
    return FisherInformation(tuple(names), matrix, covariance, deviations, tuple(null), len(usable), len(parts) - len(usable))


def _null_direction(direction: FloatArray, eigenvalue: float, names: Sequence[str]) -> NullDirection:
    order = np.argsort(-np.abs(direction), kind="stable")
    involved = [i for i in order.tolist() if abs(direction[i]) > 0.01 * abs(direction[order[0]])]
    return NullDirection(direction, max(0.0, eigenvalue), tuple(names[i] for i in involved))
