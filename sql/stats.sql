SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS tandem;
CREATE SCHEMA stats;
RESET client_min_messages;
SET search_path = stats, public;

\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/include/index_checks.sql'
\set ECHO none
\i :helpers
\set ECHO all

-- What can be asked of an index: tandem_index_stats, tandem_segments, tandem_build_progress, tandem_verify, tandem_rows.
-- Seen to fail with: bytes of graphs without the rest of their extents.

CREATE TABLE items (id int, v vector(10)) WITH (autovacuum_enabled = off);
CREATE INDEX items_l2 ON items USING tandem (v vector_l2_ops);
CREATE VIEW stats AS SELECT indexname, strategy, metric, dimensions, rows, null_rows, dead_rows,
    head_bytes, vector_bytes, total_bytes FROM tandem_index_stats WHERE schemaname = 'stats';

-- Empty.
SELECT * FROM stats;
SELECT * FROM tandem_rows('items_l2');
SELECT * FROM tandem_verify('items_l2');
SELECT * FROM tandem_verify('items_l2', heap_check => true);

-- Rows, NULLs, dead rows; the dead are counted by VACUUM.
INSERT INTO items SELECT i, CASE WHEN i % 10 > 0 THEN pseudo_vector(i, 10) END FROM generate_series(1, 2000) AS i;
SELECT indexname, strategy, metric, dimensions, rows, null_rows, dead_rows FROM stats;
DELETE FROM items WHERE id % 4 = 0;
SELECT rows, null_rows, dead_rows FROM stats;
SELECT count(*) AS dead FROM tandem_rows('items_l2') WHERE dead;
VACUUM items;
SELECT rows, null_rows, dead_rows FROM stats;
SELECT dead, has_vector, count(*), min(row_id), max(row_id) FROM tandem_rows('items_l2') GROUP BY 1, 2 ORDER BY 1, 2;
SELECT * FROM tandem_verify('items_l2', true);
-- A second VACUUM does not count them twice; one that finds nothing to do keeps the number.
VACUUM items;
SELECT rows, null_rows, dead_rows FROM stats;
SELECT reltuples FROM pg_class WHERE oid = 'items_l2'::regclass;
INSERT INTO items SELECT i, pseudo_vector(i, 10) FROM generate_series(2001, 2100) AS i;
VACUUM items;
SELECT reltuples FROM pg_class WHERE oid = 'items_l2'::regclass;
SELECT * FROM tandem_verify('items_l2', true);

-- Each live row of the index is one row of the table, and the other way round.
SELECT count(*) FROM items FULL JOIN (SELECT ctid AS place FROM tandem_rows('items_l2') WHERE NOT dead) AS r ON items.ctid = r.place
WHERE items.ctid IS NULL OR r.place IS NULL;

-- REINDEX leaves the dead behind.
REINDEX INDEX items_l2;
SELECT rows, null_rows, dead_rows FROM stats;
SELECT * FROM tandem_verify('items_l2', true);

-- Sizes: what the streams take and the file, to the byte.
SELECT head_bytes / 8192 AS head_pages, vector_bytes / 8192 AS vector_pages,
       total_bytes = pg_relation_size('items_l2') AS whole_file, head_bytes + vector_bytes < total_bytes AS within
FROM stats;

