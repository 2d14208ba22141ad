-- complain if script is sourced in psql, rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION tandem" to load this file. \quit

-- Objects are created by plain CREATE and without schema: the extension can be installed in any schema, and a planted
-- object of the same name makes the installation fail instead of being adopted.

-- Where pgvector has these names already, says what to do.

CREATE FUNCTION tandem_check_schema() RETURNS void
	AS 'MODULE_PATHNAME' LANGUAGE C;

SELECT tandem_check_schema();

DROP FUNCTION tandem_check_schema();

-- Section 1: type vector ---------------------------------------------------------------------------------------------

CREATE TYPE vector;

CREATE FUNCTION vector_in(cstring, oid, integer) RETURNS vector
	AS 'MODULE_PATHNAME', 'tandem_vector_in' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION vector_in(cstring, oid, integer) IS 'I/O';

CREATE FUNCTION vector_out(vector) RETURNS cstring
	AS 'MODULE_PATHNAME', 'tandem_vector_out' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION vector_out(vector) IS 'I/O';

CREATE FUNCTION vector_typmod_in(cstring[]) RETURNS integer
	AS 'MODULE_PATHNAME', 'tandem_vector_typmod_in' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION vector_typmod_in(cstring[]) IS 'I/O typmod';

CREATE FUNCTION vector_recv(internal, oid, integer) RETURNS vector
	AS 'MODULE_PATHNAME', 'tandem_vector_recv' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION vector_recv(internal, oid, integer) IS 'I/O';

CREATE FUNCTION vector_send(vector) RETURNS bytea
	AS 'MODULE_PATHNAME', 'tandem_vector_send' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION vector_send(vector) IS 'I/O';

CREATE TYPE vector (
	INPUT     = vector_in,
	OUTPUT    = vector_out,
	TYPMOD_IN = vector_typmod_in,
	RECEIVE   = vector_recv,
	SEND      = vector_send,
	STORAGE   = external
);

COMMENT ON TYPE vector IS 'vector of single-precision numbers';

-- Section 2: functions of vectors ------------------------------------------------------------------------------------

-- Tells the planner what a distance costs: it grows with the dimensions and includes detoasting.
CREATE FUNCTION tandem_distance_support(internal) RETURNS internal
	AS 'MODULE_PATHNAME', 'tandem_distance_support' LANGUAGE C STRICT PARALLEL SAFE;

COMMENT ON FUNCTION tandem_distance_support(internal) IS 'planner support for distance functions';

-- Tells the planner where a cast has nothing to check.
CREATE FUNCTION tandem_typmod_support(internal) RETURNS internal
	AS 'MODULE_PATHNAME', 'tandem_typmod_support' LANGUAGE C STRICT PARALLEL SAFE;

COMMENT ON FUNCTION tandem_typmod_support(internal) IS 'planner support for casts that check dimensions';

CREATE FUNCTION l2_distance(vector, vector) RETURNS float8
	AS 'MODULE_PATHNAME', 'tandem_l2_distance' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	SUPPORT tandem_distance_support;

COMMENT ON FUNCTION l2_distance(vector, vector) IS 'Euclidean distance';

CREATE FUNCTION inner_product(vector, vector) RETURNS float8
	AS 'MODULE_PATHNAME', 'tandem_inner_product' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	SUPPORT tandem_distance_support;

COMMENT ON FUNCTION inner_product(vector, vector) IS 'inner product';

CREATE FUNCTION cosine_distance(vector, vector) RETURNS float8
	AS 'MODULE_PATHNAME', 'tandem_cosine_distance' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	SUPPORT tandem_distance_support;

COMMENT ON FUNCTION cosine_distance(vector, vector) IS 'cosine distance';

CREATE FUNCTION l1_distance(vector, vector) RETURNS float8
	AS 'MODULE_PATHNAME', 'tandem_l1_distance' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	SUPPORT tandem_distance_support;

COMMENT ON FUNCTION l1_distance(vector, vector) IS 'taxicab distance';

CREATE FUNCTION vector_dims(vector) RETURNS integer
	AS 'MODULE_PATHNAME', 'tandem_vector_dims' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION vector_dims(vector) IS 'number of dimensions';

CREATE FUNCTION vector_norm(vector) RETURNS float8
	AS 'MODULE_PATHNAME', 'tandem_vector_norm' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION vector_norm(vector) IS 'Euclidean norm';

CREATE FUNCTION l2_normalize(vector) RETURNS vector
	AS 'MODULE_PATHNAME', 'tandem_l2_normalize' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION l2_normalize(vector) IS 'scaled to Euclidean norm 1';

CREATE FUNCTION binary_quantize(vector) RETURNS bit
	AS 'MODULE_PATHNAME', 'tandem_binary_quantize' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION binary_quantize(vector) IS 'one bit per element, set where it is positive';

CREATE FUNCTION subvector(vector, integer, integer) RETURNS vector
	AS 'MODULE_PATHNAME', 'tandem_subvector' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION subvector(vector, integer, integer) IS 'part of a vector: start (from 1), count';

-- The functions below implement operators, aggregates and index support.

CREATE FUNCTION vector_add(vector, vector) RETURNS vector
	AS 'MODULE_PATHNAME', 'tandem_vector_add' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION vector_add(vector, vector) IS 'implementation of + operator';

CREATE FUNCTION vector_sub(vector, vector) RETURNS vector
	AS 'MODULE_PATHNAME', 'tandem_vector_sub' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION vector_sub(vector, vector) IS 'implementation of - operator';

CREATE FUNCTION vector_mul(vector, vector) RETURNS vector
	AS 'MODULE_PATHNAME', 'tandem_vector_mul' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION vector_mul(vector, vector) IS 'implementation of * operator';

CREATE FUNCTION vector_concat(vector, vector) RETURNS vector
	AS 'MODULE_PATHNAME', 'tandem_vector_concat' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION vector_concat(vector, vector) IS 'implementation of || operator';

CREATE FUNCTION vector_lt(vector, vector) RETURNS boolean
	AS 'MODULE_PATHNAME', 'tandem_vector_lt' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION vector_lt(vector, vector) IS 'implementation of < operator';

CREATE FUNCTION vector_le(vector, vector) RETURNS boolean
	AS 'MODULE_PATHNAME', 'tandem_vector_le' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION vector_le(vector, vector) IS 'implementation of <= operator';

CREATE FUNCTION vector_eq(vector, vector) RETURNS boolean
	AS 'MODULE_PATHNAME', 'tandem_vector_eq' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION vector_eq(vector, vector) IS 'implementation of = operator';

CREATE FUNCTION vector_ne(vector, vector) RETURNS boolean
	AS 'MODULE_PATHNAME', 'tandem_vector_ne' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION vector_ne(vector, vector) IS 'implementation of <> operator';

CREATE FUNCTION vector_ge(vector, vector) RETURNS boolean
	AS 'MODULE_PATHNAME', 'tandem_vector_ge' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION vector_ge(vector, vector) IS 'implementation of >= operator';

CREATE FUNCTION vector_gt(vector, vector) RETURNS boolean
	AS 'MODULE_PATHNAME', 'tandem_vector_gt' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION vector_gt(vector, vector) IS 'implementation of > operator';

CREATE FUNCTION vector_cmp(vector, vector) RETURNS integer
	AS 'MODULE_PATHNAME', 'tandem_vector_cmp' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION vector_cmp(vector, vector) IS 'less-equal-greater';

CREATE FUNCTION vector_l2_squared_distance(vector, vector) RETURNS float8
	AS 'MODULE_PATHNAME', 'tandem_vector_l2_squared_distance' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	SUPPORT tandem_distance_support;

COMMENT ON FUNCTION vector_l2_squared_distance(vector, vector) IS 'squared Euclidean distance';

CREATE FUNCTION vector_negative_inner_product(vector, vector) RETURNS float8
	AS 'MODULE_PATHNAME', 'tandem_vector_negative_inner_product' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	SUPPORT tandem_distance_support;

COMMENT ON FUNCTION vector_negative_inner_product(vector, vector) IS 'implementation of <#> operator';

CREATE FUNCTION vector_spherical_distance(vector, vector) RETURNS float8
	AS 'MODULE_PATHNAME', 'tandem_vector_spherical_distance' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	SUPPORT tandem_distance_support;

COMMENT ON FUNCTION vector_spherical_distance(vector, vector) IS 'angle between unit vectors as a fraction of pi';

CREATE FUNCTION vector_accum(double precision[], vector) RETURNS double precision[]
	AS 'MODULE_PATHNAME', 'tandem_vector_accum' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION vector_accum(double precision[], vector) IS 'aggregate transition function';

CREATE FUNCTION vector_avg(double precision[]) RETURNS vector
	AS 'MODULE_PATHNAME', 'tandem_vector_avg' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION vector_avg(double precision[]) IS 'aggregate final function';

CREATE FUNCTION vector_combine(double precision[], double precision[]) RETURNS double precision[]
	AS 'MODULE_PATHNAME', 'tandem_vector_combine' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION vector_combine(double precision[], double precision[]) IS 'aggregate combine function';

-- Section 3: aggregates ----------------------------------------------------------------------------------------------

CREATE AGGREGATE avg(vector) (
	SFUNC = vector_accum,
	STYPE = double precision[],
	FINALFUNC = vector_avg,
	COMBINEFUNC = vector_combine,
	INITCOND = '{0}',
	PARALLEL = SAFE
);

COMMENT ON AGGREGATE avg(vector) IS 'element-wise average of all vectors';

CREATE AGGREGATE sum(vector) (
	SFUNC = vector_add,
	STYPE = vector,
	COMBINEFUNC = vector_add,
	PARALLEL = SAFE
);

COMMENT ON AGGREGATE sum(vector) IS 'element-wise sum of all vectors';

-- Section 4: casts ---------------------------------------------------------------------------------------------------

CREATE FUNCTION vector(vector, integer, boolean) RETURNS vector
	AS 'MODULE_PATHNAME', 'tandem_vector' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	SUPPORT tandem_typmod_support;

COMMENT ON FUNCTION vector(vector, integer, boolean) IS 'check the number of dimensions';

CREATE FUNCTION array_to_vector(integer[], integer, boolean) RETURNS vector
	AS 'MODULE_PATHNAME', 'tandem_array_to_vector' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION array_to_vector(integer[], integer, boolean) IS 'convert integer array to vector';

CREATE FUNCTION array_to_vector(real[], integer, boolean) RETURNS vector
	AS 'MODULE_PATHNAME', 'tandem_array_to_vector' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION array_to_vector(real[], integer, boolean) IS 'convert real array to vector';

