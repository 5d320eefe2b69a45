"""The one writer: batches of several walkers into the repository, one transaction each time."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from database.campaigns.records import NewIncident, WalkerRecord, WalkerUpdate
from database.campaigns.repository import CampaignRepository
from database.campaigns.status import WalkerStatus
from services.campaign.batches import BatchResult


class Writer:
    """Stores what workers give back; the driver's only way to the repository while it runs.

    Args:
        repository: where to.
        campaign_id: a campaign that the caller has claimed.
        heartbeat_s: longest time between two signs of life [s].
    """

    def __init__(self, repository: CampaignRepository, campaign_id: int, heartbeat_s: float) -> None:
        self._repository = repository
        self._campaign_id = campaign_id
        self._heartbeat_s = heartbeat_s
        self._last_write = time.monotonic()

    def store(self, results: Sequence[BatchResult]) -> None:
        """Stores batches; they become visible together."""
        verdicts: Counter[str] = Counter()
        failures: Counter[str] = Counter()
        for result in results:
            verdicts.update(result.verdict_counts)
            failures.update(result.failure_counts)
        self._repository.record_batch(
            self._campaign_id,
            walkers=[result.walker for result in results],
            progress=[step for result in results for step in result.progress],
            hiscores=[found for result in results for found in result.hiscores],
            verdict_counts=verdicts,
            failure_counts=failures,
        )
        self._last_write = time.monotonic()

    def set_status(self, walkers: Sequence[WalkerRecord], status: WalkerStatus) -> None:
        """Changes the state of walkers and nothing else."""
        updates = [
            WalkerUpdate(w.walker_number, status, w.step, w.k, w.tl, w.best_k, w.steps_per_s) for w in walkers if w.status is not status
        ]
        if updates:
            self._repository.record_batch(self._campaign_id, walkers=updates)

    def report(self, incident: NewIncident) -> None:
        """Stores an incident."""
        self._repository.record_incident(self._campaign_id, replace(incident, detail=incident.detail[:2000]))

    def heartbeat(self) -> None:
        """Gives a sign of life if the last one is old."""
        if time.monotonic() - self._last_write > self._heartbeat_s:
            self._repository.touch_campaign(self._campaign_id)
            self._last_write = time.monotonic()
