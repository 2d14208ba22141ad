SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS tandem;
CREATE SCHEMA bit_index;
SET search_path = bit_index, public;
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/include/index_checks.sql'
\set ECHO none
\i :helpers
\set ECHO all
-- Indexes of bit strings by Hamming distance.

CREATE FUNCTION pseudo_bits(seed int, bits int) RETURNS bit LANGUAGE sql IMMUTABLE AS $$
  SELECT binary_quantize((SELECT array_agg(hashint4(seed * 16411 + i)::real) FROM generate_series(1, bits) i)::vector)
$$;
CREATE TABLE items (id int PRIMARY KEY, kind int, b bit(60));
INSERT INTO items SELECT i, i % 50, pseudo_bits(i, 60) FROM generate_series(1, 1500) i;
CREATE INDEX items_b ON items USING tandem (b bit_hamming_ops);
CREATE INDEX items_sets ON items USING tandem (b bit_jaccard_ops);
CREATE INDEX ON items (kind);
INSERT INTO items SELECT i, i % 50, pseudo_bits(i, 60) FROM generate_series(1501, 2000) i;
INSERT INTO items VALUES (3001, 1, NULL), (3002, 1, repeat('0', 60)::bit(60)), (3003, 2, repeat('1', 60)::bit(60));
ANALYZE items;
SELECT index_against_sort('SELECT id, b <~> pseudo_bits(7, 60) FROM items ORDER BY b <~> pseudo_bits(7, 60)');
SELECT index_against_sort('SELECT id, pseudo_bits(7, 60) <~> b FROM items ORDER BY pseudo_bits(7, 60) <~> b');
SELECT index_against_sort('SELECT id, b <~> pseudo_bits(7, 60) FROM items ORDER BY b <~> pseudo_bits(7, 60) LIMIT 10', false);
SELECT filtered_against_sort('SELECT id, b <~> pseudo_bits(9, 60) FROM items WHERE kind = 7 ORDER BY b <~> pseudo_bits(9, 60)');
SELECT index_against_sort('SELECT id, b <%> pseudo_bits(7, 60) FROM items ORDER BY b <%> pseudo_bits(7, 60)');
SELECT index_against_sort('SELECT id, b <%> repeat(''0'', 60)::bit(60) FROM items ORDER BY b <%> repeat(''0'', 60)::bit(60)');
-- through graphs, with a tail
ALTER INDEX items_b SET (strategy = 'hnsw_batch');
ALTER INDEX items_sets SET (strategy = 'hnsw_batch');
CALL tandem_build('items_b');
CALL tandem_build('items_sets');
INSERT INTO items SELECT i, i % 50, pseudo_bits(i, 60) FROM generate_series(4001, 4100) i;
SELECT graphs_against_sort('SELECT id, b <~> pseudo_bits(7, 60) FROM items ORDER BY b <~> pseudo_bits(7, 60)');
SELECT filtered_against_sort('SELECT id, b <~> pseudo_bits(9, 60) FROM items WHERE kind = 7 ORDER BY b <~> pseudo_bits(9, 60)');
DELETE FROM items WHERE id % 3 = 0;
VACUUM items;
SELECT graphs_against_sort('SELECT id, b <~> pseudo_bits(7, 60) FROM items ORDER BY b <~> pseudo_bits(7, 60)');
SELECT graphs_against_sort('SELECT id, b <%> pseudo_bits(7, 60) FROM items ORDER BY b <%> pseudo_bits(7, 60)');
SELECT graphs_against_sort('SELECT id, b <%> repeat(''0'', 60)::bit(60) FROM items ORDER BY b <%> repeat(''0'', 60)::bit(60)');
SELECT count(*) FROM (SELECT tandem_verify(c, true) FROM unnest('{items_b,items_sets}'::regclass[]) c) v;
SELECT indexname, metric, dimensions, vector_bytes < 100000 AS small FROM tandem_index_stats WHERE schemaname = 'bit_index' ORDER BY 1;

