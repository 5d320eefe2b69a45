"""HS3 in and out: the same -ln L after a round trip and in pyhs3, documents as ROOT writes them, and what cannot be expressed."""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from database.results.store import ResultsStore
from inference.hs3 import HS3_VERSION, Hs3Error, read_hs3, write_hs3
from inference.likelihoods.histfactory import HistFactorySettings, HistosysCode, NormsysCode, WorkspaceError, compile_workspace
from tests.histfactory_workspaces import workspaces
from tests.unit.test_simplified import rich_workspace
from tests.workspaces import make_workspace

VALUES = Path(__file__).parents[1] / "validation" / "hs3_values.json"


def round_trip(spec: dict[str, Any]) -> dict[str, Any]:
    return read_hs3(json.loads(json.dumps(write_hs3(spec)))).pyhf_workspace()


def assert_same_likelihood(first: dict[str, Any], second: dict[str, Any], num_points: int, seed: int = 5) -> None:
    """Same parameters with the same bounds and constraints, and the same -ln L with all constants at random points."""
    ours, theirs = compile_workspace(first), compile_workspace(second)
    assert ours.parameter_names == theirs.parameter_names
    assert ours.bins == theirs.bins
    for mine, other in zip(ours.table[2:], theirs.table[2:], strict=True):
        assert np.array_equal(mine, other)
    rng, table = np.random.default_rng(seed), ours.table
    num_finite = 0
    for _ in range(num_points):
        theta = np.clip(table.inits + 0.3 * rng.standard_normal(len(table.inits)), table.lower, table.upper)
        theta[table.is_fixed] = table.inits[table.is_fixed]
        signal = rng.random(ours.num_bins)
        expected = ours.nll_at(theta, ours.signal_arrays(signal))
        found = theirs.nll_at(theta, theirs.signal_arrays(signal))
        assert found == pytest.approx(expected, abs=1e-9) or (np.isinf(found) and np.isinf(expected))
        num_finite += int(np.isfinite(expected))
    assert num_finite > 0


def test_round_trip_keeps_the_likelihood() -> None:
    spec = rich_workspace()
    assert_same_likelihood(spec, round_trip(spec), 20)
    assert write_hs3(spec)["metadata"]["hs3_version"] == HS3_VERSION


@given(spec=workspaces())
@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
def test_round_trip_of_random_workspaces(spec: dict[str, Any]) -> None:
    """Every modifier, shared parameters, zero yields; only changed centres of constraints cannot be expressed."""
    parameters = spec["measurements"][0]["config"]["parameters"]
    carried = {m["name"] for c in spec["channels"] for s in c["samples"] for m in s["modifiers"]}
    if any("auxdata" in entry and entry["name"] != "lumi" and entry["name"] in carried for entry in parameters):
        with pytest.raises(Hs3Error, match="auxdata of `norm_b`"):
            write_hs3(spec)
        return
    back = round_trip(spec)
    assert [entry["name"] for entry in back["observations"]] == [entry["name"] for entry in spec["observations"]]
    ours, theirs = compile_workspace(spec), compile_workspace(back)
    for mine, other in zip(ours.table[2:], theirs.table[2:], strict=True):
        assert np.array_equal(mine, other)
    theta = ours.table.inits
    assert ours.nll_at(theta) == theirs.nll_at(theta)


@pytest.mark.full_database
def test_round_trip_of_every_published_workspace(full_store: ResultsStore) -> None:
    """-ln L within 1e-9 at random parameters for all files of the database."""
    files = sorted((full_store.path / "workspaces").rglob("*.json"))
    assert len(files) > 20
    for file in files:
        spec = json.loads(file.read_bytes())
        assert_same_likelihood(spec, round_trip(spec), 3)


