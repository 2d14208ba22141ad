# The argument by which filter sets are kept, attacked: what a filter admits among the rows that were settled when its set was made
# never changes. Sessions insert, update what is indexed and what is not (HOT, too) and vectors, delete, roll back transactions and parts of
# them, keep them open and prepare them, while another one vacuums, rewrites and reindexes tables and indexes, and drops metadata indexes and
# makes them again: concurrently or not, with another predicate, on a column that was updated by HOT until then. An index whose
# expression takes its time comes after ours and before the others: a row that ours has may be in no other for some milliseconds.
# Others ask for the same few hundred filters again and again and compare each answer with one for which no index is used, in one
# snapshot: all rows of the filter, and the nearest ones, which are exact where sets are compared whole, beyond a floor of
# recall where graphs are walked.
#
# 20 seconds. TANDEM_TEST_OPERATIONS=100000 goes on until there were so many transactions: some minutes.
# TANDEM_TEST_STOP_POINTS arms further switches in all sessions that compare, to see the test fail.
#
# Seen to fail with: all rows taken for settled (TANDEM_TEST_STOP_POINTS=all-rows-settled=on), within ten seconds; sets kept by our index's OID
# instead of its file and incarnation.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TandemTest;
use Test::More;

my $seconds = 20;    # of a round
my $operations = $ENV{TANDEM_TEST_OPERATIONS} // 0;
my $switches = join ',', grep { $_ ne '' } $ENV{TANDEM_TEST_STOP_POINTS} // '';
my $dimensions = 4;
my $folder = PostgreSQL::Test::Utils::tempdir();
my $patience = $PostgreSQL::Test::Utils::timeout_default;    # seconds
my @tables = qw(exact graphs);    # with a flat index, and with graphs

seed();
# Sometimes the sets have too little room.
my $budget = (qw(8MB 64MB))[ int rand 2 ];
my $node = make_node('attack', preload => 1, conf => <<"CONF");
tandem.seal_rows = 1000
tandem.memory_budget = $budget
shared_buffers = 16MB
max_prepared_transactions = 20
deadlock_timeout = 100ms
jit = off
CONF

make_tables();
make_differences();
my $done = 0;
do { $done += attack() } while ($done < $operations && Test::More->builder->is_passing);
note("$done operations");
my ($filtered, $others) = map { $node->safe_psql('postgres', "SELECT last_value FROM $_") } qw(by_filter by_other_plans);
note("$filtered comparisons of filtered scans, $others where an index was missing");
cmp_ok($filtered, '>', 2 * $others, 'most comparisons were of filtered scans');
my ($hits, $misses, $evictions) = split /\|/, $node->safe_psql('postgres', 'SELECT hits, misses, evictions FROM tandem_filter_cache');
note("budget $budget: $hits sets found, $misses looked for in vain, $evictions given up for others");
cmp_ok($hits, '>', $filtered / 10, 'sets were found again and again');
await_rest($node, 'graphs_index');
check_filters($node, 'differences', 319, 'at rest');
$node->safe_psql('postgres', "VACUUM $_") for @tables;
check_filters($node, 'differences', 319, 'after a last VACUUM');
$node->stop;
done_testing();

