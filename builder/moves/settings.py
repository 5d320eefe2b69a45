"""Settings of the walk: every probability and step size of the moves, the kernel and the start.

Defaults follow arXiv:2012.12246 where it states a number, and the code behind that paper where the text is silent.
Each place where the two disagree, or where both were wrong, is named in the description of the field.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from builder.particle_rules import ParticleRules
from builder.particles import is_known
from builder.pool import Pool, PoolSettings, build_pool, read_pids
from inference.spectrum import LBP_PID


class _Frozen(BaseModel):
    """A frozen model that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class TrimSettings(_Frozen):
    """Removal of particles that the best combination does not see."""

    is_enabled: bool = Field(True, description="whether unused particles are removed before the random changes of a step")


class BirthSettings(_Frozen):
    """Adding a particle: a threshold u ~ N(reach / D, spread) is drawn, D = max(1, T_L + 1); add iff u >= n / N."""

    reach: float = Field(
        0.3, gt=0, description="mean of the threshold at low test statistic (D = 1); it falls as 1 / D, adding becomes rarer [1]"
    )
    spread: float = Field(0.5, gt=0, description="standard deviation of the threshold [1]")
    off_shell_probability: float = Field(
        0.1, ge=0, le=1, description="probability that X_Z^2 or X_W^1 starts in its off-shell mass window [1]"
    )
    br_spread: float = Field(
        0.5, gt=0, description="variance of a first branching ratio times its number of open channels: BR ~ N(1/k, sqrt(br_spread/k)) [1]"
    )
    max_redraws: int = Field(20, ge=1, description="attempts to draw a mass outside the corridor before the birth is given up")


class DeathSettings(_Frozen):
    """Removing a particle: a threshold u ~ N(1 - reach / D, spread) is drawn, D = max(1, T_L + 1); remove iff u <= n / N."""

    reach: float = Field(
        0.6, gt=0, le=1, description="1 - mean of the threshold at D = 1; the mean rises to 1 with D, removing becomes rarer [1]"
    )
    spread: float = Field(0.5, gt=0, description="standard deviation of the threshold [1]")
    heaviest_probability: float = Field(0.3, ge=0, le=1, description="probability that the heaviest particle is chosen [1]")


class BranchingRatioSettings(_Frozen):
    """Changes of the branching ratios of one particle."""

    probability: float = Field(0.2, ge=0, le=1, description="probability per step that branching ratios change [1]")
    single_channel_probability: float = Field(0.05, ge=0, le=1, description="share of changes in which one channel takes everything [1]")
    close_probability: float = Field(0.05, ge=0, le=1, description="probability that an open channel is set to zero, per channel [1]")
    max_step: float = Field(0.1, gt=0, le=1, description="half width a of the flat step, for a particle with one open channel [1]")
    step_scaling: Literal["1/k", "1/sqrt(k)"] = Field(
        "1/k", description="how the half width falls with the number k of open channels: 1/k (paper) or 1/sqrt(k) (its code)"
    )


class SsmSettings(_Frozen):
    """Changes of signal strength multipliers."""

    probability: float = Field(0.25, ge=0, le=1, description="probability per step that signal strength multipliers change [1]")
    one_particle_probability: float = Field(0.8, ge=0, le=1, description="share of kind 'one particle'; the rest is 'one process' [1]")
    knock_out_probability: float = Field(0.1, ge=0, le=1, description="share within 'one particle': one process is switched off [1]")
    reset_probability: float = Field(0.1, ge=0, le=1, description="share within 'one particle': one process is set to 1 [1]")
    copy_probability: float = Field(0.1, ge=0, le=1, description="share within 'one particle': one process takes the value of another [1]")
    knock_out_value: float = Field(1e-5, ge=0, description="signal strength multiplier of a process that is switched off [1]")
    factor_half_width: float = Field(0.2, gt=0, lt=1, description="all processes of a particle are scaled by U(1 - w, 1 + w): w [1]")
    process_factor_sigma: float = Field(0.1, ge=0, description="'one process': standard deviation of the factor around 1 [1]")
    process_shift_mean: float = Field(
        0.1, description="'one process': mean of the term that is added after scaling; in the published code, not in the paper [1]"
    )
    process_shift_sigma: float = Field(0.1, ge=0, description="'one process': standard deviation of the added term [1]")

    @model_validator(mode="after")
    def _shares_fit(self) -> Self:
        if self.knock_out_probability + self.reset_probability + self.copy_probability > 1.0:
            raise ValueError("knock_out_probability + reset_probability + copy_probability exceed 1")
        return self


