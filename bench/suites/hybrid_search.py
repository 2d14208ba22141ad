"""hybrid-search: tandem_hybrid_search() against the same query written by hand, and how well words, meaning and both find known papers."""

import collections
import math
import os
import random
import statistics
import sys
import tempfile

from data import formats, real
from harness.context import SuiteFailed, median, spread
from harness.tools import ROOT
from suites import graphs

PIN = "same"
PARTS = ("by-hand", "known-items")  # --sets chooses; "timing" is the first with rrf alone
FUSIONS = ("rrf", "weighted", "max", "min", "average")
FILTERS = {"none": None, "year >= 2020": "year >= 2020", "venue = 'acl'": "venue = 'acl'"}
TARGETS = {100: 0.5, 10_000: 1.0}  # time of the function / of the query by hand, by depth
KNOWN_ITEMS = 2000
LEAST_PAPERS = 1000
SLOW_ITEMS = 200  # ts_rank_cd of every paper that has any of a title's words takes half a second
DEPTH = 100
WARM_PASSES = 1

# The query as people write it. Ranks are unique: equals go by id. Normalisation is min-max.
BY_HAND = """
WITH nearest AS (SELECT id, embedding <=> $1 AS d FROM papers WHERE %(filter)s ORDER BY embedding <=> $1 LIMIT %(depth)d),
  by_vector AS (SELECT id, d, 1 - d AS s, row_number() OVER (ORDER BY d, id) AS r FROM nearest),
  best AS (SELECT id, ts_rank_cd(document, q)::float8 AS s FROM papers, websearch_to_tsquery('english', $2) AS q
    WHERE document @@ q AND %(filter)s ORDER BY s DESC, id LIMIT %(depth)d),
  by_text AS (SELECT id, s, row_number() OVER (ORDER BY s DESC, id) AS r FROM best)%(normal)s
SELECT id::bigint, v.r, t.r, %(score)s AS score FROM %(vector)s AS v FULL JOIN %(text)s AS t USING (id)
ORDER BY score DESC, v.r NULLS LAST, t.r NULLS LAST LIMIT 10"""
NORMAL = """,
  normal_%(leg)s AS (SELECT *, CASE WHEN max(s) OVER () > min(s) OVER () THEN (s - min(s) OVER ()) / (max(s) OVER () - min(s) OVER ())
    ELSE 1 END AS n FROM by_%(leg)s)"""
SCORES = {
    "rrf": "coalesce(1 / (60 + v.r::float8), 0) + coalesce(1 / (60 + t.r::float8), 0)",
    "weighted": "0.7 * coalesce(v.n, 0) + 0.3 * coalesce(t.n, 0)",
    "max": "greatest(coalesce(v.n, 0), coalesce(t.n, 0))",
    "min": "least(coalesce(v.n, 0), coalesce(t.n, 0))",
    "average": "(coalesce(v.n, 0) + coalesce(t.n, 0)) / 2",
}
FUNCTION = """
SELECT key, vector_rank, text_rank, combined_score FROM tandem_hybrid_search('papers', $1, $2, depth => %(depth)d, fusion => '%(fusion)s',
  text_scoring => 'ts_rank_cd', text_syntax => 'websearch', text_config => 'english', filter => %(quoted)s)"""

