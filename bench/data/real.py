"""The real sets: Fashion-MNIST and the ACL Anthology embeddings, from the folder of original files.

The folder is TANDEM_DATA, else shared/data beside the checkout. Files: `fashion-*` are idx files, `acl-*` are float16
matrices (`.f16bin`: uint32 rows, uint32 dims, values), tab-separated metadata in COPY text form with a header of
name:type, and `.gt` exact answers (uint32 queries, uint32 k, int32 ids, float32 distances).
"""

import gzip
import os
import re
import struct

import numpy as np

TEXT_OID = 25
ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\"}


class DataMissing(Exception):
    """The folder or one of its files is not there; the message says where it was looked for."""


def data_folder():
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    return os.path.abspath(os.environ.get("TANDEM_DATA", os.path.join(root, "..", "shared", "data")))


def _file(name):
    path = os.path.join(data_folder(), name)
    if not os.path.exists(path):
        raise DataMissing("no file %s; set TANDEM_DATA to the folder with the original data files" % path)
    return path


def read_idx(name):
    """Array in an MNIST-style idx file of unsigned bytes, gzipped."""
    with gzip.open(_file(name)) as source:
        raw = source.read()
    shape = struct.unpack(">%dI" % raw[3], raw[4 : 4 + 4 * raw[3]])
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * raw[3]).reshape(shape)


def read_f16(name):
    path = _file(name)
    rows, dims = (int(x) for x in np.fromfile(path, "<u4", 2))
    return np.fromfile(path, "<f2", rows * dims, offset=8).reshape(rows, dims).astype("<f4")


def read_shipped_truth(name):
    """(ids, distances) of a .gt file."""
    path = _file(name)
    queries, k = (int(x) for x in np.fromfile(path, "<u4", 2))
    ids = np.fromfile(path, "<i4", queries * k, offset=8).reshape(queries, k)
    distances = np.fromfile(path, "<f4", queries * k, offset=8 + 4 * queries * k).reshape(queries, k)
    return ids, distances


def fashion():
    """(base, query, columns) of Fashion-MNIST: pixels 0..255 as float32, first 1,000 test images as queries."""
    base = read_idx("fashion-train-images-idx3-ubyte.gz")
    query = read_idx("fashion-test-images-idx3-ubyte.gz")[:1000]
    label = read_idx("fashion-train-labels-idx1-ubyte.gz").astype(np.int32)
    query_label = read_idx("fashion-test-labels-idx1-ubyte.gz")[:1000].astype(np.int32)
    base = base.reshape(len(base), -1).astype("<f4")
    query = query.reshape(len(query), -1).astype("<f4")
    return base, query, label, query_label


def acl_rows(limit):
    """Yield [(column, type), ...] first, then each row's fields in binary wire form, None for null."""
    with gzip.open(_file("acl-base.tsv.gz"), "rt", encoding="utf-8", newline="\n") as source:
        columns = [tuple(column.split(":")) for column in source.readline().rstrip("\n").split("\t")]
        yield columns
        for number, line in enumerate(source):
            if number >= limit:
                return
            fields = line.rstrip("\n").split("\t")
            yield [_wire(text, sql_type) for text, (_, sql_type) in zip(fields, columns)]


def acl_titles(part, limit):
    """Titles of a part of the ACL set (query, titlequery), in its order."""
    with gzip.open(_file("acl-%s.tsv.gz" % part), "rt", encoding="utf-8", newline="\n") as source:
        names = [column.split(":")[0] for column in source.readline().rstrip("\n").split("\t")]
        lines = (line for _, line in zip(range(limit), source))
        return [_unescaped(line.rstrip("\n").split("\t")[names.index("title")]) for line in lines]


def acl_texts(part, limit):
    """Titles of a part of the ACL set (base, query), each with its abstract where there is one, in its order."""
    with gzip.open(_file("acl-%s.tsv.gz" % part), "rt", encoding="utf-8", newline="\n") as source:
        names = [column.split(":")[0] for column in source.readline().rstrip("\n").split("\t")]
        title, abstract = names.index("title"), names.index("abstract")
        for _, line in zip(range(limit), source):
            fields = line.rstrip("\n").split("\t")
            yield _unescaped(fields[title] + ("" if fields[abstract] == "\\N" else " " + fields[abstract]))


def _unescaped(text):
    return re.sub(r"\\(.)", lambda match: ESCAPES.get(match[1], match[1]), text)


def _wire(text, sql_type):
    if text == "\\N":
        return None
    if sql_type == "int":
        return struct.pack(">i", int(text))
    if sql_type == "smallint":
        return struct.pack(">h", int(text))
    if sql_type == "boolean":
        return b"\1" if text == "t" else b"\0"
    text = _unescaped(text)
    if sql_type == "text":
        return text.encode()
    if sql_type == "text[]":
        return _wire_array(text)
    raise ValueError("no wire form for type %s" % sql_type)


def _wire_array(text):
    if '"' in text or "\\" in text:
        raise ValueError("quoted array elements are not read: %s" % text)
    elements = [element.encode() for element in text[1:-1].split(",")] if text != "{}" else []
    head = struct.pack(">iii", 1 if elements else 0, 0, TEXT_OID)
    if elements:
        head += struct.pack(">ii", len(elements), 1)
    return head + b"".join(struct.pack(">i", len(element)) + element for element in elements)
