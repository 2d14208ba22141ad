-- Planner support: the cost of a distance grows with the dimensions and includes fetching values stored out of line.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS tandem;
RESET client_min_messages;

-- per-row cost of the filter, in units of cpu_operator_cost, against the same scan with one plain comparison
CREATE FUNCTION call_units(relation text, condition text) RETURNS int LANGUAGE plpgsql AS $$
DECLARE with_call json; plain json;
BEGIN
  EXECUTE format('EXPLAIN (FORMAT json) SELECT FROM %s WHERE %s < 0', relation, condition) INTO with_call;
  EXECUTE format('EXPLAIN (FORMAT json) SELECT FROM %s WHERE id < 0', relation) INTO plain;
  RETURN round(((with_call->0->'Plan'->>'Total Cost')::numeric - (plain->0->'Plan'->>'Total Cost')::numeric)
               / current_setting('cpu_operator_cost')::numeric / 1000);
END $$;
SET max_parallel_workers_per_gather = 0;
CREATE TABLE vector_cost_16 (id int, v vector(16));
CREATE TABLE vector_cost_384 (id int, v vector(384));
CREATE TABLE vector_cost_1536 (id int, v vector(1536));
CREATE TABLE vector_cost_any (id int, v vector, short vector);
INSERT INTO vector_cost_16 SELECT i, array_fill(i, ARRAY[16]) FROM generate_series(1, 1000) i;
INSERT INTO vector_cost_384 SELECT i, array_fill(i, ARRAY[384]) FROM generate_series(1, 1000) i;
INSERT INTO vector_cost_1536 SELECT i, array_fill(i, ARRAY[1536]) FROM generate_series(1, 1000) i;
INSERT INTO vector_cost_any SELECT i, array_fill(i, ARRAY[1536])::vector, array_fill(i, ARRAY[3])::vector FROM generate_series(1, 1000) i;
VACUUM ANALYZE vector_cost_16, vector_cost_384, vector_cost_1536, vector_cost_any;

-- Each is what the constants of the support function give: 5 for the call, 0.1 a dimension; out of line 280 for the
-- fetch and 70 for each of 4 chunks (6,148 bytes), for each argument that is a column.
SELECT call_units('vector_cost_16', 'v <-> NULLIF(v, v)') - call_units('vector_cost_16', 'vector_cmp(v, NULLIF(v, v))') AS units_16;
SELECT op, call_units('vector_cost_16', 'v ' || op || ' ''[1]''') units_16, call_units('vector_cost_384', 'v ' || op || ' ''[1]''') units_384,
       call_units('vector_cost_1536', 'v ' || op || ' ''[1]''') units_1536
FROM unnest(ARRAY['<->', '<#>', '<=>', '<+>']) op;
SELECT f, call_units('vector_cost_1536', f || '(v, ''[1]'')') units_1536
FROM unnest(ARRAY['l2_distance', 'inner_product', 'cosine_distance', 'l1_distance', 'vector_l2_squared_distance',
                  'vector_negative_inner_product', 'vector_spherical_distance']) f;
SELECT call_units('vector_cost_1536', 'v <-> v') both_columns, call_units('vector_cost_1536', '''[1]''::vector <-> v') second_column;
-- without a declared number of dimensions the statistics tell
SELECT call_units('vector_cost_any', 'v <-> ''[1]''') wide, call_units('vector_cost_any', 'short <-> ''[1]''') short;
-- values kept in line cost no fetch
ALTER TABLE vector_cost_1536 ALTER v SET STORAGE plain;
CREATE TABLE vector_cost_plain (LIKE vector_cost_1536 INCLUDING STORAGE);
INSERT INTO vector_cost_plain SELECT id, v FROM vector_cost_1536;
VACUUM ANALYZE vector_cost_plain;
SELECT call_units('vector_cost_plain', 'v <-> ''[1]''') in_line;
-- no statistics: what an otherwise narrow row does
CREATE TABLE vector_cost_new (id int, v vector(1536), w vector(100), n vector);
INSERT INTO vector_cost_new SELECT i FROM generate_series(1, 1000) i;
VACUUM vector_cost_new;
SELECT call_units('vector_cost_new', 'v <-> ''[1]''') v, call_units('vector_cost_new', 'w <-> ''[1]''') w,
       call_units('vector_cost_new', 'n <-> NULLIF(n, n)') - call_units('vector_cost_new', 'vector_cmp(n, NULLIF(n, n))') n;
RESET max_parallel_workers_per_gather;
-- the plan that this is for: an index on the filter, instead of computing every distance first
CREATE INDEX ON vector_cost_1536 (id);
EXPLAIN (COSTS OFF) SELECT id FROM vector_cost_1536 WHERE v <-> '[1]' < 5 AND id < 100;
-- odd places for a call
SELECT count(*) FROM vector_cost_16 a JOIN vector_cost_16 b ON a.v <-> b.v < -1;
SELECT count(*) FROM (SELECT v || '[1]' w FROM vector_cost_16) t WHERE w <-> NULL < 0;
SELECT (SELECT count(*) FROM vector_cost_16 b WHERE b.v <-> a.v = 0) FROM vector_cost_16 a WHERE id < 3;
SELECT '[1]'::vector <-> '[2]', max(v <-> v), count(*) FILTER (WHERE v <=> v < 1) FROM vector_cost_16 HAVING max(v <+> v) = 0;
DROP TABLE vector_cost_16, vector_cost_384, vector_cost_1536, vector_cost_any, vector_cost_plain, vector_cost_new;
DROP FUNCTION call_units;
