"""What a source model says of signals: -ln L relative to no signal and its derivatives, for four sets of data."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from inference.analysis_models.protocol import AnalysisLikelihood, AnalysisModel
from inference.likelihoods.protocol import Likelihood
from inference.types import DataKind, FloatArray, IntArray, Outcome

Progress = Callable[[int, int], None]
"""Called with (signals done, signals in all)."""


class Samples(NamedTuple):
    """The source model at signals; the sets of data are a priori, observed, and the Asimov data of both.

    Attributes:
        signals: expected events, shape (num_samples, num_regions).
        group: number of the pattern of each, shape (num_samples,).
        values: -ln L(s) + ln L(0), shape (num_samples, 4).
        slopes: derivative along the signal, d/dμ at μ = 1, shape (num_samples, 4).
        gradients: derivative by every region's events, shape (num_samples, 4, num_regions); None if the model gives none.
        num_failed: signals whose fits failed; they are left out.
    """

    signals: FloatArray
    group: IntArray
    values: FloatArray
    slopes: FloatArray
    gradients: FloatArray | None
    num_failed: int

    def select(self, rows: IntArray) -> Samples:
        """Some of the samples."""
        gradients = None if self.gradients is None else self.gradients[rows]
        return Samples(self.signals[rows], self.group[rows], self.values[rows], self.slopes[rows], gradients, 0)


def likelihoods_of(model: AnalysisModel, signal: FloatArray) -> tuple[Likelihood, ...]:
    """A priori, observed, and the Asimov data of both."""
    apriori, observed = model.likelihood(signal, DataKind.APRIORI), model.likelihood(signal, DataKind.OBSERVED)
    return apriori, observed, apriori.asimov(), observed.asimov()


def evaluate_signals(model: AnalysisModel, directions: FloatArray, strengths: FloatArray, progress: Progress | None = None) -> Samples:
    """The source model at strengths times directions.

    Args:
        model: source.
        directions: expected events, shape (num_patterns, num_regions).
        strengths: factors, shape (num_patterns, num_strengths), > 0.
        progress: called after each pattern.
    """
    signals, groups, values, slopes, gradients = [], [], [], [], []
    has_gradients, num_failed = True, 0
    for k, direction in enumerate(directions):
        curves = likelihoods_of(model, direction)
        for mu in strengths[k].tolist():
            ratios = np.array([curve.log_ratio(mu) if curve.outcome is Outcome.OK else (np.nan, np.nan) for curve in curves])
            if not np.isfinite(ratios).all():
                num_failed += 1
                continue
            signals.append(mu * direction)
            groups.append(k)
            values.append(-ratios[:, 0])
            slopes.append(-mu * ratios[:, 1])
            if has_gradients:
                parts = [-curve.signal_slopes(mu) / mu for curve in curves if isinstance(curve, AnalysisLikelihood)]
                has_gradients = len(parts) == len(curves)
                gradients.append(parts)
        if progress is not None:
            progress(k + 1, len(directions))
    size = directions.shape[1]
    return Samples(
        np.array(signals).reshape(-1, size),
        np.array(groups, dtype=np.int32),
        np.array(values).reshape(-1, 4),
        np.array(slopes).reshape(-1, 4),
        np.array(gradients).reshape(-1, 4, size) if has_gradients else None,
        num_failed,
    )
