"""Models of spey as likelihoods of ours."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np

from inference.likelihoods.protocol import LogRatio
from inference.spey_plugin.loading import load_spey
from inference.types import DataKind, FloatArray, Outcome

log = logging.getLogger(__name__)

_STEP = 1e-3
"""Step of numerical slopes, relative to max(1, |μ|)."""
_RISE = 0.002
"""σ_μ is measured where -ln L has risen by about this much."""
_MAX_DOUBLINGS = 40
_SMALL_GAIN = 1e-6
_SIGNAL_STEP = 1e-2


class SpeyLikelihood:
    """A `spey.StatisticalModel` with the interface of our likelihoods.

    Slopes come from the gradient of the back-end at the profiled parameters (envelope theorem) where it has one, else from central
    differences. What spey raises in a fit, and numbers that are not finite, become FIT_FAILED.

    Args:
        model: the model with its signal.
        data_kind: observed; a priori; a posteriori (data := Asimov data of the observed background-only fit).
        data: other data in the form of the back-end (main and auxiliary), e.g. Asimov data.
        is_asimov: whether spey's own Asimov likelihood is asked, for back-ends that do not show the data.
    """

    def __init__(self, model: Any, data_kind: DataKind = DataKind.OBSERVED, data: Any = None, *, is_asimov: bool = False) -> None:
        self.model = model
        self.data_kind = data_kind
        kinds = load_spey().ExpectationType
        self._expected = kinds.apriori if data_kind is DataKind.APRIORI else kinds.observed
        self._data, self._is_asimov = data, is_asimov
        if data_kind is DataKind.APOSTERIORI and data is None:
            self._data, self._is_asimov = self._asimov_source()
        self._fits: dict[float, tuple[float, float]] = {}

    @property
    def outcome(self) -> Outcome:
        """FIT_FAILED if the background-only fit has no number."""
        return Outcome.OK if math.isfinite(self.nll(0.0)) else Outcome.FIT_FAILED

    @property
    def is_concave(self) -> bool:
        """False: nothing is known of the model."""
        return False

    def nll(self, mu: float) -> float:
        """-ln L(μ) with the constants of the back-end; nan if the fit failed."""
        return self._fit(float(mu))[0]

    def log_ratio(self, mu: float) -> LogRatio:
        """ln L(μ)/L(0) and its slope; nan if a fit failed."""
        nll, slope = self._fit(float(mu))
        return LogRatio(self.nll(0.0) - nll, -slope)

    @cached_property
    def mu_hat(self) -> float:
        """Best μ >= 0 of spey's free fit, 0 where that is no better than the background; nan if it failed."""

        def best() -> float:
            options = {"expected": self._expected, "return_nll": True}
            if self._is_asimov:
                return float(self.model.maximize_asimov_likelihood(**options)[0])
            return float(self.model.maximize_likelihood(**options, allow_negative_signal=False, data=self._data)[0])

        mu = self._try(best)
        if not math.isfinite(mu):
            return math.nan
        return max(mu, 0.0) if self.log_ratio(max(mu, 0.0)).value > _SMALL_GAIN else 0.0

    @cached_property
    def sigma_mu(self) -> float:
        """1/√(d²(-ln L)/dμ²) at μ̂ from differences of slopes; inf for a flat likelihood, nan if a fit failed."""
        mu = self.mu_hat
        if not math.isfinite(mu):
            return math.nan
        step = 1.0
        for _ in range(_MAX_DOUBLINGS):
            rise = self.nll(mu + step) - self.nll(mu) - step * self._fit(mu)[1]
            if not math.isfinite(rise) or rise > 10.0 * _RISE:
                step *= 0.5
            elif rise < 0.1 * _RISE:
                step *= 2.0
            else:
                break
        else:
            return math.inf
        low = mu - step if mu > step else mu
        curvature = (self._fit(mu + step)[1] - self._fit(low)[1]) / (mu + step - low)
        return 1.0 / math.sqrt(curvature) if curvature > 0.0 else math.inf

    def asimov(self) -> SpeyLikelihood:
        """The same signal with the Asimov data of spey (its conventions)."""
        data, is_asimov = self._asimov_source()
        return SpeyLikelihood(
            self.model, self.data_kind if self.data_kind is DataKind.APRIORI else DataKind.OBSERVED, data, is_asimov=is_asimov
        )

    def _asimov_source(self) -> tuple[Any, bool]:
        try:
            return self.model.generate_asimov_data(expected=self._expected, test_statistic="qtilde"), False
        except NotImplementedError:
            return None, True

    def _fit(self, mu: float) -> tuple[float, float]:
        """-ln L(μ) and its derivative."""
        found = self._fits.get(mu)
        if found is None:
            found = self._fits[mu] = self._slope_from_gradient(mu)
        return found

    def _slope_from_gradient(self, mu: float) -> tuple[float, float]:
        if not self._is_asimov:
            try:
                objective = self.model.backend.get_objective_function(expected=self._expected, data=self._data, do_grad=True)
            except NotImplementedError:
                pass
            else:
                return self._profile(mu, objective)
        nll = self._value(mu)
        step = _STEP * max(1.0, abs(mu))
        low = mu - step if mu >= step else mu
        slope = (self._value(mu + step) - self._value(low)) / (mu + step - low)
        return nll, slope

    def _profile(self, mu: float, objective: Callable[[FloatArray], Any]) -> tuple[float, float]:
        slopes: list[float] = []

        def profiled() -> float:
            nll, parameters = self.model.likelihood(
                poi_test=mu, expected=self._expected, return_nll=True, data=self._data, return_parameters=True
            )
            gradient = np.asarray(objective(np.asarray(parameters, dtype=np.float64))[1], dtype=np.float64)
            slopes.append(float(gradient[self.model.backend.config().poi_index]))
            return float(nll)

        nll = self._try(profiled)
        return nll, slopes[0] if slopes and math.isfinite(nll) else math.nan

    def _value(self, mu: float) -> float:
        def value() -> float:
            if self._is_asimov:
                return float(self.model.asimov_likelihood(poi_test=mu, expected=self._expected, return_nll=True))
            return float(self.model.likelihood(poi_test=mu, expected=self._expected, return_nll=True, data=self._data))

        return self._try(value)

    def _try(self, compute: Callable[[], float]) -> float:
        """A number of spey's; nan for what it raises in a fit."""
        try:
            with np.errstate(all="ignore"):
                value = compute()
        except (ArithmeticError, ValueError, RuntimeError, np.linalg.LinAlgError) as error:
            log.debug("a fit of spey failed: %s", error)
            return math.nan
        return value if math.isfinite(value) else math.nan


