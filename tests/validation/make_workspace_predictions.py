"""Makes workspace_predictions.json: what pyhf says of combined predictions whose fits SModelS 3.0.3 did not finish.

    PEER tests/validation/make_workspace_predictions.py DATABASE REFERENCE OUTPUT [ANALYSIS ...]

PEER is a Python with pyhf 0.7.6 and jax, DATABASE the unpacked text database 3.0.0, REFERENCE the reference predictions. Signals are the
cross sections of the reference's own single regions. The surgery on the workspaces is that of SModelS 3.0.3, written down here a second
time: positions or names of regions, control regions removed or filled, sample `bsm` with mu_SIG, lumi and the signal uncertainty.
Every workspace that sees a signal is fitted, some minutes for each; the file is complete after every one.
"""

from __future__ import annotations

import ast
import copy
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyhf
from scipy.stats import norm

FOLDERS = {"ATLAS-SUSY-2018-04": "ATLAS-SUSY-2018-04-eff", "ATLAS-SUSY-2018-16": "ATLAS-SUSY-2018-16-eff"}
LUMI_IFB = 139.0


def read_info(folder: Path) -> dict[str, Any]:
    """Tags of globalInfo.txt that say how regions are combined."""
    lines: list[str] = []
    for line in (folder / "globalInfo.txt").read_text().splitlines():
        if lines and (line[:1] in (" ", "\t", "}") or lines[-1].endswith(",")):
            lines[-1] += " " + line.strip()
        else:
            lines.append(line.strip())
    found = {}
    for line in lines:
        tag, _, value = line.partition(":")
        if tag in ("jsonFiles", "includeCRs", "signalUncertainty"):
            found[tag] = ast.literal_eval(value.strip())
    return found


def patch(spec: dict[str, Any], regions: list[dict[str, Any]], yields: dict[str, float], info: dict[str, Any]) -> dict[str, Any]:
    """The workspace with the signal; all regions of these analyses name their channel."""
    spec = copy.deepcopy(spec)
    types = {region["pyhf"]: region.get("type", "SR") for region in regions}
    includes_crs = info.get("includeCRs", False)
    kept = {name for name, kind in types.items() if kind == "SR" or (kind == "CR" and includes_crs)}
    spec["channels"] = [channel for channel in spec["channels"] if channel["name"] in kept]
    spec["observations"] = [entry for entry in spec["observations"] if entry["name"] in kept]
    filled = {region["pyhf"]: region.get("smodels") for region in regions}
    for channel in spec["channels"]:
        dataset = filled[channel["name"]]
        if dataset is None:
            continue
        signal = [yields.get(dataset, 0.0)]
        modifiers = [{"data": None, "name": "mu_SIG", "type": "normfactor"}, {"data": None, "name": "lumi", "type": "lumi"}]
        if (u := info.get("signalUncertainty")) is not None:
            shifted = {"hi_data": [(1 + u) * signal[0]], "lo_data": [(1 - u) * signal[0]]}
            modifiers.append({"data": shifted, "name": "signalUncertainty", "type": "histosys"})
        channel["samples"].insert(0, {"name": "bsm", "data": signal, "modifiers": modifiers})
    return spec


def evaluate(spec: dict[str, Any]) -> dict[str, float]:
    """-ln L at μ = 0 and 1, CLs at μ = 1 and near the limit, observed and for data := nominal background."""
    workspace = pyhf.Workspace(spec)
    model = workspace.model(modifier_settings={"normsys": {"interpcode": "code4"}, "histosys": {"interpcode": "code4p"}})
    background = np.zeros(sum(model.config.channel_nbins.values()))
    offset = 0
    for name in model.config.channels:
        channel = next(entry for entry in spec["channels"] if entry["name"] == name)
        size = model.config.channel_nbins[name]
        background[offset : offset + size] = np.sum([s["data"] for s in channel["samples"] if s["name"] != "bsm"], axis=0)
        offset += size
    found = {}
    for kind, data in (("obs", workspace.data(model)), ("exp", [*background.tolist(), *model.config.auxdata])):
        for mu in (0, 1):
            _, value = pyhf.infer.mle.fixed_poi_fit(float(mu), data, model, return_fitted_val=True)
            found[f"nll{mu}_{kind}"] = float(value) / 2.0
        bounds = list(model.config.suggested_bounds())
        bounds[model.config.poi_index] = (0.0, 100.0)
        mu = 1.0
        for position in ("at_one", "near_limit"):
            cls = float(pyhf.infer.hypotest(mu, data, model, test_stat="qtilde", par_bounds=bounds))
            found |= {f"mu_{position}_{kind}": mu, f"cls_{position}_{kind}": cls}
            mu = 1.96 / float(norm.isf(0.5 * cls))  # where CLs is about 0.05
    return found


def main() -> None:
    """Write the numbers."""
    database, reference, output = (Path(text) for text in sys.argv[1:4])
    analyses = set(sys.argv[4:]) or set(FOLDERS)
    pyhf.set_backend("jax", pyhf.optimize.scipy_optimizer(maxiter=100000, tolerance=1e-9))
    rows: list[dict[str, Any]] = []
    for number, model in json.loads(reference.read_text()).items():
        for entry in model["predictions"]:
            folder = FOLDERS.get(entry["analysis"])
            if entry["type"] != "combined" or folder is None or entry["analysis"] not in analyses:
                continue
            path = database / "13TeV" / "ATLAS" / folder
            info = read_info(path)
            yields = {
                region["dataset"]: region["xsec_fb"] * LUMI_IFB
                for region in model["predictions"]
                if region["analysis"] == entry["analysis"] and region["type"] == "efficiencyMap"
            }
            for file, regions in info["jsonFiles"].items():
                if not any(region.get("smodels") in yields for region in regions):
                    continue
                row = {"model": number, "analysis": entry["analysis"], "file": file, "yields": yields}
                row |= evaluate(patch(json.loads((path / file).read_text()), regions, yields, info))
                rows.append(row)
                print({key: value for key, value in row.items() if key != "yields"}, flush=True)
                document = {"pyhf": pyhf.__version__, "rows": rows}
                output.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
