"""The binary forms of the types, as clients read and write them: big endian."""

import struct


def vector(values):
    """int16 dimensions, int16 zero, float4 values."""
    return struct.pack(f">hh{len(values)}f", len(values), 0, *values)


def read_vector(wire):
    count, zero = struct.unpack_from(">hh", wire)
    assert zero == 0
    return list(struct.unpack_from(f">{count}f", wire, 4))


def halfvec(values):
    """int16 dimensions, int16 zero, values of two bytes (IEEE half)."""
    return struct.pack(f">hh{len(values)}e", len(values), 0, *values)


def read_halfvec(wire):
    count, zero = struct.unpack_from(">hh", wire)
    assert zero == 0
    return list(struct.unpack_from(f">{count}e", wire, 4))


def sparsevec(dimensions, entries):
    """int32 dimensions, entries and zero, the entries' places from 0, their float4 values."""
    places, values = list(entries), list(entries.values())
    return struct.pack(f">iii{len(places)}i{len(places)}f", dimensions, len(places), 0, *places, *values)


def read_sparsevec(wire):
    dimensions, count, zero = struct.unpack_from(">iii", wire)
    assert zero == 0
    places = struct.unpack_from(f">{count}i", wire, 12)
    return dimensions, dict(zip(places, struct.unpack_from(f">{count}f", wire, 12 + 4 * count)))


COPY_HEADER = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
COPY_END = struct.pack(">h", -1)


def copy_row(*fields):
    """A row of a binary COPY; None is NULL."""
    row = struct.pack(">h", len(fields))
    for field in fields:
        row += struct.pack(">i", -1) if field is None else struct.pack(">i", len(field)) + field
    return row
