"""sparse-recall: vectors of words (TF-IDF of the ACL abstracts): recall@10 of graphs at the default settings against exact answers, and the
time of both.

As `sparsevec` of all words, whose graphs know sketches only; and the 2,000 most frequent words as `vector`, of which a sample shows few
elements that are not zero.
"""

import collections
import math
import re

from data import real
from harness.context import median, rate, ratios, spread
from suites import graphs

ROWS = 100_278
DENSE_ROWS, DENSE_WORDS = 30_000, 2_000
QUERIES = 200
LEAST_TEXTS = 3  # that a word must be in
RECALL = 0.95
STATEMENT = graphs.TEN_DISTANCES % dict(queries="queries", items="items", operator="<=>")


def run(context):
    texts = [_words(text) for text in real.acl_texts("base", context.scaled(ROWS, 1000))]
    queries = [_words(text) for text in real.acl_texts("query", QUERIES if context.options.scale >= 0.5 else 20)]
    in_texts = collections.Counter(word for text in texts for word in text)
    # By falling frequency, so that the first ones are the most frequent.
    words = sorted((word for word, count in in_texts.items() if count >= LEAST_TEXTS), key=lambda word: (-in_texts[word], word))
    weights = {word: math.log(len(texts) / in_texts[word]) for word in words}
    table = []
    _measure(context, "sparsevec", texts, queries, words, weights, table)
    dense = texts[: context.scaled(DENSE_ROWS, 1000)]
    _measure(context, "vector", dense, queries, words[:DENSE_WORDS], weights, table)
    context.table(("type", "rows", "dims", "ef", "recall@10", "ms", "exact ms", "exact / index"), table)
    context.server.drop_database("tandem_bench")


def _words(text):
    return collections.Counter(re.findall("[a-z]{2,}", text.lower()))


def _measure(context, kind, texts, queries, words, weights, table):
    column = "%s(%d)" % (kind, len(words))
    context.say("sparse-recall: %s rows of %s, cosine" % (rate(len(texts)), column))
    db = context.database()
    places = {word: place for place, word in enumerate(words, 1)}
    for name, rows in (("items", texts), ("queries", queries)):
        db.run("CREATE TABLE %s_sparse (id bigint, embedding sparsevec)" % name)
        lines = [_line(number, row, places, weights) for number, row in enumerate(rows)]
        # A vector without elements has no cosine distance to anything.
        db.script("COPY %s_sparse FROM STDIN;" % name, *(line for line in lines if "{}" not in line), "\\.")
        db.run("CREATE TABLE %s AS SELECT id, embedding::%s AS embedding FROM %s_sparse" % (name, column, name),
               "DROP TABLE %s_sparse" % name, "VACUUM ANALYZE %s" % name)
    exact, exact_seconds = graphs.ten_distances(db, STATEMENT, graphs.BY_SORT)
    context.progress("the worker builds")
    with context.all_cores(), db.configured(naptime=context.naptime(), build_threads=context.cores()):
        db.run("CREATE INDEX items_embedding ON items USING tandem (embedding %s_cosine_ops) WITH (strategy = 'hnsw_batch')" % kind)
        graphs.rest(context, db)
    graphs.prewarm(db)
    context.require("items_embedding" in db.plan(STATEMENT, *graphs.BY_INDEX), "searches do not go through the index")
    for ef in (graphs.EF_SEARCH // 4, graphs.EF_SEARCH):
        settings = (*graphs.BY_INDEX, "SET tandem.ef_search = %d" % ef)
        found = [graphs.ten_distances(db, STATEMENT, settings) for _ in range(1 + context.repeats(3))][1:]  # the first one warms up
        recall = graphs.recall_of_distances(found[0][0], exact)
        seconds = [each for _, each in found]
        faster = ratios([exact_seconds] * len(seconds), seconds)
        context.record("sparse", variant=column, rows=len(texts), ef=ef, k=10, recall=recall, ms=spread(1000 * each for each in seconds),
                       exact_ms=1000 * exact_seconds, exact_over_index=spread(faster), segments=graphs.segments(db))
        table.append((kind, rate(len(texts)), rate(len(words)), ef, "%.4f" % recall, "%.2f" % (1000 * median(seconds)),
                      "%.1f" % (1000 * exact_seconds), "%.1f x" % median(faster)))
    context.claim("%s of words, %s rows: recall@10 at the defaults" % (kind, rate(len(texts))), "%.4f" % recall, recall >= RECALL,
                  ">= %g" % RECALL)


def _line(number, row, places, weights):
    elements = sorted((places[word], (1 + math.log(count)) * weights[word]) for word, count in row.items() if word in places)
    elements = ["%d:%.6g" % element for element in elements if element[1] > 0]
    return "%d\t{%s}/%d" % (number, ",".join(elements), len(places))
