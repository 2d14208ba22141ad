SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS tandem;
CREATE SCHEMA filter_tactics;
SET search_path = filter_tactics, public;

\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/include/index_checks.sql'
\set ECHO none
\i :helpers
\set ECHO all

-- Searches by a filter return all of it, whatever its size and whichever way they go: rows of segments and behind them, rows that
-- were updated or deleted, rows with zero vectors (which no graph has under cosine) and without vectors.
-- Seen to fail with: the last TID of each page left out, rows of the tail left out, zero vectors left out, the rows
-- of one filter kept for the next.
CREATE TABLE items (id int PRIMARY KEY, tag int, v vector(6)) WITH (autovacuum_enabled = off);
INSERT INTO items SELECT i, hashint4(i) & 1023,
  CASE WHEN i % 97 = 0 THEN NULL WHEN i % 101 = 0 THEN '[0,0,0,0,0,0]' ELSE pseudo_vector(i, 6) END
  FROM generate_series(1, 12000) AS i;
CREATE INDEX items_l2 ON items USING tandem (v vector_l2_ops) WITH (strategy = hnsw_batch);
CREATE INDEX items_cosine ON items USING tandem (v vector_cosine_ops) WITH (strategy = hnsw_batch);
CREATE INDEX items_tag ON items (tag);
CALL tandem_build('items_l2');
CALL tandem_build('items_cosine');
UPDATE items SET tag = hashint4(id + 1) & 1023 WHERE id % 11 = 0;
DELETE FROM items WHERE id % 13 = 0;
VACUUM items;
INSERT INTO items SELECT i, hashint4(i) & 1023, pseudo_vector(i, 6) FROM generate_series(12001, 12400) AS i;
ANALYZE items;

SET enable_seqscan = off;
SET enable_sort = off;
SELECT plan('SELECT id FROM items WHERE tag < 300 ORDER BY v <-> ''[1,2,3,4,5,6]''');

