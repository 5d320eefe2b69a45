"""`protomodels run`, `resume`, `status` and `hiscores` on the embedded results, as a user types them."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from builder.model_io import parse_models
from builder.protomodel import ProtoModel
from database.campaigns.sql import open_repository
from database.campaigns.status import CampaignStatus
from database.errors import CampaignError
from services.campaign.hiscores import restore_protomodel
from services.cli import app
from services.cli.live import render

ROOT = Path(__file__).parents[2]

CONFIG = """
campaign: {name: small, seed: 3, num_walkers: 3, num_steps: 12, num_workers: 0, checkpoint_every_steps: 4}
results: {store: embedded}
"""

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs the command line in this process; gives exit code, standard output, standard error."""

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["protomodels", *arguments])
        with pytest.raises(SystemExit) as ended:
            app.main()
        output, errors = capsys.readouterr()
        return int(ended.value.code or 0), output, errors

    return call


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, dict[str, Any]]]:
    """A finished campaign: its database, and what `run --json` printed."""
    folder = tmp_path_factory.mktemp("cli")
    (folder / "small.yaml").write_text(CONFIG)
    database = str(folder / "campaigns.db")
    done = protomodels("run", str(folder / "small.yaml"), "--database", database, "--json")
    assert done.returncode == 0, done.stderr
    yield database, json.loads(done.stdout)


def protomodels(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "services.cli.app", *arguments], cwd=ROOT, capture_output=True, text=True, check=False, timeout=300
    )


def test_run_prints_json_with_the_hiscores(finished: tuple[str, dict[str, Any]]) -> None:
    _, row = finished
    assert (row["name"], row["status"], row["steps_done"], row["steps_total"]) == ("small", "finished", 36, 36)
    assert row["is_approximate"] is True
    scores = [entry["k"] for entry in row["hiscores"]]
    assert scores == sorted(scores, reverse=True)
    assert row["best_k"] == scores[0]
    contents = [tuple(sorted(entry["masses_gev"])) for entry in row["hiscores"]]
    assert len(set(contents)) == len(contents) > 1  # each particle content once
    best = row["hiscores"][0]
    assert {"k", "t_l", "mu_hat", "log_prior", "mu_max", "verdict", "combination", "masses_gev", "xsec_fb", "protomodel"} <= set(best)
    assert best["k"] == pytest.approx(best["t_l"] + 2 * best["log_prior"], abs=1e-9)
    assert best["masses_gev"].keys() == {str(pid) for pid in ProtoModel.from_json(best["protomodel"]).masses}


def test_same_seed_same_hiscores_in_another_process(finished: tuple[str, dict[str, Any]], tmp_path: Path) -> None:
    _, row = finished
    (tmp_path / "small.yaml").write_text(CONFIG)
    again = json.loads(protomodels("run", str(tmp_path / "small.yaml"), "--database", str(tmp_path / "again.db"), "--json").stdout)
    for first, second in zip(row["hiscores"], again["hiscores"], strict=True):
        assert {k: v for k, v in first.items() if k not in ("created_at", "hiscore_id")} == {
            k: v for k, v in second.items() if k not in ("created_at", "hiscore_id")
        }


def test_status_tells_of_all_and_of_one(finished: tuple[str, dict[str, Any]], command: Command) -> None:
    database, _ = finished
    code, output, _ = command("status", "--database", database)
    assert code == 0
    assert "small" in output
    assert "36/36" in output
    code, output, _ = command("status", "small", "--database", database, "--json")
    row = json.loads(output)
    assert code == 0
    assert [walker["step"] for walker in row["walkers"]] == [12, 12, 12]
    assert sum(row["verdict_counts"].values()) == 36
    assert row["config"]["campaign"]["seed"] == 3
    assert row["versions"].keys() >= {"protomodels", "numpy", "scipy", "numba", "python"}
    code, output, _ = command("status", "1", "--database", database)
    assert code == 0
    assert "12/12" in output


