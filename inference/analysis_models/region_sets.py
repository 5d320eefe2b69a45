"""An analysis that publishes several sets of signal regions, each with statistical models of its own (format of release 3.2).

Sets are alternatives: their regions may overlap, so only one of them speaks for a signal, the one with the smallest limit on μ expected
before looking at the data (data := nominal background). Within a set the first model of the published list speaks that can be evaluated;
where a signal is outside the domain of a learned model, the next one does.

The choice (`sensitivity`) depends on the signal only, never on what was asked before, nor on the observed data; of sets with equal limits
the one published first speaks.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from database.results.records import ModelFileRecord, RegionSetRecord
from inference.analysis_models.histfactory import build_workspace, workspace_sets
from inference.analysis_models.learned import build_learned_model
from inference.analysis_models.placed import PlacedModel, UnusableModelError
from inference.analysis_models.protocol import AnalysisLikelihood
from inference.analysis_models.sensitivity import find_most_sensitive
from inference.likelihoods.covariance import CovarianceModel
from inference.likelihoods.protocol import Likelihood, LogRatio
from inference.limits.conventions import AsimovConvention, build_asimov, lowest_strength
from inference.settings import Conventions
from inference.toy_data import draw_toys
from inference.types import DataKind, FloatArray, IntArray, Outcome

if TYPE_CHECKING:
    from database.results.store import ResultsStore

log = logging.getLogger(__name__)


SetModelBuilder = Callable[["ResultsStore", int, RegionSetRecord, ModelFileRecord, Conventions], PlacedModel]
"""Makes one statistical model of a set; raises UnusableModelError."""


def _build_covariance(
    store: ResultsStore, result: int, region_set: RegionSetRecord, file: ModelFileRecord, conventions: Conventions
) -> PlacedModel:
    start = region_set.covariance_offset
    covariance = store.covariances[start : start + region_set.covariance_size**2]
    columns = np.array(region_set.rows, dtype=np.int32)
    rows = store.results[result].dataset_start + columns
    third = store.third_moment[rows]
    is_skewed = bool(np.isfinite(third).all() and (np.abs(third) > 1e-20).any())
    model = CovarianceModel(store.observed_n[rows], store.expected_bg[rows], covariance, third if is_skewed else None, conventions)
    return PlacedModel(model, columns)


BUILDERS: Mapping[str, SetModelBuilder] = MappingProxyType(
    {"sl": _build_covariance, "pyhf": build_workspace, "full_pyhf": build_workspace, "onnx": build_learned_model}
)
"""How the kinds of published models are made."""


class RegionSet:
    """One set of regions.

    Args:
        record: what was published.
        num_datasets: number of data sets in the signal vectors of the analysis.
        build: makes one of its models, or raises UnusableModelError.

    Attributes:
        record: what was published.
        problems: why models of its list are passed over, one sentence each.
    """

    def __init__(self, record: RegionSetRecord, num_datasets: int, build: Callable[[ModelFileRecord], PlacedModel]) -> None:
        self.record = record
        self.problems: list[str] = []
        self._num_datasets = num_datasets
        self._build = build
        self._waiting = [model for model in record.models if not model.is_missing]
        self._placed: list[tuple[ModelFileRecord, PlacedModel]] = []

    def placed(self, index: int) -> tuple[ModelFileRecord, PlacedModel] | None:
        """Its usable model number `index` in the order of preference; made when first asked for."""
        while len(self._placed) <= index and self._waiting:
            file = self._waiting.pop(0)
            try:
                self._placed.append((file, self._build(file)))
            except UnusableModelError as error:
                self.problems.append(f"{file.file} of the region set {self.record.name!r} is not evaluated: {error}")
        return self._placed[index] if index < len(self._placed) else None

    @property
    def is_usable(self) -> bool:
        """Whether any of its models can be evaluated."""
        return self.placed(0) is not None

    @property
    def file(self) -> ModelFileRecord | None:
        """The model that speaks for it."""
        first = self.placed(0)
        return None if first is None else first[0]

    def has_signal(self, yields: FloatArray) -> bool:
        """Whether any of its regions sees the signal."""
        first = self.placed(0)
        return first is not None and bool(yields[first[1].columns[first[1].columns >= 0]].any())

    def likelihood(self, yields: FloatArray, data_kind: DataKind) -> SetLikelihood | None:
        """Likelihood of a signal in the first usable model, or in the next where the signal is outside of its domain."""
        found, position = None, 0
        while (placed := self.placed(position)) is not None:
            file, (model, columns) = placed[0], (placed[1].model, placed[1].columns)
            is_filled = columns >= 0
            inner = model.likelihood(np.where(is_filled, yields[np.maximum(columns, 0)], 0.0), data_kind)
            found = SetLikelihood(inner, self.record.name, file, columns, self._num_datasets)
            if inner.outcome is not Outcome.OUTSIDE_DOMAIN:
                return found
            position += 1
        return found


class SetLikelihood:
    """Likelihood of a signal in the chosen set, seen from the whole analysis.

    Args:
        inner: likelihood in the model of the set.
        set_name: the set.
        file: the published model.
        columns: data set of each region of `inner`, −1 without one.
        num_datasets: number of data sets in the signal vectors of the analysis.
    """

    def __init__(self, inner: AnalysisLikelihood, set_name: str, file: ModelFileRecord, columns: IntArray, num_datasets: int) -> None:
        self.inner = inner
        self.set_name = set_name
        self.file = file
        self.columns = columns
        self._num_datasets = num_datasets

    @property
    def outcome(self) -> Outcome:
        """As the model of the set says."""
        return self.inner.outcome

    @property
    def is_concave(self) -> bool:
        """As the model of the set says."""
        return self.inner.is_concave

    @property
    def mu_hat(self) -> float:
        """Best μ >= 0."""
        return self.inner.mu_hat

    @property
    def sigma_mu(self) -> float:
        """1/√(d²(-ln L)/dμ²) at μ̂."""
        return self.inner.sigma_mu

    def nll(self, mu: float) -> float:
        """-ln L(μ) with all constants of the model."""
        return self.inner.nll(mu)

    def log_ratio(self, mu: float) -> LogRatio:
        """ln L(μ)/L(0) and its slope."""
        return self.inner.log_ratio(mu)

    def asimov(self) -> Likelihood:
        """The same signal in the same model with the expected data of the background-only fit."""
        return self.inner.asimov()

    def asimov_with(self, is_moved: bool) -> Likelihood:
        """The same with auxiliary data moved to the fit, or centred, where the model of the set knows both."""
        return build_asimov(self.inner, AsimovConvention.MOVED if is_moved else AsimovConvention.CENTRED)

    @property
    def mu_min(self) -> float:
        """Smallest signal strength that the model of the set is defined for."""
        return lowest_strength(self.inner)

    def draw_toys(self, mu: float, num_toys: int, rng: np.random.Generator) -> Iterator[Likelihood]:
        """Pseudo-experiments of the model of the set."""
        return draw_toys(self.inner, mu, num_toys, rng)

    def signal_slopes(self, mu: float) -> FloatArray:
        """∂ ln L(μ)/∂s of every data set of the analysis, 0 outside of the chosen set, shape (num_datasets,)."""
        slopes = np.zeros(self._num_datasets)
        is_filled = self.columns >= 0
        np.add.at(slopes, self.columns[is_filled], self.inner.signal_slopes(mu)[is_filled])
        return slopes


class RegionSetsModel:
    """Statistical model of an analysis with several sets of regions.

    Args:
        sets: the sets of which a model can be evaluated, in the order of publication.
        num_datasets: number of data sets in the signal vectors (`ResultRecord.num_combined`).

    Attributes:
        sets: the sets.
    """

    def __init__(self, sets: Sequence[RegionSet], num_datasets: int) -> None:
        self.sets = tuple(sets)
        self._num_datasets = num_datasets
        self._last: tuple[bytes, int] | None = None

    @property
    def num_regions(self) -> int:
        """Number of data sets in the signal vectors."""
        return self._num_datasets

    def choose(self, yields: FloatArray) -> int:
        """Position of the set with the smallest expected limit for a signal.

        Args:
            yields: expected signal events at μ = 1 per data set, shape (num_regions,).
        """
        key = yields.tobytes()
        if self._last is None or self._last[0] != key:
            self._last = key, self._choose(yields)
        return self._last[1]

    def _choose(self, yields: FloatArray) -> int:
        seeing = [k for k, region_set in enumerate(self.sets) if region_set.has_signal(yields)]
        if len(seeing) < 2:
            return seeing[0] if seeing else 0
        candidates = [(k, found.inner) for k in seeing if (found := self.sets[k].likelihood(yields, DataKind.APRIORI)) is not None]
        return candidates[find_most_sensitive([inner for _, inner in candidates])][0]

    def likelihood(self, yields: FloatArray, data_kind: DataKind = DataKind.OBSERVED) -> SetLikelihood:
        """Likelihood of a signal in the set that is most sensitive to it.

        Args:
            yields: expected signal events at μ = 1 per data set of the analysis, shape (num_regions,).
            data_kind: observed, a priori, or a posteriori.
        """
        yields = np.ascontiguousarray(yields, dtype=np.float64)
        found = self.sets[self.choose(yields)].likelihood(yields, data_kind)
        if found is None:
            raise LookupError("a set without models was chosen")
        return found


def find_region_sets(store: ResultsStore, result: int, conventions: Conventions) -> list[RegionSet]:
    """All published sets of a result, usable or not, in the order of publication."""
    record = store.results[result]

    def builder(region_set: RegionSetRecord) -> Callable[[ModelFileRecord], PlacedModel]:
        def build(file: ModelFileRecord) -> PlacedModel:
            make = BUILDERS.get(file.kind)
            if make is None:
                raise UnusableModelError(f"models of the kind {file.kind} are not known")
            return make(store, result, region_set, file, conventions)

        return build

    entries = record.stat_payload.region_sets or workspace_sets(store, result, conventions)
    return [RegionSet(entry, record.num_combined, builder(entry)) for entry in entries]


def build_region_sets(store: ResultsStore, result: int, conventions: Conventions) -> RegionSetsModel | None:
    """The statistical model of a result with region sets; None if no set has a model that can be evaluated."""
    sets = find_region_sets(store, result, conventions)
    usable = [region_set for region_set in sets if region_set.is_usable]
    for region_set in sets:
        for problem in region_set.problems:
            log.info("analysis=%s %s", store.results[result].analysis_id, problem)
    return RegionSetsModel(usable, store.results[result].num_combined) if usable else None
