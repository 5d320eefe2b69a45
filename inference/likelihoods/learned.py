"""Likelihood learned by a neural network from an analysis's full statistical model.

A network takes the total expected events of every region (background plus signal) and gives four differences of -ln L to its value
without signal, for four sets of data: a priori (data := nominal background), observed, and the Asimov data of the background-only fits
to these two. With outputs o_k and total yields n_i(μ) = b_i + μ s_i,

    -ln L_k(μ) = nll_k(0) + D_k(n(μ)),    D_k from o_k by undoing the scaling that the file's metadata state,
    ln L_k(μ)/L_k(0) = D_k(b) - D_k(b + μ s)

so that what the network gets wrong without signal drops out of ratios. The slope in μ and in every yield is the exact derivative of
the network. Nothing is known of its behaviour far from the points it was trained with: outside of the domain that the metadata state
the outcome is OUTSIDE_DOMAIN, and single signal strengths beyond it yield nan.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import NamedTuple

import numpy as np

from inference.likelihoods.learned_layout import LearnedLayout
from inference.likelihoods.protocol import LogRatio
from inference.networks.network import Network
from inference.networks.runtime import RuntimeNetwork
from inference.types import DataKind, FloatArray, Outcome

AnyNetwork = Network | RuntimeNetwork

APRIORI, OBSERVED, APRIORI_ASIMOV, OBSERVED_ASIMOV = range(4)
"""Outputs of a network."""

_OUTPUTS = {DataKind.OBSERVED: OBSERVED, DataKind.APRIORI: APRIORI, DataKind.APOSTERIORI: OBSERVED_ASIMOV}
_ASIMOV = {OBSERVED: OBSERVED_ASIMOV, APRIORI: APRIORI_ASIMOV, OBSERVED_ASIMOV: OBSERVED_ASIMOV, APRIORI_ASIMOV: APRIORI_ASIMOV}
_NUM_SCANNED = 8
_MAX_REMEMBERED = 64
_MAX_ITERATIONS = 80
_ROUNDING = 1e-9
"""Relative tolerance at the edges of a domain."""


class LearnedPoint(NamedTuple):
    """A learned likelihood at one set of total yields.

    Attributes:
        difference: -ln L minus its value without signal, as the network sees it.
        slopes: its derivative by the total yields [1/events], shape (num_inputs,).
    """

    difference: float
    slopes: FloatArray


class LearnedModel:
    """Learned statistical model; signals are vectors over its inputs.

    Args:
        network: evaluated.
        layout: what its inputs and outputs mean.

    Attributes:
        layout: what its inputs and outputs mean.
    """

    def __init__(self, network: AnyNetwork, layout: LearnedLayout) -> None:
        self.layout = layout
        self._network = network
        self._without_signal: dict[int, LearnedPoint] = {}

    @property
    def num_regions(self) -> int:
        """Number of inputs."""
        return len(self.layout.names)

    def likelihood(self, yields: FloatArray, data_kind: DataKind = DataKind.OBSERVED) -> LearnedLikelihood:
        """Likelihood of a signal with these expected events at μ = 1, shape (num_regions,)."""
        return LearnedLikelihood(self, yields, _OUTPUTS[data_kind])

    def evaluate(self, totals: FloatArray, output: int) -> LearnedPoint:
        """-ln L of one set of data and its slopes at total yields, shape (num_regions,); nan where it is not finite."""
        layout, place = self.layout, self.layout.first_output + output
        with np.errstate(all="ignore"):  # what is not finite shows in the difference
            features, feature_slopes = layout.features(totals)
            value = self._network(features)
            difference, factor = layout.difference(float(value.outputs[place]), output)
            weights = np.zeros(value.outputs.size)
            weights[place] = factor
            slopes = self._network.gradient(value, weights) * feature_slopes
        if not (math.isfinite(difference) and np.isfinite(slopes).all()):
            return LearnedPoint(math.nan, np.full(len(totals), math.nan))
        return LearnedPoint(difference, slopes)

    def without_signal(self, output: int) -> LearnedPoint:
        """The same for the background alone, made once."""
        found = self._without_signal.get(output)
        if found is None:
            found = self._without_signal[output] = self.evaluate(self.layout.background, output)
        return found

    def largest_strength(self, signal: FloatArray) -> float:
        """Largest μ for which background plus μ times the signal is in the domain; inf without one, nan if not even μ = 0 is."""
        layout = self.layout
        largest = math.inf
        is_filled = signal > 0.0
        if layout.lower is not None and layout.upper is not None:
            room = layout.upper[is_filled] - layout.background[is_filled]
            tolerance = _ROUNDING * (1.0 + np.abs(layout.upper[is_filled]))
            if (room < -tolerance).any() or (layout.background < layout.lower - _ROUNDING * (1.0 + np.abs(layout.lower)))[is_filled].any():
                return math.nan
            if is_filled.any():
                largest = float((np.maximum(room + tolerance, 0.0) / signal[is_filled]).min())
        if layout.ball is not None:
            length = math.sqrt(float((signal * signal * layout.ball.inverse_variance).sum()))
            if length > 0.0:
                largest = min(largest, layout.ball.radius * (1.0 + _ROUNDING) / length)
        return largest


class LearnedLikelihood:
    """Likelihood of one signal in a learned model.

    Args:
        model: the network.
        signal: expected signal at μ = 1 per input [events], shape (num_inputs,), >= 0.
        output: which data: APRIORI, OBSERVED, APRIORI_ASIMOV or OBSERVED_ASIMOV.
    """

    def __init__(self, model: LearnedModel, signal: FloatArray, output: int = OBSERVED) -> None:
        self.model = model
        self.signal = np.ascontiguousarray(signal, dtype=np.float64)
        self.output = output
        self.largest_mu = model.largest_strength(self.signal)
        self._zero = model.without_signal(output)
        self._points = {0.0: self._zero}

    @property
    def outcome(self) -> Outcome:
        """OUTSIDE_DOMAIN if the signal is, NON_FINITE where the network yields no number, else OK."""
        if not self.largest_mu >= 1.0 or (self.signal < 0.0).any():
            return Outcome.OUTSIDE_DOMAIN
        return Outcome.OK if math.isfinite(self._zero.difference) and math.isfinite(self.point(1.0).difference) else Outcome.NON_FINITE

    @property
    def is_concave(self) -> bool:
        """Not known: networks bend as they were trained."""
        return False

    def asimov(self) -> LearnedLikelihood:
        """The same signal with the Asimov data of the background-only fit, as the network learned them."""
        return LearnedLikelihood(self.model, self.signal, _ASIMOV[self.output])

    def point(self, mu: float) -> LearnedPoint:
        """The network at a signal strength; nan outside of the domain."""
        point = self._points.get(mu)
        if point is None:
            if not 0.0 <= mu <= self.largest_mu:
                return LearnedPoint(math.nan, np.full(self.signal.size, math.nan))
            point = self.model.evaluate(self.model.layout.background + mu * self.signal, self.output)
            if len(self._points) < _MAX_REMEMBERED:
                self._points[mu] = point
        return point

    def nll(self, mu: float) -> float:
        """-ln L(μ) with all constants of the model that was learned; nan outside of the domain."""
        return self.model.layout.nll_zero[self.output] + self.point(mu).difference

    def log_ratio(self, mu: float) -> LogRatio:
        """ln L(μ)/L(0) and its slope; nan outside of the domain."""
        point = self.point(mu)
        return LogRatio(self._zero.difference - point.difference, -float(point.slopes @ self.signal))

    def signal_slopes(self, mu: float) -> FloatArray:
        """∂ ln L(μ)/∂s per input, shape (num_inputs,); nan outside of the domain."""
        return -mu * self.point(mu).slopes

    @cached_property
    def mu_hat(self) -> float:
        """Best μ >= 0 within the domain: the highest of all maxima between scanned strengths; nan if it still rises at the edge."""
        if not self.signal.any():
            return 0.0
        mus = self._scanned()
        ratios = [self.log_ratio(mu) for mu in mus]
        if not all(math.isfinite(ratio.value) and math.isfinite(ratio.slope) for ratio in ratios):
            return math.nan
        best_mu, best = 0.0, 0.0
        for k in range(len(mus) - 1):
            if ratios[k].slope > 0.0 >= ratios[k + 1].slope:
                mu = self._root(mus[k], ratios[k].slope, mus[k + 1], ratios[k + 1].slope)
                value = self.log_ratio(mu).value
                if not math.isfinite(value):
                    return math.nan
                if value > best:
                    best_mu, best = mu, value
        if ratios[-1].slope > 0.0 and ratios[-1].value > best:
            return math.nan
        return best_mu

    def _scanned(self) -> list[float]:
        """Strengths between which maxima are looked for: denser at small ones."""
        end = self.largest_mu
        if math.isinf(end):
            end = self._scale
            for _ in range(60):
                if not self.log_ratio(end).slope > 0.0:
                    break
                end *= 2.0
            end *= 2.0
        return [end * (k / _NUM_SCANNED) ** 2 for k in range(_NUM_SCANNED + 1)]

    @property
    def _scale(self) -> float:
        """Signal strength of one standard deviation, from counts alone."""
        background = np.maximum(self.model.layout.background, 1.0)
        return 1.0 / math.sqrt(float((self.signal**2 / background).sum()))

    def _root(self, low: float, at_low: float, high: float, at_high: float) -> float:
        """Where the slope vanishes between two strengths (Illinois variant of regula falsi)."""
        side = 0
        for _ in range(_MAX_ITERATIONS):
            mu = (low * at_high - high * at_low) / (at_high - at_low) if at_high != at_low else 0.5 * (low + high)
            if not low < mu < high:
                mu = 0.5 * (low + high)
            slope = self.log_ratio(mu).slope
            if slope > 0.0:
                low, at_low = mu, slope
                at_high = 0.5 * at_high if side > 0 else at_high
                side = 1
            else:
                high, at_high = mu, slope
                at_low = 0.5 * at_low if side < 0 else at_low
                side = -1
            if abs(slope) < 1e-12 or high - low <= 1e-13 * high:
                return mu
        return 0.5 * (low + high)

    @cached_property
    def sigma_mu(self) -> float:
        """1/√(d²(-ln L)/dμ²) at μ̂, from differences of the slope; inf where the curve is not bent upwards."""
        mu = self.mu_hat
        if math.isnan(mu) or not self.signal.any():
            return math.nan if math.isnan(mu) else math.inf
        step = 1e-4 * min(self._scale, 0.5 * self.largest_mu)
        low, high = max(0.0, mu - step), min(mu + step, self.largest_mu)
        curvature = (self.log_ratio(low).slope - self.log_ratio(high).slope) / (high - low)
        return 1.0 / math.sqrt(curvature) if curvature > 0.0 else math.inf
