"""Snappy's block format, read only: what a push to Loki is packed in."""


class Damaged(ValueError):
    """The bytes are no block of Snappy's."""


def varint(data, at):
    """A number in seven-bit groups, lowest first, and where it ends."""
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise Damaged("a number does not end")
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
        shift += 7


def unpack(data):
    """The content of a block."""
    length, at = varint(data, 0)
    out = bytearray()
    while at < len(data):
        tag = data[at]
        kind, at = tag & 3, at + 1
        if kind == 0:
            size, at = literal_size(data, at, tag >> 2)
            out += data[at : at + size]
            at += size
            continue
        if kind == 1:
            size, offset, at = 4 + (tag >> 2 & 7), (tag >> 5) << 8 | data[at], at + 1
        else:
            width = 2 if kind == 2 else 4
            size, offset, at = 1 + (tag >> 2), int.from_bytes(data[at : at + width], "little"), at + width
        copy(out, offset, size)
    if len(out) != length:
        raise Damaged(f"{len(out)} bytes instead of {length}")
    return bytes(out)


def literal_size(data, at, short):
    if short < 60:
        return short + 1, at
    width = short - 59
    return int.from_bytes(data[at : at + width], "little") + 1, at + width


def copy(out, offset, size):
    """Appends bytes that came before; they may overlap what they make."""
    if not 0 < offset <= len(out):
        raise Damaged("a copy from before the beginning")
    start = len(out) - offset
    while size > 0:
        piece = out[start : start + size]
        out += piece
        size -= len(piece)
