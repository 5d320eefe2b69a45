"""Sources of surrogates: statistical models of a results store, and workspaces in files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from inference.analysis_models.canary import digest_published
from inference.analysis_models.histfactory import WorkspaceModel, place_workspace
from inference.analysis_models.placed import PlacedModel, UnusableModelError
from inference.analysis_models.protocol import AnalysisLikelihood, AnalysisModel
from inference.analysis_models.region_sets import RegionSetsModel
from inference.analysis_models.registry import find_analysis_model
from inference.analysis_models.workspace_regions import guess_type
from inference.likelihoods.learned import LearnedModel
from inference.likelihoods.protocol import Likelihood, LogRatio
from inference.settings import Conventions
from inference.surrogate.training import SurrogateError, SurrogateSource
from inference.types import DataKind, FloatArray, IntArray, Outcome

if TYPE_CHECKING:
    from database.results.records import ResultRecord
    from database.results.store import ResultsStore

_MAX_PATTERNS = 50_000


class FilledModel:
    """A statistical model seen from the regions that data sets fill; the others have no signal.

    Args:
        model: of all its regions.
        positions: regions that are filled, shape (num_regions,).
    """

    def __init__(self, model: AnalysisModel, positions: IntArray) -> None:
        self._model = model
        self._positions = positions

    @property
    def num_regions(self) -> int:
        """Number of filled regions."""
        return len(self._positions)

    def likelihood(self, yields: FloatArray, data_kind: DataKind = DataKind.OBSERVED) -> FilledLikelihood:
        """Likelihood of a signal, shape (num_regions,)."""
        signal = np.zeros(self._model.num_regions)
        signal[self._positions] = yields
        return FilledLikelihood(self._model.likelihood(signal, data_kind), self._positions)


class FilledLikelihood:
    """Likelihood of a signal, its slopes by the filled regions only.

    Args:
        inner: likelihood of all regions.
        positions: regions that are filled.
    """

    def __init__(self, inner: Likelihood, positions: IntArray) -> None:
        self._inner = inner
        self._positions = positions

    @property
    def outcome(self) -> Outcome:
        """As the model says."""
        return self._inner.outcome

    @property
    def is_concave(self) -> bool:
        """As the model says."""
        return self._inner.is_concave

    @property
    def mu_hat(self) -> float:
        """Best μ >= 0."""
        return self._inner.mu_hat

    @property
    def sigma_mu(self) -> float:
        """1/√(d²(-ln L)/dμ²) at μ̂."""
        return self._inner.sigma_mu

    def nll(self, mu: float) -> float:
        """-ln L(μ) with all constants of the model."""
        return self._inner.nll(mu)

    def log_ratio(self, mu: float) -> LogRatio:
        """ln L(μ)/L(0) and its slope."""
        return self._inner.log_ratio(mu)

    def asimov(self) -> FilledLikelihood:
        """The same signal with the expected data of the background-only fit."""
        if not isinstance(self._inner, AnalysisLikelihood):
            raise TypeError("Asimov data of Asimov data are not defined")
        return FilledLikelihood(self._inner.asimov(), self._positions)

    def signal_slopes(self, mu: float) -> FloatArray:
        """∂ ln L(μ)/∂s per filled region, shape (num_regions,)."""
        if not isinstance(self._inner, AnalysisLikelihood):
            return np.full(len(self._positions), np.nan)
        return self._inner.signal_slopes(mu)[self._positions]


def find_record(store: ResultsStore, name: str) -> ResultRecord:
    """The result with a statistical model that is meant by its folder or analysis id.

    Raises:
        SurrogateError: there is none, or several.
    """
    found = [record for record in store.results if name in (record.folder, record.analysis_id) and record.stat_model != "none"]
    if len(found) == 1:
        return found[0]
    if found:
        raise SurrogateError(f"{name} is the name of several results; name one of {', '.join(record.folder for record in found)}.")
    known = any(name in (record.folder, record.analysis_id) for record in store.results)
    raise SurrogateError(f"The result {name} has no statistical model." if known else f"There is no result {name} in {store.path.name}.")


def source_of_result(store: ResultsStore, record: ResultRecord, set_name: str | None = None) -> SurrogateSource:
    """The statistical model of a result, or of one of its sets of regions.

    Args:
        store: compiled results.
        record: the result.
        set_name: which set, for results with several.

    Raises:
        SurrogateError: it cannot be evaluated, is a network itself, or has several sets and none was named.
    """
    model = find_analysis_model(store, record.index, Conventions.DEFAULT)
    if model is None:
        raise SurrogateError(f"The statistical model of {record.analysis_id} cannot be evaluated.")
    columns: IntArray = np.arange(model.num_regions, dtype=np.int32)
    positions = columns
    if isinstance(model, RegionSetsModel):
        names = [entry.record.name for entry in model.sets]
        if set_name is None and len(names) > 1:
            raise SurrogateError(f"{record.analysis_id} has several sets of regions; name one of {', '.join(names)}.")
        if set_name is not None and set_name not in names:
            raise SurrogateError(f"{record.analysis_id} has no set of regions {set_name}; it has {', '.join(names)}.")
        chosen = model.sets[names.index(set_name) if set_name is not None else 0]
        placed = chosen.placed(0)
        if placed is None or isinstance(placed[1].model, LearnedModel):
            raise SurrogateError(f"The statistical model of {record.analysis_id} is a neural network already.")
        set_name, (_, (inner, columns)) = chosen.record.name, (placed[0], (placed[1].model, placed[1].columns))
        positions = np.flatnonzero(columns >= 0).astype(np.int32)
        if len(set(columns[positions].tolist())) != len(positions):
            raise SurrogateError(f"A data set of {record.analysis_id} fills several regions; no surrogate can be made of that.")
        columns = columns[positions]
        model = FilledModel(inner, positions)
    elif set_name is not None:
        raise SurrogateError(f"{record.analysis_id} has no sets of regions.")
    datasets = record.dataset_start + columns
    return SurrogateSource(
        model=model,
        names=tuple(f"{store.dataset_ids[dataset]}-0" for dataset in datasets.tolist()),
        background=np.array(store.expected_bg[datasets]),
        observed=np.array(store.observed_n[datasets]),
        patterns=published_patterns(store, datasets),
        identity={
            "analysis_id": record.analysis_id,
            "folder": record.folder,
            "set": set_name or "",
            "digest": digest_published(store, record.index),
            "results": store.text_version,
        },
    )


def published_patterns(store: ResultsStore, datasets: IntArray) -> FloatArray:
    """Efficiencies of the data sets at the grid points of their maps, one row per point and topology, shape (num_patterns, num_regions)."""
    groups: dict[tuple[str, int], dict[int, FloatArray]] = {}
    for region, dataset in enumerate(datasets.tolist()):
        for number in range(int(store.dataset_map_start[dataset]), int(store.dataset_map_stop[dataset])):
            groups.setdefault((store.map_txnames[number], int(store.map_grid[number])), {})[region] = store.map_values(number)
    rows = []
    for maps in groups.values():
        table = np.zeros((len(next(iter(maps.values()))), datasets.size))
        for region, values in maps.items():
            table[:, region] = values
        rows.append(table[(table > 0.0).any(axis=1)])
    patterns = np.concatenate(rows) if rows else np.zeros((0, datasets.size))
    return patterns[:: -(-len(patterns) // _MAX_PATTERNS)] if len(patterns) else patterns


def source_of_workspace(path: Path, channels: Sequence[str] | None = None) -> SurrogateSource:
    """The statistical model of a HistFactory workspace in a file.

    Args:
        path: JSON file, background only.
        channels: those in which a signal is expected; none: those whose names say that they are signal regions.

    Raises:
        SurrogateError: the file cannot be read, or has no such channel.
    """
    from database.results.records import RegionRecord

    try:
        content = path.read_bytes()
        spec = json.loads(content)
        sizes = {str(entry["name"]): len(entry["data"]) for entry in spec["observations"]}
    except (OSError, ValueError, KeyError, TypeError):
        raise SurrogateError(f"{path.name} is not a HistFactory workspace that can be read.") from None
    chosen = list(channels) if channels else [name for name in sizes if guess_type(name) == "SR"]
    missing = [name for name in chosen if name not in sizes]
    if missing or not chosen:
        raise SurrogateError(f"{path.name} has no channel {missing[0] if missing else 'that is a signal region by its name'}.")
    bins = [(name, number) for name in chosen for number in range(sizes[name])]
    regions = [RegionRecord(f"{name}[{number}]", f"{name}[{number}]") for name, number in bins]
    regions += [RegionRecord(None, name, "CR") for name in sizes if name not in chosen and guess_type(name) == "CR"]
    datasets = [*range(len(bins)), *[-1] * (len(regions) - len(bins))]
    try:
        placed: PlacedModel = place_workspace(spec, regions, datasets)
    except UnusableModelError as error:
        raise SurrogateError(f"{path.name} cannot be used: {error}.") from None
    model = placed.model
    if not isinstance(model, WorkspaceModel):
        raise TypeError("a workspace gives a workspace model")
    positions = np.flatnonzero(placed.columns >= 0).astype(np.int32)
    compiled = model.compiled
    return SurrogateSource(
        model=FilledModel(model, positions),
        names=tuple(f"{compiled.bins[k][0]}-{compiled.bins[k][1]}" for k in positions.tolist()),
        background=compiled.nominal_background[positions],
        observed=compiled.observed[positions],
        patterns=np.zeros((0, positions.size)),
        identity={"workspace": path.name, "set": "", "digest": hashlib.sha256(content).hexdigest()[:16]},
    )
