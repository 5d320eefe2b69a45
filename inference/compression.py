"""Mass and invisible compression of topologies.

Soft decays and invisible decays leave no trace in a detector: a topology with them looks like the one without (arXiv:1312.4175 §3).
"""

from __future__ import annotations

from inference.branches import PROMPT_WIDTH_GEV, Branch, CompressionKey, Interned, Pair, State, current_tables
from inference.quantum_numbers import INVISIBLE_SM, QuantumNumbers
from inference.settings import PredictionSettings


class Compression:
    """Compresses branches and pairs; what was compressed once is remembered with the branches.

    Args:
        settings: minimal mass gap [GeV] and which compressions to do.
        tables: where branches are interned.
    """

    def __init__(self, settings: PredictionSettings, tables: Interned | None = None) -> None:
        self._gap = settings.min_mass_gap_gev
        self._key: CompressionKey = (settings.min_mass_gap_gev, settings.compress_mass, settings.compress_invisible)
        self._tables = tables if tables is not None else current_tables()

    def mass(self, branch: Branch) -> Branch:
        """Remove every mother that decays promptly to a single BSM particle closer than the minimal mass gap."""
        if branch.is_leaf:
            return branch
        key = ("mass", self._gap, branch.number)
        done = self._tables.compressed.get(key)
        if done is None:
            done = self._tables.compressed.setdefault(key, self._compress_mass(branch))
        return done

    def _compress_mass(self, branch: Branch) -> Branch:
        state = branch.state
        if len(branch.daughters) == 1 and state.mass - branch.daughters[0].state.mass < self._gap and state.width > PROMPT_WIDTH_GEV:
            return self.mass(branch.daughters[0])
        daughters = tuple(self.mass(daughter) for daughter in branch.daughters)
        if all(new is old for new, old in zip(daughters, branch.daughters, strict=True)):
            return branch
        return self._tables.branch(state, branch.sm, daughters, branch.pids, branch.is_met_like)

    def invisible(self, branch: Branch) -> Branch:
        """Replace every state that decays to invisible leaves only by one invisible state of its mass."""
        if branch.is_leaf:
            return branch
        key = ("invisible", 0.0, branch.number)
        done = self._tables.compressed.get(key)
        if done is None:
            done = self._tables.compressed.setdefault(key, self._compress_invisible(branch))
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
            return self._tables.branch(inv, (), (), branch.pids, True)
        if all(new is old for new, old in zip(daughters, branch.daughters, strict=True)):
            return branch
        return self._tables.branch(state, branch.sm, daughters, branch.pids, branch.is_met_like)

    def copies(self, pair: Pair) -> tuple[Pair, ...]:
        """All copies of a pair that the two compressions make in any order, the pair itself left out."""
        known = pair.copies.get(self._key)
        if known is None:
            known = pair.copies[self._key] = self._make_copies(pair)
        return known

    def _make_copies(self, pair: Pair) -> tuple[Pair, ...]:
        _, compresses_mass, compresses_invisible = self._key
        found = {pair.number: pair}
        pending = [pair]
        while pending:
            first, second = pending.pop(0).branches
            copies: list[Pair] = []
            if compresses_mass:
                copies.append(self._tables.pair(self.mass(first), self.mass(second)))
            if compresses_invisible:
                copies.append(self._tables.pair(self.invisible(first), self.invisible(second)))
            for copy in copies:
                if copy.number not in found:
                    found[copy.number] = copy
                    pending.append(copy)
        del found[pair.number]
        return tuple(found.values())
