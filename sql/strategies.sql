SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS tandem;
CREATE SCHEMA strategies;
SET search_path = strategies, public;

\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/include/index_checks.sql'
\set ECHO none
\i :helpers
\set ECHO all

-- From every strategy to every other, with rows and graphs kept or given up; what was rolled back has not happened; no
-- stored combination keeps an index from being used, put right or dropped. The flat relation is never rewritten.
-- Seen to fail with: VACUUM that leaves the graphs of a flat index; a stored m beyond its bounds taken as it is.

-- Candidates enough for an exact answer whatever the graph is like: the tests of recall are elsewhere.
SET tandem.ef_search = 1000;
CREATE TABLE items (id int, v vector(3)) WITH (autovacuum_enabled = off);
INSERT INTO items SELECT i, pseudo_vector(i, 3) FROM generate_series(1, 600) AS i;
CREATE FUNCTION check_items() RETURNS text LANGUAGE sql AS $$
  SELECT graphs_against_sort('SELECT id, v <-> ''[1,2,3]'' FROM items ORDER BY v <-> ''[1,2,3]''')
$$;
CREATE VIEW graphs AS SELECT strategy, rows, indexed_rows, tail_rows, segments FROM tandem_index_stats
  WHERE schemaname = 'strategies' AND indexname = 'items_v';

-- What the strategies do with rows that are there and rows that come.
CREATE INDEX items_v ON items USING tandem (v vector_l2_ops) WITH (strategy = 'hnsw_batch');
SELECT * FROM graphs;
SELECT check_items();
CALL tandem_build('items_v');
SELECT * FROM graphs;
SELECT check_items();
INSERT INTO items SELECT i, pseudo_vector(i, 3) FROM generate_series(601, 700) AS i;
SELECT * FROM graphs;
SELECT check_items();
DROP INDEX items_v;
CREATE INDEX items_v ON items USING tandem (v vector_l2_ops) WITH (strategy = 'hnsw_inline', m = 8, ef_construction = 60);
SELECT * FROM graphs;
SELECT check_items();
SELECT m, ef_construction, codec FROM tandem_segments('items_v');
DROP INDEX items_v;
CREATE INDEX items_v ON items USING tandem (v vector_l2_ops);
SELECT * FROM graphs;

-- Every transition. The file stays the same one, and so do the rows: nothing is written anew by the ALTER itself.
CREATE FUNCTION change(target text, settings text DEFAULT NULL) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  file oid := pg_relation_filenode('items_v');
  before text := (SELECT strategy FROM graphs);
BEGIN
  IF settings IS NULL THEN
    EXECUTE format('ALTER INDEX items_v SET (strategy = %L)', target);
  ELSE
    EXECUTE format('ALTER INDEX items_v SET (strategy = %L, %s)', target, settings);
  END IF;
  RETURN format('%s to %s: %s, %s', before, (SELECT strategy FROM graphs),
                CASE WHEN pg_relation_filenode('items_v') = file THEN 'same file' ELSE 'another file' END, check_items());
END $$;
SELECT change('flat');
SELECT change('hnsw_batch');
SELECT change('hnsw_batch');
CALL tandem_build('items_v');
SELECT change('hnsw_inline');
SELECT change('hnsw_inline');
SELECT change('hnsw_batch');
SELECT * FROM graphs;
-- To flat: graphs are not searched any more, and go with the next VACUUM.
SELECT change('flat');
SELECT tail_rows FROM graphs;
VACUUM items;
SELECT * FROM graphs;
SELECT check_items();
-- And back: from the beginning.
SELECT change('hnsw_inline');
CALL tandem_build('items_v');
SELECT * FROM graphs;
SELECT change('flat');
SELECT change('hnsw_inline');
SELECT check_items();
-- Back to an hnsw strategy before anybody has cleared the graphs away: they may be taken up again.
CALL tandem_build('items_v');
SELECT indexed_rows, tail_rows FROM graphs;
SELECT check_items();
SELECT * FROM tandem_verify('items_v', true);

-- ROLLBACK, also of a part of the transaction; rows that came in between.
BEGIN;
ALTER INDEX items_v SET (strategy = 'flat');
SELECT strategy FROM graphs;
INSERT INTO items SELECT i, pseudo_vector(i, 3) FROM generate_series(701, 750) AS i;
SELECT check_items();
ROLLBACK;
SELECT strategy FROM graphs;
SELECT check_items();
BEGIN;
SAVEPOINT s;
ALTER INDEX items_v SET (strategy = 'flat');
ROLLBACK TO s;
INSERT INTO items SELECT i, pseudo_vector(i, 3) FROM generate_series(701, 750) AS i;
SELECT check_items();
COMMIT;
SELECT strategy FROM graphs;
CALL tandem_build('items_v');
SELECT check_items();
SELECT change('flat');
BEGIN;
ALTER INDEX items_v SET (strategy = 'hnsw_batch', m = 4);
CALL tandem_build('items_v');
SELECT check_items();
ROLLBACK;
SELECT strategy FROM graphs;
SELECT check_items();
VACUUM items;
SELECT segments FROM graphs;
SELECT * FROM tandem_verify('items_v', true);

