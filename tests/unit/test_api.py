"""The REST service: every route, its errors, entity tags, cursors, and what has no word in JSON."""

from __future__ import annotations

import itertools
import json
import math
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import text

from builder.model_io import parse_models
from database.campaigns.memory import MemoryRepository
from database.campaigns.repository import CampaignNotFoundError
from database.campaigns.sql import SqlRepository, open_repository
from services.api import traces
from services.api.rates import RateMeter
from services.api.schemas import finite_or_none
from services.api.settings import ServiceSettings
from services.api.traces import CampaignTraces, TraceCache
from services.cli.serve import ServiceAddressError, bind_socket
from tests.api_samples import NUM_STEPS, NUM_WALKERS, add_steps, fill_repository, start_campaign, stop_model, trace_k
from tests.live_service import connect

API = "/api/v1"


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[SqlRepository]:
    opened = open_repository(str(tmp_path / "campaigns.db"))
    yield opened
    opened.close()


@pytest.fixture
def client(repository: SqlRepository) -> Iterator[httpx.Client]:
    fill_repository(repository)
    with connect(ServiceSettings(database_url=repository.url, results="embedded", event_interval_s=0.01)) as opened:
        yield opened


def test_campaigns_say_how_far_they_are(client: httpx.Client) -> None:
    body = client.get(f"{API}/campaigns").json()
    assert body["next_after"] is None
    (campaign,) = body["items"]
    assert campaign["name"] == "sample" and campaign["status"] == "running" and campaign["seed"] == 42
    assert campaign["steps_done"] == NUM_WALKERS * (NUM_STEPS - 10)
    assert campaign["steps_total"] == NUM_WALKERS * NUM_STEPS
    assert campaign["best_t_l"] == 9.0 and campaign["best_k"] == pytest.approx(9.0 - 2 - 0.3)
    assert campaign["is_approximate"] is True


def test_campaign_tells_configuration_counts_and_incidents(client: httpx.Client) -> None:
    body = client.get(f"{API}/campaigns/1").json()
    assert body["config"] == {"walk": {"beta": 1.0, "max_ssm": None}}  # inf has no word in JSON
    assert body["verdict_counts"] == {"accepted": NUM_WALKERS * (NUM_STEPS - 10)}
    assert body["incidents"][0]["kind"] == "worker_died" and body["incidents"][0]["walker_numbers"] == [2]
    assert body["versions"] == {"protomodels": "0.1.0"}


def test_campaign_list_comes_in_pages(client: httpx.Client, repository: SqlRepository) -> None:
    start_campaign(repository, name="second")
    first = client.get(f"{API}/campaigns", params={"limit": 1}).json()
    assert [c["name"] for c in first["items"]] == ["sample"] and first["next_after"] == 1
    second = client.get(f"{API}/campaigns", params={"limit": 1, "after": first["next_after"]}).json()
    assert [c["name"] for c in second["items"]] == ["second"] and second["next_after"] is None
    assert second["items"][0]["steps_per_s"] is None and second["items"][0]["best_k"] is None


def test_walkers_have_no_checkpoint(client: httpx.Client) -> None:
    items = client.get(f"{API}/walkers", params={"campaign": 1}).json()["items"]
    assert [w["walker_number"] for w in items] == [0, 1, 2]
    assert items[0]["step"] == NUM_STEPS - 10 and items[0]["k"] == pytest.approx(trace_k(0, NUM_STEPS - 10))
    assert "checkpoint" not in items[0]


def test_progress_cursor_reaches_every_step_once(client: httpx.Client) -> None:
    seen: list[tuple[int, int]] = []
    after: int | None = 0
    pages = 0
    while after is not None:
        page = client.get(f"{API}/progress", params={"campaign": 1, "after": after, "limit": 17}).json()
        seen += [(step["walker_number"], step["step"]) for step in page["items"]]
        after = page["next_after"]
        pages += 1
    assert pages > 5
    assert sorted(seen) == [(w, s) for w in range(NUM_WALKERS) for s in range(1, NUM_STEPS - 9)]


def test_progress_of_one_walker_with_undefined_numbers(client: httpx.Client) -> None:
    items = client.get(f"{API}/progress", params={"campaign": 1, "walker": 1, "limit": 3}).json()["items"]
    assert {step["walker_number"] for step in items} == {1}
    assert items[0]["k"] is None and items[0]["t_l"] is None and items[0]["best_k"] is None
    assert items[1]["k"] == pytest.approx(trace_k(1, 2)) and items[0]["moves"] == ["mass"]


