"""`protomodels results …` on the embedded excerpt: what is printed, what --json holds, and errors in one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from database.errors import StoreError, UserFacingError
from database.results.embedded import EMBEDDED_TEXT
from database.results.embedded.selection import SELECTION
from services.cli.results import register


@pytest.fixture(scope="module")
def app() -> typer.Typer:
    application = typer.Typer()
    register(application)
    return application


@pytest.fixture(scope="module")
def store_path(app: typer.Typer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("results") / "store"
    answer = CliRunner().invoke(app, ["results", "import", str(EMBEDDED_TEXT), "--output", str(path), "--json"])
    assert answer.exit_code == 0, answer.output
    summary = json.loads(answer.stdout)
    assert summary["num_results"] == len(SELECTION) == summary["num_limit_results"] + summary["num_efficiency_results"]
    assert summary["duration_s"] > 0
    return path


def test_import_ends_with_a_summary(app: typer.Typer, tmp_path: Path) -> None:
    answer = CliRunner().invoke(app, ["results", "import", str(EMBEDDED_TEXT), "--output", str(tmp_path / "store")])
    assert answer.exit_code == 0, answer.output
    assert f"Imported {len(SELECTION)} results" in answer.stdout.splitlines()[-1]


def test_info_accounts_for_every_result(app: typer.Typer, store_path: Path) -> None:
    answer = CliRunner().invoke(app, ["results", "info", "--store", str(store_path)])
    assert answer.exit_code == 0, answer.output
    assert answer.stdout.splitlines()[-1].startswith(f"{len(SELECTION)} of {len(SELECTION)} results accounted for")
    assert "approximate" in answer.stdout


def test_info_as_json_carries_units_and_reasons(app: typer.Typer, store_path: Path) -> None:
    document = json.loads(CliRunner().invoke(app, ["results", "info", "--store", str(store_path), "--json"]).stdout)
    rows = {row["folder"]: row for row in document["results"]}
    assert sum(document["accounting"].values()) == document["num_results"] == len(rows) == len(SELECTION)
    row = rows["13TeV/CMS/CMS-SUS-16-050-agg"]
    assert (row["sqrts_tev"], row["lumi_ifb"], row["num_regions"], row["stat_model"]) == (13, 35.9, 39, "sl_v1")
    assert row["is_approximate"]
    assert 0 < row["fit_error"] < 0.25
    limits = rows["13TeV/ATLAS/ATLAS-SUSY-2016-07"]
    assert limits["num_expected_limit_maps"] == 0
    assert any("no likelihood" in note for note in limits["notes"])


def test_mistakes_are_user_errors(app: typer.Typer, store_path: Path, tmp_path: Path) -> None:
    def error_of(*arguments: str) -> BaseException | None:
        return CliRunner().invoke(app, ["results", *arguments]).exception

    assert isinstance(error_of("import", str(tmp_path / "nothing"), "--output", str(tmp_path / "store")), UserFacingError)
    assert isinstance(error_of("info", "--store", str(tmp_path)), StoreError)
    assert isinstance(error_of("fetch", "--version", "newest"), UserFacingError)
    assert isinstance(error_of("fit-excerpt", str(tmp_path / "text"), "--store", str(store_path)), StoreError)
    (tmp_path / "precious").write_text("")
    assert isinstance(error_of("fit-excerpt", str(tmp_path), "--store", str(store_path)), StoreError)
    assert (tmp_path / "precious").exists()
