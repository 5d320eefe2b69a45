"""CLs and limits from pseudo-experiments, for where the asymptotic formulas are not good enough: few events.

    CLs(μ) = P(q >= q_obs | μ)/P(q >= q_obs | 0)

with the distributions of q̃_μ from toys of both hypotheses (`inference.toy_data`), nuisances at their conditional fits to the data. Random
numbers come from Philox streams keyed by seed and hypothesis: the same seed gives the same toys in every process, and neighbouring signal
strengths use the same random numbers, which keeps CLs(μ) smooth. A toy whose fit fails is counted and left out; more than 2 % of them
make the outcome FIT_FAILED.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import special

from inference.likelihoods.protocol import Likelihood
from inference.likelihoods.single_region import SingleRegionLikelihood
from inference.limits.asymptotic import LimitSettings, find_upper_limit
from inference.limits.conventions import LimitableLikelihood
from inference.limits.curves import TestCurve
from inference.limits.statistics import CONFIDENCE_LEVEL, EXPECTED_SIGMAS, TestStatistic
from inference.toy_data import draw_toys, region_statistics, region_toys
from inference.types import FloatArray, Outcome

MAX_FAILED_FRACTION = 0.02
"""Toys that may fail before the result counts as failed."""

_BACKGROUND_STREAM, _SIGNAL_STREAM = 0, 1
_GRID = (0.8, 0.9, 1.0, 1.1, 1.2)
_MAX_EXTENSIONS = 12


@dataclass(frozen=True, slots=True)
class ToySettings:
    """How many toys, and which.

    Attributes:
        num_toys: per hypothesis and signal strength.
        seed: of the random numbers.
        confidence_level: of limits.
    """

    num_toys: int = 2000
    seed: int = 0
    confidence_level: float = CONFIDENCE_LEVEL


class ToyCLs(NamedTuple):
    """CLs of one signal strength from toys.

    Attributes:
        observed: CLs of the data; nan if it could not be found.
        error: its binomial uncertainty.
        expected: CLs for backgrounds that fluctuate by -2, -1, 0, 1 and 2 standard deviations.
        num_failed: toys without a fit, of both hypotheses.
        outcome: OK, or FIT_FAILED.
    """

    observed: float
    error: float
    expected: tuple[float, ...]
    num_failed: int
    outcome: Outcome


class ToyLimit(NamedTuple):
    """Upper limit on μ from toys.

    Attributes:
        mu_ul: the limit; nan without one.
        error: its uncertainty from the number of toys.
        num_failed: toys without a fit.
        outcome: OK, FIT_FAILED, or NON_FINITE if nothing is excluded.
    """

    mu_ul: float
    error: float
    num_failed: int
    outcome: Outcome


def make_generator(seed: int, stream: int) -> np.random.Generator:
    """A Philox generator of its own for every stream of a seed."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, stream])))


def toy_statistics(likelihood: Likelihood, mu_true: float, mu: float, num_toys: int, rng: np.random.Generator) -> FloatArray:
    """q̃_μ of pseudo-experiments, shape (num_toys,); nan where a fit failed.

    Args:
        likelihood: of the data, which fix the nuisances.
        mu_true: hypothesis that the toys follow.
        mu: tested signal strength.
        num_toys: how many.
        rng: source of randomness.
    """
    if isinstance(likelihood, SingleRegionLikelihood):
        return region_statistics(likelihood, mu, *region_toys(likelihood, mu_true, num_toys, rng))
    found = np.full(num_toys, math.nan)
    for i, toy in enumerate(draw_toys(likelihood, mu_true, num_toys, rng)):
        curve = TestCurve(toy, TestStatistic.Q_TILDE)
        if curve.is_usable:
            found[i] = max(0.0, curve.at(mu)[0])
    return found


