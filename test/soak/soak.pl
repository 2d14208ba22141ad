# Everything at once, for as long as wanted: searches with and without filters that are compared with the table in each snapshot, changes of
# rows, VACUUM, REINDEX, tables and databases that come and go, a memory budget far below what is wanted and of another size after
# each restart, modes and shares that change, and crashes: of a session, of the whole server, in the middle of all that.
# Run by scripts/soak; TANDEM_TEST_SOAK_SECONDS says for how long, TANDEM_TEST_SEED repeats the order of things.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TandemTest;
use Test::More;
use Time::HiRes qw(sleep time);

my $seconds = $ENV{TANDEM_TEST_SOAK_SECONDS} // 1800;
my $round_seconds = 15;
my $dimensions = 8;
my $rows = 12_000;
my @tables = qw(a b c);
my $folder = PostgreSQL::Test::Utils::tempdir();
# What sessions say whose server, or whose neighbour, has been killed; and where they were when they heard of it, which follows.
my $where = qr/^LINE \d+:|^\s*\^|^CONTEXT:|^SQL statement|^PL\/pgSQL function/;
my $cut_off = qr/$where|server closed the connection|terminating connection|connection to server|could not receive data|in recovery mode|starting up|shutting down|Run was aborted|SSL SYSCALL|connection not open|lost connection|the results are likely|client \d+ (?:aborted|receiving)|WARNING:|DETAIL:|HINT:|^\s*$|Connection refused|No such file|Is the server running/m;

seed();
my $node = make_node('soak', preload => 1, conf => <<'CONF');
tandem.seal_rows = 1000
tandem.memory_budget = '8MB'
tandem.rebalance_interval = '1s'
tandem.persistence_interval = '2s'
shared_buffers = 8MB
max_connections = 40
deadlock_timeout = 100ms
CONF
need_stop_points($node);
make_tables();
my $end = time + $seconds;
for (my $round = 1; time < $end; $round++) {
  my @endings = (\&calm, \&session_killed, \&server_killed, \&restarted);
  # The first ones in turns, so that a short run has each once.
  my $ending = $round <= @endings ? $endings[ $round - 1 ] : $endings[ rand @endings ];
  subtest "round $round" => sub { $ending->(); check_all() };
}
$node->stop;
done_testing();

