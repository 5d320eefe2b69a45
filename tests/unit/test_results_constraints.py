"""Constraints: bracket and graph notation, expressions, and what is refused."""

from __future__ import annotations

import pytest

from database.results.constraints import ConstraintError, bracket_to_template, parse_constraint, parse_graph
from database.results.particle_labels import PARTICLE_LABELS, is_known_label


def test_worked_example_of_the_bracket_notation() -> None:
    template, numbers = bracket_to_template("[[['jet','jet'],['W']],[['W','b']]]", ["MET", "HSCP"])
    assert template.text() == (
        "(PV(0) > anyBSM(1),anyBSM(2)), (anyBSM(1) > anyBSM(3),jet(4),jet(5)), (anyBSM(3) > MET(6),W(7)), (anyBSM(2) > HSCP(8),W(9),b(10))"
    )
    assert numbers == ((1, 3, 6), (2, 8))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[[],[]]", "(PV(0) > MET(1),MET(2))"),
        ("[[*],[['*']]]", "(PV(0) > InclusiveNode(1),anyBSM(2)), (InclusiveNode(1) > MET(3),*anySM(4)), (anyBSM(2) > MET(5),anySM(6))"),
        ("[[[*anySM]],[]]", "(PV(0) > anyBSM(1),MET(2)), (anyBSM(1) > MET(3),*anySM(4))"),
        ("[[[b, t+ , W-]],[]]", "(PV(0) > anyBSM(1),MET(2)), (anyBSM(1) > MET(3),W-(4),b(5),t+(6))"),
        ("[[[''l-','nu'']],[]]", "(PV(0) > anyBSM(1),MET(2)), (anyBSM(1) > MET(3),l-(4),nu(5))"),
    ],
)
def test_brackets(text: str, expected: str) -> None:
    assert bracket_to_template(text)[0].text() == expected


def test_inclusive_branch_has_no_masses() -> None:
    assert bracket_to_template("[['*'],[['*'],['*']]]", ["MET", "HSCP"])[1] == ((), (2, 5, 7))


def test_intermediate_states() -> None:
    template, _ = bracket_to_template("[[['*anySM']],[]]", ["MET", "MET"], [["C1"], []])
    assert template.text() == "(PV(0) > C1(1),MET(2)), (C1(1) > MET(3),*anySM(4))"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "{(PV > anyBSM(1), anyBSM(4)), (anyBSM(1) > t,anyBSM(2)), (anyBSM(4) > t,MET(5)), (anyBSM(2) > W,MET(3))}",
            "(PV(0) > anyBSM(1),anyBSM(4)), (anyBSM(1) > t(6),anyBSM(2)), (anyBSM(2) > W(8),MET(3)), (anyBSM(4) > t(7),MET(5))",
        ),
        ("{(PV > Zprime(1)),(Zprime(1) > MET(2),MET(3))}", "(PV(0) > Zprime(1)), (Zprime(1) > MET(2),MET(3))"),
        ("(PV > C1(1),MET(3)), (C1(1) > *anySM,MET(2))", "(PV(0) > C1(1),MET(3)), (C1(1) > *anySM(4),MET(2))"),
        ("(PV > inclusive(1),MET), (inclusive(1) > jet,MET)", "(PV(0) > InclusiveNode(1),MET(2)), (InclusiveNode(1) > jet(3),MET(4))"),
    ],
)
def test_graphs(text: str, expected: str) -> None:
    template = parse_graph(text)
    assert template.text() == expected
    assert parse_graph(expected) == template