CREATE FUNCTION array_to_vector(double precision[], integer, boolean) RETURNS vector
	AS 'MODULE_PATHNAME', 'tandem_array_to_vector' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION array_to_vector(double precision[], integer, boolean) IS 'convert double precision array to vector';

CREATE FUNCTION array_to_vector(numeric[], integer, boolean) RETURNS vector
	AS 'MODULE_PATHNAME', 'tandem_array_to_vector' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION array_to_vector(numeric[], integer, boolean) IS 'convert numeric array to vector';

CREATE FUNCTION vector_to_float4(vector, integer, boolean) RETURNS real[]
	AS 'MODULE_PATHNAME', 'tandem_vector_to_float4' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION vector_to_float4(vector, integer, boolean) IS 'convert vector to real array';

CREATE CAST (vector AS vector)
	WITH FUNCTION vector(vector, integer, boolean) AS IMPLICIT;

CREATE CAST (vector AS real[])
	WITH FUNCTION vector_to_float4(vector, integer, boolean) AS IMPLICIT;

CREATE CAST (integer[] AS vector)
	WITH FUNCTION array_to_vector(integer[], integer, boolean) AS ASSIGNMENT;

CREATE CAST (real[] AS vector)
	WITH FUNCTION array_to_vector(real[], integer, boolean) AS ASSIGNMENT;

CREATE CAST (double precision[] AS vector)
	WITH FUNCTION array_to_vector(double precision[], integer, boolean) AS ASSIGNMENT;

CREATE CAST (numeric[] AS vector)
	WITH FUNCTION array_to_vector(numeric[], integer, boolean) AS ASSIGNMENT;

-- Section 5: operators -----------------------------------------------------------------------------------------------

CREATE OPERATOR <-> (
	LEFTARG = vector, RIGHTARG = vector, FUNCTION = l2_distance,
	COMMUTATOR = <->
);

COMMENT ON OPERATOR <-> (vector, vector) IS 'Euclidean distance';

CREATE OPERATOR <#> (
	LEFTARG = vector, RIGHTARG = vector, FUNCTION = vector_negative_inner_product,
	COMMUTATOR = <#>
);

COMMENT ON OPERATOR <#> (vector, vector) IS 'negative inner product';

CREATE OPERATOR <=> (
	LEFTARG = vector, RIGHTARG = vector, FUNCTION = cosine_distance,
	COMMUTATOR = <=>
);

COMMENT ON OPERATOR <=> (vector, vector) IS 'cosine distance';

CREATE OPERATOR <+> (
	LEFTARG = vector, RIGHTARG = vector, FUNCTION = l1_distance,
	COMMUTATOR = <+>
);

COMMENT ON OPERATOR <+> (vector, vector) IS 'taxicab distance';

CREATE OPERATOR + (
	LEFTARG = vector, RIGHTARG = vector, FUNCTION = vector_add,
	COMMUTATOR = +
);

COMMENT ON OPERATOR + (vector, vector) IS 'add';

CREATE OPERATOR - (
	LEFTARG = vector, RIGHTARG = vector, FUNCTION = vector_sub
);

COMMENT ON OPERATOR - (vector, vector) IS 'subtract';

CREATE OPERATOR * (
	LEFTARG = vector, RIGHTARG = vector, FUNCTION = vector_mul,
	COMMUTATOR = *
);

COMMENT ON OPERATOR * (vector, vector) IS 'multiply element by element';

CREATE OPERATOR || (
	LEFTARG = vector, RIGHTARG = vector, FUNCTION = vector_concat
);

COMMENT ON OPERATOR || (vector, vector) IS 'concatenate';

CREATE OPERATOR < (
	LEFTARG = vector, RIGHTARG = vector, FUNCTION = vector_lt,
	COMMUTATOR = >, NEGATOR = >=,
	RESTRICT = scalarltsel, JOIN = scalarltjoinsel
);

COMMENT ON OPERATOR < (vector, vector) IS 'less than';

CREATE OPERATOR <= (
	LEFTARG = vector, RIGHTARG = vector, FUNCTION = vector_le,
	COMMUTATOR = >=, NEGATOR = >,
	RESTRICT = scalarlesel, JOIN = scalarlejoinsel
);

COMMENT ON OPERATOR <= (vector, vector) IS 'less than or equal';

CREATE OPERATOR = (
	LEFTARG = vector, RIGHTARG = vector, FUNCTION = vector_eq,
	COMMUTATOR = =, NEGATOR = <>,
	RESTRICT = eqsel, JOIN = eqjoinsel
);

COMMENT ON OPERATOR = (vector, vector) IS 'equal';

CREATE OPERATOR <> (
	LEFTARG = vector, RIGHTARG = vector, FUNCTION = vector_ne,
	COMMUTATOR = <>, NEGATOR = =,
	RESTRICT = neqsel, JOIN = neqjoinsel
);

COMMENT ON OPERATOR <> (vector, vector) IS 'not equal';

CREATE OPERATOR >= (
	LEFTARG = vector, RIGHTARG = vector, FUNCTION = vector_ge,
	COMMUTATOR = <=, NEGATOR = <,
	RESTRICT = scalargesel, JOIN = scalargejoinsel
);

COMMENT ON OPERATOR >= (vector, vector) IS 'greater than or equal';

CREATE OPERATOR > (
	LEFTARG = vector, RIGHTARG = vector, FUNCTION = vector_gt,
	COMMUTATOR = <, NEGATOR = <=,
	RESTRICT = scalargtsel, JOIN = scalargtjoinsel
);

COMMENT ON OPERATOR > (vector, vector) IS 'greater than';

-- Section 6: btree operator class ------------------------------------------------------------------------------------

CREATE OPERATOR CLASS vector_ops
	DEFAULT FOR TYPE vector USING btree AS
	OPERATOR 1 <,
	OPERATOR 2 <=,
	OPERATOR 3 =,
	OPERATOR 4 >=,
	OPERATOR 5 >,
	FUNCTION 1 vector_cmp(vector, vector);

-- Section 7: type halfvec ---------------------------------------------------------------------------------------------

CREATE TYPE halfvec;

CREATE FUNCTION halfvec_in(cstring, oid, integer) RETURNS halfvec
	AS 'MODULE_PATHNAME', 'tandem_halfvec_in' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION halfvec_in(cstring, oid, integer) IS 'I/O';

CREATE FUNCTION halfvec_out(halfvec) RETURNS cstring
	AS 'MODULE_PATHNAME', 'tandem_halfvec_out' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION halfvec_out(halfvec) IS 'I/O';

CREATE FUNCTION halfvec_typmod_in(cstring[]) RETURNS integer
	AS 'MODULE_PATHNAME', 'tandem_halfvec_typmod_in' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION halfvec_typmod_in(cstring[]) IS 'I/O typmod';

CREATE FUNCTION halfvec_recv(internal, oid, integer) RETURNS halfvec
	AS 'MODULE_PATHNAME', 'tandem_halfvec_recv' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION halfvec_recv(internal, oid, integer) IS 'I/O';

CREATE FUNCTION halfvec_send(halfvec) RETURNS bytea
	AS 'MODULE_PATHNAME', 'tandem_halfvec_send' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION halfvec_send(halfvec) IS 'I/O';

CREATE TYPE halfvec (
	INPUT     = halfvec_in,
	OUTPUT    = halfvec_out,
	TYPMOD_IN = halfvec_typmod_in,
	RECEIVE   = halfvec_recv,
	SEND      = halfvec_send,
	STORAGE   = external
);

COMMENT ON TYPE halfvec IS 'vector of half-precision numbers';

-- Tells the planner what a distance costs: it grows with the dimensions and includes detoasting.
CREATE FUNCTION tandem_halfvec_distance_support(internal) RETURNS internal
	AS 'MODULE_PATHNAME', 'tandem_halfvec_distance_support' LANGUAGE C STRICT PARALLEL SAFE;

COMMENT ON FUNCTION tandem_halfvec_distance_support(internal) IS 'planner support for distance functions';

CREATE FUNCTION l2_distance(halfvec, halfvec) RETURNS float8
	AS 'MODULE_PATHNAME', 'tandem_halfvec_l2_distance' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	SUPPORT tandem_halfvec_distance_support;

COMMENT ON FUNCTION l2_distance(halfvec, halfvec) IS 'Euclidean distance';

CREATE FUNCTION inner_product(halfvec, halfvec) RETURNS float8
	AS 'MODULE_PATHNAME', 'tandem_halfvec_inner_product' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	SUPPORT tandem_halfvec_distance_support;

COMMENT ON FUNCTION inner_product(halfvec, halfvec) IS 'inner product';

CREATE FUNCTION cosine_distance(halfvec, halfvec) RETURNS float8
	AS 'MODULE_PATHNAME', 'tandem_halfvec_cosine_distance' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	SUPPORT tandem_halfvec_distance_support;

COMMENT ON FUNCTION cosine_distance(halfvec, halfvec) IS 'cosine distance';

CREATE FUNCTION l1_distance(halfvec, halfvec) RETURNS float8
	AS 'MODULE_PATHNAME', 'tandem_halfvec_l1_distance' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	SUPPORT tandem_halfvec_distance_support;

COMMENT ON FUNCTION l1_distance(halfvec, halfvec) IS 'taxicab distance';

CREATE FUNCTION vector_dims(halfvec) RETURNS integer
	AS 'MODULE_PATHNAME', 'tandem_halfvec_dims' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION vector_dims(halfvec) IS 'number of dimensions';

CREATE FUNCTION l2_norm(halfvec) RETURNS float8
	AS 'MODULE_PATHNAME', 'tandem_halfvec_norm' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION l2_norm(halfvec) IS 'Euclidean norm';

CREATE FUNCTION l2_normalize(halfvec) RETURNS halfvec
	AS 'MODULE_PATHNAME', 'tandem_halfvec_l2_normalize' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION l2_normalize(halfvec) IS 'scaled to Euclidean norm 1';

CREATE FUNCTION binary_quantize(halfvec) RETURNS bit
	AS 'MODULE_PATHNAME', 'tandem_halfvec_binary_quantize' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION binary_quantize(halfvec) IS 'one bit per element, set where it is positive';

CREATE FUNCTION subvector(halfvec, integer, integer) RETURNS halfvec
	AS 'MODULE_PATHNAME', 'tandem_halfvec_subvector' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION subvector(halfvec, integer, integer) IS 'part of a vector: start (from 1), count';

-- The functions below implement operators, aggregates and index support.

CREATE FUNCTION halfvec_add(halfvec, halfvec) RETURNS halfvec
	AS 'MODULE_PATHNAME', 'tandem_halfvec_add' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION halfvec_add(halfvec, halfvec) IS 'implementation of + operator';

