-- complain if script is sourced in psql, rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION tandem_pgvector" to load this file. \quit

-- Two types have each of the names here, so none is left to the search path: @pgvector@ and @tandem@ stand for the schemas of the
-- two extensions. What has no schema is created in this extension's own.

DO $extension$
DECLARE
	pgvector text;
	tandem text;
BEGIN
	SELECT pg_catalog.quote_ident(n.nspname) INTO STRICT pgvector
		FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'vector';
	SELECT pg_catalog.quote_ident(n.nspname) INTO STRICT tandem
		FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'tandem';
	-- What the names are put into is run as whoever installs this: none may end a quoted name or a text, or be taken for the other.
	IF EXISTS (SELECT FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace
			WHERE e.extname IN ('vector', 'tandem') AND n.nspname ~ '["$''\\@]') THEN
		RAISE EXCEPTION 'the schema of extension "vector" or "tandem" has a name that is not allowed here' USING
			ERRCODE = 'invalid_schema_name',
			DETAIL = pg_catalog.format('The names are %s and %s.', pgvector, tandem),
			HINT = 'Rename the schema: none of ", $, '', \ and @ may be in it.';
	END IF;
	IF pg_catalog.quote_ident(pg_catalog.current_schema()) = tandem THEN
		RAISE EXCEPTION 'extension "tandem_pgvector" cannot be installed in schema "%", where extension "tandem" is',
				pg_catalog.current_schema() USING
			ERRCODE = 'duplicate_object',
			DETAIL = 'Both have operator classes of the same names.',
			HINT = pg_catalog.format('Use CREATE EXTENSION tandem_pgvector SCHEMA %s.', pgvector);
	END IF;
	IF pg_catalog.to_regtype(pgvector || '.sparsevec') IS NULL THEN
		RAISE EXCEPTION 'extension "vector" is too old for extension "tandem_pgvector"' USING
			ERRCODE = 'object_not_in_prerequisite_state',
			DETAIL = 'Version 0.7.0 or later is needed.',
			HINT = 'Use ALTER EXTENSION vector UPDATE.';
	END IF;
	EXECUTE pg_catalog.replace(pg_catalog.replace($script$

-- Section 1: casts ---------------------------------------------------------------------------------------------------

-- Values have one form. From pgvector's type to ours nothing is called, and so an operator class of ours accepts a column of
-- pgvector's: that lets an index outlive ALTER TABLE ... TYPE. In the other direction a function checks the number of dimensions,
-- unless it is known (tandem_typmod_support); one implicit direction is enough, two would make calls ambiguous.

CREATE FUNCTION tandem_to_pgvector(@tandem@.vector, integer, boolean) RETURNS @pgvector@.vector
	AS 'MODULE_PATHNAME', 'tandem_vector' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	SUPPORT @tandem@.tandem_typmod_support;

COMMENT ON FUNCTION tandem_to_pgvector(@tandem@.vector, integer, boolean) IS 'the same value as pgvector''s type';

CREATE CAST (@tandem@.vector AS @pgvector@.vector)
	WITH FUNCTION tandem_to_pgvector(@tandem@.vector, integer, boolean) AS ASSIGNMENT;

CREATE CAST (@pgvector@.vector AS @tandem@.vector) WITHOUT FUNCTION AS IMPLICIT;

CREATE FUNCTION tandem_to_pgvector(@tandem@.halfvec, integer, boolean) RETURNS @pgvector@.halfvec
	AS 'MODULE_PATHNAME', 'tandem_halfvec' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	SUPPORT @tandem@.tandem_typmod_support;

COMMENT ON FUNCTION tandem_to_pgvector(@tandem@.halfvec, integer, boolean) IS 'the same value as pgvector''s type';

CREATE CAST (@tandem@.halfvec AS @pgvector@.halfvec)
	WITH FUNCTION tandem_to_pgvector(@tandem@.halfvec, integer, boolean) AS ASSIGNMENT;

CREATE CAST (@pgvector@.halfvec AS @tandem@.halfvec) WITHOUT FUNCTION AS IMPLICIT;

CREATE FUNCTION tandem_to_pgvector(@tandem@.sparsevec, integer, boolean) RETURNS @pgvector@.sparsevec
	AS 'MODULE_PATHNAME', 'tandem_sparsevec' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	SUPPORT @tandem@.tandem_typmod_support;

COMMENT ON FUNCTION tandem_to_pgvector(@tandem@.sparsevec, integer, boolean) IS 'the same value as pgvector''s type';

CREATE CAST (@tandem@.sparsevec AS @pgvector@.sparsevec)
	WITH FUNCTION tandem_to_pgvector(@tandem@.sparsevec, integer, boolean) AS ASSIGNMENT;

CREATE CAST (@pgvector@.sparsevec AS @tandem@.sparsevec) WITHOUT FUNCTION AS IMPLICIT;

-- Section 2: operator classes of access method tandem ------------------------------------------------------------------

-- In the families of our own classes: an index of either serves the operators of both.

CREATE OPERATOR CLASS vector_l2_ops
	FOR TYPE @pgvector@.vector USING tandem FAMILY @tandem@.vector_l2_ops AS
	OPERATOR 1 @pgvector@.<-> (@pgvector@.vector, @pgvector@.vector) FOR ORDER BY pg_catalog.float_ops,
	FUNCTION 1 @tandem@.tandem_vector_l2_metric(internal);

CREATE OPERATOR CLASS vector_ip_ops
	FOR TYPE @pgvector@.vector USING tandem FAMILY @tandem@.vector_ip_ops AS
	OPERATOR 1 @pgvector@.<#> (@pgvector@.vector, @pgvector@.vector) FOR ORDER BY pg_catalog.float_ops,
	FUNCTION 1 @tandem@.tandem_vector_ip_metric(internal);

CREATE OPERATOR CLASS vector_cosine_ops
	FOR TYPE @pgvector@.vector USING tandem FAMILY @tandem@.vector_cosine_ops AS
	OPERATOR 1 @pgvector@.<=> (@pgvector@.vector, @pgvector@.vector) FOR ORDER BY pg_catalog.float_ops,
	FUNCTION 1 @tandem@.tandem_vector_cosine_metric(internal);

CREATE OPERATOR CLASS vector_l1_ops
	FOR TYPE @pgvector@.vector USING tandem FAMILY @tandem@.vector_l1_ops AS
	OPERATOR 1 @pgvector@.<+> (@pgvector@.vector, @pgvector@.vector) FOR ORDER BY pg_catalog.float_ops,
	FUNCTION 1 @tandem@.tandem_vector_l1_metric(internal);

CREATE OPERATOR CLASS halfvec_l2_ops
	FOR TYPE @pgvector@.halfvec USING tandem FAMILY @tandem@.halfvec_l2_ops AS
	OPERATOR 1 @pgvector@.<-> (@pgvector@.halfvec, @pgvector@.halfvec) FOR ORDER BY pg_catalog.float_ops,
	FUNCTION 1 @tandem@.tandem_halfvec_l2_metric(internal);

CREATE OPERATOR CLASS halfvec_ip_ops
	FOR TYPE @pgvector@.halfvec USING tandem FAMILY @tandem@.halfvec_ip_ops AS
	OPERATOR 1 @pgvector@.<#> (@pgvector@.halfvec, @pgvector@.halfvec) FOR ORDER BY pg_catalog.float_ops,
	FUNCTION 1 @tandem@.tandem_halfvec_ip_metric(internal);

CREATE OPERATOR CLASS halfvec_cosine_ops
	FOR TYPE @pgvector@.halfvec USING tandem FAMILY @tandem@.halfvec_cosine_ops AS
	OPERATOR 1 @pgvector@.<=> (@pgvector@.halfvec, @pgvector@.halfvec) FOR ORDER BY pg_catalog.float_ops,
	FUNCTION 1 @tandem@.tandem_halfvec_cosine_metric(internal);

CREATE OPERATOR CLASS halfvec_l1_ops
	FOR TYPE @pgvector@.halfvec USING tandem FAMILY @tandem@.halfvec_l1_ops AS
	OPERATOR 1 @pgvector@.<+> (@pgvector@.halfvec, @pgvector@.halfvec) FOR ORDER BY pg_catalog.float_ops,
	FUNCTION 1 @tandem@.tandem_halfvec_l1_metric(internal);

CREATE OPERATOR CLASS sparsevec_l2_ops
	FOR TYPE @pgvector@.sparsevec USING tandem FAMILY @tandem@.sparsevec_l2_ops AS
	OPERATOR 1 @pgvector@.<-> (@pgvector@.sparsevec, @pgvector@.sparsevec) FOR ORDER BY pg_catalog.float_ops,
	FUNCTION 1 @tandem@.tandem_sparsevec_l2_metric(internal);

CREATE OPERATOR CLASS sparsevec_ip_ops
	FOR TYPE @pgvector@.sparsevec USING tandem FAMILY @tandem@.sparsevec_ip_ops AS
	OPERATOR 1 @pgvector@.<#> (@pgvector@.sparsevec, @pgvector@.sparsevec) FOR ORDER BY pg_catalog.float_ops,
	FUNCTION 1 @tandem@.tandem_sparsevec_ip_metric(internal);

CREATE OPERATOR CLASS sparsevec_cosine_ops
	FOR TYPE @pgvector@.sparsevec USING tandem FAMILY @tandem@.sparsevec_cosine_ops AS
	OPERATOR 1 @pgvector@.<=> (@pgvector@.sparsevec, @pgvector@.sparsevec) FOR ORDER BY pg_catalog.float_ops,
	FUNCTION 1 @tandem@.tandem_sparsevec_cosine_metric(internal);

CREATE OPERATOR CLASS sparsevec_l1_ops
	FOR TYPE @pgvector@.sparsevec USING tandem FAMILY @tandem@.sparsevec_l1_ops AS
	OPERATOR 1 @pgvector@.<+> (@pgvector@.sparsevec, @pgvector@.sparsevec) FOR ORDER BY pg_catalog.float_ops,
	FUNCTION 1 @tandem@.tandem_sparsevec_l1_metric(internal);

-- The type is the server's, and a family has one operator of it: these are families of their own.

CREATE OPERATOR CLASS bit_hamming_ops
	FOR TYPE bit USING tandem AS
	OPERATOR 1 @pgvector@.<~> (bit, bit) FOR ORDER BY pg_catalog.float_ops,
	FUNCTION 1 @tandem@.tandem_bit_hamming_metric(internal);

CREATE OPERATOR CLASS bit_jaccard_ops
	FOR TYPE bit USING tandem AS
	OPERATOR 1 @pgvector@.<%> (bit, bit) FOR ORDER BY pg_catalog.float_ops,
	FUNCTION 1 @tandem@.tandem_bit_jaccard_metric(internal);

	$script$, '@pgvector@', pgvector), '@tandem@', tandem);
END
$extension$;