class MassSettings(_Frozen):
    """Changes of one mass."""

    probability_after_change: float = Field(
        0.05, ge=0, le=1, description="probability of a mass change when something else changed in this step; 1 otherwise [1]"
    )
    max_step_gev: float = Field(200.0, gt=0, description="half width of the flat mass step [GeV]")
    step_scaling: Literal["fixed", "adaptive"] = Field(
        "fixed",
        description="fixed: the half width as given (all published runs); adaptive: at most 40 GeV / (sqrt(n) D), D = max(1, T_L + 1)",
    )
    widening: float = Field(1.2, ge=1, description="factor on the half width after each illegal draw [1]")
    max_redraws: int = Field(20, ge=1, description="draws before the mass is left as it was")
    off_shell_probability: float = Field(
        0.1, ge=0, le=1, description="probability that X_Z^2 or X_W^1, on shell so far, is moved into its off-shell window [1]"
    )
    tie_probability: float = Field(0.1, ge=0, le=1, description="probability that X_Z^2 and X_W^1 jump together, when one is on shell [1]")
    tie_probability_off_shell: float = Field(0.2, ge=0, le=1, description="the same when the moved one is off shell [1]")
    tie_half_width: float = Field(0.01, ge=0, lt=1, description="the tied mass is the moved one times U(1 - w, 1 + w): w [1]")


class MergeSettings(_Frozen):
    """The simplified copy, in which close partners become one particle."""

    is_enabled: bool = Field(True, description="whether each proposal competes with its simplified copy")
    max_mass_gap_gev: float = Field(200.0, gt=0, description="partners closer than this are merged [GeV]")


class TeleportSettings(_Frozen):
    """Jumps to a stored hiscore. With it a chain depends on the other walks, so a replay needs their history."""

    is_enabled: bool = Field(False, description="whether walks may jump to the hiscores they are handed")
    last_step: int | None = Field(None, ge=0, description="last step in which a jump may happen; none: no limit")
    min_best_k: float = Field(1.0, description="K of the best hiscore below which nobody jumps [1]")
    k_floor: float = Field(-2.0, description="own K is taken as at least this [1]")
    k_scale: float = Field(10.0, gt=0, description="p = max_probability (1 - exp((K - K_best) / k_scale)): k_scale [1]")
    max_probability: float = Field(0.5, ge=0, le=1, description="probability of a jump when far below the best hiscore [1]")


class RefineSettings(_Frozen):
    """Climbing along the gradient of K."""

    is_enabled: bool = Field(False, description="whether the best model of a walk, when it is found, is refined along the gradient of K")
    min_k: float = Field(0.0, description="models with a smaller K are not refined [1]")
    min_gain: float = Field(0.5, ge=0, description="refine again only after the walk has found something better by this much [1]")
    max_evaluations: int = Field(30, ge=1, description="evaluations with gradient per climb [1]")
    mass_range_gev: float = Field(100.0, gt=0, description="largest change of a mass in one climb [GeV]")
    mass_scale_gev: float = Field(20.0, gt=0, description="change of a mass that the climb treats like a factor e in κ [GeV]")


class StartSettings(_Frozen):
    """The first model of a walk."""

    lbp_mass_min_gev: float = Field(200.0, gt=0, description="lower end of the flat draw of the lightest particle's mass [GeV]")
    lbp_mass_max_gev: float = Field(500.0, gt=0, description="upper end of the flat draw of the lightest particle's mass [GeV]")
    initial_particles: tuple[int, ...] = Field(
        (), description="particles that are added in this order at the start, by PDG id or name; empty: one particle at random"
    )

    num_candidates: int = Field(
        1,
        ge=1,
        description="starts that are drawn and scored; one is taken with probability exp(K/2), so that walks begin at excesses; "
        "1: one random start, as published",
    )
    max_candidate_particles: int = Field(
        3,
        ge=1,
        description="particles beside X_Z^1 of the candidates: one to this many, drawn flat (only with several candidates)",
    )

    @field_validator("initial_particles", mode="before")
    @classmethod
    def _read_initial(cls, value: Any) -> Any:
        return read_pids(value, "initial_particles")

    @model_validator(mode="after")
    def _range_is_ordered(self) -> Self:
        if self.lbp_mass_min_gev > self.lbp_mass_max_gev:
            raise ValueError("lbp_mass_min_gev exceeds lbp_mass_max_gev")
        _check_pids(self.initial_particles)
        return self


