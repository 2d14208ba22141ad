SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS tandem;
CREATE SCHEMA flat_dml;
RESET client_min_messages;
SET search_path = flat_dml, public;

\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/include/index_checks.sql'
\set ECHO none
\i :helpers
\set ECHO all

-- Everything that changes rows, against the same query without the index.

CREATE TABLE items (id int PRIMARY KEY, tag int, v vector(3));
CREATE INDEX items_l2 ON items USING tandem (v vector_l2_ops);
ALTER TABLE items SET (autovacuum_enabled = off);
CREATE FUNCTION check_items() RETURNS text LANGUAGE sql AS $$
  SELECT index_against_sort('SELECT id, v <-> ''[1,2,3]'' FROM items ORDER BY v <-> ''[1,2,3]''')
$$;

INSERT INTO items SELECT i, 0, pseudo_vector(i, 3) FROM generate_series(1, 3000) AS i;
SELECT check_items();

-- UPDATE of the vector; UPDATE of another column without an index, which leaves the index alone (HOT).
UPDATE items SET v = pseudo_vector(-id, 3) WHERE id % 5 = 0;
SELECT check_items();
CREATE TABLE hot (id int, tag int, v vector(3)) WITH (fillfactor = 50, autovacuum_enabled = off);
CREATE INDEX hot_l2 ON hot USING tandem (v vector_l2_ops);
INSERT INTO hot SELECT i, 0, pseudo_vector(i, 3) FROM generate_series(1, 100) AS i;
SELECT pg_relation_size('hot_l2') AS before_updates \gset
UPDATE hot SET tag = 1;
UPDATE hot SET tag = 2 WHERE id % 2 = 0;
SELECT pg_relation_size('hot_l2') = :before_updates AS not_grown;
SELECT pg_stat_force_next_flush() \g /dev/null
SELECT n_tup_hot_upd > 0 AS hot_updates FROM pg_stat_user_tables WHERE relid = 'hot'::regclass;
SELECT index_against_sort('SELECT id * 10 + tag, v <-> ''[1,2,3]'' FROM hot ORDER BY v <-> ''[1,2,3]''');
VACUUM hot;
SELECT index_against_sort('SELECT id * 10 + tag, v <-> ''[1,2,3]'' FROM hot ORDER BY v <-> ''[1,2,3]''');
-- The same vector again and again.
DO $$ BEGIN FOR i IN 1..20 LOOP UPDATE hot SET v = v, tag = i; END LOOP; END $$;
SELECT index_against_sort('SELECT id * 10 + tag, v <-> ''[1,2,3]'' FROM hot ORDER BY v <-> ''[1,2,3]''');

-- DELETE, VACUUM, and rows in the places that became free.
DELETE FROM items WHERE id % 3 = 0;
SELECT check_items();
VACUUM items;
SELECT check_items();
INSERT INTO items SELECT i, 1, pseudo_vector(i, 3) FROM generate_series(3001, 5000) AS i;
SELECT check_items();
UPDATE items SET v = pseudo_vector(id + 7, 3), tag = 2 WHERE id % 2 = 0;
VACUUM items;
INSERT INTO items SELECT i, 3, pseudo_vector(i, 3) FROM generate_series(5001, 6000) AS i;
SELECT check_items();
-- VACUUM that leaves the index alone, then one that does not.
DELETE FROM items WHERE id % 7 = 0;
VACUUM (INDEX_CLEANUP off) items;
SELECT check_items();
VACUUM (INDEX_CLEANUP on, FREEZE) items;
SELECT check_items();
VACUUM FULL items;
SELECT check_items();
DELETE FROM items WHERE id > 3000;
VACUUM (TRUNCATE on) items;
SELECT check_items();
INSERT INTO items SELECT i, 4, pseudo_vector(i, 3) FROM generate_series(3001, 6000) AS i;
SELECT check_items();

