"""What limits look like in the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from services.cli.console import build_console

if TYPE_CHECKING:
    from rich.console import Console

    from inference.multibin.results import AnalysisRecord, InputRecord, LimitRecord, ResultsFile

VERDICTS = {"allowed": "[green]allowed[/]", "excluded": "[bold red]EXCLUDED[/]", "undecided": "[yellow]undecided[/]"}
KINDS = {
    "full": "full model",
    "simplified": "simplified model",
    "covariance": "covariance",
    "network": "learned model",
    "single_region": "best region",
}


def print_results(results: ResultsFile, *, is_detailed: bool) -> None:
    """Prints tables, one per signal, with what went wrong and what to know below each."""
    console = build_console()
    for entry in results.inputs:
        _print_input(console, results, entry, is_detailed)


def _print_input(console: Console, results: ResultsFile, entry: InputRecord, is_detailed: bool) -> None:
    from rich.markup import escape
    from rich.table import Table

    settings = results.settings
    level = f"{100 * settings.confidence_level:g} %"
    if not entry.analyses:
        console.print(f"{entry.name}: no analysis sees this signal", markup=False)
        return
    quantities = {quantity.value for quantity in settings.quantities}
    has_expected = "expected" in quantities
    table = Table(title=escape(f"{entry.name}: limits on the signal strength μ at {level} CL"), title_justify="left")
    columns = [("analysis", "left"), ("regions combined by", "left"), ("signal events", "right")]
    if "uplim" in quantities:
        columns.append(("μ_UL observed", "right"))
        columns += [("expected", "right"), ("± 1σ", "center")] if has_expected else []
        columns += [("± 2σ", "center")] if has_expected and is_detailed else []
    if "cls" in quantities:
        columns.append(("CLs observed", "right"))
        columns += [("expected", "right")] if has_expected else []
    columns += [("μ̂", "right")] if is_detailed else []
    for name, justify in (*columns, ("verdict", "left")):
        sides: dict[str, Any] = {"justify": justify, "no_wrap": name == "analysis"}
        table.add_column(name, overflow="fold", **sides)
    for analysis in entry.analyses:
        name = analysis.analysis + (" ≈" if analysis.is_approximate else "")
        events = f"{analysis.num_signal_events:.3g}"
        table.add_row(escape(name), escape(_describe(analysis)), events, *_cells(analysis.limits, quantities, is_detailed))
    combination = entry.combination
    if combination is not None and len(combination.members) > 1:
        table.add_section()
        what = f"product of {len(combination.members)}"
        table.add_row("[bold]combination[/]", what, "", *_cells(combination.limits, quantities, is_detailed))
    console.print(table)
    if combination is not None:
        members = ", ".join(combination.members)
        kind = "most sensitive combination" if len(combination.members) > 1 else "most sensitive analysis"
        console.print(f"{kind} (expected before looking): {members}", markup=False)
        verdict = VERDICTS[entry.verdict.value]
        console.print(f"verdict: {verdict}: {escape(_because(combination.limits, settings.confidence_level))}")
    _print_notes(console, entry, is_detailed)
    if any(analysis.is_approximate for analysis in entry.analyses):
        console.print("≈ approximate: for demonstration and tests")


def _describe(analysis: AnalysisRecord) -> str:
    if analysis.model is None:
        return "–"
    kind = KINDS[analysis.model.kind]
    detail = analysis.model.set
    return f"{kind} ({detail})" if detail else kind


def _cells(limits: LimitRecord, quantities: set[str], is_detailed: bool) -> list[str]:
    has_expected = "expected" in quantities
    cells = []
    if "uplim" in quantities:
        is_open = limits.outcome.value == "nothing_excluded"
        cells.append("∞" if is_open else _number(limits.mu_ul_obs))
        if has_expected:
            two_low, low, median, high, two_high = limits.mu_ul_exp
            cells += ["∞" if is_open else _number(median), _band(low, high)]
            cells += [_band(two_low, two_high)] if is_detailed else []
    if "cls" in quantities:
        cells.append(_number(limits.cls_obs))
        cells += [_number(limits.cls_exp[2])] if has_expected else []
    cells += [_number(limits.mu_hat)] if is_detailed else []
    what = {"no_signal": "no signal", "no_model": "no model", "outside_domain": "outside domain"}.get(limits.outcome.value)
    failed = {"fit_failed": "[yellow]fit failed[/]", "timed_out": "[yellow]timed out[/]"}.get(limits.outcome.value)
    return [*cells, what or failed or VERDICTS[limits.verdict.value]]


def _number(value: float | None) -> str:
    """Three digits; "–" where there is none.

    Examples:
        >>> _number(1.2345), _number(0.000123), _number(1234.5), _number(None)
        ('1.23', '0.00012', '1234', '–')
    """
    if value is None:
        return "–"
    if value == 0.0 or 0.01 <= abs(value) < 1000.0:
        return f"{value:.3g}"
    return f"{value:.0f}" if 1000.0 <= abs(value) < 1e5 else f"{value:.2g}"


def _band(low: float | None, high: float | None) -> str:
    return "–" if low is None and high is None else f"{_number(low)} … {_number(high)}"


def _because(limits: LimitRecord, confidence_level: float) -> str:
    if limits.mu_ul_obs is not None:
        sign = "<" if limits.mu_ul_obs < 1.0 else "≥"
        return f"μ_UL = {_number(limits.mu_ul_obs)} {sign} 1"
    if limits.cls_obs is not None:
        alpha = 1.0 - confidence_level
        return f"CLs = {_number(limits.cls_obs)} {'<' if limits.cls_obs < alpha else '≥'} {alpha:.3g}"
    return limits.reason or "there is no limit"


def _print_notes(console: Console, entry: InputRecord, is_detailed: bool) -> None:
    for analysis in entry.analyses:
        texts = ([analysis.limits.reason] if analysis.limits.reason else []) + _worth_saying(analysis, is_detailed)
        if is_detailed and analysis.model is not None:
            texts.insert(0, f"{analysis.model.description}, {analysis.origin}, evaluated by {analysis.model.backend}")
        if texts:
            console.print(f"· {analysis.analysis}: {'; '.join(texts)}", markup=False, style="dim" if not analysis.limits.reason else None)
        if is_detailed and len(analysis.sets) > 1:
            for trial in analysis.sets:
                limit = f"expected μ_UL {_number(trial.mu_ul_apriori)}" if trial.mu_ul_apriori is not None else trial.problem
                mark = "used" if trial.is_used else "not used"
                console.print(f"    {trial.set}: {trial.num_regions} regions with signal, {limit} ({mark})", markup=False, style="dim")
    if not is_detailed and any(analysis.model is not None and analysis.model.kind == "single_region" for analysis in entry.analyses):
        console.print(
            "best region: no model of several regions is at hand, so the one with the smallest expected limit counts", style="dim"
        )
    if entry.combination is not None and is_detailed:
        for left in entry.combination.left_out:
            console.print(f"· not in the combination: {left.analysis}: {left.reason}", markup=False, style="dim")
    if entry.num_failed:
        console.print(f"{entry.num_failed} analyses without limits because fits failed or took too long", style="yellow")


def _worth_saying(analysis: AnalysisRecord, is_detailed: bool) -> list[str]:
    """Notes; what the table says already only where details are wanted."""
    said = ("no regions are combined", "no statistical model of its regions is in these results", "only a simplified workspace")
    return [note for note in analysis.notes if is_detailed or not note.startswith(said) or "--model simple" in note]


def print_catalogue(rows: Sequence[Mapping[str, Any]]) -> None:
    """Prints the searches of the catalogue and what is available of each."""
    from rich.markup import escape
    from rich.table import Table

    console = build_console()
    table = Table(title="searches with combined signal regions (arXiv:2507.08565)", title_justify="left")
    for name in ("analysis", "arXiv", "bins", "L [1/fb]", "simple", "full", "available here", "would be better"):
        table.add_column(escape(name), justify="right" if name in ("bins", "L [1/fb]") else "left", overflow="fold")
    for row in rows:
        state = [("[green]yes[/]" if row[f"has_{kind}"] else "no") for kind in ("simple", "full")]
        missing = "; ".join(text for text in row["missing"] if "not published" not in text)
        table.add_row(
            f"{escape(row['analysis'])}\n[dim]{escape(row['title'])}[/]",
            row["arxiv"],
            str(row["num_bins"]),
            f"{row['lumi_ifb']:g}",
            *state,
            escape(row["available"]),
            escape(missing) or "–",
        )
    console.print(table)
    num = sum(row["has_simple"] or row["has_full"] for row in rows)
    console.print(
        f"{num} of {len(rows)} searches have a statistical model here; others need the files in the last column (--table, --workspace)"
    )
