"""The memory that a serialised message takes once it is parsed, before it is parsed.

Protobuf makes an object of 32 bytes or more from a field of two, and parses with
the interpreter's lock held. So a large message is looked through here first. What
is looked for are short fields; numbers grow eight times at most.
"""

from __future__ import annotations

from typing import Any

import numpy as np

_MESSAGE = 200  # bytes of an empty message, about
_STRING = 64  # of an empty string, with its place in a NumPy array
_NUMBER = 8
_SHORT = 16  # below this length a field grows much
_CHUNK = 1 << 20
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5


def parsed_bytes(message: bytes, descriptor: Any, limit: int) -> int:
    """Estimates the memory of a parsed message.

    Args:
        message: the serialised message; damaged ones are the parser's to refuse.
        descriptor: the `Descriptor` of its type.
        limit: a message that takes more is not looked through to its end.

    Returns:
        Bytes: at most so many where a quick look finds that below the limit, or
        else the sum over the fields, up to the limit or a little more.
    """
    bound = len(message) + _STRING * _short_fields(message)
    return bound if bound <= limit else _walk(message, descriptor, limit)


def _short_fields(message: bytes) -> int:
    """Counts what may be a short field with a length: its tag, then a small number."""
    content = np.frombuffer(message, np.uint8)
    found = 0
    for start in range(0, len(content), _CHUNK):
        part = content[start : start + _CHUNK + 1]  # one over: pairs go across the cut
        found += int(np.count_nonzero((part[:-1] & 7 == _LENGTH) & (part[1:] < _SHORT)))
    return found


def _walk(message: bytes, descriptor: Any, limit: int) -> int:
    total = 0
    ranges = [(0, len(message), descriptor)]
    try:
        while ranges and total <= limit:
            at, end, kind = ranges.pop()
            fields = kind.fields_by_number
            while at < end and total <= limit:
                key, at = _varint(message, at)
                field, wire = fields.get(key >> 3), key & 7
                if wire == _LENGTH:
                    size, at = _varint(message, at)
                    if field is not None and field.message_type is not None:
                        ranges.append((at, min(at + size, end), field.message_type))
                        total += _MESSAGE
                    elif field is None or field.cpp_type == field.CPPTYPE_STRING:
                        total += _STRING + size
                    else:  # packed numbers, of one byte each at the least
                        total += _NUMBER * size
                    at += size
                    continue
                total += _NUMBER if field is not None else _STRING
                if wire == _VARINT:
                    _, at = _varint(message, at)
                elif wire in (_FIXED64, _FIXED32):
                    at += 8 if wire == _FIXED64 else 4
    except IndexError:  # cut off
        pass
    return total


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """Returns a number and where the next field begins."""
    byte = message[at]
    if byte < 0x80:
        return byte, at + 1
    value, shift = byte & 0x7F, 7
    while shift < 70:
        at += 1
        byte = message[at]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
        shift += 7
    return value, at + 1