# Times both for each query, the one or the other first in turns, and compares what they return. As statements sent anew each time,
# which is what most applications do, and prepared. Scores are compared to 12 digits.
COMPARE = """
CREATE OR REPLACE FUNCTION compare(rounds int, OUT prepared boolean, OUT n int, OUT ours float8, OUT theirs float8, OUT wrong int)
RETURNS SETOF record LANGUAGE plpgsql AS $compare$
#variable_conflict use_column
DECLARE
  asked record; began timestamptz; a text; b text; first boolean;
BEGIN
  FOREACH prepared IN ARRAY ARRAY[false, true] LOOP
    FOR round IN 1..rounds LOOP
      FOR asked IN SELECT * FROM queries ORDER BY id LOOP
        n := asked.id; first := (asked.id + round) %% 2 = 0;
        FOR step IN 1..2 LOOP
          began := clock_timestamp();
          IF first = (step = 1) THEN
            IF prepared THEN a := (SELECT array_agg(s)::text FROM (%(ours_static)s) AS s(a, b, c, d));
            ELSE EXECUTE $sql$SELECT array_agg(s)::text FROM (%(ours)s) AS s(a, b, c, d)$sql$ INTO a USING asked.v, asked.words; END IF;
            ours := extract(epoch FROM clock_timestamp() - began) * 1e6;
          ELSE
            IF prepared THEN b := (SELECT array_agg(s)::text FROM (%(theirs_static)s) AS s(a, b, c, d));
            ELSE EXECUTE $sql$SELECT array_agg(s)::text FROM (%(theirs)s) AS s(a, b, c, d)$sql$ INTO b USING asked.v, asked.words; END IF;
            theirs := extract(epoch FROM clock_timestamp() - began) * 1e6;
          END IF;
        END LOOP;
        wrong := (a IS DISTINCT FROM b)::int;
        RETURN NEXT;
      END LOOP;
    END LOOP;
  END LOOP;
END $compare$"""


def run(context):
    if not graphs.needs_worker(context):
        raise SuiteFailed("the graphs are built by the worker: shared_preload_libraries = 'tandem'")
    data = context.set("acl-title")
    db = context.database()
    with tempfile.TemporaryDirectory(prefix="tandem-hybrid-") as folder:
        _load(context, db, data)
        parts = context.options.sets or PARTS
        if "by-hand" in parts or "timing" in parts:
            _against_hand_written(context, db, data, FUSIONS if "by-hand" in parts else ("rrf",))
        if "known-items" in parts:
            _known_items(context, db, data, folder)


# --- against the query by hand ----------------------------------------------------------------------------------------


def _load(context, db, data):
    context.progress("loading")
    db.run(data.create_table("papers"))
    context.tools.client("copy", db, sql="COPY papers FROM STDIN (FORMAT binary)", file=data.path("rows.copy"))
    db.run("ALTER TABLE papers ADD PRIMARY KEY (id)",
           "ALTER TABLE papers ADD COLUMN document tsvector GENERATED ALWAYS AS (to_tsvector('english', title || ' ' || abstract)) STORED",
           "CREATE INDEX papers_document ON papers USING gin (document)",
           "CREATE INDEX papers_year ON papers (year)", "CREATE INDEX papers_venue ON papers (venue)",
           "CREATE INDEX papers_embedding ON papers USING tandem (embedding vector_cosine_ops) WITH (strategy = 'hnsw_batch')")
    db.run("VACUUM ANALYZE papers")
    db.run("CALL tandem_wait('papers_embedding')")
    db.run("SELECT tandem_prewarm('papers_embedding')")
    vectors = formats.read_vectors(data.path("query.fvecs"))
    _insert(db, "queries", zip(range(len(vectors)), real.acl_titles("titlequery", len(vectors)), vectors))


def _insert(db, table, rows):
    """(id, words, vector or None) into a new table."""
    db.run("CREATE TABLE %s (id int PRIMARY KEY, words text, v vector(256))" % table)
    lines = ["COPY %s FROM STDIN;" % table]
    for number, words, vector in rows:
        text = words.replace("\\", "\\\\").replace("\t", " ").replace("\n", " ")
        lines.append("%d\t%s\t%s" % (number, text, "\\N" if vector is None else "[%s]" % ",".join("%.9g" % x for x in vector)))
    db.script(*lines, "\\.")


def _statements(fusion, depth, condition):
    normal = "" if fusion == "rrf" else NORMAL % {"leg": "vector"} + NORMAL % {"leg": "text"}
    prefix = "by" if fusion == "rrf" else "normal"
    theirs = BY_HAND % {"filter": condition or "true", "depth": depth, "normal": normal, "score": SCORES[fusion],
                        "vector": prefix + "_vector", "text": prefix + "_text"}
    quoted = "NULL" if condition is None else "'%s'" % condition.replace("'", "''")
    return FUNCTION % {"depth": depth, "fusion": fusion, "quoted": quoted}, theirs


def _static(statement):
    return statement.replace("$1", "asked.v").replace("$2", "asked.words")


