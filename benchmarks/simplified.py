"""Errors and speed of simplified likelihoods against the full ones, for every workspace of a results database.

    python -m benchmarks.simplified [--results STORE] [--signals 40] [--seed 1] [--analysis ATLAS-SUSY-2018-05-ewk]

Each full workspace is simplified in all forms (`inference.likelihoods.simplified`); where the experiment published a simplified one, that
is compared too. Signals fill the signal regions only. Times are those of ln L at one strength, the minimum of repeats [µs of CPU].
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from database.results.store import ResultsStore
    from inference.analysis_models.protocol import AnalysisModel
    from inference.likelihoods.histfactory import HistFactoryModel
    from inference.likelihoods.simplified import SimplificationErrors

REPEATS = 5
PUBLISHED = "published"


class FullWorkspace(NamedTuple):
    """A full workspace of the database.

    Attributes:
        name: analysis and file.
        spec: its JSON, only the channels of the model.
        model: the full model.
        compiled: the same, compiled.
        is_signal: bins that signals fill.
        published: the published simplified model of the same regions with the positions of these bins; None without one.
    """

    name: str
    spec: dict[str, Any]
    model: AnalysisModel
    compiled: HistFactoryModel
    is_signal: NDArray[np.bool_]
    published: tuple[AnalysisModel, NDArray[np.int64]] | None


class Row(NamedTuple):
    """One line of the table."""

    workspace: FullWorkspace
    form: str
    errors: SimplificationErrors
    full_time: float
    small_time: float


def find_workspaces(store: ResultsStore, analysis_id: str | None) -> Iterator[FullWorkspace]:
    """All workspaces that are used as full likelihoods; those that are published in a simplified form only are left out."""
    from inference.analysis_models.histfactory import WorkspaceModel
    from inference.analysis_models.region_sets import find_region_sets
    from inference.analysis_models.workspace_regions import guess_type, select_channels
    from inference.settings import Conventions

    for result, record in enumerate(store.results):
        if not record.stat_payload.workspaces or analysis_id not in (None, record.analysis_id):
            continue
        for region_set in find_region_sets(store, result, Conventions.DEFAULT):
            placed = region_set.placed(0)
            if placed is None or not isinstance(placed[1].model, WorkspaceModel):
                continue
            file, model = placed[0], placed[1].model
            compiled = model.compiled
            spec = select_channels(json.loads((store.path / file.path).read_bytes()), [name for name, _ in compiled.channels])
            has_one_sample = all(len(channel["samples"]) == 1 for channel in spec["channels"])
            if has_one_sample and "totalError" in compiled.parameter_names:
                continue
            types = np.array([guess_type(channel) for channel, _ in compiled.bins])
            is_signal = (np.asarray(placed[1].columns) >= 0) & (types != "CR")
            published = _find_published(region_set, compiled, is_signal)
            name = f"{record.analysis_id} {file.file.removesuffix('.json')}"
            yield FullWorkspace(name, spec, model, compiled, is_signal, published)


def _find_published(
    region_set: Any, compiled: HistFactoryModel, is_signal: NDArray[np.bool_]
) -> tuple[AnalysisModel, NDArray[np.int64]] | None:
    second = region_set.placed(1)
    if second is None or second[0].kind != "pyhf":
        return None
    model = second[1].model
    place = {name: index for index, name in enumerate(model.compiled.bins)}
    wanted = [name for name, chosen in zip(compiled.bins, is_signal.tolist(), strict=True) if chosen]
    if not all(name in place for name in wanted):
        return None
    return model, np.array([place[name] for name in wanted], dtype=np.int64)


def measure_time(model: AnalysisModel, places: NDArray[np.int64], shapes: NDArray[np.float64], scale: float) -> float:
    """CPU time of ln L(1) of a new signal [µs], minimum of repeats."""

    def run() -> None:
        for shape in shapes:
            vector = np.zeros(model.num_regions)
            vector[places] = scale * shape
            model.likelihood(vector).log_ratio(1.0)

    run()
    return min(_clock(run) for _ in range(REPEATS)) / len(shapes) * 1e6


def _clock(run: Callable[[], None]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


def compare_workspace(workspace: FullWorkspace, num_signals: int, seed: int) -> Iterator[Row]:
    """All forms of one workspace against it."""
    from inference.likelihoods.simplified import SimplifiedForm, draw_shapes, measure_errors, simplify
    from inference.limits import find_upper_limit

    background = workspace.compiled.nominal_background[workspace.is_signal]
    shapes = draw_shapes(background, num_signals, seed)
    full_places = np.flatnonzero(workspace.is_signal)
    smaller: list[tuple[str, AnalysisModel, NDArray[np.int64]]] = []
    for form in SimplifiedForm:
        simplified = simplify(workspace.spec, workspace.compiled, workspace.is_signal, form)
        smaller.append((form.value, simplified.model, simplified.places))
    if workspace.published is not None:
        smaller.append((PUBLISHED, *workspace.published))
    vector = np.zeros(workspace.model.num_regions)
    vector[full_places] = shapes.mean(axis=0)
    scale = find_upper_limit(workspace.model.likelihood(vector)).mu_ul
    timed = shapes[:10]
    full_time = measure_time(workspace.model, full_places, timed, scale)
    for form_name, model, places in smaller:
        errors = measure_errors(workspace.model, model, shapes, full_places, places)
        yield Row(workspace, form_name, errors, full_time, measure_time(model, places, timed, scale))


def main() -> None:
    """Print the table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", default=None)
    parser.add_argument("--signals", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--analysis", default=None)
    arguments = parser.parse_args()

    from services.stores import open_results

    print(
        "| workspace (signal + control bins, parameters) | form | median | 95 % | max | Δ < 3 | limit ratio, median | full / simplified |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for workspace in find_workspaces(open_results(arguments.results), arguments.analysis):
        num_signal, num_control = int(workspace.is_signal.sum()), int((~workspace.is_signal).sum())
        label = f"{workspace.name} ({num_signal}+{num_control}, {workspace.compiled.num_parameters})"
        for row in compare_workspace(workspace, arguments.signals, arguments.seed):
            e = row.errors
            failed = f" ({e.num_failed} failed)" if e.num_failed else ""
            sizes = f"{e.median:.2g} | {e.quantile_95:.2g} | {e.largest:.2g} | {e.largest_small:.2g}"
            limits = f"{e.limit_low:.2f}–{e.limit_high:.2f}, {e.limit_median:.3f}{failed}"
            print(f"| {label} | {row.form} | {sizes} | {limits} | {row.full_time:.0f} / {row.small_time:.0f} µs |", flush=True)
            label = ""


if __name__ == "__main__":
    main()
