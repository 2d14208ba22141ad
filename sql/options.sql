SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS tandem;
CREATE SCHEMA options;
RESET client_min_messages;
SET search_path = options, public;

\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/include/index_checks.sql'
\set ECHO none
\i :helpers
\set ECHO all

-- Storage parameters of an index: which go together, what SET and RESET allow, and that no stored combination
-- keeps an index from being opened or dropped.

CREATE TABLE items (id int, v vector(3));
INSERT INTO items SELECT i, pseudo_vector(i, 3) FROM generate_series(1, 100) AS i;
CREATE FUNCTION check_items() RETURNS text LANGUAGE sql AS $$
  SELECT index_against_sort('SELECT id, v <-> ''[1,2,3]'' FROM items ORDER BY v <-> ''[1,2,3]''')
$$;
CREATE FUNCTION options_of(index regclass) RETURNS text LANGUAGE sql AS $$
  SELECT coalesce(reloptions::text, 'none') FROM pg_class WHERE oid = index
$$;

-- flat is the default.
CREATE INDEX items_default ON items USING tandem (v vector_l2_ops);
SELECT options_of('items_default'), pg_get_indexdef('items_default'::regclass);
CREATE INDEX items_flat ON items USING tandem (v vector_l2_ops) WITH (strategy = flat);
SELECT options_of('items_flat'), pg_get_indexdef('items_flat'::regclass);
DROP INDEX items_flat;
CREATE INDEX items_flat ON items USING tandem (v vector_l2_ops) WITH (strategy = 'FLAT');
SELECT pg_get_indexdef('items_flat'::regclass);
DROP INDEX items_flat;

-- What the definition prints can be run again.
CREATE INDEX items_flat ON items USING tandem (v vector_l2_ops) WITH (strategy = 'flat');
SELECT pg_get_indexdef('items_flat'::regclass) AS definition \gset
DROP INDEX items_flat;
:definition;
SELECT check_items();
DROP INDEX items_flat;

-- Parameters of graphs do not go with flat, named or by default. What they do with the others: hnsw_options, strategies.
CREATE INDEX ON items USING tandem (v vector_l2_ops) WITH (m = 16);
CREATE INDEX ON items USING tandem (v vector_l2_ops) WITH (strategy = 'flat', ef_construction = 128);
CREATE INDEX ON items USING tandem (v vector_l2_ops) WITH (ef_search = 40);
CREATE INDEX ON items USING tandem (v vector_l2_ops) WITH (codec = 'sq8');
CREATE INDEX ON items USING tandem (v vector_l2_ops) WITH (codec = 'auto', ef_search = 40, m = 16);

-- Values and bounds.
\set VERBOSITY terse
CREATE INDEX ON items USING tandem (v vector_l2_ops) WITH (strategy = 'hnsw');
CREATE INDEX ON items USING tandem (v vector_l2_ops) WITH (strategy = '');
CREATE INDEX ON items USING tandem (v vector_l2_ops) WITH (strategy);
CREATE INDEX ON items USING tandem (v vector_l2_ops) WITH (codec = 'pq');
CREATE INDEX ON items USING tandem (v vector_l2_ops) WITH (m = 3);
CREATE INDEX ON items USING tandem (v vector_l2_ops) WITH (m = 101);
CREATE INDEX ON items USING tandem (v vector_l2_ops) WITH (m = -1);
CREATE INDEX ON items USING tandem (v vector_l2_ops) WITH (m = 'many');
CREATE INDEX ON items USING tandem (v vector_l2_ops) WITH (m = 7.5);
CREATE INDEX ON items USING tandem (v vector_l2_ops) WITH (ef_construction = 3);
CREATE INDEX ON items USING tandem (v vector_l2_ops) WITH (ef_construction = 1001);
CREATE INDEX ON items USING tandem (v vector_l2_ops) WITH (ef_search = 0);
CREATE INDEX ON items USING tandem (v vector_l2_ops) WITH (ef_search = 1001);
CREATE INDEX ON items USING tandem (v vector_l2_ops) WITH (strategy = 'flat', strategy = 'flat');
CREATE INDEX ON items USING tandem (v vector_l2_ops) WITH (lists = 100);
CREATE INDEX ON items USING tandem (v vector_l2_ops) WITH (other.m = 16);
\set VERBOSITY default
CREATE INDEX ON items USING tandem (v vector_l2_ops) WITH (strategy = 'hnsw');
CREATE INDEX ON items USING tandem (v vector_l2_ops) WITH (codec = 'pq');
CREATE INDEX ON items USING tandem (v vector_l2_ops) WITH (m = 3);
SELECT count(*) FROM pg_index WHERE indrelid = 'items'::regclass;