def test_page_limit_of_the_service_holds(repository: SqlRepository) -> None:
    fill_repository(repository)
    with connect(ServiceSettings(database_url=repository.url, results="embedded", page_limit=5)) as small:
        assert len(small.get(f"{API}/progress", params={"campaign": 1, "limit": 1000}).json()["items"]) == 5


def test_traces_are_followed_by_cursor(client: httpx.Client, repository: SqlRepository) -> None:
    full = client.get(f"{API}/traces", params={"campaign": 1}).json()
    assert full["is_full"] and full["is_complete"] and full["stride"] == 1
    assert [len(w["step"]) for w in full["walkers"]] == [NUM_STEPS - 10] * NUM_WALKERS
    assert full["walkers"][0]["k"][0] is None
    add_steps(repository, 1, NUM_STEPS - 9, NUM_STEPS - 5)
    more = client.get(f"{API}/traces", params={"campaign": 1, "after": full["cursor"], "stride": full["stride"]}).json()
    assert not more["is_full"] and [w["step"] for w in more["walkers"]] == [list(range(NUM_STEPS - 9, NUM_STEPS - 4))] * NUM_WALKERS


def test_hiscores_by_k_with_particles_and_members(client: httpx.Client) -> None:
    items = client.get(f"{API}/hiscores", params={"campaign": 1}).json()["items"]
    assert [h["t_l"] for h in items] == sorted((h["t_l"] for h in items), reverse=True)
    best = items[0]
    assert [(p["name"], p["kind"], p["mass_gev"]) for p in best["particles"]] == [("X_t^1", "top", 1100.0), ("X_Z^1", "lbp", 160.0)]
    assert best["particles"][0]["decays"] == [{"daughter_pids": [6, 1000022], "daughters": ["t", "X_Z^1"], "branching_ratio": 1.0}]
    assert [(m["analysis_id"], m["unit"], m["z"]) for m in best["combination"]] == [
        ("CMS-EXO-20-004", "fb", 4.6),
        ("ATLAS-SUSY-2018-12", "events", 2.1),
    ]
    assert best["combination"][0]["particles"] == ["X_Z^1", "X_W^1"] and best["combination"][0]["expected_error"] is None
    assert best["failures"] == {"ATLAS-SUSY-2018-16": 2}


def test_inf_and_nan_are_null(client: httpx.Client) -> None:
    text = client.get(f"{API}/hiscores").text
    assert "NaN" not in text and "Infinity" not in text
    free = next(h for h in json.loads(text)["items"] if h["t_l"] == 8.0)
    assert free["mu_max"] is None and free["verdict"]["r_obs"] is None and free["verdict"]["r_exp"] is None
    undefined = next(h for h in json.loads(text)["items"] if h["t_l"] == 5.0)
    assert [m["z"] for m in undefined["combination"]] == [2.1, None]  # undefined comes last
    assert finite_or_none(None) is None and finite_or_none(-math.inf) is None and finite_or_none(0.0) == 0.0


def test_hiscore_filters_and_pages(client: httpx.Client) -> None:
    all_k = [h["k"] for h in client.get(f"{API}/hiscores").json()["items"]]
    above = client.get(f"{API}/hiscores", params={"min_k": all_k[1]}).json()
    assert [h["k"] for h in above["items"]] == all_k[:2] and above["next_after"] is None
    first = client.get(f"{API}/hiscores", params={"limit": 2}).json()
    assert first["next_after"] == 2
    rest = client.get(f"{API}/hiscores", params={"limit": 2, "after": 2}).json()
    assert [h["k"] for h in first["items"] + rest["items"]] == all_k and rest["next_after"] is None


