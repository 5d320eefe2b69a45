"""States and decayed branches: what topologies are made of.

Branches and pairs of branches are **interned**: equal ones are one object, made once and shared from model to model, so that a
model whose masses are known is put together from look-ups. Numbers identify objects and contents within a process; nothing
that is sorted or summed depends on them.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import NamedTuple

from inference.quantum_numbers import BSM_QUANTUM_NUMBERS

STABLE_WIDTH_GEV = 1e-25
"""Smaller widths count as stable."""
PROMPT_WIDTH_GEV = 1e-11
"""Larger widths count as prompt."""
MAX_INTERNED = 20_000
"""Branches and pairs remembered at most; about 20 MB."""

BSM_PIDS = tuple(sorted(BSM_QUANTUM_NUMBERS))
"""Positive PDG ids of all particles that can occur; `BSM_PIDS[i]` is bit i of every mask of particles."""
PID_BITS = {pid: 1 << i for i, pid in enumerate(BSM_PIDS)}


class State(NamedTuple):
    """A BSM state as topologies see it: two states with equal fields are the same particle."""

    charge3: int
    colour: int
    spin2: int
    mass: float
    width: float


@dataclass(frozen=True, slots=True)
class Branch:
    """A decayed BSM particle.

    Attributes:
        state: the particle itself.
        sm: labels of its Standard Model daughters, sorted.
        daughters: decayed BSM daughters, sorted.
        signature: canonical string of shape, labels and quantum numbers.
        states: states of all BSM nodes in preorder (this one first).
        pids: bit mask over `BSM_PIDS` of all particles that occur, this one included.
        is_met_like: whether the state itself is invisible if nothing decays below it.
        number: of this object.
        content: of what a detector sees of it: shared by branches of equal signature and states.
    """

    state: State
    sm: tuple[str, ...]
    daughters: tuple[Branch, ...]
    signature: str
    states: tuple[State, ...]
    pids: int
    is_met_like: bool
    number: int = field(compare=False)
    content: int = field(compare=False)

    @property
    def is_leaf(self) -> bool:
        return not self.sm and not self.daughters


def branch_key(branch: Branch) -> tuple[str, tuple[State, ...]]:
    """Canonical order of branches."""
    return branch.signature, branch.states


PairKey = tuple[str, tuple[State, ...], str, tuple[State, ...]]
"""What makes two pairs of branches the same topology; sorts them canonically."""

CompressionKey = tuple[float, bool, bool]
"""Minimal mass gap [GeV], whether soft decays, whether invisible decays are compressed."""


@dataclass(slots=True, eq=False)
class Pair:
    """Two branches in canonical order.

    Attributes:
        branches: the two.
        key: identity, and place in the canonical order.
        number: of the content: equal for pairs that a detector cannot tell apart.
        degeneracy: number of the multiset of masses and widths, whatever the order of the branches.
        signature: canonical string of both.
        states: states of all BSM nodes, first branch first.
        pids: bit mask of all particles.
        copies: its compressed copies, by how they are compressed (filled in by `inference.compression`).
    """

    branches: tuple[Branch, Branch]
    key: PairKey
    number: int
    degeneracy: int
    signature: str
    states: tuple[State, ...]
    pids: int
    copies: dict[CompressionKey, tuple[Pair, ...]] = field(default_factory=dict)


_counter = itertools.count(1)


class Interned:
    """Tables of the branches and pairs that exist; safe to use from several threads."""

    def __init__(self) -> None:
        self._branches: dict[tuple[State, tuple[str, ...], tuple[int, ...], int, bool], Branch] = {}
        self._contents: dict[tuple[str, tuple[State, ...]], int] = {}
        self._pairs: dict[tuple[int, int], Pair] = {}
        self._pair_contents: dict[tuple[int, int], int] = {}
        self._spectra: dict[tuple[tuple[float, float], ...], int] = {}
        self.compressed: dict[tuple[str, float, int], Branch] = {}

    @property
    def size(self) -> int:
        """Objects held."""
        return len(self._branches) + len(self._pairs) + len(self.compressed)

    def branch(self, state: State, sm: tuple[str, ...], daughters: tuple[Branch, ...], own_pids: int, is_met_like: bool) -> Branch:
        """The branch of a state that decays to these; Standard Model labels come sorted."""
        key = (state, sm, tuple([daughter.number for daughter in daughters]), own_pids, is_met_like)
        known = self._branches.get(key)
        if known is None:
            known = self._branches.setdefault(key, self.new_branch(state, sm, daughters, own_pids, is_met_like))
        return known

    def new_branch(self, state: State, sm: tuple[str, ...], daughters: tuple[Branch, ...], own_pids: int, is_met_like: bool) -> Branch:
        """As `branch`, but always an object of its own."""
        if len(daughters) > 1:
            daughters = tuple(sorted(daughters, key=branch_key))
        signature = f"[{state.charge3}.{state.colour}.{state.spin2}:{','.join(sm)}{''.join(d.signature for d in daughters)}]"
        states: tuple[State, ...] = (state,)
        pids = own_pids
        for daughter in daughters:
            states += daughter.states
            pids |= daughter.pids
        content = self._contents.setdefault((signature, states), next(_counter))
        return Branch(state, sm, daughters, signature, states, pids, is_met_like, next(_counter), content)

    def pair(self, first: Branch, second: Branch) -> Pair:
        """Two branches, in whatever order."""
        known = self._pairs.get((first.number, second.number))
        if known is None:
            known = self._pairs.setdefault((first.number, second.number), self._new_pair(first, second))
        return known

    def _new_pair(self, first: Branch, second: Branch) -> Pair:
        if (second.signature, second.states) < (first.signature, first.states):
            first, second = second, first
        states = first.states + second.states
        spectrum = tuple(sorted([(state.mass, state.width) for state in states]))
        return Pair(
            (first, second),
            (first.signature, first.states, second.signature, second.states),
            self._pair_contents.setdefault((first.content, second.content), next(_counter)),
            self._spectra.setdefault(spectrum, next(_counter)),
            f"{first.signature}+{second.signature}",
            states,
            first.pids | second.pids,
        )


_interned = Interned()


def current_tables() -> Interned:
    """The tables in use; full ones are replaced, and live on with those who still hold them."""
    global _interned
    if _interned.size > MAX_INTERNED:
        _interned = Interned()
    return _interned
