SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS tandem;
CREATE SCHEMA halfvec_index;
SET search_path = halfvec_index, public;
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/include/index_checks.sql'
\set ECHO none
\i :helpers
\set ECHO all
-- Indexes of halfvec: both kinds of strategy, filters, the tail, expressions. Distances of an index are those of the operators to the
-- last bit, which is what index_against_sort() compares.

CREATE TABLE items (id int PRIMARY KEY, kind int, h halfvec(20));
INSERT INTO items SELECT i, i % 50, (pseudo_vector(i, 20))::halfvec FROM generate_series(1, 1500) i;
CREATE INDEX items_l2 ON items USING tandem (h halfvec_l2_ops);
CREATE INDEX items_ip ON items USING tandem (h halfvec_ip_ops);
CREATE INDEX items_cosine ON items USING tandem (h halfvec_cosine_ops);
CREATE INDEX items_l1 ON items USING tandem (h halfvec_l1_ops);
CREATE INDEX ON items (kind);
INSERT INTO items SELECT i, i % 50, (pseudo_vector(i, 20))::halfvec FROM generate_series(1501, 2000) i;
INSERT INTO items VALUES (3001, 1, NULL), (3002, 1, array_fill(0, ARRAY[20])::halfvec), (3003, 2, array_fill(65504, ARRAY[20])::halfvec), (3004, 2, array_fill(-6e-8, ARRAY[20])::halfvec);
ANALYZE items;
SELECT index_against_sort('SELECT id, h <-> pseudo_vector(7, 20)::halfvec FROM items ORDER BY h <-> pseudo_vector(7, 20)::halfvec');
SELECT index_against_sort('SELECT id, h <#> pseudo_vector(7, 20)::halfvec FROM items ORDER BY h <#> pseudo_vector(7, 20)::halfvec');
SELECT index_against_sort('SELECT id, h <=> pseudo_vector(7, 20)::halfvec FROM items ORDER BY h <=> pseudo_vector(7, 20)::halfvec');
SELECT index_against_sort('SELECT id, h <+> pseudo_vector(7, 20)::halfvec FROM items ORDER BY h <+> pseudo_vector(7, 20)::halfvec');
SELECT index_against_sort('SELECT id, h <-> pseudo_vector(7, 20)::halfvec FROM items ORDER BY h <-> pseudo_vector(7, 20)::halfvec LIMIT 10', false);
SELECT filtered_against_sort('SELECT id, h <-> pseudo_vector(9, 20)::halfvec FROM items WHERE kind = 7 ORDER BY h <-> pseudo_vector(9, 20)::halfvec');

