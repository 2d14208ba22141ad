-- What client libraries look up: the type by name, its array type, text and binary functions, any schema.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS tandem;
RESET client_min_messages;

SELECT to_regtype('vector') IS NOT NULL found, to_regtype('vector[]') IS NOT NULL found_array, to_regtype('_vector') = to_regtype('vector[]') same;
SELECT typname, typinput, typoutput, typreceive, typsend, typmodin, typmodout, typanalyze, typdelim, typnotnull,
       typarray = to_regtype('vector[]') has_array
FROM pg_type WHERE typname = 'vector';
SELECT typinput, typsend, typelem = to_regtype('vector') is_array_of FROM pg_type WHERE oid = to_regtype('_vector');

-- parameters of prepared statements, bound by name of the type and as unknown text
PREPARE nearest(vector) AS SELECT $1 <-> '[1,1]', pg_typeof($1);
EXECUTE nearest('[1,2]');
PREPARE unknown_parameter AS SELECT '[1,2]'::vector <=> $1;
SELECT parameter_types FROM pg_prepared_statements WHERE name = 'unknown_parameter';
EXECUTE unknown_parameter('[2,4]');
SELECT pg_typeof('[1]'::vector + '[1]'), pg_typeof('[1]'::vector <-> '[1]'), pg_typeof('[1]'::vector <#> '[1]'), pg_typeof(avg('[1]'::vector));
DEALLOCATE ALL;

-- functions, views, domains, defaults, composite types, JSON
CREATE FUNCTION vector_plpgsql(v vector) RETURNS vector LANGUAGE plpgsql AS $$
DECLARE w vector := v; BEGIN FOR i IN 1..3 LOOP w := w || v; END LOOP; RETURN w; END $$;
SELECT vector_plpgsql('[1,2]');
DROP FUNCTION vector_plpgsql;
CREATE DOMAIN unit_vector AS vector(2) CHECK (abs(vector_norm(VALUE) - 1) < 1e-6);
SELECT '[0.6,0.8]'::unit_vector;
SELECT '[1,1]'::unit_vector;
SELECT '[1]'::unit_vector;
DROP DOMAIN unit_vector;
SELECT row_to_json(r) FROM (SELECT '[1,2]'::vector v) r;
SELECT v, v[1] FROM (SELECT '{"[1,2]","[3]"}'::vector[] v) t;
SELECT (ROW('[1,2]'::vector, 1) = ROW('[1,2]'::vector, 1)) equal, ROW('[1,2]'::vector) < ROW('[1,3]'::vector) less;

-- a database can hold the extension in any schema, and move it
CREATE SCHEMA vector_elsewhere;
BEGIN;
SET LOCAL client_min_messages = warning;
DROP EXTENSION tandem CASCADE;
CREATE EXTENSION tandem SCHEMA vector_elsewhere;
SELECT '[1,2]'::vector;
ROLLBACK;
BEGIN;
SET LOCAL client_min_messages = warning;
DROP EXTENSION tandem CASCADE;
CREATE EXTENSION tandem SCHEMA vector_elsewhere;
SELECT extrelocatable FROM pg_extension WHERE extname = 'tandem';
SELECT '[1,2]'::vector_elsewhere.vector OPERATOR(vector_elsewhere.<->) '[1,3]';
CREATE TABLE vector_there (v vector_elsewhere.vector(2));
INSERT INTO vector_there VALUES ('[1,2]'), (ARRAY[3,4]);
SELECT vector_elsewhere.avg(v), vector_elsewhere.sum(v) FROM vector_there;
SET LOCAL search_path = public, vector_elsewhere;
SELECT v <-> '[1,2]' FROM vector_there ORDER BY v;
ALTER EXTENSION tandem SET SCHEMA public;
SELECT v::vector(2) <=> '[1,2]' FROM vector_there ORDER BY v DESC;
ROLLBACK;
DROP SCHEMA vector_elsewhere;
