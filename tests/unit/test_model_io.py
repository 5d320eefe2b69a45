"""Reading and writing model files."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from builder.model_io import parse_models, read_models, write_json, write_slha
from builder.model_io.json_model import build_schema
from builder.model_io.literals import parse_literal
from builder.protomodel import ProtoModel
from database.errors import ModelFormatError
from inference.cross_sections import reference_xsec_fb

LBP, XT, XW, XZ2, XG = 1000022, 1000006, 1000024, 1000023, 1000021
SCHEMA_FILE = Path(__file__).parents[2] / "docs" / "protomodel.schema.json"

PLAIN: dict[str, Any] = {
    "masses": {"1000022": 227.094, "1000024": 464.151, "1000021": 1500.0},
    "decays": {
        "1000024": {"1000022,24": 1.0},
        "1000021": {"1000024,5,-6": 0.25, "-1000024,-5,6": 0.25, "1000022,1,-1": 0.50000001},
    },
    "xsecs_fb": {"8": {"-1000024,1000024": 8.77379}, "13": {"-1000024,1000024": 32.8991, "1000021,1000021": 0.5}},
}

LEGACY = """# hiscore of an old run
[{'masses': {1000006: 1166.0, 1000001: 735.0, 1000022: 163.0, 1000024: 1e6, 1000012: 800.0},
  'ssmultipliers': {(-1000006, 1000006): 1.2, (-1000001, 1000001): np.float64(0.5), (1000012, 1000012): 2.0,
                    (-1000024, 1000024): 1.0},
  'decays': {1000006: {(1000022, 6): 0.999, (1000024, 5): 0.0}, 1000001: {(1000022, 1): 1.0}, 1000024: {(1000022, 24): 1.0},
             1000012: {(1000022, 12): 1.0}},
  'xsecs[fb]': {((-1000006, 1000006), 13): 2.6, ((-1000006, 1000006), 8): 0.3, ((-1000024, 1000024), 13): 7.0},
  'K': 6.9, 'TL': nan, 'Z': inf, 'step': 582, 'walkerid': 29, 'description': 'x', 'flags': [True, None, -1.0]}]
"""


@pytest.fixture
def model() -> ProtoModel:
    return ProtoModel(
        {LBP: 160.123456789, XT: 1100.1, XZ2: 400.0, XW: 300.0, XG: 1 / 3 * 5000},
        {
            XT: {(LBP, 6): 1 / 3, (5, XW): 2 / 3},
            XW: {(24, LBP): 1.0},
            XZ2: {(23, LBP): 0.1, (24, -XW): 0.9},
            XG: {(-6, 5, XW): 0.7, (-5, 5, LBP): 0.3},
        },
        {(XT, -XT): 1.2345678901234567, (-XW, XW): 0.0, (LBP, XZ2): 1e-5},
    )


def test_published_schema_is_current() -> None:
    published = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))
    assert published == build_schema(), "write builder.model_io.json_model.build_schema() to docs/protomodel.schema.json"


def test_written_documents_follow_the_schema(model: ProtoModel) -> None:
    schema = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))
    explicit = ProtoModel(model.masses, model.branching_ratios, model.ssms, {13: {(-XT, XT): 1.0}})
    for document in (model.to_json(), explicit.to_json(), json.loads(write_json(model, name="best"))):
        jsonschema.validate(document, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**model.to_json(), "masses_gev": {"top": 1.0}}, schema)


def test_json_round_trip(model: ProtoModel, tmp_path: Path) -> None:
    file = tmp_path / "models.json"
    file.write_text(write_json([model, model.without_particle(XT)]), encoding="utf-8")
    assert read_models(file) == [model, model.without_particle(XT)]
    assert parse_models(write_json(model, name="best")) == [model]
    assert parse_models(json.dumps({"k": 1.0, "protomodel": model.to_json()})) == [model]


def test_slha_round_trip(model: ProtoModel) -> None:
    for with_qnumbers in (False, True):
        assert parse_models(write_slha(model, with_qnumbers=with_qnumbers)) == [model]
    explicit = ProtoModel(model.masses, model.branching_ratios, model.ssms, {8: {(-XT, XT): 0.1}, 13: {(-XT, XT): 0.123456789}})
    assert parse_models(write_slha(explicit)) == [explicit]


def test_slha_has_what_other_programs_need(model: ProtoModel) -> None:
    text = write_slha(model, with_qnumbers=True)
    assert re.search(r"^\s+1000001\s+1000000\.0", text, re.MULTILINE)
    assert len(re.findall(r"^\s+[12]0000\d\d\s+[\d.]+\s+#", text, re.MULTILINE)) == 20
    assert re.search(r"^DECAY\s+1000022\s+0\.0", text, re.MULTILINE)
    assert re.search(r"^DECAY\s+1000024\s+1\.0", text, re.MULTILINE)
    assert re.search(r"^XSECTION\s+1\.30E\+04\s+2212 2212\s+2\s+-1000006 1000006", text, re.MULTILINE)
    assert "DECAY  1000001" not in text
    assert re.search(r"BLOCK QNUMBERS 1000024.*\n\s+1\s+3\b.*\n\s+2\s+2\b.*\n\s+3\s+1\b.*\n\s+4\s+1\b", text)
    pb = float(re.search(r"XSECTION  1\.30E\+04  2212 2212  2  -1000006 1000006.*\n\s+0  2  0  0  0  0  (\S+)", text)[1])  # type: ignore[index]
    assert 1000.0 * pb == pytest.approx(model.xsecs_fb(13)[-XT, XT], rel=1e-12)


def test_slha_of_another_program() -> None:
    text = """Block MODSEL # Select model
    1    0