def _against_hand_written(context, db, data, fusions):
    """Every fusion and filter is compared on all queries; time is taken of rrf at both depths, with and without a filter."""
    _first_pass(context, db, data)
    table = []
    for depth in TARGETS:
        for name, condition in FILTERS.items():
            for fusion in fusions:
                if depth != DEPTH and (fusion != "rrf" or name == "venue = 'acl'"):
                    continue
                table.append(_compare(context, db, data, depth, name, condition, fusion))
    context.table(("depth", "filter", "fusion", "queries", "different", "sent anew: us by hand", "function", "ratio", "prepared: us by hand",
                   "function", "ratio"), table)


def _run(db, depth, condition, fusion):
    ours, theirs = _statements(fusion, depth, condition)
    return db.rows(COMPARE % {"ours": ours, "theirs": theirs, "ours_static": _static(ours), "theirs_static": _static(theirs)},
                   "SET extra_float_digits = -3", "SELECT * FROM compare(1)")


def _first_pass(context, db, data):
    """Of a server that has been asked nothing yet: what GIN says of words is not known, and buffers are cold for both."""
    context.progress("the first pass")
    pairs = [(float(line[2]), float(line[3])) for line in _run(db, DEPTH, None, "rrf") if line[0] == "f"]
    context.record("against by hand", data, depth=DEPTH, filter="none", fusion="rrf", variant="first pass", queries=len(pairs),
                   ours_us=statistics.mean(a for a, _ in pairs), theirs_us=statistics.mean(b for _, b in pairs),
                   ratio=sum(a for a, _ in pairs) / sum(b for _, b in pairs), median_ratio=median([a / b for a, b in pairs]))


