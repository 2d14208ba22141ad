SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS tandem;
CREATE SCHEMA flat_plans;
RESET client_min_messages;
SET search_path = flat_plans, public;

\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/include/index_checks.sql'
\set ECHO none
\i :helpers
\set ECHO all

-- What the planner makes of the index: which plan it chooses where the choice is clear, and that whatever it
-- puts around the scan gets the right rows.

CREATE FUNCTION uses_index(query text, index text) RETURNS bool LANGUAGE sql AS $$
  SELECT bool_or(line LIKE '%Index Name: ' || index) FROM plan(query) AS line
$$;
SET max_parallel_workers_per_gather = 0;
CREATE TABLE items (id int PRIMARY KEY, category int, v vector(64));
INSERT INTO items SELECT i, i % 1000, pseudo_vector(i, 64) FROM generate_series(1, 10000) AS i;
CREATE INDEX items_category ON items (category);
CREATE INDEX items_l2 ON items USING tandem (v vector_l2_ops);
VACUUM ANALYZE items;
-- The query vector of all tests here, and the truth.
CREATE TEMP TABLE query AS SELECT pseudo_vector(-1, 64) AS v;
SET enable_indexscan = off;
CREATE TEMP TABLE nearest AS SELECT i.id, i.category, i.v <-> q.v AS distance, row_number() OVER (ORDER BY i.v <-> q.v, i.id) AS place
  FROM items AS i, query AS q;
RESET enable_indexscan;

-- The choice. Nearest rows of the whole table: the index, against a sequential scan and a sort.
SELECT uses_index('SELECT id FROM items ORDER BY v <-> pseudo_vector(-1, 64) LIMIT 10', 'items_l2');
SELECT uses_index('SELECT id FROM items ORDER BY v <-> (SELECT v FROM query) LIMIT 10', 'items_l2');
PREPARE top(vector, int) AS SELECT id FROM items ORDER BY v <-> $1 LIMIT $2;
SET plan_cache_mode = force_generic_plan;
EXPLAIN (COSTS OFF) EXECUTE top(NULL, 10);
-- A filter that leaves ten rows of ten thousand: those rows and a sort.
PREPARE filtered(vector, int) AS SELECT id FROM items WHERE category = $2 ORDER BY v <-> $1 LIMIT 10;
EXPLAIN (COSTS OFF) EXECUTE filtered(NULL, 7);
PREPARE by_key(vector, int) AS SELECT id FROM items WHERE id = $2 ORDER BY v <-> $1 LIMIT 10;
EXPLAIN (COSTS OFF) EXECUTE by_key(NULL, 7);
-- A filter that leaves nearly all: the index, and a look at each row.
PREPARE unselective(vector) AS SELECT id FROM items WHERE category >= 5 ORDER BY v <-> $1 LIMIT 10;
EXPLAIN (COSTS OFF) EXECUTE unselective(NULL);
-- Without an order by distance the index has nothing to offer.
EXPLAIN (COSTS OFF) SELECT * FROM items WHERE category >= 5;
EXPLAIN (COSTS OFF) SELECT v FROM items;
SELECT uses_index('SELECT count(*) FROM items', 'items_l2');
-- The cost of reading all vectors falls due before the first row.
CREATE FUNCTION startup_cost(query text) RETURNS float8 LANGUAGE plpgsql AS $$
DECLARE
  plan json;
BEGIN
  EXECUTE 'EXPLAIN (FORMAT JSON) ' || query INTO plan;
  RETURN plan->0->'Plan'->>'Startup Cost';
END $$;
CREATE TABLE tenth (v vector(64));
INSERT INTO tenth SELECT v FROM items WHERE id <= 1000;
CREATE INDEX ON tenth USING tandem (v vector_l2_ops);
ANALYZE tenth;
SET enable_seqscan = off;
SELECT startup_cost('SELECT id FROM items ORDER BY v <-> pseudo_vector(-1, 64) LIMIT 1')
     / startup_cost('SELECT FROM tenth ORDER BY v <-> pseudo_vector(-1, 64) LIMIT 1') BETWEEN 8 AND 12 AS grows_with_rows,
       startup_cost('SELECT id FROM items ORDER BY v <-> pseudo_vector(-1, 64) LIMIT 1')
     / startup_cost('SELECT id FROM items ORDER BY v <-> pseudo_vector(-1, 64) LIMIT 1000') BETWEEN 0.99 AND 1.01 AS not_with_limit;
