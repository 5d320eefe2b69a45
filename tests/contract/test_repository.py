"""One suite for every storage of campaigns: what `CampaignRepository` promises."""

from __future__ import annotations

import inspect
import itertools
import math
import os
import pickle
import random
from collections.abc import Iterator
from dataclasses import FrozenInstanceError, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from database.campaigns.memory import MemoryRepository
from database.campaigns.orm import Base
from database.campaigns.records import NewCampaign, NewHiscore, NewIncident, NewProgress, WalkerUpdate
from database.campaigns.repository import CampaignNotFoundError, CampaignRepository, HiscoreNotFoundError
from database.campaigns.sql import SqlRepository, open_repository
from database.campaigns.status import CampaignStatus, IllegalTransitionError, WalkerStatus
from database.errors import CampaignError

CAMPAIGN = NewCampaign(
    name="toy",
    seed=2**62 + 1,
    config={"campaign": {"num_steps": 4}, "walk": {"beta": 0.1 + 0.2}},
    num_walkers=3,
    num_steps=4,
    keep_hiscores=3,
    versions={"numpy": "2.0"},
    results_hash="a" * 64,
    combinability_hash="b" * 64,
    results_label="toy results",
    is_approximate=True,
)


def postgres_url() -> str:
    """The server that tests may use, each test in a schema of its own."""
    url = os.environ.get("PROTOMODELS_TEST_POSTGRES")
    if url is None:
        pytest.skip("PROTOMODELS_TEST_POSTGRES names no server")
    return url


