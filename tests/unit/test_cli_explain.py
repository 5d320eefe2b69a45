"""`protomodels explain` on the embedded results: tables for people, JSON for programs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from inference.fates import Fate
from services.cli.explain import register

XT, XW, LBP = 1000006, 1000024, 1000022
STOPS = {
    "masses_gev": {str(XT): 500.0, str(XW): 300.0, str(LBP): 100.0},
    "branching_ratios": {str(XT): {f"6,{LBP}": 0.9, f"5,{XW}": 0.1}, str(XW): {f"24,{LBP}": 1.0}},
}


@pytest.fixture(scope="module")
def app() -> typer.Typer:
    application = typer.Typer()
    register(application)
    application.command("other")(lambda: None)  # a single command would need no name
    return application


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "models.json"
    path.write_text(json.dumps(STOPS))
    return path


def run(app: typer.Typer, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["explain", *arguments, "--results", "embedded"])


def test_tables_say_what_is_seen_and_what_is_not(app: typer.Typer, models: Path) -> None:
    answer = run(app, str(models), "--top", "4")
    assert answer.exit_code == 0, answer.output
    for words in (
        "Xt¹ 500 GeV, XW¹⁺ 300 GeV, XZ¹ 100 GeV", "produced [fb]", "How much of what is produced", "Topologies: 4 of", "13 TeV [fb]",
        "that no result sees: 4 of", "no published map with this diagram", "see the model", "approximate",
    ):  # fmt: skip
        assert words in answer.stdout
    assert "[XW¹⁻(300) → W- XZ¹(100)] + [XW¹⁺(300) → W+ XZ¹(100)]" in answer.stdout
    assert "1000006" not in answer.stdout


def test_one_analysis_in_detail(app: typer.Typer, models: Path) -> None:
    answer = run(app, str(models), "--analysis", "ATLAS-SUSY-2016-16")
    assert answer.exit_code == 0, answer.output
    assert "Every topology in ATLAS-SUSY-2016-16" in answer.stdout
    assert "T2tt" in answer.stdout and "efficiencyMap" in answer.stdout
    unknown = run(app, str(models), "--analysis", "ATLAS-SUSY-2066-16")
    assert unknown.exit_code == 3
    assert "ATLAS-SUSY-2066-16" in unknown.stderr


def test_json_has_everything_with_units(app: typer.Typer, models: Path) -> None:
    document: dict[str, Any] = json.loads(run(app, str(models), "--top", "1", "--json").stdout)
    assert set(document) == {"sigma_cut_fb", "coverage", "topologies", "missing", "production", "results"}
    assert len(document["topologies"]) > 5
    maps = [row for topology in document["topologies"] for row in topology["maps"]]
    assert {row["fate"] for row in maps} <= {fate.value for fate in Fate}
    counted = [row for row in maps if row["fate"] == "counted"]
    assert counted
    for row in counted:
        assert row["limit_fb" if row["type"] == "upperLimit" else "largest_efficiency"] > 0
    outside = next(row for row in maps if row["fate"] == "outside")
    assert outside["axes"] and {"value_gev", "published_low_gev", "published_high_gev", "nearest_published_gev"} <= set(outside["axes"][0])
    for entry in document["coverage"]:
        assert entry["total_fb"] == pytest.approx(entry["covered_fb"] + entry["missing_fb"] + entry["cut_fb"])
    assert sum(row["is_seen"] for row in document["results"]) == sum(entry["num_results"] for entry in document["coverage"])
    selected = json.loads(run(app, str(models), "--analysis", "ATLAS-SUSY-2016-16", "--json").stdout)
    assert {row["analysis"] for row in selected["results"]} == {"ATLAS-SUSY-2016-16"}
    assert {row["analysis"] for topology in selected["topologies"] for row in topology["maps"]} == {"ATLAS-SUSY-2016-16"}


def test_several_models_are_a_list(app: typer.Typer, tmp_path: Path) -> None:
    path = tmp_path / "models.json"
    path.write_text(json.dumps([STOPS, {"masses_gev": {str(LBP): 100.0}}]))
    documents = json.loads(run(app, str(path), "--json").stdout)
    assert [bool(document["topologies"]) for document in documents] == [True, False]
    assert "Nothing is produced" in run(app, str(path)).stdout


def test_everything_below_the_cut_is_said(app: typer.Typer, tmp_path: Path) -> None:
    path = tmp_path / "model.json"
    path.write_text(json.dumps({**STOPS, "explicit_xsecs_fb": {"13": {f"-{XT},{XT}": 0.01}}}))
    answer = run(app, str(path))
    assert "No topology reaches σ·BR = 0.02 fb" in answer.stdout
    assert "0.01 (100 %)" in answer.stdout
