"""Reading of workspaces: what is wrong is named; patches; parameters in pyhf's order."""

from __future__ import annotations

import copy
import json
from typing import Any

import numpy as np
import pytest

from database.errors import UserFacingError
from inference.likelihoods.histfactory import HistFactorySettings, PatchError, WorkspaceError, compile_workspace
from inference.likelihoods.histfactory.json_patch import apply_patch

LUMI = {"name": "lumi", "inits": [1.0], "bounds": [[0.915, 1.085]], "auxdata": [1.0], "sigmas": [0.017]}


def small_workspace() -> dict[str, Any]:
    """Two channels, one of them with two bins, and every kind of modifier."""
    return copy.deepcopy(
        {
            "version": "1.0.0",
            "channels": [
                {
                    "name": "SR",
                    "samples": [
                        {
                            "name": "ttbar",
                            "data": [10.0, 4.0],
                            "modifiers": [
                                {"name": "jes", "type": "histosys", "data": {"lo_data": [9.0, 3.5], "hi_data": [11.5, 4.25]}},
                                {"name": "jes", "type": "normsys", "data": {"lo": 0.95, "hi": 1.07}},
                                {"name": "staterror_SR", "type": "staterror", "data": [0.5, 0.0]},
                                {"name": "lumi", "type": "lumi", "data": None},
                            ],
                        },
                        {
                            "name": "fakes",
                            "data": [2.0, 0.0],
                            "modifiers": [{"name": "fake_rate", "type": "shapesys", "data": [0.6, 0.4]}],
                        },
                    ],
                },
                {
                    "name": "CR",
                    "samples": [
                        {
                            "name": "ttbar",
                            "data": [50.0],
                            "modifiers": [
                                {"name": "mu_top", "type": "normfactor", "data": None},
                                {"name": "data_driven", "type": "shapefactor", "data": None},
                            ],
                        }
                    ],
                },
            ],
            "observations": [{"name": "SR", "data": [12.0, 5.0]}, {"name": "CR", "data": [48.0]}],
            "measurements": [{"name": "fit", "config": {"poi": "mu_SIG", "parameters": [LUMI]}}],
        }
    )


def test_bins_and_parameters_follow_pyhf() -> None:
    model = compile_workspace(small_workspace())
    assert model.bins == (("CR", 0), ("SR", 0), ("SR", 1))
    assert model.channels == (("CR", 1), ("SR", 2))
    assert model.num_bins == model.num_regions == 3
    np.testing.assert_array_equal(model.observed, [48.0, 12.0, 5.0])
    np.testing.assert_array_equal(model.nominal_background, [50.0, 12.0, 4.0])
    assert model.parameter_names == (
        "jes", "lumi", "mu_top", "data_driven[0]", "fake_rate[0]", "fake_rate[1]", "staterror_SR[0]", "staterror_SR[1]", "mu_SIG",
    )  # fmt: skip
    fixed = [name for name, is_fixed in zip(model.parameter_names, model.table.is_fixed, strict=True) if is_fixed]
    assert fixed == ["fake_rate[1]", "staterror_SR[1]"]  # no yield, no error