-- Graphs are of the bits themselves, unless another codec is asked for by name; then again when they are merged. Rows of the same
-- distance, a long tail, rows that died, filters. By the bits' own distances no row is read to order it.
CREATE TABLE coded (id int PRIMARY KEY, kind int, b bit(100));
INSERT INTO coded SELECT i, i % 20, pseudo_bits(i % 700, 90)::bit(100) FROM generate_series(1, 900) i;
CREATE INDEX ON coded (kind);
CREATE INDEX coded_b ON coded USING tandem (b bit_hamming_ops) WITH (strategy = 'hnsw_batch');
CREATE INDEX coded_sets ON coded USING tandem (b bit_jaccard_ops) WITH (strategy = 'hnsw_batch');
CALL tandem_build('coded_b');
CALL tandem_build('coded_sets');
CREATE FUNCTION re_ranks(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  line text;
BEGIN
  PERFORM set_config('enable_seqscan', 'off', true), set_config('tandem.stop_points', 'always-graph=on', true);
  FOR line IN EXECUTE 'EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) ' || query LOOP
    EXIT WHEN line ~ 'Re-ranked Rows';
  END LOOP;
  PERFORM set_config('enable_seqscan', 'on', true), set_config('tandem.stop_points', '', true);
  RETURN CASE WHEN line ~ ': 0$' THEN 'none' WHEN line ~ 'Re-ranked' THEN 'some' END;
EXCEPTION WHEN undefined_object THEN
  RETURN NULL;
END $$;
CREATE VIEW coded_answers AS SELECT
  graphs_against_sort('SELECT id, b <~> pseudo_bits(7, 90)::bit(100) FROM coded ORDER BY b <~> pseudo_bits(7, 90)::bit(100)') AS hamming,
  graphs_against_sort('SELECT id, b <%> pseudo_bits(7, 90)::bit(100) FROM coded ORDER BY b <%> pseudo_bits(7, 90)::bit(100)') AS jaccard,
  filtered_against_sort('SELECT id, b <~> pseudo_bits(9, 90)::bit(100) FROM coded WHERE kind = 3 ORDER BY b <~> pseudo_bits(9, 90)::bit(100)') AS filtered,
  (SELECT string_agg(codec || ': ' || codec_reason, '; ' ORDER BY indexname) FROM tandem_index_stats WHERE indexname IN ('coded_b', 'coded_sets')) AS codecs,
  (SELECT count(*) FROM unnest('{coded_b,coded_sets}'::regclass[]) c, tandem_verify(c, true)) AS problems;
ANALYZE coded;
SELECT * FROM coded_answers;
SELECT re_ranks('SELECT id FROM coded ORDER BY b <~> pseudo_bits(7, 90)::bit(100) LIMIT 10') IS DISTINCT FROM 'some' AS hamming_reads_none,
       re_ranks('SELECT id FROM coded ORDER BY b <%> pseudo_bits(7, 90)::bit(100) LIMIT 10') IS DISTINCT FROM 'some' AS jaccard_reads_none;
-- Pools by Jaccard distance are twice as large as what is asked for.
CREATE FUNCTION first_batch(distance text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  nodes bigint;
BEGIN
  PERFORM set_config('enable_seqscan', 'off', true), set_config('enable_sort', 'off', true), set_config('tandem.stop_points', 'always-graph=on', true),
          set_config('tandem.iterative_scan', 'off', true), set_config('tandem.ef_search', '20', true);
  EXECUTE format('SELECT count(DISTINCT b) FROM (SELECT b FROM coded ORDER BY b %s pseudo_bits(7, 90)::bit(100) OFFSET 0) x', distance) INTO nodes;
  PERFORM set_config('enable_seqscan', 'on', true), set_config('enable_sort', 'on', true), set_config('tandem.stop_points', '', true),
          set_config('tandem.iterative_scan', 'strict_order', true), set_config('tandem.ef_search', '0', true);
  RETURN nodes;
EXCEPTION WHEN undefined_object THEN
  RETURN NULL;
END $$;
SELECT coalesce(first_batch('<~>'), 20) AS hamming, coalesce(first_batch('<%>'), 40) AS jaccard;
INSERT INTO coded SELECT i, i % 20, pseudo_bits(i % 800, 90)::bit(100) FROM generate_series(901, 1600) i;
SELECT * FROM coded_answers;
DELETE FROM coded WHERE id % 4 = 0;
VACUUM coded;
CALL tandem_build('coded_b');
CALL tandem_build('coded_sets');
SELECT * FROM coded_answers;
CREATE FUNCTION encode_anew(codec text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE format('ALTER INDEX coded_b SET (codec = %s); ALTER INDEX coded_sets SET (codec = %s); REINDEX TABLE coded', codec, codec);
END $$;
SELECT codec, encode_anew(codec) FROM (VALUES ('sq8')) v(codec);
CALL tandem_build('coded_b');
CALL tandem_build('coded_sets');
SELECT * FROM coded_answers;
SELECT re_ranks('SELECT id FROM coded ORDER BY b <~> pseudo_bits(7, 90)::bit(100) LIMIT 10') IS DISTINCT FROM 'none' AS hamming_reads_some;
-- A graph of 8-bit codes, and a tail; then all of it on bits.
ALTER INDEX coded_b RESET (codec);
ALTER INDEX coded_sets RESET (codec);
INSERT INTO coded SELECT i, i % 20, pseudo_bits(i % 900, 90)::bit(100) FROM generate_series(1601, 2400) i;
SELECT * FROM coded_answers;
CALL tandem_build('coded_b');
CALL tandem_build('coded_sets');
SELECT * FROM coded_answers;
SELECT codec, encode_anew(codec) FROM (VALUES ('sq4')) v(codec);
CALL tandem_build('coded_b');
CALL tandem_build('coded_sets');
SELECT * FROM coded_answers;
SELECT codec, encode_anew(codec) FROM (VALUES ('fp16')) v(codec);
CALL tandem_build('coded_b');
CALL tandem_build('coded_sets');
SELECT * FROM coded_answers;
ALTER INDEX coded_b RESET (codec);
ALTER INDEX coded_b SET (strategy = 'hnsw_inline');
ALTER INDEX coded_sets RESET (codec, m);
ALTER INDEX coded_sets SET (strategy = 'flat');
REINDEX TABLE coded;
SELECT * FROM coded_answers;
-- Temporary and unlogged.
CREATE TEMP TABLE coded_temp AS SELECT * FROM coded;
CREATE INDEX coded_temp_b ON coded_temp USING tandem (b bit_jaccard_ops) WITH (strategy = 'hnsw_inline');
INSERT INTO coded_temp SELECT id + 5000, kind, b FROM coded WHERE id < 200;
SELECT graphs_against_sort('SELECT id, b <%> pseudo_bits(7, 90)::bit(100) FROM coded_temp ORDER BY b <%> pseudo_bits(7, 90)::bit(100)');
CREATE UNLOGGED TABLE coded_unlogged AS SELECT * FROM coded;
CREATE INDEX coded_unlogged_b ON coded_unlogged USING tandem (b bit_hamming_ops) WITH (strategy = 'hnsw_inline');
INSERT INTO coded_unlogged SELECT id + 5000, kind, b FROM coded WHERE id < 200;
SELECT graphs_against_sort('SELECT id, b <~> pseudo_bits(7, 90)::bit(100) FROM coded_unlogged ORDER BY b <~> pseudo_bits(7, 90)::bit(100)');
SELECT indexname, codec FROM tandem_index_stats WHERE indexname IN ('coded_temp_b', 'coded_unlogged_b') ORDER BY 1;
CREATE INDEX refused_codec ON coded USING tandem (b bit_hamming_ops) WITH (strategy = 'hnsw_inline', codec = 'bit');

-- rows of one byte, of odd numbers of bytes that cross pages, with many ties, and packed
CREATE TABLE tiny (id int, b bit(3));
INSERT INTO tiny SELECT i, pseudo_bits(i, 3) FROM generate_series(1, 1200) i;
CREATE INDEX tiny_b ON tiny USING tandem (b bit_hamming_ops) WITH (strategy = 'hnsw_inline');
INSERT INTO tiny SELECT i, pseudo_bits(i, 3) FROM generate_series(1201, 1300) i;
SELECT graphs_against_sort('SELECT id, b <~> B''101'' FROM tiny ORDER BY b <~> B''101''');
CREATE TABLE wide (id int, b bit(16000));
INSERT INTO wide SELECT i, (pseudo_bits(i, 100)::text || repeat(CASE i % 3 WHEN 0 THEN '01' ELSE '10' END, 7950))::bit(16000) FROM generate_series(1, 60) i;
CREATE INDEX wide_b ON wide USING tandem (b bit_hamming_ops) WITH (strategy = 'hnsw_inline');
SELECT index_against_sort('SELECT id, b <~> repeat(''001'', 5334)::bit(16000) FROM wide ORDER BY b <~> repeat(''001'', 5334)::bit(16000)');
CREATE TABLE odd (id int, b bit(1003));
INSERT INTO odd SELECT i, pseudo_bits(i, 1003) FROM generate_series(1, 600) i;
CREATE INDEX odd_b ON odd USING tandem (b bit_hamming_ops);
SELECT index_against_sort('SELECT id, b <~> pseudo_bits(7, 1003) FROM odd ORDER BY b <~> pseudo_bits(7, 1003)');
DELETE FROM odd WHERE id % 20 <> 0;
VACUUM odd;
SELECT index_against_sort('SELECT id, b <~> pseudo_bits(7, 1003) FROM odd ORDER BY b <~> pseudo_bits(7, 1003)');
SELECT count(*) FROM (SELECT tandem_verify(c, true) FROM unnest('{tiny_b,wide_b,odd_b}'::regclass[]) c) v;

-- more bits than graphs take: these are of sketches
CREATE FUNCTION long_bits(seed int, noise int DEFAULT 0) RETURNS bit(64000) LANGUAGE sql IMMUTABLE AS $$
  SELECT (repeat(pseudo_bits(seed % 5, 640)::text, 50) || repeat(pseudo_bits(seed % 40, 320)::text, 90)
    || pseudo_bits(seed * 31 + noise, 3200)::text)::bit(64000)
$$;
CREATE TABLE long (id int PRIMARY KEY, kind int, b bit(64000));
INSERT INTO long SELECT i, i % 7, long_bits(i) FROM generate_series(1, 400) i;
CREATE INDEX long_b ON long USING tandem (b bit_hamming_ops);
CREATE INDEX long_sets ON long USING tandem (b bit_jaccard_ops);
CREATE INDEX ON long (kind);
ANALYZE long;
SELECT index_against_sort('SELECT id, b <~> long_bits(7, 1) FROM long ORDER BY b <~> long_bits(7, 1)');
SELECT index_against_sort('SELECT id, b <%> long_bits(7, 1) FROM long ORDER BY b <%> long_bits(7, 1)');
ALTER INDEX long_b SET (strategy = 'hnsw_inline');
ALTER INDEX long_sets SET (strategy = 'hnsw_inline');
CALL tandem_build('long_b');
CALL tandem_build('long_sets');
INSERT INTO long SELECT i, i % 7, long_bits(i) FROM generate_series(401, 420) i;
INSERT INTO long VALUES (1001, 1, repeat('0', 64000)::bit(64000)), (1002, 1, NULL);
DELETE FROM long WHERE id % 4 = 0;
VACUUM long;
SELECT indexname, metric, dimensions, indexed_rows, tail_rows FROM tandem_index_stats WHERE indexname LIKE 'long%' ORDER BY 1;
SELECT graphs_against_sort('SELECT id, b <~> long_bits(7, 1) FROM long ORDER BY b <~> long_bits(7, 1)');
SELECT graphs_against_sort('SELECT id, b <%> long_bits(7, 1) FROM long ORDER BY b <%> long_bits(7, 1)');
SELECT filtered_against_sort('SELECT id, b <~> long_bits(9, 1) FROM long WHERE kind = 3 ORDER BY b <~> long_bits(9, 1)');
SELECT count(*) FROM (SELECT tandem_verify(c, true) FROM unnest('{long_b,long_sets}'::regclass[]) c) v;

-- signs of vectors, ordered anew by the vectors
CREATE TABLE documents (id int, v vector(40));
INSERT INTO documents SELECT i, pseudo_vector(i, 40) FROM generate_series(1, 1000) i;
CREATE INDEX signs ON documents USING tandem ((binary_quantize(v)::bit(40)) bit_hamming_ops) WITH (strategy = 'hnsw_inline');
INSERT INTO documents SELECT i, pseudo_vector(i, 40) FROM generate_series(1001, 1100) i;
SELECT graphs_against_sort('SELECT id, binary_quantize(v)::bit(40) <~> binary_quantize(pseudo_vector(5, 40)) FROM documents ORDER BY binary_quantize(v)::bit(40) <~> binary_quantize(pseudo_vector(5, 40))');
SET enable_seqscan = off;
SELECT plan('SELECT id FROM (SELECT id, v FROM documents ORDER BY binary_quantize(v)::bit(40) <~> binary_quantize(pseudo_vector(5, 40)) LIMIT 200) r ORDER BY v <=> pseudo_vector(5, 40) LIMIT 3');
SELECT id FROM (SELECT id, v FROM documents ORDER BY binary_quantize(v)::bit(40) <~> binary_quantize(pseudo_vector(5, 40)) LIMIT 200) r ORDER BY v <=> pseudo_vector(5, 40) LIMIT 1;
RESET enable_seqscan;

-- what is refused
CREATE TABLE refused (b bit(64001), c varbit(10), v vector(3));
CREATE INDEX ON refused USING tandem (b bit_hamming_ops);
CREATE INDEX ON refused USING tandem (c bit_hamming_ops);
CREATE INDEX ON refused USING tandem (v bit_hamming_ops);
CREATE INDEX ON refused USING tandem ((binary_quantize(v)) bit_hamming_ops);
INSERT INTO items VALUES (9001, 1, B'01');
SET enable_seqscan = off;
SELECT id FROM items ORDER BY b <~> B'01' LIMIT 1;
RESET enable_seqscan;
SELECT opcname, amvalidate(c.oid) FROM pg_opclass c JOIN pg_am a ON a.oid = opcmethod WHERE amname = 'tandem' AND opcname LIKE 'bit%' ORDER BY 1;
-- A domain hides no type without a length of its own.
CREATE DOMAIN flags AS bit varying(10);
CREATE TABLE of_domain (f flags);
CREATE INDEX ON of_domain USING tandem (f bit_hamming_ops);
DROP SCHEMA bit_index CASCADE;
