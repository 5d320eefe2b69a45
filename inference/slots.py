"""Published maps ordered for look-ups: by diagram and axes (a *slot*), then by grid.

All maps of a slot need the same masses of a topology, all maps of a grid the same simplex.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from database.results.store import ResultsStore
from inference.matching import DataMap
from inference.types import IntArray


class Slots(NamedTuple):
    """Slot → grids → (column, atom) entries, in compressed sparse rows.

    Attributes:
        slots: (template number, data map) of each slot.
        grid_start: first block of each slot, shape (num_slots + 1,).
        grid: grid of each block.
        entry_start: first entry of each block, shape (num_blocks + 1,).
        column: column of each entry in its grid.
        atom: map atom that the entry belongs to.
    """

    slots: tuple[tuple[int, DataMap], ...]
    grid_start: IntArray
    grid: IntArray
    entry_start: IntArray
    column: IntArray
    atom: IntArray

    def num_entries(self, slot: int) -> int:
        """Number of map atoms a look-up in the slot can hit."""
        return int(self.entry_start[self.grid_start[slot + 1]] - self.entry_start[self.grid_start[slot]])


def build_slots(store: ResultsStore) -> Slots:
    """Group all map atoms of a store by template and data map, then by grid."""
    grouped: dict[tuple[int, int], dict[int, list[tuple[int, int]]]] = {}
    for atom, (map_id, template) in enumerate(zip(store.atom_map.tolist(), store.atom_template.tolist(), strict=True)):
        data_map, grid = int(store.map_data_map[map_id]), int(store.map_grid[map_id])
        grouped.setdefault((template, data_map), {}).setdefault(grid, []).append((int(store.map_column[map_id]), atom))
    slots: list[tuple[int, DataMap]] = []
    grids: list[int] = []
    columns: list[int] = []
    atoms: list[int] = []
    grid_start, entry_start = [0], [0]
    for (template, data_map), blocks in sorted(grouped.items()):
        slots.append((template, store.data_maps[data_map]))
        for grid, pairs in sorted(blocks.items()):
            grids.append(grid)
            columns.extend(column for column, _ in pairs)
            atoms.extend(atom for _, atom in pairs)
            entry_start.append(len(columns))
        grid_start.append(len(grids))

    def ints(values: Sequence[int]) -> IntArray:
        return np.array(values, dtype=np.int32)

    return Slots(tuple(slots), ints(grid_start), ints(grids), ints(entry_start), ints(columns), ints(atoms))
