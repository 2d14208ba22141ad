-- Type halfvec: what differs from vector or could differ; code is shared.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS tandem;
RESET client_min_messages;

-- text form
SELECT '[1,2,3]'::halfvec, '[-1,-2,-3]'::halfvec, '[1.,.5,+3.,0x1.8p1]'::halfvec, ' [ 1,	2 ,    3  ] '::halfvec;
-- largest, ties to even, smallest normal number, smallest denormal, what vanishes
SELECT '[65504,65519.9,-65504,2049,2051,6.104e-5,6e-8,2e-8,-2e-8,-0]'::halfvec;
-- shown as the single-precision number that it is
SELECT '[1.23456,0.1,0.3,3.14159]'::halfvec;
SELECT '[65520]'::halfvec;
SELECT '[1,-70000,x]'::halfvec;
SELECT '[1e999]'::halfvec;
SELECT '[NaN]'::halfvec;
SELECT '[Infinity]'::halfvec;
SELECT ''::halfvec;
SELECT '{1}'::halfvec;
SELECT '[]'::halfvec;
SELECT '[1,]'::halfvec;
SELECT '[1 2]'::halfvec;
SELECT '[1,2'::halfvec;
SELECT '[1]9'::halfvec;
\set VERBOSITY sqlstate
SELECT '[65520]'::halfvec;
SELECT '[nan]'::halfvec;
SELECT '[inf]'::halfvec;
SELECT ''::halfvec;
SELECT '[]'::halfvec;
SELECT '[1,2]'::halfvec(3);
SELECT ('[' || repeat('1,', 16000) || '1]')::halfvec;
\set VERBOSITY default
SELECT vector_dims(('[' || repeat('1,', 15999) || '1]')::halfvec), vector_dims(('[' || repeat('1,', 16000) || '1]')::halfvec);

-- type modifier
SELECT '[1,2,3]'::halfvec(3), format_type('halfvec'::regtype, 3);
SELECT '[1,2,3]'::halfvec(2);
SELECT '[1,2,3]'::halfvec(3, 2);
SELECT '[1,2,3]'::halfvec(0);
SELECT '[1,2,3]'::halfvec(16001);
CREATE TABLE halfvec_columns (id int, h halfvec(3));
INSERT INTO halfvec_columns VALUES (1, '[1,2,3]'), (2, NULL), (3, ARRAY[4,5,6]), (4, '[7,8,9]'::vector);
INSERT INTO halfvec_columns VALUES (5, '[1,2]');
INSERT INTO halfvec_columns VALUES (5, ARRAY[1,2,3,4]);
SELECT * FROM halfvec_columns ORDER BY id;
ALTER TABLE halfvec_columns ALTER h TYPE vector(3);
ALTER TABLE halfvec_columns ALTER h TYPE halfvec(3);
SELECT * FROM halfvec_columns ORDER BY id;
DROP TABLE halfvec_columns;

-- storage: 8 + 2n bytes
SELECT typlen, typbyval, typalign, typstorage, typcategory, typtype FROM pg_type WHERE oid = 'halfvec'::regtype;
SELECT pg_column_size('[1,2,3]'::halfvec);
CREATE TABLE halfvec_storage (c "char", id int, h halfvec);
INSERT INTO halfvec_storage SELECT 'a', n, array_fill(0.5, ARRAY[n])::halfvec FROM unnest(ARRAY[1, 2, 59, 60, 61, 1200, 16000]) n;
SELECT id, pg_column_size(h), vector_dims(h), h = array_fill(0.5, ARRAY[id])::halfvec same FROM halfvec_storage ORDER BY id;
DROP TABLE halfvec_storage;

