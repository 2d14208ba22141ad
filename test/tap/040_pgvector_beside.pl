# Beside pgvector, in one database: tandem indexes on columns of its types, with its operators. What they return is what sorting by those
# operators returns, to the last bit of the distance; filters, bounds, hybrid search and every command on indexes work as on our own types;
# dump, restore, upgrade, and the order in which extensions go.
#
# Seen to fail with: our own distances in place of the operator's (order and bounds); operator classes of bit left to extension tandem.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TandemTest;
use Test::More;

need_pgvector();
my $dimensions = 50;
my $rows = 3000;
my $folder = PostgreSQL::Test::Utils::tempdir();
my $node = make_node('beside', preload => 1);
my $db = 'beside';

names_in_one_schema();
$node->safe_psql('postgres', "CREATE DATABASE $db");
setup_database($node, $db, beside_pgvector => 1);
classes();
every_metric();
bits();
graphs_beside_hnsw();
filters_and_bounds();
hybrid();
other_search_path();
dump_and_restore();
extensions_go();
upgrade();
done_testing();

sub query_text {
  my ($number, $type) = @_;
  return $node->safe_psql($db, "SELECT spread_vector($number, $dimensions)::" . ($type // 'vector'));
}

sub names_in_one_schema {
  $node->safe_psql('postgres', 'CREATE DATABASE one; CREATE DATABASE other');
  $node->safe_psql('one', 'CREATE EXTENSION vector');
  refused('one', 'CREATE EXTENSION tandem', '42710', qr/cannot be installed in schema "public", where extension "vector" is/,
    qr/HINT: .*CREATE EXTENSION tandem SCHEMA tandem/, 'tandem where pgvector is');
  refused('one', 'CREATE EXTENSION tandem_pgvector', '42704', qr/required extension "tandem" is not installed/, qr/CASCADE/,
    'tandem_pgvector without tandem');
  $node->safe_psql('one', 'CREATE SCHEMA tandem; CREATE EXTENSION tandem SCHEMA tandem');
  refused('one', 'CREATE EXTENSION tandem_pgvector SCHEMA tandem', '42710', qr/cannot be installed in schema "tandem"/,
    qr/HINT: .*SCHEMA public/, 'tandem_pgvector where tandem is');
  $node->safe_psql('one', 'CREATE SCHEMA "Else where"; CREATE EXTENSION tandem_pgvector SCHEMA "Else where"');
  is($node->safe_psql('one', 'ALTER EXTENSION tandem_pgvector SET SCHEMA public; SELECT count(*) FROM pg_opclass c JOIN pg_am a ON a.oid = opcmethod
    WHERE amname = \'tandem\' AND opcnamespace = \'public\'::regnamespace'), 14, 'the extension can be moved');

  $node->safe_psql('other', 'CREATE EXTENSION tandem');
  refused('other', 'CREATE EXTENSION IF NOT EXISTS vector', '42710', qr/cannot be installed in schema "public", where extension "tandem" is/,
    qr/HINT: .*ALTER EXTENSION tandem SET SCHEMA/, 'pgvector where tandem is');
  refused('other', 'CREATE EXTENSION vector SCHEMA public', '42710', qr/where extension "tandem" is/, qr/HINT/, 'the same by name');
  is(($node->psql('other', 'CREATE SCHEMA theirs; CREATE EXTENSION vector SCHEMA theirs; CREATE EXTENSION IF NOT EXISTS vector'))[0], 0,
    'in a schema of its own it can');
  $node->safe_psql('postgres', 'DROP DATABASE one; DROP DATABASE other');
}

sub refused {
  my ($database, $sql, $state, $message, $more, $label) = @_;
  local $Test::Builder::Level = $Test::Builder::Level + 1;
  my (undef, undef, $error) = $node->psql($database, "\\set VERBOSITY verbose\n$sql;");
  like($error, qr/ERROR:  $state: .*$message/s, "$label: message");
  like($error, $more, "$label: hint");
}

sub classes {
  is($node->safe_psql($db, <<'SQL'), '', 'every class of pgvector\'s hnsw has one of ours');
SELECT opcname FROM pg_opclass c JOIN pg_am a ON a.oid = opcmethod
WHERE amname = 'hnsw' AND NOT EXISTS (SELECT FROM pg_opclass o JOIN pg_am m ON m.oid = o.opcmethod
  WHERE amname = 'tandem' AND o.opcname = c.opcname AND o.opcintype = c.opcintype AND o.opcnamespace = c.opcnamespace)
SQL
  is($node->safe_psql($db, "SELECT count(*) FROM pg_opclass c JOIN pg_am a ON a.oid = opcmethod WHERE amname = 'tandem' AND (opcdefault OR NOT amvalidate(c.oid))"),
    0, 'none is a default, all are valid');
}

# Flat: answers are those of a sort, whole.
sub every_metric {
  for my $type (qw(vector halfvec sparsevec)) {
    $node->safe_psql($db, <<"SQL");
CREATE TABLE flat_$type (id bigint PRIMARY KEY, embedding $type($dimensions));
INSERT INTO flat_$type SELECT i, CASE WHEN i % 100 <> 0 THEN spread_vector(i, $dimensions) END FROM generate_series(1, $rows) i;
SQL
    for ([ l2 => '<->' ], [ ip => '<#>' ], [ cosine => '<=>' ], [ l1 => '<+>' ]) {
      my ($metric, $operator) = @$_;
      $node->safe_psql($db, "CREATE INDEX flat_index ON flat_$type USING tandem (embedding ${type}_${metric}_ops)");
      check_index($node, "flat_$type", 'flat_index', "$type, $metric", database => $db, operator => $operator, queries => [ query_text(1e6, $type) ]);
      $node->safe_psql($db, 'REINDEX INDEX flat_index') if $metric eq 'l2';
      check_index($node, "flat_$type", 'flat_index', "$type, $metric: the server's own index scan", database => $db, operator => $operator,
        queries => [ query_text(1e6 + 1, $type) ], setting => 'SET LOCAL tandem.enable_custom_scan = off');
      $node->safe_psql($db, 'DROP INDEX flat_index');
    }
  }
  $node->safe_psql($db, "CREATE INDEX half_index ON flat_vector USING tandem ((embedding::halfvec($dimensions)) halfvec_l2_ops)");
  check_index($node, 'flat_vector', 'half_index', 'vectors as halves', database => $db, column => "(embedding::halfvec($dimensions))",
    queries => [ query_text(1e6, 'halfvec') ]);
  $node->safe_psql($db, 'DROP INDEX half_index; INSERT INTO flat_vector SELECT i, spread_vector(i, 50) - spread_vector(i, 50) FROM generate_series(10001, 10003) i;'
      . 'CREATE INDEX zeros ON flat_vector USING tandem (embedding vector_cosine_ops)');
  check_index($node, 'flat_vector', 'zeros', 'NaN is NaN', database => $db, operator => '<=>', queries => [ query_text(1e6) ]);
  like(error_of("CREATE INDEX ON flat_vector USING tandem (embedding halfvec_l2_ops)"), qr/does not accept data type vector/, 'the type is looked at');
  like(error_of('CREATE TABLE loose (v vector); CREATE INDEX ON loose USING tandem (v vector_l2_ops)'), qr/dimensions/, 'so are dimensions');
  like(error_of("SELECT id FROM flat_vector ORDER BY embedding <=> '[1,2]' LIMIT 1"), qr/different vector dimensions/, 'and those of the query');
}

sub error_of { return ($node->psql($db, $_[0]))[2] }

# Operators on bit are of both extensions, on one type: each has its class.
sub bits {
  $node->safe_psql($db, <<"SQL");
CREATE TABLE bits (id bigint, embedding bit($dimensions));
INSERT INTO bits SELECT i, binary_quantize(spread_vector(i, $dimensions) - array_fill(0.5, ARRAY[$dimensions])::vector) FROM generate_series(1, 1000) i;
SQL
  my $query = $node->safe_psql($db, 'SELECT embedding FROM bits WHERE id = 77');
  for ([ hamming => '<~>' ], [ jaccard => '<%>' ]) {
    my ($metric, $operator) = @$_;
    $node->safe_psql($db, "CREATE INDEX bits_index ON bits USING tandem (embedding bit_${metric}_ops)");
    check_index($node, 'bits', 'bits_index', "bit, $metric", database => $db, operator => $operator, queries => [$query]);
    check_index($node, 'bits', 'bits_index', "bit, $metric, drained by relaxed order", database => $db, operator => $operator, queries => [$query],
      setting => 'SET LOCAL tandem.iterative_scan = relaxed_order');
    $node->safe_psql($db, 'DROP INDEX bits_index');
  }
}

sub graphs_beside_hnsw {
  $node->safe_psql($db, <<"SQL");
CREATE TABLE docs (id bigint PRIMARY KEY, category int, body text, embedding vector($dimensions));
INSERT INTO docs SELECT i, i % 20, 'word' || i % 10, spread_vector(i, $dimensions) FROM generate_series(1, $rows) i;
CREATE INDEX docs_hnsw ON docs USING hnsw (embedding vector_l2_ops);
CREATE INDEX docs_tandem ON docs USING tandem (embedding vector_l2_ops) WITH (strategy = hnsw_batch, m = 16, ef_construction = 64);
CREATE INDEX docs_category ON docs (category);
ANALYZE docs;
SQL
  await_folded($node, 'docs_tandem', $db);
  my $query = query_text(1e6);
  my $explain = "EXPLAIN (COSTS OFF) SELECT id FROM docs ORDER BY embedding <-> '$query' LIMIT 10";
  like($node->safe_psql($db, $explain), qr/docs_(?:hnsw|tandem)/, 'one of two indexes is chosen');
  my $file = $node->safe_psql($db, "SELECT pg_relation_filenode('docs')");
  $node->safe_psql($db, 'DROP INDEX docs_hnsw');
  like($node->safe_psql($db, $explain), qr/Tandem Scan.*Index Name: docs_tandem/s, "without pgvector's it is ours");
  check_graph($node, 'docs', 'docs_tandem', 'recall, order and all rows', database => $db, floor => 0.95, dimensions => $dimensions);
  $node->safe_psql($db, "INSERT INTO docs SELECT i, 1, 'new', spread_vector(i, $dimensions) FROM generate_series($rows + 1, $rows + 300) i;"
      . 'DELETE FROM docs WHERE id % 7 = 0; VACUUM docs; UPDATE docs SET embedding = embedding + embedding WHERE id % 50 = 1');
  check_graph($node, 'docs', 'docs_tandem', 'with a tail, deletes and updates', database => $db, floor => 0.95, dimensions => $dimensions);
  $node->safe_psql($db, 'REINDEX INDEX CONCURRENTLY docs_tandem');
  await_folded($node, 'docs_tandem', $db);
  check_graph($node, 'docs', 'docs_tandem', 'after REINDEX CONCURRENTLY', database => $db, floor => 0.95, dimensions => $dimensions);
  is($node->safe_psql($db, "SELECT pg_relation_filenode('docs')"), $file, 'the table was never rewritten');
  is($node->safe_psql($db, "SELECT strategy, metric, dimensions FROM tandem_index_stats WHERE indexname = 'docs_tandem'"), 'hnsw_batch|l2|50',
    'the views know it');
}

sub filters_and_bounds {
  my $query = query_text(1e6);
  my $plan = $node->safe_psql($db, "SET enable_sort = off; SET enable_seqscan = off; EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF)
    SELECT id FROM docs WHERE category = 3 AND body LIKE 'word%' ORDER BY embedding <-> '$query' LIMIT 10");
  like($plan, qr/Tandem Scan.*Rows in Filter Set: [1-9].*docs_category/s, 'native indexes filter');
  check_index($node, 'docs', 'docs_tandem', 'filtered answers are exact', database => $db, where => 'category = 3', queries => [$query]);
  # Each of the nearest 50 rows is just within its own distance.
  my $bounded = <<"SQL";
WITH near AS MATERIALIZED (SELECT l2_distance(embedding, '$query') AS d FROM docs ORDER BY 1 LIMIT 50)
SELECT sum((SELECT count(*) FROM (SELECT id FROM docs WHERE embedding <-> '$query' <= near.d ORDER BY embedding <-> '$query') s)) FROM near;
SQL
  for my $which ('SET tandem.ef_search = 1000; SET enable_sort = off; SET enable_seqscan = off', 'SET enable_indexscan = off; SET tandem.enable_custom_scan = off') {
    is($node->safe_psql($db, "$which; $bounded"), 50 * 51 / 2, "distances as bounds ($which)");
  }
  is($node->safe_psql($db, <<"SQL"), 't', 'the very number that the operator gives');
SET enable_sort = off; SET enable_seqscan = off;
WITH near AS MATERIALIZED (SELECT id, embedding <-> '$query' AS d FROM docs ORDER BY embedding <-> '$query' LIMIT 100)
SELECT bool_and(float8send(near.d) = float8send(l2_distance(docs.embedding, '$query'))) FROM near JOIN docs USING (id);
SQL
  # The operator of one type with a value of the other.
  like($node->safe_psql($db, "SET enable_sort = off; EXPLAIN (COSTS OFF) SELECT id FROM docs ORDER BY embedding <-> '$query'::tandem.vector LIMIT 3"),
    qr/Index Name: docs_tandem/, 'a query of our type finds the index, too');
}

sub hybrid {
  $node->safe_psql($db, "CREATE INDEX docs_body ON docs USING gin (to_tsvector('simple', body))");
  my $query = query_text(1e6);
  my $expected = $node->safe_psql($db, "SELECT id FROM docs ORDER BY embedding <-> '$query' LIMIT 1");
  is($node->safe_psql($db, "SELECT key FROM tandem_hybrid_search('docs', '$query', k => 1)"), $expected, 'hybrid search by a literal');
  my ($typed, $literal) = map { $node->safe_psql($db, "SELECT key, distance FROM tandem_hybrid_search('docs', $_, 'word3', k => 5)") }
    "'$query'::vector", "'$query'";
  is($typed, $literal, "hybrid search by a value of pgvector's type");
  like($node->safe_psql($db, "SELECT string_agg(e, ' ') FROM tandem_hybrid_explain('docs', '$query', 'word3') e"), qr/docs_tandem/, 'by the index');
  $node->safe_psql($db, "CREATE TABLE bare AS SELECT id, embedding FROM docs WHERE id < 50; ALTER TABLE bare ADD PRIMARY KEY (id)");
  is($node->safe_psql($db, "SELECT key FROM tandem_hybrid_search('bare', '$query', k => 1, metric => 'l2')"),
    $node->safe_psql($db, "SELECT id FROM bare ORDER BY embedding <-> '$query' LIMIT 1"), 'without an index');
}

# Whatever comes first in the path: classes of both names take columns of pgvector's types.
sub other_search_path {
  my $query = query_text(1e6);
  for my $path ('public', 'tandem, public') {
    $node->safe_psql($db, "SET search_path = $path; CREATE INDEX path_index ON public.flat_vector USING tandem (embedding vector_l2_ops);");
    like($node->safe_psql($db, "SET search_path = public; SET enable_seqscan = off; EXPLAIN (COSTS OFF) SELECT id FROM flat_vector ORDER BY embedding <-> '$query' LIMIT 1"),
      qr/path_index/, "made under \"$path\", used by pgvector's operator");
    $node->safe_psql($db, 'DROP INDEX path_index');
  }
}

sub dump_and_restore {
  my $definitions = "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY indexname";
  $node->safe_psql('postgres', 'CREATE DATABASE restored');
  $node->command_ok([ 'pg_dump', '-Fc', '-f', "$folder/dump", $db ], 'pg_dump');
  $node->command_ok([ 'pg_restore', '-j', 2, '-d', 'restored', '--exit-on-error', "$folder/dump" ], 'pg_restore');
  is($node->safe_psql('restored', $definitions), $node->safe_psql($db, $definitions), 'the same indexes');
  $node->safe_psql('postgres', 'ALTER DATABASE restored SET search_path = public, tandem');
  await_folded($node, 'docs_tandem', 'restored');
  check_graph($node, 'docs', 'docs_tandem', 'restored', database => 'restored', floor => 0.95, dimensions => $dimensions);
  $node->safe_psql('postgres', 'DROP DATABASE restored');
}

sub extensions_go {
  $node->safe_psql('postgres', "CREATE DATABASE going TEMPLATE $db");
  my $error = sub { ($node->psql('going', $_[0]))[2] };
  like($error->('DROP EXTENSION vector'), qr/extension tandem_pgvector depends on extension vector/, 'pgvector stays while it is needed');
  like($error->('DROP EXTENSION tandem'), qr/extension tandem_pgvector depends on extension tandem/, 'so does tandem');
  like($error->('DROP EXTENSION tandem_pgvector'), qr/index docs_tandem depends on operator class vector_l2_ops/, 'and what indexes need');
  $node->safe_psql('going', 'DROP INDEX docs_tandem, zeros; DROP EXTENSION tandem_pgvector; DROP EXTENSION tandem');
  is($node->safe_psql('going', 'SELECT count(embedding) > 0 FROM docs'), 't', "pgvector's tables are as they were");
  is($error->('SET client_min_messages = warning; CREATE EXTENSION tandem SCHEMA tandem; CREATE EXTENSION tandem_pgvector; CREATE INDEX ON docs USING tandem (embedding vector_ip_ops);'
        . 'DROP EXTENSION tandem_pgvector CASCADE'), '', 'and come again, and go by CASCADE');
  $node->safe_psql('postgres', 'DROP DATABASE going');
}

sub upgrade {
  $node->stop;
  my $new = PostgreSQL::Test::Cluster->new('upgraded');
  $new->init;
  $new->append_conf('postgresql.conf', "log_statement = none\nautovacuum = off\nshared_preload_libraries = 'tandem'\ntandem.stop_points = 'always-graph=on'\n");
  my $bindir = $node->config_data('--bindir');
  chdir $folder or die "$folder: $!";
  command_ok(
    [ 'pg_upgrade', '--no-sync', '-d', $node->data_dir, '-D', $new->data_dir, '-b', $bindir, '-B', $bindir,
      '-s', $new->host, '-p', $node->port, '-P', $new->port ],
    'pg_upgrade');
  $new->start;
  check_graph($new, 'docs', 'docs_tandem', 'upgraded', database => $db, floor => 0.95, dimensions => $dimensions);
  $new->safe_psql($db, 'CREATE INDEX again ON docs USING tandem (embedding vector_cosine_ops)');
  check_index($new, 'docs', 'again', 'upgraded: a new index', database => $db, operator => '<=>',
    queries => [ $new->safe_psql($db, "SELECT spread_vector(1000000, $dimensions)") ]);
  $new->stop;
}
