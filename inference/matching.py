"""Which published maps a topology matches, and which of its masses go where in them.

A match depends on the topology's signature alone, never on masses, so each signature is matched once per process and
remembered. Rules (arXiv:1803.02204, arXiv:2112.00769): equal shapes, particle labels that overlap, daughters matched one to one
whatever their order; an inclusive node compares final states only, an inclusive list absorbs any number of Standard Model
leaves. If both orders of the two primaries match, the larger data vector is used.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import permutations
from typing import NamedTuple

from database.results.constraints import Template, parse_graph
from database.results.particle_labels import PARTICLE_LABELS
from inference.branches import Branch, State
from inference.quantum_numbers import SM_LABELS, sm_label
from inference.topologies import Topology

DataMap = tuple[tuple[int, str], ...]
"""(template node number, "mass" | "totalwidth") of each coordinate of a map."""

Assignment = tuple[int, ...]
"""For each coordinate of a data map, the preorder number of the topology's BSM node."""


def _sm_labels_of(name: str) -> frozenset[str]:
    pids = PARTICLE_LABELS[name].pids
    if pids is None:
        return frozenset(SM_LABELS)
    return frozenset(label for label in map(sm_label, pids) if label is not None)


SM_LABEL_SETS: dict[str, frozenset[str]] = {name: _sm_labels_of(name) for name, entry in PARTICLE_LABELS.items() if entry.is_sm}
"""Published label → labels of the Standard Model daughters it stands for."""


def _allowed_sm(label: str) -> frozenset[str]:
    return SM_LABEL_SETS.get(label.removeprefix("*"), frozenset())


def is_inclusive_node(label: str) -> bool:
    """Whether a published label stands for "anything, whatever it decays to"."""
    return label.lower() in ("inclusivenode", "inclusive")


def is_bsm_label(label: str) -> bool:
    """Whether a published label names a BSM state."""
    return is_inclusive_node(label) or (label in PARTICLE_LABELS and not PARTICLE_LABELS[label].is_sm)


def _matches_state(label: str, state: State) -> bool:
    if is_inclusive_node(label):
        return True
    wanted = PARTICLE_LABELS.get(label)
    if wanted is None or wanted.is_sm:
        return False
    return (
        (wanted.charge_thirds is None or state.charge3 in wanted.charge_thirds)
        and (wanted.colour_dimension is None or state.colour == wanted.colour_dimension)
        and (wanted.spin_halves is None or state.spin2 in (-1, wanted.spin_halves))
    )


def _sm_matching_exists(wanted: Sequence[str], found: Sequence[str]) -> bool:
    """Whether the published labels can be matched one to one to the daughters."""
    if not wanted:
        return not found
    allowed = _allowed_sm(wanted[0])
    return any(label in allowed and _sm_matching_exists(wanted[1:], (*found[:i], *found[i + 1 :])) for i, label in enumerate(found))


def _absorb(lists: Sequence[str], found: Sequence[str]) -> tuple[str, ...]:
    """Daughters left over after the inclusive lists took all they can."""
    allowed: frozenset[str] = frozenset().union(*(_allowed_sm(label) for label in lists))
    return tuple(label for label in found if label not in allowed)


_Found = dict[int, int]
"""Template node number → preorder number of the BSM node."""


class _Leaf(NamedTuple):
    branch: Branch
    offset: int


def _leaves(branch: Branch, offset: int) -> tuple[tuple[str, ...], tuple[_Leaf, ...]]:
    if branch.is_leaf:
        return (), (_Leaf(branch, offset),)
    sm = branch.sm
    found: tuple[_Leaf, ...] = ()
    position = offset + 1
    for daughter in branch.daughters:
        more_sm, more_bsm = _leaves(daughter, position)
        sm, found = sm + more_sm, found + more_bsm
        position += len(daughter.states)
    return sm, found


def _shape(parts: Iterable[str]) -> str:
    return "".join(sorted(parts))


def _shape_of_branch(branch: Branch) -> str:
    """Number of Standard Model daughters of every vertex, as a tree without order: equal for everything that can match."""
    return f"({len(branch.sm)}{_shape(map(_shape_of_branch, branch.daughters))})"


