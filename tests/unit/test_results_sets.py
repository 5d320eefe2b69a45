"""The text format of release 3.2: sets of regions with several statistical models, comments; beside the older format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from database.errors import ResultsFormatError
from database.results.importer import import_text_database
from database.results.records import ModelFileRecord, RegionRecord, ResultRecord
from database.results.store import ResultsStore
from inference.analysis_models.covariance import build_covariance_model
from inference.likelihoods.covariance import CovarianceLikelihood
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
    assert (record.stat_model, record.num_datasets, record.num_combined) == ("sl_v1", 3, 2)
    np.testing.assert_array_equal(store.covariance(0), [[9.0, 1.0], [1.0, 4.0]])
    (region_set,) = record.stat_payload.region_sets
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
    model = build_covariance_model(store, 0, Conventions.DEFAULT)
    assert model.observed.tolist() == [7.0, 5.0]
    assert np.isfinite(CovarianceLikelihood(model, found.region_yields[0]).nll(1.0))
    ((row,),) = (np.flatnonzero(found.kind == PredictionKind.COMBINED),)
    assert len(found.map_ids[row]) == 2


def test_of_several_covariances_the_first_is_evaluated_and_all_are_kept(database: TextDatabase) -> None:
    result = regions_result(
        database,
        "regionSets: {'gone': ['SR1'], 'a': ['SR2', 'SR1'], 'b': ['SR3', 'SR2']}",
        "statModels: {'gone': [('sl', 'gone.txt')], 'a': [('sl', 'a.txt')], 'b': [('sl', 'b.txt')]}",
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
    np.testing.assert_array_equal(np.diag(store.covariance(0)), [5.0, 6.0, 7.0])
    np.testing.assert_array_equal(np.diag(store.covariance(1)), [1.0, 2.0])
    assert store.dataset_ids[record.dataset_start : record.dataset_stop] == ("SR2", "SR1", "SR3")
    payload = record.stat_payload
    assert [(s.name, s.covariance_offset, s.covariance_size) for s in payload.region_sets] == [("gone", -1, 0), ("a", 9, 2), ("b", 13, 2)]
    assert store.covariances[13:17].tolist() == [3.0, 0.0, 0.0, 4.0]
    assert payload.missing_files == ("gone.txt",)
    assert any("gone.txt of the region set 'gone' is missing" in note for note in record.notes)
    assert any("region set 'b' is not evaluated" in note for note in record.notes)
    assert not first.stat_payload.region_sets and "region_sets" not in first.to_json()["stat_payload"]


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
    assert record.stat_model == "pyhf"
    regions = (RegionRecord(None, "WCRcut_cuts", "CR"), RegionRecord("SR1", "SR1cut_cuts"), RegionRecord("SR2", "SR2cut_cuts"))
    assert [(w.file, w.regions) for w in payload.workspaces] == [("simple.json", regions), ("other.json", (RegionRecord("SR3", "SR3"),))]
    assert [w.file for w in payload.full_workspaces] == ["full.json"]
    assert (payload.includes_crs, payload.signal_uncertainty, payload.missing_files) == (True, 0.22, ())
    assert payload.region_sets[0].networks == ("WCRcut_cuts", "SR1cut_cuts", "net2")
    assert [model.kind for model in payload.region_sets[0].models] == ["onnx", "pyhf", "full_pyhf"]
    assert (store.path / payload.region_sets[0].models[0].path).read_bytes() == b"network"
    assert (store.path / payload.workspaces[1].path).read_text() == WORKSPACE
    assert any("neural network of the region set 'all' is not evaluated, simple.json is" in note for note in record.notes)


@pytest.mark.parametrize(
    ("models", "stat_model", "missing", "word"),
    [
        ("[('pyhf', 'gone.json')]", "none", ("gone.json",), "gone.json"),
        ("[('pyhf', '../../../../secret.json')]", "none", ("../../../../secret.json",), "secret"),
        ("[('pyhf', 'gone.json'), ('sl', 'cov.txt')]", "sl_v1", ("gone.json",), "gone.json"),
        ("('sl', 'cov.txt')", "sl_v1", (), ""),
        ("[('full_pyhf', 'full.json')]", "pyhf", (), ""),
        ("[('onnx', 'net.onnx')]", "none", (), "one by one"),
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
    if stat_model == "pyhf":
        assert [workspace.file for workspace in record.stat_payload.workspaces] == ["full.json"]


def test_third_moments_of_the_set_decide(database: TextDatabase) -> None:
    result = database.result("13TeV/CMS/CMS-SUS-00-003-eff", "regionSets: {'a': ['SR2']}", "statModels: {'a': [('sl', 'cov.txt')]}")
    database.efficiencies(database.region(result, "SR1"))
    database.efficiencies(database.region(result, "SR2", "thirdMoment: 0.3"))
    (result / "cov.txt").write_text("[[1.]]")
    assert only_record(load(database)).stat_model == "sl_v2"


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
    assert np.diag(store.covariance(0)).tolist() == [2.0, 3.0]


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
    nll = [
        CovarianceLikelihood(build_covariance_model(store, number, Conventions.DEFAULT), found.region_yields[number]).nll(1.0)
        for number in (0, 1)
    ]
    assert nll[0] == nll[1]
