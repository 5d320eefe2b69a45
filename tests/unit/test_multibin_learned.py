"""Surrogates in `protomodels limits`, and fits that take too long: what stands for an analysis is never silently something else."""

from __future__ import annotations

import json
import signal
import threading
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from database.results.importer import open_embedded_store
from database.searches.records import RegionMap
from database.searches.workspaces import read_workspace_file
from inference.multibin.book import AnalysisBook
from inference.multibin.deadline import FitClock, FitTimeoutError, time_limit
from inference.multibin.limit_values import LimitOutcome
from inference.multibin.results import AnalysisRecord
from inference.multibin.run import SignalInput, run_signal
from inference.multibin.settings import ModelChoice, MultibinSettings
from inference.multibin.user_models import UserWorkspace
from services.cli.app import app
from tests.multibin_samples import make_yields
from tests.workspaces import make_workspace

SPEC = make_workspace({"SR_a": ([50.0, 20.0], [52.0, 18.0]), "SR_b": ([5.0], [4.0])})
PLACES = {"A": "SR_a[0]", "B": "SR_a[1]", "C": "SR_b"}
QUICK = ["--num-signals", "150", "--num-steps", "1500", "--hidden", "16,16", "--radius", "5"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace, another one, and a surrogate of the first."""
    path = tmp_path_factory.mktemp("learned")
    (path / "BkgOnly.json").write_text(json.dumps(SPEC))
    (path / "other.json").write_text(json.dumps({**SPEC, "comment": "other"}))
    arguments = ["surrogate", "train", str(path / "BkgOnly.json"), "--output", str(path / "s.onnx"), *QUICK]
    answer = CliRunner().invoke(app, arguments)
    assert answer.exit_code == 0, answer.output
    return path


def run(folder: Path, file: str, scale: float, model: ModelChoice, *surrogates: str) -> AnalysisRecord:
    region_map = RegionMap.model_validate({"analysis": "MINE-1", "experiment": "ATLAS", "sqrts_tev": 13, "regions": PLACES})
    workspace = UserWorkspace(read_workspace_file(str(folder / file)), region_map, "not known")
    book = AnalysisBook(open_embedded_store(), [workspace], surrogates={"MINE-1": [folder / name for name in surrogates]})
    events = {"A": 6.0 * scale, "B": 4.0 * scale, "C": 2.0 * scale}
    (record,) = run_signal(SignalInput("test", {"MINE-1": make_yields(events)}), book, MultibinSettings(model=model)).record.analyses
    return record


def test_a_surrogate_of_a_users_workspace(folder: Path) -> None:
    exact = run(folder, "BkgOnly.json", 1.0, ModelChoice.FULL)
    learned = run(folder, "BkgOnly.json", 1.0, ModelChoice.SURROGATE, "s.onnx")
    assert learned.model is not None and learned.model.kind == "network"
    assert learned.limits.mu_ul_obs == pytest.approx(exact.limits.mu_ul_obs, rel=0.1)
    assert any("error of -ln L of the learned model: median" in note for note in learned.notes)


def test_signals_outside_of_its_domain_are_refused(folder: Path) -> None:
    record = run(folder, "BkgOnly.json", 30.0, ModelChoice.SURROGATE, "s.onnx")
    assert record.limits.outcome is LimitOutcome.OUTSIDE_DOMAIN and record.limits.mu_ul_obs is None
    assert "outside of what the learned model was trained for" in record.limits.reason


def test_a_surrogate_of_another_workspace_is_refused(folder: Path) -> None:
    record = run(folder, "other.json", 1.0, ModelChoice.SURROGATE, "s.onnx")
    assert record.limits.outcome is LimitOutcome.NO_MODEL and "s.onnx was made from another workspace" in record.limits.reason
    assert run(folder, "other.json", 1.0, ModelChoice.SURROGATE).limits.outcome is LimitOutcome.NO_MODEL


# ----------------------------------------------------------------------------------------------------------- deadlines


def test_a_fit_is_interrupted_and_the_old_alarm_comes_back() -> None:
    before = signal.getsignal(signal.SIGALRM)
    start = time.monotonic()
    with pytest.raises(FitTimeoutError), time_limit(0.05):
        while time.monotonic() - start < 60.0:
            pass
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    with time_limit(30.0):
        pass
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_an_interruption_that_is_swallowed_comes_again() -> None:
    start, num_swallowed = time.monotonic(), 0
    with pytest.raises(FitTimeoutError), time_limit(0.05):
        while time.monotonic() - start < 60.0:
            try:
                while time.monotonic() - start < 60.0:
                    pass
            except FitTimeoutError:
                num_swallowed += 1
                if num_swallowed == 2:
                    raise
    assert num_swallowed == 2


def test_other_threads_notice_afterwards() -> None:
    found: list[object] = []

    def work() -> None:
        clock = FitClock(0.01)
        found.extend((clock.run(lambda: time.sleep(0.05), "late"), clock.run(lambda: 1, "over"), clock.num_timeouts))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == ["late", "over", 1]