-- What a filtered search returns of all rows, against a sort, in both orders. In strict order a row that is found late is left out, and
-- counted: how many are depends on the graph, which threads build in any order, and on how long the search walks before it compares all.
CREATE FUNCTION drained(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  collect text := 'SELECT array_agg(d), array_agg(k || '':'' || coalesce(d::text, ''null'')) FROM (' || query || ') AS s(k, d)';
  expected text[];
  actual text[];
  distances float8[];
  missing int;
  strays int;
  ordering text;
  line text;
  late int;
BEGIN
  PERFORM set_config('tandem.enable_custom_scan', 'off', true), set_config('enable_indexscan', 'off', true), set_config('enable_sort', 'on', true);
  EXECUTE collect INTO distances, expected;
  PERFORM set_config('tandem.enable_custom_scan', 'on', true), set_config('enable_indexscan', 'on', true), set_config('enable_sort', 'off', true);
  FOREACH ordering IN ARRAY ARRAY['relaxed_order', 'off', 'strict_order'] LOOP
    PERFORM set_config('tandem.iterative_scan', ordering, true);
    EXECUTE collect INTO distances, actual;
    SELECT count(*) INTO strays FROM (SELECT unnest(actual) EXCEPT ALL SELECT unnest(expected)) AS x;
    SELECT count(*) INTO missing FROM (SELECT unnest(expected) EXCEPT ALL SELECT unnest(actual)) AS x;
    late := 0;
    FOR line IN EXECUTE 'EXPLAIN (ANALYZE, VERBOSE) ' || query LOOP
      -- Of the node and of the index: the same ones.
      late := greatest(late, substring(line FROM 'Late Rows Dropped: (.*)')::int);
    END LOOP;
    IF strays > 0 OR missing > late OR late > (CASE ordering WHEN 'relaxed_order' THEN 0 ELSE 5 + cardinality(expected) / 50 END) THEN
      RETURN format('%s: of %s rows %s are missing, %s were late, %s should not be there', ordering, cardinality(expected), missing, late, strays);
    END IF;
    IF ordering <> 'relaxed_order' AND distances IS DISTINCT FROM (SELECT array_agg(d ORDER BY d) FROM unnest(distances) AS d) THEN
      RETURN ordering || ': not in order';
    END IF;
  END LOOP;
  RETURN 'all';
END $$;

SELECT filter, drained(format('SELECT id, v <-> ''[1,2,3,4,5,6]'' FROM items WHERE %s ORDER BY v <-> ''[1,2,3,4,5,6]''', filter)) AS l2,
  drained(format('SELECT id, v <=> ''[1,2,3,4,5,6]'' FROM items WHERE %s ORDER BY v <=> ''[1,2,3,4,5,6]''', filter)) AS cosine
FROM (VALUES ('tag = 5'), ('tag < 8'), ('tag < 60'), ('tag < 200'), ('tag < 500'), ('tag >= 0'), ('tag < -1'),
  ('tag < 300 AND id > 11500'), ('tag < 300 AND v IS NULL'), ('tag IN (3, 77, 500) OR tag BETWEEN 600 AND 700')) AS f(filter);

-- The node says how it searched, also of a prepared statement and without VERBOSE.
CREATE FUNCTION tactic(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  line text;
  shown text;
  compared int;
BEGIN
  FOR line IN EXECUTE 'EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) ' || query LOOP
    shown := coalesce(shown, substring(line FROM 'Tactic: (.*)'));
    compared := coalesce(compared, substring(line FROM 'Distance Computations: (.*)')::int);
  END LOOP;
  RETURN shown || CASE WHEN shown = 'nothing to search' OR compared BETWEEN 1 AND 20000 THEN '' ELSE format(', but %s distances computed', coalesce(compared::text, 'no')) END;
END $$;
CREATE TABLE wide (id int PRIMARY KEY, tag int, v vector(32)) WITH (autovacuum_enabled = off);
INSERT INTO wide SELECT i, i % 1000, pseudo_vector(i, 32) FROM generate_series(1, 20000) AS i;
CREATE INDEX wide_v ON wide USING tandem (v vector_l2_ops) WITH (strategy = hnsw_inline);
CREATE INDEX wide_tag ON wide (tag);
VACUUM ANALYZE wide;
PREPARE nearest(int) AS SELECT id FROM wide WHERE tag < $1 ORDER BY v <-> (SELECT pseudo_vector(7, 32)) LIMIT 5;
-- Without shared memory codes are on pages, where vectors are nearer.
SELECT high, tactic(format('EXECUTE nearest(%s)', high)) FROM (VALUES (10), (60), (100), (200), (800), (1000), (-1)) AS f(high);
SELECT tactic('SELECT id FROM wide ORDER BY v <-> (SELECT pseudo_vector(7, 32)) LIMIT 5');
-- A scan that must go on far behind its first batch returns farther rows for nearer ones: none is taken where a filter serves, however dear
-- that is. Seen to fail with the server's own index scan left among the paths.
SET cpu_index_tuple_cost = 100;
SELECT plan('SELECT id FROM wide WHERE tag < 200 ORDER BY v <-> (SELECT pseudo_vector(7, 32)) LIMIT 50');
SELECT plan('SELECT id FROM wide WHERE tag < 200 ORDER BY v <-> (SELECT pseudo_vector(7, 32)) LIMIT 5');
-- Also where the filter alone costs more than that index scan in all. Seen to fail with it taken away after the filtered scan is added.
SELECT count(*) FROM plan('SELECT id FROM wide WHERE (tag < 200 OR tag BETWEEN 1 AND 201 OR tag BETWEEN 2 AND 202 OR tag BETWEEN 3 AND 203 OR tag BETWEEN 4 AND 204
  OR tag BETWEEN 5 AND 205 OR tag BETWEEN 6 AND 206 OR tag BETWEEN 7 AND 207) AND id % 100 = 3 ORDER BY v <-> (SELECT pseudo_vector(7, 32)) LIMIT 50') AS line
WHERE line ~ 'Tandem Scan|Bitmap Index Scan|Sort';
RESET cpu_index_tuple_cost;
-- Of an And of the server's only what pays: looking up 6,000 TIDs to leave out 280 rows does not. Seen to fail with the And taken whole.
SET enable_indexscan = off;
SELECT condition, (SELECT string_agg(btrim(line, ' ->'), ', ') FROM plan('SELECT id FROM wide WHERE ' || condition) AS line WHERE line ~ 'Bitmap(And| Index)') AS of_the_server,
  (SELECT string_agg(btrim(line, ' ->'), ', ') FROM plan('SELECT id FROM wide WHERE ' || condition || ' ORDER BY v <-> (SELECT pseudo_vector(7, 32)) LIMIT 5') AS line
    WHERE line ~ 'Bitmap(And| Index)') AS of_ours
FROM (VALUES ('tag < 20 AND id > 14000'), ('tag < 100 AND id > 18000')) AS f(condition);
RESET enable_indexscan;
DROP TABLE wide;

-- Half of the rows fulfil a condition that no index serves, and all of them lie far from the query: the nearest come from later batches
-- of a plain walk. Seen to fail with rows that the condition leaves out taking part in the order (0.92 to 0.96).
CREATE TABLE apart AS SELECT id, v, row_number() OVER (ORDER BY v <-> pseudo_vector(1, 12), id)::int AS rank
  FROM (SELECT i AS id, pseudo_vector(i, 12)::vector(12) AS v FROM generate_series(1, 20000) AS i) AS x;
CREATE INDEX apart_v ON apart USING tandem (v vector_l2_ops) WITH (strategy = hnsw_inline, ef_search = 20);
ANALYZE apart;
SET tandem.stop_points = 'always-graph=on';
CREATE FUNCTION found_far(condition text, wanted int, OUT share numeric, OUT in_order boolean) LANGUAGE plpgsql AS $$
DECLARE
  query vector;
  found float8[];
  nearest float8[];
  hits int := 0;
BEGIN
  in_order := true;
  FOR query IN SELECT v FROM apart ORDER BY rank DESC LIMIT 40 LOOP
    EXECUTE format('SELECT array_agg(d) FROM (SELECT v <-> $1 AS d FROM apart WHERE %s ORDER BY v <-> $1 LIMIT %s) AS x', condition, wanted) INTO found USING query;
    EXECUTE format('SELECT array_agg(d ORDER BY d) FROM (SELECT (v <-> $1) + 0.0 AS d FROM apart WHERE %s ORDER BY 1 LIMIT %s) AS x', condition, wanted) INTO nearest USING query;
    hits := hits + (SELECT count(*) FROM unnest(found) AS d WHERE d <= nearest[wanted]);
    in_order := in_order AND cardinality(found) = wanted AND found = (SELECT array_agg(d ORDER BY d) FROM unnest(found) AS d);
  END LOOP;
  share := round(hits / (40.0 * wanted), 3);
END $$;
SELECT condition, wanted, CASE WHEN share >= 0.98 THEN 'all but few' ELSE share::text END AS found, in_order FROM (VALUES ('rank <= 10000', 10), ('rank <= 10000', 40), ('rank <= 5000', 10), ('rank % 2 = 0', 10)) AS f(condition, wanted), found_far(condition, wanted);
-- More rows than were planned for, or than anybody knows of: a batch that is returned to its last and farthest row passes over what the next one
-- finds. Seen to fail with batches that come once the one before is used up (0.97 of 5,000 where the LIMIT is known; elsewhere 0.50 and 0.29).
SELECT wanted, CASE WHEN share >= 0.99 THEN 'all but few' ELSE share::text END AS found, in_order FROM (VALUES (2000), (5000)) AS f(wanted), found_far('true', wanted);
SET tandem.enable_custom_scan = off;
SELECT wanted, CASE WHEN share >= 0.99 THEN 'all but few' ELSE share::text END AS found, in_order FROM (VALUES (2000), (5000)) AS f(wanted), found_far('true', wanted);
RESET tandem.enable_custom_scan;
RESET tandem.stop_points;
DROP TABLE apart;

-- Every row of a search that is drained was returned, whether conditions accept it or not, or is counted as late: through graphs that find
-- little, with rows behind them and dead ones. By a filter too: of its set. Seen to fail with: rows counted as nearer than the last one that counts
-- though they were returned before it and are farther (an exact scan behind it passes over others, which are then not counted); rows returned twice
-- that conditions did not accept; dead rows counted.
CREATE TABLE counted AS SELECT i AS id, hashint4(i) & 1023 AS tag, pseudo_vector(i, 4)::vector(4) AS v FROM generate_series(1, 3000) AS i;
CREATE INDEX counted_v ON counted USING tandem (v vector_l2_ops) WITH (strategy = hnsw_batch, m = 4, ef_construction = 16);
CALL tandem_build('counted_v');
INSERT INTO counted SELECT i, hashint4(i) & 1023, pseudo_vector(i, 4) FROM generate_series(3001, 3400) AS i;
CREATE INDEX ON counted (tag);
DELETE FROM counted WHERE id % 4 = 0;
VACUUM ANALYZE counted;
CREATE FUNCTION not_counted(condition text, OUT rows text, OUT late text) LANGUAGE plpgsql AS $$
DECLARE
  line text;
  all_rows int;
  returned int;
  passed int;
  late_rows int := 0;
  differences int[] := '{}';
BEGIN
  FOR i IN 1 .. 40 LOOP
    all_rows := (SELECT count(*) FROM counted);
    returned := 0;
    passed := 0;
    FOR line IN EXECUTE format('EXPLAIN (ANALYZE, TIMING OFF) SELECT id FROM counted WHERE %s ORDER BY v <-> %L', condition, pseudo_vector(-i, 4)) LOOP
      returned := returned + coalesce(substring(line FROM '(?:Tandem Scan.*actual rows=|Removed by Filter: |Removed by Index Recheck: )(\d+)')::int, 0);
      passed := passed + coalesce(substring(line FROM 'Late Rows Dropped: (.*)')::int, 0);
      all_rows := coalesce(substring(line FROM 'Rows in Filter Set: (.*)')::int, all_rows);
    END LOOP;
    late_rows := late_rows + passed;
    differences := differences || (all_rows - returned - passed);
  END LOOP;
  rows := CASE WHEN differences <@ '{0}' THEN 'all' ELSE 'differences: ' || (SELECT array_agg(DISTINCT d)::text FROM unnest(differences) AS d) END;
  late := CASE WHEN late_rows = 0 THEN 'none' ELSE 'some' END;
END $$;
SET tandem.stop_points = 'always-graph=on';
SET tandem.iterative_scan = strict_order;
SELECT string_agg(condition || ': ' || rows, '; ') AS rows, bool_or(late = 'some') AS some_are_late
  FROM (VALUES ('id % 2 = 0'), ('id % 5 = 0'), ('id % 50 = 0'), ('tag < 500'), ('tag < 500 AND id % 3 = 0')) AS f(condition), not_counted(condition) AS n;
SET tandem.iterative_scan = relaxed_order;
SELECT condition, n.* FROM (VALUES ('id % 2 = 0'), ('id % 50 = 0'), ('tag < 500 AND id % 3 = 0')) AS f(condition), not_counted(condition) AS n;
RESET tandem.iterative_scan;
RESET tandem.stop_points;
DROP TABLE counted;

-- A query without an order.
SELECT count(*) = (SELECT count(*) FROM items WHERE tag < 60) AS all FROM
  (SELECT id FROM items WHERE tag < 60 ORDER BY v <-> NULL) AS x;

-- Of a LIMIT's rows by a filter, how many are those of a sort.
CREATE FUNCTION share_found(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  found int[];
  nearest int[];
BEGIN
  IF (SELECT count(*) FROM plan(query) AS line WHERE line ~ 'Tandem Scan|Bitmap Index Scan') <> 2 THEN RETURN 'not by a filter'; END IF;
  EXECUTE 'SELECT array_agg(id) FROM (' || query || ') AS x' INTO found;
  PERFORM set_config('tandem.enable_custom_scan', 'off', true), set_config('enable_indexscan', 'off', true), set_config('enable_sort', 'on', true);
  EXECUTE 'SELECT array_agg(id) FROM (' || query || ') AS x' INTO nearest;
  PERFORM set_config('tandem.enable_custom_scan', 'on', true), set_config('enable_indexscan', 'on', true), set_config('enable_sort', 'off', true);
  IF found @> nearest AND found <@ nearest THEN RETURN 'all'; END IF;
  RETURN format('%s of %s', (SELECT count(*) FROM unnest(found) AS id WHERE id = ANY (nearest)), cardinality(nearest));
END $$;
-- Lossy bitmaps: whole pages.
SET work_mem = '64kB';
SELECT drained('SELECT id, v <-> ''[1,2,3,4,5,6]'' FROM items WHERE tag < 700 ORDER BY v <-> ''[1,2,3,4,5,6]''');
RESET work_mem;
-- A few TIDs of some blocks, the first of each among them. Seen to fail with the second entry of a block taken for its first.
CREATE TABLE laid_out AS SELECT i AS id, 0 AS tag, pseudo_vector(i, 6)::vector(6) AS v FROM generate_series(1, 12000) AS i;
CREATE TABLE chosen WITH (autovacuum_enabled = off) AS SELECT id, ((block % 7 = 3 OR block % 31 = 5) AND tuple IN (1, 2, 50))::int AS tag, v
  FROM (SELECT id, v, (ctid::text::point)[0]::int AS block, (ctid::text::point)[1]::int AS tuple FROM laid_out) AS x ORDER BY id;
CREATE INDEX chosen_v ON chosen USING tandem (v vector_l2_ops) WITH (strategy = hnsw_batch);
CREATE INDEX ON chosen (tag);
CALL tandem_build('chosen_v');
VACUUM ANALYZE chosen;
SELECT share_found('SELECT id FROM chosen WHERE tag = 1 ORDER BY v <-> ''[1,2,3,4,5,6]'' LIMIT 40');
DROP TABLE laid_out, chosen;
-- TIDs at one place of the table and at several, each at some time, among more on a page here than there: those that lie across two pages of the
-- segment, too. Seen to fail with these left out where the wanted block goes on behind them, and with places that are not corrected.
CREATE TABLE uneven WITH (autovacuum_enabled = off) AS SELECT i AS id, i / 37 AS tag, repeat('x', i / 1500 % 3 * 150) AS filler,
  pseudo_vector(i, 6)::vector(6) AS v FROM generate_series(1, 12000) AS i;
CREATE INDEX uneven_v ON uneven USING tandem (v vector_l2_ops) WITH (strategy = hnsw_batch);
CREATE INDEX ON uneven (tag);
CREATE INDEX ON uneven ((tag % 97));
CALL tandem_build('uneven_v');
VACUUM ANALYZE uneven;
SELECT count(*) AS filters, count(*) FILTER (WHERE here.rows <> (SELECT count(*) FROM uneven WHERE tag = g)) AS wrong_here,
  count(*) FILTER (WHERE there.rows <> (SELECT count(*) FROM uneven WHERE tag % 97 = g)) AS wrong_there
FROM generate_series(0, 324) AS g,
  LATERAL (SELECT count(*) AS rows FROM (SELECT id FROM uneven WHERE tag = g ORDER BY v <-> '[1,2,3,4,5,6]' OFFSET 0) AS x) AS here,
  LATERAL (SELECT count(*) AS rows FROM (SELECT id FROM uneven WHERE tag % 97 = g ORDER BY v <-> '[1,2,3,4,5,6]' OFFSET 0) AS x) AS there;
DROP TABLE uneven;

-- Rescans: another query, and another filter.
SELECT q.id, n.rows > 10 AS many, n.rows = (SELECT count(*) FROM items WHERE tag < 200 AND v IS NOT NULL AND v <-> q.v < 150) AS all
FROM items AS q, LATERAL (SELECT count(*) AS rows FROM (SELECT v <-> q.v AS d FROM items WHERE tag < 200 ORDER BY v <-> q.v) AS x WHERE d < 150) AS n
WHERE q.id IN (1, 2, 3) ORDER BY q.id;
SELECT q.id, n.rows = (SELECT count(*) FROM items WHERE tag = q.tag) AS all
FROM items AS q, LATERAL (SELECT count(*) AS rows FROM (SELECT id FROM items WHERE tag = q.tag ORDER BY v <-> '[1,2,3,4,5,6]' OFFSET 0) AS x) AS n
WHERE q.id IN (1, 2, 3, 4, 5) ORDER BY q.id;

-- A cursor goes on in what it began with.
BEGIN;
DECLARE c CURSOR FOR SELECT id FROM items WHERE tag < 200 ORDER BY v <-> '[1,2,3,4,5,6]';
MOVE 100 IN c;
SAVEPOINT s;
DELETE FROM items WHERE tag < 100;
INSERT INTO items SELECT i, 1, pseudo_vector(i, 6) FROM generate_series(20001, 20100) AS i;
MOVE FORWARD ALL IN c;
ROLLBACK TO s;
SELECT count(*) > 2000 AS many FROM items WHERE tag < 200;
COMMIT;

DROP SCHEMA filter_tactics CASCADE;
