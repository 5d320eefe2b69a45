"""Training: values and slopes of a source model are fitted by stochastic gradient descent.

Residuals are weighted by 1/(0.3 + 0.03 |Δ|) for values and 1/(0.3 + 0.05 |∇Δ|) for slopes: absolute where limits are decided, relative far
away. Slopes are compared along one random direction per signal and step, along the signal itself in three of ten; the mean over directions
is the whole gradient, at the cost of one number. Adam (arXiv:1412.6980) with a step size that falls as a cosine. One thread and one seed
give the same weights.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from inference.surrogate.features import build_features
from inference.surrogate.perceptron import Perceptron
from inference.surrogate.samples import Progress, Samples
from inference.surrogate.settings import SurrogateSettings
from inference.types import FloatArray, IntArray

_VALUE_FLOOR, _VALUE_SHARE = 0.3, 0.03
_SLOPE_FLOOR, _SLOPE_SHARE = 0.3, 0.05
_ALONG_SIGNAL = 0.3
_MOMENTUM, _VARIANCE_MEMORY, _TINY = 0.9, 0.999, 1e-9


class Standardized(NamedTuple):
    """How layers and likelihood relate: Δ = t·(output·spread + centre).

    Attributes:
        centre: mean of Δ/t over the training, shape (4,).
        spread: its standard deviation, shape (4,).
    """

    centre: FloatArray
    spread: FloatArray


class Fit(NamedTuple):
    """A trained network.

    Attributes:
        network: its layers.
        weights: of the layers.
        standardized: what its outputs mean.
    """

    network: Perceptron
    weights: FloatArray
    standardized: Standardized


class _Problem:
    """Loss of a batch and its derivative by the weights."""

    def __init__(self, samples: Samples, variances: FloatArray, scales: FloatArray, settings: SurrogateSettings) -> None:
        root = np.sqrt(variances)
        self.u = samples.signals / root
        self.values = samples.values
        self.scales = scales
        length = np.linalg.norm(self.u, axis=1, keepdims=True)
        self._unit = self.u / length
        self._along = samples.slopes / length
        self._gradients = None if samples.gradients is None else samples.gradients * root
        steepness = np.abs(self._along) if self._gradients is None else np.linalg.norm(self._gradients, axis=2)
        self._value_weight = 1.0 / (_VALUE_FLOOR + _VALUE_SHARE * np.abs(self.values))
        self._slope_weight = math.sqrt(settings.slope_weight) / (_SLOPE_FLOOR + _SLOPE_SHARE * steepness)
        t = build_features(self.u, self.u, scales).length
        relative = self.values / t
        self.standardized = Standardized(relative.mean(axis=0), np.maximum(relative.std(axis=0), 1e-6))

    def directions(self, rows: IntArray, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
        """One direction per signal, and the source's derivatives along it."""
        along = self._unit[rows]
        if self._gradients is None:
            return along, self._along[rows]
        direction = rng.normal(size=along.shape)
        is_along = rng.random(rows.size) < _ALONG_SIGNAL
        direction[is_along] = along[is_along]
        return direction, np.matmul(self._gradients[rows], direction[:, :, None])[:, :, 0]

    def loss(
        self, network: Perceptron, weights: FloatArray, rows: IntArray, direction: FloatArray, target: FloatArray
    ) -> tuple[float, FloatArray]:
        """Mean of squared residuals, and its derivative."""
        features = build_features(self.u[rows], direction, self.scales)
        outputs, tangents, tape = network.forward(weights, features.inputs, features.tangents)
        centre, spread = self.standardized
        relative, relative_tangent = outputs * spread + centre, tangents * spread
        t, t_tangent = features.length, features.length_tangent
        value_weight, slope_weight = self._value_weight[rows], self._slope_weight[rows]
        residual = (t * relative - self.values[rows]) * value_weight
        slope_residual = (t_tangent * relative + t * relative_tangent - target) * slope_weight
        by_value, by_slope = 2.0 / rows.size * residual * value_weight, 2.0 / rows.size * slope_residual * slope_weight
        gradient = network.backward(weights, (by_value * t + by_slope * t_tangent) * spread, by_slope * t * spread, tape)
        return float((residual**2).sum() + (slope_residual**2).sum()) / rows.size, gradient


def fit_network(
    samples: Samples,
    variances: FloatArray,
    scales: FloatArray,
    settings: SurrogateSettings,
    rng: np.random.Generator,
    progress: Progress | None = None,
) -> Fit:
    """Trains a network on samples.

    Args:
        samples: of the training.
        variances: v per region [events²].
        scales: of the logarithmic features, per region.
        settings: size and effort.
        rng: start and order.
        progress: called now and then with (steps done, steps in all).
    """
    problem = _Problem(samples, variances, scales, settings)
    network = Perceptron((3 * variances.size + 1, *settings.hidden, samples.values.shape[1]))
    weights = network.initial_weights(rng)
    mean, square = np.zeros_like(weights), np.zeros_like(weights)
    size = min(settings.batch_size, len(samples.values))
    order, position = rng.permutation(len(samples.values)).astype(np.int32), 0
    for step in range(1, settings.num_steps + 1):
        if position + size > order.size:
            order, position = rng.permutation(order), 0
        rows = order[position : position + size]
        position += size
        _, gradient = problem.loss(network, weights, rows, *problem.directions(rows, rng))
        rate = 0.5 * settings.learning_rate * (1.0 + math.cos(math.pi * step / settings.num_steps))
        mean = _MOMENTUM * mean + (1.0 - _MOMENTUM) * gradient
        square = _VARIANCE_MEMORY * square + (1.0 - _VARIANCE_MEMORY) * gradient * gradient
        corrected = np.sqrt(square / (1.0 - _VARIANCE_MEMORY**step)) + _TINY
        weights = weights - rate / (1.0 - _MOMENTUM**step) * mean / corrected
        if progress is not None and (step % 100 == 0 or step == settings.num_steps):
            progress(step, settings.num_steps)
    return Fit(network, weights, problem.standardized)
