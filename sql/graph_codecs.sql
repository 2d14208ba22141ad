SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS tandem;
CREATE SCHEMA graph_codecs;
SET search_path = graph_codecs, public;

\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/include/index_checks.sql'
\set ECHO none
\i :helpers
\set ECHO all

-- Every codec finds what a sort finds, but for what its graph misses, whatever the order is by: equal vectors, vectors of equal codes, rows that died, vectors
-- that VACUUM has moved or dropped, zero vectors. What auto chooses, and what it says of that.

-- Candidates enough for the exact answer, whatever the graph is like; and through graphs although an exact scan of so few
-- rows is cheaper: a switch of builds with stop points.
SET tandem.ef_search = 1000;
DO $$
BEGIN
  PERFORM '[1]'::vector;
  PERFORM set_config('tandem.stop_points', 'always-graph=on', false);
EXCEPTION WHEN OTHERS THEN
  NULL;
END $$;

-- Of 30 rows one has a vector that others have, one a vector with nearly the code of that one, one a zero vector.
CREATE FUNCTION coded_vector(i int) RETURNS vector LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE i % 30
    WHEN 0 THEN pseudo_vector(7, 96)
    WHEN 1 THEN pseudo_vector(7, 96) + (pseudo_vector(i, 96, 16) * array_fill(0.3, ARRAY[96])::vector)
    WHEN 2 THEN array_fill(0, ARRAY[96])::vector
    ELSE pseudo_vector(i, 96) END
