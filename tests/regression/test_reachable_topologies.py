"""What the pool's channels lead to on the full database: the topologies that the reference program's second version lost are seen."""

from __future__ import annotations

import numpy as np
import pytest

from builder.decays import off_shell_branching_ratios
from builder.moves.birth import add_particle
from builder.moves.context import MoveContext
from builder.moves.settings import WalkSettings
from builder.protomodel import ProtoModel
from configs.loading import parse_settings
from database.results.store import ResultsStore
from inference.predictions import Predictor
from inference.settings import PredictionSettings
from inference.spectrum import LBP_PID

pytestmark = pytest.mark.full_database

GLUINO, XZ2, XW1 = 1000021, 1000023, 1000024


def seen_txnames(predictor: Predictor, model: ProtoModel) -> set[str]:
    predictions = predictor.predict(model.spectrum())
    return {predictor.store.map_txnames[number] for maps in predictions.map_ids for number in maps}


def test_a_gluino_born_in_a_walk_is_seen_in_its_three_body_topologies(full_store: ResultsStore) -> None:
    """X_g next to X_Z^1 alone decays to pairs of quarks: T1, T1bbbb, T1tttt, whatever branching ratios the birth draws."""
    predictor = Predictor(full_store, PredictionSettings())
    context = MoveContext(parse_settings(WalkSettings, {"pool": {"allowed_particles": ["Xg"]}}))
    seen = set()
    for seed in range(6):
        model = add_particle(np.random.default_rng(seed), ProtoModel({LBP_PID: 200.0}, {}, {}), GLUINO, context)
        assert model is not None
        seen |= seen_txnames(predictor, model.with_masses({GLUINO: 1500.0}))
    assert {"T1", "T1bbbb", "T1tttt"} <= seen


@pytest.mark.parametrize(("channel", "txname"), [((-1, 1, LBP_PID), "T1"), ((-5, 5, LBP_PID), "T1bbbb"), ((-6, 6, LBP_PID), "T1tttt")])
def test_each_pair_of_quarks_has_its_topology(full_store: ResultsStore, channel: tuple[int, ...], txname: str) -> None:
    model = ProtoModel({LBP_PID: 200.0, GLUINO: 1500.0}, {GLUINO: {channel: 1.0}}, {})
    assert seen_txnames(Predictor(full_store, PredictionSettings()), model) == {txname}


@pytest.mark.parametrize("gap", [91.19, 91.5, 91.99, 92.01])
def test_neutralino_and_chargino_are_seen_on_both_sides_of_the_border(full_store: ResultsStore, gap: float) -> None:
    """The reference froze particles 0.8 GeV below the border; here they decay off shell up to it, on shell from it on."""
    masses = {LBP_PID: 150.0, XW1: 150.0 + gap - 11.0, XZ2: 150.0 + gap}
    decays = {pid: off_shell_branching_ratios(pid, masses) or {(boson, LBP_PID): 1.0} for pid, boson in ((XZ2, 23), (XW1, 24))}
    expected = "TChiWZoff" if gap < 92.0 else "TChiWZ"
    assert expected in seen_txnames(Predictor(full_store, PredictionSettings()), ProtoModel(masses, decays, {}))
