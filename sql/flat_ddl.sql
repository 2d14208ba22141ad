SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS tandem;
CREATE SCHEMA flat_ddl;
RESET client_min_messages;
SET search_path = flat_ddl, public;

\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/include/index_checks.sql'
\set ECHO none
\i :helpers
\set ECHO all

-- CREATE, REINDEX, ALTER and what they do to the rows; what cannot be created at all.

CREATE TABLE items (id int PRIMARY KEY, tag int, v vector(3));
INSERT INTO items SELECT i, 0, pseudo_vector(i, 3) FROM generate_series(1, 2500) AS i;
CREATE FUNCTION check_items() RETURNS text LANGUAGE sql AS $$
  SELECT index_against_sort('SELECT id, v <-> ''[1,2,3]'' FROM items ORDER BY v <-> ''[1,2,3]''')
$$;

CREATE INDEX CONCURRENTLY items_l2 ON items USING tandem (v vector_l2_ops);
SELECT check_items();
SELECT indisvalid, indisready FROM pg_index WHERE indexrelid = 'items_l2'::regclass;
INSERT INTO items SELECT i, 0, pseudo_vector(i, 3) FROM generate_series(2501, 3000) AS i;
DELETE FROM items WHERE id % 4 = 0;
REINDEX INDEX items_l2;
SELECT check_items();
REINDEX INDEX CONCURRENTLY items_l2;
SELECT check_items();
REINDEX TABLE CONCURRENTLY items;
SELECT check_items();
VACUUM items;
INSERT INTO items SELECT i, 1, pseudo_vector(i, 3) FROM generate_series(3001, 3500) AS i;
SELECT check_items();
-- An index that is built again in the transaction that filled it.
BEGIN;
INSERT INTO items SELECT i, 2, pseudo_vector(i, 3) FROM generate_series(3501, 3600) AS i;
REINDEX INDEX items_l2;
INSERT INTO items SELECT i, 2, pseudo_vector(i, 3) FROM generate_series(3601, 3700) AS i;
SELECT check_items();
SAVEPOINT s;
UPDATE items SET v = '[1,2,3]' WHERE id < 50;
REINDEX TABLE items;
SELECT check_items();
ROLLBACK TO s;
SELECT check_items();
COMMIT;
SELECT check_items();
BEGIN;
REINDEX INDEX items_l2;
ROLLBACK;
INSERT INTO items VALUES (3701, 3, '[1,2,3]');
SELECT check_items();
-- The same with DROP and CREATE.
BEGIN;
INSERT INTO items VALUES (3702, 3, '[1,2,3]');
DROP INDEX items_l2;
INSERT INTO items VALUES (3703, 3, '[1,2,3]');
CREATE INDEX items_l2 ON items USING tandem (v vector_l2_ops);
INSERT INTO items VALUES (3704, 3, '[1,2,3]');
SELECT check_items();
COMMIT;
SELECT check_items();

-- Parameters that any index has, names, places.
CREATE INDEX items_filled ON items USING tandem (v vector_l2_ops) WITH (fillfactor = 50);
ALTER INDEX items_l2 SET (fillfactor = 50);
ALTER INDEX items_l2 RENAME TO items_nearest;
SELECT check_items();
SET allow_in_place_tablespaces = on;
CREATE TABLESPACE tandem_ddl LOCATION '';
ALTER INDEX items_nearest SET TABLESPACE tandem_ddl;
SELECT check_items();
BEGIN;
INSERT INTO items VALUES (3705, 3, '[1,2,3]');
ALTER INDEX items_nearest SET TABLESPACE pg_default;
INSERT INTO items VALUES (3706, 3, '[1,2,3]');
COMMIT;
SELECT check_items();
DROP TABLESPACE tandem_ddl;
CREATE SCHEMA flat_ddl_other;
ALTER TABLE items SET SCHEMA flat_ddl_other;
SET search_path = flat_ddl, flat_ddl_other, public;
SELECT check_items();
COMMENT ON INDEX items_nearest IS 'finds neighbours';
ALTER INDEX items_nearest ALTER COLUMN 1 SET STATISTICS 100;

