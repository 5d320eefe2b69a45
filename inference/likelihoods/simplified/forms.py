"""The forms that a full workspace can be simplified to: their document, and the model that it stands for.

Signal uncertainties (`HistFactorySettings`) go with the two workspaces; of the luminosity the pub note fixes the effect on signals, the
log-normal workspace keeps it. A covariance has no room for either.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from inference.analysis_models.histfactory import WorkspaceModel
from inference.analysis_models.protocol import AnalysisModel
from inference.likelihoods.histfactory import HistFactoryModel, compile_workspace
from inference.likelihoods.simplified.conditioned import condition_on_controls
from inference.likelihoods.simplified.files import write_summary
from inference.likelihoods.simplified.pub_note import signal_parameters, simplify_workspace


class SimplifiedForm(StrEnum):
    """What a full workspace is simplified to."""

    PUB_NOTE = "pub-note"
    """pyhf workspace of all regions: one background, one nuisance (ATL-PHYS-PUB-2021-038)."""
    COVARIANCE = "covariance"
    """Background and covariance of the signal regions given the control regions."""
    LOGNORMAL = "lognormal"
    """pyhf workspace: the same with log-normal bins."""


class Simplified(NamedTuple):
    """A simplified likelihood.

    Attributes:
        document: what is written to a file.
        model: what it says.
        places: position of every signal bin of the full model in the signal vectors of `model`.
    """

    document: dict[str, Any]
    model: AnalysisModel
    places: NDArray[np.int64]


def simplify(spec: Mapping[str, Any], model: HistFactoryModel, is_signal_bin: NDArray[np.bool_], form: SimplifiedForm) -> Simplified:
    """The simplified likelihood of a full workspace; its signals carry the uncertainties of the full one where the form has room for them.

    Args:
        spec: the full workspace, background only, without validation regions.
        model: the same, compiled.
        is_signal_bin: bins that signals may fill, shape (num_bins,).
        form: what to derive.

    Raises:
        SimplificationError: the background-only fit fails, or there is no signal bin.
    """
    settings = model.settings.model_copy(update={"measurement": 0})
    if form is SimplifiedForm.PUB_NOTE:
        document = simplify_workspace(spec, model)
        small = compile_workspace(document, settings=settings)
        return Simplified(document, WorkspaceModel(small), np.flatnonzero(is_signal_bin))
    summary = condition_on_controls(model, is_signal_bin)
    if form is SimplifiedForm.COVARIANCE:
        return Simplified(write_summary(summary), summary.model(), np.arange(len(summary.bins)))
    _, parameters = signal_parameters(spec, model)
    document = summary.lognormal_workspace(model.poi_name, parameters)
    small = compile_workspace(document, settings=settings)
    order = {channel: index for index, (channel, _) in enumerate(small.bins)}
    places = np.array([order[f"{channel}[{position}]"] for channel, position in summary.bins], dtype=np.int64)
    return Simplified(document, WorkspaceModel(small), places)
