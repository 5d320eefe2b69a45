"""What the embedded excerpt holds: which results, which topologies, and why."""

from __future__ import annotations

from typing import Final, NamedTuple


class Selection(NamedTuple):
    """One result of the excerpt.

    Attributes:
        folder: its folder in the text database.
        txnames: the topologies that are fitted.
    """

    folder: str
    txnames: tuple[str, ...]


SELECTION: Final[tuple[Selection, ...]] = (
    # Stop searches: the members with small excesses of the published hiscores, and those that restrain them.
    Selection("13TeV/ATLAS/ATLAS-SUSY-2016-16-eff", ("T2tt",)),
    Selection("13TeV/ATLAS/ATLAS-SUSY-2018-08-eff", ("T2tt",)),
    Selection("13TeV/ATLAS/ATLAS-SUSY-2018-12-eff", ("T2tt",)),
    Selection("13TeV/CMS/CMS-SUS-16-050-agg", ("T2tt",)),
    Selection("8TeV/ATLAS/ATLAS-SUSY-2013-15-eff", ("T2tt",)),
    Selection("8TeV/ATLAS/ATLAS-SUSY-2013-16-eff", ("T2tt",)),
    Selection("8TeV/CMS/CMS-PAS-SUS-13-015-eff", ("T2tt",)),
    Selection("8TeV/CMS/CMS-SUS-13-011-eff", ("T2tt",)),
    # Light quark partners: members of the hiscore of arXiv:2012.12246.
    Selection("13TeV/ATLAS/ATLAS-SUSY-2016-07-eff", ("T2",)),
    Selection("8TeV/CMS/CMS-SUS-13-012-eff", ("T2",)),
    # Electroweakinos, with covariances of the simplified likelihood of first and second kind.
    Selection("13TeV/CMS/CMS-SUS-20-004-eff", ("TChiHH",)),
    Selection("13TeV/CMS/CMS-SUS-21-002-eff", ("TChiWH", "TChiWZ")),
    Selection("13TeV/ATLAS/ATLAS-SUSY-2018-41-eff", ("TChiHH", "TChiWH", "TChiWW", "TChiWZ", "TChiZH", "TChiZZ")),
    # Limits: what the critics of the walk see.
    Selection("13TeV/CMS/CMS-SUS-16-050", ("T1tttt", "T2tt")),
    Selection("13TeV/CMS/CMS-SUS-19-006", ("T1", "T1bbbb", "T1tttt", "T2", "T2bb", "T2tt")),
    Selection("13TeV/CMS/CMS-SUS-20-004", ("TChiHH",)),
    Selection("13TeV/CMS/CMS-SUS-21-002", ("TChiWH", "TChiWW", "TChiWZ")),
    Selection("13TeV/ATLAS/ATLAS-SUSY-2016-07", ("T1", "T2")),
    Selection("13TeV/ATLAS/ATLAS-SUSY-2018-41", ("TChiWH", "TChiWW", "TChiWZ")),
    Selection("8TeV/CMS/CMS-SUS-13-012", ("T1", "T1tttt", "T2")),
)
"""The member CMS-EXO-20-004 of the newest hiscores has maps of mediators only, which the walk's particles cannot reach."""
