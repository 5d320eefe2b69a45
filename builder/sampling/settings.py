"""Settings of the `sample` mode: target, prior, tempering, proposals."""

from __future__ import annotations

import itertools
from enum import StrEnum
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from builder.particles import is_known
from builder.pool import read_pids
from inference.spectrum import LBP_PID


class _Frozen(BaseModel):
    """A frozen model that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Complexity(StrEnum):
    """What the named prior of the score (expo1 and others) is a law of."""

    PER_COUNT = "per_count"
    """The number of parameters: P(n) ∝ π(n), and all structures with the same n share it equally."""
    PER_MODEL = "per_model"
    """The single structure: each one weighs π(n), however many there are."""


class LikelihoodName(StrEnum):
    """What a state weighs beside its prior; see `builder.sampling.likelihood`."""

    AT_ONE = "at_one"
    """ln L_c(1)/L_c(0) of the maximal combination c for which it is largest."""
    PROFILED = "profiled"
    """T_L/2, the signal strength profiled up to the critics' limit: the score the walk maximises, as a density."""
    FIXED = "fixed"
    """Σ ln L_i(1)/L_i(0) over a fixed list of analyses: the likelihood of one fixed set of data."""


class MoveWeights(_Frozen):
    """How often each family of moves is tried; a move and its reverse share one weight."""

    birth_death: float = Field(0.12, ge=0, description="a particle joins or leaves, with its mass, decays and multipliers")
    merge_split: float = Field(0.05, ge=0, description="two partners become one, or one becomes two")
    swap: float = Field(0.04, ge=0, description="light quarks, or lepton generations, exchange their roles")
    independent: float = Field(0.02, ge=0, description="a whole state is drawn from the prior (helps hot chains)")
    mass_one: float = Field(0.16, ge=0, description="one mass")
    mass_pair: float = Field(0.06, ge=0, description="two masses by the same amount")
    mass_all: float = Field(0.05, ge=0, description="the whole spectrum by the same amount")
    mass_constant_xsec: float = Field(0.08, ge=0, description="one mass, with a multiplier that keeps its cross section")
    br_walk: float = Field(0.08, ge=0, description="branching ratios of one particle, its open channels kept")
    br_open_close: float = Field(0.08, ge=0, description="one channel opens or closes")
    br_exchange: float = Field(0.04, ge=0, description="an open and a closed channel exchange their roles")
    kappa_class: float = Field(0.08, ge=0, description="the multiplier of one tied class")
    kappa_particle: float = Field(0.04, ge=0, description="all multipliers of one particle by the same factor")
    kappa_copy_detach: float = Field(0.04, ge=0, description="a process takes the multiplier of another class, or gets its own")
    kappa_transfer: float = Field(0.02, ge=0, description="a process changes from one tied class to another")
    kappa_on_off: float = Field(0.04, ge=0, description="a process is switched on or off")

    @model_validator(mode="after")
    def _something_moves(self) -> Self:
        if sum(self.model_dump().values()) <= 0.0:
            raise ValueError("all weights are zero: nothing would ever move")
        return self


class ProposalSettings(_Frozen):
    """Densities that moves draw from. They decide how fast chains mix, never what they converge to."""

    mass_scale_gev: float = Field(60.0, gt=0, description="first width of a mass step [GeV]; adapted during burn-in")
    br_scale: float = Field(0.15, gt=0, lt=1, description="first width of a step of branching ratios [1]; adapted during burn-in")
    log_kappa_scale: float = Field(0.5, gt=0, description="first width of a step of ln κ [1]; adapted during burn-in")
    scale_range: float = Field(30.0, ge=1, description="an adapted width stays within this factor of the first one")
    detach_width: float = Field(0.8, gt=0, description="width in ln κ of the value of a process that leaves its class [1]")
    off_probability: float = Field(0.2, gt=0, lt=1, description="a new process starts switched off [1]")
    new_class_probability: float = Field(0.4, gt=0, lt=1, description="a new process gets a multiplier of its own, if there are others [1]")
    channel_decay: float = Field(2.0, gt=0, description="k newly open channels are proposed with probability ∝ exp(-k / this) [1]")
    max_merge_gap_gev: float = Field(200.0, gt=0, description="partners closer than this can merge [GeV]")
    target_acceptance: float = Field(0.3, gt=0, lt=1, description="acceptance the adaptation of widths aims at [1]")


