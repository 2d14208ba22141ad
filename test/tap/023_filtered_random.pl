# Filtered scans beside everything that changes rows: sessions insert, update what is indexed and what is not and vectors, delete, roll
# back whole transactions and parts of them, and prepare transactions, while VACUUM runs, rows are folded and segments
# merged. Others compare, each in one snapshot, what a random filter returns with what a sequential scan does: from the flat
# index the same distances in the same order; through graphs, to the end of a scan, the same rows, none twice, and never one before a
# nearer one. Scans are held open meanwhile, and some filters depend on another row's value.
# 20 seconds; TANDEM_TEST_SOAK_SECONDS for longer.
#
# Seen to fail with: conditions not checked again; a bitmap kept although its value has changed.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TandemTest;
use Test::More;

my $seconds = $ENV{TANDEM_TEST_SOAK_SECONDS} // 20;
my $dimensions = 4;
my $folder = PostgreSQL::Test::Utils::tempdir();
my $patience = $PostgreSQL::Test::Utils::timeout_default;    # seconds
my @tables = qw(exact graphs);

seed();
my $node = make_node('filtered', preload => 1, conf => <<'CONF');
tandem.seal_rows = 1000
shared_buffers = 8MB
max_prepared_transactions = 20
jit = off
CONF

make_tables();
make_checker();
changes();
check_filters($node, 'filter_problems', 53, 'at once afterwards');
await_rest($node, 'graphs_index');
check_filters($node, 'filter_problems', 53, 'at rest');
$node->safe_psql('postgres', "VACUUM $_") for @tables;
check_filters($node, 'filter_problems', 53, 'after a last VACUUM');
$node->stop('immediate');
$node->start;
check_filters($node, 'filter_problems', 53, 'after a crash');
$node->stop;
done_testing();

sub make_tables {
  $node->safe_psql('postgres', <<"SQL");
CREATE SEQUENCE ids;
-- Vectors to insert: making them would take longer than inserting them.
CREATE TABLE stock AS SELECT i, CASE WHEN i % 50 <> 0 THEN spread_vector(i, $dimensions)::vector($dimensions) END AS embedding FROM generate_series(0, 9999) i;
CREATE UNIQUE INDEX ON stock (i);
SQL
  for my $table (@tables) {
    my $with = $table eq 'graphs' ? 'WITH (strategy = hnsw_batch, m = 8, ef_construction = 40)' : '';
    $node->safe_psql('postgres', <<"SQL");
CREATE TABLE $table (id bigint DEFAULT nextval('ids'), a int, b int, tags int[], touched int DEFAULT 0, embedding vector($dimensions)) WITH (fillfactor = 60);
CREATE INDEX ${table}_index ON $table USING tandem (embedding vector_l2_ops) $with;
CREATE INDEX ON $table (id);
CREATE INDEX ON $table (a);
CREATE INDEX ON $table (b) WHERE b < 15;
CREATE INDEX ON $table USING gin (tags) WITH (fastupdate = on);
CREATE INDEX ON $table USING brin (id) WITH (pages_per_range = 1);
INSERT INTO $table (a, b, tags, embedding) SELECT i % 20, i % 31, ARRAY[i % 7, i % 11], embedding FROM stock WHERE i < 2500;
ANALYZE $table;
SQL
  }
}

