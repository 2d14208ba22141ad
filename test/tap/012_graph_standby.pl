# A standby while the primary folds, merges and recycles: at the same position it answers alike, whatever it is reading,
# with and without hot_standby_feedback; a cursor opened before a merge and its recycling is drained in full; promoted, it
# goes on folding. HAZARDS H5, H12, H14, H21 (no worker in recovery, one after promotion).
#
# Seen to fail with: retired segments recycled at once, and pages not asked whose they are: the cursor loses rows or fails;
# pages not asked alone: searches out of order while records stream in; a launcher that starts as soon as a standby is
# consistent (H21); tombstones not looked at when a row is returned (H5).
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
my $seconds = $ENV{TANDEM_TEST_SOAK_SECONDS} // 10;
my $folder = PostgreSQL::Test::Utils::tempdir();

seed();
my $primary = make_node('primary', preload => 1, init => [ allows_streaming => 1 ], conf => <<'CONF');
wal_consistency_checking = 'generic'
tandem.seal_rows = 1000
shared_buffers = 4MB
max_wal_size = 1GB
CONF
$primary->safe_psql('postgres', <<"SQL");
CREATE TABLE t (id bigint, embedding vector($dimensions));
CREATE INDEX t_index ON t USING tandem (embedding vector_l2_ops) WITH (strategy = hnsw_batch, m = 8, ef_construction = 40);
INSERT INTO t SELECT i, spread_vector(i, $dimensions) FROM generate_series(1, 5000) i;
SQL
await_rest($primary, 't_index');
$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->append_conf('postgresql.conf', "hot_standby_feedback = off\nmax_standby_streaming_delay = -1\n");
$standby->start;
my $next_id = 5001;

alike_while_streaming(0);
cursor_across_merge(0);
set_configuration($standby, 'hot_standby_feedback = on');
alike_while_streaming(1);
cursor_across_merge(1);
promotion();
$standby->stop;
done_testing();

# A reader loops on the standby while the primary is busy; now and then replay is held, so that both can be compared.
sub alike_while_streaming {
  my ($feedback) = @_;
  my $label = $feedback ? 'with feedback' : 'without feedback';
  is($standby->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'tandem%'"), 0,
    "$label: no worker in recovery") unless $feedback;
  my $file = "$folder/changes.sql";
  my $changes = write_changes($file);
  my $writer = start_script($primary, $file);
  my ($rounds, $problems) = (0, '');
  my $end = time + $seconds / 2;
  while (time < $end && $problems eq '') {
    # It may end between the two calls, which pump_nb() takes for an error.
    eval { $writer->pump_nb } if $writer->pumpable;
    $problems .= graph_problems($standby, 't', numbers => [ 2e6 + $rounds, 3e6 + $rounds ], drain => $rounds % 4 == 0);
    $rounds++;
  }
  $writer->finish;
  is(slurp_file("$file.err"), '', "$label: the primary had no error");
  is($problems, '', "$label: every snapshot of the standby is answered alike by index and table");
  note("$rounds comparisons");
  # Same position: same segments, same answers to the last digit.
  await_rest($primary, 't_index');
  $primary->wait_for_catchup($standby);
  is(segments_of($standby, 't_index'), segments_of($primary, 't_index'), "$label: the same segments");
  my $query = "SET enable_seqscan = off; SELECT id, embedding <-> spread_vector(q, $dimensions) FROM generate_series(4000000, 4000049) q, "
    . "LATERAL (SELECT * FROM t ORDER BY embedding <-> spread_vector(q, $dimensions) LIMIT 10) s";
  is($standby->safe_psql('postgres', $query), $primary->safe_psql('postgres', $query), "$label: the same answers");
  check_graph($standby, 't', 't_index', "$label: the standby has caught up");
}

sub write_changes {
  my ($file) = @_;
  open my $out, '>', $file or die "$file: $!";
  for (1 .. 12) {
    my ($from, $to) = ($next_id, $next_id + 799);
    $next_id = $to + 1;
    print $out "INSERT INTO t SELECT i, spread_vector(i, $dimensions) FROM generate_series($from, $to) i;\n";
    print $out "DELETE FROM t WHERE id BETWEEN $from - 500 AND $from - 1;\n" if rand() < 0.6;
    print $out "VACUUM (INDEX_CLEANUP ON, TRUNCATE OFF) t;\n" if rand() < 0.5;
    print $out "CHECKPOINT;\n" if rand() < 0.3;
    print $out "SELECT pg_sleep(0.1);\n";
  }
  close $out;
}

