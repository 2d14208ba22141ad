SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS tandem;
CREATE SCHEMA build_functions;
SET search_path = build_functions, public;

\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/include/index_checks.sql'
\set ECHO none
\i :helpers
\set ECHO all

-- tandem_build() and tandem_wait(): what they do, what they refuse and what they say then. A server without the background
-- worker: with it, see the TAP tests.
-- Seen to fail with: procedures that commit what a DO block wrote; dead rows waited for; the catalog entry not looked at.

SET tandem.ef_search = 1000;
CREATE TABLE items (id int, v vector(3)) WITH (autovacuum_enabled = off);
INSERT INTO items SELECT i, pseudo_vector(i, 3) FROM generate_series(1, 500) AS i;
CREATE INDEX items_v ON items USING tandem (v vector_l2_ops) WITH (strategy = 'hnsw_batch');
CREATE FUNCTION check_items() RETURNS text LANGUAGE sql AS $$
  SELECT graphs_against_sort('SELECT id, v <-> ''[1,2,3]'' FROM items ORDER BY v <-> ''[1,2,3]''')
$$;
CREATE VIEW graphs AS SELECT indexname, rows, indexed_rows, tail_rows, segments FROM tandem_index_stats
  WHERE schemaname = 'build_functions';

-- tandem_build: everything, quietly; a second call finds nothing to do.
CALL tandem_build('items_v');
SELECT * FROM graphs;
CALL tandem_build('items_v');
CALL tandem_build(index => 'items_v'::regclass);
SELECT * FROM graphs;
SELECT check_items();
-- However few rows have come.
INSERT INTO items VALUES (501, '[1,2,3]');
SELECT indexed_rows, tail_rows FROM graphs;
CALL tandem_build('items_v');
SELECT indexed_rows, tail_rows FROM graphs;
SELECT check_items();
SELECT * FROM tandem_verify('items_v', true);

-- Nothing to wait for: no worker is needed for that.
CALL tandem_wait('items_v');
CALL tandem_wait('items_v', '1 second');
CALL tandem_wait(index => 'items_v', timeout => '0');
CALL tandem_wait('items_v', NULL);

-- Something to wait for, and nobody to do it. The hint says what helps.
INSERT INTO items VALUES (502, '[3,2,1]');
CALL tandem_wait('items_v');
CALL tandem_wait('items_v', '1 second');
-- Rows that died need no graph.
DELETE FROM items WHERE id = 502;
VACUUM (INDEX_CLEANUP on) items;
CALL tandem_wait('items_v');
-- NULL vectors neither.
INSERT INTO items SELECT i, NULL FROM generate_series(1001, 1010) AS i;
CALL tandem_wait('items_v');
CALL tandem_build('items_v');
SELECT check_items();

-- In transaction blocks, subtransactions, functions and DO blocks; rows of the transaction itself and of others alike.
BEGIN;
INSERT INTO items SELECT i, pseudo_vector(i, 3) FROM generate_series(503, 520) AS i;
CALL tandem_build('items_v');
SELECT indexed_rows, tail_rows FROM graphs;
SELECT check_items();
SAVEPOINT s;
INSERT INTO items SELECT i, pseudo_vector(i, 3) FROM generate_series(521, 540) AS i;
CALL tandem_build('items_v');
SELECT check_items();
ROLLBACK TO s;
SELECT check_items();
CALL tandem_wait('items_v');
COMMIT;
SELECT check_items();
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT check_items();
INSERT INTO items SELECT i, pseudo_vector(i, 3) FROM generate_series(541, 560) AS i;
CALL tandem_build('items_v');
SELECT check_items();
ROLLBACK;
SELECT check_items();
BEGIN READ ONLY;
CALL tandem_build('items_v');
COMMIT;
DO $$
BEGIN
  CALL tandem_build('items_v');
  COMMIT;
  CALL tandem_build('items_v');
  CALL tandem_wait('items_v');
