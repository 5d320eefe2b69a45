"""The simplified workspace of ATL-PHYS-PUB-2021-038: one background sample, one nuisance parameter for its total uncertainty.

All backgrounds of a bin become one sample with the expected events of the background-only fit to all regions; one histosys `totalError`,
common to all bins, moves it by the total post-fit uncertainty

    σ_b² = (J C Jᵀ)_bb,      C = H⁻¹ the covariance of all parameters at the fit.

The luminosity stays in the measurement, fixed: its effect on the background is part of σ. The result is a pyhf workspace of the same
channels, so that signals of the full workspace fit it. The data of the signal regions enter twice, in the fit and in the likelihood.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from inference.likelihoods.histfactory import HistFactoryModel
from inference.likelihoods.simplified.expansion import expand_at_fit, invert_precision
from inference.types import FloatArray

SAMPLE = "Bkg"
NUISANCE = "totalError"


def postfit_errors(model: HistFactoryModel) -> tuple[FloatArray, FloatArray]:
    """Expected events of the background-only fit and their uncertainties [events], shape (num_bins,) each.

    Raises:
        SimplificationError: the fit fails.
    """
    expansion = expand_at_fit(model)
    covariance, _ = invert_precision(expansion.hessian)
    variance = np.einsum("bi,ij,bj->b", expansion.jacobian, covariance, expansion.jacobian)
    return expansion.means, np.sqrt(np.maximum(variance, 0.0))


def simplify_workspace(spec: Mapping[str, Any], model: HistFactoryModel) -> dict[str, Any]:
    """The simplified workspace as parsed JSON.

    Args:
        spec: the full workspace, background only.
        model: the same, compiled.

    Raises:
        SimplificationError: the background-only fit fails.
    """
    means, errors = postfit_errors(model)
    place = {name: index for index, name in reversed(list(enumerate(channel for channel, _ in model.bins)))}
    sizes = dict(model.channels)
    channels = []
    for entry in spec["channels"]:
        bins = slice(place[entry["name"]], place[entry["name"]] + sizes[entry["name"]])
        data = {"hi_data": (means + errors)[bins].tolist(), "lo_data": (means - errors)[bins].tolist()}
        modifiers = [{"name": NUISANCE, "type": "histosys", "data": data}]
        channels.append({"name": entry["name"], "samples": [{"name": SAMPLE, "data": means[bins].tolist(), "modifiers": modifiers}]})
    return {
        "channels": channels,
        "observations": [dict(entry) for entry in spec["observations"] if entry["name"] in sizes],
        "measurements": [_fixed_measurement(spec, model)],
        "version": "1.0.0",
    }


def _fixed_measurement(spec: Mapping[str, Any], model: HistFactoryModel) -> dict[str, Any]:
    """The measurement that the model was compiled with, the luminosity fixed."""
    name, parameters = signal_parameters(spec, model)
    return {
        "name": name,
        "config": {
            "poi": model.poi_name,
            "parameters": [{**item, "fixed": True} if item["name"] == "lumi" else item for item in parameters],
        },
    }


def signal_parameters(spec: Mapping[str, Any], model: HistFactoryModel) -> tuple[str, list[dict[str, Any]]]:
    """Name of the measurement that a model was compiled with, and what it says of lumi and of the parameter of interest."""
    chosen = model.settings.measurement
    entries = spec["measurements"]
    entry = entries[chosen] if isinstance(chosen, int) else next(item for item in entries if item["name"] == chosen)
    return entry["name"], [dict(item) for item in entry["config"]["parameters"] if item["name"] in ("lumi", model.poi_name)]