$$;
CREATE TABLE source AS SELECT i AS id, coded_vector(i) AS v FROM generate_series(1, 3600) AS i;
CREATE FUNCTION on_every_table(command text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  codec text;
BEGIN
  FOREACH codec IN ARRAY ARRAY['sq8', 'sq4', 'fp16', 'float32'] LOOP
    EXECUTE format(command, codec);
  END LOOP;
END $$;
-- Share of the 30 nearest that the index returns. In whatever order: that they come in order is looked at, too.
CREATE FUNCTION recall(codec text, operator text) RETURNS numeric LANGUAGE plpgsql AS $$
DECLARE
  query text := format('SELECT array_agg(d) FROM (SELECT c.v %2$s $1 AS d FROM coded_%1$s AS c ORDER BY c.v %2$s $1 LIMIT 30) AS s',
    codec, operator);
  q vector;
  sorted float8[];
  found float8[];
  hits int := 0;
  places int := 0;
BEGIN
  FOR q IN SELECT v FROM source WHERE id % 167 IN (0, 10, 25, 42) AND (id % 30 <> 2 OR operator <> '<=>') LOOP
    PERFORM set_config('enable_seqscan', 'off', true), set_config('enable_indexscan', 'on', true);
    EXECUTE query INTO found USING q;
    PERFORM set_config('enable_seqscan', 'on', true), set_config('enable_indexscan', 'off', true);
    EXECUTE query INTO sorted USING q;
    IF found IS DISTINCT FROM (SELECT array_agg(d ORDER BY d) FROM unnest(found) AS d) OR cardinality(found) <> 30 THEN
      RETURN NULL;
    END IF;
    hits := hits + (SELECT count(*) FROM unnest(found) AS d WHERE d <= sorted[30]);
    places := places + 30;
  END LOOP;
  RETURN hits / places::numeric;
END $$;
CREATE VIEW answers AS
  SELECT codec, recall(codec, '<->') >= 0.995 AS l2, recall(codec, '<#>') >= 0.995 AS ip, recall(codec, '<=>') >= 0.995 AS cosine,
    recall(codec, '<+>') >= 0.995 AS l1
  FROM unnest(ARRAY['sq8', 'sq4', 'fp16', 'float32']) WITH ORDINALITY AS c(codec, place) ORDER BY place;
CREATE VIEW problems AS
  SELECT indexname, v.* FROM pg_indexes, LATERAL tandem_verify(indexname::regclass, true) AS v WHERE schemaname = 'graph_codecs';

SELECT on_every_table('CREATE TABLE coded_%1$s (id int, v vector(96)) WITH (autovacuum_enabled = off)');
SELECT on_every_table('INSERT INTO coded_%1$s SELECT * FROM source WHERE id <= 3000');
SELECT on_every_table('CREATE INDEX coded_%1$s_l2 ON coded_%1$s USING tandem (v vector_l2_ops) WITH (strategy = hnsw_inline, codec = %1$s)');
SELECT on_every_table('CREATE INDEX coded_%1$s_ip ON coded_%1$s USING tandem (v vector_ip_ops) WITH (strategy = hnsw_inline, codec = %1$s)');
SELECT on_every_table('CREATE INDEX coded_%1$s_cosine ON coded_%1$s USING tandem (v vector_cosine_ops) WITH (strategy = hnsw_inline, codec = %1$s)');
-- L1 has no codes of 4 bits.
CREATE INDEX coded_sq4_l1 ON coded_sq4 USING tandem (v vector_l1_ops) WITH (strategy = hnsw_inline);
DO $$
DECLARE
  codec text;
BEGIN
  FOREACH codec IN ARRAY ARRAY['sq8', 'fp16', 'float32'] LOOP
    EXECUTE format('CREATE INDEX coded_%1$s_l1 ON coded_%1$s USING tandem (v vector_l1_ops) WITH (strategy = hnsw_inline, codec = %1$s)', codec);
  END LOOP;
END $$;
SELECT indexname, metric, s.codec, s.codec_reason, s.nodes < s.rows AS shares_nodes
  FROM tandem_index_stats, LATERAL tandem_segments(indexrelid) AS s WHERE schemaname = 'graph_codecs' ORDER BY 1;
SELECT * FROM answers;
SELECT * FROM problems;

-- Rows die, and with them some that share nodes; VACUUM packs the rest.
SELECT on_every_table('DELETE FROM coded_%1$s WHERE id %% 5 > 0 AND id %% 30 > 2 OR id < 1500 AND id %% 4 = 0');
VACUUM (INDEX_CLEANUP on) coded_sq8, coded_sq4, coded_fp16, coded_float32;
SELECT bool_and(packed_bytes > 0) AS are_packed FROM tandem_index_stats WHERE schemaname = 'graph_codecs';
SELECT * FROM answers;
SELECT * FROM problems;

-- Rows come: graphs grow on, or are built anew.
SELECT on_every_table('INSERT INTO coded_%1$s SELECT * FROM source WHERE id > 3000');
DO $$
DECLARE
  name regclass;
BEGIN
  FOR name IN SELECT indexrelid FROM tandem_index_stats WHERE schemaname = 'graph_codecs' ORDER BY indexname LOOP
    CALL tandem_build(name);
  END LOOP;
END $$;
SELECT indexname, codec, codec_reason, tail_rows FROM tandem_index_stats WHERE schemaname = 'graph_codecs' ORDER BY 1;
SELECT * FROM answers;
SELECT * FROM problems;

-- What auto finds where vectors come in crowds, within which 8 bits do not tell them apart.
CREATE TABLE crowds (id int, v vector(64));
INSERT INTO crowds SELECT i, pseudo_vector(i % 3, 64) + pseudo_vector(i + 10, 64, 16) FROM generate_series(1, 1000) AS i;
CREATE INDEX crowds_v ON crowds USING tandem (v vector_l2_ops) WITH (strategy = hnsw_inline);
SELECT codec, codec_reason FROM tandem_segments('crowds_v');
SELECT index_against_sort('SELECT id, v <-> pseudo_vector(1, 64) FROM crowds ORDER BY v <-> pseudo_vector(1, 64) LIMIT 50', false);

SET client_min_messages = warning;
DROP SCHEMA graph_codecs CASCADE;
