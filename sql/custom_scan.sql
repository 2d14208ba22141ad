SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS tandem;
CREATE SCHEMA custom_scan;
SET search_path = custom_scan, public;

\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/include/index_checks.sql'
\set ECHO none
\i :helpers
\set ECHO all

-- Tandem Scans: the distance that the index computed takes the place of the expression wherever a query has it.
-- Seen to fail with: the distance of the row before, the distance not recomputed for rows that were locked, -0 not told from 0, scans in workers
-- whose order depends on the row of another table (which ended the server).
SET enable_seqscan = off;
SET enable_sort = off;
CREATE TABLE items (id int PRIMARY KEY, kind int, v vector(3)) WITH (autovacuum_enabled = off);
INSERT INTO items SELECT i, i % 7, pseudo_vector(i, 3) FROM generate_series(1, 500) AS i;
INSERT INTO items VALUES (501, 1, NULL), (502, 2, '[0,0,0]');
CREATE INDEX items_l2 ON items USING tandem (v vector_l2_ops);
CREATE INDEX items_ip ON items USING tandem (v vector_ip_ops);

EXPLAIN (COSTS OFF, VERBOSE) SELECT id, 1 - (v <-> '[1,2,3]') AS score FROM items WHERE kind = 3 ORDER BY v <-> '[1,2,3]' LIMIT 5;
CREATE FUNCTION plan_as_json(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  plan json;
BEGIN
  EXECUTE 'EXPLAIN (COSTS OFF, FORMAT JSON) ' || query INTO plan;
  RETURN regexp_replace(plan::text, '\n *"Disabled": false,', '');
END $$;
SELECT plan_as_json('SELECT id FROM items ORDER BY v <-> ''[1,2,3]''');

-- Against a sort, through the node and through an index scan.
SELECT index_against_sort(query) FROM (VALUES
  ('SELECT id, v <-> ''[1,2,3]'' FROM items ORDER BY v <-> ''[1,2,3]'''),
  ('SELECT id, ''[1,2,3]'' <-> v FROM items ORDER BY v <-> ''[1,2,3]'''),
  ('SELECT id, v <-> ''[1,2,3]'' FROM items ORDER BY ''[1,2,3]'' <-> v'),
  ('SELECT id, v <#> ''[0,0,0]'' FROM items ORDER BY v <#> ''[0,0,0]'''),
  ('SELECT id, v <#> ''[0,1,0]'' FROM items ORDER BY v <#> ''[0,1,0]'''),
  ('SELECT id, CASE (v <-> ''[1,2,3]'') WHEN 0 THEN 0 ELSE CASE WHEN kind = 1 THEN v <-> ''[1,2,3]'' ELSE -(v <-> ''[1,2,3]'') END END FROM items ORDER BY v <-> ''[1,2,3]'''),
  ('SELECT id, coalesce(v <-> ''[1,2,3]'', -1) + greatest(v <-> ''[1,2,3]'', 5) FROM items ORDER BY v <-> ''[1,2,3]'''),
  ('SELECT id, v <-> ''[3,2,1]'' FROM items ORDER BY v <-> ''[1,2,3]'''),
  ('SELECT id, v <-> ''[1,2,3]'' FROM items WHERE v <-> ''[1,2,3]'' < 40 ORDER BY v <-> ''[1,2,3]'''),
  ('SELECT id, v <-> ''[1,2,3]'' FROM items WHERE v <-> ''[1,2,3]'' IS NULL ORDER BY v <-> ''[1,2,3]'''),
  ('SELECT id, v <-> ''[1,2,3]'' FROM items WHERE (v <-> ''[1,2,3]'')::int % 2 = 0 AND kind IN (2, 3) ORDER BY v <-> ''[1,2,3]'' LIMIT 20'),
  ('SELECT id + (ctid IS NULL)::int + (tableoid <> ''items''::regclass)::int, v <-> ''[1,2,3]'' FROM items ORDER BY v <-> ''[1,2,3]''')
) AS q(query);

-- A query whose value does not last longer than a row, if nobody keeps it.
CREATE FUNCTION passing(v vector) RETURNS vector LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN (v + v) - v; END $$;
SELECT index_against_sort('SELECT id, v <-> passing(''[1,2,3]'') FROM items WHERE kind > 1 AND repeat(''x'', id) <> '''' ORDER BY v <-> passing(''[1,2,3]'')');

-- Whole rows and system columns.
SELECT i, i.ctid = (SELECT ctid FROM items WHERE id = i.id) AS same, tableoid::regclass FROM items AS i ORDER BY v <-> '[0,0,0]' LIMIT 1;

-- Each rescan has its own query, also none, and distances of its own.
EXPLAIN (COSTS OFF) SELECT q.id, n.id, n.d FROM items AS q, LATERAL (SELECT id, v <-> q.v AS d FROM items ORDER BY v <-> q.v LIMIT 2) AS n WHERE q.id IN (1, 2, 501);
SELECT q.id, count(*), bool_and(n.d IS NOT DISTINCT FROM n.v <-> q.v) AS right,
  min(n.d) AS nearest FROM items AS q, LATERAL (SELECT v, v <-> q.v AS d FROM items ORDER BY v <-> q.v LIMIT 3) AS n
  WHERE q.id IN (1, 2, 501, 3) GROUP BY q.id ORDER BY q.id;

-- A condition that bounds the distance ends the scan. In relaxed order nothing tells that no nearer row will come.
-- Seen to fail with: a scan that ends at a row which is just near enough; a bound kept although its value has changed.
SELECT condition, index_against_sort('SELECT id, v <-> ''[1,2,3]'' FROM items WHERE ' || condition || ' ORDER BY v <-> ''[1,2,3]''') FROM (VALUES
  ('v <-> ''[1,2,3]'' < 40'), ('40 >= v <-> ''[1,2,3]'''), ('''[1,2,3]'' <-> v < 40'), ('v <-> ''[1,2,3]'' > 10 AND v <-> ''[1,2,3]'' < 40 AND v <-> ''[1,2,3]'' <= 30'),
  ('v <-> ''[1,2,3]'' <= (SELECT v <-> ''[1,2,3]'' FROM items WHERE id = 7)'), ('v <-> ''[1,2,3]'' < (SELECT v <-> ''[1,2,3]'' FROM items WHERE id = 7)'),
  ('v <-> ''[1,2,3]'' < (SELECT NULL::float8)'), ('v <-> ''[1,2,3]'' < ''NaN'''), ('v <-> ''[1,2,3]'' <= ''infinity'''), ('v <-> ''[1,2,3]'' < -1'), ('v <-> ''[1,2,3]'' < kind * 10'),
  ('(v <-> ''[1,2,3]'' < 10 OR v <-> ''[1,2,3]'' > 40)'), ('v <-> ''[3,2,1]'' < 40')) AS c(condition);
CREATE FUNCTION looked_at(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  plan json;
BEGIN
  EXECUTE 'EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, FORMAT JSON) ' || query INTO plan;
  plan := plan -> 0 -> 'Plan';
  RETURN format('%s, %s rows, %s removed', plan ->> 'Custom Plan Provider', (plan ->> 'Actual Rows')::numeric::int, plan ->> 'Rows Removed by Filter');
END $$;
SELECT looked_at('SELECT id FROM items WHERE v <-> ''[1,2,3]'' < 40 ORDER BY v <-> ''[1,2,3]''');
SELECT looked_at('SELECT id FROM items WHERE v <-> ''[1,2,3]'' < 40 AND kind <> 3 ORDER BY v <-> ''[1,2,3]''');
SET tandem.iterative_scan = relaxed_order;
SELECT looked_at('SELECT id FROM items WHERE v <-> ''[1,2,3]'' < 40 ORDER BY v <-> ''[1,2,3]''');
RESET tandem.iterative_scan;
SELECT q.id, n.count, (SELECT count(*) FROM items AS i WHERE i.v <-> q.v < q.kind * 10) FROM items AS q,
  LATERAL (SELECT count(*) FROM (SELECT id FROM items WHERE v <-> q.v < q.kind * 10 ORDER BY v <-> q.v OFFSET 0) AS s) AS n WHERE q.id IN (1, 2, 5, 7, 501, 502) ORDER BY q.id;

-- From 18 on EXPLAIN ANALYZE counts searches of our indexes as of all others; before it does of none.
CREATE FUNCTION counts_searches(expected int, query text) RETURNS bool LANGUAGE plpgsql AS $$
DECLARE
  plan json;
BEGIN
  EXECUTE 'EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, FORMAT JSON) ' || query INTO plan;
  RETURN (regexp_match(plan::text, '"Index Name": "items_.*"Index Searches": (\d+)'))[1]::int
    IS NOT DISTINCT FROM CASE WHEN current_setting('server_version_num')::int >= 180000 THEN expected END;
END $$;
SELECT counts_searches(1, 'SELECT id FROM items ORDER BY v <-> ''[1,2,3]'' LIMIT 3');
SELECT counts_searches(2, 'SELECT q.v, n.id FROM (VALUES (vector ''[0,0,0]''), (''[1,1,1]'')) q(v), LATERAL (SELECT id FROM items ORDER BY items.v <-> q.v LIMIT 1) n');

-- Prepared, with a plan that knows no value.
SET plan_cache_mode = force_generic_plan;
PREPARE nearest(vector, float8) AS SELECT id, v <-> $1 AS d FROM items WHERE v <-> $1 < $2 ORDER BY v <-> $1 LIMIT 3;
EXPLAIN (COSTS OFF) EXECUTE nearest('[1,2,3]', 1e9);
SELECT count(*) FROM items;
EXECUTE nearest('[0,0,0]', 1e9);
EXECUTE nearest('[0,0,0]', 1);
EXECUTE nearest(NULL, 1);
EXECUTE nearest('[1,2]', 1);
RESET plan_cache_mode;

-- Cursors, there and back; rows that a cursor stands on.
BEGIN;
DECLARE there SCROLL CURSOR FOR SELECT id, v <-> '[0,0,0]' AS d FROM items ORDER BY v <-> '[0,0,0]';
FETCH 2 FROM there;
FETCH PRIOR FROM there;
CLOSE there;
DECLARE standing CURSOR FOR SELECT id FROM items ORDER BY v <-> '[0,0,0]';
FETCH 1 FROM standing;
UPDATE items SET kind = 100 WHERE CURRENT OF standing RETURNING id;
ROLLBACK;

-- Where workers may run, and with compiled expressions.
DO $$ BEGIN
  PERFORM set_config(name, 'regress', false) FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query');
END $$;
SET jit = on; SET jit_above_cost = 0; SET jit_inline_above_cost = 0; SET jit_optimize_above_cost = 0;
SELECT id, v <-> '[0,0,0]' AS d FROM items WHERE v <-> '[0,0,0]' < 1 ORDER BY v <-> '[0,0,0]' LIMIT 2;
SELECT index_against_sort('SELECT id, v <-> ''[1,2,3]'' FROM items WHERE v <-> ''[1,2,3]'' < 40 ORDER BY v <-> ''[1,2,3]''');
RESET jit; RESET jit_above_cost; RESET jit_inline_above_cost; RESET jit_optimize_above_cost;
DO $$ BEGIN
  PERFORM set_config(name, 'off', false) FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query');
END $$;

-- Workers are not told the row of another table: neither our scan nor the server's runs in them, where the order depends on it. The
-- conditions make workers cheap beside what is switched off.
CREATE TABLE one (id int, kind int, v vector(3));
CREATE TABLE another () INHERITS (one);
INSERT INTO one SELECT i, i % 7, pseudo_vector(i, 3) FROM generate_series(1, 2000) AS i;
INSERT INTO another SELECT i, i % 7, pseudo_vector(i, 3) FROM generate_series(2001, 4000) AS i;
CREATE INDEX ON one USING tandem (v vector_l2_ops);
CREATE INDEX ON another USING tandem (v vector_l2_ops);
CREATE TABLE asked AS SELECT i AS n, pseudo_vector(i * 750, 3) AS query FROM generate_series(1, 4) AS i;
ANALYZE one, another, asked;
CREATE FUNCTION beside_each_row() RETURNS TABLE (line text) LANGUAGE plpgsql AS $$
DECLARE
  query text := 'SELECT n || '': '' || id FROM asked, LATERAL (SELECT id FROM one WHERE kind IN (SELECT n FROM asked WHERE n > 2)
    OR id < 3800 OR kind IN (SELECT n FROM asked WHERE n > 1) ORDER BY v <-> query LIMIT 1) AS nearest';
BEGIN
  FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP
    line := ltrim(line, ' ->');
    IF line ~ 'Gather|Scan .* on (one|another)' THEN RETURN NEXT; END IF;
  END LOOP;
  RETURN QUERY EXECUTE query;
END $$;
SELECT * FROM beside_each_row();
SET tandem.enable_custom_scan = off;
SELECT * FROM beside_each_row();
RESET tandem.enable_custom_scan;

-- Vectors out of line are not fetched for it.
CREATE TABLE wide (id int, v vector(1000));
ALTER TABLE wide ALTER v SET STORAGE external;
INSERT INTO wide SELECT i, pseudo_vector(i, 1000) FROM generate_series(1, 50) AS i;
CREATE INDEX wide_l2 ON wide USING tandem (v vector_l2_ops);
-- Look-ups in the TOAST table's index, also those of this session that are not reported yet.
CREATE FUNCTION toast_reads() RETURNS bigint LANGUAGE sql AS $$
  SELECT pg_stat_get_xact_numscans(indexrelid) FROM pg_index WHERE indrelid = (SELECT reltoastrelid FROM pg_class WHERE oid = 'wide'::regclass)
$$;
SELECT pseudo_vector(99, 1000) AS query \gset
\set ECHO none
BEGIN;
SELECT toast_reads() AS before \gset
SELECT count(d) FROM (SELECT v <-> :'query' AS d FROM wide WHERE v <-> :'query' > 0 ORDER BY v <-> :'query' LIMIT 10) AS s;
SELECT toast_reads() - :before AS reads;
SET LOCAL tandem.enable_custom_scan = off;
SELECT count(d) FROM (SELECT v <-> :'query' AS d FROM wide WHERE v <-> :'query' > 0 ORDER BY v <-> :'query' LIMIT 10) AS s;
SELECT toast_reads() - :before AS reads;
ROLLBACK;
\set ECHO all

-- Row security: what is forbidden is not shown to the user's condition.
CREATE ROLE tandem_custom_scan_user;
GRANT USAGE ON SCHEMA custom_scan TO tandem_custom_scan_user;
GRANT SELECT ON items TO tandem_custom_scan_user;
CREATE FUNCTION peek(id int, d float8) RETURNS bool LANGUAGE plpgsql COST 0.0001 AS $$
BEGIN
  IF id % 2 = 1 THEN RAISE 'saw % at %', id, d; END IF;
  RETURN true;
END $$;
ALTER TABLE items ENABLE ROW LEVEL SECURITY;
CREATE POLICY even ON items FOR SELECT USING (id % 2 = 0);
SET ROLE tandem_custom_scan_user;
EXPLAIN (COSTS OFF) SELECT id FROM items WHERE peek(id, v <-> '[0,0,0]') ORDER BY v <-> '[0,0,0]' LIMIT 2;
SELECT id FROM items WHERE peek(id, v <-> '[0,0,0]') ORDER BY v <-> '[0,0,0]' LIMIT 2;
RESET ROLE;
-- Nor to a function in an indexed expression, whatever distances there are: equal to the query's, or none.
CREATE FUNCTION shown(v vector) RETURNS vector LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RAISE WARNING 'saw %', v; RETURN v; END $$;
CREATE TABLE secrets (id int, v vector(2));
INSERT INTO secrets VALUES (1, '[1,1]'), (2, '[3,4]'), (3, '[7,8]');
SET client_min_messages = error;
CREATE INDEX ON secrets USING tandem ((shown(v)::vector(2)) vector_cosine_ops);
CREATE INDEX ON secrets USING tandem ((shown(v)::vector(2)) vector_l2_ops);
ALTER TABLE secrets ENABLE ROW LEVEL SECURITY;
CREATE POLICY even ON secrets FOR SELECT USING (id % 2 = 0);
GRANT SELECT ON secrets TO tandem_custom_scan_user;
SET ROLE tandem_custom_scan_user;
SET client_min_messages = warning;
EXPLAIN (COSTS OFF) SELECT id FROM secrets ORDER BY shown(v)::vector(2) <=> '[0,0]';
SELECT id FROM secrets ORDER BY shown(v)::vector(2) <=> '[0,0]';
SELECT id FROM secrets ORDER BY shown(v)::vector(2) <-> '[7,8]';
RESET ROLE;

RESET enable_seqscan;
RESET enable_sort;
DROP SCHEMA custom_scan CASCADE;
DROP ROLE tandem_custom_scan_user;
