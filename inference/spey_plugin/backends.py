"""Our likelihoods as back-ends of spey.

Entry points (group `spey.backend.plugins`):

    protomodels.histfactory   HistFactoryBackend   pyhf workspace (parsed JSON) and signal yields, per bin or by channel
    protomodels.covariance    CovarianceBackend    arguments of spey's default.correlated_background and .third_moment_expansion
    protomodels.analysis      AnalysisBackend      an analysis of a compiled store, by its id

For spey each of them is a model of one parameter, the signal strength: nuisances are profiled here, and the derivative is exact.
Asimov data are those of the likelihood, so that spey's hypothesis tests use our conventions. The classes are made when they are asked
for, since their base class is spey's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from database.errors import ConfigError
from database.results.store import ResultsStore, open_store
from inference.analysis_models.protocol import AnalysisLikelihood
from inference.analysis_models.registry import find_analysis_model
from inference.likelihoods.covariance import CovarianceLikelihood, CovarianceModel
from inference.likelihoods.histfactory import HistFactoryLikelihood, HistFactorySettings, compile_workspace
from inference.likelihoods.protocol import Likelihood
from inference.limits.conventions import lowest_strength
from inference.settings import Conventions
from inference.spey_plugin.loading import load_spey
from inference.types import DataKind, FloatArray

ENTRY_POINTS = {
    "protomodels.histfactory": "HistFactoryBackend",
    "protomodels.covariance": "CovarianceBackend",
    "protomodels.analysis": "AnalysisBackend",
}
"""Classes of this module by the name of their entry point."""


class ProfiledMethods:
    """What spey asks of a back-end, answered by a likelihood with profiled nuisances."""

    version = "1.0.0"
    author = "the protomodels developers"
    spey_requires = ">=0.2.0"

    def make_likelihood(self, data_kind: DataKind, counts: FloatArray | None) -> AnalysisLikelihood:
        """The likelihood for some data; `counts` replace them."""
        raise NotImplementedError

    def __init__(self, signal_yields: FloatArray) -> None:
        self.signal_yields = signal_yields
        self._made: dict[DataKind, AnalysisLikelihood] = {}

    def _find(self, expected: Any, data: Any = None) -> AnalysisLikelihood:
        """The likelihood for spey's kind of expectation: a posteriori results come from the observed data."""
        kind = DataKind.APRIORI if expected == load_spey().ExpectationType.apriori else DataKind.OBSERVED
        if data is not None:
            return self.make_likelihood(kind, np.asarray(data, dtype=np.float64))
        if kind not in self._made:
            self._made[kind] = self.make_likelihood(kind, None)
        return self._made[kind]

    @property
    def is_alive(self) -> bool:
        """Whether any bin sees the signal."""
        return bool((self.signal_yields > 0.0).any())

    def config(self, allow_negative_signal: bool = True, poi_upper_bound: float = 10.0) -> Any:
        """spey's ModelConfig: one parameter."""
        from importlib import import_module

        lowest = min(0.0, lowest_strength(self._find(None)))
        low = lowest if allow_negative_signal else 0.0
        model_config = import_module("spey.base.model_config").ModelConfig
        return model_config(poi_index=0, minimum_poi=lowest, suggested_init=[1.0], suggested_bounds=[(low, poi_upper_bound)])

    def get_logpdf_func(self, expected: Any = None, data: Any = None) -> Callable[[FloatArray], float]:
        """ln L(μ), profiled."""
        likelihood = self._find(expected, data)
        return lambda parameters: -likelihood.nll(float(parameters[0]))

    def get_objective_function(self, expected: Any = None, data: Any = None, do_grad: bool = True) -> Callable[[FloatArray], Any]:
        """-ln L(μ), with its derivative if asked."""
        likelihood = self._find(expected, data)

        def value(parameters: FloatArray) -> float:
            return likelihood.nll(float(parameters[0]))

        def value_and_slope(parameters: FloatArray) -> tuple[float, FloatArray]:
            mu = float(parameters[0])
            return likelihood.nll(mu), np.array([-likelihood.log_ratio(mu).slope])

        return value_and_slope if do_grad else value

    def asimov_negative_loglikelihood(
        self, poi_test: float = 1.0, expected: Any = None, test_statistics: str = "qtilde", **kwargs: Any
    ) -> float:
        """-ln L(μ) of the Asimov data; spey passes on what is returned here."""
        return self._asimov(expected, test_statistics).nll(float(poi_test))

    def minimize_asimov_negative_loglikelihood(
        self, expected: Any = None, test_statistics: str = "qtilde", **kwargs: Any
    ) -> tuple[float, float]:
        """μ̂ and -ln L(μ̂) of the Asimov data: they come from μ = 0, where their likelihood is largest."""
        asimov = self._asimov(expected, test_statistics)
        mu_hat = asimov.mu_hat
        return mu_hat, asimov.nll(mu_hat)

    def _asimov(self, expected: Any, test_statistics: str) -> Likelihood:
        if test_statistics == "q0":
            raise NotImplementedError("Asimov data with a signal are not available")
        return self._find(expected).asimov()


