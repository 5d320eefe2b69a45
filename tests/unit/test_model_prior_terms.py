"""Counting of the prior terms against the published numbers."""

from __future__ import annotations

import pytest

from builder.evaluation import PriorTerms
from builder.prior_terms import count_classes, count_prior_terms
from builder.protomodel import ProtoModel

LBP, XT, XD, XG = 1000022, 1000006, 1000001, 1000021


def twice_log_prior(terms: PriorTerms) -> float:
    """2 ln π of arXiv:2012.12246: -2 (n_p/2 + n_BR/4 + n_SSM/8)."""
    return -2.0 * (terms.num_particles / 2 + terms.num_branching_ratios / 4 + terms.num_ssms / 8)


def build(brs: dict[int, list[float]], ssms: list[float]) -> ProtoModel:
    """Build a model with given branching ratios and multipliers; every pair has a visible cross section."""
    channels = {XT: [(6, LBP), (5, 1000024)], XD: [(1, LBP), (1, 1000023)], XG: [(21, LBP), (-5, 5, LBP)]}
    masses = {LBP: 100.0, **dict.fromkeys(brs, 1000.0)}
    pairs = [(-pid, pid) for pid in brs if pid != XG] + [(LBP, LBP), (XG, XG), (-XD, LBP), (LBP, XD), (XD, XD), (-XD, XG), (XD, XG)]
    usable = [(min(p), max(p)) for p in pairs if all(abs(q) in masses for q in p)][: len(ssms)]
    assert len(usable) == len(ssms)
    if any(len(values) > 1 and pid == XT for pid, values in brs.items()):
        masses[1000024] = 400.0
    return ProtoModel(
        masses,
        {pid: dict(zip(channels[pid], values, strict=False)) for pid, values in brs.items()},
        dict(zip(usable, ssms, strict=True)),
        {13: dict.fromkeys(usable, 1.0)},
    )


def test_table_2_one_particle() -> None:
    model = build({XG: [0.3, 0.7]}, [0.5, 2.0])
    assert count_prior_terms(model, counts_lbp=False) == PriorTerms(1, 1, 2.0)
    assert twice_log_prior(count_prior_terms(model, counts_lbp=False)) == pytest.approx(-2.0)


def test_table_2_two_particles() -> None:
    model = build({XD: [1.0], XG: [1.0]}, [0.1, 0.2, 0.4, 0.8, 1.6])
    assert twice_log_prior(count_prior_terms(model, counts_lbp=False)) == pytest.approx(-3.25)


def test_table_2_three_particles() -> None:
    model = ProtoModel(
        {LBP: 100.0, XT: 900.0, XD: 900.0, XG: 1500.0},
        {
            XT: {(6, LBP): 1.0},
            XD: {(1, LBP): 1.0},
            XG: {(21, LBP): 0.1, (-5, 5, LBP): 0.2, (-6, 6, LBP): 0.3, (-1, 1, LBP): 0.4},
        },
        {pair: 0.1 * 2.0**k for k, pair in enumerate(_eight_pairs())},
        {13: dict.fromkeys(_eight_pairs(), 1.0)},
    )
    terms = count_prior_terms(model, counts_lbp=False)
    assert terms == PriorTerms(3, 3, 8.0)
    assert twice_log_prior(terms) == pytest.approx(-6.5)


def _eight_pairs() -> list[tuple[int, int]]:
    return [(-XT, XT), (-XD, XD), (XG, XG), (-XD, XG), (XD, XG), (-XT, XG), (XT, XG), (LBP, LBP)]


def test_published_winner() -> None:
    """K - T_L of the winning model: three particles, the lightest included, two distinct multipliers and three copies."""
    pairs = [(-XT, XT), (-XD, XD), (XD, XD), (-XD, LBP), (LBP, XD)]
    model = ProtoModel(
        {LBP: 163.0, XT: 1166.0, XD: 735.0},
        {XT: {(6, LBP): 1.0}, XD: {(1, LBP): 1.0}},
        dict(zip(pairs, [1.2, 0.5, 0.5, 0.5, 0.5], strict=True)),
        {13: dict.fromkeys(pairs, 1.0)},
    )
    terms = count_prior_terms(model)
    assert terms.num_particles == 3 and terms.num_branching_ratios == 0
    assert terms.num_ssms == pytest.approx(2.3)
    assert twice_log_prior(terms) == pytest.approx(-3.575)


def test_particle_without_decays_costs_nothing() -> None:
    model = ProtoModel({LBP: 100.0, 1000024: 100.0}, {}, {})
    assert count_prior_terms(model).num_branching_ratios == 0


def test_equal_branching_ratios_cost_nothing() -> None:
    assert count_prior_terms(build({XG: [0.5, 0.5]}, [])).num_branching_ratios == 0
    assert count_prior_terms(build({XG: [0.51, 0.49]}, [])).num_branching_ratios == 0
    assert count_prior_terms(build({XG: [0.52, 0.48]}, [])).num_branching_ratios == 1
    assert count_prior_terms(build({XG: [1.0 - 1e-7, 1e-7]}, [])).num_branching_ratios == 0


def test_knocked_out_and_invisible_pairs_are_free() -> None:
    masses, brs = {LBP: 100.0, XT: 1000.0}, {XT: {(6, LBP): 1.0}}
    pair = (-XT, XT)
    assert count_prior_terms(ProtoModel(masses, brs, {pair: 1e-5})).num_ssms == 0.0
    assert count_prior_terms(ProtoModel(masses, brs, {pair: 1.0}, {13: {pair: 9e-4}})).num_ssms == 0.0
    assert count_prior_terms(ProtoModel(masses, brs, {pair: 1.0}, {13: {pair: 1e-3}})).num_ssms == 1.0
    assert count_prior_terms(ProtoModel(masses, brs, {})).num_ssms == 1.0


def test_sign_variants_are_members() -> None:
    model = ProtoModel({LBP: 100.0, 1000024: 300.0}, {1000024: {(24, LBP): 1.0}}, {})
    assert len(model.xsecs_fb(13)) == 3
    assert count_prior_terms(model).num_ssms == pytest.approx(1.2)


def test_classes_do_not_depend_on_the_order() -> None:
    chain = [1.00, 1.02, 1.04, 1.06]
    assert count_classes(chain, 0.03) == count_classes(chain[::-1], 0.03) == 2
    assert count_classes([], 0.03) == 0