CREATE FUNCTION halfvec_sub(halfvec, halfvec) RETURNS halfvec
	AS 'MODULE_PATHNAME', 'tandem_halfvec_sub' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION halfvec_sub(halfvec, halfvec) IS 'implementation of - operator';

CREATE FUNCTION halfvec_mul(halfvec, halfvec) RETURNS halfvec
	AS 'MODULE_PATHNAME', 'tandem_halfvec_mul' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION halfvec_mul(halfvec, halfvec) IS 'implementation of * operator';

CREATE FUNCTION halfvec_concat(halfvec, halfvec) RETURNS halfvec
	AS 'MODULE_PATHNAME', 'tandem_halfvec_concat' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION halfvec_concat(halfvec, halfvec) IS 'implementation of || operator';

CREATE FUNCTION halfvec_lt(halfvec, halfvec) RETURNS boolean
	AS 'MODULE_PATHNAME', 'tandem_halfvec_lt' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION halfvec_lt(halfvec, halfvec) IS 'implementation of < operator';

CREATE FUNCTION halfvec_le(halfvec, halfvec) RETURNS boolean
	AS 'MODULE_PATHNAME', 'tandem_halfvec_le' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION halfvec_le(halfvec, halfvec) IS 'implementation of <= operator';

CREATE FUNCTION halfvec_eq(halfvec, halfvec) RETURNS boolean
	AS 'MODULE_PATHNAME', 'tandem_halfvec_eq' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION halfvec_eq(halfvec, halfvec) IS 'implementation of = operator';

CREATE FUNCTION halfvec_ne(halfvec, halfvec) RETURNS boolean
	AS 'MODULE_PATHNAME', 'tandem_halfvec_ne' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION halfvec_ne(halfvec, halfvec) IS 'implementation of <> operator';

CREATE FUNCTION halfvec_ge(halfvec, halfvec) RETURNS boolean
	AS 'MODULE_PATHNAME', 'tandem_halfvec_ge' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION halfvec_ge(halfvec, halfvec) IS 'implementation of >= operator';

CREATE FUNCTION halfvec_gt(halfvec, halfvec) RETURNS boolean
	AS 'MODULE_PATHNAME', 'tandem_halfvec_gt' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION halfvec_gt(halfvec, halfvec) IS 'implementation of > operator';

CREATE FUNCTION halfvec_cmp(halfvec, halfvec) RETURNS integer
	AS 'MODULE_PATHNAME', 'tandem_halfvec_cmp' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION halfvec_cmp(halfvec, halfvec) IS 'less-equal-greater';

CREATE FUNCTION halfvec_l2_squared_distance(halfvec, halfvec) RETURNS float8
	AS 'MODULE_PATHNAME', 'tandem_halfvec_l2_squared_distance' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	SUPPORT tandem_halfvec_distance_support;

COMMENT ON FUNCTION halfvec_l2_squared_distance(halfvec, halfvec) IS 'squared Euclidean distance';

CREATE FUNCTION halfvec_negative_inner_product(halfvec, halfvec) RETURNS float8
	AS 'MODULE_PATHNAME', 'tandem_halfvec_negative_inner_product' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	SUPPORT tandem_halfvec_distance_support;

COMMENT ON FUNCTION halfvec_negative_inner_product(halfvec, halfvec) IS 'implementation of <#> operator';

CREATE FUNCTION halfvec_spherical_distance(halfvec, halfvec) RETURNS float8
	AS 'MODULE_PATHNAME', 'tandem_halfvec_spherical_distance' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	SUPPORT tandem_halfvec_distance_support;

COMMENT ON FUNCTION halfvec_spherical_distance(halfvec, halfvec) IS 'angle between unit halfvecs as a fraction of pi';

CREATE FUNCTION halfvec_accum(double precision[], halfvec) RETURNS double precision[]
	AS 'MODULE_PATHNAME', 'tandem_halfvec_accum' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION halfvec_accum(double precision[], halfvec) IS 'aggregate transition function';

CREATE FUNCTION halfvec_avg(double precision[]) RETURNS halfvec
	AS 'MODULE_PATHNAME', 'tandem_halfvec_avg' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION halfvec_avg(double precision[]) IS 'aggregate final function';

CREATE FUNCTION halfvec_combine(double precision[], double precision[]) RETURNS double precision[]
	AS 'MODULE_PATHNAME', 'tandem_vector_combine' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION halfvec_combine(double precision[], double precision[]) IS 'aggregate combine function';

CREATE AGGREGATE avg(halfvec) (
	SFUNC = halfvec_accum,
	STYPE = double precision[],
	FINALFUNC = halfvec_avg,
	COMBINEFUNC = halfvec_combine,
	INITCOND = '{0}',
	PARALLEL = SAFE
);

COMMENT ON AGGREGATE avg(halfvec) IS 'element-wise average of all vectors';

CREATE AGGREGATE sum(halfvec) (
	SFUNC = halfvec_add,
	STYPE = halfvec,
	COMBINEFUNC = halfvec_add,
	PARALLEL = SAFE
);

COMMENT ON AGGREGATE sum(halfvec) IS 'element-wise sum of all vectors';

CREATE FUNCTION halfvec(halfvec, integer, boolean) RETURNS halfvec
	AS 'MODULE_PATHNAME', 'tandem_halfvec' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	SUPPORT tandem_typmod_support;

COMMENT ON FUNCTION halfvec(halfvec, integer, boolean) IS 'check the number of dimensions';

CREATE FUNCTION array_to_halfvec(integer[], integer, boolean) RETURNS halfvec
	AS 'MODULE_PATHNAME', 'tandem_array_to_halfvec' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION array_to_halfvec(integer[], integer, boolean) IS 'convert integer array to halfvec';

CREATE FUNCTION array_to_halfvec(real[], integer, boolean) RETURNS halfvec
	AS 'MODULE_PATHNAME', 'tandem_array_to_halfvec' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION array_to_halfvec(real[], integer, boolean) IS 'convert real array to halfvec';

CREATE FUNCTION array_to_halfvec(double precision[], integer, boolean) RETURNS halfvec
	AS 'MODULE_PATHNAME', 'tandem_array_to_halfvec' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION array_to_halfvec(double precision[], integer, boolean) IS 'convert double precision array to halfvec';

CREATE FUNCTION array_to_halfvec(numeric[], integer, boolean) RETURNS halfvec
	AS 'MODULE_PATHNAME', 'tandem_array_to_halfvec' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION array_to_halfvec(numeric[], integer, boolean) IS 'convert numeric array to halfvec';

CREATE FUNCTION halfvec_to_float4(halfvec, integer, boolean) RETURNS real[]
	AS 'MODULE_PATHNAME', 'tandem_halfvec_to_float4' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION halfvec_to_float4(halfvec, integer, boolean) IS 'convert halfvec to real array';

CREATE FUNCTION vector_to_halfvec(vector, integer, boolean) RETURNS halfvec
	AS 'MODULE_PATHNAME', 'tandem_vector_to_halfvec' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION vector_to_halfvec(vector, integer, boolean) IS 'convert vector to halfvec';

CREATE FUNCTION halfvec_to_vector(halfvec, integer, boolean) RETURNS vector
	AS 'MODULE_PATHNAME', 'tandem_halfvec_to_vector' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION halfvec_to_vector(halfvec, integer, boolean) IS 'convert halfvec to vector';

CREATE CAST (halfvec AS halfvec)
	WITH FUNCTION halfvec(halfvec, integer, boolean) AS IMPLICIT;

CREATE CAST (halfvec AS real[])
	WITH FUNCTION halfvec_to_float4(halfvec, integer, boolean) AS ASSIGNMENT;

CREATE CAST (vector AS halfvec)
	WITH FUNCTION vector_to_halfvec(vector, integer, boolean) AS IMPLICIT;

CREATE CAST (halfvec AS vector)
	WITH FUNCTION halfvec_to_vector(halfvec, integer, boolean) AS ASSIGNMENT;

CREATE CAST (integer[] AS halfvec)
	WITH FUNCTION array_to_halfvec(integer[], integer, boolean) AS ASSIGNMENT;

CREATE CAST (real[] AS halfvec)
	WITH FUNCTION array_to_halfvec(real[], integer, boolean) AS ASSIGNMENT;

CREATE CAST (double precision[] AS halfvec)
	WITH FUNCTION array_to_halfvec(double precision[], integer, boolean) AS ASSIGNMENT;

CREATE CAST (numeric[] AS halfvec)
	WITH FUNCTION array_to_halfvec(numeric[], integer, boolean) AS ASSIGNMENT;

CREATE OPERATOR <-> (
	LEFTARG = halfvec, RIGHTARG = halfvec, FUNCTION = l2_distance,
	COMMUTATOR = <->
);

COMMENT ON OPERATOR <-> (halfvec, halfvec) IS 'Euclidean distance';

CREATE OPERATOR <#> (
	LEFTARG = halfvec, RIGHTARG = halfvec, FUNCTION = halfvec_negative_inner_product,
	COMMUTATOR = <#>
);

COMMENT ON OPERATOR <#> (halfvec, halfvec) IS 'negative inner product';

CREATE OPERATOR <=> (
	LEFTARG = halfvec, RIGHTARG = halfvec, FUNCTION = cosine_distance,
	COMMUTATOR = <=>
);

COMMENT ON OPERATOR <=> (halfvec, halfvec) IS 'cosine distance';

CREATE OPERATOR <+> (
	LEFTARG = halfvec, RIGHTARG = halfvec, FUNCTION = l1_distance,
	COMMUTATOR = <+>
);

COMMENT ON OPERATOR <+> (halfvec, halfvec) IS 'taxicab distance';

CREATE OPERATOR + (
	LEFTARG = halfvec, RIGHTARG = halfvec, FUNCTION = halfvec_add,
	COMMUTATOR = +
);

COMMENT ON OPERATOR + (halfvec, halfvec) IS 'add';

CREATE OPERATOR - (
	LEFTARG = halfvec, RIGHTARG = halfvec, FUNCTION = halfvec_sub
);

COMMENT ON OPERATOR - (halfvec, halfvec) IS 'subtract';

CREATE OPERATOR * (
	LEFTARG = halfvec, RIGHTARG = halfvec, FUNCTION = halfvec_mul,
	COMMUTATOR = *
);

COMMENT ON OPERATOR * (halfvec, halfvec) IS 'multiply element by element';

CREATE OPERATOR || (
	LEFTARG = halfvec, RIGHTARG = halfvec, FUNCTION = halfvec_concat
);

COMMENT ON OPERATOR || (halfvec, halfvec) IS 'concatenate';

CREATE OPERATOR < (
	LEFTARG = halfvec, RIGHTARG = halfvec, FUNCTION = halfvec_lt,
	COMMUTATOR = >, NEGATOR = >=,
	RESTRICT = scalarltsel, JOIN = scalarltjoinsel
);

