# HAZARDS H5 under pressure: rows die, and others get their places in the table, while graphs, codes and sets of filters that know the old
# ones are loaded, lie in memory, are moved and are evicted, and while those who load them are killed. On a standby that searches all the
# while nothing of ours hears of it; then it is promoted. What is in memory may be older than the death of a row, in either order: no search may
# return such a row, or one that is not as far as it was taken to be.
#
# Seen to fail with heads not asked whether the row is dead when it is returned: rows come twice and out of their order, after each of the orders of
# loading and VACUUM, by sets of filters, after the ends of loaders, on the standby, while it is promoted and afterwards.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TandemTest;
use Test::More;
use Time::HiRes qw(sleep time);

my $dimensions = 16;
my $rows = 14_000;
my @tables = qw(a b c d);
my $seconds = $ENV{TANDEM_TEST_SOAK_SECONDS} // 6;
my $folder = PostgreSQL::Test::Utils::tempdir();

seed();
# 128 frames, less than the graphs want, beside sets of filters. No worker: it would load what others are to load. So graphs are built where
# their index is made, and then left as they are: a twentieth of the rows dies at a time, too few to build one anew.
my $primary = make_node('primary', preload => 1, init => [ allows_streaming => 1 ], conf => <<'CONF');
tandem.memory_budget = '8MB'
max_worker_processes = 2
CONF
need_stop_points($primary);
make_tables();
my $next_id = $rows + 1;
my %deletions;

loading_in_either_order();
sets_of_filters();
killed_in_between();
my $standby = make_standby();
standby_under_pressure();
promoted_under_pressure();
$standby->stop;
done_testing();

sub make_tables {
  for my $table (@tables) {
    $primary->safe_psql('postgres', <<"SQL");
CREATE TABLE $table (id bigint, tag int, embedding vector($dimensions)) WITH (autovacuum_enabled = off);
INSERT INTO $table SELECT i, i % 40, spread_vector(i, $dimensions) FROM generate_series(1, $rows) i;
CREATE INDEX ${table}_index ON $table USING tandem (embedding vector_l2_ops) WITH (strategy = hnsw_inline, ef_construction = 40);
ALTER INDEX ${table}_index SET (strategy = hnsw_batch);
CREATE INDEX ${table}_tag ON $table (tag);
ANALYZE $table;
SQL
  }
  # By a condition: as many as there are, none twice, in order, and those of the table. Distances are those of the rows in the table, so one
  # that stands for another row is out of order. Which way the searches go is seen below, by what is found in memory.
  $primary->safe_psql('postgres', <<"SQL");
CREATE FUNCTION filter_problems(target text, n int) RETURNS text LANGUAGE plpgsql AS \$\$
DECLARE
  ordered text := format('SELECT id, embedding <-> \$1 AS d FROM %I WHERE tag = %s ORDER BY embedding <-> \$1', target, n % 40);
  query vector := spread_vector(1000000 + n, $dimensions);
  by_filter text[];
  by_table text[];
  distances float8[];
BEGIN
  PERFORM set_config('enable_indexscan', 'off', true), set_config('enable_bitmapscan', 'off', true), set_config('enable_sort', 'off', true),
    set_config('enable_seqscan', 'off', true), set_config('tandem.iterative_scan', 'relaxed_order', true);
  EXECUTE format('SELECT array_agg(id || '' '' || d), array_agg(d) FROM (%s) s', ordered) INTO by_filter, distances USING query;
  PERFORM set_config('enable_sort', 'on', true), set_config('enable_seqscan', 'on', true), set_config('tandem.enable_custom_scan', 'off', true);
  EXECUTE format('SELECT array_agg(id || '' '' || d) FROM (%s) s', ordered) INTO by_table USING query;
  PERFORM set_config('tandem.enable_custom_scan', 'on', true), set_config('enable_indexscan', 'on', true);
  RETURN concat_ws('; ', CASE WHEN EXISTS (SELECT unnest(by_filter) EXCEPT ALL SELECT unnest(by_table)) THEN target || ': by the filter only' END,
    CASE WHEN EXISTS (SELECT unnest(by_table) EXCEPT ALL SELECT unnest(by_filter)) THEN target || ': by the table only' END);
END \$\$;
-- In one snapshot, for sessions that go on while rows die.
CREATE FUNCTION compare(target text, n int) RETURNS void LANGUAGE plpgsql AS \$\$
DECLARE
  problems text := graph_problems(target::regclass, ARRAY[spread_vector(1000000 + n, $dimensions)], 20, 0.7, n % 8 = 0) || filter_problems(target, n);
BEGIN
  IF problems <> '' THEN RAISE EXCEPTION 'index and table differ: %', left(problems, 1000); END IF;
END \$\$;
SQL
}

