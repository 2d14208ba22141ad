# One budget for graphs and for sets of rows: that memory goes from the one to the other and back, in use or not, and is never exceeded;
# what is read meanwhile stays what it was; modes; where the border goes as the load changes; who sees what of it.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TandemTest;
use Test::More;

my $dimensions = 16;
my $rows = 13_000;
my $frame = 65536;
my @tables = qw(a b c d);

# 128 frames, far fewer than the graphs want. A launcher, but no worker, which would load what sessions are to load here.
my $node = make_node('budget', preload => 1, conf => <<'CONF');
tandem.memory_budget = '8MB'
max_worker_processes = 2
log_min_messages = debug1
CONF
need_stop_points($node);
settings();
make_tables();
filters_take_from_graphs();
graphs_take_back();
pressure_from_many_indexes();
modes();
the_border_follows_the_load();
who_sees_what();
a_crash_forgets_it();
$node->stop;
done_testing();

sub sql {
  my ($sql, $database) = @_;
  return $node->safe_psql($database // 'postgres', $sql);
}

sub configure {
  my ($lines) = @_;
  $node->append_conf('postgresql.conf', "$lines\n");
  $node->reload;
  my ($name, $value) = $lines =~ /^(\S+) = '?([^'\n]*)/;
  await_condition("$name to be $value", sub { sql("SHOW $name") eq $value });
}

# In frames.
sub coordination {
  my ($column) = @_;
  return sql("SELECT $column FROM tandem_coordination") / $frame;
}

# Every frame is a graph's, a set's, free, or waits for readers.
sub check_budget {
  my ($label) = @_;
  is(sql(<<'SQL'), 't|t|t', "$label: every frame is accounted for");
SELECT s.used_bytes = coalesce((SELECT sum(cached_bytes) FROM tandem_memory), 0), s.used_bytes + s.free_bytes + s.retired_bytes = s.budget_bytes,
       s.budget_bytes = (SELECT setting::bigint * 1024 FROM pg_settings WHERE name = 'tandem.memory_budget')
FROM tandem_memory_status() s
SQL
}

sub settings {
  is(sql("SELECT string_agg(name || '=' || setting, ' ' ORDER BY name) FROM pg_settings WHERE name ~ '^tandem.(mode|graph_share|auto_balance|rebalance_|persistence_|track_|optimize_)'"),
    'tandem.auto_balance=on tandem.graph_share=0.6 tandem.mode=coordinated tandem.optimize_for_patterns=on tandem.persistence_interval=60 '
      . 'tandem.rebalance_interval=300 tandem.track_query_patterns=on',
    'defaults');
  my ($status, undef, $error) = $node->psql('postgres', 'ALTER SYSTEM SET tandem.graph_share = 0.95');
  like($error, qr/0\.95 is outside the valid range/, 'neither cache can be switched off by its share');
  is(sql('SELECT mode, pattern, rebalances, moves, rebalanced_at IS NULL, moved_for IS NULL, utilisation FROM tandem_coordination'),
    'coordinated|unknown|0|0|t|t|0', 'at first');
  is(coordination('budget_bytes') . ' ' . coordination('graph_target_bytes') . ' ' . coordination('filter_target_bytes'), '128 77 51', 'shares');
}

sub make_tables {
  for my $table (@tables) {
    sql("CREATE TABLE $table (id bigint, category int, embedding vector($dimensions)) WITH (autovacuum_enabled = off);"
        . "INSERT INTO $table SELECT i, i % 50, spread_vector(i, $dimensions) FROM generate_series(1, $rows) i;"
        . "CREATE INDEX ${table}_index ON $table USING tandem (embedding vector_l2_ops) WITH (strategy = hnsw_batch);"
        . "CREATE INDEX ${table}_category ON $table (category); CALL tandem_build('${table}_index'); ANALYZE $table");
  }
  declare_probes('postgres');
}

sub declare_probes {
  my ($database) = @_;
  sql(<<'SQL', $database);
CREATE FUNCTION publish(key text, segment int, age bigint, bound int, step int) RETURNS void
  AS '$libdir/tandem', 'tandem_probe_publish' LANGUAGE C STRICT;
CREATE FUNCTION scan(key text, segment int) RETURNS SETOF int AS '$libdir/tandem', 'tandem_probe_scan' LANGUAGE C STRICT;
SQL
}

