"""Mass and invisible compression of topologies.

Soft decays and invisible decays leave no trace in a detector: a topology with them looks like the one without (arXiv:1312.4175 §3).
"""

from __future__ import annotations

from inference.branches import PROMPT_WIDTH_GEV, Branch, State, build_branch, pair_key, sorted_pair
from inference.quantum_numbers import INVISIBLE_SM, QuantumNumbers
from inference.settings import PredictionSettings


class Compression:
    """Compresses branches; each result is remembered for the model."""

    def __init__(self, settings: PredictionSettings) -> None:
        self._gap = settings.min_mass_gap_gev
        self._mass: dict[tuple[str, tuple[State, ...], int], Branch] = {}
        self._invisible: dict[tuple[str, tuple[State, ...], int], Branch] = {}

    def mass(self, branch: Branch) -> Branch:
        """Remove every mother that decays promptly to a single BSM particle closer than the minimal mass gap."""
        if branch.is_leaf:
            return branch
        key = (branch.signature, branch.states, branch.pids)
        done = self._mass.get(key)
        if done is None:
            done = self._compress_mass(branch)
            self._mass[key] = done
        return done

    def _compress_mass(self, branch: Branch) -> Branch:
        state = branch.state
        if len(branch.daughters) == 1 and state.mass - branch.daughters[0].state.mass < self._gap and state.width > PROMPT_WIDTH_GEV:
            return self.mass(branch.daughters[0])
        daughters = tuple(self.mass(daughter) for daughter in branch.daughters)
        if all(new is old for new, old in zip(daughters, branch.daughters, strict=True)):
            return branch
        return build_branch(state, branch.sm, daughters, branch.pids, branch.is_met_like)

    def invisible(self, branch: Branch) -> Branch:
        """Replace every state that decays to invisible leaves only by one invisible state of its mass."""
        if branch.is_leaf:
            return branch
        key = (branch.signature, branch.states, branch.pids)
        done = self._invisible.get(key)
        if done is None:
            done = self._compress_invisible(branch)
            self._invisible[key] = done
        return done

    def _compress_invisible(self, branch: Branch) -> Branch:
        daughters = tuple(self.invisible(daughter) for daughter in branch.daughters)
        state = branch.state
        if (
            all(label in INVISIBLE_SM for label in branch.sm)
            and all(daughter.is_leaf and daughter.is_met_like for daughter in daughters)
            and (branch.is_met_like or state.width > PROMPT_WIDTH_GEV)
        ):
            width = max((daughter.state.width for daughter in daughters), default=0.0)
            inv = State(*QuantumNumbers(0, 1, -1), state.mass, width)
            return build_branch(inv, (), (), branch.pids, True)
        if all(new is old for new, old in zip(daughters, branch.daughters, strict=True)):
            return branch
        return build_branch(state, branch.sm, daughters, branch.pids, branch.is_met_like)


def compressed_copies(pair: tuple[Branch, Branch], compression: Compression, settings: PredictionSettings) -> list[tuple[Branch, Branch]]:
    """All copies of a pair that the two compressions make in any order, the pair itself left out."""
    found = {pair_key(pair): pair}
    pending = [pair]
    while pending:
        current = pending.pop(0)
        copies: list[tuple[Branch, Branch]] = []
        if settings.compress_mass:
            copies.append(sorted_pair(compression.mass(current[0]), compression.mass(current[1])))
        if settings.compress_invisible:
            copies.append(sorted_pair(compression.invisible(current[0]), compression.invisible(current[1])))
        for copy in copies:
            key = pair_key(copy)
            if key not in found:
                found[key] = copy
                pending.append(copy)
    del found[pair_key(pair)]
    return list(found.values())