-- Indexes of every kind are listed: metrics, temporary, unlogged, partitions (but not their parents), invalid.
CREATE INDEX items_ip ON items USING tandem (v vector_ip_ops);
CREATE INDEX items_cosine ON items USING tandem (v vector_cosine_ops);
CREATE INDEX items_l1 ON items USING tandem (v vector_l1_ops) WITH (strategy = 'flat');
CREATE INDEX items_id ON items (id);
CREATE UNLOGGED TABLE unlogged (v vector(2));
CREATE INDEX unlogged_l2 ON unlogged USING tandem (v vector_l2_ops);
INSERT INTO unlogged VALUES ('[1,2]');
CREATE TABLE parted (id int, v vector(2)) PARTITION BY LIST (id);
CREATE INDEX parted_l2 ON parted USING tandem (v vector_l2_ops);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES IN (1);
SELECT indexname, strategy, metric, dimensions, rows, null_rows, dead_rows FROM stats ORDER BY indexname;
CREATE TEMP TABLE temporary (v vector(3));
CREATE INDEX temporary_l2 ON temporary USING tandem (v vector_l2_ops);
INSERT INTO temporary VALUES ('[1,2,3]'), (NULL);
SELECT tablename, indexname, rows, null_rows FROM tandem_index_stats WHERE tablename = 'temporary';
SELECT * FROM tandem_verify('temporary_l2', true);
SELECT * FROM tandem_verify('unlogged_l2', true);

-- Rows of a transaction in progress and of one that came to nothing are rows of the index, but not of the heap.
BEGIN;
INSERT INTO unlogged SELECT '[3,4]' FROM generate_series(1, 5);
SELECT rows FROM stats WHERE indexname = 'unlogged_l2';
SELECT * FROM tandem_verify('unlogged_l2', true);
ROLLBACK;
SELECT rows FROM stats WHERE indexname = 'unlogged_l2';
SELECT * FROM tandem_verify('unlogged_l2', true);
-- HOT chains: the index names their roots.
CREATE TABLE hot (id int, v vector(2)) WITH (fillfactor = 50, autovacuum_enabled = off);
CREATE INDEX hot_l2 ON hot USING tandem (v vector_l2_ops);
INSERT INTO hot SELECT i, ARRAY[i, 1]::vector FROM generate_series(1, 50) AS i;
UPDATE hot SET id = id + 1000 WHERE id % 2 = 0;
UPDATE hot SET id = id + 1000 WHERE id % 3 = 0;
SELECT * FROM tandem_verify('hot_l2', true);
VACUUM hot;
UPDATE hot SET v = v + '[1,0]' WHERE id % 5 = 0;
SELECT * FROM tandem_verify('hot_l2', true);
-- Partial and expression indexes are checked against the rows that belong into them.
CREATE INDEX hot_partial ON hot USING tandem (((v * '[2,2]')::vector(2)) vector_l2_ops) WHERE id % 2 = 1;
INSERT INTO hot SELECT i, ARRAY[i, 1]::vector FROM generate_series(51, 60) AS i;
UPDATE hot SET id = id + 1 WHERE id > 55;
SELECT * FROM tandem_verify('hot_partial', true);
-- Rows that cross pages.
CREATE TABLE wide (id int, v vector(5000));
CREATE INDEX wide_l2 ON wide USING tandem (v vector_l2_ops);
INSERT INTO wide SELECT i, pseudo_vector(i, 5000) FROM generate_series(1, 30) AS i;
DELETE FROM wide WHERE id = 7;
VACUUM wide;
SELECT * FROM tandem_verify('wide_l2', true);
REINDEX INDEX wide_l2;
SELECT * FROM tandem_verify('wide_l2', true);

-- What is not an index of ours.
SELECT * FROM tandem_verify('items');
SELECT * FROM tandem_verify('items_id');
SELECT * FROM tandem_verify('parted_l2');
SELECT * FROM tandem_verify('stats');
SELECT * FROM tandem_verify(0);
SELECT * FROM tandem_verify(NULL);
SELECT * FROM tandem_rows('items_id');
SELECT * FROM tandem_index_info('items_id');
SELECT * FROM tandem_index_info('items');
SELECT * FROM tandem_index_info(0);

