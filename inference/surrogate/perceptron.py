"""A multilayer perceptron with SiLU activations, x σ(x), its derivative along a direction, and the derivatives of both by its weights."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from scipy.special import expit

from inference.types import FloatArray


class _Layer(NamedTuple):
    """What a layer leaves for the way back: its inputs, their tangents, σ, the derivative of its activation, and z and ż."""

    inputs: FloatArray
    tangents: FloatArray
    sigmoid: FloatArray | None
    slope: FloatArray | None
    z: FloatArray
    z_tangent: FloatArray


class Perceptron:
    """Layers of given sizes; all weights are one vector.

    Args:
        sizes: inputs, hidden neurons per layer, outputs.
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        self._shapes = list(pairwise(sizes))
        self.num_weights = sum(rows * columns + columns for rows, columns in self._shapes)

    def initial_weights(self, rng: np.random.Generator) -> FloatArray:
        """Weights that keep the size of numbers from layer to layer, biases 0."""
        parts = []
        for rows, columns in self._shapes:
            parts += [rng.normal(size=rows * columns) / np.sqrt(rows), np.zeros(columns)]
        return np.concatenate(parts)

    def layers(self, weights: FloatArray) -> list[tuple[FloatArray, FloatArray]]:
        """Matrix, shape (num_in, num_out), and bias per layer; views."""
        found, start = [], 0
        for rows, columns in self._shapes:
            stop = start + rows * columns
            found.append((weights[start:stop].reshape(rows, columns), weights[stop : stop + columns]))
            start = stop + columns
        return found

    def forward(self, weights: FloatArray, inputs: FloatArray, tangents: FloatArray) -> tuple[FloatArray, FloatArray, list[_Layer]]:
        """Outputs, their derivatives along the tangents, and what `backward` needs."""
        tape: list[_Layer] = []
        layers = self.layers(weights)
        for number, (matrix, bias) in enumerate(layers):
            z, z_tangent = inputs @ matrix + bias, tangents @ matrix
            if number == len(layers) - 1:
                tape.append(_Layer(inputs, tangents, None, None, z, z_tangent))
                return z, z_tangent, tape
            sigmoid = expit(z)
            slope = sigmoid * (1.0 + z * (1.0 - sigmoid))
            tape.append(_Layer(inputs, tangents, sigmoid, slope, z, z_tangent))
            inputs, tangents = z * sigmoid, slope * z_tangent
        raise ValueError("a perceptron needs a layer")

    def backward(self, weights: FloatArray, by_output: FloatArray, by_tangent: FloatArray, tape: list[_Layer]) -> FloatArray:
        """∂f/∂weights from ∂f/∂output and ∂f/∂(derivative of the output), shape (num_weights,)."""
        layers = self.layers(weights)
        parts: list[FloatArray] = []
        for layer, (matrix, _) in zip(reversed(tape), reversed(layers), strict=True):
            if layer.sigmoid is not None and layer.slope is not None:
                bend = layer.sigmoid * (1.0 - layer.sigmoid) * (2.0 + layer.z * (1.0 - 2.0 * layer.sigmoid))
                by_output, by_tangent = by_output * layer.slope + by_tangent * bend * layer.z_tangent, by_tangent * layer.slope
            parts += [by_output.sum(axis=0), (layer.inputs.T @ by_output + layer.tangents.T @ by_tangent).ravel()]
            by_output, by_tangent = by_output @ matrix.T, by_tangent @ matrix.T
        return np.concatenate(parts[::-1])
