SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS tandem;
CREATE SCHEMA hnsw_inline;
SET search_path = hnsw_inline, public;

\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/include/index_checks.sql'
\set ECHO none
\i :helpers
\set ECHO all

-- Strategy hnsw_inline: the inserting backend builds graphs, for a bounded time, and never at the cost of its insert (H29).
-- How many segments there are, and after which insert, depends on how fast the machine is; that none of the rows is lost, and
-- that the tail gets short, does not. Seen to fail with inserts that take all the time there is, with dead rows handed on, with
-- a row handed on twice after a pause.

SET tandem.ef_search = 1000;
CREATE TABLE items (id int, v vector(3)) WITH (autovacuum_enabled = off);
CREATE INDEX items_v ON items USING tandem (v vector_l2_ops) WITH (strategy = 'hnsw_inline');
CREATE FUNCTION check_items() RETURNS text LANGUAGE sql AS $$
  SELECT graphs_against_sort('SELECT id, v <-> ''[1,2,3]'' FROM items ORDER BY v <-> ''[1,2,3]''')
$$;
CREATE VIEW state AS SELECT segments > 0 AS has_graphs, tail_rows < 1100 AS short_tail,
  (SELECT count(*) FROM tandem_verify('items_v', true)) AS problems
  FROM tandem_index_stats WHERE schemaname = 'hnsw_inline' AND indexname = 'items_v';
-- A fold that was given up on a busy machine is tried again a second later or more, by an insert.
CREATE PROCEDURE catch_up() LANGUAGE plpgsql AS $$
BEGIN
  FOR i IN 1 .. 1800 LOOP
    EXIT WHEN (SELECT short_tail FROM state);
    PERFORM pg_sleep(0.1);
    BEGIN
      INSERT INTO items VALUES (0, '[0,0,0]');
      RAISE EXCEPTION 'undo';
    EXCEPTION WHEN raise_exception THEN
      NULL;
    END;
  END LOOP;
END $$;

-- Below the bound nothing is built, at the bound something is.
INSERT INTO items SELECT i, pseudo_vector(i, 3) FROM generate_series(1, 900) AS i;
SELECT * FROM state;
SELECT check_items();
INSERT INTO items SELECT i, pseudo_vector(i, 3) FROM generate_series(901, 1100) AS i;
CALL catch_up();
SELECT * FROM state;
SELECT check_items();

-- From one statement, from many, from a trigger, with ON CONFLICT.
INSERT INTO items SELECT i, pseudo_vector(i, 3) FROM generate_series(1101, 3000) AS i;
CALL catch_up();
SELECT * FROM state;
DO $$ BEGIN
  FOR i IN 3001 .. 4500 LOOP
    INSERT INTO items VALUES (i, pseudo_vector(i, 3));
  END LOOP;
END $$;
CALL catch_up();
SELECT * FROM state;
CREATE TABLE source (id int PRIMARY KEY);
CREATE FUNCTION forward() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO items VALUES (new.id, pseudo_vector(new.id, 3));
  RETURN new;
END $$;
CREATE TRIGGER forward BEFORE INSERT ON source FOR EACH ROW EXECUTE FUNCTION forward();
INSERT INTO source SELECT generate_series(4501, 5800) ON CONFLICT DO NOTHING;
CALL catch_up();
SELECT * FROM state;
CREATE TABLE unique_items (id int PRIMARY KEY, v vector(3));
CREATE INDEX unique_items_v ON unique_items USING tandem (v vector_l2_ops) WITH (strategy = 'hnsw_inline');
INSERT INTO unique_items SELECT i % 1500, pseudo_vector(i, 3) FROM generate_series(1, 3000) AS i ON CONFLICT DO NOTHING;
INSERT INTO unique_items SELECT i, pseudo_vector(i, 3) FROM generate_series(0, 1499) AS i
  ON CONFLICT (id) DO UPDATE SET v = excluded.v;
SELECT count(*) FROM unique_items;
SELECT graphs_against_sort('SELECT id, v <-> ''[1,2,3]'' FROM unique_items ORDER BY v <-> ''[1,2,3]''');
SELECT * FROM tandem_verify('unique_items_v', true);
SELECT check_items();

-- Rows of transactions that did not commit are in graphs as well, and are not found.
BEGIN;
INSERT INTO items SELECT -i, pseudo_vector(i, 3) FROM generate_series(1, 1500) AS i;
SAVEPOINT s;
INSERT INTO items SELECT -i, pseudo_vector(i, 3) FROM generate_series(1, 1500) AS i;
ROLLBACK TO s;
SELECT count(*) FROM items WHERE id < 0;
SELECT check_items();
ROLLBACK;
CALL catch_up();
SELECT * FROM state;
SELECT check_items();

-- VACUUM merges what the inserts left, without the dead.
CALL tandem_build('items_v');
VACUUM items;
SELECT sum(rows) AS rows, count(*) AS segments FROM tandem_segments('items_v');
SELECT check_items();

-- A tail far beyond the bound, of which each step of a fold takes so long that all of them would take minutes: every insert succeeds.
ALTER INDEX items_v SET (strategy = 'flat');
VACUUM items;
SELECT tail_rows FROM tandem_index_stats WHERE schemaname = 'hnsw_inline' AND indexname = 'items_v';
ALTER INDEX items_v SET (strategy = 'hnsw_inline');
SET tandem.stop_points = 'small-steps=on, slow-steps=on';
SET statement_timeout = '30s';
INSERT INTO items VALUES (6001, '[1,2,3]');
INSERT INTO items VALUES (6002, '[1,2,3]');
RESET tandem.stop_points;
DO $$ BEGIN
  FOR i IN 6003 .. 6050 LOOP
    INSERT INTO items VALUES (i, '[1,2,3]');
  END LOOP;
END $$;
RESET statement_timeout;
SELECT count(*) FROM items WHERE id BETWEEN 6001 AND 6050;
SELECT * FROM tandem_verify('items_v', true);
CALL tandem_build('items_v');
SELECT tail_rows, segments FROM tandem_index_stats WHERE schemaname = 'hnsw_inline' AND indexname = 'items_v';
SELECT check_items();

-- What cannot be in a graph: zero vectors under cosine, NULL. No insert minds.
CREATE TABLE odd (id int, v vector(3));
CREATE INDEX odd_v ON odd USING tandem (v vector_cosine_ops) WITH (strategy = 'hnsw_inline');
INSERT INTO odd SELECT i, CASE WHEN i % 3 = 0 THEN '[0,0,0]'::vector WHEN i % 3 = 1 THEN pseudo_vector(i, 3) END
  FROM generate_series(1, 4500) AS i;
SELECT rows, null_rows FROM tandem_index_stats WHERE schemaname = 'hnsw_inline' AND indexname = 'odd_v';
SELECT * FROM tandem_verify('odd_v', true);
SELECT graphs_against_sort('SELECT id, v <=> ''[1,2,3]'' FROM odd ORDER BY v <=> ''[1,2,3]''');
INSERT INTO odd SELECT i, '[0,0,0]' FROM generate_series(1, 2500) AS i;
SELECT * FROM tandem_verify('odd_v', true);
SELECT graphs_against_sort('SELECT id, v <=> ''[1,2,3]'' FROM odd ORDER BY v <=> ''[1,2,3]''');

SET client_min_messages = warning;
DROP SCHEMA hnsw_inline CASCADE;
