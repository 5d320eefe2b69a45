"""Every likelihood keeps the promises of `inference.likelihoods.protocol.Likelihood`."""

from __future__ import annotations

import math

import numpy as np
import pytest

from inference.likelihoods.batch import CurveSet
from inference.likelihoods.covariance import CovarianceLikelihood, CovarianceModel
from inference.likelihoods.learned import LearnedLikelihood, LearnedModel
from inference.likelihoods.learned_layout import read_layout
from inference.likelihoods.product import ProductLikelihood
from inference.likelihoods.protocol import Likelihood
from inference.likelihoods.signal_uncertainty import UncertainSignalLikelihood
from inference.likelihoods.single_region import SingleRegionLikelihood
from inference.likelihoods.truncated_gaussian import TruncatedGaussianLikelihood, build_truncated_gaussian
from inference.networks.network import Network
from inference.settings import Conventions
from inference.types import DataKind, Outcome
from tests.learned_networks import poisson_network

_COUNTS, _BACKGROUND = [12.0, 3.0, 0.0, 7.0], [8.0, 4.0, 0.6, 7.5]
_COVARIANCE = np.array([[4.0, 1.0, 0.1, 0.5], [1.0, 2.0, 0.1, 0.3], [0.1, 0.1, 0.3, 0.1], [0.5, 0.3, 0.1, 3.0]])
_SIGNAL = [2.0, 1.0, 0.2, 0.1]


def _covariance(conventions: Conventions, third: bool, data_kind: DataKind = DataKind.OBSERVED) -> CovarianceLikelihood:
    m3 = 0.3 * np.diag(_COVARIANCE) ** 1.5 if third else None
    return CovarianceLikelihood(CovarianceModel(_COUNTS, _BACKGROUND, _COVARIANCE, m3, conventions), _SIGNAL, data_kind)


def _learned(data_kind: DataKind) -> LearnedLikelihood:
    file = poisson_network([f"SR-{k}" for k in range(4)], _BACKGROUND, [12.0, 3.0, 1.0, 7.0])
    model = LearnedModel(Network(file), read_layout(file.metadata, 4, 4))
    return model.likelihood(np.array(_SIGNAL), data_kind)


CASES: dict[str, Likelihood] = {
    "region_excess": SingleRegionLikelihood(8.0, 3.8, 1.0, 2.1),
    "region_deficit": SingleRegionLikelihood(2.0, 3.8, 1.0, 2.1),
    "region_empty": SingleRegionLikelihood(0.0, 0.3, 1.0, 2.1),
    "region_poisson": SingleRegionLikelihood(8.0, 3.8, 0.0, 2.1),
    "region_apriori": SingleRegionLikelihood(8.0, 3.8, 1.0, 2.1, DataKind.APRIORI),
    "region_aposteriori": SingleRegionLikelihood(8.0, 3.8, 1.0, 2.1, DataKind.APOSTERIORI),
    "region_smodels": SingleRegionLikelihood(8.0, 3.8, 1.0, 2.1, conventions=Conventions.SMODELS),
    "limits_excess": build_truncated_gaussian(1.0, 3.0, 2.0),
    "limits_deficit": build_truncated_gaussian(1.0, 1.5, 2.0),
    "limits_gaussian": TruncatedGaussianLikelihood(2.0, 0.7),
    "covariance": _covariance(Conventions.DEFAULT, third=False),
    "covariance_smodels": _covariance(Conventions.SMODELS, third=False),
    "covariance_second_order": _covariance(Conventions.DEFAULT, third=True),
    "covariance_apriori": _covariance(Conventions.DEFAULT, third=False, data_kind=DataKind.APRIORI),
    "covariance_aposteriori": _covariance(Conventions.DEFAULT, third=False, data_kind=DataKind.APOSTERIORI),
    "covariance_moved": _covariance(Conventions.DEFAULT, third=False).asimov_with(is_moved=True),
    "covariance_second_order_moved": _covariance(Conventions.DEFAULT, third=True).asimov_with(is_moved=True),
    "region_uncertain_signal": UncertainSignalLikelihood(SingleRegionLikelihood(8.0, 3.8, 1.0, 2.1), 0.2),
    "region_uncertain_signal_deficit": UncertainSignalLikelihood(SingleRegionLikelihood(2.0, 3.8, 1.0, 2.1), 0.4),
    "learned": _learned(DataKind.OBSERVED),
    "learned_apriori": _learned(DataKind.APRIORI),
    "learned_aposteriori": _learned(DataKind.APOSTERIORI),
    "product": ProductLikelihood([SingleRegionLikelihood(8.0, 3.8, 1.0, 2.1), _covariance(Conventions.DEFAULT, third=False)]),
    "product_second_order": ProductLikelihood([build_truncated_gaussian(1.0, 3.0, 2.0), _covariance(Conventions.DEFAULT, third=True)]),
}
MUS = (0.05, 0.4, 1.0, 3.0, 20.0)


@pytest.fixture(params=list(CASES))
def likelihood(request: pytest.FixtureRequest) -> Likelihood:
    return CASES[request.param]


def test_satisfies_the_protocol(likelihood: Likelihood) -> None:
    assert isinstance(likelihood, Likelihood)
    assert likelihood.outcome is Outcome.OK


def test_ratio_is_zero_at_zero_and_the_difference_of_nlls(likelihood: Likelihood) -> None:
    assert likelihood.log_ratio(0.0).value == pytest.approx(0.0, abs=1e-12)
    for mu in MUS:
        assert likelihood.log_ratio(mu).value == pytest.approx(likelihood.nll(0.0) - likelihood.nll(mu), abs=1e-9)


def test_slope_is_the_derivative_of_the_value(likelihood: Likelihood) -> None:
    for mu in MUS:
        step = 1e-5 * (1.0 + mu)
        difference = likelihood.log_ratio(mu + step).value - likelihood.log_ratio(mu - step).value
        assert likelihood.log_ratio(mu).slope == pytest.approx(difference / (2.0 * step), rel=1e-4, abs=1e-4)


def test_mu_hat_is_the_maximum(likelihood: Likelihood) -> None:
    best = likelihood.log_ratio(likelihood.mu_hat)
    assert likelihood.mu_hat >= 0.0
    assert abs(best.slope) < 1e-5 or (likelihood.mu_hat == 0.0 and best.slope < 0.0)
    assert all(likelihood.log_ratio(mu).value <= best.value + 1e-9 for mu in MUS)
    assert 0.0 < likelihood.sigma_mu < math.inf


def test_concave_curves_lie_below_their_tangents(likelihood: Likelihood) -> None:
    if not likelihood.is_concave:
        pytest.skip("makes no such promise")
    for mu in (0.0, *MUS):
        here = likelihood.log_ratio(mu)
        for other in (0.0, *MUS):
            assert likelihood.log_ratio(other).value <= here.value + here.slope * (other - mu) + 1e-8 * (1.0 + abs(here.value))


def test_value_does_not_depend_on_what_was_asked_before(likelihood: Likelihood) -> None:
    first = likelihood.log_ratio(1.0)
    likelihood.log_ratio(20.0)
    likelihood.nll(0.3)
    assert likelihood.log_ratio(1.0) == first


def test_table_of_curves_agrees_with_each_curve() -> None:
    curves = list(CASES.values())
    curve_set = CurveSet(curves)
    for mu in (0.0, *MUS):
        value, slope = curve_set.at(mu)
        assert value == pytest.approx(np.array([curve.log_ratio(mu).value for curve in curves]), abs=1e-10)
        assert slope == pytest.approx(np.array([curve.log_ratio(mu).slope for curve in curves]), abs=1e-10)
