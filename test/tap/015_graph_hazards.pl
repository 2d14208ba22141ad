# The ways to break graphs that need neither a crash nor a race: HAZARDS H19, H21, H23, H28, H29, H30, H31, H33, H42, H43, each
# in a function of its number.
#
# Seen to fail with: build threads that do not block signals (H30); rows with equal codes in nodes of their own (H23); progress that
# ends with the subtransaction of a failed fold, and errors of folds let through (H28); graphs that end with their first batch, and
# max_scan_tuples not looked at, late rows counted by subtracting those returned before (H19); a launcher in binary upgrade (H21); inserts that compute half a second whatever the timeout is (H29);
# temporary indexes and those of the same transaction waited for, and rows counted anew with each look (H31); m let stand with strategy flat (H33); work_mem not looked at
# (H43).
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TandemTest;
use Test::More;
use Time::HiRes qw(sleep time);

my $dimensions = 8;
my $folder = PostgreSQL::Test::Utils::tempdir();
my $hnsw = 'm = 8, ef_construction = 40';
my $patience = $PostgreSQL::Test::Utils::timeout_default;    # seconds

seed();
my $node = make_node('hazards', preload => 1, conf => "tandem.seal_rows = 2000\nmax_connections = 40\n");
need_stop_points($node);

h19_promises();
h19_counts();
h23_identical_vectors();
h28_vacuum_with_failing_fold();
h29_statement_timeout();
h30_signals();
h31_wait_ends();
h33_options();
h42_updates();
h43_drained();
h21_upgrade();
done_testing();

