-- Functions that regress tests share, created in the first schema of the search_path. pg_regress runs the files of
-- the folder above, not this one: a test includes it, with ECHO off so that its lines stay out of the output.

-- Vectors that are the same on every machine and in every version; coordinates are multiples of 1/8 in
-- [-step/16, step/16], so that a small step makes ties.
CREATE FUNCTION pseudo_vector(seed int, dimensions int, step int DEFAULT 2000) RETURNS vector
LANGUAGE sql IMMUTABLE AS $$
  SELECT array_agg((hashint4(seed * 16411 + i) % step) / 16.0::real)::real[]::vector
  FROM generate_series(1, dimensions) AS i
$$;

-- A plan without what versions of the server say differently: nodes that a setting discourages, which side of a join's condition
-- comes first, and what stands for the result of a query that runs before.
CREATE FUNCTION plan(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
  line text;
BEGIN
  FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP
    IF line !~ '^ *(Disabled|Join Filter): ' THEN
      RETURN NEXT replace(replace(line, ' (returns $0)', ''), '(InitPlan 1).col1', '$0');
    END IF;
  END LOOP;
END $$;

-- Runs a query for (key, distance) through the index, by Tandem Scans and by index scans, and through a sort. All must give the
-- same distances bit for bit in the same order; and the same keys, but for rows tied with the last one of a LIMIT.
CREATE FUNCTION index_against_sort(query text, complete boolean DEFAULT true) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
  collect text := 'SELECT array_agg(float8send(d)), array_agg(k || '':'' || coalesce(d::text, ''null'')) FROM (' || query || ') AS s(k, d)';
  node text;
  line text;
  plan text;
  sorts bool;
  sort_distances bytea[];
  index_distances bytea[];
  sort_rows text[];
  index_rows text[];
  strays int;
BEGIN
  PERFORM set_config('enable_indexscan', 'off', true);
  EXECUTE collect INTO sort_distances, sort_rows;
  PERFORM set_config('enable_indexscan', 'on', true);
  FOREACH node IN ARRAY ARRAY['Tandem Scan', 'Index Scan using'] LOOP
    PERFORM set_config('enable_seqscan', 'off', true), set_config('enable_sort', 'off', true),
            set_config('tandem.enable_custom_scan', (node = 'Tandem Scan')::text, true);
    plan := '';
    sorts := false;
    FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP
      plan := plan || line;
      sorts := sorts OR line ~ '^( *->  )?(Incremental )?Sort$';
    END LOOP;
    IF strpos(plan, node) = 0 OR sorts THEN
      RETURN format('no %s: %s', node, plan);
    END IF;
    EXECUTE collect INTO index_distances, index_rows;
    PERFORM set_config('enable_seqscan', 'on', true), set_config('enable_sort', 'on', true);
    IF index_distances IS DISTINCT FROM sort_distances THEN
      RETURN format('%s: distances differ: %s rows through the index, %s through the sort', node,
                    coalesce(cardinality(index_distances), 0), coalesce(cardinality(sort_distances), 0));
    END IF;
    SELECT count(*) INTO strays
    FROM (SELECT unnest(index_rows) EXCEPT ALL SELECT unnest(sort_rows)) AS x(r)
    WHERE complete OR split_part(r, ':', 2) <> split_part(sort_rows[cardinality(sort_rows)], ':', 2);
    IF strays > 0 THEN
      RETURN format('%s: %s rows that the sort does not return', node, strays);
    END IF;
  END LOOP;
  PERFORM set_config('tandem.enable_custom_scan', 'on', true);
  RETURN format('same %s rows', coalesce(cardinality(sort_rows), 0));
END $$;

-- Runs a query through graphs with few candidates, even where an exact scan is cheaper. (A switch that only builds with stop points
-- have; elsewhere costs decide, and the answer must be the same.) In relaxed order every row must come, once; in strict
-- order some may be missing, but none come twice, from nowhere, or before a nearer one. NULL if all is well.
CREATE FUNCTION graph_differences(query text) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
  answer text;
  collect text := 'SELECT array_agg(d), array_agg(k || '':'' || coalesce(d::text, ''null'')) FROM (' || query || ') AS s(k, d)';
  candidates text := current_setting('tandem.ef_search');
  ordering text := current_setting('tandem.iterative_scan');
  custom text := current_setting('tandem.enable_custom_scan');
  sort_rows text[];
  graph_rows text[];
  distances float8[];
  missing int;
  strays int;
BEGIN
  PERFORM set_config('enable_indexscan', 'off', true), set_config('tandem.enable_custom_scan', 'off', true);
  EXECUTE collect INTO distances, sort_rows;
  PERFORM set_config('enable_seqscan', 'off', true), set_config('enable_sort', 'off', true),
          set_config('enable_indexscan', 'on', true), set_config('tandem.ef_search', '5', true),
          set_config('tandem.enable_custom_scan', custom, true);
  BEGIN
    PERFORM set_config('tandem.stop_points', 'always-graph=on', true);
  EXCEPTION WHEN OTHERS THEN
    NULL;
  END;
  FOREACH ordering IN ARRAY ARRAY['strict_order', 'relaxed_order', ordering] LOOP
    PERFORM set_config('tandem.iterative_scan', ordering, true);
    EXECUTE collect INTO distances, graph_rows;
    SELECT count(*) INTO strays FROM (SELECT unnest(graph_rows) EXCEPT ALL SELECT unnest(sort_rows)) AS x;
    SELECT count(*) INTO missing FROM (SELECT unnest(sort_rows) EXCEPT ALL SELECT unnest(graph_rows)) AS x;
    IF strays > 0 OR ordering = 'relaxed_order' AND missing > 0 THEN
      answer := format('graphs, %s: %s rows that are not there, %s missing', ordering, strays, missing);
    ELSIF ordering = 'strict_order' AND distances IS DISTINCT FROM (SELECT array_agg(d ORDER BY d) FROM unnest(distances) AS d) THEN
      answer := 'graphs: not in order';
    END IF;
  END LOOP;
  PERFORM set_config('enable_seqscan', 'on', true), set_config('enable_sort', 'on', true),
          set_config('tandem.ef_search', candidates, true);
  BEGIN
    PERFORM set_config('tandem.stop_points', '', true);
  EXCEPTION WHEN OTHERS THEN
    NULL;
  END;
  RETURN answer;
END $$;

CREATE FUNCTION graphs_against_sort(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  answer text := index_against_sort(query);
BEGIN
  RETURN CASE WHEN answer LIKE 'same %' THEN coalesce(graph_differences(query), answer) ELSE answer END;
END $$;

-- What a query for (key, distance) returns. With types of parameters and their values: prepared, by a plan that knows no value.
CREATE FUNCTION collect_rows(query text, types text, arguments text, OUT plan text, OUT distances bytea[], OUT keys text[])
LANGUAGE plpgsql AS $$
DECLARE
  line text;
BEGIN
  EXECUTE format('PREPARE collecting %s AS SELECT array_agg(float8send(d)), array_agg(k || '':'' || coalesce(d::text, ''null'')) FROM (%s) AS s(k, d)',
                 '(' || types || ')', query);
  PERFORM set_config('plan_cache_mode', CASE WHEN types IS NULL THEN 'force_custom_plan' ELSE 'force_generic_plan' END, true);
  plan := '';
  FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) EXECUTE collecting' || coalesce('(' || arguments || ')', '') LOOP
    plan := plan || line || E'\n';
  END LOOP;
  EXECUTE 'EXECUTE collecting' || coalesce('(' || arguments || ')', '') INTO distances, keys;
  DEALLOCATE collecting;
END $$;

-- Runs a query for (key, distance) by a Tandem Scan with a filter, and by sequential scans and a sort. Both must give the same
-- distances bit for bit in the same order, and the same keys. The plan must have these words; and no row is found by it in
-- another way: by a bitmap heap scan, or sorted.
CREATE FUNCTION filtered_against_sort(query text, words text DEFAULT 'Bitmap Index Scan', types text DEFAULT NULL, arguments text DEFAULT NULL)
RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  sorted record;
  filtered record;
  strays int;
BEGIN
  PERFORM set_config('enable_indexscan', 'off', true), set_config('enable_bitmapscan', 'off', true),
          set_config('enable_indexonlyscan', 'off', true), set_config('tandem.enable_custom_scan', 'off', true);
  SELECT * INTO sorted FROM collect_rows(query, types, arguments);
  PERFORM set_config('enable_indexscan', 'on', true), set_config('enable_bitmapscan', 'on', true),
          set_config('enable_indexonlyscan', 'on', true), set_config('tandem.enable_custom_scan', 'on', true),
          set_config('enable_seqscan', 'off', true), set_config('enable_sort', 'off', true);
  SELECT * INTO filtered FROM collect_rows(query, types, arguments);
  PERFORM set_config('enable_seqscan', 'on', true), set_config('enable_sort', 'on', true);
  IF sorted.plan ~ 'Tandem Scan|Bitmap' THEN
    RETURN format(E'not by a sort:\n%s', sorted.plan);
  END IF;
  IF filtered.plan !~ ('Custom Scan \(Tandem Scan\).*' || words) OR filtered.plan ~ 'Bitmap Heap Scan|-> +(Incremental )?Sort' THEN
    RETURN format(E'not by a filtered scan:\n%s', filtered.plan);
  END IF;
  IF filtered.distances IS DISTINCT FROM sorted.distances THEN
    RETURN format('distances differ: %s rows with a filter, %s through the sort',
                  coalesce(cardinality(filtered.keys), 0), coalesce(cardinality(sorted.keys), 0));
  END IF;
  SELECT count(*) INTO strays FROM (SELECT unnest(filtered.keys) EXCEPT ALL SELECT unnest(sorted.keys)) AS x;
  IF strays > 0 THEN
    RETURN format('%s rows that the sort does not return', strays);
  END IF;
  RETURN format('same %s rows', coalesce(cardinality(sorted.keys), 0));
END $$;
