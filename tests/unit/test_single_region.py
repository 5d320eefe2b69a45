"""Closed-form profile of one signal region: edge values by hand, and against a numerical minimisation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from inference.likelihoods.single_region import SingleRegionLikelihood, profile_single_regions
from inference.settings import Conventions
from inference.types import DataKind, Outcome

HALF_LOG_TWO_PI = 0.5 * math.log(2.0 * math.pi)


def brute_force(mu: float, n: float, b: float, delta: float, s: float) -> float:
    """Minimum of -ln L over θ >= -b, by a bounded minimiser."""

    def nll(theta: float) -> float:
        mean = mu * s + b + theta
        poisson = mean + math.lgamma(n + 1.0) - (n * math.log(mean) if n > 0 else 0.0)
        return poisson + 0.5 * (theta / delta) ** 2 + math.log(delta) + HALF_LOG_TWO_PI

    upper = max(n, b) + 10.0 * delta
    found = minimize_scalar(nll, bounds=(-b + 1e-12, upper), method="bounded", options={"xatol": 1e-12})
    return float(min(found.fun, nll(-b + 1e-12)))


def test_published_region_with_its_published_numbers() -> None:
    """CMS-SUS-21-002, b_veto_SR0: n = 82, b = 88.139 +- 9.2357, s = 6.2989; values of SModelS 3.0.3."""
    region = SingleRegionLikelihood(82.0, 88.139, 9.2357, 6.2989146536)
    assert region.nll(0.0) == pytest.approx(6.376613536573, abs=1e-9)
    assert region.nll(1.0) == pytest.approx(6.716447534137, abs=1e-9)
    expected = SingleRegionLikelihood(82.0, 88.139, 9.2357, 6.2989146536, DataKind.APRIORI)
    assert expected.nll(0.0) == pytest.approx(6.301356504879, abs=1e-9)
    assert expected.nll(1.0) == pytest.approx(6.414332438520, abs=1e-9)


def test_nothing_observed_follows_the_convention() -> None:
    """CMS-SUS-19-006-agg, AR40: b = 0.1 +- 1.30384. SModelS keeps θ = 0; by default θ stops at -b."""
    smodels = profile_single_regions(0.0, [0.0], [0.1], [1.30384], [1.0], Conventions.SMODELS)
    assert smodels.theta[0] == 0.0
    assert smodels.nll[0] == pytest.approx(1.28425229, abs=1e-6)
    default = profile_single_regions(0.0, [0.0], [0.1], [1.30384], [1.0])
    assert default.theta[0] == -0.1
    assert default.nll[0] == pytest.approx(0.5 * (0.1 / 1.30384) ** 2 + math.log(1.30384) + HALF_LOG_TWO_PI, abs=1e-12)


def test_nothing_observed_with_small_error_stays_inside_the_bound() -> None:
    """n = 0: d/dθ (θ²/2δ² + θ) = 0 at θ = -δ²; the nll is then b + μ s - δ²/2 plus constants."""
    r = profile_single_regions(2.0, [0.0], [3.0], [0.5], [1.0])
    assert r.theta[0] == -0.25
    assert r.nll[0] == pytest.approx(3.0 + 2.0 - 0.125 + math.log(0.5) + HALF_LOG_TWO_PI, abs=1e-12)
    assert r.slope[0] == 1.0


def test_poisson_only_limit() -> None:
    """Without background uncertainty: λ - n ln λ + ln n!, and no Gaussian constants."""
    r = profile_single_regions(1.0, [4.0], [2.0], [0.0], [3.0])
    assert r.nll[0] == pytest.approx(5.0 - 4.0 * math.log(5.0) + math.log(24.0), abs=1e-14)
    assert r.slope[0] == pytest.approx(3.0 * (1.0 - 4.0 / 5.0), abs=1e-14)
    small = profile_single_regions(1.0, [4.0], [2.0], [1e-5], [3.0])
    assert small.nll[0] - math.log(1e-5) - HALF_LOG_TWO_PI == pytest.approx(r.nll[0], abs=1e-9)


def test_impossible_data_is_an_outcome() -> None:
    region = SingleRegionLikelihood(observed=2.0, background=0.0, background_error=0.0, signal=1.0)
    assert region.outcome is Outcome.NON_FINITE
    assert SingleRegionLikelihood(2.0, 0.0, 0.5, 1.0).outcome is Outcome.OK
    assert SingleRegionLikelihood(0.0, 0.0, 0.0, 1.0).outcome is Outcome.OK


@pytest.mark.parametrize("mu", [0.0, 0.3, 5.0])
@pytest.mark.parametrize(("n", "b", "delta"), [(0, 0.1, 1.3), (1, 0.1, 1.3), (8, 3.8, 1.0), (3, 40.0, 15.0), (200, 100.0, 60.0)])
def test_closed_form_is_the_minimum(mu: float, n: float, b: float, delta: float) -> None:
    assert profile_single_regions(mu, [n], [b], [delta], [2.0]).nll[0] == pytest.approx(brute_force(mu, n, b, delta, 2.0), abs=1e-8)


@pytest.mark.parametrize("conventions", list(Conventions))
def test_slope_is_the_derivative(conventions: Conventions) -> None:
    rng = np.random.default_rng(5)
    n, b = rng.poisson(6.0, 200).astype(float), rng.uniform(0.1, 12.0, 200)
    delta, s = rng.uniform(0.01, 6.0, 200), rng.uniform(0.1, 8.0, 200)
    step = 1e-5
    for mu in (0.1, 1.0, 4.0):
        up, down, here = (profile_single_regions(m, n, b, delta, s, conventions) for m in (mu + step, mu - step, mu))
        assert here.slope == pytest.approx((up.nll - down.nll) / (2.0 * step), abs=2e-4)


def test_best_fit_is_the_excess_and_its_error_is_in_quadrature() -> None:
    region = SingleRegionLikelihood(8.0, 3.8, 1.0, 2.1)
    assert region.mu_hat == pytest.approx(2.0)
    assert region.log_ratio(region.mu_hat).slope == pytest.approx(0.0, abs=1e-12)
    assert region.sigma_mu == pytest.approx(math.sqrt(8.0 + 1.0) / 2.1)
    assert SingleRegionLikelihood(3.0, 3.8, 1.0, 2.1).mu_hat == 0.0
    assert SingleRegionLikelihood(8.0, 3.8, 1.0, 0.0).sigma_mu == math.inf
    assert math.isfinite(SingleRegionLikelihood(0.0, 0.0, 0.0, 1.0).sigma_mu)


def test_a_posteriori_data_is_the_background_fit() -> None:
    """n = 8, b = 3.8 +- 1: λ̂(0) = (2.8 + √(2.8² + 32))/2."""
    region = SingleRegionLikelihood(8.0, 3.8, 1.0, 2.1, DataKind.APOSTERIORI)
    assert region.data == pytest.approx((2.8 + math.sqrt(2.8**2 + 32.0)) / 2.0)
    assert SingleRegionLikelihood(8.0, 3.8, 1.0, 2.1).asimov().data == pytest.approx(region.data)
