"""Benchmarks: the models they draw, what they hand to the peer, what they count."""

from __future__ import annotations

import contextlib
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from benchmarks.agreement import compare
from benchmarks.batch import Stopwatch, run_walkers, time_moves
from benchmarks.batch_jax import MU_GRID, TOLERANCE, build_profiles, collect, enlarge, largest_difference, load, save
from benchmarks.conventions import Changes, Judged, build_evaluator, compare_conventions
from benchmarks.hotspots import by_function, by_stage
from benchmarks.models import KINDS, random_models, to_plain_json, walk_models
from benchmarks.smodels_peer import LABELS, OutOfTimeError, copy_database, time_limit, write_slha
from builder.evaluate import EvaluationSettings, Evaluator
from builder.model_io import parse_models
from builder.model_io.plain_json import parse_plain_model
from builder.protomodel import ProtoModel
from database.results.importer import open_embedded_store
from inference.settings import Conventions

WINNER = ProtoModel(
    {1000022: 163.0, 1000006: 1166.0, 1000001: 735.0},
    {1000006: {(6, 1000022): 1.0}, 1000001: {(1, 1000022): 1.0}},
    {(-1000006, 1000006): 1.2, (-1000001, 1000001): 0.5},
)


@pytest.fixture(scope="module")
def evaluator() -> Evaluator:
    return Evaluator(open_embedded_store(), EvaluationSettings())


def test_random_models_are_the_same_for_a_seed_and_of_every_kind() -> None:
    models = random_models(2 * len(KINDS), seed=3)
    assert models == random_models(2 * len(KINDS), seed=3)
    assert models != random_models(2 * len(KINDS), seed=4)
    assert any(model.widths for model in models)
    assert any(min(mass for pid, mass in m.masses.items() if pid != 1000022) - m.masses[1000022] < 10.0 for m in models)
    assert all(max(x for xsecs in model.spectrum().xsecs_fb.values() for x in xsecs.values()) > 0.5 for model in models)


def test_plain_json_keeps_what_is_predicted_from() -> None:
    for model in random_models(len(KINDS), seed=5):
        again = parse_plain_model(to_plain_json(model)).spectrum()
        assert again.masses == model.spectrum().masses
        assert again.xsecs_fb == model.spectrum().xsecs_fb
        for pid, channels in model.spectrum().decays.items():
            assert dict(again.decays.get(pid, ())) == pytest.approx(dict(channels), rel=1e-14)


def test_the_peer_reads_the_same_model(tmp_path: Path) -> None:
    """What is written for SModelS is an SLHA file that our own reader understands."""
    for model in [WINNER, *random_models(len(KINDS), seed=6)]:
        write_slha(to_plain_json(model), tmp_path / "model.slha")
        (again,) = parse_models((tmp_path / "model.slha").read_text())
        assert again.masses == model.masses
        assert dict(again.widths) == pytest.approx(dict(model.widths))
        wanted = {pair: xsec for pair, xsec in model.spectrum().xsecs_fb[13].items() if xsec > 0.0}
        assert dict(again.spectrum().xsecs_fb[13]) == pytest.approx(wanted, rel=1e-12)


def test_a_copy_asks_for_no_missing_workspace(tmp_path: Path) -> None:
    folder = tmp_path / "text" / "13TeV" / "ATLAS-SUSY-1"
    folder.mkdir(parents=True)
    (folder / "here.json").write_text("{}")
    info = "id: ATLAS-SUSY-1\njsonFiles: {'here.json': ['SR1']}\njsonFiles_FullLikelihood: {\n 'gone.json': ['SR1'],\n}\nlumi: 139/fb\n"
    (folder / "globalInfo.txt").write_text(info)
    copy_database(tmp_path / "text", tmp_path / "copy")
    kept = (tmp_path / "copy" / "13TeV" / "ATLAS-SUSY-1" / "globalInfo.txt").read_text()
    assert kept == "id: ATLAS-SUSY-1\njsonFiles: {'here.json': ['SR1']}\nlumi: 139/fb\n"
    assert (tmp_path / "copy" / "databaseParticles.py").read_text() == LABELS
    assert (folder / "globalInfo.txt").read_text() == info


def test_a_limit_on_time_is_no_failure_of_a_fit() -> None:
    """Fits catch every Exception of theirs; running out of time must get through."""
    with pytest.raises(OutOfTimeError), time_limit(0.05):
        while True:
            with contextlib.suppress(Exception):  # as the peer does
                math.fsum(range(1000))


def test_models_still_being_made_are_left_out() -> None:
    row = {"analysis": "A", "dataset": None, "type": "upperLimit", "txnames": ["T2"], "xsec_fb": 2.0, "ul_obs_fb": 1.0, "ul_exp_fb": None}
    agreement = compare({"0": {"predictions": [row]}, "1": {"predictions": [row]}}, {"0": {"predictions": [row]}}, frozenset())
    assert (agreement.num_models, agreement.num_matched, agreement.extra) == (1, 1, [])