END $$;
-- A DO block's work is not committed by them.
DO $$
BEGIN
  INSERT INTO items VALUES (600, '[1,1,1]');
  CALL tandem_build('items_v');
  CALL tandem_wait('items_v');
  RAISE EXCEPTION 'never mind';
END $$;
SELECT count(*) FROM items WHERE id = 600;
CREATE PROCEDURE load_and_build() LANGUAGE plpgsql AS $$
DECLARE
  batch int;
BEGIN
  FOR batch IN SELECT generate_series(0, 2) LOOP
    INSERT INTO items SELECT i, pseudo_vector(i, 3) FROM generate_series(700 + batch * 10, 709 + batch * 10) AS i;
    COMMIT;
    CALL tandem_build('items_v');
    CALL tandem_wait('items_v');
  END LOOP;
  BEGIN
    CALL tandem_build('items_id');
  EXCEPTION WHEN wrong_object_type OR undefined_table THEN
    CALL tandem_build('items_v');
  END;
END $$;
CALL load_and_build();
SELECT rows = indexed_rows AS all_indexed, tail_rows FROM graphs;
SELECT check_items();
CREATE FUNCTION build_it() RETURNS void LANGUAGE plpgsql AS $$ BEGIN CALL tandem_build('items_v'); END $$;
SELECT build_it();
-- A cursor that was opened before goes on with what it saw.
BEGIN;
SET LOCAL enable_seqscan = off;
DECLARE nearest CURSOR FOR SELECT id FROM items ORDER BY v <-> '[1,2,3]';
FETCH 3 FROM nearest;
INSERT INTO items SELECT i, '[1,2,3]' FROM generate_series(801, 900) AS i;
CALL tandem_build('items_v');
MOVE ALL FROM nearest;
COMMIT;
SELECT check_items();
-- With a cursor held open by a loop of a procedure.
DO $$
DECLARE
  item record;
  n int := 0;
BEGIN
  FOR item IN SELECT id FROM items ORDER BY v <-> '[1,2,3]' LIMIT 20 LOOP
    n := n + 1;
    IF n % 10 = 0 THEN CALL tandem_build('items_v'); CALL tandem_wait('items_v'); END IF;
  END LOOP;
  RAISE WARNING '% rows', n;
END $$;