COMMENT ON OPERATOR < (halfvec, halfvec) IS 'less than';

CREATE OPERATOR <= (
	LEFTARG = halfvec, RIGHTARG = halfvec, FUNCTION = halfvec_le,
	COMMUTATOR = >=, NEGATOR = >,
	RESTRICT = scalarlesel, JOIN = scalarlejoinsel
);

COMMENT ON OPERATOR <= (halfvec, halfvec) IS 'less than or equal';

CREATE OPERATOR = (
	LEFTARG = halfvec, RIGHTARG = halfvec, FUNCTION = halfvec_eq,
	COMMUTATOR = =, NEGATOR = <>,
	RESTRICT = eqsel, JOIN = eqjoinsel
);

COMMENT ON OPERATOR = (halfvec, halfvec) IS 'equal';

CREATE OPERATOR <> (
	LEFTARG = halfvec, RIGHTARG = halfvec, FUNCTION = halfvec_ne,
	COMMUTATOR = <>, NEGATOR = =,
	RESTRICT = neqsel, JOIN = neqjoinsel
);

COMMENT ON OPERATOR <> (halfvec, halfvec) IS 'not equal';

CREATE OPERATOR >= (
	LEFTARG = halfvec, RIGHTARG = halfvec, FUNCTION = halfvec_ge,
	COMMUTATOR = <=, NEGATOR = <,
	RESTRICT = scalargesel, JOIN = scalargejoinsel
);

COMMENT ON OPERATOR >= (halfvec, halfvec) IS 'greater than or equal';

CREATE OPERATOR > (
	LEFTARG = halfvec, RIGHTARG = halfvec, FUNCTION = halfvec_gt,
	COMMUTATOR = <, NEGATOR = <=,
	RESTRICT = scalargtsel, JOIN = scalargtjoinsel
);

COMMENT ON OPERATOR > (halfvec, halfvec) IS 'greater than';

CREATE OPERATOR CLASS halfvec_ops
	DEFAULT FOR TYPE halfvec USING btree AS
	OPERATOR 1 <,
	OPERATOR 2 <=,
	OPERATOR 3 =,
	OPERATOR 4 >=,
	OPERATOR 5 >,
	FUNCTION 1 halfvec_cmp(halfvec, halfvec);

-- Section 8: type sparsevec -------------------------------------------------------------------------------------------

CREATE TYPE sparsevec;

CREATE FUNCTION sparsevec_in(cstring, oid, integer) RETURNS sparsevec
	AS 'MODULE_PATHNAME', 'tandem_sparsevec_in' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION sparsevec_in(cstring, oid, integer) IS 'I/O';

CREATE FUNCTION sparsevec_out(sparsevec) RETURNS cstring
	AS 'MODULE_PATHNAME', 'tandem_sparsevec_out' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION sparsevec_out(sparsevec) IS 'I/O';

CREATE FUNCTION sparsevec_typmod_in(cstring[]) RETURNS integer
	AS 'MODULE_PATHNAME', 'tandem_sparsevec_typmod_in' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION sparsevec_typmod_in(cstring[]) IS 'I/O typmod';

CREATE FUNCTION sparsevec_recv(internal, oid, integer) RETURNS sparsevec
	AS 'MODULE_PATHNAME', 'tandem_sparsevec_recv' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION sparsevec_recv(internal, oid, integer) IS 'I/O';

CREATE FUNCTION sparsevec_send(sparsevec) RETURNS bytea
	AS 'MODULE_PATHNAME', 'tandem_sparsevec_send' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION sparsevec_send(sparsevec) IS 'I/O';

CREATE TYPE sparsevec (
	INPUT     = sparsevec_in,
	OUTPUT    = sparsevec_out,
	TYPMOD_IN = sparsevec_typmod_in,
	RECEIVE   = sparsevec_recv,
	SEND      = sparsevec_send,
	STORAGE   = external
);

COMMENT ON TYPE sparsevec IS 'vector of which only the elements that are not zero are stored';

CREATE FUNCTION l2_distance(sparsevec, sparsevec) RETURNS float8
	AS 'MODULE_PATHNAME', 'tandem_sparsevec_l2_distance' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION l2_distance(sparsevec, sparsevec) IS 'Euclidean distance';

CREATE FUNCTION inner_product(sparsevec, sparsevec) RETURNS float8
	AS 'MODULE_PATHNAME', 'tandem_sparsevec_inner_product' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION inner_product(sparsevec, sparsevec) IS 'inner product';

CREATE FUNCTION cosine_distance(sparsevec, sparsevec) RETURNS float8
	AS 'MODULE_PATHNAME', 'tandem_sparsevec_cosine_distance' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION cosine_distance(sparsevec, sparsevec) IS 'cosine distance';

CREATE FUNCTION l1_distance(sparsevec, sparsevec) RETURNS float8
	AS 'MODULE_PATHNAME', 'tandem_sparsevec_l1_distance' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION l1_distance(sparsevec, sparsevec) IS 'taxicab distance';

CREATE FUNCTION l2_norm(sparsevec) RETURNS float8
	AS 'MODULE_PATHNAME', 'tandem_sparsevec_l2_norm' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION l2_norm(sparsevec) IS 'Euclidean norm';

CREATE FUNCTION l2_normalize(sparsevec) RETURNS sparsevec
	AS 'MODULE_PATHNAME', 'tandem_sparsevec_l2_normalize' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION l2_normalize(sparsevec) IS 'scaled to Euclidean norm 1';

-- The functions below implement operators and index support.

CREATE FUNCTION sparsevec_lt(sparsevec, sparsevec) RETURNS boolean
	AS 'MODULE_PATHNAME', 'tandem_sparsevec_lt' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION sparsevec_lt(sparsevec, sparsevec) IS 'implementation of < operator';

CREATE FUNCTION sparsevec_le(sparsevec, sparsevec) RETURNS boolean
	AS 'MODULE_PATHNAME', 'tandem_sparsevec_le' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION sparsevec_le(sparsevec, sparsevec) IS 'implementation of <= operator';

CREATE FUNCTION sparsevec_eq(sparsevec, sparsevec) RETURNS boolean
	AS 'MODULE_PATHNAME', 'tandem_sparsevec_eq' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION sparsevec_eq(sparsevec, sparsevec) IS 'implementation of = operator';

CREATE FUNCTION sparsevec_ne(sparsevec, sparsevec) RETURNS boolean
	AS 'MODULE_PATHNAME', 'tandem_sparsevec_ne' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION sparsevec_ne(sparsevec, sparsevec) IS 'implementation of <> operator';

CREATE FUNCTION sparsevec_ge(sparsevec, sparsevec) RETURNS boolean
	AS 'MODULE_PATHNAME', 'tandem_sparsevec_ge' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION sparsevec_ge(sparsevec, sparsevec) IS 'implementation of >= operator';

CREATE FUNCTION sparsevec_gt(sparsevec, sparsevec) RETURNS boolean
	AS 'MODULE_PATHNAME', 'tandem_sparsevec_gt' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION sparsevec_gt(sparsevec, sparsevec) IS 'implementation of > operator';

CREATE FUNCTION sparsevec_cmp(sparsevec, sparsevec) RETURNS integer
	AS 'MODULE_PATHNAME', 'tandem_sparsevec_cmp' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION sparsevec_cmp(sparsevec, sparsevec) IS 'less-equal-greater';

CREATE FUNCTION sparsevec_l2_squared_distance(sparsevec, sparsevec) RETURNS float8
	AS 'MODULE_PATHNAME', 'tandem_sparsevec_l2_squared_distance' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION sparsevec_l2_squared_distance(sparsevec, sparsevec) IS 'squared Euclidean distance';

CREATE FUNCTION sparsevec_negative_inner_product(sparsevec, sparsevec) RETURNS float8
	AS 'MODULE_PATHNAME', 'tandem_sparsevec_negative_inner_product' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION sparsevec_negative_inner_product(sparsevec, sparsevec) IS 'implementation of <#> operator';

CREATE FUNCTION sparsevec(sparsevec, integer, boolean) RETURNS sparsevec
	AS 'MODULE_PATHNAME', 'tandem_sparsevec' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	SUPPORT tandem_typmod_support;

COMMENT ON FUNCTION sparsevec(sparsevec, integer, boolean) IS 'check the number of dimensions';

CREATE FUNCTION array_to_sparsevec(integer[], integer, boolean) RETURNS sparsevec
	AS 'MODULE_PATHNAME', 'tandem_array_to_sparsevec' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION array_to_sparsevec(integer[], integer, boolean) IS 'convert integer array to sparsevec';

CREATE FUNCTION array_to_sparsevec(real[], integer, boolean) RETURNS sparsevec
	AS 'MODULE_PATHNAME', 'tandem_array_to_sparsevec' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION array_to_sparsevec(real[], integer, boolean) IS 'convert real array to sparsevec';

CREATE FUNCTION array_to_sparsevec(double precision[], integer, boolean) RETURNS sparsevec
	AS 'MODULE_PATHNAME', 'tandem_array_to_sparsevec' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION array_to_sparsevec(double precision[], integer, boolean) IS 'convert double precision array to sparsevec';

CREATE FUNCTION array_to_sparsevec(numeric[], integer, boolean) RETURNS sparsevec
	AS 'MODULE_PATHNAME', 'tandem_array_to_sparsevec' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION array_to_sparsevec(numeric[], integer, boolean) IS 'convert numeric array to sparsevec';

CREATE FUNCTION vector_to_sparsevec(vector, integer, boolean) RETURNS sparsevec
	AS 'MODULE_PATHNAME', 'tandem_vector_to_sparsevec' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION vector_to_sparsevec(vector, integer, boolean) IS 'convert vector to sparsevec';

CREATE FUNCTION halfvec_to_sparsevec(halfvec, integer, boolean) RETURNS sparsevec
	AS 'MODULE_PATHNAME', 'tandem_halfvec_to_sparsevec' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION halfvec_to_sparsevec(halfvec, integer, boolean) IS 'convert halfvec to sparsevec';

CREATE FUNCTION sparsevec_to_vector(sparsevec, integer, boolean) RETURNS vector
	AS 'MODULE_PATHNAME', 'tandem_sparsevec_to_vector' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION sparsevec_to_vector(sparsevec, integer, boolean) IS 'convert sparsevec to vector';

CREATE FUNCTION sparsevec_to_halfvec(sparsevec, integer, boolean) RETURNS halfvec
	AS 'MODULE_PATHNAME', 'tandem_sparsevec_to_halfvec' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION sparsevec_to_halfvec(sparsevec, integer, boolean) IS 'convert sparsevec to halfvec';

