"""Protocol buffers as ONNX files use them: a message is a list of numbered fields.

Only what is needed to read and write networks: variable-length integers, 32- and 64-bit words, and length-prefixed bytes (texts,
messages, packed arrays). Field numbers are those of the ONNX standard (onnx.proto, IR version 10).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

VARINT: Final = 0
FIXED64: Final = 1
LENGTH: Final = 2
FIXED32: Final = 5

Field = tuple[int, int, int | bytes]
"""(number, wire type, value): an integer for VARINT, else the raw bytes."""


class WireError(ValueError):
    """The bytes are not a message."""


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """The integer at a position, and the position after it."""
    value, shift = 0, 0
    while True:
        if position >= len(data) or shift > 63:
            raise WireError("an integer is cut off")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7


def as_signed(value: int) -> int:
    """An int64 from its 64-bit two's complement."""
    return value - (1 << 64) if value >= 1 << 63 else value


def fields_of(data: bytes) -> Iterator[Field]:
    """Fields of a message, in their order.

    Raises:
        WireError: the bytes are not a message.
    """
    position, size = 0, len(data)
    while position < size:
        key, position = _varint(data, position)
        number, kind = key >> 3, key & 7
        if kind == VARINT:
            integer, position = _varint(data, position)
            yield number, kind, integer
            continue
        if kind == LENGTH:
            length, position = _varint(data, position)
        elif kind in (FIXED64, FIXED32):
            length = 8 if kind == FIXED64 else 4
        else:
            raise WireError(f"fields of type {kind} are not known")
        if number == 0 or position + length > size:
            raise WireError("a field is cut off")
        yield number, kind, data[position : position + length]
        position += length


def packed_integers(kind: int, value: int | bytes) -> Iterator[int]:
    """Integers of a repeated field, packed or one by one."""
    if isinstance(value, int):
        yield as_signed(value)
        return
    if kind != LENGTH:
        raise WireError("an integer is expected")
    position = 0
    while position < len(value):
        integer, position = _varint(value, position)
        yield as_signed(integer)


def packed_floats(kind: int, value: int | bytes, code: str) -> tuple[float, ...]:
    """Numbers of a repeated field of floats (code "f") or doubles ("d"), packed or one by one."""
    width = struct.calcsize(code)
    if isinstance(value, int) or kind == VARINT or len(value) % width:
        raise WireError("a floating-point number is expected")
    return struct.unpack(f"<{len(value) // width}{code}", value)


def as_text(value: int | bytes) -> str:
    """A field that holds a text."""
    if isinstance(value, int):
        raise WireError("a text is expected")
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        raise WireError("a text is not UTF-8") from None


def as_bytes(value: int | bytes) -> bytes:
    """A field that holds bytes or a message."""
    if isinstance(value, int):
        raise WireError("bytes are expected")
    return value


def as_integer(value: int | bytes) -> int:
    """A field that holds an integer."""
    if not isinstance(value, int):
        raise WireError("an integer is expected")
    return as_signed(value)


# ----------------------------------------------------------------------------------------------------------- write


def _encoded(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def integer_field(number: int, value: int) -> bytes:
    """A field with an integer."""
    return _encoded(number << 3 | VARINT) + _encoded(value)


def float_field(number: int, value: float) -> bytes:
    """A field with a single-precision number."""
    return _encoded(number << 3 | FIXED32) + struct.pack("<f", value)


def bytes_field(number: int, value: bytes | str) -> bytes:
    """A field with bytes, a text or a message."""
    content = value.encode("utf-8") if isinstance(value, str) else value
    return _encoded(number << 3 | LENGTH) + _encoded(len(content)) + content