def test_changes_are_counted_by_what_changes() -> None:
    default = Judged(1.0, 5.0, 1.0, (("A", "ul", None),), 2.0, False)
    changes = Changes()
    changes.add("same", default, default)
    changes.add("k", default, default._replace(k=0.5))
    changes.add("combination", default, default._replace(members=(), k=1.005))
    changes.add("cap", default, default._replace(mu_max=0.5))
    changes.add("veto", default, default._replace(is_excluded=True))
    changes.add("no score", default, default._replace(k=-math.inf))
    assert changes.num_above == [1, 1, 0]
    assert changes.worst == (-0.5, "k")
    assert (changes.num_scores, changes.num_combinations, changes.num_caps, changes.num_exclusions) == (1, 1, 1, 1)
    assert changes.where == ["k", "cap", "veto", "no score"]


def test_each_quirk_acts_alone_and_among_all() -> None:
    quirks = set(Conventions) - {Conventions.DEFAULT, Conventions.SMODELS}
    for quirk in quirks:
        assert [other for other in quirks if other.has(quirk)] == [quirk]
        assert Conventions.SMODELS.has(quirk)
        assert not Conventions.DEFAULT.has(quirk)


def test_conventions_are_compared_on_every_model(evaluator: Evaluator) -> None:
    changes = compare_conventions(evaluator.store, [("winner", WINNER)])
    assert set(changes) == set(Conventions) - {Conventions.DEFAULT}
    assert all(found.worst[0] == 0.0 for quirk, found in changes.items() if quirk is Conventions.MEAN_LIFETIMES)
    assert build_evaluator(evaluator.store, Conventions.SMODELS).settings.score.conventions is Conventions.SMODELS


def test_walk_models_are_those_of_a_walk(evaluator: Evaluator) -> None:
    models = walk_models(evaluator, 12, seed=2, models_per_walk=6)
    assert len({model.content_hash for model in models[:6]}) == 6
    assert models == walk_models(evaluator, 12, seed=2, models_per_walk=6)
    assert models[:6] == walk_models(evaluator, 6, seed=2, models_per_walk=6)


def test_walkers_and_moves_are_timed(evaluator: Evaluator) -> None:
    stopwatch = Stopwatch(evaluator.evaluate)
    states, whole = run_walkers(stopwatch, num_walkers=3, num_steps=2, seed=1)
    assert [state.step for state in states] == [4, 4, 4]
    assert whole >= sum(stopwatch.seconds) > 0.0
    times = time_moves(evaluator, [WINNER], seed=1, repeats=1)
    assert len(times["κ"]) == 1
    assert times["κ"][0] > 0.0


def test_samples_are_counted_by_stage_and_function() -> None:
    root = ("hotspots.main", "builder.evaluate.Evaluator.evaluate", "inference.predictions.Predictor.predict")
    stacks = Counter(
        {
            (*root, "inference.lookup.LookUp.ranges", "inference.lookup._fill [compiled]"): 6,
            (*root, "inference.lookup.LookUp.ranges"): 2,
            root: 1,
        }
    )
    assert by_stage(stacks) == {"inference.lookup.LookUp.ranges": 8, "evaluator itself": 1}
    assert by_function(stacks)[:2] == [("inference.lookup._fill [compiled]", 6, 6), ("inference.lookup.LookUp.ranges", 2, 8)]


def test_problems_of_a_batch_survive_a_file_and_grow(evaluator: Evaluator, tmp_path: Path) -> None:
    problems, answers, seconds = collect(evaluator, [WINNER, ProtoModel({1000022: 100.0}, {}, {})])
    save(tmp_path / "problems.npz", problems, answers, seconds)
    again, same, _ = load(tmp_path / "problems.npz")
    assert largest_difference(same, answers, again) == {"regions": 0.0, "limits": 0.0, "covariance": 0.0}
    batch = enlarge(again, 5)
    assert batch.num_models == 5
    assert batch.regions["signal"][2] == pytest.approx(1.01 * problems.regions["signal"][0])
    for analysis in batch.analyses:
        assert set(analysis["owner"]) <= {0, 2, 4}
    answers["limits"] = np.full((2, MU_GRID.size, answers["limits"].shape[2]), np.nan)
    assert largest_difference(answers, same, problems)["limits"] == math.inf


def test_batches_on_an_accelerator_agree_with_our_kernels(evaluator: Evaluator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Needs JAX, which is no dependency of ours."""
    monkeypatch.setenv("NPROC", "8")
    jax = pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)
    problems, answers, _ = collect(evaluator, [WINNER])
    found = build_profiles(jax.devices("cpu")[0], 1024)(problems)
    assert max(largest_difference(found, answers, problems).values()) < TOLERANCE