sub make_table {
  my ($name, $count, $with) = @_;
  $node->safe_psql('postgres', table_sql($name, $count, $with // "strategy = hnsw_batch, $hnsw"));
}

sub table_sql {
  my ($name, $count, $with) = @_;
  return <<"SQL";
DROP TABLE IF EXISTS $name;
CREATE TABLE $name (id bigint, other int DEFAULT 0, embedding vector($dimensions)) WITH (autovacuum_enabled = off);
CREATE INDEX ${name}_index ON $name USING tandem (embedding vector_l2_ops) WITH ($with);
INSERT INTO $name SELECT i, 0, spread_vector(i, $dimensions) FROM generate_series(1, $count) i;
SQL
}

# All rows that qualify come, however far they are; only max_scan_tuples cuts, or iterative_scan off.
sub h19_promises {
  make_table('far', 8000);
  await_rest($node, 'far_index');
  # The 12 farthest rows, behind a clause that no index serves.
  $node->safe_psql('postgres', "UPDATE far SET other = 1 WHERE id IN (SELECT id FROM far ORDER BY embedding <-> spread_vector(5, $dimensions) DESC LIMIT 12)");
  await_rest($node, 'far_index');
  my $query = "SELECT id FROM far WHERE other = 1 ORDER BY embedding <-> spread_vector(5, $dimensions) LIMIT 12";
  my $force = 'SET enable_seqscan = off; SET enable_sort = off;';
  for my $order (qw(strict_order relaxed_order)) {
    my $found = $node->safe_psql('postgres', "$force SET tandem.iterative_scan = $order; $query");
    is(scalar(split /\n/, $found), 12, "H19: 12 far rows behind a clause, $order");
  }
  my $all = "SELECT count(*) FROM (SELECT id FROM far ORDER BY embedding <-> spread_vector(5, $dimensions)) s";
  is($node->safe_psql('postgres', "$force SET tandem.iterative_scan = relaxed_order; $all"), 8000, 'H19: no LIMIT, all rows');
  my $cut = $node->safe_psql('postgres', "$force SET tandem.max_scan_tuples = 500; SET tandem.iterative_scan = relaxed_order; $all");
  cmp_ok($cut, '<', 8000, "H19: max_scan_tuples cuts, here to $cut rows");
  cmp_ok($cut, '>=', 500, 'H19: but not before');
  is($node->safe_psql('postgres', "$force SET tandem.iterative_scan = off; SET tandem.ef_search = 40; "
      . "SELECT count(*) <= 200 FROM (SELECT id FROM far ORDER BY embedding <-> spread_vector(5, $dimensions)) s"), 't',
    'H19: iterative_scan off ends after what one search found');
}

# VACUUM takes rows that cursors have had before they turn exact. Of the others all that a graph of few links has missed are counted as late.
sub h19_counts {
  my $cursors = 30;
  $node->safe_psql('postgres', <<"SQL");
CREATE TABLE gone (id int, embedding vector(4)) WITH (autovacuum_enabled = off);
INSERT INTO gone SELECT i, spread_vector(i, 4) FROM generate_series(1, 3000) i;
CREATE INDEX gone_index ON gone USING tandem (embedding vector_l2_ops) WITH (strategy = hnsw_batch, m = 4, ef_construction = 16);
CALL tandem_build('gone_index');
DELETE FROM gone WHERE id % 5 < 2;
SQL
  my $session = start_session($node, 'cursors');
  $session->query_safe("SET tandem.stop_points = ''; SET enable_seqscan = off; SET enable_sort = off; LOAD 'auto_explain'; SET auto_explain.log_min_duration = 0;
    SET auto_explain.log_analyze = on; SET auto_explain.log_timing = off; SET auto_explain.log_level = notice; BEGIN;");
  for my $i (1 .. $cursors) {
    $session->query("DECLARE c$i CURSOR FOR SELECT id FROM gone WHERE id <> 0 ORDER BY embedding <-> spread_vector(-$i, 4)");
    $session->query("MOVE 20 FROM c$i");
  }
  $node->safe_psql('postgres', 'VACUUM (INDEX_CLEANUP on) gone');
  my ($missing, $uncounted, $exact) = (0, 0, 0);
  for my $i (1 .. $cursors) {
    $session->query("MOVE ALL FROM c$i");
    $session->{stderr} = '';
    $session->query("CLOSE c$i");
    my ($returned) = $session->{stderr} =~ /Tandem Scan.*actual rows=(\d+)/;
    my $late = $session->{stderr} =~ /Late Rows Dropped: (\d+)/ ? $1 : 0;
    $exact++ if $session->{stderr} =~ /Tactic: plain walk, exact/;
    my $missed = 1800 - $returned;
    $missing += $missed;
    $uncounted += $missed - $late if $missed > $late;
  }
  end_session($session);
  is($exact, $cursors, 'H19: searches turned exact');
  cmp_ok($missing, '>', 0, "H19: of $cursors searches some miss rows, in all $missing");
  is($uncounted, 0, 'H19: all rows that are left out are counted, whatever VACUUM takes meanwhile');
}

# Every non-HOT update appends the same vector: versions of a few rows must not crowd out the others.
sub h23_identical_vectors {
  make_table('same', 5000);
  $node->safe_psql('postgres', 'CREATE INDEX ON same (other)');
  for (1 .. 20) {
    $node->safe_psql('postgres', join '', map { "UPDATE same SET other = other + 1 WHERE id BETWEEN 101 AND 150;\n" } 1 .. 10);
  }
  await_rest($node, 'same_index');
  my $ids = join ',', map { 101 + 2 * $_ } 0 .. 24;
  my $by = sub { $node->safe_psql('postgres', "SET $_[0] = off; SELECT q, (SELECT string_agg(id::text, ' ') FROM (SELECT id FROM same ORDER BY embedding <-> spread_vector(q, $dimensions) LIMIT 10) s) FROM unnest(ARRAY[$ids]) q") };
  my ($by_index, $by_table) = ($by->('enable_seqscan'), $by->('enable_indexscan'));
  is(overlap($by_index, $by_table) >= 0.9, 1, 'H23: 10,000 versions of 50 rows, none of them vacuumed: recall around them');
  check_graph($node, 'same', 'same_index', 'H23: and everywhere else');
  my ($nodes, $rows) = split /\|/, $node->safe_psql('postgres', "SELECT sum(nodes), sum(rows) FROM tandem_segments('same_index')");
  cmp_ok($nodes, '<', 7500, "H23: equal vectors share a node: $nodes nodes of $rows rows");
  # Really many equal ones.
  $node->safe_psql('postgres', "INSERT INTO same SELECT 100000 + i, 0, spread_vector(7777777, $dimensions) FROM generate_series(1, 3000) i");
  await_rest($node, 'same_index');
  check_graph($node, 'same', 'same_index', 'H23: 3,000 rows with one vector', numbers => [ 7777777, 3, 1e6 ]);
}

sub overlap {
  my ($a, $b) = @_;
  my ($same, $all) = (0, 0);
  my @a = split /\n/, $a;
  my @b = split /\n/, $b;
  for my $i (0 .. $#b) {
    my %in = map { $_ => 1 } split / /, (split /\|/, $a[$i])[1];
    my @wanted = split / /, (split /\|/, $b[$i])[1];
    $all += @wanted;
    $same += grep { $in{$_} } @wanted;
  }
  return $same / $all;
}

# Without a worker it is VACUUM that folds. A fold that always fails must not keep it from freezing.
sub h28_vacuum_with_failing_fold {
  my $plain = make_node('plain');
  $plain->safe_psql('postgres', table_sql('frozen', 3000, "strategy = hnsw_batch, $hnsw"));
  my $age = "SELECT age(relfrozenxid) FROM pg_class WHERE relname = 'frozen'";
  $plain->safe_psql('postgres', 'SELECT pg_current_xact_id()') for 1 .. 20;
  my $before = $plain->safe_psql('postgres', $age);
  my ($status, undef, $error) = $plain->psql('postgres', arm_sql('publish-before-root=error') . 'VACUUM (FREEZE) frozen');
  is($status, 0, 'H28: VACUUM does not fail with its fold');
  like($error, qr/WARNING/, 'H28: it warns');
  cmp_ok($plain->safe_psql('postgres', $age), '<', $before, 'H28: relfrozenxid moves');
  # Nor end what VACUUM shows of itself: it goes on with another index, whose segments it retires.
  $plain->safe_psql('postgres', table_sql('shown', 2000, "strategy = hnsw_batch, $hnsw"));
  $plain->safe_psql('postgres', "CREATE INDEX shown_second ON shown USING tandem (embedding vector_l2_ops) WITH (strategy = hnsw_inline); "
      . "ALTER INDEX shown_second SET (strategy = flat)");
  my $session = start_session($plain, 'vacuum');
  $session->query_safe(arm_sql('fold-before-read=error', 'publish-before-root=wait'));
  send_sql($session, 'VACUUM shown;');
  await_stop_point($plain, 'publish-before-root');
  is($plain->safe_psql('postgres', "SELECT relid::regclass, phase, heap_blks_total > 0 FROM pg_stat_progress_vacuum"), 'shown|cleaning up indexes|t',
    'H28: VACUUM shows its progress after a fold that failed');
  release_stop_point($plain, 'publish-before-root');
  like(end_session($session), qr/WARNING/, 'H28: which it warned of');
  clear_stop_points($plain);
  is(segments_of($plain, 'frozen_index'), '', 'H28: no segment came of it');
  check_graph($plain, 'frozen', 'frozen_index', 'H28: the index is right');
  $plain->safe_psql('postgres', 'ANALYZE frozen');
  is(segments_of($plain, 'frozen_index'), '', 'H28: ANALYZE does not fold');
  $plain->safe_psql('postgres', 'VACUUM frozen');
  isnt(segments_of($plain, 'frozen_index'), '', 'H28: the next VACUUM folds');
  check_graph($plain, 'frozen', 'frozen_index', 'H28: and the index is right');
  $plain->stop;
}

# An insert folds a little of what waits, within its time; it never fails because of it.
sub h29_statement_timeout {
  make_table('inline', 0, "strategy = hnsw_inline, m = 32, ef_construction = 400");
  # Far more in the tail than an insert may fold: loaded while the strategy was another.
  $node->safe_psql('postgres', "ALTER INDEX inline_index RESET (m, ef_construction); ALTER INDEX inline_index SET (strategy = flat);"
      . "INSERT INTO inline SELECT i, 0, spread_vector(i, $dimensions) FROM generate_series(1, 6000) i;"
      . "ALTER INDEX inline_index SET (strategy = hnsw_inline, m = 32, ef_construction = 400)");
  # Steps so short and so slow that a fold would take minutes. An insert folds for half a second; if that is longer, for a quarter of its time.
  for my $case ([ 'half a second', '60s' ], [ 'a quarter of its time', '8s', 'long-folds=on' ]) {
    my ($label, $timeout, @switches) = @$case;
    my (undef, undef, $error) = $node->psql('postgres', arm_sql('small-steps=on', 'slow-steps=on', @switches)
        . "SET statement_timeout = '$timeout'; INSERT INTO inline VALUES (100000, 0, '" . join('', '[', join(',', map { rand } 1 .. $dimensions), ']') . "')");
    is($error, '', "H29: no insert is cancelled by statement_timeout, the tail far over the bound: $label");
  }
  my ($status, undef, $error) = $node->psql('postgres', <<"SQL");
SET statement_timeout = '60s';
DO \$\$ BEGIN FOR i IN 1 .. 500 LOOP INSERT INTO inline VALUES (200000 + i, 0, spread_vector(200000 + i, $dimensions)); END LOOP; END \$\$;
SQL
  is($error, '', 'H29: inserts from plpgsql');
  check_graph($node, 'inline', 'inline_index', 'H29: the index is right');
  $node->safe_psql('postgres', "INSERT INTO inline SELECT i, 0, spread_vector(i, $dimensions) FROM generate_series(300000, 308000) i");
  isnt(segments_of($node, 'inline_index'), '', 'H29: and inserts do fold');
  $node->safe_psql('postgres', "CALL tandem_build('inline_index')");
  check_graph($node, 'inline', 'inline_index', 'H29: the index is right at the end');
}

# Signals of all kinds while threads build: they are handled by the process, not on a thread.
sub h30_signals {
  $node->safe_psql('postgres', <<"SQL");
CREATE TABLE storm (id bigint, embedding vector(100));
INSERT INTO storm SELECT i, spread_vector(i, 100) FROM generate_series(1, 4000) i;
SQL
  set_configuration($node, 'tandem.build_threads = 3');
  # It goes on for as long as signals come.
  arm_server($node, 'endless-build=on');
  $node->safe_psql('postgres', "CREATE INDEX storm_index ON storm USING tandem (embedding vector_l2_ops) WITH (strategy = hnsw_batch, m = 32, ef_construction = 400)");
  my $worker = await_worker($node);
  await_condition('a build', sub { $node->safe_psql('postgres', "SELECT count(*) > 0 FROM tandem_build_progress WHERE indexname = 'storm_index' AND pid <> 0") eq 't' });
  my @threads = glob "/proc/$worker/task/*";
  my $unblocked = grep { !/\/$worker$/ && !all_signals_blocked($_) } @threads;
  is($unblocked, 0, 'H30: every build thread blocks all signals, of ' . (@threads - 1));
  my $storm = sub {
    for (1 .. 20) { kill 'HUP', $worker; kill 'USR1', $worker; sleep 0.002 }
    $node->safe_psql('postgres', 'SELECT pg_reload_conf()');
  };
  $storm->() for 1 .. 50;
  arm_server($node);
  await_condition('the build to end in spite of signals', sub { $storm->(); $node->safe_psql('postgres', "SELECT count(*) FROM tandem_segments('storm_index')") ne '0' });
  check_graph($node, 'storm', 'storm_index', 'H30: signals during a build', dimensions => 100, floor => 0.5);
  # A build in a session, cancelled again and again.
  for my $round (1 .. 6) {
    $node->safe_psql('postgres', "REINDEX INDEX storm_index");
    my $session = start_session($node, 'builder');
    send_sql($session, "SET tandem.build_threads = 3; CALL tandem_build('storm_index');");
    sleep 0.05 + rand(0.3);
    $node->safe_psql('postgres', "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE application_name = 'builder'");
    end_session($session);
  }
  check_graph($node, 'storm', 'storm_index', 'H30: builds that were cancelled', dimensions => 100, floor => 0.5);
  # Workers that are told to stop are started again.
  kill 'TERM', $worker if $worker;
  await_rest($node, 'storm_index');
  check_graph($node, 'storm', 'storm_index', 'H30: a worker that was terminated comes back', dimensions => 100, floor => 0.5);
  set_configuration($node, 'tandem.build_threads = 1');
}

sub all_signals_blocked {
  my ($task) = @_;
  open my $in, '<', "$task/status" or return 1;    # it has ended
  while (<$in>) {
    # The kernel never lets KILL and STOP be blocked; glibc keeps 32 and 33 for itself.
    return $1 =~ /^f{7}(?:e7|ff)ffbfeff$/ if /^SigBlk:\s+([0-9a-f]+)/;
  }
  return 1;
}

# tandem_wait() ends in each case, with an error where it could never come true.
sub h31_wait_ends {
  my $wait = sub { my ($index, $before) = @_; $node->psql('postgres', "SET statement_timeout = '${patience}s'; " . ($before // '') . "CALL tandem_wait('$index')") };
  make_table('waited', 100, 'strategy = flat');
  my ($status, undef, $error) = $wait->('waited_index');
  isnt($status, 0, 'H31: flat');
  unlike($error, qr/statement timeout/, 'H31: flat: at once');
  ($status, undef, $error) = $node->psql('postgres', <<"SQL");
SET statement_timeout = '${patience}s';
BEGIN;
CREATE TABLE fresh (id bigint, embedding vector($dimensions));
CREATE INDEX fresh_index ON fresh USING tandem (embedding vector_l2_ops) WITH (strategy = hnsw_batch);
INSERT INTO fresh SELECT i, spread_vector(i, $dimensions) FROM generate_series(1, 100) i;
CALL tandem_wait('fresh_index');
SQL
  isnt($status, 0, 'H31: created in the same transaction');
  unlike($error, qr/statement timeout/, 'H31: created in the same transaction: at once');
  ($status, undef, $error) = $node->psql('postgres', <<"SQL");
SET statement_timeout = '${patience}s';
CREATE TEMP TABLE temporary (id bigint, embedding vector($dimensions));
CREATE INDEX temporary_index ON temporary USING tandem (embedding vector_l2_ops) WITH (strategy = hnsw_batch);
INSERT INTO temporary SELECT i, spread_vector(i, $dimensions) FROM generate_series(1, 3000) i;
CALL tandem_wait('temporary_index');
SQL
  isnt($status, 0, 'H31: temporary');
  unlike($error, qr/statement timeout/, 'H31: temporary: at once');
  # Few rows, and rows that keep coming: what was there at the call is what counts.
  make_table('waited', 300);
  ($status, undef, $error) = $wait->('waited_index');
  is($error, '', 'H31: 300 rows, fewer than are worth it');
  append_to_file("$folder/steady.sql", "INSERT INTO waited SELECT i, 0, spread_vector(i, $dimensions) FROM generate_series(1, 20) i;\n");
  my $steady = IPC::Run::start([ $node->installed_command('pgbench'), '-n', '-T', 600, '-R', 100, '-f', "$folder/steady.sql", $node->connstr('postgres') ],
    '<', \undef, '>', \my $out, '2>', \my $steady_error);
  sleep 0.5;
  ($status, undef, $error) = $wait->('waited_index');
  is($error, '', 'H31: steady inserts');
  $steady->signal('INT');
  eval { $steady->finish };
  # The same at leisure: rows that come after the fold has read its own are in nobody's way, though the worker is held.
  make_table('waited', 300);
  clear_stop_points($node);
  arm_server($node, 'fold-before-publish=wait', 'fold-after-publish=wait');
  my $waiter = start_session($node, 'waiter');
  send_sql($waiter, "SET statement_timeout = '${patience}s'; CALL tandem_wait('waited_index');");
  await_stop_point($node, 'fold-before-publish');
  $node->safe_psql('postgres', "INSERT INTO waited SELECT i, 0, spread_vector(i, $dimensions) FROM generate_series(1001, 1050) i");
  release_stop_point($node, 'fold-before-publish');
  is(end_session($waiter), '', 'H31: rows that came after the call are not waited for');
  is(sealed_rows($node, 'waited_index'), 300, 'H31: which are in no graph yet');
  arm_server($node);
  release_stop_point($node, 'fold-after-publish');
  # A timeout is kept.
  arm_server($node, 'publish-before-root=error');
  $node->safe_psql('postgres', "INSERT INTO waited SELECT i, 0, spread_vector(i, $dimensions) FROM generate_series(1, 2500) i");
  ($status, undef, $error) = $node->psql('postgres', "SET statement_timeout = '${patience}s'; CALL tandem_wait('waited_index', '2 s')");
  like($error, qr/timed out while waiting|could not build the graphs/, 'H31: a build that always fails: the wait ends');
  # Two seconds may have been too few for the build to fail.
  await_condition('the view to show why', sub { $node->safe_psql('postgres', "SELECT last_error FROM tandem_build_progress WHERE indexname = 'waited_index'") =~ /stop point/ });
  pass('H31: the view shows why');
  check_graph($node, 'waited', 'waited_index', 'H31: a build that always fails: the rows are found all the same');
  arm_server($node);
  await_folded($node, 'waited_index');
  pass('H31: and works again when the cause is gone');
}

# Options in every combination can be dumped, restored and dropped; strategies change without a rewrite.
sub h33_options {
  make_table('options', 3000);
  await_folded($node, 'options_index');
  my $rows = $node->safe_psql('postgres', "SELECT count(*), min(row_id), max(row_id) FROM tandem_rows('options_index')");
  my ($status, undef, $error) = $node->psql('postgres', "ALTER INDEX options_index SET (strategy = flat)");
  isnt($status, 0, 'H33: flat with m is refused');
  like($error, qr/RESET/, 'H33: with a hint');
  $node->safe_psql('postgres', "BEGIN; ALTER INDEX options_index RESET (m, ef_construction); ALTER INDEX options_index SET (strategy = flat); ROLLBACK");
  isnt(segments_of($node, 'options_index'), '', 'H33: rolled back, the segments stay');
  $node->safe_psql('postgres', "ALTER INDEX options_index RESET (m, ef_construction)");
  $node->safe_psql('postgres', "ALTER INDEX options_index SET (strategy = flat)");
  $node->poll_query_until('postgres', "SELECT count(*) = 0 FROM tandem_segments('options_index')") or die 'segments stay';
  check_index($node, 'options', 'options_index', 'H33: flat again, exact');
  $node->safe_psql('postgres', "ALTER INDEX options_index SET (strategy = hnsw_batch, m = 12)");
  await_folded($node, 'options_index');
  is($node->safe_psql('postgres', "SELECT max(m) FROM tandem_segments('options_index')"), 12, 'H33: a graph of the new m');
  is($node->safe_psql('postgres', "SELECT count(*), min(row_id), max(row_id) FROM tandem_rows('options_index')"), $rows,
    'H33: the flat relation was not rewritten');
  $node->safe_psql('postgres', "ALTER INDEX options_index SET (strategy = hnsw_inline, m = 6, ef_construction = 30, ef_search = 60)");
  $node->command_ok([ 'pg_dump', '-Fp', '-t', 'options', '-f', "$folder/options.sql", 'postgres' ], 'H33: pg_dump');
  $node->safe_psql('postgres', 'CREATE DATABASE restored');
  setup_database($node, 'restored');
  $node->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-d', 'restored', '-f', "$folder/options.sql" ], 'H33: restored');
  check_graph($node, 'options', 'options_index', 'H33: the restored index', database => 'restored');
  isnt(segments_of($node, 'options_index', 'restored'), '', 'H33: hnsw_inline: CREATE INDEX has built the graph');
  $node->safe_psql('postgres', 'DROP DATABASE restored; ');
  $node->safe_psql('postgres', 'DROP TABLE options');
}

# Ten updates of each row, then VACUUM and rest.
sub h42_updates {
  make_table('updated', 3000);
  await_rest($node, 'updated_index');
  my $size = sub { $node->safe_psql('postgres', "SELECT pg_relation_size('updated_index')") };
  my $before = $size->();
  my @sizes;
  for my $round (1 .. 10) {
    $node->safe_psql('postgres', "UPDATE updated SET embedding = spread_vector(id + 10000 * $round, $dimensions)");
    $node->safe_psql('postgres', 'VACUUM (INDEX_CLEANUP ON) updated');
    push @sizes, $size->();
  }
  await_rest($node, 'updated_index');
  note("$before bytes, then @sizes, at rest " . $size->());
  check_graph($node, 'updated', 'updated_index', 'H42: ten updates of each row');
  my ($rows, $nodes) = split /\|/, $node->safe_psql('postgres', "SELECT sum(rows), sum(nodes) FROM tandem_segments('updated_index')");
  cmp_ok($nodes, '<', 2 * 3000, 'H42: at rest the graph has no more than twice the nodes that live rows need');
}

# No LIMIT over more rows than memory holds ids of. Asked in strict order, rows that a graph finds too late are dropped: few,
# as a search that is not forced to stay with graphs soon turns into an exact one behind the last row.
sub h43_drained {
  make_table('drained', 30000);
  await_folded($node, 'drained_index');
  my $drain = "SELECT count(*), count(DISTINCT id) FROM (SELECT id FROM drained ORDER BY embedding <-> spread_vector(9, $dimensions) OFFSET 0) s";
  is($node->safe_psql('postgres', "SET enable_seqscan = off; SET enable_sort = off; SET work_mem = '64kB'; SET tandem.iterative_scan = relaxed_order; $drain"),
    '30000|30000', 'H43: all rows with little memory');
  # Graphs alone are asked here as long as they may: what they and the rows returned take is what ends it. 8,192 row ids are 64 kB.
  my (undef, $by_graph) = $node->psql('postgres', "SET enable_seqscan = off; SET enable_sort = off; SET work_mem = '64kB'; "
      . "SET tandem.iterative_scan = relaxed_order; EXPLAIN (ANALYZE, VERBOSE) $drain");
  my ($re_ranked) = $by_graph =~ /Re-ranked Rows: (\d+)/;
  cmp_ok($re_ranked // 30000, '<', 9000, "H43: graphs have delivered no more rows than work_mem remembers");
  my $own_way = "SET tandem.stop_points = ''; SET tandem.ef_search = 20; SET enable_seqscan = off; SET enable_sort = off; SET work_mem = '64kB'";
  my ($status, $plan) = $node->psql('postgres', "$own_way; EXPLAIN (ANALYZE, VERBOSE) $drain");
  like($plan, qr/Mode: both/, 'H43: begins with graphs, ends exactly');
  my ($found, $ids) = split /\|/, $node->safe_psql('postgres', "$own_way; $drain");
  is($found, $ids, 'H43: strict order: no row twice');
  cmp_ok($found, '>=', 29900, "H43: strict order: $found of 30,000 rows, the others came too late");
}

# pg_upgrade starts the server several times: no worker may write into files that are about to be replaced. Last, as the old
# cluster is gone afterwards.
sub h21_upgrade {
  make_table('upgraded', 2500);
  await_rest($node, 'upgraded_index');
  $node->safe_psql('postgres', "DROP TABLE IF EXISTS $_") for qw(far same inline storm waited updated drained);
  set_configuration($node, "tandem.naptime = '1h'");
  $node->safe_psql('postgres', "INSERT INTO upgraded SELECT i, 0, spread_vector(i, $dimensions) FROM generate_series(10001, 11500) i");
  my $segments = segments_of($node, 'upgraded_index');
  # Eager from now on: the worker would have time while pg_upgrade looks around.
  $node->append_conf('postgresql.conf', "tandem.naptime = '10ms'\ntandem.seal_rows = 100\n");
  $node->stop;
  my $new = PostgreSQL::Test::Cluster->new('new');
  $new->init;
  $new->append_conf('postgresql.conf', "log_statement = none\nautovacuum = off\nshared_preload_libraries = 'tandem'\n"
      . "tandem.naptime = '1h'\ntandem.seal_rows = 1000000\n");
  my $bindir = $node->config_data('--bindir');
  my $here = PostgreSQL::Test::Utils::tempdir();
  chdir $here or die "$here: $!";
  command_ok(
    [ 'pg_upgrade', '--no-sync', '-d', $node->data_dir, '-D', $new->data_dir, '-b', $bindir, '-B', $bindir,
      '-s', $new->host, '-p', $node->port, '-P', $new->port ],
    'H21: pg_upgrade with rows that wait');
  $new->start;
  is(segments_of($new, 'upgraded_index'), $segments, 'H21: the very same segments');
  check_graph($new, 'upgraded', 'upgraded_index', 'H21: the same rows');
  set_configuration($new, "tandem.naptime = '100ms'", 'tandem.seal_rows = 1000');
  await_rest($new, 'upgraded_index');
  isnt(segments_of($new, 'upgraded_index'), $segments, 'H21: the new server folds what waited');
  check_graph($new, 'upgraded', 'upgraded_index', 'H21: and answers right');
  $new->stop;
}
