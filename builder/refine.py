"""Climbs to the nearest maximum of K at fixed content: same particles, channels and production processes, better numbers.

Walk: kernel ──▶ accepted model ──▶ **refine** ──▶ better model. K is differentiable inside a simplex of the maps and for one best
combination (`builder.gradient`); L-BFGS-B walks along its gradient in

    masses [GeV], within `mass_range_gev` of where they were and within the rules,
    z with BR_i = exp z_i/Σ exp z per mother,      ∂K/∂z_i = BR_i (∂K/∂BR_i - Σ BR_j ∂K/∂BR_j),
    ln κ of every process that is not switched off, up to the cap.

At edges of simplices and where the combination changes K has kinks: the climb may stop there. It never makes a model worse: what
counts in the end is the evaluation of the scaled model as the walk would do it.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize

from builder.evaluate import Evaluator
from builder.evaluation import Evaluation
from builder.gradient import EvaluationGradient, evaluate_with_gradient
from builder.kernel import RefineFn
from builder.moves.settings import RefineSettings
from builder.particle_rules import ParticleRules
from builder.protomodel import ProtoModel
from builder.walk_state import admissible_k
from inference.gradients.parameters import Parameters
from inference.spectrum import LBP_PID
from inference.types import FloatArray

_LOG_RANGE = 5.0
"""Largest change of ln κ and of z."""
_NO_SCORE = 1e3
"""-K of models without a score, far above any other."""


class Refined(NamedTuple):
    """What a climb found.

    Attributes:
        protomodel: the best model seen; the one it started from if nothing was better.
        k: its K before scaling to μ̂ = 1, without the rounding of predictions; -inf without a score.
        k_start: K of the start, likewise.
        num_evaluations: evaluations with gradient.
    """

    protomodel: ProtoModel
    k: float
    k_start: float
    num_evaluations: int


class _Coordinates:
    """Maps between the parameters of a model and those of the climb."""

    def __init__(self, protomodel: ProtoModel, parameters: Parameters, rules: ParticleRules, settings: RefineSettings, cap: float) -> None:
        self._model, self._parameters, self._scale = protomodel, parameters, settings.mass_scale_gev
        ssms = np.array([protomodel.ssm(pair) for pair in parameters.ssms])
        self._is_on = ssms > 0.0
        self._mothers = np.array([pid for pid, _ in parameters.branching_ratios], dtype=np.int64)
        ratios = [protomodel.branching_ratios[pid][daughters] for pid, daughters in parameters.branching_ratios]
        masses = np.array([protomodel.masses[pid] for pid in parameters.masses])
        low, high = masses - settings.mass_range_gev, masses + settings.mass_range_gev
        for i, pid in enumerate(parameters.masses):
            floor = rules.min_lbp_mass_gev if pid == LBP_PID else rules.min_lbp_mass_gev + 1.0
            low[i] = max(low[i], rules.walls_gev.get(pid, floor))
            high[i] = min(high[i], rules.max_mass_gev, rules.ceilings_gev.get(pid, rules.max_mass_gev))
        log_ssms = np.log(np.where(self._is_on, ssms, 1.0))
        logits = np.log(np.maximum(np.array(ratios, dtype=np.float64), 1e-12))
        self.start: FloatArray = np.concatenate([masses / self._scale, log_ssms, logits])
        self.low: FloatArray = np.concatenate([low / self._scale, log_ssms - _LOG_RANGE, logits - _LOG_RANGE])
        self.high: FloatArray = np.concatenate([high / self._scale, np.minimum(log_ssms + _LOG_RANGE, math.log(cap)), logits + _LOG_RANGE])
        self.high = np.maximum(self.high, self.start)
        self.low = np.minimum(self.low, self.start)

    def _ratios(self, x: FloatArray) -> FloatArray:
        logits = x[self._parameters.branching_ratio_columns]
        ratios = np.exp(logits - logits.max()) if logits.size else logits
        for mother in np.unique(self._mothers):
            mine = self._mothers == mother
            ratios[mine] /= ratios[mine].sum()
        return ratios

    def masses(self, x: FloatArray) -> dict[int, float]:
        """Masses [GeV] at a point."""
        return dict(zip(self._parameters.masses, (self._scale * x[self._parameters.mass_columns]).tolist(), strict=True))

    def model(self, x: FloatArray) -> ProtoModel:
        """The model at a point whose masses obey the rules."""
        parameters, masses = self._parameters, self.masses(x)
        values = np.exp(x[parameters.ssm_columns]).tolist()
        changed = {pair: value for pair, value, is_on in zip(parameters.ssms, values, self._is_on.tolist(), strict=True) if is_on}
        ssms = {**self._model.ssms, **changed}
        ratios: dict[int, dict[tuple[int, ...], float]] = {}
        for (pid, daughters), ratio in zip(parameters.branching_ratios, self._ratios(x).tolist(), strict=True):
            ratios.setdefault(pid, {})[daughters] = ratio
        return ProtoModel(masses, ratios, ssms, widths=self._model.widths)

    def slope(self, x: FloatArray, gradient: FloatArray) -> FloatArray:
        """Derivative in the climb's coordinates."""
        parameters = self._parameters
        out = np.empty_like(gradient)
        out[parameters.mass_columns] = self._scale * gradient[parameters.mass_columns]
        out[parameters.ssm_columns] = np.where(self._is_on, np.exp(x[parameters.ssm_columns]), 0.0) * gradient[parameters.ssm_columns]
        ratios, of_ratios = self._ratios(x), gradient[parameters.branching_ratio_columns]
        mean = np.zeros_like(ratios)
        for mother in np.unique(self._mothers):
            mine = self._mothers == mother
            mean[mine] = ratios[mine] @ of_ratios[mine]
        out[parameters.branching_ratio_columns] = ratios * (of_ratios - mean)
        return out