# What is wrong with the answers of a filter that the number chooses, or ''. The planner is left no other way than a filtered
# scan, and a sequential scan where no order is asked for.
sub make_checker {
  $node->safe_psql('postgres', <<"SQL");
CREATE FUNCTION filter_problems(target text, n int) RETURNS text LANGUAGE plpgsql AS \$\$
DECLARE
  conditions text[] := ARRAY['a = %s', 'a IN (%s, 3, 17)', 'a = %s AND b < 15', 'a = %s OR b = 9', 'tags \@> ARRAY[%s % 11]', 'b < 15 AND touched % 2 = 0',
    'id % 5 = 1 AND id BETWEEN %s * 1000 AND %s * 1500', 'a BETWEEN %s AND 15 AND b = 4', 'a = ANY (ARRAY(SELECT max(i) %% 20 FROM stock WHERE i < %s))'];
  condition text := replace(conditions[1 + n % cardinality(conditions)], '%s', (n % 20)::text);
  query vector := spread_vector(1000000 + n, $dimensions);
  ordered text := format('SELECT id, embedding <-> \$1 AS d FROM %I WHERE %s ORDER BY embedding <-> \$1', target, replace(condition, '%%', '%'));
  plan text;
  c refcursor;
  line record;
  seen text[] := '{}';
  distances float8[] := '{}';
  problems text := '';
  extra text;
  by_filter float8[];
  by_table float8[];
BEGIN
  PERFORM set_config('enable_indexscan', 'off', true), set_config('enable_bitmapscan', 'off', true), set_config('enable_indexonlyscan', 'off', true),
    set_config('enable_sort', 'off', true), set_config('tandem.iterative_scan', 'relaxed_order', true);
  EXECUTE 'EXPLAIN (FORMAT JSON) ' || replace(ordered, '\$1', quote_literal(query) || '::vector') INTO plan;
  IF plan !~ 'Tandem Scan.*Bitmap' OR plan ~ '"Sort"' THEN RETURN 'not a filtered scan: ' || plan; END IF;
  -- To the end, while others go on.
  OPEN c NO SCROLL FOR EXECUTE ordered USING query;
  LOOP
    FETCH c INTO line;
    EXIT WHEN NOT FOUND;
    seen := seen || format('%s: %s', line.id, line.d);
    distances := distances || line.d;
    IF cardinality(seen) = 5 AND n % 3 = 0 THEN PERFORM pg_sleep(0.03); END IF;
  END LOOP;
  CLOSE c;
  EXECUTE format('SELECT array_agg(format(''%%s: %%s'', id, embedding <-> \$1)) FROM %I WHERE %s', target, replace(condition, '%%', '%')) INTO plan USING query;
  SELECT string_agg(x, ' ') INTO extra FROM (SELECT unnest(seen) EXCEPT ALL SELECT unnest(plan::text[])) AS e(x);
  IF extra IS NOT NULL THEN problems := problems || format(E'%s: by the filter only: %s\\n', condition, left(extra, 500)); END IF;
  SELECT string_agg(x, ' ') INTO extra FROM (SELECT unnest(plan::text[]) EXCEPT ALL SELECT unnest(seen)) AS e(x);
  IF extra IS NOT NULL THEN problems := problems || format(E'%s: by the table only: %s\\n', condition, left(extra, 500)); END IF;
  IF target = 'exact' AND distances <> ARRAY(SELECT d FROM unnest(distances) AS d ORDER BY d) THEN problems := problems || format(E'%s: out of order\\n', condition); END IF;
  -- The nearest ones; for several values of the filter, too.
  PERFORM set_config('tandem.iterative_scan', 'strict_order', true);
  ordered := CASE n % 2 WHEN 0 THEN ordered || ' LIMIT 10'
    ELSE format('SELECT k.d FROM generate_series(%s, %s) AS w(a), LATERAL (SELECT embedding <-> \$1 AS d FROM %I WHERE a = w.a %% 20 ORDER BY embedding <-> \$1 LIMIT 5) AS k', n, n + 3, target) END;
  EXECUTE format('SELECT array_agg(d) FROM (%s) AS s', ordered) INTO by_filter USING query;
  PERFORM set_config('enable_sort', 'on', true), set_config('tandem.enable_custom_scan', 'off', true);
  EXECUTE format('SELECT array_agg(d) FROM (%s) AS s', ordered) INTO by_table USING query;
  PERFORM set_config('tandem.enable_custom_scan', 'on', true);
  IF cardinality(by_filter) IS DISTINCT FROM cardinality(by_table) OR target = 'exact' AND by_filter IS DISTINCT FROM by_table THEN
    problems := problems || format(E'%s: nearest %s, not %s\\n', ordered, by_filter, by_table);
  END IF;
  IF n % 2 = 0 AND by_filter <> ARRAY(SELECT d FROM unnest(by_filter) AS d ORDER BY d) THEN problems := problems || format(E'%s: out of order: %s\\n', ordered, by_filter); END IF;
  RETURN problems;
END \$\$;
SQL
  make_comparison($node, 'filter_problems');
}

