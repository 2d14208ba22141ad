# The extension is dropped and made again under a session that used it; pg_upgrade carries an index over; a server in
# single-user mode reads it. HAZARDS H21, H37.
#
# Seen to fail with: the access method's OID remembered by the backend.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TandemTest;
use Test::More;

my $dimensions = 300;
my $node = make_node('old');

drop_and_create();
other_access_method_name();
upgrade();
done_testing();

sub table_sql {
  my ($name, $rows) = @_;
  return "CREATE TABLE $name (id bigint, embedding vector($dimensions));"
    . "CREATE INDEX ${name}_index ON $name USING tandem (embedding vector_l2_ops);"
    . "INSERT INTO $name SELECT i, test_vector(i, $dimensions) FROM generate_series(1, $rows) i;";
}

sub drop_and_create {
  my $count = "SELECT count(*) FROM (SELECT id FROM d ORDER BY embedding <-> '" . vector_text(5, $dimensions) . "') s";
  my $session = start_session($node, 'old');
  my $other = start_session($node, 'other');
  for my $round (1 .. 3) {
    $session->query_safe(table_sql('d', 100 * $round));
    $_->query_safe('SET enable_seqscan = off; SET enable_sort = off') for $session, $other;
    is($session->query_safe($count), 100 * $round, "round $round: the session that made the index");
    is($other->query_safe($count), 100 * $round, "round $round: another session");
    is($_->query_safe("SELECT count(*) FROM tandem_verify('d_index', true)"), 0, "round $round: found sound by old sessions")
      for $session, $other;
    check_index($node, 'd', 'd_index', "round $round: the index is right");
    my $dropper = $round == 2 ? $other : $session;
    # Columns of the type go with it.
    $dropper->query_safe("SET client_min_messages = warning; DROP EXTENSION tandem CASCADE; DROP TABLE d;");
    my (undef, $failed) = $session->query("CREATE TABLE d (embedding vector(3))");
    ok($failed, "round $round: without the extension there is no type");
    $session->{stderr} = '';
    $node->safe_psql('postgres', 'DROP FUNCTION IF EXISTS test_vector');
    setup_database($node, 'postgres');
  }
  # Undone: the old objects are still the right ones.
  $session->query_safe(table_sql('d', 50));
  $session->query_safe("BEGIN; DROP EXTENSION tandem CASCADE; ROLLBACK");
  is($session->query_safe($count), 50, 'DROP EXTENSION rolled back');
  $session->query_safe("INSERT INTO d SELECT i, test_vector(i, $dimensions) FROM generate_series(51, 60) i");
  $session->quit;
  $other->quit;
  check_index($node, 'd', 'd_index', 'DROP EXTENSION rolled back: the index is right');
}

# Indexes are ours by their handler, whatever the access method is called.
sub other_access_method_name {
  $node->safe_psql('postgres', <<"SQL");
CREATE ACCESS METHOD second TYPE INDEX HANDLER tandem_handler;
CREATE OPERATOR CLASS second_l2_ops FOR TYPE vector USING second AS
  OPERATOR 1 <-> (vector, vector) FOR ORDER BY float_ops, FUNCTION 1 tandem_vector_l2_metric(internal);
CREATE TABLE o (id bigint, embedding vector($dimensions));
INSERT INTO o SELECT i, test_vector(i, $dimensions) FROM generate_series(1, 50) i;
CREATE INDEX o_index ON o USING second (embedding second_l2_ops);
SQL
  check_index($node, 'o', 'o_index', 'an access method of another name with the same handler');
  $node->safe_psql('postgres', 'DROP ACCESS METHOD second CASCADE');
}

# H21: between two clusters of the same version, as between versions, files are taken over as they are.
sub upgrade {
  $node->safe_psql('postgres', table_sql('u', 1500)
      . "CREATE TABLE parted (id bigint, embedding vector(3)) PARTITION BY RANGE (id);"
      . 'CREATE TABLE part_1 PARTITION OF parted FOR VALUES FROM (0) TO (100);'
      . 'CREATE TABLE part_2 PARTITION OF parted FOR VALUES FROM (100) TO (200);'
      . 'CREATE INDEX parted_index ON parted USING tandem (embedding vector_cosine_ops) WITH (strategy = flat);'
      . 'INSERT INTO parted SELECT i, test_vector(i, 3) FROM generate_series(1, 199) i;'
      . 'CREATE UNLOGGED TABLE fleeting (id bigint, embedding vector(3));'
      . 'CREATE INDEX fleeting_index ON fleeting USING tandem (embedding vector_l2_ops);'
      . 'INSERT INTO fleeting SELECT i, test_vector(i, 3) FROM generate_series(1, 30) i;');
  $node->safe_psql('postgres', 'DELETE FROM u WHERE id % 4 = 0; VACUUM u;');
  my $rows = $node->safe_psql('postgres', "SELECT * FROM tandem_rows('u_index')");
  $node->stop;

  my $single = IPC::Run::run(
    [ $node->installed_command('postgres'), '--single', '-D', $node->data_dir, 'postgres' ],
    '<', \"SET enable_seqscan = off\nINSERT INTO u VALUES (9999, test_vector(9999, $dimensions))\nVACUUM u\n", '>', \my $out, '2>', \my $error);
  ok($single, 'single-user mode ends well');
  unlike($error . $out, qr/ERROR|FATAL|PANIC/, 'single-user mode: insert and VACUUM') or diag($error);

  my $new = PostgreSQL::Test::Cluster->new('new');
  $new->init;
  $new->append_conf('postgresql.conf', "log_statement = none\nautovacuum = off\n");
  my $bindir = $node->config_data('--bindir');
  my $folder = PostgreSQL::Test::Utils::tempdir();
  chdir $folder or die "$folder: $!";
  command_ok(
    [ 'pg_upgrade', '--no-sync', '-d', $node->data_dir, '-D', $new->data_dir, '-b', $bindir, '-B', $bindir,
      '-s', $new->host, '-p', $node->port, '-P', $new->port ],
    'pg_upgrade');
  $new->start;
  check_index($new, 'u', 'u_index', 'upgraded: the index is right');
  check_index($new, $_, "${_}_embedding_idx", "upgraded: $_", operator => '<=>') for qw(part_1 part_2);
  check_index($new, 'fleeting', 'fleeting_index', 'upgraded: an unlogged index');
  my $rows_now = $new->safe_psql('postgres', "SELECT * FROM tandem_rows('u_index')");
  is(substr($rows_now, 0, length $rows), $rows, 'upgraded: the very same rows');
  $new->safe_psql('postgres', "INSERT INTO u SELECT i, test_vector(i, $dimensions) FROM generate_series(2001, 2300) i;"
      . 'DELETE FROM u WHERE id % 3 = 0; VACUUM u;'
      . 'INSERT INTO parted SELECT i, test_vector(i + 1, 3) FROM generate_series(1, 199) i;'
      . 'INSERT INTO fleeting SELECT i, test_vector(i, 3) FROM generate_series(31, 60) i;');
  check_index($new, 'u', 'u_index', 'upgraded: inserts, deletes and VACUUM');
  check_index($new, 'fleeting', 'fleeting_index', 'upgraded: inserts into the unlogged one');
  $new->stop('immediate');
  $new->start;
  check_index($new, 'u', 'u_index', 'upgraded: after a crash');
  is($new->safe_psql('postgres', 'SELECT count(*) FROM fleeting'), 0, 'upgraded: the unlogged table is empty after a crash');
  check_index($new, 'fleeting', 'fleeting_index', 'upgraded: its index as well');
  $new->stop;
}
