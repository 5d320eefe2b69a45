"""Draws a posterior of `protomodels sample`: traces, contents, the masses of one content.

python -m benchmarks.sampling_picture posterior.nc docs/images/sampling.png --content "Xt X1Z"
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from builder.sampling.netcdf import import_arviz

NUM_CONTENTS = 12
COLOURS = ("#0b5fa5", "#c8553d", "#588b8b", "#8e6c8a", "#b8860b", "#4f772d", "#6c757d", "#22223b")


def draw_traces(axis: Any, data: Any) -> None:
    """ln L of the cold chain of each walker."""
    for walker in data.posterior.chain.values.tolist():
        values = data.sample_stats.log_likelihood.sel(chain=walker).values
        axis.plot(data.sample_stats.step.sel(chain=walker), values, lw=0.4, color=COLOURS[walker % len(COLOURS)], label=f"walker {walker}")
    axis.set(xlabel="step", ylabel=r"$\ln L(M)/L(\mathrm{SM})$", title="cold chains")
    axis.locator_params(axis="x", nbins=6)
    axis.legend(fontsize=7, loc="lower right")


def draw_contents(axis: Any, data: Any) -> None:
    """Prior and posterior probability of the most probable contents."""
    table = data.contents.isel(content=slice(0, NUM_CONTENTS))
    places = np.arange(table.sizes["content"])[::-1]
    axis.errorbar(table.probability, places, xerr=table.error, fmt="o", ms=4, color=COLOURS[0], label="posterior")
    axis.scatter(table.prior_probability, places, marker="|", s=90, color=COLOURS[1], label="prior")
    axis.set_yticks(places, [str(label) for label in table.label.values], fontsize=7)
    axis.set(xscale="log", xlabel="probability", title="contents")
    axis.legend(fontsize=7)


def draw_masses(axis: Any, data: Any, content: str) -> Any:
    """Masses of a fixed-content slice, heaviest particle against X_Z^1, coloured by the likelihood."""
    label = next(name for name in data.groups() if data[name].attrs.get("content") == content)
    whole = data.posterior
    here = np.array([str(name) for name in data.contents.label.values])[whole.content.values] == content
    names = [name for name in data[label].particle.values.tolist() if name != "X1Z"]
    heavy = names[0]
    values = data.sample_stats.log_likelihood.values[here]
    order = np.argsort(values)
    x, y = (whole.mass.sel(particle=name).values[here][order] for name in (heavy, "X1Z"))
    points = axis.scatter(x, y, c=np.clip(values[order], -2.0, None), s=7, cmap="viridis")
    axis.set(xlabel=f"m({heavy}) [GeV]", ylabel="m(X1Z) [GeV]", title=f"slice {content}: {here.sum()} draws")
    return points


def main() -> None:
    """Reads a posterior and writes a picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("posterior", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--content", default="Xt X1Z")
    arguments = parser.parse_args()
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    data = import_arviz().from_netcdf(str(arguments.posterior))
    figure, axes = pyplot.subplots(1, 3, figsize=(14, 4.2), constrained_layout=True)
    draw_traces(axes[0], data)
    draw_contents(axes[1], data)
    figure.colorbar(draw_masses(axes[2], data, arguments.content), ax=axes[2], label=r"$\ln L(M)/L(\mathrm{SM})$")
    arguments.picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(arguments.picture, dpi=110)


if __name__ == "__main__":
    main()
