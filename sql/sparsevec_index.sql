SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS tandem;
CREATE SCHEMA sparsevec_index;
SET search_path = sparsevec_index, public;
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/include/index_checks.sql'
\set ECHO none
\i :helpers
\set ECHO all
-- Indexes of sparsevec: rows of any length, of more dimensions than graphs know. Distances of an index are those of the operators to
-- the last bit, which is what index_against_sort() compares.

-- A vector of at most so many elements, the same everywhere; half of its indices are among the first 50.
CREATE FUNCTION pseudo_sparse(seed int, elements int, dimensions int) RETURNS sparsevec LANGUAGE sql IMMUTABLE AS $$
  SELECT ('{' || coalesce(string_agg(i || ':' || v, ',' ORDER BY i), '') || '}/' || dimensions)::sparsevec
  FROM (SELECT 1 + (hashint4(seed * 16411 + e)::bigint + 2147483648) % CASE e % 2 WHEN 0 THEN least(50, dimensions) ELSE dimensions END AS i,
               max(hashint4(seed * 977 + e) % 200 / 8.0 + 0.0625) AS v
        FROM generate_series(1, elements) e GROUP BY 1) x
$$;

CREATE TABLE items (id int PRIMARY KEY, kind int, s sparsevec(30000));
INSERT INTO items SELECT i, i % 50, pseudo_sparse(i, i % 60, 30000) FROM generate_series(1, 1500) i;
CREATE INDEX items_l2 ON items USING tandem (s sparsevec_l2_ops);
CREATE INDEX items_ip ON items USING tandem (s sparsevec_ip_ops);
CREATE INDEX items_cosine ON items USING tandem (s sparsevec_cosine_ops);
CREATE INDEX items_l1 ON items USING tandem (s sparsevec_l1_ops);
CREATE INDEX ON items (kind);
INSERT INTO items SELECT i, i % 50, pseudo_sparse(i, i % 60, 30000) FROM generate_series(1501, 2000) i;
INSERT INTO items VALUES (3001, 1, NULL), (3002, 1, '{}/30000'), (3003, 49, '{30000:3.4e38}/30000'), (3004, 2, '{1:1e-45}/30000'), (3005, 2, pseudo_sparse(3005, 12000, 30000));
ANALYZE items;
SELECT index_against_sort('SELECT id, s <-> pseudo_sparse(7, 40, 30000) FROM items ORDER BY s <-> pseudo_sparse(7, 40, 30000)');
SELECT index_against_sort('SELECT id, s <#> pseudo_sparse(7, 40, 30000) FROM items ORDER BY s <#> pseudo_sparse(7, 40, 30000)');
SELECT index_against_sort('SELECT id, s <=> pseudo_sparse(7, 40, 30000) FROM items ORDER BY s <=> pseudo_sparse(7, 40, 30000)');
SELECT index_against_sort('SELECT id, s <+> pseudo_sparse(7, 40, 30000) FROM items ORDER BY s <+> pseudo_sparse(7, 40, 30000)');
SELECT index_against_sort('SELECT id, s <-> pseudo_sparse(7, 40, 30000) FROM items ORDER BY s <-> pseudo_sparse(7, 40, 30000) LIMIT 10', false);
-- queries without elements, and with the most that there can be
SELECT index_against_sort('SELECT id, s <-> ''{}/30000'' FROM items ORDER BY s <-> ''{}/30000''');
SELECT index_against_sort('SELECT id, s <=> ''{}/30000'' FROM items ORDER BY s <=> ''{}/30000''');
SELECT index_against_sort('SELECT id, s <-> pseudo_sparse(3005, 12000, 30000) FROM items ORDER BY s <-> pseudo_sparse(3005, 12000, 30000)');
SELECT filtered_against_sort('SELECT id, s <-> pseudo_sparse(9, 40, 30000) FROM items WHERE kind = 7 ORDER BY s <-> pseudo_sparse(9, 40, 30000)');