-- through graphs, with a tail
ALTER INDEX items_l2 SET (strategy = 'hnsw_batch');
ALTER INDEX items_ip SET (strategy = 'hnsw_batch');
ALTER INDEX items_cosine SET (strategy = 'hnsw_batch');
ALTER INDEX items_l1 SET (strategy = 'hnsw_batch');
CALL tandem_build('items_l2');
CALL tandem_build('items_ip');
CALL tandem_build('items_cosine');
CALL tandem_build('items_l1');
INSERT INTO items SELECT i, i % 50, (pseudo_vector(i, 20))::halfvec FROM generate_series(4001, 4100) i;
SELECT graphs_against_sort('SELECT id, h <-> pseudo_vector(7, 20)::halfvec FROM items ORDER BY h <-> pseudo_vector(7, 20)::halfvec');
SELECT graphs_against_sort('SELECT id, h <#> pseudo_vector(7, 20)::halfvec FROM items ORDER BY h <#> pseudo_vector(7, 20)::halfvec');
SELECT graphs_against_sort('SELECT id, h <=> pseudo_vector(7, 20)::halfvec FROM items ORDER BY h <=> pseudo_vector(7, 20)::halfvec');
SELECT graphs_against_sort('SELECT id, h <+> pseudo_vector(7, 20)::halfvec FROM items ORDER BY h <+> pseudo_vector(7, 20)::halfvec');
SELECT filtered_against_sort('SELECT id, h <-> pseudo_vector(9, 20)::halfvec FROM items WHERE kind = 7 ORDER BY h <-> pseudo_vector(9, 20)::halfvec');
DELETE FROM items WHERE id % 3 = 0;
VACUUM items;
SELECT graphs_against_sort('SELECT id, h <-> pseudo_vector(7, 20)::halfvec FROM items ORDER BY h <-> pseudo_vector(7, 20)::halfvec');
SELECT count(*) FROM (SELECT tandem_verify(c, true) FROM unnest('{items_l2,items_ip,items_cosine,items_l1}'::regclass[]) c) v;
-- every codec
CREATE TABLE codecs (id int, h halfvec(64));
INSERT INTO codecs SELECT i, pseudo_vector(i, 64)::halfvec FROM generate_series(1, 600) i;
CREATE INDEX codecs_h ON codecs USING tandem (h halfvec_l2_ops) WITH (strategy = 'hnsw_inline', codec = 'sq4');
SELECT graphs_against_sort('SELECT id, h <-> pseudo_vector(7, 64)::halfvec FROM codecs ORDER BY h <-> pseudo_vector(7, 64)::halfvec');
ALTER INDEX codecs_h SET (codec = 'fp16');
REINDEX INDEX codecs_h;
SELECT codec FROM tandem_segments('codecs_h');
SELECT graphs_against_sort('SELECT id, h <-> pseudo_vector(7, 64)::halfvec FROM codecs ORDER BY h <-> pseudo_vector(7, 64)::halfvec');
INSERT INTO codecs SELECT i, pseudo_vector(i, 64)::halfvec FROM generate_series(601, 700) i;
SELECT graphs_against_sort('SELECT id, h <-> pseudo_vector(7, 64)::halfvec FROM codecs ORDER BY h <-> pseudo_vector(7, 64)::halfvec');

-- half the bytes of vectors; every number of dimensions, rows that cross pages
CREATE TABLE wide (id int, h halfvec(16000), v vector(16000));
INSERT INTO wide SELECT i, v::halfvec, v FROM (SELECT i, (pseudo_vector(i, 20)::real[] || array_fill(i % 7, ARRAY[15980])::real[])::vector v FROM generate_series(1, 40) i) w;
CREATE INDEX wide_h ON wide USING tandem (h halfvec_l2_ops);
CREATE INDEX wide_v ON wide USING tandem (v vector_l2_ops);
SELECT h.dimensions, v.vector_bytes::float8 / h.vector_bytes BETWEEN 1.6 AND 2.4 AS half FROM tandem_index_info('wide_h') h, tandem_index_info('wide_v') v;
SELECT index_against_sort('SELECT id, h <-> array_fill(3, ARRAY[16000])::halfvec FROM wide ORDER BY h <-> array_fill(3, ARRAY[16000])::halfvec');
SELECT count(*) FROM tandem_verify('wide_h', true);
CREATE TABLE odd (id int, h halfvec(7));
INSERT INTO odd SELECT i, pseudo_vector(i, 7)::halfvec FROM generate_series(1, 700) i;
CREATE INDEX odd_h ON odd USING tandem (h halfvec_l2_ops);
INSERT INTO odd SELECT i, pseudo_vector(i, 7)::halfvec FROM generate_series(701, 1400) i;
SELECT index_against_sort('SELECT id, h <-> pseudo_vector(7, 7)::halfvec FROM odd ORDER BY h <-> pseudo_vector(7, 7)::halfvec');
-- most rows die: those that live are packed
DELETE FROM odd WHERE id % 20 <> 0;
VACUUM odd;
SELECT index_against_sort('SELECT id, h <-> pseudo_vector(7, 7)::halfvec FROM odd ORDER BY h <-> pseudo_vector(7, 7)::halfvec');
SELECT count(*) FROM tandem_verify('odd_h', true);

