"""`protomodels surrogate`: a result or a workspace becomes a network file that the database format takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from database.errors import UserFacingError
from database.results.importer import import_text_database
from database.results.store import ResultsStore
from inference.analysis_models.region_sets import RegionSetsModel
from inference.analysis_models.registry import find_analysis_model
from inference.analysis_models.surrogates import load_surrogate, place_surrogate
from inference.settings import Conventions
from services.cli.app import app
from tests.text_database import TextDatabase

QUICK = ["--num-signals", "150", "--num-steps", "1500", "--hidden", "16,16", "--radius", "5"]


def add_result(database: TextDatabase, folder: str, *lines: str) -> Path:
    result = database.result(folder, *lines)
    for number, background in enumerate((9.0, 4.0, 20.0), start=1):
        region = database.region(result, f"SR{number}", observed=int(background) + 1, expected=background)
        database.efficiencies(region, scale=0.004 * number)
    return result


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ResultsStore:
    database = TextDatabase(tmp_path_factory.mktemp("surrogate") / "db", "3.2.0")
    add_result(
        database,
        "13TeV/CMS/CMS-SUS-00-001-eff",
        "datasetOrder: 'SR1', 'SR2', 'SR3'",
        "covariance: [[4., 1., 0.], [1., 2., 0.], [0., 0., 9.]]",
    )
    sets = add_result(
        database,
        "13TeV/CMS/CMS-SUS-00-002-eff",
        "regionSets: {'a': ['SR1', 'SR2'], 'b': ['SR3', 'SR1']}",
        "statModels: {'a': [('sl', 'a.txt')], 'b': [('sl', 'b.txt')]}",
    )
    (sets / "a.txt").write_text("[[4., 1.], [1., 2.]]")
    (sets / "b.txt").write_text("[[9., 1.], [1., 4.]]")
    plain = database.result("13TeV/CMS/CMS-SUS-00-003-eff")
    database.efficiencies(database.region(plain, "SR1"))
    return import_text_database(database.root, database.root.parent / "store", num_workers=0)


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["surrogate", *arguments])


def test_a_result_becomes_a_file_with_its_error(store: ResultsStore, tmp_path: Path) -> None:
    file = tmp_path / "s.onnx"
    answer = run("train", "CMS-SUS-00-001", "--results", str(store.path), "--output", str(file), *QUICK)
    assert answer.exit_code == 0, answer.output
    assert "Learned 3 regions of CMS-SUS-00-001" in answer.output and "refused outside" in answer.output
    document = json.loads(run("info", str(file), "--json").stdout)
    assert document["regions"] == ["SR1-0", "SR2-0", "SR3-0"]
    assert document["radius"] == 5.0
    assert 0.0 < document["error"]["median"] < document["error"]["percentile_95"] <= document["error"]["largest"]
    assert document["source"]["analysis_id"] == "CMS-SUS-00-001"
    shown = run("info", str(file))
    assert "up to 5.00 standard deviations" in shown.output and "were not trained with" in shown.output


def test_a_surrogate_stands_for_its_result_only(store: ResultsStore, tmp_path: Path) -> None:
    file = tmp_path / "s.onnx"
    assert run("train", "CMS-SUS-00-001", "--results", str(store.path), "--output", str(file), "--json", *QUICK).exit_code == 0
    placed = place_surrogate(store, 0, file)
    assert placed.columns.tolist() == [0, 1, 2]
    exact = find_analysis_model(store, 0, Conventions.DEFAULT)
    assert exact is not None
    signal = np.array([2.0, 1.0, 3.0])
    found, true = placed.model.likelihood(signal).log_ratio(1.0), exact.likelihood(signal).log_ratio(1.0)
    assert found.value == pytest.approx(true.value, abs=0.3)
    with pytest.raises(UserFacingError, match="was made from other published numbers"):
        place_surrogate(store, 1, file)


def test_a_set_of_regions_is_learned_and_used_in_the_database(store: ResultsStore, tmp_path: Path) -> None:
    file = tmp_path / "b.onnx"
    answer = run("train", "CMS-SUS-00-002", "--set", "b", "--results", str(store.path), "--output", str(file), "--json", *QUICK)
    assert answer.exit_code == 0, answer.output
    document = json.loads(answer.stdout)
    assert document["regions"] == ["SR3-0", "SR1-0"] and document["source"]["set"] == "b"
    database = TextDatabase(tmp_path / "db", "3.2.0")
    result = add_result(
        database,
        "13TeV/CMS/CMS-SUS-00-002-eff",
        "regionSets: {'b': ['SR3', 'SR1']}",
        "statModels: {'b': [('onnx', 'b.onnx'), ('sl', 'b.txt')]}",
    )
    (result / "b.onnx").write_bytes(file.read_bytes())
    (result / "b.txt").write_text("[[9., 1.], [1., 4.]]")
    model = find_analysis_model(import_text_database(database.root, tmp_path / "store", num_workers=0), 0, Conventions.DEFAULT)
    assert isinstance(model, RegionSetsModel)
    inside, outside = model.likelihood(np.array([2.0, 3.0])), model.likelihood(np.array([80.0, 3.0]))
    assert (inside.file.kind, outside.file.kind) == ("onnx", "sl")
    exact = model.sets[0].placed(1)
    assert exact is not None
    true = exact[1].model.likelihood(np.array([2.0, 3.0]))
    assert inside.log_ratio(1.0).value == pytest.approx(true.log_ratio(1.0).value, abs=0.3)


def workspace(path: Path) -> Path:
    def channel(name: str, background: list[float]) -> dict[str, Any]:
        errors = {"hi_data": [1.1 * b for b in background], "lo_data": [0.9 * b for b in background]}
        shift = {"name": "shift", "type": "histosys", "data": errors}
        scale = {"name": "scale", "type": "normfactor", "data": None}
        return {"name": name, "samples": [{"name": "bkg", "data": background, "modifiers": [shift, scale]}]}

    spec = {
        "channels": [channel("SR", [8.0, 3.0]), channel("CR", [50.0])],
        "observations": [{"name": "SR", "data": [9.0, 2.0]}, {"name": "CR", "data": [55.0]}],
        "measurements": [{"name": "m", "config": {"poi": "mu", "parameters": []}}],
        "version": "1.0.0",
    }
    path.write_text(json.dumps(spec))
    return path


def test_a_workspace_in_a_file_is_learned(tmp_path: Path) -> None:
    file = tmp_path / "w.onnx"
    answer = run("train", str(workspace(tmp_path / "bkg.json")), "--output", str(file), "--json", *QUICK)
    assert answer.exit_code == 0, answer.output
    learned = load_surrogate(file)
    assert learned.layout.names == ("SR-0", "SR-1")
    assert json.loads(answer.stdout)["source"]["workspace"] == "bkg.json"
    assert np.isfinite(learned.likelihood(np.array([2.0, 1.0])).log_ratio(1.0).value)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["CMS-SUS-99-999"], "There is no result CMS-SUS-99-999"),
        (["CMS-SUS-00-003"], "The result CMS-SUS-00-003 has no statistical model."),
        (["CMS-SUS-00-002"], "has several sets of regions; name one of a, b."),
        (["CMS-SUS-00-002", "--set", "c"], "has no set of regions c; it has a, b."),
        (["CMS-SUS-00-001", "--set", "a"], "has no sets of regions."),
        (["CMS-SUS-00-001", "--hidden", "64,x"], "--hidden must be numbers of neurons"),
        (["CMS-SUS-00-001", "--channels", "SR"], "--channels is for workspaces"),
        (["gone.json"], "gone.json is not a HistFactory workspace that can be read."),
    ],
)
def test_errors_are_one_sentence(store: ResultsStore, tmp_path: Path, arguments: list[str], problem: str) -> None:
    answer = run("train", *arguments, "--results", str(store.path), "--output", str(tmp_path / "x.onnx"), *QUICK[:4])
    assert isinstance(answer.exception, UserFacingError)
    assert problem in str(answer.exception)
    assert not (tmp_path / "x.onnx").exists()
