#!/usr/bin/python3
"""Searches the loaded packages and prints a table, the plan and the time.

    search.py [--by words|meaning|both] [--section NAME] [--priority NAME] [--max-size KIB] [--limit N] [--json] -- QUERY

Talks to the server through psql (PSQL or the first in PATH) and its PG… environment. Exit status: 0 found or nothing
matches the filter, 1 failure, 2 unknown section or priority, 3 none of the query's words is known.
"""

import argparse
import csv
import difflib
import json
import os
import re
import shutil
import subprocess
import sys

SEARCH_SQL = os.path.join(os.path.dirname(os.path.abspath(__file__)), "search.sql")
COLUMNS = ("distance", "name", "section", "priority", "installed_size", "version", "summary")
SHORTEST_SUMMARY = 20  # characters; on a narrower terminal lines wrap


def main():
    parser = argparse.ArgumentParser(description="Searches the descriptions of Debian's packages.")
    parser.add_argument("query")
    parser.add_argument("--by", choices=("words", "meaning", "both"), default="meaning")
    parser.add_argument("--section", default="")
    parser.add_argument("--priority", default="")
    parser.add_argument("--max-size", default="")
    parser.add_argument("--limit", type=int, default=10)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()

    for value in (arguments.query, arguments.section, arguments.priority):
        if not is_utf8(value):
            print("the words are not in UTF-8, which the server expects", file=sys.stderr)
            sys.exit(2)
    try:
        found = search(arguments)
    except subprocess.CalledProcessError:
        sys.exit("the search failed: see psql's message above")
    for name in ("section", "priority"):
        wanted = getattr(arguments, name)
        if wanted and wanted not in found["values"][name]:
            print(unknown_value(name, wanted, found["values"][name]), file=sys.stderr)
            sys.exit(2)
    if arguments.by == "meaning" and not found["words"]["known"]:
        print(unknown_query(arguments.query, found["words"]["unknown"]), file=sys.stderr)
        sys.exit(3)
    if arguments.json:
        print_json(arguments, found)
    else:
        print_table(arguments, found)


def is_utf8(argument):
    # Bytes that could not be decoded arrive as lone surrogates.
    return not any("\ud800" <= character <= "\udfff" for character in argument)


def search(arguments):
    """What search.sql answers: dictionary of words, values, plan (a sentence), rows and milliseconds."""
    variables = {
        "by": arguments.by,
        "query": arguments.query,
        "section": arguments.section,
        "priority": arguments.priority,
        "max_size": arguments.max_size,
        "result_limit": str(arguments.limit),
    }
    command = [os.environ.get("PSQL", "psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", SEARCH_SQL]
    for name, value in variables.items():
        command += ["-v", f"{name}={value}"]
    environment = dict(os.environ, PGCLIENTENCODING="UTF8", LC_MESSAGES="C")
    output = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True).stdout.decode("utf-8")
    parts = split_parts(output)
    rows, milliseconds = parse_rows(parts["rows"])
    return {
        "words": json.loads(parts["words"]),
        "values": {name: values or [] for name, values in json.loads(parts["values"]).items()},
        "plan": describe_plan(json.loads(parts["plan"])[0]["Plan"], json.loads(parts["indexes"])),
        "rows": rows,
        "milliseconds": milliseconds,
    }


def split_parts(output):
    """Parts by name: "::name" starts one. No value can: JSON escapes line breaks, and rows hold none."""
    parts = {}
    name = None
    for line in output.split("\n"):
        if line.startswith("::"):
            name = line[2:]
            parts[name] = ""
        elif name is not None:
            parts[name] += line + "\n"
    return parts


def parse_rows(text):
    lines = text.strip("\n").split("\n")
    milliseconds = float(re.match(r"Time: ([0-9.]+) ms", lines.pop())[1])
    rows = []
    for values in csv.reader(lines):
        row = dict(zip(COLUMNS, values))
        # There is no distance where the query has no embedding.
        row["distance"] = float(row["distance"]) if row["distance"] else None
        row["installed_size"] = int(row["installed_size"]) if row["installed_size"] else None
        rows.append(row)
    return rows, milliseconds