-- expressions: vectors indexed as halves, and ordered by what they are
CREATE TABLE full_precision (id int, v vector(12));
INSERT INTO full_precision SELECT i, pseudo_vector(i, 12) FROM generate_series(1, 800) i;
CREATE INDEX as_halves ON full_precision USING tandem ((v::halfvec(12)) halfvec_l2_ops) WITH (strategy = 'hnsw_inline');
INSERT INTO full_precision SELECT i, pseudo_vector(i, 12) FROM generate_series(801, 1000) i;
SELECT graphs_against_sort('SELECT id, v::halfvec(12) <-> pseudo_vector(5, 12)::halfvec(12) FROM full_precision ORDER BY v::halfvec(12) <-> pseudo_vector(5, 12)::halfvec(12)');
SET enable_seqscan = off;
SELECT plan('SELECT id FROM (SELECT id, v FROM full_precision ORDER BY v::halfvec(12) <-> ''[1,2,3,4,5,6,7,8,9,10,11,12]''::halfvec(12) LIMIT 40) r ORDER BY v <-> ''[1,2,3,4,5,6,7,8,9,10,11,12]'' LIMIT 3');
SELECT array_agg(id) = (SELECT array_agg(id) FROM (SELECT id FROM full_precision ORDER BY (v <-> '[1,2,3,4,5,6,7,8,9,10,11,12]') + 0 LIMIT 3) e) AS same FROM
  (SELECT id FROM (SELECT id, v FROM full_precision ORDER BY v::halfvec(12) <-> '[1,2,3,4,5,6,7,8,9,10,11,12]'::halfvec(12) LIMIT 40) r ORDER BY v <-> '[1,2,3,4,5,6,7,8,9,10,11,12]' LIMIT 3) r;
RESET enable_seqscan;
-- a vector that halves do not hold is refused, and nothing is left of it
INSERT INTO full_precision VALUES (2000, array_fill(70000, ARRAY[12])::vector);
SELECT count(*) FROM full_precision WHERE id = 2000;

-- what is refused
CREATE TABLE refused (h halfvec, v vector(3), s sparsevec(3));
CREATE INDEX ON refused USING tandem (h halfvec_l2_ops);
CREATE INDEX ON refused USING tandem (h);
CREATE INDEX ON refused USING tandem (v halfvec_l2_ops);
CREATE INDEX ON refused USING tandem ((v::halfvec(3)) vector_l2_ops);
INSERT INTO items VALUES (9001, 1, '[1,2]');
SET enable_seqscan = off;
SELECT id FROM items ORDER BY h <-> '[1,2]'::halfvec LIMIT 1;
RESET enable_seqscan;
SELECT opcname, amvalidate(c.oid) FROM pg_opclass c JOIN pg_am a ON a.oid = opcmethod WHERE amname = 'tandem' AND opcname LIKE 'halfvec%' ORDER BY 1;
-- a query of another type converts as its cast says
SET enable_seqscan = off;
SELECT id FROM items ORDER BY h <-> pseudo_vector(7, 20)::halfvec LIMIT 1;
PREPARE nearest(vector) AS SELECT id FROM items ORDER BY h <-> $1::halfvec LIMIT 1;
EXECUTE nearest(pseudo_vector(8, 20));
DEALLOCATE nearest;
RESET enable_seqscan;
-- An operator class whose support function is for another type would have rows of another size read.
CREATE OPERATOR CLASS mistaken_ops FOR TYPE halfvec USING tandem AS
  OPERATOR 1 <-> (halfvec, halfvec) FOR ORDER BY float_ops, FUNCTION 1 tandem_vector_l2_metric(internal);
CREATE TABLE mistaken (v halfvec(3));
CREATE INDEX ON mistaken USING tandem (v mistaken_ops);
DROP SCHEMA halfvec_index CASCADE;
