-- Binary form of type vector: int16 dimensions, int16 zero, float32 elements, big-endian.
-- Binary COPY writes the bytes of a bytea as they are, so a file written from bytea values and read as vectors feeds
-- the receive function any message.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS tandem;
RESET client_min_messages;
\getenv build_dir PG_ABS_BUILDDIR
\set file :build_dir '/results/vector_binary.bin'

SELECT vector_send('[1,-2.5]'), vector_send('[0]'), vector_send('[-0,1e-45,3.4028235e38]');
SELECT length(vector_send(array_fill(1, ARRAY[16000])::vector));

CREATE TABLE vector_sent (id int, v vector);
INSERT INTO vector_sent VALUES (1, '[0,-0,0]'), (2, '[1,2.5,-3e-2]'), (3, NULL), (4, '[3.4028235e38,1e-45]'), (5, array_fill(0.1, ARRAY[16000])::vector);
CREATE TABLE vector_received (id int, v vector);
COPY vector_sent TO :'file' (FORMAT binary);
COPY vector_received FROM :'file' (FORMAT binary);
SELECT id, s.v::text IS NOT DISTINCT FROM r.v::text same, vector_dims(r.v), pg_column_size(r.v) = pg_column_size(s.v) same_size
FROM vector_sent s JOIN vector_received r USING (id) ORDER BY id;

-- by hand
CREATE TABLE vector_message (message bytea);
CREATE TABLE vector_result (v vector);
INSERT INTO vector_message VALUES ('\x000200003f800000c0200000'), ('\x0001000000000001'), ('\x0001000080000000');
COPY vector_message TO :'file' (FORMAT binary); COPY vector_result FROM :'file' (FORMAT binary);
SELECT * FROM vector_result;

-- the type modifier of the column is enforced
CREATE TABLE vector_result_2 (v vector(2));
COPY vector_result_2 FROM :'file' (FORMAT binary);
DROP TABLE vector_result_2;

-- empty
TRUNCATE vector_message; INSERT INTO vector_message VALUES ('');
COPY vector_message TO :'file' (FORMAT binary); COPY vector_result FROM :'file' (FORMAT binary);
-- header cut short
TRUNCATE vector_message; INSERT INTO vector_message VALUES ('\x000200');
COPY vector_message TO :'file' (FORMAT binary); COPY vector_result FROM :'file' (FORMAT binary);
-- header only
TRUNCATE vector_message; INSERT INTO vector_message VALUES ('\x00020000');
COPY vector_message TO :'file' (FORMAT binary); COPY vector_result FROM :'file' (FORMAT binary);
-- last element cut short
TRUNCATE vector_message; INSERT INTO vector_message VALUES ('\x000200003f8000003f8000');
COPY vector_message TO :'file' (FORMAT binary); COPY vector_result FROM :'file' (FORMAT binary);
-- one element missing
TRUNCATE vector_message; INSERT INTO vector_message VALUES ('\x000200003f800000');
COPY vector_message TO :'file' (FORMAT binary); COPY vector_result FROM :'file' (FORMAT binary);
-- one byte too many
TRUNCATE vector_message; INSERT INTO vector_message VALUES ('\x000100003f80000000');
COPY vector_message TO :'file' (FORMAT binary); COPY vector_result FROM :'file' (FORMAT binary);
-- one element too many
TRUNCATE vector_message; INSERT INTO vector_message VALUES ('\x000100003f8000003f800000');
COPY vector_message TO :'file' (FORMAT binary); COPY vector_result FROM :'file' (FORMAT binary);
-- no dimensions
TRUNCATE vector_message; INSERT INTO vector_message VALUES ('\x00000000');
COPY vector_message TO :'file' (FORMAT binary); COPY vector_result FROM :'file' (FORMAT binary);
-- negative dimensions
TRUNCATE vector_message; INSERT INTO vector_message VALUES ('\xffff0000');
COPY vector_message TO :'file' (FORMAT binary); COPY vector_result FROM :'file' (FORMAT binary);
-- 16,001 dimensions
TRUNCATE vector_message; INSERT INTO vector_message VALUES (int2send(16001::int2) || int2send(0::int2) || decode(repeat('3f800000', 16001), 'hex'));
COPY vector_message TO :'file' (FORMAT binary); COPY vector_result FROM :'file' (FORMAT binary);
-- reserved field not zero
TRUNCATE vector_message; INSERT INTO vector_message VALUES ('\x000100013f800000');
COPY vector_message TO :'file' (FORMAT binary); COPY vector_result FROM :'file' (FORMAT binary);
-- reserved field negative
TRUNCATE vector_message; INSERT INTO vector_message VALUES ('\x0001ffff3f800000');
COPY vector_message TO :'file' (FORMAT binary); COPY vector_result FROM :'file' (FORMAT binary);
-- NaN
TRUNCATE vector_message; INSERT INTO vector_message VALUES ('\x000200003f8000007fc00000');
COPY vector_message TO :'file' (FORMAT binary); COPY vector_result FROM :'file' (FORMAT binary);
-- signalling NaN
TRUNCATE vector_message; INSERT INTO vector_message VALUES ('\x000100007f800001');
COPY vector_message TO :'file' (FORMAT binary); COPY vector_result FROM :'file' (FORMAT binary);
-- infinity
TRUNCATE vector_message; INSERT INTO vector_message VALUES ('\x000100007f800000');
COPY vector_message TO :'file' (FORMAT binary); COPY vector_result FROM :'file' (FORMAT binary);
-- minus infinity
TRUNCATE vector_message; INSERT INTO vector_message VALUES ('\x00010000ff800000');
COPY vector_message TO :'file' (FORMAT binary); COPY vector_result FROM :'file' (FORMAT binary);
-- an array is not a vector
TRUNCATE vector_message; INSERT INTO vector_message VALUES (array_send(ARRAY[1,2]::real[]));
COPY vector_message TO :'file' (FORMAT binary); COPY vector_result FROM :'file' (FORMAT binary);
-- nothing of that got in; the largest vector does
SELECT count(*) FROM vector_result;
TRUNCATE vector_message; INSERT INTO vector_message VALUES (int2send(16000::int2) || int2send(0::int2) || decode(repeat('3f800000', 16000), 'hex'));
COPY vector_message TO :'file' (FORMAT binary); COPY vector_result FROM :'file' (FORMAT binary);
SELECT vector_dims(v), count(*) FROM vector_result GROUP BY 1 ORDER BY 1;
DROP TABLE vector_sent, vector_received, vector_message, vector_result;
