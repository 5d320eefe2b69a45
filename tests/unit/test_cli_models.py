"""`protomodels predict`, `score` and `explain` with odd models: a proper answer or one clear sentence, and the documented exit codes."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from services.cli.app import main

XT, XZ2, XW, LBP = "1000006", "1000023", "1000024", "1000022"
COMMANDS = ("predict", "score", "explain")
STOP_DECAYS = {XT: {f"6,{LBP}": 1.0}}
SLHA = "BLOCK MASS\n 1000022 100.\n 1000006 500.\nDECAY 1000006 1.\n 1.0 2 1000022 6\n"
SLHA_XSEC = SLHA + "XSECTION  1.30E+04  2212 2212 2 -1000006 1000006\n 0 2 0 0 0 0 {} x\n"


class Answer(NamedTuple):
    code: int
    stdout: str
    stderr: str


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Any:
    """Runs a command on a model, as from the shell."""

    def invoke(command: str, model: dict[str, Any] | str, *options: str) -> Answer:
        path = tmp_path / "model"
        path.write_text(model if isinstance(model, str) else json.dumps(model))
        monkeypatch.setattr(sys, "argv", ["protomodels", command, str(path), "--results", "embedded", *options])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return Answer(int(ended.value.code or 0), captured.out, captured.err)

    return invoke


def stops(mass: float = 500.0, lbp: float = 100.0, **fields: Any) -> dict[str, Any]:
    return {"masses_gev": {XT: mass, LBP: lbp}, "branching_ratios": STOP_DECAYS, **fields}


NOTHING_SEEN: dict[str, dict[str, Any]] = {
    "only the lightest particle": {"masses_gev": {LBP: 100.0}},
    "three TeV": stops(3000.0),
    "beyond all cross sections": stops(30000.0),
    "not produced": stops(ssms={f"-{XT},{XT}": 0.0}),
    "hardly produced": stops(ssms={f"-{XT},{XT}": 1e-320}),
    "zero cross section": {"masses": {XT: 500.0, LBP: 100.0}, "decays": STOP_DECAYS, "xsecs_fb": {"13": {f"-{XT},{XT}": 0.0}}},
    "no cross sections": {"masses": {XT: 500.0, LBP: 100.0}, "decays": STOP_DECAYS, "xsecs_fb": {}},
    "stable and coloured": {"masses_gev": {XT: 500.0, LBP: 100.0}},
    "equal masses": stops(500.0, 500.0),
}


@pytest.mark.parametrize("model", NOTHING_SEEN.values(), ids=NOTHING_SEEN)
def test_models_that_no_result_sees(run: Any, model: dict[str, Any]) -> None:
    predicted, scored, explained = (run(command, model) for command in COMMANDS)
    assert (predicted.code, scored.code, explained.code) == (0, 0, 0)
    assert "0 predictions; no published result sees the model" in predicted.stdout
    assert "no published result sees the model" in scored.stdout
    assert any(words in explained.stdout for words in ("Nothing is produced", "below the cut", "0 of 20 see the model"))
    (row,) = json.loads(run("predict", model, "--json").stdout).values()
    assert row["predictions"] == []
    row = json.loads(run("score", model, "--json").stdout)
    assert (row["outcome"], row["k"], row["mu_max"]) == ("no_prediction", None, None)


def test_a_huge_multiplier_is_scaled_back(run: Any) -> None:
    plain = json.loads(run("score", stops(), "--json").stdout)
    huge = json.loads(run("score", stops(ssms={f"-{XT},{XT}": 1e9}), "--json").stdout)
    assert huge["outcome"] == "ok"
    assert huge["k"] == pytest.approx(plain["k"], rel=1e-6)
    assert huge["mu_hat"] * 1e9 == pytest.approx(plain["mu_hat"], rel=1e-6)


BAD: dict[str, tuple[dict[str, Any] | str, str]] = {
    "heavy lightest particle": (stops(500.0, 900.0), "masses[1000006]: X_t^1 is lighter than X_Z^1"),
    "nan mass": ('{"masses_gev": {"1000022": NaN}}', "masses_gev[1000022]: input should be a finite number"),
    "infinite mass": ('{"masses_gev": {"1000022": 1, "1000006": 1e999}}', "masses_gev[1000006]: input should be a finite number"),
    "infinite plain mass": ('{"masses": {"1000022": 1, "1000006": Infinity}}', "masses[1000006]: expected a finite number, found inf"),
    "endless integer": ('{"masses": {"1000022": 1' + 400 * "0" + "}}", "masses[1000022]: expected a finite number, found inf"),
    "nan branching ratio": (
        '{"masses_gev": {"1000022": 1, "1000006": 500}, "branching_ratios": {"1000006": {"6,1000022": NaN}}}',
        "branching_ratios[1000006][6,1000022]: input should be a finite number",
    ),
    "nan plain branching ratio": (
        '{"masses": {"1000022": 1, "1000006": 500}, "decays": {"1000006": {"6,1000022": NaN}}}',
        "decays[1000006][6,1000022]: expected a finite number, found nan",
    ),
    "infinite multiplier": (
        '{"masses_gev": {"1000022": 1, "1000006": 500}, "ssms": {"-1000006,1000006": 1e400}}',
        "ssms[-1000006,1000006]",
    ),
    "absurd multiplier": (stops(ssms={f"-{XT},{XT}": 1e300}), "ssms[-1000006,1000006]: a cross section of 8.56e+301 fb"),
    "overflowing multiplier": (stops(ssms={f"-{XT},{XT}": 1e308}), "ssms[-1000006,1000006]: a cross section of inf fb"),
    "absurd cross section": (
        {"masses": {XT: 500.0, LBP: 100.0}, "decays": STOP_DECAYS, "xsecs_fb": {"13": {f"-{XT},{XT}": 1e16}}},
        "xsecs_fb[13][-1000006,1000006]: a cross section of 1e+16 fb",
    ),
    "one pair twice": (
        {"masses": {XT: 500.0, LBP: 100.0}, "decays": STOP_DECAYS, "xsecs_fb": {"13": {f"-{XT},{XT}": 1.0, f"{XT},-{XT}": 2.0}}},
        "xsecs_fb[13][1000006,-1000006]: the pair is given twice",
    ),
    "decays in a circle": (
        {"masses_gev": {LBP: 1.0, XZ2: 500.0, XW: 500.0}, "branching_ratios": {XZ2: {f"-24,{XW}": 1.0}, XW: {f"24,{XZ2}": 1.0}}},
        "branching_ratios[1000023]: the particle decays into itself",
    ),
    "nan in slha": (SLHA.replace("500.", "nan"), "line 3: '1000006 nan' is not valid SLHA"),
    "infinite mass in slha": (SLHA.replace("500.", "inf"), "line 3: '1000006 inf' is not valid SLHA"),
    "nan width in slha": (SLHA.replace("1000006 1.", "1000006 nan"), "line 4: 'DECAY 1000006 nan' is not valid SLHA"),
    "nan branching ratio in slha": (SLHA.replace(" 1.0 2", " nan 2"), "line 5: 'nan 2 1000022 6' is not valid SLHA"),
    "nan cross section in slha": (SLHA_XSEC.format("nan"), "line 7: '0 2 0 0 0 0 nan x' is not valid SLHA"),
    "infinite cross section in slha": (SLHA_XSEC.format("inf"), "line 7: "),
    "overflowing cross section in slha": (SLHA_XSEC.format("1e999999"), "line 7: "),
    "absurd cross section in slha": (SLHA_XSEC.format("1e20"), "xsecs_fb[13][-1000006,1000006]: a cross section of 1e+23 fb"),
    "nan multiplier in slha": (SLHA + "# ssm -1000006 1000006 nan\n", "line 6: "),
    "nan in a dict": ("{'masses': {1000022: 100., 1000006: nan}}", "masses[1000006]: expected a finite number, found nan"),
    "infinite mass in a dict": ("{'masses': {1000022: 100., 1000006: inf}}", "masses[1000006]: expected a finite number, found inf"),
}


@pytest.mark.parametrize(("model", "words"), BAD.values(), ids=BAD)
def test_bad_models_are_refused_in_one_sentence(run: Any, model: dict[str, Any] | str, words: str) -> None:
    for command in COMMANDS:
        answer = run(command, model)
        assert answer.code == 2
        assert answer.stdout == ""
        assert answer.stderr.startswith("protomodels: ") and answer.stderr.count("\n") == 1
        assert words in answer.stderr


def test_the_second_of_several_models_is_named(run: Any) -> None:
    answer = run("predict", json.dumps([stops(), stops(ssms={f"-{XT},{XT}": 1e300})]))
    assert answer.code == 2
    assert "model 2: ssms[-1000006,1000006]" in answer.stderr


def test_units_are_in_the_headings(run: Any) -> None:
    answer = run("predict", stops())
    assert answer.code == 0
    assert "σ [fb]" in answer.stdout and "limit obs [fb]" in answer.stdout


def test_rules_of_the_combination_and_conventions_can_be_chosen(run: Any, tmp_path: Path) -> None:
    """Dropping what hurts never lowers T_L; a configuration's own rule gives way to the option."""
    model = stops(1100.0, 160.0)
    by_rule = {
        rule: json.loads(run("score", model, "--json", "--combination", rule).stdout) for rule in ("maximal", "free", "legacy-offset")
    }
    assert by_rule["free"]["t_l"] >= by_rule["maximal"]["t_l"]
    assert all(member["log_likelihood_ratio"] > 0 for member in by_rule["free"]["combination"])
    config = tmp_path / "free.yaml"
    config.write_text("evaluation:\n  score:\n    combination_rule: free\n")
    assert json.loads(run("score", model, "--json", "--config", str(config)).stdout) == by_rule["free"]
    chosen = run("score", model, "--json", "--config", str(config), "--combination", "maximal")
    assert json.loads(chosen.stdout) == by_rule["maximal"]
    assert run("score", model, "--conventions", "smodels").code == 0
    assert run("score", model, "--combination", "best").code == 2


def test_score_reports_the_nearest_constraint(run: Any) -> None:
    answer = json.loads(run("score", stops(700.0, 100.0), "--json").stdout)
    nearest = answer["nearest_constraint"]
    assert nearest["r_obs"] == answer["verdict"]["r_obs"] == max(c["r_obs"] for c in answer["verdict"]["constraints"])
    assert answer["verdict"]["findings"][0]["critic"] == nearest["critic"] == "upper_limit_v1"
