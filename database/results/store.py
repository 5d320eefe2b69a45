"""The compiled results store: what all workers of a node share through the page cache.

A store is a directory with `meta.json` and one `.npy` file per array; opening it maps the arrays into memory without
reading them. It is written beside its target and renamed, so that a store is complete or not there at all.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from database.errors import StoreError
from database.results.constraints import Template, parse_graph
from database.results.records import ResultRecord

STORE_FORMAT: Final = 2
"""Version of the layout; other versions are refused with a hint how to rebuild."""
DEFAULT_TEXT_VERSION: Final = "3.0.0"
META_FILE: Final = "meta.json"
EMBEDDED: Final = "embedded"
"""Name of the packaged excerpt, where a store is asked for."""
DEFAULT_STORE: Final = "default"
"""Name of the store last imported."""

T = TypeVar("T")

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class StoreArrays:
    """Arrays of a store (struct of arrays; D data sets, M maps, A atoms, G grids; float64 and int32).

    Attributes:
        dataset_result: result of each data set, shape (D,).
        dataset_map_start: first map of each data set, shape (D,).
        dataset_map_stop: one past its last map, shape (D,).
        observed_n: observed events, shape (D,); nan for limit results, as are the next five.
        expected_bg: expected background events, shape (D,).
        bg_error: its uncertainty [events], shape (D,).
        third_moment: third moment of the background [events³], shape (D,); nan where not published.
        ul_obs_fb: observed 95 % CL limit on σ·ε [fb], shape (D,).
        ul_exp_fb: expected limit [fb], shape (D,).
        map_dataset: data set of each map, shape (M,).
        map_grid: grid of its values, shape (M,).
        map_column: column of its values in that grid, shape (M,).
        map_grid_exp: grid of the expected limits, −1 without, shape (M,).
        map_column_exp: their column, −1 without, shape (M,).
        map_data_map: index into `data_maps`, shape (M,).
        map_flags: `MapFlag` bits, shape (M,).
        atom_map: map of each atom, sorted, shape (A,).
        atom_template: index into `templates`, shape (A,).
        atom_coefficient: factor of its cross sections, shape (A,).
        grid_full: coordinates per point, shape (G,).
        grid_dim: dimensions that the points span, shape (G,).
        grid_delta: centre δ [GeV; ln for widths], shape (G, 6), padded with 0.
        grid_rotation: V of p = (x − δ)·V, shape (G, 6, 6), padded with 0.
        grid_num_points: points per grid, shape (G,).
        grid_point_offset: first row in `points`, shape (G,).
        grid_num_simplices: simplices per grid, shape (G,).
        grid_simplex_offset: first row in `simplices` and `neighbors`, shape (G,).
        grid_value_offset: first entry in `values`, shape (G,), int64.
        grid_num_columns: maps that share the grid, shape (G,).
        points: projected points, shape (P, 3), padded with 0.
        simplices: local vertex numbers, shape (S, 4), padded with 0; uint16 where they fit.
        neighbors: local simplex opposite each vertex, −1 at the hull, shape (S, 4).
        values: value of point p, column c at grid_value_offset + p·grid_num_columns + c; fb or efficiency.
        bucket_offset: first entry in `bucket_start`, shape (G,).
        bucket_shape: cells per dimension, shape (G, 3).
        bucket_low: lower corner, shape (G, 3).
        bucket_inv_width: cells per unit length, shape (G, 3).
        bucket_start: local simplex nearest to the centre of each cell, first dimension slowest; −1 without simplices.
        covariances: covariance matrices [events²] one after the other.
    """

    dataset_result: IntArray
    dataset_map_start: IntArray
    dataset_map_stop: IntArray
    observed_n: FloatArray
    expected_bg: FloatArray
    bg_error: FloatArray
    third_moment: FloatArray
    ul_obs_fb: FloatArray
    ul_exp_fb: FloatArray
    map_dataset: IntArray
    map_grid: IntArray
    map_column: IntArray
    map_grid_exp: IntArray
    map_column_exp: IntArray
    map_data_map: IntArray
    map_flags: IntArray
    atom_map: IntArray
    atom_template: IntArray
    atom_coefficient: FloatArray
    grid_full: IntArray
    grid_dim: IntArray
    grid_delta: FloatArray
    grid_rotation: FloatArray
    grid_num_points: IntArray
    grid_point_offset: IntArray
    grid_num_simplices: IntArray
    grid_simplex_offset: IntArray
    grid_value_offset: NDArray[np.int64]
    grid_num_columns: IntArray
    points: FloatArray
    simplices: NDArray[np.uint16] | IntArray
    neighbors: IntArray
    values: FloatArray
    bucket_offset: IntArray
    bucket_shape: IntArray
    bucket_low: FloatArray
    bucket_inv_width: FloatArray
    bucket_start: IntArray
    covariances: FloatArray


ARRAY_NAMES: Final = tuple(field.name for field in fields(StoreArrays))


@dataclass(frozen=True, eq=False)
class ResultsStore(StoreArrays):
    """An open store. Pickling it carries only its path, so that processes share one copy.

    Attributes:
        path: its directory.
        results: the published results.
        dataset_ids: name of each signal region, None for limit results.
        map_txnames: txname of each map.
        map_constraints: constraint of each map, as published.
        map_conditions: conditions of each map, as published.
        templates: distinct topologies, in canonical graph notation.
        data_maps: distinct coordinate assignments, (node number, "mass" | "totalwidth") per coordinate.
        content_hash: sha256 of the published content: equal texts, equal hashes, on every machine.
        text_version: release of the text database.
        source: what it was made from.
        kernel: linear-algebra kernels that its triangulations were made with, see `worker`.
    """

    path: Path
    results: tuple[ResultRecord, ...]
    dataset_ids: tuple[str | None, ...]
    map_txnames: tuple[str, ...]
    map_constraints: tuple[str, ...]
    map_conditions: tuple[tuple[str, ...], ...]
    templates: tuple[str, ...]
    data_maps: tuple[tuple[tuple[int, str], ...], ...]
    content_hash: str
    text_version: str
    source: str
    kernel: str

    def __reduce__(self) -> tuple[Any, ...]:
        return open_store, (str(self.path),)

    @property
    def is_approximate(self) -> bool:
        """Whether any result is a fit made for demonstration and tests."""
        return any(record.is_approximate for record in self.results)

    @cached_property
    def result_analysis(self) -> IntArray:
        """Number of each result's analysis: results of one analysis id share it; shape (num_results,)."""
        numbers: dict[str, int] = {}
        return np.array([numbers.setdefault(record.analysis_id, len(numbers)) for record in self.results], dtype=np.int32)

    @cached_property
    def template_trees(self) -> tuple[Template, ...]:
        """The templates as trees."""
        return tuple(parse_graph(text) for text in self.templates)

    def covariance(self, result: int) -> FloatArray:
        """Returns the background covariance [events²] of a result, rows in the order of its data sets.

        Raises:
            StoreError: the result has none.
        """
        payload = self.results[result].stat_payload
        if payload.covariance_offset < 0:
            raise StoreError(f"{self.results[result].folder} has no covariance.")
        stop = payload.covariance_offset + payload.covariance_size**2
        return self.covariances[payload.covariance_offset : stop].reshape(payload.covariance_size, -1)

    def map_values(self, map_index: int, is_expected: bool = False) -> FloatArray:
        """Returns the values [fb or efficiency] of a map at the points of its grid; empty if not published."""
        grid = int((self.map_grid_exp if is_expected else self.map_grid)[map_index])
        if grid < 0:
            return np.empty(0)
        column = int((self.map_column_exp if is_expected else self.map_column)[map_index])
        start, num_columns = int(self.grid_value_offset[grid]), int(self.grid_num_columns[grid])
        return self.values[start + column : start + int(self.grid_num_points[grid]) * num_columns : num_columns]

    def grid_points(self, grid: int) -> FloatArray:
        """Returns a grid's points in masses [GeV] and R(Γ), shape (num_points, full), from the projected ones."""
        start, full = int(self.grid_point_offset[grid]), int(self.grid_full[grid])
        dim = int(self.grid_dim[grid])
        projected = self.points[start : start + int(self.grid_num_points[grid]), :dim]
        points: FloatArray = projected @ self.grid_rotation[grid, :full, :dim].T + self.grid_delta[grid, :full]
        return points


