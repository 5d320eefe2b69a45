"""The text format of release 3.2: sets of regions with several statistical models, comments; beside the older format."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from database.errors import ResultsFormatError, StoreError
from database.results.importer import import_text_database
from database.results.records import ModelFileRecord, RegionRecord, ResultRecord
from database.results.store import ResultsStore, open_store
from inference.analysis_models.registry import find_analysis_model
from inference.predictions import Predictor
from inference.settings import Conventions, PredictionSettings
from inference.spectrum import Spectrum
from inference.types import PredictionKind
from tests.text_database import TextDatabase

WORKSPACE = '{"channels": [], "observations": [], "measurements": [], "version": "1.0.0"}'
STOPS = Spectrum({1000006: 400.0, 1000022: 100.0}, {1000006: (((6, 1000022), 1.0),)}, {13: {(-1000006, 1000006): 10.0}})


@pytest.fixture
def database(tmp_path: Path) -> TextDatabase:
    return TextDatabase(tmp_path / "db", "3.2.0")


def load(database: TextDatabase) -> ResultsStore:
    return import_text_database(database.root, database.root.parent / "store", num_workers=0)


def regions_result(database: TextDatabase, *extra: str, folder: str = "13TeV/CMS/CMS-SUS-00-003-eff", num_regions: int = 3) -> Path:
    result = database.result(folder, *extra)
    for number in range(1, num_regions + 1):
        region = database.region(result, f"SR{number}", observed=4 + number, expected=3.0 + number)
        database.efficiencies(region, scale=0.01 * number)
    return result


def only_record(store: ResultsStore) -> ResultRecord:
    (record,) = store.results
    return record


def test_a_covariance_combines_the_regions_of_its_set_in_its_order(database: TextDatabase) -> None:
    result = regions_result(
        database,
        "regionSets: { 'cov': ['SR3',  # the inclusive one",
        "# and the tight one",
        "              'SR1'] }",
        "statModels: { 'cov': [('sl', 'cov.txt')] }  # one model",
    )
    (result / "cov.txt").write_text("# rows as in the set\n[[9., 1.],  # SR3\n [1., 4.]]\n")
    store = load(database)
    record = only_record(store)
    assert store.dataset_ids == ("SR3", "SR1", "SR2")
    assert (record.stat_model, record.num_datasets, record.num_combined) == ("region_sets", 3, 2)
    assert store.covariances.tolist() == [9.0, 1.0, 1.0, 4.0]
    (region_set,) = record.stat_payload.region_sets
    assert (region_set.datasets, region_set.rows) == ((0, 1), (0, 1))
    assert region_set.regions == (RegionRecord("SR3", "SR3"), RegionRecord("SR1", "SR1"))
    assert region_set.models == (ModelFileRecord("sl", "cov.txt"),)


def test_regions_outside_the_set_stay_outside_the_combination(database: TextDatabase) -> None:
    result = regions_result(database, "regionSets: {'cov': ['SR3', 'SR1']}", "statModels: {'cov': [('sl', 'cov.txt')]}")
    (result / "cov.txt").write_text("[[9., 1.], [1., 4.]]")
    store = load(database)
    predictor = Predictor(store, PredictionSettings())
    found = predictor.predict(STOPS)
    xsec = {
        store.dataset_ids[d]: x
        for d, k, x in zip(found.dataset, found.kind, found.xsec_fb, strict=True)
        if k == PredictionKind.EFFICIENCY_MAP
    }
    (combined,) = found.xsec_fb[found.kind == PredictionKind.COMBINED]
    assert xsec.keys() == {"SR1", "SR2", "SR3"}
    assert combined == pytest.approx(xsec["SR1"] + xsec["SR3"])
    assert found.region_yields[0] == pytest.approx([137.0 * xsec["SR3"], 137.0 * xsec["SR1"]])
    model = find_analysis_model(store, 0, Conventions.DEFAULT)
    assert model is not None and model.num_regions == 2
    assert np.isfinite(model.likelihood(found.region_yields[0]).nll(1.0))
    ((row,),) = (np.flatnonzero(found.kind == PredictionKind.COMBINED),)
    assert len(found.map_ids[row]) == 2


def test_all_sets_are_kept_beside_the_older_format(database: TextDatabase) -> None:
    result = regions_result(
        database,
        "regionSets: {'gone': ['SR1'], 'a': ['SR2', 'SR1'], 'b': ['SR3', 'SR2']}",
        "statModels: {'gone': [('sl', 'gone.txt')], 'a': [('sl', 'a.txt')], 'b': [('sl', 'b.txt')]}",
        num_regions=4,
    )
    (result / "a.txt").write_text("[[1., 0.], [0., 2.]]")
    (result / "b.txt").write_text("[[3., 0.], [0., 4.]]")
    old = regions_result(
        database,
        "datasetOrder: 'SR1', 'SR2', 'SR3'",
        "covariance: [[5., 0., 0.], [0., 6., 0.], [0., 0., 7.]]",
        folder="13TeV/CMS/CMS-SUS-00-002-eff",
    )
    assert old.name < result.name
    store = load(database)
    first, record = store.results
    assert (first.stat_model, record.stat_model) == ("sl_v1", "region_sets")
    np.testing.assert_array_equal(np.diag(store.covariance(0)), [5.0, 6.0, 7.0])
    assert store.dataset_ids[record.dataset_start : record.dataset_stop] == ("SR2", "SR1", "SR3", "SR4")
    assert (record.num_datasets, record.num_combined) == (4, 3)
    payload = record.stat_payload
    assert [(s.name, s.covariance_offset, s.covariance_size) for s in payload.region_sets] == [("gone", -1, 0), ("a", 9, 2), ("b", 13, 2)]
    assert [s.rows for s in payload.region_sets] == [(), (0, 1), (2, 0)]
    assert [s.datasets for s in payload.region_sets] == [(1,), (0, 1), (2, 0)]
    assert store.covariances[13:17].tolist() == [3.0, 0.0, 0.0, 4.0]
    assert payload.missing_files == ("gone.txt",)
    assert any("gone.txt of the region set 'gone' is missing" in note for note in record.notes)
    assert not first.stat_payload.region_sets
    assert not {"region_sets", "num_combined"} & first.to_json()["stat_payload"].keys()


def test_workspaces_networks_and_control_regions(database: TextDatabase) -> None:
    result = regions_result(
        database,
        "regionMappings: { 'low': {'smodels': 'SR1', 'pyhf': 'SR1cut_cuts'}, 'SR2': {'pyhf': 'SR2cut_cuts', 'onnx': 'net2'},",
        "                  'Wcr': {'pyhf': 'WCRcut_cuts', 'type': 'CR'}, 'tight': 'SR3' }",
        "regionSets: { 'all': ['Wcr', 'low', 'SR2'], 'other': ['tight'], 'unused': ['low'] }",
        "statModels: { 'all': [('onnx', 'net.onnx'), ('pyhf', 'simple.json'), ('full_pyhf', 'full.json')],",
        "              'other': [('pyhf', 'other.json')] }",
        "includeCRs: True",
        "signalUncertainty: 0.22",
    )
    for name in ("simple.json", "full.json", "other.json"):
        (result / name).write_text(WORKSPACE)
    (result / "net.onnx").write_bytes(b"network")
    store = load(database)
    record = only_record(store)
    payload = record.stat_payload
    assert record.stat_model == "region_sets"
    assert [entry.name for entry in payload.region_sets] == ["all", "other"]
    assert (payload.includes_crs, payload.signal_uncertainty, payload.missing_files) == (True, 0.22, ())
    first, other = payload.region_sets
    assert first.regions == (
        RegionRecord(None, "WCRcut_cuts", "CR"),
        RegionRecord("SR1", "SR1cut_cuts"),
        RegionRecord("SR2", "SR2cut_cuts"),
    )
    assert (first.datasets, first.rows, other.datasets) == ((-1, 0, 1), (), (2,))
    assert (first.networks, other.networks) == (("WCRcut_cuts", "SR1cut_cuts", "net2"), ())
    assert [(model.kind, model.file) for model in first.models] == [
        ("onnx", "net.onnx"),
        ("pyhf", "simple.json"),
        ("full_pyhf", "full.json"),
    ]
    assert (store.path / first.models[0].path).read_bytes() == b"network"
    assert (store.path / first.models[2].path).read_text() == WORKSPACE
    assert (store.path / other.models[0].path).read_text() == WORKSPACE


def test_a_region_without_data_set_is_a_note(database: TextDatabase) -> None:
    result = regions_result(database, "regionSets: {'all': ['SR1', 'SR9']}", "statModels: {'all': [('pyhf', 'w.json')]}")
    (result / "w.json").write_text(WORKSPACE)
    record = only_record(load(database))
    assert record.stat_payload.region_sets[0].datasets == (0, -1)
    assert record.num_combined == 1
    assert any("'all' names the data set SR9, which has no folder" in note for note in record.notes)


@pytest.mark.parametrize(
    ("models", "stat_model", "missing", "word"),
    [
        ("[('pyhf', 'gone.json')]", "none", ("gone.json",), "gone.json"),
        ("[('pyhf', '../../../../secret.json')]", "none", ("../../../../secret.json",), "secret"),
        ("[('pyhf', 'gone.json'), ('sl', 'cov.txt')]", "region_sets", ("gone.json",), "gone.json"),
        ("('sl', 'cov.txt')", "region_sets", (), ""),
        ("[('full_pyhf', 'full.json')]", "region_sets", (), ""),
        ("[('onnx', 'net.onnx')]", "region_sets", (), ""),
    ],
)
def test_a_missing_file_is_a_note(database: TextDatabase, models: str, stat_model: str, missing: tuple[str, ...], word: str) -> None:
    result = regions_result(database, "regionSets: {'a': ['SR1', 'SR2']}", f"statModels: {{'a': {models}}}", num_regions=2)
    (result / "cov.txt").write_text("[[1., 0.], [0., 1.]]")
    (result / "full.json").write_text(WORKSPACE)
    (result / "net.onnx").write_bytes(b"network")
    record = only_record(load(database))
    assert (record.stat_model, record.stat_payload.missing_files) == (stat_model, missing)
    assert any(word in note for note in record.notes) if word else not record.notes


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        (("statModels: {'a': [('sl', 'cov.txt')]}",), "'statModels' needs 'regionSets'"),
        (("regionSets: {'a': ['SR1']}", "statModels: {'b': [('sl', 'cov.txt')]}"), "names 'b', which 'regionSets' does not have"),
        (("regionSets: {'a': ['SR9']}", "statModels: {'a': [('sl', 'cov.txt')]}"), "names 'SR9', which has no folder"),
        (("regionSets: {'a': ['SR1', 'SR1']}", "statModels: {'a': [('sl', 'cov.txt')]}"), "names 'SR1' twice"),
        (("regionSets: {'a': 'SR1'}", "statModels: {'a': [('sl', 'cov.txt')]}"), "must be a list of regions"),
        (("regionSets: ['SR1']", "statModels: {'a': [('sl', 'cov.txt')]}"), "'regionSets' must map"),
        (("regionSets: {'a': ['SR1']}", "statModels: {'a': [('exe', 'cov.txt')]}"), "kinds being sl, pyhf, full_pyhf, onnx"),
        (("regionSets: {'a': ['SR1']}", "statModels: {'a': 'cov.txt'}"), "must be a list of"),
        (
            ("regionMappings: {'x': 'SR1'}", "regionSets: {'a': ['SR1']}", "statModels: {'a': [('sl', 'c')]}"),
            "'regionMappings' does not have",
        ),
        (("regionMappings: {'x': {'type': 'QR'}}", "regionSets: {'a': ['x']}", "statModels: {'a': [('sl', 'c')]}"), "the region 'x'"),
        (
            ("regionSets: {'a': ['SR1', 'SR2']}", "statModels: {'a': [('sl', 'cov.txt')]}"),
            "the covariance is 1×1, but the set 'a' has 2 regions",
        ),
        (("regionSets: {'a': ['SR1']}", "statModels: {'a': [('sl', 'broken.txt')]}"), "cannot read the covariance"),
    ],
)
def test_errors_name_the_file(database: TextDatabase, lines: tuple[str, ...], problem: str) -> None:
    result = regions_result(database, *lines)
    (result / "cov.txt").write_text("[[1.]]")
    (result / "broken.txt").write_text("[[1.]")
    with pytest.raises(ResultsFormatError, match=r"^13TeV/CMS/CMS-SUS-00-003-eff/[a-zA-Z]+\.txt, line \d+: ") as caught:
        load(database)
    assert problem in str(caught.value)


def test_the_newer_tags_win_over_the_older_ones(database: TextDatabase) -> None:
    result = regions_result(
        database,
        "datasetOrder: 'SR1', 'SR2'",
        "covariance: [[1., 0.], [0., 1.]]",
        "regionSets: {'a': ['SR2', 'SR3']}",
        "statModels: {'a': [('sl', 'cov.txt')]}",
    )
    (result / "cov.txt").write_text("[[2., 0.], [0., 3.]]")
    store = load(database)
    assert store.dataset_ids == ("SR2", "SR3", "SR1")
    assert store.covariances.tolist() == [2.0, 0.0, 0.0, 3.0]


def test_equal_models_in_both_formats_predict_the_same(database: TextDatabase) -> None:
    regions_result(
        database, "datasetOrder: 'SR2', 'SR1'", "covariance: [[4., 1.], [1., 9.]]", folder="13TeV/CMS/CMS-SUS-00-001-eff", num_regions=2
    )
    new = regions_result(
        database,
        "regionSets: {'a': ['SR2', 'SR1']}",
        "statModels: {'a': [('sl', 'cov.txt')]}",
        folder="13TeV/CMS/CMS-SUS-00-002-eff",
        num_regions=2,
    )
    (new / "cov.txt").write_text("[[4., 1.], [1., 9.]]")
    store = load(database)
    found = Predictor(store, PredictionSettings()).predict(STOPS)
    rows = [np.flatnonzero(found.result == number) for number in (0, 1)]
    np.testing.assert_array_equal(found.xsec_fb[rows[0]], found.xsec_fb[rows[1]])
    models = [find_analysis_model(store, number, Conventions.DEFAULT) for number in (0, 1)]
    nll = [model.likelihood(found.region_yields[number]).nll(1.0) for number, model in enumerate(models) if model is not None]
    assert nll[0] == nll[1]


def test_a_store_of_an_earlier_version_asks_to_be_rebuilt(database: TextDatabase) -> None:
    result = regions_result(database, "regionSets: {'a': ['SR1']}", "statModels: {'a': [('sl', 'cov.txt')]}")
    (result / "cov.txt").write_text("[[2.]]")
    path = load(database).path
    meta = json.loads((path / "meta.json").read_text())
    for entry in meta["results"][0]["stat_payload"]["region_sets"]:
        del entry["rows"], entry["datasets"]
    (path / "meta.json").write_text(json.dumps(meta))
    with pytest.raises(StoreError, match="rebuild it"):
        open_store(path)
