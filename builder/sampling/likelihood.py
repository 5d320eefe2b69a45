"""What a state weighs beside its prior: ln L(M)/L(SM), as a function of the state alone.

Walk: state ──▶ protomodel ──▶ predictions ──▶ critics, candidates ──▶ **likelihood** ──▶ kernel. Named densities:

- at_one: max over maximal combinations c of ln L_c(1)/L_c(0). The signal strength is the model's own, κ is a coordinate of the
  state, so nothing is profiled. The data still choose c (as in K), so different states may be judged on different subsets of the data.
- profiled: T_L/2, μ profiled within [0, μ_max] of the critics: half of what K adds to the prior. Never negative, since μ = 0 is allowed.
- fixed: Σ ln L_i(1)/L_i(0) over the analyses of a list, all of which can be combined. One set of data for all states: the likelihood
  proper, up to the choice of the signal region of analyses without a combination of their own.

A model that no result sees predicts what the Standard Model predicts: ln L = 0. A critic's veto is density zero; for at_one and
fixed a cap μ_max < 1 is a veto, because the model stands at μ = 1. Where a fit fails there is no number: the state has density zero as
well, and the failure is counted per analysis.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple, TypeAlias

import numpy as np

from builder.evaluate import Evaluator
from builder.protomodel import ProtoModel
from builder.sampling.settings import LikelihoodName, SamplingSettings
from critics.panel import LikelihoodContext, judge
from critics.verdict import Verdict
from database.errors import ConfigError
from inference.candidates import Candidate
from inference.cliques import BoolMatrix, CliqueSearch
from inference.combination import CombinationRule
from inference.score import select_candidates
from inference.types import FloatArray, Outcome, PredictionKind, Predictions


class Weight(NamedTuple):
    """Likelihood of one state.

    Attributes:
        log_likelihood: ln L(M)/L(SM); -inf for a veto and where it could not be computed.
        outcome: OK, NO_PREDICTION or NO_LIKELIHOOD (then 0); FIT_FAILED or NON_FINITE (then -inf).
        is_excluded: whether a critic vetoed the model.
        failures: failed numerical evaluations per analysis id.
    """

    log_likelihood: float
    outcome: Outcome = Outcome.OK
    is_excluded: bool = False
    failures: Mapping[str, int] = {}


LogLikelihood: TypeAlias = Callable[[ProtoModel], Weight]
"""Weighs one model; deterministic, and never raises for physics or numerics."""


class StoreLikelihood:
    """Weighs models against a results store.

    Args:
        evaluator: predictions, critics and score settings, shared with the walk.
        settings: which density.

    Raises:
        ConfigError: the score has parts without a density, or the fixed analyses are unknown or not combinable.
    """

    def __init__(self, evaluator: Evaluator, settings: SamplingSettings) -> None:
        self._evaluator = evaluator
        self._settings = settings
        score = evaluator.settings.score
        if score.combination_rule is CombinationRule.LEGACY_OFFSET:
            raise ConfigError("evaluation.score.combination_rule: legacy-offset is no function of the state alone; sample with another.")
        if evaluator.settings.penalties:
            raise ConfigError("evaluation.penalties: penalties are for the score; the prior to sample from is normalised and has none.")
        self._context = LikelihoodContext(evaluator.combinability.is_combinable, score.conventions, score.full_likelihoods)
        if settings.likelihood is LikelihoodName.FIXED:
            self._check_fixed(settings.fixed_analyses)

    def __call__(self, protomodel: ProtoModel) -> Weight:
        """Return the weight of a model."""
        predictions = self._evaluator.predictor.predict(protomodel.spectrum())
        if predictions.result.size == 0:
            return Weight(0.0, Outcome.NO_PREDICTION)
        if self._settings.likelihood is LikelihoodName.PROFILED:
            return self._weigh_profiled(protomodel, predictions)
        if self._settings.has_veto and is_vetoed(self._judge(predictions)):
            return Weight(-math.inf, is_excluded=True)
        score = self._evaluator.settings.score
        candidates = select_candidates(predictions, self._evaluator.store, score)
        if self._settings.likelihood is LikelihoodName.FIXED:
            candidates = one_per_analysis(candidates, self._settings.fixed_analyses)
        if not candidates:
            return Weight(0.0, Outcome.NO_LIKELIHOOD)
        values = np.array([log_ratio_at_one(candidate) for candidate in candidates])
        if not np.isfinite(values).all():
            failures = Counter(c.analysis_id for c, value in zip(candidates, values.tolist(), strict=True) if not math.isfinite(value))
            return Weight(-math.inf, Outcome.FIT_FAILED, failures=dict(failures))
        if self._settings.likelihood is LikelihoodName.FIXED:
            return Weight(math.fsum(values.tolist()))
        results = np.array([candidate.result for candidate in candidates])
        matrix = self._evaluator.combinability.is_combinable[np.ix_(results, results)]
        return heaviest(values, matrix, score.combination_rule, score.min_members)

    def _weigh_profiled(self, protomodel: ProtoModel, predictions: Predictions) -> Weight:
        evaluation = self._evaluator.evaluate_predictions(protomodel, predictions)
        if self._settings.has_veto and evaluation.verdict.is_excluded:
            return Weight(-math.inf, is_excluded=True)
        if evaluation.failures:
            return Weight(-math.inf, Outcome.FIT_FAILED, failures=evaluation.failures)
        if evaluation.outcome is Outcome.NO_LIKELIHOOD:
            return Weight(0.0, evaluation.outcome)
        if evaluation.outcome is not Outcome.OK or not math.isfinite(evaluation.tl):
            return Weight(-math.inf, Outcome.NON_FINITE if evaluation.outcome is Outcome.OK else evaluation.outcome)
        return Weight(0.5 * evaluation.tl)

    def _judge(self, predictions: Predictions) -> Verdict:
        return judge(predictions, self._evaluator.store, self._evaluator.settings.critics, self._context)

    def _check_fixed(self, analyses: Sequence[str]) -> None:
        store, matrix = self._evaluator.store, self._evaluator.combinability.is_combinable
        results = {name: [i for i, record in enumerate(store.results) if record.analysis_id == name] for name in analyses}
        for name, indices in results.items():
            if not indices:
                raise ConfigError(f"sampling.fixed_analyses: the results have no analysis {name}.")
        for first in analyses:
            for second in analyses:
                if first < second and not matrix[np.ix_(results[first], results[second])].all():
                    raise ConfigError(f"sampling.fixed_analyses: {first} and {second} may not be combined.")


def is_vetoed(verdict: Verdict) -> bool:
    """Return whether a model is excluded at its own signal strength."""
    return verdict.is_excluded or verdict.mu_max < 1.0


def log_ratio_at_one(candidate: Candidate) -> float:
    """Return ln L(1)/L(0) of one likelihood, nan where its fit failed."""
    return candidate.likelihood.log_ratio(1.0).value if candidate.likelihood.outcome is Outcome.OK else math.nan


def one_per_analysis(candidates: Sequence[Candidate], analyses: Sequence[str]) -> tuple[Candidate, ...]:
    """Return one likelihood per listed analysis: its own combination before a signal region before limits."""
    order = (PredictionKind.COMBINED, PredictionKind.EFFICIENCY_MAP, PredictionKind.UPPER_LIMIT)
    best: dict[str, Candidate] = {}
    for candidate in sorted(candidates, key=lambda c: order.index(c.kind)):
        if candidate.analysis_id in analyses:
            best.setdefault(candidate.analysis_id, candidate)
    return tuple(best[name] for name in sorted(best))


def heaviest(values: FloatArray, matrix: BoolMatrix, rule: CombinationRule, min_members: int) -> Weight:
    """Return the weight of the best combination at fixed signal strength.

    Args:
        values: ln L(1)/L(0) per likelihood, shape (n,).
        matrix: which may be combined, shape (n, n), the diagonal ignored.
        rule: maximal, or free (members that hurt are dropped).
        min_members: 2 leaves out likelihoods that cannot be combined with any other.
    """
    if min_members == 2:
        partners = matrix & ~np.eye(len(matrix), dtype=np.bool_)
        used = partners.any(axis=1)
        values, matrix = values[used], matrix[np.ix_(used, used)]
    if values.size == 0:
        return Weight(0.0, Outcome.NO_LIKELIHOOD)
    weights = np.maximum(values, 0.0) if rule is CombinationRule.FREE else values
    total, _ = _search(np.ascontiguousarray(matrix).tobytes(), len(matrix)).heaviest(np.ascontiguousarray(weights))
    return Weight(total)


@lru_cache(maxsize=4096)
def _search(elements: bytes, size: int) -> CliqueSearch:
    return CliqueSearch(np.frombuffer(elements, dtype=np.bool_).reshape(size, size))
