"""Runs a new campaign or continues a stored one: results, workers, driver, signals."""

from __future__ import annotations

import logging
import os
import signal
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from threading import current_thread, main_thread
from types import FrameType
from typing import Any

import psutil

from configs.schema import RunConfig, dump_config, restore_config
from database.campaigns.records import CampaignRecord, NewIncident
from database.campaigns.repository import CampaignRepository
from database.campaigns.status import CampaignStatus
from database.errors import CampaignError
from services.campaign.batches import WorkerSpec
from services.campaign.driver import STALE_AFTER_S, BatchLimits, Driver, Observer
from services.campaign.plan import CHAIN_FACTORY, changed_versions, check_resumable, inspect_results, plan_campaign, plan_workers
from services.campaign.pool import InProcessPool, WorkerPool

log = logging.getLogger(__name__)

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
"""Ctrl-C, the end of a batch job, and the early warning that batch systems send before it."""


def ignore(_: Any) -> None:
    """Does nothing; the observer of a campaign nobody watches."""


def own_driver_name() -> str:
    """Name of this process in claims: "host:pid"."""
    return f"{socket.gethostname()}:{os.getpid()}"


def run_campaign(
    config: RunConfig, repository: CampaignRepository, observer: Observer = ignore, *, factory: str = CHAIN_FACTORY
) -> CampaignRecord:
    """Stores a new campaign and runs it to its end or to a stop.

    Args:
        config: the campaign.
        repository: where it is stored.
        observer: called after each transaction.
        factory: import path of the workers' `ChainFactory`.

    Returns:
        The campaign as it stands at the end: finished, interrupted or failed.

    Raises:
        UserFacingError: results are missing, Ray does not start, or no chain can be built.
    """
    results = inspect_results(config.results)
    campaign = repository.create_campaign(plan_campaign(config, results))
    return _run(repository, campaign, config, plan_workers(config, results, factory), observer)


def resume_campaign(
    campaign_id: int,
    repository: CampaignRepository,
    overrides: Mapping[str, Any] | None = None,
    observer: Observer = ignore,
    *,
    factory: str = CHAIN_FACTORY,
) -> CampaignRecord:
    """Continues a stored campaign from its checkpoints.

    Args:
        campaign_id: the campaign.
        repository: where it is stored.
        overrides: values by dotted key; only those that `plan.FREE_KEYS` and `plan.UPWARD_KEYS` list.
        observer: called after each transaction.
        factory: import path of the workers' `ChainFactory`.

    Returns:
        The campaign as it stands at the end.

    Raises:
        CampaignError: it is being run by somebody else, is finished, or the conditions differ (the sentence says which).
    """
    campaign = repository.get_campaign(campaign_id)
    config = restore_config(campaign.config, overrides)
    results = inspect_results(config.results)
    check_resumable(campaign, config, results)
    dead = check_unclaimed(campaign)
    if campaign.status is CampaignStatus.FINISHED and config.campaign.num_steps <= campaign.num_steps:
        raise CampaignError(
            f"campaign {campaign_id} is finished: all {campaign.num_walkers} walkers took {campaign.num_steps} steps; "
            "more steps continue it (--num-steps)"
        )
    if dead is not None:
        campaign = repository.claim_campaign(campaign_id, own_driver_name(), take_over_from=dead)
        repository.record_incident(campaign_id, NewIncident("driver_died", f"{dead} ended without a word; resumed from the checkpoints"))
        campaign = repository.set_campaign_status(campaign_id, CampaignStatus.INTERRUPTED)
    if dump_config(config) != dict(campaign.config):
        campaign = repository.update_campaign_plan(
            campaign_id, config=dump_config(config), num_steps=config.campaign.num_steps, keep_hiscores=config.campaign.keep_hiscores
        )
    changes = changed_versions(campaign)
    if changes:
        detail = ", ".join(f"{name} {before} → {now}" for name, (before, now) in changes.items())
        log.warning("campaign=%d resumed with other versions, numbers may differ in the last digits: %s", campaign_id, detail)
        repository.record_incident(campaign_id, NewIncident("versions_changed", detail))
    return _run(repository, campaign, config, plan_workers(config, results, factory), observer)


def check_unclaimed(campaign: CampaignRecord) -> str | None:
    """The dead driver of a running campaign, None if the campaign is not running.

    Raises:
        CampaignError: its driver is alive, or may be.
    """
    if campaign.status is not CampaignStatus.RUNNING or campaign.driver is None:
        return None
    host, _, pid = campaign.driver.rpartition(":")
    if host == socket.gethostname() and pid.isdecimal() and not psutil.pid_exists(int(pid)):
        return campaign.driver
    silence_s = (datetime.now(UTC) - campaign.updated_at).total_seconds()
    if silence_s > STALE_AFTER_S and not (host == socket.gethostname() and _can_be_driver(int(pid), campaign.updated_at)):
        return campaign.driver
    raise CampaignError(
        f"campaign {campaign.campaign_id} is being run by process {pid} on {host}; stop it with Ctrl-C or kill {pid} there first"
    )


def _can_be_driver(pid: int, last_sign: datetime) -> bool:
    """Whether a local process can be a campaign's driver, rather than something that got its number later."""
    try:
        process = psutil.Process(pid)
        started = datetime.fromtimestamp(process.create_time(), UTC)
        return started <= last_sign + timedelta(seconds=1) and any("python" in p or "protomodels" in p for p in process.cmdline()[:2])
    except psutil.Error:
        return False


def _run(
    repository: CampaignRepository, campaign: CampaignRecord, config: RunConfig, spec: WorkerSpec, observer: Observer
) -> CampaignRecord:
    settings = config.campaign
    campaign = repository.claim_campaign(campaign.campaign_id, own_driver_name())
    try:
        pool = _build_pool(spec, config)
    except BaseException as error:
        status = CampaignStatus.FAILED if isinstance(error, Exception) else CampaignStatus.INTERRUPTED
        repository.set_campaign_status(campaign.campaign_id, status, str(error)[:2000] or None)
        raise
    try:
        limits = BatchLimits(settings.checkpoint_every_steps, settings.checkpoint_every_s, settings.max_worker_deaths)
        driver = Driver(repository, campaign, pool, limits, config.walk.teleport.is_enabled, observer)
        with _stop_signals(driver):
            driver.run()
    finally:
        pool.close()
    return repository.get_campaign(campaign.campaign_id)


def _build_pool(spec: WorkerSpec, config: RunConfig) -> WorkerPool:
    if config.campaign.num_workers == 0:
        return InProcessPool(spec)
    from services.campaign.ray_pool import RayPool

    return RayPool(spec, config.campaign.num_workers, config.campaign.batch_timeout_s, max_workers=config.campaign.num_walkers)


@contextmanager
def _stop_signals(driver: Driver) -> Iterator[None]:
    """The first stop signal ends the campaign cleanly, a second one at once."""
    if current_thread() is not main_thread():  # signals reach the main thread only; whoever runs us elsewhere stops us otherwise
        yield
        return

    def handle(number: int, _frame: FrameType | None) -> None:
        if driver.is_stop_requested:
            raise KeyboardInterrupt
        log.warning("signal=%s ending after the present steps; once more to end at once", signal.Signals(number).name)
        driver.request_stop()

    before = {number: signal.signal(number, handle) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
