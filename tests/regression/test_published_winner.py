"""The winner of arXiv:2012.12246 on the present database: what still exists there agrees with the paper's Tables 3 and 4."""

from __future__ import annotations

import pytest

from builder.evaluate import EvaluationSettings, Evaluator
from builder.protomodel import ProtoModel
from database.results.store import ResultsStore

pytestmark = pytest.mark.full_database

WINNER = ProtoModel(
    {1000006: 1166.0, 1000001: 735.0, 1000022: 163.0},
    {1000006: {(6, 1000022): 1.0}, 1000001: {(1, 1000022): 1.0}},
    {(-1000006, 1000006): 1.2, (-1000001, 1000001): 0.5},
)
PUBLISHED = {
    ("ATLAS-SUSY-2013-02", "em"): ("SR6jtp", 6.0, 4.9),
    ("ATLAS-SUSY-2016-07", "em"): ("2j_Meff_1200", 611.0, 526.0),
    ("ATLAS-SUSY-2016-16", "em"): ("tN_high", 8.0, 3.8),
    ("CMS-SUS-13-012", "ul"): (None, 30.8, 19.6),
    ("CMS-SUS-16-050", "ul"): (None, 4.5, 2.5),
}
"""Members of its best combination: region, observed, expected (events, or limits in fb)."""


def test_members_of_the_published_combination(full_store: ResultsStore) -> None:
    evaluation = Evaluator(full_store, EvaluationSettings()).evaluate(WINNER)
    found = {(member.analysis_id, member.kind): member for member in evaluation.combination}
    for key, (dataset_id, observed, expected) in PUBLISHED.items():
        member = found[key]
        assert member.dataset_id == dataset_id
        assert (member.observed, member.expected) == pytest.approx((observed, expected), rel=0.005)
    # later searches with full luminosity now constrain it: μ_max < 1
    assert evaluation.mu_max < 1.0