def test_hiscores_are_listed_and_shown(finished: tuple[str, dict[str, Any]], command: Command) -> None:
    database, row = finished
    code, output, _ = command("hiscores", "list", "--database", database, "--limit", "2", "--json")
    assert code == 0
    assert json.loads(output) == row["hiscores"][:2]
    best = row["hiscores"][0]
    code, output, _ = command("hiscores", "list", "--campaign", "small", "--database", database)
    assert code == 0
    assert f"{best['k']:.2f}" in output
    code, output, _ = command("hiscores", "show", str(best["hiscore_id"]), "--database", database)
    assert code == 0
    for expected in ("best combination", "observed", "σ at 13 TeV", best["combination"][0]["analysis"], f"K = {best['k']:.2f}"):
        assert expected in output, expected
    code, output, _ = command("hiscores", "show", str(best["hiscore_id"]), "--database", database, "--json")
    assert json.loads(output) == best


@pytest.mark.parametrize("format_", ["slha", "dict"])
def test_exported_models_are_read_back(finished: tuple[str, dict[str, Any]], command: Command, format_: str) -> None:
    database, row = finished
    best = row["hiscores"][0]
    code, output, _ = command("hiscores", "export", str(best["hiscore_id"]), "--format", format_, "--database", database)
    assert code == 0
    (read,) = parse_models(output)
    model = ProtoModel.from_json(best["protomodel"])
    assert read.masses == pytest.approx(model.masses)
    spectrum, expected = read.spectrum(), model.spectrum()
    for sqrts_tev, xsecs in expected.xsecs_fb.items():
        assert spectrum.xsecs_fb[sqrts_tev] == pytest.approx(xsecs)


def test_exports_of_several_hiscores(finished: tuple[str, dict[str, Any]], command: Command, tmp_path: Path) -> None:
    database, row = finished
    code, output, _ = command("hiscores", "export", "--format", "csv", "--limit", "3", "--database", database)
    assert code == 0
    table = list(csv.DictReader(io.StringIO(output)))
    assert [float(line["k"]) for line in table] == [entry["k"] for entry in row["hiscores"][:3]]
    assert float(table[0]["mass_1000022_gev"]) == row["hiscores"][0]["masses_gev"]["1000022"]
    code, output, _ = command("hiscores", "export", "--limit", "3", "--database", database)
    assert [entry["protomodel"] for entry in json.loads(output)] == [entry["protomodel"] for entry in row["hiscores"][:3]]
    code, _, errors = command("hiscores", "export", "--format", "slha", "--database", database)
    assert (code, "one model" in errors) == (2, True)
    code, output, _ = command(
        "hiscores", "export", "--format", "slha", "--output", str(tmp_path / "out"), "--limit", "2", "--database", database
    )
    assert code == 0
    assert len(list((tmp_path / "out").glob("hiscore-*.slha"))) == 2
    code, _, _ = command("hiscores", "export", "--format", "dict", "--output", str(tmp_path / "sub" / "a.dict"), "--database", database)
    assert code == 0
    assert len(parse_models((tmp_path / "sub" / "a.dict").read_text())) == len(row["hiscores"])


def test_database_may_come_from_the_environment(
    finished: tuple[str, dict[str, Any]], command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROTOMODELS_DATABASE", finished[0])
    assert command("status", "--json")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("status", "7"), 3, "there is no campaign 7"),
        (("status", "100000000000000000000"), 3, "there is no campaign 100000000000000000000"),
        (("hiscores", "show", "100000000000000000000"), 3, "there is no hiscore 100000000000000000000"),
        (("status", "other"), 3, "there is no campaign 'other'"),
        (("hiscores", "show", "999"), 3, "there is no hiscore 999"),
        (("resume", "small"), 2, "campaign 1 is finished"),
        (("resume", "small", "--num-steps", "5"), 2, "campaign.num_steps was 12 and can only grow"),
        (("run", "nothing.yaml"), 2, "there is no configuration file nothing.yaml; packaged ones are demo, production, quickstart"),
    ],
)
def test_mistakes_are_one_sentence(
    finished: tuple[str, dict[str, Any]], command: Command, arguments: tuple[str, ...], code: int, sentence: str
) -> None:
    found, output, errors = command(*arguments, "--database", finished[0])
    assert found == code
    assert output == ""
    assert errors.startswith("protomodels: ")
    assert sentence in errors
    assert errors.count("\n") == 1