-- Graphs: rows in them, rows that wait, where the bytes are.
CREATE TABLE graphs (id int, v vector(10)) WITH (autovacuum_enabled = off);
INSERT INTO graphs SELECT i, CASE WHEN i % 10 > 0 THEN pseudo_vector(i, 10) END FROM generate_series(1, 3000) AS i;
SET client_min_messages = warning;
CREATE INDEX graphs_v ON graphs USING tandem (v vector_l2_ops) WITH (strategy = 'hnsw_batch', m = 8, ef_construction = 40);
RESET client_min_messages;
CREATE VIEW graph_stats AS SELECT strategy, rows, null_rows, dead_rows, indexed_rows, tail_rows, lag_seconds, segments
FROM tandem_index_stats WHERE schemaname = 'stats' AND indexname = 'graphs_v';
-- How long the rows have been waiting is known where the library was preloaded.
SELECT * FROM graph_stats;
SELECT * FROM tandem_segments('graphs_v');
CALL tandem_build('graphs_v');
SELECT * FROM graph_stats;
SELECT segment_id > 0 AS id, first_row, end_row, rows, nodes, m, ef_construction, codec, built_at <= clock_timestamp() AS built
FROM tandem_segments('graphs_v');
-- Nothing was given back yet: every page belongs to something, here the fourth, which the third page of a graph came with.
CREATE TABLE few (id int, v vector(10));
CREATE INDEX few_v ON few USING tandem (v vector_l2_ops) WITH (strategy = 'hnsw_batch', m = 8, ef_construction = 40);
INSERT INTO few SELECT i, pseudo_vector(i, 10) FROM generate_series(1, 200) AS i;
CALL tandem_build('few_v');
SELECT segment_bytes / 8192 AS segment_pages, retired_bytes, free_bytes FROM tandem_index_stats
WHERE schemaname = 'stats' AND indexname = 'few_v';
DROP TABLE few;
-- Rows that come, and rows that die.
INSERT INTO graphs SELECT i, pseudo_vector(i, 10) FROM generate_series(3001, 3400) AS i;
DELETE FROM graphs WHERE id BETWEEN 101 AND 200;
VACUUM (INDEX_CLEANUP on) graphs;
SELECT rows, null_rows, dead_rows, rows - indexed_rows - tail_rows AS neither FROM graph_stats;
CALL tandem_build('graphs_v');
SELECT * FROM graph_stats;
SELECT min(first_row), max(end_row), sum(end_row - first_row) AS covered, bool_and(nodes > 0) AS nodes FROM tandem_segments('graphs_v');
-- To the byte: what is not of a kind is free, or of the directory.
SELECT segment_bytes = (SELECT sum(bytes) FROM tandem_segments('graphs_v')) AS segments, segment_bytes > 0 AS some,
       total_bytes = pg_relation_size('graphs_v') AS whole_file,
       (total_bytes - head_bytes - vector_bytes - segment_bytes - retired_bytes - free_bytes) / 8192 BETWEEN 2 AND 3 AS directory
FROM tandem_index_stats WHERE schemaname = 'stats' AND indexname = 'graphs_v';
-- Replaced graphs wait until no query can need them, then their room is free; and is used again.
SELECT retired_bytes > 0 AS retired FROM tandem_index_stats WHERE schemaname = 'stats' AND indexname = 'graphs_v';
SELECT total_bytes FROM tandem_index_stats WHERE schemaname = 'stats' AND indexname = 'graphs_v' \gset
INSERT INTO graphs VALUES (4000, '[1,2,3,4,5,6,7,8,9,10]');
CALL tandem_build('graphs_v');
INSERT INTO graphs VALUES (4001, '[1,2,3,4,5,6,7,8,9,10]');
CALL tandem_build('graphs_v');
INSERT INTO graphs VALUES (4002, '[1,2,3,4,5,6,7,8,9,10]');
CALL tandem_build('graphs_v');
SELECT total_bytes < 2 * :total_bytes AS bounded FROM tandem_index_stats WHERE schemaname = 'stats' AND indexname = 'graphs_v';
SELECT * FROM tandem_verify('graphs_v', true);
-- The flat strategy has rows, but none that wait.
SELECT indexed_rows, tail_rows, lag_seconds, segments, segment_bytes, retired_bytes FROM tandem_index_stats
WHERE schemaname = 'stats' AND indexname = 'items_ip';
SELECT * FROM tandem_segments('items_ip');
-- Builds show themselves through shared memory, which this server's library has none of.
SELECT * FROM tandem_build_progress;
SELECT * FROM tandem_build_info('graphs_v');
SELECT * FROM tandem_build_info(0);
SELECT * FROM tandem_segments('items_id');
SELECT * FROM tandem_segments('items');
SELECT * FROM tandem_segments('parted_l2');
SELECT * FROM tandem_segments(0);
SELECT * FROM tandem_segments(NULL);

