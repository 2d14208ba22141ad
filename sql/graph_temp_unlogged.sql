SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS tandem;
CREATE SCHEMA graph_temp_unlogged;
SET search_path = graph_temp_unlogged, public;

\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/include/index_checks.sql'
\set ECHO none
\i :helpers
\set ECHO all

-- Temporary and unlogged tables with graphs (H22): folded by their own session, and by anybody; contents that come and go.
-- Seen to fail with: graphs remembered by their number without the life of the file.

SET tandem.ef_search = 1000;

-- Temporary: hnsw_batch works, though no worker sees it. tandem_build() and VACUUM build its graphs.
CREATE TEMP TABLE temporary (id int, v vector(3));
CREATE INDEX temporary_v ON temporary USING tandem (v vector_l2_ops) WITH (strategy = 'hnsw_batch');
INSERT INTO temporary SELECT i, pseudo_vector(i, 3) FROM generate_series(1, 800) AS i;
SELECT graphs_against_sort('SELECT id, v <-> ''[1,2,3]'' FROM temporary ORDER BY v <-> ''[1,2,3]''');
CALL tandem_build('temporary_v');
SELECT rows, indexed_rows, tail_rows FROM tandem_index_stats WHERE indexname = 'temporary_v';
INSERT INTO temporary SELECT i, pseudo_vector(i, 3) FROM generate_series(801, 900) AS i;
DELETE FROM temporary WHERE id % 3 = 0;
SELECT graphs_against_sort('SELECT id, v <-> ''[1,2,3]'' FROM temporary ORDER BY v <-> ''[1,2,3]''');
VACUUM temporary;
SELECT graphs_against_sort('SELECT id, v <-> ''[1,2,3]'' FROM temporary ORDER BY v <-> ''[1,2,3]''');
INSERT INTO temporary SELECT i, pseudo_vector(i, 3) FROM generate_series(901, 1000) AS i;
CALL tandem_build('temporary_v');
SELECT graphs_against_sort('SELECT id, v <-> ''[1,2,3]'' FROM temporary ORDER BY v <-> ''[1,2,3]''');
SELECT * FROM tandem_verify('temporary_v', true);
-- Inline, by the inserts themselves or at the build.
CREATE TEMP TABLE inline (id int, v vector(3));
INSERT INTO inline SELECT i, pseudo_vector(i, 3) FROM generate_series(1, 500) AS i;
CREATE INDEX inline_v ON inline USING tandem (v vector_cosine_ops) WITH (strategy = 'hnsw_inline');
SELECT rows, indexed_rows, tail_rows FROM tandem_index_stats WHERE indexname = 'inline_v';
INSERT INTO inline SELECT i, pseudo_vector(i, 3) FROM generate_series(501, 600) AS i;
SELECT graphs_against_sort('SELECT id, v <=> ''[1,2,3]'' FROM inline ORDER BY v <=> ''[1,2,3]''');
ALTER INDEX inline_v SET (strategy = 'flat');
SELECT graphs_against_sort('SELECT id, v <=> ''[1,2,3]'' FROM inline ORDER BY v <=> ''[1,2,3]''');

-- Emptied at every commit: the same file, another life (H11).
CREATE TEMP TABLE emptied (id int, v vector(3)) ON COMMIT DELETE ROWS;
CREATE INDEX emptied_v ON emptied USING tandem (v vector_l2_ops) WITH (strategy = 'hnsw_batch');
BEGIN;
INSERT INTO emptied SELECT i, pseudo_vector(i, 3) FROM generate_series(1, 500) AS i;
CALL tandem_build('emptied_v');
SELECT graphs_against_sort('SELECT id, v <-> ''[1,2,3]'' FROM emptied ORDER BY v <-> ''[1,2,3]''');
COMMIT;
SELECT graphs_against_sort('SELECT id, v <-> ''[1,2,3]'' FROM emptied ORDER BY v <-> ''[1,2,3]''');
SELECT rows, indexed_rows, segments FROM tandem_index_stats WHERE indexname = 'emptied_v';
BEGIN;
INSERT INTO emptied SELECT i, pseudo_vector(-i, 3) FROM generate_series(1, 300) AS i;
CALL tandem_build('emptied_v');
INSERT INTO emptied SELECT i, pseudo_vector(-i, 3) FROM generate_series(301, 350) AS i;
SELECT graphs_against_sort('SELECT id, v <-> ''[1,2,3]'' FROM emptied ORDER BY v <-> ''[1,2,3]''');
SELECT * FROM tandem_verify('emptied_v', true);
COMMIT;

-- Dropped at commit, in the middle of everything.
BEGIN;
CREATE TEMP TABLE gone (id int, v vector(3)) ON COMMIT DROP;
CREATE INDEX gone_v ON gone USING tandem (v vector_l2_ops) WITH (strategy = 'hnsw_inline');
INSERT INTO gone SELECT i, pseudo_vector(i, 3) FROM generate_series(1, 300) AS i;
CALL tandem_build('gone_v');
SELECT graphs_against_sort('SELECT id, v <-> ''[1,2,3]'' FROM gone ORDER BY v <-> ''[1,2,3]''');
COMMIT;
DISCARD TEMP;

-- Unlogged, made logged and unlogged again: every step writes the index anew, and graphs follow.
CREATE UNLOGGED TABLE unlogged (id int, v vector(3));
CREATE INDEX unlogged_v ON unlogged USING tandem (v vector_l2_ops) WITH (strategy = 'hnsw_batch');
SELECT pg_relation_size('unlogged_v', 'init') > 0 AS has_init_fork;
INSERT INTO unlogged SELECT i, pseudo_vector(i, 3) FROM generate_series(1, 600) AS i;
CALL tandem_build('unlogged_v');
INSERT INTO unlogged SELECT i, pseudo_vector(i, 3) FROM generate_series(601, 700) AS i;
SELECT graphs_against_sort('SELECT id, v <-> ''[1,2,3]'' FROM unlogged ORDER BY v <-> ''[1,2,3]''');
SELECT * FROM tandem_verify('unlogged_v', true);
ALTER TABLE unlogged SET LOGGED;
SELECT rows, indexed_rows FROM tandem_index_stats WHERE indexname = 'unlogged_v';
CALL tandem_build('unlogged_v');
SELECT graphs_against_sort('SELECT id, v <-> ''[1,2,3]'' FROM unlogged ORDER BY v <-> ''[1,2,3]''');
ALTER TABLE unlogged SET UNLOGGED;
CALL tandem_build('unlogged_v');
DELETE FROM unlogged WHERE id % 2 = 0;
VACUUM unlogged;
SELECT graphs_against_sort('SELECT id, v <-> ''[1,2,3]'' FROM unlogged ORDER BY v <-> ''[1,2,3]''');
SELECT * FROM tandem_verify('unlogged_v', true);

SET client_min_messages = warning;
DROP SCHEMA graph_temp_unlogged CASCADE;
