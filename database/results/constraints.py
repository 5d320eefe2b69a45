"""Constraints of topology maps: which simplified-model topologies a map adds up, and with which factors.

Two notations are read. The bracket notation lists, per branch, the vertices of a decay chain with their Standard
Model particles, `[[['t']],[['t']]]`; the graph notation writes the decays out,
`{(PV > anyBSM(1),anyBSM(2)), (anyBSM(1) > MET(3),t(4)), (anyBSM(2) > MET(5),t(6))}`. Everything is turned into
templates in one canonical spelling (SModelS manual, arXiv:2306.17676, §2).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from database.results.particle_labels import PARTICLE_LABELS
from database.results.templates import (
    INCLUSIVE_LIST_MARK,
    INCLUSIVE_NODE,
    ConstraintError,
    Template,
    TemplateNode,
    build_template,
    parse_graph,
)

__all__ = [
    "INCLUSIVE_LIST_MARK",
    "INCLUSIVE_NODE",
    "PARTICLE_LABELS",
    "Atom",
    "Constraint",
    "ConstraintError",
    "Template",
    "TemplateNode",
    "bracket_to_template",
    "parse_constraint",
    "parse_graph",
]

ANY_BSM: Final = "anyBSM"


class Atom(NamedTuple):
    """One topology of a constraint.

    Attributes:
        template: its tree.
        coefficient: factor its cross section enters with.
        bsm_numbers: per branch, node numbers of the BSM particles from mother to last daughter; empty lists for
            inclusive branches, and no lists at all for the graph notation.
    """

    template: Template
    coefficient: float
    bsm_numbers: tuple[tuple[int, ...], ...]


class Constraint(NamedTuple):
    """A linear combination of topologies: value = Σ coefficient · Σ (σ·BR) of the topologies that match.

    Attributes:
        atoms: one per distinct topology, in order of appearance.
    """

    atoms: tuple[Atom, ...]


# ------------------------------------------------------------------------------------------------------- brackets


def bracket_to_template(
    text: str,
    final_state: Sequence[str] | None = None,
    intermediate_state: Sequence[Sequence[str]] | None = None,
) -> tuple[Template, tuple[tuple[int, ...], ...]]:
    """Returns the template of a bracket text, and the node numbers of the BSM particles per branch.

    Args:
        text: e.g. `[[['jet','jet'],['W']],[['W','b']]]`; quotes are optional.
        final_state: label of the last BSM particle per branch; MET where not given.
        intermediate_state: labels of the other BSM particles per branch; anyBSM where not given.

    Raises:
        ConstraintError: malformed text or unknown label.

    Examples:
        >>> bracket_to_template("[[[t]],[]]")[0].text()
        '(PV(0) > anyBSM(1),MET(2)), (anyBSM(1) > MET(3),t(4))'
    """
    branches = _parse_brackets(text)
    if final_state is not None and len(final_state) != len(branches):
        raise ConstraintError(f"finalState has {len(final_state)} entries for {len(branches)} branches")
    if intermediate_state is not None and len(intermediate_state) != len(branches):
        raise ConstraintError(f"intermediateState has {len(intermediate_state)} entries for {len(branches)} branches")
    labels: dict[int, str] = {0: "PV"}
    children: dict[int, list[int]] = {0: []}
    chains: list[tuple[list[str], list[list[str]]]] = []
    for index, branch in enumerate(branches):
        last = final_state[index] if final_state is not None else "MET"
        if branch is None:
            chains.append(([INCLUSIVE_NODE, last], [["*anySM"]]))
            continue
        middle = list(intermediate_state[index]) if intermediate_state is not None else [ANY_BSM] * len(branch)
        if len(middle) != len(branch):
            raise ConstraintError(f"intermediateState of branch {index + 1} has {len(middle)} entries for {len(branch)} vertices")
        chains.append(([*middle, last], branch))
    numbers: list[list[int]] = []
    for index, (bsm, _) in enumerate(chains):
        labels[index + 1] = bsm[0]
        children[0].append(index + 1)
        numbers.append([index + 1])
    next_number = len(chains) + 1
    for index, (bsm, vertices) in enumerate(chains):
        for depth, vertex in enumerate(vertices):
            daughters = [bsm[depth + 1], *("anySM" if label == "*" else label for label in sorted(vertex))]
            mother = numbers[index][-1]
            children[mother] = list(range(next_number, next_number + len(daughters)))
            labels.update(zip(children[mother], daughters, strict=True))
            numbers[index].append(next_number)
            next_number += len(daughters)
    for index, branch in enumerate(branches):
        if branch is None:
            numbers[index] = []
    return build_template(labels, children, text), tuple(tuple(chain) for chain in numbers)


def _parse_brackets(text: str) -> list[list[list[str]] | None]:
    """Branches as vertices of labels; None for an inclusive branch."""
    tokens = re.findall(r"[\[\],]|[^\[\],\s]+", text.replace("'", "").replace('"', ""))
    position = 0

    def parse() -> list[object]:
        nonlocal position
        position += 1  # "["
        items: list[object] = []
        is_item_next = True
        while position < len(tokens):
            token = tokens[position]
            if token == "]":
                position += 1
                return items
            if token == ",":
                is_item_next = True
                position += 1
                continue
            if not is_item_next:
                raise ConstraintError(f"a comma is missing in {text!r}")
            is_item_next = False
            if token == "[":
                items.append(parse())
            else:
                items.append(token)
                position += 1
        raise ConstraintError(f"unbalanced brackets in {text!r}")

    if not tokens or tokens[0] != "[":
        raise ConstraintError(f"not a topology: {text!r}")
    raw = parse()
    if position != len(tokens):
        raise ConstraintError(f"unbalanced brackets in {text!r}")
    branches: list[list[list[str]] | None] = []
    for branch in raw:
        if branch == ["*"]:
            branches.append(None)
            continue
        if not isinstance(branch, list):
            raise ConstraintError(f"a branch must be a list in {text!r}")
        vertices: list[list[str]] = []
        for vertex in branch:
            if not isinstance(vertex, list) or not all(isinstance(label, str) for label in vertex):
                raise ConstraintError(f"a vertex must be a list of particles in {text!r}")
            vertices.append([label for label in vertex if isinstance(label, str)])
        branches.append(vertices)
    return branches


# ---------------------------------------------------------------------------------------------------- expressions


def parse_constraint(
    text: str,
    final_state: Sequence[str] | None = None,
    intermediate_state: Sequence[Sequence[str]] | None = None,
) -> Constraint:
    """Returns the atoms of a constraint expression: sums, products with numbers, parentheses.

    Repetitions of one topology are added up.

    Raises:
        ConstraintError: malformed, not linear in the topologies, or with unknown particles.

    Examples:
        >>> [atom.coefficient for atom in parse_constraint("9./4.*([[[Z]],[[Z]]]+[[[W]],[[Z]]])").atoms]
        [2.25, 2.25]
    """
    plain = text.replace("'", "").replace('"', "")
    spans = list(_topology_spans(plain))
    names: dict[str, str] = {}
    expression, last = "", 0
    for start, stop in spans:
        topology = plain[start:stop].replace(" ", "")
        expression += plain[last:start] + names.setdefault(topology, f"sms_{len(names)}")
        last = stop
    expression += plain[last:]
    try:
        tree = ast.parse(expression.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ConstraintError(f"cannot read the constraint {text!r}") from None
    constant, coefficients = _linear(tree.body, text)
    if constant or not coefficients or set(coefficients) != set(names.values()):
        raise ConstraintError(f"the constraint {text!r} is not a sum of topologies")
    atoms: list[Atom] = []
    for topology, name in names.items():
        if topology.startswith("{"):
            atoms.append(Atom(parse_graph(topology), coefficients[name], ()))
        else:
            template, bsm_numbers = bracket_to_template(topology, final_state, intermediate_state)
            atoms.append(Atom(template, coefficients[name], bsm_numbers))
    return Constraint(tuple(atoms))


def _topology_spans(text: str) -> list[tuple[int, int]]:
    spans: list[tuple[int, int]] = []
    depth, start = 0, 0
    for index, character in enumerate(text):
        if character in "[{":
            if depth == 0:
                start = index
            depth += 1
        elif character in "]}":
            depth -= 1
            if depth == 0:
                spans.append((start, index + 1))
            if depth < 0:
                break
    if depth != 0:
        raise ConstraintError(f"unbalanced brackets in {text!r}")
    return spans


def _linear(node: ast.expr, text: str) -> tuple[float, dict[str, float]]:
    """Constant and coefficients per topology name of an expression."""
    match node:
        case ast.Constant(value=int() | float() as value):
            return float(value), {}
        case ast.Name(id=name) if name.startswith("sms_"):
            return 0.0, {name: 1.0}
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return _linear(operand, text)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            constant, terms = _linear(operand, text)
            return -constant, {name: -factor for name, factor in terms.items()}
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub() as op, right=right):
            sign = 1.0 if isinstance(op, ast.Add) else -1.0
            (constant, terms), (other, more) = _linear(left, text), _linear(right, text)
            return constant + sign * other, {name: terms.get(name, 0.0) + sign * more.get(name, 0.0) for name in {**terms, **more}}
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            (constant, terms), (other, more) = _linear(left, text), _linear(right, text)
            if not (terms and more):
                factor, scaled = (other, terms) if terms else (constant, more)
                return constant * other, {name: factor * value for name, value in scaled.items()}
        case ast.BinOp(left=left, op=ast.Div(), right=right):
            (constant, terms), (divisor, more) = _linear(left, text), _linear(right, text)
            if not more and divisor:
                return constant / divisor, {name: value / divisor for name, value in terms.items()}
    raise ConstraintError(f"the constraint {text!r} is not linear in its topologies")
