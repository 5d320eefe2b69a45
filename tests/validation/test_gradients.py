"""Gradients against finite differences at random points, full database.

Points are the reference protomodels with random masses, decays and κ. Every parameter is moved by two steps to both sides; where both
steps agree, the stencil lies within one piece of the function (simplices, clusters, combination, limiting prediction), and the
difference must agree with the gradient. The test functions are the values without rounding (`is_smooth`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from builder.decays import expand_channel
from builder.evaluate import EvaluationSettings, Evaluator
from builder.evaluation import Evaluation
from builder.gradient import EvaluationGradient, build_slopes, evaluate_with_gradient
from builder.model_io import read_models
from builder.protomodel import ProtoModel
from database.errors import ModelFormatError
from database.results.store import ResultsStore
from inference.cross_sections import SQRTS_TEV, reference_log_slope, reference_xsecs_fb
from inference.gradients.likelihoods import differentiate_likelihood
from inference.gradients.parameters import SpectrumSlopes
from inference.gradients.predictions import PredictionDifferentiator, PredictionGradients
from inference.gradients.weights import WeightRecorder
from inference.spectrum import LBP_PID, Decay, Spectrum
from inference.topologies import build_topologies
from inference.types import FloatArray, PredictionKind

pytestmark = [pytest.mark.full_database, pytest.mark.slow]

NUM_POINTS = 100
MASS_STEP = 0.03
"""Step of masses [GeV]; published grids have 10 to 50."""
RELATIVE_STEP = 1e-3
"""Step of κ and branching ratios."""
VALUE_NOISE = 2e-9
"""Accuracy of T_L as evaluated: nuisance fits and the search for the best combination stop at 1e-9."""
SIGNAL_SLOPE = 0.05
"""Relative slope of signals in masses at most [1/GeV]."""
SHRINK = (1.0, 0.2, 0.04)
"""Steps are made smaller where the stencil does not lie in one piece."""
ACCURACY = 1e-5


class Difference(NamedTuple):
    """Central differences with one and with two steps, and the extrapolation of both."""

    one: FloatArray
    two: FloatArray

    @property
    def best(self) -> FloatArray:
        return (4.0 * self.one - self.two) / 3.0

    def rows(self, rows: slice | NDArray[np.int64]) -> Difference:
        return Difference(self.one[rows], self.two[rows])

    def is_smooth(self, noise: FloatArray | float) -> NDArray[np.bool_]:
        return np.asarray(np.abs(self.one - self.two) <= 1e-4 * np.abs(self.one) + noise)


@dataclass
class Sample:
    """Functions of the parameters at one point."""

    evaluation: Evaluation
    predictions: PredictionGradients

    @cached_property
    def contributions(self) -> tuple[tuple[int, int, tuple[int, ...], tuple[int, ...]], ...]:
        """Region or limit map, maps and topologies behind each prediction."""
        found = self.predictions.smooth
        rows = np.flatnonzero(found.kind != PredictionKind.COMBINED).tolist()
        return tuple((int(found.dataset[i]), int(found.kind[i]), found.map_ids[i], found.topology_ids[i]) for i in rows)

    def members(self) -> tuple[tuple[str, str, str | None], ...]:
        return tuple((m.analysis_id, m.kind, m.dataset_id) for m in self.evaluation.combination)


class Function:
    """What an evaluator says of a model as a function of its parameters, branching ratios free."""

    def __init__(self, evaluator: Evaluator, differentiator: PredictionDifferentiator, model: ProtoModel) -> None:
        self._evaluator, self._differentiator, self._model = evaluator, differentiator, model
        self.slopes: SpectrumSlopes = build_slopes(model)
        p = self.slopes.parameters
        ratios = [model.branching_ratios[pid][daughters] for pid, daughters in p.branching_ratios]
        self.origin = np.array([*model.masses.values(), *(model.ssm(pair) for pair in p.ssms), *ratios])
        self.num_masses = len(p.masses)
        self.steps = np.where(np.arange(p.size) < self.num_masses, MASS_STEP, RELATIVE_STEP * self.origin)

    def __call__(self, theta: FloatArray) -> Sample:
        recorder = WeightRecorder(self.slopes)
        spectrum = self._spectrum(theta)
        predictor = self._evaluator.predictor
        topologies = build_topologies(spectrum, predictor.settings, recorder)
        predictions = predictor.predict_topologies(topologies)
        populated = predictor.populate(topologies)
        found = self._differentiator.differentiate(topologies, populated, predictions, spectrum.masses, recorder, is_smooth=True)
        return Sample(self._evaluator.evaluate_predictions(self._model, found.smooth), found)

    def _spectrum(self, theta: FloatArray) -> Spectrum:
        p = self.slopes.parameters
        masses = dict(zip(p.masses, theta[p.mass_columns].tolist(), strict=True))
        ssms = dict(zip(p.ssms, theta[p.ssm_columns].tolist(), strict=True))
        decays: dict[int, list[Decay]] = {}
        for (pid, daughters), ratio in zip(p.branching_ratios, theta[p.branching_ratio_columns].tolist(), strict=True):
            decays.setdefault(pid, []).extend(expand_channel(pid, daughters, ratio))
        xsecs = {s: {pair: ssms[pair] * x for pair, x in reference_xsecs_fb(masses, s).items() if ssms[pair] > 0.0} for s in SQRTS_TEV}
        return Spectrum(masses, {pid: tuple(channels) for pid, channels in decays.items()}, xsecs)

    def stencil(self, column: int, start: Sample) -> Stencil | None:
        """Samples around the origin, all made of the same contributions as there; None if no step is small enough."""
        for shrink in SHRINK:
            step = float(self.steps[column]) * shrink
            if column < self.num_masses and self._crosses_node(column, step):
                continue
            samples = {}
            for k in (-2, -1, 1, 2):
                theta = self.origin.copy()
                theta[column] += k * step
                samples[k] = self(theta)
                if samples[k].contributions != start.contributions or samples[k].members() != start.members():
                    break
            else:
                stencil = Stencil(step, samples)
                if stencil.of(lambda sample: np.array(sample.evaluation.tl)).is_smooth(2.0 * VALUE_NOISE / step).all():
                    return stencil
        return None

    def _crosses_node(self, column: int, step: float) -> bool:
        """Whether the stencil reaches over a point of a cross-section table, a kink too small to be seen otherwise."""
        masses = dict(self._model.masses)
        pid = self.slopes.parameters.masses[column]
        ends = []
        for k in (-2, 2):
            masses[pid] = self.origin[column] + k * step
            ends.append([reference_log_slope(pair, masses, s) for pair in self.slopes.parameters.ssms for s in SQRTS_TEV])
        return ends[0] != ends[1]


class Stencil(NamedTuple):
    """Samples at -2, -1, 1 and 2 steps from the origin."""

    step: float
    samples: dict[int, Sample]

    def of(self, value: Callable[[Sample], FloatArray]) -> Difference:
        values = {k: value(sample) for k, sample in self.samples.items()}
        return Difference((values[1] - values[-1]) / (2 * self.step), (values[2] - values[-2]) / (4 * self.step))


def random_points(models: list[ProtoModel], seed: int) -> Iterator[ProtoModel]:
    """The models again and again, with masses, κ and branching ratios changed at random."""
    rng = np.random.default_rng(seed)
    while True:
        for model in models:
            shift = {pid: rng.normal(0.0, 10.0 if pid == LBP_PID else 20.0) for pid in model.masses}
            masses = {pid: max(1.5, mass + shift[pid]) for pid, mass in model.masses.items()}
            ssms = {pair: ssm * math.exp(rng.normal(0.0, 0.5)) for pair, ssm in model.ssms.items()}
            ratios = {}
            for pid, channels in model.branching_ratios.items():
                changed = np.array(list(channels.values())) * np.exp(rng.normal(0.0, 0.3, len(channels)))
                ratios[pid] = dict(zip(channels, (changed / changed.sum()).tolist(), strict=True))
            try:
                yield ProtoModel(masses, ratios, ssms)
            except ModelFormatError:  # a decay closed
                continue


@pytest.fixture(scope="module")
def evaluator(full_store: ResultsStore) -> Evaluator:
    return Evaluator(full_store, EvaluationSettings())


@pytest.fixture(scope="module")
def models(reference_data: Path) -> list[ProtoModel]:
    return list(read_models(reference_data / "reference_protomodels.json"))


class Tally:
    """Counts what was compared, and keeps what disagreed."""

    def __init__(self) -> None:
        self.num_compared = dict.fromkeys(("T_L", "mu_max", "cross section", "observed limit", "expected limit", "nll"), 0)
        self.num_bent = dict.fromkeys(self.num_compared, 0)
        self.num_strict = dict.fromkeys(self.num_compared, 0)
        self.wrong: list[str] = []

    def compare(self, what: str, name: str, difference: Difference, gradient: FloatArray, noise: FloatArray | float) -> None:
        """What lies in one piece must agree to ACCURACY, or to the noise of the difference where that is larger."""
        best, gradient = np.atleast_1d(difference.best), np.atleast_1d(gradient)
        is_usable = np.atleast_1d(difference.is_smooth(10.0 * np.asarray(noise))) & np.isfinite(best)
        error = np.abs(best - gradient)
        is_close = error <= ACCURACY * np.abs(best)
        self.num_compared[what] += int(is_usable.sum())
        self.num_bent[what] += int((~is_usable & np.isfinite(best)).sum())
        self.num_strict[what] += int((is_usable & is_close).sum())
        for i in np.flatnonzero(is_usable & ~is_close & ~(error <= noise)).tolist():
            self.wrong.append(f"{what} d/d {name}: difference {best[i]:.9g}, gradient {gradient[i]:.9g}")


def _compare_parameter(
    column: int, function: Function, found: EvaluationGradient, stencil: Stencil, evaluator: Evaluator, tally: Tally
) -> None:
    """Compare all derivatives with respect to one parameter."""
    name, h, value = found.parameters.names[column], stencil.step, found.evaluation
    smooth = found.predictions.smooth
    for what, gradient, scale, of in (
        ("cross section", found.predictions.xsec_fb, smooth.xsec_fb, lambda sample: sample.predictions.smooth.xsec_fb),
        ("observed limit", found.predictions.ul_obs_fb, smooth.ul_obs_fb, lambda sample: sample.predictions.smooth.ul_obs_fb),
        ("expected limit", found.predictions.ul_exp_fb, smooth.ul_exp_fb, lambda sample: sample.predictions.smooth.ul_exp_fb),
    ):
        rows = slice(None) if what == "cross section" else np.flatnonzero(smooth.kind == PredictionKind.UPPER_LIMIT)
        tally.compare(what, name, stencil.of(of).rows(rows), gradient[rows, column], 1e-13 * np.nan_to_num(scale[rows]) / h)
    # μ̂ is not exactly at the maximum: what is left of the slope there moves with μ̂, which scales like the signal
    left = 0.0 if found.is_capped else 2.0 * value.mu_hat * abs(sum(member.likelihood.mu_slope for member in found.members))
    left *= SIGNAL_SLOPE if column < function.num_masses else 2.0 / function.origin[column]
    tally.compare("T_L", name, stencil.of(lambda sample: np.array(sample.evaluation.tl)), found.tl[column], VALUE_NOISE / h + left)
    if math.isfinite(value.mu_max):
        noise = 1e-13 * value.mu_max / h
        tally.compare("mu_max", name, stencil.of(lambda sample: np.array(sample.evaluation.mu_max)), found.mu_max[column], noise)
    for member in found.members:

        def nll(sample: Sample, row: int = member.row) -> FloatArray:
            predictions = sample.predictions
            found_there = differentiate_likelihood(
                value.mu_hat, row, predictions.smooth, predictions, evaluator.store, evaluator.settings.score
            )
            return np.array(found_there.nll)

        noise = (VALUE_NOISE if member.member.kind == "comb" else 1e-12 * (1.0 + abs(member.likelihood.nll))) / h
        tally.compare("nll", name, stencil.of(nll), member.likelihood.nll_gradient[column], noise)


def test_against_differences_at_random_points(evaluator: Evaluator, models: list[ProtoModel]) -> None:
    """At 100 points, all parameters: within 1e-5 wherever the stencil lies in one piece, and it does nearly everywhere."""
    differentiator = PredictionDifferentiator(evaluator.predictor)
    tally = Tally()
    num_points = num_complete = num_capped = num_zero = num_stencils = num_open = 0
    for model in random_points(models, seed=20240817):
        found = evaluate_with_gradient(evaluator, model, is_smooth=True)
        if not math.isfinite(found.evaluation.tl):
            continue
        function = Function(evaluator, differentiator, model)
        start = function(function.origin)
        assert start.evaluation.tl == pytest.approx(found.evaluation.tl, abs=1e-9)
        is_complete = True
        for column in np.flatnonzero(function.origin > 0.0).tolist():
            stencil = function.stencil(column, start)
            if stencil is None:
                is_complete = False
                num_open += 1
            else:
                num_stencils += 1
                _compare_parameter(column, function, found, stencil, evaluator, tally)
        num_points += 1
        num_complete += is_complete
        num_capped += found.is_capped
        num_zero += found.evaluation.mu_hat == 0.0
        if num_points == NUM_POINTS:
            break
    print(f"{num_points} points, {num_complete} with all parameters in one piece; μ̂ = μ_max at {num_capped}, μ̂ = 0 at {num_zero}")
    print(f"{num_stencils} stencils in one piece, {num_open} not")
    for what, number in tally.num_compared.items():
        print(f"{what}: {number} derivatives compared, {tally.num_strict[what]} within 1e-5, {tally.num_bent[what]} not in one piece")
    assert not tally.wrong, "\n".join(tally.wrong)
    assert num_complete >= 90
    assert num_open <= 0.02 * num_stencils
    for what, number in tally.num_compared.items():
        assert tally.num_bent[what] <= 0.01 * number, what
        assert tally.num_strict[what] >= 0.9 * number, what
    assert 10 <= num_capped <= 90
    assert num_points - num_capped - num_zero >= 10


def test_smooth_values_are_the_predictions_without_rounding(evaluator: Evaluator, models: list[ProtoModel]) -> None:
    """At rounded masses they differ by the six digits at most, except where maps are averaged."""
    for model in models:
        rounded = ProtoModel({pid: round(mass, 1) for pid, mass in model.masses.items()}, model.branching_ratios, model.ssms)
        predictions = evaluator.predictor.predict(rounded.spectrum())
        smooth = evaluate_with_gradient(evaluator, rounded).predictions.smooth
        assert smooth.xsec_fb == pytest.approx(predictions.xsec_fb, rel=1e-5)
        alone = [i for i in range(smooth.kind.size) if smooth.kind[i] != PredictionKind.UPPER_LIMIT or len(smooth.topology_ids[i]) == 1]
        for given, without in ((predictions.ul_obs_fb, smooth.ul_obs_fb), (predictions.ul_exp_fb, smooth.ul_exp_fb)):
            assert without[alone] == pytest.approx(given[alone], rel=1e-5, nan_ok=True)
            assert without == pytest.approx(given, rel=2e-3, nan_ok=True)  # average masses are rounded to five digits
        for result, yields in predictions.region_yields.items():
            assert smooth.region_yields[result] == pytest.approx(yields, rel=1e-5)


def test_value_with_gradient_is_the_evaluation(evaluator: Evaluator, models: list[ProtoModel]) -> None:
    for model in models[:20]:
        found = evaluate_with_gradient(evaluator, model)
        value = evaluator.evaluate(model)
        assert (found.evaluation.k, found.evaluation.mu_hat, found.evaluation.mu_max) == (value.k, value.mu_hat, value.mu_max)
        assert [member.member for member in found.members] == list(value.combination)