def describe_plan(node, methods):
    """One phrase for a plan. methods: access method by index name."""
    kind = node["Node Type"]
    inputs = [child for child in node.get("Plans", []) if child.get("Parent Relationship") not in ("InitPlan", "SubPlan")]
    below = [describe_plan(child, methods) for child in inputs]

    def index(name):
        return f"{name} ({methods.get(name, 'unknown')})"

    if kind in ("Sort", "Incremental Sort"):
        return below[0] + ", then sort by " + ("score" if "tandem_hybrid_search" in below[0] else "distance")
    filtered = node.get("Rows Removed by Filter", 0)
    filtered = f", {filtered} rows filtered out" if filtered else ""
    if kind in ("Index Scan", "Index Only Scan"):
        return f"index scan using {index(node['Index Name'])}{filtered}"
    if kind == "Bitmap Index Scan":
        return index(node["Index Name"])
    if kind in ("BitmapAnd", "BitmapOr"):
        return (" and " if kind == "BitmapAnd" else " or ").join(below)
    if kind == "Bitmap Heap Scan":
        return f"bitmap scan using {below[0]}"
    if kind == "Function Scan":
        return f"{node['Function Name']}()"
    if kind == "Seq Scan":
        return "sequential scan"
    if kind == "Custom Scan":
        name = node.get("Custom Plan Provider", "custom scan")
        using = f" using {index(node['Index Name'])}" if "Index Name" in node else ""
        return name + using + (f", rows from {', '.join(below)}" if below else "") + filtered
    if len(below) == 1:
        return below[0]
    return kind.lower() + (f" of {', '.join(below)}" if below else "")


def unknown_value(name, wanted, values):
    similar = difflib.get_close_matches(wanted.lower(), values, n=5, cutoff=0.5)
    similar += [value for value in values if wanted and (wanted in value or value in wanted) and value not in similar]
    listed = f"did you mean {', '.join(similar)}?" if similar else f"there are: {', '.join(values)}"
    return f'no package has the {name} "{wanted}"; {listed}'


def unknown_query(query, unknown):
    if unknown:
        return f"no package is described by any of these words: {', '.join(unknown)}"
    return f'"{query}" has no word to search for: give some English words (letters a to z, digits)'


def print_table(arguments, found):
    filters = [
        f"{name} {value}" for name, value in
        (("section", arguments.section), ("priority", arguments.priority), ("at most", size_text(arguments.max_size)))
        if value
    ]
    print(f'"{arguments.query}"' + (f", {', '.join(filters)}" if filters else ""))
    if found["words"]["unknown"] and arguments.by != "words":
        print(f"(in no description, and left out: {', '.join(found['words']['unknown'])})")
    print()
    if found["rows"]:
        print_rows(found["rows"])
    else:
        print("no package passes the filter" if arguments.by == "meaning" else "nothing was found")
    print()
    print(f"{found['plan']}; {found['milliseconds']:.1f} ms, embedding the query included")


def print_rows(rows):
    name_width = max(len(row["name"]) for row in rows)
    section_width = max(len("section"), *(len(row["section"]) for row in rows))
    summary_width = None
    if sys.stdout.isatty():
        used = len("distance") + name_width + section_width + 6
        summary_width = max(SHORTEST_SUMMARY, shutil.get_terminal_size().columns - used)
    line = f"{{:8}}  {{:{name_width}}}  {{:{section_width}}}  {{}}"
    print(line.format("distance", "name", "section", "summary"))
    for row in rows:
        summary = row["summary"]
        if summary_width and len(summary) > summary_width:
            summary = summary[: summary_width - 1] + "…"
        distance = "" if row["distance"] is None else f"{row['distance']:8.4f}"
        print(line.format(distance, row["name"], row["section"], summary))


def size_text(kib):
    return f"{int(kib):,} KiB installed" if kib else ""


def print_json(arguments, found):
    json.dump(
        {
            "query": arguments.query,
            "by": arguments.by,
            "section": arguments.section or None,
            "priority": arguments.priority or None,
            "max_size_kib": int(arguments.max_size) if arguments.max_size else None,
            "unknown_words": found["words"]["unknown"],
            "plan": found["plan"],
            "milliseconds": found["milliseconds"],
            "rows": found["rows"],
        },
        sys.stdout, ensure_ascii=False, indent=1,
    )
    print()


if __name__ == "__main__":
    # Summaries are UTF-8 whatever the locale; a terminal that cannot show a character gets a question mark.
    sys.stdout.reconfigure(errors="replace")
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
