"""From a spectrum to its topologies: decay, compress, merge.

Walk: spectrum ──▶ **topologies** ──▶ predictions. A topology is an unordered pair of decay branches; its *signature* (shape,
Standard Model labels and quantum numbers, no masses) decides which published maps it matches, its masses where in the maps
it lies. Signatures are strings built in canonical order, so they can be remembered from model to model.

The procedure is that of SModelS (arXiv:1312.4175, arXiv:2306.17676): every primary pair is decayed in all combinations whose
σ·BR passes the cut, equal topologies are merged, soft decays (mass gap below the minimum) and invisible decays are
compressed, and the compressed copies are kept beside their originals.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from operator import attrgetter
from typing import NamedTuple, Protocol

from inference.branches import (
    BSM_PIDS,
    PID_BITS,
    PROMPT_WIDTH_GEV,
    STABLE_WIDTH_GEV,
    Branch,
    Interned,
    Pair,
    PairKey,
    State,
    current_tables,
)
from inference.compression import Compression
from inference.quantum_numbers import VISIBLE_NEUTRALS, bsm_quantum_numbers, sm_label
from inference.settings import PredictionSettings
from inference.spectrum import Decay, Spectrum

SQRTS_TEV = (8, 13)
"""Centre-of-mass energies [TeV], in the order of every weight array."""

DEFAULT_PROMPT_WIDTH_GEV = 1.0
"""Width of decaying particles for which the model states none: prompt."""
SMALLEST_XSEC_FB = 1e-300
"""Smaller products underflow; such topologies do not exist, whatever the cut."""


class Topology(NamedTuple):
    """One simplified-model topology of a model.

    Attributes:
        branches: the two branches, in canonical order.
        weight_fb: σ·BR [fb] at 8 and 13 TeV.
        origins: bit mask over the uncompressed topologies it stems from.
        pids: bit mask over `TopologyList.pids`.
        signature: canonical string of shape, labels and quantum numbers of both branches.
        states: states of all its BSM nodes, first branch first, in preorder.
        number: of signature and states, within the process; equal numbers mean equal ones.
        degeneracy: number of the multiset of masses and widths.
    """

    branches: tuple[Branch, ...]
    weight_fb: tuple[float, float]
    origins: int
    pids: int
    signature: str
    states: tuple[State, ...]
    number: int
    degeneracy: int


class TopologyList(NamedTuple):
    """Topologies of one model; `pids[i]` is the particle behind bit i of `Topology.pids`."""

    topologies: tuple[Topology, ...]
    pids: tuple[int, ...]
    num_origins: int

    def pids_of(self, mask: int) -> frozenset[int]:
        """Positive PDG ids behind a bit mask."""
        found = []
        while mask:
            found.append(self.pids[(mask & -mask).bit_length() - 1])
            mask &= mask - 1
        return frozenset(found)


class Recorder(Protocol):
    """Is told how the weights of the topologies come about; their derivatives need to know (`inference.gradients.weights`)."""

    def add_branch(self, branch: Branch, pid: int, daughters: tuple[int, ...], parts: tuple[Branch, ...]) -> None:
        """A branch in which a positive pid decays through a channel of the spectrum, its BSM daughters as in `parts`."""

    def add_pair(self, key: PairKey, pair: tuple[int, int], first: Branch, second: Branch, weight: tuple[float, float]) -> None:
        """A decayed primary pair adds its weight [fb] to the uncompressed topology with this key."""

    def number_origins(self, keys: Sequence[PairKey]) -> None:
        """The uncompressed topologies in the order of the bits of `Topology.origins`."""


@lru_cache(maxsize=4096)
def _split_daughters(daughters: tuple[int, ...], is_particle: bool) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Sorted labels of the Standard Model daughters and sorted signed pids of the others, conjugate for an antiparticle."""
    labels, others = [], []
    for daughter in daughters:
        signed = daughter if is_particle else -daughter
        label = sm_label(signed)
        if label is not None:
            labels.append(label)
        else:
            others.append(signed)
    return tuple(sorted(labels)), tuple(sorted(others))


