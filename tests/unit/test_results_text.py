"""Reader of the text database: line grammar, units, folders, and what broken files say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from database.errors import ResultsFormatError
from database.results.grid_text import parse_grid, transform_width
from database.results.literals import LiteralError, Quantity, as_number, parse_literal
from database.results.smodels_text import find_results, read_map, read_result, read_version
from database.results.text_files import TextFile, read_tags
from tests.text_database import GRID_MASSES, TextDatabase, mass_rows


def text_file(tmp_path: Path, content: str) -> TextFile:
    path = tmp_path / "file.txt"
    path.write_text(content)
    return TextFile(path, tmp_path)


# ------------------------------------------------------------------------------------------------------------ values


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("13*TeV", Quantity(13000.0, 1, 0)),
        ("2.1E-01*fb", Quantity(0.21, 0, 1)),
        ("139./fb", Quantity(139.0, 0, -1)),
        ("1/pb", Quantity(1e-3, 0, -1)),
        ("'SR1', 'SR2'", ("SR1", "SR2")),
        ("[[1, -2.5], [None, True]]", [[1, -2.5], [None, True]]),
        ("{0: (1, 'mass', GeV)}", {0: (1, "mass", Quantity(1.0, 1, 0))}),
        ("2*(3+4)/7", 2.0),
    ],
)
def test_literals(text: str, value: object) -> None:
    assert parse_literal(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os')",
        "open('x')",
        "(1).real",
        "[x for x in y]",
        "lambda: 1",
        "1 if 1 else 2",
        "2**9999999",
        "a",
        "1*",
        "1*GeV+1*fb",
        "1/0",
        "b'x'",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(LiteralError):
        parse_literal(text)


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(LiteralError):
        parse_literal("[" * 5000 + "]" * 5000)


def test_units_are_checked() -> None:
    with pytest.raises(LiteralError, match="wrong unit"):
        as_number(parse_literal("1*GeV"), cross_section=1)
    with pytest.raises(LiteralError, match="unit is missing"):
        as_number(3.0, energy=1)
    with pytest.raises(LiteralError, match="not a number"):
        as_number(True)


# ------------------------------------------------------------------------------------------------------------- lines


def test_lines_join_as_published(tmp_path: Path) -> None:
    content = "a: [1,\n2,\n3]\nb: {\n  'x': [1],\n\t'y': 2\n}\nc: one \\\ntwo\n\n# comment: x\n#d: 1\ne: http://host:80/x\nf:\n"
    lines = {line.tag: line for line in text_file(tmp_path, content).lines()}
    assert {tag: line.value for tag, line in lines.items()} == {
        "a": "[1,2,3]",
        "b": "{'x': [1],'y': 2}",
        "c": "one two",
        "e": "http://host:80/x",
        "f": "",
    }
    assert [lines["a"].line_of(offset) for offset in (0, 2, 3, 5, -1)] == [1, 1, 2, 3, 3]
    assert (lines["b"].line, lines["c"].line, lines["e"].line) == (4, 8, 13)


def test_blank_lines_do_not_end_a_list(tmp_path: Path) -> None:
    assert [line.value for line in text_file(tmp_path, "\n\na: [1,\n\n2]\n\nb: 3,").lines()] == ["[1,2]", "3,"]


def test_comments_are_left_out_and_lines_keep_their_numbers(tmp_path: Path) -> None:
    content = "a: [1,  # one\n# two, and three\n  2,\n3]\n# all: [1\nb: 4 # four\nurl: http://x/\\#y\nc: {\n 'x': 1, # x\n#'y': 2\n}\n"
    lines = {line.tag: line for line in text_file(tmp_path, content).lines()}
    assert {tag: line.value for tag, line in lines.items()} == {"a": "[1,2,3]", "b": "4", "url": "http://x/#y", "c": "{'x': 1,}"}
    assert [lines["a"].line_of(offset) for offset in (1, 3, 5)] == [1, 3, 4]
    assert (lines["b"].line, lines["c"].line) == (6, 8)


def test_a_tag_that_is_commented_out_takes_its_lines_with_it(tmp_path: Path) -> None:
    content = "a: 1\n#covariance: [[1,\n 2],\n[3, 4]\n ]\nb: 2\n#c: [see (1)\nd: 3\n"
    assert [(line.tag, line.value) for line in text_file(tmp_path, content).lines()] == [("a", "1"), ("b", "2"), ("d", "3")]


def test_repeated_tags_are_ignored_in_info_files(tmp_path: Path) -> None:
    values, lines = read_tags(text_file(tmp_path, "a: 1\nb: 2\na: 3\nlastUpdate: 2023/2/14\nurl: http://x\n"))
    assert values == {"b": 2, "lastUpdate": "2023/2/14", "url": "http://x"}
    assert lines["a"] == 3


def test_repeated_tags_override_in_map_files(tmp_path: Path) -> None:
    database = TextDatabase(tmp_path)
    path = database.limits(database.result("13TeV/CMS/CMS-SUS-00-001"))
    path.write_text(path.read_text() + "source: other\nconstraint: [[['b']],[['b']]]\n")
    read = read_map(TextFile(path, tmp_path), "upperLimit")
    assert read is not None
    assert read.constraint == "[[['b']],[['b']]]"


def test_line_without_colon_names_file_and_line(tmp_path: Path) -> None:
    with pytest.raises(ResultsFormatError, match=r"^file\.txt, line 2: expected 'tag: value', found 'nonsense'\.$"):
        list(text_file(tmp_path, "a: 1\nnonsense\n").lines())


def test_binary_file_names_line(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_bytes(b"a: 1\nb: \xff\xfe\n")
    with pytest.raises(ResultsFormatError, match=r"^x\.txt, line 2: not a text file"):
        TextFile(tmp_path / "x.txt", tmp_path)


# ------------------------------------------------------------------------------------------------------------- grids


def test_masses_come_before_widths() -> None:
    grid = parse_grid("[[['*',[5.5E+01*GeV,(50*GeV,1e-3*GeV)],[(1*TeV,2*GeV),3*MeV]],0.25]]", is_limit=False)
    assert [(axis.branch, axis.position, axis.is_width) for axis in grid.axes] == [
        (1, 0, False),
        (1, 1, False),
        (2, 0, False),
        (2, 1, False),
        (1, 1, True),
        (2, 0, True),
    ]
    np.testing.assert_array_equal(grid.points, [[55.0, 50.0, 1000.0, 3 * 1e-3, 1e-3, 2.0]])
    np.testing.assert_array_equal(grid.values, [0.25])


def test_flat_points_need_no_unit() -> None:
    grid = parse_grid("[[[100,2.5],1.5*pb],[[200,3],2*pb]]", is_limit=True)
    np.testing.assert_array_equal(grid.points, [[100.0, 2.5], [200.0, 3.0]])
    np.testing.assert_array_equal(grid.values, [1500.0, 2000.0])


@pytest.mark.parametrize(
    "text",
    [
        "[[[[100*GeV],[100*GeV]],1*pb],[[[200*GeV],[200*GeV]],1000*fb]]",  # mixed units
        "[[[[100*GeV],[100*GeV]],1*pb],[[[0.2*TeV],[2*100*GeV]],4*pb/4]]",  # arithmetic
        "[ [ [ [100*GeV], [100*GeV] ], 1*pb ], [ [ [200*GeV], [2.0e2*GeV] ], 1.0*pb ] , ]",  # blanks, trailing comma
    ],
)
def test_unusual_spellings_give_the_same_numbers(text: str) -> None:
    grid = parse_grid(text, is_limit=True)
    np.testing.assert_array_equal(grid.points, [[100.0, 100.0], [200.0, 200.0]])
    np.testing.assert_array_equal(grid.values, [1000.0, 1000.0])


def test_fast_and_exact_readings_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(7)
    rows = [f"[[[{a!r}*GeV,({b!r}*GeV,{c!r}*GeV)],'*'],{d!r}*pb]" for a, b, c, d in rng.lognormal(0, 20, (50, 4)).tolist()]
    text = "[" + ",".join(rows) + "]"
    fast = parse_grid(text, is_limit=True)
    monkeypatch.setattr("database.results.grid_text._parse_fast", lambda text, is_limit: None)
    exact = parse_grid(text, is_limit=True)
    assert fast.axes == exact.axes
    np.testing.assert_array_equal(fast.points, exact.points)
    np.testing.assert_array_equal(fast.values, exact.values)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[[[[100*GeV],[100*GeV]],1*pb],[[[100*GeV],[100*GeV,1*GeV]],1*pb]]", "row 2: differs in shape"),
        ("[[[[100*GeV],[100*GeV]],1*pb],[[[100*GeV],[100*GeV]],1*GeV]]", "row 2: wrong unit"),
        ("[[[[100*GeV],[100*GeV]],1*pb],[[[100*GeV],[100]],1*pb]]", "row 2: a unit is missing"),
        ("[[[[100*GeV],[100*GeV]],1e999*pb]]", "not finite"),
        ("[[[[100*GeV],[100*GeV]],1*pb]", "never closed"),
        ("[]", "must be a list"),
        ("5", "must be a list"),
        ("[[[], 1*pb]]", "a row must be"),
    ],
)
def test_broken_grids(text: str, problem: str) -> None:
    with pytest.raises(LiteralError, match=problem):
        parse_grid(text, is_limit=True)


def test_width_coordinate() -> None:
    assert transform_width(0.0) == 0.0
    assert transform_width(1e-30) == pytest.approx(np.log(2.0))
    assert transform_width(1e-45) == pytest.approx(1e-15)
    assert transform_width(1e60) == transform_width(1e50) == pytest.approx(80 * np.log(10.0))


# ------------------------------------------------------------------------------------------------------------ folders


def test_results_are_found_in_path_order(tmp_path: Path) -> None:
    database = TextDatabase(tmp_path)
    for folder in (
        "8TeV/CMS/CMS-1",
        "13TeV/CMS/CMS-2-eff",
        "13TeV/CMS/CMS-2",
        "13TeV/ATLAS/ATLAS-9",
        "13TeV/CMS/CMS-2/orig",
        "13TeV/CMS/.git",
    ):
        database.result(folder)
    found = [path.relative_to(tmp_path).as_posix() for path in find_results(tmp_path)]
    assert found == ["13TeV/ATLAS/ATLAS-9", "13TeV/CMS/CMS-2", "13TeV/CMS/CMS-2-eff", "8TeV/CMS/CMS-1"]


def test_regions_follow_the_published_order(tmp_path: Path) -> None:
    database = TextDatabase(tmp_path)
    result = database.result("13TeV/CMS/CMS-SUS-00-001-eff", "datasetOrder: 'SR3','SR1'")
    for name in ("SR1", "SR2", "SR3", "validation"):
        database.efficiencies(database.region(result, name))
    read = read_result(result, tmp_path)
    assert [dataset.dataset_id for dataset in read.datasets] == ["SR3", "SR1"]
    assert read.notes == ("1 data sets outside of the published datasetOrder are left out",)


def test_numbers_of_a_region(tmp_path: Path) -> None:
    database = TextDatabase(tmp_path)
    result = database.result("13TeV/CMS/CMS-SUS-00-001-eff")
    database.efficiencies(database.region(result, "SR1", "thirdMoment: -0.5"))
    (dataset,) = read_result(result, tmp_path).datasets
    assert dataset.numbers == {
        "observedN": 5,
        "expectedBG": 4.0,
        "bgError": 1.0,
        "thirdMoment": -0.5,
        "upperLimit": 0.05,
        "expectedUpperLimit": 4e-5 * 1000,
    }


def test_file_that_is_no_map_is_noted(tmp_path: Path) -> None:
    database = TextDatabase(tmp_path)
    result = database.result("13TeV/CMS/CMS-SUS-00-001")
    database.limits(result)
    (result / "data" / "readme.txt").write_text("hello\n")
    assert read_result(result, tmp_path).notes == ("13TeV/CMS/CMS-SUS-00-001/data/readme.txt is not a map and is left out",)


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("globalInfo.txt", "id: CMS-SUS-00-001\n", "", r"globalInfo.txt, line 1: the tag 'id' is missing."),
        ("globalInfo.txt", "lumi: 137./fb", "lumi: 137./fb\nlumi: 139./fb", r"globalInfo.txt, line 4: the tag 'lumi' is repeated."),
        ("globalInfo.txt", "137./fb", "137.*fb", r"globalInfo.txt, line 3: cannot read 'lumi': wrong unit."),
        ("globalInfo.txt", "13*TeV", "thirteen", r"globalInfo.txt, line 2: cannot read 'sqrts': not a number."),
        ("SR1/dataInfo.txt", "efficiencyMap", "magic", r"SR1/dataInfo.txt, line 2: 'dataType' must be upperLimit or efficiencyMap."),
        ("SR1/dataInfo.txt", "observedN: 5\n", "", r"SR1/dataInfo.txt, line 1: the tag 'observedN' is missing."),
        ("SR1/dataInfo.txt", "observedN: 5", "observedN: -5", r"SR1/dataInfo.txt, line 3: 'observedN' is negative."),
        ("SR1/dataInfo.txt", "0.05*fb", "0.05", r"SR1/dataInfo.txt, line 6: cannot read 'upperLimit': a unit is missing."),
        ("SR1/T2tt.txt", "constraint: [[['t']],[['t']]]\n", "", r"SR1/T2tt.txt, line 1: the tag 'constraint' is missing."),
        ("SR1/T2tt.txt", "efficiencyMap", "limits", r"SR1/T2tt.txt, line 1: the tag 'efficiencyMap' is missing."),
        (
            "SR1/T2tt.txt",
            "[600.0*GeV,0.0*GeV]],",
            "[600.0*GeV,0.0*TGeV]],",
            r"SR1/T2tt.txt, line 11: cannot read 'efficiencyMap': unknown name 'TGeV'.",
        ),
    ],
)
def test_broken_files_name_file_and_line(tmp_path: Path, file: str, old: str, new: str, message: str) -> None:
    database = TextDatabase(tmp_path)
    result = database.result("13TeV/CMS/CMS-SUS-00-001-eff")
    database.efficiencies(database.region(result, "SR1"))
    text = (result / file).read_text()
    assert old in text
    (result / file).write_text(text.replace(old, new))
    with pytest.raises(ResultsFormatError) as caught:
        read_result(result, tmp_path)
    assert str(caught.value) == "13TeV/CMS/CMS-SUS-00-001-eff/" + message


def test_parts_that_are_missing_are_named(tmp_path: Path) -> None:
    database = TextDatabase(tmp_path)
    database.limits(database.result("13TeV/CMS/CMS-SUS-00-001"))
    other = database.result("13TeV/CMS/CMS-SUS-00-002-eff")
    database.efficiencies(database.region(other, "SR1"))
    (other / "SR1" / "dataInfo.txt").unlink()
    with pytest.raises(ResultsFormatError, match=r"^13TeV/CMS/CMS-SUS-00-002-eff/SR1/dataInfo\.txt is missing: "):
        read_result(other, tmp_path)
    database.region(other, "SR1")
    (other / "globalInfo.txt").unlink()
    with pytest.raises(ResultsFormatError, match=r"^13TeV/CMS/CMS-SUS-00-002-eff/globalInfo\.txt is missing: "):
        find_results(tmp_path)


def test_empty_map_is_refused(tmp_path: Path) -> None:
    database = TextDatabase(tmp_path)
    result = database.result("13TeV/CMS/CMS-SUS-00-001")
    database.limits(result).write_text("")
    with pytest.raises(ResultsFormatError, match=r"data/T2tt\.txt, line 1: the file is empty\.$"):
        read_result(result, tmp_path)


@pytest.mark.parametrize("fraction", [0.3, 0.5, 0.8, 0.97])
def test_truncated_map_is_refused(tmp_path: Path, fraction: float) -> None:
    database = TextDatabase(tmp_path)
    result = database.result("13TeV/CMS/CMS-SUS-00-001-eff")
    path = database.efficiencies(database.region(result, "SR1"))
    text = path.read_text()
    cut = max(int(len(text) * fraction), text.index("efficiencyMap: ") + 20)
    path.write_text(text[:cut])
    line = text[:cut].rstrip("\n").count("\n") + 1
    with pytest.raises(ResultsFormatError, match=r"T2tt\.txt, line \d+: cannot read 'efficiencyMap'") as caught:
        read_result(result, tmp_path)
    assert int(str(caught.value).split("line ")[1].split(":")[0]) <= line


def test_dataset_order_must_exist(tmp_path: Path) -> None:
    database = TextDatabase(tmp_path)
    result = database.result("13TeV/CMS/CMS-SUS-00-001-eff", "datasetOrder: 'SR1','SR9'")
    database.efficiencies(database.region(result, "SR1"))
    with pytest.raises(ResultsFormatError, match=r"globalInfo\.txt, line 4: 'datasetOrder' names 'SR9', which has no folder\.$"):
        read_result(result, tmp_path)


def test_version(tmp_path: Path) -> None:
    assert read_version(TextDatabase(tmp_path / "a").root) == "3.0.0"
    with pytest.raises(ResultsFormatError, match=r"version, line 1: release '2\.2\.1' of the text database is not supported"):
        read_version(TextDatabase(tmp_path / "b", "2.2.1").root)


def test_rows_helper_matches_grid() -> None:
    grid = parse_grid(mass_rows(["1*fb"] * len(GRID_MASSES)), is_limit=True)
    assert grid.points.shape == (len(GRID_MASSES), 4)