@pytest.mark.parametrize(
    ("pointer", "value", "words"),
    [
        ("/channels/0/samples/0/data/1", "four", ["data", "ttbar", "SR", "four"]),
        ("/channels/0/samples/0/data/1", True, ["ttbar", "SR"]),
        ("/channels/0/samples/1/data", [1.0], ["fakes", "SR", "1 entries", "2"]),
        ("/channels/0/samples/0/modifiers/0/data/hi_data", [1.0], ["hi_data", "histosys", "jes", "ttbar", "SR"]),
        ("/channels/0/samples/0/modifiers/1/data/lo", 0.0, ["normsys", "jes", "ttbar", "SR", "positive"]),
        ("/channels/0/samples/0/modifiers/1/data", {"hi": 1.0}, ["normsys", "jes", "lo"]),
        ("/channels/0/samples/0/modifiers/1/type", "normsis", ["normsis", "jes", "ttbar", "SR"]),
        ("/channels/0/samples/0/modifiers/3/name", "luminosity", ["lumi", "luminosity"]),
        ("/channels/0/samples/1/modifiers/0/name", "staterror_SR", ["staterror_SR", "shapesys", "staterror"]),
        ("/channels/1/samples/0/modifiers/0/name", "jes", ["jes", "normfactor"]),
        ("/channels/0/samples/1/name", "ttbar", ["ttbar", "twice", "SR"]),
        ("/channels/1/name", "SR", ["observations", "SR"]),
        ("/observations/0/data/0", -1.0, ["observations", "SR", "negative"]),
        ("/observations/0/data", [1.0], ["observations", "SR"]),
        ("/observations/0/name", "VR", ["observations", "SR"]),
        ("/measurements/0/config/parameters/0/bounds", [[2.0, 1.0]], ["bounds", "lumi"]),
        ("/measurements/0/config/parameters/0/inits", [3.0], ["inits", "lumi", "outside"]),
        ("/measurements/0/config/parameters/0/sigmas", [0.0], ["sigmas", "lumi", "positive"]),
        ("/measurements/0/config/parameters/0/sigma", [0.1], ["sigma", "lumi", "unknown"]),
        ("/measurements/0/config/parameters/-", {"name": "jes", "sigmas": [2.0]}, ["sigmas", "jes"]),
        ("/measurements/0/config/parameters/-", {"name": "mu_top", "auxdata": [1.0]}, ["mu_top", "auxdata"]),
        ("/measurements/0/config/parameters/-", {"name": "fake_rate", "inits": [1.0]}, ["fake_rate", "inits", "2"]),
        ("/measurements/0/config/parameters/-", LUMI, ["lumi", "twice"]),
        ("/measurements/0/config/parameters", [], ["lumi", "inits"]),
        ("/measurements/0/config/poi", "jes", ["jes", "normfactor"]),
        ("/measurements", [], ["measurements"]),
        ("/version", "2.0.0", ["2.0.0"]),
    ],
)
def test_a_bad_workspace_is_refused_by_name(pointer: str, value: Any, words: list[str]) -> None:
    op = "replace" if pointer[-1].isdigit() else "add"  # an entry of a list is replaced, not inserted
    changed = apply_patch(small_workspace(), [{"op": op, "path": pointer, "value": value}])
    with pytest.raises(WorkspaceError) as caught:
        compile_workspace(changed)
    assert isinstance(caught.value, UserFacingError)
    for word in words:
        assert word in str(caught.value)


def test_staterrors_of_a_name_must_cover_the_same_channels() -> None:
    spec = small_workspace()
    spec["channels"][1]["samples"].append(
        {"name": "fakes", "data": [1.0], "modifiers": [{"name": "staterror_SR", "type": "staterror", "data": [0.2]}]}
    )
    with pytest.raises(WorkspaceError, match=r"staterror_SR.*CR"):
        compile_workspace(spec)


def test_a_shapefactor_grows_no_parameters() -> None:
    spec = small_workspace()
    spec["channels"][0]["samples"][1]["modifiers"].append({"name": "data_driven", "type": "shapefactor", "data": None})
    with pytest.raises(WorkspaceError, match=r"data_driven.*fakes.*SR"):
        compile_workspace(spec)


def test_measurements_are_chosen_by_name_or_position() -> None:
    spec = small_workspace()
    spec["measurements"].append({"name": "other", "config": {"poi": "mu", "parameters": [LUMI, {"name": "mu_top", "fixed": True}]}})
    for choice in ("other", 1):
        model = compile_workspace(spec, settings=HistFactorySettings(measurement=choice))
        assert model.poi_name == "mu"
        assert model.table.is_fixed[model.table.start["mu_top"]]
    for missing in ("none", 2):
        with pytest.raises(WorkspaceError, match=str(missing)):
            compile_workspace(spec, settings=HistFactorySettings(measurement=missing))