def test_template_positions_point_to_daughters() -> None:
    template = parse_graph("(PV > anyBSM(7),MET(9)), (anyBSM(7) > jet(2),MET(1))")
    assert [(node.number, node.label) for node in template.nodes] == [(0, "PV"), (7, "anyBSM"), (2, "jet"), (1, "MET"), (9, "MET")]
    assert template.nodes[0].daughters == (1, 4)
    assert template.nodes[1].daughters == (2, 3)
    assert [node.number for node in template.primaries] == [7, 9]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("(PV > Graviton(1),MET(2))", "unknown particle label 'Graviton'"),
        ("(PV > MET(1),jet(1))", "node number 1 is used for"),
        ("(PV > MET(1),MET(1))", "has two mothers"),
        ("(PV > anyBSM(1)), (anyBSM(2) > jet,MET)", "not a tree"),
        ("(MET(1) > jet,jet)", "no primary vertex"),
        ("(PV MET)", "needs '>'"),
        ("(PV > MET(1)", "unbalanced parentheses"),
        ("PV > MET", "unexpected 'P'"),
        ("(PV > MET(x))", "cannot read the particle"),
    ],
)
def test_broken_graphs(text: str, problem: str) -> None:
    with pytest.raises(ConstraintError, match=problem):
        parse_graph(text)


@pytest.mark.parametrize(
    ("text", "coefficients"),
    [
        ("[[[Z]],[[Z]]]", [1.0]),
        ("9./4.*[[['b', 'jet','jet']],[['b', 'jet','jet']]]", [2.25]),
        ("2.23*([[['b'],['jet','jet']],[['b'],['jet','jet']]])", [2.23]),
        ("[[['mu+','mu-']],[['l','nu']]] + [[['e+','e-']],[['l','nu']]]", [1.0, 1.0]),
        ("2*([[[Z]],[[Z]]] - 3*[[[W]],[[Z]]])/4 + [[[Z]],[[Z]]]", [1.5, -1.5]),
        ("{(PV > MET(1),MET(2))}+2*{(PV > Zprime(1)), (Zprime(1) > MET(2),MET(3))}", [1.0, 2.0]),
        ("-[[[Z]],[[Z]]] + 2*[[['Z']], [['Z']]]", [1.0]),
    ],
)
def test_expressions_are_linear_combinations(text: str, coefficients: list[float]) -> None:
    assert [atom.coefficient for atom in parse_constraint(text).atoms] == coefficients


@pytest.mark.parametrize(
    "text",
    [
        "[[[Z]],[[Z]]]*[[[W]],[[Z]]]",
        "1/[[[Z]],[[Z]]]",
        "[[[Z]],[[Z]]]+1",
        "[[[Z]],[[Z]]][[[W]],[[Z]]]",
        "2.",
        "abs([[[Z]],[[Z]]])",
        "[[[Z]],[[Z]]",
        "[[[nonsense]],[[Z]]]",
        "[[Z],[Z]]",
        "[[[Z Z]],[[Z]]]",
    ],
)
def test_unusable_constraints(text: str) -> None:
    with pytest.raises(ConstraintError):
        parse_constraint(text)


def test_final_states_must_fit_the_branches() -> None:
    with pytest.raises(ConstraintError, match="finalState has 1 entries for 2 branches"):
        parse_constraint("[[[Z]],[[Z]]]", ["MET"])
    with pytest.raises(ConstraintError, match="intermediateState of branch 1 has 2 entries for 1 vertices"):
        parse_constraint("[[[Z]],[[Z]]]", None, [["C1", "C1"], ["C1"]])


def test_label_facts() -> None:
    assert not (PARTICLE_LABELS["jet"].pids or set()) & {5, -5}, "a b quark is no jet"
    assert {5, -5} < (PARTICLE_LABELS["jetb"].pids or set())
    assert PARTICLE_LABELS["l"].pids == {11, -11, 13, -13}
    assert PARTICLE_LABELS["L+"].pids == {-11, -13, -15}
    assert PARTICLE_LABELS["MET"].charge_thirds == {0}
    assert PARTICLE_LABELS["MET"].spin_halves is None
    assert PARTICLE_LABELS["HSCP"].charge_thirds == {3, -3}
    assert PARTICLE_LABELS["gluino"] == (False, None, frozenset({0}), 8, 1)
    for sign in "+-":
        assert (PARTICLE_LABELS["l" + sign].pids or frozenset()) < (PARTICLE_LABELS["L" + sign].pids or frozenset())
    assert is_known_label("*anySM")
    assert not is_known_label("*nothing")