sub search_sql {
  my ($table, $number, $condition) = @_;
  return 'SELECT id FROM ' . $table . ($condition ? " WHERE $condition" : '') . " ORDER BY embedding <-> spread_vector($number, $dimensions) LIMIT 10;\n";
}

sub search_all {
  my ($count, $condition) = @_;
  my $number = 0;
  sql("SET enable_seqscan = off; SET enable_sort = off;\n" . join '', map { search_sql($tables[ $_ % @tables ], $number += 97, $condition) } 1 .. $count);
}

# Sets of 800,000 bits, two frames each. A set of step s holds multiples of s.
sub publish_sets {
  my ($name, $count, $database) = @_;
  sql("SELECT publish('$name' || i, 1, 1, 800000, 2 + i) FROM generate_series(1, $count) i", $database);
}

# How many of them are there; dies if one is not what was published.
sub count_sets {
  my ($name, $count, $database) = @_;
  my ($right, $wrong) = split /\|/, sql(<<"SQL", $database);
SELECT count(*) FILTER (WHERE n = (799999 / (2 + i)) + 1 AND NOT odd), count(*) FILTER (WHERE n > 0 AND (n <> (799999 / (2 + i)) + 1 OR odd))
FROM generate_series(1, $count) i, LATERAL (SELECT count(*) AS n, bool_or(o % (2 + i) <> 0) AS odd FROM scan('$name' || i, 1) o) s
SQL
  is($wrong, 0, "sets $name are what was published");
  return $right;
}

sub filters_take_from_graphs {
  sql("SELECT tandem_prewarm('${_}_index')") for @tables;
  search_all(40);
  cmp_ok(coordination('graph_bytes'), '>', 120, 'graphs take what nobody else needs');
  check_budget('graphs alone');
  # A cursor reads a set all the while.
  publish_sets('held', 1);
  my $session = start_session($node, 'cursor');
  $session->query_safe("BEGIN; DECLARE c CURSOR FOR SELECT scan('held1', 1)");
  is($session->query_safe('FETCH 2 FROM c'), "0\n3", 'a set has found a place');
  # Graphs are in use: not one of them is idle.
  my $searcher = start_session($node, 'searcher');
  $searcher->query_safe('SET enable_seqscan = off; SET enable_sort = off');
  for my $round (1 .. 8) {
    publish_sets("f$round.", 10);
    $searcher->query_safe(search_sql($tables[$_], 31 * $round)) for 0 .. $#tables;
  }
  # How far either goes depends on how often it is asked for in a second and on what it costs to bring back, which are measured
  # (cache_policy_test has what follows from them). Whatever they are, each keeps its floor, a twentieth of all; room for the next set may
  # just have been made, which takes two frames.
  cmp_ok(coordination('filter_bytes'), '>=', 4, 'sets have got some memory');
  cmp_ok(coordination('graph_bytes'), '>=', 6, 'but not the floor of graphs');
  cmp_ok(count_sets('f8.', 10), '>=', 1, 'the last of them are there');
  check_budget('filters beside graphs');
  check_graph($node, $_, "${_}_index", 'with less memory') for @tables;
  is($session->query_safe('MOVE FORWARD 100000 IN c; FETCH 2 FROM c'), "300006\n300009", 'the cursor goes on in its set');
  $session->query_safe('COMMIT');
  end_session($_) for $session, $searcher;
  sql("SELECT scan('nobody has published this', 1)");
  is(sql("SELECT count(*) FROM tandem_memory WHERE kind = 'filters' AND cached_bytes > 0 AND target_bytes = 51 * $frame AND hits > 0 AND misses > 0"), 1, 'tandem_memory shows them');
}

sub graphs_take_back {
  configure('tandem.graph_share = 0.9');
  await_condition('graphs to have got their share', sub {
    search_all(8);
    return coordination('graph_bytes') >= 112;
  });
  cmp_ok(coordination('filter_bytes'), '<=', 16, 'graphs have got it from filters');
  check_budget('graphs again');
  check_graph($node, 'a', 'a_index', 'after that');
  configure('tandem.graph_share = 0.6');
}

# What the server has asked the system for, all of it at its start.
sub shared_memory {
  return sql('SELECT sum(allocated_size) FROM pg_shmem_allocations');
}

