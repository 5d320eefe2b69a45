"""A campaign as the service finds it in the storage: real models, members and verdicts, with the odd inf and nan."""

from __future__ import annotations

import math
from dataclasses import asdict

from builder.evaluation import Member, PriorTerms
from builder.evaluation_json import verdict_fields
from builder.protomodel import ProtoModel
from critics.verdict import Verdict
from database.campaigns.records import CampaignRecord, NewCampaign, NewHiscore, NewIncident, NewProgress, WalkerUpdate
from database.campaigns.repository import CampaignRepository
from database.campaigns.status import WalkerStatus

NUM_WALKERS = 3
NUM_STEPS = 40

EXCESS = Member("CMS-EXO-20-004", "comb", None, ("TChiISR",), 213.0, 108.0, math.nan, 4.6, 162.0, (1000022, 1000024), 5.1)
REGION = Member("ATLAS-SUSY-2018-12", "em", "SRBTT", ("T2tt",), 67.0, 46.0, 7.0, 2.1, 14.2, (1000006, 1000022), 2.0)
LIMIT = Member("CMS-SUS-13-012", "ul", None, ("T2",), 30.8, math.nan, math.nan, math.nan, 24.0, (1000001, 1000022), 0.8)


def stop_model(mass_gev: float = 1100.0) -> ProtoModel:
    """X_t^1 → t X_Z^1, the winner of the toy walk of arXiv:2012.12246."""
    return ProtoModel({1000022: 160.0, 1000006: mass_gev}, {1000006: {(6, 1000022): 1.0}}, {(-1000006, 1000006): 1.2})


def squark_model() -> ProtoModel:
    """X_d → d X_Z^1."""
    return ProtoModel({1000022: 160.0, 1000001: 735.0}, {1000001: {(1, 1000022): 1.0}}, {(-1000001, 1000001): 0.5})


def electroweak_model() -> ProtoModel:
    """A compressed electroweak spectrum with off-shell decays."""
    return ProtoModel(
        {1000022: 162.0, 1000023: 188.0, 1000024: 185.0, 1000025: 402.0},
        {
            1000023: {(-2, 2, 1000022): 0.75, (-5, 5, 1000022): 0.25},
            1000024: {(-1, 2, 1000022): 1.0},
            1000025: {(25, 1000023): 0.83, (23, 1000023): 0.17},
        },
        {(1000023, 1000024): 1.31},
    )


def build_hiscore(model: ProtoModel, tl: float, members: tuple[Member, ...], mu_max: float, walker_number: int, step: int) -> NewHiscore:
    """A hiscore as the campaign stores it."""
    prior_terms = PriorTerms(model.num_particles, 0, 1.2)
    log_prior = -(prior_terms.num_particles / 2 + prior_terms.num_ssms / 8)
    is_free = math.isinf(mu_max)
    reason = "no result constrains the model" if is_free else f"CMS-SUS-19-006 allows μ up to {mu_max:.2f}"
    verdict = Verdict(False, mu_max, math.nan if is_free else 1.3 / mu_max, math.nan, reason, 1)
    return NewHiscore(
        walker_number=walker_number,
        step=step,
        k=tl + 2 * log_prior,
        tl=tl,
        mu_hat=1.0,
        mu_max=mu_max,
        log_prior=log_prior,
        prior_terms=asdict(prior_terms),
        verdict=verdict_fields(verdict),
        combination=[asdict(member) for member in members],
        protomodel=model.to_json(),
        model_hash=model.content_hash,
        outcome="ok",
        failures={"ATLAS-SUSY-2018-16": 2},
    )


def trace_k(walker_number: int, step: int) -> float:
    """K of a walker after a step: rising, with a first step that has no score."""
    return -math.inf if step < 2 else 0.1 * step - walker_number


def start_campaign(repository: CampaignRepository, *, num_steps: int = NUM_STEPS, name: str = "sample") -> CampaignRecord:
    """Creates and claims a campaign."""
    campaign = repository.create_campaign(
        NewCampaign(
            name=name,
            seed=42,
            config={"walk": {"beta": 1.0, "max_ssm": math.inf}},
            num_walkers=NUM_WALKERS,
            num_steps=num_steps,
            keep_hiscores=10,
            versions={"protomodels": "0.1.0"},
            results_hash="ab" * 32,
            combinability_hash="cd" * 32,
            results_label="embedded excerpt (approximate: for demonstration and tests), 14 results",
            is_approximate=True,
        )
    )
    return repository.claim_campaign(campaign.campaign_id, "host:1")


def add_steps(repository: CampaignRepository, campaign_id: int, first: int, last: int, *, hiscores: tuple[NewHiscore, ...] = ()) -> None:
    """Stores steps first…last of every walker, walker by walker as batches arrive."""
    for walker_number in range(NUM_WALKERS):
        progress = [
            NewProgress(
                walker_number=walker_number,
                step=step,
                k=trace_k(walker_number, step),
                tl=math.nan if step < 2 else trace_k(walker_number, step) + 3.0,
                best_k=trace_k(walker_number, step),
                num_particles=2 + step % 3,
                is_accepted=True,
                outcome="ok" if step > 1 else "no_prediction",
                moves=("mass",),
            )
            for step in range(first, last + 1)
        ]
        update = WalkerUpdate(
            walker_number=walker_number,
            status=WalkerStatus.RUNNING,
            step=last,
            k=progress[-1].k,
            tl=progress[-1].tl,
            best_k=progress[-1].best_k,
            steps_per_s=5.0,
            checkpoint={"step": last},
        )
        repository.record_batch(
            campaign_id,
            walkers=[update],
            progress=progress,
            hiscores=[h for h in hiscores if h.walker_number == walker_number],
            verdict_counts={"accepted": len(progress)},
        )


def sample_hiscores() -> tuple[NewHiscore, ...]:
    """Three hiscores; one that nothing constrains, one with undefined numbers."""
    return (
        build_hiscore(stop_model(), 9.0, (REGION, EXCESS), 1.31, 0, 12),
        build_hiscore(electroweak_model(), 8.0, (EXCESS,), math.inf, 1, 20),
        build_hiscore(squark_model(), 5.0, (LIMIT, REGION), 1.05, 2, 30),
    )


def fill_repository(repository: CampaignRepository) -> CampaignRecord:
    """A running campaign with steps, hiscores and an incident."""
    campaign = start_campaign(repository)
    add_steps(repository, campaign.campaign_id, 1, NUM_STEPS - 10, hiscores=sample_hiscores())
    repository.record_incident(campaign.campaign_id, NewIncident("worker_died", "worker 2 was killed; its walker was restarted", (2,)))
    return repository.get_campaign(campaign.campaign_id)
