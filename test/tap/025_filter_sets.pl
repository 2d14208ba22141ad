# Sets of rows in shared memory: that all sessions find them, each under its own key; that pins keep them as they were, and
# are given back whatever ends: a query, a cursor, a subtransaction, a session, the server; that memory is neither exceeded nor lost.
#
# Seen to fail with: hashes compared instead of keys; pins given back at the end of subtransactions, or never; memory of a replaced
# set given back at once; pins of a closed cursor that stay to the end of the transaction.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TandemTest;
use Test::More;
use Time::HiRes qw(sleep time);

# The least budget that has a filter cache, and an eighth of it, 1 MB, for that cache alone. How it shares with graphs: 027.
my $node = make_node('filters', preload => 1, conf => <<'CONF');
tandem.memory_budget = '8MB'
tandem.mode = independent
tandem.graph_share = 0.875
max_prepared_transactions = 2
CONF
need_stop_points($node);
declare_probes('postgres');
budget_is_shared();
all_sessions_find_them();
hashes_collide();
a_replaced_set_stays();
ends_of_queries();
subtransactions();
ends_of_sessions();
memory_is_shared();
many_at_once();
databases_are_dropped();
a_crash_empties_it();
too_little_for_one();
$node->stop;
done_testing();

# A set holds the multiples of `step` below `bound`, so that it tells which one it is.
sub declare_probes {
  my ($database) = @_;
  $node->safe_psql($database, <<'SQL');
CREATE FUNCTION publish(key text, segment int, age bigint, bound int, step int) RETURNS void
  AS '$libdir/tandem', 'tandem_probe_publish' LANGUAGE C STRICT;
CREATE FUNCTION scan(key text, segment int) RETURNS SETOF int AS '$libdir/tandem', 'tandem_probe_scan' LANGUAGE C STRICT;
SQL
}

