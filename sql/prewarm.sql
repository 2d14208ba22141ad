SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS tandem;
CREATE SCHEMA prewarm;
SET search_path = prewarm, public;

-- tandem_prewarm(): what it refuses. A server without shared memory of ours: with it, see test/tap/019_graph_memory.pl.
-- Seen to fail with: the owner not asked for.

CREATE TABLE items (id int, v vector(3));
CREATE INDEX items_v ON items USING tandem (v vector_l2_ops) WITH (strategy = 'hnsw_batch');
CREATE INDEX items_id ON items (id);
CREATE TABLE parts (id int, v vector(3)) PARTITION BY RANGE (id);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (1) TO (10);
CREATE INDEX parts_v ON parts USING tandem (v vector_l2_ops);

SELECT tandem_prewarm('items_v');
SELECT tandem_prewarm('parts_v');
SELECT tandem_prewarm('items_id');
SELECT tandem_prewarm('items');
SELECT tandem_prewarm(NULL);
SELECT memory_bytes FROM tandem_index_stats WHERE indexname = 'items_v';

-- Only the owner's memory is anybody's to fill.
CREATE ROLE regress_tandem_other;
GRANT USAGE ON SCHEMA prewarm TO regress_tandem_other;
GRANT SELECT ON items TO regress_tandem_other;
SET ROLE regress_tandem_other;
SELECT tandem_prewarm('items_v');
RESET ROLE;

DROP SCHEMA prewarm CASCADE;
DROP ROLE regress_tandem_other;
