"""What scores look like in the terminal; `score` and `hiscores show` print the same."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from services.cli.options import number

if TYPE_CHECKING:
    from rich.table import Table

    from builder.evaluation import Evaluation, Member


def score_line(evaluation: Evaluation) -> str:
    """K and what it is made of."""
    terms = evaluation.prior_terms
    penalties = "".join(f", {name.replace('_', ' ')} {number(2 * value)}" for name, value in terms.penalties.items())
    return (
        f"K = {number(evaluation.k)}   T_L = {number(evaluation.tl)}   μ̂ = {_strength(evaluation.mu_hat)}   "
        f"μ_max = {_strength(evaluation.mu_max)}   2 ln π = {number(2 * evaluation.log_prior)} (particles {terms.num_particles}, "
        f"branching ratios {terms.num_branching_ratios}, signal strengths {terms.num_ssms:g}{penalties})"
    )


def verdict_line(evaluation: Evaluation) -> str:
    """What the critics say."""
    return f"{'excluded' if evaluation.verdict.is_excluded else 'allowed'}: {evaluation.verdict.reason}"


def combination_table(members: Sequence[Member]) -> Table:
    """The best combination as in the talks: analysis, type, dataset, topologies, observed, expected, σ, particles."""
    from rich.table import Table

    from builder.particles import symbol

    table = Table(title="best combination")
    for name in ("analysis", "type", "dataset", "topologies", "observed", "expected", "signal", "σ", "particles"):
        table.add_column(name, justify="right" if name in ("observed", "expected", "signal", "σ") else "left", overflow="fold")
    for member in members:
        unit = "" if member.kind == "em" else " fb"
        table.add_row(
            member.analysis_id,
            member.kind,
            member.dataset_id or "–",
            ", ".join(member.txnames),
            _quantity(member.observed, unit),
            _quantity(member.expected, unit, member.expected_error),
            _quantity(member.signal, unit),
            number(member.z, 1),
            ", ".join(symbol(pid) for pid in member.pids),
        )
    return table


def _strength(mu: float) -> str:
    """A signal strength, which can be small or large."""
    return f"{mu:.3g}" if math.isfinite(mu) else number(mu)


def _quantity(value: float, unit: str, error: float = math.nan) -> str:
    """A count or cross section with its unit and uncertainty; "–" where there is none."""
    if not math.isfinite(value):
        return "–"
    return f"{value:.4g}" + (f" ± {error:.3g}" if math.isfinite(error) else "") + unit
