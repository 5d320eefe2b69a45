"""From the text database to the compiled store: parse and triangulate in parallel, assemble, write.

Every result is read and triangulated in a worker process with pinned linear algebra (see `worker`). Identical grids
are stored once; every map is a column of its grid.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from database.errors import StoreError
from database.results.archive import unpacked_database
from database.results.compiler import CompiledResult, compile_result
from database.results.maps import MAX_FULL, FloatArray, Grid
from database.results.records import StatPayload
from database.results.smodels_text import find_results, read_version
from database.results.store import STORE_FORMAT, ResultsStore, cache_path, check_target, is_store, open_store, write_store
from database.results.worker import compile_in_workers, linear_algebra_kernel

T = TypeVar("T")

Progress = Callable[[int, int, str], None]
"""Called with (results done, results in all, folder just done)."""


def import_text_database(
    path: str | os.PathLike[str],
    target: str | os.PathLike[str],
    num_workers: int = 2,
    progress: Progress | None = None,
    *,
    is_existing_kept: bool = False,
) -> ResultsStore:
    """Compiles a text database into a store and opens it.

    Args:
        path: unpacked folder, or a .tar.xz, .tar.gz, .tar.bz2, .tar or .zip archive of it.
        target: directory of the store; an older store there is replaced at the very end.
        num_workers: processes that parse and triangulate; 0 works in this process, with whatever linear algebra
            it has loaded.
        progress: called after each result.
        is_existing_kept: whether a store that appeared at the target meanwhile wins.

    Raises:
        ResultsFormatError: a file cannot be read; one sentence with file and line.
        StoreError: the store cannot be written.
    """
    source = Path(path)
    destination = Path(target)
    check_target(destination)
    with unpacked_database(source) as root:
        version = read_version(root)
        folders = find_results(root)
        compiled = _compile_all(folders, root, num_workers, progress)
        arrays, meta, files = _assemble(compiled, root)
        kernel = linear_algebra_kernel() if num_workers else "default"
        meta = {**meta, "text_version": version, "source": source.name, "kernel": kernel}
        write_store(destination, arrays, meta, files, is_existing_kept)
    return open_store(destination)


def _compile_all(folders: Sequence[Path], root: Path, num_workers: int, progress: Progress | None) -> list[CompiledResult]:
    sizes = {folder: sum(file.stat().st_size for file in folder.rglob("*.txt")) for folder in folders}
    results: dict[Path, CompiledResult] = {}

    def done(folder: Path, result: CompiledResult) -> None:
        results[folder] = result
        if progress is not None:
            progress(len(results), len(folders), result.record.folder)

    if num_workers == 0:
        for folder in folders:
            done(folder, compile_result(folder, root))
    else:
        for folder, result in compile_in_workers(sorted(folders, key=lambda folder: -sizes[folder]), root, num_workers):
            done(folder, result)
    return [results[folder] for folder in folders]


# -------------------------------------------------------------------------------------------------------- assembly


class _Index(Generic[T]):
    """Distinct values in order of first appearance."""

    def __init__(self) -> None:
        self.values: list[T] = []
        self._positions: dict[T, int] = {}

    def add(self, value: T) -> int:
        position = self._positions.setdefault(value, len(self.values))
        if position == len(self.values):
            self.values.append(value)
        return position


def _assemble(compiled: Sequence[CompiledResult], root: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any], dict[str, Path]]:
    """Arrays, meta data and files of the store."""
    grids: dict[str, Grid] = {}
    columns: dict[str, list[FloatArray]] = {}
    grid_index: _Index[str] = _Index()
    templates: _Index[str] = _Index()
    data_maps: _Index[tuple[tuple[int, str], ...]] = _Index()
    constraints: _Index[str] = _Index()
    conditions: _Index[tuple[str, ...]] = _Index()
    maps: dict[str, list[int]] = {name: [] for name in ("dataset", "grid", "column", "grid_exp", "column_exp", "data_map", "flags")}
    atoms: list[tuple[int, int, float]] = []
    txnames: list[str] = []
    map_constraints: list[int] = []
    map_conditions: list[int] = []
    dataset_result: list[int] = []
    dataset_ids: list[str | None] = []
    map_counts: list[int] = []
    covariances: list[FloatArray] = []
    records: list[dict[str, Any]] = []
    files: dict[str, Path] = {}

    def add_column(digest: str, values: FloatArray) -> tuple[int, int]:
        if not digest:
            return -1, -1
        columns.setdefault(digest, []).append(values)
        return grid_index.add(digest), len(columns[digest]) - 1

    for index, result in enumerate(compiled):
        grids.update(result.grids)
        first = len(dataset_ids)
        dataset_ids.extend(result.dataset_ids)
        dataset_result.extend([index] * len(result.dataset_ids))
        map_counts.extend(
            np.bincount([m.dataset for m in result.maps], minlength=len(result.dataset_ids)).tolist() if result.dataset_ids else []
        )
        for compiled_map in result.maps:
            map_position = len(txnames)
            grid, column = add_column(compiled_map.digest, compiled_map.values)
            grid_exp, column_exp = add_column(compiled_map.expected_digest, compiled_map.expected_values)
            entries = (
                first + compiled_map.dataset,
                grid,
                column,
                grid_exp,
                column_exp,
                data_maps.add(compiled_map.data_map),
                int(compiled_map.flags),
            )
            for name, entry in zip(maps, entries, strict=True):
                maps[name].append(entry)
            atoms.extend((map_position, templates.add(text), coefficient) for text, coefficient in compiled_map.atoms)
            txnames.append(compiled_map.txname)
            map_constraints.append(constraints.add(compiled_map.constraint))
            map_conditions.append(conditions.add(compiled_map.conditions))
        payload = _shifted(result.record.stat_payload, sum(c.size for c in covariances))
        covariances.extend(result.covariances)
        published = [model.path for region_set in payload.region_sets for model in region_set.models if model.path]
        for path in (*(workspace.path for workspace in (*payload.workspaces, *payload.full_workspaces)), *published):
            files[path] = root / Path(path).relative_to("workspaces")
        record = replace(result.record, index=index, dataset_start=first, dataset_stop=len(dataset_ids), stat_payload=payload)
        records.append(record.to_json())
    if (root / "database.bib").is_file():
        files["database.bib"] = root / "database.bib"

    stops = np.cumsum(np.array(map_counts, dtype=np.int32), dtype=np.int32)
    numbers = np.concatenate([result.dataset_numbers for result in compiled])
    names = ("observed_n", "expected_bg", "bg_error", "third_moment", "ul_obs_fb", "ul_exp_fb")
    arrays: dict[str, NDArray[Any]] = {
        "dataset_result": np.array(dataset_result, np.int32),
        "dataset_map_start": stops - np.array(map_counts, np.int32),
        "dataset_map_stop": stops,
        **{name: np.ascontiguousarray(numbers[:, column]) for column, name in enumerate(names)},
        **{f"map_{name}": np.array(entries, np.int32) for name, entries in maps.items()},
        "atom_map": np.array([atom[0] for atom in atoms], np.int32),
        "atom_template": np.array([atom[1] for atom in atoms], np.int32),
        "atom_coefficient": np.array([atom[2] for atom in atoms], np.float64),
        "covariances": np.concatenate([c.ravel() for c in covariances]) if covariances else np.empty(0),
        **_grid_arrays([grids[digest] for digest in grid_index.values], [columns[digest] for digest in grid_index.values]),
    }
    meta: dict[str, Any] = {
        "results": records,
        "dataset_ids": dataset_ids,
        "map_txnames": txnames,
        "constraints": constraints.values,
        "map_constraint_indices": map_constraints,
        "conditions": conditions.values,
        "map_condition_indices": map_conditions,
        "templates": templates.values,
        "data_maps": data_maps.values,
    }
    meta["content_hash"] = _content_hash(arrays, meta, grid_index.values, files)
    return arrays, meta, files


def _shifted(payload: StatPayload, start: int) -> StatPayload:
    """The payload with offsets into the covariances of all results."""
    sets = tuple(
        replace(entry, covariance_offset=entry.covariance_offset + start) if entry.covariance_size else entry
        for entry in payload.region_sets
    )
    offset = payload.covariance_offset + start if payload.covariance_size else payload.covariance_offset
    return replace(payload, covariance_offset=offset, region_sets=sets)


def _grid_arrays(grids: Sequence[Grid], columns: Sequence[list[FloatArray]]) -> dict[str, NDArray[Any]]:
    delta = np.zeros((len(grids), MAX_FULL))
    rotation = np.zeros((len(grids), MAX_FULL, MAX_FULL))
    for index, grid in enumerate(grids):
        full = len(grid.delta)
        delta[index, :full] = grid.delta
        rotation[index, :full, :full] = grid.rotation
    num_points = [len(grid.points) for grid in grids]
    num_simplices = [len(grid.simplices) for grid in grids]
    num_columns = [len(entries) for entries in columns]
    # half the memory of the largest array where vertex numbers fit, as they do in every published grid
    vertex_type = np.uint16 if max(num_points, default=0) <= np.iinfo(np.uint16).max else np.int32
    return {
        "grid_full": np.array([len(grid.delta) for grid in grids], np.int32),
        "grid_dim": np.array([grid.dim for grid in grids], np.int32),
        "grid_delta": delta,
        "grid_rotation": rotation,
        "grid_num_points": np.array(num_points, np.int32),
        "grid_point_offset": _offsets(num_points),
        "grid_num_simplices": np.array(num_simplices, np.int32),
        "grid_simplex_offset": _offsets(num_simplices),
        "grid_value_offset": _offsets([n * c for n, c in zip(num_points, num_columns, strict=True)], np.int64),
        "grid_num_columns": np.array(num_columns, np.int32),
        "points": _stack((grid.points for grid in grids), (0, 3), np.float64),
        "simplices": _stack((np.maximum(grid.simplices, 0) for grid in grids), (0, 4), vertex_type),
        "neighbors": _stack((grid.neighbors for grid in grids), (0, 4), np.int32),
        "values": _stack((np.column_stack(entries).ravel() for entries in columns), (0,), np.float64),
        "bucket_offset": _offsets([len(grid.bucket_start) for grid in grids]),
        "bucket_shape": np.array([grid.bucket_shape for grid in grids], np.int32).reshape(-1, 3),
        "bucket_low": np.array([grid.bucket_low for grid in grids], np.float64).reshape(-1, 3),
        "bucket_inv_width": np.array([grid.bucket_inv_width for grid in grids], np.float64).reshape(-1, 3),
        "bucket_start": _stack((grid.bucket_start for grid in grids), (0,), np.int32),
    }


def _offsets(counts: Sequence[int], dtype: type[np.integer[Any]] = np.int32) -> NDArray[Any]:
    return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])[: len(counts)].astype(dtype)


def _stack(parts: Iterable[NDArray[Any]], empty_shape: tuple[int, ...], dtype: type[np.generic]) -> NDArray[Any]:
    return np.concatenate([np.empty(empty_shape, dtype), *parts]).astype(dtype, copy=False)


_PUBLISHED_ARRAYS: Final = (
    "observed_n", "expected_bg", "bg_error", "third_moment", "ul_obs_fb", "ul_exp_fb", "dataset_result", "map_dataset", "map_grid",
    "map_column", "map_grid_exp", "map_column_exp", "map_data_map", "atom_map", "atom_template", "atom_coefficient", "values",
    "covariances",
)  # fmt: skip
"""Arrays that hold what was published; projections and triangulations follow from them up to the last bits."""


def _content_hash(arrays: dict[str, NDArray[Any]], meta: dict[str, Any], digests: list[str], files: dict[str, Path]) -> str:
    digest = hashlib.sha256(f"results store {STORE_FORMAT}".encode())
    digest.update(json.dumps(meta, sort_keys=True, ensure_ascii=True).encode())
    digest.update("".join(digests).encode())
    for name in _PUBLISHED_ARRAYS:
        array = arrays[name]
        digest.update(np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).tobytes())
    for relative, source in sorted(files.items()):
        digest.update(relative.encode() + hashlib.sha256(source.read_bytes()).digest())
    return digest.hexdigest()


# -------------------------------------------------------------------------------------------------------- embedded


EMBEDDED_TEXT: Final = Path(__file__).parent / "embedded" / "text"


def open_embedded_store() -> ResultsStore:
    """Returns the store of the embedded excerpt, compiled into the cache on first use.

    Raises:
        StoreError: the excerpt is not installed, or the cache cannot be written.
    """
    if not (EMBEDDED_TEXT / "version").is_file():
        raise StoreError("The embedded results are not part of this installation.")
    digest = hashlib.sha256(f"format {STORE_FORMAT}".encode())
    for file in sorted(file for file in EMBEDDED_TEXT.rglob("*") if file.is_file()):
        digest.update(file.relative_to(EMBEDDED_TEXT).as_posix().encode() + hashlib.sha256(file.read_bytes()).digest())
    target = cache_path() / "results" / f"embedded-{digest.hexdigest()[:16]}"
    if is_store(target):
        try:
            return open_store(target)
        except StoreError:
            return import_text_database(EMBEDDED_TEXT, target, 1)
    return import_text_database(EMBEDDED_TEXT, target, 1, is_existing_kept=True)
