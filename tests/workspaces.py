"""Small HistFactory workspaces for tests: channels with one background, control regions that measure a normalisation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

Yields = Sequence[float]


def make_workspace(
    channels: Mapping[str, tuple[Yields, Yields]], *, relative_error: float = 0.2, normalised: Sequence[str] = (), has_lumi: bool = False
) -> dict[str, Any]:
    """A workspace in pyhf's format.

    Args:
        channels: background and observed events per bin, by channel, in the order of the observations.
        relative_error: of a correlated histosys on all backgrounds.
        normalised: channels whose background scales with a free `mu_bkg`.
        has_lumi: whether the measurement has a luminosity uncertainty of 1.7 %.
    """
    entries = []
    for name, (background, _) in channels.items():
        high, low = ([value * factor for value in background] for factor in (1.0 + relative_error, 1.0 - relative_error))
        modifiers: list[dict[str, Any]] = [{"name": "totalError", "type": "histosys", "data": {"hi_data": high, "lo_data": low}}]
        if name in normalised:
            modifiers.append({"name": "mu_bkg", "type": "normfactor", "data": None})
        entries.append({"name": name, "samples": [{"name": "bkg", "data": list(background), "modifiers": modifiers}]})
    parameters: list[dict[str, Any]] = []
    if has_lumi:
        parameters.append({"name": "lumi", "auxdata": [1.0], "sigmas": [0.017], "bounds": [[0.915, 1.085]], "inits": [1.0]})
    return {
        "channels": entries,
        "observations": [{"name": name, "data": list(observed)} for name, (_, observed) in channels.items()],
        "measurements": [{"name": "NormalMeasurement", "config": {"poi": "mu_SIG", "parameters": parameters}}],
        "version": "1.0.0",
    }


def gaussian_workspace(observed: Yields, background: Yields, covariance: ArrayLike) -> dict[str, Any]:
    """A covariance model as symmetric shifts, one per column of its Cholesky factor: the same likelihood in pyhf's format."""
    root = np.linalg.cholesky(np.array(covariance))
    centre = np.array(background)
    modifiers = [
        {
            "name": f"shift{k}",
            "type": "histosys",
            "data": {"hi_data": (centre + root[:, k]).tolist(), "lo_data": (centre - root[:, k]).tolist()},
        }
        for k in range(len(centre))
    ]
    return {
        "channels": [{"name": "SR", "samples": [{"name": "bkg", "data": centre.tolist(), "modifiers": modifiers}]}],
        "observations": [{"name": "SR", "data": list(observed)}],
        "measurements": [{"name": "m", "config": {"poi": "mu_SIG", "parameters": []}}],
        "version": "1.0.0",
    }
