"""The contract of the campaign storage; `memory.py` and `sql.py` keep it, and one test suite checks both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

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
from database.campaigns.status import CampaignStatus
from database.errors import CampaignError


class CampaignNotFoundError(CampaignError):
    """No campaign has the requested number."""


class HiscoreNotFoundError(CampaignError):
    """No hiscore has the requested number, or it has since left its list."""


class DatabaseNotFoundError(CampaignError):
    """There is no campaign storage at the given place."""


class CampaignRepository(Protocol):
    """Stores campaigns; safe to use from several threads.

    Rules every implementation keeps:

    - Returned records are frozen values; nothing returned changes later.
    - inf and nan survive a round trip, in floats and inside JSON values.
    - `record_batch` is all or nothing: steps, hiscores, counts and checkpoints of a batch become visible together,
      so the checkpoints always describe exactly the steps that are stored.
    - The hiscore list of a campaign holds at most `keep_hiscores` entries, one per particle content (its best
      model; of one model the earliest find, by step then walker), ordered by K downwards, ties by hash. It depends
      on the set of candidates offered, not on their order, and candidates whose K is nan or -inf never enter.
    - States change only along the tables of `status.py`.
    - Times come from the database's clock.
    - Unknown numbers raise `CampaignNotFoundError` or `HiscoreNotFoundError`.
    """

    def create_campaign(self, campaign: NewCampaign) -> CampaignRecord:
        """Stores a campaign in state created, with its walkers waiting at step 0 without a checkpoint."""
        ...

    def list_campaigns(self) -> tuple[CampaignRecord, ...]:
        """All campaigns, by number."""
        ...

    def get_campaign(self, campaign_id: int) -> CampaignRecord:
        """One campaign."""
        ...

    def claim_campaign(self, campaign_id: int, driver: str, *, take_over_from: str | None = None) -> CampaignRecord:
        """Makes `driver` the one process that runs a campaign, and sets the state running.

        Of two processes that claim at the same time, one succeeds.

        Args:
            campaign_id: the campaign.
            driver: "host:pid" of the caller.
            take_over_from: driver whose claim the caller knows to be dead; its running campaign may be claimed.

        Raises:
            CampaignError: it is running and the claim belongs to another driver.
        """
        ...

    def set_campaign_status(self, campaign_id: int, status: CampaignStatus, error: str | None = None) -> CampaignRecord:
        """Changes the state; `error` says what stopped it.

        Raises:
            IllegalTransitionError: the state cannot follow the present one.
        """
        ...

    def update_campaign_plan(self, campaign_id: int, *, config: JsonDict, num_steps: int, keep_hiscores: int) -> CampaignRecord:
        """Stores the keys that a resumed campaign may change; finished walkers wait again if steps were added.

        Raises:
            CampaignError: the campaign is running.
        """
        ...

    def touch_campaign(self, campaign_id: int) -> None:
        """Heartbeat of the driver: moves `updated_at` to now."""
        ...

    def list_walkers(self, campaign_id: int) -> tuple[WalkerRecord, ...]:
        """Walkers of a campaign by number."""
        ...

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
        """Stores what one or several walkers did since their last batch, in one transaction.

        Args:
            campaign_id: a running campaign.
            walkers: where the walkers stand now.
            progress: one entry per step.
            hiscores: candidates; the list keeps the best.
            verdict_counts: added to the campaign's counts of what became of proposals.
            failure_counts: added to the campaign's counts of failed numerical evaluations per analysis.

        Raises:
            CampaignError: the campaign is not running, a walker is unknown, or a walker would go back in steps.
        """
        ...

    def list_progress(
        self, campaign_id: int, walker_number: int | None = None, after: int = 0, limit: int = 1000
    ) -> tuple[ProgressRecord, ...]:
        """Steps whose `progress_id` is larger than `after`, in order of storage, at most `limit`."""
        ...

    def list_hiscores(self, campaign_id: int | None = None, limit: int = 10, after: int = 0) -> tuple[HiscoreRecord, ...]:
        """Hiscores by K downwards, of one campaign or of all.

        Args:
            campaign_id: the campaign, None for all.
            limit: number of entries at most.
            after: number of entries to leave out at the top.
        """
        ...

    def get_hiscore(self, hiscore_id: int) -> HiscoreRecord:
        """One hiscore."""
        ...

    def count_verdicts(self, campaign_id: int) -> Mapping[str, int]:
        """What became of the proposals so far, by name, sorted."""
        ...

    def count_failures(self, campaign_id: int) -> Mapping[str, int]:
        """Failed numerical evaluations so far per analysis, sorted."""
        ...

    def record_incident(self, campaign_id: int, incident: NewIncident) -> IncidentRecord:
        """Stores something that went wrong."""
        ...

    def list_incidents(self, campaign_id: int) -> tuple[IncidentRecord, ...]:
        """Incidents of a campaign in order of storage."""
        ...

    def close(self) -> None:
        """Gives connections back; the repository is not used afterwards."""
        ...