-- binary form: int16 dimensions, int16 zero, 16 bits each
\getenv build_dir PG_ABS_BUILDDIR
\set file :build_dir '/results/halfvec.bin'
SELECT halfvec_send('[1,-2.5]'), halfvec_send('[-0,6e-8,65504]');
CREATE TABLE halfvec_sent (id int, h halfvec);
CREATE TABLE halfvec_received (id int, h halfvec);
INSERT INTO halfvec_sent VALUES (1, '[0,-0]'), (2, '[1,2.5,-0.03]'), (3, NULL), (4, '[65504,6e-8]'), (5, array_fill(0.1, ARRAY[16000])::halfvec);
COPY halfvec_sent TO :'file' (FORMAT binary);
COPY halfvec_received FROM :'file' (FORMAT binary);
SELECT count(*) FROM halfvec_sent s JOIN halfvec_received r USING (id) WHERE s.h::text IS NOT DISTINCT FROM r.h::text;
CREATE TABLE halfvec_message (message bytea);
CREATE TABLE halfvec_result (h halfvec);
TRUNCATE halfvec_message; INSERT INTO halfvec_message VALUES ('\x000200003c00c100'), ('\x000100008001');
COPY halfvec_message TO :'file' (FORMAT binary); COPY halfvec_result FROM :'file' (FORMAT binary);
SELECT * FROM halfvec_result;
TRUNCATE halfvec_message; INSERT INTO halfvec_message VALUES ('\x00020000');
COPY halfvec_message TO :'file' (FORMAT binary); COPY halfvec_result FROM :'file' (FORMAT binary);
TRUNCATE halfvec_message; INSERT INTO halfvec_message VALUES ('\x000100003c');
COPY halfvec_message TO :'file' (FORMAT binary); COPY halfvec_result FROM :'file' (FORMAT binary);
TRUNCATE halfvec_message; INSERT INTO halfvec_message VALUES ('\x000100003c003c00');
COPY halfvec_message TO :'file' (FORMAT binary); COPY halfvec_result FROM :'file' (FORMAT binary);
TRUNCATE halfvec_message; INSERT INTO halfvec_message VALUES ('\x00000000');
COPY halfvec_message TO :'file' (FORMAT binary); COPY halfvec_result FROM :'file' (FORMAT binary);
TRUNCATE halfvec_message; INSERT INTO halfvec_message VALUES (int2send(16001::int2) || int2send(0::int2) || decode(repeat('3c00', 16001), 'hex'));
COPY halfvec_message TO :'file' (FORMAT binary); COPY halfvec_result FROM :'file' (FORMAT binary);
TRUNCATE halfvec_message; INSERT INTO halfvec_message VALUES ('\x000100013c00');
COPY halfvec_message TO :'file' (FORMAT binary); COPY halfvec_result FROM :'file' (FORMAT binary);
TRUNCATE halfvec_message; INSERT INTO halfvec_message VALUES ('\x000100007e00');
COPY halfvec_message TO :'file' (FORMAT binary); COPY halfvec_result FROM :'file' (FORMAT binary);
TRUNCATE halfvec_message; INSERT INTO halfvec_message VALUES ('\x00010000fc00');
COPY halfvec_message TO :'file' (FORMAT binary); COPY halfvec_result FROM :'file' (FORMAT binary);
DROP TABLE halfvec_sent, halfvec_received, halfvec_message, halfvec_result;

-- distances
SELECT l2_distance('[0,0]'::halfvec, '[3,4]'), inner_product('[1,2]'::halfvec, '[3,4]'), cosine_distance('[1,2]'::halfvec, '[2,4]'), l1_distance('[0,0]'::halfvec, '[3,4]');
SELECT '[0,0]'::halfvec <-> '[3,4]', '[1,2]'::halfvec <#> '[3,4]', '[1,1]'::halfvec <=> '[-1,-1]', '[1,2]'::halfvec <+> '[3,5]';
SELECT '[0,0]'::halfvec <=> '[0,0]', '[1]'::halfvec <=> '[0]', '[65504]'::halfvec <-> '[-65504]', '[65504]'::halfvec <#> '[65504]';
SELECT halfvec_l2_squared_distance('[0,0]', '[3,4]'), halfvec_negative_inner_product('[1,2]', '[3,4]'), halfvec_spherical_distance('[1,0]', '[0,1]');
SELECT '[1,2]'::halfvec <-> '[3]';
SELECT '[1,2]'::halfvec <#> '[3]';
SELECT '[1,2]'::halfvec <=> '[3]';
SELECT '[1,2]'::halfvec <+> '[3]';
SELECT halfvec_l2_squared_distance('[1,2]', '[3]');
SELECT halfvec_spherical_distance('[1,2]', '[3]');
-- the same to the last bit as of the single-precision vectors that they are
CREATE TABLE halfvec_pairs AS
  SELECT n, (SELECT array_agg(hashint8(n * 1000 + i) / 4e9) FROM generate_series(1, n) i)::halfvec a,
    (SELECT array_agg(hashint8(n * 7919 + i) / 4e9) FROM generate_series(1, n) i)::halfvec b FROM unnest(ARRAY[1, 3, 7, 8, 15, 16, 17, 31, 33, 64, 100, 129, 768, 1999]) n;
