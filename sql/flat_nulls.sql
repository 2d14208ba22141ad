SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS tandem;
CREATE SCHEMA flat_nulls;
RESET client_min_messages;
SET search_path = flat_nulls, public;

\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/include/index_checks.sql'
\set ECHO none
\i :helpers
\set ECHO all

-- Rows without a vector, distances that are not a number, and nothing at all.

-- NULLs come last, so a LIMIT beyond the vectors returns them.
CREATE TABLE items (id int, v vector(2));
CREATE INDEX items_l2 ON items USING tandem (v vector_l2_ops);
INSERT INTO items SELECT i, NULL FROM generate_series(1, 10) AS i;
INSERT INTO items SELECT i, ARRAY[i, 0]::vector FROM generate_series(11, 15) AS i;
INSERT INTO items SELECT i, NULL FROM generate_series(16, 25) AS i;
SET enable_seqscan = off;
EXPLAIN (COSTS OFF) SELECT id, v FROM items ORDER BY v <-> '[12.1,0]' LIMIT 10;
SELECT id, v, v <-> '[12,0]' AS distance FROM items ORDER BY v <-> '[12.1,0]' LIMIT 10;
SELECT count(*) FROM (SELECT * FROM items ORDER BY v <-> '[12,0]') AS s;
-- The same with the rows there before the index.
REINDEX INDEX items_l2;
SELECT id, v FROM items ORDER BY v <-> '[12.1,0]' LIMIT 10;
SELECT index_against_sort('SELECT id, v <-> ''[12,0]'' FROM items ORDER BY v <-> ''[12,0]''');
-- A condition that the index knows nothing of.
SELECT id FROM items WHERE v IS NOT NULL ORDER BY v <-> '[12.1,0]';
SELECT count(*) FROM (SELECT id FROM items WHERE v IS NULL ORDER BY v <-> '[12,0]') AS s;
SELECT id FROM items WHERE id < 3 ORDER BY v <-> '[12,0]';
-- NULLS FIRST and DESC are not the order of the index.
SELECT plan($$SELECT id FROM items ORDER BY v <-> '[12,0]' NULLS FIRST LIMIT 2$$);
SELECT plan($$SELECT id FROM items ORDER BY v <-> '[12,0]' DESC LIMIT 2$$);

-- A query that is NULL: every row, none nearer than the others.
PREPARE nearest(vector) AS SELECT id, v <-> $1 AS distance FROM items ORDER BY v <-> $1 LIMIT 100;
SET plan_cache_mode = force_generic_plan;
EXPLAIN (COSTS OFF) EXECUTE nearest(NULL);
CREATE TEMP TABLE got AS EXECUTE nearest(NULL);
SELECT count(*), count(DISTINCT id), count(distance) FROM got;
SELECT count(*) FROM (SELECT id FROM items ORDER BY v <-> (SELECT NULL::vector)) AS s;
EXECUTE nearest('[14,0]') \g /dev/null
-- The same scan started again with and without a vector.
SELECT q, ARRAY(SELECT id FROM items WHERE id BETWEEN 11 AND 15 OR q IS NULL ORDER BY v <-> q LIMIT 25) AS ids
INTO TEMP TABLE rescans FROM (VALUES ('[13.1,0]'::vector), (NULL), ('[11.1,0]')) AS queries(q);
SELECT q, CASE WHEN q IS NULL THEN ARRAY[cardinality(ids)] ELSE ids END AS ids FROM rescans ORDER BY q;
RESET plan_cache_mode;
DEALLOCATE nearest;

-- Updates from NULL and to NULL.
UPDATE items SET v = '[100,0]' WHERE id = 1;
UPDATE items SET v = NULL WHERE id = 12;
DELETE FROM items WHERE id = 2;
SELECT id, v FROM items WHERE id < 14 ORDER BY v <-> '[100,0]' LIMIT 4;
VACUUM items;
INSERT INTO items VALUES (26, NULL), (27, '[99,0]');
SELECT index_against_sort('SELECT id, v <-> ''[99,0]'' FROM items ORDER BY v <-> ''[99,0]''');

-- Cosine distance with a zero vector is NaN: after every number, before NULL.
CREATE TABLE directions (id int, v vector(2));
INSERT INTO directions VALUES (1, '[0,0]'), (2, '[1,0]'), (3, NULL), (4, '[-1,0]'), (5, '[0,1]');
CREATE INDEX directions_cosine ON directions USING tandem (v vector_cosine_ops);
INSERT INTO directions VALUES (6, '[0,0]'), (7, '[2,0]'), (8, NULL), (9, '[-2,0]'), (10, '[0,-1]');
EXPLAIN (COSTS OFF) SELECT id FROM directions ORDER BY v <=> '[1,0]';
SELECT id, v, v <=> '[1,0]' AS distance FROM directions ORDER BY v <=> '[1,0]';
SELECT id, v <=> '[0,0]' AS distance FROM directions ORDER BY v <=> '[0,0]';
SELECT index_against_sort('SELECT id, v <=> ''[1,0]'' FROM directions ORDER BY v <=> ''[1,0]''');
SELECT index_against_sort('SELECT id, v <=> ''[0,0]'' FROM directions ORDER BY v <=> ''[0,0]''');
-- Many NaN, over several passes.
INSERT INTO directions SELECT i, CASE WHEN i % 2 = 0 THEN '[0,0]' ELSE pseudo_vector(i, 2) END FROM generate_series(11, 6000) AS i;
SET work_mem = '64kB';
SELECT index_against_sort('SELECT id, v <=> ''[1,0]'' FROM directions ORDER BY v <=> ''[1,0]''');
RESET work_mem;

-- Nothing, one row, nothing but NULL.
CREATE TABLE few (id int, v vector(2));
CREATE INDEX few_l2 ON few USING tandem (v vector_l2_ops);
SELECT * FROM few ORDER BY v <-> '[0,0]';
INSERT INTO few VALUES (1, '[1,1]');
SELECT * FROM few ORDER BY v <-> '[0,0]';
REINDEX INDEX few_l2;
SELECT * FROM few ORDER BY v <-> '[0,0]';
DELETE FROM few;
SELECT * FROM few ORDER BY v <-> '[0,0]';
VACUUM few;
SELECT * FROM few ORDER BY v <-> '[0,0]';
INSERT INTO few VALUES (2, NULL);
SELECT * FROM few ORDER BY v <-> '[0,0]';
REINDEX INDEX few_l2;
SELECT * FROM few ORDER BY v <-> '[0,0]';
INSERT INTO few VALUES (3, '[3,3]'), (4, NULL);
SELECT * FROM few ORDER BY v <-> '[0,0]';
-- More NULLs than one page of row heads holds, before the index and after.
INSERT INTO few SELECT 5, NULL FROM generate_series(1, 2500);
SELECT count(*) FROM (SELECT v FROM few ORDER BY v <-> '[0,0]') AS s;
REINDEX INDEX few_l2;
INSERT INTO few SELECT 6, NULL FROM generate_series(1, 2500);
SELECT index_against_sort('SELECT id, v <-> ''[0,0]'' FROM few ORDER BY v <-> ''[0,0]''');

SET client_min_messages = warning;
DROP SCHEMA flat_nulls CASCADE;
