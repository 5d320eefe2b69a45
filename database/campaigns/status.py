"""States of campaigns and walkers, and the table of legal transitions."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from database.errors import ProtomodelsError


class IllegalTransitionError(ProtomodelsError):
    """A campaign or walker was asked to change into a state that cannot follow its present one."""


class CampaignStatus(StrEnum):
    """Where a campaign stands."""

    CREATED = "created"
    """Stored with its configuration; no step taken yet."""
    RUNNING = "running"
    INTERRUPTED = "interrupted"
    """Stopped on request; everything up to the last batch is stored."""
    FINISHED = "finished"
    """Every walker took all its steps."""
    FAILED = "failed"
    """Stopped by an error, which is stored beside it."""


class WalkerStatus(StrEnum):
    """Where one walker stands."""

    WAITING = "waiting"
    """Not started, or stopped between two batches."""
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    """Its worker died more often than allowed."""


CAMPAIGN_TRANSITIONS: Mapping[CampaignStatus, frozenset[CampaignStatus]] = MappingProxyType(
    {
        CampaignStatus.CREATED: frozenset({CampaignStatus.RUNNING, CampaignStatus.FAILED}),
        CampaignStatus.RUNNING: frozenset({CampaignStatus.INTERRUPTED, CampaignStatus.FINISHED, CampaignStatus.FAILED}),
        CampaignStatus.INTERRUPTED: frozenset({CampaignStatus.RUNNING}),
        CampaignStatus.FINISHED: frozenset({CampaignStatus.RUNNING}),  # only to take more steps than planned at first
        CampaignStatus.FAILED: frozenset({CampaignStatus.RUNNING}),
    }
)

WALKER_TRANSITIONS: Mapping[WalkerStatus, frozenset[WalkerStatus]] = MappingProxyType(
    {
        WalkerStatus.WAITING: frozenset({WalkerStatus.RUNNING, WalkerStatus.FINISHED, WalkerStatus.FAILED}),
        WalkerStatus.RUNNING: frozenset({WalkerStatus.WAITING, WalkerStatus.FINISHED, WalkerStatus.FAILED}),
        WalkerStatus.FINISHED: frozenset({WalkerStatus.WAITING}),  # the campaign was extended
        WalkerStatus.FAILED: frozenset({WalkerStatus.WAITING, WalkerStatus.RUNNING, WalkerStatus.FINISHED}),
    }
)


def check_campaign_transition(before: CampaignStatus, after: CampaignStatus) -> None:
    """Refuses a change of a campaign's state that the table does not list.

    Raises:
        IllegalTransitionError: the new state cannot follow the present one.

    Examples:
        >>> check_campaign_transition(CampaignStatus.RUNNING, CampaignStatus.FINISHED)
        >>> check_campaign_transition(CampaignStatus.CREATED, CampaignStatus.FINISHED)
        Traceback (most recent call last):
        ...
        database.campaigns.status.IllegalTransitionError: a campaign that is created cannot become finished
    """
    if after not in CAMPAIGN_TRANSITIONS[before]:
        raise IllegalTransitionError(f"a campaign that is {before} cannot become {after}")


def check_walker_transition(before: WalkerStatus, after: WalkerStatus) -> None:
    """Refuses a change of a walker's state that the table does not list; staying as it is, is always allowed.

    Raises:
        IllegalTransitionError: the new state cannot follow the present one.

    Examples:
        >>> check_walker_transition(WalkerStatus.RUNNING, WalkerStatus.RUNNING)
    """
    if after is not before and after not in WALKER_TRANSITIONS[before]:
        raise IllegalTransitionError(f"a walker that is {before} cannot become {after}")
