"""The one binary form in which every bench set lies on disk.

A set is a folder:
  set.json               name, rows, dims, metric, queries, seed, columns, filters, sha256 (see `hash_set`)
  base.fvecs             the vectors: per row int32 dim, float32[dim], little-endian; the row's id is its position
  query.fvecs            the queries
  gt.ivecs               ids of the 100 nearest rows per query, nearest first, equal distances by id
  gt_distance.fvecs      their distances, the SQL operator's value
  rows.copy              PGCOPY binary of (id, metadata..., embedding), ready for COPY ... (FORMAT binary)
  label_X.ivecs          for a filter on column X: its value per base row (width 1)
  param_X.ivecs          the value that each query filters by (width 1)
  gt_X.ivecs, gt_X_distance.fvecs    exact answers among the rows that pass
"""

import hashlib
import json
import os
import struct

import numpy as np

COPY_HEADER = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
COPY_TRAILER = struct.pack(">h", -1)
BLOCK_ROWS = 20_000  # rows turned into bytes at a time: some 60 MB at 784 dimensions

# Column types that are written from numpy, and their wire form.
FIXED_TYPES = {"int": ">i4", "smallint": ">i2", "bigint": ">i8", "double precision": ">f8", "boolean": ">u1"}


def write_vectors(path, array, dtype):
    """Write a matrix (or an iterable of blocks of one) as fvecs ('<f4') or ivecs ('<i4')."""
    blocks = [array] if isinstance(array, np.ndarray) else array
    with open(path, "wb") as out:
        for block in blocks:
            record = np.empty(len(block), [("dim", "<i4"), ("x", dtype, (block.shape[1],))])
            record["dim"], record["x"] = block.shape[1], block
            out.write(record.tobytes())


def read_vectors(path, dtype="<f4"):
    """The matrix in an fvecs or ivecs file, mapped, not read."""
    width = int(np.fromfile(path, "<i4", 1)[0])
    record = np.memmap(path, [("dim", "<i4"), ("x", dtype, (width,))], "r")
    return record["x"]


def write_copy(path, columns, vectors):
    """Write rows of fixed-width, never-null columns and a vector. `columns`: list of (name, type, array)."""
    dims = vectors.shape[1]
    fields = [("count", ">i2")]
    for name, sql_type, _ in columns:
        fields += [("length_" + name, ">i4"), (name, FIXED_TYPES[sql_type])]
    fields += [("length_v", ">i4"), ("dims", ">i2"), ("unused", ">i2"), ("v", ">f4", (dims,))]
    with open(path, "wb") as out:
        out.write(COPY_HEADER)
        for low in range(0, len(vectors), BLOCK_ROWS):
            high = min(low + BLOCK_ROWS, len(vectors))
            record = np.zeros(high - low, fields)
            record["count"] = len(columns) + 1
            for name, sql_type, array in columns:
                record["length_" + name] = np.dtype(FIXED_TYPES[sql_type]).itemsize
                record[name] = array[low:high]
            record["length_v"], record["dims"], record["v"] = 4 + 4 * dims, dims, vectors[low:high]
            out.write(record.tobytes())
        out.write(COPY_TRAILER)


def write_copy_rows(path, rows, vectors):
    """Write rows whose other fields come as bytes in wire form, or None for null, from an iterable."""
    dims = vectors.shape[1]
    head = struct.pack(">ihh", 4 + 4 * dims, dims, 0)
    with open(path, "wb") as out:
        out.write(COPY_HEADER)
        for fields, vector in zip(rows, vectors):
            parts = [struct.pack(">h", len(fields) + 1)]
            for field in fields:
                parts.append(struct.pack(">i", -1) if field is None else struct.pack(">i", len(field)) + field)
            out.write(b"".join(parts) + head + vector.astype(">f4").tobytes())
        out.write(COPY_TRAILER)


def hash_set(folder):
    """sha256 over base, queries and ground truth: what a bench line names as the data it ran on."""
    digest = hashlib.sha256()
    for name in ("base.fvecs", "query.fvecs", "gt.ivecs"):
        with open(os.path.join(folder, name), "rb") as source:
            while block := source.read(1 << 22):
                digest.update(block)
    return digest.hexdigest()


def save_description(folder, description):
    path = os.path.join(folder, "set.json")
    with open(path + ".new", "w", encoding="utf-8") as out:
        json.dump(description, out, indent=1)
        out.write("\n")
    os.replace(path + ".new", path)


def load_description(folder):
    with open(os.path.join(folder, "set.json"), encoding="utf-8") as source:
        return json.load(source)
