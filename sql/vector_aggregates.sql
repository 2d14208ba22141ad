-- Aggregates of vectors and their support functions.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS tandem;
RESET client_min_messages;

SELECT avg(v), sum(v) FROM unnest(ARRAY['[1,2,3]'::vector, '[3,5,7]']) v;
SELECT avg(v), sum(v) FROM unnest(ARRAY['[1,2,3]'::vector, NULL, '[3,5,7]', NULL]) v;
SELECT avg(v), sum(v) FROM unnest(ARRAY['[-0,1e-45]'::vector]) v;
SELECT avg(v), sum(v) FROM unnest(ARRAY[]::vector[]) v;
SELECT avg(v), sum(v) FROM unnest(ARRAY[NULL, NULL]::vector[]) v;
SELECT avg(v) FROM unnest(ARRAY['[1,2]'::vector, '[3]']) v;
SELECT sum(v) FROM unnest(ARRAY['[1,2]'::vector, '[3]']) v;
-- sums of avg are double precision, those of sum are not
SELECT avg(v) FROM unnest(ARRAY['[3e38]'::vector, '[3e38]']) v;
SELECT sum(v) FROM unnest(ARRAY['[3e38]'::vector, '[3e38]']) v;
SELECT avg(v), sum(v) FROM unnest(ARRAY['[1e30]'::vector, '[1]', '[-1e30]']) v;

-- groups, DISTINCT, FILTER, windows: no state leaks into another
CREATE TABLE vector_rows AS
  SELECT g, ARRAY[g, i, -i]::vector v, i FROM generate_series(1, 3) g, generate_series(1, 4) i;
SELECT g, avg(v), sum(v), avg(DISTINCT v) FILTER (WHERE i < 3) FROM vector_rows GROUP BY g ORDER BY g;
SELECT g, i, avg(v) OVER w, sum(v) OVER w FROM vector_rows
WINDOW w AS (PARTITION BY g ORDER BY i ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) ORDER BY g, i;
SELECT g, i, avg(v) OVER (ORDER BY g, i), sum(v) OVER (ORDER BY g, i) FROM vector_rows ORDER BY g, i;
SELECT avg(v) a, avg(v) b, avg(v + v) c FROM vector_rows;
SELECT g, avg(v), sum(v) FROM vector_rows GROUP BY ROLLUP (g) ORDER BY g;
DROP TABLE vector_rows;

-- wide values, stored out of line
CREATE TABLE vector_wide AS SELECT i, array_fill(i, ARRAY[16000])::vector v FROM generate_series(1, 5) i;
SELECT avg(v) = array_fill(3, ARRAY[16000])::vector, sum(v) = array_fill(15, ARRAY[16000])::vector FROM vector_wide;
DROP TABLE vector_wide;

-- parallel plan gives the same; all sums are exact in single precision, so that their order does not matter
CREATE TABLE vector_many AS SELECT i, ARRAY[i, i % 7, 1]::vector v FROM generate_series(1, 5000) i;
ALTER TABLE vector_many SET (parallel_workers = 2);
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
EXPLAIN (COSTS OFF) SELECT avg(v), sum(v) FROM vector_many;
SELECT avg(v), sum(v) FROM vector_many;
SELECT i % 2 odd, avg(v), sum(v) FROM vector_many WHERE i < 2000 GROUP BY 1 ORDER BY 1;
SET max_parallel_workers_per_gather = 0;
SELECT avg(v), sum(v) FROM vector_many;
RESET max_parallel_workers_per_gather;
RESET parallel_setup_cost;
RESET parallel_tuple_cost;
RESET min_parallel_table_scan_size;
DROP TABLE vector_many;

-- support functions called directly
SELECT vector_accum('{0}', '[1,2,3]');
SELECT vector_accum('{1,10,20,30}', '[1,2,3]');
-- an argument that lies in a shared buffer is not written to
CREATE TABLE vector_state AS SELECT array_fill(1::float8, ARRAY[41]) s, array_fill(1, ARRAY[40])::vector v;
SELECT vector_accum(s, v) = array_fill(2::float8, ARRAY[41]), vector_combine(s, s) = array_fill(2::float8, ARRAY[41]) FROM vector_state;
SELECT s = array_fill(1::float8, ARRAY[41]) untouched FROM vector_state;
DROP TABLE vector_state;
SELECT vector_accum('{{0}}', '[1,2,3]');
SELECT vector_accum('{NULL}', '[1,2,3]');
SELECT vector_accum('{}', '[1,2,3]');
SELECT vector_accum('{0,0}', '[1,2,3]');
SELECT vector_accum('{1,1.7976931348623157e308}', '[3e38]');
SELECT vector_combine('{1,2}', '{3,4}');
SELECT vector_combine('{0}', '{0}'), vector_combine('{0}', '{1,5}'), vector_combine('{1,5}', '{0}');
SELECT vector_combine('{1,2}', '{3,4,5}');
SELECT vector_combine('{1,1.7976931348623157e308}', '{1,1.7976931348623157e308}');
SELECT vector_combine('{{1,2}}', '{3,4}');
SELECT vector_combine('{1,2}', '{{3,4}}');
SELECT vector_combine('{NULL,2}', '{3,4}');
SELECT vector_combine('{1,2}', '{3,NULL}');
SELECT vector_combine('{}', '{0}');
SELECT vector_combine('{0}', (SELECT array_agg(n) FROM generate_series(1, 16002) n));
SELECT vector_combine((SELECT array_agg(n) FROM generate_series(1, 16002) n), '{0}');
SELECT vector_avg('{2,2,4,6}'), vector_avg('{0}'), vector_avg('{0,1}');
SELECT vector_avg('{1}');
SELECT vector_avg('{{2,2,4,6}}');
SELECT vector_avg('{NULL,2,4,6}');
SELECT vector_avg('{}');
SELECT vector_avg('{1,1e39}');
SELECT vector_avg('{1,NaN}');
SELECT vector_avg(array_agg(n)) FROM generate_series(1, 16002) n;
SELECT vector_accum(NULL, '[1]'), vector_accum('{0}', NULL), vector_combine(NULL, '{0}'), vector_avg(NULL);
