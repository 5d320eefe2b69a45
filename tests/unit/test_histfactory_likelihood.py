"""Likelihoods of compiled workspaces: closed forms, Asimov data, limits against pyhf, failures."""

from __future__ import annotations

import copy
import logging
import math
from typing import Any

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import norm, poisson

from inference.analysis_models.protocol import AnalysisLikelihood, AnalysisModel
from inference.likelihoods.histfactory import (
    AsimovAuxiliary,
    HistFactoryLikelihood,
    HistFactorySettings,
    HistosysCode,
    NormsysCode,
    compile_workspace,
)
from inference.likelihoods.histfactory.pyhf_backend import PyhfModel
from inference.limits import cls_value, compute_cls, find_expected_limits, find_upper_limit
from inference.types import DataKind, Outcome
from tests.unit.test_histfactory_workspace import small_workspace


def counting(
    observed: float, background: float, modifiers: list[dict[str, Any]], parameters: list[dict[str, Any]] | None = None
) -> dict[str, Any]:
    """One bin, one sample."""
    return {
        "version": "1.0.0",
        "channels": [{"name": "SR", "samples": [{"name": "b", "data": [background], "modifiers": modifiers}]}],
        "observations": [{"name": "SR", "data": [observed]}],
        "measurements": [{"name": "m", "config": {"poi": "mu", "parameters": parameters or []}}],
    }


def test_a_count_without_nuisances_is_a_poisson_probability() -> None:
    model = compile_workspace(counting(7.0, 4.0, []))
    likelihood = HistFactoryLikelihood(model, [2.0])
    assert likelihood.nll(0.5) == pytest.approx(-poisson.logpmf(7, 5.0), abs=1e-12)
    assert likelihood.mu_hat == pytest.approx(1.5, rel=1e-6)
    assert likelihood.sigma_mu == pytest.approx(math.sqrt(7.0) / 2.0, rel=1e-6)
    assert likelihood.log_ratio(1.0).value == pytest.approx(poisson.logpmf(7, 6.0) - poisson.logpmf(7, 4.0), abs=1e-12)
    assert likelihood.log_ratio(1.0).slope == pytest.approx(2.0 * (7.0 / 6.0 - 1.0))
    assert likelihood.signal_slopes(1.0)[0] == pytest.approx(7.0 / 6.0 - 1.0)


def test_a_fixed_zero_yield_gamma_keeps_its_constant() -> None:
    """pyhf fixes γ = 1 for an uncertainty without yield; Poisson(1 | 1) contributes 1 to -ln L."""
    model = compile_workspace(counting(3.0, 0.0, [{"name": "x", "type": "shapesys", "data": [0.5]}]))
    assert HistFactoryLikelihood(model, [2.0]).nll(1.0) == pytest.approx(-poisson.logpmf(3, 2.0) + 1.0, abs=1e-12)


def test_a_free_normalisation_absorbs_the_signal() -> None:
    """Two bins, a control region fixes the normalisation: λ̂ are the counts wherever there are enough parameters."""
    spec = counting(12.0, 10.0, [{"name": "k", "type": "normfactor", "data": None}])
    spec["channels"].append(
        {"name": "CR", "samples": [{"name": "b", "data": [100.0], "modifiers": [{"name": "k", "type": "normfactor", "data": None}]}]}
    )
    spec["observations"].append({"name": "CR", "data": [110.0]})
    model = compile_workspace(spec)
    likelihood = HistFactoryLikelihood(model, [0.0, 1.0])  # channels are sorted: CR, SR
    assert model.bins == (("CR", 0), ("SR", 0))
    assert likelihood.mu_hat == pytest.approx(1.0, abs=1e-5)  # 12 - 10 · 1.1
    # 12 ± √12 minus 11 ± 1.1 · 10/√110
    assert likelihood.sigma_mu == pytest.approx(math.sqrt(12.0 + 110.0 * 0.01), rel=1e-5)
    assert likelihood.unbounded_fit.mu == pytest.approx(1.0, abs=1e-5)


def test_negative_strengths_are_fitted_on_request() -> None:
    model = compile_workspace(counting(3.0, 10.0, []))
    likelihood = HistFactoryLikelihood(model, [2.0])
    assert likelihood.mu_hat == 0.0
    assert likelihood.unbounded_fit.mu == pytest.approx(-3.5, rel=1e-6)
    assert likelihood.mu_min == -5.0


