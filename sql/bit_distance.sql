-- Distances of bit strings.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS tandem;
RESET client_min_messages;

SELECT hamming_distance(B'111', B'111'), hamming_distance(B'111', B'110'), B'111' <~> B'100', B'111' <~> B'000';
SELECT jaccard_distance(B'1111', B'1111'), jaccard_distance(B'1111', B'1110'), B'1111' <%> B'1100', B'1111' <%> B'1000', B'1111' <%> B'0000', B'0000' <%> B'0000', B'1100' <%> B'0011';
SELECT ''::bit(1) <~> B'1', B''::varbit::bit <~> B'';
SELECT B'111' <~> B'00';
SELECT B'111' <%> B'00';
\set VERBOSITY sqlstate
SELECT B'1' <~> B'00';
\set VERBOSITY default
SELECT NULL::bit(3) <~> B'111', binary_quantize('[1,-1,2]'::vector) <~> B'111';

-- every length, against counting ones
CREATE TABLE bit_pairs AS
  SELECT n, (SELECT string_agg((abs(hashint8(n * 1000 + i)) % 2)::text, '') FROM generate_series(1, n) i)::varbit a,
    (SELECT string_agg((abs(hashint8(n * 7919 + i)) % 2)::text, '') FROM generate_series(1, n) i)::varbit b
  FROM unnest(ARRAY[1, 7, 8, 9, 63, 64, 65, 127, 128, 129, 500, 511, 512, 513, 1000, 2049, 16000]) n;
SELECT count(*), count(*) FILTER (WHERE a::bit(20000) <~> b::bit(20000) = length(replace((a # b)::text, '0', ''))) hamming,
  count(*) FILTER (WHERE a::bit(20000) <%> b::bit(20000) = 1 - coalesce(length(replace((a & b)::text, '0', ''))::float8 / nullif(length(replace((a | b)::text, '0', '')), 0), 0)) jaccard,
  count(*) FILTER (WHERE hamming_distance(a::bit(16000), b::bit(16000)) = hamming_distance(b::bit(16000), a::bit(16000))) symmetric
FROM bit_pairs;
DROP TABLE bit_pairs;

-- stored out of line
CREATE TABLE bit_wide AS SELECT repeat('10', 32000)::bit(64000) v;
SELECT v <~> repeat('01', 32000)::bit(64000), v <%> v FROM bit_wide;
DROP TABLE bit_wide;
SELECT oprname, oprleft::regtype, oprright::regtype, oprresult::regtype, oprcode, oprcom::regoperator FROM pg_operator
WHERE oprname IN ('<~>', '<%>') AND oprleft = 'bit'::regtype ORDER BY oprname COLLATE "C";