class WalkSettings(_Frozen):
    """How a walk proposes, restricts and accepts models."""

    pool: PoolSettings = Field(default_factory=PoolSettings, description="which particles, channels and multipliers a walk may use")
    rules: ParticleRules = Field(default_factory=ParticleRules, description="mass limits, walls, corridor, ordering")
    start: StartSettings = Field(default_factory=StartSettings, description="the first model")
    trim: TrimSettings = Field(default_factory=TrimSettings, description="removal of particles the best combination does not see")
    birth: BirthSettings = Field(default_factory=BirthSettings, description="adding a particle")
    branching_ratio: BranchingRatioSettings = Field(default_factory=BranchingRatioSettings, description="changing branching ratios")
    ssm: SsmSettings = Field(default_factory=SsmSettings, description="changing signal strength multipliers")
    death: DeathSettings = Field(default_factory=DeathSettings, description="removing a particle")
    mass: MassSettings = Field(default_factory=MassSettings, description="changing a mass")
    merge: MergeSettings = Field(default_factory=MergeSettings, description="the simplified copy")
    teleport: TeleportSettings = Field(default_factory=TeleportSettings, description="jumps to hiscores")
    refine: RefineSettings = Field(default_factory=RefineSettings, description="climbing along the gradient of K")
    temperatures: tuple[float, ...] = Field(
        (1.0,),
        min_length=1,
        description="temperature of each walker, repeated in turn: K is lowered with probability exp(ΔK/2T); hot walkers leave local "
        "maxima; 1: as published [1]",
    )
    forbidden_particles: tuple[int, ...] = Field((), description="particles that are never added, by PDG id or name")
    ssm_cap: float = Field(100.0, gt=0, description="largest signal strength multiplier [1]")
    mu_tolerance: float = Field(0.001, gt=0, lt=1, description="a stored model has |mu_hat - 1| below this, or mu_hat = 0 [1]")
    max_rescalings: int = Field(5, ge=0, description="attempts to scale the multipliers to mu_hat = 1 before the step is rejected")

    @field_validator("forbidden_particles", mode="before")
    @classmethod
    def _read_forbidden(cls, value: Any) -> Any:
        return read_pids(value, "forbidden_particles")

    @field_validator("forbidden_particles")
    @classmethod
    def _forbidden_exist(cls, pids: tuple[int, ...]) -> tuple[int, ...]:
        return _check_pids(pids)

    @field_validator("temperatures")
    @classmethod
    def _temperatures_are_positive(cls, temperatures: tuple[float, ...]) -> tuple[float, ...]:
        if any(not 0.0 < value < math.inf for value in temperatures):
            raise ValueError("temperatures must be positive numbers")
        return temperatures

    @model_validator(mode="after")
    def _start_is_allowed(self) -> Self:
        clash = sorted(set(self.forbidden_particles) & set(self.start.initial_particles))
        if clash:
            raise ValueError(f"initial_particles and forbidden_particles both name {clash}")
        outside = [pid for pid in self.start.initial_particles if pid not in self.particle_pool.pids]
        if outside:
            raise ValueError(f"start.initial_particles names {outside[0]}, which is not in the pool")
        if len(self.particle_pool.pids) == 1:
            raise ValueError("pool: no particle is left beside X_Z^1")
        return self

    @cached_property
    def particle_pool(self) -> Pool:
        """The particles and channels that the walk may use."""
        pool = self.pool
        return build_pool(
            pool.catalogue, frozenset(pool.allowed_particles), frozenset(self.forbidden_particles), pool.allowed_keys, pool.forbidden_keys
        )


def _check_pids(pids: tuple[int, ...]) -> tuple[int, ...]:
    """Return the ids; each must be a pool particle other than the lightest."""
    for pid in pids:
        if not is_known(pid) or pid == LBP_PID:
            raise ValueError(f"{pid} is not the PDG id of a particle that can be added")
    return pids