def test_pyhs3_evaluates_our_documents_alike() -> None:
    """-ln L of pyhs3 0.4.2; where lumi is constrained it normalises the Gaussian within the bounds, 3e-8 in -ln L."""
    content = json.loads(VALUES.read_text(encoding="utf-8"))
    assert len(content["cases"]) == 2
    for case in content["cases"]:
        model = read_hs3(case["document"]).compile()
        for point, nll in zip(case["points"], case["nll"], strict=True):
            assert model.nll_at([point[name] for name in model.parameter_names]) == pytest.approx(nll, abs=5e-8)


def test_several_measurements_become_analyses() -> None:
    spec = rich_workspace()
    fixed = {"name": "lumi", "inits": [1.0], "bounds": [[0.8, 1.2]], "auxdata": [1.0], "sigmas": [0.05], "fixed": True}
    other = {"name": "scale", "bounds": [[-3.0, 3.0]], "inits": [0.5]}
    spec["measurements"].append({"name": "second", "config": {"poi": "mu_top", "parameters": [fixed, other]}})
    document = write_hs3(spec)
    assert [entry["name"] for entry in document["analyses"]] == ["m", "second"]
    back = read_hs3(document).workspace
    assert back["measurements"][1]["config"]["parameters"] == [fixed, other]
    only = read_hs3(document, "second").workspace
    assert [entry["name"] for entry in only["measurements"]] == ["second"]
    both = [compile_workspace(item, settings=HistFactorySettings(measurement="second")) for item in (spec, back)]
    assert both[0].nll_at(both[0].table.inits) == both[1].nll_at(both[1].table.inits)


def root_document() -> dict[str, Any]:
    """The structure of ROOT's files: two data sets, no `init`, implied parameters, names with prefixes, a nominal luminosity."""
    axes = [{"name": "obs_x_SR", "min": 0.0, "max": 2.0, "nbins": 2}]
    modifiers = [
        {"name": "Lumi", "type": "normfactor", "parameter": "Lumi", "constraint_name": "lumiConstraint"},
        {"name": "top", "type": "normsys", "parameter": "alpha_top", "constraint": "Gauss", "data": {"lo": 0.9, "hi": 1.2}},
        {"name": "mcstat", "type": "staterror", "constraint": "Gauss"},
    ]
    background = {"name": "top", "data": {"contents": [20.0, 10.0], "errors": [2.0, 1.0]}, "modifiers": modifiers}
    signal = {"name": "sig", "data": {"contents": [5.0, 4.0]}, "modifiers": [{"name": "mu", "type": "normfactor", "parameter": "mu"}]}
    constraint = {"name": "lumiConstraint", "type": "gaussian_dist", "x": "Lumi", "mean": "nom_Lumi", "sigma": 0.1}
    values = [{"name": "Lumi", "value": 1.0}, {"name": "nom_Lumi", "value": 1.0, "const": True}, {"name": "mu", "value": 1.0}]
    return {
        "metadata": {"hs3_version": "0.2", "packages": [{"name": "ROOT", "version": "6.32.06"}]},
        "distributions": [{"name": "model_SR", "type": "histfactory_dist", "axes": axes, "samples": [background, signal]}, constraint],
        "data": [
            {"name": "asimovData_SR", "type": "binned", "axes": axes, "contents": [25.0, 14.0]},
            {"name": "obsData_SR", "type": "binned", "axes": axes, "contents": [22.0, 15.0]},
        ],
        "likelihoods": [
            {"name": name, "distributions": ["model_SR"], "aux_distributions": ["lumiConstraint"], "data": [f"{name}_SR"]}
            for name in ("asimovData", "obsData")
        ],
        "domains": [{"name": "default_domain", "type": "product_domain", "axes": [{"name": "mu", "min": 0.0, "max": 20.0}]}],
        "parameter_points": [{"name": "default_values", "parameters": values}],
        "analyses": [
            {"name": name, "likelihood": name, "domains": ["default_domain"], "parameters_of_interest": ["mu"]}
            for name in ("asimovData", "obsData")
        ],
    }


