"""Reference cross sections: published points, shares, extrapolation, and the slips that must not come back."""

from __future__ import annotations

import math

import pytest

from inference.cross_sections import (
    MAX_MEAN_MASS,
    SQRTS_TEV,
    load_xsec_tables,
    production_pairs,
    reference_log_slope,
    reference_xsec_fb,
    reference_xsecs_fb,
)

POOL = (
    *(1000001, 1000002, 1000003, 1000004, 1000005, 1000006, 2000005, 2000006),
    *(1000011, 1000012, 1000013, 1000014, 1000015, 1000016, 1000021, 1000022, 1000023, 1000024, 1000025, 1000037),
)


def xsec(pair: tuple[int, int], mass_a: float, mass_b: float, sqrts_tev: int) -> float:
    value = reference_xsec_fb(pair, {abs(pair[0]): mass_a, abs(pair[1]): mass_b}, sqrts_tev)
    assert value is not None
    return value


@pytest.mark.parametrize(
    ("pair", "mass", "sqrts_tev", "expected_fb"),
    [
        ((1000021, 1000021), 1600.0, 13, 8.87),
        ((1000021, 1000021), 1100.0, 8, 10.1744),
        ((-1000006, 1000006), 100.0, 13, 1_770_000.0),
        ((-2000005, 2000005), 1550.0, 13, 0.191),
        ((-1000024, 1000024), 100.0, 13, 11611.9),
        ((-1000024, 1000024), 1000.0, 8, 0.06),
        ((1000023, 1000024), 100.0, 8, 7070.0),
        ((-1000024, 1000023), 100.0, 8, 4019.15),
    ],
)
def test_published_points(pair: tuple[int, int], mass: float, sqrts_tev: int, expected_fb: float) -> None:
    assert xsec(pair, mass, mass, sqrts_tev) == pytest.approx(expected_fb, rel=1e-9)


def test_every_point_of_every_table_is_reproduced() -> None:
    tables = load_xsec_tables()
    assert sum(len(t.mass_gev) for t in tables.values() if t.process != "slepton_pair_L") == 3546
    for table in tables.values():
        for mass, value in zip(table.mass_gev, table.xsec_fb, strict=True):
            assert math.exp(table.log_xsec_at(mass)) == pytest.approx(value, rel=1e-12)
        assert table.source.startswith("https://")


def test_interpolation_is_linear_in_log_xsec() -> None:
    low, high = xsec((-1000006, 1000006), 1000.0, 1000.0, 13), xsec((-1000006, 1000006), 1005.0, 1005.0, 13)
    assert xsec((-1000006, 1000006), 1002.5, 1002.5, 13) == pytest.approx(math.sqrt(low * high), rel=1e-12)


def test_one_light_squark_is_a_tenth_of_ten() -> None:
    assert xsec((-1000001, 1000001), 1600.0, 1600.0, 13) == pytest.approx(1.44 / 10)


def test_published_winner() -> None:
    """arXiv:2012.12246: κ = 1.2 of X_t at 1166 GeV is 2.6 fb; 24 fb of X_d at 735 GeV is a κ close to the published 0.5."""
    assert 1.2 * xsec((-1000006, 1000006), 1166.0, 1166.0, 13) == pytest.approx(2.6, abs=0.1)
    assert 24.0 / xsec((-1000001, 1000001), 735.0, 735.0, 13) == pytest.approx(0.5, abs=0.1)


def test_8_tev_sleptons_are_not_a_thousand_times_too_many() -> None:
    light = xsec((-1000011, 1000011), 100.0, 100.0, 8)
    assert light == pytest.approx(181.16 * 0.7326)
    for mass in (60.0, 100.0, 300.0, 490.0):
        assert xsec((-1000013, 1000013), mass, mass, 8) < xsec((-1000013, 1000013), mass, mass, 13)


def test_left_share_of_the_slepton_pair() -> None:
    assert xsec((-1000015, 1000015), 500.0, 500.0, 13) == pytest.approx(0.4836, rel=1e-3)
    assert xsec((-1000012, 1000012), 500.0, 500.0, 13) == xsec((-1000011, 1000011), 500.0, 500.0, 13)


def test_signs_match_both_ways() -> None:
    masses = {1000011: 200.0, 1000012: 200.0, 1000022: 100.0, 1000024: 300.0}
    for pair in ((-1000011, 1000012), (-1000012, 1000011), (-1000024, 1000022), (1000022, 1000024)):
        assert (reference_xsec_fb(pair, masses, 13) or 0.0) > 0.0
    assert reference_xsec_fb((1000011, 1000012), masses, 13) is None
    positive, negative = reference_xsec_fb((1000022, 1000024), masses, 13), reference_xsec_fb((-1000024, 1000022), masses, 13)
    assert positive is not None and negative is not None and positive > negative