# 19 indexes in three databases, whose graphs want three times as much as there is, and sets of filters.
sub pressure_from_many_indexes {
  my @databases = qw(postgres other another);
  my @small = map { "s$_" } 1 .. 5;
  my $before = shared_memory();
  for my $database (@databases) {
    if ($database ne 'postgres') {
      sql("CREATE DATABASE $database");
      setup_database($node, $database);
      declare_probes($database);
    }
    sql(<<"SQL", $database) for @small;
CREATE TABLE $_ (id bigint, category int, embedding vector($dimensions)) WITH (autovacuum_enabled = off);
INSERT INTO $_ SELECT i, i % 50, spread_vector(i, $dimensions) FROM generate_series(1, 8000) i;
CREATE INDEX ${_}_index ON $_ USING tandem (embedding vector_l2_ops) WITH (strategy = hnsw_batch, ef_construction = 40);
CREATE INDEX ${_}_category ON $_ (category); CALL tandem_build('${_}_index'); ANALYZE $_;
SQL
  }
  my @sessions;
  for my $number (1 .. 6) {
    my $database = $databases[ $number % 3 ];
    my $file = $node->basedir . "/pressure$number";
    my $work = "SET enable_seqscan = off; SET enable_sort = off;\n";
    for my $round (1 .. 30) {
      my $table = $small[ ($round + $number) % @small ];
      $work .= search_sql($_, 7 * $round + $number) . search_sql($_, $round, "category = @{[ ($round + $number) % 50 ]}") for @small;
      $work .= "SELECT tandem_prewarm('${table}_index') > 0;\n" if $round % 3 == 0;
      $work .= "SELECT publish('p$number' || i, 1, $round, 1000 * i * i, 2 + i) FROM generate_series(1, 30) i;\n";
      $work .= "REINDEX INDEX ${table}_index;\n" if $number <= 3 && $round % 5 == 0;
      $work .= "SELECT 'fullest ' || (used_bytes + retired_bytes) / $frame FROM tandem_memory_status();\n";
      $work .= "SELECT 'exceeded' FROM tandem_memory_status() s WHERE used_bytes > budget_bytes OR used_bytes + free_bytes + retired_bytes <> budget_bytes;\n";
    }
    append_to_file("$file.sql", $work);
    push @sessions, IPC::Run::start([ $node->installed_command('psql'), '-XqAt', '-d', $node->connstr($database), '-f', "$file.sql" ], '>', "$file.out", '2>', "$file.err");
  }
  $_->finish for @sessions;
  my $all = join '', map { slurp_file($node->basedir . "/pressure$_.out") . slurp_file($node->basedir . "/pressure$_.err") } 1 .. 6;
  unlike($all, qr/exceeded|ERROR|WARNING|server closed/, 'the budget was kept all the time');
  my ($fullest) = sort { $b <=> $a } $all =~ /^fullest (\d+)$/mg;
  cmp_ok($fullest, '>=', 126, 'and all of it was in use');
  is(shared_memory(), $before, 'no other shared memory has grown');
  check_budget('after pressure');
  for my $database (@databases) {
    check_graph($node, $_, "${_}_index", "$_ of $database", database => $database) for @small;
  }
  sql("DROP TABLE $_") for @small;
  sql("DROP DATABASE $_") for qw(other another);
  check_budget('after databases have gone');
}

sub modes {
  configure("tandem.mode = 'independent'");
  search_all(20);
  publish_sets('m', 40);
  cmp_ok(coordination('filter_bytes'), '<=', 51, 'independent: sets have no more than their share');
  cmp_ok(coordination('filter_bytes'), '>=', 46, 'nor much less');
  sql("SELECT tandem_prewarm('${_}_index')") for @tables;
  cmp_ok(coordination('graph_bytes'), '<=', 77, 'nor have graphs');
  check_budget('independent');
  configure("tandem.mode = 'coordinated'");
}

