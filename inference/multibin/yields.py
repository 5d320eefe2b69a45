"""Expected signal events per analysis and region: what other programs hand over, and what predictions come to.

    {"format": "protomodels-yields", "version": 1,
     "analyses": {"ATLAS-SUSY-2018-31": {"signal_uncertainty": 0.1,
                                         "regions": {"SRA_L": 1.2, "SRA_M": {"events": 2.1, "uncertainty": 0.3}}}}}

Events are expected ones at μ = 1, after all cuts, for the luminosity of the analysis. Regions that are not listed see no signal.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from database.results.store import ResultsStore
from database.searches.records import parse_record, read_document
from inference.types import PredictionKind, Predictions

FORMAT = "protomodels-yields"
VERSION = 1
Name = Annotated[str, Field(min_length=1)]
Number = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class SignalEvents(BaseModel):
    """Signal in one region; a plain number is the events alone."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    events: Number = Field(description="expected signal events at μ = 1")
    uncertainty: Number | None = Field(
        None, description="their statistical uncertainty [events]; used where the model has statistical errors per bin"
    )

    @model_validator(mode="before")
    @classmethod
    def _read_number(cls, value: Any) -> Any:
        return {"events": value} if isinstance(value, int | float) and not isinstance(value, bool) else value

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        described = handler(core)
        return {"anyOf": [{"type": "number", "minimum": 0}, described]} if handler.mode == "validation" else described


class AnalysisYields(BaseModel):
    """Signal in one analysis."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    regions: dict[Name, SignalEvents] = Field(min_length=1, description="signal per region")
    signal_uncertainty: Number | None = Field(
        None, description="relative uncertainty of all yields together, log-normal; on top of what the published model has for signals"
    )


class YieldsFile(BaseModel):
    """Signals of one model in several analyses."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["protomodels-yields"] = Field(description="always protomodels-yields")
    version: Literal[1] = Field(description="of this format")
    description: str = Field("", description="what the signal is")
    analyses: dict[Name, AnalysisYields] = Field(min_length=1, description="by name of the analysis")


def parse_yields(document: Mapping[str, Any], name: str) -> YieldsFile:
    """A checked document.

    Raises:
        SearchFileError: it is not valid; names the field.
    """
    return parse_record(YieldsFile, document, name)


def read_yields(path: Path) -> YieldsFile:
    """The yields in a file.

    Raises:
        SearchFileError: it cannot be read or is not valid; names the field.
    """
    return parse_yields(read_document(path, "yields"), str(path))


def is_yields(document: Any) -> bool:
    """Whether a parsed file means to be yields."""
    return isinstance(document, Mapping) and document.get("format") == FORMAT


def predicted_yields(predictions: Predictions, store: ResultsStore) -> dict[str, AnalysisYields]:
    """Expected events per region of every efficiency-map result that sees a model, by analysis id, in the order of the store.

    Args:
        predictions: at μ = 1.
        store: what they were made with.
    """
    events: dict[int, dict[str, SignalEvents]] = {}
    for row in np.flatnonzero(predictions.kind == PredictionKind.EFFICIENCY_MAP).tolist():
        result, dataset = int(predictions.result[row]), int(predictions.dataset[row])
        value = float(predictions.xsec_fb[row]) * store.results[result].lumi_ifb
        events.setdefault(result, {})[str(store.dataset_ids[dataset])] = SignalEvents(events=value)
    for result, yields in predictions.region_yields.items():
        start = store.results[result].dataset_start
        combined = {str(store.dataset_ids[start + k]): SignalEvents(events=value) for k, value in enumerate(yields.tolist()) if value > 0.0}
        if combined:
            events.setdefault(result, {}).update(combined)
    return {store.results[result].analysis_id: AnalysisYields(regions=events[result]) for result in sorted(events)}
