-- by meaning and by ordinary columns
SELECT name, installed_size, summary FROM packages WHERE section IN ('games', 'education') AND installed_size < 2000
ORDER BY embedding <=> (SELECT embed('puzzles for children')) LIMIT 5;
-- more like these: the average of packages is a query, too
SELECT name, summary FROM packages WHERE name NOT IN ('gimp', 'inkscape')
ORDER BY embedding <=> (SELECT avg(embedding) FROM packages WHERE name IN ('gimp', 'inkscape')) LIMIT 5;
-- how it is done: the index answers in order of distance
EXPLAIN ANALYZE SELECT name FROM packages ORDER BY embedding <=> (SELECT embed('play chess')) LIMIT 5;
