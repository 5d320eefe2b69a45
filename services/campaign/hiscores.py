"""Scored models to and from what is stored of them."""

from __future__ import annotations

from builder.evaluation import Evaluation
from builder.evaluation_json import evaluation_fields, evaluation_from_json
from builder.protomodel import ProtoModel
from database.campaigns.records import HiscoreRecord, NewHiscore


def describe_hiscore(walker_number: int, step: int, protomodel: ProtoModel, evaluation: Evaluation) -> NewHiscore:
    """A scored model as it is stored."""
    fields = evaluation_fields(evaluation)
    return NewHiscore(
        walker_number=walker_number,
        step=step,
        k=fields["k"],
        tl=fields["tl"],
        mu_hat=fields["mu_hat"],
        mu_max=fields["mu_max"],
        log_prior=fields["log_prior"],
        prior_terms=fields["prior_terms"],
        verdict=fields["verdict"],
        combination=tuple(fields["combination"]),
        protomodel=protomodel.to_json(),
        model_hash=protomodel.content_hash,
        outcome=fields["outcome"],
        failures=fields["failures"],
    )


def restore_evaluation(record: HiscoreRecord) -> Evaluation:
    """The evaluation of a stored hiscore; the number of predictions is not stored."""
    return evaluation_from_json(
        {
            "outcome": record.outcome,
            "k": record.k,
            "tl": record.tl,
            "mu_hat": record.mu_hat,
            "mu_max": record.mu_max,
            "log_prior": record.log_prior,
            "prior_terms": record.prior_terms,
            "verdict": record.verdict,
            "combination": record.combination,
            "failures": record.failures,
            "num_predictions": 0,
        }
    )


def restore_protomodel(record: HiscoreRecord) -> ProtoModel:
    """The protomodel of a stored hiscore."""
    return ProtoModel.from_json(record.protomodel)
