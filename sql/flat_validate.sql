SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS tandem;
CREATE SCHEMA flat_validate;
RESET client_min_messages;
SET search_path = flat_validate, public;

-- amvalidate: the operator classes of the extension are sound, and what is wrong with others is said.

SELECT opcname, amvalidate(c.oid) FROM pg_opclass AS c JOIN pg_am AS a ON a.oid = opcmethod
WHERE amname = 'tandem' ORDER BY opcname;
SELECT f.opfname, amopopr::regoperator, amopstrategy, amoppurpose, sort.opfname AS sort_family
FROM pg_amop JOIN pg_opfamily AS f ON f.oid = amopfamily JOIN pg_am AS a ON a.oid = f.opfmethod
     JOIN pg_opfamily AS sort ON sort.oid = amopsortfamily
WHERE amname = 'tandem' ORDER BY 1;
SELECT opfname, amproc::regprocedure, amprocnum
FROM pg_amproc JOIN pg_opfamily AS f ON f.oid = amprocfamily JOIN pg_am AS a ON a.oid = opfmethod
WHERE amname = 'tandem' ORDER BY 1;
SELECT opcname, amname, opcdefault FROM pg_opclass AS c JOIN pg_am AS a ON a.oid = opcmethod
WHERE opcintype = 'vector'::regtype ORDER BY amname, opcname;

-- What the access method says it can do.
SELECT a.amname, p.name, pg_indexam_has_property(a.oid, p.name) AS am
FROM pg_am AS a, unnest(ARRAY['can_order', 'can_unique', 'can_multi_col', 'can_exclude', 'can_include']) AS p(name)
WHERE a.amname = 'tandem' ORDER BY p.name;
CREATE TABLE items (id int, v vector(2));
CREATE INDEX items_l2 ON items USING tandem (v vector_l2_ops);
SELECT p.name, pg_index_has_property('items_l2'::regclass, p.name) AS index
FROM unnest(ARRAY['clusterable', 'index_scan', 'bitmap_scan', 'backward_scan']) AS p(name) ORDER BY p.name;
SELECT p.name, pg_index_column_has_property('items_l2'::regclass, 1, p.name) AS column
FROM unnest(ARRAY['asc', 'desc', 'nulls_first', 'nulls_last', 'orderable', 'distance_orderable', 'returnable',
                  'search_array', 'search_nulls']) AS p(name) ORDER BY p.name;

-- Broken classes. Each is told what it lacks or has too much of.
CREATE OPERATOR CLASS no_metric FOR TYPE vector USING tandem AS
  OPERATOR 1 <-> (vector, vector) FOR ORDER BY float_ops;
CREATE OPERATOR CLASS no_operator FOR TYPE vector USING tandem AS
  FUNCTION 1 tandem_vector_l2_metric(internal);
CREATE OPERATOR CLASS searches FOR TYPE vector USING tandem AS
  OPERATOR 1 = (vector, vector),
  FUNCTION 1 tandem_vector_l2_metric(internal);
CREATE OPERATOR CLASS second_strategy FOR TYPE vector USING tandem AS
  OPERATOR 1 <-> (vector, vector) FOR ORDER BY float_ops,
  OPERATOR 2 <#> (vector, vector) FOR ORDER BY float_ops,
  FUNCTION 1 tandem_vector_l2_metric(internal);
CREATE OPERATOR CLASS wrong_function FOR TYPE vector USING tandem AS
  OPERATOR 1 <-> (vector, vector) FOR ORDER BY float_ops,
  FUNCTION 1 vector_dims(vector);
CREATE OPERATOR CLASS second_function FOR TYPE vector USING tandem AS
  OPERATOR 1 <-> (vector, vector) FOR ORDER BY float_ops,
  FUNCTION 1 tandem_vector_l2_metric(internal),
  FUNCTION 2 tandem_vector_l2_metric(internal);
CREATE OPERATOR CLASS wrong_sort FOR TYPE vector USING tandem AS
  OPERATOR 1 <-> (vector, vector) FOR ORDER BY integer_ops,
  FUNCTION 1 tandem_vector_l2_metric(internal);
CREATE OPERATOR CLASS other_result FOR TYPE point USING tandem AS
  OPERATOR 1 ## (point, lseg) FOR ORDER BY float_ops,
  FUNCTION 1 tandem_vector_l2_metric(internal);
\set SHOW_CONTEXT never
SELECT opcname, amvalidate(c.oid) FROM pg_opclass AS c
WHERE opcnamespace = 'flat_validate'::regnamespace ORDER BY opcname;
SELECT opcname, amvalidate(c.oid) FROM pg_opclass AS c WHERE opcname = 'no_metric';

-- An index of a broken class is refused or at least harmless.
CREATE INDEX ON items USING tandem (v no_metric);

SET client_min_messages = warning;
DROP SCHEMA flat_validate CASCADE;
