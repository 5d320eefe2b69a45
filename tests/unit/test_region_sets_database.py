"""A small database in the format of release 3.2, beside results in the older one: several sets, missing files, networks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from database.results.importer import import_text_database
from database.results.store import ResultsStore
from inference.analysis_models.region_sets import RegionSetsModel
from inference.analysis_models.registry import find_analysis_model
from inference.analysis_models.set_report import report_region_sets
from inference.likelihoods.histfactory import HistFactoryLikelihood, compile_workspace
from inference.predictions import Predictor
from inference.settings import Conventions, PredictionSettings
from inference.spectrum import Spectrum
from inference.types import DataKind, PredictionKind
from services.cli.app import app
from tests.learned_networks import poisson_nll, write_poisson_network
from tests.text_database import TextDatabase

STOPS = Spectrum({1000006: 400.0, 1000022: 100.0}, {1000006: (((6, 1000022), 1.0),)}, {13: {(-1000006, 1000006): 2.0}})
OLD, NEW, LEARNED = "13TeV/CMS/CMS-SUS-00-001-eff", "13TeV/CMS/CMS-SUS-00-002-eff", "13TeV/ATLAS/ATLAS-SUSY-0000-03-eff"
FULL = "13TeV/ATLAS/ATLAS-SUSY-0000-04-eff"
BACKGROUND = {"SR1": 9.0, "SR2": 4.0, "SR3": 2.0}


def add_result(database: TextDatabase, folder: str, *lines: str) -> Path:
    result = database.result(folder, *lines)
    for number, (name, background) in enumerate(BACKGROUND.items(), start=1):
        region = database.region(result, name, observed=int(background) + 1, expected=background)
        database.efficiencies(region, scale=0.004 * number)
    return result


def workspace() -> dict[str, Any]:
    def channel(name: str, background: list[float]) -> dict[str, Any]:
        shift = {"name": "shift", "type": "normsys", "data": {"hi": 1.1, "lo": 0.9}}
        scale = {"name": "scale", "type": "normfactor", "data": None}
        return {"name": name, "samples": [{"name": "bkg", "data": background, "modifiers": [shift, scale]}]}

    return {
        "channels": [channel("CRW_cuts", [40.0]), channel("SRone_cuts", [9.0]), channel("SRtwo_cuts", [1.0, 4.0])],
        "observations": [
            {"name": "CRW_cuts", "data": [44.0]}, {"name": "SRone_cuts", "data": [10.0]}, {"name": "SRtwo_cuts", "data": [2.0, 5.0]},
        ],
        "measurements": [{"name": "m", "config": {"poi": "mu", "parameters": []}}],
        "version": "1.0.0",
    }  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ResultsStore:
    database = TextDatabase(tmp_path_factory.mktemp("mixed") / "db", "3.2.0")
    add_result(database, OLD, "datasetOrder: 'SR1', 'SR2', 'SR3'", "covariance: [[4., 1., 0.], [1., 2., 0.], [0., 0., 1.]]")
    new = add_result(
        database,
        NEW,
        "regionSets: { 'loose': ['SR1', 'SR2'],   # overlaps with the next one",
        "              'tight': ['SR3', 'SR2'], 'lost': ['SR1'] }",
        "statModels: { 'loose': [('sl', 'loose.txt')], 'tight': [('onnx', 'broken.onnx'), ('sl', 'tight.txt')],",
        "              'lost': [('pyhf', 'lost.json')] }",
    )
    (new / "loose.txt").write_text("[[4., 1.], [1., 2.]]")
    (new / "tight.txt").write_text("[[1., 0.], [0., 2.]]")
    (new / "broken.onnx").write_bytes(b"not a network")
    learned = add_result(
        database,
        LEARNED,
        "regionMappings: { 'SR1': {'pyhf': 'SRone_cuts'}, 'SR2': {'pyhf': 'SRtwo_cuts[1]'}, 'CRW': {'pyhf': 'CRW_cuts', 'type': 'CR'} }",
        "regionSets: { 'all': ['CRW', 'SR1', 'SR2'] }",
        "statModels: { 'all': [('onnx', 'net.onnx'), ('sl', 'none.txt')] }",
    )
    write_poisson_network(learned / "net.onnx", ["SRtwo_cuts-1", "CRW_cuts-0", "SRone_cuts-0"], [4.0, 40.0, 9.0], [5.0, 44.0, 10.0])
    full = add_result(
        database,
        FULL,
        "regionMappings: { 'SR1': {'pyhf': 'SRone_cuts'}, 'SR2': {'pyhf': 'SRtwo_cuts[1]'}, 'CRW': {'pyhf': 'CRW_cuts', 'type': 'CR'} }",
        "regionSets: { 'all': ['CRW', 'SR1', 'SR2'] }",
        "statModels: { 'all': [('pyhf', 'gone.json'), ('full_pyhf', 'full.json')] }",
    )
    (full / "full.json").write_text(json.dumps(workspace()))
    return import_text_database(database.root, database.root.parent / "store", num_workers=0)


def index_of(store: ResultsStore, folder: str) -> int:
    return next(record.index for record in store.results if record.folder == folder)


def model_of(store: ResultsStore, folder: str) -> RegionSetsModel:
    model = find_analysis_model(store, index_of(store, folder), Conventions.DEFAULT)
    assert isinstance(model, RegionSetsModel)
    return model


def test_both_formats_give_combined_predictions(store: ResultsStore) -> None:
    found = Predictor(store, PredictionSettings()).predict(STOPS)
    rows = np.flatnonzero(found.kind == PredictionKind.COMBINED)
    assert sorted(store.results[r].folder for r in found.result[rows]) == sorted((OLD, NEW, LEARNED, FULL))
    for row in rows:
        result = int(found.result[row])
        model = find_analysis_model(store, result, Conventions.DEFAULT)
        assert model is not None and model.num_regions == len(found.region_yields[result])
        assert np.isfinite(model.likelihood(found.region_yields[result]).log_ratio(1.0)).all()


def test_the_network_of_a_set_is_evaluated(store: ResultsStore) -> None:
    yields = np.array([3.0, 1.5])
    found = model_of(store, LEARNED).likelihood(yields)
    assert (found.set_name, found.file.kind) == ("all", "onnx")
    counts, background = [5.0, 44.0, 10.0], np.array([4.0, 44.0, 9.0])  # the control region holds what was observed
    for mu in (0.0, 1.0, 2.0):
        assert found.nll(mu) == pytest.approx(poisson_nll(counts, (background + mu * np.array([1.5, 0.0, 3.0])).tolist()), abs=1e-9)
    slopes = found.signal_slopes(1.0)
    np.testing.assert_allclose(slopes, [10.0 / 12.0 - 1.0, 5.0 / 5.5 - 1.0], atol=1e-9)
    assert found.asimov().mu_hat == pytest.approx(0.0, abs=1e-6)


def test_the_workspace_of_a_set_is_evaluated(store: ResultsStore) -> None:
    found = model_of(store, FULL).likelihood(np.array([3.0, 1.5]))
    assert (found.set_name, found.file.kind, found.file.file) == ("all", "full_pyhf", "full.json")
    compiled = compile_workspace(workspace())
    signal = [{("SRone_cuts", 0): 3.0, ("SRtwo_cuts", 1): 1.5}.get(place, 0.0) for place in compiled.bins]
    by_hand = HistFactoryLikelihood(compiled, np.array(signal))
    for mu in (0.0, 1.0, 2.5):
        assert found.nll(mu) == pytest.approx(by_hand.nll(mu), abs=1e-9)


def test_each_signal_is_seen_by_its_most_sensitive_set(store: ResultsStore) -> None:
    model = model_of(store, NEW)
    assert [entry.record.name for entry in model.sets] == ["loose", "tight"]
    assert model.likelihood(np.array([6.0, 1.0, 0.1])).set_name == "loose"
    found = model.likelihood(np.array([1.0, 1.0, 6.0]), DataKind.APRIORI)
    assert (found.set_name, found.file.file) == ("tight", "tight.txt")


def test_the_report_names_model_and_set(store: ResultsStore) -> None:
    report = report_region_sets(store, index_of(store, NEW))
    assert [(row["name"], row["used"], row["kind"]) for row in report.rows] == [
        ("loose", "loose.txt", "sl"), ("tight", "tight.txt", "sl"), ("lost", None, None),
    ]  # fmt: skip
    assert [model["status"] for model in report.rows[1]["models"]] == ["not evaluated", "used"]
    assert report.rows[2]["models"] == [{"kind": "pyhf", "file": "lost.json", "status": "missing"}]
    assert "smallest expected limit is used per signal: 'loose' by loose.txt (covariance), 'tight' by tight.txt" in report.notes[0]
    assert report.notes[1] == "no statistical model of 'lost' can be evaluated"
    assert any(
        note.startswith("broken.onnx of the region set 'tight' is not evaluated: broken.onnx is not an ONNX file") for note in report.notes
    )
    learned = report_region_sets(store, index_of(store, LEARNED))
    assert learned.notes[0] == "region set 'all' by net.onnx (neural network)"
    assert any("does not say for which yields it was trained" in note for note in learned.notes)
    assert report_region_sets(store, index_of(store, OLD)).rows == []


def test_results_info_shows_it(store: ResultsStore) -> None:
    answer = CliRunner().invoke(app, ["results", "info", "--results", str(store.path), "--json"])
    assert answer.exit_code == 0, answer.output
    rows = {row["folder"]: row for row in json.loads(answer.stdout)["results"]}
    assert rows[NEW]["stat_model"] == "region_sets"
    assert [entry["used"] for entry in rows[NEW]["region_sets"]] == ["loose.txt", "tight.txt", None]
    assert "region_sets" not in rows[OLD]
    assert any("net.onnx (neural network)" in note for note in rows[LEARNED]["notes"])
    table = CliRunner().invoke(app, ["results", "info", "--results", str(store.path)])
    assert table.exit_code == 0 and "region sets" in table.output
