"""The value of one evaluation: what the walk, the hiscore list and the reports know of a scored protomodel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from critics.verdict import Verdict
from inference.types import Outcome


@dataclass(frozen=True, slots=True)
class PriorTerms:
    """Counts that enter the prior, expo1: ln π = -(n_p/a1 + n_BR/a2 + n_SSM/a3), arXiv:2012.12246.

    Attributes:
        num_particles: all particles of the model, the lightest included.
        num_branching_ratios: distinct branching ratios minus one, summed over the decaying particles.
        num_ssms: classes of equal signal strength multipliers plus 0.1 per further member.
        penalties: ln f of each further factor of the prior that was asked for (`builder.penalties`), by name.
    """

    num_particles: int
    num_branching_ratios: int
    num_ssms: float
    penalties: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Member:
    """One likelihood of the best combination, as in the hiscore tables.

    Attributes:
        analysis_id: e.g. "CMS-EXO-20-004".
        kind: "ul" (truncated Gaussian from limits), "em" (one signal region) or "comb" (the analysis's own combination).
        dataset_id: signal region, None for limits and combinations.
        txnames: simplified topologies that contribute.
        observed: observed events (em) or observed limit on the cross section [fb] (ul, comb; nan for comb unless the
            evaluation was asked for limits, and so are expected and z).
        expected: expected background events (em) or expected limit [fb] (ul, comb); nan where undefined.
        expected_error: uncertainty of the expected background [events] (em), else nan.
        z: local significance [standard deviations] of observed over expected.
        signal: expected signal events at μ̂ (em), or predicted cross section [fb] at μ̂ (ul, comb).
        pids: positive PDG ids of all particles of its topologies: mothers, intermediate and final states.
        log_likelihood_ratio: ln L(μ̂)/L(0) of this member at the combination's μ̂.
    """

    analysis_id: str
    kind: str
    dataset_id: str | None
    txnames: tuple[str, ...]
    observed: float
    expected: float
    expected_error: float
    z: float
    signal: float
    pids: tuple[int, ...]
    log_likelihood_ratio: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Score and verdict of one protomodel.

    Attributes:
        outcome: OK, or why there is no score (k is then -inf: never accepted over a scored model).
        k: K = T_L + 2 ln π.
        tl: T_L = 2 ln L(μ̂)/L(0) of the best combination.
        mu_hat: signal strength that maximises the combination's likelihood within [0, mu_max].
        mu_max: largest signal strength the critics allow (inf if unconstrained).
        log_prior: ln π, penalties included.
        prior_terms: the counts behind it.
        verdict: the critics' judgement.
        combination: members of the best combination; those of an evaluator are described when they are read.
        failures: number of failed numerical evaluations per analysis id.
        num_predictions: predictions of all kinds.
    """

    outcome: Outcome
    k: float
    tl: float
    mu_hat: float
    mu_max: float
    log_prior: float
    prior_terms: PriorTerms
    verdict: Verdict
    combination: Sequence[Member] = ()
    failures: Mapping[str, int] = field(default_factory=dict)
    num_predictions: int = 0
