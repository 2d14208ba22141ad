# Graphs in shared memory: that searches load them, that the budget is kept and none of it leaks, whatever happens to those who
# load and read; who gives way to whom; no budget. HAZARDS H32 and, of its list, errors, termination and crashes at each point.
#
# Seen to fail with: frames or loading marks not given back at the end of a transaction, of a subtransaction, of a session;
# epochs not left there; segments in use giving way.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TandemTest;
use Test::More;
use Time::HiRes qw(sleep time);

my $rows = 3000;
my $dimensions = 16;
my $idle_seconds = 10;    # ChunkDirectory::kIdleSeconds

# No place for a worker, which would load what sessions are to load here.
my $node = make_node('cache', preload => 1, conf => "max_worker_processes = 1\n");
need_stop_points($node);
searches_fill_memory();
other_databases_show_without_names();
errors_leave_nothing();
dropped_indexes_go();
a_crash_empties_it();
small_budget();
no_budget();
$node->stop;
done_testing();

sub make_indexes {
  my (@tables) = @_;
  for my $table (@tables) {
    $node->safe_psql('postgres', "CREATE TABLE $table (id bigint, embedding vector($dimensions)) WITH (autovacuum_enabled = off);"
        . "INSERT INTO $table SELECT i, spread_vector(i, $dimensions) FROM generate_series(1, $rows) i;"
        . "CREATE INDEX ${table}_index ON $table USING tandem (embedding vector_l2_ops) WITH (strategy = hnsw_inline)");
  }
}

sub search_sql {
  my ($table, $number) = @_;
  return "SET enable_seqscan = off; SELECT id FROM $table ORDER BY embedding <-> spread_vector($number, $dimensions) LIMIT 10;\n";
}

# arm_sql() takes the place of what the server's configuration says.
sub armed {
  return arm_sql('always-graph=on', @_);
}

sub search {
  my ($table, $number) = @_;
  return $node->safe_psql('postgres', search_sql($table, $number));
}

# One figure of an index in the view; 0 if it is not there.
sub of_index {
  my ($column, $table) = @_;
  return $node->safe_psql('postgres', "SELECT $column FROM tandem_memory WHERE indexname = '${table}_index'") || 0;
}

sub is_complete {
  my ($table) = @_;
  return $node->safe_psql('postgres', "SELECT cached_chunks = chunks FROM tandem_memory WHERE indexname = '${table}_index'") eq 't';
}

# Searches here and there until all of the graph is in memory.
sub fill {
  my ($table) = @_;
  my $number = 0;
  await_condition("$table in memory", sub {
    search($table, $number += 97) for 1 .. 5;
    return is_complete($table);
  });
}

# Makes another file of it, of which nothing is in memory. What there is of the old one stays until somebody looks.
sub rebuild {
  my ($table) = @_;
  $node->safe_psql('postgres', "REINDEX INDEX ${table}_index");
}

# Every frame is a segment's, free, or waits for readers; what is not yet known to be free counts as that.
sub check_budget {
  my ($label) = @_;
  is($node->safe_psql('postgres', <<'SQL'), 't|t|t', "$label: every frame is accounted for");
SELECT used_bytes = coalesce((SELECT sum(cached_bytes) FROM tandem_memory), 0), used_bytes + free_bytes + retired_bytes = budget_bytes,
       budget_bytes = (SELECT setting::bigint * 1024 FROM pg_settings WHERE name = 'tandem.memory_budget')
FROM tandem_memory_status()
SQL
}

sub searches_fill_memory {
  is($node->safe_psql('postgres', 'SHOW tandem.memory_budget'), '256MB', 'the default');
  my ($status, undef, $error) = $node->psql('postgres', "SET tandem.memory_budget = '1GB'");
  like($error, qr/cannot be changed without restarting the server/, 'it is the server\'s');
  make_indexes('a', 'b');
  check_budget('before searches');
  fill('a');
  is($node->safe_psql('postgres', <<'SQL'), 'graph|postgres|public|a|1|t|t|0', 'the view tells of it');
SELECT kind, datname, schemaname, tablename, segments, loads >= chunks, cached_bytes = wanted_bytes, evictions
FROM tandem_memory WHERE indexname = 'a_index'
SQL
  check_budget('after searches');
  my $loads = of_index('loads', 'a');
  my $began = time;
  search('a', $_) for 1 .. 10;
  is(of_index('loads', 'a'), $loads, 'what is in memory is not loaded again, by any session');
  check_graph($node, 'a', 'a_index', 'searched in memory');
  # Whoever looks may come late.
  cmp_ok(of_index('idle_seconds', 'a'), '<=', time - $began + 2, 'it was just used');
}