# ------------------------------------------------------------------------------------------------------------ open


def open_store(path: str | os.PathLike[str]) -> ResultsStore:
    """Returns the store at `path`, its arrays mapped into memory.

    Raises:
        StoreError: no store there, another format version, or a damaged one; says how to rebuild.
    """
    folder = Path(path).resolve()
    rebuild = "rebuild it with 'protomodels results import PATH'"
    try:
        meta = json.loads((folder / META_FILE).read_bytes())
    except FileNotFoundError:
        raise StoreError(f"There is no results store at {folder}; make one with 'protomodels results import PATH'.") from None
    except (OSError, ValueError):
        raise StoreError(f"The results store at {folder} is damaged; {rebuild}.") from None
    if not isinstance(meta, dict) or meta.get("format") != STORE_FORMAT:
        version = meta.get("format") if isinstance(meta, dict) else None
        raise StoreError(f"The results store at {folder} has format {version}, this version reads format {STORE_FORMAT}; {rebuild}.")
    try:
        arrays = {name: _map_array(folder / f"{name}.npy", meta["array_sizes"][name]) for name in ARRAY_NAMES}
        return ResultsStore(
            **arrays,
            path=folder,
            results=tuple(ResultRecord.from_json(record) for record in meta["results"]),
            dataset_ids=tuple(meta["dataset_ids"]),
            map_txnames=tuple(meta["map_txnames"]),
            map_constraints=_spread(meta["constraints"], meta["map_constraint_indices"]),
            map_conditions=_spread([tuple(entry) for entry in meta["conditions"]], meta["map_condition_indices"]),
            templates=tuple(meta["templates"]),
            data_maps=tuple(tuple((number, quantity) for number, quantity in entry) for entry in meta["data_maps"]),
            content_hash=meta["content_hash"],
            text_version=meta["text_version"],
            source=meta["source"],
            kernel=meta["kernel"],
        )
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        raise StoreError(f"The results store at {folder} is damaged; {rebuild}.") from None