RESET enable_seqscan;

-- The same answers as the sort gave, from generic and custom plans.
CREATE FUNCTION top_ids(query text, k int) RETURNS int[] LANGUAGE plpgsql AS $$
DECLARE
  ids int[];
BEGIN
  EXECUTE format('SELECT array_agg(id) FROM (%s) AS s', query) USING (SELECT v FROM query), k INTO ids;
  RETURN ids;
END $$;
CREATE FUNCTION truth(k int) RETURNS int[] LANGUAGE sql AS $$
  SELECT array_agg(id ORDER BY place) FROM nearest WHERE place <= k
$$;
SELECT k, top_ids('SELECT id FROM items ORDER BY v <-> $1 LIMIT $2', k) = truth(k) AS right_rows
FROM unnest(ARRAY[1, 10, 100, 1000, 5000]) AS k;
SET plan_cache_mode = force_custom_plan;
SELECT k, top_ids('SELECT id FROM items ORDER BY v <-> $1 LIMIT $2', k) = truth(k) AS right_rows
FROM unnest(ARRAY[1, 10, 100, 1000, 5000]) AS k;
RESET plan_cache_mode;
-- Filters, with the index forced, too: the answer does not depend on the plan.
SELECT top_ids('SELECT id FROM items WHERE category = 7 ORDER BY v <-> $1 LIMIT $2', 10)
     = ARRAY(SELECT id FROM nearest WHERE category = 7 ORDER BY place LIMIT 10) AS right_rows;
SET enable_bitmapscan = off;
SET enable_seqscan = off;
SET enable_sort = off;
DROP INDEX items_category;
SELECT uses_index('SELECT id FROM items WHERE category = 7 ORDER BY v <-> (SELECT v FROM query) LIMIT 10', 'items_l2');
SELECT top_ids('SELECT id FROM items WHERE category = 7 ORDER BY v <-> $1 LIMIT $2', 10)
     = ARRAY(SELECT id FROM nearest WHERE category = 7 ORDER BY place LIMIT 10) AS right_rows;
SELECT top_ids('SELECT id FROM items WHERE category = 7 AND v <-> $1 < 820 ORDER BY v <-> $1 LIMIT $2', 10)
     = ARRAY(SELECT id FROM nearest WHERE category = 7 AND distance < 820 ORDER BY place LIMIT 10) AS right_rows;
RESET enable_bitmapscan;
RESET enable_seqscan;
RESET enable_sort;
CREATE INDEX items_category ON items (category);

-- Small vectors from here on, where the plan's shape matters and not its cost.

CREATE TABLE points (id int PRIMARY KEY, category int, v vector(2));
INSERT INTO points SELECT i, i % 3, ARRAY[i % 10, i / 10]::vector FROM generate_series(0, 99) AS i;
CREATE INDEX points_l2 ON points USING tandem (v vector_l2_ops);
CREATE INDEX points_ip ON points USING tandem (v vector_ip_ops);
CREATE TABLE queries (id int, v vector(2));
INSERT INTO queries VALUES (1, '[0,0.1]'), (2, '[9.1,9]'), (3, NULL), (4, '[4.1,5.3]');
ANALYZE points, queries;
SET enable_seqscan = off;

