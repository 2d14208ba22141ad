SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS tandem;
CREATE SCHEMA hybrid_search;
SET search_path = hybrid_search, public;

-- Hybrid search against the same query written by hand.
-- Seen to fail with: ranks of equals in the order of arrival; rows without direction among the neighbours; filters that are not checked; a
-- text leg without the filter; frequencies of rows that row security hides, or that another tenant sees.

-- Documents of words with Zipf-like frequencies, each with a vector near those with the same words.
CREATE TABLE docs (id int PRIMARY KEY, category int, title text, body tsvector, embedding vector(4));
INSERT INTO docs
SELECT i, i % 10, 'number ' || i,
  to_tsvector('simple', (SELECT string_agg('w' || (i * (j * j + 7) % 1009 % (1 + i * j % 40)), ' ') FROM generate_series(1, 5 + i % 9) AS j)),
  format('[%s,%s,%s,%s]', i * 37 % 101, i * 53 % 89, i * 29 % 97, i * 13 % 83)::vector
FROM generate_series(1, 1000) AS i;
INSERT INTO docs VALUES (1001, 1, 'no vector', to_tsvector('simple', 'w1 w2 w3'), NULL), (1002, 1, 'no text', NULL, '[1,2,3,4]'),
  (1003, 1, 'no direction', to_tsvector('simple', 'w5'), '[0,0,0,0]');
CREATE INDEX docs_embedding ON docs USING tandem (embedding vector_cosine_ops);
CREATE INDEX docs_body ON docs USING gin (body);
CREATE INDEX docs_category ON docs (category);
VACUUM ANALYZE docs;
SET default_text_search_config = 'pg_catalog.simple';

SELECT key, round(vector_score::numeric, 6) AS vector_score, round(text_score::numeric, 6) AS text_score,
  round(combined_score::numeric, 6) AS combined_score, vector_rank, text_rank, round(distance::numeric, 6) AS distance
FROM tandem_hybrid_search('docs', '[3,1,4,1]', 'w3 or w7', 5, depth => 20, text_scoring => 'ts_rank_cd');

-- The same by hand. Ranks are unique within a leg: equals go by key.
CREATE FUNCTION by_hand(q vector, words tsquery, how text, depth int, filter text DEFAULT 'true')
RETURNS TABLE (key bigint, vector_score float8, text_score float8, combined_score float8, vector_rank bigint, text_rank bigint, distance float8)
LANGUAGE plpgsql AS $$
BEGIN
  RETURN QUERY EXECUTE format($sql$
    WITH nearest AS (SELECT id, embedding <=> $1 AS d FROM docs WHERE (%2$s) ORDER BY embedding <=> $1 LIMIT $3),
      by_vector AS (SELECT id, d, 1 - d AS s, row_number() OVER (ORDER BY d, id) AS r FROM nearest WHERE d < 'NaN'),
      best AS (SELECT id, ts_rank_cd(body, $2)::float8 AS s FROM docs WHERE body @@ $2 AND (%2$s) ORDER BY s DESC, id LIMIT $3),
      by_text AS (SELECT id, s, row_number() OVER (ORDER BY s DESC, id) AS r FROM best),
      normal_vector AS (SELECT *, CASE WHEN max(s) OVER () > min(s) OVER () THEN (s - min(s) OVER ()) / (max(s) OVER () - min(s) OVER ()) ELSE 1 END AS n FROM by_vector),
      normal_text AS (SELECT *, CASE WHEN max(s) OVER () > min(s) OVER () THEN (s - min(s) OVER ()) / (max(s) OVER () - min(s) OVER ()) ELSE 1 END AS n FROM by_text),
      fused AS (SELECT id, v.s AS vs, t.s AS ts, v.r AS vr, t.r AS tr, v.d, coalesce(v.n, 0) AS vn, coalesce(t.n, 0) AS tn
        FROM normal_vector AS v FULL JOIN normal_text AS t USING (id))
    SELECT id::bigint, vs, ts, CASE %1$L WHEN 'rrf' THEN coalesce(1 / (60 + vr::float8), 0) + coalesce(1 / (60 + tr::float8), 0)
      WHEN 'weighted' THEN 0.7 * vn + 0.3 * tn WHEN 'max' THEN greatest(vn, tn) WHEN 'min' THEN least(vn, tn) ELSE (vn + tn) / 2 END AS c, vr, tr, d
    FROM fused ORDER BY c DESC, vr NULLS LAST, tr NULLS LAST LIMIT 25$sql$, how, filter) USING q, words, depth;
