SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS tandem;
CREATE SCHEMA flat_basic;
RESET client_min_messages;
SET search_path = flat_basic, public;

\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/include/index_checks.sql'
\set ECHO none
\i :helpers
\set ECHO all

-- The four metrics, over rows that were there before the index and rows that came after it.

CREATE TABLE items (id int, v vector(3));
INSERT INTO items SELECT i, pseudo_vector(i, 3) FROM generate_series(1, 500) AS i;
CREATE INDEX items_l2 ON items USING tandem (v vector_l2_ops);
CREATE INDEX items_ip ON items USING tandem (v vector_ip_ops);
CREATE INDEX items_cosine ON items USING tandem (v vector_cosine_ops);
CREATE INDEX items_l1 ON items USING tandem (v vector_l1_ops);
INSERT INTO items SELECT i, pseudo_vector(i, 3) FROM generate_series(501, 1000) AS i;

SET enable_seqscan = off;
EXPLAIN (COSTS OFF) SELECT id FROM items ORDER BY v <-> '[1,2,3]' LIMIT 5;
EXPLAIN (COSTS OFF) SELECT id FROM items ORDER BY v <#> '[1,2,3]' LIMIT 5;
EXPLAIN (COSTS OFF) SELECT id FROM items ORDER BY v <=> '[1,2,3]' LIMIT 5;
EXPLAIN (COSTS OFF) SELECT id FROM items ORDER BY v <+> '[1,2,3]' LIMIT 5;
-- The query may stand on the left: all four operators commute.
EXPLAIN (COSTS OFF) SELECT id FROM items ORDER BY '[1,2,3]' <-> v LIMIT 5;
RESET enable_seqscan;

SELECT index_against_sort('SELECT id, v <-> ''[1,2,3]'' FROM items ORDER BY v <-> ''[1,2,3]''');
SELECT index_against_sort('SELECT id, v <#> ''[1,2,3]'' FROM items ORDER BY v <#> ''[1,2,3]''');
SELECT index_against_sort('SELECT id, v <=> ''[1,2,3]'' FROM items ORDER BY v <=> ''[1,2,3]''');
SELECT index_against_sort('SELECT id, v <+> ''[1,2,3]'' FROM items ORDER BY v <+> ''[1,2,3]''');
SELECT index_against_sort('SELECT id, ''[1,2,3]'' <#> v FROM items ORDER BY ''[1,2,3]'' <#> v');

-- A query that is one of the rows finds that row first.
SET enable_seqscan = off;
SELECT id, v <-> pseudo_vector(77, 3) AS distance FROM items ORDER BY v <-> pseudo_vector(77, 3) LIMIT 1;
SELECT id, v <-> pseudo_vector(777, 3) AS distance FROM items ORDER BY v <-> pseudo_vector(777, 3) LIMIT 1;
RESET enable_seqscan;

-- Ties: rows of one distance, each exactly once, around every LIMIT.

CREATE TABLE ties (id int, v vector(2));
INSERT INTO ties SELECT i, pseudo_vector(i, 2, 3) FROM generate_series(1, 300) AS i;
CREATE INDEX ON ties USING tandem (v vector_l2_ops);
INSERT INTO ties SELECT i, pseudo_vector(i, 2, 3) FROM generate_series(301, 600) AS i;
SELECT count(DISTINCT v <-> '[0,0]') < 10 AS many_ties FROM ties;
SELECT index_against_sort('SELECT id, v <-> ''[0,0]'' FROM ties ORDER BY v <-> ''[0,0]''');
SELECT DISTINCT index_against_sort(
         format('SELECT id, v <-> ''[0,0]'' FROM ties ORDER BY v <-> ''[0,0]'' LIMIT %s', n), false)
         = format('same %s rows', n) AS same_at_every_limit
FROM generate_series(1, 150) AS n;
-- Rows of one distance come in the order in which they were inserted, so that LIMIT and OFFSET page through them.
SET enable_seqscan = off;
CREATE TABLE equal_rows (id int, v vector(2));
CREATE INDEX ON equal_rows USING tandem (v vector_l2_ops);
INSERT INTO equal_rows SELECT i, '[1,1]' FROM generate_series(1, 3000) AS i;
SELECT id FROM equal_rows ORDER BY v <-> '[0,0]' LIMIT 5;
SELECT id FROM equal_rows ORDER BY v <-> '[0,0]' LIMIT 5 OFFSET 2000;
RESET enable_seqscan;

-- The default operator class does not exist: the metric is a choice.
CREATE INDEX ON ties USING tandem (v);

-- LIMIT 0, OFFSET past the end.
SET enable_seqscan = off;
SELECT id FROM items ORDER BY v <-> '[1,2,3]' LIMIT 0;
SELECT id FROM items ORDER BY v <-> '[1,2,3]' OFFSET 1000;
SELECT id FROM items ORDER BY v <-> '[1,2,3]' OFFSET 5000;
RESET enable_seqscan;

-- Extremes: distances that overflow, and zeros of both signs.

CREATE TABLE extremes (id int, v vector(2));
CREATE INDEX extremes_l2 ON extremes USING tandem (v vector_l2_ops);
CREATE INDEX extremes_ip ON extremes USING tandem (v vector_ip_ops);
CREATE INDEX extremes_cosine ON extremes USING tandem (v vector_cosine_ops);
CREATE INDEX extremes_l1 ON extremes USING tandem (v vector_l1_ops);
INSERT INTO extremes VALUES (1, '[3e38,3e38]'), (2, '[-3e38,3e38]'), (3, '[0,0]'), (4, '[-0,-0]'), (5, '[1,1]'),
  (6, '[1e-38,1e-38]'), (7, '[-3e38,-3e38]'), (8, '[3e38,-3e38]'), (9, '[1e-45,0]'), (10, '[0,1]');
SELECT op, q, index_against_sort(format('SELECT id, v %1$s %2$L FROM extremes ORDER BY v %1$s %2$L', op, q))
FROM unnest(ARRAY['<->', '<#>', '<=>', '<+>']) AS op, unnest(ARRAY['[3e38,3e38]', '[0,0]', '[-0,1]', '[1,-1]']) AS q
ORDER BY op, q;

SET client_min_messages = warning;
DROP SCHEMA flat_basic CASCADE;
