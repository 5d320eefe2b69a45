"""Likelihood of one signal hypothesis in a HistFactory model: `AnalysisLikelihood` for full workspaces."""

from __future__ import annotations

import math
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from inference.likelihoods.histfactory.settings import AsimovAuxiliary
from inference.likelihoods.protocol import LogRatio
from inference.types import DataKind, FloatArray, Outcome

if TYPE_CHECKING:
    from inference.likelihoods.histfactory.model import HistFactoryFit, HistFactoryModel, ModelData

_MAX_REMEMBERED = 64


class HistFactoryLikelihood:
    """Profile likelihood of a signal; every fit starts at the background-only fit, so that answers never depend on history.

    Args:
        model: the background model.
        signal: expected events at μ = 1 per main-data bin in the order of `model.bins`, shape (num_bins,).
        data_kind: observed; a priori (counts := nominal background); a posteriori (data := background-only fit).
        counts: any other event counts instead, shape (num_bins,), e.g. pseudo-data.
        auxdata: with `counts`, centres of the constraints, shape (num_parameters,); by default those of the workspace.
        signal_errors: statistical errors of the signal [events], see `HistFactorySettings.has_signal_staterror`.
    """

    def __init__(
        self,
        model: HistFactoryModel,
        signal: ArrayLike,
        data_kind: DataKind = DataKind.OBSERVED,
        counts: ArrayLike | None = None,
        *,
        auxdata: FloatArray | None = None,
        signal_errors: ArrayLike | None = None,
    ) -> None:
        self.model = model
        self.data_kind = data_kind
        self._signal = model.signal_arrays(signal, signal_errors)
        self.signal = self._signal.yields
        self._is_plain = counts is None and signal_errors is None
        self._is_exact = False  # whether the data are exactly what the background-only fit expects
        self._fits: dict[float, HistFactoryFit] = {}
        background = model.background_fit(data_kind)
        self._data, self._at_zero = model.data(data_kind), background
        if not self._is_plain:
            if counts is not None:
                self._data = model.make_data(counts, auxdata, self._signal.log_widths)
            else:
                self._data = model.make_data(self._data.counts, self._data.auxdata, self._signal.log_widths)
            start = background.parameters if background.outcome is Outcome.OK else model.table.inits
            self._at_zero = model.fit(self._data, self._signal, 0.0, start)

    @classmethod
    def _with_data(cls, other: HistFactoryLikelihood, data: ModelData, at_zero: HistFactoryFit, is_exact: bool) -> HistFactoryLikelihood:
        """The same signal with other data whose background-only fit is known, and perhaps exact."""
        new = cls.__new__(cls)
        new.model, new.data_kind, new._signal, new.signal = other.model, other.data_kind, other._signal, other.signal
        new._is_plain, new._is_exact, new._fits, new._data, new._at_zero = False, is_exact, {}, data, at_zero
        return new

    @property
    def data(self) -> ModelData:
        """What was measured: counts and auxiliary data."""
        return self._data

    @property
    def outcome(self) -> Outcome:
        """FIT_FAILED if not even the background-only fit converges; NON_FINITE if it cannot produce the data, or for such a signal."""
        if not np.isfinite(self.signal).all():
            return Outcome.NON_FINITE
        return self._at_zero.outcome

    @property
    def is_concave(self) -> bool:
        """False: nothing is known about the curvature of a full model."""
        return False

    def fit(self, mu: float) -> HistFactoryFit:
        """Profiled likelihood at μ, with its curvature in μ."""
        fit = self._fits.get(mu)
        if fit is None:
            fit = self.model.fit(self._data, self._signal, mu, self._at_zero.parameters)
            if len(self._fits) < _MAX_REMEMBERED:
                self._fits[mu] = fit
        return fit

    @cached_property
    def best_fit(self) -> HistFactoryFit:
        """The fit with μ >= 0 free, with the curvature of the profile at its end."""
        return self._free_fit(0.0)

    @cached_property
    def unbounded_fit(self) -> HistFactoryFit:
        """The fit with any μ, negative ones included."""
        return self._free_fit(-math.inf)

    def _free_fit(self, lowest_mu: float) -> HistFactoryFit:
        search = self.model.fit_from if self._is_exact else self.model.fit
        return search(self._data, self._signal, 0.0, self._at_zero.parameters, is_mu_free=True, lowest_mu=lowest_mu, with_curvature=True)

    @property
    def mu_hat(self) -> float:
        """Best μ >= 0; nan if the fit fails."""
        return self.best_fit.mu if self.best_fit.outcome is Outcome.OK else math.nan

    @property
    def sigma_mu(self) -> float:
        """1/√(d²(-ln L)/dμ²) of the profiled curve at μ̂, that of the Asimov data where the curve has no curvature (nothing seen).

        inf for a signal without events, nan if the fit failed.
        """
        fit = self.best_fit
        if fit.outcome is not Outcome.OK:
            return math.nan
        if fit.curvature > 0.0:
            return 1.0 / math.sqrt(fit.curvature)
        curvature = self.asimov().best_fit.curvature if self.signal.any() else 0.0
        return 1.0 / math.sqrt(curvature) if curvature > 0.0 else math.inf

    def nll(self, mu: float) -> float:
        """-ln L(μ) with all constants, those of the constraints included (equal to -logpdf of pyhf); nan if the fit failed."""
        return self.fit(mu).nll

    def log_ratio(self, mu: float) -> LogRatio:
        """ln L(μ)/L(0) and its slope; nan if the fit failed."""
        fit = self.fit(mu)
        return LogRatio(self._at_zero.nll - fit.nll, -fit.slope)

    @property
    def mu_min(self) -> float:
        """Smallest signal strength at which no bin of the background-only fit becomes negative; <= 0."""
        is_hit = self.signal > 0.0
        if not is_hit.any():
            return 0.0
        return min(0.0, -float((self._at_zero.means[is_hit] / self.signal[is_hit]).min()))

    def asimov(self) -> HistFactoryLikelihood:
        """The same signal with the expected data of the background-only fit to this likelihood's data.

        Where the auxiliary data go is `HistFactorySettings.asimov_auxiliary`.
        """
        return self._asimov(None)

    def asimov_with(self, is_moved: bool) -> HistFactoryLikelihood:
        """As `asimov`, with the auxiliary data moved to the fit, or left where the analysis puts them."""
        return self._asimov(is_moved)

    def _asimov(self, is_moved: bool | None) -> HistFactoryLikelihood:
        is_exact = is_moved if is_moved is not None else self.model.settings.asimov_auxiliary is AsimovAuxiliary.FITTED
        if self._is_plain:
            return self._with_data(self, *self.model.asimov(self.data_kind, is_exact), is_exact)
        data = self.model.asimov_data(self._at_zero, self._signal.log_widths, is_exact)
        return self._with_data(self, data, self.model.fit(data, self._signal, 0.0, self._at_zero.parameters), is_exact)

    def signal_slopes(self, mu: float) -> FloatArray:
        """∂ ln L(μ)/∂s of every bin's expected signal s [1/events], shape (num_bins,); by the envelope theorem; nan if the fit failed."""
        fit = self.fit(mu)
        if fit.outcome is not Outcome.OK:
            return np.full(self.model.num_bins, math.nan)
        per_unit = self.model.signal_units(fit.parameters)
        counts = self._data.counts
        with np.errstate(divide="ignore", invalid="ignore"):
            slopes: FloatArray = -mu * per_unit * np.where(counts > 0.0, 1.0 - counts / fit.means, 1.0)
        return slopes