def _map_array(path: Path, size: int) -> Any:
    if path.stat().st_size != size:
        raise ValueError(f"{path.name} has the wrong size")
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    return array.view(np.ndarray)


def _spread(distinct: Sequence[T], indices: Sequence[int]) -> tuple[T, ...]:
    return tuple(distinct[index] for index in indices)


# ----------------------------------------------------------------------------------------------------------- write


def check_target(target: Path) -> None:
    """Checks that a store can be written, before anything is computed for it.

    Raises:
        StoreError: the target is something else, or its folder cannot be written to.
    """
    shutil.rmtree(_make_building_place(target), ignore_errors=True)


def _make_building_place(target: Path) -> Path:
    if target.exists() and not is_store(target) and not (target.is_dir() and not any(target.iterdir())):
        raise StoreError(f"{target} exists and is not a results store; choose another place or remove it.")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".partial", dir=target.parent))
    except OSError as error:
        raise StoreError(f"Cannot write a results store at {target}: {error.strerror}.") from None


def write_store(
    target: Path, arrays: Mapping[str, NDArray[Any]], meta: Mapping[str, Any], files: Mapping[str, Path], is_kept: bool = False
) -> None:
    """Writes a store: complete at `target`, or not at all.

    Args:
        target: directory to create; a store that is there is replaced.
        arrays: one entry per name of `ARRAY_NAMES`.
        meta: rest of `meta.json`.
        files: files to copy, by their path in the store.
        is_kept: whether a store that is there in the end is kept instead (someone else was faster).

    Raises:
        StoreError: the target is something else, or cannot be written.
    """
    building = _make_building_place(target)
    try:
        sizes: dict[str, int] = {}
        for name in ARRAY_NAMES:
            np.save(building / f"{name}.npy", arrays[name], allow_pickle=False)
            sizes[name] = (building / f"{name}.npy").stat().st_size
        for relative, source in files.items():
            (building / relative).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, building / relative)
        document = {"format": STORE_FORMAT, **meta, "array_sizes": sizes}
        (building / META_FILE).write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
        building.chmod(0o755)
        _put_in_place(building, target, is_kept)
    except OSError as error:
        raise StoreError(f"Cannot write a results store at {target}: {error.strerror or error}.") from None
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _put_in_place(building: Path, target: Path, is_kept: bool) -> None:
    if is_kept and is_store(target):
        return
    old: Path | None = None
    if target.exists():
        old = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".old", dir=target.parent))
        target.rename(old)  # an empty directory may be renamed over
    try:
        building.rename(target)
    except OSError:
        if old is not None:
            old.rename(target)
            old = None
        if not (is_kept and is_store(target)):
            raise
    finally:
        if old is not None:
            shutil.rmtree(old, ignore_errors=True)


def is_store(path: Path) -> bool:
    """Whether a directory holds a store, of whatever version."""
    return (path / META_FILE).is_file()


# ---------------------------------------------------------------------------------------------------------- places


def cache_path() -> Path:
    """Returns the project's cache directory: $PROTOMODELS_CACHE, else the user's cache."""
    if configured := os.environ.get("PROTOMODELS_CACHE"):
        return Path(configured).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "protomodels"


def default_store_path(version: str = DEFAULT_TEXT_VERSION) -> Path:
    """Returns where the store of the full database lives: $PROTOMODELS_STORE, else in the cache."""
    if configured := os.environ.get("PROTOMODELS_STORE"):
        return Path(configured).expanduser()
    return cache_path() / "results" / version
