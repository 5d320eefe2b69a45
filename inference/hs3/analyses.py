"""Analyses of HS3: which data and constraints belong to which distribution, and what becomes of parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from inference.hs3.errors import Hs3Error
from inference.hs3.values import find_entry, get_list, get_numbers, get_text, index_by_name, is_number
from inference.likelihoods.histfactory.parameters import ParameterSet

_CHANNELS = ("histfactory_dist", "histfactory_yield")
_GAUSSIANS = ("gaussian_dist", "normal_dist")
_POINTS = ("default_values", "NominalParamValues")
"""Parameter points that ROOT means where an analysis names none."""


class GaussianConstraint(NamedTuple):
    """N(centre | parameter, sigma)."""

    parameter: str
    centre: float
    sigma: float


class AnalysisEntry(NamedTuple):
    """One analysis with everything it refers to.

    Attributes:
        name: its name.
        poi_name: parameter of interest; "" without one.
        channels: names of the channels, in the order of the likelihood.
        observed: observed events per channel.
        constraints: by parameter.
        values: starting values by parameter.
        constants: parameters that stay.
        bounds: by parameter.
    """

    name: str
    poi_name: str
    channels: tuple[str, ...]
    observed: Mapping[str, Sequence[float]]
    constraints: Mapping[str, GaussianConstraint]
    values: Mapping[str, float]
    constants: frozenset[str]
    bounds: Mapping[str, tuple[float, float]]


def find_analyses(document: Mapping[str, Any], wanted: str | None) -> list[AnalysisEntry]:
    """The analyses of a document, or the one of that name.

    Raises:
        Hs3Error: there is none, it is not valid, or it needs something that pyhf does not have.
    """
    analyses = index_by_name(document, "analyses")
    likelihoods = index_by_name(document, "likelihoods")
    if wanted is not None:
        if wanted not in analyses:
            raise Hs3Error(f"the document has no analysis `{wanted}`; it has {', '.join(analyses) or 'none'}")
        return [_read_analysis(document, analyses[wanted], likelihoods)]
    if analyses:
        return [_read_analysis(document, entry, likelihoods) for entry in analyses.values()]
    if len(likelihoods) != 1:
        raise Hs3Error(f"the document has no analyses and {len(likelihoods)} likelihoods, so that it is not clear what to convert")
    name = next(iter(likelihoods))
    return [_read_analysis(document, {"name": name, "likelihood": name}, likelihoods)]


def _read_analysis(document: Mapping[str, Any], entry: Mapping[str, Any], likelihoods: Mapping[str, Mapping[str, Any]]) -> AnalysisEntry:
    name = str(entry["name"])
    where = f"analysis `{name}`"
    likelihood = find_entry(likelihoods, entry.get("likelihood"), "likelihood", where)
    pois = get_list(entry, "parameters_of_interest", where)
    if len(pois) > 1:
        raise Hs3Error(f"{where} has {len(pois)} parameters of interest; pyhf has one")
    values, constants = _read_point(document, entry, where)
    channels, observed, constraints = _read_likelihood(document, likelihood, values)
    return AnalysisEntry(
        name,
        str(pois[0]) if pois else "",
        channels,
        observed,
        constraints,
        values,
        constants,
        _read_domains(document, entry, where),
    )


def _read_point(document: Mapping[str, Any], entry: Mapping[str, Any], where: str) -> tuple[dict[str, float], frozenset[str]]:
    points = index_by_name(document, "parameter_points")
    chosen = entry.get("init", next((name for name in _POINTS if name in points), None))
    values: dict[str, float] = {}
    constants: set[str] = set()
    point = {} if chosen is None else find_entry(points, chosen, "parameter point", where)
    for item in get_list(point, "parameters", f"parameter point `{chosen}`"):
        parameter = get_text(item, "name", f"a parameter of `{chosen}`")
        if not is_number(item.get("value")):
            raise Hs3Error(f"`{parameter}` in the parameter point `{chosen}` needs `value`, a number")
        values[parameter] = float(item["value"])
        if item.get("const") is True:
            constants.add(parameter)
    return values, frozenset(constants)


def _read_domains(document: Mapping[str, Any], entry: Mapping[str, Any], where: str) -> dict[str, tuple[float, float]]:
    domains = index_by_name(document, "domains")
    single = entry.get("domain")
    chosen = [single] if isinstance(single, str) else list(get_list(entry, "domains", where))
    if not chosen and "default_domain" in domains:
        chosen = ["default_domain"]
    bounds: dict[str, tuple[float, float]] = {}
    for name in chosen:
        domain = find_entry(domains, name, "domain", where)
        if domain.get("type", "product_domain") != "product_domain":
            raise Hs3Error(f"domain `{name}` is a {domain['type']}; pyhf can express product_domain")
        for axis in get_list(domain, "axes", f"domain `{name}`"):
            parameter = get_text(axis, "name", f"an axis of domain `{name}`")
            if is_number(axis.get("min")) and is_number(axis.get("max")):
                bounds[parameter] = float(axis["min"]), float(axis["max"])
    return bounds


def _read_likelihood(
    document: Mapping[str, Any], likelihood: Mapping[str, Any], values: Mapping[str, float]
) -> tuple[tuple[str, ...], dict[str, Sequence[float]], dict[str, GaussianConstraint]]:
    name = str(likelihood["name"])
    where = f"likelihood `{name}`"
    distributions, data = index_by_name(document, "distributions"), index_by_name(document, "data")
    listed, measured = get_list(likelihood, "distributions", where), get_list(likelihood, "data", where)
    if len(listed) != len(measured):
        raise Hs3Error(f"{where} has {len(listed)} distributions for {len(measured)} data sets")
    observed: dict[str, Sequence[float]] = {}
    constraints: dict[str, GaussianConstraint] = {}
    pairs = [*zip(listed, measured, strict=True), *((item, None) for item in get_list(likelihood, "aux_distributions", where))]
    for item, datum in pairs:
        entry = find_entry(distributions, item, "distribution", where)
        kind = get_text(entry, "type", f"distribution `{item}`")
        if kind in _CHANNELS and datum is not None:
            observed[str(item)] = _binned(data, datum, f"channel `{item}`")
        elif kind in _GAUSSIANS:
            constraint = _read_gaussian(entry, _single_value(data, datum), values)
            constraints[constraint.parameter] = constraint
        else:
            raise Hs3Error(
                f"distribution `{item}` is a {kind}, which pyhf cannot express; it has histfactory_dist, and gaussian_dist for lumi"
            )
    if not observed:
        raise Hs3Error(f"{where} has no distribution of type histfactory_dist")
    return tuple(observed), observed, constraints


def _binned(data: Mapping[str, Mapping[str, Any]], name: Any, where: str) -> list[float]:
    entry = find_entry(data, name, "data", where)
    if entry.get("type") != "binned":
        raise Hs3Error(f"the data `{name}` of {where} are {entry.get('type')}; pyhf can express binned data")
    if entry.get("uncertainty") is not None:
        raise Hs3Error(f"the data `{name}` of {where} have an `uncertainty`, which pyhf cannot express")
    return get_numbers(entry, "contents", f"data `{name}`")


def _single_value(data: Mapping[str, Mapping[str, Any]], datum: Any) -> float | None:
    """The observed value of a distribution of one number; None where it follows from the distribution."""
    if is_number(datum):
        return float(datum)
    entry = data.get(datum) if isinstance(datum, str) else None
    if entry is not None and entry.get("type") == "point" and is_number(entry.get("value")):
        return float(entry["value"])
    return None


def _read_gaussian(entry: Mapping[str, Any], value: float | None, values: Mapping[str, float]) -> GaussianConstraint:
    """A constraint from any of its forms: x or mean is the parameter, the other a number or a constant such as ROOT's `nom_…`."""
    name = str(entry["name"])
    where = f"distribution `{name}`"
    if not is_number(entry.get("sigma")):
        raise Hs3Error(f"`sigma` of {where} must be a number, so that pyhf can express it")
    ends = [entry.get("x"), entry.get("mean")]
    if value is not None:
        ends[0] = value
    centres = [float(end) for end in ends if end is not None and is_number(end)]
    labels = [end for end in ends if isinstance(end, str)]
    if len(labels) == 2:
        nominal = next((label for label in labels if label.startswith("nom_") and label in values), None)
        if nominal is not None:
            labels.remove(nominal)
            centres = [values[nominal]]
    if len(labels) != 1 or len(centres) != 1:
        raise Hs3Error(f"{where} must relate one parameter to one number, so that pyhf can express it")
    return GaussianConstraint(labels[0], centres[0], float(entry["sigma"]))


