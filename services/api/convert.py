"""Records of the campaign storage → what goes over the wire."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from builder.evaluation_json import verdict_fields, verdict_from_fields
from builder.model_io import write_slha
from builder.particles import find_particle, is_bsm, symbol
from builder.protomodel import ProtoModel
from database.campaigns.records import CampaignRecord, HiscoreRecord, ProgressRecord, WalkerRecord
from database.campaigns.repository import CampaignRepository
from database.campaigns.status import CampaignStatus
from inference.spectrum import LBP_PID, PidPair
from services.api import schemas
from services.api.rates import RateMeter, mean_rate
from services.api.results import PublishedResults
from services.api.traces import TracePoint, TraceSnapshot

TRACE_DECIMALS = 4
"""K and T_L of a plotted trace are rounded so; `/progress` has them in full."""


def particle_name(pid: int) -> str:
    """Returns the name of a signed PDG id; charges are left out, antiquarks carry a bar.

    Examples:
        >>> particle_name(1000006), particle_name(-1000024), particle_name(-24), particle_name(-5)
        ('X_t^1', 'X_W^1', 'W', 'b̄')
    """
    particle = find_particle(pid)
    return particle.name if particle is not None else symbol(pid).rstrip("⁺⁻")


def particle_kind(pid: int) -> str:
    """Returns the kind of a particle of the pool, for colours and groups.

    Examples:
        >>> particle_kind(1000022), particle_kind(1000023), particle_kind(2000006), particle_kind(1000012)
        ('lbp', 'neutral', 'top', 'neutrino')
    """
    if pid == LBP_PID:
        return "lbp"
    by_number = {21: "gluon", 24: "charged", 37: "charged", 23: "neutral", 25: "neutral", 5: "bottom", 6: "top"}
    number = pid % 1000000
    if number in by_number:
        return by_number[number]
    if number in (1, 2, 3, 4):
        return "light"
    return "neutrino" if number in (12, 14, 16) else "lepton"


def _campaign_fields(repository: CampaignRepository, record: CampaignRecord, rates: RateMeter) -> dict[str, Any]:
    num_steps = sum(walker.step for walker in repository.list_walkers(record.campaign_id))
    is_running = record.status is CampaignStatus.RUNNING
    rate = rates.observe(record.campaign_id, num_steps) if is_running else None
    best = next(iter(repository.list_hiscores(record.campaign_id, limit=1)), None)
    return {
        "campaign_id": record.campaign_id,
        "name": record.name,
        "status": record.status.value,
        "error": record.error,
        "seed": record.seed,
        "num_walkers": record.num_walkers,
        "num_steps": record.num_steps,
        "steps_done": num_steps,
        "steps_total": record.num_walkers * record.num_steps,
        "steps_per_s": rate if rate is not None else mean_rate(num_steps, record.created_at, record.updated_at),
        "best_k": best.k if best else None,
        "best_t_l": best.tl if best else None,
        "best_hiscore_id": best.hiscore_id if best else None,
        "results_label": record.results_label,
        "is_approximate": record.is_approximate,
        "results_hash": record.results_hash,
        "combinability_hash": record.combinability_hash,
        "created_at": record.created_at,
        "updated_at": record.updated_at,
    }


def campaign_out(repository: CampaignRepository, record: CampaignRecord, rates: RateMeter) -> schemas.CampaignOut:
    """A campaign in numbers, its progress summed over the walkers."""
    return schemas.CampaignOut(**_campaign_fields(repository, record, rates))


def campaign_detail(repository: CampaignRepository, record: CampaignRecord, rates: RateMeter) -> schemas.CampaignDetailOut:
    """A campaign with its configuration and what became of its proposals."""
    incidents = [
        schemas.IncidentOut(kind=i.kind, detail=i.detail, walker_numbers=list(i.walker_numbers), created_at=i.created_at)
        for i in repository.list_incidents(record.campaign_id)
    ]
    return schemas.CampaignDetailOut(
        **_campaign_fields(repository, record, rates),
        verdict_counts=dict(repository.count_verdicts(record.campaign_id)),
        failure_counts=dict(repository.count_failures(record.campaign_id)),
        incidents=incidents,
        versions=dict(record.versions),
        config=json_safe(record.config),
    )


def json_safe(value: Any) -> Any:
    """Returns a JSON value with inf and nan replaced by None.

    Examples:
        >>> json_safe({"a": [1.0, float("nan")]})
        {'a': [1.0, None]}
    """
    if isinstance(value, Mapping):
        return {str(key): json_safe(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_safe(item) for item in value]
    return schemas.finite_or_none(value) if isinstance(value, float) else value


def walker_out(record: WalkerRecord) -> schemas.WalkerOut:
    """A walker without its checkpoint."""
    return schemas.WalkerOut(
        campaign_id=record.campaign_id,
        walker_number=record.walker_number,
        status=record.status.value,
        step=record.step,
        k=record.k,
        t_l=record.tl,
        best_k=record.best_k,
        steps_per_s=record.steps_per_s,
        heartbeat_at=record.heartbeat_at,
    )


def progress_out(record: ProgressRecord) -> schemas.ProgressOut:
    """One step."""
    return schemas.ProgressOut(
        progress_id=record.progress_id,
        campaign_id=record.campaign_id,
        walker_number=record.walker_number,
        step=record.step,
        k=record.k,
        t_l=record.tl,
        best_k=record.best_k,
        num_particles=record.num_particles,
        is_accepted=record.is_accepted,
        outcome=record.outcome,
        moves=list(record.moves),
    )


def _rounded(value: float) -> float | None:
    return round(value, TRACE_DECIMALS) if math.isfinite(value) else None


def _trace_out(walker_number: int, points: list[TracePoint]) -> schemas.TraceOut:
    return schemas.TraceOut(
        walker_number=walker_number,
        step=[point.step for point in points],
        k=[_rounded(point.k) for point in points],
        t_l=[_rounded(point.tl) for point in points],
        best_k=[_rounded(point.best_k) for point in points],
        num_particles=[point.num_particles for point in points],
    )


def traces_out(campaign_id: int, snapshot: TraceSnapshot, *, after: int, stride: int) -> schemas.TracesOut:
    """Traces, or only their points after `after` if the client's stride is still the present one."""
    is_full = after == 0 or stride != snapshot.stride or after > snapshot.cursor
    chosen = {number: [point for point in points if is_full or point.progress_id > after] for number, points in snapshot.walkers.items()}
    return schemas.TracesOut(
        campaign_id=campaign_id,
        stride=snapshot.stride,
        cursor=snapshot.cursor,
        is_full=is_full,
        is_complete=snapshot.is_complete,
        walkers=[_trace_out(number, points) for number, points in chosen.items() if points],
    )


