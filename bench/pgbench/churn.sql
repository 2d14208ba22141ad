-- A writer that must never change what a reader of the top 10 sees; run beside exact searches by suite flat-exact.
-- Tables: items(id, label, embedding), wanted(id, embedding) = the readers' queries, distant(embedding) = an offset
-- that puts a row behind all others.
\set q random(0, :queries - 1)
-- Ids of their own for each client, so that no two of them meet on a key.
\set near 10000000 + 10000 * :client_id + :q
\set far 20000000 + 10000 * :client_id + random(0, 4999)
-- Rows at distance zero of a query, gone before they could be seen.
BEGIN;
INSERT INTO items (id, embedding) SELECT :near, embedding FROM wanted WHERE id = :q;
DELETE FROM items WHERE id = :near;
COMMIT;
-- The same, rolled back.
BEGIN;
INSERT INTO items (id, embedding) SELECT :near, embedding FROM wanted WHERE id = :q;
ROLLBACK;
-- Rows that come and go for all to see, but too far away to be among the nearest.
DELETE FROM items WHERE id = :far;
INSERT INTO items (id, embedding) SELECT :far, wanted.embedding + distant.embedding FROM wanted, distant WHERE wanted.id = :q;
