"""pyhf as a backend: the same workspaces and the same interface, with pyhf's evaluation and minimisers.

For comparisons and for those who want pyhf's own numbers. pyhf (Heinrich, Feickert, Stark, Cranmer, JOSS 6 (2021) 2823) is
imported when the first model is made. A model is built once: the signal is a sample with one event per bin and a fixed
shapefactor per bin, whose values are the yields; this is the same function as a model that is patched per signal.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib import import_module
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from database.errors import UserFacingError
from inference.likelihoods.histfactory.errors import WorkspaceError
from inference.likelihoods.histfactory.json_patch import apply_patch
from inference.likelihoods.histfactory.model import HistFactoryModel
from inference.likelihoods.histfactory.settings import AsimovAuxiliary, HistFactorySettings
from inference.likelihoods.histfactory.workspace import read_workspace
from inference.likelihoods.protocol import LogRatio
from inference.types import DataKind, FloatArray, Outcome

_YIELDS = "protomodels_signal_yields_"
_SAMPLE = "protomodels_signal"
_MAX_YIELD = 1e9
_SMALL_STEP = 1e-4


class MissingBackendError(UserFacingError):
    """pyhf, or the backend it should use, is not installed."""


class PyhfFit(NamedTuple):
    """Result of one fit: -ln L with all constants, parameters in pyhf's order, outcome."""

    nll: float
    parameters: FloatArray
    outcome: Outcome


def load_pyhf(tensor_backend: str = "numpy", optimizer: str = "scipy") -> ModuleType:
    """pyhf with a backend selected (which pyhf keeps per process).

    Raises:
        MissingBackendError: pyhf or the backend is not installed.
    """
    try:
        pyhf = import_module("pyhf")
    except ImportError:
        raise MissingBackendError("the backend pyhf is not installed: pip install pyhf, or choose the built-in backend") from None
    try:
        wanted = getattr(pyhf.optimize, f"{optimizer}_optimizer")()
        pyhf.set_backend(tensor_backend, wanted, precision="64b")
    except (ImportError, pyhf.exceptions.ImportBackendError, pyhf.exceptions.InvalidBackend):
        raise MissingBackendError(f"pyhf cannot use {tensor_backend} with {optimizer}: a package is missing") from None
    return pyhf


