"""The campaign storage in this process' memory: for tests and throw-away runs."""

from __future__ import annotations

import copy
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from threading import RLock
from typing import Any

from database.campaigns.ranking import rank_hiscores
from database.campaigns.records import (
    CampaignRecord,
    HiscoreRecord,
    IncidentRecord,
    JsonDict,
    NewCampaign,
    NewHiscore,
    NewIncident,
    NewProgress,
    ProgressRecord,
    WalkerRecord,
    WalkerUpdate,
)
from database.campaigns.repository import CampaignNotFoundError, HiscoreNotFoundError
from database.campaigns.status import CampaignStatus, WalkerStatus, check_campaign_transition, check_walker_transition
from database.errors import CampaignError


@dataclass(slots=True)
class _Stored:
    campaign: CampaignRecord
    walkers: dict[int, WalkerRecord]
    steps: set[tuple[int, int]] = field(default_factory=set)
    hiscores: tuple[HiscoreRecord, ...] = ()
    verdicts: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    incidents: list[IncidentRecord] = field(default_factory=list)


def _values(record: Any) -> dict[str, Any]:
    """Fields of a dataclass by name, deep-copied so that later changes outside do not reach the storage."""
    return {f.name: copy.deepcopy(getattr(record, f.name)) for f in fields(record)}


