"""The likelihood picture of a combination: what each analysis says of the signal strength, and all of them together."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from database.errors import UserFacingError
from inference.multibin.curves import CurveRecord, CurvesFile

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c564b", "#7f7f7f", "#6a3d9a", "#b2df8a")
"""Told apart by everybody: Okabe and Ito, and a few more."""
INK, FAINT, PAPER = "#1b1f24", "#8a929c", "#ffffff"
_LOWEST = -6.0
"""ln L(μ)/L(0) below which curves leave the picture."""


class MissingPlotsError(UserFacingError):
    """matplotlib is not installed, or the picture cannot be written."""


def draw_curves(curves: CurvesFile, path: Path) -> None:
    """Writes the picture; its suffix decides the format (png, pdf, svg).

    Args:
        curves: of one combination.
        path: file to write.

    Raises:
        MissingPlotsError: matplotlib is missing, or the file cannot be written.
    """
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
        from matplotlib.font_manager import FontProperties
    except ImportError:
        raise MissingPlotsError("pictures need matplotlib: pip install 'protomodels[plots]', or write the curves as .json") from None

    with rc_context(
        {"font.family": "DejaVu Sans", "font.size": 10.5, "axes.edgecolor": FAINT, "text.color": INK, "svg.hashsalt": "curves"}
    ):
        figure = Figure(figsize=(9.2, 7.2), facecolor=PAPER, layout="constrained")
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(1.55, 1.0))
        _draw_ratios(upper, curves)
        _draw_shapes(lower, curves)
        for axes in (upper, lower):
            _mark_best(axes, curves, is_labelled=axes is upper)
            _tidy(axes)
            axes.set_xlim(curves.mu[0], curves.mu[-1])
        lower.set_xlabel("signal strength μ", fontsize=12)
        handles, labels = upper.get_legend_handles_labels()
        legend = figure.legend(handles, labels, loc="outside right upper", frameon=False, fontsize=9.5, handlelength=2.2)
        legend.set_title("ln L(μ̂)/L(0)", prop=FontProperties(size=9.5))
        legend.set_alignment("left")
        figure.suptitle(curves.title, x=0.02, ha="left", fontsize=13, fontweight="bold", color=INK)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            metadata = {"Software": None} if path.suffix == ".png" else {"Date": None} if path.suffix == ".svg" else {"CreationDate": None}
            figure.savefig(path, dpi=160, metadata=metadata)
        except (OSError, ValueError) as error:
            raise MissingPlotsError(f"{path}: cannot be written ({getattr(error, 'strerror', None) or error})") from None


def _draw_ratios(axes: Axes, curves: CurvesFile) -> None:
    axes.axhline(0.0, color=FAINT, linewidth=0.8)
    for number, curve in _by_contribution(curves):
        axes.plot(curves.mu, _values(curve), color=_colour(number), linewidth=1.9, label=_label(curve))
    axes.plot(curves.mu, _values(curves.combined), color=INK, linewidth=2.6, linestyle=(0, (5, 2)), label=_label(curves.combined))
    top = max(value for curve in (*curves.members, curves.combined) for value in curve.log_ratio if value is not None)
    bottom = min(value for curve in (*curves.members, curves.combined) for value in curve.log_ratio if value is not None)
    axes.set_ylim(max(_LOWEST, 1.05 * bottom), max(1.2 * top, top + 0.5))
    axes.set_ylabel("ln L(μ)/L(0)", fontsize=12)


def _draw_shapes(axes: Axes, curves: CurvesFile) -> None:
    for number, curve in _by_contribution(curves):
        axes.plot(curves.mu, _shape(curve), color=_colour(number), linewidth=1.6)
    combined = _shape(curves.combined)
    axes.fill_between(curves.mu, combined, color=INK, alpha=0.08, linewidth=0.0)
    axes.plot(curves.mu, combined, color=INK, linewidth=2.4, linestyle=(0, (5, 2)))
    axes.set_ylim(0.0, 1.09)
    axes.set_ylabel("L(μ)/L$_{max}$", fontsize=12)


def _mark_best(axes: Axes, curves: CurvesFile, is_labelled: bool) -> None:
    if curves.mu_hat is not None:
        axes.axvline(curves.mu_hat, color=INK, linewidth=0.9, linestyle=":")
    if curves.mu_max is not None and curves.mu_max <= curves.mu[-1]:
        axes.axvspan(curves.mu_max, curves.mu[-1], color="#b00020", alpha=0.06, linewidth=0.0)
        if is_labelled:
            axes.text(curves.mu_max, axes.get_ylim()[0], " excluded by critics", color="#b00020", fontsize=9, va="bottom")
    if is_labelled and curves.mu_hat is not None and curves.tl is not None and curves.tl > 0.0:
        text = f"μ̂ = {curves.mu_hat:.2f},  T$_L$ = {curves.tl:.1f}  (√T$_L$ = {math.sqrt(curves.tl):.1f}, local)"
        axes.plot([curves.mu_hat], [0.5 * curves.tl], marker="o", markersize=6, color=INK)
        axes.annotate(text, (curves.mu_hat, 0.5 * curves.tl), xytext=(9, 7), textcoords="offset points", fontsize=10, color=INK)


def _tidy(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=INK, labelcolor=INK, width=0.8)
    axes.grid(axis="y", color="#e8ebee", linewidth=0.8)
    axes.set_axisbelow(True)


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]


def _by_contribution(curves: CurvesFile) -> list[tuple[int, CurveRecord]]:
    """Members with their numbers, the one that gains most at the combination's μ̂ first."""
    return list(enumerate(sorted(curves.members, key=lambda curve: -(curve.log_ratio_at_best or 0.0))))


def _label(curve: CurveRecord) -> str:
    """Name, region, and ln L(μ̂)/L(0) at the combination's μ̂."""
    value = curve.log_ratio_at_best
    gain = "" if value is None else f"   {value:+.1f}".replace("-", "−") if abs(value) >= 0.05 else "   0.0"
    region = f"\n{curve.region}" if curve.region else ""
    return f"{curve.analysis}{gain}{region}"


def _values(curve: CurveRecord) -> list[float]:
    return [math.nan if value is None else value for value in curve.log_ratio]


def _shape(curve: CurveRecord) -> list[float]:
    values = _values(curve)
    best = max((value for value in values if math.isfinite(value)), default=0.0)
    return [math.exp(value - best) for value in values]
