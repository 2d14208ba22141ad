# The disk is full in the middle of an insert: an error, and the index goes on answering; with room again, inserts work.
#
# The index's tablespace is a small tmpfs, mounted in a user namespace in which the server is started. Where the system
# forbids that, the size of files is limited instead; the error then has another code.
#
# Seen to fail with: room for the vector not asked for before the row is written.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TandemTest;
use Test::More;

my $dimensions = 300;
my $folder = PostgreSQL::Test::Utils::tempdir();
my $space = "$folder/space";
mkdir $space;
my $holder_pid;    # a process that keeps the namespace, and with it the tmpfs, over a restart of the server
my $holder = $ENV{TANDEM_TEST_NO_NAMESPACE} ? undef : hold_namespace();
diag('ordinary users cannot mount here: limiting the size of files instead') unless $holder_pid;

my $node = PostgreSQL::Test::Cluster->new('full');
$node->init(extra => ['--wal-segsize=1']);
$node->append_conf('postgresql.conf', "log_statement = none\nautovacuum = off\nmin_wal_size = 2MB\n");
start_with_limit();
setup_database($node, 'postgres');
# The index holds vectors that the table does not, so the index is what grows.
my $vector = "(test_vector(id, $dimensions)::vector($dimensions))";
$node->safe_psql('postgres', "CREATE TABLESPACE small LOCATION '$space'");
$node->safe_psql('postgres', <<"SQL");
CREATE TABLE t (id bigint);
CREATE INDEX t_index ON t USING tandem ($vector vector_l2_ops) TABLESPACE small;
CREATE TABLE ballast (filler text) TABLESPACE small;
ALTER TABLE ballast ALTER filler SET STORAGE PLAIN;
INSERT INTO ballast SELECT repeat('x', 7000) FROM generate_series(1, 120);
INSERT INTO t SELECT generate_series(1, 300);
SQL
my $rows = 300;
check('before');

# One transaction a row, until one fails: those before it stay.
my ($status, $out, $error) = $node->psql('postgres', <<'SQL');
\set VERBOSITY verbose
DO $$ BEGIN
  FOR i IN 1001 .. 6000 LOOP
    INSERT INTO t VALUES (i);
    COMMIT;
  END LOOP;
END $$
SQL
check_error('single rows', $error);
$rows = $node->safe_psql('postgres', 'SELECT max(id) - 1000 + 300 FROM t');
cmp_ok($rows, '>', 300, 'single rows: those before the error are committed');
check('single rows: after the error');
fails_with_disk_full('INSERT INTO t SELECT generate_series(10001, 15000)');
fails_with_disk_full("COPY t FROM STDIN;\n" . join("\n", 20001 .. 25000) . "\n\\.");

# A session that failed and lives on.
my $session = start_session($node, 'failing');
$session->query('INSERT INTO t SELECT generate_series(200001, 206000)');
like($session->{stderr}, qr/could not extend file/, 'a session that fails');
$session->{stderr} = '';
my $count = "SELECT count(*) FROM (SELECT id FROM t ORDER BY $vector <-> '" . vector_text(5, $dimensions) . "') s";
my $by_index = 'SET enable_seqscan = off; SET enable_sort = off;';
is($session->query_safe("$by_index $count"), $rows, 'it still answers');

if ($holder_pid) {
  $node->safe_psql('postgres', 'DROP TABLE ballast; CHECKPOINT');
} else {
  $session->quit;
  $node->restart;    # without the limit
  $session = start_session($node, 'later');
}
$session->query_safe('INSERT INTO t SELECT generate_series(300001, 300100)');
$rows += 100;
is($session->query_safe("$by_index $count"), $rows, 'with room again it inserts, and finds');
$session->quit;
$node->safe_psql('postgres', 'INSERT INTO t SELECT generate_series(400001, 400100)');
$rows += 100;
check('with room again: inserts');
if ($holder_pid) {
  # This time it gets a good part of its rows into the index before it fails.
  fails_with_disk_full('INSERT INTO t SELECT generate_series(500001, 506000)');
}
$node->stop('immediate');
start_with_limit();
check('after a crash');
$node->stop;
done_testing();

sub fails_with_disk_full {
  my ($sql) = @_;
  my ($what) = $sql =~ /^(\w+)/;
  my ($status, $out, $error) = $node->psql('postgres', "\\set VERBOSITY verbose\n$sql");
  check_error($what, $error);
  check("$what: after the error");
  $node->safe_psql('postgres', 'VACUUM (INDEX_CLEANUP ON) t');
  check("$what: after VACUUM, which needs no room");
}

sub check_error {
  my ($what, $error) = @_;
  is(sqlstate_of($error), $holder_pid ? '53100' : 'XX000', "$what: the error's code");
  like($error, qr/could not extend file/, "$what: the error says what is wrong");
}

sub check {
  my ($label) = @_;
  is($node->safe_psql('postgres', 'SELECT count(*) FROM t'), $rows, "$label: rows");
  check_index($node, 't', 't_index', "$label: index", column => $vector, dimensions => $dimensions);
}

# Starts a process in a namespace where the tmpfs is mounted. Sets $holder_pid, or leaves it undefined.
sub hold_namespace {
  my ($out, $error) = ('', '');
  my $process = IPC::Run::start(
    [ qw(unshare --user --map-current-user --keep-caps --mount sh -c), 'mount -t tmpfs -o size=4m none "$0" && echo $$ && exec sleep 3600', $space ],
    '<', \undef, '>', \$out, '2>', \$error);
  $process->pump while $process->pumpable && $out !~ /\n/;
  ($holder_pid) = $out =~ /^(\d+)$/m;
  note($error);
  return $process;
}

END {
  if ($holder) {
    my $status = $?;
    $node->teardown_node if $node;
    $holder->kill_kill;
    $? = $status;
  }
}

# Starts the server in the namespace with the small disk, or with a limit on the size of its files.
sub start_with_limit {
  my $pg_ctl = $node->config_data('--bindir') . '/pg_ctl';
  my $command = $holder_pid
    ? "exec nsenter --target $holder_pid --user --mount --preserve-credentials $pg_ctl \"\$\@\""
    : "ulimit -f 5120\nexec $pg_ctl \"\$\@\"";    # in blocks of 512 bytes
  mkdir "$folder/bin";
  open my $out, '>', "$folder/bin/pg_ctl" or die "$folder/bin/pg_ctl: $!";
  print $out "#!/bin/sh\n$command\n";
  close $out;
  chmod 0755, "$folder/bin/pg_ctl";
  local $ENV{PATH} = "$folder/bin:$ENV{PATH}";
  $node->start;
}