class TemplateMatcher:
    """Matches topologies to one published simplified-model diagram.

    Attributes:
        num_primaries: number of produced particles.
        shape: number of Standard Model daughters of every vertex, see `_shape_of_branch`; None for inclusive diagrams.
    """

    def __init__(self, template: Template) -> None:
        self._nodes = template.nodes
        self._root = template.nodes[0]
        self.num_primaries = len(self._root.daughters)
        is_inclusive = any(node.label.startswith("*") or is_inclusive_node(node.label) for node in template.nodes)
        self.shape = None if is_inclusive else _shape(map(self._shape_of_node, self._root.daughters))

    def _shape_of_node(self, index: int) -> str:
        _, sm, bsm = self._split(index)
        return f"({len(sm)}{_shape(map(self._shape_of_node, bsm))})"

    def match(self, branches: tuple[Branch, ...]) -> Iterator[_Found]:
        """Node assignments, one per order of the primaries that matches."""
        if self.num_primaries != len(branches):
            return
        offsets = [0]
        for branch in branches[:-1]:
            offsets.append(offsets[-1] + len(branch.states))
        for order in permutations(range(len(branches))):
            found: _Found | None = {}
            for primary, position in zip(self._root.daughters, order, strict=True):
                sub = self._match_node(primary, branches[position], offsets[position])
                if sub is None:
                    found = None
                    break
                assert found is not None
                found.update(sub)
            if found is not None:
                yield found

    def _split(self, index: int) -> tuple[list[str], list[str], list[int]]:
        """Inclusive lists, Standard Model labels and BSM node indices among the daughters of a template node."""
        lists, sm, bsm = [], [], []
        for daughter in self._nodes[index].daughters:
            label = self._nodes[daughter].label
            if label.startswith("*"):
                lists.append(label)
            elif is_bsm_label(label):
                bsm.append(daughter)
            else:
                sm.append(label)
        return lists, sm, bsm

    def _match_node(self, index: int, branch: Branch, offset: int) -> _Found | None:
        node = self._nodes[index]
        if not _matches_state(node.label, branch.state):
            return None
        if is_inclusive_node(node.label):
            return self._match_inclusive(index, branch, offset)
        if not node.daughters:
            return {node.number: offset} if branch.is_leaf else None
        if branch.is_leaf:
            return None
        lists, wanted_sm, wanted_bsm = self._split(index)
        found_sm = _absorb(lists, branch.sm)
        if len(found_sm) != len(wanted_sm) or len(wanted_bsm) != len(branch.daughters):
            return None
        if not _sm_matching_exists(wanted_sm, found_sm):
            return None
        positions, position = [], offset + 1
        for daughter in branch.daughters:
            positions.append(position)
            position += len(daughter.states)
        for order in permutations(range(len(wanted_bsm))):
            found: _Found = {node.number: offset}
            for wanted, i in zip(wanted_bsm, order, strict=True):
                sub = self._match_node(wanted, branch.daughters[i], positions[i])
                if sub is None:
                    break
                found.update(sub)
            else:
                return found
        return None

    def _match_inclusive(self, index: int, branch: Branch, offset: int) -> _Found | None:
        """Compare final states only."""
        lists, wanted_sm, wanted_bsm = self._split(index)
        sm, leaves = _leaves(branch, offset)
        found_sm = _absorb(lists, sm)
        if len(found_sm) != len(wanted_sm) or len(leaves) != len(wanted_bsm) or not _sm_matching_exists(wanted_sm, found_sm):
            return None
        for order in permutations(range(len(leaves))):
            if all(_matches_state(self._nodes[wanted].label, leaves[i].branch.state) for wanted, i in zip(wanted_bsm, order, strict=True)):
                leaf_offsets = {self._nodes[wanted].number: leaves[i].offset for wanted, i in zip(wanted_bsm, order, strict=True)}
                return {self._nodes[index].number: offset} | leaf_offsets
        return None


MAX_SIGNATURES = 50_000
"""Signatures remembered at most; a walk meets some thousands."""


class SlotMatch(NamedTuple):
    """A signature fits a slot (a template with a data map) in one or two orders of its branches."""

    slot: int
    assignments: tuple[Assignment, ...]


class Matching:
    """Remembers, per topology signature, the slots it fits.

    Args:
        templates: published diagrams in canonical graph notation.
        slots: (template number, data map) of each slot.
    """

    def __init__(self, templates: Sequence[str], slots: Sequence[tuple[int, DataMap]]) -> None:
        self._matchers = [TemplateMatcher(parse_graph(text)) for text in templates]
        self._slots_of_template: dict[int, list[tuple[int, DataMap]]] = {}
        for number, (template, data_map) in enumerate(slots):
            self._slots_of_template.setdefault(template, []).append((number, data_map))
        self._templates_of_shape: dict[str | None, list[int]] = {}
        for template in sorted(self._slots_of_template):
            self._templates_of_shape.setdefault(self._matchers[template].shape, []).append(template)
        self._known: dict[str, tuple[SlotMatch, ...]] = {}

    def slots(self, topology: Topology) -> tuple[SlotMatch, ...]:
        """Slots the topology fits, whatever its masses."""
        signature = topology.signature
        known = self._known.get(signature)
        if known is None:
            known = self._match(topology)
            if len(self._known) >= MAX_SIGNATURES:
                self._known.clear()
            self._known[signature] = known
        return known

    def _match(self, topology: Topology) -> tuple[SlotMatch, ...]:
        found: list[SlotMatch] = []
        shape = _shape(_shape_of_branch(branch) for branch in topology.branches)
        for template in sorted(self._templates_of_shape.get(shape, []) + self._templates_of_shape.get(None, [])):
            orders = list(self._matchers[template].match(topology.branches))
            if orders:
                for slot, data_map in self._slots_of_template[template]:
                    assignments = tuple(dict.fromkeys(tuple(order[node] for node, _ in data_map) for order in orders))
                    found.append(SlotMatch(slot, assignments))
        return tuple(found)

    def lay(self, topology: Topology, template: int) -> list[dict[int, int]]:
        """Template node → preorder number of the topology's BSM node, for each order of the primaries that fits."""
        return list(self._matchers[template].match(topology.branches))
