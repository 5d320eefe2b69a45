"""spey both ways: the same numbers from its models and ours, limits by its hypothesis tests and by ours, failures as outcomes."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from database.errors import ConfigError
from database.results.store import ResultsStore
from inference.analysis_models.protocol import AnalysisLikelihood, AnalysisModel
from inference.likelihoods.covariance import CovarianceModel
from inference.likelihoods.histfactory import HistFactoryLikelihood, compile_workspace
from inference.limits import find_upper_limit, find_upper_limits
from inference.spey_plugin import MissingSpeyError, SpeyLikelihood, SpeyModel, backends, load_spey
from inference.types import DataKind, Outcome
from tests.unit.test_simplified import rich_workspace

spey: Any = pytest.importorskip("spey", reason="spey is not installed")

SIGNAL = np.array([3.0, 5.0, 2.0])
BACKGROUND = np.array([50.0, 30.0, 12.0])
OBSERVED = np.array([55.0, 27.0, 13.0])
COVARIANCE = np.array([[49.0, 20.0, 3.0], [20.0, 25.0, 2.0], [3.0, 2.0, 9.0]])
THIRD = np.array([30.0, 20.0, 8.0])


def build_theirs(signal: np.ndarray[Any, np.dtype[np.float64]] = SIGNAL, third: Any = None) -> Any:
    name = "default.correlated_background" if third is None else "default.third_moment_expansion"
    more = {} if third is None else {"third_moment": third}
    return spey.get_backend(name)(
        signal_yields=signal, background_yields=BACKGROUND, data=OBSERVED, covariance_matrix=COVARIANCE, analysis="test", **more
    )


def build_ours(third: Any = None) -> Any:
    backend = backends.CovarianceBackend(SIGNAL, BACKGROUND, OBSERVED, COVARIANCE, third)
    return spey.StatisticalModel(backend=backend, analysis="ours")


# ---------------------------------------------------------------------------------------------- our likelihoods in spey


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The entry points as an installed distribution has them."""
    info = tmp_path / "protomodels_test-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: protomodels-test\nVersion: 1.0\n")
    lines = [f"{name} = inference.spey_plugin.backends:{cls}" for name, cls in backends.ENTRY_POINTS.items()]
    (info / "entry_points.txt").write_text("\n".join(["[spey.backend.plugins]", *lines]) + "\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(spey, "_backend_entries", dict(spey._backend_entries))
    spey.reset_backend_entries()


@pytest.mark.usefixtures("installed")
def test_spey_finds_the_plug_ins() -> None:
    assert set(backends.ENTRY_POINTS) <= set(spey.AvailableBackends())
    make = spey.get_backend("protomodels.covariance")
    model = make(signal_yields=SIGNAL, background_yields=BACKGROUND, data=OBSERVED, covariance_matrix=COVARIANCE, analysis="test")
    assert model.likelihood(1.0) == pytest.approx(build_ours().likelihood(1.0))
    assert model.is_alive and model.backend_type == "protomodels.covariance"


@pytest.mark.parametrize("third", [None, THIRD])
def test_hypothesis_tests_of_spey_on_our_covariance_models(third: Any) -> None:
    """spey's default models have the same differences of ln L, limits and CLs, to the accuracy of its fits."""
    ours, theirs = build_ours(third), build_theirs(third=third)
    zero = ours.likelihood(0.0), theirs.likelihood(0.0)
    for mu in (0.5, 1.0, 2.5):
        assert ours.likelihood(mu) - zero[0] == pytest.approx(theirs.likelihood(mu) - zero[1], abs=2e-5)
    assert ours.maximize_likelihood()[0] == pytest.approx(theirs.maximize_likelihood()[0], abs=5e-3)
    for kind in spey.ExpectationType:
        assert ours.poi_upper_limit(expected=kind) == pytest.approx(theirs.poi_upper_limit(expected=kind), rel=5e-4)
    assert ours.exclusion_confidence_level()[0] == pytest.approx(theirs.exclusion_confidence_level()[0], abs=1e-4)


def test_hypothesis_tests_of_spey_on_our_full_likelihood() -> None:
    """The limit that spey finds with our fits is ours."""
    spec = rich_workspace()
    by_channel = {"SR": [2.0, 6.0]}
    model = spey.StatisticalModel(backend=backends.HistFactoryBackend(by_channel, spec), analysis="test")
    compiled = compile_workspace(spec)
    signal = np.array([by_channel[channel][i] if channel in by_channel else 0.0 for channel, i in compiled.bins])
    limits = find_upper_limits(HistFactoryLikelihood(compiled, signal))
    assert model.poi_upper_limit() == pytest.approx(limits.observed.mu_ul, rel=1e-3)
    expected = model.poi_upper_limit(expected=spey.ExpectationType.aposteriori)
    assert expected == pytest.approx(limits.expected.median, rel=1e-3)
    apriori = find_upper_limit(HistFactoryLikelihood(compiled, signal, DataKind.APRIORI))
    assert model.poi_upper_limit(expected=spey.ExpectationType.apriori) == pytest.approx(apriori.mu_ul, rel=1e-3)
    counts = compiled.observed + 3.0
    assert model.likelihood(1.0, data=counts) == pytest.approx(HistFactoryLikelihood(compiled, signal, counts=counts).nll(1.0))


@pytest.mark.full_database
def test_published_analyses_in_spey(full_store: ResultsStore) -> None:
    record = next(record for record in full_store.results if record.analysis_id == "CMS-SUS-20-004" and record.num_combined > 1)
    rows = slice(record.dataset_start, record.dataset_start + record.num_combined)
    signal = 0.25 * np.sqrt(full_store.expected_bg[rows] + 1.0)
    backend = backends.AnalysisBackend(signal, "CMS-SUS-20-004", full_store)
    limit = find_upper_limit(backend.make_likelihood(DataKind.OBSERVED, None)).mu_ul
    assert spey.StatisticalModel(backend=backend, analysis="test").poi_upper_limit() == pytest.approx(limit, rel=1e-3)
    with pytest.raises(ConfigError, match="no statistical model of 'CMS-SUS-00-000'"):
        backends.AnalysisBackend(signal, "CMS-SUS-00-000", full_store)
    with pytest.raises(ConfigError, match="needs 22 signal yields, not 3"):
        backends.AnalysisBackend(signal[:3], "CMS-SUS-20-004", full_store)


def test_combination_in_spey() -> None:
    """spey's product of our model with its own: twice the same information."""
    stack = spey.UnCorrStatisticsCombiner(build_ours(), build_theirs())
    single = CovarianceModel(OBSERVED, BACKGROUND, COVARIANCE).likelihood(SIGNAL)
    rise = stack.likelihood(2.0) - stack.likelihood(1.0)
    assert rise == pytest.approx(2.0 * (single.nll(2.0) - single.nll(1.0)), abs=1e-4)


# ---------------------------------------------------------------------------------------------- spey's models here


@pytest.mark.parametrize("third", [None, THIRD])
def test_models_of_spey_as_likelihoods(third: Any) -> None:
    theirs = SpeyLikelihood(build_theirs(third=third))
    ours = CovarianceModel(OBSERVED, BACKGROUND, COVARIANCE, third).likelihood(SIGNAL)
    assert theirs.outcome is Outcome.OK and not theirs.is_concave
    for mu in (0.3, 1.0, 3.0):
        assert theirs.log_ratio(mu) == pytest.approx(ours.log_ratio(mu), abs=2e-4)
    assert theirs.mu_hat == pytest.approx(ours.mu_hat, abs=5e-3)
    assert theirs.sigma_mu == pytest.approx(ours.sigma_mu, rel=0.02)
    mine, other = find_upper_limits(ours), find_upper_limits(theirs)
    assert other.observed.mu_ul == pytest.approx(mine.observed.mu_ul, rel=5e-4)
    assert other.expected.median == pytest.approx(mine.expected.median, rel=5e-4)


def test_data_kinds() -> None:
    model = build_theirs()
    ours = CovarianceModel(OBSERVED, BACKGROUND, COVARIANCE)
    for kind in DataKind:
        found, expected = SpeyLikelihood(model, kind), ours.likelihood(SIGNAL, kind)
        assert found.log_ratio(1.0).value == pytest.approx(expected.log_ratio(1.0).value, abs=2e-4)


def test_models_that_do_not_show_their_data() -> None:
    """Our own plug-in has no `expected_data`: its Asimov likelihood is asked, slopes are differences."""
    through = SpeyLikelihood(build_ours())
    ours = CovarianceModel(OBSERVED, BACKGROUND, COVARIANCE).likelihood(SIGNAL)
    assert through.asimov().log_ratio(1.2) == pytest.approx(ours.asimov().log_ratio(1.2), abs=1e-3)
    assert find_upper_limit(through).mu_ul == pytest.approx(find_upper_limit(ours).mu_ul, rel=1e-5)


def test_signal_can_be_varied() -> None:
    source = SpeyModel(build_theirs, 3)
    likelihood = source.likelihood(SIGNAL)
    assert isinstance(source, AnalysisModel) and isinstance(likelihood, AnalysisLikelihood)
    expected = CovarianceModel(OBSERVED, BACKGROUND, COVARIANCE).likelihood(SIGNAL).signal_slopes(1.0)
    assert likelihood.signal_slopes(1.0) == pytest.approx(expected, abs=2e-3)


class _Broken:
    """Stands for a model whose minimiser gives up."""

    class backend:  # noqa: N801
        @staticmethod
        def get_objective_function(**_: Any) -> Any:
            raise NotImplementedError

    @staticmethod
    def likelihood(**_: Any) -> float:
        raise RuntimeError("Inequality constraints incompatible")

    maximize_likelihood = likelihood


def test_failures_are_outcomes() -> None:
    likelihood = SpeyLikelihood(_Broken())
    assert likelihood.outcome is Outcome.FIT_FAILED
    assert math.isnan(likelihood.nll(1.0)) and math.isnan(likelihood.mu_hat) and math.isnan(likelihood.sigma_mu)
    assert all(math.isnan(value) for value in likelihood.log_ratio(1.0))


def test_without_spey_one_sentence_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "spey", None)
    with pytest.raises(MissingSpeyError, match=r"^spey is not installed: pip install spey$"):
        load_spey()
