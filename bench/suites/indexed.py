"""A set in a table with metadata columns, indexed by tandem and by pgvector: built once for all suites of a run that search it,
for pgvector's build of a million rows takes longer than what is measured on it."""

import dataclasses

import numpy as np

from suites import graphs

VALUES = {"cat": 10, "sub": 100, "tag": 1000}  # column: values, each of as many rows


@dataclasses.dataclass
class Indexed:
    db: object
    other: object  # with pgvector, or None
    seconds: float  # until all rows were in graphs, on all cores; None of what an earlier run left
    other_seconds: float  # likewise of pgvector's CREATE INDEX


def of(context, data, beside_pgvector=True):
    """The set's Indexed, at rest and in memory after a restart of the server."""
    found = context.kept.setdefault(data.name, Indexed(None, None, None, None))
    if not found.db:
        _build(context, data, found)
    if beside_pgvector and not found.other and graphs.has_pgvector(context):
        _build_other(context, data, found)
    found.db.run("CHECKPOINT")
    if context.server.can_restart():
        context.server.restart()
    else:
        context.say("  this server is not ours to restart: its buffers are as the builds left them")
    for database in (found.db, found.other):
        if database:
            graphs.prewarm(database)
    return found


def has_columns(data):
    """True if the set has the columns itself; else they are made of the ids."""
    return all(column in data.description["filters"] for column in VALUES)


def scattered(ids, values):
    """Multiplicative hashing (Knuth, The Art of Computer Programming 3, section 6.4): the same here and in SQL."""
    return ids.astype(np.uint64) * np.uint64(2654435761) % np.uint64(1 << 32) // np.uint64(256) % np.uint64(values)


def _name(data):
    return "tandem_bench_%s" % data.name.replace("-", "_")


def _build(context, data, made):
    made.db = context.found_database(_name(data))
    if made.db:
        return
    made.db = context.keep_database(_name(data), context.options.extension)
    _fill(context, made.db, data)
    made.db.run("CREATE UNIQUE INDEX items_id ON items (id)")
    context.progress("the worker builds")
    made.seconds = graphs.build(context, made.db, data)
    context.progress("all indexed after %.0f s, %d segments" % (made.seconds, graphs.segments(made.db)))
    context.mark_filled(made.db)


def _build_other(context, data, made):
    made.other = context.found_database(_name(data) + "_pgvector")
    if made.other:
        return
    made.other = context.keep_database(_name(data) + "_pgvector", "vector")
    _fill(context, made.other, data)
    context.progress("pgvector: building")
    made.other_seconds = graphs.build_pgvector(context, made.other, data)
    context.mark_filled(made.other)


def _fill(context, db, data):
    context.progress("loading")
    if has_columns(data):
        db.run(data.create_table("items"))
        context.tools.client("copy", db, sql="COPY items FROM STDIN (FORMAT binary)", file=data.path("rows.copy"))
    else:
        made = ", ".join("%s int GENERATED ALWAYS AS ((id * 2654435761 %% 4294967296 / 256 %% %d)::int) STORED" % (column, values)
                         for column, values in VALUES.items())
        db.run("CREATE TABLE items (id bigint, embedding vector(%d), %s)" % (data.dims, made))
        graphs.load(context, db, data)
    for column in VALUES:
        db.run("CREATE INDEX items_%s ON items (%s)" % (column, column))
    db.run("VACUUM ANALYZE items")
