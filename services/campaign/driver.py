"""Hands out work, stores what returns, and ends cleanly.

The driver keeps the last checkpoint of every walker and gives each idle worker one batch. A result first frees its
worker for the next batch and is then stored, together with whatever else has returned, in one transaction. Everything
that is needed to go on is in the repository at any time; the driver can be killed at any point.
"""

from __future__ import annotations

import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from database.campaigns.records import CampaignRecord, NewIncident, WalkerRecord
from database.campaigns.repository import CampaignRepository
from database.campaigns.status import CampaignStatus, WalkerStatus
from database.errors import ProtomodelsError
from services.campaign.batches import BatchResult, BatchTask, Completion, TeleportTarget
from services.campaign.pool import WorkerPool
from services.campaign.writer import Writer

log = logging.getLogger(__name__)

POLL_S = 0.3
"""Longest wait for a worker before signals, time-outs and the display get their turn [s]."""

HEARTBEAT_S = 10.0
"""Longest time between two signs of life of a driver [s]."""

STALE_AFTER_S = 2 * HEARTBEAT_S
"""A running campaign without a sign of life for this long has lost its driver [s]."""


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """How work is cut; none of this changes a chain."""

    max_steps: int
    max_duration_s: float
    max_worker_deaths: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a display shows, after each transaction.

    Attributes:
        campaign: the campaign as it was when the driver started.
        walkers: where the walkers stand, by number.
        verdict_counts: what became of proposals, interrupted sessions included.
        num_deaths: workers that died in this session.
        session_steps: steps taken in this session.
        elapsed_s: time since the driver started [s].
        walking_s: time since the first step was taken; workers need some seconds before it [s].
        rss_mb: largest resident memory of a worker seen so far [MB].
    """

    campaign: CampaignRecord
    walkers: tuple[WalkerRecord, ...]
    verdict_counts: Mapping[str, int]
    num_deaths: int
    session_steps: int
    elapsed_s: float
    walking_s: float
    rss_mb: float

    @property
    def steps_per_s(self) -> float:
        """Steps per second of all walkers together in this session [1/s]."""
        return self.session_steps / self.walking_s if self.walking_s > 0 else math.nan


Observer = Callable[[Snapshot], None]


class Driver:
    """Runs one claimed campaign to its end, to a stop, or to a failure.

    Args:
        repository: the storage.
        campaign: the campaign, claimed by this process.
        pool: the workers.
        limits: size of batches, patience with dying workers.
        has_teleports: whether walks are told of the hiscores; their chains then depend on each other.
        observer: called after each transaction.
    """

    def __init__(
        self,
        repository: CampaignRepository,
        campaign: CampaignRecord,
        pool: WorkerPool,
        limits: BatchLimits,
        has_teleports: bool = False,
        observer: Observer = lambda snapshot: None,
    ) -> None:
        self._repository = repository
        self._campaign = campaign
        self._pool = pool
        self._limits = limits
        self._has_teleports = has_teleports
        self._observer = observer
        self._writer = Writer(repository, campaign.campaign_id, HEARTBEAT_S)
        self._walkers = {walker.walker_number: walker for walker in repository.list_walkers(campaign.campaign_id)}
        self._busy: set[int] = set()
        self._deaths: Counter[int] = Counter()
        self._verdicts = Counter(repository.count_verdicts(campaign.campaign_id))
        self._is_stop_requested = False
        self._errors: dict[int, str] = {}
        self._num_deaths = 0
        self._session_steps = 0
        self._rss_mb = 0.0
        self._began = time.monotonic()
        self._hiscore_floor = -math.inf
        self._first_step_at = math.inf

    def request_stop(self) -> None:
        """Ends the campaign after the steps under way; safe in a signal handler."""
        self._is_stop_requested = True
        self._pool.request_stop()  # only sets a flag

    @property
    def is_stop_requested(self) -> bool:
        """Whether somebody asked for an end."""
        return self._is_stop_requested

    def run(self) -> CampaignStatus:
        """Walks until everything is done or a stop is asked for; the state it ends in is stored.

        Raises:
            ProtomodelsError: the campaign failed; the reason is stored with it.
        """
        campaign_id = self._campaign.campaign_id
        log.info("campaign=%d walkers=%d steps=%d begins", campaign_id, len(self._walkers), self._campaign.num_steps)
        try:
            self._observe()
            self._work()
            return self._end()
        except KeyboardInterrupt:
            self._abandon(CampaignStatus.INTERRUPTED, None)
            raise
        except Exception as error:
            text = str(error) or type(error).__name__
            log.error("campaign=%d failed: %s", campaign_id, text)
            self._abandon(CampaignStatus.FAILED, text[:2000])
            raise

    def _abandon(self, status: CampaignStatus, error: str | None) -> None:
        """Stores an end without the batches under way; what cannot be stored must not hide why it ended."""
        try:
            self._park()
            self._repository.set_campaign_status(self._campaign.campaign_id, status, error)
        except Exception:
            log.exception("campaign=%d state %s could not be stored", self._campaign.campaign_id, status)

    def _park(self) -> None:
        """Sets running walkers waiting."""
        unfinished = [walker for walker in self._walkers.values() if walker.status is WalkerStatus.RUNNING]
        stored = {walker.walker_number: walker for walker in self._repository.list_walkers(self._campaign.campaign_id)}
        self._writer.set_status([stored[walker.walker_number] for walker in unfinished], WalkerStatus.WAITING)
        self._walkers |= {walker.walker_number: replace(walker, status=WalkerStatus.WAITING) for walker in unfinished}

    def _work(self) -> None:
        while True:
            if not self._is_stop_requested:
                self._hand_out()
            if self._pool.num_running() == 0:
                return
            completions = self._pool.collect(POLL_S)
            if completions:
                self._take_in(completions)
            self._writer.heartbeat()

    def _hand_out(self) -> None:
        idle = self._pool.idle_workers()
        if not idle:
            return
        count = len(idle) + self._pool.num_running()
        for worker in idle:
            number = self._next_walker(worker, count)
            if number is None:
                return
            self._pool.submit(worker, self._task(self._walkers[number]))
            self._busy.add(number)

    def _next_walker(self, worker: int, num_workers: int) -> int | None:
        """The walker that is furthest behind, the worker's own ones first: their topologies are in its caches."""
        open_walkers = [
            walker
            for walker in self._walkers.values()
            if walker.walker_number not in self._busy
            and walker.walker_number not in self._errors
            and (walker.checkpoint is None or walker.step < self._campaign.num_steps)
        ]
        if not open_walkers:
            return None
        best = min(open_walkers, key=lambda w: (w.walker_number % num_workers != worker, w.step, w.walker_number))
        return best.walker_number

    def _task(self, walker: WalkerRecord) -> BatchTask:
        return BatchTask(
            walker_number=walker.walker_number,
            checkpoint=walker.checkpoint,
            last_step=self._campaign.num_steps,
            max_steps=self._limits.max_steps,
            max_duration_s=self._limits.max_duration_s,
            best_k=walker.best_k,
            targets=self._targets() if self._has_teleports else (),
            hiscore_floor=self._hiscore_floor,
        )

    def _targets(self) -> tuple[TeleportTarget, ...]:
        listed = self._repository.list_hiscores(self._campaign.campaign_id, limit=self._campaign.keep_hiscores)
        return tuple(TeleportTarget(entry.protomodel, entry.k) for entry in listed)

    def _find_hiscore_floor(self) -> float:
        """K of the last entry of a full hiscore list."""
        listed = self._repository.list_hiscores(self._campaign.campaign_id, limit=self._campaign.keep_hiscores)
        return listed[-1].k if len(listed) == self._campaign.keep_hiscores else -math.inf

    def _take_in(self, completions: Sequence[Completion]) -> None:
        results = [completion.result for completion in completions if completion.result is not None]
        for completion in completions:
            self._busy.discard(completion.task.walker_number)
        for result in results:
            self._advance(result)
        losses = [completion for completion in completions if completion.result is None]
        if not losses and not self._is_stop_requested:
            self._hand_out()  # workers walk on while the transaction is written
        if results:
            self._writer.store(results)
            if any(result.hiscores for result in results):
                self._hiscore_floor = self._find_hiscore_floor()
        for completion in losses:  # before new work is handed out: a walker that is given up gets none
            self._take_loss(completion)
        self._observe()

    def _advance(self, result: BatchResult) -> None:
        update = result.walker
        duration_s = result.num_steps / update.steps_per_s if update.steps_per_s > 0 else 0.0
        self._first_step_at = min(self._first_step_at, time.monotonic() - duration_s)
        self._walkers[update.walker_number] = replace(
            self._walkers[update.walker_number],
            status=update.status,
            step=update.step,
            k=update.k,
            tl=update.tl,
            best_k=update.best_k,
            steps_per_s=update.steps_per_s,
            checkpoint=update.checkpoint,
        )
        self._deaths.pop(update.walker_number, None)
        self._verdicts.update(result.verdict_counts)
        self._session_steps += result.num_steps
        self._rss_mb = max(self._rss_mb, result.rss_mb)

    def _take_loss(self, completion: Completion) -> None:
        number = completion.task.walker_number
        if isinstance(completion.error, ProtomodelsError):
            raise completion.error  # the same for every walker: results missing, settings impossible
        if completion.error is not None:
            self._give_up(number, f"{type(completion.error).__name__}: {completion.error}")
            return
        self._num_deaths += 1
        self._deaths[number] += 1
        detail = completion.death or "unknown cause"
        log.warning("campaign=%d walk=%d step=%d worker died: %s", self._campaign.campaign_id, number, self._walkers[number].step, detail)
        self._writer.report(NewIncident("worker_died", detail, (number,)))
        if self._deaths[number] > self._limits.max_worker_deaths:
            self._give_up(number, f"its worker died {self._deaths[number]} times after step {self._walkers[number].step}: {detail}")

    def _give_up(self, number: int, reason: str) -> None:
        log.error("campaign=%d walk=%d step=%d given up: %s", self._campaign.campaign_id, number, self._walkers[number].step, reason)
        self._errors[number] = reason
        self._writer.report(NewIncident("walker_failed", reason, (number,)))
        self._writer.set_status([self._walkers[number]], WalkerStatus.FAILED)
        self._walkers[number] = replace(self._walkers[number], status=WalkerStatus.FAILED)

    def _end(self) -> CampaignStatus:
        campaign_id = self._campaign.campaign_id
        self._park()
        if self._is_stop_requested and any(walker.status is WalkerStatus.WAITING for walker in self._walkers.values()):
            status = CampaignStatus.INTERRUPTED
        elif self._errors:
            status = CampaignStatus.FAILED
        else:
            status = CampaignStatus.FINISHED
        error = "; ".join(f"walker {number} {reason}" for number, reason in sorted(self._errors.items()))
        self._repository.set_campaign_status(campaign_id, status, error[:2000] or None)
        log.info("campaign=%d ends %s steps=%d", campaign_id, status, self._session_steps)
        self._observe()
        return status

    def _observe(self) -> None:
        self._observer(
            Snapshot(
                campaign=self._campaign,
                walkers=tuple(self._walkers[number] for number in sorted(self._walkers)),
                verdict_counts=dict(sorted(self._verdicts.items())),
                num_deaths=self._num_deaths,
                session_steps=self._session_steps,
                elapsed_s=time.monotonic() - self._began,
                walking_s=max(time.monotonic() - self._first_step_at, 0.0),
                rss_mb=self._rss_mb,
            )
        )
