SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS tandem;
CREATE SCHEMA dimensions;
RESET client_min_messages;
SET search_path = dimensions, public;

\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/include/index_checks.sql'
\set ECHO none
\i :helpers
\set ECHO all

-- Every number of dimensions, above all where rows begin to cross pages: 2,036 coordinates fill a page.

-- One table for each: some rows before the index, some after, so that both ways of writing are met; then the
-- index again over all of them, and after VACUUM took a few.
CREATE FUNCTION try_dimensions(n int, rows int, op text, class text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  query text := format('SELECT id, v %1$s pseudo_vector(-1, %2$s) FROM t ORDER BY v %1$s pseudo_vector(-1, %2$s)', op, n);
  answers text[];
BEGIN
  EXECUTE format('CREATE TABLE t (id int, v vector(%s))', n);
  EXECUTE format('INSERT INTO t SELECT i, pseudo_vector(i, %s) FROM generate_series(1, %s / 2) AS i', n, rows);
  EXECUTE format('CREATE INDEX t_v ON t USING tandem (v vector_%s_ops)', class);
  EXECUTE format('INSERT INTO t SELECT i, pseudo_vector(i, %s) FROM generate_series(%s / 2 + 1, %s) AS i', n, rows, rows);
  answers := answers || index_against_sort(query);
  DELETE FROM t WHERE id % 4 = 0;
  answers := answers || index_against_sort(query);
  REINDEX INDEX t_v;
  EXECUTE format('INSERT INTO t SELECT i, pseudo_vector(i, %s) FROM generate_series(%s + 1, %s + 4) AS i', n, rows, rows);
  answers := answers || index_against_sort(query);
  DROP TABLE t;
  RETURN array_to_string(answers, ', ');
END $$;

SELECT n, try_dimensions(n, 200, '<->', 'l2') FROM unnest(ARRAY[1, 2, 3, 4, 5, 15, 16, 17, 31, 32, 33, 63, 64, 65]) AS n;
-- A divisor of the page, its neighbours, and numbers that do not divide it.
SELECT n, try_dimensions(n, 80, '<->', 'l2') FROM unnest(ARRAY[127, 128, 129, 508, 509, 510, 768, 784, 1017, 1018, 1019]) AS n;
SELECT n, op, try_dimensions(n, 24, op, class)
FROM unnest(ARRAY[2034, 2035, 2036, 2037, 2038, 3072, 4071, 4072, 4073, 4076, 4077, 8000, 16000]) AS n,
     (VALUES ('<->', 'l2'), ('<=>', 'cosine')) AS metric(op, class) ORDER BY n, op;
SELECT n, op, try_dimensions(n, 12, op, class)
FROM unnest(ARRAY[2036, 2037, 16000]) AS n, (VALUES ('<#>', 'ip'), ('<+>', 'l1')) AS metric(op, class) ORDER BY n, op;

-- One coordinate decides, wherever in the row it is: no byte of a row is lost or belongs to its neighbour.
CREATE TABLE marked (id int, v vector(6109));
CREATE INDEX marked_l2 ON marked USING tandem (v vector_l2_ops);
CREATE FUNCTION marked_vector(place int, mark real) RETURNS vector LANGUAGE sql AS $$
  SELECT (array_fill(0::real, ARRAY[place - 1]) || mark || array_fill(0::real, ARRAY[6109 - place]))::vector
$$;
INSERT INTO marked SELECT i, marked_vector(i * 203, 1) FROM generate_series(1, 30) AS i;
SET enable_seqscan = off;
SELECT count(*) AS found
FROM generate_series(1, 30) AS i,
  LATERAL (SELECT id, v <-> marked_vector(i * 203, 1) AS distance FROM marked
           ORDER BY v <-> marked_vector(i * 203, 1) LIMIT 1) AS s
WHERE s.id = i AND s.distance = 0;
REINDEX INDEX marked_l2;
SELECT count(*) AS found
FROM generate_series(1, 30) AS i,
  LATERAL (SELECT id, v <-> marked_vector(i * 203, 1) AS distance FROM marked
           ORDER BY v <-> marked_vector(i * 203, 1) LIMIT 1) AS s
WHERE s.id = i AND s.distance = 0;
RESET enable_seqscan;

-- The bounds of the type are those of the index.
CREATE TABLE too_wide (v vector(16001));
CREATE TABLE too_narrow (v vector(0));

-- Many rows of one page, few rows of many pages: heads beyond the first page and extents beyond the first.
CREATE TABLE many (id int, v vector(1));
CREATE INDEX ON many USING tandem (v vector_l2_ops);
INSERT INTO many SELECT i, ARRAY[i % 1000]::vector FROM generate_series(1, 6000) AS i;
SELECT index_against_sort('SELECT id, v <-> ''[500]'' FROM many ORDER BY v <-> ''[500]''');
SELECT index_against_sort(format('SELECT id, v <-> ''[%s]'' FROM many ORDER BY v <-> ''[%s]'' LIMIT 3', i, i), false)
FROM generate_series(0, 999, 333) AS i;

-- Space: vectors lie end to end, so an index takes little more than their bytes.
CREATE TABLE space (id int, v vector(1020));
INSERT INTO space SELECT i, pseudo_vector(i, 1020) FROM generate_series(1, 2000) AS i;
CREATE INDEX space_built ON space USING tandem (v vector_l2_ops);
SELECT pg_relation_size('space_built') < 1.05 * 2000 * 1020 * 4 AS within_5_percent;

SET client_min_messages = warning;
DROP SCHEMA dimensions CASCADE;
