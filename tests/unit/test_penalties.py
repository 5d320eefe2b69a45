"""The reference program's further penalties, by hand."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from builder.penalties import (
    PenaltyName,
    log_extreme_ssms,
    log_missing_experiment,
    log_penalties,
    log_undemocratic_flavours,
)
from builder.protomodel import ProtoModel
from configs.schema import load_config
from critics.settings import CriticName
from inference.settings import CombinationRule

LBP, XT, XZ2, XW1 = 1000022, 1000006, 1000023, 1000024
STORE: Any = SimpleNamespace(results=[SimpleNamespace(experiment=name) for name in ("ATLAS", "CMS", "CMS")])


def seen_by(*results: int) -> Any:
    return SimpleNamespace(result=np.array(results, dtype=np.int32))


def stop(kappa: float) -> ProtoModel:
    return ProtoModel({LBP: 160.0, XT: 1100.0}, {XT: {(6, LBP): 1.0}}, {(-XT, XT): kappa})


def compressed(pid: int, channels: dict[tuple[int, ...], float], gap: float = 30.0) -> ProtoModel:
    return ProtoModel({LBP: 160.0, pid: 160.0 + gap}, {pid: channels}, {})


def democratic_w() -> dict[tuple[int, ...], float]:
    return {(-1, 2, LBP): 6 / 9, (-11, 12, LBP): 1 / 9, (-13, 14, LBP): 1 / 9, (-15, 16, LBP): 1 / 9}


def test_missing_experiment_costs_a_factor_of_ten() -> None:
    assert log_missing_experiment(seen_by(0, 1), STORE) == 0.0
    assert 2 * log_missing_experiment(seen_by(1, 2), STORE) == pytest.approx(-4.61, abs=0.01)
    assert log_missing_experiment(seen_by(), STORE) == pytest.approx(math.log(0.01))


@pytest.mark.parametrize(
    ("kappa", "factor"),
    [(1.0, 1.0), (99.9, 1.0), (100.0, 0.9), (1e4, 0.8), (0.01, 0.9), (1e-5, 0.75), (0.0, 1.0), (1e-19, 0.05), (1e-30, 1e-10)],
)
def test_extreme_multipliers(kappa: float, factor: float) -> None:
    assert log_extreme_ssms(stop(kappa)) == pytest.approx(math.log(factor))


def test_extreme_multipliers_multiply_over_pairs() -> None:
    model = ProtoModel({LBP: 160.0, XW1: 400.0}, {XW1: {(24, LBP): 1.0}}, {(-XW1, XW1): 1e-5, (LBP, XW1): 1e-5, (-XW1, LBP): 2.0})
    assert log_extreme_ssms(model) == pytest.approx(2 * math.log(0.75))


def test_democratic_off_shell_w_pays_what_the_reference_pays() -> None:
    """Mean ¼, largest deviation 6/9 - ¼ = 0.4167: 2 ln 0.861 = -0.30."""
    assert 2 * log_undemocratic_flavours(compressed(XW1, democratic_w())) == pytest.approx(-0.30, abs=0.005)


def test_flavours_missing_and_mixed_modes() -> None:
    one_lepton = {(-1, 2, LBP): 0.5, (-11, 12, LBP): 0.5}
    assert log_undemocratic_flavours(compressed(XW1, one_lepton)) == pytest.approx(math.log(1 / 3))
    two_leptons = {(-11, 12, LBP): 0.5, (-13, 14, LBP): 0.5}
    assert log_undemocratic_flavours(compressed(XW1, two_leptons)) == pytest.approx(math.log(1 / 2))
    assert log_undemocratic_flavours(compressed(XW1, two_leptons, gap=1.5)) == pytest.approx(0.0)
    assert log_undemocratic_flavours(compressed(XW1, one_lepton, gap=1.5)) == pytest.approx(math.log(1 / 2))
    quarks = {(-2, 2, LBP): 0.5, (-5, 5, LBP): 0.5}
    assert log_undemocratic_flavours(compressed(XZ2, quarks)) == 0.0
    assert log_undemocratic_flavours(compressed(XW1, {(-1, 2, LBP): 1.0})) == 0.0
    mixed = ProtoModel({LBP: 160.0, XW1: 190.0, XZ2: 200.0}, {XZ2: {(-2, 2, LBP): 0.5, (-24, XW1): 0.5}, XW1: democratic_w()}, {})
    assert log_undemocratic_flavours(mixed) == -math.inf


def test_on_shell_modes_pay_nothing() -> None:
    assert log_undemocratic_flavours(ProtoModel({LBP: 160.0, XW1: 400.0}, {XW1: {(24, LBP): 1.0}}, {})) == 0.0


def test_only_what_is_asked_for() -> None:
    model = stop(1e-5)
    assert log_penalties(model, seen_by(1), STORE, ()) == {}
    found = log_penalties(model, seen_by(1), STORE, (PenaltyName.EXTREME_SSMS, PenaltyName.MISSING_EXPERIMENT))
    assert list(found) == ["missing_experiment", "extreme_ssms"]
    assert found["extreme_ssms"] == pytest.approx(math.log(0.75))


def test_packaged_configuration_of_the_second_version() -> None:
    evaluation = load_config("v2").evaluation
    assert set(evaluation.penalties) == set(PenaltyName)
    assert evaluation.critics.critics == (CriticName.UPPER_LIMIT_V2, CriticName.LIKELIHOOD_V2)
    assert evaluation.score.combination_rule is CombinationRule.LEGACY_OFFSET
    assert not evaluation.score.use_upper_limits
