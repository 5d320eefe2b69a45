"""What a running campaign looks like in the terminal."""

from __future__ import annotations

import io
import logging
import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from database.campaigns.status import WalkerStatus
from services.cli.options import number

if TYPE_CHECKING:
    from services.campaign.driver import Snapshot

log = logging.getLogger(__name__)

MAX_ROWS = 12
"""Walkers that are listed; of more, those with the best K."""

PLAIN_INTERVAL_S = 10.0
"""Between two lines where the output is no terminal [s]."""


class _LibraryOutput(io.TextIOBase):
    """Takes what libraries print while a campaign runs; standard output is for the command's own words."""

    def write(self, text: str) -> int:
        if text.strip():
            log.info("%s", text.strip())
        return len(text)


@contextmanager
def watch(console: Console, *, is_quiet: bool) -> Iterator[Callable[[Snapshot], None]]:
    """An observer that shows the campaign: a live display, or a line now and then where there is no terminal.

    Args:
        console: where to show it.
        is_quiet: show nothing.
    """
    with redirect_stdout(_LibraryOutput()):
        if is_quiet:
            yield lambda snapshot: None
        elif console.is_terminal:
            with Live(console=console, refresh_per_second=4, redirect_stdout=False) as live:
                yield lambda snapshot: live.update(render(snapshot))
        else:
            yield _PlainLines(console)


class _PlainLines:
    def __init__(self, console: Console) -> None:
        self._console = console
        self._last = -math.inf
        self._last_done = -1

    def __call__(self, snapshot: Snapshot) -> None:
        done, total = steps_of(snapshot)
        if (time.monotonic() - self._last < PLAIN_INTERVAL_S and done < total) or done == self._last_done:
            return
        self._last_done = done
        self._last = time.monotonic()
        best = max((walker.best_k for walker in snapshot.walkers), default=-math.inf)
        rate = number(snapshot.steps_per_s, 1)
        self._console.print(f"campaign {snapshot.campaign.campaign_id}: step {done}/{total}, {rate} steps/s, best K {number(best)}")


def steps_of(snapshot: Snapshot) -> tuple[int, int]:
    """Steps taken by all walkers, and steps planned."""
    return sum(walker.step for walker in snapshot.walkers), snapshot.campaign.num_walkers * snapshot.campaign.num_steps


def render(snapshot: Snapshot) -> RenderableType:
    """The display of one moment."""
    campaign = snapshot.campaign
    done, total = steps_of(snapshot)
    head = Text.assemble(
        ("campaign ", ""), (f"{campaign.campaign_id} {campaign.name}", "bold"), f"   seed {campaign.seed}   {campaign.results_label}"
    )
    remaining = (total - done) / snapshot.steps_per_s if snapshot.session_steps and snapshot.steps_per_s > 0 else math.nan
    times = f"{duration(snapshot.elapsed_s)} so far   {duration(remaining)} left"
    rate = f"{done}/{total} steps   {number(snapshot.steps_per_s, 1)} steps/s   {times}"
    if snapshot.num_deaths:
        rate += f"   workers replaced: {snapshot.num_deaths}"
    bar = Table.grid(padding=(0, 1))
    bar.add_row(ProgressBar(total=max(total, 1), completed=done, width=30), rate)
    verdicts = "proposals: " + ", ".join(
        f"{count} {name}" for name, count in sorted(snapshot.verdict_counts.items(), key=lambda item: -item[1])
    )
    return Group(head, bar, _walkers(snapshot), Text(verdicts if snapshot.verdict_counts else "starting the workers …", style="dim"))


def _walkers(snapshot: Snapshot) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("walker", "step", "K", "T_L", "best K", "steps/s", ""):
        table.add_column(name, justify="left" if name == "" else "right")
    shown = snapshot.walkers
    if len(shown) > MAX_ROWS:
        shown = tuple(sorted(shown, key=lambda walker: -walker.best_k)[:MAX_ROWS])
    for walker in shown:
        state = {WalkerStatus.FINISHED: "done", WalkerStatus.FAILED: "given up", WalkerStatus.WAITING: "waiting"}.get(walker.status, "")
        row = (str(walker.walker_number), str(walker.step), number(walker.k), number(walker.tl), number(walker.best_k))
        table.add_row(*row, number(walker.steps_per_s, 1), state)
    if len(snapshot.walkers) > MAX_ROWS:
        table.caption = f"the best {MAX_ROWS} of {len(snapshot.walkers)} walkers"
    return table


def duration(seconds: float) -> str:
    """A time span for people.

    Examples:
        >>> duration(75), duration(7260), duration(float("nan"))
        ('1 min 15 s', '2 h 1 min', '–')
    """
    if not math.isfinite(seconds):
        return "–"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def build_display_console() -> Console:
    """The console of the live display: standard output, held on to while libraries' output is redirected."""
    from services.cli.console import PIPED_WIDTH

    return Console(file=sys.stdout, width=None if sys.stdout.isatty() else PIPED_WIDTH)