class SamplingSettings(_Frozen):
    """The `sample` mode: what is sampled, from which prior, by how many chains."""

    num_walkers: int = Field(4, ge=1, description="independent ensembles of tempered chains")
    num_steps: int = Field(5000, ge=1, description="steps of each chain, burn-in included")
    burn_in_steps: int = Field(1000, ge=0, description="first steps: widths adapt, nothing is recorded")
    thin: int = Field(5, ge=1, description="one of so many steps of the cold chain is recorded")
    betas: tuple[float, ...] = Field((1.0, 0.6, 0.3, 0.0), description="powers of the likelihood of the chains of a walker, cold first")
    swap_every: int = Field(10, ge=1, description="steps between exchanges of neighbouring temperatures")
    likelihood: LikelihoodName = Field(
        LikelihoodName.AT_ONE, description="at_one (best combination at μ = 1), profiled (T_L/2) or fixed (a fixed set of analyses)"
    )
    fixed_analyses: tuple[str, ...] = Field((), description="likelihood fixed: the analyses, all of them combinable with each other")
    has_veto: bool = Field(True, description="whether a model that a critic excludes at its own signal strength has density zero")
    complexity: Complexity = Field(
        Complexity.PER_COUNT, description="per_count: the score's prior is a law of parameter numbers; per_model: of single structures"
    )
    particles: tuple[int, ...] = Field((), description="particles that may join X_Z^1, by PDG id or name; empty: all of walk.pool")
    max_particles: int | None = Field(None, ge=1, description="largest number of particles, X_Z^1 included; none: no limit")
    max_lbp_mass_gev: float = Field(1500.0, gt=0, description="largest mass of X_Z^1 [GeV]")
    kappa_min: float = Field(0.01, gt=0, description="smallest signal strength multiplier of a process that is on [1]")
    kappa_max: float = Field(100.0, gt=0, description="largest signal strength multiplier [1]")
    weights: MoveWeights = Field(default_factory=MoveWeights, description="how often each move is tried")
    proposals: ProposalSettings = Field(default_factory=ProposalSettings, description="densities the moves draw from")

    @field_validator("particles", mode="before")
    @classmethod
    def _read_particles(cls, value: Any) -> Any:
        return read_pids(value, "particles")

    @field_validator("particles")
    @classmethod
    def _particles_exist(cls, pids: tuple[int, ...]) -> tuple[int, ...]:
        for pid in pids:
            if not is_known(pid) or pid == LBP_PID:
                raise ValueError(f"{pid} is not the PDG id of a particle that can be added")
        return pids

    @field_validator("betas")
    @classmethod
    def _betas_fall(cls, betas: tuple[float, ...]) -> tuple[float, ...]:
        if not betas or betas[0] != 1.0:
            raise ValueError("the first of betas is 1, the temperature that is recorded")
        if any(not 0.0 <= later < earlier for earlier, later in itertools.pairwise(betas)):
            raise ValueError("betas fall from 1 towards 0")
        return betas

    @model_validator(mode="after")
    def _numbers_fit(self) -> Self:
        if self.kappa_min >= self.kappa_max:
            raise ValueError("kappa_min is not below kappa_max")
        if (self.likelihood is LikelihoodName.FIXED) != bool(self.fixed_analyses):
            raise ValueError("fixed_analyses and the likelihood fixed belong together")
        if self.num_steps // self.thin <= self.burn_in_steps // self.thin:
            raise ValueError("burn_in_steps leaves no step of num_steps to record")
        return self
