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
from typing import NamedTuple, Protocol

from inference.branches import PROMPT_WIDTH_GEV, STABLE_WIDTH_GEV, Branch, PairKey, State, build_branch, pair_key, sorted_pair
from inference.compression import Compression, compressed_copies
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
    """

    branches: tuple[Branch, ...]
    weight_fb: tuple[float, float]
    origins: int
    pids: int
    signature: str
    states: tuple[State, ...]


class TopologyList(NamedTuple):
    """Topologies of one model; `pids[i]` is the particle behind bit i of `Topology.pids`."""

    topologies: tuple[Topology, ...]
    pids: tuple[int, ...]
    num_origins: int

    def pids_of(self, mask: int) -> frozenset[int]:
        """Positive PDG ids behind a bit mask."""
        return frozenset(pid for i, pid in enumerate(self.pids) if mask >> i & 1)


class Recorder(Protocol):
    """Is told how the weights of the topologies come about; their derivatives need to know (`inference.gradients.weights`)."""

    def add_branch(self, branch: Branch, pid: int, daughters: tuple[int, ...], parts: tuple[Branch, ...]) -> None:
        """A branch in which a positive pid decays through a channel of the spectrum, its BSM daughters as in `parts`."""

    def add_pair(self, key: PairKey, pair: tuple[int, int], first: Branch, second: Branch, weight: tuple[float, float]) -> None:
        """A decayed primary pair adds its weight [fb] to the uncompressed topology with this key."""

    def number_origins(self, keys: Sequence[PairKey]) -> None:
        """The uncompressed topologies in the order of the bits of `Topology.origins`."""


class _Decays:
    """Decays the particles of one spectrum; remembers what it has decayed."""

    def __init__(self, spectrum: Spectrum, recorder: Recorder | None = None) -> None:
        self.spectrum = spectrum
        self._recorder = recorder
        self.pids = tuple(sorted(spectrum.masses))
        self._bit = {pid: 1 << i for i, pid in enumerate(self.pids)}
        self._states: dict[int, State] = {}
        self._expanded: dict[int, tuple[float, list[tuple[Branch, float]]]] = {}
        self._long_lived: set[int] = set()
        for pid in self.pids:
            width = self._width(pid)
            mass = max(round(abs(spectrum.masses[pid]), 1), 1.0)
            for signed in (pid, -pid):
                self._states[signed] = State(*bsm_quantum_numbers(signed), mass, width)
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
        return abs(pid) in self._bit

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
            branches.append((build_branch(state, (), (), self._bit[positive], met_like), 1.0))
        if state.width > 0.0:
            # in an order of their own, so that no sum depends on the order of the input
            for daughters, br in sorted(self.spectrum.decays[positive], key=_channel_order):
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
        sm: list[str] = []
        bsm: list[int] = []
        for daughter in daughters:
            signed = daughter if pid > 0 else -daughter
            label = sm_label(signed)
            if label is not None:
                sm.append(label)
            elif self.has(signed):
                bsm.append(signed)
            else:
                return
        labels = tuple(sorted(sm))
        bsm.sort()
        combinations: list[tuple[tuple[Branch, ...], float]] = [((), br)]
        for signed in bsm:
            combinations = [
                ((*done, branch), product * sub_br)
                for done, product in combinations
                for branch, sub_br in self.expand(signed, min_br / product)
                if product * sub_br >= min_br
            ]
        own = self._bit[abs(pid)]
        made = [(build_branch(state, labels, found, own, met_like), product) for found, product in combinations]
        branches.extend(made)
        if self._recorder is not None:
            for (branch, _), (found, _) in zip(made, combinations, strict=True):
                self._recorder.add_branch(branch, abs(pid), daughters, found)


def _channel_order(channel: Decay) -> tuple[list[int], float]:
    return sorted(channel[0]), channel[1]


class _Merged:
    """Topologies by content; equal ones add their weights."""

    def __init__(self) -> None:
        self.pairs: dict[PairKey, tuple[Branch, Branch]] = {}
        self.weights: dict[PairKey, list[float]] = {}
        self.origins: dict[PairKey, int] = {}
        self.pids: dict[PairKey, int] = {}

    def add(self, pair: tuple[Branch, Branch], weight: tuple[float, float], origins: int, pids: int) -> PairKey:
        key = pair_key(pair)
        known = self.weights.get(key)
        if known is None:
            self.pairs[key] = pair
            self.weights[key] = list(weight)
            self.origins[key] = origins
            self.pids[key] = pids
        else:
            known[0] += weight[0]
            known[1] += weight[1]
            self.origins[key] |= origins
            self.pids[key] |= pids
        return key


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
    decays = _Decays(spectrum, recorder)
    merged = _Merged()
    for pair, weight in _primary_pairs(spectrum, decays):
        _decay_pair(pair, weight, settings.sigma_cut_fb, decays, merged, recorder)
    # origins are numbered in canonical order, so that nothing depends on the order of the input
    keys = sorted(merged.pairs)
    if recorder is not None:
        recorder.number_origins(keys)
    everything = _Merged()
    for number, key in enumerate(keys):
        weights = merged.weights[key]
        everything.add(merged.pairs[key], (weights[0], weights[1]), 1 << number, merged.pids[key])
    compression = Compression(settings)
    for number, key in enumerate(keys):
        weights = merged.weights[key]
        for compressed in compressed_copies(merged.pairs[key], compression, settings):
            everything.add(compressed, (weights[0], weights[1]), 1 << number, merged.pids[key])
    topologies = tuple(
        Topology(
            branches=everything.pairs[key],
            weight_fb=(everything.weights[key][0], everything.weights[key][1]),
            origins=everything.origins[key],
            pids=everything.pids[key],
            signature=f"{key[0]}+{key[2]}",
            states=key[1] + key[3],
        )
        for key in sorted(everything.pairs)
    )
    return TopologyList(topologies, decays.pids, len(keys))


def _primary_pairs(spectrum: Spectrum, decays: _Decays) -> list[tuple[tuple[int, int], tuple[float, float]]]:
    pairs: dict[tuple[int, int], list[float]] = {}
    for i, sqrts in enumerate(SQRTS_TEV):
        for (first, second), xsec in spectrum.xsecs_fb.get(sqrts, {}).items():
            if decays.has(first) and decays.has(second):
                key = (first, second) if first <= second else (second, first)
                pairs.setdefault(key, [0.0, 0.0])[i] = max(pairs.get(key, [0.0, 0.0])[i], xsec)
    return [(pair, (weights[0], weights[1])) for pair, weights in sorted(pairs.items())]


def _decay_pair(
    pair: tuple[int, int], weight: tuple[float, float], cut: float, decays: _Decays, merged: _Merged, recorder: Recorder | None
) -> None:
    largest = max(weight)
    if largest < cut or largest <= 0.0:
        return
    min_br = cut / largest
    firsts = decays.expand(pair[0], min_br)
    seconds = decays.expand(pair[1], min_br)
    for first, first_br in firsts:
        for second, second_br in seconds:
            br = first_br * second_br
            if largest * br >= max(cut, SMALLEST_XSEC_FB):
                product = (weight[0] * br, weight[1] * br)
                key = merged.add(sorted_pair(first, second), product, 0, first.pids | second.pids)
                if recorder is not None:
                    recorder.add_pair(key, pair, first, second, product)
