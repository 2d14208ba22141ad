SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS tandem;
CREATE SCHEMA hnsw_options;
RESET client_min_messages;
SET search_path = hnsw_options, public;

\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/include/index_checks.sql'
\set ECHO none
\i :helpers
\set ECHO all

-- Parameters of graphs and settings: which values there are, what they do, and who hears of what does not happen. What goes
-- with strategy flat is in options, the way from one strategy to the other in strategies.

CREATE TABLE items (id int, v vector(3));
INSERT INTO items SELECT i, pseudo_vector(i, 3) FROM generate_series(1, 300) AS i;

-- Without the library preloaded nobody builds graphs by himself: said once per session.
CREATE INDEX items_v ON items USING tandem (v vector_l2_ops) WITH (strategy = 'hnsw_batch');
CREATE INDEX items_w ON items USING tandem (v vector_l2_ops) WITH (strategy = 'hnsw_batch');
DROP INDEX items_v, items_w;
-- For a temporary table nobody does, preloaded or not: said once for each index, not with every TRUNCATE.
CREATE TEMP TABLE passing (v vector(3)) ON COMMIT DELETE ROWS;
CREATE INDEX passing_v ON passing USING tandem (v vector_l2_ops) WITH (strategy = 'hnsw_batch');
CREATE INDEX passing_w ON passing USING tandem (v vector_l2_ops) WITH (strategy = 'hnsw_batch');
BEGIN;
INSERT INTO passing VALUES ('[1,2,3]');
COMMIT;
TRUNCATE passing;
DROP TABLE passing;

-- Codecs.
CREATE INDEX items_v ON items USING tandem (v vector_l2_ops) WITH (strategy = 'hnsw_inline', codec = 'fp8');
\set VERBOSITY sqlstate
CREATE INDEX items_v ON items USING tandem (v vector_l2_ops) WITH (strategy = 'hnsw_inline', codec = 'fp8');
CREATE INDEX items_v ON items USING tandem (v vector_l1_ops) WITH (strategy = 'hnsw_inline', codec = 'sq4');
\set VERBOSITY default
CREATE INDEX items_v ON items USING tandem (v vector_l1_ops) WITH (strategy = 'hnsw_inline', codec = 'sq4');
CREATE INDEX items_v ON items USING tandem (v vector_l1_ops) WITH (strategy = 'hnsw_inline', codec = 'auto');
SELECT codec, codec_reason FROM tandem_segments('items_v');
-- ALTER INDEX is not asked: the graphs of such an index have 8 bits.
ALTER INDEX items_v SET (codec = 'sq4');
REINDEX INDEX items_v;
SELECT codec FROM tandem_segments('items_v');
SELECT * FROM tandem_verify('items_v', true);
DROP INDEX items_v;
CREATE INDEX items_v ON items USING tandem (v vector_l2_ops) WITH (strategy = 'hnsw_inline', codec = 'auto');
SELECT m, ef_construction, codec, codec_reason FROM tandem_segments('items_v');
-- A graph that grows keeps its codec, unless another one is asked for.
ALTER INDEX items_v SET (codec = 'sq4');
INSERT INTO items SELECT i, pseudo_vector(i, 3) FROM generate_series(301, 330) AS i;
CALL tandem_build('items_v');
SELECT rows, codec, codec_reason FROM tandem_segments('items_v');
ALTER INDEX items_v RESET (codec);
INSERT INTO items SELECT i, pseudo_vector(i, 3) FROM generate_series(331, 350) AS i;
CALL tandem_build('items_v');
SELECT rows, codec, codec_reason FROM tandem_segments('items_v');
ALTER INDEX items_v SET (codec = 'float32');
SELECT codec FROM tandem_segments('items_v');
INSERT INTO items SELECT i, pseudo_vector(i, 3) FROM generate_series(351, 370) AS i;
CALL tandem_build('items_v');
SELECT rows, codec, codec_reason FROM tandem_segments('items_v');
SELECT segments, codec, codec_reason FROM tandem_index_stats WHERE indexname = 'items_v' AND schemaname = 'hnsw_options';
SELECT * FROM tandem_verify('items_v', true);
DROP INDEX items_v;
DELETE FROM items WHERE id > 300;
VACUUM items;

-- Bounds of m and ef_construction, and that graphs are built with them.
CREATE INDEX items_v ON items USING tandem (v vector_l2_ops)
  WITH (strategy = 'hnsw_inline', m = 4, ef_construction = 4, codec = 'sq8');
SELECT m, ef_construction, codec FROM tandem_segments('items_v');
ALTER INDEX items_v SET (m = 100, ef_construction = 1000);
SELECT m, ef_construction, codec FROM tandem_segments('items_v');
REINDEX INDEX items_v;
SELECT m, ef_construction, codec FROM tandem_segments('items_v');
ALTER INDEX items_v SET (m = 3);
ALTER INDEX items_v SET (m = 101);
ALTER INDEX items_v SET (ef_construction = 3);
ALTER INDEX items_v SET (ef_construction = 1001);
ALTER INDEX items_v SET (ef_search = 0);
ALTER INDEX items_v SET (codec = 'fp8');
-- A graph of another m is no beginning for the next one: it is built anew, from the rows.
ALTER INDEX items_v SET (m = 8);
INSERT INTO items SELECT i, pseudo_vector(i, 3) FROM generate_series(301, 400) AS i;
CALL tandem_build('items_v');
SELECT m, rows, nodes FROM tandem_segments('items_v');
SELECT * FROM tandem_verify('items_v', true);

-- ALTER INDEX ... SET lets inserts and searches go on.
BEGIN;
ALTER INDEX items_v SET (strategy = 'hnsw_batch', m = 16, ef_construction = 64, ef_search = 100, codec = 'auto');
SELECT mode FROM pg_locks WHERE relation = 'items_v'::regclass AND pid = pg_backend_pid() ORDER BY mode;
ROLLBACK;

-- Settings: defaults, bounds, and that the prefix is ours.
SELECT name, unit, context, min_val, max_val, enumvals, boot_val FROM pg_settings
  WHERE name LIKE 'tandem.%' AND name <> 'tandem.stop_points' ORDER BY name COLLATE "C";
\set VERBOSITY sqlstate
SET tandem.ef_search = 1001;
SET tandem.ef_search = -1;
SET tandem.iterative_scan = 'on';
SET tandem.max_scan_tuples = -1;
SET tandem.build_memory = '1MB';
SET tandem.build_threads = 65;
SET tandem.seal_rows = 1000;
SET tandem.naptime = '1s';
SET tandem.efsearch = 10;
\set VERBOSITY default

SET client_min_messages = warning;
DROP SCHEMA hnsw_options CASCADE;
