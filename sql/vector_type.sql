-- Type vector: text form, type modifier, storage.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS tandem;
RESET client_min_messages;

-- text form
SELECT '[1,2,3]'::vector;
SELECT '[-1,-2,-3]'::vector;
SELECT '[1.,.5,+3.,0x1.8p1]'::vector;
SELECT E' \t\n\x0b\f\r[ 1,\t2 ,    3  ]\r\n '::vector;
SELECT '[1.23456]'::vector, '[0.1,0.3,123456.789]'::vector;
SELECT '[-0,0,-1e-46,1e-46]'::vector;
SELECT '[1.5e38,-1.5e+38,1.5e-38]'::vector;
-- largest number, smallest normal number, smallest denormal, rounded half to even
SELECT '[3.4028235e38,-3.4028235e38,1.1754944e-38,1.4e-45,16777217,16777219]'::vector;
-- shortest text that reads back to the same number
SELECT '[0.1000000001490116,1e10,1e20,123456792,0.0001,0.00001,1e-5,12345.678]'::vector;
SELECT count(*) FROM (SELECT (random() * 10 ^ (random() * 70 - 38))::real x FROM generate_series(1, 10000)) r
WHERE (ARRAY[x]::vector::text::vector)::real[] <> ARRAY[x];

-- malformed text
SELECT ''::vector;
SELECT '1,2,3'::vector;
SELECT '{1,2,3}'::vector;
SELECT '['::vector;
SELECT '[ '::vector;
SELECT '[,'::vector;
SELECT '[]'::vector;
SELECT '[ ]'::vector;
SELECT '[,]'::vector;
SELECT '[1,]'::vector;
SELECT '[1a]'::vector;
SELECT '[1,,3]'::vector;
SELECT '[1, ,3]'::vector;
SELECT '[1 2]'::vector;
SELECT '[1,2,3'::vector;
SELECT '[1,2,3]9'::vector;
SELECT '[1,2,3] ]'::vector;
SELECT '[hello,1]'::vector;
SELECT '[- 1]'::vector;
SELECT '[1e]'::vector;
SELECT '[0x]'::vector;
SELECT '[1,[2]]'::vector;

-- numbers that a vector cannot hold
SELECT '[4e38,1]'::vector;
SELECT '[1, -4e38 ]'::vector;
SELECT '[+1e999]'::vector;
SELECT '[NaN,1]'::vector;
SELECT '[Infinity,1]'::vector;
SELECT '[-inf,1]'::vector;
\set VERBOSITY sqlstate
SELECT '[1,'::vector;
SELECT '[4e38]'::vector;
SELECT '[NaN]'::vector;
SELECT '[inf]'::vector;
SELECT '[]'::vector;
SELECT '[1,2,3]'::vector(2);
SELECT '[1,2,3]'::vector(0);
SELECT ('[' || repeat('1,', 16000) || '1]')::vector;
\set VERBOSITY default

-- number of dimensions
SELECT vector_dims(('[' || repeat('1,', 15999) || '1]')::vector);
SELECT vector_dims(('[' || repeat('1,', 16000) || '1]')::vector);
SELECT vector_dims(('[' || repeat('1,', 16000) || 'x]')::vector);
SELECT length(('[' || repeat('-1.1754944e-38,', 15999) || '1]')::vector::text);

-- type modifier
SELECT '[1,2,3]'::vector(3);
SELECT '[1,2,3]'::vector(2);
SELECT '[1,2,3]'::vector(3, 2);
SELECT '[1,2,3]'::vector('a');
SELECT '[1,2,3]'::vector(-1);
SELECT '[1,2,3]'::vector(0);
SELECT '[1]'::vector(16000);
SELECT '[1]'::vector(16001);
SELECT format_type('vector'::regtype, 3), format_type('vector'::regtype, -1);
SELECT unnest('{"[1,2,3]", "[4,5,6]"}'::vector[]);
SELECT '{"[1,2,3]"}'::vector(2)[];
SELECT '{"[1,2,3]",NULL}'::vector(3)[];

-- columns
CREATE TABLE vector_columns (id int, v vector(3), w vector);
INSERT INTO vector_columns VALUES (1, '[1,2,3]', '[1]'), (2, NULL, NULL), (3, '[4,5,6]', '[1,2]');
INSERT INTO vector_columns VALUES (4, '[1,2]', NULL);
INSERT INTO vector_columns SELECT 5, w, w FROM vector_columns WHERE id = 3;
INSERT INTO vector_columns (id, v) VALUES (6, ARRAY[1,2,3,4]);
UPDATE vector_columns SET v = v || '[1]' WHERE id = 1;
-- here the input function itself gets the type modifier
COPY vector_columns (id, v) FROM stdin;
6	[7,8,9]
7	[1,2]
\.
COPY vector_columns (id, v) FROM stdin;
6	[7,8,9]
\.
UPDATE vector_columns SET w = v WHERE id = 3;
SELECT * FROM vector_columns ORDER BY id;
ALTER TABLE vector_columns ALTER v TYPE vector(4);
ALTER TABLE vector_columns ALTER v TYPE vector;
INSERT INTO vector_columns VALUES (7, '[1,2]', NULL);
ALTER TABLE vector_columns ALTER v TYPE vector(3);
DELETE FROM vector_columns WHERE id = 7;
ALTER TABLE vector_columns ALTER v TYPE vector(3);
ALTER TABLE vector_columns ADD d vector(2) DEFAULT '[0,0]';
ALTER TABLE vector_columns ALTER w TYPE real[];
ALTER TABLE vector_columns ALTER w TYPE vector USING w::vector;
SELECT * FROM vector_columns ORDER BY id;
DROP TABLE vector_columns;

-- storage: layout of 8 + 4n bytes, 1-byte header when short, out of line and uncompressed when long
SELECT typlen, typbyval, typalign, typstorage, typcategory, typtype FROM pg_type WHERE oid = 'vector'::regtype;
CREATE TABLE vector_storage (id int, v vector);
INSERT INTO vector_storage
  SELECT n, array_fill(0.5, ARRAY[n])::vector FROM unnest(ARRAY[1, 2, 29, 30, 31, 400, 600, 2000, 16000]) n;
SELECT id, pg_column_size(v), vector_dims(v), v = array_fill(0.5, ARRAY[id])::vector same FROM vector_storage ORDER BY id;
SELECT pg_column_size('[1,2,3]'::vector);
-- unaligned after another column
CREATE TABLE vector_unaligned (c "char", v vector);
INSERT INTO vector_unaligned VALUES ('a', '[1,2,3]');
SELECT c, v, v <-> '[1,2,3]', vector_send(v) FROM vector_unaligned;
DROP TABLE vector_storage, vector_unaligned;

-- NULL
SELECT NULL::vector, NULL::vector(3), (NULL::text)::vector;