def climb(evaluator: Evaluator, protomodel: ProtoModel, rules: ParticleRules, settings: RefineSettings, ssm_cap: float) -> Refined:
    """Follow the gradient of K from a model; the content stays.

    Args:
        evaluator: scores models.
        protomodel: where to start; models with explicit cross sections are returned as they are.
        rules: which masses are allowed.
        settings: how far.
        ssm_cap: largest κ.

    Returns:
        The best admissible model seen.
    """
    first = evaluate_with_gradient(evaluator, protomodel, is_smooth=True)
    k_start = admissible_k(first.evaluation)
    if protomodel.explicit_xsecs_fb is not None or k_start == -math.inf:
        return Refined(protomodel, k_start, k_start, 1)
    coordinates = _Coordinates(protomodel, first.parameters, rules, settings, ssm_cap)
    best, best_k, count = protomodel, k_start, 1

    def objective(x: FloatArray) -> tuple[float, FloatArray]:
        nonlocal best, best_k, count
        if rules.find_violation(coordinates.masses(x)) is not None:
            return _NO_SCORE, np.zeros_like(x)
        model = coordinates.model(x)
        if not _has_content_of(model, protomodel):
            return _NO_SCORE, np.zeros_like(x)
        count += 1
        found: EvaluationGradient = evaluate_with_gradient(evaluator, model, is_smooth=True)
        k = admissible_k(found.evaluation)
        if k == -math.inf or found.parameters != first.parameters or not np.isfinite(found.k).all():
            return _NO_SCORE, np.zeros_like(x)
        if k > best_k:
            best, best_k = model, k
        return -k, -coordinates.slope(x, found.k)

    minimize(
        objective,
        coordinates.start,
        jac=True,
        method="L-BFGS-B",
        bounds=list(zip(coordinates.low.tolist(), coordinates.high.tolist(), strict=True)),
        options={"maxfun": settings.max_evaluations, "maxls": 10},
    )
    return Refined(best, best_k, k_start, count)


def _has_content_of(model: ProtoModel, original: ProtoModel) -> bool:
    """Whether a model has the same particles and channels."""
    return model.pids == original.pids and all(
        model.branching_ratios[pid].keys() == channels.keys() for pid, channels in original.branching_ratios.items()
    )


def build_refiner(evaluator: Evaluator, rules: ParticleRules, settings: RefineSettings, ssm_cap: float) -> RefineFn:
    """The refinement of a walk as a pure function of a model."""

    def refine(protomodel: ProtoModel, evaluation: Evaluation) -> ProtoModel | None:
        if admissible_k(evaluation) < settings.min_k:
            return None
        found = climb(evaluator, protomodel, rules, settings, ssm_cap)
        return found.protomodel if found.k > found.k_start else None

    return refine