# Graphs in use give nothing up to each other, but after ten seconds without.
sub await_room {
  await_condition('room for a graph', sub {
    $primary->safe_psql('postgres', 'SELECT free_bytes > 1000000 OR EXISTS (SELECT FROM tandem_memory WHERE cached_chunks > 10 AND idle_seconds >= 11) FROM tandem_memory_status()') eq 't';
  });
}

# Another file, of which nothing is in memory.
sub build_anew {
  my ($table) = @_;
  $primary->safe_psql('postgres', "ALTER INDEX ${table}_index SET (strategy = hnsw_inline); REINDEX INDEX ${table}_index;"
      . "ALTER INDEX ${table}_index SET (strategy = hnsw_batch)");
  await_room();
}

sub search_sql {
  my ($table, $number, $condition) = @_;
  my $where = $condition ? "WHERE $condition" : '';
  return "SET enable_seqscan = off; SET enable_sort = off;\n"
    . "SELECT id FROM $table $where ORDER BY embedding <-> spread_vector($number, $dimensions) LIMIT 10;\n";
}

sub search_others {
  my ($node, $but) = @_;
  $node->safe_psql('postgres', join '', map { search_sql($_, int rand 1000), search_sql($_, int rand 1000, 'tag = ' . int rand 30) } grep { $_ ne $but } @tables) for 1 .. 5;
}

# A twentieth of the rows, another one each time; for VACUUM it matters who had a snapshot before that.
sub delete_some {
  my ($table) = @_;
  my $remainder = $deletions{$table}++ % 20;
  $primary->safe_psql('postgres', "DELETE FROM $table WHERE id % 20 = $remainder");
}

