"""The packaged facts hold exactly what their source lists, defects resolved as docs/combinability.md says, entry by entry."""

from __future__ import annotations

import json
from fnmatch import fnmatch
from pathlib import Path

import pytest

from database.results.combinability_facts import PACKAGED_FACTS, CombinabilityFacts, Pair, analysis_stem, load_combinability, ordered_pair

TYPOS = {"CMS-SUS-14-21": "CMS-SUS-14-021"}
Listed = dict[str, dict[str, list[str]]]


@pytest.fixture(scope="module")
def facts() -> CombinabilityFacts:
    return load_combinability()


@pytest.fixture(scope="module")
def source(reference_data: Path) -> Listed:
    """Label → labels per experiment and run, as the reference program's second version has them."""
    path = reference_data / "combinability.json"
    if not path.is_file():
        pytest.skip("needs the reference program's lists")
    listed: Listed = json.loads(path.read_text(encoding="utf-8"))
    return listed


def directed(table: dict[str, list[str]]) -> set[tuple[str, str]]:
    return {(TYPOS.get(key, key), TYPOS.get(label, label)) for key, labels in table.items() for label in labels}


def resolve(first: str, second: str) -> Pair:
    """The pair of our facts that an entry of the source becomes: variants stand for their analysis."""
    if ":" in first:
        return ordered_pair(first, second)
    return ordered_pair(analysis_stem(first), analysis_stem(second))


def test_every_entry_of_the_source_is_kept_and_nothing_is_invented(source: Listed, facts: CombinabilityFacts) -> None:
    analyses, regions, wildcards = set(), set(), set()
    for table in source.values():
        for first, second in directed(table):
            if "*" in second:
                wildcards.add((first, second))
            elif first == second:
                assert first == "ATLAS-SUSY-2018-04", "the one self-entry of the source"
            elif ":" in first or ":" in second:
                regions.add(resolve(first, second))
            else:
                analyses.add(resolve(first, second))
    expanded = {
        ordered_pair(first, name)
        for first, pattern in wildcards
        for name in facts.known
        if name == analysis_stem(name) and fnmatch(name, pattern)
    }
    assert {pair for pair, entry in facts.analyses.items() if entry.source != "wildcard"} == analyses
    of_run = load_combinability([path for path in PACKAGED_FACTS if path.stem == "cms13"]).known
    wild = {pair for pair, entry in facts.analyses.items() if entry.source == "wildcard"}
    assert wild == {pair for pair in expanded - analyses if {analysis_stem(label) for label in pair} <= of_run}
    assert set(facts.regions) == regions


def test_one_sided_entries_are_flagged(source: Listed, facts: CombinabilityFacts) -> None:
    """A pair is flagged iff no label of its first analysis lists one of the second from one of the two sides."""
    for table in source.values():
        both: dict[Pair, set[str]] = {}
        for first, second in directed(table):
            if "*" not in second and first != second and ":" not in first and ":" not in second:
                both.setdefault(resolve(first, second), set()).add(analysis_stem(first))
        for pair, sides in both.items():
            assert facts.analyses[pair].is_one_sided is (len(sides) == 1), pair


def test_numbers_of_the_documentation(source: Listed) -> None:
    """The defects as they are counted in docs/combinability.md."""
    entries = {name: directed(table) for name, table in source.items()}
    one_way = {name: sum("*" not in b and a != b and (b, a) not in listed for a, b in listed) for name, listed in entries.items()}
    assert one_way == {"ATLAS13": 78, "ATLAS8": 0, "CMS13": 60, "CMS8": 0}
    no_key = {b for a, b in directed(source["CMS13"]) if "*" not in b and b not in source["CMS13"]}
    assert no_key == {"CMS-EXO-20-004", "CMS-PAS-SUS-17-004", "CMS-SUS-17-001"}
    page = (Path(__file__).parents[2] / "docs" / "combinability.md").read_text(encoding="utf-8")
    for count in ("78", "60", "25"):
        assert count in page