@pytest.mark.parametrize("squark", [1000001, 1000004, 1000005, 2000005, 1000006, 2000006])
def test_gluino_with_every_squark_has_a_reference(squark: int) -> None:
    for pid in (squark, -squark):
        pair = (min(pid, 1000021), max(pid, 1000021))
        expected = 61.0 * (0.5 if squark <= 1000004 else 0.05)
        assert xsec(pair, 900.0 if abs(pair[0]) != 1000021 else 1100.0, 1100.0 if pair[1] == 1000021 else 900.0, 13) == pytest.approx(
            expected, rel=0.15
        )


def test_not_produced_pairs() -> None:
    pairs = set(production_pairs(POOL))
    for pair in ((1000022, 1000022), (1000022, 1000025), (1000022, 1000037), (1000001, 1000001), (-1000006, 2000006), (1000012, 1000012)):
        assert pair not in pairs
    assert all(pair[0] <= pair[1] for pair in pairs)
    assert (-1000024, 1000037) in pairs and (-1000037, 1000024) in pairs
    assert reference_xsec_fb((1000022, 1000022), {1000022: 100.0}, 13) is None


def test_pairs_need_both_particles() -> None:
    assert production_pairs([1000022, 1000024, 1000006]) == tuple(
        sorted([(-1000006, 1000006), (-1000024, 1000024), (-1000024, 1000022), (1000022, 1000024)])
    )
    assert reference_xsec_fb((-1000006, 1000021), {1000006: 500.0}, 13) is None


@pytest.mark.parametrize("sqrts_tev", SQRTS_TEV)
def test_extrapolation_keeps_falling_and_ends(sqrts_tev: int) -> None:
    for pair in production_pairs(POOL):
        masses = {abs(pair[0]): 0.0, abs(pair[1]): 0.0}
        values = []
        for mass in (110.0, 190.0, 400.0, 1100.0, 2100.0, 2400.0, 2990.0):
            masses = dict.fromkeys(masses, mass)
            values.append(reference_xsec_fb(pair, masses, sqrts_tev))
        numbers = [value for value in values if value is not None and math.isfinite(value)]
        assert len(numbers) == len(values) and numbers == sorted(numbers, reverse=True)
        assert reference_xsec_fb(pair, dict.fromkeys(masses, MAX_MEAN_MASS + 1.0), sqrts_tev) is None
    assert reference_xsec_fb((1000021, 1000021), {1000021: 1000.0}, 14) is None


def test_extrapolation_is_continuous_at_both_ends() -> None:
    for table in load_xsec_tables().values():
        for mass in (table.mass_gev[0], min(table.mass_gev[-1], MAX_MEAN_MASS - 1.0)):
            assert table.log_xsec_at(mass - 1e-6) == pytest.approx(table.log_xsec_at(mass + 1e-6), abs=1e-4)
        assert table.log_xsec_at(1.0) == table.log_xsec_at(0.5 * table.mass_gev[0])


def test_bulk_agrees_with_single_pairs() -> None:
    masses = {1000022: 160.0, 1000006: 1100.0, 1000021: 1800.0, 1000024: 300.0}
    bulk = reference_xsecs_fb(masses, 13)
    assert bulk == {pair: reference_xsec_fb(pair, masses, 13) for pair in production_pairs(masses)}


@pytest.mark.parametrize("mass", [31.1, 75.3, 131.7, 612.4, 1804.6, 2950.2])
@pytest.mark.parametrize("pair", [(-1000006, 1000006), (1000021, 1000021), (1000023, 1000024), (-1000013, 1000014)])
@pytest.mark.parametrize("sqrts_tev", SQRTS_TEV)
def test_log_slope_is_the_slope_of_the_interpolation(pair: tuple[int, int], mass: float, sqrts_tev: int) -> None:
    """Differences within one interval of a table; masses are chosen off the nodes."""
    step = 1e-4
    masses = {abs(pid): mass for pid in pair}
    expected = math.log(xsec(pair, mass + step, mass + step, sqrts_tev) / xsec(pair, mass - step, mass - step, sqrts_tev)) / (2 * step)
    assert reference_log_slope(pair, masses, sqrts_tev) == pytest.approx(expected, rel=1e-7, abs=1e-9)


def test_log_slope_ends_with_the_tables() -> None:
    assert reference_log_slope((-1000006, 1000006), {1000006: MAX_MEAN_MASS}, 13) == 0.0
    assert reference_log_slope((1000022, 1000022), {1000022: 100.0}, 13) == 0.0