def test_what_the_signal_carries() -> None:
    spec = small_workspace()
    settings = HistFactorySettings(signal_uncertainty=0.2, signal_normsys={"jes": (0.9, 1.1), "isr": (0.8, 1.3)})
    model = compile_workspace(spec, settings=settings)
    assert model.parameter_names[-3:] == ("mu_SIG", "signalUncertainty", "isr")
    parameters = model.table.inits.copy()
    signal = model.signal_arrays([1.0, 2.0, 4.0])
    background = model.means_at(parameters)
    parameters[model.table.start["signalUncertainty"]] = 1.0
    np.testing.assert_allclose(model.means_at(parameters, signal) - background, [1.2, 2.4, 4.8])
    parameters[model.table.start["isr"]] = -1.0
    np.testing.assert_allclose(model.means_at(parameters, signal) - background, 0.8 * np.array([1.2, 2.4, 4.8]))
    with pytest.raises(WorkspaceError, match="fake_rate"):
        compile_workspace(spec, settings=HistFactorySettings(signal_normsys={"fake_rate": (0.9, 1.1)}))
    with pytest.raises(WorkspaceError, match="3 yields"):
        model.signal_arrays([1.0])


def test_statistical_errors_of_a_signal_widen_the_constraint() -> None:
    model = compile_workspace(small_workspace(), settings=HistFactorySettings(has_signal_staterror=True))
    first = model.table.start["staterror_SR"]
    arrays = model.signal_arrays([0.0, 2.0, 1.0], errors=[0.0, 1.2, 0.0])
    # pyhf: δ² = (0.5² + 1.2²)/(10 + 2)² in the first bin
    assert arrays.weight[first] == pytest.approx(12.0**2 / (0.5**2 + 1.2**2))
    assert model.signal_arrays([0.0, 2.0, 1.0]).weight[first] == pytest.approx(10.0**2 / 0.5**2)
    with pytest.raises(WorkspaceError, match="has_signal_staterror"):
        compile_workspace(small_workspace()).signal_arrays([0.0, 2.0, 1.0], errors=[0.0, 1.0, 0.0])


def test_patches_change_a_copy() -> None:
    spec = small_workspace()
    before = json.dumps(spec)
    model = compile_workspace(
        spec, patches=[[{"op": "remove", "path": "/channels/1"}], [{"op": "test", "path": "/version", "value": "1.0.0"}]]
    )
    assert model.bins == (("SR", 0), ("SR", 1))
    assert json.dumps(spec) == before


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        ({"op": "add", "path": "/a/-", "value": 3}, {"a": [1, 2, 3], "b": {"c~/": 0}}),
        ({"op": "add", "path": "/a/0", "value": 3}, {"a": [3, 1, 2], "b": {"c~/": 0}}),
        ({"op": "replace", "path": "/b/c~0~1", "value": 5}, {"a": [1, 2], "b": {"c~/": 5}}),
        ({"op": "move", "from": "/a/0", "path": "/b/d"}, {"a": [2], "b": {"c~/": 0, "d": 1}}),
        ({"op": "copy", "from": "/a", "path": "/b/d"}, {"a": [1, 2], "b": {"c~/": 0, "d": [1, 2]}}),
        ({"op": "remove", "path": "/b"}, {"a": [1, 2]}),
    ],
)
def test_patch_operations(operation: dict[str, Any], expected: dict[str, Any]) -> None:
    assert apply_patch({"a": [1, 2], "b": {"c~/": 0}}, [operation]) == expected


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "add", "path": "/a/3", "value": 3},
        {"op": "replace", "path": "/a/01", "value": 3},
        {"op": "remove", "path": "/x"},
        {"op": "remove", "path": ""},
        {"op": "test", "path": "/a/0", "value": 2},
        {"op": "add", "path": "/a/0"},
        {"op": "add", "path": "a/0", "value": 1},
        {"op": "move", "path": "/a/0"},
        {"op": "move", "from": "/a", "path": "/a/0"},
        {"op": "add", "path": "/a/0/x", "value": 1},
        {"op": "merge", "path": "/a"},
        {"path": "/a"},
    ],
)
def test_patches_that_do_not_fit_are_refused(operation: dict[str, Any]) -> None:
    with pytest.raises(PatchError, match="operation 0"):
        apply_patch({"a": [1, 2]}, [operation])
