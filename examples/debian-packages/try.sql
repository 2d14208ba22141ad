-- by meaning and by ordinary columns
SELECT name, installed_size, summary FROM packages WHERE section IN ('games', 'education') AND installed_size < 2000
ORDER BY embedding <=> (SELECT embed('puzzles for children')) LIMIT 5;
-- more like these: the average of packages is a query, too
SELECT name, summary FROM packages WHERE name NOT IN ('gimp', 'inkscape')
ORDER BY embedding <=> (SELECT avg(embedding) FROM packages WHERE name IN ('gimp', 'inkscape')) LIMIT 5;
-- by words and by meaning: what both have high up comes first
SELECT name, text_rank, vector_rank, summary FROM tandem_hybrid_search('packages', embed('read scanned pages'), 'read scanned pages', 5) JOIN packages ON id = key;
-- how it is done: the index answers in order of distance
EXPLAIN ANALYZE SELECT name FROM packages ORDER BY embedding <=> (SELECT embed('play chess')) LIMIT 5;
