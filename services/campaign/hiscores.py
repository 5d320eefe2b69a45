"""Scored models to and from what is stored of them."""

from __future__ import annotations

from dataclasses import asdict

from builder.evaluation import Evaluation, Member, PriorTerms
from builder.protomodel import ProtoModel
from critics.verdict import Verdict
from database.campaigns.records import HiscoreRecord, NewHiscore
from inference.types import Outcome


def describe_hiscore(walker_number: int, step: int, protomodel: ProtoModel, evaluation: Evaluation) -> NewHiscore:
    """A scored model as it is stored."""
    return NewHiscore(
        walker_number=walker_number,
        step=step,
        k=float(evaluation.k),
        tl=float(evaluation.tl),
        mu_hat=float(evaluation.mu_hat),
        mu_max=float(evaluation.mu_max),
        log_prior=float(evaluation.log_prior),
        prior_terms=asdict(evaluation.prior_terms),
        verdict=evaluation.verdict._asdict(),
        combination=tuple(asdict(member) for member in evaluation.combination),
        protomodel=protomodel.to_json(),
        model_hash=protomodel.content_hash,
        outcome=evaluation.outcome.value,
        failures=dict(evaluation.failures),
    )


def restore_evaluation(record: HiscoreRecord) -> Evaluation:
    """The evaluation of a stored hiscore."""
    return Evaluation(
        outcome=Outcome(record.outcome),
        k=record.k,
        tl=record.tl,
        mu_hat=record.mu_hat,
        mu_max=record.mu_max,
        log_prior=record.log_prior,
        prior_terms=PriorTerms(**record.prior_terms),
        verdict=Verdict(**record.verdict),
        combination=tuple(
            Member(**{**member, "txnames": tuple(member["txnames"]), "pids": tuple(member["pids"])}) for member in record.combination
        ),
        failures=dict(record.failures),
    )


def restore_protomodel(record: HiscoreRecord) -> ProtoModel:
    """The protomodel of a stored hiscore."""
    return ProtoModel.from_json(record.protomodel)
