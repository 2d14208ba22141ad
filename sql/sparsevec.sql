-- Type sparsevec.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS tandem;
RESET client_min_messages;

-- text form: indices from 1, zeros dropped, sorted
SELECT '{1:1.5,3:3.5}/5'::sparsevec, '{}/5'::sparsevec, '{3:2,1:1}/3'::sparsevec, '{1:0,2:1,3:-0}/3'::sparsevec;
SELECT ' { 1 : 1.5 , 2 : -2e-3 } / 5 '::sparsevec, '{1:1e-45,+2:.5}/2'::sparsevec, '{1000000000:1}/1000000000'::sparsevec;
SELECT '{1:3.4028235e38,2:-0x1.8p1}/2'::sparsevec;
SELECT ''::sparsevec;
SELECT '{'::sparsevec;
SELECT '{ '::sparsevec;
SELECT '[1,2]'::sparsevec;
SELECT '{:1}/1'::sparsevec;
SELECT '{1:}/1'::sparsevec;
SELECT '{1'::sparsevec;
SELECT '{1:'::sparsevec;
SELECT '{1:1'::sparsevec;
SELECT '{1:1,'::sparsevec;
SELECT '{1:1,}/1'::sparsevec;
SELECT '{,}/2'::sparsevec;
SELECT '{1:1}'::sparsevec;
SELECT '{1:1}/'::sparsevec;
SELECT '{1:1}/x'::sparsevec;
SELECT '{1:1}/1x'::sparsevec;
SELECT '{1:1}1/1'::sparsevec;
SELECT '{a:1}/1'::sparsevec;
SELECT '{1:a}/1'::sparsevec;
SELECT '{1.5:1}/1'::sparsevec;
SELECT '{1 2:1}/5'::sparsevec;
SELECT '{0:1}/1'::sparsevec;
SELECT '{-1:1}/1'::sparsevec;
SELECT '{2:1}/1'::sparsevec;
SELECT '{-99999999999999999999:1}/1'::sparsevec;
SELECT '{99999999999999999999:1}/1'::sparsevec;
SELECT '{2147483647:1}/1'::sparsevec;
SELECT '{1:1,1:2}/1'::sparsevec;
SELECT '{1:1,1:0}/1'::sparsevec;
SELECT '{}/0'::sparsevec;
SELECT '{}/-1'::sparsevec;
SELECT '{}/1000000001'::sparsevec;
SELECT '{}/99999999999999999999'::sparsevec;
SELECT '{1:NaN}/1'::sparsevec;
SELECT '{1:-Infinity}/1'::sparsevec;
SELECT '{1:4e38}/1'::sparsevec;
SELECT '{1:-1e-46}/1'::sparsevec;
SELECT left(('{' || (SELECT string_agg(i || ':1', ',') FROM generate_series(1, 16000) i) || '}/16001')::sparsevec::text, 20);
SELECT ('{' || (SELECT string_agg(i || ':0', ',') FROM generate_series(1, 16001) i) || '}/16001')::sparsevec;
\set VERBOSITY sqlstate
SELECT '{1:1'::sparsevec;
SELECT '{2:1}/1'::sparsevec;
SELECT '{1:1,1:2}/1'::sparsevec;
SELECT '{}/0'::sparsevec;
SELECT '{}/1000000001'::sparsevec;
SELECT '{1:NaN}/1'::sparsevec;
SELECT '{1:4e38}/1'::sparsevec;
SELECT '{}/2'::sparsevec(3);
\set VERBOSITY default

-- type modifier
SELECT '{1:1}/3'::sparsevec(3), format_type('sparsevec'::regtype, 3), '{"{1:1}/2",NULL}'::sparsevec(2)[];
SELECT '{1:1}/3'::sparsevec(2);
SELECT '{1:1}/3'::sparsevec(3, 2);
SELECT '{1:1}/3'::sparsevec(0);
SELECT '{1:1}/3'::sparsevec(1000000001);