BLOCK MASS  # Mass Spectrum
        25     1.25D+02   # h
        35     2.0E+05    # H
   1000022    -1.6300E+02
   1000006     1.166E+03
   1000001     1.0E+06
DECAY   6   1.5
   1.0  2  5  24
DECAY   1000006     2.0E+00   # stop
#    BR  NDA  ID1 ID2
     9.99900000E-01    2     1000022         6
DECAY   1000001     2.0E+00
     1.0    2     1000022         1
XSECTION  1.30E+04  2212 2212 2 1000006 -1000006
 0  0  0  0  0  0  1.0E-03 Pythia
 0  2  0  0  0  0  2.2E-03 NLLfast
 0  2  0  0  0  0  2.6E-03 NLLfast
XSECTION  1.30E+04  2212 2212 2 1000001 -1000001
 0  2  0  0  0  0  9.9 NLLfast
XSECTION  1.40E+04  2212 2212 2 1000006 -1000006
 0  2  0  0  0  0  9.9 NLLfast
"""
    (model,) = parse_models(text)
    assert model.masses == {LBP: 163.0, XT: 1166.0}
    assert model.branching_ratios[XT] == {(6, LBP): 1.0}
    assert model.xsecs_fb(13) == {(-XT, XT): pytest.approx(2.6)}
    assert model.xsecs_fb(8) == {}
    assert model.ssm((-XT, XT)) == pytest.approx(2.6 / (reference_xsec_fb((-XT, XT), model.masses, 13) or 0.0))


def test_slha_without_cross_sections_uses_the_reference() -> None:
    (model,) = parse_models("BLOCK MASS\n 1000022 100.\n 1000024 300.\nDECAY 1000024 1.\n 1.0 2 1000022 24\n")
    assert model.explicit_xsecs_fb is None and len(model.xsecs_fb(13)) == 3


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("BLOCK MASS\n 1000022 abc\n", ("line 2",)),
        ("BLOCK MASS\n 1000022 100.\n 2000011 300.\n", ("MASS", "2000011")),
        ("BLOCK MASS\n 1000022 100.\n 1000024 300.\nDECAY 1000024 1.\n 0.5 2 1000022 24\n", ("DECAY 1000024", "0.5")),
        ("BLOCK MASS\n 1000022 100.\n 1000024 300.\nDECAY 1000024 1.\n 1.0 3 1000022 24\n", ("line 5",)),
        ("BLOCK QNUMBERS 1000022\n 1 0\n", ("MASS", "missing")),
    ],
)
def test_broken_slha(text: str, words: tuple[str, ...]) -> None:
    with pytest.raises(ModelFormatError) as caught:
        parse_models(text, "point.slha")
    for word in ("point.slha", *words):
        assert word in str(caught.value)


def test_stable_charged_particle_in_slha_keeps_no_decays() -> None:
    (model,) = parse_models("BLOCK MASS\n 1000022 100.\n 1000024 300.\nDECAY 1000024 0.\n 1.0 2 1000022 24\n")
    assert model.branching_ratios == {}


@pytest.mark.parametrize("width", [1e-18, 3.3e-15, 1e-11])
def test_long_lived_particles_in_slha_keep_their_width(width: float) -> None:
    (model,) = parse_models(f"BLOCK MASS\n 1000022 100.\n 1000024 300.\nDECAY 1000024 {width!r}\n 1.0 2 1000022 24\n")
    assert model.widths == {XW: width} and model.branching_ratios[XW] == {(24, LBP): 1.0}
    assert parse_models(write_slha(model)) == [model]


def test_widths_in_json(model: ProtoModel) -> None:
    slow = model.with_widths({XW: 1e-15, XG: 2e-17})
    jsonschema.validate(slow.to_json(), build_schema())
    assert parse_models(write_json(slow)) == [slow] and parse_models(write_slha(slow)) == [slow]
    document = {**PLAIN, "widths_gev": {"1000021": 1e-16, "1000024": 2.1}}
    (plain,) = parse_models(json.dumps(document))
    assert plain.widths == {XG: 1e-16}
    with pytest.raises(ModelFormatError, match=r"widths_gev\[1000021\]"):
        parse_models(json.dumps({**PLAIN, "widths_gev": {"1000021": "slow"}}))


def test_plain_json() -> None:
    (model,) = parse_models(json.dumps(PLAIN))
    assert model.branching_ratios[XG] == {(-6, 5, XW): 0.5, (-1, 1, LBP): 0.50000001}
    assert dict(model.spectrum().decays[XG]) == {(-6, 5, XW): 0.25, (-XW, -5, 6): 0.25, (-1, 1, LBP): 0.50000001}
    assert model.xsecs_fb(8) == {(-XW, XW): 8.77379}
    assert model.ssm((-XW, XW)) == pytest.approx(32.8991 / (reference_xsec_fb((-XW, XW), model.masses, 13) or 0.0))
    assert len(parse_models(json.dumps([PLAIN, PLAIN]))) == 2
    (reference,) = parse_models(json.dumps({key: PLAIN[key] for key in ("masses", "decays")}))
    assert reference.explicit_xsecs_fb is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"xsec_fb": {}}, ("xsec_fb", "unknown")),
        ({"masses": {"1000022": "light"}}, ("masses[1000022]", "number")),
        ({"masses": {"1000022": 100.0, "1000035": 200.0}}, ("1000035",)),
        ({"decays": {"1000006": {"1000022,6": 1.0}}}, ("decays[1000006]", "no mass")),
        ({"decays": {"1000024": {"1000022,24": 0.7}}}, ("decays[1000024]", "0.7")),
        ({"decays": {"1000024": {"1000022,x": 1.0}}}, ("decays[1000024]", "'x'")),
        ({"decays": {"1000021": {"1000024,5,-6": 0.6, "-1000024,-5,6": 0.4}}}, ("decays[1000021]", "charge modes")),
        ({"xsecs_fb": {"7": {}}}, ("xsecs_fb", "8 or 13")),
        ({"xsecs_fb": {"13": {"-1000006,1000006": 1.0}}}, ("xsecs_fb[13][-1000006,1000006]",)),
        ({"xsecs_fb": {"13": {"-1000024,1000024": -1.0}}}, ("xsecs_fb[13][-1000024,1000024]",)),
    ],
)
def test_broken_plain_json(change: dict[str, Any], words: tuple[str, ...]) -> None:
    with pytest.raises(ModelFormatError) as caught:
        parse_models(json.dumps([PLAIN, {**PLAIN, **change}]), "points.json")
    for word in ("points.json", "model 2", *words):
        assert word in str(caught.value)


def test_legacy_dict(tmp_path: Path) -> None:
    file = tmp_path / "hiscores.dict"
    file.write_text(LEGACY, encoding="utf-8")
    (model,) = read_models(file)
    assert model.masses == {XT: 1166.0, 1000001: 735.0, LBP: 163.0, 1000012: 800.0}
    assert model.branching_ratios[XT] == {(6, LBP): 1.0}
    assert model.ssms == {(-XT, XT): 1.2, (-1000001, 1000001): 0.5, (-1000012, 1000012): 2.0}
    assert model.xsecs_fb(13) == {(-XT, XT): 2.6} and model.xsecs_fb(8) == {(-XT, XT): 0.3}


def test_legacy_single_model_and_old_decay_keys() -> None:
    text = """{'masses': {1000021: 1500., 1000022: 100., 1000024: 500., 1000023: 500., 1000011: 700., 1000012: 700.},
      'decays': {1000021: {(1000022, 6): 0.4, (1000024, 5): 0.3, (1000023, 1, -1): 0.3}, 1000024: {(1000022, 24): 1.0},
                 1000023: {(1000022, 25): 1.0}, 1000011: {(1000024, 12): 1.0}, 1000012: {(1000022, 12): 1.0}},
      'ssmultipliers': {(1000011, 1000012): 0.2, (-1000011, 1000012): 0.4}}"""
    (model,) = parse_models(text)
    assert model.branching_ratios[XG] == {(-6, 6, LBP): 0.4, (-6, 5, XW): 0.3, (-1, 1, XZ2): 0.3}
    assert model.branching_ratios[1000011] == {(-XW, 12): 1.0}
    assert model.ssms == {(-1000012, 1000011): 0.2, (-1000011, 1000012): 0.4}
    assert model.explicit_xsecs_fb is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{'decays': {}}", ("masses", "missing")),
        ("{'masses': {1000022: 100., 1000024: nan}}", ("masses[1000024]",)),
        ("{'masses': {1000022: 100.}, 'ssmultipliers': {(1000022,): 1}}", ("ssmultipliers",)),
        ("{'masses': {1000022: 100.}, 'ssmultipliers': {(1000022, 1000022): nan}}", ("ssmultipliers", "nan")),
        ("{'masses': {1000022: 100.}, 'xsecs[fb]': {(1000022, 1000022): 1}}", ("xsecs[fb]",)),
        ("{'masses': {1000022: __import__('os').system('true')}}", ("line 1", "only numbers")),
        ("{'masses': [1 for x in (1,)]}", ("line 1",)),
        ("{'masses': {1000022: 100.}", ("line 1",)),
        ("[1, 2]", ("object",)),
        ("[(1, 2)]", ("model",)),
    ],
)
def test_broken_legacy(text: str, words: tuple[str, ...]) -> None:
    with pytest.raises(ModelFormatError) as caught:
        parse_models(text, "pmodel.dict")
    for word in ("pmodel.dict", *words):
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "empty"),
        ("hello world", "neither"),
        ('{"masses": ', "JSON"),
        ("[]", "no model"),
        ('{"a": 1}', "masses_gev"),
        ("(" * 5000, "nested"),
    ],
)
def test_other_files_are_refused(text: str, word: str) -> None:
    with pytest.raises(ModelFormatError, match=word):
        parse_models(text)


def test_schema_violations_name_the_key() -> None:
    document = {"masses_gev": {"1000022": 100.0}, "ssms": {"1000022": 1.0}}
    with pytest.raises(ModelFormatError, match=r"ssms\[1000022\]"):
        parse_models(json.dumps(document))
    with pytest.raises(ModelFormatError, match="masses_gev"):
        parse_models('{"masses_gev": {"1000022": NaN}}')
    with pytest.raises(ModelFormatError, match="mass_gev"):
        parse_models('{"masses_gev": {"1000022": 1.0}, "mass_gev": {}}')


def test_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(ModelFormatError, match="absent"):
        read_models(tmp_path / "absent.json")
    with pytest.raises(ModelFormatError, match="cannot be read"):
        read_models(tmp_path)
    binary = tmp_path / "model.pcl"
    binary.write_bytes(b"\x80\x04\x95\xff\xfe")
    with pytest.raises(ModelFormatError, match="not a text file"):
        read_models(binary)


def test_literals() -> None:
    assert parse_literal("{'a': -inf, 'b': (1, [2.5], {3}), 'c': float('nan')}")["a"] == -float("inf")
    assert parse_literal("+3") == 3
    for text in ("{**{}}", "f'x'", "x", "open('a')", "1 + 2", "b'x'", "-'a'", "float(open)"):
        with pytest.raises(ModelFormatError):
            parse_literal(text)