def test_unknown_keys_and_values_are_named(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    for text, sentence in (
        ("campaign: {num_walkrs: 3}", "bad.yaml: campaign.num_walkrs is not a known key; did you mean num_walkers?"),
        ("campaign: {num_steps: many}", "bad.yaml: campaign.num_steps must be a positive integer, got 'many'"),
        ("results: {select_analyses: [CMS-SUS-16-51]}", "results.select_analyses: CMS-SUS-16-51 is not among these results"),
        ("results: {store: /nowhere}", "/nowhere"),
    ):
        path.write_text(text)
        code, _, errors = command("run", str(path), "--database", str(tmp_path / "x.db"), "--num-workers", "0")
        assert (code, sentence in errors, errors.count("\n")) == (2, True, 1), errors


def test_help_documents_the_exit_codes(command: Command) -> None:
    code, output, _ = command("--help")
    assert code == 0
    assert "130 interrupted" in " ".join(output.split())
    for name in ("run", "resume", "status", "hiscores", "results", "predict", "score", "serve"):
        assert name in output


def test_extending_a_campaign_continues_it(command: Command, tmp_path: Path) -> None:
    (tmp_path / "long.yaml").write_text(CONFIG)
    (tmp_path / "short.yaml").write_text(CONFIG.replace("num_steps: 12", "num_steps: 5"))
    rows = []
    for name in ("long", "short"):
        code, output, _ = command("run", str(tmp_path / f"{name}.yaml"), "--database", str(tmp_path / f"{name}.db"), "--json")
        assert code == 0
        rows.append(json.loads(output))
    code, output, _ = command("resume", "small", "--num-steps", "12", "--database", str(tmp_path / "short.db"), "--json")
    assert code == 0
    resumed = json.loads(output)
    assert [(e["k"], e["model_hash"]) for e in resumed["hiscores"]] == [(e["k"], e["model_hash"]) for e in rows[0]["hiscores"]]


def test_names_are_shown_as_they_are(command: Command, tmp_path: Path) -> None:
    name = "a[/b] [red]c"
    (tmp_path / "named.yaml").write_text(CONFIG.replace("name: small", f'name: "{name}"').replace("num_steps: 12", "num_steps: 2"))
    database = ("--database", str(tmp_path / "named.db"))
    for arguments in (("run", str(tmp_path / "named.yaml")), ("status",), ("status", "1"), ("hiscores", "list")):
        code, output, errors = command(*arguments, *database)
        assert code == 0, errors
        assert name in output or arguments[0] == "hiscores"


def test_selection_restricts_the_results(command: Command, tmp_path: Path) -> None:
    text = CONFIG.replace("{store: embedded}", "{store: embedded, select_analyses: [CMS-SUS-16-050]}")
    (tmp_path / "one.yaml").write_text(text)
    code, output, _ = command("run", str(tmp_path / "one.yaml"), "--database", str(tmp_path / "one.db"), "--json")
    assert code == 0
    hiscores = json.loads(output)["hiscores"]
    assert {member["analysis"] for entry in hiscores for member in entry["combination"]} == {"CMS-SUS-16-050"}
    (tmp_path / "best.json").write_text(json.dumps(hiscores[0]["protomodel"]))
    code, output, _ = command("score", str(tmp_path / "best.json"), "--config", str(tmp_path / "one.yaml"), "--json")
    assert code == 0
    assert json.loads(output)["k"] == hiscores[0]["k"]
    code, output, _ = command("score", str(tmp_path / "best.json"), "--results", "embedded", "--json")
    assert json.loads(output)["k"] != hiscores[0]["k"]
    code, _, errors = command("score", str(tmp_path / "best.json"), "--config", "demo", "--conventions", "smodels")
    assert (code, "exclude each other" in errors) == (2, True)


def test_live_display_of_a_moment(tmp_path: Path) -> None:
    from rich.console import Console

    from configs.schema import load_config
    from services.campaign.driver import Snapshot
    from services.campaign.sessions import run_campaign

    (tmp_path / "small.yaml").write_text(CONFIG)
    repository = open_repository(str(tmp_path / "campaigns.db"))
    snapshots: list[Snapshot] = []
    run_campaign(load_config(tmp_path / "small.yaml"), repository, snapshots.append)
    repository.close()
    texts = []
    for snapshot in snapshots:
        console = Console(file=io.StringIO(), width=120, force_terminal=True, color_system=None)
        console.print(render(snapshot))
        texts.append(console.file.getvalue())  # type: ignore[attr-defined]
    assert "starting the workers" in texts[0]
    assert "36/36 steps" in texts[-1]
    assert "proposals: " in texts[-1]
    assert texts[-1].count("done") == 3


@pytest.mark.ray
@pytest.mark.slow
def test_real_campaign_interrupted_on_ray_and_resumed_with_other_workers(tmp_path: Path) -> None:
    """Embedded results: uninterrupted in this process, against Ray with two workers, Ctrl-C, then one worker."""
    text = CONFIG.replace("num_steps: 12", "num_steps: 40")
    (tmp_path / "small.yaml").write_text(text)
    plain = protomodels("run", str(tmp_path / "small.yaml"), "--database", str(tmp_path / "plain.db"), "--json")
    reference = json.loads(plain.stdout)["hiscores"]
    database = tmp_path / "ray.db"
    arguments = ["run", str(tmp_path / "small.yaml"), "--database", str(database), "--num-workers", "2", "--json"]
    process = subprocess.Popen(
        [sys.executable, "-m", "services.cli.app", *arguments],
        cwd=ROOT,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None and _steps_done(database) < 8:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert json.loads(output)["status"] == "interrupted"
    assert "resume 1" in errors
    resumed = protomodels("resume", "small", "--num-workers", "1", "--database", str(database), "--json")
    assert resumed.returncode == 0, resumed.stderr
    row = json.loads(resumed.stdout)
    assert row["session_steps"] < row["steps_total"]
    ignored = ("created_at", "hiscore_id")
    assert [{k: v for k, v in e.items() if k not in ignored} for e in row["hiscores"]] == [
        {k: v for k, v in e.items() if k not in ignored} for e in reference
    ]


@pytest.mark.ray
@pytest.mark.slow
def test_modules_of_the_working_directory_do_not_shadow_ours(tmp_path: Path) -> None:
    for name in ("services", "builder", "inference", "critics", "database", "configs"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('not ours')\n")
    (tmp_path / "small.yaml").write_text(CONFIG)
    command = [sys.executable, "-P", "-c", "from services.cli.app import main; main()"]
    done = subprocess.run(
        [*command, "run", "small.yaml", "--database", "campaigns.db", "--num-workers", "2", "--json"],
        cwd=tmp_path,
        env={**os.environ, "PROTOMODELS_CACHE": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    row = json.loads(done.stdout)
    assert (row["status"], row["steps_done"]) == ("finished", 36)
    assert (tmp_path / "campaigns.db").is_file()


def _steps_done(database: Path) -> int:
    if not database.exists():
        return 0
    try:
        repository = open_repository(str(database), is_read_only=True)
    except CampaignError:  # its tables are being made
        return 0
    try:
        campaigns = repository.list_campaigns()
        is_running = bool(campaigns) and campaigns[0].status is CampaignStatus.RUNNING
        return sum(walker.step for walker in repository.list_walkers(1)) if is_running else 0
    finally:
        repository.close()


def test_stored_models_score_the_same_again(finished: tuple[str, dict[str, Any]]) -> None:
    from builder.evaluate import EvaluationSettings, Evaluator
    from database.results.importer import open_embedded_store

    repository = open_repository(finished[0], is_read_only=True)
    entries = repository.list_hiscores(1)
    repository.close()
    evaluator = Evaluator(open_embedded_store(), EvaluationSettings())
    for entry in entries:
        evaluation = evaluator.evaluate(restore_protomodel(entry))
        assert (evaluation.k, evaluation.tl, evaluation.mu_hat) == (entry.k, entry.tl, entry.mu_hat)