@pytest.fixture(params=["memory", "sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def repository(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[CampaignRepository]:
    if request.param == "memory":
        yield MemoryRepository()
        return
    opened = open_repository(str(tmp_path / "campaigns.db") if request.param == "sqlite" else postgres_url())
    if request.param == "postgres":
        with opened._engine.begin() as connection:
            tables = ", ".join(table.name for table in Base.metadata.sorted_tables)
            connection.execute(text(f"TRUNCATE {tables} RESTART IDENTITY CASCADE"))
    yield opened
    opened.close()


def update(number: int = 0, step: int = 1, **changes: object) -> WalkerUpdate:
    value = WalkerUpdate(number, WalkerStatus.RUNNING, step, k=1.5, tl=4.0, best_k=2.0, steps_per_s=10.0, checkpoint={"step": step})
    return replace(value, **changes)  # type: ignore[arg-type]


def progress(number: int = 0, step: int = 1, **changes: object) -> NewProgress:
    value = NewProgress(number, step, k=1.5, tl=4.0, best_k=2.0, num_particles=2, is_accepted=True, outcome="ok", moves=("birth", "mass"))
    return replace(value, **changes)  # type: ignore[arg-type]


def hiscore(model_hash: str, k: float, number: int = 0, step: int = 1, **changes: object) -> NewHiscore:
    value = NewHiscore(
        walker_number=number,
        step=step,
        k=k,
        tl=k + 3.0,
        mu_hat=1.0,
        mu_max=math.inf,
        log_prior=-1.5,
        prior_terms={"num_particles": 2, "num_ssms": 1.1},
        verdict={"is_excluded": False, "r_exp": math.nan, "mu_max": math.inf, "reason": "none"},
        combination=({"analysis_id": "CMS-SUS-19-006", "expected_error": math.nan},),
        protomodel={"masses_gev": {"1000022": 163.0, model_hash: 500.0}},
        model_hash=model_hash,
        outcome="ok",
        failures={"ATLAS-SUSY-2018-41": 2},
    )
    return replace(value, **changes)  # type: ignore[arg-type]


def started(repository: CampaignRepository, campaign: NewCampaign = CAMPAIGN) -> int:
    campaign_id = repository.create_campaign(campaign).campaign_id
    repository.claim_campaign(campaign_id, "host:1")
    return campaign_id


@pytest.mark.parametrize("implementation", [MemoryRepository, SqlRepository])
def test_signatures_are_those_of_the_contract(implementation: type) -> None:
    for name, promised in inspect.getmembers(CampaignRepository, inspect.isfunction):
        if not name.startswith("_"):
            assert inspect.signature(getattr(implementation, name)) == inspect.signature(promised), name


def test_created_campaign_is_stored_as_given(repository: CampaignRepository) -> None:
    made = repository.create_campaign(CAMPAIGN)
    assert repository.get_campaign(made.campaign_id) == made
    assert (made.status, made.driver, made.error) == (CampaignStatus.CREATED, None, None)
    for name in NewCampaign.__dataclass_fields__:
        assert getattr(made, name) == getattr(CAMPAIGN, name), name
    assert abs(datetime.now(UTC) - made.created_at) < timedelta(minutes=5)
    walkers = repository.list_walkers(made.campaign_id)
    assert [w.walker_number for w in walkers] == [0, 1, 2]
    assert {(w.status, w.step, w.k, w.checkpoint, w.heartbeat_at) for w in walkers} == {(WalkerStatus.WAITING, 0, -math.inf, None, None)}
    assert all(math.isnan(w.tl) for w in walkers)


def test_campaigns_are_listed_by_number(repository: CampaignRepository) -> None:
    ids = [repository.create_campaign(CAMPAIGN).campaign_id for _ in range(3)]
    assert [c.campaign_id for c in repository.list_campaigns()] == ids == sorted(ids)


def test_records_are_frozen(repository: CampaignRepository) -> None:
    with pytest.raises(FrozenInstanceError):
        repository.create_campaign(CAMPAIGN).name = "other"  # type: ignore[misc]


def test_unknown_numbers_are_named(repository: CampaignRepository) -> None:
    for call in (
        lambda: repository.get_campaign(7),
        lambda: repository.list_walkers(7),
        lambda: repository.list_progress(7),
        lambda: repository.list_hiscores(7),
        lambda: repository.count_verdicts(7),
        lambda: repository.claim_campaign(7, "host:1"),
        lambda: repository.touch_campaign(7),
        lambda: repository.list_incidents(7),
    ):
        with pytest.raises(CampaignNotFoundError, match="no campaign 7"):
            call()
    with pytest.raises(HiscoreNotFoundError, match="no hiscore 9"):
        repository.get_hiscore(9)


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, 0.1 + 0.2, -0.0, 5e-324, 1.7976931348623157e308])
def test_floats_survive(repository: CampaignRepository, value: float) -> None:
    campaign_id = started(repository)
    checkpoint = {"x": value, "nested": [{"y": value}], "name": "κ"}
    repository.record_batch(
        campaign_id,
        walkers=[update(k=value, tl=value, best_k=value, steps_per_s=value, checkpoint=checkpoint)],
        progress=[progress(k=value, tl=value, best_k=value)],
        hiscores=[hiscore("h", 2.0, tl=value, mu_max=value, mu_hat=value, log_prior=value, protomodel={"m": value})],
    )
    walker = repository.list_walkers(campaign_id)[0]
    (step,) = repository.list_progress(campaign_id)
    (entry,) = repository.list_hiscores(campaign_id)
    assert walker.checkpoint is not None
    found = [walker.k, walker.tl, walker.best_k, walker.steps_per_s, walker.checkpoint["x"], walker.checkpoint["nested"][0]["y"]]
    found += [step.k, step.tl, step.best_k, entry.tl, entry.mu_max, entry.mu_hat, entry.log_prior, entry.protomodel["m"]]
    for number in found:
        assert math.isnan(number) if math.isnan(value) else number == value
    assert math.copysign(1, walker.checkpoint["x"]) == math.copysign(1, value)  # checkpoints keep every bit; SQLite's columns lose -0.0
    assert walker.checkpoint["name"] == "κ"


def test_batch_is_visible_as_a_whole(repository: CampaignRepository) -> None:
    campaign_id = started(repository)
    repository.record_batch(
        campaign_id,
        walkers=[update(0, 2), update(1, 1)],
        progress=[progress(0, 1), progress(0, 2, is_accepted=False, outcome="excluded"), progress(1, 1)],
        hiscores=[hiscore("h1", 2.0)],
        verdict_counts={"accepted": 2, "excluded": 1},
        failure_counts={"CMS-SUS-19-006": 1},
    )
    repository.record_batch(campaign_id, walkers=[update(1, 2)], progress=[progress(1, 2)], verdict_counts={"accepted": 1})
    walkers = repository.list_walkers(campaign_id)
    assert [(w.step, w.status) for w in walkers] == [(2, WalkerStatus.RUNNING), (2, WalkerStatus.RUNNING), (0, WalkerStatus.WAITING)]
    assert walkers[0].heartbeat_at is not None
    assert [(p.walker_number, p.step) for p in repository.list_progress(campaign_id)] == [(0, 1), (0, 2), (1, 1), (1, 2)]
    assert repository.list_progress(campaign_id)[1].moves == ("birth", "mass")
    assert repository.count_verdicts(campaign_id) == {"accepted": 3, "excluded": 1}
    assert repository.count_failures(campaign_id) == {"CMS-SUS-19-006": 1}


