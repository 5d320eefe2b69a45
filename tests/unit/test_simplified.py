"""Simplified likelihoods of full workspaces: numbers by hand, exact derivatives, errors by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from inference.analysis_models.histfactory import WorkspaceModel
from inference.likelihoods.histfactory import HistFactorySettings, compile_workspace
from inference.likelihoods.histfactory.parameters import Constraint
from inference.likelihoods.simplified import (
    SimplificationError,
    SimplifiedForm,
    condition_on_controls,
    draw_shapes,
    expand_at_fit,
    measure_errors,
    read_summary,
    simplify,
    simplify_workspace,
    write_summary,
)
from tests.workspaces import make_workspace

BOTH = np.array([False, True])


def rich_workspace() -> dict[str, Any]:
    """Two channels with every kind of modifier, one-sided variations among them."""
    signal_bins: list[dict[str, Any]] = [
        {"type": "histosys", "name": "shape", "data": {"hi_data": [9.0, 22.0], "lo_data": [7.5, 18.5]}},
        {"type": "normsys", "name": "scale", "data": {"hi": 1.2, "lo": 1.1}},
        {"type": "staterror", "name": "stat_SR", "data": [1.0, 2.0]},
        {"type": "normfactor", "name": "mu_top", "data": None},
        {"type": "lumi", "name": "lumi", "data": None},
    ]
    other: list[dict[str, Any]] = [
        {"type": "shapesys", "name": "fakes", "data": [1.5, 2.5]},
        {"type": "normsys", "name": "shape", "data": {"hi": 1.1, "lo": 0.95}},
    ]
    control: list[dict[str, Any]] = [
        {"type": "normfactor", "name": "mu_top", "data": None},
        {"type": "normsys", "name": "scale", "data": {"hi": 0.9, "lo": 1.15}},
        {"type": "staterror", "name": "stat_CR", "data": [4.0]},
    ]
    lumi = {"name": "lumi", "inits": [1.0], "bounds": [[0.9, 1.1]], "auxdata": [1.0], "sigmas": [0.02]}
    return {
        "channels": [
            {
                "name": "SR",
                "samples": [
                    {"name": "top", "data": [8.0, 20.0], "modifiers": signal_bins},
                    {"name": "fakes", "data": [3.0, 4.0], "modifiers": other},
                ],
            },
            {"name": "CR", "samples": [{"name": "top", "data": [150.0], "modifiers": control}]},
        ],
        "observations": [{"name": "SR", "data": [14.0, 21.0]}, {"name": "CR", "data": [163.0]}],
        "measurements": [{"name": "m", "config": {"poi": "mu_SIG", "parameters": [lumi]}}],
        "version": "1.0.0",
    }


def test_jacobian_and_hessian_are_the_derivatives() -> None:
    """Central differences of means and of -ln L; the step is chosen for 1e-5 relative."""
    model = compile_workspace(rich_workspace())
    expansion = expand_at_fit(model)
    theta, step = model.background_fit().parameters, 1e-3

    def moved(*moves: tuple[int, float]) -> np.ndarray[Any, np.dtype[np.float64]]:
        point = theta.copy()
        for p, amount in moves:
            point[p] += amount
        return point

    for column, p in enumerate(expansion.free):
        up, down = model.means_at(moved((p, step))), model.means_at(moved((p, -step)))
        assert expansion.jacobian[:, column] == pytest.approx((up - down) / (2.0 * step), rel=1e-4, abs=1e-6)
        for row, q in enumerate(expansion.free):
            corners = [model.nll_at(moved((p, a * step), (q, b * step))) * a * b for a in (-1.0, 1.0) for b in (-1.0, 1.0)]
            assert expansion.hessian[row, column] == pytest.approx(sum(corners) / (4.0 * step * step), rel=1e-3, abs=2e-3)
    assert np.abs(expansion.gradient).max() < 1e-3
    assert set(np.isfinite(expansion.widths)) == {True, False}
    assert model.table.constraint[expansion.free[np.isfinite(expansion.widths)]].tolist() == [Constraint.NONE]


def test_data_of_the_signal_region_do_not_enter() -> None:
    """b = 100 ± 20 from a linear constraint stays, whatever was observed; the pub note's σ is the post-fit one."""
    for observed in (70.0, 100.0, 140.0):
        spec = make_workspace({"SR_a": ([100.0], [observed])}, relative_error=0.2)
        model = compile_workspace(spec)
        summary = condition_on_controls(model, np.array([True]))
        assert summary.background == pytest.approx([100.0], rel=1e-6)
        assert summary.covariance == pytest.approx(np.array([[400.0]]), rel=1e-6)
        fitted = model.background_fit().means[0]
        assert summary.means == pytest.approx([fitted])
        data = simplify_workspace(spec, model)["channels"][0]["samples"][0]["modifiers"][0]["data"]
        sigma = (1.0 / 400.0 + observed / fitted**2) ** -0.5
        assert data["hi_data"][0] - fitted == pytest.approx(sigma, rel=1e-6)
        assert fitted - data["lo_data"][0] == pytest.approx(sigma, rel=1e-6)