def configure_parameters(
    analysis: AnalysisEntry, defaults: Mapping[str, ParameterSet], labels: Mapping[str, Sequence[str]], lumi_parameter: str | None
) -> list[dict[str, Any]]:
    """What the measurement of pyhf has to say: starting values, bounds and constants that differ from pyhf's defaults, and lumi.

    Args:
        analysis: the analysis.
        defaults: pyhf's parameter sets, by name.
        labels: HS3 names of the parameters of each set.
        lumi_parameter: HS3 name of the luminosity.

    Raises:
        Hs3Error: only some parameters of a set are constant; pyhf fixes all or none.
    """
    entries = []
    for name, default in defaults.items():
        names = [lumi_parameter or name] if "lumi" in default.kinds else labels.get(name, [name])
        inits = tuple(analysis.values.get(label, value) for label, value in zip(names, default.inits, strict=True))
        bounds = tuple(analysis.bounds.get(label, pair) for label, pair in zip(names, default.bounds, strict=True))
        entry: dict[str, Any] = {"name": name}
        if "lumi" in default.kinds:
            constraint = analysis.constraints[names[0]]
            entry |= {"auxdata": [constraint.centre], "sigmas": [constraint.sigma]}
            inits = (analysis.values.get(names[0], constraint.centre),)
            bounds = (analysis.bounds.get(names[0], (0.0, 10.0 * constraint.centre)),)
        if inits != default.inits or "lumi" in default.kinds:
            entry["inits"] = list(inits)
        if bounds != default.bounds or "lumi" in default.kinds:
            entry["bounds"] = [list(pair) for pair in bounds]
        stays = tuple(label in analysis.constants for label in names)
        added = [mine and not theirs for mine, theirs in zip(stays, default.is_fixed, strict=True)]
        if any(added):
            if not all(stays):
                raise Hs3Error(f"only some of the parameters of `{name}` are constant; pyhf fixes all of them or none")
            entry["fixed"] = True
        if len(entry) > 1:
            entries.append(entry)
    return entries
