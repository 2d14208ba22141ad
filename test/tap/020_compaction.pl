# Compaction: a table whose rows are replaced again and again has an index of bounded size, which answers exactly; nobody
# misses a row, whatever list of packed ranges it began with; and a crash at any record leaves an index that is right and loses
# no block. HAZARDS H2, H4, H12 to H14, H40, H42.
#
# Seen to fail with: compaction that never begins (churn_is_bounded); retired extents given to others at once (old_views).
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TandemTest;
use Test::More;
use Time::HiRes qw(sleep);

my $dimensions = 128;
my $rows = 3000;

seed();
my $node = make_node('primary', preload => 1, init => [ allows_streaming => 1 ], conf => <<'CONF');
wal_consistency_checking = 'generic'
tandem.seal_rows = 1000
shared_buffers = 8MB
max_wal_size = 1GB
autovacuum = off
CONF
need_stop_points($node);

churn_is_bounded('flat', '');
churn_is_bounded('hnsw_batch', ', m = 8, ef_construction = 20');
old_views('flat', '');
old_views('graphs', ", m = 8, ef_construction = 20");
crashes();
standby();
$node->stop;
done_testing();

sub make_table {
  my ($table, $strategy, $options) = @_;
  $node->safe_psql('postgres', <<"SQL");
CREATE TABLE $table (id int, generation int, embedding vector($dimensions));
CREATE INDEX ${table}_index ON $table USING tandem (embedding vector_l2_ops) WITH (strategy = $strategy$options);
INSERT INTO $table SELECT i, 0, spread_vector(i, $dimensions) FROM generate_series(1, $rows) i;
SQL
}

# New vectors for all rows that `where` names, then VACUUM, which marks the old ones dead; but what cursors see is kept.
sub replace_rows {
  my ($table, $generation, $where, %option) = @_;
  $node->safe_psql('postgres', "UPDATE $table SET generation = $generation, "
      . "embedding = spread_vector(id + 10000 * $generation, $dimensions) WHERE $where");
  await_horizon($node) unless $option{beside_cursors};
  $node->safe_psql('postgres', "VACUUM (INDEX_CLEANUP ON, TRUNCATE OFF) $table");
}

