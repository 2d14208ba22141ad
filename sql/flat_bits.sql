SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS tandem;
CREATE SCHEMA flat_bits;
RESET client_min_messages;
SET search_path = flat_bits, public;

\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/include/index_checks.sql'
\set ECHO none
\i :helpers
\set ECHO all

-- The index orders by exactly the operator's values, to the last bit: whatever merges its rows with others by
-- comparing distances would otherwise lose rows or return them out of order.

-- Near-ties: vectors that differ so little that their distances differ in the last bits, if at all. 67 dimensions
-- leave a rest to every kernel's stride.
CREATE FUNCTION near_tie(seed int, dimensions int) RETURNS vector LANGUAGE sql IMMUTABLE AS $$
  SELECT array_agg((1 + i % 7)::real + (hashint4(seed * 16411 + i) % 7)::real * 6e-5::real)::real[]::vector
  FROM generate_series(1, dimensions) AS i
$$;
CREATE TABLE wide (id int, v vector(67));
INSERT INTO wide SELECT i, near_tie(i, 67) FROM generate_series(1, 1500) AS i;
INSERT INTO wide SELECT i, pseudo_vector(i, 67) FROM generate_series(1501, 3000) AS i;
INSERT INTO wide SELECT i, pseudo_vector(i % 20, 67, 3) FROM generate_series(3001, 4000) AS i;
CREATE INDEX wide_l2 ON wide USING tandem (v vector_l2_ops);
CREATE INDEX wide_ip ON wide USING tandem (v vector_ip_ops);
CREATE INDEX wide_cosine ON wide USING tandem (v vector_cosine_ops);
CREATE INDEX wide_l1 ON wide USING tandem (v vector_l1_ops);
SELECT op, q, index_against_sort(format('SELECT id, v %1$s %2$s FROM wide ORDER BY v %1$s %2$s', op, q))
FROM unnest(ARRAY['<->', '<#>', '<=>', '<+>']) AS op,
     unnest(ARRAY['near_tie(1, 67)', 'pseudo_vector(1, 67, 50)', 'pseudo_vector(7, 67, 3)']) AS q ORDER BY op, q;
-- Distances as close as neighbouring numbers occur, or the test would show little.
SELECT count(*) > 100 AS many_close
FROM (SELECT d, lead(d) OVER (ORDER BY d) AS next
      FROM (SELECT DISTINCT v <-> pseudo_vector(1, 67, 50) AS d FROM wide) AS s) AS s
WHERE next - d < d * 3e-7;

-- Every length from 1 to 70 and some longer, all metrics, rows on both sides of CREATE INDEX.
CREATE FUNCTION check_dimensions(n int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  op text;
  class text;
  answer text;
BEGIN
  EXECUTE format('CREATE TEMP TABLE t (id int, v vector(%s)) ON COMMIT DROP', n);
  EXECUTE format('INSERT INTO t SELECT i, near_tie(i, %s) FROM generate_series(1, 20) AS i', n);
  FOREACH class IN ARRAY ARRAY['l2', 'ip', 'cosine', 'l1'] LOOP
    EXECUTE format('CREATE INDEX ON t USING tandem (v vector_%s_ops)', class);
  END LOOP;
  EXECUTE format('INSERT INTO t SELECT i, near_tie(i, %s) FROM generate_series(21, 40) AS i', n);
  FOREACH op IN ARRAY ARRAY['<->', '<#>', '<=>', '<+>'] LOOP
    answer := index_against_sort(
      format('SELECT id, v %1$s near_tie(0, %2$s) FROM t ORDER BY v %1$s near_tie(0, %2$s)', op, n));
    IF answer <> 'same 40 rows' THEN
      DROP TABLE t;
      RETURN op || ' ' || answer;
    END IF;
  END LOOP;
  DROP TABLE t;
  RETURN 'same';
END $$;
SELECT check_dimensions(n) AS answer, count(*), min(n), max(n)
FROM unnest(ARRAY(SELECT generate_series(1, 70)) || ARRAY[96, 127, 128, 129, 255, 257, 384, 768]) AS n GROUP BY 1;

-- Partitions: Merge Append compares the operator's values of one child with those of the next. One child has no
-- index and is sorted.
CREATE TABLE parted (id int, part int, v vector(67)) PARTITION BY LIST (part);
CREATE TABLE parted_0 PARTITION OF parted FOR VALUES IN (0);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES IN (1);
CREATE TABLE parted_2 PARTITION OF parted FOR VALUES IN (2);
CREATE INDEX ON parted_0 USING tandem (v vector_l2_ops);
CREATE INDEX ON parted_1 USING tandem (v vector_l2_ops);
INSERT INTO parted SELECT id, id % 3, v FROM wide;
SET enable_seqscan = off;
SELECT plan($$SELECT id FROM parted ORDER BY v <-> pseudo_vector(1, 2, 50)$$);
CREATE TEMP TABLE merged AS
  SELECT row_number() OVER () AS place, id, d
  FROM (SELECT id, v <-> pseudo_vector(1, 67, 50) AS d FROM parted ORDER BY v <-> pseudo_vector(1, 67, 50)) AS s;
RESET enable_seqscan;
SELECT count(*), count(DISTINCT id) FROM merged;
SELECT count(*) AS out_of_order
FROM (SELECT d, lag(d) OVER (ORDER BY place) AS before FROM merged) AS s WHERE d < before;

-- A merge join trusts both sides' order: rows are lost where the index's differs from the operator's.
CREATE TABLE other (id int, v vector(67));
INSERT INTO other SELECT id, v FROM wide WHERE id % 3 <> 0;
CREATE INDEX ON other USING tandem (v vector_l2_ops);
SET enable_seqscan = off;
SET enable_hashjoin = off;
SET enable_nestloop = off;
SET enable_sort = off;
EXPLAIN (COSTS OFF)
  SELECT count(*) FROM (SELECT id, v <-> pseudo_vector(1, 2, 50) AS d FROM wide ORDER BY v <-> pseudo_vector(1, 2, 50)) AS a
                  JOIN (SELECT id, v <-> pseudo_vector(1, 2, 50) AS d FROM other ORDER BY v <-> pseudo_vector(1, 2, 50)) AS b USING (d);
CREATE TEMP TABLE merge_joined AS
  SELECT a.id AS a, b.id AS b FROM (SELECT id, v <-> pseudo_vector(1, 67, 50) AS d FROM wide ORDER BY v <-> pseudo_vector(1, 67, 50)) AS a
                  JOIN (SELECT id, v <-> pseudo_vector(1, 67, 50) AS d FROM other ORDER BY v <-> pseudo_vector(1, 67, 50)) AS b USING (d);
RESET enable_seqscan;
RESET enable_hashjoin;
RESET enable_sort;
SET enable_mergejoin = off;
SET enable_indexscan = off;
CREATE TEMP TABLE hash_joined AS
  SELECT a.id AS a, b.id AS b FROM wide AS a JOIN other AS b ON a.v <-> pseudo_vector(1, 67, 50) = b.v <-> pseudo_vector(1, 67, 50);
RESET enable_nestloop;
RESET enable_mergejoin;
RESET enable_indexscan;
SELECT count(*) > 5000 AS many FROM hash_joined;
SELECT count(*) AS missing FROM (SELECT * FROM hash_joined EXCEPT ALL SELECT * FROM merge_joined) AS s;
SELECT count(*) AS surplus FROM (SELECT * FROM merge_joined EXCEPT ALL SELECT * FROM hash_joined) AS s;

SET client_min_messages = warning;
DROP SCHEMA flat_bits CASCADE;
