-- One row per transaction. Tables: items(id, embedding), wanted(id, embedding).
\set q random(0, :queries - 1)
\set id random(100000000, 9000000000000000000)
INSERT INTO items (id, embedding) SELECT :id, embedding FROM wanted WHERE id = :q;