class _Decays:
    """Decays the particles of one spectrum; remembers what it has decayed."""

    def __init__(self, spectrum: Spectrum, tables: Interned, recorder: Recorder | None = None) -> None:
        self.spectrum = spectrum
        self._recorder = recorder
        # a recorder tells ways to the same branch apart, so that each needs an object of its own
        self._build = tables.branch if recorder is None else tables.new_branch
        self._states: dict[int, State] = {}
        self._expanded: dict[int, tuple[float, list[tuple[Branch, float]]]] = {}
        self._long_lived: set[int] = set()
        for pid, given in spectrum.masses.items():
            width = self._width(pid)
            mass = max(round(abs(given), 1), 1.0)
            charge3, colour, spin2 = bsm_quantum_numbers(pid)
            self._states[pid] = State(charge3, colour, spin2, mass, width)
            self._states[-pid] = State(-charge3, colour, spin2, mass, width)
            if STABLE_WIDTH_GEV <= width <= PROMPT_WIDTH_GEV:
                self._long_lived.add(pid)

    def _width(self, pid: int) -> float:
        if not self.spectrum.decays.get(pid):
            return 0.0
        width = self.spectrum.widths.get(pid)
        if width is None:
            return DEFAULT_PROMPT_WIDTH_GEV
        return width if width >= STABLE_WIDTH_GEV else 0.0

    def has(self, pid: int) -> bool:
        return pid in self._states

    def expand(self, pid: int, min_br: float) -> list[tuple[Branch, float]]:
        """All fully decayed branches of a signed pid with a product of branching ratios of at least min_br."""
        cached = self._expanded.get(pid)
        if cached is not None and cached[0] <= min_br:
            return cached[1]
        state = self._states[pid]
        positive = abs(pid)
        met_like = state.charge3 == 0 and state.colour == 1 and positive not in VISIBLE_NEUTRALS
        branches: list[tuple[Branch, float]] = []
        if state.width == 0.0 or positive in self._long_lived:
            branches.append((self._build(state, (), (), PID_BITS[positive], met_like), 1.0))
        if state.width > 0.0:
            # in an order of their own, so that no sum depends on the order of the input
            channels = self.spectrum.decays[positive]
            for daughters, br in sorted(channels, key=_channel_order) if len(channels) > 1 else channels:
                if br > 0.0 and br >= min_br:
                    self._decay_channel(pid, state, daughters, br, min_br, met_like, branches)
        self._expanded[pid] = (min_br, branches)
        return branches

    def _decay_channel(
        self,
        pid: int,
        state: State,
        daughters: tuple[int, ...],
        br: float,
        min_br: float,
        met_like: bool,
        branches: list[tuple[Branch, float]],
    ) -> None:
        labels, bsm = _split_daughters(daughters, pid > 0)
        for signed in bsm:
            if signed not in self._states:
                return
        combinations: list[tuple[tuple[Branch, ...], float]] = [((), br)]
        for signed in bsm:
            combinations = [
                ((*done, branch), product * sub_br)
                for done, product in combinations
                for branch, sub_br in self.expand(signed, min_br / product)
                if product * sub_br >= min_br
            ]
        own = PID_BITS[abs(pid)]
        made = [(self._build(state, labels, found, own, met_like), product) for found, product in combinations]
        branches.extend(made)
        if self._recorder is not None:
            for (branch, _), (found, _) in zip(made, combinations, strict=True):
                self._recorder.add_branch(branch, abs(pid), daughters, found)


def _channel_order(channel: Decay) -> tuple[list[int], float]:
    return sorted(channel[0]), channel[1]


class _Weighted:
    """A topology in the making: equal ones add their weights."""

    __slots__ = ("key", "origins", "pair", "pids", "weight_8", "weight_13")

    def __init__(self, pair: Pair, weight_8: float, weight_13: float, origins: int, pids: int) -> None:
        self.pair, self.key = pair, pair.key
        self.weight_8, self.weight_13 = weight_8, weight_13
        self.origins, self.pids = origins, pids


