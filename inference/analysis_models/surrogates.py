"""Learned statistical models in files that users name: surrogates of a result, or of anything else.

`protomodels surrogate train` makes them; each knows which published numbers it was made from, and stands for these only.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from database.errors import UserFacingError
from inference.analysis_models.canary import digest_published
from inference.analysis_models.learned import find_input, load_learned_model
from inference.analysis_models.placed import PlacedModel, UnusableModelError
from inference.likelihoods.learned import LearnedModel

if TYPE_CHECKING:
    from database.results.store import ResultsStore


class LearnedModelError(UserFacingError):
    """A file does not hold a learned statistical model that can be used here."""


def load_surrogate(path: Path) -> LearnedModel:
    """The learned model of a file; signals are in the order of its inputs.

    Raises:
        LearnedModelError: the file cannot be used; says why.
    """
    try:
        return load_learned_model(path)
    except UnusableModelError as error:
        raise LearnedModelError(f"{path.name} is not a learned statistical model that can be evaluated: {error}.") from None


def place_surrogate(store: ResultsStore, result: int, path: Path) -> PlacedModel:
    """A surrogate that was trained on the statistical model of a result, its inputs filled by the data sets of the result.

    Raises:
        LearnedModelError: it cannot be evaluated, was made from other published numbers, or has a region that the result lacks.
    """
    model = load_surrogate(path)
    source = model.layout.origin.get("source")
    record = store.results[result]
    if not isinstance(source, dict) or source.get("digest") != digest_published(store, result):
        raise LearnedModelError(f"{path.name} was made from other published numbers than those of {record.analysis_id}.")
    columns = np.full(model.num_regions, -1, dtype=np.int32)
    for column in range(record.num_datasets):
        place = find_input(str(store.dataset_ids[record.dataset_start + column]), model.layout.names)
        if place >= 0:
            columns[place] = column
    if (columns < 0).any():
        lacking = model.layout.names[int(np.argmin(columns))]
        raise LearnedModelError(f"{path.name} has the region {lacking}, which {record.analysis_id} lacks.")
    return PlacedModel(model, columns)
