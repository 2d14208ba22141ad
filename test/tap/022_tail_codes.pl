# The tail by code: searches find the rows of the tail that an exact scan of it finds, in the same order, for every metric and
# codec, with rows that no code stands for, beside inserts, aborts and deletions, through cursors over a fold, without memory,
# after errors, crashes and restarts, and on a standby.
#
# Seen to fail with: what lies beyond a batch taken for farther than all of it (no fence); rows that codes stand for badly not
# kept apart; codes found by the file alone, so that those of another tail are used; which rows go by code decided anew in
# each pass; rows of bit columns read although their codes say it all, and those of equal distance taken out of order; codes left to
# searches while a worker builds; first batches of a segment that are no larger than its share, whatever it holds.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TandemTest;
use Test::More;

my $sealed = 1200;
my $tail = 700;

# No place for a worker, which would fold the tail.
my $node = make_node('tail', preload => 1, init => [ allows_streaming => 1 ], conf => <<'CONF');
max_worker_processes = 1
tandem.memory_budget = 64MB
max_wal_size = 1GB
CONF
need_stop_points($node);
setup_answers();
metrics_and_codecs();
bits();
bit_columns();
odd_rows();
aborts_and_deletions();
cursors();
another_life();
late_maker();
errors_and_crashes();
beside_inserts();
standby();
no_memory();
segments();
worker();
$node->stop;
done_testing();

