SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS tandem;
CREATE SCHEMA memory;
RESET client_min_messages;
SET search_path = memory, public;

\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/include/index_checks.sql'
\set ECHO none
\i :helpers
\set ECHO all

-- Shared memory for searches, on a server that has none: the library was not preloaded. With it: test/tap/018_graph_cache.pl.

CREATE TABLE items (id int, v vector(4));
INSERT INTO items SELECT i, pseudo_vector(i, 4) FROM generate_series(1, 3000) AS i;
CREATE INDEX items_v ON items USING tandem (v vector_l2_ops) WITH (strategy = hnsw_inline);
SET enable_seqscan = off;
SELECT count(*) FROM (SELECT id FROM items ORDER BY v <-> '[1,2,3,4]' LIMIT 10) AS nearest;

-- Nothing is held, and nothing fails.
SELECT * FROM tandem_memory;
SELECT * FROM tandem_cached_segments();
SELECT * FROM tandem_memory_status();
SELECT * FROM tandem_filter_cache;
SELECT * FROM tandem_search_counts();
\x on
SELECT * FROM tandem_coordination;
\x off
SELECT tandem_reset_stats(), tandem_reset_stats('items_v');

-- The budget belongs to the server's start: there is no such setting here.
\set VERBOSITY sqlstate
SHOW tandem.memory_budget;
SET tandem.memory_budget = '1GB';
\set VERBOSITY default

-- Numbers are for everybody.
CREATE ROLE regress_tandem_stranger;
SET ROLE regress_tandem_stranger;
SELECT count(*) FROM tandem_memory;
SELECT budget_bytes FROM tandem_memory_status();
SELECT sets FROM tandem_filter_cache;
SELECT mode FROM tandem_coordination;
SELECT count(*) FROM tandem_search_counts();
SELECT tandem_reset_stats();
RESET ROLE;
DROP ROLE regress_tandem_stranger;
SELECT column_name, data_type FROM information_schema.columns
WHERE table_name = 'tandem_memory' ORDER BY ordinal_position;
DROP TABLE items;