CREATE CAST (sparsevec AS sparsevec)
	WITH FUNCTION sparsevec(sparsevec, integer, boolean) AS IMPLICIT;

CREATE CAST (integer[] AS sparsevec)
	WITH FUNCTION array_to_sparsevec(integer[], integer, boolean) AS ASSIGNMENT;

CREATE CAST (real[] AS sparsevec)
	WITH FUNCTION array_to_sparsevec(real[], integer, boolean) AS ASSIGNMENT;

CREATE CAST (double precision[] AS sparsevec)
	WITH FUNCTION array_to_sparsevec(double precision[], integer, boolean) AS ASSIGNMENT;

CREATE CAST (numeric[] AS sparsevec)
	WITH FUNCTION array_to_sparsevec(numeric[], integer, boolean) AS ASSIGNMENT;

CREATE CAST (vector AS sparsevec)
	WITH FUNCTION vector_to_sparsevec(vector, integer, boolean) AS IMPLICIT;

CREATE CAST (halfvec AS sparsevec)
	WITH FUNCTION halfvec_to_sparsevec(halfvec, integer, boolean) AS IMPLICIT;

CREATE CAST (sparsevec AS vector)
	WITH FUNCTION sparsevec_to_vector(sparsevec, integer, boolean) AS ASSIGNMENT;

CREATE CAST (sparsevec AS halfvec)
	WITH FUNCTION sparsevec_to_halfvec(sparsevec, integer, boolean) AS ASSIGNMENT;

CREATE OPERATOR <-> (
	LEFTARG = sparsevec, RIGHTARG = sparsevec, FUNCTION = l2_distance,
	COMMUTATOR = <->
);

COMMENT ON OPERATOR <-> (sparsevec, sparsevec) IS 'Euclidean distance';

CREATE OPERATOR <#> (
	LEFTARG = sparsevec, RIGHTARG = sparsevec, FUNCTION = sparsevec_negative_inner_product,
	COMMUTATOR = <#>
);

COMMENT ON OPERATOR <#> (sparsevec, sparsevec) IS 'negative inner product';

CREATE OPERATOR <=> (
	LEFTARG = sparsevec, RIGHTARG = sparsevec, FUNCTION = cosine_distance,
	COMMUTATOR = <=>
);

COMMENT ON OPERATOR <=> (sparsevec, sparsevec) IS 'cosine distance';

CREATE OPERATOR <+> (
	LEFTARG = sparsevec, RIGHTARG = sparsevec, FUNCTION = l1_distance,
	COMMUTATOR = <+>
);

COMMENT ON OPERATOR <+> (sparsevec, sparsevec) IS 'taxicab distance';

CREATE OPERATOR < (
	LEFTARG = sparsevec, RIGHTARG = sparsevec, FUNCTION = sparsevec_lt,
	COMMUTATOR = >, NEGATOR = >=,
	RESTRICT = scalarltsel, JOIN = scalarltjoinsel
);

COMMENT ON OPERATOR < (sparsevec, sparsevec) IS 'less than';

CREATE OPERATOR <= (
	LEFTARG = sparsevec, RIGHTARG = sparsevec, FUNCTION = sparsevec_le,
	COMMUTATOR = >=, NEGATOR = >,
	RESTRICT = scalarlesel, JOIN = scalarlejoinsel
);

COMMENT ON OPERATOR <= (sparsevec, sparsevec) IS 'less than or equal';

CREATE OPERATOR = (
	LEFTARG = sparsevec, RIGHTARG = sparsevec, FUNCTION = sparsevec_eq,
	COMMUTATOR = =, NEGATOR = <>,
	RESTRICT = eqsel, JOIN = eqjoinsel
);

COMMENT ON OPERATOR = (sparsevec, sparsevec) IS 'equal';

CREATE OPERATOR <> (
	LEFTARG = sparsevec, RIGHTARG = sparsevec, FUNCTION = sparsevec_ne,
	COMMUTATOR = <>, NEGATOR = =,
	RESTRICT = neqsel, JOIN = neqjoinsel
);

COMMENT ON OPERATOR <> (sparsevec, sparsevec) IS 'not equal';

CREATE OPERATOR >= (
	LEFTARG = sparsevec, RIGHTARG = sparsevec, FUNCTION = sparsevec_ge,
	COMMUTATOR = <=, NEGATOR = <,
	RESTRICT = scalargesel, JOIN = scalargejoinsel
);

COMMENT ON OPERATOR >= (sparsevec, sparsevec) IS 'greater than or equal';

CREATE OPERATOR > (
	LEFTARG = sparsevec, RIGHTARG = sparsevec, FUNCTION = sparsevec_gt,
	COMMUTATOR = <, NEGATOR = <=,
	RESTRICT = scalargtsel, JOIN = scalargtjoinsel
);

COMMENT ON OPERATOR > (sparsevec, sparsevec) IS 'greater than';

CREATE OPERATOR CLASS sparsevec_ops
	DEFAULT FOR TYPE sparsevec USING btree AS
	OPERATOR 1 <,
	OPERATOR 2 <=,
	OPERATOR 3 =,
	OPERATOR 4 >=,
	OPERATOR 5 >,
	FUNCTION 1 sparsevec_cmp(sparsevec, sparsevec);

-- Section 9: distances of bit strings ---------------------------------------------------------------------------------

CREATE FUNCTION tandem_bit_distance_support(internal) RETURNS internal
	AS 'MODULE_PATHNAME', 'tandem_bit_distance_support' LANGUAGE C STRICT PARALLEL SAFE;

COMMENT ON FUNCTION tandem_bit_distance_support(internal) IS 'planner support for distance functions';

CREATE FUNCTION hamming_distance(bit, bit) RETURNS float8
	AS 'MODULE_PATHNAME', 'tandem_hamming_distance' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	SUPPORT tandem_bit_distance_support;

COMMENT ON FUNCTION hamming_distance(bit, bit) IS 'Hamming distance';

CREATE FUNCTION jaccard_distance(bit, bit) RETURNS float8
	AS 'MODULE_PATHNAME', 'tandem_jaccard_distance' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	SUPPORT tandem_bit_distance_support;

COMMENT ON FUNCTION jaccard_distance(bit, bit) IS 'Jaccard distance';

CREATE OPERATOR <~> (
	LEFTARG = bit, RIGHTARG = bit, FUNCTION = hamming_distance,
	COMMUTATOR = <~>
);

COMMENT ON OPERATOR <~> (bit, bit) IS 'Hamming distance';

CREATE OPERATOR <%> (
	LEFTARG = bit, RIGHTARG = bit, FUNCTION = jaccard_distance,
	COMMUTATOR = <%>
);

COMMENT ON OPERATOR <%> (bit, bit) IS 'Jaccard distance';

-- Section 10: access method -------------------------------------------------------------------------------------------

CREATE FUNCTION tandem_handler(internal) RETURNS index_am_handler
	AS 'MODULE_PATHNAME' LANGUAGE C;

COMMENT ON FUNCTION tandem_handler(internal) IS 'tandem index access method handler';

CREATE ACCESS METHOD tandem TYPE INDEX HANDLER tandem_handler;

COMMENT ON ACCESS METHOD tandem IS 'vector similarity index: append-only flat relation and graph segments';

CREATE FUNCTION tandem_vector_l2_metric(internal) RETURNS internal
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION tandem_vector_l2_metric(internal) IS 'operator class support: Euclidean distance';

CREATE FUNCTION tandem_vector_ip_metric(internal) RETURNS internal
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION tandem_vector_ip_metric(internal) IS 'operator class support: negative inner product';

CREATE FUNCTION tandem_vector_cosine_metric(internal) RETURNS internal
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION tandem_vector_cosine_metric(internal) IS 'operator class support: cosine distance';

CREATE FUNCTION tandem_vector_l1_metric(internal) RETURNS internal
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION tandem_vector_l1_metric(internal) IS 'operator class support: taxicab distance';

CREATE FUNCTION tandem_halfvec_l2_metric(internal) RETURNS internal
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION tandem_halfvec_l2_metric(internal) IS 'operator class support: Euclidean distance of halfvec';

CREATE FUNCTION tandem_halfvec_ip_metric(internal) RETURNS internal
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION tandem_halfvec_ip_metric(internal) IS 'operator class support: negative inner product of halfvec';

CREATE FUNCTION tandem_halfvec_cosine_metric(internal) RETURNS internal
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION tandem_halfvec_cosine_metric(internal) IS 'operator class support: cosine distance of halfvec';

CREATE FUNCTION tandem_halfvec_l1_metric(internal) RETURNS internal
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION tandem_halfvec_l1_metric(internal) IS 'operator class support: taxicab distance of halfvec';

CREATE FUNCTION tandem_sparsevec_l2_metric(internal) RETURNS internal
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION tandem_sparsevec_l2_metric(internal) IS 'operator class support: Euclidean distance of sparsevec';

CREATE FUNCTION tandem_sparsevec_ip_metric(internal) RETURNS internal
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION tandem_sparsevec_ip_metric(internal) IS 'operator class support: negative inner product of sparsevec';

CREATE FUNCTION tandem_sparsevec_cosine_metric(internal) RETURNS internal
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION tandem_sparsevec_cosine_metric(internal) IS 'operator class support: cosine distance of sparsevec';

CREATE FUNCTION tandem_sparsevec_l1_metric(internal) RETURNS internal
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION tandem_sparsevec_l1_metric(internal) IS 'operator class support: taxicab distance of sparsevec';

CREATE FUNCTION tandem_bit_hamming_metric(internal) RETURNS internal
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION tandem_bit_hamming_metric(internal) IS 'operator class support: Hamming distance';

CREATE FUNCTION tandem_bit_jaccard_metric(internal) RETURNS internal
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION tandem_bit_jaccard_metric(internal) IS 'operator class support: Jaccard distance';

CREATE OPERATOR CLASS vector_l2_ops
	FOR TYPE vector USING tandem AS
	OPERATOR 1 <-> (vector, vector) FOR ORDER BY float_ops,
	FUNCTION 1 tandem_vector_l2_metric(internal);

CREATE OPERATOR CLASS vector_ip_ops
	FOR TYPE vector USING tandem AS
	OPERATOR 1 <#> (vector, vector) FOR ORDER BY float_ops,
	FUNCTION 1 tandem_vector_ip_metric(internal);

CREATE OPERATOR CLASS vector_cosine_ops
	FOR TYPE vector USING tandem AS
	OPERATOR 1 <=> (vector, vector) FOR ORDER BY float_ops,
	FUNCTION 1 tandem_vector_cosine_metric(internal);

