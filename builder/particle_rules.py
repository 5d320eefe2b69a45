"""Which masses a protomodel may have: bounds, walls, the top corridor, the canonical ordering.

Walk: particles ──▶ **particle rules** ──▶ moves. The rules are settings: a walk asks them before it moves a mass or
adds a particle. Models read from files need not obey them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from builder.particles import is_known, particle_of
from inference.spectrum import LBP_PID


class ParticleRules(BaseModel):
    """Rules on the masses of a protomodel; the defaults are those of the second release of the reference builder.

    Examples:
        >>> rules = ParticleRules()
        >>> rules.mass_bounds(1000021, {1000022: 200.0})
        (310.0, 2400.0)
        >>> rules.find_violation({1000022: 100.0, 1000006: 275.0})
        'X_t^1 at 275 GeV is in the corridor next to the top mass (X_Z^1 at 100 GeV)'
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_mass_gev: float = Field(2400.0, gt=0, description="largest mass of any particle [GeV]")
    min_lbp_mass_gev: float = Field(10.0, gt=0, description="smallest mass of the lightest particle [GeV]")
    walls_gev: dict[int, float] = Field(
        default={
            1000001: 310.0,
            1000002: 310.0,
            1000003: 310.0,
            1000004: 310.0,
            1000021: 310.0,
            1000023: 20.0,
            1000024: 100.0,
            1000025: 20.0,
            1000037: 100.0,
        },
        description="smallest mass per positive PDG id [GeV]: below it older colliders or missing maps make a statement impossible",
    )
    ceilings_gev: dict[int, float] = Field(default_factory=dict, description="largest mass per positive PDG id [GeV]; others: max_mass_gev")
    corridor_pids: tuple[int, ...] = Field(
        (1000006, 2000006), description="PDG ids that may not hide next to the top quark (signal looks like top pairs)"
    )
    corridor_max_mass_gev: float = Field(280.0, ge=0, description="the corridor ends at this mass [GeV]")
    corridor_min_gap_gev: float = Field(150.0, ge=0, description="the corridor begins above this mass difference to X_Z^1 [GeV]")
    corridor_max_gap_gev: float = Field(200.0, ge=0, description="the corridor ends below this mass difference to X_Z^1 [GeV]")
    ordered_pairs: tuple[tuple[int, int], ...] = Field(
        (
            (1000006, 2000006),
            (1000005, 2000005),
            (1000023, 1000025),
            (1000024, 1000037),
            (1000001, 1000002),
            (1000001, 1000003),
        ),
        description="(lighter, heavier) PDG ids: the heavier exists only together with the lighter and is not lighter than it",
    )

    @model_validator(mode="after")
    def _check_pids(self) -> Self:
        for pid in (*self.walls_gev, *self.ceilings_gev, *self.corridor_pids, *(p for pair in self.ordered_pairs for p in pair)):
            if not is_known(pid):
                raise ValueError(f"{pid} is not a particle of the pool")
        for pid, ceiling in self.ceilings_gev.items():
            floor = max(self.walls_gev.get(pid, 0.0), self.min_lbp_mass_gev)
            if ceiling < floor:
                raise ValueError(f"ceilings_gev: {particle_of(pid).name} cannot be lighter than {ceiling:g} and heavier than {floor:g} GeV")
        if self.corridor_min_gap_gev > self.corridor_max_gap_gev:
            raise ValueError("corridor_min_gap_gev is larger than corridor_max_gap_gev")
        return self

    def mass_bounds(self, pid: int, masses: Mapping[int, float]) -> tuple[float, float]:
        """Return the (smallest, largest) mass [GeV] a particle may have next to the others; the corridor is not part of it.

        Args:
            pid: positive PDG id, in the model or about to be added.
            masses: masses [GeV] of the model by positive PDG id.

        Returns:
            The bounds; an empty interval (smallest > largest) means that no mass is allowed.
        """
        high = min(self.max_mass_gev, self.ceilings_gev.get(pid, self.max_mass_gev))
        if pid == LBP_PID:
            low = max(self.min_lbp_mass_gev, self.walls_gev.get(pid, 0.0))
            return low, min([high, *(m for p, m in masses.items() if p != LBP_PID)])
        low = max(self.walls_gev.get(pid, 0.0), masses.get(LBP_PID, self.min_lbp_mass_gev))
        for lighter, heavier in self.ordered_pairs:
            if heavier == pid and lighter in masses:
                low = max(low, masses[lighter])
            if lighter == pid and heavier in masses:
                high = min(high, masses[heavier])
        return low, high

    def is_in_corridor(self, pid: int, mass: float, lbp_mass: float) -> bool:
        """Return whether a mass [GeV] lies in the forbidden corridor next to the top mass."""
        return (
            pid in self.corridor_pids
            and mass <= self.corridor_max_mass_gev
            and self.corridor_min_gap_gev < mass - lbp_mass < self.corridor_max_gap_gev
        )

    def particle_to_add(self, pid: int, masses: Mapping[int, float]) -> int:
        """Return the particle that is added when `pid` is wanted: the lighter partner first, where it is still frozen."""
        for lighter, heavier in self.ordered_pairs:
            if heavier == pid and lighter not in masses:
                return self.particle_to_add(lighter, masses)
        return pid

    def can_remove(self, pid: int, masses: Mapping[int, float]) -> bool:
        """Return whether a particle may be frozen: not the lightest, and not before its heavier partners."""
        if pid == LBP_PID or pid not in masses:
            return False
        return not any(lighter == pid and heavier in masses for lighter, heavier in self.ordered_pairs)

    def find_violation(self, masses: Mapping[int, float]) -> str | None:
        """Return the first rule a set of masses [GeV] breaks as one sentence, None if it breaks none."""
        lbp_mass = masses[LBP_PID]
        if lbp_mass < self.min_lbp_mass_gev:
            return f"X_Z^1 at {lbp_mass:g} GeV is below {self.min_lbp_mass_gev:g} GeV"
        for pid in sorted(masses):
            mass, name = masses[pid], particle_of(pid).name
            ceiling = min(self.max_mass_gev, self.ceilings_gev.get(pid, self.max_mass_gev))
            if mass > ceiling:
                return f"{name} at {mass:g} GeV is above {ceiling:g} GeV"
            if mass < lbp_mass:
                return f"{name} at {mass:g} GeV is lighter than X_Z^1 at {lbp_mass:g} GeV"
            if mass < self.walls_gev.get(pid, 0.0):
                return f"{name} at {mass:g} GeV is below its wall at {self.walls_gev[pid]:g} GeV"
            if self.is_in_corridor(pid, mass, lbp_mass):
                return f"{name} at {mass:g} GeV is in the corridor next to the top mass (X_Z^1 at {lbp_mass:g} GeV)"
        for lighter, heavier in self.ordered_pairs:
            if heavier in masses and lighter not in masses:
                return f"{particle_of(heavier).name} exists without {particle_of(lighter).name}"
            if heavier in masses and masses[heavier] < masses[lighter]:
                return f"{particle_of(heavier).name} is lighter than {particle_of(lighter).name}"
        return None
