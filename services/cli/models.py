"""`protomodels predict` and `protomodels score`: what the published results say of a model, from the command line."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from database.errors import ConfigError
from inference.settings import CombinationRule, Conventions
from inference.types import Outcome
from services.cli.options import ConventionsOption, JsonOption, ModelArgument, ResultsOption, plain

if TYPE_CHECKING:
    from builder.evaluate import EvaluationSettings, Evaluator
    from builder.evaluation import Evaluation
    from builder.protomodel import ProtoModel

OUTCOME_WORDS = {
    Outcome.OK: "ok",
    Outcome.NO_PREDICTION: "no published result sees the model ('protomodels explain' says why)",
    Outcome.NO_LIKELIHOOD: "results see the model, but none of them has a likelihood",
    Outcome.FIT_FAILED: "a fit failed",
    Outcome.NON_FINITE: "a number is not finite",
    Outcome.OUTSIDE_DOMAIN: "the signal is outside of what a learned model was trained for",
}
"""Outcomes in words."""


ConfigOption = Annotated[
    str | None,
    typer.Option("--config", help="Score as campaigns of this configuration do: its results, selection and evaluation."),
]

CombinationOption = Annotated[
    CombinationRule | None,
    typer.Option(
        help="Which sets of results compete: maximal (published), free (members that hurt are dropped), or legacy-offset (as the "
        "reference program's second version); none: as configured, else maximal."
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command("predict")(predict)
    app.command("score")(score)


def predict(
    model: ModelArgument,
    results: ResultsOption = None,
    conventions: ConventionsOption = Conventions.DEFAULT,
    as_json: JsonOption = False,
) -> None:
    """Print every prediction for MODEL: cross sections, limits and likelihoods, analysis by analysis."""
    from builder.model_io import read_models
    from inference.predictions import Predictor
    from inference.rows import prediction_rows, topology_rows
    from inference.settings import PredictionSettings
    from services.stores import open_results

    models = read_models(model)
    predictor = Predictor(open_results(results), PredictionSettings(conventions=conventions))
    answers: dict[str, Any] = {}
    for number, protomodel in enumerate(models):
        start = time.perf_counter()
        topologies = predictor.topologies(protomodel.spectrum())
        predictions = predictor.predict_topologies(topologies)
        seconds = time.perf_counter() - start
        rows = topology_rows(topologies)
        answers[str(number)] = {
            "n_topologies": len(rows),
            "topologies": rows,
            "predictions": prediction_rows(predictor, predictions),
            "seconds": seconds,
        }
    if as_json:
        typer.echo(json.dumps(answers, allow_nan=False))
        return
    for number, protomodel in enumerate(models):
        _print_predictions(protomodel, answers[str(number)])


def _print_predictions(protomodel: ProtoModel, answer: dict[str, Any]) -> None:
    from rich.markup import escape
    from rich.table import Table

    from services.cli.console import build_console

    console = build_console()
    title = f"{_describe(protomodel)}: {answer['n_topologies']} topologies, {len(answer['predictions'])} predictions"
    if not answer["predictions"]:
        console.print(f"{title}; {OUTCOME_WORDS[Outcome.NO_PREDICTION]}")
        return
    table = Table(title=title)
    for name, justify in (
        ("analysis", "left"), ("type", "left"), ("data set", "left"), ("topologies", "left"),
        ("σ [fb]", "right"), ("limit obs [fb]", "right"), ("limit exp [fb]", "right"), ("r obs", "right"), ("r exp", "right"),
    ):  # fmt: skip
        table.add_column(escape(name), justify="right" if justify == "right" else "left", overflow="fold")
    for row in answer["predictions"]:
        name = row["analysis"] + (" ≈" if row["is_approximate"] else "")
        limits = row["ul_obs_fb"], row["ul_exp_fb"]
        ratios = (f"{row['xsec_fb'] / limit:.3g}" if limit else "–" for limit in limits)
        shown = (f"{limit:.4g}" if limit is not None else "–" for limit in limits)
        table.add_row(name, row["type"], row["dataset"] or "–", ", ".join(row["txnames"]), f"{row['xsec_fb']:.4g}", *shown, *ratios)
    console.print(table)
    if any(row["is_approximate"] for row in answer["predictions"]):
        console.print("≈ approximate: for demonstration and tests")


def _describe(protomodel: ProtoModel) -> str:
    from builder.particles import symbol

    heavy_first = sorted(protomodel.masses.items(), key=lambda item: -item[1])
    return ", ".join(f"{symbol(pid)} {mass:.0f} GeV" for pid, mass in heavy_first)


def score(
    model: ModelArgument,
    results: ResultsOption = None,
    conventions: ConventionsOption = Conventions.DEFAULT,
    combination: CombinationOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Score MODEL: K, T_L, μ̂, the prior, the critics' verdict and the best combination."""
    from builder.model_io import read_models

    evaluator = build_evaluator(results, conventions, config, combination)  # first: a configuration may describe particles
    models = read_models(model)
    evaluations = [evaluator.evaluate(protomodel, with_limits=True) for protomodel in models]
    if as_json:
        rows = [evaluation_row(evaluation) for evaluation in evaluations]
        typer.echo(json.dumps(rows[0] if len(rows) == 1 else rows, allow_nan=False, indent=1))
        return
    for protomodel, evaluation in zip(models, evaluations, strict=True):
        _print_score(protomodel, evaluation)


