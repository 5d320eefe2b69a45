"""What a move may know besides the model: the settings, and how the current model scored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from builder.moves.settings import WalkSettings
from builder.pool import Pool
from builder.protomodel import ProtoModel


@dataclass(frozen=True, slots=True)
class MoveContext:
    """Surroundings of one random change.

    Attributes:
        settings: the walk's settings.
        step: number of the step within its walk; 0 is the start.
        k: K of the current model; -inf where it has none.
        tl: T_L of the current model; nan where it has none.
        contributing_pids: positive PDG ids of all particles that contribute to a member of the current best
            combination; empty where there is none.
        is_changed: whether an earlier move of this step changed the model.
        hiscores: stored models and their K, best first; only teleports use them.
    """

    settings: WalkSettings
    step: int = 0
    k: float = -np.inf
    tl: float = np.nan
    contributing_pids: frozenset[int] = frozenset()
    is_changed: bool = False
    hiscores: tuple[tuple[ProtoModel, float], ...] = ()

    @property
    def damping(self) -> float:
        """Return D = max(1, T_L + 1), which makes changes of the content rare in good models; 1 without a T_L.

        Examples:
            >>> MoveContext(WalkSettings(), tl=5.0).damping
            6.0
        """
        return max(1.0, self.tl + 1.0) if np.isfinite(self.tl) else 1.0

    @property
    def pool(self) -> Pool:
        """Return the particles and channels that the walk may use."""
        return self.settings.particle_pool

    @property
    def pool_size(self) -> int:
        """Return N, the number of particles a model can have."""
        return len(self.pool.pids)


Move: TypeAlias = Callable[[np.random.Generator, ProtoModel, MoveContext], ProtoModel | None]
"""Propose a changed model; None where the move does not happen or cannot. The input stays as it is."""
