"""Gradients of random models: what must hold whatever the model."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builder.evaluate import EvaluationSettings, Evaluator
from builder.evaluation_json import evaluation_to_json
from builder.gradient import EvaluationGradient, evaluate_with_gradient, fisher_information
from builder.moves.birth import force_birth
from builder.moves.context import MoveContext
from builder.moves.settings import WalkSettings
from builder.protomodel import ProtoModel
from database.results.importer import open_embedded_store
from inference.cross_sections import production_pairs
from inference.spectrum import LBP_PID
from inference.types import FloatArray

CONTEXT = MoveContext(WalkSettings(), tl=2.0)
SEEDS = st.integers(0, 10**6)
NUM_BIRTHS = st.integers(1, 8)


@pytest.fixture(scope="module")
def evaluator() -> Evaluator:
    return Evaluator(open_embedded_store(), EvaluationSettings())


def make_model(seed: int, num_births: int) -> ProtoModel:
    """A legal random model with multipliers around 1."""
    rng = np.random.default_rng(seed)
    model = ProtoModel({LBP_PID: float(rng.uniform(20.0, 300.0))}, {}, {})
    for _ in range(num_births):
        model = force_birth(rng, model, CONTEXT) or model
    return model.with_ssms({pair: math.exp(float(rng.normal())) for pair in production_pairs(model.masses)})


def ssms_of(model: ProtoModel, found: EvaluationGradient) -> FloatArray:
    return np.array([model.ssm(pair) for pair in found.parameters.ssms])


@settings(max_examples=60, deadline=None)
@given(SEEDS, NUM_BIRTHS)
def test_cross_sections_are_linear_in_the_multipliers(evaluator: Evaluator, seed: int, num_births: int) -> None:
    """Euler: Σ κ ∂σ/∂κ = σ for every prediction; the limits do not change if all κ do."""
    model = make_model(seed, num_births)
    found = evaluate_with_gradient(evaluator, model)
    ssms, columns = ssms_of(model, found), found.parameters.ssm_columns
    smooth = found.predictions.smooth
    assert found.predictions.xsec_fb[:, columns] @ ssms == pytest.approx(smooth.xsec_fb, rel=1e-9)
    for result, yields in smooth.region_yields.items():
        assert found.predictions.region_yields[result][:, columns] @ ssms == pytest.approx(yields, rel=1e-9, abs=1e-15)
    for limits, slopes in ((smooth.ul_obs_fb, found.predictions.ul_obs_fb), (smooth.ul_exp_fb, found.predictions.ul_exp_fb)):
        defined = np.isfinite(limits)
        assert slopes[defined][:, columns] @ ssms == pytest.approx(0.0, abs=1e-9 * np.abs(limits[defined]).max(initial=1.0))


@settings(max_examples=60, deadline=None)
@given(SEEDS, NUM_BIRTHS)
def test_scaling_multipliers_changes_k_as_the_gradient_says(evaluator: Evaluator, seed: int, num_births: int) -> None:
    """K(κ (1 + ε)) = K + ε Σ κ ∂K/∂κ: for all κ together it is nothing, since μ̂ makes up for it; for one κ it is something."""
    model = make_model(seed, num_births)
    found = evaluate_with_gradient(evaluator, model, is_smooth=True)
    if not math.isfinite(found.evaluation.k):
        return
    ssms, slopes = ssms_of(model, found), found.k[found.parameters.ssm_columns]
    step = 1e-4
    rng = np.random.default_rng(seed)
    one = np.zeros(ssms.size)
    one[rng.integers(ssms.size)] = 1.0
    for direction in (np.ones(ssms.size), one, rng.normal(size=ssms.size)):
        values = []
        for sign in (-1.0, 1.0):
            changed = ssms * (1.0 + sign * step * direction)
            scaled = model.with_ssms(dict(zip(found.parameters.ssms, changed.tolist(), strict=True)))
            values.append(evaluate_with_gradient(evaluator, scaled, is_smooth=True))
        members = [[(m.analysis_id, m.kind, m.dataset_id) for m in x.evaluation.combination] for x in (values[0], found, values[1])]
        sizes = [x.predictions.xsec_fb.shape for x in (values[0], found, values[1])]
        if members[0] != members[1] or members[1] != members[2] or len(set(sizes)) > 1:
            continue  # another piece
        expected = float(direction @ (ssms * slopes))
        difference = (values[1].evaluation.k - values[0].evaluation.k) / (2 * step)
        assert difference == pytest.approx(expected, rel=1e-4, abs=2e-4)
    assert float(ssms @ slopes) == pytest.approx(0.0, abs=1e-5 * (1.0 + abs(found.evaluation.tl)))


@settings(max_examples=60, deadline=None)
@given(SEEDS, NUM_BIRTHS)
def test_gradients_are_finite_and_projections_stay_on_the_simplex(evaluator: Evaluator, seed: int, num_births: int) -> None:
    model = make_model(seed, num_births)
    found = evaluate_with_gradient(evaluator, model)
    assert evaluation_to_json(found.evaluation) == evaluation_to_json(evaluator.evaluate(model))
    assert np.isfinite(found.predictions.xsec_fb).all()
    assert len(set(found.parameters.names)) == found.parameters.size == found.k.size
    if not math.isfinite(found.evaluation.k):
        assert np.isnan(found.k).all()
        return
    assert np.isfinite(found.k).all()
    projected = found.parameters.project(found.k)
    for mother in {pid for pid, _ in found.parameters.branching_ratios}:
        columns = [i for i, name in enumerate(found.parameters.names) if name.startswith(f"br({mother}>")]
        assert projected[columns].sum() == pytest.approx(0.0, abs=1e-9 * (1.0 + np.abs(found.k[columns]).max()))
    assert found.parameters.project(projected) == pytest.approx(projected, abs=1e-9 * (1.0 + np.abs(found.k).max()))


@settings(max_examples=30, deadline=None)
@given(SEEDS, NUM_BIRTHS)
def test_information_is_positive(evaluator: Evaluator, seed: int, num_births: int) -> None:
    """Symmetric and without negative eigenvalues; null directions cost nothing; the covariance inverts the rest."""
    found = fisher_information(evaluator, make_model(seed, num_births), includes_branching_ratios=True)
    scale = np.sqrt(np.diag(found.matrix))
    scale[scale == 0.0] = 1.0
    scaled = found.matrix / np.outer(scale, scale)
    assert scaled == pytest.approx(scaled.T)
    if scaled.size:
        assert np.linalg.eigvalsh(scaled).min() > -1e-9
    for null in found.null_directions:
        direction = null.direction * scale
        assert direction @ scaled @ direction == pytest.approx(0.0, abs=1e-6 * direction @ direction)
    back = found.matrix @ found.covariance @ found.matrix / np.outer(scale, scale)
    assert back == pytest.approx(scaled, abs=1e-6)