def test_hiscore_detail_and_slha_describe_the_stored_model(client: httpx.Client) -> None:
    hiscore_id = client.get(f"{API}/hiscores", params={"limit": 1}).json()["items"][0]["hiscore_id"]
    detail = client.get(f"{API}/hiscores/{hiscore_id}").json()
    (channel,) = detail["production"]
    assert channel["pids"] == [-1000006, 1000006] and channel["ssm"] == 1.2
    expected = stop_model().spectrum().xsecs_fb
    assert {x["sqrts_tev"]: x["xsec_fb"] for x in channel["xsecs"]} == {s: expected[s][-1000006, 1000006] for s in (8, 13)}
    assert detail["protomodel"] == stop_model().to_json()
    answer = client.get(f"{API}/hiscores/{hiscore_id}.slha")
    assert answer.headers["content-type"].startswith("text/plain") and f"hiscore-{hiscore_id}.slha" in answer.headers["content-disposition"]
    (model,) = parse_models(answer.text)
    assert model.masses == stop_model().masses and model.branching_ratios == stop_model().branching_ratios


def test_results_list_every_analysis(client: httpx.Client) -> None:
    body = client.get(f"{API}/results").json()
    assert body["is_approximate"] is True and len(body["items"]) >= 10
    assert {item["experiment"] for item in body["items"]} == {"ATLAS", "CMS"} and {item["sqrts_tev"] for item in body["items"]} == {8, 13}
    one = next(item for item in body["items"] if "efficiencyMap" in item["kinds"])
    detail = client.get(f"{API}/results/{one['analysis_id']}").json()
    assert detail["lumi_ifb"] == one["lumi_ifb"] and sum(r["num_regions"] for r in detail["records"]) == one["num_regions"] > 0
    assert detail["records"][0]["txnames"] and detail["records"][0]["fit_error"] is not None


def test_entity_tags_spare_unchanged_answers(client: httpx.Client, repository: SqlRepository) -> None:
    of_campaign = [f"/{name}?campaign=1" for name in ("walkers", "progress", "traces", "hiscores")]
    for path in ("/campaigns", "/campaigns/1", "/results", *of_campaign):
        first = client.get(API + path)
        again = client.get(API + path, headers={"If-None-Match": first.headers["etag"]})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"]), path
    tag = client.get(f"{API}/walkers?campaign=1").headers["etag"]
    add_steps(repository, 1, NUM_STEPS - 9, NUM_STEPS - 5)
    assert client.get(f"{API}/walkers?campaign=1", headers={"If-None-Match": tag}).status_code == 200


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/campaigns/7", 404, "campaign 7"),
        ("/walkers?campaign=7", 404, "campaign 7"),
        ("/progress?campaign=7", 404, "campaign 7"),
        ("/traces?campaign=7", 404, "campaign 7"),
        ("/events?campaign=7", 404, "campaign 7"),
        ("/hiscores?campaign=7", 404, "campaign 7"),
        ("/hiscores/7", 404, "hiscore 7"),
        ("/hiscores/7.slha", 404, "hiscore 7"),
        ("/results/CMS-XYZ-01", 404, "CMS-XYZ-01"),
        ("/nonsense", 404, "/api/v1/nonsense"),
        ("/walkers", 422, "'campaign'"),
        ("/walkers?campaign=one", 422, "'campaign'"),
        ("/progress?campaign=1&limit=0", 422, "'limit'"),
        ("/progress?campaign=1&after=-1", 422, "'after'"),
        ("/hiscores?min_k=high", 422, "'min_k'"),
        ("/hiscores?min_k=nan", 422, "'min_k'"),
        (f"/hiscores?after={2**63}", 422, "'after'"),
        (f"/hiscores/{10**20}", 422, "'hiscore_id'"),
        (f"/campaigns/{10**20}", 422, "'campaign_id'"),
        (f"/walkers?campaign={10**20}", 422, "'campaign'"),
        (f"/progress?campaign=1&after={10**20}", 422, "'after'"),
        ("/hiscores?campaing=1", 422, "'campaing'"),
        ("/campaigns/0", 422, "'campaign_id'"),
    ],
)
def test_errors_are_one_sentence(client: httpx.Client, path: str, status: int, words: str) -> None:
    answer = client.get(API + path)
    assert answer.status_code == status
    assert list(answer.json()) == ["detail"] and words in answer.json()["detail"] and "\n" not in answer.json()["detail"]


def test_nothing_can_be_changed(client: httpx.Client) -> None:
    for method in ("post", "put", "patch", "delete"):
        assert getattr(client, method)(f"{API}/campaigns").status_code == 405


