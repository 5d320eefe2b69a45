"""`protomodels limits` from the shell: tables, results files that are read back, JSON with a schema, one sentence for every bad input."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

import jsonschema
import pytest

from inference.multibin.results import ResultsFile
from inference.multibin.yields import YieldsFile
from services.cli.app import main
from tests.workspaces import make_workspace

DOCS = Path(__file__).parents[2] / "docs"
SPEC = make_workspace({"SR_a": ([50.0, 20.0], [52.0, 18.0]), "SR_b": ([5.0], [4.0])})
YIELDS = {
    "format": "protomodels-yields",
    "version": 1,
    "analyses": {
        "CMS-SUS-21-002": {"regions": {"b_veto_SR0": 20.0, "H_SR3": {"events": 3.0, "uncertainty": 0.3}}},
        "atlas_2004_14060": {"regions": {"SRATT": 1.0, "SRBTT": 9.0}},
        "ATLAS-HIGG-2018-26": {"regions": {"mT_0800": 2.0, "mT_1000": 1.5}, "signal_uncertainty": 0.1},
    },
}
MODEL = {"masses_gev": {"1000006": 500.0, "1000022": 100.0}, "branching_ratios": {"1000006": {"6,1000022": 1.0}}}


class Answer(NamedTuple):
    code: int
    stdout: str
    stderr: str


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Any:
    """Runs the command in a folder of its own, as from the shell."""
    monkeypatch.chdir(tmp_path)

    def invoke(*arguments: str) -> Answer:
        monkeypatch.setattr(sys, "argv", ["protomodels", "limits", *arguments, "--results", "embedded"])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return Answer(int(ended.value.code or 0), captured.out, captured.err)

    return invoke


@pytest.fixture
def yields(tmp_path: Path) -> str:
    (tmp_path / "yields.json").write_text(json.dumps(YIELDS))
    return "yields.json"


def test_a_table_says_what_stands_for_each_analysis(run: Any, yields: str) -> None:
    answer = run(yields)
    assert (answer.code, answer.stderr) == (0, "")
    for words in (
        "CMS-SUS-21-002",
        "covariance",
        "best region (SRBTT)",
        "best region (mT_",
        "combination",
        "verdict: allowed",
        "--model simple",
    ):
        assert words in answer.stdout
    simple = run(yields, "--model", "simple")
    assert "simplified model (SRA-B)" in simple.stdout and "simplified model (mT)" in simple.stdout


def test_results_are_read_back_to_the_last_bit(run: Any, yields: str, tmp_path: Path) -> None:
    assert run(yields, "--model", "simple", "--statistic", "q", "-o", "first.json").code == 0
    assert run("first.json", "--stat-only", "-o", "second.json").code == 0
    first, second = (tmp_path / "first.json").read_bytes(), (tmp_path / "second.json").read_bytes()
    assert first == second
    assert run("first.json", "--stat-only", "--model", "full", "-o", "third.json").code == 0
    third = json.loads((tmp_path / "third.json").read_text())
    assert third["settings"]["model"] == "full" and third["settings"]["statistic"] == "q"
    assert third["inputs"][0]["yields"] == json.loads(first)["inputs"][0]["yields"]
    assert not list(tmp_path.glob(".*"))


def test_json_follows_its_schema(run: Any, yields: str) -> None:
    answer = run(yields, "--json", "--detailed")
    document = json.loads(answer.stdout)
    schema = json.loads((DOCS / "limits-results.schema.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(document)
    jsonschema.Draft202012Validator(json.loads((DOCS / "limits-yields.schema.json").read_text())).validate(YIELDS)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(schema).validate({**document, "version": 2})
    (signal,) = document["inputs"]
    assert [entry["analysis"] for entry in signal["analyses"]] == ["CMS-SUS-21-002", "ATLAS-SUSY-2018-12", "ATLAS-HIGG-2018-26"]
    assert signal["combination"]["limits"]["mu_ul_obs"] <= max(entry["limits"]["mu_ul_obs"] for entry in signal["analyses"])
    assert signal["verdict"] == signal["combination"]["limits"]["verdict"] == "allowed"


@pytest.mark.parametrize(("name", "model"), [("yields", YieldsFile), ("results", ResultsFile)])
def test_published_schemas_are_up_to_date(name: str, model: Any) -> None:
    mode = "validation" if name == "yields" else "serialization"
    published = json.loads((DOCS / f"limits-{name}.schema.json").read_text())
    assert published == model.model_json_schema(mode=mode, by_alias=True), f"write its schema to docs/limits-{name}.schema.json"


def test_scan_and_select(run: Any, yields: str) -> None:
    scan = json.loads(run(yields, "--scan", "--json").stdout)["inputs"][0]["analyses"][0]["limits"]
    assert scan["mu_ul_obs"] is None and 0.0 < scan["cls_obs"] < 1.0 and scan["verdict"] == "allowed"
    assert "CLs = " in run(yields, "--scan").stdout
    chosen = json.loads(run(yields, "--select", "uplim, expected", "--json").stdout)["inputs"][0]["analyses"][0]["limits"]
    assert chosen["mu_ul_obs"] > 0.0 and None not in chosen["mu_ul_exp"] and chosen["cls_obs"] is None
    assert json.loads(run(yields, "--select", "expected", "--json").stdout)["settings"]["quantities"] == ["uplim", "expected"]


def test_one_of_several_analyses(run: Any, yields: str) -> None:
    answer = json.loads(run(yields, "-a", "ATLAS-SUSY-2018-12", "--json").stdout)
    assert list(answer["inputs"][0]["yields"]) == ["atlas_2004_14060"]


def test_models_give_their_own_yields(run: Any, tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text(json.dumps([MODEL, {**MODEL, "masses_gev": {"1000006": 3000.0, "1000022": 100.0}}]))
    answer = run("model.json", "--json")
    document = json.loads(answer.stdout)
    first, second = document["inputs"]
    assert (first["name"], second["name"]) == ("model.json model 1", "model.json model 2")
    assert "CMS-SUS-16-050-agg" in first["yields"] and second["yields"] == {} and second["verdict"] == "undecided"
    text = run("model.json").stdout
    assert "model 2: no analysis sees this signal" in text and "approximate: for demonstration and tests" in text
    named = json.loads(run("model.json", "-a", "CMS-SUS-21-002", "--json").stdout)
    assert named["inputs"][0]["analyses"][0]["limits"]["outcome"] == "no_signal"


def test_a_workspace_of_the_user(run: Any, tmp_path: Path) -> None:
    (tmp_path / "BkgOnly.json").write_text(json.dumps(SPEC))
    (tmp_path / "map.yaml").write_text(
        'analysis: MINE-1\nexperiment: CMS\nsqrts_tev: 13\nregions:\n  A: "SR_a[0]"\n  B: "SR_a[1]"\n  C: SR_b\n'
    )
    (tmp_path / "mine.json").write_text(json.dumps({**YIELDS, "analyses": {"MINE-1": {"regions": {"A": 10.0, "C": 2.0}}}}))
    arguments = ("mine.json", "--workspace", "BkgOnly.json", "--regions", "map.yaml")
    assert run(*arguments, "-o", "first.json").code == 0
    assert run("first.json", "--stat-only", "-o", "second.json").code == 0
    assert (tmp_path / "first.json").read_bytes() == (tmp_path / "second.json").read_bytes()
    (tmp_path / "BkgOnly.json").write_text(json.dumps({**SPEC, "version": "1.0.0", "comment": "changed"}))
    changed = run("first.json", "--stat-only")
    assert changed.code == 2 and "the workspace has changed since the results were made" in changed.stderr


def test_a_table_of_the_user(run: Any, tmp_path: Path) -> None:
    regions = [{"name": name, "observed": 5, "background": 4.0, "background_error": 1.0} for name in "AB"]
    table = {"analysis": "CMS-SUS-19-005", "experiment": "CMS", "sqrts_tev": 13, "lumi_ifb": 137, "source": "test", "regions": regions}
    (tmp_path / "table.json").write_text(json.dumps({**table, "covariance": [[1.0, 0.2], [0.2, 1.0]]}))
    (tmp_path / "mine.json").write_text(json.dumps({**YIELDS, "analyses": {"cms_1909_03460": {"regions": {"A": 5.0}}}}))
    missing = run("mine.json")
    assert missing.code == 2 and "10.17182/hepdata.90834" in missing.stderr
    answer = json.loads(run("mine.json", "--table", "table.json", "--json").stdout)
    assert answer["inputs"][0]["analyses"][0]["model"]["kind"] == "covariance"


def test_curves_as_numbers_and_as_a_picture(run: Any, yields: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    assert run(yields, "--curves", "curves.json").code == 0
    curves = json.loads((tmp_path / "curves.json").read_text())
    assert curves["format"] == "protomodels-likelihood-curves" and len(curves["members"]) == 2
    for k in range(0, len(curves["mu"]), 40):
        total = sum(member["log_ratio"][k] for member in curves["members"])
        assert curves["combined"]["log_ratio"][k] == pytest.approx(total, abs=1e-12)
    for suffix, magic in (("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")):
        assert run(yields, "--curves", f"curves.{suffix}").code == 0
        assert (tmp_path / f"curves.{suffix}").read_bytes().startswith(magic)


def test_curves_of_a_model_are_those_of_its_score(run: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "model.json").write_text(json.dumps(MODEL))
    assert run("model.json", "--curves", "curves.json").code == 0
    curves = json.loads((tmp_path / "curves.json").read_text())
    sys.argv = ["protomodels", "score", "model.json", "--results", "embedded", "--json"]
    with pytest.raises(SystemExit):
        main()
    scored = json.loads(capsys.readouterr().out)
    assert curves["tl"] == pytest.approx(scored["t_l"] if "t_l" in scored else scored["tl"], abs=1e-9)
    assert [member["analysis"] for member in curves["members"]] == [member["analysis"] for member in scored["combination"]]


def test_the_catalogue_says_what_is_missing(run: Any) -> None:
    answer = run("--list")
    assert answer.code == 0 and "10.17182/hepdata.90834" in answer.stdout.replace("\n", "").replace(" ", "")
    rows = json.loads(run("--list", "--json").stdout)
    assert len(rows) == 13 and {row["analysis"] for row in rows if row["has_full"]} == {"CMS-SUS-21-002"}


BAD: dict[str, tuple[tuple[str, ...], str]] = {
    "nothing": ((), "SOURCE: name a file of yields or models"),
    "no file": (("absent.json",), "absent.json: cannot be read"),
    "two ways": (("yields.json", "--scan", "--detailed"), "--scan, --select and --detailed exclude each other"),
    "unknown quantity": (("yields.json", "--select", "limits"), "--select: limits is none of uplim, cls, expected"),
    "no quantity": (("yields.json", "--select", ","), "--select: expected values of what"),
    "unknown analysis": (("yields.json", "-a", "CMS-SUS-21-022"), "did you mean CMS-SUS-21-002?"),
    "analysis without yields": (("yields.json", "-a", "CMS-SUS-20-004"), "--analysis: yields.json has no yields for CMS-SUS-20-004"),
    "no results file": (("yields.json", "--stat-only"), "--stat-only needs a results file"),
    "maps without workspaces": (("yields.json", "--regions", "yields.json"), "--regions: there is no --workspace"),
    "workspace without a map": (
        ("yields.json", "--workspace", "yields.json"),
        "--regions: the catalogue has no region map for yields.json",
    ),
    "no surrogate": (("yields.json", "--surrogate", "a=b.onnx"), "--surrogate: b.onnx: there is no such file"),
    "no picture": (("yields.json", "--curves", "curves.gif"), "--curves: curves.gif must end with .png"),
    "no time": (("yields.json", "--timeout", "0"), "--timeout: input should be greater than 0"),
    "pyhf built in": (("yields.json", "--model", "fullpyhf", "--backend", "numba"), "the model fullpyhf is evaluated by pyhf"),
}


@pytest.mark.parametrize(("arguments", "words"), BAD.values(), ids=BAD)
def test_bad_input_is_one_sentence(run: Any, yields: str, arguments: tuple[str, ...], words: str) -> None:
    answer = run(*arguments)
    assert (answer.code, answer.stdout) == (2, "")
    assert answer.stderr.startswith("protomodels: ") and answer.stderr.count("\n") == 1
    assert words in answer.stderr


def test_bad_files_are_one_sentence_with_the_field(run: Any, tmp_path: Path) -> None:
    twice = {**YIELDS["analyses"], "ATLAS-SUSY-2018-12": {"regions": {"SRATT": 1.0}}}  # type: ignore[dict-item]
    for analyses, words in (
        ({"CMS-SUS-21-002": {"regions": {"b_veto_SR0": -1}}}, "analyses[CMS-SUS-21-002][regions][b_veto_SR0][events]: input should be"),
        ({"CMS-SUS-21-002": {"regions": {"SR0": 1}}}, "analyses[CMS-SUS-21-002][regions][SR0]: CMS-SUS-21-002 has no such region"),
        ({"CMS-SUS-21-02": {"regions": {"SR0": 1}}}, "CMS-SUS-21-02 is no analysis of these results or of the catalogue"),
        (twice, "analyses[ATLAS-SUSY-2018-12]: atlas_2004_14060 is the same analysis"),
    ):
        (tmp_path / "bad.json").write_text(json.dumps({**YIELDS, "analyses": analyses}))
        answer = run("bad.json")
        assert (answer.code, answer.stdout, answer.stderr.count("\n")) == (2, "", 1)
        assert words in answer.stderr
    (tmp_path / "model.json").write_text('{"masses_gev": {"1000022": NaN}}')
    assert "masses_gev[1000022]" in run("model.json").stderr


def test_results_that_cannot_be_written(run: Any, yields: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    answer = run(yields, "-o", "file/results.json")
    assert answer.code == 2 and "cannot be written" in answer.stderr


def test_a_results_file_is_not_mistaken_for_yields(run: Any, yields: str, tmp_path: Path) -> None:
    assert run(yields, "-o", "first.json").code == 0
    assert "this is a results file; --stat-only evaluates its yields again" in run("first.json").stderr
    document = json.loads((tmp_path / "first.json").read_text())
    for changes, words in (({"version": 3}, "version: 3 is not known, only 1"), ({"inputs": 3}, "inputs: input should be a valid")):
        (tmp_path / "bad.json").write_text(json.dumps({**document, **changes}))
        answer = run("bad.json", "--stat-only")
        assert answer.code == 2 and words in answer.stderr
