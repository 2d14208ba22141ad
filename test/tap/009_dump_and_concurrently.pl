# Dump and restore; CREATE INDEX, REINDEX and DROP INDEX CONCURRENTLY while rows come, go and change; failures of these.
#
# Seen to fail with: bulk delete that passes over some rows: what it looks at is how a concurrent build knows which rows
# are there already.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TandemTest;
use Test::More;

my $dimensions = 64;
my $folder = PostgreSQL::Test::Utils::tempdir();
my $node = make_node('node');

seed();
dump_and_restore();
concurrently();
concurrently_failed();
$node->stop;
done_testing();

sub dump_and_restore {
  $node->safe_psql('postgres', 'CREATE DATABASE source; CREATE DATABASE target_custom; CREATE DATABASE target_plain');
  setup_database($node, 'source');
  $node->safe_psql('source', <<"SQL");
CREATE TABLE t (id bigint PRIMARY KEY, embedding vector($dimensions));
CREATE INDEX t_l2 ON t USING tandem (embedding vector_l2_ops) WITH (strategy = 'flat');
CREATE INDEX t_cosine ON t USING tandem (embedding vector_cosine_ops);
CREATE INDEX t_partial ON t USING tandem ((subvector(embedding, 1, 3)::vector(3)) vector_l1_ops) WHERE id % 2 = 0;
CREATE TABLE parted (id bigint, embedding vector(3)) PARTITION BY RANGE (id);
CREATE TABLE part_1 PARTITION OF parted FOR VALUES FROM (0) TO (100);
CREATE INDEX parted_ip ON parted USING tandem (embedding vector_ip_ops) WITH (strategy = flat);
INSERT INTO t SELECT i, CASE WHEN i % 50 <> 0 THEN test_vector(i, $dimensions) END FROM generate_series(1, 1200) i;
INSERT INTO parted SELECT i, test_vector(i, 3) FROM generate_series(1, 99) i;
CREATE MATERIALIZED VIEW v AS SELECT id, embedding FROM t WHERE id < 100;
CREATE INDEX v_index ON v USING tandem (embedding vector_l2_ops);
SQL
  my $definitions = 'SELECT indexdef FROM pg_indexes WHERE schemaname = \'public\' ORDER BY indexname';
  my $before = $node->safe_psql('source', $definitions);
  $node->command_ok([ 'pg_dump', '-Fc', '-f', "$folder/custom", 'source' ], 'pg_dump, custom format');
  $node->command_ok([ 'pg_dump', '--inserts', '--rows-per-insert=100', '-f', "$folder/plain.sql", 'source' ], 'pg_dump, plain SQL');
  $node->command_ok([ 'pg_restore', '-j', 2, '-d', 'target_custom', '--exit-on-error', "$folder/custom" ], 'pg_restore, two jobs');
  $node->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-d', 'target_plain', '-f', "$folder/plain.sql" ], 'psql of the plain dump');
  for my $database (qw(target_custom target_plain)) {
    is($node->safe_psql($database, $definitions), $before, "$database: same definitions, options included");
    check_index($node, 't', 't_l2', "$database: L2", database => $database);
    check_index($node, 't', 't_cosine', "$database: cosine", database => $database, operator => '<=>');
    check_index($node, 't', 't_partial', "$database: partial, on an expression", database => $database,
      operator => '<+>', column => '(subvector(embedding, 1, 3)::vector(3))', dimensions => 3, where => 'id % 2 = 0');
    check_index($node, 'part_1', 'part_1_embedding_idx', "$database: partition", database => $database, operator => '<#>');
    check_index($node, 'v', 'v_index', "$database: materialized view", database => $database);
  }
  $node->safe_psql('postgres', "DROP DATABASE $_") for qw(source target_custom target_plain);
}