# Columns: a, b (partly), c (now and then), h, s and tags are indexed; touched is not.
sub make_tables {
  $node->safe_psql('postgres', <<"SQL");
CREATE SEQUENCE ids;
CREATE SEQUENCE by_filter;
CREATE SEQUENCE by_other_plans;
-- Vectors to insert: making them would take longer than inserting them.
CREATE TABLE stock AS SELECT i, CASE WHEN i % 50 <> 0 THEN spread_vector(i, $dimensions)::vector($dimensions) END AS embedding FROM generate_series(0, 9999) i;
CREATE UNIQUE INDEX ON stock (i);
-- Where a row is in our index and not in the next one for a while, others may look: attack.delay is a setting of sessions that change rows.
CREATE FUNCTION slowly(i int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS \$\$
BEGIN
  IF i % 3 = 0 AND current_setting('attack.delay', true) <> '' THEN PERFORM pg_sleep(current_setting('attack.delay')::float8); END IF;
  RETURN i % 10;
END \$\$;
SQL
  for my $table (@tables) {
    my $with = $table eq 'graphs' ? 'WITH (strategy = hnsw_batch, m = 8, ef_construction = 40)' : '';
    # Indexes are filled in the order in which they were made.
    $node->safe_psql('postgres', <<"SQL");
CREATE TABLE $table (id bigint DEFAULT nextval('ids'), a int, b int, c int, h int, s int, tags int[], touched int DEFAULT 0, embedding vector($dimensions))
  WITH (fillfactor = 60);
CREATE INDEX ${table}_index ON $table USING tandem (embedding vector_l2_ops) $with;
CREATE INDEX ${table}_s ON $table (slowly(s));
CREATE INDEX ON $table (id);
CREATE INDEX ${table}_a ON $table (a);
CREATE INDEX ${table}_b ON $table (b) WHERE b < 15;
CREATE INDEX ${table}_h ON $table USING hash (h);
CREATE INDEX ${table}_tags ON $table USING gin (tags) WITH (fastupdate = on);
CREATE INDEX ${table}_brin ON $table USING brin (id) WITH (pages_per_range = 1);
@{[ insert_sql($table, 0, 1999) ]}
ANALYZE $table;
SQL
  }
}

sub insert_sql {
  my ($table, $first, $last) = @_;
  return "INSERT INTO $table (a, b, c, h, s, tags, embedding)\n"
    . "  SELECT i % 20, i % 31, i % 10, i % 8, i, ARRAY[i % 7, i % 11], embedding FROM stock WHERE i BETWEEN $first AND $last;\n";
}

# differences(table, n): what is wrong with the answers of a filter that the number chooses, or ''. The planner is left no other way
# than a filtered scan, if there is an index for the filter, and a sequential scan.
sub make_differences {
  $node->safe_psql('postgres', <<"SQL");
CREATE FUNCTION differences(target text, n int) RETURNS text LANGUAGE plpgsql AS \$\$
DECLARE
  conditions text[] := ARRAY['a = %s', 'a IN (%s, 3, 17)', 'a = %s AND b < 15', 'a = %s OR b = 9', 'b = %s AND b < 15', 'tags \@> ARRAY[%s % 11]',
    'b < 15 AND touched % 2 = 0', 'h = %s % 8', 'h = %s % 8 AND a < 10', 'slowly(s) = %s % 10', 'slowly(s) = %s % 10 OR c = 3', 'c = %s % 10', 'a BETWEEN %s AND 15 AND c = 4',
    'id % 3 = 1 AND id BETWEEN %s * 500 AND %s * 1500 + 2000', 'a > %s', 'a = 20 + %s'];
  condition text := replace(conditions[1 + n % cardinality(conditions)], '%s', (n / cardinality(conditions) % 20)::text);
  query vector := spread_vector(1000000 + n, $dimensions);
  ordered text := format('SELECT id, embedding <-> \$1 AS d FROM %I WHERE %s ORDER BY embedding <-> \$1', target, condition);
  is_exact boolean := target = 'exact' OR n % 2 = 0;
  plan text;
  nearest float8[];
  ids bigint[];
  all_ids bigint[];
  distances float8[];
BEGIN
  -- Graphs are walked, or sets as small as these are compared whole.
  PERFORM set_config('tandem.stop_points', concat_ws(',', CASE WHEN NOT is_exact THEN 'always-graph=on' END, nullif('$switches', '')), true);
  PERFORM set_config('enable_indexscan', 'off', true), set_config('enable_bitmapscan', 'off', true), set_config('enable_indexonlyscan', 'off', true),
    set_config('enable_sort', 'off', true);
  EXECUTE 'EXPLAIN (FORMAT JSON) ' || replace(ordered, '\$1', quote_literal(query) || '::vector') INTO plan;
  PERFORM nextval(CASE WHEN plan ~ 'Tandem Scan.*Bitmap' THEN 'by_filter' ELSE 'by_other_plans' END);
  EXECUTE format('SELECT array_agg(d) FROM (%s LIMIT 10) AS s', ordered) INTO nearest USING query;
  PERFORM set_config('tandem.iterative_scan', 'relaxed_order', true);
  EXECUTE format('SELECT array_agg(id ORDER BY id) FROM (%s) AS s', ordered) INTO ids USING query;
  PERFORM set_config('tandem.iterative_scan', 'strict_order', true), set_config('enable_sort', 'on', true), set_config('tandem.enable_custom_scan', 'off', true);
  EXECUTE 'EXPLAIN (FORMAT JSON) ' || format('SELECT id FROM %I WHERE %s', target, condition) INTO plan;
  IF plan !~ '"Seq Scan"' THEN RETURN 'no sequential scan: ' || plan; END IF;
  EXECUTE format('SELECT array_agg(id ORDER BY id), (array_agg(d ORDER BY d))[1:10] FROM (SELECT id, embedding <-> \$1 AS d FROM %I WHERE %s) AS s', target, condition)
    INTO all_ids, distances USING query;
  PERFORM set_config('tandem.enable_custom_scan', 'on', true);
  IF ids IS DISTINCT FROM all_ids THEN
    RETURN format(E'%s, %s: %s rows, not %s; by the table only %s; by the filter only %s\\n', target, condition, cardinality(ids), cardinality(all_ids),
      ARRAY(SELECT unnest(all_ids) EXCEPT ALL SELECT unnest(ids)), ARRAY(SELECT unnest(ids) EXCEPT ALL SELECT unnest(all_ids)));
  END IF;
  IF cardinality(nearest) IS DISTINCT FROM cardinality(distances) OR nearest <> ARRAY(SELECT d FROM unnest(nearest) AS d ORDER BY d)
    OR is_exact AND nearest IS DISTINCT FROM distances
    OR (SELECT count(*) FROM unnest(nearest) AS d WHERE coalesce(d <= distances[cardinality(distances)], true)) < 0.5 * cardinality(distances) THEN
    RETURN format(E'%s, %s: nearest %s, not %s\\n', target, condition, nearest, distances);
  END IF;
  RETURN '';
END \$\$;
SQL
  make_comparison($node, 'differences');
}

# Returns how many transactions there were.
sub attack {
  my (%change, %change_weight, %definition, %definition_weight);
  for my $table (@tables) {
    my ($changes, $definitions) = (changes_of($table), definitions_of($table));
    ($change_weight{"${table}_$_"}, $change{"${table}_$_"}) = @{ $changes->{$_} } for keys %$changes;
    ($definition_weight{"${table}_$_"}, $definition{"${table}_$_"}) = @{ $definitions->{$_} } for keys %$definitions;
  }
  my %search = (
    compare => "BEGIN ISOLATION LEVEL REPEATABLE READ;\nSELECT compare(:n);\nCOMMIT;\n",
    # A snapshot that grows old; others end and begin, and definitions change as far as it lets them.
    look_long => "BEGIN ISOLATION LEVEL REPEATABLE READ;\nSELECT compare(:n);\n\\sleep 200 ms\nSELECT compare(:n + 1);\n\\sleep 200 ms\nSELECT compare(:n);\nCOMMIT;\n",
    # Own rows, which others do not see, and which are undone.
    own_rows => "BEGIN ISOLATION LEVEL REPEATABLE READ;\nSAVEPOINT a;\n" . insert_sql('exact', ':n', ':n + 9')
      . "SELECT compare(:n / 2 * 2);\nROLLBACK TO a;\nSELECT compare(:n / 2 * 2);\nCOMMIT;\n",
  );
  my @clients = ([ changes => 4, \%change, \%change_weight, "-c attack.delay=0.002" ], [ definitions => 1, \%definition, \%definition_weight, '' ],
    [ searches => 4, \%search, { compare => 20, look_long => 1, own_rows => 2 }, '' ]);
  my @running;
  for (@clients) {
    my ($label, $clients, $script, $weight, $settings) = @$_;
    local $ENV{PGOPTIONS} = "-c statement_timeout=${patience}s -c client_min_messages=warning $settings";
    push @running, [ $label, start_pgbench($node, clients => $clients, seconds => $seconds, folder => $folder, script => $script, weight => $weight,
      options => ['--max-tries=100']) ];
  }
  my $transactions = 0;
  $transactions += finish_pgbench($_->[1], $_->[0]) for @running;
  return $transactions;
}

# Scripts that change rows: name => [weight, SQL].
sub changes_of {
  my ($table) = @_;
  my $some = "id IN (SELECT id FROM $table WHERE id >= :n * (SELECT last_value FROM ids) / 10000 ORDER BY id LIMIT 5)";
  my $one = "id = (SELECT min(id) FROM $table WHERE id >= :n * (SELECT last_value FROM ids) / 10000)";
  return {
    insert => [ 12, insert_sql($table, ':n', ':n + 5') ],
    touch => [ 6, "UPDATE $table SET touched = touched + 1 WHERE $some;\n" ],
    retag => [ 8, "UPDATE $table SET a = (a + 1) % 20, h = (h + 3) % 8, tags = ARRAY[:n % 7, :n % 11] WHERE $some;\n" ],
    sometimes_hot => [ 6, "UPDATE $table SET c = (c + 1) % 10 WHERE $some;\n" ],
    slowly => [ 4, "UPDATE $table SET s = s + 1, b = (b + 1) % 31 WHERE $some;\n" ],
    move => [ 4, "UPDATE $table SET embedding = (SELECT embedding FROM stock WHERE i = :n) WHERE $some;\n" ],
    delete => [ 6, "DELETE FROM $table WHERE ctid = ANY (SELECT ctid FROM $table TABLESAMPLE system (3) LIMIT 12);\n" ],
    trim => [ 1, "DELETE FROM $table WHERE id < (SELECT max(id) - 4000 FROM $table);\n" ],
    undone => [ 2, "BEGIN;\n" . insert_sql($table, ':n', ':n + 5') . "UPDATE $table SET a = 3 WHERE $some;\nROLLBACK;\n" ],
    partly => [ 4, "BEGIN;\n" . insert_sql($table, ':n', ':n + 1') . "SAVEPOINT a;\nUPDATE $table SET a = 17 WHERE $some;\nSAVEPOINT b;\n"
        . insert_sql($table, ':n', ':n + 1') . "ROLLBACK TO a;\nSAVEPOINT c;\n" . insert_sql($table, ':n', ':n') . "RELEASE c;\nCOMMIT;\n" ],
    kept_open => [ 1, "BEGIN;\n" . insert_sql($table, ':n', ':n + 2') . "\\sleep 300 ms\nUPDATE $table SET a = 5 WHERE $one;\nCOMMIT;\n" ],
    prepared => [ 2, "BEGIN;\nSAVEPOINT a;\n" . insert_sql($table, ':n', ':n + 2') . "PREPARE TRANSACTION '$table :client_id';\n\\sleep 100 ms\nCOMMIT PREPARED '$table :client_id';\n" ],
    prepared_undone => [ 1, "BEGIN;\n" . insert_sql($table, ':n', ':n + 2') . "PREPARE TRANSACTION '$table :client_id';\n\\sleep 50 ms\nROLLBACK PREPARED '$table :client_id';\n" ],
  };
}

# Scripts that change what there is: name => [weight, SQL].
sub definitions_of {
  my ($table) = @_;
  my $tandem = $table eq 'graphs' ? [ 1, "REINDEX INDEX CONCURRENTLY graphs_index;\n" ] : [ 1, "REINDEX INDEX exact_index;\n" ];
  return {
    vacuum => [ 6, "VACUUM (INDEX_CLEANUP ON, TRUNCATE OFF) $table;\n" ],
    vacuum_freeze => [ 1, "VACUUM (FREEZE) $table;\n" ],
    rewrite => [ 1, "VACUUM FULL $table;\n" ],
    reindex => [ 2, "REINDEX INDEX ${table}_a;\n" ],
    reindex_hash => [ 1, "REINDEX INDEX ${table}_h;\n" ],
    reindex_concurrently => [ 2, "REINDEX INDEX CONCURRENTLY ${table}_tags;\n" ],
    reindex_tandem => $tandem,
    made_again => [ 2, "DROP INDEX ${table}_a;\nCREATE INDEX ${table}_a ON $table (a);\n" ],
    made_again_slowly => [ 2, "DROP INDEX ${table}_s;\nCREATE INDEX ${table}_s ON $table (slowly(s));\n" ],
    other_predicate => [ 2, "DROP INDEX ${table}_b;\nCREATE INDEX ${table}_b ON $table (b) WHERE b < 15 + :n % 3;\n" ],
    concurrently => [ 3, "DROP INDEX IF EXISTS ${table}_c;\n\\sleep 50 ms\nCREATE INDEX CONCURRENTLY ${table}_c ON $table (c);\n" ],
    away_concurrently => [ 1, "DROP INDEX CONCURRENTLY IF EXISTS ${table}_c;\n" ],
    $table eq 'graphs' ? (build => [ 3, "CALL tandem_build('graphs_index');\n" ]) : (),
  };
}
