-- Casts of type vector.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS tandem;
RESET client_min_messages;

SELECT ARRAY[1,2,3]::vector;
SELECT ARRAY[1.0,2.0,3.5]::vector;
SELECT ARRAY[1,2,3]::real[]::vector, ARRAY[1,2,3]::double precision[]::vector, ARRAY[1,2,3]::numeric[]::vector;
SELECT '{-2147483648,2147483647,16777217}'::int[]::vector;
SELECT '{0.1,1e-45,-0,3.4028235e38}'::real[]::vector;
SELECT '{0.1,1e-46,-1e-46,3.4028235e38,16777217}'::double precision[]::vector;
SELECT '{0.1,-12345678901234567890.123,1e-30}'::numeric[]::vector;
-- a NULL bitmap without NULLs, a lower bound other than 1
SELECT (ARRAY[NULL,1,2,3]::int[])[2:]::vector, array_remove(ARRAY[NULL,1.5]::numeric[], NULL)::vector, '[5:6]={1,2}'::int[]::vector;

SELECT '{1,2,3}'::real[]::vector(3);
SELECT '{1,2,3}'::real[]::vector(2);
SELECT '{1,2,3}'::numeric[]::vector(4);
SELECT '{NULL}'::real[]::vector;
SELECT '{1,NULL}'::int[]::vector;
SELECT '{1,NULL}'::numeric[]::vector;
SELECT '{NaN}'::real[]::vector;
SELECT '{Infinity}'::real[]::vector;
SELECT '{-Infinity}'::double precision[]::vector;
SELECT '{NaN}'::numeric[]::vector;
SELECT '{Infinity}'::numeric[]::vector;
SELECT '{4e38,-4e38}'::double precision[]::vector;
SELECT '{1e40}'::numeric[]::vector;
SELECT '{}'::real[]::vector;
SELECT '{}'::numeric[]::vector;
SELECT '{{1}}'::real[]::vector;
SELECT '{{1,2},{3,4}}'::int[]::vector;
SELECT array_agg(n)::vector FROM generate_series(1, 16001) n;
SELECT array_agg(n::numeric)::vector FROM generate_series(1, 16001) n;
SELECT array_to_vector(array_agg(n), 16001, false) FROM generate_series(1, 16001) n;
SELECT vector_dims(array_agg(n::numeric)::vector) FROM generate_series(1, 16000) n;
SELECT ARRAY['a']::vector;
SELECT ARRAY[1::bigint]::vector;
\set VERBOSITY sqlstate
SELECT '{NULL}'::real[]::vector;
SELECT '{{1}}'::real[]::vector;
SELECT '{NaN}'::real[]::vector;
SELECT '{4e38}'::double precision[]::vector;
\set VERBOSITY default

SELECT '[1,2.5,-3e-45]'::vector::real[], ('[1,2,3]'::vector::real[])[2], array_dims('[1,2,3]'::vector::real[]);
SELECT array_length(array_fill(1, ARRAY[16000])::vector::real[], 1);
SELECT '[1,2,3]'::vector::double precision[];
SELECT '[1,2,3]'::vector::text, '[1,2,3]'::text::vector, '[1,2,3]'::varchar::vector(3);
SELECT '[1,2,3]'::vector::vector(3), '[1,2,3]'::vector(3)::vector;
SELECT '[1,2,3]'::vector::vector(2);
SELECT vector('[1,2,3]'::vector, 3, true), vector('[1,2,3]'::vector, -1, false);
SELECT vector('[1,2,3]'::vector, 4, false);

-- vector to real[] happens by itself, arrays to vector only on assignment
CREATE FUNCTION vector_as_reals(real[]) RETURNS real LANGUAGE sql AS 'SELECT $1[2]';
SELECT vector_as_reals('[1,2.5]'::vector);
DROP FUNCTION vector_as_reals;
SELECT vector_dims(ARRAY[1,2,3]);
SELECT ARRAY[1,2,3] = ARRAY[1,2,3];
CREATE TABLE vector_assigned (v vector(3), r real[]);
INSERT INTO vector_assigned VALUES (ARRAY[1,2,3], '[4,5,6]'::vector), ('{1,2,3}'::float8[], '{7}'), (ARRAY[1.5,2.5,3.5], NULL);
INSERT INTO vector_assigned VALUES (ARRAY[1,2]);
SELECT * FROM vector_assigned;
DROP TABLE vector_assigned;

SELECT NULL::int[]::vector, NULL::numeric[]::vector(3), NULL::vector::real[];
SELECT castsource::regtype, casttarget::regtype, castfunc::regprocedure, castcontext, castmethod FROM pg_cast
WHERE castsource = 'vector'::regtype OR casttarget = 'vector'::regtype
ORDER BY castsource::regtype::text COLLATE "C", casttarget::regtype::text COLLATE "C";
