"""A statistical model and the data sets that fill its regions."""

from __future__ import annotations

from dataclasses import dataclass

from inference.analysis_models.protocol import AnalysisModel
from inference.types import IntArray


class UnusableModelError(Exception):
    """A published statistical model cannot be evaluated; says why, without a full stop."""


@dataclass(frozen=True, slots=True)
class PlacedModel:
    """A statistical model and the regions that it needs.

    Attributes:
        model: of the regions in `columns`.
        columns: data sets of the result, counted from the first, shape (num_regions of the model,); −1 where no signal is expected.
    """

    model: AnalysisModel
    columns: IntArray
