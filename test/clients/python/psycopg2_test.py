#!/usr/bin/env python3
"""Debian's python3-psycopg2: text, typed by adapters as pgvector's package registers them, and binary COPY."""

import io

import tap
import wire

try:
    import psycopg2
    import psycopg2.errors
    from psycopg2.extensions import adapt, AsIs, new_array_type, new_type, register_adapter, register_type
except ImportError:
    tap.skip_all("python3-psycopg2 is not installed")

db = psycopg2.connect("")
db.autocommit = True
cursor = db.cursor()
cursor.execute(
    """
    SET client_min_messages = warning;
    CREATE EXTENSION IF NOT EXISTS tandem;
    DROP SCHEMA IF EXISTS psycopg2_test CASCADE;
    CREATE SCHEMA psycopg2_test;
    SET search_path = psycopg2_test, public;
    CREATE TABLE items (id serial PRIMARY KEY, embedding vector(3), half halfvec(3), bits bit(3), sparse sparsevec(3))
    """
)


class Vector:
    def __init__(self, values):
        self.values = list(values)


register_adapter(Vector, lambda vector: AsIs("'[" + ",".join(repr(float(x)) for x in vector.values) + "]'"))


def parse(text, _):
    return None if text is None else [float(x) for x in text[1:-1].split(",")]


def one(query, *parameters):
    cursor.execute(query, parameters)
    return cursor.fetchone()


@tap.test("the types and their arrays are found by name, and registered")
def _():
    for name in ("vector", "halfvec", "sparsevec"):
        oids = one("SELECT to_regtype(%s)::oid, to_regtype('_' || %s)::oid", name, name)
        assert all(oids), name
        if name != "sparsevec":
            register_type(new_type((oids[0],), name, parse))
            register_type(new_array_type((oids[1],), name + "[]", new_type((oids[0],), name, parse)))


@tap.test("a vector goes and comes as text")
def _():
    tap.equal(one("INSERT INTO items (embedding) VALUES (%s) RETURNING embedding", Vector([1.5, -2, 3]))[0], [1.5, -2, 3])
    tap.equal(one("SELECT %s::halfvec", Vector([0.5, 2048, -1]))[0], [0.5, 2048, -1])
    tap.equal(one("SELECT %s::sparsevec", "{1:1.5,3:-2}/5")[0], "{1:1.5,3:-2}/5")


@tap.test("NULL stays NULL")
def _():
    tap.equal(one("SELECT NULL::vector, %s::halfvec", None), (None, None))


@tap.test("an array of vectors")
def _():
    tap.equal(one("SELECT ARRAY[%s::vector, %s::vector]", Vector([1, 2]), Vector([3, 4]))[0], [[1, 2], [3, 4]])


@tap.test("binary COPY brings in what binary COPY gives out, byte by byte")
def _():
    cursor.execute("TRUNCATE items RESTART IDENTITY")
    sent = wire.COPY_HEADER
    sent += wire.copy_row(wire.vector([1.5, -2, 3]), wire.halfvec([1.5, -2, 0.25]), wire.sparsevec(3, {0: 1.5, 2: -2}))
    sent += wire.copy_row(None, None, None) + wire.COPY_END
    cursor.copy_expert("COPY items (embedding, half, sparse) FROM STDIN (FORMAT binary)", io.BytesIO(sent))
    received = io.BytesIO()
    cursor.copy_expert("COPY items (embedding, half, sparse) TO STDOUT (FORMAT binary)", received)
    tap.equal(received.getvalue(), sent)
    tap.equal(one("SELECT embedding::text, half::text, sparse::text FROM items WHERE id = 1"),
              ("[1.5,-2,3]", "[1.5,-2,0.25]", "{1:1.5,3:-2}/3"))


@tap.test("text COPY there and back")
def _():
    received = io.StringIO()
    cursor.copy_expert("COPY items (embedding, half, sparse) TO STDOUT", received)
    tap.equal(received.getvalue(), "[1.5,-2,3]\t[1.5,-2,0.25]\t{1:1.5,3:-2}/3\n\\N\t\\N\t\\N\n")


@tap.test("an index, and an ordered query that uses it")
def _():
    cursor.execute("INSERT INTO items (embedding) SELECT ARRAY[i % 10, i / 10, 1]::vector FROM generate_series(0, 99) i")
    cursor.execute("CREATE INDEX items_by_distance ON items USING tandem (embedding vector_cosine_ops)")
    cursor.execute("SET enable_seqscan = off")
    cursor.execute("EXPLAIN (COSTS OFF) SELECT id FROM items ORDER BY embedding <=> %s LIMIT 2", (Vector([2, 3, 1]),))
    assert "items_by_distance" in str(cursor.fetchall())
    tap.equal(one("SELECT embedding FROM items ORDER BY embedding <=> %s LIMIT 1", Vector([2, 3, 1]))[0], [2, 3, 1])


@tap.test("errors have the classes that applications look at")
def _():
    for query, expected in (
        ("SELECT '[1,2]'::vector(3)", psycopg2.errors.DataException),
        ("SELECT '[1,2]'::vector <-> '[1,2,3]'", psycopg2.errors.DataException),
        ("SELECT '[1,x]'::vector", psycopg2.errors.InvalidTextRepresentation),
        ("SELECT '[NaN]'::vector", psycopg2.errors.DataException),
    ):
        try:
            cursor.execute(query)
        except expected:
            continue
        raise AssertionError(query)


assert adapt  # what register_adapter serves
db.close()
tap.finish()