sub changes {
  my (%script, %weight);
  for my $table (@tables) {
    my $insert = sub { "INSERT INTO $table (a, b, tags, embedding) SELECT i % 20, i % 31, ARRAY[i % 7, i % 11], embedding FROM stock WHERE i BETWEEN $_[0] AND $_[1];\n" };
    my $some = "id IN (SELECT id FROM $table WHERE id >= :n * (SELECT last_value FROM ids) / 10000 ORDER BY id LIMIT 5)";
    my %of_table = (
      insert => [ 12, $insert->(':n', ':n + 9') ],
      touch => [ 6, "UPDATE $table SET touched = touched + 1 WHERE $some;\n" ],
      retag => [ 8, "UPDATE $table SET a = (a + 1) % 20, tags = ARRAY[:n % 7, :n % 11] WHERE $some;\n" ],
      move => [ 6, "UPDATE $table SET embedding = (SELECT embedding FROM stock WHERE i = :n) WHERE $some;\n" ],
      delete => [ 8, "DELETE FROM $table WHERE ctid = ANY (SELECT ctid FROM $table TABLESAMPLE system (3) LIMIT 12);\n" ],
      undone => [ 2, "BEGIN;\n" . $insert->(':n', ':n + 5') . "UPDATE $table SET a = 3 WHERE $some;\nROLLBACK;\n" ],
      partly => [ 4, "BEGIN;\n" . $insert->(':n', ':n + 1') . "SAVEPOINT a;\nUPDATE $table SET a = 17 WHERE $some;\nROLLBACK TO a;\n"
          . "SAVEPOINT b;\n" . $insert->(':n', ':n') . "RELEASE b;\nCOMMIT;\n" ],
      prepared => [ 2, "BEGIN;\n" . $insert->(':n', ':n + 2') . "PREPARE TRANSACTION '$table :client_id';\n\\sleep 20 ms\nCOMMIT PREPARED '$table :client_id';\n" ],
      vacuum => [ 1, "VACUUM (INDEX_CLEANUP ON, TRUNCATE OFF) $table;\n" ],
    );
    for my $name (keys %of_table) { ($weight{"${table}_$name"}, $script{"${table}_$name"}) = @{ $of_table{$name} } }
  }
  $script{prepared_undone} = "BEGIN;\nINSERT INTO graphs (a, embedding) SELECT 3, embedding FROM stock WHERE i = :n;\nPREPARE TRANSACTION 'undone :client_id';\nROLLBACK PREPARED 'undone :client_id';\n";
  $script{build} = "CALL tandem_build('graphs_index');\n";
  @weight{qw(prepared_undone build)} = (1, 1);
  my %search = (
    compare => "BEGIN ISOLATION LEVEL REPEATABLE READ;\nSELECT compare(:n);\nSELECT compare(:n + 1);\nCOMMIT;\n",
    write => "BEGIN ISOLATION LEVEL REPEATABLE READ;\nSAVEPOINT a;\nINSERT INTO exact (a, b, embedding) SELECT i % 20, 4, embedding FROM stock WHERE i BETWEEN :n AND :n + 20;\n"
      . "SELECT compare(:n);\nROLLBACK TO a;\nSELECT compare(:n / 2 * 2);\nCOMMIT;\n",
  );
  my $before = segments_of($node, 'graphs_index');
  local $ENV{PGOPTIONS} = "-c statement_timeout=${patience}s -c jit=off";
  my %common = (seconds => $seconds, folder => $folder);
  # Once more where the machine has had no time for a fold.
  for (1 .. 5) {
    my $changing = start_pgbench($node, %common, clients => 5, script => \%script, weight => \%weight);
    my $searching = start_pgbench($node, %common, clients => 3, script => \%search, weight => { compare => 5, write => 1 });
    finish_pgbench($changing, 'changes');
    finish_pgbench($searching, 'searches');
    last if segments_of($node, 'graphs_index') ne $before;
  }
  isnt(segments_of($node, 'graphs_index'), $before, 'segments came and went meanwhile');
}