sub other_databases_show_without_names {
  $node->safe_psql('postgres', 'CREATE DATABASE other');
  $node->safe_psql('other', 'CREATE EXTENSION tandem');
  is($node->safe_psql('other', 'SELECT datname, indexname IS NULL, cached_chunks = chunks FROM tandem_memory WHERE cached_chunks > 0'),
    'postgres|t|t', 'another database sees how much, not what');
  $node->safe_psql('postgres', 'DROP DATABASE other');
}

# ---- Errors, and ends of sessions ----

# At each point: an error in a transaction, in a subtransaction, the end of the session. What was begun is undone, and
# others can do it.
sub errors_leave_nothing {
  for my $point (qw(frames-entered chunk-begun chunk-filled)) {
    rebuild('b');
    clear_stop_points($node);
    my $one = 'SELECT count(*) FROM (SELECT id FROM b ORDER BY embedding <-> spread_vector(1, 16) LIMIT 10) s';
    my ($status, undef, $error) = $node->psql('postgres', armed("$point=error") . 'SET enable_seqscan = off;' . $one);
    like($error, qr/stop point/, "$point: an error");
    check_budget("$point: after it");
    my $out = $node->safe_psql('postgres', <<"SQL");
SET enable_seqscan = off;
DO \$\$
BEGIN
  BEGIN
    SET LOCAL tandem.stop_points = 'always-graph=on,$point=error';
    PERFORM * FROM ($one) s;
  EXCEPTION WHEN OTHERS THEN
    RAISE NOTICE '%', SQLERRM;
  END;
  PERFORM set_config('test.accounted', (used_bytes = (SELECT sum(cached_bytes) FROM tandem_memory))::text, false)
  FROM tandem_memory_status();
  PERFORM * FROM ($one) s;
END \$\$;
$one;
SHOW test.accounted;
SQL
    is($out, "10\ntrue", "$point: an error in a subtransaction, and its transaction goes on");
    ends_of_sessions($point);
    fill('b');
    check_budget("$point: all of it could be loaded afterwards");
  }
}

sub ends_of_sessions {
  my ($point) = @_;
  for my $way (qw(pg_cancel_backend pg_terminate_backend)) {
    rebuild('b');
    clear_stop_points($node);
    my $session = start_session($node, 'loader');
    send_sql($session, armed("$point=wait") . search_sql('b', 5));
    await_stop_point($node, $point);
    is($node->safe_psql('postgres', "SELECT $way(pid) FROM pg_stat_activity WHERE application_name = 'loader'"), 't', "$point: $way");
    await_condition("$way to have worked", sub {
      $node->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'loader' AND state = 'active'") == 0;
    });
    check_budget("$point: after $way");
    search('b', 6);
    end_session($session);
  }
  clear_stop_points($node);
}

sub dropped_indexes_go {
  my $lost = "SELECT count(*) FROM tandem_memory WHERE datname = 'postgres' AND indexname IS NULL";
  cmp_ok($node->safe_psql('postgres', $lost), '>', 0, 'files of indexes that were rebuilt lie idle');
  make_indexes('d');
  fill('d');
  $node->safe_psql('postgres', 'DROP INDEX d_index');
  my $bytes = $node->safe_psql('postgres', "SELECT tandem_prewarm('a_index')");
  is($bytes, of_index('cached_bytes', 'a'), 'loading one by name');
  is($node->safe_psql('postgres', $lost), 0, 'gives back what dropped and rebuilt indexes had');
  check_budget('after that');
}

sub a_crash_empties_it {
  for my $point (qw(frames-entered chunk-begun chunk-filled)) {
    rebuild('b');
    my $log_end = -s $node->logfile;
    $node->psql('postgres', armed("$point=crash") . search_sql('b', 3));
    $node->wait_for_log(qr/database system is ready to accept connections/, $log_end);
    is($node->safe_psql('postgres', 'SELECT count(*) FROM tandem_memory WHERE cached_chunks > 0 AND indexname IS NULL'), 0,
      "$point: a crash empties it");
    fill('b');
    check_budget("$point: after the crash");
    check_graph($node, 'b', 'b_index', "$point: after the crash");
  }
}