def test_control_region_measures_the_background() -> None:
    """60 events where 50 were expected: the signal region expects 10 · 60/50 = 12 with variance (10/50)² · 60 = 2.4."""
    spec = make_workspace({"CR": ([50.0], [60.0]), "SR": ([10.0], [12.0])}, relative_error=1e-9, normalised=("CR", "SR"))
    summary = condition_on_controls(compile_workspace(spec), BOTH)
    assert summary.bins == (("SR", 0),)
    assert summary.background == pytest.approx([12.0], rel=1e-4)
    weak = 12.0 / 10.0**2  # a flat distribution within the bounds [0, 10] of the normalisation
    assert summary.covariance == pytest.approx(np.array([[10.0**2 / (50.0**2 / 60.0 + weak)]]), rel=1e-4)
    assert not summary.is_floored


def test_unmeasured_normalisation_has_the_width_of_its_bounds() -> None:
    spec = make_workspace({"CR": ([50.0], [60.0]), "SR": ([10.0], [12.0])}, relative_error=1e-9, normalised=("SR",))
    summary = condition_on_controls(compile_workspace(spec), BOTH)
    assert summary.covariance == pytest.approx(np.array([[10.0**2 * 10.0**2 / 12.0]]), rel=1e-3)


def test_lognormal_bins_never_go_negative() -> None:
    """ν = b exp(σ α/b) to the accuracy of the interpolation inside |α| < 1, exactly outside."""
    spec = make_workspace({"SR_a": ([4.0], [4.0])}, relative_error=0.7)
    model = compile_workspace(spec)
    simplified = simplify(spec, model, np.array([True]), SimplifiedForm.LOGNORMAL)
    small = compile_workspace(simplified.document)
    assert small.bins == (("SR_a[0]", 0),)
    alpha = small.parameter_names.index("eigen_0")
    theta = small.table.inits.copy()
    for value in (-3.0, -1.0, 1.0, 2.0):
        theta[alpha] = value
        assert small.means_at(theta)[0] == pytest.approx(4.0 * np.exp(0.7 * value), rel=1e-6)


@pytest.mark.parametrize("form", list(SimplifiedForm))
def test_every_form_is_close_to_a_model_that_has_it(form: SimplifiedForm) -> None:
    """One linear nuisance and much data: all forms agree with the full model where the signal is small."""
    spec = make_workspace({"SR_b": ([400.0, 900.0], [410.0, 880.0]), "SR_a": ([625.0], [630.0])}, relative_error=0.002)
    model = compile_workspace(spec)
    simplified = simplify(spec, model, np.ones(3, dtype=np.bool_), form)
    errors = measure_errors(
        WorkspaceModel(model), simplified.model, draw_shapes(model.nominal_background, 8, 3), np.arange(3), simplified.places
    )
    assert errors.num_failed == 0
    assert errors.largest < 0.02
    assert (errors.limit_low, errors.limit_high) == pytest.approx((1.0, 1.0), abs=5e-3)


def test_signals_reach_their_bins_in_every_form() -> None:
    """A signal in one bin only: bins of the log-normal workspace are sorted by name."""
    spec = make_workspace({"SR_b": ([4.0, 90.0], [4.0, 90.0]), "SR_a": ([25.0], [25.0])}, relative_error=0.05)
    model = compile_workspace(spec)
    for form in SimplifiedForm:
        simplified = simplify(spec, model, np.ones(3, dtype=np.bool_), form)
        for k in range(3):
            full, small = np.zeros(3), np.zeros(3)
            full[k] = small[simplified.places[k]] = 5.0
            exact = WorkspaceModel(model).likelihood(full).log_ratio(1.0).value
            assert simplified.model.likelihood(small).log_ratio(1.0).value == pytest.approx(exact, rel=0.05)


def test_simplified_workspace_keeps_channels_and_fixes_the_luminosity() -> None:
    spec = rich_workspace()
    simplified = simplify_workspace(spec, compile_workspace(spec))
    assert [(entry["name"], len(entry["samples"])) for entry in simplified["channels"]] == [("SR", 1), ("CR", 1)]
    assert simplified["measurements"][0]["config"]["parameters"][0]["fixed"] is True
    small = compile_workspace(simplified)
    assert small.bins == compile_workspace(spec).bins
    assert small.nominal_background == pytest.approx(compile_workspace(spec).background_fit().means)


