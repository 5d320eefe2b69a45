"""Protomodels from and to files; every command that takes a MODEL reads all of these formats.

- `detect.py`: `read_models`, which finds out what a file is
- `json_model.py`: our own JSON with its published schema, read and written
- `plain_json.py`: masses, decays and production cross sections as plain JSON, one model or a list, read
- `slha.py`: SLHA with XSECTION blocks, read and written
- `legacy_dict.py`: `.dict` files of the reference project, read
- `literals.py`: Python literals without evaluating anything
- `common.py`: what the readers share: coarse branching ratios, charge modes
"""

from builder.model_io.detect import parse_models, read_models
from builder.model_io.json_model import ProtoModelDocument, write_json
from builder.model_io.slha import write_slha

__all__ = ["ProtoModelDocument", "parse_models", "read_models", "write_json", "write_slha"]