sub sql {
  my ($sql, $database) = @_;
  return $node->safe_psql($database // 'postgres', $sql);
}

sub publish {
  my ($key, $age, $step, %option) = @_;
  my $segment = $option{segment} // 1;
  my $bound = $option{bound} // 3000;
  sql("SELECT publish('$key', $segment, $age, $bound, $step)", $option{database});
}

# Which set is found: its step; '' if there is none.
sub step_of {
  my ($key, $segment) = @_;
  $segment //= 1;
  return sql("SELECT o FROM (SELECT scan('$key', $segment) o) s WHERE o > 0 LIMIT 1");
}

sub status {
  my ($column) = @_;
  return sql("SELECT $column FROM tandem_filter_cache");
}

# Another database's sets are forgotten with it; this one's by a restart.
sub empty_it {
  $node->restart;
}

sub budget_is_shared {
  is(sql('SELECT budget_bytes / 1024, bytes_total / 1024 FROM tandem_memory_status(), tandem_filter_cache'), '8192|1024', 'who has what of the budget');
  is(sql('SELECT * FROM tandem_filter_cache'), '1048576|0|0|0|0|0|0|0|0', 'nothing in it');
}

sub all_sessions_find_them {
  is(step_of('a'), '', 'nothing was published');
  publish('a', 1, 3);
  publish('a', 1, 5, segment => 2);
  publish('b', 1, 7, bound => 100_000);
  is(step_of('a') . step_of('a', 2) . step_of('b'), '357', 'others find what one has published');
  is(sql("SELECT count(*), sum(o), max(o) FROM (SELECT scan('b', 1) o) s"), '14286|714264285|99995', 'all of it');
  is(sql('SELECT keys, sets, pinned, hits, misses, evictions FROM tandem_filter_cache'), '2|3|0|4|1|0', 'the view counts');
  is(step_of('a', 3) . step_of('c'), '', 'but not under another id or key');
  publish('a', 1, 11);
  is(step_of('a'), 3, 'one as old changes nothing');
  publish('a', 2, 11);
  is(step_of('a'), 11, 'a newer one takes the place');
  publish('a', 1, 13);
  is(step_of('a'), 11, 'which an older one does not take back');
  is(status('sets'), 3, 'one at a time');
  my $longest = 'k' x 8192;
  publish($longest, 1, 3);
  publish("${longest}k", 1, 3);
  is(step_of($longest) . '|' . step_of("${longest}k"), '3|', 'longer keys are not kept');
}

sub hashes_collide {
  my $out = sql(arm_sql('filter-hash-collides=on') . <<'SQL');
SELECT publish('left', 1, 1, 1000, 3), publish('right', 1, 1, 1000, 5), publish('rights', 1, 1, 1000, 7);
SELECT (SELECT sum(o) FROM (SELECT scan(key, 1) o) s) FROM (VALUES ('left'), ('right'), ('rights'), ('lefs')) k (key);
SQL
  is($out, "||\n166833\n99500\n71071\n", 'keys of one hash are told apart');
}

# ---- Pins ----

sub a_replaced_set_stays {
  publish('r', 1, 3, bound => 300_000);
  my $used = status('bytes_used');
  my $session = start_session($node, 'cursor');
  $session->query_safe("BEGIN; DECLARE c CURSOR FOR SELECT scan('r', 1)");
  is($session->query_safe('FETCH 3 FROM c'), "0\n3\n6", 'a cursor begins');
  is(status('pinned'), 1, 'and has the set pinned');
  publish('r', 2, 5, bound => 300_000);
  publish('r', 3, 7, bound => 300_000);
  is(step_of('r'), 7, 'others find the newer one');
  cmp_ok(status('bytes_used'), '>=', $used + 37_000, 'both are there');
  write_all_over();
  is($session->query_safe('MOVE FORWARD 50000 IN c; FETCH 2 FROM c'), "150009\n150012", 'the cursor goes on in its own');
  is($session->query_safe('MOVE FORWARD 49993 IN c; FETCH 3 FROM c'), "299994\n299997", 'to the end');
  is(status('pinned'), 0, 'where it gives it back');
  $session->query_safe('COMMIT');
  end_session($session);
}

# Memory that was given back too early has other sets now.
sub write_all_over {
  sql("SELECT publish('noise ' || i, 1, 1, 100000 + i % 7 * 10000, 2) FROM generate_series(1, 200) i");
}

# After each, in the same transaction and after it, nothing is pinned.
sub ends_of_queries {
  publish('q', 1, 3);
  my $pinned = 'SELECT pinned FROM tandem_filter_cache';
  is(sql("BEGIN; SELECT scan('q', 1) LIMIT 1; $pinned"), "0\n0", 'a query that ends early');
  is(sql("BEGIN; DECLARE c CURSOR FOR SELECT scan('q', 1); FETCH 1 FROM c; $pinned; CLOSE c; $pinned"), "0\n1\n0", 'a cursor that is closed');
  is(sql("BEGIN; DECLARE c CURSOR FOR SELECT scan('q', 1); FETCH 1 FROM c; COMMIT; $pinned"), "0\n0", 'a transaction');
  is(sql("BEGIN; DECLARE c CURSOR FOR SELECT scan('q', 1); FETCH 1 FROM c; ROLLBACK; $pinned"), "0\n0", 'a transaction that is rolled back');
  is(sql("BEGIN; DECLARE c CURSOR FOR SELECT scan('q', 1); FETCH 1 FROM c; PREPARE TRANSACTION 'p'; $pinned; ROLLBACK PREPARED 'p'"),
    "0\n0", 'a transaction that is prepared');
  is(sql("BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT scan('q', 1); FETCH 1 FROM c; COMMIT; $pinned; FETCH 2 FROM c"),
    "0\n0\n3\n6", 'a cursor that outlives its transaction');
  my ($status, $out, $error) = $node->psql('postgres', "SELECT 1 / (500 - o) FROM (SELECT scan('q', 1) o) s; SELECT 1 / (300 - o) FROM (SELECT scan('q', 1) o) s");
  like($error, qr/division by zero/, 'an error');
  is(status('pinned'), 0, 'leaves nothing pinned');
  is(sql(<<"SQL"), "8\n0", 'a procedure that commits between rows');
DO \$\$
DECLARE
  n int := 0;
  r record;
BEGIN
  FOR r IN SELECT scan('q', 1) LIMIT 8 LOOP
    n := n + 1;
    COMMIT;
  END LOOP;
  PERFORM set_config('test.rows', n::text, false);
END \$\$;
SHOW test.rows;
$pinned
SQL
}

sub subtransactions {
  my $pinned = 'SELECT pinned FROM tandem_filter_cache';
  publish('s', 1, 3);
  # An error in one, caught, and the transaction goes on.
  is(sql(<<"SQL"), "0\n0", 'an error in a subtransaction');
DO \$\$
BEGIN
  BEGIN
    PERFORM 1 / (300 - o) FROM (SELECT scan('s', 1) o) s;
  EXCEPTION WHEN division_by_zero THEN
    PERFORM set_config('test.pinned', pinned::text, false) FROM tandem_filter_cache;
  END;
END \$\$;
SHOW test.pinned;
$pinned
SQL
  is(sql("BEGIN; SAVEPOINT a; DECLARE c CURSOR FOR SELECT scan('s', 1); FETCH 1 FROM c; ROLLBACK TO a; $pinned"),
    "0\n0", 'a cursor goes with its subtransaction');
  is(sql("BEGIN; SAVEPOINT a; DECLARE c CURSOR FOR SELECT scan('s', 1); FETCH 1 FROM c; RELEASE a; $pinned; FETCH 2 FROM c; CLOSE c; $pinned"),
    "0\n1\n3\n6\n0", 'or is left by it to the outer one');
  # A cursor of the outer one whose search began in the subtransaction.
  my $session = start_session($node, 'outer');
  $session->query_safe("BEGIN; DECLARE c CURSOR FOR SELECT scan('s', 1); SAVEPOINT a");
  is($session->query_safe('FETCH 3 FROM c'), "0\n3\n6", 'an outer cursor begins in a subtransaction');
  $session->query_safe('ROLLBACK TO a');
  is(status('pinned'), 1, 'and outlives it');
  publish('s', 2, 5);
  write_all_over();
  is($session->query_safe('FETCH 3 FROM c'), "9\n12\n15", 'with what it has pinned');
  $session->query_safe('COMMIT');
  is(status('pinned'), 0, 'to the end of the transaction');
  end_session($session);
}

sub ends_of_sessions {
  publish('e', 1, 3);
  $node->psql('postgres', "BEGIN; DECLARE c CURSOR FOR SELECT scan('e', 1); FETCH 1 FROM c");
  is(status('pinned'), 0, 'a session that ends within a transaction');
  for my $way (qw(pg_cancel_backend pg_terminate_backend)) {
    clear_stop_points($node);
    my $session = start_session($node, 'victim');
    $session->query_safe("BEGIN; DECLARE c CURSOR FOR SELECT scan('e', 1)");
    $session->query_safe('FETCH 2 FROM c');
    send_sql($session, arm_sql('filter-set-pinned=wait') . "SELECT scan('e', 1);");
    await_stop_point($node, 'filter-set-pinned');
    is(status('pinned'), 2, "$way: while a cursor and a query have it pinned");
    is(sql("SELECT $way(pid) FROM pg_stat_activity WHERE application_name = 'victim'"), 't', $way);
    await_condition("$way: pins given back", sub { status('pinned') == 0 });
    end_session($session);
  }
  clear_stop_points($node);
  $node->psql('postgres', arm_sql('filter-set-pinned=error') . "SELECT scan('e', 1)");
  is(status('pinned'), 0, 'an error right behind the pin');
  is(step_of('e'), 3, 'the set is there');
}

# ---- Memory ----

sub memory_is_shared {
  empty_it();
  publish('large', 1, 2, bound => 2_200_000);
  is(step_of('large'), '', 'a set of more than a quarter is not kept');
  # 100 kB each, which take two frames: seven fit, and their keys.
  my $session = start_session($node, 'holder');
  $session->query_safe('BEGIN');
  for my $i (1 .. 12) {
    publish("p$i", 1, $i + 1, bound => 800_000);
    $session->query_safe("DECLARE c$i CURSOR FOR SELECT scan('p$i', 1)");
    $session->query_safe("FETCH 1 FROM c$i");
  }
  my $held = status('pinned');
  is($held, 7, 'many are pinned');
  is(status('evictions'), 0, 'and none of them is given up');
  publish('x', 1, 3, bound => 800_000);
  is(step_of('x'), '', 'a further one finds no place');
  cmp_ok(status('bytes_used'), '<=', 1048576, 'memory is not exceeded');
  for my $i (1 .. $held) {
    is($session->query_safe("FETCH 2 FROM c$i"), ($i + 1) . "\n" . 2 * ($i + 1), "cursor $i reads its own");
  }
  $session->query_safe('COMMIT');
  end_session($session);
  is(status('pinned'), 0, 'all are given back');
  publish('x', 1, 3, bound => 800_000) for 1 .. 3;
  is(step_of('x'), 3, 'then there is a place');
  cmp_ok(status('evictions'), '>', 0, 'by eviction');
  is(sql(q{SELECT setting::bigint * 1024 - used_bytes - free_bytes - retired_bytes FROM pg_settings, tandem_memory_status() WHERE name = 'tandem.memory_budget'}),
    0, 'of a fixed piece of shared memory');
}

# Sessions publish and read, in far too little memory; what they read is what its key says.
sub many_at_once {
  sql('CREATE DATABASE race');
  $node->safe_psql('race', 'CREATE EXTENSION tandem');
  declare_probes('race');
  $node->safe_psql('race', <<'SQL');
CREATE FUNCTION check_one(i int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  step int := 1 + i % 40;
  found int[];
BEGIN
  SELECT array_agg(o) INTO found FROM (SELECT scan('set ' || i, i % 5) o) s;
  IF found IS NULL THEN
    PERFORM publish('set ' || i, i % 5, extract(epoch FROM clock_timestamp())::bigint, 20000 + 100 * i, step);
    RETURN 'missed';
  END IF;
  IF (SELECT count(*) <> (20000 + 100 * i + step - 1) / step OR bool_or(o % step <> 0) FROM unnest(found) o) THEN
    RETURN 'wrong';
  END IF;
  IF random() < 0.1 THEN
    PERFORM publish('set ' || i, i % 5, extract(epoch FROM clock_timestamp())::bigint * 10 + i % 10, 20000 + 100 * i, step);
  END IF;
  RETURN 'found';
END $$;
SQL
  my @sessions;
  for my $number (1 .. 4) {
    my $file = $node->basedir . "/race$number";
    append_to_file("$file.sql", "SELECT r, count(*) FROM (SELECT check_one((random() * random() * 600)::int) r FROM generate_series(1, 1500)) s GROUP BY 1;\n");
    push @sessions, IPC::Run::start([ $node->installed_command('psql'), '-XqAt', '-d', $node->connstr('race'), '-f', "$file.sql" ], '>', "$file.out", '2>', "$file.err");
  }
  $_->finish for @sessions;
  my $all = join '', map { slurp_file($node->basedir . "/race$_.out") . slurp_file($node->basedir . "/race$_.err") } 1 .. 4;
  unlike($all, qr/wrong|ERROR|WARNING/, 'everybody finds what was published');
  cmp_ok(() = $all =~ /found\|/g, '==', 4, 'and all find some');
  cmp_ok(status('evictions'), '>', 100, 'while they push each other out');
  is(status('pinned'), 0, 'nothing stays pinned');
}

sub databases_are_dropped {
  publish('mine', 1, 3);
  publish('mine', 1, 5, database => 'race');
  is(step_of('mine'), 3, 'each database has its own');
  cmp_ok(status('sets'), '>', 1, 'there are sets of two');
  sql('DROP DATABASE race');
  is(step_of('mine'), 3, 'one that is dropped takes its own with it');
  is(sql('CREATE DATABASE other') . sql('DROP DATABASE other') . status('pinned'), '0', 'however few they are');
  empty_it();
  sql('CREATE DATABASE race');
  $node->safe_psql('race', 'CREATE EXTENSION tandem');
  declare_probes('race');
  publish($_, 1, 3, database => 'race') for qw(a b c);
  isnt(status('bytes_used'), 0, 'sets of a database');
  sql('DROP DATABASE race');
  is(sql('SELECT bytes_used, keys, sets, pinned FROM tandem_filter_cache'), '0|0|0|0', 'go with it, and no byte is lost');
}

sub a_crash_empties_it {
  publish('c', 1, 3);
  my $log_end = -s $node->logfile;
  $node->psql('postgres', "BEGIN; DECLARE c CURSOR FOR SELECT scan('c', 1); FETCH 1 FROM c; " . arm_sql('filter-set-publishing=crash') . "SELECT publish('d', 1, 1, 10, 1)");
  $node->wait_for_log(qr/database system is ready to accept connections/, $log_end);
  is(sql('SELECT * FROM tandem_filter_cache'), '1048576|0|0|0|0|0|0|0|0', 'a crash empties it');
  publish('c', 1, 5);
  is(step_of('c'), 5, 'and it works again');
}

sub too_little_for_one {
  $node->append_conf('postgresql.conf', "tandem.memory_budget = '7MB'\n");
  $node->restart;
  is(sql('SELECT budget_bytes / 1024, bytes_total FROM tandem_memory_status(), tandem_filter_cache'), '7168|0', 'a small budget is all for graphs');
  publish('a', 1, 3);
  is(step_of('a'), '', 'nothing is kept, nothing fails');
  is(sql('SELECT * FROM tandem_filter_cache'), '0|0|0|0|0|0|0|0|0', 'and nothing counted');
}
