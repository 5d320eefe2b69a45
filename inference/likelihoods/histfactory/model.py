"""A compiled HistFactory model: everything of an analysis that does not depend on the signal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from inference.likelihoods.histfactory.compiler import compile_problem
from inference.likelihoods.histfactory.errors import WorkspaceError
from inference.likelihoods.histfactory.fit import fit_parameters
from inference.likelihoods.histfactory.kernels import evaluate_objective
from inference.likelihoods.histfactory.likelihood import HistFactoryLikelihood
from inference.likelihoods.histfactory.parameters import Constraint
from inference.likelihoods.histfactory.scan import tabulate_functions
from inference.likelihoods.histfactory.search import find_minimum, measure
from inference.likelihoods.histfactory.settings import AsimovAuxiliary, HistFactorySettings
from inference.likelihoods.histfactory.workspace import Workspace, read_workspace
from inference.types import DataKind, FloatArray, IntArray, Outcome

_WILD = math.log(20.0)
_SMALL = 40
_SEED = 20_251
_WIDTHS = (0.3, 0.3, 0.5, 0.5, 1.0)
"""Standard deviations by which shapes and normalisations of scattered starts move."""
_HALF_LOG_TWO_PI = 0.5 * math.log(2.0 * math.pi)


class ModelData(NamedTuple):
    """What was measured, with what it contributes to -ln L whatever the parameters.

    Attributes:
        counts: events per main-data bin, shape (num_bins,).
        auxdata: centres of the constraints per parameter, shape (num_parameters,).
        constant: Σ ln Γ(n + 1) + Σ ln(σ √2π) + Σ ln Γ(a + 1).
        saturated: -ln L of a model that expects exactly what was measured, all constants included.
    """

    counts: FloatArray
    auxdata: FloatArray
    constant: float
    saturated: float


class HistFactoryFit(NamedTuple):
    """Profiled likelihood at one μ, or its minimum.

    Attributes:
        mu: signal strength.
        nll: -ln L with all constants; nan if the fit failed.
        slope: its first derivative in μ.
        curvature: its second derivative in μ; nan if not computed.
        parameters: fitted parameters, shape (num_parameters,), μ at `HistFactoryModel.poi_index`.
        means: expected events per bin, shape (num_bins,).
        signal_means: expected events of the signal per unit of signal and μ, shape (num_bins,).
        num_iterations: Newton steps.
        outcome: OK, FIT_FAILED, or NON_FINITE where no starting point can produce the data.
    """

    mu: float
    nll: float
    slope: float
    curvature: float
    parameters: FloatArray
    means: FloatArray
    num_iterations: int
    outcome: Outcome


class SignalArrays(NamedTuple):
    """A signal as the kernels need it.

    Attributes:
        yields: expected events per bin at μ = 1, shape (num_bins,).
        scale: per cell, yields in signal cells and 1 elsewhere.
        weight: weights of the constraints (changed by statistical errors of the signal only).
        log_widths: Σ ln(σ √2π) of the normal constraints.
    """

    yields: FloatArray
    scale: FloatArray
    weight: FloatArray
    log_widths: float


class HistFactoryModel:
    """Background model of one analysis; made by `compile_workspace`.

    Attributes:
        settings: how the workspace was read.
        poi_name: parameter of interest.
        poi_index: its position among the parameters.
        channels: names of the channels in main-data order (sorted), with their number of bins.
        bins: (channel, bin in the channel) in main-data order.
        num_bins: number of main-data bins; signals are vectors of this length.
        parameter_names: names of all parameters; those of a set per bin carry an index.
        table: starting values, bounds, constraints.
        is_wild: whether a normalisation grows more than 20-fold per standard deviation, see `search`.
        is_small: whether there are 40 parameters at most.
        observed: observed events, shape (num_bins,).
        nominal_background: Σ nominal events of all samples without the parameter of interest, shape (num_bins,).
    """

    def __init__(self, workspace: Workspace, settings: HistFactorySettings) -> None:
        self.settings = settings
        channels = workspace.channels
        self.channels = tuple((channel.name, channel.num_bins) for channel in channels)
        self.bins = tuple((channel.name, i) for channel in channels for i in range(channel.num_bins))
        self.num_bins = len(self.bins)
        compiled = compile_problem(workspace, settings)
        self.poi_name, self.table, self.problem = compiled.poi_name, compiled.table, compiled.problem
        self.parameter_names, self.poi_index = self.table.names, self.problem.poi
        self._signal_staterrors = compiled.signal_staterrors
        self.function_table = tabulate_functions(self.problem)
        cells = self.problem.cells
        self.is_wild = bool((np.maximum(cells.log_up, cells.log_down) > _WILD).any())
        self.signal_cells: IntArray = cells.bin_start[1:] - 1
        self.is_small = len(self.table.names) <= _SMALL
        self.observed = np.array([n for channel in channels for n in channel.observed], dtype=np.float64)
        self.nominal_background = np.zeros(self.num_bins)
        background = np.array(cells.is_poi) == 0
        np.add.at(
            self.nominal_background, np.repeat(np.arange(self.num_bins), np.diff(cells.bin_start))[background], cells.nominal[background]
        )
        is_normal = self.table.constraint == Constraint.NORMAL
        self._is_poisson = self.table.constraint == Constraint.POISSON
        self._weight = np.where(is_normal, 1.0 / self.table.width**2, self.table.width)
        self._background_scale = np.ones(len(cells.nominal))
        self._background_scale[self.signal_cells] = 0.0
        self.no_signal = self.signal_arrays(np.zeros(self.num_bins))
        self._data: dict[DataKind, ModelData] = {}
        self._background_fits: dict[DataKind, HistFactoryFit] = {}
        self._asimov: dict[tuple[DataKind, bool], tuple[ModelData, HistFactoryFit]] = {}

    @property
    def num_regions(self) -> int:
        """Length of signal vectors: one entry per main-data bin."""
        return self.num_bins

    @property
    def num_parameters(self) -> int:
        """Number of parameters, the signal strength and fixed ones included."""
        return len(self.parameter_names)

    @cached_property
    def scatter(self) -> FloatArray:
        """Changes of all parameters that scatter the starts of difficult fits, the same in every process, shape (5, num_parameters)."""
        normals = np.random.default_rng(_SEED).normal(size=(len(_WIDTHS), self.num_parameters))
        return np.array(_WIDTHS)[:, None] * normals

    def likelihood(self, yields: FloatArray, data_kind: DataKind = DataKind.OBSERVED) -> HistFactoryLikelihood:
        """Likelihood of a signal with these expected events at μ = 1 per bin, shape (num_bins,)."""
        return HistFactoryLikelihood(self, yields, data_kind)

    def signal_arrays(self, yields: ArrayLike, errors: ArrayLike | None = None) -> SignalArrays:
        """Prepares a signal.

        Args:
            yields: expected events at μ = 1 per bin, shape (num_bins,).
            errors: their statistical errors [events]; they enter the staterror parameters if the settings say so.
        """
        signal = np.ascontiguousarray(yields, dtype=np.float64)
        if signal.shape != (self.num_bins,):
            raise WorkspaceError(f"a signal needs {self.num_bins} yields, one per bin of the workspace, not {signal.shape}")
        scale = self._background_scale.copy()
        scale[self.signal_cells] = signal
        weight = self._weight
        if errors is not None:
            weight = self._weight_with_errors(signal, np.asarray(errors, dtype=np.float64))
        is_normal = self.table.constraint == Constraint.NORMAL
        log_widths = float((_HALF_LOG_TWO_PI - 0.5 * np.log(weight[is_normal])).sum())
        return SignalArrays(signal, scale, weight, log_widths)

    def _weight_with_errors(self, signal: FloatArray, errors: FloatArray) -> FloatArray:
        if not self.settings.has_signal_staterror:
            raise WorkspaceError("statistical errors of the signal need the setting `has_signal_staterror`")
        if errors.shape != (self.num_bins,):
            raise WorkspaceError(f"the errors of a signal need {self.num_bins} entries, one per bin of the workspace")
        weight = self._weight.copy()
        for i, joined in enumerate(self._signal_staterrors):
            total, squared = joined.nominal + signal[i], joined.squared_error + errors[i] ** 2
            if joined.parameter >= 0 and total > 0.0 and squared > 0.0:
                weight[joined.parameter] = total**2 / squared
        return weight

    def make_data(self, counts: ArrayLike, auxdata: FloatArray | None = None, log_widths: float | None = None) -> ModelData:
        """Data with their constants.

        Args:
            counts: events per bin, shape (num_bins,).
            auxdata: centres of the constraints, shape (num_parameters,); by default those of the workspace.
            log_widths: Σ ln(σ √2π) of the normal constraints; by default that of the background.
        """
        counts = np.ascontiguousarray(counts, dtype=np.float64)
        if counts.shape != (self.num_bins,):
            raise WorkspaceError(f"data need {self.num_bins} counts, one per bin of the workspace, not {counts.shape}")
        auxdata = self.table.auxdata if auxdata is None else auxdata
        constant = self.no_signal.log_widths if log_widths is None else log_widths
        saturated = 0.0
        for n in (*counts.tolist(), *auxdata[self._is_poisson].tolist()):
            constant += math.lgamma(n + 1.0)
            saturated += n - n * math.log(n) if n > 0.0 else 0.0
        return ModelData(counts, auxdata, constant, saturated + constant)

    def data(self, data_kind: DataKind) -> ModelData:
        """Observed data; a priori: the nominal background; a posteriori: Asimov data of the background-only fit."""
        data_kind = DataKind(data_kind)
        data = self._data.get(data_kind)
        if data is None:
            if data_kind is DataKind.APOSTERIORI:
                data = self.asimov_data(self.background_fit(DataKind.OBSERVED))
            else:
                counts = self.observed if data_kind is DataKind.OBSERVED else np.maximum(self.nominal_background, 0.0)
                data = self.make_data(counts)
            self._data[data_kind] = data
        return data

    def asimov_data(self, fit: HistFactoryFit, log_widths: float | None = None, is_moved: bool | None = None) -> ModelData:
        """Expected data of a fit: its expected events as counts.

        Args:
            fit: any fit.
            log_widths: Σ ln(σ √2π) of the normal constraints; by default that of the background.
            is_moved: whether the auxiliary data move to the fitted parameters; by default as the settings say.
        """
        if is_moved is None:
            is_moved = self.settings.asimov_auxiliary is AsimovAuxiliary.FITTED
        auxdata = self.table.auxdata
        if is_moved:
            fitted = np.where(self._is_poisson, fit.parameters * self.table.width, fit.parameters)
            auxdata = np.where(self.table.constraint == Constraint.NONE, 0.0, fitted)
        return self.make_data(np.maximum(fit.means, 0.0), auxdata, log_widths)

    def background_fit(self, data_kind: DataKind = DataKind.OBSERVED) -> HistFactoryFit:
        """The fit at μ = 0, made once."""
        fit = self._background_fits.get(data_kind)
        if fit is None:
            start = self.table.inits
            if data_kind is DataKind.APOSTERIORI:
                start = self.background_fit(DataKind.OBSERVED).parameters
            fit = self._background_fits[data_kind] = self.fit(self.data(data_kind), self.no_signal, 0.0, start)
        return fit

    def asimov(self, data_kind: DataKind, is_moved: bool | None = None) -> tuple[ModelData, HistFactoryFit]:
        """Asimov data of the background-only fit, and their own background-only fit; made once."""
        if is_moved is None:
            is_moved = self.settings.asimov_auxiliary is AsimovAuxiliary.FITTED
        key = data_kind, is_moved
        if key not in self._asimov:
            fit = self.background_fit(data_kind)
            data = self.asimov_data(fit, is_moved=is_moved)
            self._asimov[key] = data, self.fit(data, self.no_signal, 0.0, fit.parameters)
        return self._asimov[key]

    def fit(
        self,
        data: ModelData,
        signal: SignalArrays,
        mu: float,
        start: FloatArray,
        *,
        is_mu_free: bool = False,
        lowest_mu: float = 0.0,
        with_curvature: bool = False,
    ) -> HistFactoryFit:
        """The deepest minimum that `search` finds from a starting point; arguments as `fit_from`."""
        return find_minimum(self, data, signal, mu, start, is_mu_free=is_mu_free, lowest_mu=lowest_mu, with_curvature=with_curvature)

    def fit_from(
        self,
        data: ModelData,
        signal: SignalArrays,
        mu: float,
        start: FloatArray,
        *,
        is_mu_free: bool = False,
        lowest_mu: float = 0.0,
        with_curvature: bool = False,
    ) -> HistFactoryFit:
        """One fit from one starting point, `fit` does more.

        Args:
            data: what was measured.
            signal: the signal.
            mu: signal strength; where it starts if it is fitted.
            start: parameters to start from, shape (num_parameters,).
            is_mu_free: whether μ is fitted.
            lowest_mu: its lower bound; -inf for none.
            with_curvature: whether the second derivative of the profile is wanted.
        """
        theta, mean = np.empty(self.num_parameters), np.empty(self.num_bins)
        has_converged, value, slope, curvature, iterations, _ = fit_parameters(
            self.problem, measure(data, signal), float(mu), is_mu_free, float(lowest_mu), with_curvature, start, theta, mean
        )
        if not (has_converged and math.isfinite(value)):
            nan = math.nan
            empty = np.full(self.num_parameters, nan), np.full(self.num_bins, nan)
            outcome = Outcome.FIT_FAILED if iterations > 0 else Outcome.NON_FINITE
            return HistFactoryFit(mu, nan, nan, nan, *empty, int(iterations), outcome)
        mu = float(theta[self.poi_index])
        return HistFactoryFit(mu, float(value) + data.constant, float(slope), float(curvature), theta, mean, int(iterations), Outcome.OK)

    def nll_at(self, parameters: ArrayLike, signal: SignalArrays | None = None, data: ModelData | None = None) -> float:
        """-ln L with all constants at any parameters; inf where the data are impossible.

        Args:
            parameters: all parameters in the order of `parameter_names`, μ included, shape (num_parameters,).
            signal: the signal; by default none.
            data: by default what was observed.
        """
        theta = np.ascontiguousarray(parameters, dtype=np.float64)
        signal = self.no_signal if signal is None else signal
        data = self.data(DataKind.OBSERVED) if data is None else data
        return float(self._evaluate(theta, signal, data)[0]) + data.constant + signal.log_widths - self.no_signal.log_widths

    def means_at(self, parameters: ArrayLike, signal: SignalArrays | None = None) -> FloatArray:
        """Expected events per bin at any parameters, shape (num_bins,)."""
        theta = np.ascontiguousarray(parameters, dtype=np.float64)
        return self._evaluate(theta, self.no_signal if signal is None else signal, self.data(DataKind.OBSERVED))[1]

    def signal_units(self, parameters: FloatArray) -> FloatArray:
        """Expected events per bin for one event of signal there and μ = 1, i.e. the signal's modifiers, shape (num_bins,)."""
        theta = parameters.copy()
        theta[self.poi_index] = 1.0
        scale = np.zeros_like(self._background_scale)
        scale[self.signal_cells] = 1.0
        return self._evaluate(theta, self.no_signal._replace(scale=scale), self.data(DataKind.OBSERVED))[1]

    def _evaluate(self, theta: FloatArray, signal: SignalArrays, data: ModelData) -> tuple[float, FloatArray]:
        mean = np.empty(self.num_bins)
        return evaluate_objective(self.problem, measure(data, signal), theta, mean), mean


def compile_workspace(
    spec: Mapping[str, Any],
    *,
    settings: HistFactorySettings | None = None,
    patches: Sequence[Sequence[Mapping[str, Any]]] = (),
) -> HistFactoryModel:
    """The model of a pyhf workspace, ready for signals.

    Args:
        spec: parsed JSON of the workspace.
        settings: measurement, interpolation codes, what the signal carries; see `HistFactorySettings`.
        patches: JSON patches to apply first, one after the other (e.g. to remove channels).

    Raises:
        WorkspaceError: the workspace is not valid; names channel, sample, modifier or parameter.
        PatchError: a patch does not fit.
    """
    settings = HistFactorySettings() if settings is None else settings
    return HistFactoryModel(read_workspace(spec, settings.measurement, patches), settings)