def test_no_events_and_no_signal() -> None:
    model = compile_workspace(counting(0.0, 3.0, []))
    nothing_seen = HistFactoryLikelihood(model, [1.0])
    assert nothing_seen.mu_hat == 0.0
    assert nothing_seen.sigma_mu == pytest.approx(math.sqrt(3.0), rel=1e-6)  # that of 3 expected events
    limit = find_upper_limit(nothing_seen).mu_ul
    assert cls_value(2.0 * limit, 2.0 * (limit - 3.0 * math.log(1.0 + limit / 3.0))) == pytest.approx(0.05, rel=1e-5)
    no_signal = HistFactoryLikelihood(model, [0.0])
    assert no_signal.sigma_mu == math.inf
    assert find_upper_limit(no_signal).outcome is Outcome.NON_FINITE


def test_impossible_data_and_signals_have_an_outcome() -> None:
    model = compile_workspace(counting(3.0, 0.0, []))
    likelihood = HistFactoryLikelihood(model, [1.0])
    assert likelihood.outcome is Outcome.NON_FINITE  # 3 events, nothing expected
    assert math.isnan(likelihood.nll(0.0))
    assert likelihood.nll(1.0) == pytest.approx(-poisson.logpmf(3, 1.0))
    assert math.isnan(find_upper_limit(likelihood).mu_ul)
    assert HistFactoryLikelihood(compile_workspace(counting(3.0, 2.0, [])), [math.nan]).outcome is Outcome.NON_FINITE


def test_kinks_end_exactly_at_the_kink() -> None:
    """Both variations raise the yield: at α = 0 -ln L rises on both sides, and on one side only if more is seen."""
    modifiers = [{"name": "a", "type": "histosys", "data": {"lo_data": [12.0], "hi_data": [13.0]}}]
    settings = HistFactorySettings(normsys=NormsysCode.CODE1, histosys=HistosysCode.CODE0)
    stays = HistFactoryLikelihood(compile_workspace(counting(10.0, 10.0, modifiers), settings=settings), [1.0])
    assert stays.fit(0.0).parameters[0] == 0.0
    assert stays.nll(0.0) == pytest.approx(-poisson.logpmf(10, 10.0) - norm.logpdf(0.0))
    moves = HistFactoryLikelihood(compile_workspace(counting(30.0, 10.0, modifiers), settings=settings), [1.0])
    alpha = moves.fit(0.0).parameters[0]
    assert alpha == pytest.approx(brentq(lambda a: a + 3.0 * (1.0 - 30.0 / (10.0 + 3.0 * a)), 0.1, 6.0), rel=1e-6)


def test_answers_do_not_depend_on_history() -> None:
    model = compile_workspace(small_workspace())
    signal = [1.0, 3.0, 2.0]
    first = HistFactoryLikelihood(model, signal)
    forward = [first.nll(mu) for mu in (0.0, 0.5, 1.0, 4.0)]
    second = HistFactoryLikelihood(compile_workspace(small_workspace()), signal)
    _ = second.mu_hat, find_upper_limit(second), HistFactoryLikelihood(second.model, [9.0, 9.0, 9.0]).nll(3.0)
    assert [second.nll(mu) for mu in (4.0, 1.0, 0.5, 0.0)] == forward[::-1]


def test_protocols_and_data_kinds() -> None:
    model = compile_workspace(small_workspace())
    likelihood = HistFactoryLikelihood(model, [1.0, 3.0, 2.0])
    assert isinstance(likelihood, AnalysisLikelihood)
    assert isinstance(model, AnalysisModel)
    apriori = HistFactoryLikelihood(model, [1.0, 3.0, 2.0], DataKind.APRIORI)
    np.testing.assert_array_equal(apriori.data.counts, model.nominal_background)
    aposteriori = HistFactoryLikelihood(model, [1.0, 3.0, 2.0], DataKind.APOSTERIORI)
    np.testing.assert_allclose(aposteriori.data.counts, model.background_fit().means)
    assert aposteriori.mu_hat == pytest.approx(0.0, abs=1e-6)
    pseudo = HistFactoryLikelihood(model, [1.0, 3.0, 2.0], counts=model.observed)
    assert pseudo.nll(1.0) == pytest.approx(likelihood.nll(1.0), abs=1e-9)