-- A second sort key: newer servers sort what the index brings, older ones everything.
SELECT id FROM points ORDER BY v <-> '[4,5]', id LIMIT 5;
SELECT id FROM points ORDER BY v <-> '[4,5]', id DESC LIMIT 5;
-- Two distances.
SELECT id FROM points ORDER BY v <-> '[4,5]', v <#> '[1,0]', id LIMIT 5;
-- Descending, another operator, another expression: no.
SELECT plan($$SELECT id FROM points ORDER BY v <-> '[4,5]' DESC LIMIT 5$$);
SELECT plan($$SELECT id FROM points ORDER BY v <=> '[4,5]' LIMIT 5$$);
SELECT plan($$SELECT id FROM points ORDER BY (v <-> '[4,5]') + 1 LIMIT 5$$);
SELECT plan($$SELECT id FROM points ORDER BY -(v <#> '[4,5]') LIMIT 5$$);
SELECT plan($$SELECT id FROM points ORDER BY v <-> v LIMIT 5$$);
SELECT plan($$SELECT id FROM points ORDER BY v LIMIT 5$$);
SELECT id FROM points ORDER BY v <-> '[0,0]' DESC, id LIMIT 3;

-- Nested loops start the scan again with each query vector.
SELECT plan($$SELECT q.id, p.id FROM queries AS q,
  LATERAL (SELECT id FROM points ORDER BY points.v <-> q.v LIMIT 3) AS p$$);
SELECT q.id, p.id FROM queries AS q,
  LATERAL (SELECT id FROM points ORDER BY points.v <-> q.v LIMIT 3) AS p WHERE q.v IS NOT NULL ORDER BY q.id, p.id;
SELECT q.id, count(p.id) FROM queries AS q LEFT JOIN
  LATERAL (SELECT id FROM points ORDER BY points.v <-> q.v LIMIT 200) AS p ON true GROUP BY q.id ORDER BY q.id;
SELECT q.id, (SELECT id FROM points ORDER BY points.v <-> q.v LIMIT 1) AS nearest FROM queries AS q WHERE q.v IS NOT NULL ORDER BY q.id;
-- The filter's value from outside.
SELECT q.id, p.id FROM queries AS q,
  LATERAL (SELECT id FROM points WHERE category = q.id % 3 ORDER BY points.v <-> q.v LIMIT 2) AS p WHERE q.v IS NOT NULL ORDER BY q.id, p.id;
-- A scan that is started again before it has ended.
SELECT count(*), sum(n) FROM generate_series(1, 50) AS i,
  LATERAL (SELECT count(*) AS n FROM (SELECT id FROM points ORDER BY v <-> ARRAY[i % 7, 0]::vector LIMIT i) AS s) AS t;

-- Subqueries, common table expressions, set operations, windows, DISTINCT ON, grouping.
WITH best AS MATERIALIZED (SELECT id, v FROM points ORDER BY v <-> '[0,0.1]' LIMIT 5)
  SELECT id FROM best WHERE id > 0 ORDER BY v <-> '[9,9.1]' LIMIT 2;
SELECT id FROM points WHERE id IN (SELECT id FROM points ORDER BY v <-> '[9,9.1]' LIMIT 3) ORDER BY id;
SELECT id FROM points WHERE v <-> '[0,0]' <= (SELECT v <-> '[0,0]' FROM points ORDER BY v <-> '[0,0]' OFFSET 2 LIMIT 1) ORDER BY id;
(SELECT id FROM points ORDER BY v <-> '[0,0.1]' LIMIT 2) UNION ALL (SELECT id FROM points ORDER BY v <-> '[9,9.1]' LIMIT 2);
SELECT id, side FROM (SELECT id, v, 'a' AS side FROM points UNION ALL SELECT id, v, 'b' FROM points) AS both_sides
  ORDER BY v <-> '[0.1,0.3]', side LIMIT 4;
SELECT id, row_number() OVER (ORDER BY v <-> '[0.1,0.3]') FROM points ORDER BY v <-> '[0.1,0.3]' LIMIT 3;
SELECT DISTINCT ON (v <-> '[0,0]') id FROM points WHERE id IN (0, 1, 2, 3) ORDER BY v <-> '[0,0]' LIMIT 3;
SELECT category, count(*) FROM (SELECT category FROM points ORDER BY v <-> '[4,5]' LIMIT 30) AS s GROUP BY category ORDER BY 1;
SELECT p.id, q.id FROM points AS p JOIN queries AS q ON p.category = q.id ORDER BY p.v <-> '[0.1,0.3]', q.id LIMIT 4;
SELECT max(d) FROM (SELECT v <-> '[0,0]' AS d FROM points ORDER BY v <-> '[0,0]' LIMIT 10) AS s;

-- Writing through an ordered scan.
BEGIN;
UPDATE points SET category = 9 WHERE id IN (SELECT id FROM points ORDER BY v <-> '[9,9.1]' LIMIT 2);
DELETE FROM points USING (SELECT id FROM points ORDER BY v <-> '[0,0.1]' LIMIT 2) AS near WHERE points.id = near.id;
INSERT INTO points SELECT id + 1000, 8, v FROM points ORDER BY v <-> '[5,5.1]' LIMIT 2;
SELECT id, category FROM points WHERE category > 7 ORDER BY id;
SELECT id FROM points ORDER BY v <-> '[0,0.1]' LIMIT 2;
SELECT id FROM points ORDER BY v <-> '[5.1,5]' LIMIT 2 FOR UPDATE;
ROLLBACK;

-- Views, also of the kind that keeps secrets; row security.
CREATE VIEW plain_view AS SELECT id, v FROM points WHERE category = 1;
CREATE VIEW barrier_view WITH (security_barrier) AS SELECT id, v FROM points WHERE category = 1;
EXPLAIN (COSTS OFF) SELECT id FROM plain_view ORDER BY v <-> '[4,5]' LIMIT 3;
SELECT plan($$SELECT id FROM barrier_view ORDER BY v <-> '[4,5]' LIMIT 3$$);
SELECT id FROM plain_view ORDER BY v <-> '[4,5.1]' LIMIT 3;
SELECT id FROM barrier_view ORDER BY v <-> '[4,5.1]' LIMIT 3;
CREATE ROLE regress_tandem_reader;
GRANT USAGE ON SCHEMA flat_plans TO regress_tandem_reader;
GRANT SELECT ON points TO regress_tandem_reader;
ALTER TABLE points ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_category ON points TO regress_tandem_reader USING (category = 2);
CREATE FUNCTION tell(id int) RETURNS bool LANGUAGE plpgsql COST 0.0001 AS $$
BEGIN
  RAISE NOTICE 'saw %', id;
  RETURN true;
END $$;
SET ROLE regress_tandem_reader;
EXPLAIN (COSTS OFF) SELECT id FROM points ORDER BY v <-> '[4,5]' LIMIT 3;
SELECT id FROM points ORDER BY v <-> '[4,5.1]' LIMIT 3;
-- A function of the reader's sees only rows that the policy lets through.
SELECT id FROM points WHERE tell(id) ORDER BY v <-> '[4,5.1]' LIMIT 2;
RESET ROLE;
ALTER TABLE points DISABLE ROW LEVEL SECURITY;

-- Inheritance.
CREATE TABLE child (extra int) INHERITS (points);
CREATE INDEX child_l2 ON child USING tandem (v vector_l2_ops);
INSERT INTO child SELECT i + 2000, 1, ARRAY[i + 0.5, 0.25]::vector, 0 FROM generate_series(0, 9) AS i;
EXPLAIN (COSTS OFF) SELECT id FROM points ORDER BY v <-> '[4,0]' LIMIT 3;
SELECT id FROM points ORDER BY v <-> '[4.1,0]' LIMIT 4;
SELECT id FROM ONLY points ORDER BY v <-> '[4.1,0]' LIMIT 2;
DROP TABLE child;

-- A parallel plan around the scan, which is not parallel itself.
SET max_parallel_workers_per_gather = 2;
SELECT set_config(name, 'on', false) FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query') \g /dev/null
SELECT id FROM points ORDER BY v <-> '[4,5.1]' LIMIT 3;
SELECT id FROM items ORDER BY v <-> (SELECT v FROM query) LIMIT 3 \g /dev/null
SELECT set_config(name, 'off', false) FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query') \g /dev/null
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SELECT count(*) FROM (SELECT id FROM items WHERE category < 500 ORDER BY v <-> pseudo_vector(-1, 64) LIMIT 5000) AS s;
RESET max_parallel_workers_per_gather;

DROP OWNED BY regress_tandem_reader;
DROP ROLE regress_tandem_reader;

SET client_min_messages = warning;
DROP SCHEMA flat_plans CASCADE;