# H12: the cursor holds a view of segments that the primary merges away, whose blocks it then gives to others.
sub cursor_across_merge {
  my ($feedback) = @_;
  my $label = $feedback ? 'cursor, with feedback' : 'cursor, without feedback';
  # No dead rows are left, and no VACUUM comes while the cursor is open: its records would wait for the cursor.
  $primary->safe_psql('postgres', 'VACUUM t');
  $primary->wait_for_catchup($standby);
  my $rows = $standby->safe_psql('postgres', 'SELECT count(*) FROM t');
  my $session = start_session($standby, 'cursor');
  $session->query_safe(<<"SQL");
BEGIN ISOLATION LEVEL REPEATABLE READ;
SET enable_seqscan = off; SET enable_sort = off; SET tandem.iterative_scan = relaxed_order;
DECLARE c CURSOR FOR SELECT id, ctid FROM t ORDER BY embedding <-> spread_vector(99, $dimensions);
SQL
  my @got = split /\n/, $session->query_safe('FETCH 60 FROM c');
  is(scalar @got, 60, "$label: first rows");
  my $before = segments_of($primary, 't_index');
  for (1 .. 4) {
    my ($from, $to) = ($next_id, $next_id + 1499);
    $next_id = $to + 1;
    $primary->safe_psql('postgres', "INSERT INTO t SELECT i, spread_vector(i, $dimensions) FROM generate_series($from, $to) i");
    # Horizons move on: the pages that the last round retired are taken again.
    $primary->safe_psql('postgres', "CALL tandem_build('t_index')");
    $primary->safe_psql('postgres', 'SELECT pg_current_xact_id()');
  }
  await_rest($primary, 't_index');
  isnt(segments_of($primary, 't_index'), $before, "$label: the primary has merged");
  $primary->wait_for_catchup($standby);
  my ($out, $failed) = $session->query('FETCH ALL FROM c');
  is($session->{stderr}, '', "$label: no error");
  push @got, split /\n/, $out;
  my %seen;
  $seen{$_}++ for @got;
  is(scalar(grep { $_ > 1 } values %seen), 0, "$label: no row twice");
  is(scalar keys %seen, $rows, "$label: all rows of its snapshot");
  $session->query('COMMIT');
  $session->quit;
  check_graph($standby, 't', 't_index', "$label: the standby afterwards");
}

# H5: what is in the standby's memory is older than the death of some rows, of which only replay knows, and than the rows that
# have their places now.
sub promotion {
  # VACUUM is to remove what has just died, and no worker to build graphs without it.
  set_configuration($standby, 'hot_standby_feedback = off');
  $primary->poll_query_until('postgres', 'SELECT backend_xmin IS NULL FROM pg_stat_replication') or die 'feedback does not end';
  arm_server($_, 'worker-before-fold=wait') for $primary, $standby;
  my $dead = "SELECT count(*) FROM tandem_rows('t_index') WHERE dead";
  my $dead_before = $primary->safe_psql('postgres', $dead);
  my $segments = segments_of($primary, 't_index');
  check_graph($standby, 't', 't_index', 'before: searches have read the graphs');
  cmp_ok($standby->safe_psql('postgres', "SELECT cached_bytes FROM tandem_memory WHERE indexname = 't_index' AND kind = 'graph'"), '>', 0,
    'before: into memory');
  my $last = $next_id + 899;
  $primary->safe_psql('postgres', 'DELETE FROM t WHERE id % 5 = 0');
  await_horizon($primary);
  $primary->safe_psql('postgres', "VACUUM (INDEX_CLEANUP ON) t; "
      . "INSERT INTO t SELECT i, spread_vector(i, $dimensions) FROM generate_series($next_id, $last) i");
  $next_id = $last + 1;
  cmp_ok($primary->safe_psql('postgres', $dead), '>=', $dead_before + 1000, 'rows die');
  $primary->wait_for_catchup($standby);
  check_graph($standby, 't', 't_index', 'dead rows, whose places others have');
  $primary->stop;
  $standby->promote;
  $standby->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()');
  is(segments_of($standby, 't_index'), $segments, 'promoted: the same segments');
  check_graph($standby, 't', 't_index', 'promoted: dead rows, whose places others have');
  arm_server($standby);
  release_stop_point($standby, 'worker-before-fold');
  my $sealed = sealed_rows($standby, 't_index');
  my ($from, $to) = ($next_id, $next_id + 2499);
  $standby->safe_psql('postgres', "INSERT INTO t SELECT i, spread_vector(i, $dimensions) FROM generate_series($from, $to) i");
  await_folded($standby, 't_index');
  cmp_ok(sealed_rows($standby, 't_index'), '>', $sealed, 'promoted: a worker folds');
  $standby->safe_psql('postgres', 'DELETE FROM t WHERE id % 4 = 0; VACUUM t');
  check_graph($standby, 't', 't_index', 'promoted: answers are right');
}
