"""The toy walk of arXiv:2012.12246 §4.2 on the published maps, with the packaged configuration."""

from __future__ import annotations

import pytest

from builder.evaluate import Evaluator
from builder.walk import build_kernel, run_steps, start_walk
from configs.schema import load_config
from database.results.store import ResultsStore
from services.campaign.selection import select_results

pytestmark = pytest.mark.full_database

PUBLISHED_K = 3.65
NUM_WALKS = 4


def test_walks_of_200_steps_find_a_stop_and_reach_the_published_k(full_store: ResultsStore, reference_kernels: None) -> None:
    config = load_config("toy")
    evaluator = Evaluator(select_results(full_store, config.results), config.evaluation)
    kernel = build_kernel(evaluator.evaluate, config.walk)
    best = []
    for walk in range(NUM_WALKS):
        seed = config.campaign.seed
        state = start_walk(seed, walk, evaluator.evaluate, config.walk)
        *_, (state, _) = run_steps(state, config.campaign.num_steps, seed=seed, walk_number=walk, kernel=kernel)
        best.append((state.best_k, state.best_protomodel))
    k, protomodel = max(best, key=lambda entry: entry[0])
    assert set(protomodel.masses) == {1000006, 1000022}
    assert k >= PUBLISHED_K
    assert sum(set(model.masses) == {1000006, 1000022} for _, model in best) >= 3
    members = {member.analysis_id for member in evaluator.evaluate(protomodel).combination}
    assert {"ATLAS-SUSY-2016-16", "CMS-SUS-16-050"} <= members
    assert 950.0 < protomodel.masses[1000006] < 1300.0
