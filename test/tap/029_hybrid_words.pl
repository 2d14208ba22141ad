# Text legs of hybrid searches whose rows come from what is known of words, against the same conditions checked by the server. What
# words are not certain of is checked: rows behind the graphs and those without a vector, phrases, weights, blocks. HAZARDS H10, H16.
#
# Seen to fail with: rows behind the graphs believed without a check; phrases and weights taken for their words.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TandemTest;
use Test::More;

my @queries = (
  'w1', 'w2 & w3', 'w1 | w3', 'w1 & !w2', '!w1', '!w1 & !w2', '!!w1', 'w1 & !(w2 & w3)', '!(w1 | w2) & w3', 'w1 & !(w2 <-> w3)', 'w1 & !(!w2 & (w3 <-> w4))',
  '!(!(w1 <-> w2) & !w3) & w4', 'w1 <-> w2', 'w1 <2> w3', 'w1 <-> !w2', '!w1 <-> w2', '!w1 | w2', 'w1:A', 'w1:A & w2', 'w1 & !w2:A', 'w1:*', 'w1:* & !w12',
  '(w1 | w2) & (w3 | w4) & !w5', 'w1 & nowhere', 'w1 & !nowhere', 'nowhere | w7', 'w2 & w2 & (w2 | w3)');

my $node = make_node('words', preload => 1, conf => "tandem.naptime = '1h'\nenable_seqscan = off\n");
make_documents();
words_of_rows();
blocks();
partitions();
many_words();
others_at_work();
without();
$node->stop;
done_testing();

sub sql { return $node->safe_psql('postgres', @_); }

sub make_documents {
  my $queries = join ', ', map { "'$_'" } @queries;
  sql(<<"SQL");
-- A row to a page, so that little memory makes bitmaps forget rows.
CREATE TABLE docs (id int PRIMARY KEY, category int, doc tsvector, embedding vector(4), pad text) WITH (fillfactor = 10);
CREATE FUNCTION words(i int) RETURNS tsvector LANGUAGE sql IMMUTABLE AS \$\$
  SELECT setweight(to_tsvector('simple', string_agg('w' || (i * (j * j + 7) % 1009 % (1 + i * j % 20)), ' ')), CASE WHEN i % 3 = 0 THEN 'A' ELSE 'D' END::"char")
  FROM generate_series(1, 4 + i % 7) AS j \$\$;
CREATE FUNCTION add(first int, last int) RETURNS void LANGUAGE sql AS \$\$
  INSERT INTO docs SELECT i, i % 10, words(i), CASE WHEN i % 19 <> 0 THEN spread_vector(i, 4) END, repeat('x', 750) FROM generate_series(first, last) AS i \$\$;
SELECT add(1, 2500);
CREATE INDEX docs_embedding ON docs USING tandem (embedding vector_l2_ops) WITH (strategy = 'hnsw_batch');
CREATE INDEX docs_doc ON docs USING gin (doc);
CREATE INDEX docs_category ON docs (category);
VACUUM ANALYZE docs;
CREATE FUNCTION differences(query text, filter text) RETURNS bigint LANGUAGE plpgsql AS \$\$
DECLARE
  wrong bigint;
BEGIN
  EXECUTE format(\$sql\$
    SELECT count(*) FILTER (WHERE s.key IS DISTINCT FROM d.id OR s.text_score IS DISTINCT FROM d.rank)
    FROM (SELECT key, text_score FROM tandem_hybrid_search('docs', query_text => \$1, k => 5000, text_scoring => 'ts_rank_cd', text_syntax => 'tsquery',
        text_config => 'simple', filter => \$2)) AS s
      FULL JOIN (SELECT id, ts_rank_cd(doc, \$1::tsquery)::float8 AS rank FROM docs WHERE (doc @@ \$1::tsquery) AND (%s)) AS d ON s.key = d.id\$sql\$, filter)
    INTO wrong USING query, filter;
  RETURN wrong;
END \$\$;
-- Each twice: as it comes, and known.
CREATE FUNCTION all_differences() RETURNS text LANGUAGE sql AS \$\$
  SELECT coalesce(string_agg(DISTINCT query || ', ' || filter || ': ' || wrong, '; ') FILTER (WHERE wrong <> 0), 'none')
  FROM (SELECT query, filter, differences(query, filter) AS wrong FROM generate_series(1, 2),
    unnest(ARRAY['true', 'category = 3', 'category < 5 AND id % 2 = 0']) AS filter, unnest(ARRAY[$queries]) AS query) AS s \$\$;
-- The best by BM25, which asks more than once: scored one by one.
CREATE FUNCTION bm25_differences() RETURNS bigint LANGUAGE sql AS \$\$
  SELECT count(*) FROM unnest(ARRAY['w1 w2 w3', 'w0 w1 w17', 'w1 -w2', 'w1 "w2 w3" w4', 'w19 w1 w2 w3 w4 w5']) AS query, unnest(ARRAY[3, 40]) AS depth, LATERAL (
    SELECT s.key, round(s.text_score::numeric, 9) FROM tandem_hybrid_search('docs', query_text => query, k => depth, depth => depth, text_config => 'simple') AS s
    EXCEPT SELECT * FROM (SELECT d.id, round(tandem_bm25_score(doc, t.query, documents, average_length, frequencies)::numeric, 9) AS score
      FROM docs AS d, tandem_text_statistics('docs', query, text_config => 'simple') AS t WHERE doc @@ t.query ORDER BY score DESC, id LIMIT depth) AS best) AS s \$\$;
SQL
  $node->safe_psql('postgres', "CALL tandem_build('docs_embedding')");
}