# tail_answers(): ids and distances of the nearest rows of some queries, by the index. tail_codes(): how many rows of the tail
# a query compared by code, or another line of its plan. wrong_answers(): queries whose nearest rows are others by index than by table, with pools
# so large that graphs find everything.
sub setup_answers {
  $node->safe_psql('postgres', <<'SQL');
CREATE FUNCTION tail_answers(target regclass, operator text, queries vector[], k int) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
  query vector;
BEGIN
  PERFORM set_config('enable_seqscan', 'off', true), set_config('enable_sort', 'off', true);
  FOREACH query IN ARRAY queries LOOP
    RETURN QUERY EXECUTE format('SELECT string_agg(id || '':'' || d, '' '' ORDER BY d, id)
      FROM (SELECT id, embedding %1$s $1 AS d FROM %2$s ORDER BY embedding %1$s $1 LIMIT %3$s) s', operator, target, k) USING query;
  END LOOP;
END $$;
CREATE FUNCTION tail_codes(target regclass, operator text, query vector, counted text DEFAULT 'Tail Rows Scanned by Code') RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  line text;
BEGIN
  PERFORM set_config('enable_seqscan', 'off', true), set_config('enable_sort', 'off', true);
  FOR line IN EXECUTE format('EXPLAIN (ANALYZE, VERBOSE) SELECT id FROM %s ORDER BY embedding %s %L LIMIT 10', target, operator, query) LOOP
    IF line ~ counted THEN RETURN substring(line FROM ': (.*)')::bigint; END IF;
  END LOOP;
END $$;
CREATE FUNCTION wrong_answers(target regclass, queries vector[], k int) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
  query vector;
BEGIN
  PERFORM set_config('enable_seqscan', 'off', true), set_config('enable_sort', 'on', true), set_config('tandem.ef_search', '1000', true);
  FOREACH query IN ARRAY queries LOOP
    RETURN QUERY EXECUTE format('WITH i AS MATERIALIZED (SELECT id, embedding <-> $1 AS d FROM %1$s ORDER BY embedding <-> $1 LIMIT %2$s),
        t AS MATERIALIZED (SELECT id, embedding <-> $1 AS d FROM %1$s ORDER BY (embedding <-> $1) + 0.0 LIMIT %2$s)
      SELECT (SELECT string_agg(id || '':'' || d, '' '' ORDER BY d, id) FROM i) || '' instead of ''
          || (SELECT string_agg(id || '':'' || d, '' '' ORDER BY d, id) FROM t)
        WHERE (SELECT array_agg(d ORDER BY d) FROM i) IS DISTINCT FROM (SELECT array_agg(d ORDER BY d) FROM t)', target, k) USING query;
  END LOOP;
END $$;
SQL
}

# A table whose first rows are in a graph.
sub make_table {
  my ($table, $dimensions, %option) = @_;
  my $class = $option{class} // 'vector_l2_ops';
  my $with = $option{with} // '';
  $node->safe_psql('postgres', <<"SQL");
CREATE TABLE $table (id bigint, embedding vector($dimensions)) WITH (autovacuum_enabled = off);
CREATE INDEX ${table}_index ON $table USING tandem (embedding $class) WITH (strategy = hnsw_batch, m = 8, ef_construction = 40 $with);
INSERT INTO $table SELECT i, spread_vector(i, $dimensions) FROM generate_series(1, $sealed) i;
CALL tandem_build('${table}_index');
SQL
}

sub add_tail {
  my ($table, $dimensions, $rows) = @_;
  my $first = $node->safe_psql('postgres', "SELECT max(id) + 1 FROM $table");
  my $last = $first + $rows - 1;
  $node->safe_psql('postgres',
    "INSERT INTO $table SELECT i, spread_vector(i, $dimensions) FROM generate_series($first, $last) i");
}

# Queries in no row, and some that are rows of the tail.
sub queries_for {
  my ($dimensions) = @_;
  return join ',', map { "spread_vector($_, $dimensions)" } 900001 .. 900006, $sealed + 3, $sealed + 170, $sealed + $tail - 1;
}

# With codes as without: graphs find the same, whatever looks at the tail.
sub check_alike {
  my ($on, $table, $label, %option) = @_;
  my $dimensions = $option{dimensions};
  my $operator = $option{operator} // '<->';
  my $queries = $option{queries} // queries_for($dimensions);
  for my $mode ('strict_order', 'relaxed_order', 'off') {
    for my $k (10, 300) {
      my $sql = "SET tandem.iterative_scan = $mode; SELECT * FROM tail_answers('$table', '$operator', ARRAY[$queries], $k)";
      my $by_code = $on->safe_psql('postgres', arm_sql('always-graph=on') . $sql);
      my $exactly = $on->safe_psql('postgres', arm_sql('always-graph=on', 'no-tail-codes=on') . $sql);
      is(differences($by_code, $exactly), '', "$label: $k rows, $mode");
    }
  }
  my $codes = codes_used($on, $table, $operator, $dimensions);
  cmp_ok($codes, '>=', $option{codes} // $tail, "$label: by code") unless defined $option{no_codes};
  is($codes, 0, "$label: not by code") if defined $option{no_codes};
}

# Where two lists of answers begin to differ, in few words.
sub differences {
  my ($found, $wanted) = @_;
  my @found = split /\n/, $found, -1;
  my @wanted = split /\n/, $wanted, -1;
  return @found . ' answers of ' . @wanted if @found != @wanted;
  for my $query (0 .. $#wanted) {
    next if $found[$query] eq $wanted[$query];
    my @rows = split / /, $found[$query];
    my @expected = split / /, $wanted[$query];
    for my $place (0 .. $#expected) {
      next if ($rows[$place] // '') eq $expected[$place];
      return "query $query: row $place of " . @rows . ' is ' . ($rows[$place] // 'missing') . " instead of $expected[$place] of " . @expected;
    }
  }
  return '';
}

sub codes_used {
  my ($on, $table, $operator, $dimensions) = @_;
  return $on->safe_psql('postgres',
    arm_sql('always-graph=on') . "SELECT tail_codes('$table', '$operator', spread_vector(900001, $dimensions))");
}

sub check_budget {
  my ($label) = @_;
  is($node->safe_psql('postgres', <<'SQL'), 't|t', "$label: every frame is accounted for");
SELECT used_bytes = coalesce((SELECT sum(cached_bytes) FROM tandem_memory), 0), used_bytes + free_bytes + retired_bytes = budget_bytes
FROM tandem_memory_status()
SQL
}

sub metrics_and_codecs {
  my %classes = (l2 => '<->', ip => '<#>', cosine => '<=>', l1 => '<+>');
  my %codecs = (l2 => [ 'sq8', 'sq4', 'fp16' ], ip => [ 'sq8', 'sq4', 'float32' ], cosine => [ 'sq8', 'sq4' ], l1 => [ 'sq8', 'fp16' ]);
  for my $metric (sort keys %classes) {
    for my $codec (@{ $codecs{$metric} }) {
      my $table = "${metric}_$codec";
      make_table($table, 400, class => "vector_${metric}_ops", with => ", codec = $codec");
      add_tail($table, 400, $tail);
      check_alike($node, $table, "$metric, $codec", operator => $classes{$metric}, dimensions => 400);
    }
  }
  my $made = $node->safe_psql('postgres', "SELECT kind, segments, cached_chunks > 3, cached_bytes = wanted_bytes, evictions FROM tandem_memory WHERE kind = 'tail' AND indexname = 'l2_sq8_index'");
  is($made, 'tail|1|t|t|0', 'the view tells of them');
  check_budget('after searches');
  add_tail('l2_sq8', 400, 3);
  check_alike($node, 'l2_sq8', 'a few rows more', dimensions => 400, codes => $tail + 3);
  $node->safe_psql('postgres', "DROP TABLE ip_sq8, ip_sq4, ip_float32, cosine_sq4, l1_sq8, l1_fp16, l2_fp16");
}

# Rows in twenty crowds, so that one bit a dimension tells those of other crowds apart.
sub bits {
  return diag('no look-ups of many entries at a time: nothing goes by bits here') if slurp_file('/proc/cpuinfo') !~ /avx2/;
  $node->safe_psql('postgres', <<'SQL');
CREATE FUNCTION crowd_vector(i bigint, dimensions int) RETURNS vector LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT array_agg(((hashint8extended(i, j) & 1048575) * 0.2 + (hashint8extended(5000000 + i % 20, j) & 1048575))::real / 1048576 ORDER BY j)::vector
  FROM generate_series(1::bigint, dimensions) j $$;
SQL
  my %classes = (l2 => '<->', ip => '<#>', cosine => '<=>');
  for my $case ((map { [ $_, 'sq4', 500 ] } sort keys %classes), map { [ $_, 'sq8', 150 ] } sort keys %classes) {
    my ($metric, $codec, $dimensions) = @$case;
    my ($operator, $table) = ($classes{$metric}, "bits_${metric}_$codec");
    $node->safe_psql('postgres', <<"SQL");
CREATE TABLE $table (id bigint, embedding vector($dimensions)) WITH (autovacuum_enabled = off);
CREATE INDEX ${table}_index ON $table USING tandem (embedding vector_${metric}_ops) WITH (strategy = hnsw_batch, m = 8, ef_construction = 40, codec = $codec);
INSERT INTO $table SELECT i, crowd_vector(i, $dimensions) FROM generate_series(1, $sealed) i;
CALL tandem_build('${table}_index');
INSERT INTO $table SELECT i, crowd_vector(i, $dimensions) FROM generate_series($sealed + 1, $sealed + $tail) i;
SQL
    my $queries = join ',', map { "crowd_vector($_, $dimensions)" } 900001 .. 900006, $sealed + 3, $sealed + 170;
    my @bits = ('always-graph=on', 'always-tail-bits=on');
    for my $mode ('strict_order', 'relaxed_order', 'off') {
      for my $k (10, 300, 5000) {
        my $sql = "SET tandem.iterative_scan = $mode; SELECT * FROM tail_answers('$table', '$operator', ARRAY[$queries], $k)";
        my $without = $node->safe_psql('postgres', arm_sql('always-graph=on', 'no-tail-bits=on') . $sql);
        my $with = $node->safe_psql('postgres', arm_sql(@bits) . $sql);
        is(differences($with, $without), '', "bits, $metric, $codec: $k rows, $mode");
      }
    }
    my $passed = $node->safe_psql('postgres',
      arm_sql(@bits) . "SELECT tail_codes('$table', '$operator', crowd_vector(900001, $dimensions), 'Tail Codes Passed Over by Bits')");
    cmp_ok($passed, '>', $tail / 2, "bits, $metric, $codec: most codes are passed over");
    # Where bits are wrong rows come late, but each once.
    for my $query ("crowd_vector(900001, $dimensions)", "crowd_vector($sealed + 3, $dimensions)") {
      is($node->safe_psql('postgres', arm_sql(@bits, 'tail-bits-lie=on') . <<"SQL"), $sealed + $tail . '|' . ($sealed + $tail), "bits that lie, $metric, $codec: every row once");
SET enable_seqscan = off; SET tandem.iterative_scan = relaxed_order;
SELECT count(*), count(DISTINCT id) FROM (SELECT id FROM $table ORDER BY embedding $operator $query LIMIT 100000) s
SQL
    }
    $node->safe_psql('postgres', "DROP TABLE $table");
  }
}

# Columns of bits, whose codes are the rows: with many at equal distances, in the order in which an exact scan has them, and none read.
sub bit_columns {
  $node->safe_psql('postgres', <<'SQL');
CREATE FUNCTION sign_bits(i bigint) RETURNS bit(300) LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT binary_quantize(spread_vector(i, 300) - array_fill(0.5::real, ARRAY[300])::vector)::bit(300) $$;
CREATE TABLE asked AS SELECT i, sign_bits(i) AS b FROM generate_series(900001, 900008) i;
SQL
  my %classes = (hamming => '<~>', jaccard => '<%>');
  for my $metric (sort keys %classes) {
    my ($operator, $table) = ($classes{$metric}, "signs_$metric");
    $node->safe_psql('postgres', <<"SQL");
CREATE TABLE $table (id bigint, embedding bit(300)) WITH (autovacuum_enabled = off);
CREATE INDEX ${table}_index ON $table USING tandem (embedding bit_${metric}_ops) WITH (strategy = hnsw_batch, m = 8, ef_construction = 40);
INSERT INTO $table SELECT i, sign_bits(i) FROM generate_series(1, $sealed) i;
CALL tandem_build('${table}_index');
INSERT INTO $table SELECT i, sign_bits(i) FROM generate_series($sealed + 1, $sealed + $tail) i;
SQL
    for my $mode ('strict_order', 'relaxed_order', 'off') {
      for my $k (10, 300) {
        my $sql = <<"SQL";
SET tandem.iterative_scan = $mode; SET enable_seqscan = off; SET enable_sort = off;
SELECT string_agg(n.id || ':' || n.d, ' ' ORDER BY n.d, n.id)
FROM asked, LATERAL (SELECT id, embedding $operator b AS d FROM $table ORDER BY embedding $operator b LIMIT $k) n GROUP BY i ORDER BY i
SQL
        my $by_code = $node->safe_psql('postgres', arm_sql('always-graph=on') . $sql);
        my $exactly = $node->safe_psql('postgres', arm_sql('always-graph=on', 'no-tail-codes=on') . $sql);
        is(differences($by_code, $exactly), '', "bit column, $metric: $k rows, $mode");
      }
    }
    my $plan = $node->safe_psql('postgres', arm_sql('always-graph=on') . 'SET enable_seqscan = off; SET enable_sort = off; '
      . "EXPLAIN (ANALYZE, VERBOSE) SELECT id FROM $table ORDER BY embedding $operator sign_bits(900001) LIMIT 10");
    like($plan, qr/Tail Rows Scanned by Code: $tail\n/, "bit column, $metric: by code");
    like($plan, qr/Re-ranked Rows: 0\n/, "bit column, $metric: no row is read");
    $node->safe_psql('postgres', "DROP TABLE $table");
  }
  $node->safe_psql('postgres', 'DROP TABLE asked');
}

# Rows that no code stands for: found all the same, first by themselves.
sub odd_rows {
  my $ones = "array_fill(1::real, ARRAY[400])::vector";
  for my $table ('l2_sq8', 'l2_sq4', 'cosine_sq8') {
    my $operator = $table eq 'cosine_sq8' ? '<=>' : '<->';
    $node->safe_psql('postgres', <<"SQL");
INSERT INTO $table SELECT 3000 + i, NULL FROM generate_series(1, 5) i;
INSERT INTO $table SELECT 3010 + i, array_fill(0::real, ARRAY[400])::vector FROM generate_series(1, 5) i;
INSERT INTO $table SELECT 3020 + i, (SELECT array_agg(10 * x ORDER BY o) FROM unnest(spread_vector(i, 400)::real[]) WITH ORDINALITY u (x, o))::vector FROM generate_series(1, 5) i;
INSERT INTO $table SELECT 3030 + i, array_fill((3e38 / i)::real, ARRAY[400])::vector FROM generate_series(1, 5) i;
INSERT INTO $table SELECT 3040 + i, array_fill(-1e-30::real, ARRAY[400])::vector FROM generate_series(1, 5) i;
INSERT INTO $table SELECT 3050 + i, spread_vector($sealed + i, 400) FROM generate_series(1, 5) i;
INSERT INTO $table SELECT 3060 + i, (SELECT array_agg(CASE WHEN o = i THEN 40 ELSE x END ORDER BY o) FROM unnest(spread_vector(i, 400)::real[]) WITH ORDINALITY u (x, o))::vector FROM generate_series(1, 5) i;
SQL
    my $queries = queries_for(400) . ", $ones, array_fill(1e30::real, ARRAY[400])::vector, (SELECT array_agg(-x ORDER BY o) FROM unnest(spread_vector(900007, 400)::real[]) WITH ORDINALITY u (x, o))::vector,"
      . " (SELECT embedding FROM $table WHERE id = 3022), (SELECT embedding FROM $table WHERE id = 3063), (SELECT embedding FROM $table WHERE id = 3052)";
    check_alike($node, $table, "odd rows, $table", dimensions => 400, operator => $operator, queries => $queries);
    next if $operator eq '<=>';
    is($node->safe_psql('postgres', "SELECT * FROM wrong_answers('$table', ARRAY[$queries], 20)"), '', "odd rows, $table: as the table has them");
  }
  $node->safe_psql('postgres', "DROP TABLE cosine_sq8, l2_sq4");
}

sub aborts_and_deletions {
  my $last = $node->safe_psql('postgres', 'SELECT max(id) FROM l2_sq8');
  $node->safe_psql('postgres', <<"SQL");
BEGIN;
INSERT INTO l2_sq8 SELECT $last + i, spread_vector(900001, 400) FROM generate_series(1, 200) i;
SELECT * FROM tail_answers('l2_sq8', '<->', ARRAY[spread_vector(900001, 400)], 10);
SAVEPOINT s;
INSERT INTO l2_sq8 SELECT $last + i, spread_vector(900002, 400) FROM generate_series(1, 200) i;
SELECT * FROM tail_answers('l2_sq8', '<->', ARRAY[spread_vector(900001, 400)], 10);
ROLLBACK TO s;
ROLLBACK;
SQL
  check_alike($node, 'l2_sq8', 'after an abort', dimensions => 400);
  $node->safe_psql('postgres', "DELETE FROM l2_sq8 WHERE id % 3 = 0");
  check_alike($node, 'l2_sq8', 'after deletions', dimensions => 400);
  # VACUUM marks them; a tail below 1,000 rows it does not fold.
  $node->safe_psql('postgres', 'VACUUM l2_sq8');
  check_alike($node, 'l2_sq8', 'after VACUUM', dimensions => 400);
}

# A cursor keeps its view and its rows, whatever becomes of the codes.
sub cursors {
  for my $mode ('strict_order', 'relaxed_order') {
    my $table = "c_$mode";
    make_table($table, 400);
    add_tail($table, 400, $tail);
    $node->safe_psql('postgres', "SELECT * FROM tail_answers('$table', '<->', ARRAY[spread_vector(1, 400)], 10)") for 1 .. 3;
    my $session = start_session($node, 'cursor');
    $session->query_safe("SET tandem.iterative_scan = $mode; SET enable_seqscan = off; BEGIN;"
        . " DECLARE c CURSOR FOR SELECT id, embedding <-> spread_vector(900001, 400) AS d FROM $table ORDER BY d");
    my @rows = split /\n/, $session->query_safe('FETCH 3 FROM c');
    add_tail($table, 400, 90);
    $node->safe_psql('postgres', "SELECT * FROM tail_answers('$table', '<->', ARRAY[spread_vector(2, 400)], 10)") for 1 .. 3;
    push @rows, split /\n/, $session->query_safe('FETCH 150 FROM c');
    $node->safe_psql('postgres', "CALL tandem_build('${table}_index')");
    is($node->safe_psql('postgres', "SELECT count(*) FROM tandem_memory WHERE kind = 'tail' AND indexname = '${table}_index'"), 0,
      "$mode: the memory of a tail that was folded is given back");
    push @rows, split /\n/, $session->query_safe('FETCH ALL FROM c');
    end_session($session);
    my %ids = map { (split /\|/)[0] => 1 } @rows;
    is(scalar @rows, scalar keys %ids, "$mode: no row twice");
    my $of_tail = grep { $_ > $sealed } keys %ids;
    is($of_tail, $tail, "$mode: every row of the tail, and none that came later");
    is(scalar @rows, $sealed + $tail, "$mode: every row") if $mode eq 'relaxed_order';
    my @distances = map { (split /\|/)[1] } @rows;
    is_deeply(\@distances, [ sort { $a <=> $b } @distances ], "$mode: in order") if $mode eq 'strict_order';
    $node->safe_psql('postgres', "DROP TABLE $table");
  }
}

# The same names and row ids, other vectors.
sub another_life {
  make_table('life', 400);
  add_tail('life', 400, $tail);
  check_alike($node, 'life', 'first life', dimensions => 400);
  $node->safe_psql('postgres', 'REINDEX INDEX life_index');
  check_alike($node, 'life', 'REINDEX: no graph', dimensions => 400, no_codes => 1);
  $node->safe_psql('postgres', <<"SQL");
BEGIN;
TRUNCATE life;
INSERT INTO life SELECT i, spread_vector(i + 5000, 400) FROM generate_series(1, $sealed) i;
COMMIT;
CALL tandem_build('life_index');
INSERT INTO life SELECT i, spread_vector(i + 7000, 400) FROM generate_series($sealed + 1, $sealed + $tail) i;
SQL
  check_alike($node, 'life', 'TRUNCATE', dimensions => 400);
  # The last segment becomes another: so does the tail.
  $node->safe_psql('postgres', "CALL tandem_build('life_index')");
  add_tail('life', 400, $tail);
  check_alike($node, 'life', 'the next tail', dimensions => 400);
  is($node->safe_psql('postgres', "SELECT * FROM wrong_answers('life', ARRAY[" . queries_for(400) . "], 20)"), '', 'the next tail: as the table has it');
}

# A search that began before a fold makes its codes after it, when they have been forgotten: the new tail's searches have others.
sub late_maker {
  clear_stop_points($node);
  my $session = start_session($node, 'late');
  $session->query_safe(arm_sql('always-graph=on', 'all-tail-codes=on', 'search-before-segments=wait'));
  send_sql($session, "SELECT md5(string_agg(a, ' ')) FROM tail_answers('life', '<->', ARRAY[spread_vector(900001, 400)], 30) a;");
  await_stop_point($node, 'search-before-segments');
  my $answer = $node->safe_psql('postgres', "SELECT md5(string_agg(a, ' ')) FROM tail_answers('life', '<->', ARRAY[spread_vector(900001, 400)], 30) a");
  $node->safe_psql('postgres', "CALL tandem_build('life_index')");
  release_stop_point($node, 'search-before-segments');
  like($session->query_safe('SELECT 1'), qr/\Q$answer\E/, 'a search over a fold finds what it would have found before');
  end_session($session);
  is($node->safe_psql('postgres', "SELECT count(*) FROM tandem_memory WHERE kind = 'tail' AND indexname = 'life_index'"), 1, 'it made codes');
  add_tail('life', 400, $tail);
  check_alike($node, 'life', 'after it', dimensions => 400);
}

sub errors_and_crashes {
  my $search = "SELECT * FROM tail_answers('life', '<->', ARRAY[spread_vector(900001, 400)], 10)";
  for my $point (qw(tail-chunk-made tail-codes-made)) {
    add_tail('life', 400, 170);    # a chunk that is there grows, the next one is made
    my ($status, undef, $error) = $node->psql('postgres', arm_sql('always-graph=on', 'all-tail-codes=on', "$point=error") . $search);
    like($error, qr/stop point/, "$point: an error");
    check_budget("$point: after it");
    $node->psql('postgres', <<"SQL");
DO \$\$ BEGIN
  BEGIN
    SET LOCAL tandem.stop_points = 'always-graph=on,all-tail-codes=on,$point=error';
    PERFORM * FROM ($search) s;
  EXCEPTION WHEN OTHERS THEN NULL;
  END;
  PERFORM * FROM ($search) s;
END \$\$
SQL
    check_budget("$point: after one in a subtransaction");
    check_alike($node, 'life', "$point: afterwards", dimensions => 400);
  }
  add_tail('life', 400, 170);
  my $log_end = -s $node->logfile;
  $node->psql('postgres', arm_sql('always-graph=on', 'all-tail-codes=on', 'tail-chunk-made=crash') . $search);
  $node->wait_for_log(qr/database system is ready to accept connections/, $log_end);
  check_alike($node, 'life', 'after a crash', dimensions => 400);
  check_budget('after a crash');
  $node->restart;
  check_alike($node, 'life', 'after a restart', dimensions => 400);
}

# Whoever searches finds what its snapshot sees, whoever else inserts and searches.
sub beside_inserts {
  make_table('busy', 100, with => ', codec = sq4');
  # So long, and so often: a busy machine may do next to nothing in that time.
  my ($seconds, $least) = (6, 30);
  my $folder = PostgreSQL::Test::Utils::tempdir();
  my @scripts;
  for my $number (1 .. 2) {
    append_to_file("$folder/insert$number.sql", <<"SQL");
DO \$\$
DECLARE
  ends timestamptz := clock_timestamp() + interval '$seconds s';
  next bigint := 10000 * $number;
BEGIN
  WHILE clock_timestamp() < ends OR next < 10000 * $number + 7 * $least LOOP
    INSERT INTO busy SELECT next + i, spread_vector(next + i, 100) FROM generate_series(1, 1 + next % 7) i;
    next := next + 7;
    IF next % 3 = 0 THEN ROLLBACK; ELSE COMMIT; END IF;
    DELETE FROM busy WHERE id = next - 12;
    COMMIT;
    PERFORM pg_sleep(0.005);
  END LOOP;
END \$\$;
SQL
    append_to_file("$folder/search$number.sql", <<"SQL");
DO \$\$
DECLARE
  ends timestamptz := clock_timestamp() + interval '$seconds s';
  number bigint := 500000 * $number;
  problem text;
  searches int := 0;
BEGIN
  WHILE clock_timestamp() < ends OR searches < $least LOOP
    number := number + 1;
    SELECT string_agg(w, E'\\n') INTO problem FROM wrong_answers('busy', ARRAY[spread_vector(number, 100), spread_vector(10000 * $number + number % 500, 100)], 5) w;
    IF problem IS NOT NULL THEN RAISE EXCEPTION '%', problem; END IF;
    searches := searches + 1;
    COMMIT;
  END LOOP;
  RAISE NOTICE 'searches: %', searches;
END \$\$;
SQL
    push @scripts, start_script($node, "$folder/$_$number.sql") for 'insert', 'search';
  }
  IPC::Run::finish($_) for @scripts;
  for my $number (1 .. 2) {
    is(slurp_file("$folder/insert$number.sql.err") =~ s/.*NOTICE.*\n//r, '', "inserts $number");
    my $error = slurp_file("$folder/search$number.sql.err");
    unlike($error, qr/ERROR/, "searches $number: all as the table has it");
    cmp_ok($error =~ /searches: (\d+)/ ? $1 : 0, '>', 0, "searches $number: some");
  }
  cmp_ok(codes_used($node, 'busy', '<->', 100), '>', 100, 'by code');
  check_alike($node, 'busy', 'after inserts', dimensions => 100, codes => 100);
}

# Searches of a standby make their own.
sub standby {
  $node->backup('base');
  my $standby = PostgreSQL::Test::Cluster->new('tail_standby');
  $standby->init_from_backup($node, 'base', has_streaming => 1);
  $standby->start;
  $node->wait_for_catchup($standby, 'replay', $node->lsn('insert'));
  check_alike($standby, 'life', 'standby', dimensions => 400);
  add_tail('life', 400, 50);
  $node->wait_for_catchup($standby, 'replay', $node->lsn('insert'));
  check_alike($standby, 'life', 'standby, after inserts', dimensions => 400, codes => $tail + 50);
  is($standby->safe_psql('postgres', "BEGIN; SELECT * FROM tail_answers('life', '<->', ARRAY[" . queries_for(400) . "], 20); COMMIT"),
    $node->safe_psql('postgres', "BEGIN; SELECT * FROM tail_answers('life', '<->', ARRAY[" . queries_for(400) . "], 20); COMMIT"), 'as on the primary');
  $standby->promote;
  check_alike($standby, 'life', 'promoted', dimensions => 400);
  $standby->stop('immediate');
}

# Little memory, then none: as if there were no codes.
sub no_memory {
  for my $budget ('320kB', '0') {
    $node->append_conf('postgresql.conf', "tandem.memory_budget = $budget");
    $node->restart;
    check_alike($node, 'life', "memory_budget = $budget", dimensions => 400, codes => 0);
    my $codes = codes_used($node, 'life', '<->', 400);
    cmp_ok($codes, '<', $tail, "memory_budget = $budget: not all by code");
    check_budget("memory_budget = $budget");
  }
}

# What is near may all be in one small segment: it delivers as many rows as if it were alone, also where nothing follows first batches.
sub segments {
  set_configuration($node, 'tandem.memory_budget = 64MB');
  $node->restart;
  make_table('alike', 64);
  my $alike = '(SELECT array_agg(0.5 + x / 20) FROM unnest(spread_vector(i, 64)::real[]) x)::vector';
  $node->safe_psql('postgres', "INSERT INTO alike SELECT i, $alike FROM generate_series(10001, 10140) i; CALL tandem_build('alike_index')");
  is($node->safe_psql('postgres', "SELECT string_agg(rows::text, ' ' ORDER BY first_row) FROM tandem_segments('alike_index')"), "$sealed 140",
    'a small segment behind another one');
  my $right = $node->safe_psql('postgres', arm_sql('always-graph=on') . <<"SQL");
SET tandem.iterative_scan = off;
SET enable_seqscan = off;
SELECT count(*) FROM generate_series(20001, 20020) i, LATERAL (SELECT $alike AS query OFFSET 0) q, LATERAL (
  SELECT id FROM (SELECT id FROM alike ORDER BY embedding <-> query LIMIT 30) found
  INTERSECT
  SELECT id FROM (SELECT id FROM alike ORDER BY (embedding <-> query) + 0.0 LIMIT 30) nearest) both_have;
SQL
  cmp_ok($right, '>=', 0.97 * 600, "$right of 600 rows of it are found");
}

# A worker that builds makes codes of the rows that come meanwhile: searches find them there.
sub worker {
  # The other tables' tails would be folded, too.
  $node->safe_psql('postgres', <<'SQL');
DO $$ DECLARE name regclass; BEGIN
  FOR name IN SELECT oid FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace LOOP
    EXECUTE format('DROP TABLE %s', name);
  END LOOP;
END $$;
SQL
  make_table('steady', 100);
  clear_stop_points($node);
  set_configuration($node, 'max_worker_processes = 8', 'tandem.memory_budget = 64MB', 'tandem.seal_rows = 1000', "tandem.naptime = '1h'",
    "tandem.stop_points = 'always-graph=on,worker-between-steps=wait,fold-before-publish=wait'");
  $node->restart;
  # A page of heads fills, with which an insert looks at the tail.
  my $first = 2000;
  add_tail('steady', 100, $first);
  await_stop_point($node, 'worker-between-steps');
  add_tail('steady', 100, $tail);
  release_stop_point($node, 'worker-between-steps');
  await_stop_point($node, 'fold-before-publish');
  my $count = sub { $node->safe_psql('postgres', "SELECT coalesce(tail_codes('steady', '<->', spread_vector(900001, 100), '$_[0]'), 0)") };
  is($count->('Tail Codes Made'), 0, 'no search has to make codes of rows that came during a build');
  is($count->('Tail Rows Scanned by Code'), $first + $tail, 'they go by code');
  arm_server($node);
  release_stop_point($node, 'fold-before-publish');
}
