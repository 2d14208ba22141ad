SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS tandem;
SET extra_float_digits = 0;

-- The pieces of hybrid search in queries written by hand.
SELECT rank, tandem_rrf_score(rank), tandem_rrf_score(rank, 0) FROM unnest(ARRAY[1, 2, 10, NULL]) AS rank;
-- Any number of lists: Cormack, Clarke, Buettcher 2009.
SELECT key, tandem_rrf(rank), tandem_rrf(rank, 1) AS constant_1 FROM (VALUES ('a', 1), ('b', 2), ('c', 3), ('b', 1), ('a', 3), ('d', 2), ('b', 5)) AS ranks(key, rank)
GROUP BY key ORDER BY 2 DESC, 1;
SELECT tandem_rrf(NULL), tandem_rrf(rank) FROM generate_series(1, 0) AS rank;
SELECT score, tandem_normalised_score(score, min(score) OVER (), max(score) OVER ()) FROM unnest(ARRAY[3.0, 1, 2, 5]) AS score;
SELECT tandem_normalised_score(7, 7, 7), tandem_normalised_score(NULL, 1, 2);
SELECT fusion, tandem_combined_score(fusion, 0.5, 1), tandem_combined_score(fusion, 0.5, NULL), tandem_combined_score(fusion, 0.5, 1, 1, 2)
FROM unnest(ARRAY['weighted', 'max', 'min', 'average']) AS fusion;
SELECT fusion, f.* FROM unnest(ARRAY['rrf', 'weighted', 'max', 'min', 'average']) AS fusion,
  tandem_fuse(ARRAY['a', 'b', 'c'], ARRAY[0.9, 0.8, 0.5], ARRAY['c', 'd', 'a', 'c'], ARRAY[4, 3, 2, 1], 3, fusion) AS f;
SELECT * FROM tandem_fuse(ARRAY[1, 2], ARRAY[0.2, 0.1], NULL, NULL, fusion => 'min');
SELECT * FROM tandem_fuse(NULL, NULL, ARRAY['2020-01-01'::date], ARRAY[0.1], fusion => 'weighted');
SELECT * FROM tandem_fuse('{}'::int[], '{}', '{}'::int[], '{}');
-- Arrays as legs give them.
SELECT key, vector_rank, text_rank FROM tandem_fuse(
  (SELECT array_agg(i ORDER BY i % 7, i) FROM generate_series(1, 20) AS i), (SELECT array_agg(-(i % 7)::float8 ORDER BY i % 7, i) FROM generate_series(1, 20) AS i),
  (SELECT array_agg(i ORDER BY i % 5, i) FROM generate_series(1, 20) AS i), (SELECT array_agg(-(i % 5)::float8 ORDER BY i % 5, i) FROM generate_series(1, 20) AS i), 4);

\set VERBOSITY terse
SELECT tandem_rrf_score(0);
SELECT tandem_rrf_score(1, -1);
SELECT tandem_combined_score('rrf', 1, 1);
SELECT tandem_combined_score('sum', 1, 1);
SELECT tandem_combined_score('weighted', 1, 1, -1);
SELECT * FROM tandem_fuse(ARRAY[1, 2], ARRAY[0.2], NULL, NULL);
SELECT * FROM tandem_fuse(ARRAY[1, NULL], ARRAY[0.2, 0.1], NULL, NULL);
SELECT * FROM tandem_fuse(ARRAY[1, 2], ARRAY[0.2, 'NaN'], NULL, NULL);
SELECT * FROM tandem_fuse(ARRAY[1], ARRAY[0.2], NULL, NULL, k => 0);
SELECT * FROM tandem_fuse(ARRAY['(1,2)'::point], ARRAY[0.2], NULL, NULL);