-- Savepoints and transactions that come to nothing.
BEGIN;
INSERT INTO items SELECT i, 5, pseudo_vector(i, 3) FROM generate_series(6001, 6100) AS i;
SAVEPOINT a;
INSERT INTO items SELECT i, 6, pseudo_vector(i, 3) FROM generate_series(6101, 6200) AS i;
SAVEPOINT b;
DELETE FROM items WHERE id BETWEEN 6050 AND 6150;
SELECT check_items();
ROLLBACK TO b;
SELECT check_items();
ROLLBACK TO a;
SELECT check_items();
INSERT INTO items SELECT i, 7, pseudo_vector(i, 3) FROM generate_series(6201, 6300) AS i;
RELEASE a;
COMMIT;
SELECT check_items(), count(*), max(id) FROM items;
BEGIN;
INSERT INTO items SELECT i, 8, pseudo_vector(i, 3) FROM generate_series(6301, 6400) AS i;
UPDATE items SET v = '[0,0,0]' WHERE id < 100;
DELETE FROM items WHERE id BETWEEN 100 AND 200;
ROLLBACK;
SELECT check_items(), count(*), max(id) FROM items;
DO $$
BEGIN
  INSERT INTO items VALUES (9001, 0, '[1,2,3]');
  BEGIN
    INSERT INTO items VALUES (9002, 0, '[1,2,3]');
    INSERT INTO items VALUES (9001, 0, '[1,2,3]');
  EXCEPTION WHEN unique_violation THEN
    INSERT INTO items VALUES (9003, 0, '[1,2,3]');
  END;
END $$;
SELECT id FROM items WHERE id > 9000 ORDER BY id;
SELECT check_items();
VACUUM items;
SELECT check_items();

-- INSERT … ON CONFLICT, MERGE, COPY, and writing common table expressions.
INSERT INTO items VALUES (1, 9, '[1,1,1]'), (9001, 9, '[2,2,2]'), (9004, 9, '[3,3,3]') ON CONFLICT DO NOTHING;
SELECT check_items();
INSERT INTO items VALUES (1, 10, '[1,1,1]'), (9001, 10, '[2,2,2]'), (9005, 10, '[3,3,3]')
  ON CONFLICT (id) DO UPDATE SET v = excluded.v, tag = excluded.tag;
SELECT id, v FROM items WHERE tag >= 9 ORDER BY id;
SELECT check_items();
MERGE INTO items USING (VALUES (1, '[4,4,4]'::vector), (2, NULL), (9006, '[5,5,5]')) AS s(id, v) ON items.id = s.id
  WHEN MATCHED AND s.v IS NULL THEN DELETE
  WHEN MATCHED THEN UPDATE SET v = s.v
  WHEN NOT MATCHED THEN INSERT VALUES (s.id, 11, s.v);
SELECT check_items();
COPY items FROM stdin;
9007	12	[6,6,6]
9008	12	\N
9009	12	[7,7,7]
\.
SELECT check_items();
-- A COPY that fails leaves nothing behind.
COPY items FROM stdin;
9010	13	[6,6,6]
9011	13	[6,6]
\.
SELECT check_items(), count(*) FROM items WHERE tag = 13;
WITH moved AS (DELETE FROM items WHERE id > 9000 RETURNING *)
INSERT INTO items SELECT id + 1000, tag, v FROM moved;
SELECT check_items(), count(*) FROM items WHERE id > 10000;

-- TRUNCATE, also in the transaction that made the table, where the file stays and its contents start again.
BEGIN;
TRUNCATE items;
INSERT INTO items SELECT i, 0, pseudo_vector(i, 3) FROM generate_series(1, 10) AS i;
SELECT check_items();
ROLLBACK;
SELECT check_items(), count(*) > 10 AS back FROM items;
TRUNCATE items;
SELECT check_items();
INSERT INTO items SELECT i, 0, pseudo_vector(i, 3) FROM generate_series(1, 2500) AS i;
SELECT check_items();
BEGIN;
CREATE TABLE again (id int, v vector(3));
CREATE INDEX again_l2 ON again USING tandem (v vector_l2_ops);
INSERT INTO again SELECT i, pseudo_vector(i, 3) FROM generate_series(1, 2500) AS i;
SELECT index_against_sort('SELECT id, v <-> ''[1,2,3]'' FROM again ORDER BY v <-> ''[1,2,3]''');
SELECT pg_relation_filenode('again_l2') AS filenode \gset
TRUNCATE again;
SELECT pg_relation_filenode('again_l2') = :filenode AS same_file;
SELECT index_against_sort('SELECT id, v <-> ''[1,2,3]'' FROM again ORDER BY v <-> ''[1,2,3]''');
INSERT INTO again SELECT i, pseudo_vector(i, 3) FROM generate_series(2501, 2600) AS i;
SELECT index_against_sort('SELECT id, v <-> ''[1,2,3]'' FROM again ORDER BY v <-> ''[1,2,3]''');
SAVEPOINT s;
TRUNCATE again;
INSERT INTO again SELECT i, pseudo_vector(i, 3) FROM generate_series(1, 1500) AS i;
ROLLBACK TO s;
SELECT index_against_sort('SELECT id, v <-> ''[1,2,3]'' FROM again ORDER BY v <-> ''[1,2,3]''');
COMMIT;
SELECT index_against_sort('SELECT id, v <-> ''[1,2,3]'' FROM again ORDER BY v <-> ''[1,2,3]''');

