"""Truncated Gaussian from two limits."""

from __future__ import annotations

import math

import pytest
from scipy.stats import norm

from inference.likelihoods.truncated_gaussian import asymmetry, build_truncated_gaussian
from inference.types import DataKind, Outcome


@pytest.mark.parametrize("ul_obs", [0.4, 0.9, 1.5, 2.5, 3.0, 4.5])
def test_95_percent_of_the_truncated_gaussian_lies_below_the_observed_limit(ul_obs: float) -> None:
    g = build_truncated_gaussian(xsec_fb=0.5, ul_obs_fb=ul_obs, ul_exp_fb=2.5)
    above = norm.sf(2.0 * ul_obs, loc=g.centre, scale=g.sigma_mu) / norm.sf(0.0, loc=g.centre, scale=g.sigma_mu)
    assert g.sigma_mu == pytest.approx(5.0 / 1.96)
    assert above == pytest.approx(0.05, rel=1e-9)
    assert (g.centre > 1e-3) == (ul_obs > 2.5)


def test_excess_is_capped_at_two_sigma_over_the_expected_limit() -> None:
    capped = build_truncated_gaussian(1.0, ul_obs_fb=100.0, ul_exp_fb=1.96)
    just = build_truncated_gaussian(1.0, ul_obs_fb=3.96, ul_exp_fb=1.96)
    assert capped.centre == pytest.approx(just.centre, rel=1e-12)
    assert build_truncated_gaussian(1.0, 100.0, 1.96, max_excess_sigmas=math.inf).centre > 90.0


def test_likelihood_is_normalised_on_the_physical_side() -> None:
    g = build_truncated_gaussian(1.0, 3.0, 2.5)
    width = 1e-3
    total = sum(math.exp(-g.nll((k + 0.5) * width)) for k in range(12000)) * width
    assert total == pytest.approx(1.0, abs=1e-6)
    assert g.log_ratio(0.7).value == pytest.approx(g.nll(0.0) - g.nll(0.7), abs=1e-12)
    assert g.log_ratio(g.mu_hat).slope == pytest.approx(0.0, abs=1e-12)


def test_strong_limit_prefers_no_signal() -> None:
    g = build_truncated_gaussian(1.0, ul_obs_fb=1.2, ul_exp_fb=2.5)
    assert g.centre < 0.0
    assert g.mu_hat == 0.0
    assert g.log_ratio(0.5).value < 0.0


def test_a_priori_is_centred_at_zero_and_scales_with_the_cross_section() -> None:
    g = build_truncated_gaussian(2.0, 3.0, 2.5, DataKind.APRIORI)
    assert g.centre == 0.0
    assert g.sigma_mu == pytest.approx(2.5 / 2.0 / 1.96)


def test_widening_applies_to_excesses_only() -> None:
    """SModelS: σ grows by 1/(1 - 0.6·(u-e)/(u+e)); 3 over 2.5 gives 1/(1 - 0.6/11)."""
    excess = build_truncated_gaussian(1.0, 3.0, 2.5, widening=0.6)
    assert excess.sigma_mu == pytest.approx(2.5 / 1.96 / (1.0 - 0.6 * 0.5 / 5.5))
    assert build_truncated_gaussian(1.0, 2.0, 2.5, widening=0.6).sigma_mu == pytest.approx(2.5 / 1.96)


@pytest.mark.parametrize(("xsec", "obs", "exp"), [(0.0, 1.0, 1.0), (1.0, math.nan, 1.0), (1.0, 1.0, 0.0), (1.0, math.inf, 1.0)])
def test_undefined_limits_are_an_outcome(xsec: float, obs: float, exp: float) -> None:
    assert build_truncated_gaussian(xsec, obs, exp).outcome is Outcome.NON_FINITE


def test_asymmetry() -> None:
    assert asymmetry(7.0, 3.0) == pytest.approx(0.4)
    assert asymmetry(3.0, 7.0) == pytest.approx(0.4)