def test_documents_as_root_writes_them() -> None:
    document = root_document()
    with pytest.raises(Hs3Error, match="`asimovData` and `obsData` use different data"):
        read_hs3(document)
    workspace = read_hs3(document, "obsData").pyhf_workspace()
    model = compile_workspace(workspace)
    assert model.parameter_names == ("lumi", "mu", "alpha_top", "mcstat[0]", "mcstat[1]")
    assert model.observed.tolist() == [22.0, 15.0]
    lumi = workspace["measurements"][0]["config"]["parameters"]
    assert {"name": "lumi", "auxdata": [1.0], "sigmas": [0.1], "inits": [1.0], "bounds": [[0.0, 10.0]]} in lumi
    assert {"name": "mu", "bounds": [[0.0, 20.0]]} in lumi
    assert model.table.width[-2:] == pytest.approx([0.1, 0.1])


def test_interpolation_codes_are_kept_or_refused() -> None:
    spec = make_workspace({"SR_a": ([5.0], [6.0])})
    linear = HistFactorySettings(histosys=HistosysCode.CODE0)
    reading = read_hs3(write_hs3(spec, linear))
    assert reading.histosys is HistosysCode.CODE0 and reading.normsys is NormsysCode.CODE4
    expected = compile_workspace(spec, settings=linear)
    theta = np.array(
        [0.3 if name == "totalError" else start for name, start in zip(expected.parameter_names, expected.table.inits, strict=True)]
    )
    assert reading.compile().nll_at(theta) == expected.nll_at(theta)
    with pytest.raises(Hs3Error, match="histosys `totalError` of sample `bkg` in channel `SR_a`: its interpolation"):
        reading.pyhf_workspace()
    with pytest.raises(Hs3Error, match="code2 cannot be expressed"):
        write_hs3(spec, HistFactorySettings(histosys=HistosysCode.CODE2))


def _set(document: dict[str, Any], path: list[Any], value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(document)
    place: Any = changed
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return changed


SAMPLE = ["distributions", 0, "samples", 0]


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["metadata"], {}, "hs3_version"),
        (["metadata", "hs3_version"], "1.4", "'1.4'"),
        (["analyses", 1, "likelihood"], "nothing", "`nothing`"),
        (["analyses", 1, "parameters_of_interest"], ["mu", "Lumi"], "2 parameters of interest"),
        (["data", 1, "type"], "unbinned", "unbinned"),
        (["data", 1, "contents"], [1.0], "have 1 bins where 2"),
        (["distributions", 1, "type"], "lognormal_dist", "`lumiConstraint` is a lognormal_dist"),
        (["distributions", 1, "sigma"], "width", "`sigma` of distribution `lumiConstraint`"),
        ([*SAMPLE, "data", "contents"], [1.0], "`contents` of `data` of sample `top`"),
        ([*SAMPLE, "data", "errors"], None, "`errors`"),
        ([*SAMPLE, "modifiers", 1, "type"], "custom", "modifier type `custom`"),
        ([*SAMPLE, "modifiers", 1, "constraint"], "LogNormal", "the constraint `LogNormal`"),
        ([*SAMPLE, "modifiers", 1, "data"], {"lo": 0.9, "hi": 1.1, "interpolation": "parabolic"}, "interpolation `parabolic`"),
        ([*SAMPLE, "modifiers", 1, "data"], {"lo": 0.9}, "`hi`"),
        ([*SAMPLE, "modifiers", 2, "constraint"], "Poisson", "staterror `mcstat` of sample `top`.*`Poisson`"),
        ([*SAMPLE, "modifiers", 2, "parameters"], ["a"], "1 entries where 2"),
        (["functions"], [{"name": "alpha_top", "type": "sum"}], "function"),
        (["domains", 0, "type"], "simplex", "simplex"),
    ],
)
def test_what_cannot_be_expressed_is_named(path: list[Any], value: Any, message: str) -> None:
    with pytest.raises(Hs3Error, match=message):
        read_hs3(_set(root_document(), path, value), "obsData")