def build_evaluator(
    results: str | None, conventions: Conventions, config: str | None, combination: CombinationRule | None = None
) -> Evaluator:
    """An evaluator for what the options say.

    Args:
        results: name of a store; None: that of the configuration, else the imported one.
        conventions: default, or a quirk of the reference.
        config: configuration whose results, selection and evaluation are used; None: defaults.
        combination: rule of the combination; None: that of the configuration.

    Raises:
        ConfigError: options exclude each other, or the configuration is not valid.
    """
    from builder.evaluate import EvaluationSettings, Evaluator
    from configs.schema import load_config
    from inference.score import ScoreSettings
    from inference.settings import PredictionSettings
    from services.campaign.selection import combine_as_configured, select_results
    from services.stores import open_results

    rule = {} if combination is None else {"score.combination_rule": combination.value}
    if config is None:
        predictions, scoring = PredictionSettings(conventions=conventions), ScoreSettings(conventions=conventions)
        evaluation = replace_settings(EvaluationSettings(predictions=predictions, score=scoring), rule)
        return Evaluator(open_results(results), evaluation)
    if conventions is not Conventions.DEFAULT:
        raise ConfigError("--conventions and --config exclude each other: the configuration has conventions of its own")
    settings = load_config(config)
    store = select_results(open_results(settings.results.store if results is None else results), settings.results)
    combinability = combine_as_configured(store, settings.results)
    return Evaluator(store, replace_settings(settings.evaluation, rule), combinability)


def replace_settings(settings: EvaluationSettings, changes: dict[str, Any]) -> EvaluationSettings:
    """The settings with values replaced by dotted key.

    Raises:
        ConfigError: the result is not valid.
    """
    from builder.evaluate import EvaluationSettings
    from configs.loading import parse_settings, set_key

    data = settings.model_dump(mode="json")
    for key, value in changes.items():
        set_key(data, key, value)
    return parse_settings(EvaluationSettings, data)


def evaluation_row(evaluation: Evaluation) -> dict[str, Any]:
    """An evaluation as plain JSON values; numbers that are not finite become null."""
    from builder.evaluation_json import evaluation_fields

    names = {"analysis_id": "analysis", "kind": "type", "dataset_id": "dataset", "txnames": "topologies"}
    row = {"t_l" if name == "tl" else name: value for name, value in evaluation_fields(evaluation).items()}
    row["combination"] = [
        {names.get(name, name): value for name, value in member.items()} | {"unit": "events" if member["kind"] == "em" else "fb"}
        for member in row["combination"]
    ]
    row["nearest_constraint"] = next(iter(row["verdict"]["constraints"]), None)
    answer: dict[str, Any] = plain(row)
    return answer


def _print_score(protomodel: ProtoModel, evaluation: Evaluation) -> None:
    from services.cli.console import build_console
    from services.cli.tables import combination_table, score_line, verdict_line

    console = build_console()
    console.print(f"[bold]{_describe(protomodel)}[/bold]")
    console.print(score_line(evaluation), markup=False)
    console.print(f"{OUTCOME_WORDS[evaluation.outcome]}; {verdict_line(evaluation)}", markup=False)
    if evaluation.combination:
        console.print(combination_table(evaluation.combination))
    for analysis, count in sorted(evaluation.failures.items()):
        console.print(f"[yellow]{analysis}: {count} numerical failure(s), left out[/yellow]")
