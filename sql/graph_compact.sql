SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS tandem;
CREATE SCHEMA graph_compact;
SET search_path = graph_compact, public;

\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/include/index_checks.sql'
\set ECHO none
\i :helpers
\set ECHO all

-- What VACUUM packs where most rows are dead, and that every row is found as before: flat and through graphs, in permanent,
-- unlogged and temporary tables, across strategies and REINDEX.

SET tandem.ef_search = 1000;
CREATE FUNCTION check_rows(name text) RETURNS text LANGUAGE sql AS $$
  SELECT graphs_against_sort(format('SELECT id, v <-> pseudo_vector(7, 120) FROM %I ORDER BY v <-> pseudo_vector(7, 120)', name))
$$;
-- Sizes in vectors: whether there are packed ranges, and whether all of them and the extents hold at most 2.5 times the rows, beside
-- what the first extents and the last ones take.
CREATE FUNCTION sizes(name text, live int) RETURNS TABLE (is_packed bool, is_bounded bool) LANGUAGE sql AS $$
  SELECT packed_bytes > 0, (vector_bytes + packed_bytes) / 480 < 2.5 * live + 3 * 64 * 17
  FROM tandem_index_stats WHERE indexname = name || '_v'
$$;

-- Rows of 480 bytes cross pages and extents.
CREATE TABLE plain (id int, v vector(120)) WITH (autovacuum_enabled = off);
CREATE INDEX plain_v ON plain USING tandem (v vector_l2_ops);
INSERT INTO plain SELECT i, pseudo_vector(i, 120) FROM generate_series(1, 3000) AS i;
SELECT * FROM sizes('plain', 3000);
-- A third of the rows stays where it was: it is packed.
UPDATE plain SET v = pseudo_vector(id + 10000, 120) WHERE id % 3 <> 0;
VACUUM (INDEX_CLEANUP on) plain;
SELECT * FROM sizes('plain', 3000);
SELECT check_rows('plain');
SELECT * FROM tandem_verify('plain_v', true);
-- Half of that dies, then all of it: ranges are packed again, and joined.
DELETE FROM plain WHERE id % 6 = 0;
VACUUM (INDEX_CLEANUP on) plain;
SELECT check_rows('plain');
SELECT * FROM tandem_verify('plain_v', true);
DELETE FROM plain WHERE id % 3 = 0;
VACUUM (INDEX_CLEANUP on) plain;
VACUUM (INDEX_CLEANUP on) plain;
SELECT * FROM sizes('plain', 2000);
SELECT check_rows('plain');
SELECT * FROM tandem_verify('plain_v', true);
-- Again and again.
DO $$
BEGIN
  FOR round IN 1..3 LOOP
    UPDATE plain SET v = pseudo_vector(id + 10000 * (round + 1), 120) WHERE id % 5 <> round;
  END LOOP;
END $$;
VACUUM (INDEX_CLEANUP on) plain;
VACUUM (INDEX_CLEANUP on) plain;
SELECT check_rows('plain');
SELECT * FROM tandem_verify('plain_v', true);

-- Graphs of what was packed before, and packing of what graphs cover.
ALTER INDEX plain_v SET (strategy = 'hnsw_batch', m = 8, ef_construction = 40);
CALL tandem_build('plain_v');
SELECT check_rows('plain');
UPDATE plain SET v = pseudo_vector(-id, 120) WHERE id % 4 <> 0;
VACUUM (INDEX_CLEANUP on) plain;
CALL tandem_build('plain_v');
SELECT * FROM sizes('plain', 2000);
SELECT check_rows('plain');
SELECT * FROM tandem_verify('plain_v', true);
ALTER INDEX plain_v RESET (m, ef_construction);
ALTER INDEX plain_v SET (strategy = 'flat');
VACUUM (INDEX_CLEANUP on) plain;
SELECT check_rows('plain');
-- A DELETE that does not last.
BEGIN;
DELETE FROM plain WHERE id % 2 = 0;
SELECT check_rows('plain');
ROLLBACK;
SELECT check_rows('plain');
REINDEX INDEX plain_v;
SELECT * FROM sizes('plain', 2000);
SELECT check_rows('plain');

-- NULL vectors are in no extent of vectors.
UPDATE plain SET v = NULL WHERE id % 7 <> 0;
VACUUM (INDEX_CLEANUP on) plain;
SELECT * FROM sizes('plain', 300);
SELECT check_rows('plain');
SELECT * FROM tandem_verify('plain_v', true);

CREATE UNLOGGED TABLE unlogged (id int, v vector(120)) WITH (autovacuum_enabled = off);
CREATE INDEX unlogged_v ON unlogged USING tandem (v vector_l2_ops) WITH (strategy = 'hnsw_batch', m = 8, ef_construction = 40);
CREATE TEMPORARY TABLE temporary (id int, v vector(120));
CREATE INDEX temporary_v ON temporary USING tandem (v vector_l2_ops) WITH (strategy = 'hnsw_inline', m = 8, ef_construction = 40);
INSERT INTO unlogged SELECT i, pseudo_vector(i, 120) FROM generate_series(1, 2500) AS i;
INSERT INTO temporary SELECT i, pseudo_vector(i, 120) FROM generate_series(1, 2500) AS i;
UPDATE unlogged SET v = pseudo_vector(-id, 120) WHERE id % 3 <> 0;
UPDATE temporary SET v = pseudo_vector(-id, 120) WHERE id % 3 <> 0;
VACUUM (INDEX_CLEANUP on) unlogged, temporary;
VACUUM (INDEX_CLEANUP on) unlogged, temporary;
SELECT * FROM sizes('unlogged', 2500);
SELECT * FROM sizes('temporary', 2500);
SELECT check_rows('unlogged');
SELECT check_rows('temporary');
SELECT * FROM tandem_verify('unlogged_v', true);
SELECT * FROM tandem_verify('temporary_v', true);

-- Rows of more pages than the first extents have.
CREATE TABLE wide (id int, v vector(16000)) WITH (autovacuum_enabled = off);
CREATE INDEX wide_v ON wide USING tandem (v vector_l2_ops);
INSERT INTO wide SELECT i, array_fill(i / 8.0::real, ARRAY[16000])::vector FROM generate_series(1, 1200) AS i;
DELETE FROM wide WHERE id % 50 <> 1 AND id < 1100;
VACUUM (INDEX_CLEANUP on) wide;
SELECT packed_bytes > 0 AS is_packed FROM tandem_index_stats WHERE indexname = 'wide_v';
SELECT index_against_sort('SELECT id, v <-> array_fill(20, ARRAY[16000])::vector FROM wide ORDER BY v <-> array_fill(20, ARRAY[16000])::vector');
SELECT * FROM tandem_verify('wide_v', true);

DROP SCHEMA graph_compact CASCADE;
