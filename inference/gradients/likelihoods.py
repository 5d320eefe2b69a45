"""Derivatives of ln L at fixed signal strength, through the numbers a likelihood is made from.

Nuisances are profiled, so by the envelope theorem the partial derivative at the fitted nuisances is the derivative. With s the
expected signal at μ = 1 and λ the fitted mean,

    counts:              ∂(-ln L)/∂s_i = μ (1 - n_i/λ_i)
    truncated Gaussian:  u = UL_obs/σ, e = UL_exp/σ; width s = e/1.96, centre c = m s with Q(y - m) = 0.05 Q(-m), y = u/s,
                         dm/dy = h(y - m)/(h(y - m) - h(-m)),   h = φ/Q the hazard of the normal distribution
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import special

from inference.analysis_models.registry import find_analysis_model
from inference.gradients.predictions import PredictionGradients
from inference.likelihoods.protocol import Likelihood
from inference.likelihoods.signal_uncertainty import UncertainSignalLikelihood
from inference.likelihoods.single_region import SingleRegionLikelihood
from inference.likelihoods.truncated_gaussian import CONFIDENCE_FACTOR, asymmetry, build_truncated_gaussian
from inference.score import ScoreSettings
from inference.types import FloatArray, PredictionKind, Predictions

if TYPE_CHECKING:
    from database.results.store import ResultsStore


class LikelihoodGradient(NamedTuple):
    """One likelihood at one signal strength μ, and how it changes with the parameters at that μ.

    Attributes:
        nll: -ln L(μ) with all constants.
        nll_gradient: its derivative, shape (num_parameters,).
        log_ratio: ln L(μ)/L(0).
        log_ratio_gradient: its derivative.
        mu_slope: d ln L/dμ.
    """

    nll: float
    nll_gradient: FloatArray
    log_ratio: float
    log_ratio_gradient: FloatArray
    mu_slope: float


def differentiate_likelihood(
    mu: float, row: int, predictions: Predictions, gradients: PredictionGradients, store: ResultsStore, settings: ScoreSettings
) -> LikelihoodGradient:
    """The likelihood of one prediction at fixed μ, with its derivatives; nan where it has none.

    Args:
        mu: signal strength.
        row: the prediction: one signal region, one pair of limits, or a combined result with a covariance.
        predictions: of the model.
        gradients: their derivatives.
        store: compiled results.
        settings: how likelihoods are made.
    """
    kind = PredictionKind(int(predictions.kind[row]))
    if kind is PredictionKind.EFFICIENCY_MAP:
        return _of_region(mu, row, predictions, gradients, store, settings)
    if kind is PredictionKind.COMBINED:
        return _of_combination(mu, row, predictions, gradients, store, settings)
    return _of_limits(mu, row, predictions, gradients, settings)


def build_region_likelihood(row: int, predictions: Predictions, store: ResultsStore, settings: ScoreSettings) -> SingleRegionLikelihood:
    """Likelihood of one signal region, as the score uses it."""
    dataset = int(predictions.dataset[row])
    observed, background, error = (float(values[dataset]) for values in (store.observed_n, store.expected_bg, store.bg_error))
    signal = float(predictions.xsec_fb[row]) * store.results[int(predictions.result[row])].lumi_ifb
    return SingleRegionLikelihood(observed, background, error, signal, conventions=settings.conventions)


def with_signal_uncertainty(region: SingleRegionLikelihood, settings: ScoreSettings) -> SingleRegionLikelihood | UncertainSignalLikelihood:
    """The likelihood of a region with the signal uncertainty of the score, if it has one."""
    return UncertainSignalLikelihood(region, settings.signal_uncertainty) if settings.signal_uncertainty > 0.0 else region


def _of_region(
    mu: float, row: int, predictions: Predictions, gradients: PredictionGradients, store: ResultsStore, settings: ScoreSettings
) -> LikelihoodGradient:
    likelihood: Likelihood = with_signal_uncertainty(build_region_likelihood(row, predictions, store, settings), settings)
    value, slope = likelihood.log_ratio(mu)
    # L depends on μ s alone: d ln L/d ln s = μ d ln L/dμ
    gradient = mu * slope / float(predictions.xsec_fb[row]) * gradients.xsec_fb[row]
    return LikelihoodGradient(likelihood.nll(mu), -gradient, value, gradient, slope)


def _of_combination(
    mu: float, row: int, predictions: Predictions, gradients: PredictionGradients, store: ResultsStore, settings: ScoreSettings
) -> LikelihoodGradient:
    result = int(predictions.result[row])
    model = find_analysis_model(store, result, settings.conventions)
    if model is None:
        nothing = np.full(gradients.xsec_fb.shape[1], math.nan)
        return LikelihoodGradient(math.nan, nothing, math.nan, nothing, math.nan)
    likelihood = model.likelihood(predictions.region_yields[result])
    slopes = gradients.region_yields[result]
    has_signal = slopes.any(axis=1)
    gradient = likelihood.signal_slopes(mu)[has_signal] @ slopes[has_signal]
    value, slope = likelihood.log_ratio(mu)
    return LikelihoodGradient(likelihood.nll(mu), -gradient, value, gradient, slope)


class _Limits(NamedTuple):
    """What the pair of limits says at μ = 1, and its derivatives: width s, and y = u/s in units of it."""

    width: float
    width_gradient: FloatArray
    y_gradient: FloatArray


def _widths(row: int, predictions: Predictions, gradients: PredictionGradients, settings: ScoreSettings) -> _Limits:
    xsec, ul_obs, ul_exp = (float(values[row]) for values in (predictions.xsec_fb, predictions.ul_obs_fb, predictions.ul_exp_fb))
    relative = gradients.xsec_fb[row] / xsec
    u, e = ul_obs / xsec, ul_exp / xsec
    du, de = u * (gradients.ul_obs_fb[row] / ul_obs - relative), e * (gradients.ul_exp_fb[row] / ul_exp - relative)
    cap = 1.0 + settings.max_excess_sigmas / CONFIDENCE_FACTOR
    if u > cap * e:
        u, du = cap * e, cap * de
    if u > e:
        shrink = 1.0 - settings.limit_widening * asymmetry(u, e)
        d_asymmetry = 2.0 * (e * du - u * de) / (u + e) ** 2
        de = de / shrink + settings.limit_widening * e * d_asymmetry / shrink**2
        e /= shrink
    width, d_width = e / CONFIDENCE_FACTOR, de / CONFIDENCE_FACTOR
    return _Limits(width, d_width, (du - u / width * d_width) / width)


def _hazard(x: float) -> float:
    """φ(x)/Q(x) of the standard normal distribution, stable for large x."""
    return math.sqrt(2.0 / math.pi) / float(special.erfcx(x / math.sqrt(2.0)))


def _of_limits(
    mu: float, row: int, predictions: Predictions, gradients: PredictionGradients, settings: ScoreSettings
) -> LikelihoodGradient:
    xsec, ul_obs, ul_exp = (float(values[row]) for values in (predictions.xsec_fb, predictions.ul_obs_fb, predictions.ul_exp_fb))
    if not (xsec > 0.0 and ul_obs > 0.0 and ul_exp > 0.0):
        nothing = np.full(gradients.xsec_fb.shape[1], math.nan)
        return LikelihoodGradient(math.nan, nothing, math.nan, nothing, math.nan)
    likelihood = build_truncated_gaussian(
        xsec, ul_obs, ul_exp, max_excess_sigmas=settings.max_excess_sigmas, widening=settings.limit_widening
    )
    limits = _widths(row, predictions, gradients, settings)
    width = likelihood.sigma_mu
    m = likelihood.centre / width
    u = min(ul_obs / xsec, ul_exp / xsec * (1.0 + settings.max_excess_sigmas / CONFIDENCE_FACTOR))
    h_limit, h_zero = _hazard(u / width - m), _hazard(-m)
    dm = h_limit / (h_limit - h_zero) * limits.y_gradient
    d_log_width = limits.width_gradient / width
    # ln L(μ) = -½ (t - m)² - ln s - ln Q(-m) + const, t = μ/s; ln L(μ)/L(0) = t m - ½ t²
    t = mu / width
    value, slope = likelihood.log_ratio(mu)
    ratio = t * dm + (t * t - t * m) * d_log_width
    nll = -(t - m) * dm - t * (t - m) * d_log_width + d_log_width + h_zero * dm
    return LikelihoodGradient(likelihood.nll(mu), nll, value, ratio, slope)