sub plan_of {
  my ($arguments) = @_;
  return sql("SELECT * FROM tandem_hybrid_explain($arguments, costs => false, text_config => 'simple')");
}

sub is_same {
  my ($what) = @_;
  is(sql('SELECT all_differences()'), 'none', "$what: rows and ranks");
  is(sql('SELECT bm25_differences()'), 0, "$what: the best by BM25");
}

sub words_of_rows {
  like(plan_of("'docs', query_text => 'w1 w2', filter => 'category = 3'"), qr/Tandem Scan.*Bitmap Index Scan on docs_doc/s, 'words are asked for rows');
  is_same('all in graphs');
  my $known = sql(<<'SQL');
SELECT * FROM tandem_hybrid_explain('docs', query_text => 'w2 -w3', text_syntax => 'websearch', text_config => 'simple', "analyze" => true, text_scoring => 'ts_rank_cd')
SQL
  like($known, qr/Filter Cache Hits: 2\s+Filter Cache Misses: 0.*never executed/s, 'of known words no index is asked');
  unlike($known, qr/Rows Removed/, 'nor any row');
  sql('SELECT add(2501, 2700)');
  is_same('rows behind the graphs');
  is(sql(<<'SQL'), 'none', 'what the transaction has written itself');
BEGIN;
SELECT add(2701, 2750) \g /dev/null
UPDATE docs SET doc = words(id + 1) WHERE id % 100 = 7;
UPDATE docs SET pad = 'y' WHERE id % 100 = 8;
DELETE FROM docs WHERE id % 100 = 9;
SELECT all_differences();
ROLLBACK;
SQL
  is_same('after a rollback');
  sql('UPDATE docs SET doc = words(id + 1) WHERE id % 50 = 7; UPDATE docs SET embedding = NULL WHERE id % 50 = 8; DELETE FROM docs WHERE id % 50 = 9');
  is_same('after changes');
  sql('VACUUM docs');
  sql('SELECT add(2801, 2900)');
  is_same('with rows in the place of others');
}

sub blocks {
  # What was kept goes with the file.
  sql('REINDEX INDEX docs_embedding');
  sql("CALL tandem_build('docs_embedding')");
  is(sql("SET work_mem = '64kB'; SELECT all_differences()"), 'none', 'bitmaps that know blocks alone');
  is_same('after them');
}

sub partitions {
  sql(<<'SQL');
CREATE TABLE parts (id int PRIMARY KEY, words text, embedding vector(4)) PARTITION BY RANGE (id);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (1000);
CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (1000) TO (5000);
CREATE INDEX ON parts USING tandem (embedding vector_l2_ops);
CREATE INDEX ON parts USING gin (to_tsvector('simple', words));
INSERT INTO parts SELECT id, array_to_string(tsvector_to_array(doc), ' '), embedding FROM docs;
VACUUM ANALYZE parts;
SQL
  like(plan_of("'parts', query_text => 'w1 w2'"), qr/Append.*Tandem Scan.*Tandem Scan/s, 'partitions are asked for words, too');
  is(sql(<<'SQL'), '0', 'partitions, and a text column');
SELECT count(*) FILTER (WHERE s.key IS DISTINCT FROM p.id) FROM unnest(ARRAY['w7 & w1', 'w3 & !w1', 'w1 <-> w10', 'w1:*']) AS query, generate_series(1, 2), LATERAL (
  SELECT * FROM tandem_hybrid_search('parts', query_text => query, k => 5000, text_scoring => 'ts_rank_cd', text_syntax => 'tsquery', text_config => 'simple')) AS s
  FULL JOIN LATERAL (SELECT id FROM parts WHERE to_tsvector('simple', words) @@ query::tsquery) AS p ON p.id = s.key
SQL
}