def _decays_out(model: ProtoModel, pid: int) -> list[schemas.DecayOut]:
    channels = sorted(model.branching_ratios.get(pid, {}).items(), key=lambda item: (-item[1], item[0]))
    return [
        schemas.DecayOut(
            daughter_pids=list(daughters),
            daughters=[particle_name(d) for d in sorted(daughters, key=lambda d: (is_bsm(d), abs(d), -d))],
            branching_ratio=branching_ratio,
        )
        for daughters, branching_ratio in channels
        if branching_ratio > 0.0
    ]


def particles_out(model: ProtoModel) -> list[schemas.ParticleOut]:
    """The particles of a model by mass downwards, with their decays."""
    return [
        schemas.ParticleOut(pid=pid, name=particle_name(pid), kind=particle_kind(pid), mass_gev=mass, decays=_decays_out(model, pid))
        for pid, mass in sorted(model.masses.items(), key=lambda item: (-item[1], item[0]))
    ]


def production_out(model: ProtoModel) -> list[schemas.ProductionOut]:
    """Production channels with a cross section, the largest at 13 TeV first."""
    by_pair: dict[PidPair, dict[int, float]] = {}
    for sqrts_tev, xsecs in sorted(model.spectrum().xsecs_fb.items()):
        for pair, xsec in xsecs.items():
            if xsec > 0.0:
                by_pair.setdefault(pair, {})[int(sqrts_tev)] = xsec
    ordered = sorted(by_pair.items(), key=lambda item: (-item[1].get(13, 0.0), item[0]))
    return [
        schemas.ProductionOut(
            pids=list(pair),
            particles=[particle_name(abs(pid)) for pid in pair],
            ssm=None if model.explicit_xsecs_fb is not None else model.ssm(pair),
            xsecs=[schemas.XsecOut(sqrts_tev=sqrts_tev, xsec_fb=xsec) for sqrts_tev, xsec in xsecs.items()],
        )
        for pair, xsecs in ordered
    ]


def member_out(member: Mapping[str, Any]) -> schemas.MemberOut:
    """One member of a combination as the hiscore tables show it."""
    return schemas.MemberOut(
        analysis_id=member["analysis_id"],
        kind=member["kind"],
        dataset_id=member["dataset_id"],
        txnames=list(member["txnames"]),
        unit="events" if member["kind"] == "em" else "fb",
        observed=member["observed"],
        expected=member["expected"],
        expected_error=member["expected_error"],
        z=member["z"],
        signal=member["signal"],
        pids=list(member["pids"]),
        particles=[particle_name(pid) for pid in member["pids"]],
        log_likelihood_ratio=member["log_likelihood_ratio"],
    )


def _hiscore_fields(record: HiscoreRecord, model: ProtoModel) -> dict[str, Any]:
    members = [member_out(member) for member in record.combination]
    return {
        "hiscore_id": record.hiscore_id,
        "campaign_id": record.campaign_id,
        "walker_number": record.walker_number,
        "step": record.step,
        "k": record.k,
        "t_l": record.tl,
        "mu_hat": record.mu_hat,
        "mu_max": record.mu_max,
        "log_prior": record.log_prior,
        "prior_terms": schemas.PriorTermsOut(**record.prior_terms),
        "verdict": schemas.VerdictOut(**verdict_fields(verdict_from_fields(record.verdict))),
        "particles": particles_out(model),
        "combination": sorted(members, key=lambda m: (m.z is None, -(m.z or 0.0), m.analysis_id)),
        "outcome": record.outcome,
        "failures": dict(record.failures),
        "model_hash": record.model_hash,
        "created_at": record.created_at,
    }


def hiscore_out(record: HiscoreRecord) -> schemas.HiscoreOut:
    """A hiscore as the list shows it."""
    return schemas.HiscoreOut(**_hiscore_fields(record, ProtoModel.from_json(record.protomodel)))


def hiscore_detail(record: HiscoreRecord, results: PublishedResults) -> schemas.HiscoreDetailOut:
    """A hiscore with production cross sections, links to its analyses and the model itself."""
    model = ProtoModel.from_json(record.protomodel)
    return schemas.HiscoreDetailOut(
        **_hiscore_fields(record, model),
        production=production_out(model),
        analyses=results.links([str(member["analysis_id"]) for member in record.combination]),
        protomodel=json_safe(record.protomodel),
    )


def hiscore_slha(record: HiscoreRecord) -> str:
    """A hiscore as the text of an SLHA file."""
    return write_slha(ProtoModel.from_json(record.protomodel))
