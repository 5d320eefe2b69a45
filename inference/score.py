"""The score of a protomodel: K = T_L + 2 ln π(M).

Walk: predictions ──▶ candidates (one likelihood per analysis and kind of result) ──▶ best combination ──▶ T_L ──▶ **K**.

    T_L = 2 ln [L_c(μ̂)/L_c(0)] of the best combination c (`inference.combination`), 0 <= μ̂ <= μ_max,
    K   = T_L + 2 ln π(M)                               (arXiv:2012.12246)

The prior punishes complexity; `inference.priors` has those that can be chosen.

Which likelihood stands for an analysis: its own combination where the published information allows one; else one signal
region, chosen by `region_choice`; limits count through truncated Gaussians where both limits are published.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, model_validator

from inference.candidates import Candidate, Candidates
from inference.cliques import BoolMatrix
from inference.combination import CombinationRule, combine
from inference.fixed_strength import combine_at
from inference.lazy import Lazy
from inference.priors import PriorName, log_prior
from inference.settings import Conventions
from inference.types import Outcome, Predictions

if TYPE_CHECKING:
    from database.results.store import ResultsStore


__all__ = [
    "PriorName",
    "RegionChoice",
    "ScoreResult",
    "ScoreSettings",
    "ScoredMember",
    "k_score",
    "log_prior",
    "score",
    "select_candidates",
]


class RegionChoice(StrEnum):
    """Which signal region stands for an analysis without a combination of its own."""

    V1_LARGEST_RATIO = "v1_largest_ratio"
    """The one with the largest observed over expected limit: independent of the signal (arXiv:2012.12246)."""
    V2_MOST_SIGNIFICANT = "v2_most_significant"
    """The one with the largest likelihood ratio at μ = 1."""


class ScoreSettings(BaseModel):
    """How predictions become a score."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prior: PriorName = Field(PriorName.EXPO1, description="prior on the complexity of a model: flat, expo1, expo2, gauss1, aic or bic")
    prior_a1: float = Field(2.0, gt=0, description="expo1: number of particles that costs 2 in K")
    prior_a2: float = Field(4.0, gt=0, description="expo1: number of branching ratios that costs 2 in K")
    prior_a3: float = Field(8.0, gt=0, description="expo1: number of signal strength multipliers that costs 2 in K")
    region_choice: RegionChoice = Field(
        RegionChoice.V1_LARGEST_RATIO,
        description="signal region that stands for an analysis: v1_largest_ratio (UL_obs/UL_exp) or v2_most_significant",
    )
    use_combined: bool = Field(True, description="whether an analysis's own combination of regions replaces its single regions")
    full_likelihoods: bool = Field(
        True, description="whether full likelihoods (HistFactory) enter; without them such an analysis is one signal region: faster"
    )
    signal_uncertainty: float = Field(
        0.0, ge=0, lt=5, description="relative log-normal uncertainty of the signal in single regions; 0: none, as in the reference"
    )
    use_upper_limits: bool = Field(True, description="whether pairs of limits enter as truncated Gaussians")
    max_asymmetry: float = Field(
        0.4, ge=0, le=1, description="pairs of limits with a larger |obs - exp|/(obs + exp) are not used; 1: all are"
    )
    max_excess_sigmas: float = Field(2.0, ge=0, description="an observed limit counts at most as expected + this many σ")
    limit_widening: float = Field(
        0.0, ge=0, lt=1, description="widening of truncated Gaussians with an excess: 0 as published, 0.6 as in SModelS"
    )
    combination_rule: CombinationRule = Field(
        CombinationRule.MAXIMAL, description="maximal (published), free (members that hurt are dropped) or legacy-offset (comparisons)"
    )
    fixed_strength: bool = Field(
        False,
        description="whether the model is scored as it is, μ = 1, not with its best μ in [0, μ_max]; critics' caps below 1 then veto",
    )
    min_members: int = Field(1, ge=1, le=2, description="likelihoods a combination needs; the published code needed 2")
    conventions: Conventions = Field(Conventions.DEFAULT, description="default, or smodels (or one of its quirks by name) for comparisons")

    @model_validator(mode="after")
    def _check_rule(self) -> ScoreSettings:
        if self.min_members > 1 and self.combination_rule is not CombinationRule.MAXIMAL:
            raise ValueError("min_members above 1 needs the combination rule maximal")
        return self


def k_score(tl: float, log_prior: float) -> float:
    """K = T_L + 2 ln π; -inf where there is no T_L, so that a scored model is always preferred.

    Examples:
        >>> k_score(tl=9.0, log_prior=-1.5)
        6.0
        >>> k_score(tl=math.nan, log_prior=-1.5)
        -inf
    """
    return tl + 2.0 * log_prior if math.isfinite(tl) else -math.inf


class ScoredMember(NamedTuple):
    """One likelihood of the best combination.

    Attributes:
        candidate: what it is.
        log_likelihood_ratio: ln L(μ̂)/L(0) at the combination's μ̂.
    """

    candidate: Candidate
    log_likelihood_ratio: float


class ScoreResult(NamedTuple):
    """Test statistic of one model.

    Attributes:
        tl: T_L = 2 ln L(μ̂)/L(0) of the best combination; nan without one.
        mu_hat: its signal strength, within [0, mu_max].
        members: the combination, ordered by analysis.
        outcome: OK, NO_PREDICTION, NO_LIKELIHOOD or FIT_FAILED.
        failures: number of likelihoods that yielded no number, per analysis id.
        num_candidates: likelihoods that competed.
    """

    tl: float
    mu_hat: float
    members: Sequence[ScoredMember]
    outcome: Outcome
    failures: Mapping[str, int]
    num_candidates: int


def select_candidates(predictions: Predictions, store: ResultsStore, settings: ScoreSettings) -> tuple[Candidate, ...]:
    """One candidate per analysis and kind of result, ordered by analysis and kind.

    Ties between regions go to the one that comes first in the store. Regions without a published expected limit lose
    against regions with one under `v1_largest_ratio`.
    """
    found = Candidates(predictions, store, settings)
    return tuple(found[i] for i in range(len(found)))


def score(
    predictions: Predictions,
    store: ResultsStore,
    combinability: BoolMatrix,
    mu_max: float,
    settings: ScoreSettings,
) -> ScoreResult:
    """T_L and μ̂ of the best combination of a model's results.

    Args:
        predictions: what the results predict for the model at μ = 1.
        store: the results.
        combinability: which results may be combined, shape (num_results, num_results), False on the diagonal.
        mu_max: largest signal strength the critics allow; may be inf.
        settings: how.
    """
    if predictions.result.size == 0:
        return ScoreResult(math.nan, 0.0, (), Outcome.NO_PREDICTION, {}, 0)
    candidates = Candidates(predictions, store, settings)
    results = candidates.results
    matrix, rule = combinability[results[:, None], results], settings.combination_rule
    if settings.fixed_strength:
        found = combine_at(candidates.curve_set, matrix, 1.0, rule, settings.min_members)
    else:
        found = combine(candidates.curve_set, matrix, mu_max, rule, settings.min_members)
    members = Lazy(lambda: tuple(ScoredMember(candidates[i], value) for i, value in zip(found.members, found.log_ratios, strict=True)))
    failures = Counter(candidates.analysis_id(i) for i in found.failures)
    return ScoreResult(found.tl, found.mu_hat, members, found.outcome, dict(failures), len(candidates))
