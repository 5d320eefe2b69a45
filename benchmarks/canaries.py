"""Makes the known answers of statistical models (`inference/analysis_models/canary.py`) from compiled stores.

    python -m benchmarks.canaries [--results STORE ...] [--write]

Prints one line per set of regions; with --write replaces `inference/analysis_models/canaries.json`. Run it after a change that is meant to
change answers, and read the differences before committing them.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

from inference.analysis_models.canary import FACTS_FILE, check_canary, digest_published
from inference.analysis_models.registry import BUILDERS
from inference.settings import Conventions


def main() -> None:
    """Print the canaries; write them if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", action="append", default=None, help="compiled store; default: the imported one, else embedded")
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    from services.stores import open_results

    entries: dict[str, dict[str, Any]] = {}
    for results in arguments.results or [None]:
        store = open_results(results)
        for record in store.results:
            build = BUILDERS.get(record.stat_model)
            model = build(store, record.index, Conventions.DEFAULT) if build is not None else None
            if model is None:
                continue
            start = time.process_time()
            report = check_canary(store, record.index, model)
            milliseconds = 1e3 * (time.process_time() - start)
            print(f"{record.folder} ({report.status.value}, {milliseconds:.1f} ms)")
            rows = []
            for canary in report.found:
                print(f"    {canary.name or '–':40} Δ(-ln L) = {canary.delta_nll:12.6f}   μ_UL = {canary.mu_ul:10.5f}")
                rows.append({"set": canary.name, "delta_nll": round(canary.delta_nll, 7), "mu_ul": round(canary.mu_ul, 7)})
            digest = digest_published(store, record.index)
            entries.setdefault(digest, {"folder": record.folder, "text_version": store.text_version, "digest": digest, "canaries": rows})
    if arguments.write:
        ordered = sorted(entries.values(), key=lambda entry: str(entry["folder"]))
        FACTS_FILE.write_text(json.dumps({"results": ordered}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
