-- CREATE INDEX ... USING hnsw, as frameworks write it, without pgvector: refused, or with tandem.redirect_hnsw a tandem index.
-- Seen to fail with: a function's command changed in place.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS tandem;
RESET client_min_messages;
CREATE SCHEMA redirect_hnsw;
SET search_path = redirect_hnsw, public;

CREATE TABLE docs (id bigint PRIMARY KEY, embedding vector(3), half halfvec(3), bits bit(8));
INSERT INTO docs SELECT i, ARRAY[i, i % 7, 1]::vector, ARRAY[i, i % 7, 1]::halfvec, (i % 256)::bit(8) FROM generate_series(1, 50) i;

-- Off, it is what it always was.
SHOW tandem.redirect_hnsw;
CREATE INDEX ON docs USING hnsw (embedding vector_l2_ops) WITH (m = 16, ef_construction = 64);

SET tandem.redirect_hnsw = on;
CREATE INDEX docs_hnsw ON docs USING hnsw (embedding vector_l2_ops) WITH (m = 16, ef_construction = 64);
CREATE INDEX IF NOT EXISTS docs_hnsw ON docs USING HNSW (embedding vector_l2_ops);
CREATE INDEX ON docs USING hnsw (embedding vector_cosine_ops);
CREATE INDEX ON docs USING hnsw (embedding vector_ip_ops) WITH (strategy = flat);
CREATE INDEX ON docs USING hnsw (half halfvec_l2_ops);
CREATE INDEX ON docs USING hnsw ((binary_quantize(embedding)::bit(3)) bit_hamming_ops) WHERE id < 40;
CREATE INDEX CONCURRENTLY docs_bits ON docs USING hnsw (bits bit_jaccard_ops);
SELECT indexdef FROM pg_indexes WHERE tablename = 'docs' AND schemaname = 'redirect_hnsw' AND indexname <> 'docs_pkey' ORDER BY indexname COLLATE "C";
SET enable_seqscan = off;
EXPLAIN (COSTS OFF) SELECT id FROM docs ORDER BY embedding <-> '[1,2,3]' LIMIT 3;
SELECT id FROM docs ORDER BY embedding <-> '[1,2,3]' LIMIT 3;
RESET enable_seqscan;

-- Other access methods, other errors.
CREATE INDEX ON docs USING ivfflat (embedding vector_l2_ops) WITH (lists = 100);
CREATE INDEX ON docs USING hnsw (embedding);
CREATE INDEX ON docs USING hnsw (embedding vector_l2_ops) WITH (m = 2);
CREATE INDEX ON docs USING hnsw (embedding vector_l2_ops) WITH (lists = 2);

-- Partitions, those to come as well.
CREATE TABLE parted (id bigint, embedding vector(3)) PARTITION BY RANGE (id);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (100);
CREATE INDEX ON parted USING hnsw (embedding vector_l2_ops);
CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM (100) TO (200);
SELECT c.relname, a.amname, c.reloptions FROM pg_class c JOIN pg_am a ON a.oid = c.relam
WHERE c.relname ~ '^parted.*idx$' ORDER BY c.relname COLLATE "C";

-- A command that is kept and comes again: the second time the setting says otherwise.
CREATE FUNCTION make_index() RETURNS void LANGUAGE plpgsql AS $$ BEGIN
  DROP INDEX IF EXISTS docs_hnsw;
  CREATE INDEX docs_hnsw ON docs USING hnsw (embedding vector_l2_ops);
END $$;
SELECT make_index();
SELECT make_index();
SET tandem.redirect_hnsw = off;
SELECT make_index();
CREATE SCHEMA redirect_more
  CREATE TABLE t (v vector(3))
  CREATE INDEX t_index ON t USING hnsw (v vector_l2_ops);
SET tandem.redirect_hnsw = on;
CREATE SCHEMA redirect_more
  CREATE TABLE t (v vector(3))
  CREATE INDEX t_index ON t USING hnsw (v vector_l2_ops);
DROP SCHEMA redirect_more CASCADE;

-- Anybody may set it; who may create an index is what it was.
CREATE ROLE tandem_redirect_user;
GRANT USAGE ON SCHEMA redirect_hnsw TO tandem_redirect_user;
SET ROLE tandem_redirect_user;
SET tandem.redirect_hnsw = off;
SET tandem.redirect_hnsw = on;
CREATE INDEX ON docs USING hnsw (embedding vector_l2_ops);
RESET ROLE;
ALTER ROLE tandem_redirect_user SET tandem.redirect_hnsw = on;

-- An access method of that name: its own.
CREATE ACCESS METHOD hnsw TYPE INDEX HANDLER bthandler;
CREATE INDEX ON docs USING hnsw (id int8_ops);
DROP ACCESS METHOD hnsw;

REVOKE USAGE ON SCHEMA redirect_hnsw FROM tandem_redirect_user;
DROP ROLE tandem_redirect_user;
SET client_min_messages = warning;
DROP SCHEMA redirect_hnsw CASCADE;