CREATE OPERATOR CLASS vector_l1_ops
	FOR TYPE vector USING tandem AS
	OPERATOR 1 <+> (vector, vector) FOR ORDER BY float_ops,
	FUNCTION 1 tandem_vector_l1_metric(internal);

CREATE OPERATOR CLASS halfvec_l2_ops
	FOR TYPE halfvec USING tandem AS
	OPERATOR 1 <-> (halfvec, halfvec) FOR ORDER BY float_ops,
	FUNCTION 1 tandem_halfvec_l2_metric(internal);

CREATE OPERATOR CLASS halfvec_ip_ops
	FOR TYPE halfvec USING tandem AS
	OPERATOR 1 <#> (halfvec, halfvec) FOR ORDER BY float_ops,
	FUNCTION 1 tandem_halfvec_ip_metric(internal);

CREATE OPERATOR CLASS halfvec_cosine_ops
	FOR TYPE halfvec USING tandem AS
	OPERATOR 1 <=> (halfvec, halfvec) FOR ORDER BY float_ops,
	FUNCTION 1 tandem_halfvec_cosine_metric(internal);

CREATE OPERATOR CLASS halfvec_l1_ops
	FOR TYPE halfvec USING tandem AS
	OPERATOR 1 <+> (halfvec, halfvec) FOR ORDER BY float_ops,
	FUNCTION 1 tandem_halfvec_l1_metric(internal);

CREATE OPERATOR CLASS sparsevec_l2_ops
	FOR TYPE sparsevec USING tandem AS
	OPERATOR 1 <-> (sparsevec, sparsevec) FOR ORDER BY float_ops,
	FUNCTION 1 tandem_sparsevec_l2_metric(internal);

CREATE OPERATOR CLASS sparsevec_ip_ops
	FOR TYPE sparsevec USING tandem AS
	OPERATOR 1 <#> (sparsevec, sparsevec) FOR ORDER BY float_ops,
	FUNCTION 1 tandem_sparsevec_ip_metric(internal);

CREATE OPERATOR CLASS sparsevec_cosine_ops
	FOR TYPE sparsevec USING tandem AS
	OPERATOR 1 <=> (sparsevec, sparsevec) FOR ORDER BY float_ops,
	FUNCTION 1 tandem_sparsevec_cosine_metric(internal);

CREATE OPERATOR CLASS sparsevec_l1_ops
	FOR TYPE sparsevec USING tandem AS
	OPERATOR 1 <+> (sparsevec, sparsevec) FOR ORDER BY float_ops,
	FUNCTION 1 tandem_sparsevec_l1_metric(internal);

CREATE OPERATOR CLASS bit_hamming_ops
	FOR TYPE bit USING tandem AS
	OPERATOR 1 <~> (bit, bit) FOR ORDER BY float_ops,
	FUNCTION 1 tandem_bit_hamming_metric(internal);

CREATE OPERATOR CLASS bit_jaccard_ops
	FOR TYPE bit USING tandem AS
	OPERATOR 1 <%> (bit, bit) FOR ORDER BY float_ops,
	FUNCTION 1 tandem_bit_jaccard_metric(internal);

-- Section 11: looking at an index -------------------------------------------------------------------------------------

CREATE FUNCTION tandem_verify(index regclass, heap_check boolean DEFAULT false,
		OUT block bigint, OUT problem text)
	RETURNS SETOF record
	AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED;

COMMENT ON FUNCTION tandem_verify(regclass, boolean) IS
	'walks every page of a tandem index and returns what is wrong; with heap_check compares it with the table';

CREATE FUNCTION tandem_rows(index regclass,
		OUT row_id bigint, OUT ctid tid, OUT dead boolean, OUT has_vector boolean)
	RETURNS SETOF record
	AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED;

COMMENT ON FUNCTION tandem_rows(regclass) IS 'row heads of a tandem index: heap TID and whether VACUUM marked it dead';

CREATE FUNCTION tandem_segments(index regclass,
		OUT segment_id bigint, OUT first_row bigint, OUT end_row bigint, OUT rows bigint, OUT nodes bigint,
		OUT bytes bigint, OUT m integer, OUT ef_construction integer, OUT codec text, OUT codec_reason text,
		OUT built_at timestamp with time zone)
	RETURNS SETOF record
	AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED;

COMMENT ON FUNCTION tandem_segments(regclass) IS
	'graph segments of a tandem index: row ids from first_row to before end_row, of which rows were alive at built_at; codec: what searches walk on, and why';

-- What the views show of one index; NULL, and no row, if it is locked or gone.

CREATE FUNCTION tandem_index_info(index regclass,
		OUT strategy text, OUT metric text, OUT dimensions integer, OUT rows bigint, OUT null_rows bigint,
		OUT dead_rows bigint, OUT indexed_rows bigint, OUT tail_rows bigint, OUT lag_seconds double precision,
		OUT segments bigint, OUT codec text, OUT codec_reason text, OUT head_bytes bigint, OUT vector_bytes bigint, OUT segment_bytes bigint,
		OUT packed_bytes bigint, OUT retired_bytes bigint, OUT free_bytes bigint, OUT total_bytes bigint, OUT memory_bytes bigint)
	RETURNS record
	AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED;

COMMENT ON FUNCTION tandem_index_info(regclass) IS 'one row of view tandem_index_stats';

CREATE FUNCTION tandem_build_info(index regclass,
		OUT pid integer, OUT phase text, OUT rows_total bigint, OUT rows_done bigint,
		OUT rows_per_second double precision, OUT estimated_seconds_left double precision,
		OUT started_at timestamp with time zone,
		OUT last_error text, OUT last_error_at timestamp with time zone)
	RETURNS SETOF record
	AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED ROWS 1;

COMMENT ON FUNCTION tandem_build_info(regclass) IS 'one row of view tandem_build_progress';

CREATE FUNCTION tandem_search_counts(
		OUT datid oid, OUT indexrelid oid, OUT searches bigint, OUT filtered_searches bigint, OUT filters_asked bigint,
		OUT reads bigint, OUT reads_from_pages bigint, OUT mean_search_ms double precision, OUT p99_search_ms double precision)
	RETURNS SETOF record
	AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED ROWS 10;

COMMENT ON FUNCTION tandem_search_counts() IS
	'how indexes were searched since the server started or tandem_reset_stats(): one''s own, or all for members of pg_read_all_stats';

CREATE VIEW tandem_index_stats AS
	SELECT n.nspname AS schemaname, t.relname AS tablename, c.relname AS indexname, c.oid AS indexrelid,
		i.strategy, i.metric, i.dimensions, i.rows, i.null_rows, i.dead_rows,
		i.indexed_rows, i.tail_rows, i.lag_seconds, i.segments, i.codec, i.codec_reason,
		i.head_bytes, i.vector_bytes, i.segment_bytes, i.packed_bytes, i.retired_bytes, i.free_bytes,
		i.total_bytes, i.memory_bytes,
		s.searches, s.filtered_searches, 1 - s.reads_from_pages / nullif(s.reads, 0)::double precision AS hit_rate,
		s.mean_search_ms, s.p99_search_ms
	FROM pg_catalog.pg_class c
		JOIN pg_catalog.pg_am a ON a.oid = c.relam
		JOIN pg_catalog.pg_index x ON x.indexrelid = c.oid
		JOIN pg_catalog.pg_class t ON t.oid = x.indrelid
		JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
		LEFT JOIN tandem_search_counts() s ON s.indexrelid = c.oid
			AND s.datid = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()),
		LATERAL tandem_index_info(c.oid) i
	WHERE a.amname = 'tandem' AND c.relkind = 'i';

COMMENT ON VIEW tandem_index_stats IS
	'rows, sizes and settings of tandem indexes; NULL while an index is locked';
COMMENT ON COLUMN tandem_index_stats.rows IS 'rows with a vector, dead ones included';
COMMENT ON COLUMN tandem_index_stats.null_rows IS 'rows whose vector is NULL, dead ones included';
COMMENT ON COLUMN tandem_index_stats.dead_rows IS 'rows that VACUUM has marked dead, as of the last one';
COMMENT ON COLUMN tandem_index_stats.indexed_rows IS 'rows that graphs cover';
COMMENT ON COLUMN tandem_index_stats.tail_rows IS
	'rows that wait for a graph and are scanned exactly until then; NULL with strategy flat';
COMMENT ON COLUMN tandem_index_stats.lag_seconds IS
	'how long the oldest of them has been waiting; NULL if not known: without preload, or since before the last restart';
COMMENT ON COLUMN tandem_index_stats.segments IS 'graphs; see tandem_segments()';
COMMENT ON COLUMN tandem_index_stats.codec IS 'what searches walk on in the graph that has the most rows';
COMMENT ON COLUMN tandem_index_stats.codec_reason IS 'why that was chosen when the graph was built';
COMMENT ON COLUMN tandem_index_stats.head_bytes IS 'heap TIDs and dead marks';
COMMENT ON COLUMN tandem_index_stats.vector_bytes IS 'full-precision vectors';
COMMENT ON COLUMN tandem_index_stats.segment_bytes IS 'graphs, with the codes they are searched on';
COMMENT ON COLUMN tandem_index_stats.packed_bytes IS
	'vectors of rows that are alive where most are dead; what is left of vector_bytes there is let go';
COMMENT ON COLUMN tandem_index_stats.retired_bytes IS
	'graphs that others have replaced, kept until no running query can need them';
COMMENT ON COLUMN tandem_index_stats.free_bytes IS 'room that the next rows and graphs take before the file grows';
COMMENT ON COLUMN tandem_index_stats.total_bytes IS 'the file';
COMMENT ON COLUMN tandem_index_stats.memory_bytes IS
	'what tandem.memory_budget holds of the graphs; NULL without that, and for temporary indexes';
COMMENT ON COLUMN tandem_index_stats.searches IS
	'since the server started or tandem_reset_stats(); this and what follows is shown to the owner of the index and to members of pg_read_all_stats';
COMMENT ON COLUMN tandem_index_stats.filtered_searches IS 'those that conditions on other columns steered';
COMMENT ON COLUMN tandem_index_stats.hit_rate IS 'the part of the codes compared that were in shared memory';
COMMENT ON COLUMN tandem_index_stats.mean_search_ms IS 'without what the rest of the query takes; of a sample of the searches';
COMMENT ON COLUMN tandem_index_stats.p99_search_ms IS 'the time that one in a hundred of these takes longer than, within an eighth';

