"""Curvature of profiled likelihoods of workspaces: against the closed form of an equal covariance model, and by brute force."""

from __future__ import annotations

import numpy as np
import pytest

from inference.gradients.curvature import information_along, workspace_information
from inference.gradients.fisher import build_information, profiled_curvature
from inference.likelihoods.covariance import CovarianceLikelihood, CovarianceModel
from inference.likelihoods.histfactory import HistFactoryLikelihood, HistFactorySettings, compile_workspace
from inference.types import DataKind, FloatArray
from tests.workspaces import gaussian_workspace

OBSERVED, BACKGROUND = [12.0, 3.0, 7.0], [8.0, 4.0, 7.5]
COVARIANCE = np.array([[4.0, 1.0, 0.5], [1.0, 2.0, 0.3], [0.5, 0.3, 3.0]])
SIGNAL = np.array([2.0, 1.0, 0.3])
DIRECTIONS = np.array([[0.1, 0.0, 1.0], [0.05, 0.0, -0.5], [0.0, 0.0, 0.2]])


def closed_form(mu: float, data_kind: DataKind) -> FloatArray:
    model = CovarianceModel(OBSERVED, BACKGROUND, COVARIANCE)
    pulls = CovarianceLikelihood(model, SIGNAL).fit(mu).pulls if data_kind is DataKind.OBSERVED else np.zeros(3)
    mean = model.offset + mu * SIGNAL + model.sd * pulls
    data = model.observed if data_kind is DataKind.OBSERVED else mean
    curvature = profiled_curvature(model, data, mean, pulls, np.ones(3, dtype=np.bool_))
    information: FloatArray = mu * mu * DIRECTIONS.T @ curvature @ DIRECTIONS
    return information


@pytest.mark.parametrize("mu", [0.4, 1.0, 3.0])
@pytest.mark.parametrize("data_kind", [DataKind.OBSERVED, DataKind.APRIORI])
def test_equal_to_the_covariance_model_that_it_is(mu: float, data_kind: DataKind) -> None:
    likelihood = HistFactoryLikelihood(compile_workspace(gaussian_workspace(OBSERVED, BACKGROUND, COVARIANCE)), SIGNAL)
    found = workspace_information(likelihood, DIRECTIONS, mu, data_kind)
    assert found == pytest.approx(closed_form(mu, data_kind), rel=1e-4, abs=1e-8)
    assert (found[1] == 0.0).all() and (found[:, 1] == 0.0).all()


def test_any_likelihood_with_signal_slopes() -> None:
    model = CovarianceModel(OBSERVED, BACKGROUND, COVARIANCE)
    found = information_along(lambda signal: CovarianceLikelihood(model, signal), SIGNAL, DIRECTIONS, 1.0)
    assert found == pytest.approx(closed_form(1.0, DataKind.OBSERVED), rel=1e-4, abs=1e-8)


def test_signal_uncertainty_against_second_differences_of_the_profile() -> None:
    """With an uncertain signal the mixed term of signal and nuisance counts, which no closed form here has."""
    model = compile_workspace(gaussian_workspace(OBSERVED, BACKGROUND, COVARIANCE), settings=HistFactorySettings(signal_uncertainty=0.3))
    likelihood = HistFactoryLikelihood(model, SIGNAL)
    found = workspace_information(likelihood, DIRECTIONS[:, [0, 2]], 1.0, DataKind.OBSERVED)
    step = 0.02

    def nll(a: float, b: float) -> float:
        return HistFactoryLikelihood(model, SIGNAL + a * DIRECTIONS[:, 0] + b * DIRECTIONS[:, 2]).nll(1.0)

    first = (nll(step * 5, 0.0) - 2.0 * nll(0.0, 0.0) + nll(-step * 5, 0.0)) / (step * 5) ** 2
    mixed = (nll(step * 5, step) - nll(step * 5, -step) - nll(-step * 5, step) + nll(-step * 5, -step)) / (4.0 * 5 * step * step)
    second = (nll(0.0, step) - 2.0 * nll(0.0, 0.0) + nll(0.0, -step)) / step**2
    assert found == pytest.approx(np.array([[first, mixed], [mixed, second]]), rel=5e-3)


def test_fits_in_different_minima_give_no_number() -> None:
    class Jumping(CovarianceLikelihood):
        def signal_slopes(self, mu: float) -> FloatArray:
            slopes = super().signal_slopes(mu)
            return slopes + np.array([0.0, 1.0, 0.0]) if self.signal[0] > SIGNAL[0] else slopes

    model = CovarianceModel(OBSERVED, BACKGROUND, COVARIANCE)
    found = information_along(lambda signal: Jumping(model, signal), SIGNAL, DIRECTIONS[:, [0, 2]], 1.0)
    assert np.isnan(found).all()


def test_failed_members_are_left_out_and_counted() -> None:
    found = build_information([np.eye(2), np.full((2, 2), np.nan)], ["a", "b"])
    assert (found.num_members, found.num_failed) == (1, 1)
    assert found.standard_deviations == pytest.approx([1.0, 1.0])
