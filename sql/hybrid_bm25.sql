SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS tandem;
CREATE SCHEMA hybrid_bm25;
SET search_path = hybrid_bm25, public;

-- BM25 against a plain computation from the words of every document.
-- Seen to fail with: lengths in lexemes; frequencies too large by one; the second pass left out; a threshold twice as high.

-- Real text: what the server says of its own objects, one by one, and in heaps, where words come again.
CREATE TABLE texts (id int PRIMARY KEY, words text, doc tsvector);
INSERT INTO texts SELECT row_number() OVER (ORDER BY description COLLATE "C"), description, to_tsvector('english', description)
FROM (SELECT DISTINCT description FROM pg_description) AS s;
INSERT INTO texts SELECT 100000 + part, words, to_tsvector('english', words)
FROM (SELECT id % 300 AS part, string_agg(words, ' ' ORDER BY id) AS words FROM texts GROUP BY 1) AS s;
CREATE INDEX texts_doc ON texts USING gin (doc);
VACUUM ANALYZE texts;
SELECT count(*) > 3000 AS enough FROM texts;

CREATE TABLE postings AS SELECT id, lexeme, cardinality(positions)::float8 AS tf FROM texts, unnest(doc);
CREATE TABLE lengths AS SELECT id, coalesce(sum(tf), 0) AS length FROM texts LEFT JOIN postings USING (id) GROUP BY id;
CREATE INDEX ON postings (lexeme);
ANALYZE postings, lengths;
-- By the book; `mandatory` words must all be there, `forbidden` ones must not.
CREATE FUNCTION reference(wanted text[], k1 float8, b float8, mandatory text[] DEFAULT '{}', forbidden text[] DEFAULT '{}')
RETURNS TABLE (id int, score float8) LANGUAGE sql STABLE AS $$
  WITH corpus AS (SELECT count(*)::float8 AS n, avg(length) AS average FROM lengths),
    terms AS (SELECT lexeme, ln(1 + (max(n) - count(*) + 0.5) / (count(*) + 0.5)) AS idf FROM postings, corpus WHERE lexeme = ANY (wanted || mandatory) GROUP BY lexeme)
  SELECT p.id, sum(t.idf * p.tf * (k1 + 1) / (p.tf + k1 * (1 - b + b * l.length / c.average)))
  FROM postings AS p JOIN terms AS t USING (lexeme) JOIN lengths AS l ON l.id = p.id, corpus AS c
  WHERE p.id NOT IN (SELECT f.id FROM postings AS f WHERE f.lexeme = ANY (forbidden))
  GROUP BY p.id HAVING count(*) FILTER (WHERE p.lexeme = ANY (mandatory)) = cardinality(mandatory)
    AND (wanted <> '{}' OR mandatory <> '{}') $$;
CREATE FUNCTION lexemes(words text) RETURNS text[] LANGUAGE sql STABLE AS $$ SELECT tsvector_to_array(to_tsvector('english', words)) $$;

-- How many keys, in their order, or scores are not the reference's.
CREATE FUNCTION differences(query text, depth int, syntax text DEFAULT 'any', k1 float8 DEFAULT 1.2, b float8 DEFAULT 0.75, wanted text[] DEFAULT NULL,
  mandatory text[] DEFAULT '{}', forbidden text[] DEFAULT '{}', filter text DEFAULT NULL) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  found bigint;
BEGIN
  EXECUTE format($sql$
    SELECT count(*) FILTER (WHERE s.key IS DISTINCT FROM r.id OR NOT abs(s.text_score - r.score) <= 1e-5)
    FROM (SELECT *, row_number() OVER () AS n FROM tandem_hybrid_search('texts', query_text => $1, k => $2, depth => $2, text_config => 'english', text_syntax => $3,
        text_scoring => 'bm25', bm25_k1 => $4, bm25_b => $5, filter => $6)) AS s
      FULL JOIN (SELECT id, score, row_number() OVER (ORDER BY round(score::numeric, 9) DESC, id) AS n FROM reference($7, $4, $5, $8, $9)
        WHERE id IN (SELECT id FROM texts WHERE %s) ORDER BY n LIMIT $2) AS r USING (n)$sql$, coalesce(filter, 'true'))
  INTO found USING query, depth, syntax, k1, b, filter, coalesce(wanted, lexemes(query)), mandatory, forbidden;
  RETURN found;
END $$;
SELECT depth, k1, b, count(*) > 15 AS enough, sum(differences(words, depth, 'any', k1, b)) AS differences
FROM (VALUES (5, 1.2, 0.75), (100, 1.2, 0.75), (10000, 1.2, 0.75), (20, 0.1, 0.75), (20, 2, 0), (20, 0.9, 1)) AS v(depth, k1, b),
  (SELECT regexp_replace(words, '[^A-Za-z]+', ' ', 'g') AS words FROM texts WHERE id % 211 = 7 AND id < 100000 UNION ALL
   VALUES ('function'), ('index access method'), ('type of the index for a table of text'), ('nowhere'), ('of the')) AS q
GROUP BY depth, k1, b ORDER BY depth, k1, b;
-- With a filter that few rows pass, and among rows of which few have the rarer words.
SELECT filter, sum(differences(words, 10, filter => filter)) AS differences
FROM unnest(ARRAY['id % 50 = 3', 'id > 100000', 'id % 2 = 0', 'words LIKE ''c%''']) AS filter,
  (VALUES ('function for index support of text'), ('convert text to type'), ('trigger')) AS q(words) GROUP BY filter ORDER BY filter COLLATE "C";