-- storage: 16 + 8n bytes
SELECT typlen, typbyval, typalign, typstorage, typcategory, typtype FROM pg_type WHERE oid = 'sparsevec'::regtype;
SELECT pg_column_size('{}/5'::sparsevec), pg_column_size('{1:1,2:2}/5'::sparsevec);
CREATE TABLE sparsevec_storage (c "char", v sparsevec(20000));
INSERT INTO sparsevec_storage SELECT 'a', ('{' || (SELECT string_agg(i || ':' || i, ',') FROM generate_series(1, n) i) || '}/20000')::sparsevec FROM unnest(ARRAY[1, 13, 14, 15, 300, 16000]) n;
SELECT pg_column_size(v), round(l2_norm(v)) FROM sparsevec_storage ORDER BY v;
INSERT INTO sparsevec_storage VALUES ('b', '{1:1}/3');
DROP TABLE sparsevec_storage;

-- binary form: int32 dimensions, elements, zero; indices from 0, float32 values
\getenv build_dir PG_ABS_BUILDDIR
\set file :build_dir '/results/sparsevec.bin'
SELECT sparsevec_send('{1:1,3:-2.5}/5'), sparsevec_send('{}/5');
CREATE TABLE sparsevec_sent (id int, v sparsevec);
CREATE TABLE sparsevec_received (id int, v sparsevec);
INSERT INTO sparsevec_sent VALUES (1, '{}/1'), (2, '{1:1.5,1000000000:-1e-45}/1000000000'), (3, NULL), (4, array_fill(0.1, ARRAY[16000])::real[]::sparsevec);
COPY sparsevec_sent TO :'file' (FORMAT binary);
COPY sparsevec_received FROM :'file' (FORMAT binary);
SELECT count(*) FROM sparsevec_sent s JOIN sparsevec_received r USING (id) WHERE s.v::text IS NOT DISTINCT FROM r.v::text;
CREATE TABLE sparsevec_message (message bytea);
CREATE TABLE sparsevec_result (v sparsevec);
INSERT INTO sparsevec_message VALUES ('\x0000000500000002000000000000000000000002' || '\x3f800000c0200000'::bytea);
COPY sparsevec_message TO :'file' (FORMAT binary); COPY sparsevec_result FROM :'file' (FORMAT binary);
SELECT * FROM sparsevec_result;
TRUNCATE sparsevec_message; INSERT INTO sparsevec_message VALUES ('\x00000005');
COPY sparsevec_message TO :'file' (FORMAT binary); COPY sparsevec_result FROM :'file' (FORMAT binary);
TRUNCATE sparsevec_message; INSERT INTO sparsevec_message VALUES ('\x00000005000000020000000000000000000000023f800000');
COPY sparsevec_message TO :'file' (FORMAT binary); COPY sparsevec_result FROM :'file' (FORMAT binary);
TRUNCATE sparsevec_message; INSERT INTO sparsevec_message VALUES ('\x000000050000000000000000aa');
COPY sparsevec_message TO :'file' (FORMAT binary); COPY sparsevec_result FROM :'file' (FORMAT binary);
TRUNCATE sparsevec_message; INSERT INTO sparsevec_message VALUES ('\x000000000000000000000000');
COPY sparsevec_message TO :'file' (FORMAT binary); COPY sparsevec_result FROM :'file' (FORMAT binary);
TRUNCATE sparsevec_message; INSERT INTO sparsevec_message VALUES ('\x3b9aca010000000000000000');
COPY sparsevec_message TO :'file' (FORMAT binary); COPY sparsevec_result FROM :'file' (FORMAT binary);
TRUNCATE sparsevec_message; INSERT INTO sparsevec_message VALUES ('\x00000005ffffffff00000000');
COPY sparsevec_message TO :'file' (FORMAT binary); COPY sparsevec_result FROM :'file' (FORMAT binary);
TRUNCATE sparsevec_message; INSERT INTO sparsevec_message VALUES ('\x0000000500003e8100000000');
COPY sparsevec_message TO :'file' (FORMAT binary); COPY sparsevec_result FROM :'file' (FORMAT binary);
TRUNCATE sparsevec_message; INSERT INTO sparsevec_message VALUES ('\x000000010000000200000000');
COPY sparsevec_message TO :'file' (FORMAT binary); COPY sparsevec_result FROM :'file' (FORMAT binary);
TRUNCATE sparsevec_message; INSERT INTO sparsevec_message VALUES ('\x000000010000000000000001');
COPY sparsevec_message TO :'file' (FORMAT binary); COPY sparsevec_result FROM :'file' (FORMAT binary);
TRUNCATE sparsevec_message; INSERT INTO sparsevec_message VALUES ('\x000000050000000100000000' || '\x000000053f800000'::bytea);
COPY sparsevec_message TO :'file' (FORMAT binary); COPY sparsevec_result FROM :'file' (FORMAT binary);
TRUNCATE sparsevec_message; INSERT INTO sparsevec_message VALUES ('\x000000050000000100000000' || '\xffffffff3f800000'::bytea);
COPY sparsevec_message TO :'file' (FORMAT binary); COPY sparsevec_result FROM :'file' (FORMAT binary);
TRUNCATE sparsevec_message; INSERT INTO sparsevec_message VALUES ('\x000000050000000200000000' || '\x00000002000000013f8000003f800000'::bytea);
COPY sparsevec_message TO :'file' (FORMAT binary); COPY sparsevec_result FROM :'file' (FORMAT binary);
TRUNCATE sparsevec_message; INSERT INTO sparsevec_message VALUES ('\x000000050000000200000000' || '\x00000001000000013f8000003f800000'::bytea);
COPY sparsevec_message TO :'file' (FORMAT binary); COPY sparsevec_result FROM :'file' (FORMAT binary);
TRUNCATE sparsevec_message; INSERT INTO sparsevec_message VALUES ('\x000000050000000100000000' || '\x0000000000000000'::bytea);
COPY sparsevec_message TO :'file' (FORMAT binary); COPY sparsevec_result FROM :'file' (FORMAT binary);
TRUNCATE sparsevec_message; INSERT INTO sparsevec_message VALUES ('\x000000050000000100000000' || '\x000000007fc00000'::bytea);
COPY sparsevec_message TO :'file' (FORMAT binary); COPY sparsevec_result FROM :'file' (FORMAT binary);
TRUNCATE sparsevec_message; INSERT INTO sparsevec_message VALUES ('\x000000050000000100000000' || '\x00000000ff800000'::bytea);
COPY sparsevec_message TO :'file' (FORMAT binary); COPY sparsevec_result FROM :'file' (FORMAT binary);
DROP TABLE sparsevec_sent, sparsevec_received, sparsevec_message, sparsevec_result;

