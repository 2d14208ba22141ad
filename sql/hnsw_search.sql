SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS tandem;
CREATE SCHEMA hnsw_search;
SET search_path = hnsw_search, public;
-- Searches through graphs: order, what comes beyond the first batch, what strict and relaxed order, limits and EXPLAIN
-- say. Seen to fail with: a stream that is not refilled when its batch is used up; an exact scan that does not start
-- behind the last row; relaxed order that forgets what it returned; a tail that is left out; NaN in the merge.
SET enable_seqscan = off;
SET enable_sort = off;
SET extra_float_digits = 0;
-- A table of the size at which graphs begin to pay, for a small ef_search, and queries of its own.
CREATE TABLE searched (id int PRIMARY KEY, kind int, v vector(24));
INSERT INTO searched
SELECT i, i % 100, ('[' || (SELECT string_agg(((i * 7919 + d * 104729 + (i % 613) * d * 31 + (i / 613) * (d + 5) * 17) % 1009)::text, ',')
                             FROM generate_series(1, 24) d) || ']')::vector
FROM generate_series(1, 12000) i;
CREATE TABLE queries (q int PRIMARY KEY, v vector(24));
INSERT INTO queries
SELECT i, ('[' || (SELECT string_agg(((i * 463 + d * 7741 + i * d * 89) % 1009)::text, ',') FROM generate_series(1, 24) d) || ']')::vector
FROM generate_series(1, 20) i;
CREATE INDEX searched_v ON searched USING tandem (v vector_l2_ops) WITH (strategy = 'hnsw_batch', ef_search = 4);
CALL tandem_build('searched_v');
ANALYZE searched;
-- What EXPLAIN says, without what varies.
CREATE FUNCTION explained(query text, label text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE line text;
BEGIN
  FOR line IN EXECUTE 'EXPLAIN (ANALYZE, VERBOSE, COSTS OFF, TIMING OFF, SUMMARY OFF) ' || query LOOP
    IF line ~ ('^ *' || label || ': ') THEN RETURN substring(line from ': (.*)$'); END IF;
  END LOOP;
  RETURN NULL;
END $$;
-- Rows of a query in the order in which they come; how many of them are out of order, and how many come twice.
CREATE FUNCTION drained(query vector, wanted int, OUT rows bigint, OUT out_of_order bigint, OUT twice bigint)
LANGUAGE plpgsql AS $$
DECLARE
  nearest CURSOR FOR SELECT id, v <-> query AS distance FROM searched ORDER BY v <-> query;
  seen int[] := '{}';
  farthest float8 := '-infinity';
  one record;
BEGIN
  rows := 0; out_of_order := 0;
  OPEN nearest;
  LOOP
    FETCH nearest INTO one;
    EXIT WHEN NOT FOUND OR rows >= wanted;
    rows := rows + 1;
    IF one.distance < farthest THEN out_of_order := out_of_order + 1; END IF;
    farthest := greatest(farthest, one.distance);
    seen := seen || one.id;
  END LOOP;
  CLOSE nearest;
  SELECT rows - count(DISTINCT s) INTO twice FROM unnest(seen) s;
END $$;
-- Of the k nearest, how many are found: all 20 queries together.
CREATE FUNCTION found_share(k int) RETURNS numeric LANGUAGE sql AS $$
  SELECT round(avg((SELECT count(*) FROM (SELECT id FROM searched ORDER BY v <-> q.v LIMIT k) a
                    JOIN (SELECT id FROM searched ORDER BY (v <-> q.v) + 0.0, id LIMIT k) b USING (id)))::numeric / k, 4)
  FROM queries q
$$;

SELECT explained('SELECT id FROM searched ORDER BY v <-> (SELECT v FROM queries WHERE q = 1) LIMIT 3', 'Mode') AS mode,
       explained('SELECT id FROM searched ORDER BY v <-> (SELECT v FROM queries WHERE q = 1) LIMIT 3', 'Segments Searched') AS segments,
       explained('SELECT id FROM searched ORDER BY v <-> (SELECT v FROM queries WHERE q = 1) LIMIT 3', 'Strategy') AS strategy,
       explained('SELECT id FROM searched ORDER BY v <-> (SELECT v FROM queries WHERE q = 1) LIMIT 3', 'Re-ranked Rows')::int BETWEEN 3 AND 20 AS few_re_ranked;
-- Far more candidates than rows of a graph walk: exact from the start, and so with strategy flat.
SET tandem.ef_search = 1000;
SELECT explained('SELECT id FROM searched ORDER BY v <-> (SELECT v FROM queries WHERE q = 1) LIMIT 3', 'Mode') AS mode;
RESET tandem.ef_search;
SELECT found_share(10) > 0.5 AS found, found_share(200) > 0.6 AS found_beyond_ef;
-- Beyond ef_search rows go on coming, in order, each once; drained, all but those that strict order drops.
SELECT q, d.* FROM queries, drained(v, 50) d WHERE q <= 5 ORDER BY q;
SELECT q, rows > 11500 AS nearly_all, out_of_order, twice FROM queries, drained(v, 100000) d WHERE q <= 2 ORDER BY q;
SELECT explained('SELECT id FROM searched ORDER BY v <-> (SELECT v FROM queries WHERE q = 1)', 'Mode') AS mode;
-- Relaxed order: nothing dropped, nothing twice.
SET tandem.iterative_scan = relaxed_order;
SELECT q, rows, twice FROM queries, drained(v, 50) d WHERE q <= 3 ORDER BY q;
SELECT q, rows, twice FROM queries, drained(v, 100000) d WHERE q <= 2 ORDER BY q;
SELECT explained('SELECT id FROM searched ORDER BY v <-> (SELECT v FROM queries WHERE q = 1) LIMIT 40', 'Late Rows Dropped') AS late;
-- Off: as many as ef_search, a batch of one segment.
SET tandem.iterative_scan = off;
SELECT q, d.* FROM queries, drained(v, 100000) d WHERE q <= 2 ORDER BY q;
RESET tandem.iterative_scan;
-- A limit of the rows examined beyond the first batch: fewer rows, and EXPLAIN says why.
SET tandem.max_scan_tuples = 40;
SELECT q, rows BETWEEN 20 AND 44 AS cut, out_of_order, twice FROM queries, drained(v, 100000) d WHERE q <= 2 ORDER BY q;
SELECT explained('SELECT id FROM searched ORDER BY v <-> (SELECT v FROM queries WHERE q = 1)', 'Scans Cut by max_scan_tuples') AS cut;
RESET tandem.max_scan_tuples;
-- A condition that few rows meet: rows come in order until there are no more.
SELECT count(*) > 100 AS nearly_all, count(*) FILTER (WHERE distance < lag) AS out_of_order
FROM (SELECT distance, lag(distance) OVER () FROM
        (SELECT s.v <-> q.v AS distance FROM searched s, queries q WHERE q.q = 3 AND s.kind = 7 ORDER BY s.v <-> q.v) o) l;

-- The tail: rows that no graph holds are found at once, in their places.
INSERT INTO searched SELECT 20000 + q, 0, v FROM queries;
SELECT bool_and((SELECT id FROM searched ORDER BY v <-> q.v LIMIT 1) = 20000 + q.q) AS nearest FROM queries q;
SELECT explained('SELECT id FROM searched ORDER BY v <-> (SELECT v FROM queries WHERE q = 1) LIMIT 3', 'Tail Rows Scanned') AS tail;
-- Updates and deletes, before and after VACUUM, then in a graph of their own.
UPDATE searched SET v = (SELECT v FROM queries WHERE q = 1) WHERE id = 20002;
DELETE FROM searched WHERE id = 20001;
SELECT id FROM searched ORDER BY v <-> (SELECT v FROM queries WHERE q = 1) LIMIT 1;
VACUUM searched;
SELECT id FROM searched ORDER BY v <-> (SELECT v FROM queries WHERE q = 1) LIMIT 1;
CALL tandem_build('searched_v');
SELECT id FROM searched ORDER BY v <-> (SELECT v FROM queries WHERE q = 1) LIMIT 1;
SET tandem.iterative_scan = relaxed_order;
SELECT rows, twice FROM queries, drained(v, 100000) d WHERE q = 1;
RESET tandem.iterative_scan;
-- A cursor goes on in what it began with, while graphs are replaced; a savepoint that is rolled back does not disturb it.
BEGIN;
DECLARE c CURSOR FOR SELECT v <-> (SELECT v FROM queries WHERE q = 5) AS distance FROM searched
  ORDER BY v <-> (SELECT v FROM queries WHERE q = 5);
CREATE TEMP TABLE fetched (n serial, distance float8);
CREATE PROCEDURE pg_temp.fetch(many int) LANGUAGE plpgsql AS $$
DECLARE
  c refcursor := 'c';
  one record;
BEGIN
  FOR i IN 1..many LOOP
    FETCH c INTO one;
    INSERT INTO fetched (distance) VALUES (one.distance);
  END LOOP;
END $$;
CALL pg_temp.fetch(20);
SAVEPOINT s;
CALL tandem_build('searched_v');
INSERT INTO searched SELECT 30000 + i, 1, v FROM queries, generate_series(1, 2) i WHERE q = 5;
DELETE FROM searched WHERE id < 100;
CALL pg_temp.fetch(20);
ROLLBACK TO s;
CALL pg_temp.fetch(40);
SELECT count(*) AS fetched, count(*) FILTER (WHERE distance < lag) AS out_of_order
FROM (SELECT distance, lag(distance) OVER (ORDER BY n) FROM fetched) f;
ROLLBACK;

-- NULL vectors last, after rows without a distance; a query without direction has no nearest row.
CREATE TABLE directions (id int PRIMARY KEY, v vector(8));
INSERT INTO directions
SELECT i, ('[' || (SELECT string_agg(((i * 31 + d * 17 + (i * i % 97) * d) % 101 + 1)::text, ',') FROM generate_series(1, 8) d) || ']')::vector
FROM generate_series(1, 12000) i;
INSERT INTO directions VALUES (20001, '[0,0,0,0,0,0,0,0]'), (20002, NULL), (20003, '[0,0,0,0,0,0,0,0]'), (20004, NULL);
CREATE INDEX directions_v ON directions USING tandem (v vector_cosine_ops) WITH (strategy = 'hnsw_batch', ef_search = 2);
CALL tandem_build('directions_v');
SELECT explained('SELECT id FROM directions ORDER BY v <=> ''[1,2,3,4,5,6,7,8]'' LIMIT 2', 'Mode') AS mode;
SET tandem.iterative_scan = relaxed_order;
SELECT id FROM (SELECT id, row_number() OVER () AS n FROM (SELECT id FROM directions ORDER BY v <=> '[1,2,3,4,5,6,7,8]') o) r WHERE n > 12000;
RESET tandem.iterative_scan;
SELECT explained('SELECT id FROM directions ORDER BY v <=> ''[0,0,0,0,0,0,0,0]'' LIMIT 2', 'Mode') AS mode;
SELECT count(*) FROM (SELECT id FROM directions ORDER BY v <=> '[0,0,0,0,0,0,0,0]') o;
SELECT count(*) FROM (SELECT id FROM directions ORDER BY v <=> NULL) o;
-- The other distances, by graph: the nearest of a query that is a row is that row (not so for inner products).
DROP INDEX directions_v;
CREATE INDEX directions_v ON directions USING tandem (v vector_l1_ops) WITH (strategy = 'hnsw_batch', ef_search = 2);
CALL tandem_build('directions_v');
SELECT explained('SELECT id FROM directions ORDER BY v <+> (SELECT v FROM directions WHERE id = 77) LIMIT 1', 'Mode') AS mode,
       (SELECT v <+> (SELECT v FROM directions WHERE id = 77) FROM directions ORDER BY v <+> (SELECT v FROM directions WHERE id = 77) LIMIT 1) AS distance;
DROP INDEX directions_v;
CREATE INDEX directions_v ON directions USING tandem (v vector_ip_ops) WITH (strategy = 'hnsw_batch', ef_search = 8);
CALL tandem_build('directions_v');
SELECT count(*) AS rows, count(*) FILTER (WHERE distance < lag) AS out_of_order
FROM (SELECT distance, lag(distance) OVER () FROM
        (SELECT v <#> '[1,2,3,4,5,6,7,8]' AS distance FROM directions WHERE v IS NOT NULL ORDER BY v <#> '[1,2,3,4,5,6,7,8]' LIMIT 500) o) l;

-- EXPLAIN in other formats is well formed, and says nothing without ANALYZE.
CREATE FUNCTION explained_json() RETURNS json LANGUAGE plpgsql AS $$
DECLARE result json;
BEGIN
  EXECUTE 'EXPLAIN (ANALYZE, VERBOSE, FORMAT json) SELECT id FROM searched ORDER BY v <-> (SELECT v FROM queries WHERE q = 1) LIMIT 3' INTO result;
  RETURN result;
END $$;
CREATE FUNCTION explained_xml() RETURNS text LANGUAGE plpgsql AS $$
DECLARE result text;
BEGIN
  EXECUTE 'EXPLAIN (ANALYZE, VERBOSE, FORMAT xml) SELECT id FROM searched ORDER BY v <-> (SELECT v FROM queries WHERE q = 1) LIMIT 3' INTO result;
  RETURN result;
END $$;
CREATE FUNCTION explained_yaml() RETURNS text LANGUAGE plpgsql AS $$
DECLARE result text;
BEGIN
  EXECUTE 'EXPLAIN (ANALYZE, VERBOSE, FORMAT yaml) SELECT id FROM searched ORDER BY v <-> (SELECT v FROM queries WHERE q = 1) LIMIT 3' INTO result;
  RETURN result;
END $$;
SELECT json_array_length(e) AS queries, e -> 0 -> 'Tandem Indexes' -> 0 ->> 'Index Name' AS index,
       e -> 0 -> 'Tandem Indexes' -> 0 ->> 'Mode' AS mode, (e -> 0 ->> 'Execution Time') IS NOT NULL AS whole
FROM explained_json() e;
SELECT regexp_matches(explained_xml(), '<Tandem-Index>\s*<Index-Name>(\w+)</Index-Name>.*</Tandem-Indexes>\s*<Execution-Time>');
SELECT regexp_matches(explained_yaml(), 'Tandem Indexes: \s*- Index Name: "(\w+)"\s*Strategy: "(\w+)"');
EXPLAIN (VERBOSE, COSTS OFF) SELECT id FROM searched ORDER BY v <-> '[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24]' LIMIT 3;
DROP SCHEMA hnsw_search CASCADE;