class MemoryRepository:
    """`CampaignRepository` in memory."""

    def __init__(self) -> None:
        self._lock = RLock()
        self._campaigns: dict[int, _Stored] = {}
        self._progress: list[ProgressRecord] = []
        self._num_hiscores = 0
        self._num_incidents = 0

    def _get(self, campaign_id: int) -> _Stored:
        try:
            return self._campaigns[campaign_id]
        except KeyError:
            raise CampaignNotFoundError(f"there is no campaign {campaign_id}") from None

    def create_campaign(self, campaign: NewCampaign) -> CampaignRecord:
        """See `CampaignRepository`."""
        with self._lock:
            campaign_id = len(self._campaigns) + 1
            now = datetime.now(UTC)
            record = CampaignRecord(
                campaign_id=campaign_id,
                status=CampaignStatus.CREATED,
                driver=None,
                error=None,
                created_at=now,
                updated_at=now,
                **_values(campaign),
            )
            walkers = {
                number: WalkerRecord(campaign_id, number, WalkerStatus.WAITING, 0, -math.inf, math.nan, -math.inf, math.nan, None, None)
                for number in range(campaign.num_walkers)
            }
            self._campaigns[campaign_id] = _Stored(record, walkers)
            return record

    def list_campaigns(self) -> tuple[CampaignRecord, ...]:
        """See `CampaignRepository`."""
        with self._lock:
            return tuple(stored.campaign for stored in self._campaigns.values())

    def get_campaign(self, campaign_id: int) -> CampaignRecord:
        """See `CampaignRepository`."""
        with self._lock:
            return self._get(campaign_id).campaign

    def claim_campaign(self, campaign_id: int, driver: str, *, take_over_from: str | None = None) -> CampaignRecord:
        """See `CampaignRepository`."""
        with self._lock:
            stored = self._get(campaign_id)
            campaign = stored.campaign
            if campaign.status is CampaignStatus.RUNNING:
                if campaign.driver not in (driver, take_over_from):
                    raise CampaignError(f"campaign {campaign_id} is being run by {campaign.driver}")
            else:
                check_campaign_transition(campaign.status, CampaignStatus.RUNNING)
            stored.campaign = replace(campaign, status=CampaignStatus.RUNNING, driver=driver, error=None, updated_at=datetime.now(UTC))
            return stored.campaign

    def set_campaign_status(self, campaign_id: int, status: CampaignStatus, error: str | None = None) -> CampaignRecord:
        """See `CampaignRepository`."""
        with self._lock:
            stored = self._get(campaign_id)
            check_campaign_transition(stored.campaign.status, status)
            stored.campaign = replace(stored.campaign, status=status, error=error, updated_at=datetime.now(UTC))
            return stored.campaign

    def update_campaign_plan(self, campaign_id: int, *, config: JsonDict, num_steps: int, keep_hiscores: int) -> CampaignRecord:
        """See `CampaignRepository`."""
        with self._lock:
            stored = self._get(campaign_id)
            if stored.campaign.status is CampaignStatus.RUNNING:
                raise CampaignError(f"campaign {campaign_id} is running; its plan cannot change now")
            stored.campaign = replace(
                stored.campaign,
                config=copy.deepcopy(config),
                num_steps=num_steps,
                keep_hiscores=keep_hiscores,
                updated_at=datetime.now(UTC),
            )
            for number, walker in stored.walkers.items():
                if walker.status is WalkerStatus.FINISHED and walker.step < num_steps:
                    stored.walkers[number] = replace(walker, status=WalkerStatus.WAITING)
            return stored.campaign

    def touch_campaign(self, campaign_id: int) -> None:
        """See `CampaignRepository`."""
        with self._lock:
            stored = self._get(campaign_id)
            stored.campaign = replace(stored.campaign, updated_at=datetime.now(UTC))

    def list_walkers(self, campaign_id: int) -> tuple[WalkerRecord, ...]:
        """See `CampaignRepository`."""
        with self._lock:
            walkers = self._get(campaign_id).walkers
            return tuple(walkers[number] for number in sorted(walkers))

    def record_batch(
        self,
        campaign_id: int,
        *,
        walkers: Sequence[WalkerUpdate],
        progress: Sequence[NewProgress] = (),
        hiscores: Sequence[NewHiscore] = (),
        verdict_counts: Mapping[str, int] | None = None,
        failure_counts: Mapping[str, int] | None = None,
    ) -> None:
        """See `CampaignRepository`."""
        with self._lock:
            stored = self._get(campaign_id)
            if stored.campaign.status is not CampaignStatus.RUNNING:
                raise CampaignError(f"campaign {campaign_id} is {stored.campaign.status}; steps are stored only while it runs")
            now = datetime.now(UTC)
            updated = dict(stored.walkers)
            for update in walkers:
                updated[update.walker_number] = self._updated_walker(updated, campaign_id, update, now)
            steps = stored.steps | {(p.walker_number, p.step) for p in progress}
            if len(steps) != len(stored.steps) + len(progress):
                raise CampaignError(f"campaign {campaign_id}: a step of the batch is stored already")
            # Nothing below can fail: the batch becomes visible as a whole.
            stored.walkers = updated
            stored.steps = steps
            start = len(self._progress) + 1
            self._progress += [ProgressRecord(start + i, campaign_id, **_values(p)) for i, p in enumerate(progress)]
            stored.hiscores = self._merged_hiscores(stored, hiscores, now)
            stored.verdicts.update(verdict_counts or {})
            stored.failures.update(failure_counts or {})
            stored.campaign = replace(stored.campaign, updated_at=now)

    @staticmethod
    def _updated_walker(known: Mapping[int, WalkerRecord], campaign_id: int, update: WalkerUpdate, now: datetime) -> WalkerRecord:
        walker = known.get(update.walker_number)
        if walker is None:
            raise CampaignError(f"campaign {campaign_id} has no walker {update.walker_number}")
        if update.step < walker.step:
            raise CampaignError(f"campaign {campaign_id}: walker {update.walker_number} is at step {walker.step} already")
        check_walker_transition(walker.status, update.status)
        values = _values(update)
        if update.checkpoint is None:
            values["checkpoint"] = walker.checkpoint
        return WalkerRecord(campaign_id=campaign_id, heartbeat_at=now, **values)

    def _merged_hiscores(self, stored: _Stored, candidates: Sequence[NewHiscore], now: datetime) -> tuple[HiscoreRecord, ...]:
        known = {entry.model_hash: entry for entry in stored.hiscores}
        merged = []
        pool: list[HiscoreRecord | NewHiscore] = [*stored.hiscores, *candidates]
        for entry in rank_hiscores(pool, stored.campaign.keep_hiscores):
            if isinstance(entry, HiscoreRecord):
                merged.append(entry)
                continue
            same_model = known.get(entry.model_hash)
            if same_model is None:
                self._num_hiscores += 1
            merged.append(
                HiscoreRecord(
                    hiscore_id=self._num_hiscores if same_model is None else same_model.hiscore_id,
                    campaign_id=stored.campaign.campaign_id,
                    created_at=now if same_model is None else same_model.created_at,
                    **_values(entry),
                )
            )
        return tuple(merged)

    def list_progress(
        self, campaign_id: int, walker_number: int | None = None, after: int = 0, limit: int = 1000
    ) -> tuple[ProgressRecord, ...]:
        """See `CampaignRepository`."""
        with self._lock:
            self._get(campaign_id)
            found = (
                p
                for p in self._progress[max(after, 0) :]
                if p.campaign_id == campaign_id and (walker_number is None or p.walker_number == walker_number)
            )
            return tuple(p for p, _ in zip(found, range(limit), strict=False))

    def list_hiscores(self, campaign_id: int | None = None, limit: int = 10, after: int = 0) -> tuple[HiscoreRecord, ...]:
        """See `CampaignRepository`."""
        with self._lock:
            chosen = self._campaigns.values() if campaign_id is None else (self._get(campaign_id),)
            entries = [entry for stored in chosen for entry in stored.hiscores]
            entries.sort(key=lambda entry: (-entry.k, entry.model_hash, entry.hiscore_id))
            return tuple(entries[after : after + limit])

    def get_hiscore(self, hiscore_id: int) -> HiscoreRecord:
        """See `CampaignRepository`."""
        with self._lock:
            for stored in self._campaigns.values():
                for entry in stored.hiscores:
                    if entry.hiscore_id == hiscore_id:
                        return entry
        raise HiscoreNotFoundError(f"there is no hiscore {hiscore_id}")

    def count_verdicts(self, campaign_id: int) -> Mapping[str, int]:
        """See `CampaignRepository`."""
        with self._lock:
            return dict(sorted(self._get(campaign_id).verdicts.items()))

    def count_failures(self, campaign_id: int) -> Mapping[str, int]:
        """See `CampaignRepository`."""
        with self._lock:
            return dict(sorted(self._get(campaign_id).failures.items()))

    def record_incident(self, campaign_id: int, incident: NewIncident) -> IncidentRecord:
        """See `CampaignRepository`."""
        with self._lock:
            stored = self._get(campaign_id)
            self._num_incidents += 1
            record = IncidentRecord(self._num_incidents, campaign_id, created_at=datetime.now(UTC), **_values(incident))
            stored.incidents.append(record)
            return record

    def list_incidents(self, campaign_id: int) -> tuple[IncidentRecord, ...]:
        """See `CampaignRepository`."""
        with self._lock:
            return tuple(self._get(campaign_id).incidents)

    def close(self) -> None:
        """See `CampaignRepository`."""