def test_update_without_checkpoint_keeps_the_stored_one(repository: CampaignRepository) -> None:
    campaign_id = started(repository)
    repository.record_batch(campaign_id, walkers=[update(0, 2)])
    repository.record_batch(
        campaign_id, walkers=[update(0, 2, status=WalkerStatus.WAITING, checkpoint=None), update(1, 0, checkpoint=None)]
    )
    first, second, _ = repository.list_walkers(campaign_id)
    assert (first.status, first.checkpoint) == (WalkerStatus.WAITING, {"step": 2})
    assert second.checkpoint is None


@pytest.mark.parametrize(
    "bad",
    [
        {"walkers": [update(0, 3), update(9, 1)]},
        {"walkers": [update(0, 3), update(1, 0)]},
        {"walkers": [update(0, 3)], "progress": [progress(0, 3), progress(0, 3)]},
        {"walkers": [update(0, 3)], "progress": [progress(1, 1)]},
    ],
    ids=["unknown walker", "walker goes back", "step twice in the batch", "step stored already"],
)
def test_refused_batch_leaves_nothing(repository: CampaignRepository, bad: dict[str, object]) -> None:
    campaign_id = started(repository)
    repository.record_batch(campaign_id, walkers=[update(0, 2), update(1, 1)], progress=[progress(1, 1)], verdict_counts={"accepted": 1})
    before = (
        repository.list_walkers(campaign_id)[1:],
        repository.list_walkers(campaign_id)[0].step,
        repository.list_progress(campaign_id),
        repository.count_verdicts(campaign_id),
    )
    with pytest.raises(CampaignError):
        repository.record_batch(campaign_id, **{"hiscores": [hiscore("h", 9.0)], "verdict_counts": {"accepted": 5}} | bad)  # type: ignore[arg-type]
    after = (
        repository.list_walkers(campaign_id)[1:],
        repository.list_walkers(campaign_id)[0].step,
        repository.list_progress(campaign_id),
        repository.count_verdicts(campaign_id),
    )
    assert str(after) == str(before)  # as text, because nan differs from itself
    assert repository.list_hiscores(campaign_id) == ()


def test_batches_need_a_running_campaign(repository: CampaignRepository) -> None:
    campaign_id = repository.create_campaign(CAMPAIGN).campaign_id
    with pytest.raises(CampaignError, match="created"):
        repository.record_batch(campaign_id, walkers=[update()])


def test_finished_walkers_stay_finished_until_steps_are_added(repository: CampaignRepository) -> None:
    campaign_id = started(repository)
    repository.record_batch(campaign_id, walkers=[update(0, 4, status=WalkerStatus.FINISHED)])
    with pytest.raises(IllegalTransitionError):
        repository.record_batch(campaign_id, walkers=[update(0, 5)])
    with pytest.raises(CampaignError, match="running"):
        repository.update_campaign_plan(campaign_id, config={}, num_steps=6, keep_hiscores=5)
    repository.set_campaign_status(campaign_id, CampaignStatus.FINISHED)
    changed = repository.update_campaign_plan(campaign_id, config={"a": 1}, num_steps=6, keep_hiscores=5)
    assert (changed.num_steps, changed.keep_hiscores, changed.config) == (6, 5, {"a": 1})
    assert repository.list_walkers(campaign_id)[0].status is WalkerStatus.WAITING


def test_progress_is_paged(repository: CampaignRepository) -> None:
    first, second = started(repository), started(repository)
    for step in range(1, 6):
        repository.record_batch(first, walkers=[update(0, step), update(1, step)], progress=[progress(0, step), progress(1, step)])
        repository.record_batch(second, walkers=[update(0, step)], progress=[progress(0, step)])
    seen: list[tuple[int, int]] = []
    after = 0
    while page := repository.list_progress(first, after=after, limit=3):
        assert len(page) <= 3
        assert {p.campaign_id for p in page} == {first}
        seen += [(p.walker_number, p.step) for p in page]
        after = page[-1].progress_id
    assert sorted(seen) == sorted(itertools.product((0, 1), range(1, 6)))
    assert [p.step for p in repository.list_progress(first, walker_number=1)] == [1, 2, 3, 4, 5]


