"""`protomodels explain`: why the published results say what they say of a model, from the command line."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from inference.settings import Conventions
from services.cli.options import ConventionsOption, ModelArgument, ResultsOption

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from builder.protomodel import ProtoModel
    from inference.explanation import Explanation, MapReport, TopologyReport

EXIT_NOTHING_FOUND = 3
MAX_NAMED_RESULTS = 3
"""Results named in one cell of a table; the others are counted."""

TopOption = Annotated[int, typer.Option("--top", min=1, help="How many topologies each table shows, largest σ·BR first.")]
AnalysisOption = Annotated[str | None, typer.Option("--analysis", help="Show what becomes of every topology in this analysis.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON: everything, whatever --top says.")]


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("explain")(explain)


def explain(
    model: ModelArgument,
    results: ResultsOption = None,
    top: TopOption = 10,
    analysis: AnalysisOption = None,
    conventions: ConventionsOption = Conventions.DEFAULT,
    as_json: JsonOption = False,
) -> None:
    """Explain what the results see of MODEL: its topologies, the maps they fit or miss and why, and what nobody looks for."""
    from builder.model_io import read_models
    from inference.explain import explain as explain_spectrum
    from inference.predictions import Predictor
    from inference.settings import PredictionSettings
    from services.cli.console import build_console
    from services.stores import open_results

    models = read_models(model)
    predictor = Predictor(open_results(results), PredictionSettings(conventions=conventions))
    if analysis is not None and not any(analysis in (record.analysis_id, record.folder) for record in predictor.store.results):
        typer.echo(f"protomodels: the results hold no analysis '{analysis}'; 'protomodels results info' lists them", err=True)
        raise typer.Exit(EXIT_NOTHING_FOUND)
    explanations = [explain_spectrum(predictor, protomodel.spectrum()) for protomodel in models]
    if as_json:
        rows = [_select(explanation.to_json(), analysis) for explanation in explanations]
        typer.echo(json.dumps(rows[0] if len(rows) == 1 else rows, allow_nan=False, indent=1))
        return
    console = build_console()
    for protomodel, explanation in zip(models, explanations, strict=True):
        _print(console, protomodel, explanation, top, analysis)
    if predictor.store.is_approximate:
        console.print("≈ the results are approximate: for demonstration and tests")


def _select(document: dict[str, Any], analysis: str | None) -> dict[str, Any]:
    """The document, restricted to one analysis where one is asked for."""
    if analysis is not None:
        for topology in document["topologies"]:
            topology["maps"] = [row for row in topology["maps"] if analysis in (row["analysis"], row["result"])]
        document["results"] = [row for row in document["results"] if analysis in (row["analysis"], row["result"])]
    return document


def _print(console: Console, protomodel: ProtoModel, explanation: Explanation, top: int, analysis: str | None) -> None:
    heavy_first = sorted(protomodel.masses.items(), key=lambda item: (-item[1], item[0]))
    console.print(f"[bold]{', '.join(f'{_particle((pid,))} {mass:.0f} GeV' for pid, mass in heavy_first)}[/bold]")
    console.print(_coverage_table(explanation))
    if not explanation.topologies:
        console.print(_why_nothing(explanation))
        return
    console.print(_topology_table(explanation, top))
    if explanation.missing:
        console.print(_missing_table(explanation, top))
    cut = [pair for pair in explanation.production if max(pair.cut_fb) > 0.0]
    if cut:
        console.print(_cut_table(explanation, top))
    console.print(_result_table(explanation) if analysis is None else _analysis_table(explanation, analysis))


def _why_nothing(explanation: Explanation) -> str:
    if not explanation.production:
        return "Nothing is produced: no pair of the model's particles has a cross section."
    return f"No topology reaches σ·BR = {explanation.sigma_cut_fb:g} fb; everything is below the cut."


def _table(title: str, *columns: str) -> Table:
    """A table; the names of right-justified columns start with ">"."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(title), title_justify="left")
    for name in columns:
        table.add_column(escape(name.removeprefix(">")), justify="right" if name.startswith(">") else "left", overflow="fold")
    return table


def _fb(value: float) -> str:
    return f"{value:.4g}" if value > 0.0 else "–"


def _percent(part: float, total: float) -> str:
    return f"{_fb(part)} ({100.0 * part / total:.0f} %)" if total > 0.0 else "–"


def _coverage_table(explanation: Explanation) -> Table:
    table = _table(
        "How much of what is produced do the results see?",
        "√s",
        ">produced [fb]",
        ">seen [fb]",
        ">not seen [fb]",
        f">σ·BR below {explanation.sigma_cut_fb:g} fb [fb]",
        ">results that see it",
    )
    for entry in explanation.coverage:
        parts = (_percent(part, entry.total_fb) for part in (entry.covered_fb, entry.missing_fb, entry.cut_fb))
        table.add_row(f"{entry.sqrts_tev} TeV", _fb(entry.total_fb), *parts, str(entry.num_results))
    return table


def _particle(pids: tuple[int, ...]) -> str:
    from builder.particles import symbol

    return "/".join(symbol(pid) for pid in pids)


def _without_charge(pids: tuple[int, ...]) -> str:
    from builder.particles import is_known, particle_of, symbol

    return "/".join(particle_of(pid).symbol if is_known(pid) else symbol(pid) for pid in pids)