CREATE VIEW tandem_build_progress AS
	SELECT b.pid, n.nspname AS schemaname, t.relname AS tablename, c.relname AS indexname, c.oid AS indexrelid,
		b.phase, b.rows_total, b.rows_done, b.rows_per_second, b.estimated_seconds_left, b.started_at,
		i.segments, b.last_error, b.last_error_at
	FROM pg_catalog.pg_class c
		JOIN pg_catalog.pg_am a ON a.oid = c.relam
		JOIN pg_catalog.pg_index x ON x.indexrelid = c.oid
		JOIN pg_catalog.pg_class t ON t.oid = x.indrelid
		JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace,
		LATERAL tandem_build_info(c.oid) b,
		LATERAL tandem_index_info(c.oid) i
	WHERE a.amname = 'tandem' AND c.relkind = 'i';

COMMENT ON VIEW tandem_build_progress IS
	'graphs being built in this database, and the last error of each index; needs shared_preload_libraries';
COMMENT ON COLUMN tandem_build_progress.pid IS 'who builds: a background worker or a session; NULL if nobody does now';
COMMENT ON COLUMN tandem_build_progress.rows_total IS 'rows of the graph being built';
COMMENT ON COLUMN tandem_build_progress.estimated_seconds_left IS 'at the rate since started_at';
COMMENT ON COLUMN tandem_build_progress.segments IS 'graphs that the index has now';
COMMENT ON COLUMN tandem_build_progress.last_error IS
	'since the server started; shown to the owner of the index and to members of pg_read_all_stats';

GRANT SELECT ON tandem_index_stats, tandem_build_progress TO PUBLIC;

-- Section 12: building graphs -----------------------------------------------------------------------------------------

-- Procedures: outside of a transaction block they hold no snapshot while they work and wait.

CREATE PROCEDURE tandem_build(index regclass)
	AS 'MODULE_PATHNAME', 'tandem_build' LANGUAGE C;

COMMENT ON PROCEDURE tandem_build(regclass) IS
	'builds graphs of all rows of a tandem index, or of all partitions of one, in this session';

CREATE PROCEDURE tandem_wait(index regclass, timeout interval DEFAULT NULL)
	AS 'MODULE_PATHNAME', 'tandem_wait' LANGUAGE C;

COMMENT ON PROCEDURE tandem_wait(regclass, interval) IS
	'waits until the background worker has built graphs of all rows that a tandem index has at the call';

-- Section 13: shared memory -------------------------------------------------------------------------------------------

-- A function: it writes nothing, so standbys have it, too.

CREATE FUNCTION tandem_prewarm(index regclass) RETURNS bigint
	AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;

COMMENT ON FUNCTION tandem_prewarm(regclass) IS
	'loads the graphs of a tandem index, or of all partitions of one, into shared memory; returns the bytes that are there then';

CREATE FUNCTION tandem_cached_segments(
		OUT kind text, OUT datid oid, OUT reltablespace oid, OUT relfilenode oid, OUT segment_id bigint,
		OUT chunks bigint, OUT cached_chunks bigint, OUT wanted_bytes bigint, OUT cached_bytes bigint,
		OUT loads bigint, OUT evictions bigint, OUT idle_seconds bigint, OUT load_us double precision, OUT uses double precision)
	RETURNS SETOF record
	AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED ROWS 100;

COMMENT ON FUNCTION tandem_cached_segments() IS
	'what shared memory holds of graph segments of all databases; empty without shared_preload_libraries';

CREATE FUNCTION tandem_memory_status(
		OUT budget_bytes bigint, OUT used_bytes bigint, OUT free_bytes bigint, OUT retired_bytes bigint)
	RETURNS record
	AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED;

COMMENT ON FUNCTION tandem_memory_status() IS
	'tandem.memory_budget: used by graphs and sets of rows, free, or retired, that is waiting for running searches; zeros without it';

CREATE FUNCTION tandem_filter_cache_status(
		OUT bytes_total bigint, OUT bytes_used bigint, OUT keys bigint, OUT sets bigint, OUT pinned bigint,
		OUT hits bigint, OUT misses bigint, OUT evictions bigint, OUT make_us double precision)
	RETURNS record
	AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED;

COMMENT ON FUNCTION tandem_filter_cache_status() IS
	'sets of rows of filters in tandem.memory_budget; zeros without it';

CREATE FUNCTION tandem_reset_stats(index regclass DEFAULT NULL) RETURNS void
	AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL RESTRICTED;

REVOKE ALL ON FUNCTION tandem_reset_stats(regclass) FROM PUBLIC;

COMMENT ON FUNCTION tandem_reset_stats(regclass) IS
	'forgets how an index was searched, or all indexes of this database and what tandem_filter_cache counts';

CREATE FUNCTION tandem_coordination_status(
		OUT mode text, OUT auto_balance boolean, OUT graph_share double precision, OUT goal_share double precision,
		OUT pattern text, OUT vector_only double precision, OUT hybrid double precision, OUT metadata_only double precision,
		OUT rebalances bigint, OUT moves bigint, OUT rebalanced_at timestamp with time zone,
		OUT moved_at timestamp with time zone, OUT moved_from double precision, OUT moved_for text,
		OUT budget_bytes bigint, OUT graph_bytes bigint, OUT graph_target_bytes bigint, OUT filter_bytes bigint,
		OUT filter_target_bytes bigint)
	RETURNS record
	AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED;

COMMENT ON FUNCTION tandem_coordination_status() IS 'the row of view tandem_coordination';

CREATE VIEW tandem_coordination AS
	SELECT s.mode, s.auto_balance, s.graph_share, s.goal_share, s.pattern, s.vector_only, s.hybrid, s.metadata_only,
		s.rebalances, s.moves, s.rebalanced_at, s.moved_at, s.moved_from, s.moved_for,
		s.budget_bytes, s.graph_bytes, s.graph_target_bytes, s.filter_bytes, s.filter_target_bytes,
		(s.graph_bytes + s.filter_bytes) / nullif(s.budget_bytes, 0)::double precision AS utilisation
	FROM tandem_coordination_status() s;

COMMENT ON VIEW tandem_coordination IS
	'how tandem.memory_budget is shared between graphs and sets of rows of filters, and why; needs shared_preload_libraries';
COMMENT ON COLUMN tandem_coordination.graph_share IS 'the part of the budget that graphs should have now';
COMMENT ON COLUMN tandem_coordination.goal_share IS 'where it goes, some of the way in each tandem.rebalance_interval';
COMMENT ON COLUMN tandem_coordination.pattern IS
	'vector_heavy, hybrid or metadata_heavy, by what most queries of late are; unknown while there are few';
COMMENT ON COLUMN tandem_coordination.vector_only IS 'part of the queries: searches without a filter';
COMMENT ON COLUMN tandem_coordination.hybrid IS 'part of the queries: searches with a filter';
COMMENT ON COLUMN tandem_coordination.metadata_only IS 'part of the queries: scans of other indexes on the same tables';
COMMENT ON COLUMN tandem_coordination.rebalances IS 'how often the shares were thought over since the server started';
COMMENT ON COLUMN tandem_coordination.moves IS 'how often they were changed';
COMMENT ON COLUMN tandem_coordination.moved_from IS 'graph_share before the last change';
COMMENT ON COLUMN tandem_coordination.moved_for IS 'the pattern that it was made for';
COMMENT ON COLUMN tandem_coordination.utilisation IS 'the part of the budget that is in use';

CREATE VIEW tandem_memory AS
	SELECT m.kind, d.datname, n.nspname AS schemaname, t.relname AS tablename, c.relname AS indexname, c.oid AS indexrelid,
		m.datid, m.relfilenode, m.segments, m.chunks, m.cached_chunks, m.wanted_bytes, m.cached_bytes,
		m.loads, m.evictions, m.idle_seconds,
		(SELECT b.graph_target_bytes FROM tandem_coordination_status() b) AS target_bytes,
		CASE WHEN m.kind = 'graph' THEN s.reads - s.reads_from_pages END AS hits,
		CASE WHEN m.kind = 'graph' THEN s.reads_from_pages END AS misses,
		m.reload_us
	FROM (SELECT s.kind, s.datid, s.reltablespace, s.relfilenode, pg_catalog.count(*) AS segments,
				pg_catalog.sum(s.chunks)::bigint AS chunks, pg_catalog.sum(s.cached_chunks)::bigint AS cached_chunks,
				pg_catalog.sum(s.wanted_bytes)::bigint AS wanted_bytes,
				pg_catalog.sum(s.cached_bytes)::bigint AS cached_bytes,
				pg_catalog.sum(s.loads)::bigint AS loads, pg_catalog.sum(s.evictions)::bigint AS evictions,
				pg_catalog.min(s.idle_seconds) AS idle_seconds,
				pg_catalog.sum(s.load_us * s.chunks) / nullif(pg_catalog.sum(s.chunks), 0) AS reload_us
			FROM tandem_cached_segments() s
			GROUP BY s.kind, s.datid, s.reltablespace, s.relfilenode) m
		LEFT JOIN pg_catalog.pg_database d ON d.oid = m.datid
		LEFT JOIN pg_catalog.pg_class c ON d.datname = pg_catalog.current_database()
			AND c.oid = pg_catalog.pg_filenode_relation(m.reltablespace, m.relfilenode)
		LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
		LEFT JOIN pg_catalog.pg_index x ON x.indexrelid = c.oid
		LEFT JOIN pg_catalog.pg_class t ON t.oid = x.indrelid
		LEFT JOIN tandem_search_counts() s ON s.datid = m.datid AND s.indexrelid = c.oid
	UNION ALL
	SELECT 'filters', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, b.filter_bytes,
		NULL, f.evictions, NULL, b.filter_target_bytes, f.hits, f.misses, f.make_us
	FROM tandem_coordination_status() b, tandem_filter_cache_status() f
	WHERE b.filter_bytes > 0;

COMMENT ON VIEW tandem_memory IS
	'what indexes of all databases have in shared memory, and sets of rows of filters; needs shared_preload_libraries';
COMMENT ON COLUMN tandem_memory.kind IS
	'graph; tail: codes of rows that are in no graph yet; filters: sets of rows, of all databases together';
COMMENT ON COLUMN tandem_memory.indexrelid IS
	'NULL, like the names, for indexes of other databases and files that are no longer any index''s';
COMMENT ON COLUMN tandem_memory.segments IS 'graphs that have a place in memory';
COMMENT ON COLUMN tandem_memory.chunks IS 'pieces of 64 kB that they have in all';
COMMENT ON COLUMN tandem_memory.wanted_bytes IS 'what all of their chunks take, tables of chunks included';
COMMENT ON COLUMN tandem_memory.cached_bytes IS 'what is in memory';
COMMENT ON COLUMN tandem_memory.loads IS 'chunks loaded since the graphs came into memory';
COMMENT ON COLUMN tandem_memory.evictions IS 'chunks given up for other graphs since then';
COMMENT ON COLUMN tandem_memory.idle_seconds IS 'since the last search or load';
COMMENT ON COLUMN tandem_memory.target_bytes IS 'what the cache should have, in all: of graphs and tails, or of filters';
COMMENT ON COLUMN tandem_memory.hits IS 'codes and lists of links that searches found in memory, or sets; see tandem_index_stats for whose they are shown';
COMMENT ON COLUMN tandem_memory.misses IS 'codes and lists of links that were read from pages, or sets looked for in vain';
COMMENT ON COLUMN tandem_memory.reload_us IS 'microseconds that a chunk, or a set, took to bring into memory, on average';

