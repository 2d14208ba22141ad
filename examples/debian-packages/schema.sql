-- Tables and functions of the package search. Needs the extension tandem and a database in UTF-8.

CREATE TABLE packages (
  id integer PRIMARY KEY,
  name text NOT NULL UNIQUE,
  section text NOT NULL,
  priority text NOT NULL,
  installed_size integer,         -- in KiB
  version text NOT NULL,
  summary text NOT NULL,
  description text NOT NULL,      -- empty where the machine's package lists hold summaries only
  tags text NOT NULL,             -- debtags, "facet::value", separated by spaces
  embedding vector(256),
  document tsvector GENERATED ALWAYS AS (to_tsvector('english', name || ' ' || summary || ' ' || description)) STORED
);

-- What the query needs of the projection that embedded the packages (embedding.py).
CREATE TABLE terms (
  term text PRIMARY KEY,          -- a word, or two neighbouring words
  idf real NOT NULL,              -- how rare it is: ln((packages + 1) / packages with it)
  projection vector(256) NOT NULL
);

CREATE TABLE stop_words (
  word text PRIMARY KEY
);

-- The tokenizer: the same rules as in tokenizer.py.

CREATE FUNCTION fold_text(query text) RETURNS text
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
  RETURN lower(regexp_replace(normalize(query, NFKD), '[\u0300-\u036f]', '', 'g') COLLATE "C");

COMMENT ON FUNCTION fold_text(text) IS 'lower case without accents';

CREATE FUNCTION stem_word(word text) RETURNS text
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
  RETURN CASE
    WHEN length(word) < 4 THEN word
    WHEN word ~ '[^ae]ies$' THEN left(word, -3) || 'y'
    WHEN word ~ '[aeo]es$' THEN word
    WHEN word ~ '[^us]s$' THEN left(word, -1)
    ELSE word
  END;

COMMENT ON FUNCTION stem_word(text) IS 'singular of an English plural';

CREATE FUNCTION query_terms(query text) RETURNS TABLE (term text, frequency bigint)
  LANGUAGE sql STABLE STRICT PARALLEL SAFE
BEGIN ATOMIC
  WITH words AS (
    SELECT stem_word(match[1]) AS word, row_number() OVER (ORDER BY place) AS place
    FROM regexp_matches(fold_text(query), '([a-z0-9]+(?:\+\+|#)?)', 'g') WITH ORDINALITY AS found (match, place)
    WHERE NOT EXISTS (SELECT FROM stop_words s WHERE s.word = match[1])
  )
  SELECT all_terms.term, count(*)
  FROM (
    SELECT word AS term FROM words
    UNION ALL
    SELECT first.word || ' ' || second.word FROM words first JOIN words second ON second.place = first.place + 1
  ) AS all_terms
  GROUP BY all_terms.term;
END;

COMMENT ON FUNCTION query_terms(text) IS 'words and pairs of neighbouring words of a text, with their number';

-- The projection: sum over the known terms of ln(1 + frequency) * idf * projection, scaled to length 1. Cosine distance
-- would not need the scaling; it makes embeddings comparable and sums of them fair.

CREATE FUNCTION scaled(v vector, factor double precision) RETURNS vector
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
  RETURN v * array_fill(factor::real, ARRAY[vector_dims(v)])::vector;

COMMENT ON FUNCTION scaled(vector, double precision) IS 'vector times number';

CREATE FUNCTION embed(query text) RETURNS vector
  LANGUAGE sql STABLE STRICT PARALLEL SAFE
BEGIN ATOMIC
  -- In order of the terms, so that whatever the plan the sum has the same rounding.
  SELECT l2_normalize(sum(scaled(t.projection, ln(1 + q.frequency) * t.idf) ORDER BY t.term))
  FROM query_terms(query) q JOIN terms t USING (term);
END;

COMMENT ON FUNCTION embed(text) IS 'embedding of a text, in the space of packages.embedding; NULL if no word is known';
