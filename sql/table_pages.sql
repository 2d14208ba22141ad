SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS tandem;
CREATE SCHEMA table_pages;
SET search_path = table_pages, public;

\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/include/index_checks.sql'
\set ECHO none
\i :helpers
\set ECHO all

-- A backend remembers which buffers held the table's pages. Here they come to hold others, and the pages to hold other rows.
-- Seen to fail with: pages that stay pinned.
CREATE TABLE items (id int, tag int, v vector(3)) WITH (autovacuum_enabled = off, fillfactor = 50);
CREATE INDEX items_v ON items USING tandem (v vector_l2_ops) WITH (strategy = 'hnsw_inline');
CREATE FUNCTION fill(rows int) RETURNS void LANGUAGE sql AS
  $$ INSERT INTO items SELECT i, i, pseudo_vector(i, 3) FROM generate_series(1, rows) AS i $$;
CREATE FUNCTION same() RETURNS text LANGUAGE sql AS
  $$ SELECT index_against_sort('SELECT id, v <-> ''[1,2,3]'' FROM items ORDER BY v <-> ''[1,2,3]''') $$;
SELECT fill(3000);
SELECT same();
SELECT same();
UPDATE items SET tag = tag + 1;
SELECT same();
VACUUM items;
DELETE FROM items WHERE id % 2 = 0;
SELECT same();
VACUUM items;
SELECT fill(1000);
SELECT same();
VACUUM FULL items;
SELECT same();
TRUNCATE items;
SELECT same();
SELECT fill(100);
SELECT same();
BEGIN;
TRUNCATE items;
SELECT fill(200);
SELECT same();
ROLLBACK;
SELECT same();
-- The pages of another table in the buffers of this one.
DROP TABLE items;
CREATE TABLE items (id int, tag int, v vector(3)) WITH (autovacuum_enabled = off);
SELECT fill(2000);
CREATE INDEX items_v ON items USING tandem (v vector_l2_ops);
SELECT same();

-- Buffers of a temporary table, more than it has room for.
DROP TABLE items;
SET temp_buffers = '800kB';
CREATE TEMPORARY TABLE items (id int, tag int, v vector(3));
CREATE INDEX items_v ON items USING tandem (v vector_l2_ops);
SET search_path = pg_temp, table_pages, public;
INSERT INTO items SELECT i, i, pseudo_vector(i, 3) FROM generate_series(1, 20000) AS i;
SELECT same();
SELECT same();

-- Pages are counted whichever way they were found.
SET search_path = table_pages, public;
DROP TABLE pg_temp.items;
CREATE TABLE items (id int, tag int, v vector(3)) WITH (autovacuum_enabled = off, fillfactor = 40);
SELECT fill(60);
CREATE INDEX items_v ON items USING tandem (v vector_l2_ops);
SET enable_seqscan = off;
CREATE FUNCTION pages_hit() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  line text;
BEGIN
  FOR line IN EXECUTE 'EXPLAIN (ANALYZE, BUFFERS, COSTS OFF, TIMING OFF, SUMMARY OFF) SELECT id FROM items ORDER BY v <-> ''[1,2,3]'' LIMIT 20' LOOP
    IF line ~ 'Buffers: ' THEN RETURN line; END IF;
  END LOOP;
END $$;
SELECT pages_hit() IS NOT NULL AS once;
SELECT pages_hit() = pages_hit() AS as_often;

DROP SCHEMA table_pages CASCADE;