# ---- Little memory ----

sub small_budget {
  $node->append_conf('postgresql.conf', "tandem.memory_budget = '1536kB'\n");
  # 24 frames. One of these graphs takes half of them.
  make_indexes('c');
  # All in use all the time, as far as a busy machine lets them be.
  await_condition('no pause as long as graphs are in use', sub {
    $node->restart;
    my ($before, $longest) = (time, 0);
    # How much each gets of what searches load is up to who comes when: this way it is the last that goes short.
    $node->safe_psql('postgres', "SELECT tandem_prewarm('a_index'), tandem_prewarm('b_index')");
    my $end = $before + 4;
    for (my $last = $before; $last < $end;) {
      search($_, int(rand 1000)) for qw(a b c);
      my $now = time;
      $longest = $now - $before if $now - $before > $longest;
      ($before, $last) = ($last, $now);
    }
    return $longest < $idle_seconds - 1;
  });
  check_budget('small');
  is($node->safe_psql('postgres', 'SELECT sum(evictions) FROM tandem_memory'), 0, 'graphs in use take nothing from each other');
  cmp_ok($node->safe_psql('postgres', 'SELECT sum(cached_bytes) - sum(wanted_bytes) FROM tandem_memory'), '<', 0, 'not all of them fit');
  check_graph($node, $_, "${_}_index", 'partly in memory') for qw(a b c);
  the_unused_give_way();
}

# A reader that stays inside delays what comes after it, and nobody else.
sub the_unused_give_way {
  clear_stop_points($node);
  # A cursor lies idle all the while, between two rows.
  my $idle = start_session($node, 'idle');
  my $declare = "DECLARE c CURSOR FOR SELECT id FROM a ORDER BY embedding <-> spread_vector(7, $dimensions); FETCH 5 FROM c";
  $idle->query_safe("SET enable_seqscan = off; SET enable_sort = off; BEGIN");
  $idle->query_safe($declare);
  my $expected = $idle->query_safe('FETCH 100 FROM c; CLOSE c');
  $idle->query_safe($declare);
  sleep $idle_seconds + 2;
  my $session = start_session($node, 'reader');
  send_sql($session, armed('frames-entered=wait') . search_sql('c', 5));
  await_stop_point($node, 'frames-entered');
  search('c', $_) for 1 .. 20;
  cmp_ok(retired_bytes(), '>', 0, 'a reader may still see what was taken from others');
  is($node->safe_psql('postgres', 'SELECT sum(evictions) <= 16 FROM tandem_memory'), 't', 'no more is taken before it has left');
  check_budget('with a reader inside');
  release_stop_point($node, 'frames-entered');
  is(end_session($session), '', 'the reader goes on');
  clear_stop_points($node);
  fill('c');
  check_budget('one of three in use');
  await_condition('what was taken from others to be free', sub { search('c', 5); retired_bytes() == 0 });
  pass('an idle cursor holds none of it back');
  cmp_ok(of_index('cached_chunks', 'a') + of_index('cached_chunks', 'b'), '<', 24 - of_index('chunks', 'c'), 'the others gave way');
  is($idle->query_safe('FETCH 100 FROM c; COMMIT'), $expected, 'and goes on in what has gone from memory');
  is(end_session($idle), '', 'without an error');
  check_graph($node, $_, "${_}_index", 'after that') for qw(a b c);
}

sub retired_bytes {
  return $node->safe_psql('postgres', 'SELECT retired_bytes FROM tandem_memory_status()');
}

sub no_budget {
  $node->append_conf('postgresql.conf', "tandem.memory_budget = 0\n");
  $node->restart;
  is($node->safe_psql('postgres', 'SELECT * FROM tandem_memory_status()'), '0|0|0|0', 'no budget');
  search('a', 1);
  is($node->safe_psql('postgres', 'SELECT count(*) FROM tandem_memory'), 0, 'nothing is kept');
  check_graph($node, 'a', 'a_index', 'searched on pages');
}
