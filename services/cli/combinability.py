"""`protomodels combinability …`: why two analyses may be combined, what a score owes to it, and whether a file of facts is sound."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from database.errors import ConfigError
from inference.settings import CombinationRule, Conventions
from services.cli.options import ConventionsOption, JsonOption, ModelArgument, ResultsOption, echo_json

if TYPE_CHECKING:
    from database.results.combinability import CombinabilityMatrix
    from database.results.store import ResultsStore

ConfigOption = Annotated[
    str | None, typer.Option("--config", help="Take results, selection, decisions on pairs and evaluation from this configuration.")
]
TopOption = Annotated[int, typer.Option("--top", min=1, help="Pairs to list, largest effect first.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    group = typer.Typer(no_args_is_help=True, help="Which published results may be combined.")
    group.command("why")(why)
    group.command("sensitivity")(sensitivity)
    group.command("list")(list_pairs)
    group.command("check")(check)
    app.add_typer(group, name="combinability")


def why(
    first: Annotated[str, typer.Argument(help="Analysis, e.g. CMS-SUS-19-006.", show_default=False)],
    second: Annotated[str, typer.Argument(help="The other analysis.", show_default=False)],
    results: ResultsOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say whether FIRST and SECOND may be combined, and which source says so."""
    store, matrix = _open(results, config)
    i, j = (_find_result(store, name) for name in (first, second))
    answer = {
        "first": store.results[i].analysis_id,
        "second": store.results[j].analysis_id,
        "is_combinable": bool(matrix.is_combinable[i, j]),
        "reason": matrix.reason(i, j),
    }
    if as_json:
        echo_json(answer)
        return
    verb = "may be combined" if answer["is_combinable"] else "are not combined"
    typer.echo(f"{answer['first']} and {answer['second']} {verb}: {' '.join(str(answer['reason']).split())}")


def sensitivity(
    model: ModelArgument,
    results: ResultsOption = None,
    conventions: ConventionsOption = Conventions.DEFAULT,
    combination: Annotated[CombinationRule | None, typer.Option(help="Which sets of results compete; none: as configured.")] = None,
    config: ConfigOption = None,
    top: TopOption = 20,
    as_json: JsonOption = False,
) -> None:
    """List how K of MODEL would change if each statement on two of its analyses were turned round."""
    from builder.model_io import read_models
    from critics.panel import judge
    from inference.edges import find_edge_effects
    from inference.score import score
    from services.cli.models import build_evaluator

    evaluator = build_evaluator(results, conventions, config, combination)
    settings = evaluator.settings
    answers: list[dict[str, Any]] = []
    for protomodel in read_models(model):
        predictions = evaluator.predictor.predict(protomodel.spectrum())
        verdict = judge(predictions, evaluator.store, settings.critics, skips_costly=True)
        found = score(predictions, evaluator.store, evaluator.combinability.is_combinable, verdict.mu_max, settings.score)
        effects = find_edge_effects(predictions, evaluator.store, evaluator.combinability, verdict.mu_max, settings.score)
        edges = [
            {
                "first": effect.first,
                "second": effect.second,
                "is_combinable": effect.is_combinable,
                "delta_k": effect.delta_tl,
                "reason": " ".join(effect.reason.split()),
                "members_after": list(effect.members),
            }
            for effect in effects
        ]
        members = [member.candidate.analysis_id for member in found.members]
        answers.append({"t_l": found.tl, "members": members, "num_edges": len(edges), "edges": edges[:top]})
    if as_json:
        echo_json(answers[0] if len(answers) == 1 else answers)
        return
    for answer in answers:
        _print_effects(answer)


def list_pairs(
    one_sided: Annotated[bool, typer.Option("--one-sided", help="Only pairs that their source lists under one of the two.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List the pairs of analyses that the packaged facts name, with their source."""
    from database.results.combinability import load_combinability

    facts = load_combinability()
    chosen = [(pair, entry) for pair, entry in sorted(facts.analyses.items()) if entry.is_one_sided or not one_sided]
    if as_json:
        echo_json([{**pair._asdict(), **entry._asdict()} for pair, entry in chosen])
        return
    for pair, entry in chosen:
        typer.echo(f"{pair.first} {pair.second} ({entry.source}{', from one side only' if entry.is_one_sided else ''})")


def check(
    files: Annotated[list[Path], typer.Argument(help="Files of facts in the format of the packaged ones.", show_default=False)],
) -> None:
    """Check FILES of facts; the first defect is one sentence."""
    from database.results.combinability import load_combinability

    facts = load_combinability(files)
    typer.echo(
        f"{len(facts.analyses)} pairs of analyses and {len(facts.regions)} pairs of signal regions among {len(facts.known)} analyses"
    )


def _open(results: str | None, config: str | None) -> tuple[ResultsStore, CombinabilityMatrix]:
    from configs.schema import ResultsSettings, load_config
    from services.campaign.selection import combine_as_configured
    from services.stores import open_results

    settings = ResultsSettings() if config is None else load_config(config).results
    store = open_results(settings.store if results is None and config is not None else results)
    return store, combine_as_configured(store, settings)


def _find_result(store: ResultsStore, name: str) -> int:
    """Index of the first result of an analysis, its variants included.

    Raises:
        ConfigError: the results do not hold it.
    """
    import difflib

    from database.results.combinability import analysis_stem

    ids = [record.analysis_id for record in store.results]
    if name in ids:
        return ids.index(name)
    stems = [analysis_stem(analysis_id) for analysis_id in ids]
    if name in stems:
        return stems.index(name)
    close = difflib.get_close_matches(name, ids, n=1)
    raise ConfigError(f"{name} is not among these results" + (f"; did you mean {close[0]}?" if close else ""))


def _print_effects(answer: dict[str, Any]) -> None:
    from rich.table import Table

    from services.cli.console import build_console
    from services.cli.options import number

    console = build_console()
    if not answer["members"]:
        console.print("the model has no score, so no pair matters")
        return
    console.print(f"T_L = {number(answer['t_l'])} from {', '.join(answer['members'])}", markup=False)
    table = Table(title=f"K if a statement were turned round: {len(answer['edges'])} of {answer['num_edges']} pairs")
    for name in ("analysis", "with", "now", "ΔK", "because"):
        table.add_column(name, justify="right" if name == "ΔK" else "left", overflow="fold")
    for edge in answer["edges"]:
        now = "combined" if edge["is_combinable"] else "not combined"
        table.add_row(edge["first"], edge["second"], now, f"{edge['delta_k']:+.3f}", _without_citation(edge["reason"]))
    console.print(table)


def _without_citation(reason: str) -> str:
    """A reason with the name of its source only; `why` prints it in full.

    Examples:
        >>> _without_citation("listed as free of common events (taco: Signal-region level, arXiv:2209.00025)")
        'listed as free of common events (taco)'
    """
    return re.sub(r" \((\w+): .*\)$", r" (\1)", reason)