class HistFactoryMethods(ProfiledMethods):
    """A full likelihood.

    Args:
        signal_yields: expected events at μ = 1 per bin in the order of the sorted channels, or lists by channel.
        workspace: parsed JSON of a pyhf workspace, background only.
        measurement: name or position of the measurement.
    """

    name = "protomodels.histfactory"

    def __init__(
        self, signal_yields: ArrayLike | Mapping[str, Sequence[float]], workspace: Mapping[str, Any], measurement: str | int = 0
    ) -> None:
        self.model = compile_workspace(workspace, settings=HistFactorySettings(measurement=measurement))
        if isinstance(signal_yields, Mapping):
            signal_yields = [signal_yields[channel][i] if channel in signal_yields else 0.0 for channel, i in self.model.bins]
        super().__init__(np.asarray(signal_yields, dtype=np.float64))

    def make_likelihood(self, data_kind: DataKind, counts: FloatArray | None) -> HistFactoryLikelihood:
        """Likelihood of the signal; `counts` are events per bin."""
        return HistFactoryLikelihood(self.model, self.signal_yields, data_kind, counts)


class CovarianceMethods(ProfiledMethods):
    """Poisson counts with a covariance of the background.

    Args:
        signal_yields, background_yields, data: events per bin.
        covariance_matrix: of the background [events²].
        third_moment: third central moments of the background [events³]; none for the first-order likelihood.
    """

    name = "protomodels.covariance"

    def __init__(
        self,
        signal_yields: ArrayLike,
        background_yields: ArrayLike,
        data: ArrayLike,
        covariance_matrix: ArrayLike,
        third_moment: ArrayLike | None = None,
    ) -> None:
        self.model = CovarianceModel(data, background_yields, covariance_matrix, third_moment)
        super().__init__(np.asarray(signal_yields, dtype=np.float64))

    def make_likelihood(self, data_kind: DataKind, counts: FloatArray | None) -> CovarianceLikelihood:
        """Likelihood of the signal; `counts` are events per bin."""
        return CovarianceLikelihood(self.model, self.signal_yields, data_kind, counts)


class AnalysisMethods(ProfiledMethods):
    """The statistical model of an analysis in a compiled store.

    Args:
        signal_yields: expected events at μ = 1 per data set, in the order of the store.
        analysis_id: e.g. CMS-SUS-19-006-agg.
        store: a compiled store, or its folder.

    Raises:
        ConfigError: the store has no such analysis, or the analysis no statistical model.
    """

    name = "protomodels.analysis"

    def __init__(self, signal_yields: ArrayLike, analysis_id: str, store: ResultsStore | str | Path) -> None:
        opened = store if isinstance(store, ResultsStore) else open_store(Path(store))
        models = [
            find_analysis_model(opened, index, Conventions.DEFAULT)
            for index, record in enumerate(opened.results)
            if record.analysis_id == analysis_id
        ]
        self._models = [model for model in models if model is not None]
        if not self._models:
            raise ConfigError(f"the store has no statistical model of {analysis_id!r}")
        super().__init__(np.asarray(signal_yields, dtype=np.float64))
        expected = self._models[0].num_regions
        if self.signal_yields.shape != (expected,):
            raise ConfigError(f"{analysis_id} needs {expected} signal yields, not {len(self.signal_yields)}")

    def make_likelihood(self, data_kind: DataKind, counts: FloatArray | None) -> AnalysisLikelihood:
        """Likelihood of the signal; other data are not available."""
        if counts is not None:
            raise NotImplementedError("the data of a published analysis cannot be replaced")
        return self._models[0].likelihood(self.signal_yields, data_kind)


_METHODS: dict[str, type[ProfiledMethods]] = {
    "HistFactoryBackend": HistFactoryMethods,
    "CovarianceBackend": CovarianceMethods,
    "AnalysisBackend": AnalysisMethods,
}


def __getattr__(name: str) -> Any:
    """Makes the classes that entry points name: the methods above on spey's base class."""
    methods = _METHODS.get(name)
    if methods is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    spey = load_spey()
    made = type(name, (methods, spey.BackendBase), {"__doc__": methods.__doc__, "__module__": __name__, "doi": [], "arXiv": []})
    globals()[name] = made
    return made
