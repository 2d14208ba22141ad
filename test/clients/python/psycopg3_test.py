#!/usr/bin/env python3
"""Debian's python3-psycopg: text and binary parameters and results, prepared statements, binary COPY."""

import tap
import wire

try:
    import psycopg
    from psycopg.adapt import Dumper, Loader
    from psycopg.pq import Format
    from psycopg.types import TypeInfo
except ImportError:
    tap.skip_all("python3-psycopg is not installed")

db = psycopg.connect("", autocommit=True)
db.execute("SET client_min_messages = warning")
db.execute("CREATE EXTENSION IF NOT EXISTS tandem")
db.execute("DROP SCHEMA IF EXISTS psycopg3_test CASCADE")
db.execute("CREATE SCHEMA psycopg3_test")
db.execute("SET search_path = psycopg3_test, public")
db.execute("CREATE TABLE items (id serial PRIMARY KEY, embedding vector(3), half halfvec(3), bits bit(3), sparse sparsevec(3))")


class Vector:
    """Numbers that are sent as vector. No list: a list of lists is an array of two dimensions to the driver."""

    def __init__(self, values):
        self.values = list(values)


class Half(Vector):
    """Numbers that are sent as halfvec."""


def text_of(values):
    return ("[" + ",".join(repr(float(x)) for x in values) + "]").encode()


def register(name, of, write, read):
    """Both formats of a type that is looked up by name, as pgvector's package does."""
    info = TypeInfo.fetch(db, name)
    assert info is not None, name
    info.register(db)

    class Text(Dumper):
        oid = info.oid

        def dump(self, obj):
            return text_of(obj.values)

    class Binary(Dumper):
        oid = info.oid
        format = Format.BINARY

        def dump(self, obj):
            return write(obj.values)

    class TextLoader(Loader):
        def load(self, data):
            return [float(x) for x in bytes(data)[1:-1].split(b",")]

    class BinaryLoader(Loader):
        format = Format.BINARY

        def load(self, data):
            return read(bytes(data))

    for dumper in (Text, Binary):
        db.adapters.register_dumper(of, dumper)
    for loader in (TextLoader, BinaryLoader):
        db.adapters.register_loader(info.oid, loader)


def one(query, *parameters, binary=False):
    return db.execute(query, parameters, binary=binary).fetchone()


@tap.test("types are found by name, with their arrays, and registered")
def _():
    register("vector", Vector, wire.vector, wire.read_vector)
    register("halfvec", Half, wire.halfvec, wire.read_halfvec)
    assert TypeInfo.fetch(db, "sparsevec") is not None
    assert TypeInfo.fetch(db, "vector").array_oid


for given in ("%t", "%b"):
    for binary in (False, True):

        @tap.test(f"parameter {given}, result in {'binary' if binary else 'text'}")
        def _(given=given, binary=binary):
            tap.equal(one(f"SELECT {given}::vector", Vector([1.5, -2, 3]), binary=binary)[0], [1.5, -2, 3])
            tap.equal(one(f"SELECT {given}::halfvec", Half([1.5, -2, 0.25]), binary=binary)[0], [1.5, -2, 0.25])
            tap.equal(one(f"SELECT {given}::vector", None, binary=binary)[0], None)


@tap.test("a list of vectors is an array")
def _():
    tap.equal(one("SELECT %s::vector[]", [Vector([1, 2]), Vector([3, 4])])[0], [[1, 2], [3, 4]])
    tap.equal(one("SELECT %b::vector[]", [Vector([1, 2]), Vector([3, 4])], binary=True)[0], [[1, 2], [3, 4]])


@tap.test("binary COPY there and back")
def _():
    sparse = wire.sparsevec(3, {0: 1.5, 2: -2})
    sent = wire.COPY_HEADER + wire.copy_row(wire.vector([1.5, -2, 3]), wire.halfvec([1.5, -2, 0.25]), sparse) + wire.COPY_END
    with db.cursor().copy("COPY items (embedding, half, sparse) FROM STDIN (FORMAT binary)") as copy:
        copy.write(sent)
    with db.cursor().copy("COPY items (embedding, half, sparse) TO STDOUT (FORMAT binary)") as copy:
        tap.equal(b"".join(bytes(part) for part in copy), sent)


@tap.test("rows written by COPY with types")
def _():
    with db.cursor().copy("COPY items (embedding, half) FROM STDIN (FORMAT binary)") as copy:
        copy.set_types(["vector", "halfvec"])
        copy.write_row((Vector([4, 5, 6]), Half([0.5, 1, 2])))
    tap.equal(one("SELECT embedding, half FROM items ORDER BY id DESC LIMIT 1"), ([4, 5, 6], [0.5, 1, 2]))


@tap.test("sparsevec in binary form")
def _():
    found = db.execute("SELECT '{1:1.5,4:-2}/5'::sparsevec", binary=True).fetchone()[0]
    tap.equal(wire.read_sparsevec(bytes(found)), (5, {0: 1.5, 3: -2}))


@tap.test("an ordered query, prepared, through an index")
def _():
    db.execute("TRUNCATE items")
    db.execute("INSERT INTO items (embedding) SELECT ARRAY[i % 10, i / 10, 1]::vector FROM generate_series(0, 99) i")
    db.execute("CREATE INDEX items_by_distance ON items USING tandem (embedding vector_l2_ops)")
    db.execute("SET enable_seqscan = off")
    assert "items_by_distance" in str(db.execute("EXPLAIN SELECT id FROM items ORDER BY embedding <-> '[1,2,1]' LIMIT 2").fetchall())
    for x in (3, 1, 4, 1, 5, 9, 2):
        found = db.execute("SELECT embedding FROM items ORDER BY embedding <-> %b LIMIT 1", (Vector([x, 5, 1]),), prepare=True)
        tap.equal(found.fetchone()[0], [x, 5, 1])


@tap.test("several statements in one pipeline")
def _():
    with db.pipeline():
        found = [db.execute("SELECT embedding FROM items ORDER BY embedding <-> %s LIMIT 1", (Vector([x, 1, 1]),)) for x in range(5)]
    tap.equal([row.fetchone()[0] for row in found], [[x, 1, 1] for x in range(5)])


@tap.test("a value that is cut short is an error of the protocol")
def _():
    class Cut(Vector):
        pass

    class CutDumper(Dumper):
        oid = TypeInfo.fetch(db, "vector").oid
        format = Format.BINARY

        def dump(self, obj):
            return wire.vector(obj.values)[:-2]

    db.adapters.register_dumper(Cut, CutDumper)
    try:
        one("SELECT %b::vector", Cut([1, 2, 3]))
    except psycopg.errors.ProtocolViolation:
        return
    raise AssertionError("it was taken")


db.close()
tap.finish()
