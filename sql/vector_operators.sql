-- Operators of type vector: distances, arithmetic, comparison.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS tandem;
RESET client_min_messages;

-- Euclidean distance
SELECT '[0,0]'::vector <-> '[3,4]', l2_distance('[0,0]'::vector, '[3,4]'), l2_distance('[0,0]'::vector, '[0,1]');
SELECT l2_distance('[1,1,1,1,1,1,1,1,1]'::vector, '[1,1,1,1,1,1,1,4,5]');
SELECT l2_distance('[1,2]'::vector, '[3]');
SELECT l2_distance('[3e38]'::vector, '[-3e38]'), l2_distance('[1e-45]'::vector, '[0]'), l2_distance('[1]'::vector, '[1]');

-- inner product, and its negative as operator
SELECT '[1,2]'::vector <#> '[3,4]', inner_product('[1,2]'::vector, '[3,4]'), inner_product('[0]'::vector, '[1]'), '[0]'::vector <#> '[1]';
SELECT inner_product('[1,1,1,1,1,1,1,1,1]'::vector, '[1,2,3,4,5,6,7,8,9]');
SELECT inner_product('[1,2]'::vector, '[3]');
SELECT inner_product('[3e38]'::vector, '[3e38]'), '[3e38]'::vector <#> '[3e38]';
SELECT inner_product('[3e38,3e38]'::vector, '[3e38,-3e38]');

-- cosine distance
SELECT '[1,2]'::vector <=> '[2,4]', cosine_distance('[1,1]'::vector, '[1,1]'), cosine_distance('[1,0]'::vector, '[0,2]');
SELECT cosine_distance('[1,1]'::vector, '[-1,-1]'), cosine_distance('[1,1]'::vector, '[1.1,1.1]'), cosine_distance('[1,1]'::vector, '[-1.1,-1.1]');
SELECT cosine_distance('[1,2,3,4,5,6,7,8,9]'::vector, '[1,2,3,4,5,6,7,8,9]'),
       cosine_distance('[1,2,3,4,5,6,7,8,9]'::vector, '[-1,-2,-3,-4,-5,-6,-7,-8,-9]');
SELECT cosine_distance('[1,2]'::vector, '[0,0]'), cosine_distance('[0,0]'::vector, '[1,2]'), cosine_distance('[0]'::vector, '[0]');
SELECT cosine_distance('[3e38]'::vector, '[3e38]'), cosine_distance('[1e-45]'::vector, '[1e-45]');
SELECT cosine_distance('[1,2]'::vector, '[3]');

-- taxicab distance
SELECT '[0,0]'::vector <+> '[3,4]', l1_distance('[0,0]'::vector, '[0,1]'), l1_distance('[-1]'::vector, '[1]');
SELECT l1_distance('[1,2,3,4,5,6,7,8,9]'::vector, '[0,3,2,5,4,7,6,9,8]');
SELECT l1_distance('[1,2]'::vector, '[3]');
SELECT l1_distance('[3e38]'::vector, '[-3e38]');

-- distances are symmetric to the last bit, the operator is its function, and short and long kernels agree with the
-- definition
CREATE TABLE vector_pairs AS
  SELECT n, (SELECT array_agg(sin(i * 12.9898 + n)::real) FROM generate_series(1, n) i)::vector a,
            (SELECT array_agg(cos(i * 78.233 - n)::real) FROM generate_series(1, n) i)::vector b
  FROM generate_series(1, 70) n UNION ALL
  SELECT n, (SELECT array_agg(sin(i * 12.9898 + n)::real) FROM generate_series(1, n) i)::vector,
            (SELECT array_agg(cos(i * 78.233 - n)::real) FROM generate_series(1, n) i)::vector
  FROM unnest(ARRAY[100, 127, 128, 129, 384, 785, 1536, 4001, 16000]) n;