sub size_of {
  my ($index, $what) = @_;
  return $node->safe_psql('postgres', 'SELECT ' . ($what // 'total_bytes') . " FROM tandem_index_stats WHERE indexname = '$index'");
}

# The exact answers of the table, by its index.
sub check_exact {
  my ($server, $table, $label) = @_;
  local $Test::Builder::Level = $Test::Builder::Level + 1;
  my $problems = join "\n", index_problems($server, "${table}_index");
  my $query = "SELECT id, generation, embedding <-> spread_vector(77, $dimensions) AS d FROM $table ORDER BY 3";
  my $by_index = $server->safe_psql('postgres',
    "SET enable_seqscan = off; SET enable_sort = off; SET tandem.iterative_scan = relaxed_order; $query");
  my $by_sort = $server->safe_psql('postgres', "SET enable_indexscan = off; $query");
  my $sorted = sub { join "\n", sort split /\n/, $_[0] };
  $problems .= "rows differ\n" if $sorted->($by_index) ne $sorted->($by_sort);
  is($problems, '', "$label: pages are right, and all rows are found");
}

# H42.
sub churn_is_bounded {
  my ($strategy, $options) = @_;
  make_table('t', $strategy, $options);
  await_rest($node, 't_index') if $strategy ne 'flat';
  my $fresh = size_of('t_index');
  my @sizes;
  for my $round (1 .. 24) {
    replace_rows('t', $round, $round % 4 == 0 ? 'id % 3 = 0' : 'true');
    await_rest($node, 't_index') if $strategy ne 'flat';
    push @sizes, size_of('t_index');
    check_exact($node, 't', "$strategy, round $round") if $round % 6 == 0;
  }
  my $vectors = $rows * $dimensions * 4;
  note("$strategy: fresh $fresh, then @sizes");
  # What is there, what a round adds before the last one's room is free, and rooms that are kept ready.
  cmp_ok($sizes[-1], '<', 5 * $fresh, "$strategy: size after 24 rounds");
  cmp_ok($sizes[-1], '<=', 1.25 * $sizes[11], "$strategy: it does not grow any more");
  cmp_ok(size_of('t_index', 'vector_bytes + packed_bytes'), '<', 4 * $vectors, "$strategy: vectors");
  $node->safe_psql('postgres', 'DROP TABLE t');
}

# H2, H4: cursors opened before, between and after the steps of a compaction, with an older snapshot each.
sub old_views {
  my ($table, $options) = @_;
  make_table($table, $options eq '' ? 'flat' : 'hnsw_batch', $options);
  await_rest($node, "${table}_index") if $options ne '';
  my @cursors;
  my $open = sub {
    my ($name) = @_;
    my $session = start_session($node, "$table-$name");
    $session->query_safe(<<"SQL");
BEGIN ISOLATION LEVEL REPEATABLE READ;
SET enable_seqscan = off; SET enable_sort = off; SET tandem.iterative_scan = relaxed_order;
DECLARE c CURSOR FOR SELECT id, generation FROM $table ORDER BY embedding <-> spread_vector(99, $dimensions);
SQL
    my $first = $session->query_safe('FETCH 5 FROM c');
    my $expected = $session->query_safe("SET enable_seqscan = on; SET enable_indexscan = off; SELECT id, generation FROM $table");
    $session->query_safe('SET enable_indexscan = on; SET enable_seqscan = off');
    push @cursors, { name => $name, session => $session, got => [ split /\n/, $first ], expected => $expected };
  };
  $open->('fresh');
  # Dead to everybody but the cursor: VACUUM must keep them.
  replace_rows($table, 1, 'id % 2 = 0', beside_cursors => 1);
  $open->('half replaced');
  replace_rows($table, 2, 'id % 5 <> 0', beside_cursors => 1);
  $open->('replaced');
  my $drain = sub {
    my ($cursor) = @_;
    my $session = $cursor->{session};
    my ($out) = $session->query('FETCH ALL FROM c');
    my @got = (@{ $cursor->{got} }, split /\n/, $out // '');
    is($session->{stderr}, '', "$table, cursor $cursor->{name}: no error");
    is(join("\n", sort @got), join("\n", sort split /\n/, $cursor->{expected}), "$table, cursor $cursor->{name}: the rows of its snapshot");
    # The same snapshot, another scan: with the list of now.
    my $again = $session->query("SELECT id, generation FROM $table ORDER BY embedding <-> spread_vector(99, $dimensions)");
    is(join("\n", sort split /\n/, $again), join("\n", sort split /\n/, $cursor->{expected}), "$table, cursor $cursor->{name}: again");
    $session->query('COMMIT');
    $session->quit;
  };
  # The oldest goes: what only it saw is dead now, and packed away under the others.
  $drain->(shift @cursors);
  # Other rows come, who write over whatever they are given.
  for my $round (1 .. 3) {
    $node->safe_psql('postgres', "SELECT pg_current_xact_id(); VACUUM (INDEX_CLEANUP ON, TRUNCATE OFF) $table");
    await_rest($node, "${table}_index") if $options ne '';
    $node->safe_psql('postgres', "INSERT INTO $table SELECT -i, 0, spread_vector(-i, $dimensions) FROM generate_series(1, 1000) i");
  }
  is(size_of("${table}_index", 'retired_bytes >= 0'), 't', "$table: sizes");
  $drain->($_) for @cursors;
  $node->safe_psql('postgres', "DELETE FROM $table WHERE id < 0");
  replace_rows($table, 3 + $_, 'true') for 1 .. 3;
  await_rest($node, "${table}_index") if $options ne '';
  check_exact($node, $table, "$table, after its cursors");
  cmp_ok(size_of("${table}_index", 'vector_bytes'), '<', 7 * $rows * $dimensions * 4, "$table: compacted after its cursors");
  $node->safe_psql('postgres', "DROP TABLE $table");
}

# Whoever compacts dies at each of its records; nothing is lost, and no block for ever.
sub crashes {
  make_table('t', 'flat', '');
  my $generation = 0;
  my $size;
  for my $stop_point (qw(compaction-counted compaction-listed blob-id-logged blob-page-written blob-written
    compaction-before-publish publish-before-root publish-after-root compaction-after-publish recycle-before-publish
    holes-logged extent-blanked free-extent-logged)) {
    my $crashed = 0;
    for (1 .. 6) {
      $generation++;
      $node->safe_psql('postgres', "UPDATE t SET generation = $generation, embedding = spread_vector(id + 10000 * $generation, $dimensions) "
          . 'WHERE id % 5 <> 0');
      my $log_end = -s $node->logfile;
      my ($status) = $node->psql('postgres', arm_sql("$stop_point=crash") . 'VACUUM (INDEX_CLEANUP ON, TRUNCATE OFF) t');
      $crashed = $status != 0;
      $node->wait_for_log(qr/database system is ready to accept connections/, $log_end) if $crashed;
      last if $crashed;
    }
    ok($crashed, "$stop_point: the session dies");
    check_exact($node, 't', "$stop_point: after recovery");
  }
  replace_rows('t', ++$generation, 'true') for 1 .. 6;
  $size = size_of('t_index');
  replace_rows('t', ++$generation, 'true') for 1 .. 12;
  check_exact($node, 't', 'after all crashes');
  cmp_ok(size_of('t_index'), '<=', 1.25 * $size, 'no block is lost, none grows back');
  cmp_ok($size, '<', 14 * $rows * $dimensions * 4, 'and there are not too many');
  $node->safe_psql('postgres', 'DROP TABLE t');
}

# A standby keeps nothing: its cursor reads pages that the primary has given to others.
sub standby {
  make_table('t', 'hnsw_batch', ', m = 8, ef_construction = 20');
  await_rest($node, 't_index');
  replace_rows('t', 1, 'id % 3 <> 0');
  await_rest($node, 't_index');
  $node->backup('base');
  my $standby = PostgreSQL::Test::Cluster->new('standby');
  $standby->init_from_backup($node, 'base', has_streaming => 1);
  $standby->append_conf('postgresql.conf', "hot_standby_feedback = off\nmax_standby_streaming_delay = -1\n");
  $standby->start;
  for my $feedback (0, 1) {
    my $label = $feedback ? 'with feedback' : 'without feedback';
    set_configuration($standby, 'hot_standby_feedback = on') if $feedback;
    for my $strategy (qw(exact graph)) {
      # Rows die, and their VACUUM is replayed, before the cursor opens: what follows conflicts with no snapshot.
      my $generation = 2 + 2 * $feedback + ($strategy eq 'graph' ? 1 : 0);
      $node->safe_psql('postgres', "UPDATE t SET generation = $generation, embedding = spread_vector(id + 10000 * $generation, $dimensions) "
          . 'WHERE id % 3 <> 0');
      arm_server($node, 'always-graph=on', 'compaction-counted=error');
      $node->safe_psql('postgres', 'VACUUM (INDEX_CLEANUP ON, TRUNCATE OFF) t');
      sleep 1;
      $node->wait_for_catchup($standby);
      my $session = start_session($standby, 'cursor');
      $session->query_safe(<<"SQL");
BEGIN ISOLATION LEVEL REPEATABLE READ;
SET enable_seqscan = off; SET enable_sort = off; SET tandem.iterative_scan = relaxed_order; SET work_mem = '64kB';
SET tandem.stop_points = '@{[ $strategy eq 'graph' ? 'always-graph=on' : '' ]}';
DECLARE c CURSOR FOR SELECT id, generation FROM t ORDER BY embedding <-> spread_vector(99, $dimensions);
SQL
      my @got = split /\n/, $session->query_safe('FETCH 20 FROM c');
      arm_server($node, 'always-graph=on');
      my $before = size_of('t_index', 'vector_bytes');
      # Packed, retired, holes, and written over.
      for (1 .. 4) {
        $node->safe_psql('postgres', 'SELECT pg_current_xact_id()');
        $node->safe_psql('postgres', "CALL tandem_build('t_index')");
      }
      $node->safe_psql('postgres', "CREATE TABLE filler$_ AS SELECT 1") for $generation;
      $node->safe_psql('postgres', "INSERT INTO t SELECT -i, $generation, spread_vector(i, $dimensions) FROM generate_series(1, 2500) i");
      cmp_ok(size_of('t_index', 'vector_bytes - packed_bytes'), '<', 1e9, "$label, $strategy: sizes");
      note("vectors: $before bytes, then " . size_of('t_index', 'vector_bytes'));
      $node->wait_for_catchup($standby);
      my ($out) = $session->query('FETCH ALL FROM c');
      is($session->{stderr}, '', "$label, $strategy: no error");
      push @got, split /\n/, $out;
      my $expected = $session->query("SET enable_seqscan = on; SET enable_indexscan = off; SELECT id, generation FROM t");
      is(join("\n", sort @got), join("\n", sort split /\n/, $expected), "$label, $strategy: the rows of its snapshot");
      $session->query('COMMIT');
      $session->quit;
      check_exact($standby, 't', "$label, $strategy: the standby");
      $node->safe_psql('postgres', 'DELETE FROM t WHERE id < 0');
    }
  }
  $node->wait_for_catchup($standby);
  $standby->promote;
  $standby->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()');
  $standby->safe_psql('postgres', "UPDATE t SET generation = 99 WHERE id % 2 = 0; VACUUM (INDEX_CLEANUP ON, TRUNCATE OFF) t");
  await_rest($standby, 't_index');
  check_exact($standby, 't', 'promoted');
  $standby->stop;
  $node->safe_psql('postgres', 'DROP TABLE t');
}
