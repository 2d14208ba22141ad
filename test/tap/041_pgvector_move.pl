# From one extension to the other without rewriting a table: tandem alone makes room for pgvector and its columns become pgvector's, indexes
# included; pgvector's columns become tandem's. The files behind tables and indexes stay the same ones. Text and binary COPY files are
# the same bytes in both, for all types.
#
# Seen to fail with: casts that the planner is told nothing about.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TandemTest;
use Test::More;

need_pgvector();
my $rows = 1500;
my $folder = PostgreSQL::Test::Utils::tempdir();
my $node = make_node('move', preload => 1);
my @types = qw(vector halfvec sparsevec);

alone_then_pgvector();
rewrites_that_are_needed();
pgvector_to_ours();
copy_files();
$node->stop;
done_testing();

# The files of relations, which a rewrite changes.
sub files_of {
  my ($database, @names) = @_;
  return $node->safe_psql($database, join ' UNION ALL ', map { "SELECT '$_ ' || pg_relation_filenode('$_')" } @names);
}

sub alone_then_pgvector {
  my $db = 'alone';
  $node->safe_psql('postgres', "CREATE DATABASE $db");
  setup_database($node, $db);
  $node->safe_psql($db, <<"SQL");
CREATE TABLE docs (id bigint PRIMARY KEY, embedding vector(20), half halfvec(20), sparse sparsevec(20));
INSERT INTO docs SELECT i, v, v::halfvec, v::sparsevec FROM (SELECT i, spread_vector(i, 20) AS v FROM generate_series(1, $rows) i) s;
CREATE INDEX docs_flat ON docs USING tandem (embedding vector_cosine_ops);
CREATE INDEX docs_graph ON docs USING tandem (embedding vector_l2_ops) WITH (strategy = hnsw_batch);
CREATE INDEX docs_half ON docs USING tandem (half halfvec_l2_ops);
CREATE INDEX docs_sparse ON docs USING tandem (sparse sparsevec_ip_ops);
CREATE TABLE parted (id bigint, embedding vector(20)) PARTITION BY RANGE (id);
CREATE TABLE part_1 PARTITION OF parted FOR VALUES FROM (0) TO (1000);
CREATE INDEX parted_index ON parted USING tandem (embedding vector_l2_ops);
INSERT INTO parted SELECT id, embedding FROM docs WHERE id < 1000;
SQL
  await_rest($node, 'docs_graph', $db);
  # Partitions' indexes the server makes anew, of whatever access method.
  my @names = qw(docs docs_flat docs_graph docs_half docs_sparse part_1);
  my $before = files_of($db, @names);
  $node->safe_psql($db, <<"SQL");
CREATE SCHEMA tandem;
ALTER EXTENSION tandem SET SCHEMA tandem;
CREATE EXTENSION vector;
CREATE EXTENSION tandem_pgvector;
ALTER TABLE docs ALTER COLUMN embedding TYPE vector(20), ALTER COLUMN half TYPE halfvec(20), ALTER COLUMN sparse TYPE sparsevec(20);
ALTER TABLE parted ALTER COLUMN embedding TYPE vector(20);
SQL
  is(files_of($db, @names), $before, 'no file of a table or an index is another one');
  is($node->safe_psql($db, "SELECT string_agg(format_type(atttypid, atttypmod), ' ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'docs'::regclass AND attnum > 1"),
    'vector(20) halfvec(20) sparsevec(20)', 'the columns are pgvector\'s, dimensions included');
  is($node->safe_psql($db, "SELECT DISTINCT extname FROM pg_attribute a JOIN pg_depend d ON d.objid = atttypid AND d.deptype = 'e'
    JOIN pg_extension e ON e.oid = refobjid WHERE attrelid = 'docs'::regclass AND attnum > 1"), 'vector', 'truly');
  is($node->safe_psql($db, 'SELECT count(*) FROM pg_index WHERE NOT indisvalid'), 0, 'every index is valid');
  # What the tests are made of has our types still.
  $node->safe_psql($db, "ALTER DATABASE $db SET search_path = public, tandem; DROP FUNCTION test_vector, spread_vector, graph_problems");
  helpers($db);
  checks($db, 'converted');
  $node->safe_psql($db, "INSERT INTO docs SELECT i, v, v::halfvec, v::sparsevec FROM (SELECT i, spread_vector(i, 20) AS v FROM generate_series($rows + 1, $rows + 200) i) s;"
      . 'DELETE FROM docs WHERE id % 5 = 0; VACUUM docs');
  checks($db, 'written to afterwards');
  $node->safe_psql($db, 'REINDEX TABLE docs');
  checks($db, 'rebuilt');
  $node->command_ok([ 'pg_dump', '-Fc', '-f', "$folder/dump", $db ], 'pg_dump');
  $node->safe_psql('postgres', "CREATE DATABASE restored");
  $node->command_ok([ 'pg_restore', '-d', 'restored', '--exit-on-error', "$folder/dump" ], 'pg_restore');
  $node->safe_psql('postgres', 'ALTER DATABASE restored SET search_path = public, tandem');
  checks('restored', 'restored');
}

# spread_vector() and its like once more, of whatever type "vector" is now.
sub helpers {
  my ($database) = @_;
  $node->safe_psql($database, TandemTest::vector_functions_sql());
  $node->safe_psql($database, TandemTest::graph_checker_sql());
}

sub checks {
  my ($database, $label) = @_;
  local $Test::Builder::Level = $Test::Builder::Level + 1;
  my %query = map { $_ => $node->safe_psql($database, "SELECT spread_vector(1000000, 20)::$_") } @types;
  check_index($node, 'docs', 'docs_flat', "$label: flat", database => $database, operator => '<=>', queries => [ $query{vector} ]);
  check_index($node, 'docs', 'docs_half', "$label: halves", database => $database, column => 'half', queries => [ $query{halfvec} ]);
  check_index($node, 'docs', 'docs_sparse', "$label: sparse", database => $database, column => 'sparse', operator => '<#>', queries => [ $query{sparsevec} ]);
  check_index($node, 'part_1', 'part_1_embedding_idx', "$label: partition", database => $database, queries => [ $query{vector} ]);
  is(index_problems($node, 'docs_graph', database => $database), '', "$label: tandem_verify of the graph");
  $node->safe_psql($database, "CALL tandem_wait('docs_graph', '180 s')");
  like($node->safe_psql($database, "EXPLAIN (COSTS OFF) SELECT id FROM docs ORDER BY embedding <-> '$query{vector}' LIMIT 3"),
    qr/Index Name: docs_graph/, "$label: the graph is used");
  is(graph_problems($node, 'docs', database => $database, dimensions => 20, floor => 0.95), '', "$label: recall");
}

# What is not known is checked, row by row.
sub rewrites_that_are_needed {
  my $db = 'checked';
  $node->safe_psql('postgres', "CREATE DATABASE $db");
  setup_database($node, $db, beside_pgvector => 1);
  $node->safe_psql($db, "CREATE TABLE t (v tandem.vector, w tandem.vector(3)); INSERT INTO t VALUES ('[1,2,3]', '[1,2,3]')");
  like(($node->psql($db, 'ALTER TABLE t ALTER COLUMN v TYPE vector(2)'))[2], qr/expected 2 dimensions, not 3/, 'a wrong number of dimensions');
  like(($node->psql($db, 'ALTER TABLE t ALTER COLUMN w TYPE vector(2)'))[2], qr/expected 2 dimensions, not 3/, 'another one than before');
  my $before = files_of($db, 't');
  $node->safe_psql($db, 'ALTER TABLE t ALTER COLUMN v TYPE vector(3)');
  isnt(files_of($db, 't'), $before, 'one that was not known: every row is looked at');
  $before = files_of($db, 't');
  $node->safe_psql($db, 'ALTER TABLE t ALTER COLUMN v TYPE vector, ALTER COLUMN w TYPE vector');
  is(files_of($db, 't'), $before, 'any number: no row is');
  # Casts by hand, and where types meet.
  is($node->safe_psql($db, "SELECT '[1,2]'::tandem.vector::vector, '[1,2]'::vector::tandem.vector, '[1,2]'::vector <-> '[1,4]'::tandem.vector"),
    '[1,2]|[1,2]|2', 'casts and operators');
  like(($node->psql($db, "SELECT '[1,2]'::tandem.vector::vector(3)"))[2], qr/expected 3 dimensions, not 2/, 'a cast checks');
  is($node->safe_psql($db, "CREATE TABLE ours (v tandem.vector(3)); INSERT INTO ours SELECT w FROM t; INSERT INTO t (w) SELECT v FROM ours; SELECT count(*) FROM t"), 2,
    'INSERT … SELECT, both ways');
  is($node->safe_psql($db, 'PREPARE q (vector) AS SELECT count(*) FROM t WHERE w = $1; EXECUTE q (\'[1,2,3]\')'), 2, 'parameters');
}

sub pgvector_to_ours {
  my $db = 'ours';
  $node->safe_psql('postgres', "CREATE DATABASE $db");
  setup_database($node, $db, beside_pgvector => 1);
  $node->safe_psql($db, <<"SQL");
CREATE TABLE docs (id bigint PRIMARY KEY, embedding vector(20), half halfvec(20), sparse sparsevec(20));
INSERT INTO docs SELECT i, v, v::halfvec, v::sparsevec FROM (SELECT i, spread_vector(i, 20) AS v FROM generate_series(1, $rows) i) s;
CREATE INDEX docs_hnsw ON docs USING hnsw (embedding vector_l2_ops);
CREATE INDEX docs_tandem ON docs USING tandem (embedding tandem.vector_l2_ops);
SQL
  my $alter = 'ALTER TABLE docs ALTER COLUMN embedding TYPE tandem.vector(20), ALTER COLUMN half TYPE tandem.halfvec(20), ALTER COLUMN sparse TYPE tandem.sparsevec(20)';
  like(($node->psql($db, $alter))[2], qr/operator class "vector_l2_ops" does not accept data type tandem.vector/, "pgvector's index stands in the way");
  my $before = files_of($db, 'docs', 'docs_tandem');
  $node->safe_psql($db, "DROP INDEX docs_hnsw; $alter");
  is(files_of($db, 'docs', 'docs_tandem'), $before, 'no file of a table or an index is another one');
  check_index($node, 'docs', 'docs_tandem', 'converted', database => $db, queries => [ $node->safe_psql($db, 'SELECT spread_vector(1000000, 20)') ]);
  # Then pgvector can go.
  $node->safe_psql($db, 'DROP FUNCTION test_vector, spread_vector, graph_problems; DROP EXTENSION tandem_pgvector; DROP EXTENSION vector;'
      . 'ALTER EXTENSION tandem SET SCHEMA public; ALTER DATABASE ours RESET search_path');
  helpers($db);
  check_index($node, 'docs', 'docs_tandem', 'without pgvector', database => $db, queries => [ $node->safe_psql($db, 'SELECT spread_vector(1000000, 20)') ]);
  is($node->safe_psql($db, 'SELECT count(*) FROM docs WHERE half::vector <-> embedding < 0.01 AND sparse::vector = embedding'), $rows, 'the values are the same');
}

sub copy_files {
  my $db = 'copies';
  $node->safe_psql('postgres', "CREATE DATABASE $db");
  setup_database($node, $db, beside_pgvector => 1);
  for my $schema (qw(public tandem)) {
    $node->safe_psql($db, "CREATE TABLE ${schema}_values (id int, v $schema.vector, h $schema.halfvec, s $schema.sparsevec, b bit(9))");
  }
  $node->safe_psql($db, <<'SQL');
INSERT INTO public_values SELECT i, spread_vector(i, 1 + i % 40), (spread_vector(i, 1 + i % 40) * spread_vector(-i, 1 + i % 40))::halfvec,
  CASE WHEN i % 11 <> 0 THEN (spread_vector(i, 1 + i % 40) - spread_vector(i + i % 3, 1 + i % 40))::sparsevec END, i::bit(9) FROM generate_series(1, 500) i;
INSERT INTO public_values VALUES (501, '[1e-45,3.4028235e38,-0,1e10]', '[6e-8,65504,-0,0.1]', '{1:1e-45,16000:-3.4028235e38}/1000000000', NULL),
  (502, NULL, NULL, '{}/5', NULL), (503, (SELECT array_agg(i * 0.1) FROM generate_series(1, 16000) i)::vector,
   (SELECT array_agg(i * 0.1) FROM generate_series(1, 16000) i)::halfvec, (SELECT array_agg(i * 0.1) FROM generate_series(1, 16000) i)::vector::sparsevec, NULL);
SQL
  for my $format (qw(text binary csv)) {
    my @file = map { "$folder/$_.$format" } qw(theirs ours back);
    $node->safe_psql($db, <<"SQL");
TRUNCATE tandem_values;
COPY public_values TO '$file[0]' (FORMAT $format);
COPY tandem_values FROM '$file[0]' (FORMAT $format);
COPY tandem_values TO '$file[1]' (FORMAT $format);
CREATE TEMPORARY TABLE again (LIKE public_values);
COPY again FROM '$file[1]' (FORMAT $format);
COPY again TO '$file[2]' (FORMAT $format);
SQL
    ok(slurp_file($file[0]) eq slurp_file($file[1]), "$format: what we write is what we read from pgvector");
    ok(slurp_file($file[1]) eq slurp_file($file[2]), "$format: and pgvector reads it");
    is($node->safe_psql($db, 'SELECT count(*) FROM tandem_values t JOIN public_values p USING (id) WHERE t.v::vector IS NOT DISTINCT FROM p.v'
          . ' AND t.h::halfvec IS NOT DISTINCT FROM p.h AND t.s::sparsevec IS NOT DISTINCT FROM p.s'), 503, "$format: the same values");
  }
}
