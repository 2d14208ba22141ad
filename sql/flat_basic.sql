SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS tandem;
CREATE SCHEMA flat_basic;
RESET client_min_messages;
SET search_path = flat_basic, public;

-- Vectors that are the same on every machine and in every version; coordinates are multiples of 1/8 in
-- [-step/16, step/16], so that a small step makes ties.
CREATE FUNCTION pseudo_vector(seed int, dimensions int, step int DEFAULT 2000) RETURNS vector
LANGUAGE sql IMMUTABLE AS $$
  SELECT array_agg((hashint4(seed * 16411 + i) % step) / 16.0::real)::real[]::vector
  FROM generate_series(1, dimensions) AS i
$$;

-- Runs a query for (key, distance) through the index and through a sort. Both must give the same distances bit
-- for bit in the same order; and the same keys, but for rows tied with the last one of a LIMIT.
CREATE FUNCTION index_against_sort(query text, complete boolean DEFAULT true) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
  collect text := 'SELECT array_agg(float8send(d)), array_agg(k || '':'' || coalesce(d::text, ''null'')) FROM (' || query || ') AS s(k, d)';
  line text;
  plan text := '';
  sorts bool := false;
  sort_distances bytea[];
  index_distances bytea[];
  sort_rows text[];
  index_rows text[];
  strays int;
BEGIN
  PERFORM set_config('enable_seqscan', 'off', true), set_config('enable_sort', 'off', true),
          set_config('enable_indexscan', 'on', true);
  FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP
    plan := plan || line;
    sorts := sorts OR line ~ '^( *->  )?(Incremental )?Sort$';
  END LOOP;
  IF plan NOT LIKE '%Index Scan using%' OR sorts THEN
    RETURN 'not through the index: ' || plan;
  END IF;
  EXECUTE collect INTO index_distances, index_rows;
  PERFORM set_config('enable_seqscan', 'on', true), set_config('enable_sort', 'on', true),
          set_config('enable_indexscan', 'off', true);
  EXECUTE collect INTO sort_distances, sort_rows;
  PERFORM set_config('enable_indexscan', 'on', true);
  IF index_distances IS DISTINCT FROM sort_distances THEN
    RETURN format('distances differ: %s rows through the index, %s through the sort',
                  coalesce(cardinality(index_distances), 0), coalesce(cardinality(sort_distances), 0));
  END IF;
  SELECT count(*) INTO strays
  FROM (SELECT unnest(index_rows) EXCEPT ALL SELECT unnest(sort_rows)) AS x(r)
  WHERE complete OR split_part(r, ':', 2) <> split_part(sort_rows[cardinality(sort_rows)], ':', 2);
  IF strays > 0 THEN
    RETURN format('%s rows that the sort does not return', strays);
  END IF;
  RETURN format('same %s rows', coalesce(cardinality(sort_rows), 0));
END $$;

-- The four metrics, over rows that were there before the index and rows that came after it.

CREATE TABLE items (id int, v vector(3));
INSERT INTO items SELECT i, pseudo_vector(i, 3) FROM generate_series(1, 500) AS i;
CREATE INDEX items_l2 ON items USING tandem (v vector_l2_ops);
CREATE INDEX items_ip ON items USING tandem (v vector_ip_ops);
CREATE INDEX items_cosine ON items USING tandem (v vector_cosine_ops);
CREATE INDEX items_l1 ON items USING tandem (v vector_l1_ops);
INSERT INTO items SELECT i, pseudo_vector(i, 3) FROM generate_series(501, 1000) AS i;

SET enable_seqscan = off;
EXPLAIN (COSTS OFF) SELECT id FROM items ORDER BY v <-> '[1,2,3]' LIMIT 5;
EXPLAIN (COSTS OFF) SELECT id FROM items ORDER BY v <#> '[1,2,3]' LIMIT 5;
EXPLAIN (COSTS OFF) SELECT id FROM items ORDER BY v <=> '[1,2,3]' LIMIT 5;
EXPLAIN (COSTS OFF) SELECT id FROM items ORDER BY v <+> '[1,2,3]' LIMIT 5;
-- The query may stand on the left: all four operators commute.
EXPLAIN (COSTS OFF) SELECT id FROM items ORDER BY '[1,2,3]' <-> v LIMIT 5;
RESET enable_seqscan;