def _chains(topology: TopologyReport) -> str:
    from rich.markup import escape

    mark = " °" if topology.is_compressed else ""
    return escape(topology.describe(_particle)) + mark


def _named(names: Iterable[str]) -> str:
    """The first few names, and how many more there are."""
    distinct = list(dict.fromkeys(names))
    more = len(distinct) - MAX_NAMED_RESULTS
    return ", ".join(distinct[:MAX_NAMED_RESULTS]) + (f" and {more} more" if more > 0 else "")


def _topology_table(explanation: Explanation, top: int) -> Table:
    from inference.fates import NO_DIAGRAM_WORDS, Fate

    shown = sorted(explanation.topologies, key=lambda entry: (-max(entry.weight_fb), entry.index))[:top]
    is_any_compressed = any(topology.is_compressed for topology in shown)
    table = _table(
        f"Topologies: {len(shown)} of {len(explanation.topologies)}, largest σ·BR first; masses in GeV"
        + ("; ° soft or invisible decays left out" if is_any_compressed else ""),
        ">#",
        "decay chains",
        ">8 TeV [fb]",
        ">13 TeV [fb]",
        "seen by, or why not",
    )
    for topology in shown:
        counted = [report for report in topology.maps if report.fate is Fate.COUNTED]
        if counted:
            said = _named(f"{report.analysis_id} {report.txname}" for report in counted)
        else:
            said = f"[yellow]not seen[/yellow]: {_first_reason(topology.maps) if topology.maps else NO_DIAGRAM_WORDS}"
        table.add_row(str(topology.index), _chains(topology), *(_fb(weight) for weight in topology.weight_fb), said)
    return table


def _first_reason(maps: Sequence[MapReport]) -> str:
    from inference.fates import CLOSENESS

    closest = min(maps, key=lambda report: (CLOSENESS[report.fate], report.distance if report.distance > 0.0 else 0.0))
    return f"{closest.describe(_without_charge)} ({closest.analysis_id} {closest.txname})"


def _missing_table(explanation: Explanation, top: int) -> Table:
    from inference.fates import NO_DIAGRAM_WORDS

    shown = explanation.missing[:top]
    table = _table(
        f"Largest topologies that no result sees: {len(shown)} of {len(explanation.missing)}",
        ">#", "decay chains", ">8 TeV [fb]", ">13 TeV [fb]", "closest map", "why not",
    )  # fmt: skip
    for missing in shown:
        closest = missing.closest
        name = "–" if closest is None else f"{closest.analysis_id} {closest.txname}"
        if closest is not None and missing.closest_index != missing.index:
            name += f" (for #{missing.closest_index})"
        reason = NO_DIAGRAM_WORDS if closest is None else closest.describe(_without_charge)
        weights = (_fb(weight) for weight in missing.weight_fb)
        table.add_row(str(missing.index), _chains(explanation.topologies[missing.index]), *weights, name, reason)
    return table


def _cut_table(explanation: Explanation, top: int) -> Table:
    pairs = sorted((pair for pair in explanation.production if max(pair.cut_fb) > 0.0), key=lambda pair: (-max(pair.cut_fb), pair.pids))
    table = _table(
        f"Production with channels below {explanation.sigma_cut_fb:g} fb: {len(pairs[:top])} of {len(pairs)} pairs",
        "pair",
        ">σ 8 TeV [fb]",
        ">dropped [fb]",
        ">σ 13 TeV [fb]",
        ">dropped [fb]",
    )
    for pair in pairs[:top]:
        cells = [_fb(value) for values in zip(pair.xsec_fb, pair.cut_fb, strict=True) for value in values]
        table.add_row(" ".join(_particle((pid,)) for pid in pair.pids), *cells)
    return table


def _result_table(explanation: Explanation) -> Table:
    from inference.fates import CLOSENESS, Fate

    num_seen = sum(result.best is Fate.COUNTED for result in explanation.results)
    table = _table(
        f"Results: {num_seen} of {len(explanation.results)} see the model (--analysis ID shows one in detail)",
        "what its best topology meets",
        ">results",
        "which",
    )
    counts = Counter(result.best for result in explanation.results)
    for best in sorted(counts, key=lambda fate: len(CLOSENESS) if fate is None else CLOSENESS[fate]):
        alike = [result for result in explanation.results if result.best is best]
        table.add_row(alike[0].reason, str(counts[best]), _named(result.folder.split("/")[-1] for result in alike))
    return table


def _analysis_table(explanation: Explanation, analysis: str) -> Table:
    table = _table(
        f"Every topology in {analysis}",
        ">#",
        "map",
        "type",
        ">σ·BR [fb]",
        ">regions",
        ">limit [fb] or best ε",
        "what became of it",
    )
    for topology in explanation.topologies:
        for report in topology.maps:
            if analysis in (report.analysis_id, report.folder):
                value = f"{report.value:.4g}" if report.value == report.value else "–"
                regions = "–" if report.kind == "upperLimit" else str(len(set(report.dataset_ids)))
                words = report.describe(_without_charge)
                table.add_row(str(topology.index), report.txname, report.kind, _fb(report.weight_fb), regions, value, words)
    if not table.row_count:
        table.add_row("–", "–", "–", "–", "–", "–", "none of its diagrams occurs in the model")
    return table
