-- One search, for search.py. Variables: by (words, meaning or both), query, section, priority, max_size (these three empty
-- for any), result_limit.
-- All are quoted by psql; no SQL is put together from them.

\pset format unaligned
\pset tuples_only on

\echo ::words
SELECT json_build_object('known', coalesce(json_agg(q.term) FILTER (WHERE t.term IS NOT NULL), '[]'),
                         'unknown', coalesce(json_agg(q.term) FILTER (WHERE t.term IS NULL), '[]'))
FROM query_terms(:'query') q LEFT JOIN terms t USING (term)
WHERE q.term !~ ' ';

\echo ::values
SELECT json_build_object('section', (SELECT json_agg(DISTINCT section) FROM packages),
                         'priority', (SELECT json_agg(DISTINCT priority) FROM packages));

\echo ::indexes
SELECT json_object_agg(i.relname, m.amname)
FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_am m ON m.oid = i.relam
WHERE x.indrelid = 'packages'::regclass;

SELECT :'by' = 'meaning' AS by_meaning, :'by' = 'words' AS by_words
\gset
\if :by_meaning
-- Conditions on empty variables are constants, which the planner drops. The embedding stands in a subquery so that it
-- is computed once and not for every row that is sorted.
PREPARE search AS
SELECT embedding <=> (SELECT embed(:'query')) AS distance, name, section, priority, installed_size, version, summary
FROM packages
WHERE (:'section' = '' OR section = :'section')
  AND (:'priority' = '' OR priority = :'priority')
  AND (:'max_size' = '' OR installed_size <= nullif(:'max_size', '')::integer)
  AND embedding IS NOT NULL
ORDER BY embedding <=> (SELECT embed(:'query'))
LIMIT :'result_limit';
\else
-- The filter is one string of SQL; quote_literal() quotes what it is made of.
PREPARE search AS
SELECT h.distance, p.name, p.section, p.priority, p.installed_size, p.version, p.summary
FROM tandem_hybrid_search('packages', CASE WHEN NOT :'by_words' THEN embed(:'query') END, :'query', :'result_limit',
       filter => nullif(concat_ws(' AND ',
         'section = ' || quote_literal(nullif(:'section', '')), 'priority = ' || quote_literal(nullif(:'priority', '')),
         'installed_size <= ' || nullif(:'max_size', '')::integer), '')) AS h
  JOIN packages AS p ON p.id = h.key
ORDER BY h.combined_score DESC, h.vector_rank, h.text_rank;
\endif

-- The plan first: that run also warms what a new session has to read once, so the time below is that of a session.
\echo ::plan
EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) EXECUTE search;

\pset format csv
\echo ::rows
\timing on
EXECUTE search;
\timing off
