"""`protomodels sample` on the embedded results: file and table, the same run in two pieces, one sentence for every mistake."""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from services.cli.app import main

CONFIG = """
campaign: {seed: 11}
results: {store: embedded}
walk: {rules: {max_mass_gev: 1200.0}, pool: {forbidden_channels: {X_t^1: ["b X_W^1"]}}}
sampling:
  num_walkers: 2
  num_steps: 160
  burn_in_steps: 40
  thin: 4
  betas: [1.0, 0.0]
  particles: [Xt, X2Z]
  max_lbp_mass_gev: 400.0
  max_particles: 3
"""


class Answer(NamedTuple):
    code: int
    stdout: str
    stderr: str


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Any:
    """Runs the command in a folder of its own, as from the shell."""
    (tmp_path / "run.yaml").write_text(CONFIG)

    def invoke(*options: str, config: str = "run.yaml", workers: str = "0") -> Answer:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["protomodels", "sample", config, "--workers", workers, *options])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return Answer(int(ended.value.code or 0), captured.out, captured.err)

    return invoke


def read(path: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        arviz = pytest.importorskip("arviz", reason="needs the extra 'sampling'")
    return arviz.from_netcdf(str(path))


@pytest.fixture(autouse=True)
def _needs_arviz() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("arviz", reason="needs the extra 'sampling'")


def test_a_run_ends_with_a_table_and_a_file(run: Any, tmp_path: Path) -> None:
    answer = run("--output", "out.nc")
    assert answer.code == 0
    assert "X1Z" in answer.stdout
    assert "approximate" in answer.stdout
    assert "exchanged: β 1↔0" in answer.stdout
    assert "step 160 of 160 in each of 2 walkers" in answer.stderr
    data = read(tmp_path / "out.nc")
    assert data.posterior.sizes["chain"] == 2
    assert data.posterior.sizes["draw"] == 30
    assert data.posterior.attrs["seed"] == 11
    assert float(data.contents.probability.sum()) == pytest.approx(1.0)
    channels = set(data.posterior.channel.values.tolist())
    assert not any(name.startswith("Xt -> 5,") for name in channels)


def test_a_run_in_two_pieces_is_the_same_run(run: Any, tmp_path: Path) -> None:
    whole = json.loads(run("--output", "whole.nc", "--json").stdout)
    assert run("--output", "cut.nc", "--steps", "83", "--batch", "17", "--json").code == 0
    again = json.loads(run("--output", "cut.nc", "--resume", "--json").stdout)
    assert again | {"output": ""} == whole | {"output": ""}
    first, second = read(tmp_path / "whole.nc"), read(tmp_path / "cut.nc")
    for name in first.posterior.data_vars:
        np.testing.assert_array_equal(first.posterior[name], second.posterior[name])


@pytest.mark.slow
def test_workers_give_the_same_run(run: Any) -> None:
    here = json.loads(run("--output", "here.nc", "--json").stdout)
    there = json.loads(run("--output", "there.nc", "--json", workers="2").stdout)
    assert here | {"output": ""} == there | {"output": ""}


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--resume",), "does not exist: there is nothing to resume"),
        (("--steps", "43"), "burn_in_steps leaves no step of num_steps to record"),
        (("--checkpoint", "nowhere/file"), "cannot be written"),
    ],
)
def test_mistakes_are_one_sentence(run: Any, options: tuple[str, ...], sentence: str) -> None:
    answer = run("--output", "out.nc", *options)
    assert answer.code == 2
    assert sentence in answer.stderr
    assert len(answer.stderr.strip().splitlines()) == 1


def test_another_run_in_the_same_place_is_refused(run: Any) -> None:
    assert run("--output", "out.nc", "--steps", "44").code == 0
    assert "go on with --resume" in run("--output", "out.nc").stderr
    answer = run("--output", "out.nc", "--resume", "--seed", "12")
    assert answer.code == 2
    assert "campaign.seed was 11 when the run began and is 12 now" in answer.stderr


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("evaluation: {score: {prior: bic}}", "bic depends on the data"),
        ("evaluation: {penalties: [extreme_ssms]}", "penalties"),
        ("evaluation: {score: {combination_rule: legacy-offset}}", "legacy-offset"),
    ],
)
def test_settings_that_are_no_density_are_refused(run: Any, tmp_path: Path, change: str, sentence: str) -> None:
    (tmp_path / "other.yaml").write_text(CONFIG + change + "\n")
    answer = run("--output", "out.nc", config="other.yaml")
    assert answer.code == 2
    assert sentence in answer.stderr
