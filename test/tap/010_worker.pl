# The life of the launcher and the workers: they come when there is something to do, find it by themselves after a restart
# and after a crash, report and retry what fails, leave when idle, make room for each other and for commands that need the
# database for themselves. HAZARDS H26 and DESIGN.md's invariants 1 and 5; what commands on the index do is in 014_graph_ddl.
#
# Seen to fail with: a worker that leaves its database unmarked, or keeps the builder lock, when it is terminated
# (terminated); no tour after a start (found_after_restart); evictions that outlive their transaction, and ones by users who
# may not drop the database (evicted); workers in templates (templates); no delay after a failed build, or none forgiven
# (failed_build); cancels let through between builds (cancelled); unfinished indexes of CREATE INDEX CONCURRENTLY not waited
# for (concurrently); ALTER INDEX and COMMIT PREPARED not told (strategy_changes, prepared); looks put off by every insert
# (tail_grows_old); more than four places (many_databases); ALTER COLUMN TYPE not told (column_type); changes told before
# their invalidations (told_after_commit); owners alone let through,
# and one's own database left out (evicted); copies and databases that open not told of (templates).
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TandemTest;
use Test::More;
use Time::HiRes qw(sleep time);

seed();
my $node = make_node('worker', preload => 1, conf => <<'CONF');
tandem.build_memory = '64MB'
max_connections = 40
CONF
need_stop_points($node);

comes_and_goes();
tail_grows_old();
failed_build();
cancelled();
terminated();
found_after_restart();
found_after_crash();
launcher_dies();
strategy_changes();
told_after_commit();
column_type();
concurrently();
prepared();
evicted();
templates();
many_databases();
$node->stop;
no_process_left();
without_preload();
done_testing();