-- Temporary tables, also those that are emptied at every commit.
CREATE TEMP TABLE temporary (id int, v vector(3));
CREATE INDEX ON temporary USING tandem (v vector_l2_ops);
INSERT INTO temporary SELECT i, pseudo_vector(i, 3) FROM generate_series(1, 2500) AS i;
DELETE FROM temporary WHERE id % 2 = 0;
VACUUM temporary;
INSERT INTO temporary SELECT i, pseudo_vector(i, 3) FROM generate_series(2501, 4000) AS i;
SELECT index_against_sort('SELECT id, v <-> ''[1,2,3]'' FROM temporary ORDER BY v <-> ''[1,2,3]''');
CREATE TEMP TABLE emptied (id int, v vector(3)) ON COMMIT DELETE ROWS;
CREATE INDEX ON emptied USING tandem (v vector_l2_ops);
BEGIN;
INSERT INTO emptied SELECT i, pseudo_vector(i, 3) FROM generate_series(1, 2500) AS i;
SELECT index_against_sort('SELECT id, v <-> ''[1,2,3]'' FROM emptied ORDER BY v <-> ''[1,2,3]''');
COMMIT;
BEGIN;
INSERT INTO emptied SELECT i, pseudo_vector(i, 3) FROM generate_series(1, 7) AS i;
SELECT index_against_sort('SELECT id, v <-> ''[1,2,3]'' FROM emptied ORDER BY v <-> ''[1,2,3]''');
COMMIT;
SELECT index_against_sort('SELECT id, v <-> ''[1,2,3]'' FROM emptied ORDER BY v <-> ''[1,2,3]''');

-- Unlogged, made logged and unlogged again.
CREATE UNLOGGED TABLE unlogged (id int, v vector(3));
CREATE INDEX unlogged_l2 ON unlogged USING tandem (v vector_l2_ops);
SELECT pg_relation_size('unlogged_l2', 'init') > 0 AS has_init_fork;
INSERT INTO unlogged SELECT i, pseudo_vector(i, 3) FROM generate_series(1, 2500) AS i;
SELECT index_against_sort('SELECT id, v <-> ''[1,2,3]'' FROM unlogged ORDER BY v <-> ''[1,2,3]''');
ALTER TABLE unlogged SET LOGGED;
INSERT INTO unlogged SELECT i, pseudo_vector(i, 3) FROM generate_series(2501, 3000) AS i;
SELECT index_against_sort('SELECT id, v <-> ''[1,2,3]'' FROM unlogged ORDER BY v <-> ''[1,2,3]''');
ALTER TABLE unlogged SET UNLOGGED;
INSERT INTO unlogged SELECT i, pseudo_vector(i, 3) FROM generate_series(3001, 3500) AS i;
SELECT index_against_sort('SELECT id, v <-> ''[1,2,3]'' FROM unlogged ORDER BY v <-> ''[1,2,3]''');