def _compare(context, db, data, depth, name, condition, fusion):
    context.progress("depth %d, filter %s, %s" % (depth, name, fusion))
    db.run("DELETE FROM queries WHERE id >= %d" % (data.queries if depth == DEPTH else min(data.queries, 100)))
    # What an index says of a condition is asked for, or not, by how often it was wanted: both are to find it known.
    for _ in range(WARM_PASSES):
        db.run("SELECT count(*) FROM queries AS q, LATERAL (SELECT id FROM papers WHERE %s ORDER BY embedding <=> q.v LIMIT %d) AS s"
               % (condition or "true", depth))
    lines = _run(db, depth, condition, fusion)
    wrong = sum(int(line[4]) for line in lines)
    text = "depth %d, filter %s, %s" % (depth, name, fusion)
    if wrong:
        context.fail("%s: %d of %d answers differ from those of the query by hand" % (text, wrong, len(lines)))
    row = [depth, name, fusion, len(lines) // 2, wrong]
    for prepared in ("f", "t"):
        pairs = [(float(line[2]), float(line[3])) for line in lines if line[0] == prepared]
        ratio = sum(a for a, _ in pairs) / sum(b for _, b in pairs)
        row += ["%.0f" % statistics.mean(b for _, b in pairs), "%.0f" % statistics.mean(a for a, _ in pairs), "%.2f" % ratio]
        kind = "prepared" if prepared == "t" else "sent anew"
        context.record("against by hand", data, depth=depth, filter=name, fusion=fusion, variant=kind, wrong=wrong, queries=len(pairs),
                       ours_us=spread([a for a, _ in pairs]) if len(pairs) <= 3 else statistics.mean(a for a, _ in pairs),
                       theirs_us=statistics.mean(b for _, b in pairs), ratio=ratio,
                       median_ratio=median([a / b for a, b in pairs]))
        if fusion == "rrf":
            context.claim("%s: time / by hand, %s" % (text, kind), "%.2f" % ratio, ratio <= TARGETS[depth], "<= %g" % TARGETS[depth])
    return tuple(row)


# --- known items ------------------------------------------------------------------------------------------------------

Paper = collections.namedtuple("Paper", "summary name section tags description source")


def _known_items(context, db, data, folder):
    """Documents are abstracts, embedded as scripts/quickstart embeds descriptions; queries are titles of some of them."""
    papers = [(int(row[0]), row[1], row[2]) for row in db.rows(
        "SELECT id, translate(title, E'\\n\\r\\x1f', '   '), translate(abstract, E'\\n\\r\\x1f', '   ') FROM papers WHERE abstract <> '' ORDER BY id")]
    if len(papers) < LEAST_PAPERS:
        context.say("  the first %d papers have too few abstracts for known items" % data.rows)
        return
    chosen = random.Random(1).sample(papers, min(KNOWN_ITEMS, len(papers) // 5))
    embed = _fit(context, papers)
    context.progress("loading abstracts")
    db.run("CREATE TABLE abstracts (id int PRIMARY KEY, document tsvector, embedding vector(256))",
           "INSERT INTO abstracts SELECT id, to_tsvector('english', abstract) FROM papers WHERE abstract <> ''")
    vectors = os.path.join(folder, "vectors")
    with open(vectors, "w", encoding="ascii") as out:
        for (number, _, _), vector in zip(papers, embed.vectors):
            out.write("%d\t[%s]\n" % (number, ",".join("%.6g" % x for x in vector)))
    db.script("CREATE TEMP TABLE v (id int, v vector(256));", "\\copy v FROM '%s'" % vectors,
              "UPDATE abstracts SET embedding = v.v FROM v WHERE v.id = abstracts.id;")
    db.run("VACUUM FULL abstracts", "CREATE INDEX abstracts_document ON abstracts USING gin (document)",
           "CREATE INDEX abstracts_embedding ON abstracts USING tandem (embedding vector_cosine_ops)", "VACUUM ANALYZE abstracts")
    _insert(db, "titles", ((number, title, embed.query(title)) for number, title, _ in chosen))
    _reference(context, db, data)
    _quality(context, db, data)


class _fit:
    """The quickstart's embedding, fitted on abstracts alone."""

    def __init__(self, context, papers):
        context.progress("embedding %d abstracts" % len(papers))
        sys.path.insert(0, os.path.join(ROOT, "examples", "debian-packages"))
        import embedding  # of the example, not of the bench
        self.made, self.vectors = embedding.make_embedding(
            [Paper(abstract, "", "", (), "", number) for number, _, abstract in papers])

    def query(self, title):
        return self.made.embed(title)


def _reference(context, db, data):
    """BM25 against a computation from every paper's lexemes, with the statistics that the function uses."""
    # Hyphens and quotes make phrases, which only documents that have them whole are found by.
    chosen = "(SELECT * FROM titles WHERE websearch_to_tsquery('english', words)::text !~ '[<!|]' ORDER BY id LIMIT 50) AS t"
    postings = collections.defaultdict(dict)
    lengths = {int(number): int(length) for number, length in db.rows(
        "SELECT id, coalesce((SELECT sum(cardinality(positions)) FROM unnest(document)), 0) FROM abstracts")}
    for number, lexeme, occurrences in db.rows(
            "SELECT id, lexeme, cardinality(positions) FROM abstracts, unnest(document) WHERE lexeme IN"
            " (SELECT unnest(tsvector_to_array(to_tsvector('english', words))) FROM %s)" % chosen):
        postings[lexeme][int(number)] = int(occurrences)
    worst, seen = 0.0, 0
    for number, lexemes, documents, average in db.rows(
            "SELECT id, array_to_string(tsvector_to_array(to_tsvector('english', words)), ' '), documents, average_length FROM %s,"
            " tandem_text_statistics('abstracts', words, text_config => 'english')" % chosen):
        scores = collections.Counter()
        for lexeme in lexemes.split(" "):
            found = postings.get(lexeme, {})
            idf = math.log(1 + (float(documents) - len(found) + 0.5) / (len(found) + 0.5))
            for paper, occurrences in found.items():
                scores[paper] += idf * occurrences * 2.2 / (occurrences + 1.2 * (0.25 + 0.75 * lengths[paper] / float(average)))
        best = sorted(scores.values(), reverse=True)[:10]
        got = [(int(row[0]), float(row[1])) for row in db.rows(
            "SELECT key, text_score FROM titles, tandem_hybrid_search('abstracts', query_text => words, text_config => 'english',"
            " text_syntax => 'any', text_scoring => 'bm25') WHERE id = %s" % number)]
        seen += len(got)
        worst = max([worst, abs(len(got) - len(best))] + [abs(score - scores[paper]) for paper, score in got] +
                    [abs(a - score) for a, (_, score) in zip(best, got)])
    context.claim("BM25: largest difference from the reference in %d scores of the best ten" % seen, "%.1e" % worst, worst <= 1e-5, "<= 1e-5")
    if worst > 1e-5:
        context.fail("BM25 differs from the reference")


# An empty text asks for nothing; it stands beside vectors of titles that have none.
LEGS = {
    "vector": "SELECT key, vector_score AS score FROM tandem_hybrid_search('abstracts', t.v, '', k => %d)" % DEPTH,
    "ts_rank_cd": "SELECT key, text_score AS score FROM tandem_hybrid_search('abstracts', query_text => t.words, k => %d, text_config => 'english',"
                  " text_scoring => 'ts_rank_cd', text_syntax => 'websearch')" % DEPTH,
    "ts_rank_cd, any": "SELECT key, text_score AS score FROM tandem_hybrid_search('abstracts', query_text => t.words, k => %d, text_config => 'english',"
                       " text_scoring => 'ts_rank_cd', text_syntax => 'any')" % DEPTH,
    "bm25": "SELECT key, text_score AS score FROM tandem_hybrid_search('abstracts', query_text => t.words, k => %d, text_config => 'english',"
            " text_scoring => 'bm25', text_syntax => 'websearch')" % DEPTH,
    "bm25, any": "SELECT key, text_score AS score FROM tandem_hybrid_search('abstracts', query_text => t.words, k => %d, text_config => 'english',"
                 " text_scoring => 'bm25', text_syntax => 'any')" % DEPTH,
}


def _quality(context, db, data):
    """Each leg once, then every fusion of what the legs found."""
    table = []
    db.run("CREATE TABLE legs (id int, leg text, keys bigint[], scores float8[], ms float8)")
    for leg, sql in LEGS.items():
        context.progress(leg)
        few = " WHERE id IN (SELECT id FROM titles ORDER BY id LIMIT %d)" % SLOW_ITEMS if leg == "ts_rank_cd, any" else ""
        db.run("DO $$ DECLARE t record; k bigint[]; s float8[]; began timestamptz; BEGIN FOR t IN SELECT * FROM titles%s LOOP began := clock_timestamp();"
               " SELECT array_agg(key), array_agg(score) INTO k, s FROM (%s) AS r;"
               " INSERT INTO legs VALUES (t.id, '%s', coalesce(k, '{}'), coalesce(s, '{}'), extract(epoch FROM clock_timestamp() - began) * 1e3); END LOOP; END $$"
               % (few, sql, leg))
        table.append(_judge(context, db, data, leg, "SELECT id, array_position(keys[1:10], id::bigint) AS place, ms FROM legs WHERE leg = '%s'" % leg))
    for leg in ("ts_rank_cd", "ts_rank_cd, any", "bm25", "bm25, any"):
        for fusion in FUSIONS:
            table.append(_judge(context, db, data, "%s of vector and %s" % (fusion, leg),
                                "SELECT v.id, (SELECT n FROM (SELECT row_number() OVER () AS n, f.key FROM tandem_fuse(v.keys, v.scores, t.keys, t.scores, 10, '%s') AS f) AS s"
                                " WHERE s.key = v.id) AS place, v.ms + t.ms AS ms FROM legs AS v JOIN legs AS t USING (id) WHERE v.leg = 'vector' AND t.leg = '%s'"
                                % (fusion, leg)))
    context.table(("way", "queries", "recall@10", "MRR", "ms of the legs"), table)


def _judge(context, db, data, way, places):
    queries, recall, mrr, ms = (float(x) for x in db.rows(
        "SELECT count(*), avg((place IS NOT NULL)::int), avg(coalesce(1.0 / place, 0)), avg(ms) FROM (%s) AS s" % places)[0])
    context.record("known item", data, variant=way, queries=int(queries), recall=recall, mrr=mrr, ms=ms, depth=DEPTH)
    return way, "%d" % queries, "%.3f" % recall, "%.3f" % mrr, "%.1f" % ms