sub the_border_follows_the_load {
  sql('SELECT tandem_reset_stats()');
  configure("tandem.rebalance_interval = '1s'");
  my $share = sub { sql('SELECT pattern, round(graph_share::numeric, 3) FROM tandem_coordination') };
  await_condition('graphs to have 80 %', sub { search_all(12); return $share->() eq 'vector_heavy|0.800' });
  pass('for searches alone');
  await_condition('graphs to have 50 %', sub { search_all(12, 'category = 7'); return $share->() eq 'hybrid|0.500' });
  pass('for searches with filters');
  cmp_ok(sql('SELECT filtered_searches FROM tandem_index_stats WHERE indexname = \'a_index\''), '>', 0, 'which are counted');
  await_condition('graphs to have 20 %', sub {
    sql('SET enable_seqscan = off;' . "SELECT count(*) FROM a WHERE category = 3;\n" x 60);
    return $share->() eq 'metadata_heavy|0.200';
  });
  pass('for conditions alone');
  is(sql("SELECT rebalances > 5, moves > 3, moved_for, moved_from > 0.2, metadata_only > 0.5, rebalanced_at >= moved_at FROM tandem_coordination"),
    't|t|metadata_heavy|t|t|t', 'the view tells why');
  $node->wait_for_log(qr/tandem rebalanced: graphs have 20 % of the budget, had \d+ %, go to 20 %.*\n.*Queries are metadata_heavy/);
  configure('tandem.auto_balance = off');
  is(coordination('graph_target_bytes'), 77, 'without auto_balance it is what tandem.graph_share says');
  configure('tandem.auto_balance = on');
  configure("tandem.rebalance_interval = '5min'");
}

sub who_sees_what {
  sql('CREATE ROLE owner; CREATE ROLE stranger; CREATE ROLE watcher IN ROLE pg_read_all_stats; ALTER TABLE a OWNER TO owner');
  search_all(200);
  # One in a hundred takes as long as the 99th percentile or longer, so that is no more than a hundred times the mean; the histogram's steps
  # come on top. It may be far less: a search that a busy machine held up, one of more than a hundred, is in the mean alone.
  my $stats = 'SELECT searches > 0, hit_rate BETWEEN 0 AND 1, mean_search_ms > 0, p99_search_ms > 0 AND p99_search_ms <= 120 * mean_search_ms FROM tandem_index_stats WHERE indexname = ';
  is(sql("SET ROLE owner; $stats 'a_index'"), 't|t|t|t', 'the owner sees how an index is searched');
  is(sql("SET ROLE owner; $stats 'b_index'"), '|||', 'not those of others');
  is(sql("SET ROLE stranger; $stats 'a_index'"), '|||', 'nor does anybody else');
  is(sql('SET ROLE stranger; SELECT count(*) FROM tandem_search_counts()'), 0, 'by no way');
  is(sql("SET ROLE watcher; $stats 'a_index'"), 't|t|t|t', 'but who may read all statistics does');
  is(sql('SET ROLE stranger; SELECT mode FROM tandem_coordination'), 'coordinated', 'how memory is shared is for everybody');
  my ($status, undef, $error) = $node->psql('postgres', 'SET ROLE owner; SELECT tandem_reset_stats()');
  like($error, qr/permission denied for function tandem_reset_stats/, 'resetting is for those to whom it was granted');
  sql('GRANT EXECUTE ON FUNCTION tandem_reset_stats TO owner');
  ($status, undef, $error) = $node->psql('postgres', "SET ROLE owner; SELECT tandem_reset_stats('b_index')");
  like($error, qr/must be owner of/, 'and of an index for its owner');
  sql("SET ROLE owner; SELECT tandem_reset_stats('a_index')");
  is(sql('SELECT string_agg((searches > 0)::text, \' \' ORDER BY indexname) FROM tandem_index_stats'), 'false true true true', 'one index');
  sql('SELECT tandem_reset_stats()');
  is(sql('SELECT sum(searches), (SELECT hits + misses + evictions FROM tandem_filter_cache) FROM tandem_index_stats'), '0|0', 'all of the database');
  sql('SET tandem.track_query_patterns = off; SET enable_seqscan = off;' . search_sql('a', 1));
  is(sql('SELECT sum(searches) FROM tandem_index_stats'), 0, 'nothing is counted if it is switched off');
}

sub a_crash_forgets_it {
  publish_sets('x', 5);
  my $log_end = -s $node->logfile;
  $node->psql('postgres', arm_sql('filter-set-publishing=crash') . "SELECT publish('d', 1, 1, 10, 1)");
  $node->wait_for_log(qr/database system is ready to accept connections/, $log_end);
  is(sql('SELECT used_bytes FROM tandem_memory_status()'), 0, 'a crash empties it');
  is(sql('SELECT pattern, moves FROM tandem_coordination'), 'unknown|0', 'and begins anew');
  search_all(20);
  publish_sets('y', 20);
  check_budget('after the crash');
}
