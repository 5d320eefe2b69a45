"""`protomodels workspaces simplify` and `convert`: files that can be read again, measured errors, one sentence for what is wrong."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from inference.hs3 import read_hs3
from inference.likelihoods.histfactory import compile_workspace
from inference.likelihoods.simplified import SimplifiedForm, read_summary
from services.cli.app import main
from services.cli.workspaces import Form
from tests.unit.test_simplified import rich_workspace


class Answer(NamedTuple):
    code: int
    stdout: str
    stderr: str


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs a command as from the shell."""

    def invoke(*arguments: str | Path) -> Answer:
        monkeypatch.setattr(sys, "argv", ["protomodels", "workspaces", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return Answer(int(ended.value.code or 0), captured.out, captured.err)

    return invoke


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    path = tmp_path / "workspace.json"
    path.write_text(json.dumps(rich_workspace()))
    return path


def test_forms_have_the_same_names() -> None:
    assert [form.value for form in Form] == [form.value for form in SimplifiedForm]


def test_simplified_files_can_be_read(run: Any, workspace: Path, tmp_path: Path) -> None:
    for form in Form:
        output = tmp_path / f"{form.value}.json"
        answer = run("simplify", workspace, "--form", form.value, "--output", output)
        assert (answer.code, answer.stdout.split()) == (0, ["wrote", str(output)])
        document = json.loads(output.read_text())
        if form is Form.COVARIANCE:
            assert read_summary(document).bins == (("SR", 0), ("SR", 1))
        else:
            compile_workspace(document)


def test_errors_are_measured(run: Any, workspace: Path) -> None:
    answer = run("simplify", workspace, "--form", "covariance", "--compare", "--signals", "6", "--json")
    errors = json.loads(answer.stdout)
    assert (errors["form"], errors["num_signals"], errors["num_failed"]) == ("covariance", 6, 0)
    assert 0.0 < errors["median"] <= errors["quantile_95"] <= errors["largest"] < 1.0
    assert 0.8 < errors["limit_low"] <= errors["limit_median"] <= errors["limit_high"] < 1.25
    table = run("simplify", workspace, "--compare", "--signals", "3").stdout
    assert "pub-note against the full workspace, 3 signals" in table


def test_signal_regions_can_be_named(run: Any, workspace: Path) -> None:
    answer = run("simplify", workspace, "--form", "covariance", "--signal-region", "CR")
    assert [entry["channel"] for entry in json.loads(answer.stdout)["bins"]] == ["CR"]
    answer = run("simplify", workspace, "--signal-region", "SRA")
    assert (answer.code, answer.stderr) == (2, "protomodels: the workspace has no channel 'SRA'; it has SR, CR\n")


def test_conversion_there_and_back(run: Any, workspace: Path, tmp_path: Path) -> None:
    there, back = tmp_path / "hs3.json", tmp_path / "pyhf.json"
    assert run("convert", workspace, "--to", "hs3", "--output", there).code == 0
    assert read_hs3(json.loads(there.read_text())).workspace["version"] == "1.0.0"
    assert run("convert", there, "--to", "pyhf", "--output", back, "--analysis", "m").code == 0
    models = [compile_workspace(json.loads(path.read_text())) for path in (workspace, back)]
    assert models[0].nll_at(models[0].table.inits) == models[1].nll_at(models[1].table.inits)


@pytest.mark.parametrize(
    ("content", "arguments", "message"),
    [
        ("[]", ("--to", "hs3"), "must hold one JSON object"),
        ("{", ("--to", "pyhf"), "is not JSON"),
        ("{}", ("--to", "hs3"), "`observations`"),
        ("{}", ("--to", "pyhf"), "no `metadata`: it is no HS3 document"),
        ("{}", ("--to", "hs3", "--analysis", "m"), "--analysis"),
    ],
)
def test_bad_files_give_one_sentence(run: Any, tmp_path: Path, content: str, arguments: tuple[str, ...], message: str) -> None:
    path = tmp_path / "file.json"
    path.write_text(content)
    answer = run("convert", path, *arguments)
    assert answer.code == 2
    assert message in answer.stderr and answer.stderr.count("\n") == 1
    assert run("convert", tmp_path / "none.json", "--to", "hs3").code == 2
