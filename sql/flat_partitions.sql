SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS tandem;
CREATE SCHEMA flat_partitions;
RESET client_min_messages;
SET search_path = flat_partitions, public;

\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/include/index_checks.sql'
\set ECHO none
\i :helpers
\set ECHO all

-- Partitioned tables: indexes of the parent, pruning, attaching and detaching, rows that move.

CREATE TABLE items (id int, part int, v vector(3)) PARTITION BY LIST (part);
CREATE INDEX items_l2 ON items USING tandem (v vector_l2_ops);
CREATE TABLE items_0 PARTITION OF items FOR VALUES IN (0);
CREATE TABLE items_1 PARTITION OF items FOR VALUES IN (1);
-- A partition whose columns stand in another order, and one that is partitioned again.
CREATE TABLE items_2 (v vector(3), gone int, part int, id int);
ALTER TABLE items_2 DROP COLUMN gone;
ALTER TABLE items ATTACH PARTITION items_2 FOR VALUES IN (2);
CREATE TABLE items_rest PARTITION OF items DEFAULT PARTITION BY RANGE (id);
CREATE TABLE items_rest_low PARTITION OF items_rest FOR VALUES FROM (MINVALUE) TO (500);
CREATE TABLE items_rest_high PARTITION OF items_rest FOR VALUES FROM (500) TO (MAXVALUE);
INSERT INTO items SELECT i, i % 5, CASE WHEN i % 50 > 0 THEN pseudo_vector(i, 3) END FROM generate_series(1, 1000) AS i;
SELECT c.relname, pg_get_indexdef(c.oid) FROM pg_class AS c
WHERE c.relnamespace = 'flat_partitions'::regnamespace AND c.relkind IN ('i', 'I') ORDER BY 1;

SET enable_seqscan = off;
SET enable_sort = off;
EXPLAIN (COSTS OFF) SELECT id FROM items ORDER BY v <-> '[1,2,3]' LIMIT 5;
-- Pruning, at planning time and at execution time.
EXPLAIN (COSTS OFF) SELECT id FROM items WHERE part = 1 ORDER BY v <-> '[1,2,3]' LIMIT 5;
SET plan_cache_mode = force_generic_plan;
PREPARE in_part(int) AS SELECT id FROM items WHERE part IN ($1, $1 + 1) ORDER BY v <-> '[1,2,3]' LIMIT 5;
EXPLAIN (COSTS OFF) EXECUTE in_part(0);
SELECT array_agg(id) FROM (SELECT id FROM items WHERE part IN (0, 1) ORDER BY v <-> '[1,2,3]' LIMIT 5) AS s \gset
CREATE TEMP TABLE pruned AS EXECUTE in_part(0);
SELECT array_agg(id) = :'array_agg' AS same FROM pruned;
RESET enable_seqscan;
RESET enable_sort;
RESET plan_cache_mode;

SELECT index_against_sort('SELECT id, v <-> ''[1,2,3]'' FROM items ORDER BY v <-> ''[1,2,3]''');
SELECT part, index_against_sort(format('SELECT id, v <-> ''[1,2,3]'' FROM items WHERE part = %s ORDER BY v <-> ''[1,2,3]''', part))
FROM generate_series(0, 4) AS part;
SELECT DISTINCT index_against_sort(format('SELECT id, v <-> ''[1,2,3]'' FROM items ORDER BY v <-> ''[1,2,3]'' LIMIT %s', n), false)
  = format('same %s rows', n) FROM generate_series(1, 100) AS n;

-- Rows that move from one partition to another.
UPDATE items SET part = (part + 1) % 5 WHERE id % 7 = 0;
SELECT index_against_sort('SELECT id, v <-> ''[1,2,3]'' FROM items ORDER BY v <-> ''[1,2,3]''');

-- Detached, changed, attached again: the index comes along.
ALTER TABLE items DETACH PARTITION items_1;
SELECT index_against_sort('SELECT id, v <-> ''[1,2,3]'' FROM items ORDER BY v <-> ''[1,2,3]''');
DELETE FROM items_1 WHERE id % 2 = 0;
ALTER TABLE items ATTACH PARTITION items_1 FOR VALUES IN (1);
SELECT index_against_sort('SELECT id, v <-> ''[1,2,3]'' FROM items ORDER BY v <-> ''[1,2,3]''');
SELECT count(*) FROM pg_inherits WHERE inhparent = 'items_l2'::regclass;

-- An index on the parent alone, completed partition by partition.
CREATE INDEX items_ip ON ONLY items USING tandem (v vector_ip_ops);
SELECT indisvalid FROM pg_index WHERE indexrelid = 'items_ip'::regclass;
CREATE INDEX items_0_ip ON items_0 USING tandem (v vector_ip_ops);
CREATE INDEX items_1_ip ON items_1 USING tandem (v vector_ip_ops);
CREATE INDEX items_2_ip ON items_2 USING tandem (v vector_ip_ops);
CREATE INDEX items_rest_ip ON items_rest USING tandem (v vector_ip_ops);
ALTER INDEX items_ip ATTACH PARTITION items_0_ip;
ALTER INDEX items_ip ATTACH PARTITION items_1_ip;
ALTER INDEX items_ip ATTACH PARTITION items_2_ip;
ALTER INDEX items_ip ATTACH PARTITION items_rest_ip;
SELECT indisvalid FROM pg_index WHERE indexrelid = 'items_ip'::regclass;
SELECT index_against_sort('SELECT id, v <#> ''[1,2,3]'' FROM items ORDER BY v <#> ''[1,2,3]''');

-- Commands on the whole tree.
VACUUM items;
REINDEX INDEX items_l2;
REINDEX TABLE CONCURRENTLY items;
INSERT INTO items SELECT i, i % 5, pseudo_vector(i, 3) FROM generate_series(1001, 1200) AS i;
SELECT index_against_sort('SELECT id, v <-> ''[1,2,3]'' FROM items ORDER BY v <-> ''[1,2,3]''');
TRUNCATE items_rest;
SELECT index_against_sort('SELECT id, v <-> ''[1,2,3]'' FROM items ORDER BY v <-> ''[1,2,3]''');
-- Parameters: a parent has no file, but takes them for the partitions made later.
CREATE INDEX items_cosine ON items USING tandem (v vector_cosine_ops) WITH (m = 16);
CREATE INDEX items_cosine ON items USING tandem (v vector_cosine_ops) WITH (strategy = 'flat');
CREATE TABLE items_5 PARTITION OF items FOR VALUES IN (5);
SELECT pg_get_indexdef('items_5_v_idx2'::regclass);
ALTER INDEX items_cosine SET (strategy = 'flat');
-- Dimensions are asked of the parent's column, too.
CREATE TABLE loose (id int, v vector) PARTITION BY HASH (id);
CREATE INDEX ON loose USING tandem (v vector_l2_ops);
CREATE TABLE loose_0 PARTITION OF loose FOR VALUES WITH (MODULUS 1, REMAINDER 0);

SET client_min_messages = warning;
DROP SCHEMA flat_partitions CASCADE;