-- distances
SELECT '{}/2'::sparsevec <-> '{1:3,2:4}/2', '{1:1,2:2}/3'::sparsevec <#> '{2:3,3:4}/3', '{1:1}/2'::sparsevec <=> '{1:-2}/2', '{1:1,3:2}/3'::sparsevec <+> '{2:3,3:5}/3';
SELECT l2_distance('{1:3}/2'::sparsevec, '{2:4}/2'), inner_product('{1:1}/2'::sparsevec, '{1:2}/2'), cosine_distance('{1:1}/2'::sparsevec, '{2:2}/2'), l1_distance('{1:3}/2'::sparsevec, '{2:4}/2');
SELECT '{}/2'::sparsevec <=> '{1:1}/2', '{1:3e38}/1'::sparsevec <-> '{1:-3e38}/1', '{1:3e38}/1'::sparsevec <#> '{1:3e38}/1', '{1:3e38}/1'::sparsevec <+> '{1:-3e38}/1', '{}/3'::sparsevec <#> '{}/3';
SELECT sparsevec_l2_squared_distance('{1:3}/2', '{2:4}/2'), sparsevec_negative_inner_product('{1:1}/2', '{1:2}/2');
SELECT '{}/2'::sparsevec <-> '{}/3';
SELECT '{}/2'::sparsevec <#> '{}/3';
SELECT '{}/2'::sparsevec <=> '{}/3';
SELECT '{}/2'::sparsevec <+> '{}/3';
-- as of dense vectors; integers, so that every order of additions gives the same
CREATE TABLE sparsevec_pairs AS
  SELECT n, (SELECT array_agg(greatest(hashint8(n * 1000 + i) % 7, 0)) FROM generate_series(1, n) i)::vector a,
    (SELECT array_agg(least(hashint8(n * 7919 + i) % 5, 0)) FROM generate_series(1, n) i)::vector b FROM unnest(ARRAY[1, 2, 5, 10, 100, 1000]) n;