SELECT count(*) FROM halfvec_pairs WHERE (a <-> b) = (a::vector <-> b::vector) AND (a <#> b) = (a::vector <#> b::vector)
  AND (a <=> b) = (a::vector <=> b::vector) AND (a <+> b) = (a::vector <+> b::vector) AND (a <-> b) = (b <-> a) AND (a <=> b) = (b <=> a)
  AND l2_norm(a) = vector_norm(a::vector);
DROP TABLE halfvec_pairs;

-- functions
SELECT vector_dims('[1,2,3]'::halfvec), l2_norm('[3,4]'::halfvec), l2_norm('[65504,65504]'::halfvec), l2_normalize('[3,4]'::halfvec), l2_normalize('[0,0]'::halfvec), l2_normalize('[6e-8]'::halfvec);
SELECT binary_quantize('[1,0,-1,6e-8,-6e-8,2,3,4,5]'::halfvec), subvector('[1,2,3,4]'::halfvec, 2, 2), subvector('[1,2,3]'::halfvec, -1, 3);
SELECT subvector('[1,2,3]'::halfvec, 1, 0);
SELECT subvector('[1,2,3]'::halfvec, 4, 1);
SELECT '[1,2,3]'::halfvec + '[4,5,6]', '[1,2,3]'::halfvec - '[4,5,6]', '[1,2,3]'::halfvec * '[4,5,6]', '[1,2]'::halfvec || '[3]', '[2048]'::halfvec + '[1]', '[2048]'::halfvec + '[3]';
SELECT '[65504]'::halfvec + '[65504]';
SELECT '[65504]'::halfvec + '[15]', '[65504]'::halfvec - '[-15.9]';
SELECT '[65504]'::halfvec + '[16]';
SELECT '[65504]'::halfvec - '[-65504]';
SELECT '[65504]'::halfvec * '[2]';
SELECT '[6e-8]'::halfvec * '[0.1]';
SELECT '[1,2]'::halfvec + '[1]';
SELECT array_fill(0, ARRAY[16000])::halfvec || '[1]';

-- order
SELECT '[1,2]'::halfvec < '[1,3]', '[1,2]'::halfvec <= '[1,2]', '[1,2]'::halfvec = '[1,2]', '[1,2]'::halfvec <> '[1,2,0]', '[2]'::halfvec >= '[1,9]', '[-1]'::halfvec > '[1]', '[-0]'::halfvec = '[0]';
SELECT halfvec_cmp('[1,2]', '[1,2,3]'), halfvec_cmp('[2]', '[1,2]'), halfvec_cmp('[1]', '[1]');
CREATE TABLE halfvec_sorted (id int, h halfvec);
INSERT INTO halfvec_sorted VALUES (1, '[0,0,0]'), (2, '[1,2,3]'), (3, '[1,1,1]'), (4, NULL), (5, '[1,1]'), (6, '[-1]'), (7, '[1,2,3]');
CREATE INDEX ON halfvec_sorted (h);
SET enable_seqscan = off;
SELECT id FROM halfvec_sorted WHERE h = '[1,2,3]' ORDER BY id;
SELECT h FROM halfvec_sorted ORDER BY h;
RESET enable_seqscan;
SELECT h, count(*) FROM halfvec_sorted GROUP BY h ORDER BY h;
SELECT amvalidate(oid), opcdefault FROM pg_opclass WHERE opcname = 'halfvec_ops';
DROP TABLE halfvec_sorted;

-- aggregates
SELECT avg(h), sum(h) FROM unnest(ARRAY['[1,2,3]'::halfvec, NULL, '[3,5,7]']) h;
SELECT avg(h), sum(h) FROM unnest(ARRAY[]::halfvec[]) h;
SELECT avg(h) FROM unnest(ARRAY['[65504]'::halfvec, '[65504]']) h;
SELECT sum(h) FROM unnest(ARRAY['[65504]'::halfvec, '[65504]']) h;
SELECT avg(h) FROM unnest(ARRAY['[1,2]'::halfvec, '[3]']) h;
SELECT sum(h) FROM unnest(ARRAY['[1,2]'::halfvec, '[3]']) h;
SELECT halfvec_accum('{0}', '[1,2,3]'), halfvec_accum('{1,10,20,30}', '[1,2,3]'), halfvec_avg('{2,2,4,6}'), halfvec_avg('{0}'), halfvec_combine('{1,2}', '{3,4}');
SELECT halfvec_accum('{NULL}', '[1,2,3]');
SELECT halfvec_avg('{1}');
SELECT halfvec_avg('{1,70000}');
SELECT halfvec_avg('{1,NaN}');
CREATE TABLE halfvec_many AS SELECT ARRAY[i % 100, i % 7, 1]::halfvec h FROM generate_series(1, 2000) i;
ALTER TABLE halfvec_many SET (parallel_workers = 2);
SET parallel_setup_cost = 0;
SET min_parallel_table_scan_size = 0;
SELECT avg(h) FROM halfvec_many;
RESET parallel_setup_cost;
RESET min_parallel_table_scan_size;
DROP TABLE halfvec_many;

-- casts
SELECT ARRAY[1,2,3]::halfvec, ARRAY[1,2]::real[]::halfvec, ARRAY[1,2]::float8[]::halfvec, ARRAY[1.5,2]::numeric[]::halfvec, '[1,2.5]'::halfvec::real[], '[1.1,2]'::vector::halfvec, '[1.1,2]'::halfvec::vector;
SELECT ARRAY[65520]::halfvec;
SELECT ARRAY[-1e30,0]::float8[]::halfvec;
SELECT '[65520]'::vector::halfvec;
SELECT '{NaN}'::real[]::halfvec;
SELECT '{Infinity}'::float8[]::halfvec;
SELECT '{1,NULL}'::int[]::halfvec;
SELECT '{{1}}'::real[]::halfvec;
SELECT '{}'::real[]::halfvec;
SELECT '[1,2]'::vector::halfvec(3);
SELECT '[1,2]'::halfvec::vector(3);
SELECT castsource::regtype, casttarget::regtype, castfunc::regprocedure, castcontext, castmethod FROM pg_cast
WHERE castsource = 'halfvec'::regtype OR casttarget = 'halfvec'::regtype
ORDER BY castsource::regtype::text COLLATE "C", casttarget::regtype::text COLLATE "C";
SELECT NULL::halfvec <-> '[1]', NULL::vector::halfvec, '{"[1,2]",NULL}'::halfvec(2)[];