def test_hiscore_list_holds_the_best_once_each(repository: CampaignRepository) -> None:
    campaign_id = started(repository)
    batch = [hiscore("a", 1.0), hiscore("b", 5.0), hiscore("b", 5.0, step=3), hiscore("c", 3.0), hiscore("d", 4.0)]
    batch += [hiscore("e", math.nan), hiscore("f", -math.inf)]
    repository.record_batch(campaign_id, walkers=[update()], hiscores=batch)
    listed = repository.list_hiscores(campaign_id)
    assert [entry.model_hash for entry in listed] == ["b", "d", "c"]
    assert listed[0].step == 1
    repository.record_batch(campaign_id, walkers=[update()], hiscores=[hiscore("d", 4.0, number=2, step=0), hiscore("g", 4.5)])
    relisted = repository.list_hiscores(campaign_id)
    assert [(entry.model_hash, entry.walker_number) for entry in relisted] == [("b", 0), ("g", 0), ("d", 2)]
    assert relisted[2].hiscore_id == listed[1].hiscore_id
    found = repository.get_hiscore(relisted[1].hiscore_id)
    assert repr(found) == repr(relisted[1])  # as text, because nan differs from itself
    with pytest.raises(HiscoreNotFoundError):
        repository.get_hiscore(listed[2].hiscore_id)


def test_hiscore_list_shows_each_particle_content_by_its_best_model(repository: CampaignRepository) -> None:
    campaign_id = started(repository)
    stop = {"masses_gev": {"1000022": 163.0, "1000006": 1166.0}}
    moved = {"masses_gev": {"1000006": 1170.0, "1000022": 160.0}}
    squark = {"masses_gev": {"1000022": 163.0, "1000001": 735.0}}
    batch = [hiscore("a", 3.0, protomodel=stop), hiscore("b", 3.5, protomodel=moved), hiscore("c", 1.0, protomodel=squark)]
    repository.record_batch(campaign_id, walkers=[update()], hiscores=batch)
    assert [entry.model_hash for entry in repository.list_hiscores(campaign_id)] == ["b", "c"]
    repository.record_batch(campaign_id, walkers=[update()], hiscores=[hiscore("a2", 4.0, protomodel=stop)])
    assert [entry.model_hash for entry in repository.list_hiscores(campaign_id)] == ["a2", "c"]


def test_numbers_of_dropped_hiscores_are_not_used_again(repository: CampaignRepository) -> None:
    campaign_id = started(repository, replace(CAMPAIGN, keep_hiscores=1))
    seen = []
    for step, k in enumerate((1.0, 2.0, 3.0)):
        repository.record_batch(campaign_id, walkers=[update(0, step)], hiscores=[hiscore(f"h{step}", k)])
        seen.append(repository.list_hiscores(campaign_id)[0].hiscore_id)
    assert len(set(seen)) == 3


def test_hiscore_list_does_not_depend_on_order(repository: CampaignRepository) -> None:
    rng = random.Random(1)
    candidates = [
        hiscore(f"m{number}", float(number % 7), number=walker, step=rng.randrange(9)) for number in range(12) for walker in range(3)
    ]
    lists = []
    for _ in range(3):
        rng.shuffle(candidates)
        campaign_id = started(repository, replace(CAMPAIGN, keep_hiscores=5))
        for part in _batched(candidates, 5):
            repository.record_batch(campaign_id, walkers=[update()], hiscores=part)
        lists.append([(e.model_hash, e.k, e.walker_number, e.step) for e in repository.list_hiscores(campaign_id)])
    assert lists[0] == lists[1] == lists[2]
    assert len(lists[0]) == 5


def _batched(items: list[NewHiscore], size: int) -> Iterator[tuple[NewHiscore, ...]]:
    for start in range(0, len(items), size):
        yield tuple(items[start : start + size])