-- What must be, what must not, phrases, prefixes and weights.
SELECT differences('index type', 50, 'websearch', wanted => '{}', mandatory => lexemes('index type')) AS all_words,
  differences('index or type -text', 50, 'websearch', wanted => lexemes('index type'), forbidden => lexemes('text')) AS without,
  differences('(index | type) & !text', 50, 'tsquery', wanted => lexemes('index type'), forbidden => lexemes('text')) AS by_hand,
  differences('index & (index | type)', 50, 'tsquery', wanted => lexemes('type'), mandatory => lexemes('index')) AS twice;
-- Any of the words, but what is excluded stays out, and phrases stay together.
SELECT words, query FROM unnest(ARRAY['a b', 'a b -c', '-c a "d e" b', 'a or b c', '-a -b', 'a', '-a', '', 'it''s \']) AS words,
  tandem_text_statistics('texts', words, text_config => 'simple', text_syntax => 'any');
SELECT differences('index type -text', 50, 'any', wanted => lexemes('index type'), forbidden => lexemes('text')) AS without;
SELECT tandem_text_length('a:1,5 b:2 c'), tandem_text_length(''), tandem_text_terms('a & !b | (c <-> d) | a | e:*AB'), tandem_text_terms('!a');
SELECT document, tandem_bm25_score(document, 'a', 10, 3, ARRAY[2]) AS a, tandem_bm25_score(document, 'a:A', 10, 3, ARRAY[2]) AS a_of_a,
  tandem_bm25_score(document, 'a:*', 10, 3, ARRAY[2]) AS beginning, tandem_bm25_score(document, 'x', 10, 3, ARRAY[2]) AS x
FROM unnest(ARRAY['a:1 ab:2 b:3', 'a:1A,2B b:3', 'a b', 'b:1', '']::tsvector[]) AS document;
-- Equal to the score by hand.
SELECT max(abs(s.text_score - tandem_bm25_score(doc, query, documents, average_length, frequencies))) < 1e-12 AS equal
FROM tandem_text_statistics('texts', 'index of a type', text_config => 'english', text_syntax => 'any'),
  tandem_hybrid_search('texts', query_text => 'index of a type', text_config => 'english', text_syntax => 'any') AS s JOIN texts ON id = s.key;
SELECT documents = (SELECT count(*) FROM texts) AS documents, abs(average_length - (SELECT avg(length) FROM lengths)) < 1e-9 AS average, query, terms,
  frequencies = ARRAY[(SELECT count(*) FROM postings WHERE lexeme = 'index'), (SELECT count(*) FROM postings WHERE lexeme = 'type')]::float8[] AS frequencies
FROM tandem_text_statistics('texts', 'index of a type', text_config => 'english');

-- Documents that cannot be among the best are not read: of those with any of the words, fewer than half.
CREATE FUNCTION fetched(query text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  before bigint := pg_stat_get_xact_tuples_fetched('texts'::regclass);
BEGIN
  PERFORM FROM tandem_hybrid_search('texts', query_text => query, depth => 10, text_config => 'english', text_syntax => 'any');
  RETURN pg_stat_get_xact_tuples_fetched('texts'::regclass) - before;
END $$;
SET enable_seqscan = off;
SELECT fetched('trigger') > 0 AS reads;
SELECT fetched('index access method for trigger of table') * 2 < (SELECT count(*) FROM texts WHERE doc @@
  to_tsquery('english', 'index | access | method | trigger | table')) AS reads_few;
RESET enable_seqscan;

-- Statistics follow the table: changes by others' commands, and what the own transaction has written.
BEGIN;
INSERT INTO texts SELECT 200000 + i, 'zebra', to_tsvector('english', 'zebra') FROM generate_series(1, 3) AS i;
SELECT documents = (SELECT count(*) FROM texts) AS documents, frequencies FROM tandem_text_statistics('texts', 'zebra', text_config => 'english');
ROLLBACK;
VACUUM texts;
SELECT documents = (SELECT count(*) FROM texts) AS documents, frequencies FROM tandem_text_statistics('texts', 'zebra', text_config => 'english');
-- Large tables are known by a sample of their blocks, the same in all sessions; views by their first rows.
CREATE VIEW some_texts AS SELECT id, doc FROM texts WHERE id % 2 = 0;
SELECT documents = (SELECT count(*) FROM some_texts) AS documents, frequencies = ARRAY[(SELECT count(*) FROM some_texts WHERE doc @@ 'index')]::float8[] AS frequencies
FROM tandem_text_statistics('some_texts', 'index', text_config => 'english');
-- Without an index, and of nothing.
CREATE TABLE bare AS SELECT id, words, doc FROM texts WHERE id % 3 = 0;
ALTER TABLE bare ADD PRIMARY KEY (id);
SELECT frequencies = ARRAY[(SELECT count(*) FROM bare WHERE doc @@ 'index')]::float8[] AS frequencies FROM tandem_text_statistics('bare', 'index', text_config => 'english');
TRUNCATE bare;
SELECT documents, average_length, frequencies FROM tandem_text_statistics('bare', 'index', text_config => 'english');
SELECT count(*) FROM tandem_hybrid_search('bare', query_text => 'index');
INSERT INTO bare VALUES (1, '', ''), (2, NULL, NULL), (3, 'index', strip(to_tsvector('english', 'index')));
SELECT key, text_score FROM tandem_hybrid_search('bare', query_text => 'index');

\set VERBOSITY terse
SELECT tandem_bm25_score('a', 'a | b', 10, 3, ARRAY[2]);
SELECT tandem_bm25_score('a', 'a', 10, 0, ARRAY[2]);
SELECT tandem_bm25_score('a', 'a', 10, 1, ARRAY[2], b => 7);
SELECT * FROM tandem_text_statistics('texts', NULL);
SELECT * FROM tandem_text_statistics('postings', 'index');
DROP SCHEMA hybrid_bm25 CASCADE;