# A query of so many words that what they admit may not fit the memory of hash tables is asked as a whole.
sub many_words {
  my $words = join ' | ', map { "x$_" } 1 .. 300;
  my $asked = "SELECT array_to_string(regexp_match(string_agg(line, ' '), 'Filter Cache Misses: (\\d+)'), '') FROM tandem_hybrid_explain('docs', query_text => '$words',
    text_syntax => 'tsquery', text_config => 'simple', \"analyze\" => true) AS line";
  is(sql($asked), 300, 'many words, each by itself');
  is(sql("SET work_mem = '64kB'; SET hash_mem_multiplier = 1; $asked"), 1, 'with little memory all at once');
}

# Rows of who has not committed, and who commits between two searches; an older snapshot meanwhile.
sub others_at_work {
  sql(<<'SQL');
CREATE TABLE said (id int PRIMARY KEY, words tsvector, v vector(2)) WITH (autovacuum_enabled = off);
CREATE INDEX said_v ON said USING tandem (v vector_l2_ops) WITH (strategy = hnsw_batch);
CREATE INDEX said_words ON said USING gin (words);
INSERT INTO said SELECT i, CASE WHEN i % 100 = 0 THEN 'word other' ELSE 'other' END::tsvector, ARRAY[i, 1]::vector FROM generate_series(1, 1000) AS i;
SQL
  sql("CALL tandem_build('said_v')");
  sql("INSERT INTO said SELECT i, CASE WHEN i % 100 = 0 THEN 'word other' ELSE 'other' END::tsvector, ARRAY[i, 1]::vector FROM generate_series(1001, 1500) AS i; ANALYZE said");
  my $search = <<'SQL';
SELECT count(*) FROM tandem_hybrid_search('said', query_text => 'word other', k => 1000, text_scoring => 'ts_rank_cd', text_syntax => 'websearch', text_config => 'simple')
SQL
  my $writer = start_session($node, 'writer');
  my $older = start_session($node, 'older');
  $writer->query_safe("BEGIN; INSERT INTO said SELECT i, 'word other'::tsvector, '[1,1]' FROM generate_series(2001, 2300) AS i;");
  is(sql($search), 15, 'who inserts has not committed');
  is($older->query_safe("BEGIN ISOLATION LEVEL REPEATABLE READ; $search;"), 15, 'an older snapshot');
  $writer->query_safe('COMMIT;');
  is(sql($search), 315, 'who inserted has committed');
  is($older->query_safe("$search;"), 15, 'which the older snapshot does not see');
  sql('DELETE FROM said WHERE id IN (100, 2001)');
  is(sql($search), 313, 'deleted rows');
  is($older->query_safe("$search;"), 15, 'which it still sees');
  $older->query_safe('COMMIT;');
  sql('VACUUM said');
  sql("INSERT INTO said VALUES (100, 'other', '[1,1]'), (2001, 'other word', '[1,1]')");
  is(sql($search), 314, 'rows in their places');
  $writer->query_safe("BEGIN; INSERT INTO said SELECT i, 'word other'::tsvector, '[1,1]' FROM generate_series(3001, 3300) AS i;");
  is(sql($search), 314, 'once more');
  $writer->query_safe('ROLLBACK;');
  is(sql($search), 314, 'rolled back');
  end_session($_) for $writer, $older;
}

# Only text legs ask so, and only where filters are to be used.
sub without {
  unlike(sql("EXPLAIN SELECT id FROM docs WHERE doc @@ 'w1 & w2'"), qr/Tandem/, 'other queries do not ask for words');
  unlike(sql("SET tandem.enable_filtered_scan = off; SELECT * FROM tandem_hybrid_explain('docs', query_text => 'w1 w2', text_config => 'simple')"),
    qr/Tandem/, 'nor where that is turned off');
  sql('CREATE TEMP TABLE t AS SELECT * FROM docs; ALTER TABLE t ADD PRIMARY KEY (id); CREATE INDEX ON t USING gin (doc); CREATE INDEX ON t USING tandem (embedding vector_l2_ops);'
      . " DO \$\$ BEGIN ASSERT NOT EXISTS (SELECT FROM tandem_hybrid_explain('t', query_text => 'w1 w2', text_config => 'simple') AS line WHERE line ~ 'Tandem'); END \$\$");
}