-- What they refuse, each with its SQLSTATE, and what to do.
\set VERBOSITY default
CREATE FUNCTION refusal(call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  message text;
  detail text;
  hint text;
BEGIN
  EXECUTE 'CALL ' || call;
  RETURN 'done';
EXCEPTION WHEN OTHERS THEN
  GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
  RETURN concat_ws(' | ', SQLSTATE, message, nullif(detail, ''), nullif(hint, ''));
END $$;
CREATE INDEX items_id ON items (id);
CREATE INDEX items_flat ON items USING tandem (v vector_ip_ops);
CREATE TABLE parted (id int, v vector(3)) PARTITION BY LIST (id);
CREATE INDEX parted_id ON parted (id);
CREATE INDEX parted_v ON parted USING tandem (v vector_l2_ops) WITH (strategy = 'hnsw_batch');
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES IN (1);
INSERT INTO parted VALUES (1, '[1,2,3]');
INSERT INTO items VALUES (903, '[9,9,9]');
SELECT c AS call, refusal(c) FROM unnest(ARRAY[
  'tandem_build(NULL)', 'tandem_build(0)', 'tandem_build(''items'')', 'tandem_build(''items_id'')', 'tandem_build(''graphs'')',
  'tandem_build(''parted'')', 'tandem_build(''parted_id'')', 'tandem_build(''items_flat'')',
  'tandem_wait(NULL)', 'tandem_wait(0)', 'tandem_wait(''items'')', 'tandem_wait(''items_id'')', 'tandem_wait(''parted_id'')', 'tandem_wait(''parted_v'')',
  'tandem_wait(''items_flat'')', 'tandem_wait(''items_flat'', ''1 second'')',
  'tandem_wait(''items_v'')', 'tandem_wait(''items_v'', ''-1 second'')', 'tandem_wait(''items_v'', ''0'')']) AS c;
-- By function's syntax.
SELECT tandem_build('items_v');
-- Not valid, not ready.
UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'items_v'::regclass;
SELECT refusal('tandem_build(''items_v'')');
SELECT refusal('tandem_wait(''items_v'')');
UPDATE pg_index SET indisready = false WHERE indexrelid = 'items_v'::regclass;
SELECT refusal('tandem_build(''items_v'')');
SELECT refusal('tandem_wait(''items_v'')');
UPDATE pg_index SET indisready = true, indisvalid = true WHERE indexrelid = 'items_v'::regclass;
-- Owners only. Not by a grant on the table.
CREATE ROLE regress_tandem_stranger;
GRANT USAGE ON SCHEMA build_functions TO regress_tandem_stranger;
GRANT ALL ON items TO regress_tandem_stranger;
SET ROLE regress_tandem_stranger;
SELECT refusal('tandem_build(''items_v'')');
SELECT refusal('tandem_wait(''items_v'')');
RESET ROLE;
-- Created or rebuilt in the same transaction, or locked by it: the worker would never see it.
BEGIN;
CREATE TABLE young (id int, v vector(3));
CREATE INDEX young_v ON young USING tandem (v vector_l2_ops) WITH (strategy = 'hnsw_batch');
INSERT INTO young SELECT i, pseudo_vector(i, 3) FROM generate_series(1, 50) AS i;
SELECT refusal('tandem_wait(''young_v'')');
CALL tandem_build('young_v');
CALL tandem_wait('young_v');
COMMIT;
INSERT INTO young SELECT i, pseudo_vector(i, 3) FROM generate_series(51, 100) AS i;
BEGIN;
REINDEX INDEX young_v;
SELECT refusal('tandem_wait(''young_v'')');
ROLLBACK;
BEGIN;
LOCK TABLE young IN ACCESS EXCLUSIVE MODE;
SELECT refusal('tandem_wait(''young_v'')');
ROLLBACK;
BEGIN;
ALTER INDEX young_v SET (strategy = 'hnsw_inline', m = 12);
SELECT refusal('tandem_wait(''young_v'')');
CALL tandem_build('young_v');
CALL tandem_wait('young_v');
COMMIT;
BEGIN;
TRUNCATE young;
INSERT INTO young VALUES (1, '[1,2,3]');
SELECT refusal('tandem_wait(''young_v'')');
COMMIT;
SELECT refusal('tandem_wait(''young_v'')');
-- Temporary tables are folded by their own session.
CREATE TEMP TABLE temporary (id int, v vector(3));
CREATE INDEX temporary_v ON temporary USING tandem (v vector_l2_ops) WITH (strategy = 'hnsw_batch');
INSERT INTO temporary SELECT i, pseudo_vector(i, 3) FROM generate_series(1, 50) AS i;
SELECT refusal('tandem_wait(''temporary_v'')');
CALL tandem_build('temporary_v');
CALL tandem_wait('temporary_v');
SELECT graphs_against_sort('SELECT id, v <-> ''[1,2,3]'' FROM temporary ORDER BY v <-> ''[1,2,3]''');
-- Empty, and empty again.
TRUNCATE young;
CALL tandem_build('young_v');
CALL tandem_wait('young_v');
SELECT rows, indexed_rows, tail_rows, segments FROM graphs WHERE indexname = 'young_v';
DROP INDEX items_flat;
-- hnsw_inline asks nobody else, but the bound may not be reached.
ALTER INDEX items_v SET (strategy = 'hnsw_inline');
SELECT refusal('tandem_wait(''items_v'')');
CALL tandem_build('items_v');
CALL tandem_wait('items_v');
SELECT check_items();

SET client_min_messages = warning;
DROP OWNED BY regress_tandem_stranger;
DROP ROLE regress_tandem_stranger;
DROP SCHEMA build_functions CASCADE;