class PyhfModel:
    """Background model of one analysis in pyhf.

    Args:
        spec: parsed JSON of the workspace.
        settings: as for the built-in backend; statistical errors of the signal are not available.
        patches: JSON patches to apply first.
        tensor_backend: numpy or jax (or another that pyhf knows and that is installed).
        optimizer: scipy or minuit.

    Attributes:
        reference: the same workspace in the built-in backend; bins and names are its.
    """

    def __init__(
        self,
        spec: Mapping[str, Any],
        settings: HistFactorySettings | None = None,
        patches: Sequence[Sequence[Mapping[str, Any]]] = (),
        tensor_backend: str = "numpy",
        optimizer: str = "scipy",
    ) -> None:
        self.settings = settings = HistFactorySettings() if settings is None else settings
        if settings.has_signal_staterror:
            raise WorkspaceError("the backend pyhf does not take statistical errors of a signal")
        self._pyhf = load_pyhf(tensor_backend, optimizer)
        for patch in patches:
            spec = apply_patch(spec, patch)
        self.reference = HistFactoryModel(read_workspace(spec, settings.measurement), settings)
        self.num_bins, self.bins = self.reference.num_bins, self.reference.bins
        has_lumi = "lumi" in [self.reference.parameter_names[p] for p in self._signal_linear()]
        self.model = self._build(spec, has_lumi)
        config = self.model.config
        self.names: list[str] = list(config.par_names)
        self._inits = np.array(config.suggested_init(), dtype=np.float64)
        self._bounds = [(float(low), float(high)) for low, high in config.suggested_bounds()]
        self._fixed = list(config.suggested_fixed())
        self._yield_index = np.array([self.names.index(name) for name in self._yield_names()])
        for index in self._yield_index:
            self._fixed[index], self._bounds[index] = True, (-_MAX_YIELD, _MAX_YIELD)
        self._auxdata = [float(value) for value in config.auxdata]

    def _signal_linear(self) -> list[int]:
        cells = self.reference.problem.cells
        cell = int(self.reference.signal_cells[0])
        return [int(p) for p in cells.linear_par[cells.linear_start[cell] : cells.linear_start[cell + 1]]]

    def _yield_names(self) -> list[str]:
        return [f"{_YIELDS}{channel}[{i}]" for channel, i in self.bins]

    def _build(self, spec: Mapping[str, Any], has_lumi: bool) -> Any:
        """The pyhf model with a signal sample of one event per bin."""
        settings, sizes = self.settings, dict(self.reference.channels)
        channels = []
        for channel in spec["channels"]:
            ones = [1.0] * sizes[channel["name"]]
            modifiers: list[dict[str, Any]] = [
                {"name": self.reference.poi_name, "type": "normfactor", "data": None},
                {"name": f"{_YIELDS}{channel['name']}", "type": "shapefactor", "data": None},
            ]
            if has_lumi:
                modifiers.append({"name": "lumi", "type": "lumi", "data": None})
            if settings.signal_uncertainty is not None:
                low, high = ([1.0 + sign * settings.signal_uncertainty] * len(ones) for sign in (-1.0, 1.0))
                modifiers.append({"name": "signalUncertainty", "type": "histosys", "data": {"lo_data": low, "hi_data": high}})
            for name, (lo, hi) in settings.signal_normsys.items():
                modifiers.append({"name": name, "type": "normsys", "data": {"lo": lo, "hi": hi}})
            sample = {"name": _SAMPLE, "data": ones, "modifiers": modifiers}
            channels.append({**channel, "samples": [sample, *channel["samples"]]})
        measurement = settings.measurement
        entry = next(m for i, m in enumerate(spec["measurements"]) if measurement in (i, m["name"]))
        specification = {"channels": channels, "parameters": entry["config"]["parameters"]}
        return self._pyhf.Model(
            specification,
            poi_name=self.reference.poi_name,
            modifier_settings={
                "normsys": {"interpcode": settings.normsys.value},
                "histosys": {"interpcode": settings.histosys.value},
            },
        )

    @property
    def num_regions(self) -> int:
        """Length of signal vectors: one entry per main-data bin."""
        return self.num_bins

    def likelihood(self, yields: ArrayLike, data_kind: DataKind = DataKind.OBSERVED) -> PyhfLikelihood:
        """Likelihood of a signal with these expected events at μ = 1, shape (num_bins,)."""
        counts = self.reference.observed
        if data_kind is DataKind.APRIORI:
            counts = np.maximum(self.reference.nominal_background, 0.0)
        data = np.append(counts, self._auxdata)
        signal = np.asarray(yields, dtype=np.float64)
        if data_kind is DataKind.APOSTERIORI:
            return PyhfLikelihood(self, signal, PyhfLikelihood(self, signal, data).asimov_data())
        return PyhfLikelihood(self, signal, data)

    def inputs(
        self, signal: FloatArray, highest_mu: float, start: FloatArray | None = None
    ) -> tuple[list[float], list[tuple[float, float]], list[bool]]:
        """Starting values, bounds and fixed flags of a fit, for pyhf's own functions; the yields are among the fixed ones."""
        init = self._inits.copy() if start is None else np.array(start)
        init[self._yield_index] = signal
        bounds, fixed = list(self._bounds), list(self._fixed)
        bounds[self.model.config.poi_index] = (0.0, highest_mu)
        low, high = np.array(bounds).T
        return np.clip(init, low, high).tolist(), bounds, fixed

    def fit(self, signal: FloatArray, data: FloatArray, mu: float | None, start: FloatArray | None = None) -> PyhfFit:
        """One fit with pyhf's minimiser; μ free and >= 0 if None."""
        poi = self.model.config.poi_index
        highest = max(self._bounds[poi][1], 10.0)
        init, bounds, fixed = self.inputs(signal, highest if mu is None else max(highest, mu), start)
        fixed[poi] = mu is not None
        if mu is not None:
            init[poi] = mu
        try:
            parameters, value = self._pyhf.infer.mle.fit(data, self.model, init, bounds, fixed, return_fitted_val=True)
        except (self._pyhf.exceptions.FailedMinimization, ValueError, FloatingPointError):
            return PyhfFit(math.nan, np.full(len(init), math.nan), Outcome.FIT_FAILED)
        nll = 0.5 * float(np.ravel(np.asarray(value))[0])
        outcome = Outcome.OK if math.isfinite(nll) else Outcome.FIT_FAILED
        return PyhfFit(nll, np.array(parameters, dtype=np.float64), outcome)

    def nll_at(self, parameters: ArrayLike, data: FloatArray) -> float:
        """-ln L with all constants at parameters in pyhf's order, the yields of the signal among them."""
        return -float(np.ravel(np.asarray(self.model.logpdf(np.asarray(parameters), data)))[0])

    def expected_data(self, parameters: FloatArray) -> FloatArray:
        """Expected events and auxiliary data."""
        return np.array(self.model.expected_data(parameters), dtype=np.float64)

    def signal_units(self, parameters: FloatArray) -> FloatArray:
        """Expected events per bin for one event of signal there and μ = 1, shape (num_bins,)."""
        changed = parameters.copy()
        changed[self._yield_index] = 1.0
        changed[self.model.config.poi_index] = 1.0
        rates = np.array(self.model.main_model.expected_data(changed, return_by_sample=True))
        return np.asarray(rates[self.model.config.samples.index(_SAMPLE)], dtype=np.float64)


