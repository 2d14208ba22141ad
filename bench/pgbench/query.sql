-- Ten nearest rows of a random query. Tables: items(id, embedding), wanted(id, embedding).
\set q random(0, :queries - 1)
SELECT id FROM items ORDER BY embedding <-> (SELECT embedding FROM wanted WHERE id = :q) LIMIT 10;
