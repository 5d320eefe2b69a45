"""Scores a protomodel: predictions once, then critics and combination on the same numbers, then the prior.

Walk: protomodel ──▶ spectrum ──▶ predictions ──▶ critics (μ_max) ──▶ best combination (T_L, μ̂ ≤ μ_max) ──▶ K = T_L + 2 ln π.
Deterministic and without memory of earlier models; physics and numerics never raise, they are outcomes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from pydantic import BaseModel, ConfigDict, Field

from builder.evaluation import Evaluation, Member
from builder.penalties import PenaltyName, log_penalties
from builder.prior_terms import count_prior_terms
from builder.protomodel import ProtoModel
from critics.panel import COSTLY, LikelihoodContext, judge
from critics.settings import CriticSettings
from database.results.combinability import CombinabilityMatrix, build_combinability
from database.results.store import ResultsStore
from inference.analysis_models.registry import find_analysis_model
from inference.lazy import Lazy
from inference.limits import find_upper_limit
from inference.predictions import Predictor
from inference.priors import PriorName
from inference.score import ScoredMember, ScoreSettings, k_score, log_prior, score
from inference.settings import PredictionSettings
from inference.significance import limit_significance, region_significance
from inference.types import DataKind, Outcome, PredictionKind, Predictions

MEMBER_KINDS = {PredictionKind.UPPER_LIMIT: "ul", PredictionKind.EFFICIENCY_MAP: "em", PredictionKind.COMBINED: "comb"}


class EvaluationSettings(BaseModel):
    """How a protomodel is evaluated."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    predictions: PredictionSettings = Field(default_factory=PredictionSettings, description="topologies and predictions")
    score: ScoreSettings = Field(default_factory=ScoreSettings, description="likelihoods, combination, prior")
    critics: CriticSettings = Field(default_factory=CriticSettings, description="who may veto or cap")
    penalties: tuple[PenaltyName, ...] = Field(
        (),
        description="further factors of the prior: missing_experiment, extreme_ssms, undemocratic_flavours (those of the reference "
        "program's second version); empty: as published in 2020",
    )


class Evaluator:
    """Evaluates protomodels against one results store.

    Args:
        store: compiled results.
        settings: how.
        combinability: which results may be combined; by default the packaged facts.
    """

    def __init__(self, store: ResultsStore, settings: EvaluationSettings, combinability: CombinabilityMatrix | None = None) -> None:
        self.store = store
        self.settings = settings
        self.predictor = Predictor(store, settings.predictions)
        self.combinability = combinability if combinability is not None else build_combinability(store)
        self._likelihood_context = LikelihoodContext(
            self.combinability.is_combinable, settings.score.conventions, settings.score.full_likelihoods
        )

    @property
    def has_costly_critics(self) -> bool:
        """Whether a critic that fits likelihoods is asked."""
        return not COSTLY.isdisjoint(self.settings.critics.critics)

    def evaluate(self, protomodel: ProtoModel, *, with_limits: bool = False, skips_costly_critics: bool = False) -> Evaluation:
        """Score and verdict of a protomodel.

        Args:
            protomodel: the model.
            with_limits: whether to compute the limits of combined members, which only reports need; else they are nan.
            skips_costly_critics: whether critics that fit likelihoods are left out; a walk asks them before it accepts.

        Returns:
            An evaluation whose outcome says why there is no score where there is none; k is then -inf.
        """
        predictions = self.predictor.predict(protomodel.spectrum())
        return self.evaluate_predictions(protomodel, predictions, with_limits=with_limits, skips_costly_critics=skips_costly_critics)

    def evaluate_predictions(
        self, protomodel: ProtoModel, predictions: Predictions, *, with_limits: bool = False, skips_costly_critics: bool = False
    ) -> Evaluation:
        """Score and verdict of a protomodel whose predictions are known."""
        verdict = judge(
            predictions,
            self.store,
            self.settings.critics,
            self._likelihood_context,
            skips_costly=skips_costly_critics,
        )
        if self.settings.score.fixed_strength and verdict.mu_max < 1.0:
            verdict = verdict._replace(is_excluded=True, reason=f"{verdict.reason}; the model is taken as it is, μ = 1")
        found = score(predictions, self.store, self.combinability.is_combinable, verdict.mu_max, self.settings.score)
        penalties = log_penalties(protomodel, predictions, self.store, self.settings.penalties)
        terms = count_prior_terms(protomodel)
        if penalties:
            terms = replace(terms, penalties=penalties)
        num_data = self._count_data(found.members) if self.settings.score.prior is PriorName.BIC else None
        prior = log_prior(terms, self.settings.score, num_data) + math.fsum(penalties.values())
        k = k_score(found.tl, prior) if found.outcome is Outcome.OK else -math.inf
        return Evaluation(
            outcome=found.outcome,
            k=k,
            tl=found.tl,
            mu_hat=found.mu_hat,
            mu_max=verdict.mu_max,
            log_prior=prior,
            prior_terms=terms,
            verdict=verdict,
            combination=Lazy(lambda: tuple(self._describe(member, predictions, found.mu_hat, with_limits) for member in found.members)),
            failures=found.failures,
            num_predictions=int(predictions.result.size),
        )

    def _count_data(self, members: Sequence[ScoredMember]) -> int:
        """Observations in a combination: one per signal region or pair of limits."""
        is_combined = PredictionKind.COMBINED
        return sum(self.store.results[m.candidate.result].num_combined if m.candidate.kind is is_combined else 1 for m in members)

    def _describe(self, member: ScoredMember, predictions: Predictions, mu_hat: float, with_limits: bool) -> Member:
        candidate, store = member.candidate, self.store
        i = candidate.prediction
        error = math.nan
        if candidate.kind is PredictionKind.EFFICIENCY_MAP:
            dataset = candidate.dataset
            observed, expected, error = (float(values[dataset]) for values in (store.observed_n, store.expected_bg, store.bg_error))
            z = region_significance(observed, expected, error)
            signal = float(predictions.xsec_fb[i]) * store.results[candidate.result].lumi_ifb * mu_hat
        else:
            if candidate.kind is PredictionKind.COMBINED:
                observed, expected = self._combined_limits(candidate.result, predictions, i) if with_limits else (math.nan, math.nan)
            else:
                observed, expected = float(predictions.ul_obs_fb[i]), float(predictions.ul_exp_fb[i])
            z = limit_significance(observed, expected)
            signal = float(predictions.xsec_fb[i]) * mu_hat
        return Member(
            analysis_id=candidate.analysis_id,
            kind=MEMBER_KINDS[candidate.kind],
            dataset_id=store.dataset_ids[candidate.dataset] if candidate.kind is PredictionKind.EFFICIENCY_MAP else None,
            txnames=tuple(sorted({store.map_txnames[number] for number in predictions.map_ids[i]})),
            observed=observed,
            expected=expected,
            expected_error=error,
            z=z,
            signal=signal,
            pids=tuple(sorted(predictions.pids[i])),
            log_likelihood_ratio=member.log_likelihood_ratio,
        )

    def _combined_limits(self, result: int, predictions: Predictions, i: int) -> tuple[float, float]:
        """Observed and expected 95 % CL limits on the summed effective cross section [fb]."""
        yields = predictions.region_yields[result]
        model = find_analysis_model(self.store, result, self.settings.score.conventions)
        if model is None:
            return math.nan, math.nan
        xsec = float(predictions.xsec_fb[i])
        observed, expected = (
            find_upper_limit(model.likelihood(yields, data)).mu_ul * xsec for data in (DataKind.OBSERVED, DataKind.APRIORI)
        )
        return observed, expected