SELECT count(*), count(*) FILTER (WHERE a::sparsevec <-> b::sparsevec = a <-> b AND a::sparsevec <#> b::sparsevec = a <#> b
  AND a::sparsevec <+> b::sparsevec = a <+> b AND a::sparsevec <=> b::sparsevec IS NOT DISTINCT FROM a <=> b AND a::sparsevec <-> b::sparsevec = b::sparsevec <-> a::sparsevec
  AND sign(sparsevec_cmp(a, b)) = sign(vector_cmp(a, b)) AND l2_norm(a::sparsevec) = vector_norm(a) AND a::sparsevec::vector = a) same FROM sparsevec_pairs;
DROP TABLE sparsevec_pairs;

-- functions
SELECT l2_norm('{1:3,2:4}/2'::sparsevec), l2_norm('{}/2'::sparsevec), l2_norm('{1:3e38,2:3e38}/2'::sparsevec), l2_normalize('{1:3,3:4}/3'::sparsevec), l2_normalize('{}/3'::sparsevec), l2_normalize('{1:3e38}/1'::sparsevec), l2_normalize('{1:3e38,2:1e-37}/2'::sparsevec);

-- order: that of the dense vectors
SELECT sparsevec_cmp('{}/1', '{}/1'), sparsevec_cmp('{1:1}/2', '{2:1}/2'), sparsevec_cmp('{1:-1}/2', '{2:1}/2'), sparsevec_cmp('{1:1}/1', '{1:1,2:1}/2'), sparsevec_cmp('{1:1}/1', '{1:1,2:-1}/2'), sparsevec_cmp('{1:1}/2', '{1:1,2:-1}/2'), sparsevec_cmp('{}/3', '{3:1}/4'), sparsevec_cmp('{}/2', '{3:-1}/4');
SELECT '{1:1}/2'::sparsevec < '{1:2}/2', '{1:1}/2'::sparsevec <= '{1:1}/2', '{1:1}/2'::sparsevec = '{1:1}/3', '{1:1}/2'::sparsevec <> '{1:1}/3', '{1:1}/2'::sparsevec >= '{1:2}/2', '{2:-1}/2'::sparsevec > '{}/2';
CREATE TABLE sparsevec_sorted (id int, v sparsevec);
INSERT INTO sparsevec_sorted VALUES (1, '{}/3'), (2, '{1:1}/3'), (3, '{3:-1}/3'), (4, NULL), (5, '{1:1}/2'), (6, '{1:-1}/1'), (7, '{1:1}/3');
CREATE INDEX ON sparsevec_sorted (v);
SET enable_seqscan = off;
SELECT id FROM sparsevec_sorted WHERE v = '{1:1}/3' ORDER BY id;
SELECT v FROM sparsevec_sorted ORDER BY v;
RESET enable_seqscan;
SELECT amvalidate(oid), opcdefault FROM pg_opclass WHERE opcname = 'sparsevec_ops';
DROP TABLE sparsevec_sorted;

-- casts
SELECT ARRAY[1,0,2]::sparsevec, '{0,-0,1.5}'::real[]::sparsevec, '{1e-50,2}'::float8[]::sparsevec, '{0,1.5}'::numeric[]::sparsevec;
SELECT '[0,1.5,-0]'::vector::sparsevec, '[0,1.5,-0]'::halfvec::sparsevec, '{2:1.5}/3'::sparsevec::vector, '{2:1.1}/3'::sparsevec::halfvec;
SELECT '{NaN}'::real[]::sparsevec;
SELECT '{Infinity,0}'::float8[]::sparsevec;
SELECT '{1,NULL}'::int[]::sparsevec;
SELECT '{{1}}'::real[]::sparsevec;
SELECT '{}'::real[]::sparsevec;
SELECT array_fill(1, ARRAY[16001])::sparsevec;
SELECT array_fill(0, ARRAY[16001])::sparsevec;
SELECT '{}/16001'::sparsevec::vector;
SELECT '{}/16001'::sparsevec::halfvec;
SELECT '{1:65520}/1'::sparsevec::halfvec;
SELECT '[0,1]'::vector::sparsevec(3);
SELECT '{1:1}/2'::sparsevec::vector(3);
SELECT castsource::regtype, casttarget::regtype, castfunc::regprocedure, castcontext, castmethod FROM pg_cast
WHERE castsource = 'sparsevec'::regtype OR casttarget = 'sparsevec'::regtype
ORDER BY castsource::regtype::text COLLATE "C", casttarget::regtype::text COLLATE "C";
SELECT NULL::sparsevec <-> '{}/1', NULL::vector::sparsevec;
