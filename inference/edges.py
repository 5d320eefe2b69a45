"""How much the score hangs on each statement "these two analyses may be combined".

For every pair of analyses near the best combination the statement is turned round, the best combination is searched anew, and
the change of T_L (and so of K) is reported: edges with a large change deserve a look at the two papers.
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from database.results.combinability import CombinabilityMatrix
from database.results.combinability_facts import analysis_stem
from inference.candidates import Candidates
from inference.cliques import BoolMatrix
from inference.combination import CombinationResult, combine
from inference.fixed_strength import combine_at
from inference.types import Outcome, Predictions

if TYPE_CHECKING:
    from database.results.store import ResultsStore
    from inference.score import ScoreSettings


class EdgeEffect(NamedTuple):
    """What happens if one statement on combinability is turned round.

    Attributes:
        first: analysis that sorts first, without variant suffix.
        second: the other analysis.
        is_combinable: what holds now.
        reason: why, in one sentence.
        delta_tl: T_L after the change minus T_L now.
        members: analyses of the best combination after the change, as the results call them.
    """

    first: str
    second: str
    is_combinable: bool
    reason: str
    delta_tl: float
    members: tuple[str, ...]


def find_edge_effects(
    predictions: Predictions, store: ResultsStore, combinability: CombinabilityMatrix, mu_max: float, settings: ScoreSettings
) -> tuple[EdgeEffect, ...]:
    """The effect of every edge with at least one end in the best combination, largest change first.

    Only edges that are a judgement count (`CombinabilityMatrix.is_judgement`): two analyses of one experiment and run. An edge
    stands for all results of its two analyses.

    Args:
        predictions: what the results predict for the model at μ = 1.
        store: the results.
        combinability: which results may be combined.
        mu_max: largest signal strength the critics allow.
        settings: how the model is scored.

    Returns:
        One entry per edge; none if the model has no score.
    """
    if predictions.result.size == 0:
        return ()
    candidates = Candidates(predictions, store, settings)
    results = candidates.results
    matrix = combinability.is_combinable[results[:, None], results]
    now = _combine(candidates, matrix, mu_max, settings)
    if now.outcome is not Outcome.OK:
        return ()
    stems = [analysis_stem(candidates.analysis_id(i)) for i in range(len(candidates))]
    places = {stem: np.flatnonzero([other == stem for other in stems]) for stem in sorted(set(stems))}
    in_best = {stems[i] for i in now.members}
    effects = []
    for first, second in combinations(places, 2):
        i, j = int(results[places[first][0]]), int(results[places[second][0]])
        if not ({first, second} & in_best and combinability.is_judgement(i, j)):
            continue
        is_combinable = bool(combinability.is_combinable[i, j])
        changed = matrix.copy()
        changed[np.ix_(places[first], places[second])] = not is_combinable
        changed[np.ix_(places[second], places[first])] = not is_combinable
        after = _combine(candidates, changed, mu_max, settings)
        members = tuple(dict.fromkeys(candidates.analysis_id(k) for k in after.members))
        effects.append(EdgeEffect(first, second, is_combinable, combinability.reason(i, j), after.tl - now.tl, members))
    return tuple(sorted(effects, key=lambda effect: (-abs(effect.delta_tl), effect.first, effect.second)))


def _combine(candidates: Candidates, matrix: BoolMatrix, mu_max: float, settings: ScoreSettings) -> CombinationResult:
    rule, min_members = settings.combination_rule, settings.min_members
    if settings.fixed_strength:
        return combine_at(candidates.curve_set, matrix, 1.0, rule, min_members)
    return combine(candidates.curve_set, matrix, mu_max, rule, min_members)
