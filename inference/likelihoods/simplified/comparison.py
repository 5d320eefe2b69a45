"""How wrong a simplified likelihood is: -ln L(μ) + ln L(0) and upper limits against the full model, over seeded signals.

Shapes: a random share of the signal regions gets weights exp(N(0, 1)) (b + 1)^u with u uniform in [0, 1], so that some signals follow the
background and others are flat. Each is scaled to its own observed limit in the full model, and ΔNLL is compared at a strength that runs
evenly from 0.1 to 2 times that limit.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from inference.analysis_models.protocol import AnalysisModel
from inference.limits import find_upper_limit
from inference.types import FloatArray, Outcome

SMALL = 3.0
"""Differences of -ln L below which an error is also counted on its own: where decisions are made."""
_RANGE = 0.1, 2.0


class SimplificationErrors(NamedTuple):
    """Errors over a set of signals; of ΔNLL = -ln L(μ) + ln L(0) absolute, of limits as simplified over full.

    Attributes:
        num_signals: signals compared.
        num_failed: signals without an answer of one of the two, which enter nothing else.
        median, quantile_95, largest: |ΔNLL(simplified) - ΔNLL(full)|.
        largest_small: the largest of signals with |ΔNLL(full)| < 3; nan if there is none.
        limit_low, limit_median, limit_high: ratio of observed upper limits.
    """

    num_signals: int
    num_failed: int
    median: float
    quantile_95: float
    largest: float
    largest_small: float
    limit_low: float
    limit_median: float
    limit_high: float


def draw_shapes(background: FloatArray, num_signals: int, seed: int) -> FloatArray:
    """Signals of one event in total, shape (num_signals, num_bins).

    Args:
        background: expected background per signal bin [events], shape (num_bins,).
        num_signals: number of shapes.
        seed: of the shapes.
    """
    rng = np.random.default_rng(seed)
    size = len(background)
    shapes = np.zeros((num_signals, size))
    for row in shapes:
        chosen = rng.random(size) < rng.uniform(0.1, 1.0)
        chosen[rng.integers(size)] = True
        weights = np.exp(rng.standard_normal(size)) * (np.maximum(background, 0.0) + 1.0) ** rng.random()
        row[chosen] = weights[chosen] / weights[chosen].sum()
    return shapes


def measure_errors(
    full: AnalysisModel,
    simplified: AnalysisModel,
    shapes: FloatArray,
    full_bins: NDArray[np.int64],
    simplified_bins: NDArray[np.int64],
) -> SimplificationErrors:
    """Errors over signals.

    Args:
        full: the full model.
        simplified: the model that is judged.
        shapes: signals per signal bin, shape (num_signals, num_bins).
        full_bins: position of every signal bin in the signal vectors of the full model, shape (num_bins,).
        simplified_bins: likewise in those of the simplified one.
    """
    differences, sizes, ratios = [], [], []
    strengths = np.linspace(*_RANGE, len(shapes))
    for shape, strength in zip(shapes, strengths.tolist(), strict=True):
        vectors = []
        for model, bins in ((full, full_bins), (simplified, simplified_bins)):
            vector = np.zeros(model.num_regions)
            vector[bins] = shape
            vectors.append(vector)
        exact = full.likelihood(vectors[0])
        limit = find_upper_limit(exact)
        if limit.outcome is not Outcome.OK:
            continue
        scale = limit.mu_ul
        exact, rough = full.likelihood(vectors[0] * scale), simplified.likelihood(vectors[1] * scale)
        expected, found = -exact.log_ratio(strength).value, -rough.log_ratio(strength).value
        other = find_upper_limit(rough)
        if other.outcome is Outcome.OK and np.isfinite(expected) and np.isfinite(found):
            differences.append(abs(found - expected))
            sizes.append(abs(expected))
            ratios.append(other.mu_ul)
    if not differences:
        nan = float("nan")
        return SimplificationErrors(len(shapes), len(shapes), nan, nan, nan, nan, nan, nan, nan)
    error, size, ratio = np.array(differences), np.array(sizes), np.array(ratios)
    small = error[size < SMALL]
    return SimplificationErrors(
        len(shapes),
        len(shapes) - len(error),
        float(np.median(error)),
        float(np.quantile(error, 0.95)),
        float(error.max()),
        float(small.max()) if len(small) else float("nan"),
        float(ratio.min()),
        float(np.median(ratio)),
        float(ratio.max()),
    )