@pytest.mark.filterwarnings("ignore:jsonschema.RefResolver:DeprecationWarning")
def test_pyhf_reads_the_simplified_workspaces() -> None:
    """Same -ln L in pyhf and here, at the starting values and away from them."""
    pyhf = pytest.importorskip("pyhf")
    spec = rich_workspace()
    model = compile_workspace(spec)
    is_signal = np.array([channel == "SR" for channel, _ in model.bins])
    for form in (SimplifiedForm.PUB_NOTE, SimplifiedForm.LOGNORMAL):
        document = simplify(spec, model, is_signal, form).document
        for entry in document["channels"]:
            sizes = len(entry["samples"][0]["data"])
            modifiers = [{"name": "mu_SIG", "type": "normfactor", "data": None}, {"name": "lumi", "type": "lumi", "data": None}]
            signal = {"name": "signal", "data": [1.0] * sizes, "modifiers": modifiers}
            entry["samples"].append(signal)
        workspace = pyhf.Workspace(document)
        theirs, ours = workspace.model(), compile_workspace(document)
        for shift in (0.0, 0.4, -1.3):
            point = {name: float(start) for name, start in zip(ours.parameter_names, ours.table.inits, strict=True)}
            for name in point:
                if name not in ("lumi", "mu_SIG"):
                    point[name] += shift
            vector = [point[name] for name in theirs.config.par_names]
            expected = -float(theirs.logpdf(vector, workspace.data(theirs))[0])
            assert ours.nll_at([point[name] for name in ours.parameter_names]) == pytest.approx(expected, abs=1e-8)


def test_covariance_file_comes_back() -> None:
    spec = rich_workspace()
    model = compile_workspace(spec)
    summary = condition_on_controls(model, np.array([channel == "SR" for channel, _ in model.bins]))
    again = read_summary(write_summary(summary))
    assert again.bins == summary.bins
    for field in ("observed", "background", "covariance", "means"):
        assert np.array_equal(getattr(again, field), getattr(summary, field))
    signal = np.array([2.0, 1.0])
    assert again.model().likelihood(signal).nll(1.0) == summary.model().likelihood(signal).nll(1.0)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"format": "other"}, "format"),
        ({"bins": []}, "bins"),
        ({"bins": [{"channel": "SR", "bin": 0, "observed": 5, "background": None, "fitted": 4.0}]}, "background"),
        ({"bins": [{"bin": 0}]}, "channel"),
        ({"covariance": [[1.0, 2.0]]}, "covariance"),
        ({"covariance": [[float("nan")]]}, "covariance"),
    ],
)
def test_bad_covariance_files_name_the_field(change: dict[str, Any], named: str) -> None:
    spec = make_workspace({"SR_a": ([4.0], [4.0])})
    document = write_summary(condition_on_controls(compile_workspace(spec), np.array([True])))
    with pytest.raises(SimplificationError, match=named):
        read_summary({**document, **change})


def test_a_workspace_that_cannot_be_fitted_says_so() -> None:
    spec = make_workspace({"SR_a": ([0.0], [4.0])})
    with pytest.raises(SimplificationError, match="background-only fit"):
        simplify_workspace(spec, compile_workspace(spec))
    spec = make_workspace({"CR": ([4.0], [4.0])})
    with pytest.raises(SimplificationError, match="no signal region"):
        condition_on_controls(compile_workspace(spec), np.array([False]))


def test_shapes_are_seeded_and_normalised() -> None:
    background = np.array([1.0, 50.0, 0.0])
    first = draw_shapes(background, 5, 7)
    assert np.array_equal(first, draw_shapes(background, 5, 7))
    assert not np.array_equal(first, draw_shapes(background, 5, 8))
    assert first.sum(axis=1) == pytest.approx(np.ones(5))


def test_signal_uncertainties_go_with_the_workspaces() -> None:
    """A correlated uncertainty of 30 % on the signal: the forms that are workspaces know of it."""
    spec = make_workspace({"SR_b": ([400.0, 900.0], [410.0, 880.0])}, relative_error=0.002)
    model = compile_workspace(spec, settings=HistFactorySettings(signal_uncertainty=0.3))
    shapes = draw_shapes(model.nominal_background, 6, 3)
    worst = {}
    for form in SimplifiedForm:
        simplified = simplify(spec, model, np.ones(2, dtype=np.bool_), form)
        worst[form] = measure_errors(WorkspaceModel(model), simplified.model, shapes, np.arange(2), simplified.places).largest
    assert max(worst[SimplifiedForm.PUB_NOTE], worst[SimplifiedForm.LOGNORMAL]) < 0.02 < worst[SimplifiedForm.COVARIANCE]
