"""What fraction of a topology's decays a prompt search sees.

A search made for prompt decays sees a topology with long-lived states only if every mother decays before the inner and every
final state after the outer end of the detector (arXiv:1808.05229 §2).
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from inference.topologies import State, Topology

HBAR_C_GEV_M = 197.327e-18
DEFAULT_INNER_M = 0.000769
"""Effective length within which a decay counts as prompt [m]."""
DEFAULT_OUTER_M = 7.0
"""Effective length beyond which a state counts as stable [m]."""
SURELY_PROMPT_GEV = 1e-9
MIN_FACTOR = 1e-10


def is_prompt(states: Iterable[State]) -> bool:
    """Whether all states are stable or decay so fast that the fraction is exactly 1."""
    return all(state.width == 0.0 or state.width >= SURELY_PROMPT_GEV for state in states)


def lifetime_factor(topology: Topology, handled: frozenset[int], inner_m: float, outer_m: float) -> float:
    """Product of prompt-decay and survival probabilities over the BSM nodes of a topology.

    F_prompt = 1 - exp(-Γ L_in / ħc) for nodes that decay, F_long = exp(-Γ L_out / ħc) for leaves; arXiv:1808.05229 eqs. (3)-(4).

    Args:
        topology: the topology.
        handled: preorder numbers of nodes whose width the map depends on explicitly; they are skipped.
        inner_m: L_in [m]; nan for the default.
        outer_m: L_out [m]; nan for the default.

    Returns:
        A number in [0, 1]; below 1e-10 it is 0.
    """
    inner = DEFAULT_INNER_M if math.isnan(inner_m) else inner_m
    outer = DEFAULT_OUTER_M if math.isnan(outer_m) else outer_m
    factor = 1.0
    number = 0
    pending = list(reversed(topology.branches))
    while pending:
        branch = pending.pop()
        if number not in handled:
            width = branch.state.width
            factor *= math.exp(-width * outer / HBAR_C_GEV_M) if branch.is_leaf else -math.expm1(-width * inner / HBAR_C_GEV_M)
        number += 1
        pending.extend(reversed(branch.daughters))
    return 0.0 if factor < MIN_FACTOR else factor