-- Parameters of graphs: of those that are built from now on.
ALTER INDEX items_v SET (strategy = 'hnsw_batch', m = 4, ef_construction = 10, ef_search = 1000, codec = 'sq8');
CALL tandem_build('items_v');
SELECT DISTINCT m, ef_construction, codec FROM tandem_segments('items_v');
ALTER INDEX items_v SET (m = 24);
ALTER INDEX items_v RESET (ef_construction);
INSERT INTO items SELECT i, pseudo_vector(i, 3) FROM generate_series(751, 800) AS i;
REINDEX INDEX items_v;
CALL tandem_build('items_v');
SELECT DISTINCT m, ef_construction, codec FROM tandem_segments('items_v');
SELECT check_items();
-- flat takes none of them: RESET first, or with it.
ALTER INDEX items_v SET (strategy = 'flat');
ALTER INDEX items_v RESET (m, codec);
ALTER INDEX items_v SET (strategy = 'flat');
ALTER INDEX items_v RESET (strategy);
ALTER INDEX items_v RESET (strategy, ef_search);
SELECT strategy FROM graphs;
SELECT reloptions FROM pg_class WHERE oid = 'items_v'::regclass;
SELECT check_items();

-- What a dump prints can be run again, whatever the combination.
CREATE FUNCTION again(options text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  definition text;
  stored text;
BEGIN
  DROP INDEX items_v;
  EXECUTE 'CREATE INDEX items_v ON items USING tandem (v vector_l2_ops) ' || options;
  definition := pg_get_indexdef('items_v'::regclass);
  stored := (SELECT reloptions FROM pg_class WHERE oid = 'items_v'::regclass);
  DROP INDEX items_v;
  EXECUTE definition;
  IF pg_get_indexdef('items_v'::regclass) <> definition
     OR (SELECT reloptions::text FROM pg_class WHERE oid = 'items_v'::regclass) IS DISTINCT FROM stored THEN
    RETURN 'another index: ' || pg_get_indexdef('items_v'::regclass);
  END IF;
  RETURN coalesce(stored, 'none') || ': ' || check_items();
END $$;
SELECT again(o) FROM unnest(ARRAY['', 'WITH (strategy = flat)', 'WITH (strategy = ''hnsw_batch'')',
  'WITH (strategy = hnsw_inline, m = 4)', 'WITH (codec = sq8, m = 100, ef_construction = 1000, ef_search = 1, strategy = hnsw_batch)']) AS o;

-- Whatever is stored, with graphs there: used, put right, dropped.
CREATE FUNCTION try_stored(options text[]) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  answer text;
BEGIN
  DROP INDEX IF EXISTS items_v;
  CREATE INDEX items_v ON items USING tandem (v vector_l2_ops) WITH (strategy = 'hnsw_inline');
  UPDATE pg_class SET reloptions = options WHERE oid = 'items_v'::regclass;
  INSERT INTO items VALUES (1000, '[1,2,3]');
  answer := check_items();
  ALTER INDEX items_v RESET (strategy, m, ef_construction, ef_search, codec, unheard_of);
  ALTER INDEX items_v SET (strategy = 'hnsw_batch');
  answer := answer || ', ' || check_items();
  UPDATE pg_class SET reloptions = options WHERE oid = 'items_v'::regclass;
  DROP INDEX items_v;
  DELETE FROM items WHERE id = 1000;
  RETURN answer;
END $$;
SELECT o AS stored, try_stored(o::text[]) FROM unnest(ARRAY[
  '{strategy=flat}', '{strategy=flat,m=16}', '{m=16}', '{strategy=hnsw_batch,m=1000000}', '{strategy=hnsw_inline,m=-5,codec=sq8}',
  '{strategy=flat,ef_construction=200,ef_search=10,codec=sq8,m=4}', '{strategy=gone}', '{strategy=hnsw_inline,ef_search=0}',
  '{strategy=hnsw_batch,codec=gone}', '{unheard_of=1}', '{strategy=hnsw_batch,m=}', '{}']) AS o;
-- The same for VACUUM, REINDEX and tandem_build().
VACUUM items;
CREATE INDEX items_v ON items USING tandem (v vector_l2_ops) WITH (strategy = 'hnsw_inline');
UPDATE pg_class SET reloptions = '{strategy=hnsw_batch,m=1000000,ef_construction=-1}' WHERE oid = 'items_v'::regclass;
DELETE FROM items WHERE id % 3 = 0;
VACUUM ANALYZE items;
CALL tandem_build('items_v');
SELECT check_items();
REINDEX INDEX items_v;
REINDEX INDEX CONCURRENTLY items_v;
CALL tandem_build('items_v');
SELECT check_items();
SELECT * FROM tandem_verify('items_v', true);

SET client_min_messages = warning;
DROP SCHEMA strategies CASCADE;
