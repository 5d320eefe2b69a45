"""What fraction of a topology's decays a prompt search sees.

A search made for prompt decays sees a topology with long-lived states only if every mother decays before the inner and every
final state after the outer end of the detector (arXiv:1808.05229 §2). Maps that depend on a state's width know what becomes of it:
that state is left out of the fraction.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from database.results.store import ResultsStore
from inference.branches import Branch, State
from inference.topologies import Topology
from inference.types import FloatArray, IntArray

HBAR_C_GEV_M = 197.327e-18
DEFAULT_INNER_M = 0.000769
"""Effective length within which a decay counts as prompt [m]."""
DEFAULT_OUTER_M = 7.0
"""Effective length beyond which a state counts as stable [m]."""
SURELY_PROMPT_GEV = 1e-9
MIN_FACTOR = 1e-10


class NodeWidth(NamedTuple):
    """Width [GeV] of one BSM state of a topology, and whether the chain ends there."""

    width: float
    is_leaf: bool


def is_prompt(states: Iterable[State]) -> bool:
    """Whether all states are stable or decay so fast that the fraction is exactly 1."""
    return all(state.width == 0.0 or state.width >= SURELY_PROMPT_GEV for state in states)


def node_widths(topology: Topology) -> tuple[NodeWidth, ...]:
    """Widths of all BSM states of a topology in preorder."""

    def walk(branch: Branch) -> Iterator[NodeWidth]:
        yield NodeWidth(branch.state.width, branch.is_leaf)
        for daughter in branch.daughters:
            yield from walk(daughter)

    return tuple(node for branch in topology.branches for node in walk(branch))


def seen_fraction(nodes: Iterable[NodeWidth], inner_m: float, outer_m: float) -> float:
    """Product of prompt-decay and survival probabilities.

    F_prompt = 1 - exp(-Γ L_in / ħc) for states that decay, F_long = exp(-Γ L_out / ħc) for leaves; arXiv:1808.05229 eqs. (3)-(4).

    Args:
        nodes: the states that count.
        inner_m: L_in [m]; nan for the default.
        outer_m: L_out [m]; nan for the default.

    Returns:
        A number in [0, 1]; below 1e-10 it is 0.

    Examples:
        A state that decays after 7 m on average is seen to decay within 0.77 mm once in 9100 times, and survives with 1/e.

        >>> width = HBAR_C_GEV_M / 7.0
        >>> round(1.0 / seen_fraction([NodeWidth(width, False)], math.nan, math.nan))
        9103
        >>> round(seen_fraction([NodeWidth(width, True)], math.nan, math.nan), 4)
        0.3679
    """
    inner = DEFAULT_INNER_M if math.isnan(inner_m) else inner_m
    outer = DEFAULT_OUTER_M if math.isnan(outer_m) else outer_m
    factor = 1.0
    for node in nodes:
        factor *= math.exp(-node.width * outer / HBAR_C_GEV_M) if node.is_leaf else -math.expm1(-node.width * inner / HBAR_C_GEV_M)
    return 0.0 if factor < MIN_FACTOR else factor


def lifetime_factor(topology: Topology, handled: frozenset[int], inner_m: float, outer_m: float) -> float:
    """Fraction of a topology's decays that a search sees.

    Args:
        topology: the topology.
        handled: preorder numbers of nodes whose width the map depends on explicitly; they are skipped.
        inner_m: L_in [m]; nan for the default.
        outer_m: L_out [m]; nan for the default.
    """
    return seen_fraction([node for number, node in enumerate(node_widths(topology)) if number not in handled], inner_m, outer_m)


class LifetimeFactors:
    """Lifetime factors for the map atoms of a store.

    Args:
        store: compiled results; each knows the effective lengths of its detector.
    """

    def __init__(self, store: ResultsStore) -> None:
        known: dict[tuple[str, str], int] = {}
        self._lengths: list[tuple[float, float]] = []
        detectors = []
        for record in store.results:
            detectors.append(known.setdefault((repr(record.leff_inner_m), repr(record.leff_outer_m)), len(known)))
            if len(known) > len(self._lengths):
                self._lengths.append((record.leff_inner_m, record.leff_outer_m))
        result = np.asarray(store.dataset_result)[np.asarray(store.map_dataset)[np.asarray(store.atom_map)]]
        self._detector: IntArray = np.array(detectors, dtype=np.int32)[result]

    def of(self, nodes: Sequence[NodeWidth], choices: Iterable[frozenset[int]], atoms: IntArray) -> FloatArray:
        """Factor per map atom.

        Args:
            nodes: states of the topology.
            choices: nodes whose width the maps depend on, for each equivalent way to lay the topology over them; of several the
                largest factor counts.
            atoms: map atoms, all with the same diagram and axes.
        """
        candidates = [[node for number, node in enumerate(nodes) if number not in handled] for handled in set(choices)]
        factors = np.array([max(seen_fraction(kept, *lengths) for kept in candidates) for lengths in self._lengths])
        return factors[self._detector[atoms]]