-- SET and RESET: the same rules; what fails changes nothing.
ALTER INDEX items_default SET (strategy = 'flat');
SELECT options_of('items_default');
ALTER INDEX items_default SET (m = 16);
ALTER INDEX items_default SET (strategy = 'other');
ALTER INDEX items_default SET (nonsense = 1);
SELECT options_of('items_default');
ALTER INDEX items_default RESET (m);
ALTER INDEX items_default RESET (strategy);
SELECT options_of('items_default');
ALTER INDEX items_default RESET (strategy, m, ef_construction, ef_search, codec);
BEGIN;
ALTER INDEX items_default SET (strategy = 'flat');
INSERT INTO items VALUES (101, '[1,2,3]');
SELECT options_of('items_default'), check_items();
ROLLBACK;
SELECT options_of('items_default'), check_items();
ALTER INDEX items_default SET (strategy = 'flat');
REINDEX INDEX items_default;
REINDEX INDEX CONCURRENTLY items_default;
SELECT options_of('items_default'), check_items();

-- Any combination may be stored: by a dump of another version, by an ALTER in two steps. It must not keep the
-- table from being used, nor the index from being put right or dropped.
DROP INDEX items_default;
CREATE FUNCTION store(options text[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  UPDATE pg_class SET reloptions = options WHERE oid = 'items_stored'::regclass;
END $$;
CREATE FUNCTION try_stored(options text[]) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  answer text;
BEGIN
  CREATE INDEX items_stored ON items USING tandem (v vector_l2_ops);
  PERFORM store(options);
  INSERT INTO items VALUES (1000, '[1,2,3]');
  answer := check_items();
  PERFORM pg_get_indexdef('items_stored'::regclass);
  ALTER INDEX items_stored RESET (strategy, m, ef_construction, ef_search, codec, unheard_of);
  PERFORM store(options);
  ALTER INDEX items_stored RENAME TO items_renamed;
  DROP INDEX items_renamed;
  DELETE FROM items WHERE id = 1000;
  RETURN answer;
END $$;
SELECT o AS stored, try_stored(o::text[]) FROM unnest(ARRAY[
  '{strategy=flat}', '{strategy=flat,m=16}', '{m=16}', '{strategy=hnsw_batch}', '{strategy=hnsw_inline,m=32,codec=sq8}',
  '{strategy=flat,ef_construction=200,ef_search=10,codec=sq4,m=4}', '{strategy=gone}', '{m=1000000}', '{m=-5,ef_search=0}',
  '{codec=gone}', '{unheard_of=1}', '{m=}', '{}']) AS o;
-- RESET in two steps, as the hint says.
CREATE INDEX items_stored ON items USING tandem (v vector_l2_ops);
SELECT store('{strategy=hnsw_batch,m=16,ef_search=10}');
ALTER INDEX items_stored SET (strategy = 'flat');
ALTER INDEX items_stored RESET (m);
ALTER INDEX items_stored RESET (m, ef_search);
BEGIN;
ALTER INDEX items_stored RESET (strategy, m, ef_search);
ALTER INDEX items_stored SET (strategy = 'flat');
COMMIT;
SELECT options_of('items_stored'), check_items();
-- VACUUM, REINDEX and ANALYZE with a stored combination.
SELECT store('{strategy=flat,m=16}');
DELETE FROM items WHERE id % 3 = 0;
VACUUM ANALYZE items;
SELECT check_items();
REINDEX INDEX items_stored;
SELECT check_items();

-- The options are the access method's own: other methods do not know them.
CREATE INDEX ON items (id) WITH (strategy = 'flat');

SET client_min_messages = warning;
DROP SCHEMA options CASCADE;