def test_factors_with_constraints_other_than_lumi() -> None:
    document = root_document()
    document["distributions"][0]["samples"][1]["modifiers"].append({"type": "normfactor", "parameter": "xsec"})
    document["distributions"].append({"name": "second", "type": "gaussian_dist", "x": 1.0, "mean": "xsec", "sigma": 0.2})
    document["likelihoods"][1]["distributions"].append("second")
    document["likelihoods"][1]["data"].append(1.0)
    with pytest.raises(Hs3Error, match=r"`xsec` of sample `sig`.* and `Lumi` both have a Gaussian constraint"):
        read_hs3(document, "obsData")


def test_pyhf_workspaces_that_hs3_cannot_hold() -> None:
    spec = rich_workspace()
    spec["measurements"][0]["config"]["parameters"].append({"name": "fakes", "factors": [2.0, 2.0]})
    with pytest.raises(Hs3Error, match="sigmas or factors of `fakes`"):
        write_hs3(spec)
    spec = rich_workspace()
    spec["channels"][0]["samples"][1]["modifiers"].append({"type": "staterror", "name": "other", "data": [1.0, 1.0]})
    with pytest.raises(Hs3Error, match="channel `SR` has the staterrors `other` and `stat_SR`"):
        write_hs3(spec)
    with pytest.raises(WorkspaceError):
        write_hs3({"channels": []})


def test_shared_names_of_staterrors_and_shapefactors() -> None:
    """One staterror name in two channels that differ in their samples gets a name per channel; shared shapefactors stay shared."""
    document = write_hs3(rich_workspace())
    for channel in document["distributions"][:2]:
        for sample in channel["samples"]:
            for modifier in sample["modifiers"]:
                if modifier["type"] == "staterror":
                    modifier["name"] = "staterror"
    extra = document["distributions"][0]["samples"][1]
    extra["data"]["errors"] = [0.3, 0.4]
    extra["modifiers"].append({"type": "staterror", "name": "staterror", "parameters": ["stat_SR_bin_0", "stat_SR_bin_1"]})
    model = read_hs3(document).compile()
    assert {"staterror_SR[0]", "staterror_SR[1]", "staterror_CR[0]"} <= set(model.parameter_names)
    document = write_hs3(rich_workspace())
    for number, size in ((0, 2), (1, 1)):
        labels = ["gamma_0", "gamma_1"][:size]
        document["distributions"][number]["samples"][0]["modifiers"].append({"type": "shapefactor", "parameters": labels})
    with pytest.raises(WorkspaceError, match="shapefactor `gamma`"):  # pyhf sizes it by the first channel, CR
        read_hs3(document).compile()
    document["distributions"][0]["samples"][0]["modifiers"][-1]["parameters"] = ["alpha_0", "gamma_1"]
    assert {"gamma_0[0]", "alpha_0[0]", "alpha_0[1]"} <= set(read_hs3(document).compile().parameter_names)


def _paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, child in children for found in _paths(child, (*path, key)))]


def test_damaged_documents_end_in_one_sentence() -> None:
    """Anything replaced by anything: a valid model, or an error of ours on one line."""
    rng = random.Random(11)
    replacements: list[Any] = [None, {}, [], "x", 1, True, [None], {"name": "x"}, ["a", "b"], float("nan"), "lumi", "staterror"]
    document = write_hs3(rich_workspace())
    places = _paths(document)[1:]
    num_errors = 0
    for _ in range(400):
        place = rng.choice(places)
        try:
            read_hs3(_set(document, list(place), rng.choice(replacements))).compile()
        except (Hs3Error, WorkspaceError) as error:
            assert "\n" not in str(error)
            num_errors += 1
    assert 200 < num_errors < 400
