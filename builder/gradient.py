"""Value and gradient of an evaluation in one call.

Walk: protomodel ──▶ evaluation ──▶ **gradient**. Parameters are the masses [GeV], κ of every pair that has a reference cross section, and
the branching ratios as free parameters (`Parameters.project` gives the part along Σ BR = 1). Explicit cross sections do not depend on
masses or κ: such a model has no κ among its parameters. What happens at edges of any kind: docs/gradients.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from builder.decays import charge_modes
from builder.evaluate import MEMBER_KINDS, Evaluator
from builder.evaluation import Evaluation, Member
from builder.protomodel import ProtoModel
from critics.upper_limit import r_values, select_best_expected
from database.results.store import ResultsStore
from inference.cross_sections import reference_log_slope, reference_xsecs_fb
from inference.gradients.fisher import FisherInformation, build_information, member_information
from inference.gradients.likelihoods import LikelihoodGradient, differentiate_likelihood
from inference.gradients.parameters import PairSlopes, Parameters, SpectrumSlopes
from inference.gradients.predictions import PredictionDifferentiator, PredictionGradients
from inference.gradients.score import differentiate_score
from inference.gradients.weights import WeightRecorder
from inference.predictions import Predictor
from inference.spectrum import PidPair
from inference.topologies import SQRTS_TEV, build_topologies
from inference.types import DataKind, FloatArray, Outcome, PredictionKind, Predictions

_KINDS = {name: kind for kind, name in MEMBER_KINDS.items()}


class _Tools:
    """What is made once per predictor.

    Attributes:
        differentiator: of its predictions.
        results: indices of the results per analysis id.
    """

    def __init__(self, predictor: Predictor) -> None:
        self.differentiator = PredictionDifferentiator(predictor)
        self.results: dict[str, list[int]] = {}
        for i, record in enumerate(predictor.store.results):
            self.results.setdefault(record.analysis_id, []).append(i)


_tools: WeakKeyDictionary[Predictor, _Tools] = WeakKeyDictionary()


class MemberGradient(NamedTuple):
    """One likelihood of the best combination.

    Attributes:
        member: what it is.
        row: its prediction.
        likelihood: -ln L and ln L/L(0) at μ̂, with derivatives at fixed μ̂.
    """

    member: Member
    row: int
    likelihood: LikelihoodGradient


@dataclass(frozen=True)
class EvaluationGradient:
    """An evaluation and its derivatives; arrays have one entry per parameter.

    Attributes:
        evaluation: as `Evaluator.evaluate` gives it; without rounding where that was asked for.
        parameters: what the columns are.
        tl: dT_L/dθ; nan where there is no score.
        k: dK/dθ, the same, since the prior is piecewise constant.
        mu_max: dμ_max/dθ; 0 where nothing caps the signal strength.
        is_capped: whether μ̂ = μ_max, so that the cap enters dT_L/dθ.
        members: the best combination.
        predictions: derivatives of all predictions.
    """

    evaluation: Evaluation
    parameters: Parameters
    tl: FloatArray
    k: FloatArray
    mu_max: FloatArray
    is_capped: bool
    members: tuple[MemberGradient, ...]
    predictions: PredictionGradients


def build_slopes(protomodel: ProtoModel) -> SpectrumSlopes:
    """How the spectrum of a protomodel depends on its parameters."""
    masses = protomodel.masses
    pairs: tuple[PidPair, ...] = ()
    is_explicit = protomodel.explicit_xsecs_fb is not None
    if not is_explicit:
        pairs = tuple(sorted({pair for sqrts_tev in SQRTS_TEV for pair in reference_xsecs_fb(masses, sqrts_tev)}))
    channels = tuple((pid, daughters) for pid, ratios in protomodel.branching_ratios.items() for daughters in ratios)
    parameters = Parameters(tuple(masses), pairs, channels)
    column = {pid: i for i, pid in enumerate(masses)}
    first = parameters.branching_ratio_columns.start
    slopes: dict[PidPair, PairSlopes] = {}
    if protomodel.explicit_xsecs_fb is not None:
        for pair in {pair for xsecs in protomodel.explicit_xsecs_fb.values() for pair in xsecs}:
            slopes[pair] = PairSlopes(-1, 0.0, (column[abs(pair[0])], column[abs(pair[1])]), (0.0, 0.0))
    for i, pair in enumerate(pairs, start=parameters.ssm_columns.start):
        ssm = protomodel.ssm(pair)
        low, high = (0.5 * reference_log_slope(pair, masses, sqrts_tev) for sqrts_tev in SQRTS_TEV)
        inverse = 1.0 / ssm if ssm > 0.0 else 0.0
        slopes[pair] = PairSlopes(i, inverse, (column[abs(pair[0])], column[abs(pair[1])]), (low, high))
    decays = {
        (pid, mode): (i, 1.0 / protomodel.branching_ratios[pid][daughters])
        for i, (pid, daughters) in enumerate(channels, start=first)
        for mode in charge_modes(pid, daughters)
    }
    return SpectrumSlopes(parameters, slopes, decays)


def evaluate_with_gradient(evaluator: Evaluator, protomodel: ProtoModel, *, is_smooth: bool = False) -> EvaluationGradient:
    """Score and verdict of a protomodel with the derivatives of all its numbers.

    Args:
        evaluator: how.
        protomodel: the model.
        is_smooth: whether neither masses (0.1 GeV) nor predictions (six digits) are rounded; the derivatives are then exactly those of
            the values. By default values are those of `Evaluator.evaluate`, and the derivatives those of the unrounded functions at
            the rounded masses.

    Returns:
        The evaluation and its derivatives, exact within the simplex, cluster and combination that are active.
    """
    predictor = evaluator.predictor
    recorder = WeightRecorder(build_slopes(protomodel))
    spectrum = protomodel.spectrum()
    topologies = build_topologies(spectrum, predictor.settings, recorder)
    populated = predictor.populate(topologies)
    predictions = predictor.predict_populated(topologies, populated)
    tools = _tools.get(predictor)
    if tools is None:
        tools = _tools[predictor] = _Tools(predictor)
    gradients = tools.differentiator.differentiate(topologies, populated, predictions, spectrum.masses, recorder, is_smooth=is_smooth)
    if is_smooth:
        predictions = gradients.smooth
    evaluation = evaluator.evaluate_predictions(protomodel, predictions)
    return _differentiate(evaluator, tools, evaluation, predictions, gradients)


def _differentiate(
    evaluator: Evaluator, tools: _Tools, evaluation: Evaluation, predictions: Predictions, gradients: PredictionGradients
) -> EvaluationGradient:
    parameters = gradients.parameters
    mu_max = _mu_max_gradient(evaluator, evaluation, predictions, gradients)
    if evaluation.outcome is not Outcome.OK or not evaluation.combination:
        nothing = np.full(parameters.size, math.nan)
        return EvaluationGradient(evaluation, parameters, nothing, nothing, mu_max, False, (), gradients)
    members = []
    for member in evaluation.combination:
        row = _find_prediction(member, evaluation.mu_hat, predictions, evaluator.store, tools.results[member.analysis_id])
        likelihood = differentiate_likelihood(evaluation.mu_hat, row, predictions, gradients, evaluator.store, evaluator.settings.score)
        members.append(MemberGradient(member, row, likelihood))
    score = differentiate_score([member.likelihood for member in members], evaluation.mu_hat, evaluation.mu_max, mu_max)
    return EvaluationGradient(evaluation, parameters, score.tl, score.tl, mu_max, score.is_capped, tuple(members), gradients)


def _find_prediction(member: Member, mu_hat: float, predictions: Predictions, store: ResultsStore, results: Sequence[int]) -> int:
    """The prediction a member of the best combination was made from, among those of the results of its analysis."""
    kind = _KINDS[member.kind]
    rows = [row for result in results for row in np.flatnonzero(predictions.result == result).tolist() if predictions.kind[row] == kind]
    if kind is PredictionKind.EFFICIENCY_MAP:
        rows = [row for row in rows if store.dataset_ids[int(predictions.dataset[row])] == member.dataset_id]
    if len(rows) == 1:
        return int(rows[0])
    lumi = store.results[results[0]].lumi_ifb if kind is PredictionKind.EFFICIENCY_MAP else 1.0
    return int(min(rows, key=lambda row: _mismatch(member, row, lumi * mu_hat, predictions)))


def _mismatch(member: Member, row: int, scale: float, predictions: Predictions) -> float:
    """How far a prediction is from what the member says of it; inf where that is not defined."""
    found = abs(scale * float(predictions.xsec_fb[row]) - member.signal)
    if member.kind == MEMBER_KINDS[PredictionKind.UPPER_LIMIT]:
        found += abs(float(predictions.ul_obs_fb[row]) - member.observed) + abs(float(predictions.ul_exp_fb[row]) - member.expected)
    return math.inf if math.isnan(found) else found


def _mu_max_gradient(evaluator: Evaluator, evaluation: Evaluation, predictions: Predictions, gradients: PredictionGradients) -> FloatArray:
    """dμ_max/dθ = -μ_max (dσ/σ - dUL/UL) of the prediction with the largest r."""
    if not math.isfinite(evaluation.mu_max):
        return np.zeros(gradients.parameters.size)
    r_obs, _ = r_values(predictions)
    rows = np.flatnonzero(r_obs == evaluation.verdict.r_obs)
    if rows.size == 1:
        row = int(rows[0])
    else:
        one_limit = evaluator.settings.critics.v1_one_limit_per_analysis
        row = select_best_expected(predictions, evaluator.store, one_limit_per_analysis=one_limit)[0].prediction
    relative = gradients.xsec_fb[row] / float(predictions.xsec_fb[row]) - gradients.ul_obs_fb[row] / float(predictions.ul_obs_fb[row])
    change: FloatArray = -evaluation.mu_max * relative
    return change


def fisher_information(
    evaluator: Evaluator,
    protomodel: ProtoModel,
    *,
    data_kind: DataKind = DataKind.APRIORI,
    mu: float = 1.0,
    includes_branching_ratios: bool = False,
) -> FisherInformation:
    """Fisher information of a protomodel's masses and κ, from the likelihoods of its best combination.

    Args:
        evaluator: how.
        protomodel: the model.
        data_kind: OBSERVED: curvature at the data; else expected, with the signal in the data.
        mu: signal strength at which the model is taken; accepted models have μ̂ = 1.
        includes_branching_ratios: whether branching ratios, as free parameters, are included too.

    Returns:
        The information; without a score it is zero, and every parameter a null direction.
    """
    found = evaluate_with_gradient(evaluator, protomodel, is_smooth=True)
    predictions, parameters = found.predictions.smooth, found.parameters
    stop = parameters.size if includes_branching_ratios else parameters.ssm_columns.stop
    parts = [
        member_information(mu, member.row, predictions, found.predictions, evaluator.store, evaluator.settings.score, data_kind)[
            :stop, :stop
        ]
        for member in found.members
    ]
    return build_information(parts, parameters.names[:stop])