def test_hiscores_of_all_campaigns_are_ranked_together_and_paged(repository: CampaignRepository) -> None:
    first, second = started(repository), started(repository)
    repository.record_batch(first, walkers=[update()], hiscores=[hiscore("a", 1.0), hiscore("b", 3.0)])
    repository.record_batch(second, walkers=[update()], hiscores=[hiscore("a", 2.0), hiscore("b", 4.0)])
    assert [e.k for e in repository.list_hiscores(None)] == [4.0, 3.0, 2.0, 1.0]
    assert [e.k for e in repository.list_hiscores(None, limit=2, after=1)] == [3.0, 2.0]


def test_claims_exclude_each_other(repository: CampaignRepository) -> None:
    campaign_id = repository.create_campaign(CAMPAIGN).campaign_id
    assert repository.claim_campaign(campaign_id, "host:1").status is CampaignStatus.RUNNING
    with pytest.raises(CampaignError, match="host:1"):
        repository.claim_campaign(campaign_id, "host:2")
    assert repository.claim_campaign(campaign_id, "host:2", take_over_from="host:1").driver == "host:2"
    with pytest.raises(CampaignError, match="host:2"):
        repository.claim_campaign(campaign_id, "host:3", take_over_from="host:1")


def test_states_follow_the_table(repository: CampaignRepository) -> None:
    campaign_id = repository.create_campaign(CAMPAIGN).campaign_id
    with pytest.raises(IllegalTransitionError):
        repository.set_campaign_status(campaign_id, CampaignStatus.FINISHED)
    repository.claim_campaign(campaign_id, "host:1")
    failed = repository.set_campaign_status(campaign_id, CampaignStatus.FAILED, "disk full")
    assert (failed.status, failed.error) == (CampaignStatus.FAILED, "disk full")
    assert repository.claim_campaign(campaign_id, "host:1").error is None


def test_incidents_are_kept(repository: CampaignRepository) -> None:
    campaign_id = started(repository)
    repository.record_incident(campaign_id, NewIncident("worker_died", "killed by signal 9", (0, 2)))
    repository.record_incident(campaign_id, NewIncident("worker_died", "again"))
    assert [(i.kind, i.detail, i.walker_numbers) for i in repository.list_incidents(campaign_id)] == [
        ("worker_died", "killed by signal 9", (0, 2)),
        ("worker_died", "again", ()),
    ]


def test_pickled_repository_reconnects_and_makes_no_tables(tmp_path: Path) -> None:
    original = open_repository(str(tmp_path / "campaigns.db"))
    campaign_id = original.create_campaign(CAMPAIGN).campaign_id
    copy = pickle.loads(pickle.dumps(original))  # noqa: S301  our own object
    assert copy.get_campaign(campaign_id) == original.get_campaign(campaign_id)
    copy.close()
    original.close()
    elsewhere = pickle.loads(pickle.dumps(SqlRepository(f"sqlite:///{tmp_path}/none.db")))  # noqa: S301
    assert not (tmp_path / "none.db").exists()
    elsewhere.close()


def test_reader_sees_what_was_stored_and_cannot_write(tmp_path: Path) -> None:
    path = str(tmp_path / "campaigns.db")
    with pytest.raises(CampaignError, match="no campaign database"):
        open_repository(path, is_read_only=True)
    writer = open_repository(path)
    reader = open_repository(path, is_read_only=True)
    campaign_id = started(writer)
    writer.record_batch(campaign_id, walkers=[update()], progress=[progress()])
    assert len(reader.list_progress(campaign_id)) == 1
    with pytest.raises(CampaignError, match="reading only"):
        reader.touch_campaign(campaign_id)
    reader.close()
    writer.close()


def test_schema_of_the_revisions_is_that_of_the_tables(tmp_path: Path) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.runtime.migration import MigrationContext

    opened = open_repository(str(tmp_path / "campaigns.db"))
    with opened._engine.begin() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
    opened.close()


def test_newer_and_damaged_databases_are_refused_in_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "campaigns.db"
    opened = open_repository(str(path))
    with opened._engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    opened.close()
    with pytest.raises(CampaignError, match="newer release"):
        open_repository(str(path))
    path.write_bytes(b"not a database at all " * 100)
    for extra in (path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")):
        extra.unlink(missing_ok=True)
    with pytest.raises(CampaignError, match="cannot be"):
        open_repository(str(path))
    with pytest.raises(CampaignError, match="cannot be"):
        open_repository(str(path), is_read_only=True)


def test_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CampaignError, match="cannot be created"):
        open_repository(str(tmp_path / "file" / "campaigns.db"))
