"""What goes over the wire: separate from the tables, one model per resource, units in the field names.

JSON knows neither inf nor nan. Floats of type `Finite` are null instead; the description says what null means.
"""

from __future__ import annotations

import math
from datetime import datetime
from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def finite_or_none(value: float | None) -> float | None:
    """Returns the value, or None where JSON has no word for it.

    Examples:
        >>> finite_or_none(2.5), finite_or_none(float("inf")), finite_or_none(float("nan"))
        (2.5, None, None)
    """
    return value if value is not None and math.isfinite(value) else None


Finite = Annotated[float | None, BeforeValidator(finite_or_none)]
T = TypeVar("T")


class Schema(BaseModel):
    """Base of everything the API sends."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Page(Schema, Generic[T]):
    """One page of a list."""

    items: list[T]
    next_after: int | None = Field(None, description="give it as `after` for the next page; null on the last page")


class ErrorOut(Schema):
    """What every error looks like."""

    detail: str = Field(description="one sentence", examples=["no campaign has number 7"])


class HealthOut(Schema):
    """Whether the service can do its work."""

    status: str = Field(description='"ok", or "degraded" when the campaign storage cannot be read', examples=["ok"])
    version: str = Field(description="version of the service", examples=["0.1.0"])
    database: str = Field(description='"ok", "empty" while there is no database yet, or what is wrong with it', examples=["ok"])


class CampaignOut(Schema):
    """A campaign in numbers."""

    campaign_id: int = Field(examples=[1])
    name: str = Field(examples=["demo"])
    status: str = Field(description="created, running, interrupted, finished or failed", examples=["running"])
    error: str | None = Field(None, description="what stopped the campaign; null unless it failed")
    seed: int = Field(description="the one seed every walker's keys derive from", examples=[42])
    num_walkers: int = Field(examples=[8])
    num_steps: int = Field(description="steps each walker takes", examples=[500])
    steps_done: int = Field(description="steps taken so far by all walkers", examples=[1234])
    steps_total: int = Field(description="steps all walkers take together", examples=[4000])
    steps_per_s: Finite = Field(
        description="over the last seconds while running, else from creation to the last update [1/s]; null before the first step",
        examples=[41.5],
    )
    best_k: Finite = Field(description="largest K found so far; null while no model has a score", examples=[4.21])
    best_t_l: Finite = Field(description="T_L of that model; null while no model has a score", examples=[8.02])
    best_hiscore_id: int | None = Field(description="the model with the largest K; null while there is none", examples=[17])
    results_label: str = Field(description="the published results in use", examples=["SModelS 3.0.0"])
    is_approximate: bool = Field(description="results are low-order fits: for demonstration and tests, not for physics")
    results_hash: str = Field(description="content hash of the compiled results")
    combinability_hash: str = Field(description="content hash of the facts on which analyses may be combined")
    created_at: datetime = Field(description="clock of the database, UTC")
    updated_at: datetime = Field(description="last heartbeat, batch or change of state; clock of the database, UTC")


class IncidentOut(Schema):
    """Something that went wrong and was survived, or ended the campaign."""

    kind: str = Field(examples=["worker_died"])
    detail: str
    walker_numbers: list[int]
    created_at: datetime


class CampaignDetailOut(CampaignOut):
    """A campaign with what it was run with and what became of its proposals."""

    verdict_counts: dict[str, int] = Field(
        description="what became of the proposed models, by name", examples=[{"accepted": 310, "excluded": 31, "metropolis": 403}]
    )
    failure_counts: dict[str, int] = Field(description="failed numerical evaluations per analysis")
    incidents: list[IncidentOut]
    versions: dict[str, str] = Field(description="package → version of what computed the numbers")
    config: dict[str, Any] = Field(description="resolved configuration, every default filled in")


class WalkerOut(Schema):
    """Where one walker stands."""

    campaign_id: int
    walker_number: int = Field(description="counts from 0")
    status: str = Field(description="waiting, running, finished or failed", examples=["running"])
    step: int = Field(description="steps taken so far")
    k: Finite = Field(description="K of its present model; null where there is no score")
    t_l: Finite = Field(description="T_L of its present model; null where there is no score")
    best_k: Finite = Field(description="largest K of the walk so far; null before the first score")
    steps_per_s: Finite = Field(description="over the last batch [1/s]; null before the first")
    heartbeat_at: datetime | None = Field(description="when its last batch was stored, UTC; null before the first")


class ProgressOut(Schema):
    """What one step of one walker did."""

    progress_id: int = Field(description="cursor: grows with the order of storage")
    campaign_id: int
    walker_number: int
    step: int = Field(description="counts from 1; 0 is the start of the walk")
    k: Finite = Field(description="K after the step; null where there is no score")
    t_l: Finite = Field(description="T_L after the step; null where there is no score")
    best_k: Finite = Field(description="largest K of the walk up to this step; null before the first score")
    num_particles: int = Field(description="particles after the step, the lightest included")
    is_accepted: bool
    outcome: str = Field(description="what became of the proposal", examples=["ok", "excluded", "no_prediction"])
    moves: list[str] = Field(description="moves that made the proposal", examples=[["birth", "mass"]])


class TraceOut(Schema):
    """K over steps of one walker; lists of equal length, thinned for long chains."""

    walker_number: int
    step: list[int]
    k: list[Finite] = Field(description="null where there is no score")
    t_l: list[Finite] = Field(description="null where there is no score")
    best_k: list[Finite] = Field(description="largest K of the walk up to this step; null before the first score")
    num_particles: list[int]


class TracesOut(Schema):
    """K over steps of all walkers of a campaign."""

    campaign_id: int
    stride: int = Field(description="steps between two points of a walker, at least", examples=[1])
    cursor: int = Field(description="give it back as `after`, together with `stride`, for what came since")
    is_full: bool = Field(description="the answer replaces what the client has; otherwise its points are to be appended")
    is_complete: bool = Field(description="everything stored so far is covered; otherwise ask again")
    walkers: list[TraceOut]


class DecayOut(Schema):
    """One decay channel."""

    daughter_pids: list[int] = Field(examples=[[6, 1000022]])
    daughters: list[str] = Field(description="names of the daughters", examples=[["t", "X_Z^1"]])
    branching_ratio: float = Field(examples=[1.0])


class ParticleOut(Schema):
    """One particle of a protomodel."""

    pid: int = Field(description="PDG number", examples=[1000006])
    name: str = Field(examples=["X_t^1"])
    kind: str = Field(description="lbp, neutral, charged, gluon, light, bottom, top, lepton or neutrino", examples=["top"])
    mass_gev: float = Field(examples=[1166.0])
    decays: list[DecayOut] = Field(description="by branching ratio downwards; empty for the stable lightest particle")


class XsecOut(Schema):
    """A production cross section."""

    sqrts_tev: int = Field(examples=[13])
    xsec_fb: float = Field(examples=[2.6])


class ProductionOut(Schema):
    """One production channel."""

    pids: list[int] = Field(description="signed PDG numbers", examples=[[-1000006, 1000006]])
    particles: list[str] = Field(examples=[["X_t^1", "X_t^1"]])
    ssm: Finite = Field(description="signal strength multiplier κ; null where the model gives cross sections directly", examples=[1.2])
    xsecs: list[XsecOut] = Field(description="κ times the reference cross section")


class PriorTermsOut(Schema):
    """Counts that enter the prior ln π = −(n_p/a1 + n_BR/a2 + n_SSM/a3)."""

    num_particles: float = Field(examples=[3])
    num_branching_ratios: float = Field(examples=[0])
    num_ssms: float = Field(examples=[2.3])
    penalties: dict[str, Finite] = Field(
        default_factory=dict, description="ln of each further factor of the prior, by name; null: the factor is 0"
    )


class ConstraintOut(Schema):
    """A published result, or a combination of them, that a model was compared with."""

    critic: str = Field(description="who compared", examples=["upper_limit_v1"])
    analysis_ids: list[str] = Field(description="several for a combination", examples=[["CMS-SUS-19-006"]])
    kind: str = Field(description='"ul" (limits), "em" (one signal region) or "comb" (a combined likelihood)', examples=["ul"])
    dataset_id: str | None = Field(description="signal region; null for limits and combinations")
    txnames: list[str] = Field(description="simplified topologies", examples=[["T2tt"]])
    r_obs: Finite = Field(description="observed σ/σ_UL; null: undefined", examples=[1.29])
    r_exp: Finite = Field(description="expected σ/σ_UL; null: not published", examples=[1.1])


class FindingOut(Schema):
    """What one critic said."""

    critic: str = Field(examples=["upper_limit_v1"])
    is_excluded: bool
    mu_max: Finite = Field(description="largest signal strength it allows; null: it does not cap")
    reason: str


class VerdictOut(Schema):
    """What the critics say of a model."""

    is_excluded: bool
    mu_max: Finite = Field(description="largest signal strength allowed; null: nothing constrains the model")
    r_obs: Finite = Field(description="largest observed σ/σ_UL of the predictions that count; null: there is none")
    r_exp: Finite = Field(description="expected σ/σ_UL of the same prediction; null: not published")
    reason: str = Field(description="one sentence: which critic, which analysis, which numbers")
    num_undefined: int = Field(description="predictions whose r could not be computed; they neither exclude nor admit")
    undefined: dict[str, int] = Field(description="how many of them per analysis")
    constraints: list[ConstraintOut] = Field(description="what the model was compared with, nearest (largest r_obs) first")
    findings: list[FindingOut] = Field(description="what each critic said, in the order asked")


class MemberOut(Schema):
    """One likelihood of the best combination."""

    analysis_id: str = Field(examples=["CMS-EXO-20-004"])
    kind: str = Field(description='"ul" (limits), "em" (one signal region) or "comb" (the analysis\'s own combination)', examples=["em"])
    dataset_id: str | None = Field(description="signal region; null for limits and combinations", examples=["EM10"])
    txnames: list[str] = Field(description="simplified topologies", examples=[["TChiISR"]])
    unit: str = Field(description='unit of observed, expected and signal: "events" or "fb"', examples=["events"])
    observed: Finite = Field(examples=[413.0])
    expected: Finite = Field(description="null: undefined", examples=[359.0])
    expected_error: Finite = Field(description="of the expected background [events]; null for ul and comb", examples=[10.0])
    z: Finite = Field(description="local significance [standard deviations]; null: undefined", examples=[2.5])
    signal: Finite = Field(description="expected signal at μ̂, in `unit`", examples=[31.0])
    pids: list[int] = Field(examples=[[1000022, 1000024]])
    particles: list[str] = Field(examples=[["X_Z^1", "X_W^1"]])
    log_likelihood_ratio: Finite = Field(description="ln L(μ̂)/L(0) of this member", examples=[3.1])


class HiscoreOut(Schema):
    """A protomodel of the hiscore list."""

    hiscore_id: int
    campaign_id: int
    walker_number: int = Field(description="the walker that found it")
    step: int = Field(description="the step at which it found it")
    k: Finite = Field(description="K = T_L + 2 ln π", examples=[4.21])
    t_l: Finite = Field(description="T_L = 2 ln L(μ̂)/L(0) of the best combination", examples=[8.02])
    mu_hat: Finite = Field(description="best-fit signal strength", examples=[1.0])
    mu_max: Finite = Field(description="largest signal strength the critics allow; null: nothing constrains the model", examples=[1.3])
    log_prior: Finite = Field(description="ln π", examples=[-1.9])
    prior_terms: PriorTermsOut
    verdict: VerdictOut
    particles: list[ParticleOut] = Field(description="by mass downwards")
    combination: list[MemberOut] = Field(description="by significance downwards")
    outcome: str = Field(examples=["ok"])
    failures: dict[str, int] = Field(description="failed numerical evaluations per analysis")
    model_hash: str
    created_at: datetime


class AnalysisLinkOut(Schema):
    """Where an analysis is published."""

    analysis_id: str
    sqrts_tev: int
    lumi_ifb: float
    url: str | None = None


class HiscoreDetailOut(HiscoreOut):
    """A hiscore with everything needed to use it elsewhere."""

    production: list[ProductionOut] = Field(description="by cross section at 13 TeV downwards")
    analyses: list[AnalysisLinkOut] = Field(description="of the members of the combination, where the published results know them")
    protomodel: dict[str, Any] = Field(description="the model as `protomodels score` takes it")


class ResultOut(Schema):
    """One published analysis in the results database."""

    analysis_id: str = Field(examples=["CMS-SUS-19-006"])
    experiment: str = Field(examples=["CMS"])
    sqrts_tev: int = Field(examples=[13])
    lumi_ifb: float = Field(examples=[137.0])
    kinds: list[str] = Field(description='"upperLimit" and "efficiencyMap"', examples=[["upperLimit"]])
    num_regions: int = Field(description="signal regions of its efficiency maps", examples=[12])
    txnames: list[str] = Field(examples=[["T1", "T2"]])
    stat_models: list[str] = Field(description="statistical models published with it", examples=[["sl_v1"]])
    is_approximate: bool = Field(description="low-order fits: for demonstration and tests")
    notes: list[str] = Field(description="what is not usable, and why")
    url: str | None = None


class ResultRecordOut(Schema):
    """One kind of result of an analysis."""

    kind: str = Field(examples=["efficiencyMap"])
    folder: str = Field(examples=["13TeV/CMS/CMS-SUS-19-006"])
    num_regions: int
    region_ids: list[str]
    txnames: list[str]
    stat_model: str = Field(examples=["none", "sl_v1", "pyhf"])
    lifetime: str = Field(examples=["prompt"])
    fit_error: Finite = Field(None, description="relative error of the fits, where approximate; null elsewhere")
    notes: list[str]


class ResultDetailOut(ResultOut):
    """One published analysis with its references and all its kinds of result."""

    arxiv: str | None = None
    publication: str | None = None
    doi: str | None = None
    supersedes: list[str] = Field(description="analyses that it replaces")
    superseded_by: list[str] = Field(description="analyses that replace it")
    records: list[ResultRecordOut]


class ResultsOut(Page[ResultOut]):
    """All analyses of the results database."""

    label: str = Field(description="which results these are", examples=["SModelS 3.0.0"])
    is_approximate: bool = Field(description='to be shown as "approximate: for demonstration and tests"')
    content_hash: str
    num_results: int = Field(description="results: one per analysis and kind", examples=[204])