END $$;
CREATE FUNCTION differences(q vector, words text, how text, depth int, filter text DEFAULT 'true') RETURNS bigint LANGUAGE sql AS $$
  SELECT count(*) FILTER (WHERE a.key IS DISTINCT FROM b.key OR a.vector_rank IS DISTINCT FROM b.vector_rank OR a.text_rank IS DISTINCT FROM b.text_rank
    OR a.distance IS DISTINCT FROM b.distance OR a.text_score IS DISTINCT FROM b.text_score OR a.vector_score IS DISTINCT FROM b.vector_score
    OR NOT abs(a.combined_score - b.combined_score) < 1e-12)
  FROM (SELECT *, row_number() OVER () AS n FROM tandem_hybrid_search('docs', q, words, 25, fusion => how, depth => differences.depth, filter => differences.filter,
      text_scoring => 'ts_rank_cd', text_syntax => 'websearch')) AS a
    FULL JOIN (SELECT *, row_number() OVER () AS n FROM by_hand(q, websearch_to_tsquery(words), how, differences.depth, differences.filter)) AS b USING (n) $$;
SELECT how, filter, count(*) AS queries, sum(differences(format('[%s,%s,3,4]', i, i * 7 % 11)::vector, words, how, depth, filter)) AS differences
FROM unnest(ARRAY['rrf', 'weighted', 'max', 'min', 'average']) AS how, unnest(ARRAY['true', 'category = 3', 'category IN (1, 2) AND id % 3 = 0']) AS filter,
  unnest(ARRAY['w3 or w7', 'w1', 'w2 w5', 'w1 -w2', '"w3 w4" or w9', 'nowhere']) AS words, unnest(ARRAY[1, 10, 25, 5000]) AS depth, generate_series(1, 2) AS i
GROUP BY how, filter ORDER BY how, filter;

-- One leg alone.
SELECT key, round(combined_score::numeric, 6) AS combined_score, vector_rank, text_rank FROM tandem_hybrid_search('docs', '[3,1,4,1]', k => 3);
SELECT key, round(combined_score::numeric, 6) AS combined_score, vector_rank, text_rank FROM tandem_hybrid_search('docs', query_text => 'w3', k => 3, fusion => 'min');
SELECT count(*), count(text_rank) FROM tandem_hybrid_search('docs', '[3,1,4,1]', '', k => 3);
-- NULLs and vectors without direction are nobody's neighbours; the text leg finds them.
SELECT count(*) AS candidates, bool_or(key IN (1001, 1003)) AS no_direction FROM tandem_hybrid_search('docs', '[3,1,4,1]', k => 2000, depth => 2000);
SELECT key, vector_rank FROM tandem_hybrid_search('docs', '[3,1,4,1]', 'w1 w2 w3', k => 2000, depth => 2000, filter => 'id > 1000') ORDER BY 1;

-- What is found automatically: the plans of both legs.
SELECT * FROM tandem_hybrid_explain('docs', '[3,1,4,1]', 'w3 or w7', filter => 'docs.category = 3 -- of these', costs => false);
SELECT count(*) > 4 AS executed FROM tandem_hybrid_explain('docs', '[3,1,4,1]', 'w3', "analyze" => true) AS line WHERE line ~ 'actual|Leg';

-- Columns, configurations and keys.
CREATE TABLE wide (code text PRIMARY KEY, u uuid UNIQUE, a vector(2), b vector(2), body text, note text, ts tsvector GENERATED ALWAYS AS (to_tsvector('english', note)) STORED);
INSERT INTO wide SELECT 'c' || i, ('00000000-0000-0000-0000-00000000000' || i)::uuid, format('[%s,1]', i)::vector, format('[1,%s]', i)::vector,
  'running ' || i, repeat('runs ', i) || 'far' FROM generate_series(1, 9) AS i;