-- Changes of the table's columns, with and without new files.
ALTER TABLE items ADD COLUMN plain int;
ALTER TABLE items ADD COLUMN rewritten float8 DEFAULT random();
SELECT check_items();
ALTER TABLE items ALTER COLUMN id TYPE bigint;
SELECT check_items();
ALTER TABLE items DROP COLUMN tag;
INSERT INTO items (id, v) VALUES (3707, '[1,2,3]');
SELECT check_items();
ALTER TABLE items RENAME COLUMN v TO embedding;
SELECT pg_get_indexdef('items_nearest'::regclass);
ALTER TABLE items RENAME COLUMN embedding TO v;
-- A new number of dimensions: only where every row has it.
ALTER TABLE items ALTER COLUMN v TYPE vector(4);
SELECT check_items();
ALTER TABLE items ALTER COLUMN v TYPE vector(4) USING v || '[1]';
SELECT index_against_sort('SELECT id, v <-> ''[1,2,3,4]'' FROM items ORDER BY v <-> ''[1,2,3,4]''');
INSERT INTO items (id, v) VALUES (3708, '[1,2,3,4]');
ALTER TABLE items ALTER COLUMN v TYPE vector(2) USING subvector(v, 1, 2);
SELECT index_against_sort('SELECT id, v <-> ''[1,2]'' FROM items ORDER BY v <-> ''[1,2]''');
ALTER TABLE items ALTER COLUMN v TYPE real[];
ALTER TABLE items ALTER COLUMN v SET STORAGE MAIN;
SELECT index_against_sort('SELECT id, v <-> ''[1,2]'' FROM items ORDER BY v <-> ''[1,2]''');
-- Storage: compressed, out of line, plain.
CREATE TABLE stored (id int, v vector(600));
CREATE INDEX ON stored USING tandem (v vector_l2_ops);
INSERT INTO stored SELECT i, pseudo_vector(i, 600) FROM generate_series(1, 20) AS i;
ALTER TABLE stored ALTER COLUMN v SET STORAGE EXTENDED;
INSERT INTO stored SELECT i, pseudo_vector(i % 3, 600, 1) FROM generate_series(21, 40) AS i;
ALTER TABLE stored ALTER COLUMN v SET STORAGE PLAIN;
INSERT INTO stored SELECT i, pseudo_vector(i, 600) FROM generate_series(41, 60) AS i;
SELECT index_against_sort('SELECT id, v <-> pseudo_vector(5, 600) FROM stored ORDER BY v <-> pseudo_vector(5, 600)');
REINDEX TABLE stored;
SELECT index_against_sort('SELECT id, v <-> pseudo_vector(5, 600) FROM stored ORDER BY v <-> pseudo_vector(5, 600)');
-- The column goes, and the index with it.
ALTER TABLE items DROP COLUMN v;
SELECT to_regclass('items_nearest') IS NULL AS gone;

-- Copies of a table carry the index.
CREATE TABLE pattern (id int, v vector(3));
CREATE INDEX ON pattern USING tandem (v vector_cosine_ops) WITH (strategy = flat);
CREATE TABLE copied (LIKE pattern INCLUDING ALL);
SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = 'copied'::regclass;

-- A domain over the type, and a column of it.
CREATE DOMAIN unit_vector AS vector(2) CHECK (abs(vector_norm(VALUE) - 1) < 1e-3);
CREATE TABLE domains (id int, v unit_vector);
CREATE INDEX ON domains USING tandem (v vector_l2_ops);
INSERT INTO domains VALUES (1, '[1,0]'), (2, '[0,1]');
SELECT index_against_sort('SELECT id, v <-> ''[1,1]'' FROM domains ORDER BY v <-> ''[1,1]''');

-- A materialized view.
INSERT INTO pattern SELECT i, pseudo_vector(i, 3) FROM generate_series(1, 50) AS i;
CREATE MATERIALIZED VIEW matview AS SELECT id, v FROM pattern;
CREATE INDEX ON matview USING tandem (v vector_l2_ops);
INSERT INTO pattern SELECT i, pseudo_vector(i, 3) FROM generate_series(51, 60) AS i;
REFRESH MATERIALIZED VIEW matview;
SELECT index_against_sort('SELECT id, v <-> ''[1,2,3]'' FROM matview ORDER BY v <-> ''[1,2,3]''');

-- What the access method does not do.
CREATE TABLE refused (id int, v vector(3), w vector, r real[], wide vector(16000));
CREATE UNIQUE INDEX ON refused USING tandem (v vector_l2_ops);
CREATE INDEX ON refused USING tandem (v vector_l2_ops, v vector_ip_ops);
CREATE INDEX ON refused USING tandem (v vector_l2_ops) INCLUDE (id);
CREATE INDEX ON refused USING tandem (v);
CREATE INDEX ON refused USING tandem (v vector_ops);
CREATE INDEX ON refused USING tandem (id);
CREATE INDEX ON refused USING tandem (id vector_l2_ops);
CREATE INDEX ON refused USING tandem (r vector_l2_ops);
CREATE INDEX ON refused USING tandem (v vector_l2_ops DESC);
CREATE INDEX ON refused USING tandem (v vector_l2_ops NULLS FIRST);
CREATE INDEX ON refused USING tandem (w vector_l2_ops);
CREATE INDEX ON refused USING tandem ((v + v) vector_l2_ops);
-- Messages of these differ between server versions.
\set VERBOSITY sqlstate
CREATE INDEX ON refused USING tandem (v COLLATE "C" vector_l2_ops);
CREATE INDEX ON refused USING tandem (v vector_l2_ops (dimensions = 3));
ALTER TABLE refused ADD CONSTRAINT nearby EXCLUDE USING tandem (v vector_l2_ops WITH <->);
ALTER TABLE refused ADD CONSTRAINT nearby EXCLUDE USING tandem (v vector_l2_ops WITH =);
\set VERBOSITY default
CREATE INDEX refused_l2 ON refused USING tandem (v vector_l2_ops);
CLUSTER refused USING refused_l2;
ALTER TABLE refused REPLICA IDENTITY USING INDEX refused_l2;
-- A column that loses its dimensions keeps an index that works, but cannot be built again.
CREATE INDEX refused_widest ON refused USING tandem (wide vector_cosine_ops);
SELECT count(*) FROM pg_indexes WHERE schemaname = 'flat_ddl' AND tablename = 'refused';
ALTER TABLE refused ALTER COLUMN v TYPE vector;
REINDEX INDEX refused_l2;
DROP TABLE refused;

SET client_min_messages = warning;
DROP SCHEMA flat_ddl_other CASCADE;

SET client_min_messages = warning;
DROP SCHEMA flat_ddl CASCADE;
