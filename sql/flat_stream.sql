SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS tandem;
CREATE SCHEMA flat_stream;
RESET client_min_messages;
SET search_path = flat_stream, public;

\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/include/index_checks.sql'
\set ECHO none
\i :helpers
\set ECHO all

-- A scan goes on past any LIMIT: the whole table comes back in order, whatever memory there is for a batch.

CREATE TABLE items (id int, v vector(4));
CREATE INDEX ON items USING tandem (v vector_l2_ops);
INSERT INTO items SELECT i, pseudo_vector(i, 4) FROM generate_series(1, 20000) AS i;
SET work_mem = '64kB';
SELECT index_against_sort('SELECT id, v <-> ''[10,0,0,1]'' FROM items ORDER BY v <-> ''[10,0,0,1]''');
SET work_mem = '1MB';
SELECT index_against_sort('SELECT id, v <-> ''[10,0,0,1]'' FROM items ORDER BY v <-> ''[10,0,0,1]''');
-- Around the sizes of the first batches.
SELECT n, index_against_sort(
            format('SELECT id, v <-> ''[1,0,0,1]'' FROM items ORDER BY v <-> ''[1,0,0,1]'' LIMIT %s', n), false)
FROM unnest(ARRAY[1, 1023, 1024, 1025, 2047, 2048, 2049, 9216, 19999, 20000, 20001]) AS n;

-- The same with ties over every boundary between two batches, and with rows without a vector at the end.
SET work_mem = '64kB';
CREATE TABLE ties (id int, v vector(2));
CREATE INDEX ON ties USING tandem (v vector_l1_ops);
INSERT INTO ties SELECT i, CASE WHEN i % 10 > 0 THEN pseudo_vector(i, 2, 4) END FROM generate_series(1, 20000) AS i;
SELECT index_against_sort('SELECT id, v <+> ''[0,0]'' FROM ties ORDER BY v <+> ''[0,0]''');
RESET work_mem;

-- Cursors.

SET enable_seqscan = off;
SET enable_sort = off;
CREATE TABLE line (id int, v vector(1));
CREATE INDEX ON line USING tandem (v vector_l2_ops);
INSERT INTO line SELECT i, ARRAY[i * 7 % 2003]::vector FROM generate_series(1, 2002) AS i;

BEGIN;
DECLARE c CURSOR FOR SELECT v, v <-> '[0]' AS distance FROM line ORDER BY v <-> '[0]';
FETCH 2 FROM c;
FETCH 1 FROM c;
MOVE 1500 IN c;
FETCH 2 FROM c;
MOVE ALL IN c;
FETCH 1 FROM c;
CLOSE c;

-- Two scans of one index at once do not disturb each other.
DECLARE near CURSOR FOR SELECT v FROM line ORDER BY v <-> '[0]';
DECLARE far CURSOR FOR SELECT v FROM line ORDER BY v <-> '[3000]';
FETCH 2 FROM near;
FETCH 2 FROM far;
FETCH 2 FROM near;
FETCH 2 FROM far;
CLOSE near;
CLOSE far;

-- The access method does not go backwards, so the server keeps the rows for a cursor that does.
EXPLAIN (COSTS OFF) DECLARE s SCROLL CURSOR FOR SELECT v FROM line ORDER BY v <-> '[0]';
DECLARE s SCROLL CURSOR FOR SELECT v FROM line ORDER BY v <-> '[0]';
FETCH 3 FROM s;
FETCH PRIOR FROM s;
FETCH BACKWARD ALL FROM s;
FETCH ABSOLUTE 1500 FROM s;
FETCH RELATIVE -2 FROM s;
FETCH LAST FROM s;
FETCH FIRST FROM s;
CLOSE s;

-- A cursor sees the table as it was when it was opened, also in the passes that it makes later.
DECLARE c CURSOR FOR SELECT v FROM line ORDER BY v <-> '[0]';
FETCH 1 FROM c;
DELETE FROM line WHERE v <-> '[0]' BETWEEN 2 AND 4;
INSERT INTO line VALUES (0, '[0]'), (0, '[1500.5]');
UPDATE line SET v = '[9999]' WHERE v <-> '[0]' = 1501;
FETCH 4 FROM c;
MOVE 1493 IN c;
FETCH 4 FROM c;
MOVE ALL IN c;
CLOSE c;
DECLARE c CURSOR FOR SELECT v FROM line ORDER BY v <-> '[0]';
FETCH 4 FROM c;
MOVE 1495 IN c;
FETCH 3 FROM c;
MOVE ALL IN c;
ROLLBACK;

BEGIN;
DECLARE held CURSOR WITH HOLD FOR SELECT v FROM line ORDER BY v <-> '[0]';
FETCH 2 FROM held;
COMMIT;
DELETE FROM line WHERE v <-> '[0]' < 10;
FETCH 2 FROM held;
MOVE ALL IN held;
CLOSE held;
SELECT v FROM line ORDER BY v <-> '[0]' LIMIT 1;

-- A loop that stops early, and one that changes what it reads.
DO $$
DECLARE
  r record;
  n int := 0;
BEGIN
  FOR r IN SELECT id, v <-> '[0]' AS distance FROM line ORDER BY v <-> '[0]' LOOP
    n := n + 1;
    EXIT WHEN r.distance >= 20;
  END LOOP;
  RAISE NOTICE 'stopped after % rows', n;
  n := 0;
  FOR r IN SELECT ctid AS place, v FROM line ORDER BY v <-> '[0]' LOOP
    n := n + 1;
    UPDATE line SET v = '[5000]' WHERE ctid = r.place;
    INSERT INTO line VALUES (-1, '[5001]');
  END LOOP;
  RAISE NOTICE 'changed % rows', n;
END $$;
SELECT v, count(*) FROM line GROUP BY v ORDER BY v;
SELECT index_against_sort('SELECT id, v <-> ''[0]'' FROM line ORDER BY v <-> ''[0]''');

-- WHERE CURRENT OF needs the row's place in the heap.
BEGIN;
DECLARE c CURSOR FOR SELECT id FROM line ORDER BY v <-> '[0]' FOR UPDATE;
MOVE 3 IN c;
UPDATE line SET v = '[1]' WHERE CURRENT OF c;
DELETE FROM line WHERE CURRENT OF c;
COMMIT;
SELECT v, count(*) FROM line GROUP BY v ORDER BY v;

SET client_min_messages = warning;
DROP SCHEMA flat_stream CASCADE;