# VACUUM forgets what was deleted, and others get those TIDs, far from where the first ones were. Snapshots beside which this happens are newer
# than the deletion.
sub bury {
  my ($table, %option) = @_;
  my $node = $option{node} // $primary;
  my $last = $next_id + ($option{rows} // 600) - 1;
  my $tag = $option{tag} // 'i % 40';
  await_horizon($node) unless $option{beside_snapshots};
  $node->safe_psql('postgres', "VACUUM (INDEX_CLEANUP ON, TRUNCATE OFF) $table;"
      . "INSERT INTO $table SELECT i, $tag, spread_vector(i, $dimensions) FROM generate_series($next_id, $last) i");
  $next_id = $last + 1;
}

sub dead_rows {
  my ($table) = @_;
  return $primary->safe_psql('postgres', "SELECT count(*) FROM tandem_rows('${table}_index') WHERE dead");
}

sub rows_die {
  my ($table) = @_;
  my $before = dead_rows($table);
  delete_some($table);
  bury($table);
  cmp_ok(dead_rows($table), '>=', $before + 500, "rows of $table die");
}

sub is_right {
  my ($node, $table, $label) = @_;
  check_graph($node, $table, "${table}_index", $label, floor => 0.7);
  is($node->safe_psql('postgres', "SELECT string_agg(nullif(filter_problems('$table', n), ''), '; ') FROM generate_series(0, 20) n"), '', "$label: by filters");
}

sub check_budget {
  my ($node, $label) = @_;
  is($node->safe_psql('postgres', <<'SQL'), 't|t', "$label: every frame is accounted for");
SELECT s.used_bytes = coalesce((SELECT sum(cached_bytes) FROM tandem_memory), 0), s.used_bytes + s.free_bytes + s.retired_bytes = s.budget_bytes
FROM tandem_memory_status() s
SQL
}

# A loader has read pages before rows die and is heard of after that; or the other way round. Others want the memory meanwhile.
sub loading_in_either_order {
  for my $point (qw(chunk-begun chunk-filled frames-entered)) {
    # Nothing of a new file is in memory, and whoever searches it loads it.
    build_anew('a');
    clear_stop_points($primary);
    my $dead = dead_rows('a');
    delete_some('a');
    await_horizon($primary);
    my $loader = start_session($primary, 'loader');
    $loader->query_safe('SET enable_seqscan = off; SET enable_sort = off; ' . arm_sql('always-graph=on', "$point=wait"));
    send_sql($loader, "SELECT tandem_prewarm('a_index') > 0;\n") if $point ne 'frames-entered';
    send_sql($loader, search_sql('a', 7)) if $point eq 'frames-entered';
    await_stop_point($primary, $point);
    bury('a', beside_snapshots => 1);
    cmp_ok(dead_rows('a'), '>=', $dead + 500, "$point: rows die while it is loaded");
    search_others($primary, 'a');
    release_stop_point($primary, $point);
    is(end_session($loader), '', "$point: the loader goes on");
    is_right($primary, 'a', "$point: loaded while rows died");
    # What is in memory now knows nothing of what dies after it.
    await_room();
    $primary->safe_psql('postgres', "SELECT tandem_prewarm('a_index')");
    cmp_ok($primary->safe_psql('postgres', "SELECT cached_chunks FROM tandem_memory WHERE indexname = 'a_index' AND kind = 'graph'"), '>', 0, "$point: some of it is there");
    rows_die('a');
    is_right($primary, 'a', "$point: rows died after it was loaded");
    check_budget($primary, $point);
  }
  clear_stop_points($primary);
}

# A set names rows that have died since, or die while it is published, or while somebody reads it.
sub sets_of_filters {
  for my $point (qw(filter-set-publishing filter-set-pinned)) {
    # Nobody has asked for these before.
    my $number = $point eq 'filter-set-pinned' ? 34 : 35;
    my $condition = "tag = $number";
    clear_stop_points($primary);
    $primary->safe_psql('postgres', search_sql('b', 3, $condition)) if $point eq 'filter-set-pinned';
    my $dead = dead_rows('b');
    # Half of those that fulfil the condition; as do those that get their places. Where many rows are behind what a set is of, it is made anew.
    $primary->safe_psql('postgres', "DELETE FROM b WHERE $condition AND id % 80 = $number");
    await_horizon($primary);
    my $session = start_session($primary, 'asking');
    send_sql($session, arm_sql('always-graph=on', "$point=wait") . search_sql('b', 3, $condition));
    await_stop_point($primary, $point);
    bury('b', rows => 100, tag => $number, beside_snapshots => 1);
    cmp_ok(dead_rows('b'), '>=', $dead + 150, "$point: rows die meanwhile");
    release_stop_point($primary, $point);
    is(end_session($session), '', "$point: the search goes on");
    my $hits = $primary->safe_psql('postgres', 'SELECT hits FROM tandem_filter_cache');
    is($primary->safe_psql('postgres', "SELECT filter_problems('b', $number)"), '', "$point: the set is of rows that have died");
    cmp_ok($primary->safe_psql('postgres', 'SELECT hits FROM tandem_filter_cache'), '>', $hits, "$point: it was found");
    search_others($primary, 'b');
    is_right($primary, 'b', $point);
  }
  check_budget($primary, 'sets of filters');
  clear_stop_points($primary);
}

# A loader is ended, or VACUUM crashes between what is in memory and what the heads say.
sub killed_in_between {
  build_anew('c');
  delete_some('c');
  await_horizon($primary);
  my $loader = start_session($primary, 'loader');
  send_sql($loader, arm_sql('always-graph=on', 'chunk-filled=wait') . "SELECT tandem_prewarm('c_index');\n");
  await_stop_point($primary, 'chunk-filled');
  bury('c', beside_snapshots => 1);
  is($primary->safe_psql('postgres', "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'loader'"), 't', 'a loader is ended');
  end_session($loader);
  is_right($primary, 'c', 'after the end of a loader');
  check_budget($primary, 'after the end of a loader');
  clear_stop_points($primary);
  my $log_end = -s $primary->logfile;
  delete_some('c');
  $primary->psql('postgres', arm_sql('vacuum-before-counts=crash') . 'VACUUM (INDEX_CLEANUP ON, TRUNCATE OFF) c');
  $primary->wait_for_log(qr/database system is ready to accept connections/, $log_end);
  search_others($primary, '');
  bury('c');
  is_right($primary, 'c', 'after a crash of VACUUM');
}

# ---- Where nobody of ours hears of it ----

sub make_standby {
  $primary->backup('base');
  my $node = PostgreSQL::Test::Cluster->new('standby');
  $node->init_from_backup($primary, 'base', has_streaming => 1);
  $node->append_conf('postgresql.conf', "hot_standby_feedback = off\nmax_standby_streaming_delay = -1\n");
  $node->start;
  $primary->wait_for_catchup($node);
  return $node;
}

sub start_load {
  my ($name, $time) = @_;
  my (%script, %weight);
  for my $table (@tables) {
    my $nearest = "ORDER BY embedding <-> spread_vector(:n, $dimensions) LIMIT 10;\n";
    $script{"${name}_search_$table"} = "SELECT id FROM $table $nearest";
    $script{"${name}_filter_$table"} = "SELECT id FROM $table WHERE tag = :n % 40 $nearest";
    $script{"${name}_compare_$table"} = "BEGIN ISOLATION LEVEL REPEATABLE READ;\nSELECT compare('$table', :n);\nCOMMIT;\n";
    $weight{"${name}_search_$table"} = $weight{"${name}_filter_$table"} = 20;
    $weight{"${name}_compare_$table"} = 1;
  }
  return start_pgbench($standby, clients => 4, seconds => $time, folder => $folder, script => \%script, weight => \%weight);
}

sub standby_under_pressure {
  my $load = start_load('standby', $seconds);
  rows_die($_) for @tables;
  finish_pgbench($load, 'on a standby, while rows die');
  $primary->wait_for_catchup($standby);
  is($standby->safe_psql('postgres', "SELECT sum(cached_bytes) > 0, sum(cached_bytes) < sum(wanted_bytes) FROM tandem_memory WHERE kind = 'graph'"), 't|t',
    'its memory is too small for all of it');
  is_right($standby, $_, "a standby, $_") for @tables;
}

sub promoted_under_pressure {
  # In memory since before their rows die.
  search_others($standby, '');
  rows_die($_) for @tables;
  $primary->wait_for_catchup($standby);
  $primary->stop;
  my $load = start_load('promoted', $seconds);
  sleep 0.5;
  $standby->promote;
  $standby->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()');
  finish_pgbench($load, 'while it is promoted');
  is_right($standby, $_, "promoted, $_") for @tables;
  # From here on it is our VACUUM that marks them.
  for my $table (@tables) {
    $standby->safe_psql('postgres', "DELETE FROM $table WHERE id % 20 = 19");
    bury($table, node => $standby);
    is_right($standby, $table, "promoted, after its own VACUUM, $table");
  }
  check_budget($standby, 'promoted');
}
