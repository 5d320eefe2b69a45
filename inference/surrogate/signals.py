"""The domain of a surrogate, and signals drawn from it.

A signal is measured in units of what each region can resolve: u_i = s_i/√v_i, where v_i is the variance of a signal in region i alone
under the background-only hypothesis (Fisher information of the source model with a priori data) plus one event, so that the domain of
empty regions reaches the about three events that they exclude. The domain is the ball |u| <= r.
"""

from __future__ import annotations

import math

import numpy as np

from inference.analysis_models.protocol import AnalysisModel
from inference.limits import find_upper_limit
from inference.surrogate.settings import SurrogateSettings
from inference.types import DataKind, FloatArray, Outcome

_NUM_PROBES = 40
_LIMITS = 3.0
"""Automatic radius in units of the expected limit: room for observed limits of excesses and for signals that are excluded."""
_SMALLEST_RADIUS = 4.0


def region_variances(model: AnalysisModel, background: FloatArray) -> FloatArray:
    """v per region [events²], shape (num_regions,).

    Args:
        model: source.
        background: expected events per region; stands in where the model cannot tell.
    """
    variances = np.empty(model.num_regions)
    for region in range(model.num_regions):
        unit = np.zeros(model.num_regions)
        unit[region] = 1.0
        likelihood = model.likelihood(unit, DataKind.APRIORI)
        sigma = likelihood.sigma_mu if likelihood.outcome is Outcome.OK else math.nan
        variances[region] = sigma * sigma if math.isfinite(sigma) else background[region]
    return variances + 1.0


def draw_directions(num: int, variances: FloatArray, patterns: FloatArray, share: float, rng: np.random.Generator) -> FloatArray:
    """Signals with |u| = 1, shape (num, num_regions).

    Half of the others than published patterns populate few regions, half any number, with exponentially distributed u.

    Args:
        num: how many.
        variances: v per region [events²].
        patterns: published ones, in any units, shape (num_patterns, num_regions); may be empty.
        share: part of the signals that are such patterns, or sums of two.
        rng: source of randomness.
    """
    num_regions = variances.size
    directions = np.empty((num, num_regions))
    for k in range(num):
        if len(patterns) and rng.random() < share:
            signal = patterns[rng.integers(len(patterns))]
            if rng.random() < 0.5:
                other = patterns[rng.integers(len(patterns))]
                signal = signal / signal.sum() + rng.random() * other / other.sum()
            u = signal / np.sqrt(variances)
        else:
            most = num_regions if rng.random() < 0.5 else min(5, num_regions)
            filled = rng.permutation(num_regions)[: int(rng.integers(1, most + 1))]
            u = np.zeros(num_regions)
            u[filled] = rng.exponential(size=filled.size)
        directions[k] = u / math.sqrt(float(u @ u)) * np.sqrt(variances)
    return directions


def choose_radius(
    model: AnalysisModel, variances: FloatArray, patterns: FloatArray, settings: SurrogateSettings, rng: np.random.Generator
) -> float:
    """r of the settings, or 3 × the expected limit of nine in ten signals."""
    if settings.radius is not None:
        return settings.radius
    limits = []
    for signal in draw_directions(_NUM_PROBES, variances, patterns, settings.pattern_share, rng):
        found = find_upper_limit(model.likelihood(signal, DataKind.APRIORI))
        if found.outcome is Outcome.OK and math.isfinite(found.mu_ul):
            limits.append(found.mu_ul)
    return max(_SMALLEST_RADIUS, _LIMITS * float(np.quantile(limits, 0.9))) if limits else 2.0 * _SMALLEST_RADIUS
