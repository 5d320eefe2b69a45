"""Known answers of statistical models: that they hold, that wrong ones are noticed, counted and never used."""

from __future__ import annotations

import logging
import math

import numpy as np
import pytest

from database.results.embedded import open_embedded_store
from database.results.store import ResultsStore
from inference.analysis_models import registry
from inference.analysis_models.canary import (
    Canary,
    CanaryStatus,
    DisabledModel,
    Fact,
    canary_signal,
    check_canary,
    digest_published,
    find_facts,
    guard_model,
    load_facts,
)
from inference.analysis_models.protocol import AnalysisLikelihood, AnalysisModel
from inference.analysis_models.registry import find_analysis_model, find_canary
from inference.predictions import Predictor
from inference.score import ScoreSettings, score
from inference.settings import Conventions, PredictionSettings
from inference.spectrum import Spectrum
from inference.types import Outcome
from services.cli.results import result_rows

STOPS = "CMS-SUS-16-050-agg"


@pytest.fixture(scope="module")
def store() -> ResultsStore:
    return open_embedded_store()


def _modelled(store: ResultsStore) -> list[int]:
    return [record.index for record in store.results if record.stat_model != "none"]


def _check_all(store: ResultsStore) -> int:
    num_passed = 0
    for result in _modelled(store):
        report = find_canary(store, result)
        assert report is not None, store.results[result].folder
        assert report.status is CanaryStatus.PASSED, (store.results[result].folder, report)
        num_passed += 1
    return num_passed


def test_canaries_of_the_embedded_results_pass(store: ResultsStore) -> None:
    assert _check_all(store) == 4


@pytest.mark.full_database
def test_canaries_of_the_full_database_pass(full_store: ResultsStore) -> None:
    """10 first-order and 1 second-order covariance, 8 HistFactory results."""
    assert _check_all(full_store) == 19
    assert len(load_facts()) >= 19


def test_answers_are_those_of_the_likelihood(store: ResultsStore) -> None:
    result = _modelled(store)[0]
    record = store.results[result]
    model = find_analysis_model(store, result, Conventions.DEFAULT)
    assert model is not None
    signal = canary_signal(store.expected_bg[record.dataset_start : record.dataset_start + model.num_regions])
    assert signal[0] == pytest.approx(0.25 * math.sqrt(store.expected_bg[record.dataset_start] + 1.0))
    likelihood = model.likelihood(signal)
    (answer,) = check_canary(store, result, model).found
    assert answer.delta_nll == pytest.approx(likelihood.nll(1.0) - likelihood.nll(0.0), abs=1e-9)


@pytest.mark.parametrize("field", ["delta_nll", "mu_ul"])
def test_a_wrong_answer_switches_the_model_off(store: ResultsStore, caplog: pytest.LogCaptureFixture, field: str) -> None:
    result = _modelled(store)[0]
    model = find_analysis_model(store, result, Conventions.DEFAULT)
    assert model is not None
    (right,) = check_canary(store, result, model).found
    wrong = right._replace(**{field: getattr(right, field) * 1.001 + 1e-4})
    assert check_canary(store, result, model, (wrong,)).status is CanaryStatus.FAILED
    with caplog.at_level(logging.WARNING):
        guarded = guard_model(store, result, model, (wrong,))
    assert isinstance(guarded, DisabledModel)
    assert store.results[result].analysis_id in caplog.text and "switched off" in caplog.text


def test_a_failing_fit_is_no_agreement() -> None:
    assert not Canary("", math.nan, math.nan).agrees_with(Canary("", 0.1, 2.0))


def test_other_published_numbers_have_no_canary(store: ResultsStore) -> None:
    first, second = _modelled(store)[:2]
    assert digest_published(store, first) != digest_published(store, second)
    model = find_analysis_model(store, first, Conventions.DEFAULT)
    assert model is not None
    folder = store.results[first].folder
    others = {folder: (Fact(digest_published(store, second), (Canary("", 1.0, 1.0),)),)}
    assert find_facts(store, first, others) == ()
    report = check_canary(store, first, model, ())
    assert (report.status, report.facts) == (CanaryStatus.UNKNOWN, ())
    assert guard_model(store, first, model, ()) is model


def test_a_disabled_model_is_counted_and_neither_promotes_nor_falls_silent(store: ResultsStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """CMS-SUS-16-050 sees stops in many regions; without its model the score does not use the analysis and says so."""
    spectrum = Spectrum({1000006: 600.0, 1000022: 100.0}, {1000006: (((6, 1000022), 1.0),)}, {13: {(-1000006, 1000006): 200.0}})
    found = Predictor(store, PredictionSettings()).predict(spectrum)
    (result,) = [index for index in found.region_yields if store.results[index].analysis_id == STOPS]
    everything = np.ones((len(store.results), len(store.results)), dtype=np.bool_) & ~np.eye(len(store.results), dtype=np.bool_)
    key = (store.content_hash, result, Conventions.DEFAULT)
    model = find_analysis_model(store, result, Conventions.DEFAULT)
    assert model is not None
    monkeypatch.setitem(registry._models, key, DisabledModel(model.num_regions))
    judged = score(found, store, everything, math.inf, ScoreSettings())
    assert judged.failures[STOPS] == 1
    assert all(member.candidate.analysis_id != STOPS for member in judged.members if member.candidate.kind == 2)


def test_disabled_models_keep_the_contract() -> None:
    model = DisabledModel(3)
    assert isinstance(model, AnalysisModel)
    likelihood = model.likelihood(np.ones(3))
    assert isinstance(likelihood, AnalysisLikelihood)
    assert likelihood.outcome is Outcome.FIT_FAILED
    assert math.isnan(likelihood.log_ratio(1.0).value)
    assert np.isnan(likelihood.signal_slopes(1.0)).all()


def test_info_shows_model_and_canary(store: ResultsStore) -> None:
    rows = {row["analysis_id"]: row for row in result_rows(store) if row["canary"] is not None}
    assert len(rows) == 4
    canary = rows["CMS-SUS-21-002"]["canary"]
    assert canary["status"] == "passed"
    assert canary["sets"][0]["mu_ul"] == pytest.approx(2.645, abs=1e-3)