-- Something is wrong: the index is told from the heap. The row is taken away behind the index's back.
CREATE TABLE broken (id int, v vector(2)) WITH (autovacuum_enabled = off);
INSERT INTO broken SELECT i, ARRAY[i, 1]::vector FROM generate_series(1, 5) AS i;
CREATE INDEX broken_l2 ON broken USING tandem (v vector_l2_ops);
UPDATE pg_index SET indisready = false WHERE indexrelid = 'broken_l2'::regclass;
INSERT INTO broken VALUES (6, '[6,1]');
UPDATE pg_index SET indisready = true WHERE indexrelid = 'broken_l2'::regclass;
SELECT * FROM tandem_verify('broken_l2');
SELECT * FROM tandem_verify('broken_l2', true);
UPDATE pg_index SET indisready = false WHERE indexrelid = 'broken_l2'::regclass;
SELECT * FROM tandem_verify('broken_l2', true);
UPDATE pg_index SET indisready = true WHERE indexrelid = 'broken_l2'::regclass;
REINDEX INDEX broken_l2;
SELECT * FROM tandem_verify('broken_l2', true);

-- Who may look. Rows and pages: the owner. Numbers: anybody.
CREATE ROLE regress_tandem_owner;
CREATE ROLE regress_tandem_stranger;
GRANT USAGE ON SCHEMA stats TO regress_tandem_owner, regress_tandem_stranger;
ALTER TABLE hot OWNER TO regress_tandem_owner;
SET ROLE regress_tandem_owner;
SELECT * FROM tandem_verify('hot_l2', true);
SELECT count(*) > 0 AS rows FROM tandem_rows('hot_l2');
SELECT * FROM tandem_verify('items_l2', true);
SET ROLE regress_tandem_stranger;
SELECT * FROM tandem_verify('hot_l2');
SELECT * FROM tandem_rows('hot_l2');
SELECT * FROM tandem_segments('hot_l2');
SELECT count(*) FROM tandem_build_progress;
SELECT rows > 0 AS rows FROM tandem_index_stats WHERE schemaname = 'stats' AND indexname = 'items_l2';
RESET ROLE;
-- A superuser may look at every index.
SELECT * FROM tandem_verify('hot_l2', true);

-- A concurrent build that failed leaves an index that is not ready: the view shows it without figures and goes on.
CREATE TABLE half_built (id int, v vector(10));
INSERT INTO half_built SELECT i, pseudo_vector(i, 10) FROM generate_series(1, 3000) AS i;
CREATE FUNCTION refuse_3000(i int, v vector) RETURNS vector LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  IF i = 3000 THEN RAISE EXCEPTION 'refused'; END IF;
  RETURN v;
END $$;
\set VERBOSITY terse
CREATE INDEX CONCURRENTLY half_built_v ON half_built USING tandem ((refuse_3000(id, v)::vector(10)) vector_l2_ops);
SELECT indexname, strategy, rows FROM stats WHERE indexname = 'half_built_v';
SELECT * FROM tandem_verify('half_built_v');
DROP TABLE half_built;
\set VERBOSITY default

SET client_min_messages = warning;
DROP OWNED BY regress_tandem_owner, regress_tandem_stranger CASCADE;
DROP ROLE regress_tandem_owner, regress_tandem_stranger;

SET client_min_messages = warning;
DROP SCHEMA stats CASCADE;
