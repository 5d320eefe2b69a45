"""SLHA: protomodels written for other programs, and read back (hep-ph/0311123; XSECTION: arXiv:1305.4237 and later).

Written: MASS (absent particles of the pool at 1e6 GeV), DECAY (the width of long-lived particles, 1 GeV for prompt and 0
for stable ones; both charge modes of self-conjugate mothers), XSECTION at 8 and 13 TeV in pb at order 2 (NLL), and κ as
comment lines `# ssm pid pid value`; `# explicit cross sections` marks a model whose cross sections are its own and not κ
times the reference ones. Numbers are written in full: reading the file back gives the same model. QNUMBERS are written on
request; all ids of the pool are MSSM ids that programs know.

Read: the same blocks from any program. Of several orders of a cross section the highest counts, of duplicates the
largest. Cross sections become the model's explicit ones, with κ = σ/σ_ref at 13 TeV, unless κ comments are there and
reproduce them. Widths are kept for long-lived particles (`inference.topologies` says what counts as prompt and stable).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from decimal import Decimal

from builder.decays import Daughters
from builder.model_checks import canonical_pair, check_masses
from builder.model_io.common import fold_channels, unfrozen_masses
from builder.particles import FROZEN_MASS, POOL_PIDS, particle_of
from builder.protomodel import ProtoModel
from builder.rates import implied_ssms
from database.errors import ModelFormatError
from inference.branches import STABLE_WIDTH_GEV
from inference.cross_sections import SQRTS_TEV
from inference.spectrum import PidPair

PROMPT_WIDTH = 1.0
"""Width [GeV] written for every promptly decaying particle."""
SSM_AGREEMENT = 1.0e-9
"""Relative agreement of κ · reference with the cross sections of a file that makes the κ comments authoritative."""

_QCD_ORDER = 2
_PROTON = 2212
_PB_EXPONENT = -3
_SSM_COMMENT = re.compile(r"#\s*ssm\s+(-?\d+)\s+(-?\d+)\s+(\S+)\s*$")

_EXPLICIT_COMMENT = "# explicit cross sections"


def looks_like_slha(text: str) -> bool:
    """Return whether a text has SLHA blocks."""
    return re.search(r"^\s*(block\s+\w+|decay\s+\d+|xsection\s)", text, flags=re.IGNORECASE | re.MULTILINE) is not None


def write_slha(model: ProtoModel, *, with_qnumbers: bool = False) -> str:
    """Return a protomodel as SLHA text.

    Args:
        model: what to write.
        with_qnumbers: whether to add QNUMBERS for programs that know no MSSM ids.
    """
    lines = [f"# protomodel {model.content_hash}", "BLOCK MASS"]
    lines += [
        f"  {pid:8d}  {model.masses.get(pid, FROZEN_MASS)!r}  # {particle_of(pid).name}" for pid in sorted({*POOL_PIDS, *model.masses})
    ]
    if with_qnumbers:
        for pid in model.pids:
            particle = particle_of(pid)
            lines += [
                f"BLOCK QNUMBERS {pid}  # {particle.name}",
                f"  1  {particle.charge_thirds}  # three times the electric charge",
                f"  2  {particle.spin_twice + 1}  # number of spin states",
                f"  3  {particle.colour}  # colour representation",
                f"  4  {int(particle.has_antiparticle)}  # whether there is an antiparticle",
            ]
    spectrum = model.spectrum()
    for pid in model.pids:
        decays = spectrum.decays.get(pid, ())
        width = model.widths.get(pid, PROMPT_WIDTH if decays else 0.0)
        lines.append(f"DECAY  {pid}  {width!r}  # {particle_of(pid).name}")
        for daughters, br in decays:
            lines.append(f"  {br!r}  {len(daughters)}  " + "  ".join(map(str, daughters)))
    lines += [f"# ssm {pair[0]} {pair[1]} {value!r}" for pair, value in model.ssms.items()]
    if model.explicit_xsecs_fb is not None:
        lines.append(_EXPLICIT_COMMENT)
    for sqrts_tev in SQRTS_TEV:
        for pair, xsec in model.xsecs_fb(sqrts_tev).items():
            lines.append(f"XSECTION  {1000 * sqrts_tev:.2E}  {_PROTON} {_PROTON}  2  {pair[0]} {pair[1]}  # [pb]")
            lines.append(f"  0  {_QCD_ORDER}  0  0  0  0  {_shift(repr(xsec), _PB_EXPONENT)}  protomodels")
    return "\n".join(lines) + "\n"


def parse_slha(text: str) -> ProtoModel:
    """Return the protomodel of an SLHA text.

    Raises:
        ModelFormatError: a line cannot be read (the sentence names it), or the model is not valid.
    """
    reader = _Reader()
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            reader.feed(line)
        except (ValueError, IndexError, ArithmeticError) as error:
            raise ModelFormatError(f"line {number}: {line.strip()[:60]!r} is not valid SLHA.") from error
    return reader.build()


class _Reader:
    """Collects the blocks of one file, line by line."""

    def __init__(self) -> None:
        self.masses: dict[int, float] = {}
        self.widths: dict[int, float] = {}
        self.channels: dict[int, dict[Daughters, float]] = {}
        self.xsecs: dict[int, dict[PidPair, dict[int, float]]] = {}
        self.ssms: dict[PidPair, float] = {}
        self.is_explicit = False
        self._block = ""
        self._mother = 0
        self._pair: tuple[int, PidPair] | None = None

    def feed(self, line: str) -> None:
        """Read one line."""
        comment = _SSM_COMMENT.match(line.strip())
        if comment is not None:
            self.ssms[canonical_pair((int(comment[1]), int(comment[2])))] = _float(comment[3])
            return
        if line.strip() == _EXPLICIT_COMMENT:
            self.is_explicit = True
        words = line.split("#", 1)[0].split()
        if not words:
            return
        keyword = words[0].lower()
        if keyword in ("block", "decay", "xsection"):
            self._open(keyword, words)
        elif self._block == "mass":
            self.masses[int(words[0])] = _float(words[1])
        elif self._block == "decay":
            self._add_channel(words)
        elif self._block == "xsection" and self._pair is not None:
            self._add_xsec(words)

    def _open(self, keyword: str, words: list[str]) -> None:
        self._block = words[1].lower() if keyword == "block" else keyword
        if keyword == "decay":
            self._mother = int(words[1])
            self.widths[self._mother] = _float(words[2])
        elif keyword == "xsection":
            self._pair = None
            sqrts_tev = round(_float(words[1]) / 1000.0)
            is_ours = sqrts_tev in SQRTS_TEV and words[2] == words[3] == str(_PROTON) and words[4] == "2"
            if is_ours:
                self._pair = sqrts_tev, canonical_pair((int(words[5]), int(words[6])))

    def _add_channel(self, words: list[str]) -> None:
        num_daughters = int(words[1])
        daughters = tuple(sorted(int(word) for word in words[2 : 2 + num_daughters]))
        if len(daughters) != num_daughters:
            raise ValueError("too few daughters")
        channels = self.channels.setdefault(self._mother, {})
        channels[daughters] = channels.get(daughters, 0.0) + _float(words[0])

    def _add_xsec(self, words: list[str]) -> None:
        if self._pair is None:
            return
        sqrts_tev, pair = self._pair
        order, xsec_fb = int(words[1]), _float(_shift(words[6], -_PB_EXPONENT))
        orders = self.xsecs.setdefault(sqrts_tev, {}).setdefault(pair, {})
        orders[order] = max(orders.get(order, 0.0), xsec_fb)

    def build(self) -> ProtoModel:
        """Return the model of everything that was read."""
        if not self.masses:
            raise ModelFormatError("MASS: the block is missing.")
        masses = check_masses(unfrozen_masses(self.masses, "MASS"))
        widths = {pid: abs(self.widths.get(pid, 0.0)) for pid in masses if self.channels.get(pid)}
        unstable = [pid for pid, width in widths.items() if width >= STABLE_WIDTH_GEV]
        branching_ratios = {pid: fold_channels(pid, self.channels[pid], f"DECAY {pid}") for pid in unstable}
        xsecs = {
            sqrts_tev: {pair: orders[max(orders)] for pair, orders in pairs.items() if abs(pair[0]) in masses and abs(pair[1]) in masses}
            for sqrts_tev, pairs in self.xsecs.items()
        }
        ssms = {pair: value for pair, value in self.ssms.items() if abs(pair[0]) in masses and abs(pair[1]) in masses}
        model = ProtoModel(masses, branching_ratios, ssms, widths=widths)
        is_derived = not xsecs or all(_agree(model.xsecs_fb(sqrts_tev), xsecs.get(sqrts_tev, {})) for sqrts_tev in SQRTS_TEV)
        if is_derived and not self.is_explicit:
            return model
        return ProtoModel(masses, branching_ratios, ssms or implied_ssms(masses, xsecs), xsecs, widths)


def _agree(ours: Mapping[PidPair, float], theirs: Mapping[PidPair, float]) -> bool:
    positive = {pair: xsec for pair, xsec in theirs.items() if xsec > 0.0}
    return ours.keys() == positive.keys() and all(abs(ours[pair] - xsec) <= SSM_AGREEMENT * xsec for pair, xsec in positive.items())


def _float(number: str) -> float:
    """Return a finite number; Fortran's D exponents are understood."""
    value = float(number.replace("D", "E").replace("d", "e"))
    if not math.isfinite(value):
        raise ValueError("not a finite number")
    return value


def _shift(number: str, exponent: int) -> str:
    """Return a decimal number times a power of ten, exactly; Fortran's D exponents are understood."""
    return str(Decimal(number.replace("D", "E").replace("d", "e")).scaleb(exponent))
