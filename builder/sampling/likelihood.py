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
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

from builder.evaluate import Evaluator
from builder.protomodel import ProtoModel
from builder.sampling.settings import LikelihoodName, SamplingSettings
from critics.panel import LikelihoodContext, judge
from critics.verdict import Verdict
from database.errors import ConfigError
from inference.candidates import Candidates
from inference.fixed_strength import combine_at
from inference.settings import CombinationRule
from inference.types import Outcome, Predictions


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
        candidates = Candidates(predictions, self._evaluator.store, score)
        if self._settings.likelihood is LikelihoodName.FIXED:
            return weigh_fixed(candidates, self._settings.fixed_analyses)
        results = candidates.results
        matrix = self._evaluator.combinability.is_combinable[results[:, None], results]
        found = combine_at(candidates.curve_set, matrix, 1.0, score.combination_rule, score.min_members)
        if found.failures:
            return _failed(candidates.analysis_id(i) for i in found.failures)
        return Weight(0.0, Outcome.NO_LIKELIHOOD) if found.outcome is Outcome.NO_LIKELIHOOD else Weight(0.5 * found.tl)

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


def weigh_fixed(candidates: Candidates, analyses: Sequence[str]) -> Weight:
    """Return the likelihood of a fixed set of analyses; those that do not see the model contribute nothing.

    Of several likelihoods of one analysis its own combination counts before a signal region, a region before limits.
    """
    chosen: dict[str, int] = {}
    for i in sorted(range(len(candidates)), key=lambda i: -int(candidates[i].kind)):
        if candidates.analysis_id(i) in analyses:
            chosen.setdefault(candidates.analysis_id(i), i)
    if not chosen:
        return Weight(0.0, Outcome.NO_LIKELIHOOD)
    values, _ = candidates.curve_set.at(1.0)
    is_usable = candidates.curve_set.is_usable & np.isfinite(values)
    failed = [name for name, i in chosen.items() if not is_usable[i]]
    return _failed(failed) if failed else Weight(math.fsum(float(values[chosen[name]]) for name in sorted(chosen)))


def _failed(analyses: Iterable[str]) -> Weight:
    return Weight(-math.inf, Outcome.FIT_FAILED, failures=dict(Counter(analyses)))