SELECT count(*), count(*) FILTER (WHERE a <-> b = b <-> a AND a <#> b = b <#> a AND a <=> b = b <=> a AND a <+> b = b <+> a) symmetric,
       count(*) FILTER (WHERE a <-> b = l2_distance(a, b) AND a <#> b = -inner_product(a, b)
                          AND a <=> b = cosine_distance(a, b) AND a <+> b = l1_distance(a, b)
                          AND a <#> b = vector_negative_inner_product(a, b)
                          AND a <-> b = sqrt(vector_l2_squared_distance(a, b))) operator_is_function,
       count(*) FILTER (WHERE a <-> a = 0 AND a <=> a < 1e-6 AND a <+> a = 0) self
FROM vector_pairs;
SELECT count(*) FILTER (WHERE abs((a <-> b) - l2) <= 1e-5 * l2) l2, count(*) FILTER (WHERE abs((a <#> b) + ip) <= 1e-5 * n) ip,
       count(*) FILTER (WHERE abs((a <=> b) - (1 - ip / sqrt(na * nb))) <= 1e-5) cosine,
       count(*) FILTER (WHERE abs((a <+> b) - l1) <= 1e-5 * l1) l1
FROM vector_pairs, LATERAL (
  SELECT sqrt(sum((x::float8 - y) ^ 2)) l2, sum(x::float8 * y) ip, sum(x::float8 * x) na, sum(y::float8 * y) nb, sum(abs(x::float8 - y)) l1
  FROM unnest(a::real[], b::real[]) u(x, y)) reference;
DROP TABLE vector_pairs;

-- arithmetic
SELECT '[1,2,3]'::vector + '[4,5,6]', '[1,2,3]'::vector - '[4,5,6]', '[1,2,3]'::vector * '[4,5,6]';
SELECT '[1,2]'::vector + '[3]';
SELECT '[1,2]'::vector - '[3]';
SELECT '[1,2]'::vector * '[3]';
SELECT '[3e38]'::vector + '[3e38]';
SELECT '[1,2,3,4,5,6,7,-3e38]'::vector - '[1,1,1,1,1,1,1,3e38]';
SELECT '[1e37]'::vector * '[1e37]';
SELECT '[1e-37]'::vector * '[1e-37]';
SELECT '[1e-37,0,0,-0]'::vector * '[1,1e-37,0,5]', '[3e38]'::vector - '[3e38]', '[1e-45]'::vector - '[1e-45]';
SELECT '[1e-45]'::vector * '[0.6]', '[3e38,-3e38]'::vector + '[-3e38,3e38]';
SELECT '[1e-45]'::vector * '[0.5]';
SELECT '[1,2,3]'::vector || '[4,5]';
SELECT vector_dims(array_fill(0, ARRAY[15999])::vector || '[1]');
SELECT array_fill(0, ARRAY[16000])::vector || '[1]';
SELECT array_fill(0, ARRAY[16000])::vector || array_fill(0, ARRAY[16000])::vector;
\set VERBOSITY sqlstate
SELECT '[1,2]'::vector <-> '[3]';
SELECT '[3e38]'::vector + '[3e38]';
SELECT '[1e-37]'::vector * '[1e-37]';
SELECT array_fill(0, ARRAY[16000])::vector || '[1]';
\set VERBOSITY default

-- comparison: element by element, then the shorter first; any dimensions
SELECT a, b, a < b lt, a <= b le, a = b eq, a <> b ne, a >= b ge, a > b gt, vector_cmp(a, b) cmp
FROM (VALUES ('[1,2,3]'::vector, '[1,2,3]'::vector), ('[1,2,3]', '[1,2]'), ('[1,2]', '[1,2,3]'), ('[1,2]', '[2,3,4]'),
             ('[2,3]', '[1,2,3]'), ('[0]', '[-0]'), ('[-1]', '[0]'), ('[1e-45]', '[0]'), ('[3e38]', '[-3e38]')) t(a, b);
SELECT '[1]'::vector = NULL, NULL::vector < '[1]', '[1]'::vector IS DISTINCT FROM NULL;
SELECT '[1,2,3]'::vector = ANY (ARRAY['[1,2]', '[1,2,3]']::vector[]);

-- what the catalog says about each operator
SELECT o.oprname, o.oprcode::regprocedure, o.oprresult::regtype, c.oprname commutator, n.oprname negator, o.oprrest, o.oprjoin,
       o.oprcanmerge, o.oprcanhash
FROM pg_operator o LEFT JOIN pg_operator c ON c.oid = o.oprcom LEFT JOIN pg_operator n ON n.oid = o.oprnegate
WHERE o.oprleft = 'vector'::regtype AND o.oprright = 'vector'::regtype ORDER BY o.oprname COLLATE "C";