sub sql {
  my ($sql, $database) = @_;
  return $node->safe_psql($database // 'postgres', $sql);
}

sub make_tables {
  sql(<<"SQL");
CREATE TABLE stock AS SELECT i, spread_vector(i, $dimensions)::vector($dimensions) AS embedding FROM generate_series(0, 9999) i;
CREATE UNIQUE INDEX ON stock (i);
CREATE SEQUENCE ids START 100001;
SQL
  for my $table (@tables) {
    sql(<<"SQL");
CREATE TABLE $table (id bigint DEFAULT nextval('ids'), tag int, score int, embedding vector($dimensions)) WITH (autovacuum_enabled = off);
INSERT INTO $table (id, tag, score, embedding) SELECT i, i % 40, hashint4(i) & 1023, spread_vector(i, $dimensions) FROM generate_series(1, $rows) i;
CREATE INDEX ${table}_index ON $table USING tandem (embedding vector_l2_ops) WITH (strategy = hnsw_batch, m = 8, ef_construction = 40);
CREATE INDEX ${table}_tag ON $table (tag);
CREATE INDEX ${table}_score ON $table (score);
ANALYZE $table;
SQL
  }
  sql(<<"SQL");
-- What the filter leaves, to the end of the scan: the same rows as in the table, none twice; the nearest ones in their order.
CREATE FUNCTION filter_problems(target text, n int) RETURNS text LANGUAGE plpgsql AS \$\$
DECLARE
  conditions text[] := ARRAY['tag = %1\$s', 'tag = %1\$s AND score < 512', 'score BETWEEN %1\$s AND %1\$s + 200', 'tag = %1\$s OR score = %1\$s', 'tag IN (%1\$s, 3, 17)'];
  condition text := format(conditions[1 + n % cardinality(conditions)], n % 40);
  ordered text := format('SELECT id, embedding <-> \$1 AS d FROM %I WHERE %s ORDER BY embedding <-> \$1', target, condition);
  query vector := spread_vector(1000000 + n, $dimensions);
  by_filter text[];
  by_table text[];
  distances float8[];
  problems text := '';
BEGIN
  PERFORM set_config('enable_indexscan', 'off', true), set_config('enable_bitmapscan', 'off', true), set_config('enable_indexonlyscan', 'off', true),
    set_config('enable_sort', 'off', true), set_config('tandem.iterative_scan', 'relaxed_order', true);
  EXECUTE format('SELECT array_agg(format(''%%s: %%s'', id, d)) FROM (%s) s', ordered) INTO by_filter USING query;
  PERFORM set_config('tandem.iterative_scan', 'strict_order', true);
  EXECUTE format('SELECT array_agg(d) FROM (%s LIMIT 10) s', ordered) INTO distances USING query;
  PERFORM set_config('enable_sort', 'on', true), set_config('tandem.enable_custom_scan', 'off', true);
  EXECUTE format('SELECT array_agg(format(''%%s: %%s'', id, d)) FROM (%s) s', ordered) INTO by_table USING query;
  PERFORM set_config('tandem.enable_custom_scan', 'on', true), set_config('enable_indexscan', 'on', true);
  IF EXISTS (SELECT unnest(by_filter) EXCEPT ALL SELECT unnest(by_table)) THEN problems := 'by the filter only'; END IF;
  IF EXISTS (SELECT unnest(by_table) EXCEPT ALL SELECT unnest(by_filter)) THEN problems := problems || ' by the table only'; END IF;
  IF distances <> ARRAY(SELECT d FROM unnest(distances) AS d ORDER BY d) THEN problems := problems || ' out of order'; END IF;
  IF cardinality(distances) IS DISTINCT FROM least(cardinality(by_table), 10) THEN problems := problems || ' too few'; END IF;
  RETURN CASE WHEN problems <> '' THEN format('%s where %s: %s; ', target, condition, problems) ELSE '' END;
END \$\$;
CREATE FUNCTION compare(target text, n int) RETURNS void LANGUAGE plpgsql AS \$\$
DECLARE
  problems text;
BEGIN
  problems := graph_problems(target::regclass, ARRAY[spread_vector(1000000 + n, $dimensions)], 20, 0.7, n % 10 = 0) || filter_problems(target, n);
  IF problems <> '' THEN RAISE EXCEPTION 'index and table differ: %', left(problems, 1000); END IF;
END \$\$;
SQL
  await_rest($node, "${_}_index") for @tables;
}

# ---- Load ----

sub load {
  my (%script, %weight);
  my $add = sub { my ($name, $weight, $text) = @_; $script{$name} = $text; $weight{$name} = $weight };
  for my $table (@tables) {
    my $some = "id IN (SELECT id FROM $table WHERE id >= :n * (SELECT last_value FROM ids) / 10000 ORDER BY id LIMIT 5)";
    my $nearest = "ORDER BY embedding <-> (SELECT embedding FROM stock WHERE i = :n) LIMIT 10";
    $add->("search_$table", 20, "SELECT id FROM $table $nearest;\n");
    $add->("filtered_$table", 20, "SELECT id FROM $table WHERE tag = :n % 40 $nearest;\nSELECT id FROM $table WHERE score BETWEEN :n % 1000 AND :n % 1000 + 100 $nearest;\n");
    $add->("conditions_$table", 10, "SELECT count(*) FROM $table WHERE tag = :n % 40;\n" x 5);
    $add->("compare_$table", 2, "BEGIN ISOLATION LEVEL REPEATABLE READ;\nSELECT compare('$table', :n);\nCOMMIT;\n");
    $add->("insert_$table", 5, "INSERT INTO $table (tag, score, embedding) SELECT i % 40, i % 1024, embedding FROM stock WHERE i BETWEEN :n AND :n + 20;\n");
    $add->("undone_$table", 1, "BEGIN;\nINSERT INTO $table (tag, score, embedding) SELECT 7, 7, embedding FROM stock WHERE i = :n;\nROLLBACK;\n");
    $add->("update_$table", 3, "UPDATE $table SET tag = (tag + 1) % 40 WHERE ctid = ANY (SELECT ctid FROM $table TABLESAMPLE system (2) LIMIT 5);\n");
    $add->("move_$table", 3, "UPDATE $table SET embedding = (SELECT embedding FROM stock WHERE i = :n) WHERE ctid = ANY (SELECT ctid FROM $table TABLESAMPLE system (2) LIMIT 5);\n");
    $add->("delete_$table", 5, "DELETE FROM $table WHERE ctid = ANY (SELECT ctid FROM $table TABLESAMPLE system (3) LIMIT 20);\n");
    $add->("vacuum_$table", 1, "VACUUM (INDEX_CLEANUP ON, TRUNCATE OFF) $table;\n");
  }
  $add->('reindex', 1, "REINDEX INDEX b_index;\n");
  $add->('reindex_native', 1, "REINDEX INDEX c_tag;\n");
  $add->('come_and_go', 1, "CREATE TABLE gone:client_id AS SELECT i AS id, i % 7 AS tag, embedding FROM stock WHERE i < 3000;\n"
      . "CREATE INDEX ON gone:client_id USING tandem (embedding vector_l2_ops) WITH (strategy = hnsw_inline, m = 4, ef_construction = 16);\nCREATE INDEX ON gone:client_id (tag);\n"
      . "SELECT id FROM gone:client_id WHERE tag = 3 ORDER BY embedding <-> (SELECT embedding FROM stock WHERE i = :n) LIMIT 5;\nDROP TABLE gone:client_id;\n");
  return start_pgbench($node, clients => 8, seconds => $round_seconds, folder => $folder, script => \%script, weight => \%weight);
}

# Beside the load: a database that comes and goes, and settings.
sub disturb {
  my $mode = (qw(coordinated coordinated independent lru))[ rand 4 ];
  $node->psql('postgres', "ALTER SYSTEM SET tandem.mode = '$mode'; ALTER SYSTEM SET tandem.graph_share = "
      . sprintf('%.2f', 0.1 + rand 0.8) . "; SELECT pg_reload_conf()");
  return if $node->psql('postgres', 'CREATE DATABASE passing') != 0;
  eval {
    setup_database($node, 'passing');
    sql("CREATE TABLE t AS SELECT i AS id, spread_vector(i, $dimensions) AS embedding FROM generate_series(1, 3000) i;"
        . "CREATE INDEX t_index ON t USING tandem (embedding vector_l2_ops) WITH (strategy = hnsw_batch, m = 4, ef_construction = 16)", 'passing');
    sql("SELECT id FROM t ORDER BY embedding <-> spread_vector(5, $dimensions) LIMIT 5", 'passing');
  };
  $node->psql('postgres', 'DROP DATABASE passing WITH (FORCE)');
}

# ---- How rounds end ----

sub calm {
  my $load = load();
  disturb();
  finish_pgbench($load, 'a calm round');
}

# Sessions end with errors; which ones is known.
sub finish_cut_off {
  my ($load, $label) = @_;
  my ($running, undef, $error) = @$load;
  eval { $running->finish };
  # A statement may have lines of its own.
  my $said = $$error =~ s/^(CONTEXT: +|)SQL statement "[^"]*"/$1/gmr;
  my @others = grep { !/$cut_off/ && !/^pgbench: setting random seed/ } split /\n/, $said;
  is("@others", '', "nothing but the crash ended a session: $label");
}