def _events(text: str) -> list[tuple[str, dict[str, object]]]:
    blocks = [block.splitlines() for block in text.strip().split("\n\n")]
    return [(b[0].removeprefix("event: "), json.loads(b[1].removeprefix("data: "))) for b in blocks if b[0].startswith("event: ")]


def test_events_start_with_everything(client: httpx.Client) -> None:
    answer = client.get(f"{API}/events", params={"campaign": 1, "max_events": 2})
    assert answer.headers["content-type"].startswith("text/event-stream")
    (first, progress), (second, hiscores) = _events(answer.text)
    assert (first, second) == ("progress", "hiscores")
    assert progress["campaign"] == client.get(f"{API}/campaigns/1").json()
    assert hiscores["items"] == client.get(f"{API}/hiscores", params={"campaign": 1}).json()["items"]


def test_openapi_describes_every_route_and_parameter(client: httpx.Client) -> None:
    api = client.get(f"{API}/openapi.json").json()
    wanted = {"/campaigns", "/campaigns/{campaign_id}", "/walkers", "/progress", "/traces", "/hiscores", "/hiscores/{hiscore_id}"}
    wanted |= {"/hiscores/{hiscore_id}.slha", "/results", "/results/{analysis_id}", "/events"}
    assert {API + path for path in wanted} | {"/healthz"} == set(api["paths"])
    for path, methods in api["paths"].items():
        assert list(methods) == ["get"] and methods["get"]["summary"] and methods["get"]["description"], path
        for parameter in methods["get"].get("parameters", []):
            assert parameter.get("description"), (path, parameter["name"])


def test_page_and_its_files_come_from_here(client: httpx.Client) -> None:
    page = client.get("/")
    assert page.status_code == 200 and "default-src 'self'" in page.headers["content-security-policy"]
    for path in ("/static/main.js", "/static/style.css", "/static/vendor/plotly.min.js", "/docs"):
        assert client.get(path).status_code == 200, path
    assert client.get("/static/__init__.py").status_code == 404
    assert "http://" not in page.text and "https://" not in page.text


def test_service_starts_before_the_first_campaign(tmp_path: Path) -> None:
    path = tmp_path / "later.db"
    with connect(ServiceSettings(database_url=str(path), results="embedded")) as early:
        assert early.get(f"{API}/campaigns").json() == {"items": [], "next_after": None}
        assert early.get("/healthz").json()["database"] == "empty"
        assert not path.exists()
        repository = open_repository(str(path))
        fill_repository(repository)
        repository.close()
        assert len(early.get(f"{API}/campaigns").json()["items"]) == 1
        assert early.get("/healthz").json() | {"version": ""} == {"status": "ok", "version": "", "database": "ok"}


def test_unreadable_database_is_told(tmp_path: Path) -> None:
    path = tmp_path / "noise.db"
    path.write_bytes(b"this is no database" * 100)
    with connect(ServiceSettings(database_url=str(path), results="embedded")) as broken:
        assert broken.get("/healthz").status_code == 503
        answer = broken.get(f"{API}/campaigns")
        assert answer.status_code == 409 and str(path) in answer.json()["detail"]


def test_missing_results_are_told_and_hiscores_stay_readable(repository: SqlRepository, tmp_path: Path) -> None:
    fill_repository(repository)
    with connect(ServiceSettings(database_url=repository.url, results=str(tmp_path / "none"))) as client:
        answer = client.get(f"{API}/results")
        assert answer.status_code == 409 and "results import" in answer.json()["detail"]
        assert client.get(f"{API}/hiscores/1").json()["analyses"] == []


def test_reading_while_a_batch_is_written(client: httpx.Client, repository: SqlRepository) -> None:
    with repository._writing() as session:  # an open write transaction, as in the middle of a batch
        session.execute(text("UPDATE walkers SET step = 1000000"))
        items = client.get(f"{API}/walkers", params={"campaign": 1}).json()["items"]
        assert {w["step"] for w in items} == {NUM_STEPS - 10}
        session.rollback()


# ------------------------------------------------------------------------------------------------------------ traces


def _long_campaign(num_steps: int) -> tuple[MemoryRepository, int]:
    repository = MemoryRepository()
    campaign = start_campaign(repository, num_steps=num_steps)
    for first in range(1, num_steps, 50):
        add_steps(repository, campaign.campaign_id, first, min(num_steps, first + 49))
    return repository, campaign.campaign_id