-- through graphs of sketches, with a tail
ALTER INDEX items_l2 SET (strategy = 'hnsw_batch');
ALTER INDEX items_ip SET (strategy = 'hnsw_batch');
ALTER INDEX items_cosine SET (strategy = 'hnsw_batch');
ALTER INDEX items_l1 SET (strategy = 'hnsw_batch');
CALL tandem_build('items_l2');
CALL tandem_build('items_ip');
CALL tandem_build('items_cosine');
CALL tandem_build('items_l1');
INSERT INTO items SELECT i, i % 50, pseudo_sparse(i, i % 60, 30000) FROM generate_series(4001, 4100) i;
SELECT graphs_against_sort('SELECT id, s <-> pseudo_sparse(7, 40, 30000) FROM items ORDER BY s <-> pseudo_sparse(7, 40, 30000)');
SELECT graphs_against_sort('SELECT id, s <#> pseudo_sparse(7, 40, 30000) FROM items ORDER BY s <#> pseudo_sparse(7, 40, 30000)');
SELECT graphs_against_sort('SELECT id, s <=> pseudo_sparse(7, 40, 30000) FROM items ORDER BY s <=> pseudo_sparse(7, 40, 30000)');
SELECT graphs_against_sort('SELECT id, s <+> pseudo_sparse(7, 40, 30000) FROM items ORDER BY s <+> pseudo_sparse(7, 40, 30000)');
SELECT filtered_against_sort('SELECT id, s <-> pseudo_sparse(9, 40, 30000) FROM items WHERE kind = 7 ORDER BY s <-> pseudo_sparse(9, 40, 30000)');
-- by walks: in relaxed order every row comes, once
SET tandem.iterative_scan = relaxed_order;
SET enable_seqscan = off;
SELECT count(*), count(DISTINCT id) FROM (SELECT id FROM items WHERE kind < 9 ORDER BY s <=> pseudo_sparse(9, 40, 30000)) x;
RESET enable_seqscan;
RESET tandem.iterative_scan;
DELETE FROM items WHERE id % 3 = 0;
VACUUM items;
SELECT graphs_against_sort('SELECT id, s <-> pseudo_sparse(7, 40, 30000) FROM items ORDER BY s <-> pseudo_sparse(7, 40, 30000)');
SELECT count(*) FROM (SELECT tandem_verify(c, true) FROM unnest('{items_l2,items_ip,items_cosine,items_l1}'::regclass[]) c) v;

