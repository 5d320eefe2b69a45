"""Matching of topologies to published diagrams, by hand."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from builder.protomodel import ProtoModel
from database.results.constraints import bracket_to_template, parse_graph
from database.results.store import ResultsStore
from inference.matching import Matching, TemplateMatcher
from inference.settings import PredictionSettings
from inference.spectrum import Spectrum
from inference.topologies import Topology, build_topologies
from tests.random_models import random_models

SETTINGS = PredictionSettings(sigma_cut_fb=0.0)


def topology(masses: dict[int, float], decays: dict[int, tuple[int, ...]], pair: tuple[int, int]) -> Topology:
    model = Spectrum(masses, {pid: ((daughters, 1.0),) for pid, daughters in decays.items()}, {13: {pair: 1.0}})
    (found,) = build_topologies(model, PredictionSettings(sigma_cut_fb=0.0, compress_mass=False, compress_invisible=False)).topologies
    return found


def matches(text: str, found: Topology) -> list[dict[int, int]]:
    template = parse_graph(text) if "PV" in text else bracket_to_template(text)[0]
    return list(TemplateMatcher(template).match(found.branches))


TWO_STOPS = topology({1000006: 800.0, 1000022: 100.0}, {1000006: (6, 1000022)}, (-1000006, 1000006))
WZ = topology({1000024: 300.0, 1000023: 320.0, 1000022: 100.0}, {1000024: (24, 1000022), 1000023: (23, 1000022)}, (1000023, 1000024))


def test_symmetric_topologies_match_in_both_orders() -> None:
    assert len(matches("[[[t]],[[t]]]", TWO_STOPS)) == 2


def test_number_and_kind_of_visible_daughters_must_agree() -> None:
    assert not matches("[[[b]],[[b]]]", TWO_STOPS)
    assert not matches("[[[t,b]],[[t]]]", TWO_STOPS)
    assert not matches("[[[t],[jet]],[[t]]]", TWO_STOPS)


def test_charges_must_be_opposite_where_the_label_says_so() -> None:
    assert matches("[[[t+]],[[t-]]]", TWO_STOPS)
    assert not matches("[[[t+]],[[t+]]]", TWO_STOPS)


def test_branch_order_is_free_and_assignments_follow_it() -> None:
    (found,) = matches("[[[W]],[[Z]]]", WZ)
    states = WZ.states
    assert [states[found[number]].mass for number in (1, 3, 2, 5)] == [300.0, 100.0, 320.0, 100.0]


def test_groups_of_labels() -> None:
    squarks = topology({1000004: 900.0, 1000022: 100.0}, {1000004: (4, 1000022)}, (-1000004, 1000004))
    assert matches("[[[jet]],[[jet]]]", squarks)
    assert not matches("[[[q]],[[q]]]", squarks)
    bottoms = topology({1000005: 900.0, 1000022: 100.0}, {1000005: (5, 1000022)}, (-1000005, 1000005))
    assert not matches("[[[jet]],[[jet]]]", bottoms), "a jet is not a b jet"


def test_inclusive_branch_compares_final_states_only() -> None:
    cascade = topology(
        {1000006: 800.0, 1000024: 400.0, 1000022: 100.0}, {1000006: (5, 1000024), 1000024: (24, 1000022)}, (-1000006, 1000006)
    )
    assert matches("[['*'],['*']]", cascade)
    assert matches("[['*'],[[b],[W]]]", cascade)
    assert not matches("[['*'],[[t]]]", cascade)


def test_inclusive_list_absorbs_any_visible_daughters() -> None:
    assert matches("(PV > anyBSM(1),anyBSM(2)), (anyBSM(1) > *anySM,MET(3)), (anyBSM(2) > Z,MET(4))", WZ)
    assert not matches("(PV > anyBSM(1),anyBSM(2)), (anyBSM(1) > *anySM,HSCP(3)), (anyBSM(2) > Z,MET(4))", WZ)


@pytest.mark.parametrize(
    ("text", "expected"), [("(PV > C1(1),MET(2))", True), ("(PV > HSCP(1),MET(2))", True), ("(PV > MET(1),MET(2))", False)]
)
def test_stable_charged_states(text: str, expected: bool) -> None:
    stable = topology({1000024: 300.0, 1000022: 100.0}, {}, (1000022, 1000024))
    assert bool(matches(text, stable)) is expected


def test_slots_are_remembered_per_signature_and_give_both_orders() -> None:
    matching = Matching([bracket_to_template("[[[t]],[[t]]]")[0].text()], [(0, ((1, "mass"), (3, "mass"), (2, "mass"), (5, "mass")))])
    (found,) = matching.slots(TWO_STOPS)
    assert found.slot == 0
    assert set(found.assignments) == {(0, 1, 2, 3), (2, 3, 0, 1)}
    assert matching.slots(TWO_STOPS) is matching.slots(TWO_STOPS)


@pytest.mark.full_database
def test_topologies_are_tried_on_templates_of_their_shape_only(full_store: ResultsStore) -> None:
    """What the shapes leave out would not have matched: random topologies against every published diagram."""
    slots = [(template, ()) for template in range(len(full_store.templates))]
    matching = Matching(full_store.templates, slots)
    matchers = [TemplateMatcher(tree) for tree in full_store.template_trees]
    num_matches = 0

    @settings(max_examples=60, deadline=None, database=None)
    @given(model=random_models(max_particles=6))
    def check(model: ProtoModel) -> None:
        nonlocal num_matches
        for found in build_topologies(model.spectrum(), SETTINGS).topologies[:40]:
            expected = [number for number, matcher in enumerate(matchers) if any(True for _ in matcher.match(found.branches))]
            assert [slot.slot for slot in matching.slots(found)] == expected
            num_matches += len(expected)

    check()
    assert num_matches > 100
    assert sum(matcher.shape is None for matcher in matchers) < len(matchers) / 4
