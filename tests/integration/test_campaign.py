"""Campaigns end to end: same seed, same hiscores, however many workers walk and however often they are stopped."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest

from configs.loading import parse_settings
from configs.schema import RunConfig
from database.campaigns.memory import MemoryRepository
from database.campaigns.records import CampaignRecord
from database.campaigns.repository import CampaignRepository
from database.campaigns.sql import open_repository
from database.campaigns.status import CampaignStatus, WalkerStatus
from database.errors import CampaignError, StoreError
from services.campaign import sessions
from services.campaign.driver import Snapshot
from services.campaign.plan import ResultsInUse
from services.campaign.sessions import check_unclaimed, resume_campaign, run_campaign
from tests.integration import analytic

ROOT = Path(__file__).parents[2]
TOY = "tests.integration.analytic:build_chain"
RESULTS = ResultsInUse(Path("none"), "a" * 64, "b" * 64, "analytic score", True)


@pytest.fixture(autouse=True)
def no_results(monkeypatch: pytest.MonkeyPatch) -> None:
    """The analytic score needs no store."""
    monkeypatch.setattr(sessions, "inspect_results", lambda settings: RESULTS)


def config(**campaign: Any) -> RunConfig:
    """A small campaign in this process."""
    settings = {"seed": 5, "num_walkers": 4, "num_steps": 30, "num_workers": 0, "checkpoint_every_steps": 6, "keep_hiscores": 8} | campaign
    return parse_settings(RunConfig, {"campaign": settings})


def outcome(repository: CampaignRepository, campaign_id: int) -> dict[str, Any]:
    """Everything about a campaign that must not depend on how it was run."""
    steps = repository.list_progress(campaign_id, limit=100_000)
    return {
        "hiscores": [
            (e.model_hash, e.k, e.tl, e.walker_number, e.step, e.protomodel) for e in repository.list_hiscores(campaign_id, limit=100)
        ],
        "walkers": [(w.walker_number, w.step, w.k, w.best_k, w.checkpoint) for w in repository.list_walkers(campaign_id)],
        "progress": sorted(
            (p.walker_number, p.step, repr(p.k), repr(p.tl), repr(p.best_k), p.num_particles, p.is_accepted, p.outcome, p.moves)
            for p in steps
        ),
        "verdicts": repository.count_verdicts(campaign_id),
        "failures": repository.count_failures(campaign_id),
    }


@pytest.fixture(scope="module")
def reference() -> dict[str, Any]:
    """The campaign without interruption, in memory."""
    repository = MemoryRepository()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sessions, "inspect_results", lambda settings: RESULTS)
        record = run_campaign(config(), repository, factory=TOY)
    assert record.status is CampaignStatus.FINISHED
    return outcome(repository, record.campaign_id)


class StopAfter:
    """An observer that asks for a stop once some steps were taken, as Ctrl-C does."""

    def __init__(self, num_steps: int) -> None:
        self.num_steps = num_steps

    def __call__(self, snapshot: Snapshot) -> None:
        if snapshot.session_steps >= self.num_steps:
            os.kill(os.getpid(), signal.SIGINT)
            self.num_steps = 10**9


def test_reference_is_a_real_campaign(reference: dict[str, Any]) -> None:
    assert 2 <= len(reference["hiscores"]) <= 8  # one per particle content
    assert [w[1] for w in reference["walkers"]] == [30] * 4
    assert len(reference["progress"]) == 4 * 31
    assert sum(reference["verdicts"].values()) == 4 * 30
    assert len({row[2] for row in reference["progress"]}) > 20
    best_k = reference["hiscores"][0][1]
    assert best_k == max(w[3] for w in reference["walkers"])


def test_walkers_differ_and_seeds_differ(reference: dict[str, Any]) -> None:
    paths = {tuple(row[2:4] for row in reference["progress"] if row[0] == walker) for walker in range(4)}
    assert len(paths) == 4
    repository = MemoryRepository()
    record = run_campaign(config(seed=6), repository, factory=TOY)
    assert outcome(repository, record.campaign_id)["progress"] != reference["progress"]


@pytest.mark.parametrize("batch", [1, 7, 100])
def test_batch_size_does_not_matter(reference: dict[str, Any], batch: int) -> None:
    repository = MemoryRepository()
    record = run_campaign(config(checkpoint_every_steps=batch), repository, factory=TOY)
    assert outcome(repository, record.campaign_id) == reference


def test_interrupted_and_resumed_is_the_same_campaign(reference: dict[str, Any], tmp_path: Path) -> None:
    repository = open_repository(str(tmp_path / "campaigns.db"))
    record = run_campaign(config(), repository, StopAfter(20), factory=TOY)
    assert record.status is CampaignStatus.INTERRUPTED
    stored = repository.list_walkers(record.campaign_id)
    assert 20 <= sum(w.step for w in stored) < 120
    assert {w.status for w in stored} == {WalkerStatus.WAITING}
    for stop in (40, 20):
        record = resume_campaign(record.campaign_id, repository, observer=StopAfter(stop), factory=TOY)
        assert record.status is CampaignStatus.INTERRUPTED
    record = resume_campaign(record.campaign_id, repository, factory=TOY)
    assert record.status is CampaignStatus.FINISHED
    assert outcome(repository, record.campaign_id) == reference
    repository.close()


def test_batch_in_progress_ends_after_the_present_step(tmp_path: Path) -> None:
    repository = open_repository(str(tmp_path / "campaigns.db"))
    original = analytic.TestChain.advance

    def advance(self: analytic.TestChain) -> Any:
        if self.step == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return original(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(analytic.TestChain, "advance", advance)
        record = run_campaign(config(checkpoint_every_steps=1000), repository, factory=TOY)
    assert record.status is CampaignStatus.INTERRUPTED
    assert max(w.step for w in repository.list_walkers(record.campaign_id)) == 4
    repository.close()


def test_more_steps_continue_a_finished_campaign(reference: dict[str, Any]) -> None:
    repository = MemoryRepository()
    record = run_campaign(config(num_steps=12), repository, factory=TOY)
    with pytest.raises(CampaignError, match="finished"):
        resume_campaign(record.campaign_id, repository, factory=TOY)
    record = resume_campaign(record.campaign_id, repository, {"campaign.num_steps": 30}, factory=TOY)
    assert outcome(repository, record.campaign_id) == reference


@pytest.fixture
def interrupted() -> Iterator[tuple[CampaignRepository, CampaignRecord]]:
    repository = MemoryRepository()
    yield repository, run_campaign(config(), repository, StopAfter(10), factory=TOY)


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        ({"campaign.seed": 6}, "campaign.seed was 5 and is 6; only these may change: .*num_workers.*upwards campaign.num_steps"),
        ({"walk.mass.max_step_gev": 100.0}, "walk.mass.max_step_gev was 200.0 and is 100.0"),
        ({"campaign.num_steps": 20}, "campaign.num_steps was 30 and can only grow"),
    ],
)
def test_resume_names_keys_that_may_not_change(
    interrupted: tuple[CampaignRepository, CampaignRecord], overrides: dict[str, Any], sentence: str
) -> None:
    repository, record = interrupted
    with pytest.raises(CampaignError, match=sentence):
        resume_campaign(record.campaign_id, repository, overrides, factory=TOY)
    assert repository.get_campaign(record.campaign_id).status is CampaignStatus.INTERRUPTED


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        (RESULTS._replace(results_hash="c" * 64), "results with hash aaaaaaaaaaaa .*, these have cccccccccccc"),
        (RESULTS._replace(combinability_hash="c" * 64), "facts on which analyses may be combined have changed"),
    ],
)
def test_resume_refuses_other_results(
    interrupted: tuple[CampaignRepository, CampaignRecord], monkeypatch: pytest.MonkeyPatch, changed: ResultsInUse, sentence: str
) -> None:
    repository, record = interrupted
    monkeypatch.setattr(sessions, "inspect_results", lambda settings: changed)
    with pytest.raises(CampaignError, match=sentence):
        resume_campaign(record.campaign_id, repository, factory=TOY)


def test_running_campaign_is_left_alone_unless_its_driver_is_dead(interrupted: tuple[CampaignRepository, CampaignRecord]) -> None:
    repository, record = interrupted
    repository.claim_campaign(record.campaign_id, f"elsewhere.example:{os.getpid()}")
    with pytest.raises(CampaignError, match="is being run by process"):
        resume_campaign(record.campaign_id, repository, factory=TOY)
    repository.set_campaign_status(record.campaign_id, CampaignStatus.INTERRUPTED)
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    repository.claim_campaign(record.campaign_id, f"{os.uname().nodename}:{child.pid}")
    assert resume_campaign(record.campaign_id, repository, factory=TOY).status is CampaignStatus.FINISHED
    assert [i.kind for i in repository.list_incidents(record.campaign_id)] == ["driver_died"]


def test_process_that_got_the_number_of_a_dead_driver_later_does_not_count(
    interrupted: tuple[CampaignRepository, CampaignRecord],
) -> None:
    _, record = interrupted
    driver = f"{os.uname().nodename}:{os.getpid()}"
    silent = datetime.now(UTC) - timedelta(minutes=1)
    started = datetime.fromtimestamp(psutil.Process().create_time(), UTC)
    claimed = replace(record, status=CampaignStatus.RUNNING, driver=driver)
    assert check_unclaimed(replace(claimed, updated_at=min(silent, started - timedelta(minutes=1)))) == driver
    with pytest.raises(CampaignError, match="is being run by process"):
        check_unclaimed(replace(claimed, updated_at=datetime.now(UTC)))


def test_other_versions_are_recorded(interrupted: tuple[CampaignRepository, CampaignRecord], monkeypatch: pytest.MonkeyPatch) -> None:
    repository, record = interrupted
    from services.campaign import plan

    now = plan.collect_versions()
    monkeypatch.setattr(plan, "collect_versions", lambda: now | {"scipy": "99"})
    resume_campaign(record.campaign_id, repository, factory=TOY)
    (incident,) = repository.list_incidents(record.campaign_id)
    assert (incident.kind, incident.detail) == ("versions_changed", f"scipy {now['scipy']} → 99")


def test_everything_to_reproduce_is_stored_before_the_first_step() -> None:
    repository = MemoryRepository()
    with pytest.raises(StoreError, match="no results store"):
        run_campaign(config(), repository, factory="tests.integration.analytic:build_nothing")
    (record,) = repository.list_campaigns()
    assert (record.status, record.error) == (CampaignStatus.FAILED, "there is no results store here")
    assert (record.seed, record.results_hash, record.combinability_hash) == (5, RESULTS.results_hash, RESULTS.combinability_hash)
    assert {"protomodels", "python", "numpy", "scipy", "numba"} <= set(record.versions)
    assert parse_settings(RunConfig, record.config) == config()


def test_broken_walker_is_given_up_and_the_others_go_on() -> None:
    repository = MemoryRepository()
    record = run_campaign(config(), repository, factory="tests.integration.analytic:build_broken_chain")
    assert record.status is CampaignStatus.FAILED
    assert record.error == "walker 2 ZeroDivisionError: broken on purpose"
    assert [w.step for w in repository.list_walkers(record.campaign_id)] == [30, 30, 0, 30]
    assert [i.kind for i in repository.list_incidents(record.campaign_id)] == ["walker_failed"]
    record = resume_campaign(record.campaign_id, repository, factory=TOY)
    assert record.status is CampaignStatus.FINISHED
    assert record.error is None


def test_storage_that_fails_is_reported_and_nothing_half_written_stays(reference: dict[str, Any], tmp_path: Path) -> None:
    repository = open_repository(str(tmp_path / "campaigns.db"))
    real: Callable[..., None] = repository.record_batch
    calls = 0

    def record_batch(*args: Any, **kwargs: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 5:
            raise CampaignError("the campaign database cannot be used: disk full")
        real(*args, **kwargs)

    repository.record_batch = record_batch  # type: ignore[method-assign]
    with pytest.raises(CampaignError, match="disk full"):
        run_campaign(config(), repository, factory=TOY)
    (record,) = repository.list_campaigns()
    assert record.status is CampaignStatus.FAILED
    assert "disk full" in str(record.error)
    record = resume_campaign(record.campaign_id, repository, factory=TOY)
    assert outcome(repository, record.campaign_id) == reference
    repository.close()


def test_second_stop_signal_ends_at_once() -> None:
    repository = MemoryRepository()

    def stop_twice(snapshot: Snapshot) -> None:
        if snapshot.session_steps:
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(KeyboardInterrupt):
        run_campaign(config(), repository, stop_twice, factory=TOY)
    (record,) = repository.list_campaigns()
    assert record.status is CampaignStatus.INTERRUPTED
    assert WalkerStatus.RUNNING not in {w.status for w in repository.list_walkers(record.campaign_id)}


def test_signal_handlers_are_restored() -> None:
    before = signal.getsignal(signal.SIGINT)
    run_campaign(config(num_steps=1), MemoryRepository(), factory=TOY)
    assert signal.getsignal(signal.SIGINT) is before


def test_walkers_keep_close_together() -> None:
    spreads = []

    def watch(snapshot: Snapshot) -> None:
        steps = [walker.step for walker in snapshot.walkers]
        spreads.append(max(steps) - min(steps))

    run_campaign(config(checkpoint_every_steps=5), MemoryRepository(), watch, factory=TOY)
    assert max(spreads) <= 5


# ---------------------------------------------------------------------------------------------------------------- Ray


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize("num_workers", [1, 2, 4])
def test_number_of_workers_does_not_matter(reference: dict[str, Any], tmp_path: Path, num_workers: int) -> None:
    repository = open_repository(str(tmp_path / "campaigns.db"))
    record = run_campaign(config(num_workers=num_workers), repository, factory=TOY)
    assert record.status is CampaignStatus.FINISHED
    assert outcome(repository, record.campaign_id) == reference
    repository.close()


@pytest.mark.ray
@pytest.mark.slow
def test_dead_worker_is_replaced_and_counted(reference: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flag = tmp_path / "die"
    flag.touch()
    monkeypatch.setenv(analytic.DIE_ONCE, str(flag))
    repository = open_repository(str(tmp_path / "campaigns.db"))
    snapshots: list[Snapshot] = []
    record = run_campaign(config(num_workers=2), repository, snapshots.append, factory=TOY)
    assert not flag.exists()
    assert record.status is CampaignStatus.FINISHED
    (incident,) = repository.list_incidents(record.campaign_id)
    assert (incident.kind, incident.walker_numbers) == ("worker_died", (1,))
    assert snapshots[-1].num_deaths == 1
    assert outcome(repository, record.campaign_id) == reference
    repository.close()


@pytest.mark.ray
@pytest.mark.slow
def test_worker_that_keeps_dying_is_given_up(tmp_path: Path) -> None:
    repository = open_repository(str(tmp_path / "campaigns.db"))
    settings = config(num_workers=1, num_walkers=1, max_worker_deaths=1)
    record = run_campaign(settings, repository, factory="tests.integration.analytic:build_mortal_chain")
    assert record.status is CampaignStatus.FAILED
    assert "died 2 times" in str(record.error)
    assert [i.kind for i in repository.list_incidents(record.campaign_id)] == ["worker_died", "worker_died", "walker_failed"]
    repository.close()


@pytest.mark.ray
@pytest.mark.slow
def test_silent_worker_is_replaced(reference: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flag = tmp_path / "hang"
    flag.touch()
    monkeypatch.setenv(analytic.HANG_ONCE, str(flag))
    repository = open_repository(str(tmp_path / "campaigns.db"))
    record = run_campaign(config(num_workers=2, batch_timeout_s=20.0), repository, factory=TOY)
    assert record.status is CampaignStatus.FINISHED
    assert "no answer for 20 s" in repository.list_incidents(record.campaign_id)[0].detail
    assert outcome(repository, record.campaign_id) == reference
    repository.close()


SCRIPT = """
import sys
from configs.loading import parse_settings
from configs.schema import RunConfig
from database.campaigns.sql import open_repository
from services.campaign import sessions
from services.campaign.plan import ResultsInUse
from pathlib import Path
sessions.inspect_results = lambda settings: ResultsInUse(Path("none"), "a" * 64, "b" * 64, "analytic score", True)
settings = {"seed": 5, "num_walkers": 4, "num_steps": 30, "num_workers": 2, "checkpoint_every_steps": 6, "keep_hiscores": 8}
config = parse_settings(RunConfig, {"campaign": settings})
record = sessions.run_campaign(config, open_repository(sys.argv[1]), factory="tests.integration.analytic:build_chain")
print(record.status)
"""


def started_process(database: Path) -> subprocess.Popen[str]:
    """The campaign in a process of its own, slow enough to be hit; its group is its own, as in a terminal."""
    environment = os.environ | {analytic.STEP_DURATION: "0.1", "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(database)], env=environment, cwd=ROOT, start_new_session=True, stdout=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.2)
        if database.exists():
            with sqlite3.connect(database) as connection:
                tables = connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'walkers'").fetchone()[0]
                if tables and (connection.execute("SELECT sum(step) FROM walkers").fetchone()[0] or 0) >= 24:
                    return process
            connection.close()
    process.kill()
    raise AssertionError("the campaign did not get going")


@pytest.mark.ray
@pytest.mark.slow
def test_ctrl_c_in_a_terminal_ends_cleanly_and_resumes(reference: dict[str, Any], tmp_path: Path) -> None:
    database = tmp_path / "campaigns.db"
    process = started_process(database)
    os.killpg(process.pid, signal.SIGINT)  # a terminal sends it to the whole group, Ray's processes included
    output, _ = process.communicate(timeout=60)
    assert output.strip() == "interrupted"
    repository = open_repository(str(database))
    (record,) = repository.list_campaigns()
    assert record.status is CampaignStatus.INTERRUPTED
    assert repository.list_incidents(record.campaign_id) == ()
    record = resume_campaign(record.campaign_id, repository, {"campaign.num_workers": 0}, factory=TOY)
    assert outcome(repository, record.campaign_id) == reference
    repository.close()


@pytest.mark.ray
@pytest.mark.slow
def test_killed_driver_loses_only_the_batches_under_way(reference: dict[str, Any], tmp_path: Path) -> None:
    database = tmp_path / "campaigns.db"
    process = started_process(database)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    repository = open_repository(str(database))
    (record,) = repository.list_campaigns()
    assert record.status is CampaignStatus.RUNNING
    record = resume_campaign(record.campaign_id, repository, {"campaign.num_workers": 0}, factory=TOY)
    assert record.status is CampaignStatus.FINISHED
    assert outcome(repository, record.campaign_id) == reference
    repository.close()


@pytest.mark.ray
def test_cluster_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    repository = MemoryRepository()
    with pytest.raises(CampaignError, match=r"the Ray cluster at 127.0.0.1:1 cannot be joined: .*refused"):
        run_campaign(config(num_workers=None), repository, factory=TOY)
    assert repository.list_campaigns()[0].status is CampaignStatus.FAILED