def compute_toy_cls(likelihood: Likelihood, mu: float = 1.0, settings: ToySettings | None = None) -> ToyCLs:
    """CLs of a signal strength from toys.

    Examples:
        Nothing seen, nothing expected: CLs = exp(-s) exactly, 0.05 at three events.

        >>> region = SingleRegionLikelihood(observed=0.0, background=0.0, background_error=0.0, signal=3.0)
        >>> found = compute_toy_cls(region, settings=ToySettings(num_toys=20000))
        >>> abs(found.observed - 0.0498) < 3 * found.error
        True
    """
    settings = settings or ToySettings()
    nothing = ToyCLs(math.nan, math.nan, (math.nan,) * len(EXPECTED_SIGMAS), 0, Outcome.FIT_FAILED)
    curve = TestCurve(likelihood, TestStatistic.Q_TILDE)
    observed = curve.at(mu)[0] if curve.is_usable else math.nan
    if math.isnan(observed):
        return nothing
    background, signal = (
        toy_statistics(likelihood, mu_true, mu, settings.num_toys, make_generator(settings.seed, stream))
        for mu_true, stream in ((0.0, _BACKGROUND_STREAM), (mu, _SIGNAL_STREAM))
    )
    num_failed = int(np.isnan(background).sum() + np.isnan(signal).sum())
    background, signal = np.sort(background[~np.isnan(background)]), np.sort(signal[~np.isnan(signal)])
    if num_failed > MAX_FAILED_FRACTION * 2 * settings.num_toys or background.size == 0 or signal.size == 0:
        return nothing._replace(num_failed=num_failed)
    cls, error = _ratio(signal, background, max(0.0, observed))
    quantiles = [float(background[min(int(special.ndtr(-n) * background.size), background.size - 1)]) for n in EXPECTED_SIGMAS]
    expected = tuple(_ratio(signal, background, q)[0] for q in quantiles)
    return ToyCLs(cls, error, expected, num_failed, Outcome.OK)


def _ratio(signal: FloatArray, background: FloatArray, q: float) -> tuple[float, float]:
    """P(q' >= q | s + b)/P(q' >= q | b) from sorted statistics, with its uncertainty; 1 where no background toy lies so far out."""
    threshold = q - 1e-9 * (1.0 + q)  # equal data give equal statistics up to rounding
    above = len(signal) - int(np.searchsorted(signal, threshold))
    below = len(background) - int(np.searchsorted(background, threshold))
    if below == 0:
        return 1.0, 1.0
    p_signal, p_background = above / len(signal), below / len(background)
    variance = p_signal * (1.0 - p_signal) / len(signal) + (p_signal / p_background) ** 2 * p_background * (1.0 - p_background) / len(
        background
    )
    return p_signal / p_background, math.sqrt(max(variance, 1.0 / len(signal) ** 2)) / p_background


def find_toy_limit(likelihood: LimitableLikelihood, settings: ToySettings | None = None) -> ToyLimit:
    """Observed upper limit from toys.

    CLs is computed at signal strengths around the asymptotic limit until they enclose 1 - CL on both sides; the crossing comes from a
    straight line through the five nearest, in the number of standard deviations z with CLs = 2 [1 - Φ(z)], weighted by their errors.
    """
    settings = settings or ToySettings()
    start = find_upper_limit(likelihood, settings=LimitSettings(confidence_level=settings.confidence_level))
    if start.outcome is not Outcome.OK:
        return ToyLimit(start.mu_ul, math.nan, 0, start.outcome)
    target = -float(special.ndtri(0.5 * (1.0 - settings.confidence_level)))
    points: dict[float, tuple[float, float]] = {}
    num_failed = 0

    def add(factor: float) -> bool:
        nonlocal num_failed
        found = compute_toy_cls(likelihood, factor * start.mu_ul, settings)
        num_failed += found.num_failed
        if found.outcome is not Outcome.OK:
            return False
        # one toy more or less where none is left: the logarithm stays finite
        value = min(max(found.observed, 0.5 / settings.num_toys), 1.0 - 0.5 / settings.num_toys)
        z = -float(special.ndtri(0.5 * value))
        density = 2.0 * math.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi)
        points[factor] = z, max(found.error, 0.5 / settings.num_toys) / density
        return True

    is_complete = all(add(factor) for factor in _GRID)
    for _ in range(_MAX_EXTENSIONS):
        if not is_complete or min(z for z, _ in points.values()) < target < max(z for z, _ in points.values()):
            break
        is_complete = add(min(points) * 0.8 if min(z for z, _ in points.values()) >= target else max(points) * 1.25)
    if not is_complete:
        return ToyLimit(math.nan, math.nan, num_failed, Outcome.FIT_FAILED)
    if max(z for z, _ in points.values()) <= target:
        return ToyLimit(math.inf, math.nan, num_failed, Outcome.NON_FINITE)
    nearest = sorted(points, key=lambda factor: abs(points[factor][0] - target))[:5]
    x = np.array(nearest)
    z, errors = (np.array([points[factor][k] for factor in nearest]) for k in (0, 1))
    line, covariance = np.polyfit(x, z - target, 1, w=1.0 / errors, cov="unscaled")
    slope, offset = float(line[0]), float(line[1])
    if slope <= 0.0:
        return ToyLimit(math.nan, math.nan, num_failed, Outcome.FIT_FAILED)
    crossing = -offset / slope
    variance = float(covariance[1, 1] + 2.0 * crossing * covariance[0, 1] + crossing**2 * covariance[0, 0])
    return ToyLimit(crossing * start.mu_ul, math.sqrt(max(variance, 0.0)) / slope * start.mu_ul, num_failed, Outcome.OK)