SELECT index_against_sort('SELECT id, v <-> ''[1,2,3]'' FROM items ORDER BY v <-> ''[1,2,3]''');
SELECT index_against_sort('SELECT id, v <#> ''[1,2,3]'' FROM items ORDER BY v <#> ''[1,2,3]''');
SELECT index_against_sort('SELECT id, v <=> ''[1,2,3]'' FROM items ORDER BY v <=> ''[1,2,3]''');
SELECT index_against_sort('SELECT id, v <+> ''[1,2,3]'' FROM items ORDER BY v <+> ''[1,2,3]''');
SELECT index_against_sort('SELECT id, ''[1,2,3]'' <#> v FROM items ORDER BY ''[1,2,3]'' <#> v');

-- A query that is one of the rows finds that row first.
SET enable_seqscan = off;
SELECT id, v <-> pseudo_vector(77, 3) AS distance FROM items ORDER BY v <-> pseudo_vector(77, 3) LIMIT 1;
SELECT id, v <-> pseudo_vector(777, 3) AS distance FROM items ORDER BY v <-> pseudo_vector(777, 3) LIMIT 1;
RESET enable_seqscan;

-- Ties: rows of one distance, each exactly once, around every LIMIT.

CREATE TABLE ties (id int, v vector(2));
INSERT INTO ties SELECT i, pseudo_vector(i, 2, 3) FROM generate_series(1, 300) AS i;
CREATE INDEX ON ties USING tandem (v vector_l2_ops);
INSERT INTO ties SELECT i, pseudo_vector(i, 2, 3) FROM generate_series(301, 600) AS i;
SELECT count(DISTINCT v <-> '[0,0]') < 10 AS many_ties FROM ties;
SELECT index_against_sort('SELECT id, v <-> ''[0,0]'' FROM ties ORDER BY v <-> ''[0,0]''');
SELECT DISTINCT index_against_sort(
         format('SELECT id, v <-> ''[0,0]'' FROM ties ORDER BY v <-> ''[0,0]'' LIMIT %s', n), false)
         = format('same %s rows', n) AS same_at_every_limit
FROM generate_series(1, 150) AS n;
-- Rows of one distance come in the order in which they were inserted, so that LIMIT and OFFSET page through them.
SET enable_seqscan = off;
CREATE TABLE equal_rows (id int, v vector(2));
CREATE INDEX ON equal_rows USING tandem (v vector_l2_ops);
INSERT INTO equal_rows SELECT i, '[1,1]' FROM generate_series(1, 3000) AS i;
SELECT id FROM equal_rows ORDER BY v <-> '[0,0]' LIMIT 5;
SELECT id FROM equal_rows ORDER BY v <-> '[0,0]' LIMIT 5 OFFSET 2000;
RESET enable_seqscan;

-- The default operator class does not exist: the metric is a choice.
CREATE INDEX ON ties USING tandem (v);

-- LIMIT 0, OFFSET past the end.
SET enable_seqscan = off;
SELECT id FROM items ORDER BY v <-> '[1,2,3]' LIMIT 0;
SELECT id FROM items ORDER BY v <-> '[1,2,3]' OFFSET 1000;
SELECT id FROM items ORDER BY v <-> '[1,2,3]' OFFSET 5000;
RESET enable_seqscan;

-- Extremes: distances that overflow, and zeros of both signs.

CREATE TABLE extremes (id int, v vector(2));
CREATE INDEX extremes_l2 ON extremes USING tandem (v vector_l2_ops);
CREATE INDEX extremes_ip ON extremes USING tandem (v vector_ip_ops);
CREATE INDEX extremes_cosine ON extremes USING tandem (v vector_cosine_ops);
CREATE INDEX extremes_l1 ON extremes USING tandem (v vector_l1_ops);
INSERT INTO extremes VALUES (1, '[3e38,3e38]'), (2, '[-3e38,3e38]'), (3, '[0,0]'), (4, '[-0,-0]'), (5, '[1,1]'),
  (6, '[1e-38,1e-38]'), (7, '[-3e38,-3e38]'), (8, '[3e38,-3e38]'), (9, '[1e-45,0]'), (10, '[0,1]');
SELECT op, q, index_against_sort(format('SELECT id, v %1$s %2$L FROM extremes ORDER BY v %1$s %2$L', op, q))
FROM unnest(ARRAY['<->', '<#>', '<=>', '<+>']) AS op, unnest(ARRAY['[3e38,3e38]', '[0,0]', '[-0,1]', '[1,-1]']) AS q
ORDER BY op, q;

SET client_min_messages = warning;
DROP SCHEMA flat_basic CASCADE;
