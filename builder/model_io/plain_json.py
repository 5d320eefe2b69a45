"""Plain JSON: masses, decays, production cross sections, and nothing of signal strength multipliers.

`masses` {pid: GeV}, `decays` {pid: {"daughter,daughter[,daughter]": branching ratio}} (self-conjugate mothers list both
charge modes), `xsecs_fb` {"8"|"13": {"pid,pid": fb}}, `widths_gev` {pid: GeV} for particles that do not
decay promptly. The cross sections become the model's explicit ones, and κ = σ/σ_ref at 13 TeV where there is a reference,
1 elsewhere. A file without cross sections gets the reference ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from builder.model_checks import check_masses, check_pairs, json_object, parse_pairs, parse_pid, parse_pids
from builder.model_io.common import fold_channels, read_number, unfrozen_masses
from builder.protomodel import ProtoModel
from builder.rates import implied_ssms
from database.errors import ModelFormatError
from inference.cross_sections import SQRTS_TEV

_FIELDS = frozenset({"masses", "decays", "xsecs_fb", "widths_gev"})
_REMARKS = frozenset({"name", "comment", "description", "id", "index"})


def is_plain_json(document: Any) -> bool:
    """Return whether a JSON object looks like this format."""
    return isinstance(document, Mapping) and "masses" in document


def parse_plain_model(document: Mapping[str, Any]) -> ProtoModel:
    """Return the protomodel of one plain JSON object.

    Raises:
        ModelFormatError: a field is unknown, missing or not valid.
    """
    unknown = sorted(set(document) - _FIELDS - _REMARKS)
    if unknown:
        raise ModelFormatError(f"{unknown[0]}: unknown field (known are masses, decays, xsecs_fb, widths_gev).")
    given = {parse_pid(pid, "masses"): read_number(m, f"masses[{pid}]") for pid, m in json_object(document["masses"], "masses").items()}
    masses = check_masses(unfrozen_masses(given, "masses"))
    branching_ratios = {}
    for pid_text, channels in json_object(document.get("decays", {}), "decays").items():
        pid, field = parse_pid(pid_text, "decays"), f"decays[{pid_text}]"
        if pid not in masses:
            raise ModelFormatError(f"{field}: the particle has no mass in this model.")
        listed = {parse_pids(key, field): read_number(br, f"{field}[{key}]") for key, br in json_object(channels, field).items()}
        branching_ratios[pid] = fold_channels(pid, listed, field)
    widths = {
        parse_pid(k, "widths_gev"): read_number(w, f"widths_gev[{k}]")
        for k, w in json_object(document.get("widths_gev", {}), "widths_gev").items()
    }
    widths = {pid: width for pid, width in widths.items() if pid not in given or pid in masses}
    if document.get("xsecs_fb") is None:
        return ProtoModel(masses, branching_ratios, {}, widths=widths)
    xsecs = {}
    for sqrts_text, pairs in json_object(document["xsecs_fb"], "xsecs_fb").items():
        sqrts_tev, field = parse_pid(sqrts_text, "xsecs_fb"), f"xsecs_fb[{sqrts_text}]"
        if sqrts_tev not in SQRTS_TEV:
            raise ModelFormatError(f"xsecs_fb: √s must be 8 or 13 TeV, not {sqrts_text}.")
        xsecs[sqrts_tev] = check_pairs(parse_pairs(pairs, field), masses, field)
    return ProtoModel(masses, branching_ratios, implied_ssms(masses, xsecs), xsecs, widths)
