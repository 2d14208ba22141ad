SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS tandem;
CREATE SCHEMA flat_errors;
RESET client_min_messages;
SET search_path = flat_errors, public;

\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/include/index_checks.sql'
\set ECHO none
\i :helpers
\set ECHO all

-- Bad input: a clear error with its SQLSTATE, and nothing half written.

\set VERBOSITY sqlstate
CREATE TABLE items (id int, v vector(3));
CREATE INDEX items_l2 ON items USING tandem (v vector_l2_ops);
INSERT INTO items VALUES (1, '[1,1,1]'), (2, '[2,2,2]');

-- The type refuses before the index is asked.
INSERT INTO items VALUES (3, '[1,2]');
INSERT INTO items VALUES (3, '[1,2,3,4]');
INSERT INTO items VALUES (3, '[1,2,nan]');
INSERT INTO items VALUES (3, '[1,2,inf]');
INSERT INTO items VALUES (3, '[1,2,1e39]');
UPDATE items SET v = '[1]';
SELECT index_against_sort('SELECT id, v <-> ''[1,1,1]'' FROM items ORDER BY v <-> ''[1,1,1]''');

-- A column without dimensions over an index with them: the index refuses, and the row is not there.
CREATE TABLE loose (id int PRIMARY KEY, v vector);
CREATE FUNCTION same_vector(vector) RETURNS vector LANGUAGE sql IMMUTABLE AS 'SELECT $1';
CREATE INDEX loose_l2 ON loose USING tandem ((v::vector(3)) vector_l2_ops);
INSERT INTO loose SELECT i, pseudo_vector(i, 3) FROM generate_series(1, 10) AS i;
INSERT INTO loose VALUES (11, '[1,2]');
INSERT INTO loose SELECT i, pseudo_vector(i, CASE WHEN i = 20 THEN 4 ELSE 3 END) FROM generate_series(11, 20) AS i;
SELECT count(*) FROM loose;
SELECT index_against_sort('SELECT id, v::vector(3) <-> ''[1,1,1]'' FROM loose ORDER BY v::vector(3) <-> ''[1,1,1]''');
INSERT INTO loose SELECT i, pseudo_vector(i, 3) FROM generate_series(11, 20) AS i;
SELECT index_against_sort('SELECT id, v::vector(3) <-> ''[1,1,1]'' FROM loose ORDER BY v::vector(3) <-> ''[1,1,1]''');
CREATE TABLE widened (id int PRIMARY KEY, v vector(3));
CREATE INDEX widened_l2 ON widened USING tandem (v vector_l2_ops);
INSERT INTO widened SELECT i, pseudo_vector(i, 3) FROM generate_series(1, 10) AS i;
ALTER TABLE widened ALTER COLUMN v TYPE vector;
INSERT INTO widened VALUES (11, '[1,2]');
INSERT INTO widened VALUES (11, '[1,2,3]'), (12, '[1,2,3,4]');
BEGIN;
INSERT INTO widened VALUES (11, '[1,2,3]');
SAVEPOINT s;
INSERT INTO widened VALUES (12, '[1,2,3,4]');
ROLLBACK TO s;
INSERT INTO widened VALUES (12, '[1,2,4]');
COMMIT;
SELECT id, v FROM widened WHERE id > 10 ORDER BY id;
SELECT index_against_sort('SELECT id, v <-> ''[1,1,1]'' FROM widened ORDER BY v <-> ''[1,1,1]''');

-- Queries of other dimensions fail through the index as they do without it, with or without rows.
SET enable_seqscan = off;
SELECT id FROM items ORDER BY v <-> '[1,2]' LIMIT 1;
SELECT id FROM items ORDER BY v <-> '[1,2,3,4]' LIMIT 1;
PREPARE nearest(vector) AS SELECT id FROM items ORDER BY v <-> $1 LIMIT 1;
SET plan_cache_mode = force_generic_plan;
EXECUTE nearest('[2,2,3]');
EXECUTE nearest('[2,2]');
EXECUTE nearest('[2,2,3]');
CREATE TABLE none (v vector(3));
CREATE INDEX none_l2 ON none USING tandem (v vector_l2_ops);
SELECT * FROM none ORDER BY v <-> '[1,2]' LIMIT 1;
-- In the middle of a join, where earlier queries were right.
SELECT q.n, s.id FROM (VALUES (1, '[1,1,1]'::vector), (2, '[1,1]')) AS q(n, v),
  LATERAL (SELECT id FROM items ORDER BY items.v <-> q.v LIMIT 1) AS s;
SELECT id FROM items ORDER BY v <-> '[2,2,3]' LIMIT 1;
RESET enable_seqscan;
RESET plan_cache_mode;

-- An error between two rows, by a trigger, a constraint, a division: what was appended is not found.
CREATE TABLE checked (id int CHECK (id < 100), v vector(3), UNIQUE (id) DEFERRABLE INITIALLY DEFERRED);
CREATE INDEX checked_l2 ON checked USING tandem (v vector_l2_ops);
INSERT INTO checked SELECT i, pseudo_vector(i, 3) FROM generate_series(50, 150) AS i;
INSERT INTO checked SELECT 100 / (60 - i), pseudo_vector(i, 3) FROM generate_series(1, 70) AS i;
INSERT INTO checked SELECT i / 2, pseudo_vector(i, 3) FROM generate_series(1, 70) AS i;
SELECT count(*) FROM checked;
SELECT index_against_sort('SELECT id, v <-> ''[1,1,1]'' FROM checked ORDER BY v <-> ''[1,1,1]''');
INSERT INTO checked SELECT i, pseudo_vector(i, 3) FROM generate_series(1, 70) AS i;
SELECT index_against_sort('SELECT id, v <-> ''[1,1,1]'' FROM checked ORDER BY v <-> ''[1,1,1]''');

-- Words.
\set VERBOSITY default
SELECT id FROM loose ORDER BY v::vector(3) <-> '[1,2]' LIMIT 1;
INSERT INTO widened VALUES (13, '[1,2]');
SET enable_seqscan = off;
SELECT id FROM items ORDER BY v <-> '[1,2]' LIMIT 1;

SET client_min_messages = warning;
DROP SCHEMA flat_errors CASCADE;