@pytest.mark.parametrize("seek_threshold", [10**9, 100])
def test_traces_of_long_chains_stay_small_and_end_at_the_latest_step(monkeypatch: pytest.MonkeyPatch, seek_threshold: int) -> None:
    monkeypatch.setattr(traces, "SEEK_THRESHOLD", seek_threshold)
    repository, campaign_id = _long_campaign(2000)
    followed = CampaignTraces(repository, campaign_id, num_points=60)
    snapshot = followed.update(budget_s=60.0)
    assert snapshot.is_complete and snapshot.stride > 1
    for walker_number, points in snapshot.walkers.items():
        steps = [point.step for point in points]
        assert 25 <= len(steps) <= 122 and steps[-1] == 2000
        assert all(b - a >= snapshot.stride for a, b in itertools.pairwise(steps[:-1]))
        assert all(point.k == trace_k(walker_number, point.step) for point in points)
        assert steps[0] <= 60


def test_traces_after_sampling_follow_new_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traces, "SEEK_THRESHOLD", 100)
    repository, campaign_id = _long_campaign(1000)
    followed = CampaignTraces(repository, campaign_id, num_points=50)
    before = followed.update(budget_s=60.0)
    add_steps(repository, campaign_id, 1001, 1100)
    after = followed.update(budget_s=60.0)
    assert after.cursor == before.cursor + 100 * NUM_WALKERS
    assert {points[-1].step for points in after.walkers.values()} == {1100}


def test_many_walkers_share_the_points(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traces, "MAX_POINTS", 120 * NUM_WALKERS)
    repository, campaign_id = _long_campaign(1000)
    snapshot = CampaignTraces(repository, campaign_id, num_points=600).update(budget_s=60.0)
    assert all(120 <= len(points) <= 242 and points[-1].step == 1000 for points in snapshot.walkers.values())


def test_traces_work_in_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traces, "PAGE", 100)
    repository, campaign_id = _long_campaign(500)
    followed = CampaignTraces(repository, campaign_id, num_points=1000)
    rounds = 1
    while not (snapshot := followed.update(budget_s=0.0)).is_complete:
        rounds += 1
    assert rounds == 16  # 1500 steps in pages of 100, and one look that finds nothing more
    assert [len(points) for points in snapshot.walkers.values()] == [500] * NUM_WALKERS


def test_trace_cache_knows_only_existing_campaigns() -> None:
    repository, campaign_id = _long_campaign(60)
    cache = TraceCache(repository, 50)
    assert cache.campaign(campaign_id) is cache.campaign(campaign_id)
    with pytest.raises(CampaignNotFoundError):
        cache.campaign(campaign_id + 1)


def test_rate_is_that_of_the_last_seconds() -> None:
    meter = RateMeter()
    assert meter.observe(1, 0, now=100.0) is None
    assert meter.observe(1, 10, now=101.0) is None  # too short a span
    assert meter.observe(1, 40, now=104.0) == 10.0
    assert meter.observe(2, 7, now=104.0) is None
    for second in range(105, 141):
        rate = meter.observe(1, 40, now=float(second))
    assert rate == 0.0  # nothing moved within the window
    assert meter.observe(1, 5000, now=1000.0) is None  # nobody looked for long: no statement about the last seconds


# ------------------------------------------------------------------------------------------------------------- serve


def test_port_in_use_is_one_sentence() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ServiceAddressError, match=f"port {port} on 127.0.0.1 is in use"):
            bind_socket("127.0.0.1", port)


def test_free_port_and_foreign_address() -> None:
    with bind_socket("127.0.0.1", 0) as listener:
        assert listener.getsockname()[1] > 0
    with pytest.raises(ServiceAddressError):
        bind_socket("192.0.2.1", 8000)  # TEST-NET-1, on no machine


def test_service_ends_at_once_while_somebody_listens(repository: SqlRepository) -> None:
    fill_repository(repository)
    with connect(ServiceSettings(database_url=repository.url, results="embedded", event_interval_s=30.0)) as client:
        stream = client.stream("GET", f"{API}/events", params={"campaign": 1})
        answer = stream.__enter__()
        assert next(answer.iter_lines()).startswith("retry")
        began = time.monotonic()
    assert time.monotonic() - began < 3.0