CREATE INDEX ON wide USING tandem (a vector_l2_ops);
\set VERBOSITY terse
SELECT * FROM tandem_hybrid_search('wide', '[1,1]');
SELECT key, distance, vector_score FROM tandem_hybrid_search_as(NULL::text, 'wide', '[1,1]', k => 2);
SELECT key, distance, vector_score FROM tandem_hybrid_search_as(NULL::uuid, 'wide', '[1,1]', k => 2, key_column => 'u', vector_column => 'b', metric => 'inner_product');
SELECT key, distance FROM tandem_hybrid_search_as(NULL::text, 'wide', '[1,1]', k => 1, vector_column => 'b');
SELECT key, round(text_score::numeric, 4) FROM tandem_hybrid_search_as(NULL::text, 'wide', query_text => 'running', k => 2, text_scoring => 'ts_rank_cd');
SELECT key FROM tandem_hybrid_search_as(NULL::text, 'wide', query_text => 'running', text_column => 'body', text_config => 'english', filter => 'body LIKE ''%4''');
CREATE INDEX wide_body ON wide USING gin (to_tsvector('english', body));
SET enable_seqscan = off;
SELECT * FROM tandem_hybrid_explain('wide', query_text => 'runs', text_column => 'body', costs => false);
RESET enable_seqscan;
ALTER TABLE wide DROP COLUMN ts;
SELECT count(*) FROM tandem_hybrid_search_as(NULL::text, 'wide', query_text => 'runs');
CREATE INDEX ON wide USING tandem (b vector_ip_ops);
SELECT * FROM tandem_hybrid_search_as(NULL::text, 'wide', '[1,1]');
SELECT count(*) FROM tandem_hybrid_search_as(NULL::text, 'wide', query_text => 'runs', text_syntax => 'tsquery');
SELECT key FROM tandem_hybrid_search_as(NULL::text, 'wide', query_text => 'absent 3 2', text_syntax => 'any');
SELECT key FROM tandem_hybrid_search_as(NULL::text, 'wide', query_text => 'runs 3', text_syntax => 'phrase');
SELECT key FROM tandem_hybrid_search_as(NULL::text, 'wide', query_text => '3 | 2', text_syntax => 'tsquery');

-- Errors name the argument.
SELECT * FROM tandem_hybrid_search('docs');
SELECT * FROM tandem_hybrid_search(NULL, '[1,2,3,4]');
SELECT * FROM tandem_hybrid_search(999999999, '[1,2,3,4]');
SELECT * FROM tandem_hybrid_search('docs', '[1,2,3]');
SELECT * FROM tandem_hybrid_search('docs', '[1,2,3,4]', k => 0);
SELECT * FROM tandem_hybrid_search('docs', '[1,2,3,4]', k => NULL);
SELECT * FROM tandem_hybrid_search('docs', '[1,2,3,4]', depth => 1000000);
SELECT * FROM tandem_hybrid_search('docs', '[1,2,3,4]', fusion => 'sum');
SELECT * FROM tandem_hybrid_search('docs', '[1,2,3,4]', fusion => NULL);
SELECT * FROM tandem_hybrid_search('docs', '[1,2,3,4]', rrf_constant => -1);
SELECT * FROM tandem_hybrid_search('docs', '[1,2,3,4]', vector_weight => 'NaN');
SELECT * FROM tandem_hybrid_search('docs', '[1,2,3,4]', text_weight => -0.1);
SELECT * FROM tandem_hybrid_search('docs', '[1,2,3,4]', text_syntax => 'google');
SELECT * FROM tandem_hybrid_search('docs', '[1,2,3,4]', text_scoring => 'tfidf');
SELECT * FROM tandem_hybrid_search('docs', '[1,2,3,4]', bm25_b => 2);
SELECT * FROM tandem_hybrid_search('docs', '[1,2,3,4]', metric => 'hamming');
SELECT * FROM tandem_hybrid_search('docs', '[1,2,3,4]', ef_search => 0);
SELECT * FROM tandem_hybrid_search('docs', '[1,2,3,4]', vector_column => 'nothing');
SELECT * FROM tandem_hybrid_search('docs', '[1,2,3,4]', vector_column => 'title');
SELECT * FROM tandem_hybrid_search('docs', query_text => 'w1', text_column => 'category');
SELECT * FROM tandem_hybrid_search('docs', query_text => 'w1', key_column => 'body');
SELECT * FROM tandem_hybrid_search('docs_body', '[1,2,3,4]');
SELECT * FROM tandem_hybrid_search('docs', query_text => '3 |', text_syntax => 'tsquery');

-- A filter is one condition, whatever it looks like.
SELECT filter, (SELECT count(*) FROM tandem_hybrid_search('docs', '[3,1,4,1]', k => 5000, depth => 5000, filter => f.filter)) AS rows FROM (VALUES
  ('category = 3'), ('"category" = 3 /* '')'' */'), ('category = 3 -- )'), ('docs.title LIKE ''%)%'' OR docs.id = 7'), ('(category) = (3)'),
  ('id IN (SELECT d.id FROM docs AS d WHERE d.category = 4)'), ('NULL'), ('false'), ('title = ''; DROP TABLE docs''')) AS f(filter);