-- What is near by sketch is a pool to choose from: all of it is re-ranked. (Where costs cannot be overruled, all rows are compared.)
CREATE FUNCTION re_ranked(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  plan json;
  rows int;
BEGIN
  PERFORM set_config('enable_seqscan', 'off', true), set_config('tandem.ef_search', '5', true);
  BEGIN
    PERFORM set_config('tandem.stop_points', 'always-graph=on', true);
  EXCEPTION WHEN OTHERS THEN
    RETURN NULL;
  END;
  EXECUTE 'EXPLAIN (ANALYZE, FORMAT JSON) ' || query INTO plan;
  PERFORM set_config('enable_seqscan', 'on', true), set_config('tandem.stop_points', '', true);
  rows := plan #>> '{0,Plan,Plans,0,Re-ranked Rows}';
  RETURN CASE WHEN rows >= 300 THEN 'all' WHEN rows < 150 THEN 'as needed' ELSE rows::text END;
END $$;
SELECT coalesce(re_ranked('SELECT id FROM items ORDER BY s <-> pseudo_sparse(7, 40, 30000) LIMIT 1'), 'all') = 'all' AS l2,
  coalesce(re_ranked('SELECT id FROM items ORDER BY s <#> pseudo_sparse(7, 40, 30000) LIMIT 1'), 'all') = 'all' AS ip,
  coalesce(re_ranked('SELECT id FROM items ORDER BY s <=> pseudo_sparse(7, 40, 30000) LIMIT 1'), 'all') = 'all' AS cosine;

-- few dimensions: graphs are of the vectors themselves, with every codec
CREATE TABLE narrow (id int, s sparsevec(64));
INSERT INTO narrow SELECT i, pseudo_sparse(i, 20, 64) FROM generate_series(1, 600) i;
CREATE INDEX narrow_s ON narrow USING tandem (s sparsevec_l2_ops) WITH (strategy = 'hnsw_inline', codec = 'sq4');
SELECT graphs_against_sort('SELECT id, s <-> pseudo_sparse(7, 20, 64) FROM narrow ORDER BY s <-> pseudo_sparse(7, 20, 64)');
ALTER INDEX narrow_s SET (codec = 'fp16');
REINDEX INDEX narrow_s;
SELECT codec FROM tandem_segments('narrow_s');
INSERT INTO narrow SELECT i, pseudo_sparse(i, 20, 64) FROM generate_series(601, 700) i;
SELECT graphs_against_sort('SELECT id, s <-> pseudo_sparse(7, 20, 64) FROM narrow ORDER BY s <-> pseudo_sparse(7, 20, 64)');

-- as many dimensions and elements as the type has: rows of a dozen pages, beside empty ones
CREATE TABLE long (id int, s sparsevec(1000000000));
INSERT INTO long SELECT i, CASE WHEN i % 3 = 0 THEN '{}/1000000000' WHEN i % 3 = 1 THEN pseudo_sparse(i, 3, 1000000000)
  ELSE ('{' || (SELECT string_agg(i + e * 62400 || ':' || e % 7 + 1, ',') FROM generate_series(0, 15999) e) || '}/1000000000')::sparsevec END FROM generate_series(1, 20) i;
CREATE INDEX long_s ON long USING tandem (s sparsevec_l1_ops) WITH (strategy = 'hnsw_batch');
INSERT INTO long SELECT id + 100, s FROM long;
SELECT max(l2_norm(s)) FROM long;
SELECT index_against_sort('SELECT id, s <+> pseudo_sparse(4, 3, 1000000000) FROM long ORDER BY s <+> pseudo_sparse(4, 3, 1000000000)');
SELECT dimensions, rows, vector_bytes BETWEEN 14 * 128000 AND 2 * 14 * 128000 AS elements FROM tandem_index_info('long_s');
SELECT count(*) FROM tandem_verify('long_s', true);
CALL tandem_build('long_s');
SELECT graphs_against_sort('SELECT id, s <+> pseudo_sparse(4, 3, 1000000000) FROM long ORDER BY s <+> pseudo_sparse(4, 3, 1000000000)');
SELECT count(*) FROM tandem_verify('long_s', true);
DROP TABLE long;

-- through updates, subtransactions that end badly, TRUNCATE, and an index of nothing
CREATE TABLE changed (id int, s sparsevec(5000));
CREATE INDEX changed_s ON changed USING tandem (s sparsevec_ip_ops) WITH (strategy = 'hnsw_inline');
SELECT index_against_sort('SELECT id, s <#> ''{1:1}/5000'' FROM changed ORDER BY s <#> ''{1:1}/5000''');
INSERT INTO changed SELECT i, pseudo_sparse(i, i % 100, 5000) FROM generate_series(1, 1200) i;
BEGIN;
UPDATE changed SET s = pseudo_sparse(id + 1, 30, 5000) WHERE id % 2 = 0;
SAVEPOINT before;
UPDATE changed SET s = pseudo_sparse(id + 2, 700, 5000) WHERE id % 5 = 0;
ROLLBACK TO before;
COMMIT;
SELECT index_against_sort('SELECT id, s <#> pseudo_sparse(5, 50, 5000) FROM changed ORDER BY s <#> pseudo_sparse(5, 50, 5000)');
VACUUM changed;
SELECT index_against_sort('SELECT id, s <#> pseudo_sparse(5, 50, 5000) FROM changed ORDER BY s <#> pseudo_sparse(5, 50, 5000)');
SELECT count(*) FROM tandem_verify('changed_s', true);
TRUNCATE changed;
INSERT INTO changed VALUES (1, '{2:1}/5000'), (2, '{2:2}/5000');
SELECT index_against_sort('SELECT id, s <#> ''{2:1}/5000'' FROM changed ORDER BY s <#> ''{2:1}/5000''');

-- expressions, prepared queries
CREATE TABLE dense (id int, v vector(6));
INSERT INTO dense SELECT i, pseudo_vector(i, 6) FROM generate_series(1, 300) i;
CREATE INDEX ON dense USING tandem ((v::sparsevec(6)) sparsevec_l2_ops);
SELECT index_against_sort('SELECT id, v::sparsevec(6) <-> ''{1:3,5:2}/6'' FROM dense ORDER BY v::sparsevec(6) <-> ''{1:3,5:2}/6''');
SET enable_seqscan = off;
PREPARE nearest(sparsevec) AS SELECT id FROM items ORDER BY s <-> $1 LIMIT 1;
EXECUTE nearest(pseudo_sparse(8, 8, 30000));
DEALLOCATE nearest;
SELECT plan('SELECT id FROM items WHERE kind = 8 ORDER BY s <=> ''{1:1}/30000'' LIMIT 5');
RESET enable_seqscan;

-- what is refused
CREATE TABLE refused (s sparsevec, v vector(3), t sparsevec(3));
CREATE INDEX ON refused USING tandem (s sparsevec_l2_ops);
CREATE INDEX ON refused USING tandem (t);
CREATE INDEX ON refused USING tandem (v sparsevec_l2_ops);
CREATE INDEX ON refused USING tandem (t vector_l2_ops);
CREATE INDEX ON refused USING tandem ((s::sparsevec(4)) sparsevec_cosine_ops);
INSERT INTO refused (s) VALUES ('{1:1}/5');
INSERT INTO items VALUES (9001, 1, '{1:1}/2');
INSERT INTO items SELECT 9002, 1, ('{' || string_agg(i || ':1', ',') || '}/30000')::sparsevec FROM generate_series(1, 16001) i;
SELECT count(*) FROM items WHERE id > 9000;
SET enable_seqscan = off;
SELECT id FROM items ORDER BY s <-> '{1:1}/2'::sparsevec LIMIT 1;
RESET enable_seqscan;
SELECT opcname, amvalidate(c.oid) FROM pg_opclass c JOIN pg_am a ON a.oid = opcmethod WHERE amname = 'tandem' AND opcname LIKE 'sparsevec%' ORDER BY 1;
DROP SCHEMA sparsevec_index CASCADE;
