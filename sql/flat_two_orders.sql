-- ORDER BY with two distances to the same column: the planner gives both to one index scan.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS tandem;
RESET client_min_messages;
CREATE TABLE two_orders (id int, v vector(2));
INSERT INTO two_orders SELECT g, ARRAY[g % 5, g % 7]::vector FROM generate_series(1, 500) g;
INSERT INTO two_orders VALUES (501, NULL);
CREATE INDEX ON two_orders USING tandem (v vector_l2_ops);

SET enable_seqscan = off;
SET enable_sort = off;
EXPLAIN (COSTS OFF)
SELECT v FROM two_orders ORDER BY v <-> '[0,0]', v <-> '[-5,1]' LIMIT 5;
CREATE TEMP TABLE by_index AS
SELECT row_number() OVER () AS n, v FROM (SELECT v FROM two_orders ORDER BY v <-> '[0,0]', v <-> '[-5,1]') s;
RESET enable_seqscan;
RESET enable_sort;
SET enable_indexscan = off;
CREATE TEMP TABLE by_sort AS
SELECT row_number() OVER () AS n, v FROM (SELECT v FROM two_orders ORDER BY v <-> '[0,0]', v <-> '[-5,1]') s;

SELECT count(*) AS rows, count(*) FILTER (WHERE i.v IS DISTINCT FROM s.v) AS differences
FROM by_index i FULL JOIN by_sort s USING (n);

-- A first query that turns out to be NULL orders nothing: the second does.
RESET enable_indexscan;
SET enable_seqscan = off;
SET enable_sort = off;
SET plan_cache_mode = force_generic_plan;
PREPARE nearest(vector, vector) AS
SELECT id, v <-> $2 AS second FROM two_orders WHERE id <= 20 ORDER BY v <-> $1, v <-> $2 LIMIT 6;
EXPLAIN (COSTS OFF) EXECUTE nearest(NULL, '[3,3]');
EXECUTE nearest(NULL, '[3,3]');
EXECUTE nearest('[3,3]', NULL);
SELECT count(*) FROM (SELECT id FROM two_orders ORDER BY v <-> NULL::vector, v <-> NULL::vector) s;

DROP TABLE two_orders, by_index, by_sort;
