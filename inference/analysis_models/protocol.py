"""What the statistical model of an analysis offers: a likelihood for any expected signal.

The background model is made once per analysis; signals come and go with the models of a walk.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from inference.likelihoods.protocol import Likelihood
from inference.types import DataKind, FloatArray


@runtime_checkable
class AnalysisLikelihood(Likelihood, Protocol):
    """Likelihood of one signal hypothesis in the statistical model of an analysis."""

    def asimov(self) -> Likelihood:
        """The same signal with the expected data of the background-only fit to this likelihood's data."""

    def signal_slopes(self, mu: float) -> FloatArray:
        """∂ ln L(μ)/∂s of every region's expected signal s [1/events], shape (num_regions,); profiled, by the envelope theorem."""


@runtime_checkable
class AnalysisModel(Protocol):
    """Background model of one analysis."""

    @property
    def num_regions(self) -> int:
        """Number of regions in the signal vectors (`ResultRecord.num_combined`)."""

    def likelihood(self, yields: FloatArray, data_kind: DataKind = DataKind.OBSERVED) -> AnalysisLikelihood:
        """Likelihood of a signal.

        Args:
            yields: expected signal events at μ = 1 per region in the order of the store, shape (num_regions,).
            data_kind: observed, a priori (data := expected background), or a posteriori (data := background-only fit).
        """