# A table of 8 dimensions with an index; its rows are folded in no time.
sub make_index {
  my ($rows, %option) = @_;
  my $name = $option{name} // 't';
  $node->safe_psql($option{database} // 'postgres', <<"SQL");
CREATE TABLE $name (id bigint, embedding vector(8));
INSERT INTO $name SELECT i, spread_vector(i, 8) FROM generate_series(1, $rows) i;
CREATE INDEX ${name}_index ON $name USING tandem (embedding vector_l2_ops) WITH (strategy = hnsw_batch);
SQL
}

sub drop_table {
  my ($name) = @_;
  $node->safe_psql('postgres', 'DROP TABLE ' . ($name // 't'));
}

sub insert_rows {
  my ($first, $last, $name) = @_;
  $name //= 't';
  $node->safe_psql('postgres', "INSERT INTO $name SELECT i, spread_vector(i, 8) FROM generate_series($first, $last) i");
}

# Nothing is asked for by name, unlike await_folded(): the worker must see by itself what there is to do.
sub await_sealed {
  my ($rows, $index, $database) = @_;
  await_condition("$rows rows sealed", sub { sealed_rows($node, $index // 't_index', $database) >= $rows });
}

sub await_no_worker {
  my ($database) = @_;
  await_condition('the worker to leave', sub { worker_pid($node, $database) eq '' });
}

sub launcher_pid {
  return $node->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE backend_type = 'tandem launcher'");
}

# Holds the worker right before it builds, or between two steps.
sub hold_worker {
  my ($point) = @_;
  clear_stop_points($node);
  arm_server($node, "$point=wait");
}

sub let_worker_go {
  arm_server($node);
  release_stop_point($node, $_) for @_;
}

# ---- Coming and going ----

sub comes_and_goes {
  isnt(launcher_pid(), '', 'there is a launcher');
  # Up to 16 all extensions share one name of what is waited for.
  $node->poll_query_until('postgres',
    "SELECT wait_event_type = 'Extension' AND wait_event IN ('Extension', 'TandemLauncherIdle') FROM pg_stat_activity WHERE backend_type = 'tandem launcher'")
    or die 'the launcher does not say what it waits for';
  pass('which says what it waits for');
  await_no_worker();
  hold_worker('worker-before-fold');
  make_index(3000);
  await_stop_point($node, 'worker-before-fold');
  is($node->safe_psql('postgres', <<'SQL'), 'tandem worker|active|tandem: folding "t_index"|t|t', 'a worker says what it does');
SELECT application_name, state, query, backend_xid IS NULL, backend_xmin IS NULL FROM pg_stat_activity WHERE backend_type = 'tandem worker'
SQL
  is($node->safe_psql('postgres', "SELECT pid FROM tandem_build_progress WHERE indexname = 't_index'"), worker_pid($node),
    'and shows in the progress view');
  let_worker_go('worker-before-fold');
  await_sealed(3000);
  check_graph($node, 't', 't_index', 'the graph is built with nobody asking');
  await_no_worker();
  pass('a worker with nothing to do leaves');
  my $log_end = -s $node->logfile;
  sleep 1;
  unlike(slurp_file($node->logfile, $log_end), qr/tandem/, 'and nobody is started for nothing');
  drop_table();
}

# Fewer rows than seal_rows wait until none has come for a naptime; very few are not worth a graph.
sub tail_grows_old {
  make_index(2000);
  await_sealed(2000);
  await_no_worker();
  insert_rows(2001, 2900);
  sleep 1.5;
  is(sealed_rows($node, 't_index'), 2000, '900 rows are not worth a graph');
  insert_rows(2901, 3100);
  await_sealed(3100);
  pass('1,100 are, after a while');
  # One by one, so that no statement ever sees the tail full, and never a naptime without one.
  set_configuration($node, 'tandem.seal_rows = 300', "tandem.naptime = '1s'");
  my $from = 3101;
  my $end = time + $PostgreSQL::Test::Utils::timeout_default;
  while (sealed_rows($node, 't_index') < 3400 && time < $end) {
    $node->safe_psql('postgres', join '', map { 'INSERT INTO t VALUES (' . $from . ", spread_vector(" . $from++ . ", 8));\n" } 1 .. 50);
  }
  cmp_ok(sealed_rows($node, 't_index'), '>=', 3400, 'a tail that never rests is folded when it is long enough');
  set_configuration($node, 'tandem.seal_rows = 10000', "tandem.naptime = '100ms'");
  drop_table();
}

# ---- Failures ----

sub failed_build {
  clear_stop_points($node);
  arm_server($node, 'worker-before-fold=error');
  my $log_end = -s $node->logfile;
  make_index(2000);
  $node->wait_for_log(qr/could not build a graph for index "t_index": stop point/, $log_end);
  $node->poll_query_until('postgres',
    "SELECT last_error LIKE 'stop point%' AND last_error_at IS NOT NULL AND coalesce(pid, 0) = 0 FROM tandem_build_progress WHERE indexname = 't_index'")
    or die 'no error is shown';
  pass('an error is logged and shown');
  my $pid = worker_pid($node);
  # When some of them failed: one second, two and four lie between them at the least; longer if we missed one, or the machine is busy.
  my @failed_at;
  await_condition('the build to be tried again and again', sub {
    my $at = $node->safe_psql('postgres', "SELECT extract(epoch FROM last_error_at) FROM tandem_build_progress WHERE indexname = 't_index'");
    push @failed_at, $at if !@failed_at || $at != $failed_at[-1];
    return @failed_at == 4;
  });
  pass('the build is tried again');
  my @pause = map { $failed_at[$_] - $failed_at[ $_ - 1 ] } 1 .. $#failed_at;
  ok($pause[0] >= 1 && $pause[1] >= 2 && $pause[2] >= 4, "less and less often: @pause");
  is(worker_pid($node), $pid, 'and the worker lives on');
  # The index that fails keeps no other one waiting.
  arm_server($node);
  make_index(2000, name => 'other');
  await_sealed(2000, 'other_index');
  check_graph($node, 'other', 'other_index', 'another index is built meanwhile');
  await_sealed(2000);
  check_graph($node, 't', 't_index', 'the build succeeds at last');
  # After many failures the next try is far off, unless something happens that may have mended the matter.
  arm_server($node, 'worker-before-fold=error', 'late-retries=on');
  $log_end = -s $node->logfile;
  $node->safe_psql('postgres', 'REINDEX INDEX t_index');
  $node->wait_for_log(qr/could not build a graph for index "t_index"/, $log_end);
  arm_server($node);
  $node->safe_psql('postgres', 'REINDEX INDEX t_index');
  await_sealed(2000);
  pass('a rebuilt index is not kept waiting for the failures before, longer than anybody waits here');
  drop_table();
  drop_table('other');
}

sub cancelled {
  my $log_end = -s $node->logfile;
  hold_worker('worker-between-steps');
  make_index(2000);
  await_stop_point($node, 'worker-between-steps');
  my $pid = worker_pid($node);
  $node->safe_psql('postgres', "SELECT pg_cancel_backend($pid)");
  $node->wait_for_log(qr/could not build a graph for index "t_index": canceling statement/, $log_end);
  let_worker_go('worker-between-steps');
  is(worker_pid($node), $pid, 'cancel ends the build, not the worker');
  await_sealed(2000);
  pass('which tries again');
  # With nothing to cancel, nothing happens.
  $node->safe_psql('postgres', "SELECT pg_cancel_backend($pid)");
  insert_rows(2001, 4000);
  await_sealed(4000);
  unlike(slurp_file($node->logfile), qr/background worker "tandem worker" \(PID $pid\) (exited with|was)/, 'nor by a cancel that comes late');
  drop_table();
}

sub terminated {
  hold_worker('worker-between-steps');
  make_index(2000);
  await_stop_point($node, 'worker-between-steps');
  # It is held for longer.
  is($node->safe_psql('postgres', 'SELECT pg_terminate_backend(' . worker_pid($node) . ', 60000)'), 't', 'a worker can be terminated');
  # A lock that nobody gives up would be the next process's that happens to get the same place in shared memory.
  is($node->safe_psql('postgres', <<'SQL'), 0, 'and leaves no lock behind');
SELECT count(*) FROM pg_locks l WHERE (relation = 't_index'::regclass OR classid = 'pg_class'::regclass AND objid = 't_index'::regclass)
  AND NOT EXISTS (SELECT FROM pg_stat_activity a WHERE a.pid = l.pid AND backend_type = 'tandem worker')
SQL
  let_worker_go('worker-between-steps');
  await_sealed(2000);
  check_graph($node, 't', 't_index', 'and another one finishes its work');
  drop_table();
}

# ---- Starting anew ----

sub found_after_restart {
  $node->safe_psql('postgres', 'CREATE DATABASE second');
  setup_database($node, 'second');
  hold_worker('worker-before-fold');
  make_index(2000);
  make_index(2500, database => 'second');
  await_stop_point($node, 'worker-before-fold');
  # It is held for longer than pg_ctl waits.
  ok($node->stop('fast', fail_ok => 1), 'fast shutdown does not wait for builds');
  arm_server($node);
  clear_stop_points($node);
  $node->start;
  await_sealed(2000);
  await_sealed(2500, 't_index', 'second');
  pass('after a restart unfinished indexes of two databases are found');
  check_graph($node, 't', 't_index', 'and right', database => $_) for qw(postgres second);
  $node->safe_psql('postgres', 'DROP DATABASE second');
  drop_table();
}

sub found_after_crash {
  hold_worker('worker-between-steps');
  make_index(2000);
  await_stop_point($node, 'worker-between-steps');
  arm_server($node);
  crash_backend($node, worker_pid($node));
  clear_stop_points($node);
  await_sealed(2000);
  check_graph($node, 't', 't_index', 'kill -9 of the worker: its work is found and done');
  hold_worker('worker-between-steps');
  insert_rows(2001, 4000);
  await_stop_point($node, 'worker-between-steps');
  kill_server($node);
  arm_server($node);
  clear_stop_points($node);
  $node->start;
  await_sealed(4000);
  check_graph($node, 't', 't_index', 'kill -9 of the server: the tail is found and folded');
  drop_table();
}

sub launcher_dies {
  await_no_worker();
  my $pid = launcher_pid();
  is($node->safe_psql('postgres', "SELECT pg_terminate_backend($pid, 60000)"), 't', 'a launcher ends');
  make_index(2000);
  await_sealed(2000);
  ok(launcher_pid() =~ /\d/ && launcher_pid() != $pid, 'a new launcher came, and started a worker');
  # A worker does not end with its launcher, and the next launcher leaves it its place.
  hold_worker('worker-between-steps');
  insert_rows(2001, 4000);
  await_stop_point($node, 'worker-between-steps');
  my $worker = worker_pid($node);
  $pid = launcher_pid();
  is($node->safe_psql('postgres', "SELECT pg_terminate_backend($pid, 60000)"), 't', 'another one ends');
  await_condition('the next launcher', sub { launcher_pid() ne '' });
  sleep 0.5;
  is($node->safe_psql('postgres', "SELECT string_agg(pid::text, ' ') FROM pg_stat_activity WHERE backend_type = 'tandem worker'"), $worker,
    'one worker serves a database, whoever started it');
  let_worker_go('worker-between-steps');
  await_sealed(4000);
  drop_table();
}

# ---- What is told late ----

sub strategy_changes {
  $node->safe_psql('postgres', <<'SQL');
CREATE TABLE t (id bigint, embedding vector(8));
INSERT INTO t SELECT i, spread_vector(i, 8) FROM generate_series(1, 3000) i;
CREATE INDEX t_index ON t USING tandem (embedding vector_l2_ops);
SQL
  await_no_worker();
  is(sealed_rows($node, 't_index'), 0, 'strategy flat builds no graph');
  $node->safe_psql('postgres', 'ALTER INDEX t_index SET (strategy = hnsw_batch)');
  await_sealed(3000);
  check_graph($node, 't', 't_index', 'ALTER INDEX to hnsw_batch builds one');
  $node->safe_psql('postgres', 'ALTER INDEX t_index RESET (strategy)');
  await_condition('the graph to be retired', sub { sealed_rows($node, 't_index') == 0 });
  check_index($node, 't', 't_index', 'back to flat, which answers exactly');
  # Its pages become free once a transaction id was taken.
  $node->safe_psql('postgres', 'SELECT pg_current_xact_id()');
  await_horizon($node);
  $node->safe_psql('postgres', 'VACUUM t');
  $node->poll_query_until('postgres', "SELECT segment_bytes = 0 AND retired_bytes < 100000 FROM tandem_index_stats WHERE indexname = 't_index'")
    or die 'retired pages are never free';
  pass('and whose pages are free');
  drop_table();
}

# The index goes on under another OID, with the same file, when no worker is there to miss the old one.
sub column_type {
  make_index(900);
  await_no_worker();
  is(sealed_rows($node, 't_index'), 0, '900 rows are not worth a graph');
  set_configuration($node, 'tandem.seal_rows = 500');
  my $file = $node->safe_psql('postgres', "SELECT pg_relation_filenode('t_index'), 't_index'::regclass::oid");
  sleep 0.5;
  is(sealed_rows($node, 't_index'), 0, 'nobody has looked again');
  $node->safe_psql('postgres', 'CREATE DOMAIN eight AS vector(8); ALTER TABLE t ALTER COLUMN embedding TYPE eight');
  my $renamed = $node->safe_psql('postgres', "SELECT pg_relation_filenode('t_index'), 't_index'::regclass::oid");
  ok((split /\|/, $file)[0] eq (split /\|/, $renamed)[0] && $file ne $renamed, 'ALTER COLUMN TYPE gives the file to a new index');
  await_sealed(900);
  pass('which a worker comes to look at');
  set_configuration($node, 'tandem.seal_rows = 10000');
  drop_table();
  $node->safe_psql('postgres', 'DROP DOMAIN eight');
}

# Between a commit and its invalidations others' caches still have the catalogs as they were.
sub told_after_commit {
  $node->safe_psql('postgres', <<'SQL');
CREATE TABLE t (id bigint, embedding vector(8));
INSERT INTO t SELECT i, spread_vector(i, 8) FROM generate_series(1, 2000) i;
CREATE INDEX t_index ON t USING tandem (embedding vector_l2_ops) WITH (strategy = flat);
SQL
  # A worker that knows the index, and stays: another one has to be built.
  hold_worker('worker-before-fold');
  make_index(2000, name => 'other');
  await_stop_point($node, 'worker-before-fold');
  let_worker_go('worker-before-fold');
  await_sealed(2000, 'other_index');
  my $session = start_session($node, 'alterer');
  $session->query_safe(arm_sql('committed-untold=wait'));
  send_sql($session, 'ALTER INDEX t_index SET (strategy = hnsw_batch);');
  await_stop_point($node, 'committed-untold');
  sleep 0.5;
  release_stop_point($node, 'committed-untold');
  is(end_session($session), '', 'ALTER INDEX, held between its commit and its invalidations');
  await_sealed(2000);
  pass('a change is told when everybody can see it');
  drop_table();
  drop_table('other');
}

# The index becomes valid in a transaction that does not know of us.
sub concurrently {
  $node->safe_psql('postgres', <<'SQL');
CREATE TABLE t (id bigint, embedding vector(8));
INSERT INTO t SELECT i, spread_vector(i, 8) FROM generate_series(1, 2000) i;
SQL
  my $old = start_session($node, 'old');
  $old->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM t');
  my $creator = start_session($node, 'creator');
  send_sql($creator, "CREATE INDEX CONCURRENTLY t_index ON t USING tandem (embedding vector_l2_ops) WITH (strategy = hnsw_batch);");
  await_wait_event($node, 'creator', 'virtualxid');
  sleep 1;    # ten naptimes: the worker has looked, and would have left
  is($node->safe_psql('postgres', "SELECT indisvalid FROM pg_index WHERE indexrelid = 't_index'::regclass"), 'f', 'not valid yet');
  end_session($old);
  is(end_session($creator), '', 'CREATE INDEX CONCURRENTLY');
  await_sealed(2000);
  pass('an index that became valid late is built, with nobody inserting');
  drop_table();
}

sub prepared {
  set_configuration($node, 'max_prepared_transactions = 5');
  $node->restart;
  $node->safe_psql('postgres', <<'SQL');
BEGIN;
CREATE TABLE t (id bigint, embedding vector(8));
INSERT INTO t SELECT i, spread_vector(i, 8) FROM generate_series(1, 2000) i;
CREATE INDEX t_index ON t USING tandem (embedding vector_l2_ops) WITH (strategy = hnsw_batch);
PREPARE TRANSACTION 'made';
SQL
  sleep 1.5;
  $node->safe_psql('postgres', "COMMIT PREPARED 'made'");
  await_sealed(2000);
  pass('an index of a prepared transaction is built');
  drop_table();
}

# ---- Making room ----

# H26. The commands themselves, beside a build, are in 014_graph_ddl.
sub evicted {
  $node->safe_psql('postgres', "CREATE DATABASE busy; CREATE ROLE stranger LOGIN CREATEDB; CREATE DATABASE copy");
  setup_database($node, 'busy');
  hold_worker('worker-between-steps');
  make_index(2000, database => 'busy');
  await_stop_point($node, 'worker-between-steps');
  my $pid = worker_pid($node, 'busy');
  my (undef, undef, $error) = $node->psql('postgres', arm_sql('worker-evicted=error') . 'SET ROLE stranger; DROP DATABASE busy');
  like($error, qr/must be owner/, 'a stranger cannot drop the database');
  unlike($error, qr/stop point/, 'nor does it get as far as to wait for the worker to leave');
  is(worker_pid($node, 'busy'), $pid, 'nor send it away');
  let_worker_go('worker-between-steps');
  await_sealed(2000, 't_index', 'busy');

  # A command that fails: workers may come back.
  (undef, undef, $error) = $node->psql('postgres', 'CREATE DATABASE copy TEMPLATE busy');
  like($error, qr/already exists/, 'CREATE DATABASE that fails');
  $node->safe_psql('busy', 'INSERT INTO t SELECT i, spread_vector(i, 8) FROM generate_series(2001, 4000) i');
  await_sealed(4000, 't_index', 'busy');
  pass('workers come back after a command that failed');

  # A session that dies in the middle of one.
  my $session = start_session($node, 'dropper');
  $session->query_safe(arm_sql('worker-evicted=wait'));
  send_sql($session, 'DROP DATABASE busy;');
  await_stop_point($node, 'worker-evicted');
  $node->safe_psql('busy', 'INSERT INTO t SELECT i, spread_vector(i, 8) FROM generate_series(4001, 6000) i');
  sleep 1;
  is(worker_pid($node, 'busy'), '', 'no worker comes while the database is to be dropped');
  $node->safe_psql('postgres', "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE application_name = 'dropper'");
  end_session($session);
  await_sealed(6000, 't_index', 'busy');
  pass('workers come back when the session is gone');
  clear_stop_points($node);

  # A template may be copied by whoever may create databases. The catalog is changed by hand: ALTER DATABASE sends the worker away.
  hold_worker('worker-between-steps');
  $node->safe_psql('busy', 'INSERT INTO t SELECT i, spread_vector(i, 8) FROM generate_series(6001, 8000) i');
  await_stop_point($node, 'worker-between-steps');
  $node->safe_psql('postgres', "UPDATE pg_database SET datistemplate = true WHERE datname = 'busy'");
  copy_beside_build('postgres', 'SET ROLE stranger; CREATE DATABASE second_copy TEMPLATE busy');
  is(sealed_rows($node, 't_index', 'busy'), 6000, 'a worker makes room for a stranger who copies a template');
  is(worker_pid($node, 'busy'), '', 'and does not come back to it');
  await_sealed(8000, 't_index', 'second_copy');
  pass('what was left to do is done in the copy');
  $node->safe_psql('postgres', "UPDATE pg_database SET datistemplate = false WHERE datname = 'busy'");
  # One's own database.
  hold_worker('worker-between-steps');
  $node->safe_psql('second_copy', 'INSERT INTO t SELECT i, spread_vector(i, 8) FROM generate_series(8001, 10000) i');
  await_stop_point($node, 'worker-between-steps');
  copy_beside_build('second_copy', 'CREATE DATABASE third_copy TEMPLATE second_copy');
  pass('a session copies its own database beside a build');
  $node->safe_psql('postgres', "DROP DATABASE $_") for qw(busy copy second_copy third_copy);
  $node->safe_psql('postgres', 'DROP ROLE stranger');
}

# The command must send the worker away, which is held in the middle of a build; just ending the build would do, too.
sub copy_beside_build {
  my ($database, $command) = @_;
  my $session = start_session($node, 'copier', database => $database);
  $session->query_safe(arm_sql('worker-evicted=wait'));
  send_sql($session, "$command;");
  await_wait_event($node, 'copier', 'Extension');
  let_worker_go('worker-between-steps');
  await_stop_point($node, 'worker-evicted');
  release_stop_point($node, 'worker-evicted');
  is(end_session($session), '', $command);
  clear_stop_points($node);
}

sub templates {
  $node->safe_psql('postgres', 'CREATE DATABASE pattern');
  setup_database($node, 'pattern');
  $node->safe_psql('postgres', 'ALTER DATABASE pattern IS_TEMPLATE true');
  make_index(2000, database => 'pattern');
  my $failed = '';
  for (1 .. 20) {
    my (undef, undef, $error) = $node->psql('postgres', 'CREATE DATABASE again TEMPLATE pattern; DROP DATABASE again');
    $failed .= $error;
  }
  is($failed, '', 'no worker gets in the way of CREATE DATABASE from a template');
  sleep 1.5;
  is(sealed_rows($node, 't_index', 'pattern'), 0, 'whose indexes nobody builds');
  my (undef, undef, $error) = $node->psql('pattern', "CALL tandem_wait('t_index', '1 min')");
  like($error, qr/there is no background worker .*DETAIL:  Workers do not connect to templates.*HINT:  Use CALL tandem_build/s,
    'nobody waits for it');
  $node->safe_psql('postgres', 'CREATE DATABASE again TEMPLATE pattern');
  await_sealed(2000, 't_index', 'again');
  pass('but those of its copies, without a word from anybody');
  $node->safe_psql('pattern', 'VACUUM t');
  is(sealed_rows($node, 't_index', 'pattern'), 2000, 'VACUUM folds where no worker comes');

  # A database that admits workers again is looked at; nobody speaks up in it.
  $node->safe_psql('pattern', 'INSERT INTO t SELECT i, spread_vector(i, 8) FROM generate_series(2001, 4000) i');
  $node->safe_psql('postgres', 'ALTER DATABASE pattern IS_TEMPLATE false');
  await_sealed(4000, 't_index', 'pattern');
  pass('a template that is none any more');
  my $session = start_session($node, 'last', database => 'pattern');
  $node->safe_psql('postgres', 'ALTER DATABASE pattern ALLOW_CONNECTIONS false');
  $session->query_safe('INSERT INTO t SELECT i, spread_vector(i, 8) FROM generate_series(4001, 6000) i');
  end_session($session);
  sleep 1;
  $node->safe_psql('postgres', 'ALTER DATABASE pattern ALLOW_CONNECTIONS true');
  await_sealed(6000, 't_index', 'pattern');
  pass('a database that allows connections again');
  # Not told at all.
  $node->safe_psql('postgres', "UPDATE pg_database SET datistemplate = true WHERE datname = 'pattern'");
  $node->safe_psql('pattern', 'INSERT INTO t SELECT i, spread_vector(i, 8) FROM generate_series(6001, 8000) i');
  await_no_worker('pattern');
  $node->safe_psql('postgres', "UPDATE pg_database SET datistemplate = false WHERE datname = 'pattern'");
  await_sealed(8000, 't_index', 'pattern');
  pass('the launcher asks again by itself');
  $node->safe_psql('postgres', 'DROP DATABASE pattern; DROP DATABASE again');
}

sub many_databases {
  my @names = map { "many_$_" } 1 .. 7;
  $node->safe_psql('postgres', 'CREATE DATABASE model');
  setup_database($node, 'model');
  $node->safe_psql('postgres', "CREATE DATABASE $_ TEMPLATE model") for @names;
  hold_worker('worker-before-fold');
  make_index(2000, database => $_) for @names;
  my $most = 0;
  my $count = sub {
    my $workers = $node->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'tandem worker'");
    $most = $workers if $workers > $most;
    return $workers;
  };
  await_condition('all places to be taken', sub { $count->() >= 4 });
  for (1 .. 20) { $count->(); sleep 0.05 }
  let_worker_go('worker-before-fold');
  for my $name (@names) {
    await_condition("$name to have its turn", sub { $count->(); sealed_rows($node, 't_index', $name) >= 2000 });
  }
  is($most, 4, 'seven databases share four places');
  $node->safe_psql('postgres', "DROP DATABASE $_") for 'model', @names;
}

# ---- Without ----

sub no_process_left {
  set_configuration($node, 'max_worker_processes = 2');    # logical replication's launcher, and ours
  my $log_end = -s $node->logfile;
  $node->start;
  make_index(2000);
  $node->wait_for_log(qr/tandem cannot start a background worker/, $log_end);
  like(slurp_file($node->logfile, $log_end), qr/HINT:\s+Raise max_worker_processes/, 'a hint says what to do');
  $node->poll_query_until('postgres',
    "SELECT last_error ~ 'raise max_worker_processes' AND last_error_at IS NOT NULL AND pid IS NULL FROM tandem_build_progress WHERE indexname = 't_index'")
    or die 'no shortage is shown';
  pass('and so does tandem_build_progress');
  my $started = time;
  my (undef, undef, $error) = $node->psql('postgres', q{\set VERBOSITY verbose
CALL tandem_wait('t_index')});
  like($error, qr/ERROR:  53400: there is no background worker .*DETAIL:  No process is left for it.*HINT:  Raise max_worker_processes/s,
    'tandem_wait() does not wait for ever');
  cmp_ok(time - $started, '>', 5, 'nor does it give up at once');
  $node->safe_psql('postgres', 'VACUUM t');
  is(sealed_rows($node, 't_index'), 2000, 'VACUUM folds');
  insert_rows(2001, 4000);
  $node->safe_psql('postgres', q{CALL tandem_build('t_index')});
  check_graph($node, 't', 't_index', 'graphs can be built by hand');
  my $said = () = slurp_file($node->logfile, $log_end) =~ /cannot start a background worker/g;
  is($said, 1, 'it is said once');
  drop_table();
  $node->stop;
  set_configuration($node, 'max_worker_processes = 16');
}

sub without_preload {
  set_configuration($node, "shared_preload_libraries = ''");
  $node->start;
  make_index(2000);
  insert_rows(2001, 4000);
  is(launcher_pid(), '', 'without preload there is no launcher');
  check_graph($node, 't', 't_index', 'and all rows are found');
  $node->safe_psql('postgres', q{CREATE DATABASE other; DROP DATABASE other; CALL tandem_build('t_index')});
  is(sealed_rows($node, 't_index'), 4000, 'tandem_build() folds');
  $node->stop;
}
