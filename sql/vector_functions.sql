-- Functions of vectors: measures, parts, quantisation.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS tandem;
RESET client_min_messages;

SELECT vector_dims('[1,2,3]'::vector), vector_dims('[0]'::vector);
SELECT vector_dims(array_fill(1, ARRAY[16000])::vector);

SELECT vector_norm('[3,4]'), vector_norm('[0,1]'), vector_norm('[0,0]'), vector_norm('[-2]');
SELECT round(vector_norm('[1,1]')::numeric, 5);
-- squares that float32 cannot hold
SELECT vector_norm('[3e37,4e37]')::real, vector_norm('[3e-30,4e-30]')::real;
SELECT vector_norm('[1,1,1,1,1,1,1,1,1]'), vector_norm(array_fill(1, ARRAY[10000])::vector);

SELECT l2_normalize('[3,4]'::vector);
SELECT l2_normalize('[3,0]'::vector);
SELECT l2_normalize('[0,-0.1]'::vector);
SELECT l2_normalize('[0,-0]'::vector);
SELECT l2_normalize('[3e38]'::vector), l2_normalize('[1e-45]'::vector);
SELECT l2_normalize('[3e38,3e38]'::vector);
SELECT l2_normalize('[1e-45,1e-45]'::vector);

SELECT binary_quantize('[1,0,-1]'::vector);
SELECT binary_quantize('[0,0.1,-0.2,-0.3,0.4,0.5,0.6,-0.7,0.8,-0.9,1]'::vector);
SELECT binary_quantize('[1,2,3,-4,5,6,-7,8,1,-2,-3,4,5,-6,7,8,-1,2,3]'::vector);
SELECT binary_quantize('[-0,1e-45]'::vector);
SELECT length(binary_quantize(array_fill(1, ARRAY[16000])::vector)), pg_typeof(binary_quantize('[1]'::vector));
SELECT n, binary_quantize((SELECT array_agg(CASE WHEN i % 3 = 0 THEN 1 ELSE -1 END)::vector FROM generate_series(1, n) i))
FROM generate_series(1, 17) n;

SELECT subvector('[1,2,3,4,5]'::vector, 1, 3);
SELECT subvector('[1,2,3,4,5]'::vector, 3, 2);
SELECT subvector('[1,2,3,4,5]'::vector, 5, 1);
-- clipped at both ends, as substring does
SELECT subvector('[1,2,3,4,5]'::vector, -1, 3);
SELECT subvector('[1,2,3,4,5]'::vector, 3, 9);
SELECT subvector('[1,2,3,4,5]'::vector, -10, 100);
SELECT subvector('[1,2,3,4,5]'::vector, 3, 2147483647);
SELECT subvector('[1,2,3,4,5]'::vector, -2147483644, 2147483647);
SELECT subvector('[1,2,3,4,5]'::vector, 1, 0);
SELECT subvector('[1,2,3,4,5]'::vector, 3, -1);
SELECT subvector('[1,2,3,4,5]'::vector, 6, 1);
SELECT subvector('[1,2,3,4,5]'::vector, -1, 2);
SELECT subvector('[1,2,3,4,5]'::vector, 2147483647, 10);
SELECT subvector('[1,2,3,4,5]'::vector, -2147483648, 2147483647);
SELECT subvector('[1,2,3,4,5]'::vector, -2147483648, -2147483648);

SELECT round(vector_spherical_distance('[1,0]', '[0,1]')::numeric, 5),
       vector_spherical_distance('[1,0]', '[1,0]'), vector_spherical_distance('[1,0]', '[-1,0]'),
       vector_spherical_distance('[2,0]', '[1,0]');
SELECT vector_spherical_distance('[1,2]', '[3]');
SELECT vector_l2_squared_distance('[0,0]', '[3,4]'), vector_l2_squared_distance('[3e38]', '[-3e38]');
SELECT vector_l2_squared_distance('[1,2]', '[3]');
SELECT vector_negative_inner_product('[1,2]', '[3,4]');
SELECT vector_negative_inner_product('[1,2]', '[3]');

-- strict: NULL in, NULL out
SELECT vector_dims(NULL::vector), vector_norm(NULL), l2_normalize(NULL::vector), binary_quantize(NULL::vector), subvector(NULL::vector, 1, 1),
       subvector('[1]'::vector, NULL, 1), subvector('[1]'::vector, 1, NULL), l2_distance(NULL::vector, '[1]'), l2_distance('[1]'::vector, NULL),
       inner_product(NULL::vector, NULL), cosine_distance('[1]'::vector, NULL), l1_distance(NULL::vector, '[1]'),
       vector_spherical_distance(NULL, '[1]'), vector_l2_squared_distance('[1]', NULL),
       vector_negative_inner_product(NULL, '[1]'), vector_cmp('[1]', NULL);

-- values with a one-byte header, in line, compressed, stored out of line
CREATE TABLE vector_function_values (id int, v vector, compressed vector);
ALTER TABLE vector_function_values ALTER compressed SET STORAGE extended;
INSERT INTO vector_function_values SELECT n, v, v
FROM unnest(ARRAY[4, 100, 900, 16000]) n, LATERAL (SELECT array_fill(2, ARRAY[n])::vector) t(v);
SELECT id, pg_column_size(v), pg_column_size(compressed) < 1000 compressed, vector_dims(v), vector_dims(compressed) dims,
       vector_norm(v) = sqrt(4.0::float8 * id) norm, vector_norm(compressed) = vector_norm(v) same,
       vector_dims(subvector(v, 2, id)) rest, length(binary_quantize(compressed)) bits,
       subvector(l2_normalize(v), id - 1, 1) = ARRAY[(2 / sqrt(4.0::float8 * id))]::vector one, v <-> compressed distance
FROM vector_function_values ORDER BY id;
DROP TABLE vector_function_values;

-- every function is immutable, strict and parallel safe, and takes nothing but its declared arguments
SELECT p.oid::regprocedure, pg_get_function_result(p.oid)
FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND e.extname = 'tandem'
WHERE p.prokind = 'f' AND (p.proname ~ '^(vector|array_to_vector|l[12]_|inner_product|cosine_distance|subvector|binary_quantize)')
  AND p.provolatile = 'i' AND p.proisstrict AND p.proparallel = 's'
ORDER BY p.proname COLLATE "C", p.oid::regprocedure::text COLLATE "C";
