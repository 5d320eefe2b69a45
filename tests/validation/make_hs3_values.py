"""Makes `hs3_values.json`: HS3 documents of ours with -ln L as pyhs3 evaluates them.

    python -m tests.validation.make_hs3_values documents         in the environment of the project
    python tests/validation/make_hs3_values.py values            in one with pyhs3 0.4.2, which needs an older numba

pyhs3 0.4.2 cannot evaluate staterror modifiers (it asks for their `data` in a mode that forbids it), so there are none.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("hs3_values.json")
NUM_POINTS = 4


def build_workspaces() -> dict[str, dict[str, Any]]:
    """pyhf workspaces with all modifiers that both can evaluate."""
    from tests.unit.test_simplified import rich_workspace

    rich = rich_workspace()
    for channel in rich["channels"]:
        for sample in channel["samples"]:
            sample["modifiers"] = [modifier for modifier in sample["modifiers"] if modifier["type"] != "staterror"]
    rich["channels"][1]["samples"][0]["modifiers"].append({"type": "shapefactor", "name": "free", "data": None})
    background = {
        "name": "background",
        "data": [50.0, 52.0],
        "modifiers": [{"name": "uncorrelated", "type": "shapesys", "data": [3.0, 7.0]}],
    }
    signal = {"name": "signal", "data": [12.0, 11.0], "modifiers": [{"name": "mu", "type": "normfactor", "data": None}]}
    uncorrelated = {
        "channels": [{"name": "singlechannel", "samples": [signal, background]}],
        "observations": [{"name": "singlechannel", "data": [51.0, 48.0]}],
        "measurements": [{"name": "Measurement", "config": {"poi": "mu", "parameters": []}}],
        "version": "1.0.0",
    }
    return {"all but staterror": rich, "uncorrelated background": uncorrelated}


def write_documents() -> None:
    """Documents and points, values still missing."""
    import numpy as np

    from inference.hs3 import write_hs3
    from inference.likelihoods.histfactory import compile_workspace

    rng = np.random.default_rng(20)
    cases = []
    for name, spec in build_workspaces().items():
        table = compile_workspace(spec).table
        points = []
        for _ in range(NUM_POINTS):
            theta = np.clip(np.round(table.inits + 0.3 * rng.standard_normal(len(table.inits)), 3), table.lower, table.upper)
            points.append(dict(zip(table.names, np.where(table.is_fixed, table.inits, theta).tolist(), strict=True)))
        cases.append({"name": name, "document": write_hs3(spec), "points": points, "nll": None})
    FILE.write_text(json.dumps({"made_with": "pyhs3 0.4.2", "cases": cases}, indent=1) + "\n", encoding="utf-8")


def fill_values() -> None:
    """-ln L of every document at its points, from pyhs3."""
    import numpy as np
    import pytensor
    from pyhs3 import Workspace
    from pytensor.graph.traversal import ancestors

    content = json.loads(FILE.read_text(encoding="utf-8"))
    for case in content["cases"]:
        document = case["document"]
        model = Workspace(**document).model(document["analyses"][0]["name"])
        inputs = [item for item in ancestors([model.log_prob]) if item.owner is None and not hasattr(item, "data") and item.name]
        function = pytensor.function(inputs, model.log_prob, on_unused_input="ignore")
        counts = {entry["name"].removeprefix("observed_"): entry["contents"] for entry in document["data"]}
        case["nll"] = []
        for point in case["points"]:
            labels = {re.sub(r"\[(\d+)\]$", r"_bin_\1", name): value for name, value in point.items()}
            values = [labels[item.name] if item.name in labels else counts[item.name.removesuffix("_observed")] for item in inputs]
            arrays = [np.asarray(value, dtype=item.type.dtype) for value, item in zip(values, inputs, strict=True)]
            case["nll"].append(-float(np.sum(function(*arrays))))
    FILE.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write_documents() if sys.argv[1] == "documents" else fill_values()
