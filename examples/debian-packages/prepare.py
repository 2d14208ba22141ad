#!/usr/bin/python3
"""Reads the machine's package lists, embeds the descriptions and writes what load.sql loads.

    prepare.py FOLDER [--sections NAME,NAME…] [--queries FILE]

FOLDER gets packages.copy and terms.copy (binary COPY format) and stop_words.copy (text). --sections takes only packages
of these sections. --queries writes expected_vectors.copy too: the embedding of each line of FILE as computed here, for
comparing with embed() in SQL.
"""

import argparse
import os
import struct
import sys
import time

import embedding
import package_lists
import tokenizer

FEWEST_PACKAGES = 1000  # with fewer there are no package lists, only the packages installed on the machine


def main():
    parser = argparse.ArgumentParser(description="Embeds the descriptions of Debian's packages.")
    parser.add_argument("folder")
    parser.add_argument("--sections")
    parser.add_argument("--queries")
    arguments = parser.parse_args()

    step = Step("reading the package lists")
    packages = package_lists.read_packages()
    if len(packages) < FEWEST_PACKAGES:
        step.end("too few")
        sys.exit(f"apt knows only {len(packages)} packages: run apt-get update first")
    if arguments.sections:
        sections = set(arguments.sections.split(","))
        packages = [package for package in packages if package.section in sections]
    long_descriptions = sum(1 for package in packages if package.description)
    tagged = sum(1 for package in packages if package.tags)
    step.end(f"{len(packages):,} packages, {tagged:,} with tags, {long_descriptions:,} with a long description")

    step = Step("embedding the descriptions")
    made, vectors = embedding.make_embedding(packages)
    step.end(f"{len(made.terms):,} terms, {embedding.DIMENSIONS} dimensions")

    step = Step("writing them for COPY")
    write_packages(os.path.join(arguments.folder, "packages.copy"), packages, vectors)
    write_terms(os.path.join(arguments.folder, "terms.copy"), made)
    with open(os.path.join(arguments.folder, "stop_words.copy"), "w", encoding="ascii") as out:
        out.writelines(word + "\n" for word in sorted(tokenizer.STOP_WORDS))
    if arguments.queries:
        write_expected(os.path.join(arguments.folder, "expected_vectors.copy"), arguments.queries, made)
    step.end()


class Step:
    """Says what begins and, on the same line, what came of it and how long it took."""

    def __init__(self, text):
        self._started = time.monotonic()
        print(text, end=" … ", flush=True)

    def end(self, result=""):
        seconds = time.monotonic() - self._started
        print(f"{result + ', ' if result else ''}{seconds:.0f} s", flush=True)


def write_packages(path, packages, vectors):
    """Columns: id, name, section, priority, installed_size, version, summary, description, tags, embedding."""
    with BinaryCopy(path) as copy:
        for number, (package, vector) in enumerate(zip(packages, vectors), start=1):
            copy.row(
                int4(number), text(package.name), text(package.section), text(package.priority),
                None if package.installed_size is None else int4(package.installed_size), text(package.version),
                text(package.summary), text(package.description), text(" ".join(package.tags)),
                # A package none of whose terms is known has no direction.
                vector_field(vector) if vector.any() else None,
            )


def write_terms(path, made):
    """Columns: term, idf, projection."""
    with BinaryCopy(path) as copy:
        for term, idf, projection in zip(made.terms, made.idf, made.projection):
            copy.row(text(term), struct.pack(">f", idf), vector_field(projection))


def write_expected(path, queries, made):
    """Columns: query, embedding (NULL where no term is known)."""
    with open(queries, encoding="utf-8") as lines, BinaryCopy(path) as copy:
        for line in lines:
            vector = made.embed(line.rstrip("\n"))
            copy.row(text(line.rstrip("\n")), None if vector is None else vector_field(vector))


class BinaryCopy:
    """A file in the server's binary COPY format (manual of COPY, "Binary Format")."""

    def __init__(self, path):
        self._file = open(path, "wb")  # closed by __exit__

    def __enter__(self):
        self._file.write(b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0))
        return self

    def row(self, *fields):
        parts = [struct.pack(">h", len(fields))]
        for field in fields:
            parts.append(struct.pack(">i", -1 if field is None else len(field)))
            parts.append(field or b"")
        self._file.write(b"".join(parts))

    def __exit__(self, kind, value, traceback):
        if kind is None:
            self._file.write(struct.pack(">h", -1))
        self._file.close()


def int4(value):
    return struct.pack(">i", value)


def text(value):
    # The server's text has no zero bytes.
    return value.replace("\0", "").encode("utf-8", "replace")


def vector_field(values):
    """Wire form of a vector: number of dimensions, two unused bytes, then the elements, all big-endian."""
    return struct.pack(">hh", len(values), 0) + values.astype(">f4").tobytes()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
