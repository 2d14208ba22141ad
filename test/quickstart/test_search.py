"""The tests behind test/quickstart/run, which loads the database first. Prints TAP."""

import collections
import csv
import io
import json
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
EXAMPLE = os.environ["TANDEM_EXAMPLE"]
QUICKSTART = os.path.join(EXAMPLE, "..", "..", "scripts", "quickstart")
LEAST_FOUND = 0.8  # share of the queries that have an expected package among the first ten

sys.path.insert(0, EXAMPLE)
import package_lists  # noqa: E402
import search  # noqa: E402
import tokenizer  # noqa: E402

results = []


def check(name, got, expected=True):
    passed = got == expected
    results.append(passed)
    print(f"{'ok' if passed else 'not ok'} {len(results)} - {name}", flush=True)
    if not passed:
        print(f"#   got:      {got!r}\n#   expected: {expected!r}", flush=True)


def sql(statement):
    command = [os.environ["PSQL"], "-X", "-q", "-v", "ON_ERROR_STOP=1", "--csv", "-t", "-c", statement]
    output = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout.decode("utf-8")
    return list(csv.reader(io.StringIO(output)))


def run_search(*arguments):
    return subprocess.run(
        ["/usr/bin/python3", os.path.join(EXAMPLE, "search.py"), *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False, encoding="utf-8",
    )


def answer(*arguments):
    done = run_search("--json", *arguments)
    return json.loads(done.stdout) if done.returncode == 0 else {"failed": done.stderr, "rows": []}


def main():
    tokenizer_splits_and_stems()
    package_lists_are_parsed()
    plans_are_described()
    database_is_complete()
    both_sides_embed_alike()
    searches_find_what_is_expected()
    filters_hold()
    words_and_both_find()
    index_is_exact()
    text_stays_text()
    mistakes_are_explained()
    command_line_refuses_nonsense()
    printed_queries_work()
    print(f"1..{len(results)}")
    sys.exit(0 if all(results) else 1)


def tokenizer_splits_and_stems():
    check("words are folded, stemmed and freed of stop words",
          tokenizer.words("The Résumé-Editors for C++, C# and g++-12"), ["resume", "editor", "c++", "c#", "g++", "12"])
    check("plurals", [tokenizer.stem_word(word) for word in "libraries games processes buses glass bus shoes as dies".split()],
          ["library", "game", "processe", "buse", "glass", "bus", "shoes", "as", "dy"])
    check("pairs follow the words", tokenizer.words_and_pairs("a video editor with timeline"),
          ["video", "editor", "timeline", "video editor", "editor timeline"])


def package_lists_are_parsed():
    available = (
        "Package: one\nSource: first (1.2)\nSection: contrib/net\nPriority: optional\nInstalled-Size: 12\nVersion: 1\n"
        "Description: does one thing\nDescription-md5: aa\nTag: role::program, works-with::{audio,video},\n use::editing\n\n"
        "Package: two\nVersion: 2\nDescription: short\n Long text.\n .\n More.\n\n"
        "Package: one\nVersion: 0\nDescription: an older version\n"
    )
    one, two = package_lists.parse_packages(available, {"aa": "does one thing\nAt length."})
    check("area, source version, size and tags", (one.section, one.source, one.installed_size, one.tags),
          ("net", "first", 12, ("role::program", "works-with::audio", "works-with::video", "use::editing")))
    check("a translation brings the long description", (one.version, one.summary, one.description), ("1", "does one thing", "At length."))
    check("a long description in place, nothing else given", (two.section, two.installed_size, two.description),
          ("unknown", None, "Long text.\n\nMore."))


def plans_are_described():
    bitmap = {"Node Type": "Limit", "Plans": [
        {"Node Type": "Result", "Parent Relationship": "InitPlan"},
        {"Node Type": "Sort", "Plans": [{"Node Type": "Bitmap Heap Scan", "Plans": [{"Node Type": "BitmapAnd", "Plans": [
            {"Node Type": "Bitmap Index Scan", "Index Name": "a"}, {"Node Type": "Bitmap Index Scan", "Index Name": "b"}]}]}]}]}
    check("bitmap plan", search.describe_plan(bitmap, {"a": "btree", "b": "hash"}),
          "bitmap scan using a (btree) and b (hash), then sort by distance")
    custom = {"Node Type": "Custom Scan", "Custom Plan Provider": "Tandem Scan", "Index Name": "v", "Rows Removed by Filter": 3, "Plans": [
        {"Node Type": "Bitmap Index Scan", "Index Name": "a"}]}
    check("custom plan", search.describe_plan(custom, {"a": "btree", "v": "tandem"}),
          "Tandem Scan using v (tandem), rows from a (btree), 3 rows filtered out")


def database_is_complete():
    check("every package has an embedding", sql("SELECT count(*) FROM packages WHERE embedding IS NULL"), [["0"]])
    check("embeddings have length 1", sql("SELECT count(*) FROM packages WHERE abs(vector_norm(embedding) - 1) > 1e-5"), [["0"]])
    check("sections are without area", sql("SELECT count(*) FROM packages WHERE section ~ '/'"), [["0"]])


def both_sides_embed_alike():
    check("hundreds of texts were embedded in Python", int(sql("SELECT count(embedding) FROM expected")[0][0]) > 200)
    in_sql = {}
    for query, term, frequency in sql("SELECT query, term, frequency FROM (SELECT DISTINCT query FROM expected) e, query_terms(query)"):
        in_sql.setdefault(query, {})[term] = int(frequency)
    in_python = {query: dict(collections.Counter(tokenizer.words_and_pairs(query))) for (query,) in sql("SELECT DISTINCT query FROM expected")}
    check("SQL and Python find the same terms",
          {query: (in_sql.get(query), terms) for query, terms in in_python.items() if in_sql.get(query, {}) != terms}, {})
    check("SQL and Python agree on which texts have an embedding",
          sql("SELECT query FROM expected WHERE (embed(query) IS NULL) <> (embedding IS NULL)"), [])
    check("SQL and Python embed alike, each element within 1e-5", sql(
        "SELECT query, worst FROM expected, LATERAL (SELECT max(abs(x)) AS worst"
        " FROM unnest((embed(query) - embedding)::real[]) x) d WHERE worst > 1e-5"), [])
    check("frequencies count", sql("SELECT embed('chess') <=> embed('chess chess editor') < embed('chess') <=> embed('chess editor')"), [["t"]])


def searches_find_what_is_expected():
    present = {name for (name,) in sql("SELECT name FROM packages")}
    asked = found = 0
    with open(os.path.join(HERE, "expected_packages.tsv"), encoding="utf-8") as lines:
        for line in lines:
            if line.startswith("#"):
                continue
            query, names = line.rstrip("\n").split("\t")
            expected = present.intersection(names.split(" "))
            if not expected:
                continue
            asked += 1
            rows = answer("--", query)["rows"]
            if expected.intersection(row["name"] for row in rows):
                found += 1
            else:
                print(f"# not found: {query}: {' '.join(row['name'] for row in rows)}")
    print(f"# {found} of {asked} queries have an expected package among the first ten")
    check("there are enough queries", asked >= 20)
    check(f"at least {LEAST_FOUND:.0%} of the queries find an expected package", found >= LEAST_FOUND * asked)


def filters_hold():
    video = answer("--section", "video", "--limit", "7", "--", "edit")
    check("section and limit", [row["section"] for row in video["rows"]], ["video"] * 7)
    check("distances ascend", [row["distance"] for row in video["rows"]], sorted(row["distance"] for row in video["rows"]))
    small = answer("--max-size", "100", "--priority", "optional", "--", "network monitor")["rows"]
    check("size and priority", (len(small), all(row["installed_size"] <= 100 and row["priority"] == "optional" for row in small)), (10, True))
    check("without a filter the tandem index answers", answer("--", "chess")["plan"], "Tandem Scan using packages_embedding (tandem)")
    check("a section is found by its own index", "packages_section (btree)" in video["plan"])
    nothing = run_search("--max-size", "0", "--section", "video", "--priority", "required", "--", "editor")
    nothing_said = "no package passes the filter" in nothing.stdout or "no package has the priority" in nothing.stderr
    check("an empty answer is said to be one", nothing_said)


def words_and_both_find():
    words = answer("--by", "words", "--section", "games", "--", "chess")
    check("words are in what they find", [row for row in words["rows"] if "chess" not in (row["name"] + row["summary"]).lower()], [])
    check("words alone have no distance", {row["distance"] for row in words["rows"]}, {None})
    both = answer("--by", "both", "--section", "games", "--", "chess")
    check("both in one section", {row["section"] for row in both["rows"]}, {"games"})
    check("both: ten rows by one function", (len(both["rows"]), "tandem_hybrid_search()" in both["plan"]), (10, True))
    check("both: some are found by words too", len({row["name"] for row in both["rows"]} & {row["name"] for row in words["rows"]}) >= 5)
    check("filters hold for both", [row for row in answer("--by", "both", "--max-size", "100", "--", "network monitor")["rows"]
                                    if row["installed_size"] > 100], [])
    check("quotes in a query by words", answer("--by", "words", "--", "chess'; DROP TABLE packages --")["rows"] != [])


def index_is_exact():
    query = "SELECT array_agg(distance) FROM (SELECT embedding <=> (SELECT embed('play music')) AS distance FROM packages ORDER BY 1 LIMIT 100) f"
    check("the index returns the same distances as sorting the table",
          sql("SET enable_indexscan = on; " + query), sql("SET enable_indexscan = off; SET enable_bitmapscan = off; " + query))


def text_stays_text():
    before = sql("SELECT count(*) FROM packages")
    for text in ("'; DROP TABLE packages; -- game", "\\'; DROP TABLE packages; game", ":query :'query' game", "$1 $$ %s game",
                 "game\n\\! false\n", "::rows game", "  game  ", "-game", "Spiel game 文字 🎵"):
        check(f"{text!r} finds games", len(answer("--", text)["rows"]), 10)
    check("and nothing was dropped", sql("SELECT count(*) FROM packages"), before)


def mistakes_are_explained():
    for text in ("xyzzyqqq", "☃", "the of and", " "):
        done = run_search("--", text)
        check(f"{text!r}: no known word", (done.returncode, done.stdout, "word" in done.stderr), (3, "", True))
    done = run_search("--section", "vidoe", "--", "editor")
    check("a misspelt section", (done.returncode, "did you mean video" in done.stderr), (2, True))
    done = run_search("--section", "v'; --", "--", "editor")
    check("a section that is SQL", (done.returncode, "no package has the section" in done.stderr), (2, True))
    done = run_search("--", b"chess \xff")
    check("bytes that are not UTF-8", (done.returncode, "not in UTF-8" in done.stderr), (2, True))
    check("unknown words are named and left out", answer("--", "xyzzyqqq chess")["unknown_words"], ["xyzzyqqq"])
    environment = dict(os.environ, PGPORT="1")
    broken = subprocess.run(["/usr/bin/python3", os.path.join(EXAMPLE, "search.py"), "chess"], env=environment,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False, encoding="utf-8")
    check("no server: a message, no traceback", (broken.returncode, "Traceback" in broken.stderr, "search failed" in broken.stderr), (1, False, True))


def command_line_refuses_nonsense():
    # All of these are refused before anything is installed or built.
    for arguments in (["--limit", "0", "x"], ["--limit", "1001", "x"], ["--limit", "ten", "x"], ["--max-size", "big", "x"],
                      ["--max-size", "-1", "x"], ["--section"], ["--by", "luck", "x"], ["--nonsense"], [""], ["  "], ["--section", "video"],
                      ["--stop", "chess"], ["x" * 1001]):
        done = subprocess.run([QUICKSTART, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False, encoding="utf-8")
        check(f"quickstart {' '.join(arguments)[:20]!r}", (done.returncode, done.stdout, done.stderr.endswith("see --help\n")), (2, "", True))


def printed_queries_work():
    with open(os.path.join(EXAMPLE, "try.sql"), encoding="utf-8") as file:
        statements = [part.strip() for part in file.read().split(";\n") if part.strip()]
    check("queries to try", len(statements), 4)
    for number, statement in enumerate(statements, start=1):
        check(f"query {number} gives rows", len(sql(statement)) >= 5)


if __name__ == "__main__":
    main()
