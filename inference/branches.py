"""States and decayed branches: what topologies are made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

STABLE_WIDTH_GEV = 1e-25
"""Smaller widths count as stable."""
PROMPT_WIDTH_GEV = 1e-11
"""Larger widths count as prompt."""


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
        pids: bit mask over the spectrum's particles that occur, this one included.
        is_met_like: whether the state itself is invisible if nothing decays below it.
    """

    state: State
    sm: tuple[str, ...]
    daughters: tuple[Branch, ...]
    signature: str
    states: tuple[State, ...]
    pids: int
    is_met_like: bool

    @property
    def is_leaf(self) -> bool:
        return not self.sm and not self.daughters


def build_branch(state: State, sm: tuple[str, ...], daughters: tuple[Branch, ...], own_bit: int, is_met_like: bool) -> Branch:
    """Put a branch together in canonical order, so that equal branches have equal signatures and states."""
    if len(daughters) > 1:
        daughters = tuple(sorted(daughters, key=branch_key))
    signature = f"[{state.charge3}.{state.colour}.{state.spin2}:{','.join(sm)}{''.join(d.signature for d in daughters)}]"
    states: tuple[State, ...] = (state,)
    pids = own_bit
    for daughter in daughters:
        states += daughter.states
        pids |= daughter.pids
    return Branch(state, sm, daughters, signature, states, pids, is_met_like)


def branch_key(branch: Branch) -> tuple[str, tuple[State, ...]]:
    """Canonical order of branches."""
    return branch.signature, branch.states


PairKey = tuple[str, tuple[State, ...], str, tuple[State, ...]]
"""What makes two pairs of branches the same topology."""


def pair_key(pair: tuple[Branch, Branch]) -> PairKey:
    """Identity of a pair in canonical order."""
    return pair[0].signature, pair[0].states, pair[1].signature, pair[1].states


def sorted_pair(first: Branch, second: Branch) -> tuple[Branch, Branch]:
    if (second.signature, second.states) < (first.signature, first.states):
        return second, first
    return first, second