CREATE FUNCTION refusal(filter text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
  PERFORM * FROM tandem_hybrid_search('docs', '[3,1,4,1]', 'w1', filter => filter);
  RETURN 'accepted';
EXCEPTION WHEN OTHERS THEN RETURN SQLSTATE || ' ' || SQLERRM;
END $$;
SELECT filter, refusal(filter) FROM unnest(ARRAY['', '-- nothing', 'category = 3) OR (true', 'category = 3)', 'true; DROP TABLE docs', 'true ORDER BY id', 'true LIMIT 1',
  'true GROUP BY id', 'true, false', 'true AS x', 'DISTINCT true', 'true FROM docs', 'true FOR UPDATE', 'true UNION SELECT true', '$1 IS NOT NULL', 'category = $2', '*',
  'true WHERE true', 'SELECT true', 'category = ''3', '/* category', 'nothing = 3', 'category', 'count(*) > 1', 'generate_series(1, 2) = 1', 'true INTO TABLE x']) AS filter;
CREATE TABLE "Odd ""name""" ("The ""Key""" int PRIMARY KEY, "a b" vector(2), "t;--" tsvector);
INSERT INTO "Odd ""name""" VALUES (1, '[1,0]', 'word'), (2, '[0,1]', 'other');
SELECT key, vector_rank, text_rank FROM tandem_hybrid_search('"Odd ""name"""', '[0,1]', 'word', filter => '"Odd ""name"""."The ""Key""" < 3');
SELECT * FROM tandem_hybrid_search('docs', '[1,2,3,4]', vector_column => 'embedding" FROM docs; --');

-- A filter runs with the caller's rights, and so do both legs; row security holds.
CREATE ROLE hybrid_reader;
GRANT USAGE ON SCHEMA hybrid_search TO hybrid_reader;
CREATE TABLE secret (id int); INSERT INTO secret VALUES (1);
SET ROLE hybrid_reader;
SELECT refusal('true');
RESET ROLE;
GRANT SELECT ON docs TO hybrid_reader;
SET ROLE hybrid_reader;
SELECT refusal('true'), refusal('id IN (SELECT id FROM secret)');
RESET ROLE;
ALTER TABLE docs ENABLE ROW LEVEL SECURITY;
CREATE POLICY few ON docs TO hybrid_reader USING (category = 3);
SELECT round(text_score::numeric, 6) FROM tandem_hybrid_search('docs', query_text => 'w3', k => 1);
SET ROLE hybrid_reader;
SELECT count(*), bool_and(key % 10 = 3) AS allowed FROM tandem_hybrid_search('docs', '[3,1,4,1]', 'w1 or w3', k => 300, depth => 300);
-- Nor do scores tell of rows that the caller cannot see.
SELECT (documents, frequencies) = (SELECT count(body), ARRAY[count(*) FILTER (WHERE body @@ 'w3')::float8] FROM docs) AS own FROM tandem_text_statistics('docs', 'w3');
-- Also where a setting says which these are: what was known of one tenant is not the next one's. In a view, likewise.
RESET ROLE;
DROP POLICY few ON docs;
CREATE POLICY own ON docs TO hybrid_reader USING (category = current_setting('hybrid_search.category')::int);
CREATE VIEW own_docs AS SELECT * FROM docs WHERE category = current_setting('hybrid_search.category')::int;
GRANT SELECT ON own_docs TO hybrid_reader;
SET ROLE hybrid_reader;
SET hybrid_search.category = 3;
SELECT rel, (documents, frequencies) = (SELECT count(body), ARRAY[count(*) FILTER (WHERE body @@ 'w3')::float8] FROM docs) AS own
FROM unnest(ARRAY['docs', 'own_docs']) AS rel, tandem_text_statistics(rel::regclass, 'w3');
SET hybrid_search.category = 4;
SELECT rel, (documents, frequencies) = (SELECT count(body), ARRAY[count(*) FILTER (WHERE body @@ 'w3')::float8] FROM docs) AS own
FROM unnest(ARRAY['docs', 'own_docs']) AS rel, tandem_text_statistics(rel::regclass, 'w3');
RESET ROLE;
DROP VIEW own_docs;
ALTER TABLE docs DISABLE ROW LEVEL SECURITY;
DROP POLICY own ON docs;

-- Other search paths, and prepared statements while the table changes.
PREPARE search AS SELECT array_agg(key) FROM tandem_hybrid_search('hybrid_search.docs', '[3,1,4,1]', 'w3', k => 3, filter => 'category < 5');
EXECUTE search;
SET search_path = public, hybrid_search;
EXECUTE search;
ALTER TABLE docs ALTER COLUMN category TYPE bigint;
EXECUTE search;
ALTER TABLE docs RENAME COLUMN embedding TO vec;
EXECUTE search;
DROP INDEX docs_embedding;
SELECT array_agg(distance ORDER BY distance) = (SELECT array_agg(d) FROM (SELECT vec <=> '[3,1,4,1]' AS d FROM docs WHERE category < 5 ORDER BY d LIMIT 3) AS s) AS cosine
FROM tandem_hybrid_search('docs', '[3,1,4,1]', k => 3, filter => 'category < 5');
CREATE INDEX docs_embedding ON docs USING tandem (vec vector_l1_ops);
SELECT array_agg(distance ORDER BY distance) = (SELECT array_agg(d) FROM (SELECT vec <+> '[3,1,4,1]' AS d FROM docs WHERE category < 5 ORDER BY d LIMIT 3) AS s) AS l1
FROM tandem_hybrid_search('docs', '[3,1,4,1]', k => 3, filter => 'category < 5');
ALTER TABLE docs RENAME COLUMN vec TO embedding;

-- Views, also of views, and partitions.
CREATE VIEW inner_view AS SELECT id AS number, embedding AS e, body AS words, category FROM docs WHERE category <> 4;
CREATE VIEW outer_view AS SELECT category AS c, words, e, number FROM inner_view;
SELECT * FROM tandem_hybrid_explain('outer_view', '[3,1,4,1]', 'w3 or w7', filter => 'c = 3', costs => false);
SELECT count(*) FROM (SELECT key, vector_rank, text_rank FROM tandem_hybrid_search('outer_view', '[3,1,4,1]', 'w3', filter => 'c < 5', text_scoring => 'ts_rank_cd')
  EXCEPT SELECT key, vector_rank, text_rank FROM tandem_hybrid_search('docs', '[3,1,4,1]', 'w3', filter => 'category < 5 AND category <> 4', text_scoring => 'ts_rank_cd')) AS s;
CREATE TABLE parts (id int, category int, body tsvector, embedding vector(4), PRIMARY KEY (id)) PARTITION BY RANGE (id);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (300);
CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (300) TO (2000);
INSERT INTO parts SELECT id, category, body, embedding FROM docs;
CREATE INDEX ON parts USING tandem (embedding vector_l1_ops);
CREATE INDEX ON parts USING gin (body);
VACUUM ANALYZE parts;
SELECT scoring, count(*) FROM unnest(ARRAY['bm25', 'ts_rank_cd']) AS scoring, LATERAL (
  SELECT * FROM tandem_hybrid_search('parts', '[3,1,4,1]', 'w3 or w7', text_scoring => scoring)
  EXCEPT SELECT * FROM tandem_hybrid_search('docs', '[3,1,4,1]', 'w3 or w7', text_scoring => scoring)) AS s GROUP BY 1;

-- The snapshot is the query's: both legs see what it sees, and no more.
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT count(*) FROM tandem_hybrid_search('docs', '[3,1,4,1]', 'unheard', k => 2000, depth => 2000, filter => 'category = 77');
INSERT INTO docs VALUES (2000, 77, 'new', to_tsvector('simple', 'unheard'), '[3,1,4,1]');
SELECT key, vector_rank, text_rank FROM tandem_hybrid_search('docs', '[3,1,4,1]', 'unheard', filter => 'category = 77');
ROLLBACK;
-- Calls within calls, and more filters than a session remembers.
SELECT sum(key) FROM generate_series(1, 150) AS i, tandem_hybrid_search('docs', '[3,1,4,1]', 'w3', k => 1, filter => format('category <> %s', i)) AS s;
CREATE FUNCTION nested(n int) RETURNS boolean LANGUAGE sql STABLE AS $$ SELECT count(*) = 1 FROM tandem_hybrid_search('docs', '[1,1,1,1]', 'w1', k => 1, filter => 'category = ' || n) $$;
SELECT count(*) FROM tandem_hybrid_search('docs', '[3,1,4,1]', k => 20, depth => 20, filter => 'nested(id % 7)');
-- Settings are as before.
SELECT ef, count(*) FROM unnest(ARRAY[1, 1000]) AS ef, tandem_hybrid_search('docs', '[3,1,4,1]', k => 50, ef_search => ef) GROUP BY ef ORDER BY ef;
SHOW tandem.ef_search;
DROP SCHEMA hybrid_search CASCADE;
DROP ROLE hybrid_reader;