class PyhfLikelihood:
    """Likelihood of one signal hypothesis, fitted by pyhf; `AnalysisLikelihood`.

    Args:
        model: the background model.
        signal: expected events at μ = 1 per main-data bin, shape (num_bins,).
        data: counts and auxiliary data in pyhf's order.
    """

    def __init__(self, model: PyhfModel, signal: FloatArray, data: FloatArray) -> None:
        self.model, self.signal, self.data = model, signal, data
        self._fits: dict[float, PyhfFit] = {}

    def fit(self, mu: float) -> PyhfFit:
        """Profiled likelihood at μ from pyhf's starting values; from the background-only fit where that fails."""
        if mu not in self._fits:
            fit = self.model.fit(self.signal, self.data, mu)
            if fit.outcome is not Outcome.OK and mu != 0.0:
                fit = self.model.fit(self.signal, self.data, mu, self.fit(0.0).parameters)
            self._fits[mu] = fit
        return self._fits[mu]

    @property
    def outcome(self) -> Outcome:
        """FIT_FAILED if not even the background-only fit converges."""
        return self.fit(0.0).outcome

    @property
    def is_concave(self) -> bool:
        """False: nothing is known about the curvature of a full model."""
        return False

    @cached_property
    def best_fit(self) -> PyhfFit:
        """The fit with μ >= 0 free; the background-only fit where that is better than what the minimiser found."""
        fit = self.model.fit(self.signal, self.data, None)
        return self.fit(0.0) if not fit.nll <= self.fit(0.0).nll else fit

    @property
    def mu_hat(self) -> float:
        """Best μ >= 0; nan if the fit fails."""
        return float(self.best_fit.parameters[self.model.model.config.poi_index])

    @cached_property
    def sigma_mu(self) -> float:
        """μ/√q_A(μ) of the Asimov data (arXiv:1007.1727), at a μ of about one standard deviation."""
        if not self.signal.any():
            return math.inf
        asimov = self.asimov()
        information = float((self.signal**2 / np.maximum(self.model.reference.nominal_background, 1.0)).sum())
        mu = 1.0 / math.sqrt(information)
        q = 2.0 * (asimov.nll(mu) - asimov.nll(0.0))
        return mu / math.sqrt(q) if q > 0.0 else math.nan

    def nll(self, mu: float) -> float:
        """-ln L(μ) with all constants; nan if the fit failed."""
        return self.fit(mu).nll

    def log_ratio(self, mu: float) -> LogRatio:
        """ln L(μ)/L(0) and its slope (central difference at fixed nuisances: the envelope theorem)."""
        fit = self.fit(mu)
        if fit.outcome is not Outcome.OK:
            return LogRatio(math.nan, math.nan)
        poi = self.model.model.config.poi_index
        width = _SMALL_STEP * max(abs(mu), 1.0)
        sides = []
        for sign in (-1.0, 1.0):
            parameters = fit.parameters.copy()
            parameters[poi] += sign * width
            sides.append(self.model.nll_at(parameters, self.data))
        return LogRatio(self.fit(0.0).nll - fit.nll, (sides[0] - sides[1]) / (2.0 * width))

    def asimov_data(self) -> FloatArray:
        """Counts and auxiliary data of the background-only fit; auxiliary data nominal if the settings say so."""
        data = self.model.expected_data(self.fit(0.0).parameters)
        if self.model.settings.asimov_auxiliary is AsimovAuxiliary.NOMINAL:
            data[self.model.num_bins :] = self.data[self.model.num_bins :]
        return data

    def asimov(self) -> PyhfLikelihood:
        """The same signal with the expected data of the background-only fit."""
        return PyhfLikelihood(self.model, self.signal, self.asimov_data())

    def signal_slopes(self, mu: float) -> FloatArray:
        """∂ ln L(μ)/∂s of every bin's expected signal s [1/events], shape (num_bins,)."""
        fit = self.fit(mu)
        means = self.model.expected_data(fit.parameters)[: self.model.num_bins]
        counts = self.data[: self.model.num_bins]
        slopes: FloatArray = -mu * self.model.signal_units(fit.parameters) * (1.0 - counts / means)
        return slopes
