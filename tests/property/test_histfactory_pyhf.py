"""Generated workspaces agree with pyhf: parameters, expected events, -ln L, fits."""

from __future__ import annotations

import logging
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inference.likelihoods.histfactory import HistFactoryLikelihood, HistFactoryModel, HistFactorySettings, compile_workspace
from inference.types import Outcome
from tests.histfactory_workspaces import SETTINGS, workspaces

pyhf = pytest.importorskip("pyhf")
logging.getLogger("pyhf").setLevel(logging.CRITICAL)
pytestmark = pytest.mark.filterwarnings("ignore:jsonschema.RefResolver:DeprecationWarning")


def pyhf_model(spec: dict[str, Any], conventions: HistFactorySettings) -> tuple[Any, np.ndarray]:
    pyhf.set_backend("numpy")
    workspace = pyhf.Workspace(spec)
    model = workspace.model(
        modifier_settings={"normsys": {"interpcode": conventions.normsys.value}, "histosys": {"interpcode": conventions.histosys.value}}
    )
    return model, np.array(workspace.data(model))


def random_parameters(model: HistFactoryModel, seed: int, width: float) -> np.ndarray:
    rng = np.random.default_rng(seed)
    table = model.table
    moved = table.inits + width * rng.normal(size=model.num_parameters) * np.where(table.lower < -1.0, 1.0, 0.2)
    return np.clip(moved, table.lower, np.minimum(table.upper, 10.0))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(spec=workspaces(), conventions=SETTINGS, seed=st.integers(0, 10**6))
def test_likelihood_equals_that_of_pyhf(spec: dict[str, Any], conventions: HistFactorySettings, seed: int) -> None:
    model = compile_workspace(spec, settings=conventions)
    reference, data = pyhf_model(spec, conventions)
    assert set(reference.config.par_names) <= set(model.parameter_names)
    order = [model.parameter_names.index(name) for name in reference.config.par_names]
    assert order == sorted(order)
    bounds = np.array(reference.config.suggested_bounds(), dtype=float)
    np.testing.assert_array_equal(model.table.inits[order], reference.config.suggested_init())
    np.testing.assert_array_equal(model.table.lower[order], bounds[:, 0])
    np.testing.assert_array_equal(model.table.upper[order], bounds[:, 1])
    np.testing.assert_array_equal(model.table.is_fixed[order], reference.config.suggested_fixed())
    for width in (0.0, 0.4, 1.5):
        theirs = random_parameters(model, seed, width)[order]
        ours = model.table.inits.copy()
        ours[order] = theirs
        np.testing.assert_allclose(model.means_at(ours), reference.expected_data(theirs, include_auxdata=False), rtol=1e-9, atol=1e-10)
        with np.errstate(all="ignore"):
            expected = -float(reference.logpdf(theirs, data)[0])
        if not math.isfinite(expected):  # more seen than nothing expected: pyhf says nan or inf
            assert model.nll_at(ours) == math.inf
            continue
        extra = len(model.parameter_names) - len(order)  # parameters that only a signal would need
        assert extra <= 1
        constant = math.log(0.02 * math.sqrt(2.0 * math.pi)) if extra else 0.0
        assert model.nll_at(ours) - constant == pytest.approx(expected, rel=1e-9, abs=1e-9)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(spec=workspaces(is_plausible=True), mu=st.sampled_from([0.0, 0.5, 1.0, 3.0]))
def test_fits_are_never_worse_than_those_of_pyhf(spec: dict[str, Any], mu: float) -> None:
    model = compile_workspace(spec)
    reference, data = pyhf_model(spec, model.settings)
    likelihood = HistFactoryLikelihood(model, np.zeros(model.num_bins))
    constant = math.log(0.02 * math.sqrt(2.0 * math.pi)) if len(model.parameter_names) > reference.config.npars else 0.0
    with np.errstate(all="ignore"):
        try:
            _, fixed = pyhf.infer.mle.fixed_poi_fit(mu, data, reference, return_fitted_val=True)
            _, free = pyhf.infer.mle.fit(data, reference, return_fitted_val=True)
        except (pyhf.exceptions.FailedMinimization, ValueError):
            return
    for ours, theirs in ((likelihood.fit(mu), 0.5 * float(fixed)), (likelihood.best_fit, 0.5 * float(free))):
        if math.isfinite(theirs):
            assert ours.outcome is Outcome.OK
            assert ours.nll - constant <= theirs + 1e-4
            assert model.nll_at(ours.parameters) == pytest.approx(ours.nll, abs=1e-7)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(spec=workspaces(is_plausible=True), conventions=SETTINGS, seed=st.integers(0, 10**6))
def test_slopes_are_those_of_the_profile(spec: dict[str, Any], conventions: HistFactorySettings, seed: int) -> None:
    """The envelope theorem against the likelihood itself: μ moved by a little with all nuisances where they are."""
    model = compile_workspace(spec, settings=conventions)
    signal = np.random.default_rng(seed).uniform(0.0, 5.0, model.num_bins)
    likelihood = HistFactoryLikelihood(model, signal)
    fit = likelihood.fit(0.7)
    if fit.outcome is not Outcome.OK:
        return
    arrays, step = model.signal_arrays(signal), 1e-5
    sides = []
    for change in (-step, step):
        parameters = fit.parameters.copy()
        parameters[model.poi_index] += change
        sides.append(model.nll_at(parameters, arrays))
    slope = (sides[1] - sides[0]) / (2.0 * step)
    if math.isfinite(slope):
        assert likelihood.log_ratio(0.7).slope == pytest.approx(-slope, rel=1e-4, abs=1e-4)
    slopes = likelihood.signal_slopes(0.7)
    changed = signal.copy()
    changed[0] += step
    numeric = -(model.nll_at(fit.parameters, model.signal_arrays(changed)) - model.nll_at(fit.parameters, arrays)) / step
    if math.isfinite(numeric):
        assert slopes[0] == pytest.approx(numeric, rel=1e-3, abs=1e-3)