def _add(found: dict[int, _Weighted], pair: Pair, weight_8: float, weight_13: float, origins: int, pids: int) -> None:
    known = found.get(pair.number)
    if known is None:
        found[pair.number] = _Weighted(pair, weight_8, weight_13, origins, pids)
    else:
        known.weight_8 += weight_8
        known.weight_13 += weight_13
        known.origins |= origins
        known.pids |= pids


_by_key = attrgetter("key")


def build_topologies(spectrum: Spectrum, settings: PredictionSettings, recorder: Recorder | None = None) -> TopologyList:
    """All topologies of a spectrum above the cross-section cut, with their compressed copies.

    Args:
        spectrum: the model; masses are rounded to 0.1 GeV and raised to at least 1 GeV.
        settings: σ cut [fb], minimal mass gap [GeV] and which compressions to do.
        recorder: is told what the weights are made of.

    Returns:
        Topologies in a canonical order that does not depend on the order of the input.

    Raises:
        ModelFormatError: the spectrum names a BSM particle whose quantum numbers are not known.
    """
    tables = current_tables()
    decays = _Decays(spectrum, tables, recorder)
    merged: dict[int, _Weighted] = {}
    for pids, weight in _primary_pairs(spectrum, decays):
        _decay_pair(pids, weight, settings.sigma_cut_fb, decays, tables, merged, recorder)
    # origins are numbered in canonical order, so that nothing depends on the order of the input
    originals = sorted(merged.values(), key=_by_key)
    if recorder is not None:
        recorder.number_origins([original.key for original in originals])
    everything = {
        original.pair.number: _Weighted(original.pair, original.weight_8, original.weight_13, 1 << number, original.pids)
        for number, original in enumerate(originals)
    }
    compression = Compression(settings, tables)
    for number, original in enumerate(originals):
        for copy in compression.copies(original.pair):
            _add(everything, copy, original.weight_8, original.weight_13, 1 << number, original.pids)
    topologies = tuple(
        [
            Topology(
                found.pair.branches,
                (found.weight_8, found.weight_13),
                found.origins,
                found.pids,
                found.pair.signature,
                found.pair.states,
                found.pair.number,
                found.pair.degeneracy,
            )
            for found in sorted(everything.values(), key=_by_key)
        ]
    )
    return TopologyList(topologies, BSM_PIDS, len(originals))


def _primary_pairs(spectrum: Spectrum, decays: _Decays) -> list[tuple[tuple[int, int], tuple[float, float]]]:
    """Produced pairs of particles that exist, with their cross sections [fb] at 8 and 13 TeV, sorted."""
    pairs: dict[tuple[int, int], list[float]] = {}
    for i, sqrts in enumerate(SQRTS_TEV):
        for (first, second), xsec in spectrum.xsecs_fb.get(sqrts, {}).items():
            if decays.has(first) and decays.has(second):
                weights = pairs.setdefault((first, second) if first <= second else (second, first), [0.0, 0.0])
                weights[i] = max(weights[i], xsec)
    return [(pair, (weights[0], weights[1])) for pair, weights in sorted(pairs.items())]


def _decay_pair(
    pids: tuple[int, int],
    weight: tuple[float, float],
    cut: float,
    decays: _Decays,
    tables: Interned,
    merged: dict[int, _Weighted],
    recorder: Recorder | None,
) -> None:
    largest = max(weight)
    if largest < cut or largest <= 0.0:
        return
    min_br = cut / largest
    firsts = decays.expand(pids[0], min_br)
    seconds = decays.expand(pids[1], min_br)
    smallest = max(cut, SMALLEST_XSEC_FB)
    for first, first_br in firsts:
        for second, second_br in seconds:
            br = first_br * second_br
            if largest * br >= smallest:
                pair = tables.pair(first, second)
                _add(merged, pair, weight[0] * br, weight[1] * br, 0, first.pids | second.pids)
                if recorder is not None:
                    recorder.add_pair(pair.key, pids, first, second, (weight[0] * br, weight[1] * br))