# Four sessions change rows all the time; meanwhile the index is made, made again and dropped.
sub concurrently {
  $node->safe_psql('postgres', <<"SQL");
CREATE SEQUENCE ids START 5001;
-- Room on each page, so that some updates of "touched" are HOT: then a row's TID in the index is its chain's root.
CREATE TABLE c (id bigint DEFAULT nextval('ids'), touched int DEFAULT 0, embedding vector($dimensions)) WITH (fillfactor = 60);
INSERT INTO c (id, embedding) SELECT i, test_vector(i, $dimensions) FROM generate_series(1, 3000) i;
SQL
  my %script = (
    insert => "INSERT INTO c (embedding) SELECT CASE WHEN i % 9 <> 0 THEN test_vector(:n + i, $dimensions) END FROM generate_series(1, 5) i;",
    undone => "BEGIN;\nINSERT INTO c (embedding) VALUES (test_vector(:n, $dimensions));\nROLLBACK;",
    touch => 'UPDATE c SET touched = touched + 1 WHERE id = :n;',
    change => "UPDATE c SET embedding = test_vector(:n + touched + 1, $dimensions), touched = touched + 1 WHERE id = :n;",
    delete => 'DELETE FROM c WHERE id = :n;',
    vacuum => 'VACUUM (TRUNCATE OFF) c;',
  );
  my %weight = (insert => 8, undone => 2, touch => 8, change => 4, delete => 3, vacuum => 1);
  my @command = ($node->installed_command('pgbench'), '-n', '-c', 4, '-T', 600, '--random-seed=' . int rand 1_000_000);
  for my $name (sort keys %script) {
    append_to_file("$folder/$name.sql", "\\set n random(1, 6000)\n$script{$name}\n");
    push @command, '-f', "$folder/$name.sql\@$weight{$name}";
  }
  my ($out, $error) = ('', '');
  my $changes = IPC::Run::start([ @command, $node->connstr('postgres') ], '<', \undef, '>', \$out, '2>', \$error);
  # Deletes enough for TIDs to be used again.
  for my $round (1 .. 3) {
    $node->safe_psql('postgres', 'CREATE INDEX CONCURRENTLY c_index ON c USING tandem (embedding vector_l2_ops)');
    check_index($node, 'c', 'c_index', "round $round: CREATE INDEX CONCURRENTLY");
    $node->safe_psql('postgres', 'REINDEX INDEX CONCURRENTLY c_index');
    check_index($node, 'c', 'c_index', "round $round: REINDEX INDEX CONCURRENTLY");
    $node->safe_psql('postgres', 'REINDEX TABLE CONCURRENTLY c');
    check_index($node, 'c', 'c_index', "round $round: REINDEX TABLE CONCURRENTLY");
    $node->safe_psql('postgres', 'DROP INDEX CONCURRENTLY c_index') if $round < 3;
  }
  ok($changes->pumpable, 'rows changed all the time');
  $changes->signal('INT');
  eval { $changes->finish };
  unlike($error, qr/ERROR/, 'no session had an error') or diag($error);
  # Their server processes may live a little longer, and hold back VACUUM.
  $node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'client backend'")
    or die 'sessions do not end';
  is($node->safe_psql('postgres', 'SELECT count(*) FROM pg_index WHERE NOT indisvalid'), 0, 'no invalid index is left');
  check_index($node, 'c', 'c_index', 'at the end');
  $node->safe_psql('postgres', 'VACUUM (INDEX_CLEANUP ON) c; INSERT INTO c (embedding) SELECT test_vector(i, 64) FROM generate_series(1, 500) i');
  check_index($node, 'c', 'c_index', 'after VACUUM and inserts into freed places');
  # All entries that no row needs any more are dead, none is missing.
  is($node->safe_psql('postgres', "SELECT count(*) FROM tandem_rows('c_index') WHERE NOT dead"),
    $node->safe_psql('postgres', 'SELECT count(*) FROM c'), 'as many live index rows as table rows');
}

# Cancelled half-way: what is left is invalid, takes inserts or none, and goes away.
sub concurrently_failed {
  for my $command ('CREATE INDEX CONCURRENTLY f_index ON f USING tandem (embedding vector_l2_ops)',
    'REINDEX INDEX CONCURRENTLY f_index') {
    my ($what) = $command =~ /^(\w+)/;
    $node->safe_psql('postgres', "CREATE TABLE f (id bigint, embedding vector($dimensions));"
        . "INSERT INTO f SELECT i, test_vector(i, $dimensions) FROM generate_series(1, 300) i");
    my $writer = start_session($node, 'writer');
    if ($what eq 'REINDEX') {
      $node->safe_psql('postgres', 'CREATE INDEX f_index ON f USING tandem (embedding vector_l2_ops)');
    }
    $writer->query_safe("BEGIN; INSERT INTO f VALUES (1001, test_vector(1001, $dimensions))");
    my $builder = start_session($node, 'builder');
    # It waits for the writer's transaction to end.
    send_sql($builder, "$command;");
    await_wait_event($node, 'builder', 'virtualxid');
    $node->safe_psql('postgres', "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE application_name = 'builder'");
    like(end_session($builder), qr/canceling statement due to user request/, "$what: cancelled");
    $writer->query_safe('COMMIT');
    $writer->quit;
    is($node->safe_psql('postgres', 'SELECT count(*) FROM pg_index WHERE NOT indisvalid'), 1, "$what: left invalid");
    $node->safe_psql('postgres', "INSERT INTO f SELECT i, test_vector(i, $dimensions) FROM generate_series(2001, 2050) i;"
        . 'DELETE FROM f WHERE id % 7 = 0; VACUUM f');
    is($node->safe_psql('postgres', "SET enable_seqscan = off; SELECT count(*) = (SELECT count(*) FROM f) FROM (SELECT * FROM f ORDER BY embedding <-> '"
          . vector_text(5, $dimensions) . "') s"), 't', "$what: queries answer in full");
    if ($what eq 'REINDEX') {
      check_index($node, 'f', 'f_index', "$what: the old index is right");
      $node->safe_psql('postgres', 'DROP INDEX f_index_ccnew');
      $node->safe_psql('postgres', 'REINDEX INDEX CONCURRENTLY f_index');
    } else {
      # A plain REINDEX makes it valid.
      $node->safe_psql('postgres', 'REINDEX INDEX f_index');
    }
    check_index($node, 'f', 'f_index', "$what: made right");
    $node->safe_psql('postgres', 'DROP TABLE f');
  }
  # A row that cannot be indexed: the build fails at it.
  $node->safe_psql('postgres', 'CREATE TABLE mixed (id bigint, embedding vector); INSERT INTO mixed VALUES (1, \'[1,2,3]\'), (2, \'[1,2]\')');
  my ($status, $out, $error) = $node->psql('postgres',
    "\\set VERBOSITY verbose\nCREATE INDEX CONCURRENTLY mixed_index ON mixed USING tandem ((embedding::vector(3)) vector_l2_ops)");
  is(sqlstate_of($error), '22000', 'a vector of other dimensions: the build fails');
  $node->safe_psql('postgres', 'DROP INDEX mixed_index');
}