sub session_killed {
  my $load = load();
  disturb();
  sleep rand 3;
  crash_backend($node);
  finish_cut_off($load, 'a session killed');
}

sub server_killed {
  my $load = load();
  sleep 2 + rand($round_seconds / 2);
  kill_server($node);
  finish_cut_off($load, 'the server killed');
  start_with_another_budget();
}

sub restarted {
  my $load = load();
  disturb();
  sleep rand 3;
  $node->stop((qw(fast immediate))[ rand 2 ]);
  finish_cut_off($load, 'the server stopped');
  start_with_another_budget();
}

sub start_with_another_budget {
  my $megabytes = (4, 6, 8, 12, 24)[ rand 5 ];
  $node->append_conf('postgresql.conf', "tandem.memory_budget = '${megabytes}MB'");
  $node->start;
  note("a budget of $megabytes MB");
}

# ---- At rest ----

sub check_all {
  $node->psql('postgres', 'DROP DATABASE IF EXISTS passing WITH (FORCE)');
  sql('DROP TABLE IF EXISTS ' . join ', ', map { "gone$_" } 0 .. 7);
  is(sql('SELECT used_bytes + free_bytes + retired_bytes = budget_bytes FROM tandem_memory_status()'), 't', 'every frame is accounted for');
  for my $table (@tables) {
    check_graph($node, $table, "${table}_index", "$table afterwards", floor => 0.7);
    is(sql("SELECT string_agg(filter_problems('$table', n), '') FROM generate_series(0, 20) n"), '', "$table by filters");
  }
  await_condition('no set to be pinned', sub { sql('SELECT pinned FROM tandem_filter_cache') eq '0' });
  # Rows neither vanish nor pile up in the course of an hour.
  for my $table (@tables) {
    my $count = sql("SELECT count(*) FROM $table");
    sql("INSERT INTO $table (tag, score, embedding) SELECT i % 40, i % 1024, embedding FROM stock WHERE i < $rows - $count") if $count < $rows;
    sql("DELETE FROM $table WHERE id % 3 = 0") if $count > 2 * $rows;
  }
}