class SpeyModel:
    """Models of spey, one per signal, as the background model of an analysis.

    Args:
        build: makes the `spey.StatisticalModel` of a signal: expected events at μ = 1 per region, shape (num_regions,).
        num_regions: length of signal vectors.
    """

    def __init__(self, build: Callable[[FloatArray], Any], num_regions: int) -> None:
        self.build = build
        self._num_regions = num_regions

    @property
    def num_regions(self) -> int:
        """Length of signal vectors."""
        return self._num_regions

    def likelihood(self, yields: FloatArray, data_kind: DataKind = DataKind.OBSERVED) -> SpeySignalLikelihood:
        """Likelihood of a signal with these expected events at μ = 1, shape (num_regions,)."""
        return SpeySignalLikelihood(self, np.asarray(yields, dtype=np.float64), data_kind)


class SpeySignalLikelihood(SpeyLikelihood):
    """A `SpeyLikelihood` whose signal can be varied.

    Args:
        source: makes the models.
        yields: expected events at μ = 1, shape (num_regions,).
        data_kind: which data.
    """

    def __init__(self, source: SpeyModel, yields: FloatArray, data_kind: DataKind = DataKind.OBSERVED) -> None:
        super().__init__(source.build(yields), data_kind)
        self.source = source
        self.yields = yields

    def signal_slopes(self, mu: float) -> FloatArray:
        """∂ ln L(μ)/∂s per region [1/events] from differences, shape (num_regions,); two models per region are made."""
        slopes = np.empty(self.source.num_regions)
        for region in range(len(slopes)):
            step = _SIGNAL_STEP * max(1.0, float(self.yields[region]))
            low = max(float(self.yields[region]) - step, 0.0)
            ends = []
            for value in (low, float(self.yields[region]) + step):
                moved = self.yields.copy()
                moved[region] = value
                ends.append(SpeyLikelihood(self.source.build(moved), self.data_kind).nll(mu))
            slopes[region] = (ends[0] - ends[1]) / (float(self.yields[region]) + step - low)
        return slopes
