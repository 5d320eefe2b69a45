"""Our own JSON: one protomodel or a list of them, with a published schema (docs/protomodel.schema.json)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from builder.protomodel import FORMAT_NAME, FORMAT_VERSION, ProtoModel
from database.errors import ModelFormatError
from inference.spectrum import LBP_PID

Pid = Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]*$")]
PidList = Annotated[str, StringConstraints(pattern=r"^-?[1-9][0-9]*(,-?[1-9][0-9]*)+$")]
PidPairText = Annotated[str, StringConstraints(pattern=r"^-?[1-9][0-9]*,-?[1-9][0-9]*$")]
Fraction = Annotated[float, Field(ge=0, le=1.000001, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class AddedParticle(BaseModel):
    """A particle that the standard pool does not have."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pid: int = Field(gt=100, description="positive PDG id")
    name: str = Field(min_length=1, description="the field's name")
    ascii_id: str = Field(min_length=1, description="short name")
    symbol: str = Field(min_length=1, description="name for terminals and pages")
    latex: str = Field(min_length=1, description="name for papers")
    charge_thirds: int = Field(description="electric charge in units of e/3")
    colour: Literal[1, 3, 8] = Field(description="dimension of the colour representation")
    spin_twice: Literal[0, 1, 2] = Field(description="twice the spin")
    is_self_conjugate: bool = Field(description="whether particle and antiparticle are the same state")
    merger_group: str | None = Field(None, description="particles of the same group may be merged")
    like: int | None = Field(None, description="PDG id of the particle whose reference cross sections it borrows; null: it has none")


class ProtoModelDocument(BaseModel):
    """A protomodel: the particles beyond the Standard Model, how they decay and how strongly they are produced."""

    model_config = ConfigDict(frozen=True, extra="forbid", title="protomodel")

    format: Literal["protomodel"] = Field("protomodel", description="what this document is")
    format_version: Literal[1] = Field(1, description="version of this schema")
    name: str | None = Field(None, description="a name for people; not part of the content hash")
    comment: str | None = Field(None, description="a remark for people; not part of the content hash")
    masses_gev: dict[Pid, Annotated[float, Field(ge=0, lt=1.0e5, allow_inf_nan=False)]] = Field(
        description="mass per positive PDG id [GeV]; the lightest particle, 1000022, always; absent particles are frozen"
    )
    particles: dict[Pid, AddedParticle] = Field(
        default_factory=dict, description="what particles beyond the standard pool are, by positive PDG id"
    )
    branching_ratios: dict[Pid, dict[PidList, Fraction]] = Field(
        default_factory=dict,
        description="per positive PDG id of the mother: branching ratio per list of signed daughter PDG ids; they add up to 1. "
        "For 1000021, 1000023 and 1000025, their own antiparticles, one key stands for both charge modes",
    )
    ssms: dict[PidPairText, NonNegative] = Field(
        default_factory=dict,
        description="signal strength multiplier per pair of signed PDG ids: cross section over reference cross section; 1 where not listed",
    )
    widths_gev: dict[Pid, NonNegative] = Field(
        default_factory=dict,
        description="total width per positive PDG id of a long-lived particle [GeV]; particles that are not listed decay promptly "
        "if they have decays, and are stable if they have none; 0 makes a particle stable",
    )
    explicit_xsecs_fb: dict[Literal["8", "13"], dict[PidPairText, NonNegative]] | None = Field(
        None,
        description="production cross section per √s [TeV] and pair of signed PDG ids [fb]; replaces the reference values altogether",
    )


def build_schema() -> dict[str, Any]:
    """Return the JSON schema of one protomodel document."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **ProtoModelDocument.model_json_schema()}
    _close_mappings(schema)
    schema["properties"]["masses_gev"]["required"] = [str(LBP_PID)]
    return schema


def _close_mappings(schema: Any) -> None:
    """Make the schema refuse keys that match none of the patterns, as the reader does."""
    if isinstance(schema, dict):
        if "patternProperties" in schema:
            schema["additionalProperties"] = False
        for value in schema.values():
            _close_mappings(value)
    elif isinstance(schema, list):
        for value in schema:
            _close_mappings(value)


def parse_json_model(document: Any) -> ProtoModel:
    """Return the protomodel of one document.

    Raises:
        ModelFormatError: the document does not follow the schema, or the model is not valid.
    """
    try:
        ProtoModelDocument.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        path = "".join(f"[{part}]" if index else str(part) for index, part in enumerate(first["loc"]) if part != "[key]")
        raise ModelFormatError(f"{path or 'document'}: {first['msg'].lower()}.") from error
    return ProtoModel.from_json(document)


def write_json(models: ProtoModel | Sequence[ProtoModel], *, name: str | None = None) -> str:
    """Return the text of a file with one protomodel (an object) or several (a list).

    Args:
        models: what to write.
        name: a name for a single model.
    """
    if isinstance(models, ProtoModel):
        document: Any = models.to_json()
        if name is not None:
            document = {"format": FORMAT_NAME, "format_version": FORMAT_VERSION, "name": name, **document}
    else:
        document = [model.to_json() for model in models]
    return json.dumps(document, indent=2, allow_nan=False) + "\n"
