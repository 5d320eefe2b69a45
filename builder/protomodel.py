"""A protomodel: which particles exist, how heavy they are, how they decay, how strongly they are produced.

Walk: moves ──▶ **protomodel** ──▶ spectrum ──▶ predictions. A ProtoModel is immutable and canonical: two models with the
same content are equal and have the same hash, in whatever order they were written down. Conventions:

- masses: GeV by positive PDG id; only unfrozen particles are listed, X_Z^1 (1000022) always is, and is the lightest.
- branching_ratios: per positive-pid mother, keys of `builder.decays`; channels with branching ratio 0 are not kept.
  A particle without channels does not decay.
- ssms (κ): per sorted pair of signed PDG ids, -pid being the antiparticle of every particle but X_g and X_Z^i. A pair that
  is not listed has κ = 1. σ = κ · σ_ref (`inference.cross_sections`); pairs without reference are not produced.
- widths: total width in GeV per positive-pid mother that lives long enough to be seen, between `STABLE_WIDTH_GEV` and
  `PROMPT_WIDTH_GEV`; a mother that is not listed decays promptly. Larger widths make no difference and are not kept;
  with a smaller one the particle is stable and has no channels.
- explicit_xsecs_fb: production cross sections [fb] that replace κ · σ_ref altogether, for models given that way.
  Every edit drops them, except one of branching ratios or of the overall scale.

Particles of a user's catalogue (`builder.catalogue`) travel with the model: its JSON describes them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any

from builder.decays import Daughters, expand_channel
from builder.model_checks import (
    BranchingRatios,
    check_branching_ratios,
    check_masses,
    check_pairs,
    check_widths,
    join_pids,
    json_object,
    parse_pairs,
    parse_pid,
    parse_pids,
)
from builder.particles import PARTICLES, describe_added, register_described
from builder.rates import MAX_SSM, compensated_ssms, surviving_decays
from database.errors import ModelFormatError
from inference.cross_sections import SQRTS_TEV, reference_xsecs_fb
from inference.spectrum import LBP_PID, PidPair, Spectrum

FORMAT_NAME = "protomodel"
FORMAT_VERSION = 1


@dataclass(frozen=True, eq=False)
class ProtoModel:
    """One protomodel; see the module's text for the conventions.

    Attributes:
        masses: mass [GeV] per positive PDG id.
        branching_ratios: branching ratio per positive PDG id and channel.
        ssms: signal strength multiplier κ per sorted pair of signed PDG ids.
        explicit_xsecs_fb: production cross section [fb] per √s [TeV] and sorted pair; None: κ · reference.
        widths: total width [GeV] per positive PDG id of a long-lived particle.

    Raises:
        ModelFormatError: a field is not valid; the sentence names it.

    Examples:
        >>> model = ProtoModel({1000022: 160.0, 1000006: 1100.0}, {1000006: {(6, 1000022): 1.0}}, {(-1000006, 1000006): 1.2})
        >>> round(model.spectrum().xsecs_fb[13][-1000006, 1000006], 2)
        4.02
    """

    masses: Mapping[int, float]
    branching_ratios: BranchingRatios
    ssms: Mapping[PidPair, float]
    explicit_xsecs_fb: Mapping[int, Mapping[PidPair, float]] | None = None
    widths: Mapping[int, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        masses = check_masses(self.masses)
        object.__setattr__(self, "masses", masses)
        decays, widths = check_widths(self.widths, check_branching_ratios(self.branching_ratios, masses), masses)
        object.__setattr__(self, "branching_ratios", decays)
        object.__setattr__(self, "widths", widths)
        object.__setattr__(self, "ssms", check_pairs(self.ssms, masses, "ssms"))
        if self.explicit_xsecs_fb is not None:
            explicit = {}
            for sqrts_tev in sorted(self.explicit_xsecs_fb):
                if sqrts_tev not in SQRTS_TEV:
                    raise ModelFormatError(f"explicit_xsecs_fb: √s must be 8 or 13 TeV, not {sqrts_tev!r}.")
                explicit[sqrts_tev] = check_pairs(self.explicit_xsecs_fb[sqrts_tev], masses, f"explicit_xsecs_fb[{sqrts_tev}]")
            object.__setattr__(self, "explicit_xsecs_fb", MappingProxyType(explicit))

    def __reduce__(self) -> tuple[Callable[..., ProtoModel], tuple[Any, ...]]:
        """Pickle the plain content: mapping proxies do not travel between processes."""
        explicit = None if self.explicit_xsecs_fb is None else {s: dict(x) for s, x in self.explicit_xsecs_fb.items()}
        decays = {pid: dict(channels) for pid, channels in self.branching_ratios.items()}
        return ProtoModel, (dict(self.masses), decays, dict(self.ssms), explicit, dict(self.widths))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ProtoModel):
            return NotImplemented
        return (
            self.masses == other.masses
            and self.branching_ratios == other.branching_ratios
            and self.ssms == other.ssms
            and self.explicit_xsecs_fb == other.explicit_xsecs_fb
            and self.widths == other.widths
        )

    def __hash__(self) -> int:
        return hash(self.content_hash)

    @property
    def pids(self) -> tuple[int, ...]:
        """Return the positive PDG ids of the unfrozen particles, X_Z^1 included, increasing."""
        return tuple(self.masses)

    @property
    def num_particles(self) -> int:
        """Return the number of unfrozen particles, X_Z^1 included."""
        return len(self.masses)

    @cached_property
    def content_hash(self) -> str:
        """Return the SHA-256 (hex) of the canonical JSON text."""
        text = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode("ascii")).hexdigest()

    def ssm(self, pair: PidPair) -> float:
        """Return κ of a sorted pair of signed PDG ids, 1 where none is set."""
        return self.ssms.get(pair, 1.0)

    def xsecs_fb(self, sqrts_tev: int) -> Mapping[PidPair, float]:
        """Return the production cross sections [fb] at √s [TeV], κ applied, zero ones left out."""
        return self._spectrum.xsecs_fb.get(sqrts_tev, {})

    def spectrum(self) -> Spectrum:
        """Return masses, decays (both charge modes of self-conjugate mothers), cross sections and widths for the predictions."""
        return self._spectrum

    @cached_property
    def _spectrum(self) -> Spectrum:
        decays = {
            pid: tuple(decay for daughters, br in channels.items() for decay in expand_channel(pid, daughters, br))
            for pid, channels in self.branching_ratios.items()
        }
        xsecs: dict[int, dict[PidPair, float]] = {}
        for sqrts_tev in SQRTS_TEV:
            if self.explicit_xsecs_fb is not None:
                given = self.explicit_xsecs_fb.get(sqrts_tev, {})
                xsecs[sqrts_tev] = {pair: xsec for pair, xsec in given.items() if xsec > 0.0}
            else:
                reference = reference_xsecs_fb(self.masses, sqrts_tev)
                xsecs[sqrts_tev] = {p: self.ssms.get(p, 1.0) * x for p, x in reference.items() if self.ssms.get(p, 1.0) > 0.0}
        return Spectrum(masses=dict(self.masses), decays=decays, xsecs_fb=xsecs, widths=dict(self.widths))

    def with_widths(self, widths: Mapping[int, float]) -> ProtoModel:
        """Return a copy with some total widths [GeV] replaced; one below `STABLE_WIDTH_GEV` makes the particle stable."""
        return ProtoModel(self.masses, self.branching_ratios, self.ssms, self.explicit_xsecs_fb, {**self.widths, **widths})

    def with_branching_ratios(self, pid: int, branching_ratios: Mapping[Daughters, float]) -> ProtoModel:
        """Return a copy in which one particle decays differently; no channels at all make it stable."""
        updated = {**self.branching_ratios, pid: branching_ratios}
        return ProtoModel(self.masses, updated, self.ssms, self.explicit_xsecs_fb, self.widths)

    def with_ssms(self, ssms: Mapping[PidPair, float]) -> ProtoModel:
        """Return a copy with some signal strength multipliers replaced; explicit cross sections are dropped."""
        return ProtoModel(self.masses, self.branching_ratios, {**self.ssms, **ssms}, widths=self.widths)

    def with_scaled_production(self, factor: float) -> ProtoModel:
        """Return a copy with all cross sections multiplied: every κ, default ones included, and explicit values."""
        explicit = self.explicit_xsecs_fb
        ssms = {pair: factor * value for pair, value in self._all_ssms().items()}
        scaled = None if explicit is None else {s: {p: factor * x for p, x in xsecs.items()} for s, xsecs in explicit.items()}
        return ProtoModel(self.masses, self.branching_ratios, ssms, scaled, self.widths)

    def with_particle(
        self,
        pid: int,
        mass: float,
        branching_ratios: Mapping[Daughters, float],
        ssms: Mapping[PidPair, float] | None = None,
    ) -> ProtoModel:
        """Return a copy with one particle unfrozen [mass in GeV]; explicit cross sections are dropped."""
        decays = {**self.branching_ratios, pid: branching_ratios}
        return ProtoModel({**self.masses, pid: mass}, decays, {**self.ssms, **(ssms or {})}, widths=self.widths)

    def with_masses(self, masses: Mapping[int, float], *, keeps_rates: bool = True, max_ssm: float = MAX_SSM) -> ProtoModel:
        """Return a copy with some masses [GeV] replaced; channels that close are dropped, explicit cross sections too.

        Args:
            masses: new masses of unfrozen particles by positive PDG id.
            keeps_rates: whether κ makes up for the lost channels so that σ·BR of the surviving ones stays.
            max_ssm: largest κ such a compensation produces.
        """
        unknown = [pid for pid in masses if pid not in self.masses]
        if unknown:
            raise ModelFormatError(f"masses: particle {unknown[0]} is frozen, it has no mass to change.")
        return self._rebuilt({**self.masses, **masses}, keeps_rates=keeps_rates, max_ssm=max_ssm)

    def without_particle(self, pid: int, *, keeps_rates: bool = True, max_ssm: float = MAX_SSM) -> ProtoModel:
        """Return a copy with one particle frozen: decays into it are dropped, the other branching ratios normalised.

        Args:
            pid: positive PDG id of the particle.
            keeps_rates: whether κ makes up for the lost channels so that σ·BR of the surviving ones stays.
            max_ssm: largest κ such a compensation produces.
        """
        if pid == LBP_PID or pid not in self.masses:
            raise ModelFormatError(f"masses: particle {pid} cannot be frozen.")
        return self._rebuilt({p: m for p, m in self.masses.items() if p != pid}, keeps_rates=keeps_rates, max_ssm=max_ssm)

    def _rebuilt(self, masses: Mapping[int, float], *, keeps_rates: bool, max_ssm: float) -> ProtoModel:
        branching_ratios, survival = surviving_decays(self.branching_ratios, masses)
        ssms = {pair: value for pair, value in self.ssms.items() if abs(pair[0]) in masses and abs(pair[1]) in masses}
        if keeps_rates:
            everything = {p: v for p, v in self._all_ssms().items() if abs(p[0]) in masses and abs(p[1]) in masses}
            ssms.update(compensated_ssms(everything, survival, max_ssm=max_ssm))
        widths = {pid: width for pid, width in self.widths.items() if pid in masses}
        return ProtoModel(masses, branching_ratios, ssms, widths=widths)

    def _all_ssms(self) -> dict[PidPair, float]:
        """Return κ of every pair that is listed or has a reference."""
        references = (pair for sqrts_tev in SQRTS_TEV for pair in reference_xsecs_fb(self.masses, sqrts_tev))
        return {**dict.fromkeys(references, 1.0), **self.ssms}

    def to_json(self) -> dict[str, Any]:
        """Return the model as a JSON object (schema: docs/protomodel.schema.json); floats are exact."""
        document: dict[str, Any] = {
            "format": FORMAT_NAME,
            "format_version": FORMAT_VERSION,
            "masses_gev": {str(pid): mass for pid, mass in self.masses.items()},
            "branching_ratios": {
                str(pid): {join_pids(daughters): br for daughters, br in channels.items()}
                for pid, channels in self.branching_ratios.items()
            },
            "ssms": {join_pids(pair): value for pair, value in self.ssms.items()},
        }
        added = [pid for pid in self.masses if pid not in PARTICLES]
        if added:
            document["particles"] = {str(pid): describe_added(pid) for pid in added}
        if self.widths:
            document["widths_gev"] = {str(pid): width for pid, width in self.widths.items()}
        if self.explicit_xsecs_fb is not None:
            document["explicit_xsecs_fb"] = {
                str(sqrts_tev): {join_pids(pair): xsec for pair, xsec in xsecs.items()}
                for sqrts_tev, xsecs in self.explicit_xsecs_fb.items()
            }
        return document

    @classmethod
    def from_json(cls, document: Mapping[str, Any] | str) -> ProtoModel:
        """Return the model of a JSON object or its text.

        Raises:
            ModelFormatError: the text is not JSON, or a field is missing or not valid.
        """
        if isinstance(document, str):
            try:
                document = json.loads(document)
            except (ValueError, RecursionError) as error:
                raise ModelFormatError(f"The protomodel is not valid JSON: {error}.") from error
        if not isinstance(document, Mapping):
            raise ModelFormatError("A protomodel is a JSON object.")
        if document.get("format", FORMAT_NAME) != FORMAT_NAME:
            raise ModelFormatError(f'format: expected "{FORMAT_NAME}", found {document["format"]!r}.')
        if document.get("format_version", FORMAT_VERSION) != FORMAT_VERSION:
            raise ModelFormatError(f"format_version: this release reads version {FORMAT_VERSION}, not {document['format_version']!r}.")
        if "masses_gev" not in document:
            raise ModelFormatError("masses_gev: the field is missing.")
        explicit = document.get("explicit_xsecs_fb")
        for pid, description in json_object(document.get("particles", {}), "particles").items():
            register_described(description, f"particles[{pid}]")
        return cls(
            masses={parse_pid(k, "masses_gev"): v for k, v in json_object(document["masses_gev"], "masses_gev").items()},
            branching_ratios={
                parse_pid(pid, "branching_ratios"): {
                    parse_pids(key, f"branching_ratios[{pid}]"): br for key, br in json_object(channels, f"branching_ratios[{pid}]").items()
                }
                for pid, channels in json_object(document.get("branching_ratios", {}), "branching_ratios").items()
            },
            ssms=parse_pairs(document.get("ssms", {}), "ssms"),
            explicit_xsecs_fb=None
            if explicit is None
            else {
                parse_pid(sqrts, "explicit_xsecs_fb"): parse_pairs(xsecs, f"explicit_xsecs_fb[{sqrts}]")
                for sqrts, xsecs in json_object(explicit, "explicit_xsecs_fb").items()
            },
            widths={parse_pid(k, "widths_gev"): v for k, v in json_object(document.get("widths_gev", {}), "widths_gev").items()},
        )
