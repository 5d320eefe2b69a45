"""Combinability: the packaged facts are clean, the reader refuses every defect, the matrix follows the documented rules."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from database.errors import ConfigError, ResultsFormatError
from database.results.combinability import Override, analysis_stem, build_combinability, load_combinability
from database.results.combinability_facts import PACKAGED_FACTS, ordered_pair

HEADER = """\
format: 1
experiment: CMS
sqrts_tev: 13
sources: {list: "a list, arXiv:2012.12246"}
analyses: [CMS-SUS-16-033, CMS-SUS-16-050, CMS-SUS-19-006]
analyses_elsewhere: []
variants: {CMS-SUS-16-050: [CMS-SUS-16-050-agg]}
groups:
"""


def group(pairs: str, level: str = "analysis", source: str = "list", one_sided: str = "false") -> str:
    return f"  - {{source: {source}, level: {level}, one_sided: {one_sided}, pairs: {pairs}}}\n"


@dataclass(frozen=True)
class Result:
    analysis_id: str
    experiment: str
    sqrts_tev: float
    dataset_start: int = 0
    dataset_stop: int = 0
    supersedes: tuple[str, ...] = ()
    superseded_by: tuple[str, ...] = ()


@dataclass(frozen=True)
class Store:
    results: tuple[Result, ...]
    dataset_ids: tuple[str | None, ...] = field(default=())


def build_store(*ids: str, sqrts: float = 13) -> Store:
    return Store(tuple(Result(name, name.split("-")[0], sqrts) for name in ids))


def test_packaged_facts_have_the_documented_size_and_a_source_each() -> None:
    facts = load_combinability()
    num_pairs = {Path(path).stem: len(load_combinability([path]).analyses) for path in PACKAGED_FACTS}
    assert num_pairs == {"atlas13": 662, "atlas8": 66, "cms13": 580, "cms8": 34}
    assert len(facts.regions) == 280 + 44 + 722 + 72
    for pair, entry in [*facts.analyses.items(), *facts.regions.items()]:
        assert pair.first < pair.second
        assert analysis_stem(pair.first.partition(":")[0]) != analysis_stem(pair.second.partition(":")[0])
        assert "arXiv:" in entry.citation or entry.source == "wildcard"
        assert "*" not in "".join(pair)
    assert not any("14-21" in label for pair in facts.analyses for label in pair)  # the typo of the source
    assert facts.analyses[ordered_pair("CMS-PAS-EXO-16-036", "CMS-SUS-15-002")].source == "wildcard"


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (group("{CMS-SUS-19-006: [CMS-SUS-16-033]}"), "belongs under 'CMS-SUS-16-033'"),
        (group("{CMS-SUS-16-033: [CMS-SUS-19-006]}") + group("{CMS-SUS-16-033: [CMS-SUS-19-006]}", one_sided="true"), "listed twice"),
        (group("{CMS-SUS-16-033: [CMS-SUS-16-033]}"), "same analysis"),
        (group('{"CMS-SUS-16-050:A": ["CMS-SUS-16-050-agg:B"]}', level="region"), "same analysis"),
        (group("{CMS-SUS-16-033: [CMS-SUS-19-06]}"), "not declared"),
        (group('{CMS-SUS-16-033: ["CMS-SUS-*"]}'), "pattern"),
        (group("{CMS-SUS-16-033: [CMS-SUS-16-050-agg]}"), "is a variant"),
        (group('{CMS-SUS-16-033: ["CMS-SUS-19-006:SR1"]}'), "should be an analysis"),
        (group("{CMS-SUS-16-033: [CMS-SUS-19-006]}", level="region"), "should be 'analysis:region'"),
        (group("{CMS-SUS-16-033: [CMS-SUS-19-006]}", source="hearsay"), "not described"),
        (group("{CMS-SUS-16-033: [CMS-SUS-19-006], CMS-SUS-16-033: []}"), "given twice"),
        (group("{CMS-SUS-16-033: 3}"), "pairs.CMS-SUS-16-033"),
        ("  - {source: list", "line"),
    ],
)
def test_reader_refuses_a_defect_and_names_the_file(tmp_path: Path, groups: str, message: str) -> None:
    path = tmp_path / "cms13.yaml"
    path.write_text(HEADER + groups)
    with pytest.raises(ResultsFormatError, match=r"cms13\.yaml") as caught:
        load_combinability([path])
    assert message in str(caught.value)


def test_reader_refuses_another_format_and_a_missing_file(tmp_path: Path) -> None:
    path = tmp_path / "new.yaml"
    path.write_text(HEADER.replace("format: 1", "format: 2") + group("{}"))
    with pytest.raises(ResultsFormatError, match="format 2"):
        load_combinability([path])
    with pytest.raises(ResultsFormatError, match="cannot be read"):
        load_combinability([tmp_path / "nothing.yaml"])


def test_facts_hash_ignores_layout_but_not_content(tmp_path: Path) -> None:
    first, second, third = (tmp_path / f"{name}.yaml" for name in "abc")
    pairs = "{CMS-SUS-16-033: [CMS-SUS-16-050, CMS-SUS-19-006]}"
    first.write_text(HEADER + group(pairs))
    second.write_text("# a comment\n" + HEADER + group("{CMS-SUS-16-033: [CMS-SUS-19-006]}") + group("{CMS-SUS-16-033: [CMS-SUS-16-050]}"))
    third.write_text(HEADER + group("{CMS-SUS-16-033: [CMS-SUS-16-050]}"))
    hashes = [load_combinability([path]).content_hash for path in (first, second, third)]
    assert hashes[0] == hashes[1] != hashes[2]


def test_matrix_follows_the_rules() -> None:
    store = Store(
        (
            Result("CMS-SUS-16-050-agg", "CMS", 13),
            Result("CMS-SUS-16-050", "CMS", 13),
            Result("CMS-SUS-16-033", "CMS", 13),
            Result("CMS-SUS-20-004", "CMS", 13),
            Result("CMS-EXO-20-004", "CMS", 13),
            Result("ATLAS-EXOT-2018-06", "ATLAS", 13),
            Result("CMS-SUS-13-012", "CMS", 8),
            Result("CMS-PAS-SUS-16-052-agg", "CMS", 13),
        )
    )
    matrix = build_combinability(store)
    can = matrix.is_combinable
    assert np.array_equal(can, can.T)
    assert not can.diagonal().any()
    assert not can[0, 1]
    assert "CMS-SUS-16-050" in matrix.reason(0, 1)
    assert can[4, 5]
    assert can[3, 5]
    assert not can[4, 3], "no source lists CMS-EXO-20-004 with CMS-SUS-20-004"
    assert "no source lists" in matrix.reason(3, 4)
    assert can[6].sum() == 7
    assert matrix.reason(6, 0) == "different centre-of-mass energies share no events"
    assert can[0, 7], "suffixes stand for their analysis"
    assert "arXiv:2012.12246" in matrix.reason(0, 7)
    assert can[0, 4]
    assert "one side" in matrix.reason(0, 4)


def test_pairs_listed_from_one_side_can_be_distrusted() -> None:
    store = build_store("CMS-SUS-16-050-agg", "CMS-EXO-20-004", "CMS-SUS-16-034")
    plain, strict = build_combinability(store), build_combinability(store, trusts_one_sided=False)
    assert plain.is_combinable[0, 1] and not strict.is_combinable[0, 1]
    assert "not trusted" in strict.reason(0, 1)
    assert strict.content_hash != plain.content_hash
    decided = build_combinability(store, overrides=[("CMS-SUS-16-050", "CMS-EXO-20-004", True)], trusts_one_sided=False)
    assert decided.is_combinable[0, 1], "the user's own decision stands"


def test_superseding_analyses_never_combine() -> None:
    names = ("CMS-PAS-SUS-16-022", "CMS-SUS-16-041", "CMS-SUS-17-003")
    store = Store(
        (
            Result(names[0], "CMS", 13, superseded_by=("CMS-SUS-16-041",)),
            Result(names[1], "CMS", 13, supersedes=("CMS-PAS-SUS-16-022",)),
            Result(names[2], "CMS", 13, supersedes=("CMS-SUS-15-001", "CMS_SUS_16_041 (more data)")),
        )
    )
    matrix = build_combinability(store, overrides=[(names[0], names[2], True)])
    assert not matrix.is_combinable.any()
    assert "supersedes" in matrix.reason(0, 2)


def test_overrides_decide_enter_the_hash_and_are_checked() -> None:
    store = build_store("CMS-EXO-20-004", "CMS-SUS-20-004", "CMS-SUS-16-050-agg", "ATLAS-SUSY-2018-12")
    plain = build_combinability(store)
    chosen = build_combinability(store, overrides=[Override("CMS-SUS-20-004", "CMS-EXO-20-004", True, "disjoint lepton and jet vetoes")])
    assert not plain.is_combinable[0, 1]
    assert chosen.is_combinable[0, 1]
    assert chosen.is_combinable[1, 0]
    assert "disjoint" in chosen.reason(1, 0)
    assert plain.content_hash != chosen.content_hash
    assert build_combinability(store).content_hash == plain.content_hash
    forbidden = build_combinability(store, overrides=[("ATLAS-SUSY-2018-12", "CMS-SUS-16-050", False)])
    assert not forbidden.is_combinable[2, 3]
    with pytest.raises(ConfigError, match="CMS-SUS-20-040"):
        build_combinability(store, overrides=[("CMS-SUS-20-040", "CMS-EXO-20-004", True)])
    with pytest.raises(ConfigError, match="twice"):
        build_combinability(store, overrides=[("CMS-SUS-16-050", "CMS-SUS-16-050-agg", True)])
    with pytest.raises(ConfigError, match="contradict"):
        build_combinability(store, overrides=[("CMS-SUS-20-004", "CMS-EXO-20-004", True), ("CMS-EXO-20-004", "CMS-SUS-20-004", False)])


def test_region_facts_combine_results_only_if_all_regions_are_listed(tmp_path: Path) -> None:
    path = tmp_path / "cms13.yaml"
    pairs = '{"CMS-SUS-16-033:SR1": ["CMS-SUS-19-006:A", "CMS-SUS-19-006:B"], "CMS-SUS-16-033:SR2": ["CMS-SUS-19-006:A"]}'
    path.write_text(HEADER + group(pairs, level="region"))
    facts = load_combinability([path])

    def combine(regions: tuple[str, ...]) -> tuple[bool, bool]:
        num = len(regions)
        first = Result("CMS-SUS-16-033", "CMS", 13, 0, num)
        second = Result("CMS-SUS-19-006", "CMS", 13, num, num + 2)
        matrix = build_combinability(Store((first, second), (*regions, "A", "B")), facts)
        return bool(matrix.is_combinable[0, 1]), matrix.regions_combinable(0, "SR1", 1, "B")

    assert combine(("SR1",)) == (True, True)
    assert combine(("SR1", "SR2")) == (False, True)