CREATE VIEW tandem_filter_cache AS
	SELECT s.bytes_total, s.bytes_used, s.keys, s.sets, s.pinned, s.hits, s.misses, s.evictions, s.make_us
	FROM tandem_filter_cache_status() s;

COMMENT ON VIEW tandem_filter_cache IS
	'sets of rows that filters admit, kept in shared memory for all databases; zeros without shared_preload_libraries';
COMMENT ON COLUMN tandem_filter_cache.bytes_total IS 'the part of tandem.memory_budget that they should have now';
COMMENT ON COLUMN tandem_filter_cache.bytes_used IS 'what sets and conditions take, without the room between them';
COMMENT ON COLUMN tandem_filter_cache.keys IS 'conditions of which there are sets';
COMMENT ON COLUMN tandem_filter_cache.sets IS 'sets, of which each graph has its own';
COMMENT ON COLUMN tandem_filter_cache.pinned IS 'sets in use by running searches; one that several use counts for each';
COMMENT ON COLUMN tandem_filter_cache.hits IS 'sets found since the server started';
COMMENT ON COLUMN tandem_filter_cache.misses IS 'sets looked for in vain since then';
COMMENT ON COLUMN tandem_filter_cache.evictions IS 'sets given up for others since then';
COMMENT ON COLUMN tandem_filter_cache.make_us IS 'microseconds that one of the sets took to make, on average';

GRANT SELECT ON tandem_memory, tandem_filter_cache, tandem_coordination TO PUBLIC;

-- Section 14: hybrid search ------------------------------------------------------------------------------------------

-- PARALLEL UNSAFE: the filter may call anything, and ef_search is set for the time of the call.

CREATE FUNCTION tandem_hybrid_search(rel regclass, query_vector vector DEFAULT NULL, query_text text DEFAULT NULL, k integer DEFAULT 10,
		vector_column text DEFAULT NULL, text_column text DEFAULT NULL, key_column text DEFAULT NULL,
		fusion text DEFAULT 'rrf', rrf_constant float8 DEFAULT 60, vector_weight float8 DEFAULT 0.7, text_weight float8 DEFAULT 0.3,
		depth integer DEFAULT NULL, filter text DEFAULT NULL,
		text_config regconfig DEFAULT NULL, text_syntax text DEFAULT 'any',
		text_scoring text DEFAULT 'bm25', bm25_k1 float8 DEFAULT 1.2, bm25_b float8 DEFAULT 0.75,
		metric text DEFAULT NULL, ef_search integer DEFAULT NULL,
		OUT key bigint, OUT vector_score float8, OUT text_score float8, OUT combined_score float8,
		OUT vector_rank bigint, OUT text_rank bigint, OUT distance float8)
	RETURNS SETOF record
	AS 'MODULE_PATHNAME' LANGUAGE C STABLE PARALLEL UNSAFE COST 10000 ROWS 10;

COMMENT ON FUNCTION tandem_hybrid_search(regclass, vector, text, integer, text, text, text, text, float8, float8, float8,
		integer, text, regconfig, text, text, float8, float8, text, integer) IS
	'the k best rows of a table or view by a vector and a text together';

CREATE FUNCTION tandem_hybrid_search_as(key_type anyelement, rel regclass, query_vector vector DEFAULT NULL, query_text text DEFAULT NULL, k integer DEFAULT 10,
		vector_column text DEFAULT NULL, text_column text DEFAULT NULL, key_column text DEFAULT NULL,
		fusion text DEFAULT 'rrf', rrf_constant float8 DEFAULT 60, vector_weight float8 DEFAULT 0.7, text_weight float8 DEFAULT 0.3,
		depth integer DEFAULT NULL, filter text DEFAULT NULL,
		text_config regconfig DEFAULT NULL, text_syntax text DEFAULT 'any',
		text_scoring text DEFAULT 'bm25', bm25_k1 float8 DEFAULT 1.2, bm25_b float8 DEFAULT 0.75,
		metric text DEFAULT NULL, ef_search integer DEFAULT NULL,
		OUT key anyelement, OUT vector_score float8, OUT text_score float8, OUT combined_score float8,
		OUT vector_rank bigint, OUT text_rank bigint, OUT distance float8)
	RETURNS SETOF record
	AS 'MODULE_PATHNAME' LANGUAGE C STABLE PARALLEL UNSAFE COST 10000 ROWS 10;

COMMENT ON FUNCTION tandem_hybrid_search_as(anyelement, regclass, vector, text, integer, text, text, text, text, float8, float8, float8,
		integer, text, regconfig, text, text, float8, float8, text, integer) IS
	'the k best rows of a table or view by a vector and a text together, with keys of the type of the first argument, whose value does not matter';

CREATE FUNCTION tandem_hybrid_explain(rel regclass, query_vector vector DEFAULT NULL, query_text text DEFAULT NULL, k integer DEFAULT 10,
		vector_column text DEFAULT NULL, text_column text DEFAULT NULL, key_column text DEFAULT NULL,
		fusion text DEFAULT 'rrf', rrf_constant float8 DEFAULT 60, vector_weight float8 DEFAULT 0.7, text_weight float8 DEFAULT 0.3,
		depth integer DEFAULT NULL, filter text DEFAULT NULL,
		text_config regconfig DEFAULT NULL, text_syntax text DEFAULT 'any',
		text_scoring text DEFAULT 'bm25', bm25_k1 float8 DEFAULT 1.2, bm25_b float8 DEFAULT 0.75,
		metric text DEFAULT NULL, ef_search integer DEFAULT NULL,
		"analyze" boolean DEFAULT false, costs boolean DEFAULT true)
	RETURNS SETOF text
	AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE COST 10000 ROWS 20;

COMMENT ON FUNCTION tandem_hybrid_explain(regclass, vector, text, integer, text, text, text, text, float8, float8, float8,
		integer, text, regconfig, text, text, float8, float8, text, integer, boolean, boolean) IS
	'the plans of both legs of tandem_hybrid_search() with these arguments';

CREATE FUNCTION tandem_text_statistics(rel regclass, query_text text, text_column text DEFAULT NULL, text_config regconfig DEFAULT NULL,
		text_syntax text DEFAULT 'any',
		OUT documents float8, OUT average_length float8, OUT query tsquery, OUT terms tsquery[], OUT frequencies float8[])
	RETURNS SETOF record
	AS 'MODULE_PATHNAME' LANGUAGE C STABLE PARALLEL UNSAFE COST 10000 ROWS 1;

COMMENT ON FUNCTION tandem_text_statistics(regclass, text, text, regconfig, text) IS
	'what BM25 knows: how many documents, how many terms in one on average, and in how many documents each term of a query is';

-- Its pieces, for queries that people write on their own.

CREATE FUNCTION tandem_rrf_score(rank bigint, rrf_constant float8 DEFAULT 60) RETURNS float8
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE;

COMMENT ON FUNCTION tandem_rrf_score(bigint, float8) IS 'reciprocal rank: 1 / (constant + rank), 0 for NULL';

CREATE FUNCTION tandem_rrf_add(float8, bigint) RETURNS float8
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE;

COMMENT ON FUNCTION tandem_rrf_add(float8, bigint) IS 'transition function of tandem_rrf';

CREATE FUNCTION tandem_rrf_add(float8, bigint, float8) RETURNS float8
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE;

COMMENT ON FUNCTION tandem_rrf_add(float8, bigint, float8) IS 'transition function of tandem_rrf';

CREATE AGGREGATE tandem_rrf(bigint) (
	SFUNC = tandem_rrf_add,
	STYPE = float8,
	INITCOND = '0',
	COMBINEFUNC = float8pl,
	PARALLEL = SAFE
);

COMMENT ON AGGREGATE tandem_rrf(bigint) IS 'reciprocal rank fusion of the ranks that lists give one row';

CREATE AGGREGATE tandem_rrf(bigint, float8) (
	SFUNC = tandem_rrf_add,
	STYPE = float8,
	INITCOND = '0',
	COMBINEFUNC = float8pl,
	PARALLEL = SAFE
);

COMMENT ON AGGREGATE tandem_rrf(bigint, float8) IS 'reciprocal rank fusion with another constant than 60';

CREATE FUNCTION tandem_normalised_score(score float8, lowest float8, highest float8) RETURNS float8
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION tandem_normalised_score(float8, float8, float8) IS
	'0 for the lowest score of a list, 1 for the highest; 1 if they are equal';

CREATE FUNCTION tandem_combined_score(fusion text, vector_score float8, text_score float8,
		vector_weight float8 DEFAULT 0.7, text_weight float8 DEFAULT 0.3) RETURNS float8
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE;

COMMENT ON FUNCTION tandem_combined_score(text, float8, float8, float8, float8) IS
	'weighted, max, min or average of two normalised scores; NULL counts as 0';

CREATE FUNCTION tandem_fuse(vector_keys anyarray, vector_scores float8[], text_keys anyarray, text_scores float8[], k integer DEFAULT 10,
		fusion text DEFAULT 'rrf', rrf_constant float8 DEFAULT 60, vector_weight float8 DEFAULT 0.7, text_weight float8 DEFAULT 0.3,
		OUT key anyelement, OUT vector_score float8, OUT text_score float8, OUT combined_score float8,
		OUT vector_rank bigint, OUT text_rank bigint)
	RETURNS SETOF record
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE ROWS 10;

COMMENT ON FUNCTION tandem_fuse(anyarray, float8[], anyarray, float8[], integer, text, float8, float8, float8) IS
	'the k best of two lists together, each from its best key on; NULL for a list that was not asked for';

CREATE FUNCTION tandem_text_length(document tsvector) RETURNS float8
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION tandem_text_length(tsvector) IS 'positions of a document''s terms; a term without positions counts once';

CREATE FUNCTION tandem_text_terms(query tsquery) RETURNS tsquery[]
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION tandem_text_terms(tsquery) IS 'terms of a query that a document may have, each once';

CREATE FUNCTION tandem_bm25_score(document tsvector, query tsquery, documents float8, average_length float8, frequencies float8[],
		k1 float8 DEFAULT 1.2, b float8 DEFAULT 0.75) RETURNS float8
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION tandem_bm25_score(tsvector, tsquery, float8, float8, float8[], float8, float8) IS
	'BM25 of a document; frequencies: in how many of all documents each of tandem_text_terms(query) is';
