"""Products of likelihoods: one common signal strength, limits like any other likelihood."""

from __future__ import annotations

import math

import numpy as np
import pytest

from inference.likelihoods.covariance import CovarianceLikelihood, CovarianceModel
from inference.likelihoods.product import ProductLikelihood
from inference.likelihoods.protocol import LogRatio
from inference.likelihoods.single_region import SingleRegionLikelihood
from inference.likelihoods.truncated_gaussian import TruncatedGaussianLikelihood
from inference.limits import AsimovConvention, LimitSettings, TestStatistic, find_upper_limits
from inference.types import Outcome

REGIONS = [
    SingleRegionLikelihood(12.0, 8.0, 2.0, 2.0),
    SingleRegionLikelihood(3.0, 4.0, 1.4, 1.0),
    SingleRegionLikelihood(0.0, 0.6, 0.5, 0.2),
]
DIAGONAL = CovarianceLikelihood(CovarianceModel([12, 3, 0], [8, 4, 0.6], np.diag([4.0, 1.96, 0.25])), [2.0, 1.0, 0.2])


def test_independent_regions_are_a_covariance_model_without_correlations() -> None:
    """The product of closed forms and the fit of a diagonal covariance are the same likelihood, found in two ways."""
    product = ProductLikelihood(REGIONS)
    assert product.is_concave
    assert product.mu_hat == pytest.approx(DIAGONAL.mu_hat, rel=1e-7)
    assert product.sigma_mu == pytest.approx(DIAGONAL.sigma_mu, rel=2e-3)
    for mu in (0.0, 0.5, 2.0, 10.0):
        assert product.nll(mu) == pytest.approx(DIAGONAL.nll(mu), abs=1e-9)
        assert product.log_ratio(mu) == pytest.approx(DIAGONAL.log_ratio(mu), abs=1e-7)
    for convention in AsimovConvention:
        settings = LimitSettings(asimov=convention)
        ours, theirs = find_upper_limits(product, settings), find_upper_limits(DIAGONAL, settings)
        assert ours.observed.mu_ul == pytest.approx(theirs.observed.mu_ul, rel=1e-6)
        assert ours.expected.values == pytest.approx(theirs.expected.values, rel=1e-6)


def test_gaussians_combine_by_weighted_means() -> None:
    product = ProductLikelihood([TruncatedGaussianLikelihood(1.0, 1.0), TruncatedGaussianLikelihood(2.0, 0.5)])
    assert product.mu_hat == pytest.approx((1.0 + 8.0) / 5.0, rel=1e-9)
    assert product.sigma_mu == pytest.approx(1.0 / math.sqrt(5.0), rel=1e-6)
    assert find_upper_limits(product).expected.median == pytest.approx(1.959964 / math.sqrt(5.0), rel=1e-6)


def test_negative_strengths_reach_as_far_as_the_weakest_factor() -> None:
    few = [SingleRegionLikelihood(2.0, 8.0, 1.0, 2.0), SingleRegionLikelihood(1.0, 4.0, 0.5, 4.0)]
    product = ProductLikelihood(few)
    assert product.mu_min == -1.0
    bounded, free = (
        find_upper_limits(product, LimitSettings(statistic=s)).observed.mu_ul for s in (TestStatistic.Q_TILDE, TestStatistic.Q)
    )
    assert free < bounded


class _TwoPeaks:
    """ln L(μ) with maxima at 1 and 3, the second higher."""

    outcome, is_concave, mu_hat, sigma_mu = Outcome.OK, False, 3.0, 0.3

    def nll(self, mu: float) -> float:
        return -self.log_ratio(mu).value

    def log_ratio(self, mu: float) -> LogRatio:
        near, far = 1.0 - (mu - 1.0) ** 2, 1.5 - 4.0 * (mu - 3.0) ** 2
        return LogRatio(near, 2.0 * (1.0 - mu)) if near > far else LogRatio(far, 8.0 * (3.0 - mu))


def test_several_maxima_are_compared() -> None:
    """Close to the higher peak alone the other factor's maximum would be missed, and the other way round."""
    weak, strong = TruncatedGaussianLikelihood(0.0, 5.0), TruncatedGaussianLikelihood(0.9, 0.2)
    assert ProductLikelihood([_TwoPeaks(), weak]).mu_hat == pytest.approx(3.0, abs=0.05)
    assert ProductLikelihood([_TwoPeaks(), strong]).mu_hat == pytest.approx(0.9, abs=0.05)


def test_failures_and_edges() -> None:
    broken = CovarianceLikelihood(CovarianceModel([3.0], [3.0], [[1.0]], [3.0]), [1.0])
    assert ProductLikelihood([REGIONS[0], broken]).outcome is Outcome.FIT_FAILED
    limits = find_upper_limits(ProductLikelihood([REGIONS[0], broken]))
    assert math.isnan(limits.observed.mu_ul)
    assert limits.expected.outcome is Outcome.FIT_FAILED
    empty = ProductLikelihood([])
    assert (empty.mu_hat, empty.nll(1.0), empty.sigma_mu) == (0.0, 0.0, math.inf)
    with pytest.raises(TypeError, match="_TwoPeaks"):
        ProductLikelihood([_TwoPeaks()]).asimov()
