"""The winner of arXiv:2012.12246 on the present database: what still exists there agrees with the paper's Tables 3 and 4, its T_L and K."""

from __future__ import annotations

import math

import numpy as np
import pytest

from builder.evaluate import EvaluationSettings, Evaluator
from builder.evaluation import PriorTerms
from builder.protomodel import ProtoModel
from configs.schema import ResultsSettings
from critics.settings import CriticName, CriticSettings
from critics.upper_limit import r_values
from database.results.store import ResultsStore
from inference.predictions import Predictor
from inference.score import ScoreSettings, k_score, log_prior
from inference.settings import PredictionSettings
from inference.types import PredictionKind
from services.campaign.selection import select_results

pytestmark = pytest.mark.full_database

XT, XD, LBP = 1000006, 1000001, 1000022
MASSES = {XT: 1165.865, XD: 734.948, LBP: 162.552}
DECAYS = {XT: {(6, LBP): 1.0}, XD: {(1, LBP): 1.0}}
KAPPA = {(-XT, XT): 1.226, (-XD, XD): 0.492}
WINNER = ProtoModel(MASSES, DECAYS, KAPPA)
"""Masses and multipliers as published with run 9."""

XSEC_13_FB = {(-XT, XT): 2.6, (-XD, XD): 24.0}
"""Its production cross sections, published; the squark's includes same-sign pairs, which this pool does not produce."""

TABLE_3 = {
    ("ATLAS-SUSY-2013-02", "em"): ("SR6jtp", 6.0, 4.9, 1.6),
    ("ATLAS-SUSY-2016-07", "em"): ("2j_Meff_1200", 611.0, 526.0, 31.0),
    ("ATLAS-SUSY-2016-16", "em"): ("tN_high", 8.0, 3.8, 1.0),
    ("CMS-SUS-13-012", "ul"): (None, 30.8, 19.6, math.nan),
    ("CMS-SUS-16-050", "ul"): (None, 4.5, 2.5, math.nan),
}
"""Members of its best combination: region, observed, expected with error (events, or limits in fb)."""

TABLE_4 = {"T2": 1.30, "T2tt": 1.28}
"""The tightest critics: observed r of CMS-SUS-19-006 for the squark and for the stop."""

PUBLISHED_Z, PUBLISHED_K = 3.237, 6.901

OF_2020 = ResultsSettings(select_analyses=(*(f"{name}:{kind}" for name, kind in TABLE_3), "CMS-SUS-19-006:ul"))
"""The members and the tightest critic; nothing that was published later."""


def published_model() -> ProtoModel:
    """The model with the published cross sections at 13 TeV; at 8 TeV with those of the multipliers that these imply."""
    eight, thirteen = WINNER.xsecs_fb(8), WINNER.xsecs_fb(13)
    return ProtoModel(
        MASSES, DECAYS, {}, {13: XSEC_13_FB, 8: {pair: eight[pair] * xsec / thirteen[pair] for pair, xsec in XSEC_13_FB.items()}}
    )


def test_members_of_the_published_combination(full_store: ResultsStore) -> None:
    """Regions, counts and limits of Table 3, still chosen and still combined among all results of today."""
    evaluation = Evaluator(full_store, EvaluationSettings()).evaluate(WINNER)
    found = {(member.analysis_id, member.kind): member for member in evaluation.combination}
    for key, (dataset_id, observed, expected, error) in TABLE_3.items():
        member = found[key]
        assert member.dataset_id == dataset_id
        assert (member.observed, member.expected) == pytest.approx((observed, expected), rel=0.005)
        assert member.expected_error == pytest.approx(error, nan_ok=True)


def test_stop_cross_section_is_the_published_one() -> None:
    assert WINNER.xsecs_fb(13)[-XT, XT] == pytest.approx(2.6, abs=0.05)


def test_tightest_critics_of_the_paper(full_store: ResultsStore) -> None:
    predictions = Predictor(full_store, PredictionSettings()).predict(published_model().spectrum())
    r_obs, _ = r_values(predictions)
    found = {
        full_store.map_txnames[predictions.map_ids[i][0]]: float(r_obs[i])
        for i in np.flatnonzero(predictions.kind == PredictionKind.UPPER_LIMIT).tolist()
        if full_store.results[predictions.result[i]].analysis_id == "CMS-SUS-19-006"
    }
    assert {name: round(found[name], 1) for name in TABLE_4} == {name: round(r, 1) for name, r in TABLE_4.items()}
    assert found == pytest.approx(TABLE_4, abs=0.01)


def test_statistic_and_score_of_the_paper(full_store: ResultsStore) -> None:
    """With the results of 2020 that decide: T_L = Z² = 10.48, and K with the published counts, 3 particles and 2.3 multipliers."""
    settings = EvaluationSettings(score=ScoreSettings(min_members=2), critics=CriticSettings(v1_one_limit_per_analysis=True))
    evaluator = Evaluator(select_results(full_store, OF_2020), settings)
    evaluation = evaluator.evaluate(published_model())
    assert {(member.analysis_id, member.kind) for member in evaluation.combination} == set(TABLE_3)
    assert evaluation.mu_hat == evaluation.mu_max == pytest.approx(1.0, abs=0.03), "the model sits at the critic's cap"
    assert evaluation.tl == pytest.approx(PUBLISHED_Z**2, abs=0.02)
    counts = PriorTerms(num_particles=3, num_branching_ratios=0, num_ssms=2.3)
    assert k_score(evaluation.tl, log_prior(counts, settings.score)) == pytest.approx(PUBLISHED_K, abs=0.02)
    # with this project's cross section of one squark the cap acts earlier and T_L hardly changes
    assert evaluator.evaluate(WINNER).tl == pytest.approx(PUBLISHED_Z**2, abs=0.15)


def test_later_searches_constrain_the_winner(full_store: ResultsStore) -> None:
    """Full Run-2 searches for stops bound it to less than half of its strength; the critics of the second version exclude it."""
    capped = Evaluator(full_store, EvaluationSettings()).evaluate(WINNER)
    assert 0.4 < capped.mu_max < 0.5
    assert capped.verdict.nearest is not None
    assert capped.verdict.nearest.analysis_ids == ("CMS-SUS-20-002",)
    for critic in (CriticName.UPPER_LIMIT_V2, CriticName.LIKELIHOOD_V2):
        settings = EvaluationSettings(critics=CriticSettings(critics=(critic,)))
        verdict = Evaluator(full_store, settings).evaluate(WINNER).verdict
        assert verdict.is_excluded, verdict.reason