def test_asimov_data_move_the_constraints_or_not() -> None:
    signal = [0.0, 3.0, 2.0]
    moved = HistFactoryLikelihood(compile_workspace(small_workspace()), signal)
    background = moved.model.background_fit()
    asimov = moved.asimov()
    np.testing.assert_allclose(asimov.fit(0.0).parameters, background.parameters, atol=1e-6)
    assert asimov.mu_hat == pytest.approx(0.0, abs=1e-6)
    centred = HistFactoryLikelihood(
        compile_workspace(small_workspace(), settings=HistFactorySettings(asimov_auxiliary=AsimovAuxiliary.NOMINAL)), signal
    ).asimov()
    np.testing.assert_array_equal(centred.data.auxdata, moved.model.table.auxdata)
    assert centred.nll(1.0) == pytest.approx(moved.asimov_with(is_moved=False).nll(1.0), abs=1e-9)
    assert abs(centred.nll(1.0) - asimov.nll(1.0)) > 1e-4


pyhf = pytest.importorskip("pyhf")
logging.getLogger("pyhf").setLevel(logging.CRITICAL)
quiet = pytest.mark.filterwarnings("ignore:jsonschema.RefResolver:DeprecationWarning")


def patched(signal: list[float]) -> dict[str, Any]:
    """The workspace with a signal sample, as a published patch would add it."""
    spec = copy.deepcopy(small_workspace())
    for channel, data in zip(spec["channels"], (signal[1:], signal[:1]), strict=True):
        modifiers = [{"name": "mu_SIG", "type": "normfactor", "data": None}, {"name": "lumi", "type": "lumi", "data": None}]
        channel["samples"].insert(0, {"name": "bsm", "data": data, "modifiers": modifiers})
    return spec


@quiet
@pytest.mark.parametrize("signal", [[0.0, 4.0, 2.0], [1.0, 1.0, 6.0], [0.0, 0.1, 0.0]])
def test_cls_and_limits_are_those_of_pyhf(signal: list[float]) -> None:
    pyhf.set_backend("numpy", pyhf.optimize.scipy_optimizer(tolerance=1e-10))
    workspace = pyhf.Workspace(patched(signal))
    reference = workspace.model()
    data = workspace.data(reference)
    likelihood = HistFactoryLikelihood(compile_workspace(small_workspace()), signal)
    limit = find_upper_limit(likelihood)
    bounds = reference.config.suggested_bounds()
    bounds[reference.config.poi_index] = (0.0, 5.0 * limit.mu_ul)

    def hypotest(mu: float) -> tuple[float, list[float]]:
        observed, expected = pyhf.infer.hypotest(mu, data, reference, par_bounds=bounds, test_stat="qtilde", return_expected_set=True)
        return float(observed), [float(value) for value in expected]

    for fraction in (0.5, 1.0, 1.5):
        mine = compute_cls(likelihood, fraction * limit.mu_ul)
        observed, expected = hypotest(fraction * limit.mu_ul)
        assert mine.observed == pytest.approx(observed, rel=2e-3)
        np.testing.assert_allclose(sorted(mine.expected), sorted(expected), rtol=2e-3)
    assert hypotest(limit.mu_ul)[0] == pytest.approx(0.05, rel=2e-3)
    median = find_expected_limits(likelihood).median
    assert hypotest(median)[1][2] == pytest.approx(0.05, rel=2e-3)


@quiet
def test_the_pyhf_backend_agrees_with_the_built_in_one() -> None:
    settings = HistFactorySettings(signal_uncertainty=0.2, signal_normsys={"isr": (0.9, 1.2)})
    theirs = PyhfModel(small_workspace(), settings)
    ours = compile_workspace(small_workspace(), settings=settings)
    for signal in ([0.0, 4.0, 2.0], [2.0, 1.0, 6.0]):
        mine, other = HistFactoryLikelihood(ours, signal), theirs.likelihood(signal)
        assert isinstance(other, AnalysisLikelihood)
        for mu in (0.0, 0.7, 2.0):
            assert mine.nll(mu) <= other.nll(mu) + 1e-6
            assert mine.nll(mu) == pytest.approx(other.nll(mu), abs=1e-3)
            assert mine.log_ratio(mu).slope == pytest.approx(other.log_ratio(mu).slope, rel=2e-2, abs=1e-2)
            np.testing.assert_allclose(mine.signal_slopes(mu), other.signal_slopes(mu), rtol=3e-2, atol=1e-2)
        assert mine.mu_hat == pytest.approx(other.mu_hat, abs=2e-2)
        assert mine.asimov().nll(1.0) == pytest.approx(other.asimov().nll(1.0), abs=1e-2)
        assert find_upper_limit(mine).mu_ul == pytest.approx(find_upper_limit(other).mu_ul, rel=2e-2)