-- Two indexes on one column and a row that moves between partial indexes.
CREATE TABLE partial (id int, active bool, v vector(3));
CREATE INDEX partial_active ON partial USING tandem (v vector_l2_ops) WHERE active;
CREATE INDEX partial_odd ON partial USING tandem (v vector_l2_ops) WHERE id % 2 = 1;
CREATE INDEX partial_cosine ON partial USING tandem (v vector_cosine_ops);
INSERT INTO partial SELECT i, i % 3 = 0, pseudo_vector(i, 3) FROM generate_series(1, 1500) AS i;
SELECT index_against_sort('SELECT id, v <-> ''[1,2,3]'' FROM partial WHERE active ORDER BY v <-> ''[1,2,3]''');
SELECT index_against_sort('SELECT id, v <-> ''[1,2,3]'' FROM partial WHERE id % 2 = 1 ORDER BY v <-> ''[1,2,3]''');
SELECT index_against_sort('SELECT id, v <=> ''[1,2,3]'' FROM partial ORDER BY v <=> ''[1,2,3]''');
UPDATE partial SET active = NOT active, id = id + 1 WHERE id % 5 = 0;
SELECT index_against_sort('SELECT id, v <-> ''[1,2,3]'' FROM partial WHERE active ORDER BY v <-> ''[1,2,3]''');
SELECT index_against_sort('SELECT id, v <-> ''[1,2,3]'' FROM partial WHERE id % 2 = 1 ORDER BY v <-> ''[1,2,3]''');
SELECT index_against_sort('SELECT id, v <=> ''[1,2,3]'' FROM partial ORDER BY v <=> ''[1,2,3]''');
-- A partial index serves only queries that imply its predicate; also one without ORDER BY.
SET enable_seqscan = off;
SELECT plan($$SELECT id FROM partial ORDER BY v <-> '[1,2,3]'$$);
EXPLAIN (COSTS OFF) SELECT id, v FROM partial WHERE active;
SELECT count(id), count(v) FROM partial WHERE active;
-- The index cannot count rows by itself: only the heap knows which of them are visible.
SELECT plan($$SELECT count(*) FROM partial$$);
SELECT plan($$SELECT count(*) FROM partial WHERE active$$);
SELECT EXISTS (SELECT FROM partial);
SELECT count(*) FROM partial;
SELECT count(*) FROM partial WHERE active;
RESET enable_seqscan;

-- An index on an expression.
CREATE TABLE expression (id int, v vector, r real[]);
CREATE INDEX expression_v ON expression USING tandem ((v::vector(3)) vector_l2_ops) WHERE vector_dims(v) = 3;
CREATE INDEX expression_r ON expression USING tandem ((r::vector(2)) vector_cosine_ops);
INSERT INTO expression SELECT i, pseudo_vector(i, 2 + i % 3), ARRAY[i, 1] FROM generate_series(1, 900) AS i;
SELECT index_against_sort('SELECT id, v::vector(3) <-> ''[1,2,3]'' FROM expression WHERE vector_dims(v) = 3
                           ORDER BY v::vector(3) <-> ''[1,2,3]''');
SELECT index_against_sort('SELECT id, r::vector(2) <=> ''[1,2]'' FROM expression ORDER BY r::vector(2) <=> ''[1,2]''');
UPDATE expression SET v = subvector(v, 1, 2) WHERE vector_dims(v) = 4;
UPDATE expression SET v = v || '[1]' WHERE vector_dims(v) = 2 AND id % 2 = 0;
SELECT index_against_sort('SELECT id, v::vector(3) <-> ''[1,2,3]'' FROM expression WHERE vector_dims(v) = 3
                           ORDER BY v::vector(3) <-> ''[1,2,3]''');

-- Triggers and foreign keys that change rows in the middle of a statement.
CREATE FUNCTION nudge() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NEW.v := NEW.v + '[1,1,1]';
  RETURN NEW;
END $$;
CREATE TRIGGER nudge BEFORE INSERT OR UPDATE ON items FOR EACH ROW WHEN (NEW.v IS NOT NULL) EXECUTE FUNCTION nudge();
INSERT INTO items VALUES (20001, 0, '[0,0,0]');
UPDATE items SET tag = 5 WHERE id = 20001;
SELECT v FROM items WHERE id = 20001;
CREATE TABLE children (id int, item int REFERENCES items ON DELETE CASCADE ON UPDATE CASCADE, v vector(3));
CREATE INDEX children_l2 ON children USING tandem (v vector_l2_ops);
INSERT INTO children SELECT i, i % 50 + 1, pseudo_vector(i, 3) FROM generate_series(1, 500) AS i;
DELETE FROM items WHERE id BETWEEN 1 AND 20;
UPDATE items SET id = -id WHERE id BETWEEN 30 AND 40;
SELECT check_items();
SELECT index_against_sort('SELECT id, v <-> ''[1,2,3]'' FROM children ORDER BY v <-> ''[1,2,3]''');

SET client_min_messages = warning;
DROP SCHEMA flat_dml CASCADE;
