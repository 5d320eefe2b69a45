"""Random pyhf workspaces for tests: every modifier, shared parameters, one-sided variations, zero yields and errors."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from inference.likelihoods.histfactory import HistFactorySettings, HistosysCode, NormsysCode

POI = "mu_SIG"

_YIELDS = st.one_of(st.sampled_from([0.0, 0.5, 3.0]), st.floats(0.1, 60.0).map(lambda x: round(x, 3)))
_FACTORS = st.one_of(st.sampled_from([1.0, 0.9, 1.1]), st.floats(0.6, 1.6).map(lambda x: round(x, 3)))
_SCALES = st.one_of(st.sampled_from([1.0, 1.2, 0.8]), st.floats(0.5, 1.6).map(lambda x: round(x, 3)))
_ERRORS = st.one_of(st.just(0.0), st.floats(0.05, 3.0).map(lambda x: round(x, 3)))

SETTINGS = st.builds(HistFactorySettings, normsys=st.sampled_from(NormsysCode), histosys=st.sampled_from(HistosysCode))


def _vector(size: int, values: st.SearchStrategy[float]) -> st.SearchStrategy[list[float]]:
    return st.lists(values, min_size=size, max_size=size)


@st.composite
def _sample(draw: st.DrawFn, name: str, channel: str, num_bins: int, has_staterror: bool, num_factors: int) -> dict[str, Any]:
    data = draw(_vector(num_bins, _YIELDS))
    modifiers: list[dict[str, Any]] = []
    for key in sorted(draw(st.sets(st.sampled_from(["shape_a", "shape_b", "both"])))):
        low, high = ([y * f for y, f in zip(data, draw(_vector(num_bins, _SCALES)), strict=True)] for _ in range(2))
        if draw(st.booleans()):  # shifts where nothing is expected
            high = [y + 0.25 for y in high]
        modifiers.append({"name": key, "type": "histosys", "data": {"lo_data": low, "hi_data": high}})
    norms = draw(st.sets(st.sampled_from(["norm_a", "norm_b", "both"])))
    modifiers += [{"name": key, "type": "normsys", "data": {"lo": draw(_FACTORS), "hi": draw(_FACTORS)}} for key in sorted(norms)]
    scales = draw(st.sets(st.sampled_from(["scale_a", "scale_b"]), max_size=1))
    modifiers += [{"name": key, "type": "normfactor", "data": None} for key in sorted(scales)]
    if draw(st.booleans()):
        modifiers.append({"name": "lumi", "type": "lumi", "data": None})
    if draw(st.booleans()) and num_bins <= num_factors:
        modifiers.append({"name": "free_shape", "type": "shapefactor", "data": None})
    if draw(st.booleans()):
        errors = draw(_vector(num_bins, _ERRORS))
        modifiers.append({"name": f"shapesys_{channel}_{name}", "type": "shapesys", "data": errors})
    if has_staterror:
        modifiers.append({"name": f"staterror_{channel}", "type": "staterror", "data": draw(_vector(num_bins, _ERRORS))})
    return {"name": name, "data": data, "modifiers": draw(st.permutations(modifiers))}


@st.composite
def workspaces(draw: st.DrawFn, is_plausible: bool = False) -> dict[str, Any]:
    """A workspace with one to three channels; the signal is one of its samples.

    Args:
        is_plausible: whether the observations are near the nominal background, else anything.
    """
    names = draw(st.permutations(["SR", "CR_top", "b"]))[: draw(st.integers(1, 3))]
    sizes = {name: draw(st.integers(1, 3)) for name in names}
    first_size = sizes[min(names)]  # pyhf sizes a shapefactor by the first channel that has it
    channels, observations = [], []
    for name in names:
        has_staterror = draw(st.booleans())
        samples = []
        for sample in draw(st.permutations(["ttbar", "diboson", "fakes"]))[: draw(st.integers(1, 3))]:
            carries = has_staterror and (not samples or draw(st.booleans()))
            samples.append(draw(_sample(sample, name, sizes[name], carries, first_size)))
        signal = {"name": "signal", "data": draw(_vector(sizes[name], st.sampled_from([0.0, 1.0, 4.0, 9.0]))), "modifiers": []}
        signal["modifiers"] = [{"name": POI, "type": "normfactor", "data": None}]
        if draw(st.booleans()):
            signal["modifiers"].append({"name": "norm_a", "type": "normsys", "data": {"lo": 0.9, "hi": 1.1}})
        channels.append({"name": name, "samples": [*samples, signal]})
        nominal = [sum(sample["data"][i] for sample in samples) for i in range(sizes[name])]
        seen = [round(y * f) + 0.0 for y, f in zip(nominal, draw(_vector(sizes[name], st.floats(0.7, 1.4))), strict=True)]
        anything = draw(_vector(sizes[name], st.integers(0, 80).map(float)))
        observations.append({"name": name, "data": seen if is_plausible else anything})
    _fix_first_shapefactor(channels, sizes)
    parameters: list[dict[str, Any]] = [
        {"name": "lumi", "inits": [1.0], "bounds": [[0.9, 1.1]], "auxdata": [1.0], "sigmas": [0.02], "fixed": draw(st.booleans())}
    ]
    if draw(st.booleans()):
        parameters.append({"name": "scale_a", "inits": [1.1], "bounds": [[0.2, 3.0]], "fixed": draw(st.booleans())})
    if draw(st.booleans()):
        parameters.append({"name": "norm_b", "inits": [0.25], "bounds": [[-3.0, 3.0]], "auxdata": [0.1], "fixed": draw(st.booleans())})
    measurement = {"name": "m", "config": {"poi": POI, "parameters": parameters}}
    return {"channels": channels, "observations": observations, "measurements": [measurement], "version": "1.0.0"}


def _fix_first_shapefactor(channels: list[dict[str, Any]], sizes: dict[str, int]) -> None:
    """Drops shapefactors that are larger than in the first channel, by name, that has one: pyhf has no parameters for them."""
    known = None
    for channel in sorted(channels, key=lambda item: str(item["name"])):
        for sample in channel["samples"]:
            kept = []
            for modifier in sample["modifiers"]:
                if modifier["type"] == "shapefactor":
                    known = sizes[channel["name"]] if known is None else known
                    if sizes[channel["name"]] > known:
                        continue
                kept.append(modifier)
            sample["modifiers"] = kept
