"""Frozen values that go into and come out of the campaign storage.

`New...` and `...Update` values are written, `...Record` values are read. Floats are float64 throughout: inf and nan
survive a round trip. JSON values hold only dict, list, str, int, float, bool and None.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from database.campaigns.status import CampaignStatus, WalkerStatus

JsonDict = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class NewCampaign:
    """A campaign before its first step.

    Attributes:
        name: given by the user; need not be unique.
        seed: the one seed that every walker's keys derive from.
        config: the resolved configuration, every default filled in.
        num_walkers: number of independent chains.
        num_steps: steps each walker takes.
        keep_hiscores: length of the hiscore list.
        versions: package name → version of what computes the numbers.
        results_hash: content hash of the compiled results.
        combinability_hash: content hash of the combinability facts in use.
        results_label: what the results are, for people, e.g. "SModelS 3.0.0".
        is_approximate: whether the results are fits for demonstration rather than the published maps.
    """

    name: str
    seed: int
    config: JsonDict
    num_walkers: int
    num_steps: int
    keep_hiscores: int
    versions: Mapping[str, str]
    results_hash: str
    combinability_hash: str
    results_label: str
    is_approximate: bool


@dataclass(frozen=True, slots=True)
class CampaignRecord:
    """A stored campaign; fields as in `NewCampaign`, and what happened since.

    Attributes:
        campaign_id: counts from 1.
        status: where it stands.
        driver: "host:pid" of the process that runs or last ran it, None before the first.
        error: what stopped it, None unless failed.
        created_at: database clock, UTC.
        updated_at: last heartbeat, batch or change of state; database clock, UTC.
    """

    campaign_id: int
    name: str
    status: CampaignStatus
    seed: int
    config: JsonDict
    num_walkers: int
    num_steps: int
    keep_hiscores: int
    versions: Mapping[str, str]
    results_hash: str
    combinability_hash: str
    results_label: str
    is_approximate: bool
    driver: str | None
    error: str | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class WalkerUpdate:
    """Where a walker stands at the end of a batch.

    Attributes:
        walker_number: counts from 0.
        status: its state after the batch.
        step: steps taken so far.
        k: K of its present model; -inf where there is no score.
        tl: T_L of its present model.
        best_k: largest K of the walk so far.
        steps_per_s: steps per second over the batch [1/s].
        checkpoint: state from which step `step` + 1 replays; None keeps the stored one.
    """

    walker_number: int
    status: WalkerStatus
    step: int
    k: float
    tl: float
    best_k: float
    steps_per_s: float
    checkpoint: JsonDict | None = None


@dataclass(frozen=True, slots=True)
class WalkerRecord:
    """A stored walker; fields as in `WalkerUpdate`, checkpoint None before the first batch.

    Attributes:
        campaign_id: the campaign it belongs to.
        heartbeat_at: when its last batch was stored; database clock, UTC; None before the first batch.
    """

    campaign_id: int
    walker_number: int
    status: WalkerStatus
    step: int
    k: float
    tl: float
    best_k: float
    steps_per_s: float
    checkpoint: JsonDict | None
    heartbeat_at: datetime | None


@dataclass(frozen=True, slots=True)
class NewProgress:
    """What one step of one walker did.

    Attributes:
        walker_number: counts from 0.
        step: counts from 1; 0 is the start of the walk.
        k: K of the model after the step.
        tl: T_L of the model after the step.
        best_k: largest K of the walk up to this step.
        num_particles: particles of the model after the step, the lightest included.
        is_accepted: whether the proposal was accepted.
        outcome: what became of the proposal: an `Outcome` value, or "excluded".
        moves: names of the moves that made the proposal.
    """

    walker_number: int
    step: int
    k: float
    tl: float
    best_k: float
    num_particles: int
    is_accepted: bool
    outcome: str
    moves: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ProgressRecord:
    """A stored step; fields as in `NewProgress`.

    Attributes:
        progress_id: grows with the order of storage; the cursor of `list_progress`.
    """

    progress_id: int
    campaign_id: int
    walker_number: int
    step: int
    k: float
    tl: float
    best_k: float
    num_particles: int
    is_accepted: bool
    outcome: str
    moves: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NewHiscore:
    """A scored protomodel that may enter the hiscore list of its campaign.

    Attributes:
        walker_number: the walker that found it.
        step: the step at which it found it.
        k: K = T_L + 2 ln π.
        tl: T_L of the best combination.
        mu_hat: best-fit signal strength.
        mu_max: largest signal strength the critics allow; inf if unconstrained.
        log_prior: ln π.
        prior_terms: counts behind the prior, by name.
        verdict: the critics' judgement, by field name.
        combination: members of the best combination, each by field name.
        protomodel: the model as JSON.
        model_hash: content hash of the model; a hash is listed once per campaign.
        outcome: `Outcome` value of the evaluation.
        failures: failed numerical evaluations per analysis.
    """

    walker_number: int
    step: int
    k: float
    tl: float
    mu_hat: float
    mu_max: float
    log_prior: float
    prior_terms: JsonDict
    verdict: JsonDict
    combination: Sequence[JsonDict]
    protomodel: JsonDict
    model_hash: str
    outcome: str
    failures: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class HiscoreRecord:
    """A stored hiscore; fields as in `NewHiscore`.

    Attributes:
        hiscore_id: stays with the model as long as it is listed.
        created_at: when it entered the list; database clock, UTC.
    """

    hiscore_id: int
    campaign_id: int
    walker_number: int
    step: int
    k: float
    tl: float
    mu_hat: float
    mu_max: float
    log_prior: float
    prior_terms: JsonDict
    verdict: JsonDict
    combination: Sequence[JsonDict]
    protomodel: JsonDict
    model_hash: str
    outcome: str
    failures: Mapping[str, int]
    created_at: datetime


@dataclass(frozen=True, slots=True)
class NewIncident:
    """Something that went wrong and was survived, or ended the campaign.

    Attributes:
        kind: "worker_died", "walker_failed", "driver_failed".
        detail: one sentence with what is known.
        walker_numbers: walkers concerned.
    """

    kind: str
    detail: str
    walker_numbers: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class IncidentRecord:
    """A stored incident; fields as in `NewIncident`."""

    incident_id: int
    campaign_id: int
    kind: str
    detail: str
    walker_numbers: tuple[int, ...]
    created_at: datetime
