"""Templates: the topologies that maps ask for, as rooted trees of particle labels, and their graph notation.

In the graph notation decays are written out, `(PV(0) > anyBSM(1),anyBSM(2)), (anyBSM(1) > MET(3),t(4)), …`; numbers
identify particles (SModelS manual, arXiv:2306.17676, §2).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from database.results.particle_labels import is_known_label

INCLUSIVE_NODE: Final = "InclusiveNode"
"""Label of a particle whose whole decay chain may be anything."""
INCLUSIVE_LIST_MARK: Final = "*"
"""First character of labels that stand for any number of leaves, e.g. `*anySM`."""


class ConstraintError(ValueError):
    """A constraint cannot be used; the text says why."""


class TemplateNode(NamedTuple):
    """One particle of a template.

    Attributes:
        number: its number in the text; 0 is the primary vertex.
        label: particle label, e.g. `MET`, `jet`, `*anySM`; `PV` for the root.
        daughters: positions of the daughters in `Template.nodes`.
    """

    number: int
    label: str
    daughters: tuple[int, ...]


class Template(NamedTuple):
    """A topology that a map asks for: a rooted tree of particle labels.

    Attributes:
        nodes: the particles; index 0 is the primary vertex.
    """

    nodes: tuple[TemplateNode, ...]

    @property
    def primaries(self) -> tuple[TemplateNode, ...]:
        """Particles produced in the collision."""
        return tuple(self.nodes[index] for index in self.nodes[0].daughters)

    def text(self) -> str:
        """Returns the canonical spelling, `(PV(0) > X(1),Y(2)), (X(1) > Z(3),a(4)), …`."""

        def name(node: TemplateNode) -> str:
            return f"{node.label}({node.number})"

        decays = [
            f"({name(node)} > {','.join(name(self.nodes[index]) for index in node.daughters)})" for node in self.nodes if node.daughters
        ]
        return ", ".join(decays)


_NODE = re.compile(r"^(?P<label>\*?[^\s(),>]+?)\s*(?:\(\s*(?P<number>\d+)\s*\))?$")


def parse_graph(text: str) -> Template:
    """Returns the template of a graph text.

    Particles without a number get the next free ones in order of appearance.

    Raises:
        ConstraintError: malformed text, a number used twice, a particle without a mother, or an unknown label.

    Examples:
        >>> parse_graph("(PV > Zprime(1)), (Zprime(1) > MET(2),MET(3))").text()
        '(PV(0) > Zprime(1)), (Zprime(1) > MET(2),MET(3))'
    """
    decays = [_split_decay(decay, text) for decay in _split_decays(text)]
    used = {number for mother, daughters in decays for _, number in (mother, *daughters) if number is not None} | {0}
    next_number = 1
    labels: dict[int, str] = {}
    children: dict[int, list[int]] = {}
    mothers: set[int] = set()

    def number_of(label: str, number: int | None) -> int:
        nonlocal next_number
        if number is None and label == "PV":
            number = 0
        if number is None:
            while next_number in used:
                next_number += 1
            number = next_number
            used.add(number)
        if labels.setdefault(number, label) != label:
            raise ConstraintError(f"node number {number} is used for {labels[number]!r} and {label!r} in {text!r}")
        return number

    for mother, daughters in decays:
        mother_number = number_of(*mother)
        if mother_number in children:
            raise ConstraintError(f"node {mother_number} decays twice in {text!r}")
        children[mother_number] = [number_of(*daughter) for daughter in daughters]
        for daughter_number in children[mother_number]:
            if daughter_number in mothers or daughter_number == 0:
                raise ConstraintError(f"node {daughter_number} has two mothers in {text!r}")
            mothers.add(daughter_number)
    return build_template(labels, children, text)


def build_template(labels: Mapping[int, str], children: Mapping[int, Sequence[int]], text: str) -> Template:
    if labels.get(0) != "PV":
        raise ConstraintError(f"no primary vertex in {text!r}")
    order = [0]
    for number in order:  # grows: breadth first, like the published spelling of bracket templates
        order.extend(children.get(number, ()))
    if set(order) != set(labels) or len(order) != len(labels):
        raise ConstraintError(f"not a tree: {text!r}")
    order = _decay_order(order, children)
    position = {number: index for index, number in enumerate(order)}
    unknown = sorted({label for number, label in labels.items() if number and not is_known_label(label)})
    if unknown:
        raise ConstraintError(f"unknown particle label {', '.join(map(repr, unknown))}")
    return Template(tuple(TemplateNode(number, labels[number], tuple(position[d] for d in children.get(number, ()))) for number in order))


def _decay_order(order: list[int], children: Mapping[int, Sequence[int]]) -> list[int]:
    """Nodes in the order in which the canonical spelling writes their decays: chain by chain below the root."""
    result: list[int] = [0]

    def descend(number: int) -> None:
        result.append(number)
        for child in children.get(number, ()):
            descend(child)

    for primary in children.get(0, ()):
        descend(primary)
    assert len(result) == len(order)
    return result


def _split_decays(text: str) -> list[str]:
    body = text.strip().removeprefix("{").removesuffix("}").strip()
    decays: list[str] = []
    depth, start = 0, 0
    for index, character in enumerate(body):
        if character == "(":
            if depth == 0:
                start = index + 1
            depth += 1
        elif character == ")":
            depth -= 1
            if depth == 0:
                decays.append(body[start:index])
            if depth < 0:
                break
        elif depth == 0 and character not in ", \t":
            raise ConstraintError(f"unexpected {character!r} in graph {text!r}")
    if depth != 0 or not decays:
        raise ConstraintError(f"unbalanced parentheses in graph {text!r}")
    return decays


def _split_decay(decay: str, text: str) -> tuple[tuple[str, int | None], list[tuple[str, int | None]]]:
    mother, arrow, daughters = decay.partition(">")
    if not arrow or not daughters.strip():
        raise ConstraintError(f"a decay needs '>' and daughters in graph {text!r}")
    return _node(mother, text), [_node(daughter, text) for daughter in daughters.split(",")]


def _node(text: str, graph: str) -> tuple[str, int | None]:
    match = _NODE.match(text.strip())
    if match is None:
        raise ConstraintError(f"cannot read the particle {text.strip()!r} in graph {graph!r}")
    label, number = match["label"], match["number"]
    if label.lower() in ("inclusive", "inclusivenode"):
        label = INCLUSIVE_NODE
    return label, None if number is None else int(number)
