# Kills the server, a worker or a session at random moments while rows come, change and go and workers fold and merge
# them, and asks after each recovery: is every acknowledged row found, once, and nothing that was deleted; does the index
# answer like its table; are its segments those of before, or ones that grew from them? Then crashes at named places of
# publishing and recycling. HAZARDS H12, H14, H40; DESIGN.md's invariants 1 and 2. TANDEM_TEST_ROUNDS: so many random moments; from
# 50 on each named place with the death of the worker alone, and with that of the server.
#
# Seen to fail with: pages of segments not logged (rows lost, pages empty); tombstones not looked at when a row is returned
# (rows come twice); three rows more taken for sealed than are; manifests not logged (H14); a builder that takes no free blocks,
# but the end of the file only (H40).
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TandemTest;
use Test::More;
use Time::HiRes qw(sleep time);

my $rounds = $ENV{TANDEM_TEST_ROUNDS} // 30;
my $is_long = $rounds >= 50;
my $dimensions = 8;
my $folder = PostgreSQL::Test::Utils::tempdir();
# In the order of a build.
my @stop_points = qw(high-water-logged blob-id-logged blob-page-written blob-written recycle-before-publish publish-before-root
  publish-after-root);

seed();
my $node = make_node('crash', preload => 1, init => [ extra => ['--data-checksums'] ], conf => <<'CONF');
tandem.seal_rows = 400
shared_buffers = 4MB
max_wal_size = 64MB
CONF
need_stop_points($node);
$node->safe_psql('postgres', <<"SQL");
CREATE TABLE t (id bigint, embedding vector($dimensions));
CREATE INDEX t_index ON t USING tandem (embedding vector_l2_ops)
  WITH (strategy = hnsw_batch, m = 8, ef_construction = 40);
INSERT INTO t SELECT -i, spread_vector(i, $dimensions) FROM generate_series(1, 4000) i;
SQL
await_rest($node, 't_index');
my $loaded = 4000;

my %kept = map { -$_ => 1 } 1 .. $loaded;    # acknowledged, must be there
my %gone;                                    # acknowledged as deleted, must not be there
my $next_id = 1;

segments_survive();
random_rounds();
killed_workers();
staged_rounds();
file_stays_bounded();
$node->stop;
done_testing();

# Nothing is folded anew because the server went down: the very same segments, in use at once.
sub segments_survive {
  my $segments = segments_of($node, 't_index');
  isnt($segments, '', 'there are segments');
  set_configuration($node, "tandem.naptime = '1h'");
  kill_server($node);
  $node->start;
  is(segments_of($node, 't_index'), $segments, 'the same segments after a crash');
  check_graph($node, 't', 't_index', 'and the same rows');
  set_configuration($node, "tandem.naptime = '100ms'");
}

sub random_rounds {
  for my $round (1 .. $rounds) {
    my $sealed = sealed_rows($node, 't_index');
    my $script = write_script();
    my $vacuum = write_vacuum_script();
    my @running = map { start_script($node, $_) } $script, $vacuum;
    sleep 0.1 + rand(0.7);
    my $way = (qw(worker backend immediate kill))[ rand 4 ];
    my $pid = $way eq 'worker' ? worker_pid($node) : undef;
    $way = 'backend' if $way eq 'worker' && !$pid;
    if ($way eq 'worker' || $way eq 'backend') {
      crash_backend($node, $pid);
    } elsif ($way eq 'kill') {
      kill_server($node);
    } else {
      $node->stop('immediate');
    }
    eval { $_->finish } for @running;
    $node->start if $way eq 'kill' || $way eq 'immediate';
    take_account($script);
    check_round("round $round ($way)", $sealed);
  }
}

# kill -9 of the worker alone, and of the server with it, while the worker stands at a named place. Short: around a publication,
# each place with one of the two.
sub killed_workers {
  my $turn = 0;
  for my $stop_point ($is_long ? @stop_points : grep { /publish/ } @stop_points) {
    for my $victim ($is_long ? qw(worker server) : (qw(worker server))[ $turn++ % 2 ]) {
      my $sealed = stop_worker_at($stop_point);
      arm_server($node);    # for those that come after
      if ($victim eq 'worker') {
        crash_backend($node, worker_pid($node));
      } else {
        kill_server($node);
        $node->start;
      }
      check_round("$stop_point, kill -9 of the $victim", $sealed);
      await_folded($node, 't_index');
      check_round("$stop_point, kill -9 of the $victim, and the next worker", $sealed) if $is_long;
    }
  }
}

# Gives the worker something to fold until it stands there; returns how many rows were sealed before the last of it. Not each build
# needs new blocks, or has something to recycle.
sub stop_worker_at {
  my ($stop_point) = @_;
  clear_stop_points($node);
  arm_server($node, "$stop_point=wait");
  local $ENV{PGOPTIONS} = '-c tandem.stop_points=';    # not for sessions, whose inserts raise the high-water mark, too
  my $sealed = 0;
  my $end_of_all = time + $PostgreSQL::Test::Utils::timeout_default;
  while (time < $end_of_all) {
    $sealed = sealed_rows($node, 't_index');
    something_to_fold();
    my $end = time + 5;
    while (time < $end) {
      return $sealed if -e $node->data_dir . "/tandem_stop_points/$stop_point.reached";
      sleep 0.02;
    }
  }
  die "$stop_point was not reached";
}

# Crashes of whoever folds at named places, in a session that folds, so that only one process is armed.
sub staged_rounds {
  # No worker that would fold or recycle first.
  $node->append_conf('postgresql.conf', "shared_preload_libraries = ''\n");
  $node->restart;
  # Few rows again, so that each build takes a moment.
  $node->safe_psql('postgres', "TRUNCATE t; INSERT INTO t SELECT -i, spread_vector(i, $dimensions) FROM generate_series(1, 1000) i");
  %kept = map { -$_ => 1 } 1 .. 1000;
  %gone = ();
  for my $stop_point (@stop_points) {
    my $sealed = 0;
    # Not each build needs new blocks, or has something to recycle.
    my $crashed = 0;
    for (1 .. 8) {
      $sealed = sealed_rows($node, 't_index');
      something_to_fold();
      my $log_end = -s $node->logfile;
      my ($status) = $node->psql('postgres', arm_sql("$stop_point=crash") . "CALL tandem_build('t_index')");
      $crashed = $status != 0;
      $node->wait_for_log(qr/database system is ready to accept connections/, $log_end) if $crashed;
      last if $crashed;
    }
    ok($crashed, "$stop_point: the session dies");
    check_round($stop_point, $sealed);
    $node->safe_psql('postgres', "CALL tandem_build('t_index')");
    check_round("$stop_point, built again", $sealed);
  }
}

# Dead rows that VACUUM marks and a merge can drop (it may fold as well), then rows to fold.
sub something_to_fold {
  my @doomed = grep { $kept{$_} } map { $next_id - 100 - $_ } 1 .. 50;
  if (@doomed) {
    $node->safe_psql('postgres', 'DELETE FROM t WHERE id IN (' . join(',', @doomed) . '); VACUUM (INDEX_CLEANUP ON) t');
    for (@doomed) { delete $kept{$_}; $gone{$_} = 1 }
  }
  my ($from, $to) = ($next_id, $next_id + 599);
  $next_id = $to + 1;
  $node->safe_psql('postgres', "INSERT INTO t SELECT i, spread_vector(i, $dimensions) FROM generate_series($from, $to) i");
  $kept{$_} = 1 for $from .. $to;
}

# H40: what a builder that died had written is found and taken again.
sub file_stays_bounded {
  $node->safe_psql('postgres', <<"SQL");
CREATE TABLE b (id bigint, embedding vector($dimensions));
CREATE INDEX b_index ON b USING tandem (embedding vector_l2_ops) WITH (strategy = hnsw_batch, m = 8, ef_construction = 20);
INSERT INTO b SELECT i, spread_vector(i, $dimensions) FROM generate_series(1, 2000) i;
SQL
  my $size = sub { $node->safe_psql('postgres', "SELECT pg_relation_size('b_index')") };
  my $before = $size->();
  for (1 .. 25) {
    my ($status) = $node->psql('postgres', arm_sql('publish-before-root=error') . "CALL tandem_build('b_index')");
    die 'publish-before-root was not reached' if $status == 0;
  }
  # Sessions that are ended from outside in the middle of it.
  for (1 .. 25) {
    my $session = start_session($node, 'builder');
    send_sql($session, "CALL tandem_build('b_index');");
    sleep rand(0.05);
    $node->safe_psql('postgres', "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE application_name = 'builder'");
    eval { $session->quit };
  }
  $node->safe_psql('postgres', "CALL tandem_build('b_index')");
  my $once = $node->safe_psql('postgres', "SELECT sum(bytes) FROM tandem_segments('b_index')");
  # The pages of one build, twice for the extents' round sizes, and the manifests of many versions.
  cmp_ok($size->() - $before, '<', 3 * $once + 2_000_000, '50 builds that died leave no more than one of their pages');
  check_graph($node, 'b', 'b_index', 'and the last one is right');
}

# Statements of one session, as in the crash test of the flat index but with bulk, so that folds come often.
sub write_script {
  my $file = "$folder/worker.sql";
  my $sql = '';
  my @mine = grep { $_ > 0 } keys %kept;
  for (1 .. 200) {
    my $what = rand;
    if ($what < 0.45) {
      my ($from, $to) = ($next_id, $next_id + int rand 150);
      $next_id = $to + 1;
      $sql .= "INSERT INTO t SELECT i, spread_vector(i, $dimensions) FROM generate_series($from, $to) i;\n\\echo kept $from $to\n";
    } elsif ($what < 0.60) {
      my $id = $next_id++;
      $sql .= "BEGIN;\nINSERT INTO t VALUES ($id, spread_vector($id, $dimensions));\nSAVEPOINT a;\n"
        . "INSERT INTO t VALUES (1000000000 + $id, spread_vector($id, $dimensions));\nROLLBACK TO a;\nCOMMIT;\n"
        . "\\echo kept $id $id\n\\echo gone " . (1000000000 + $id) . "\n";
    } elsif ($what < 0.80 && @mine) {
      my $id = $mine[ rand @mine ];
      $sql .= "UPDATE t SET embedding = spread_vector($id + 500000, $dimensions) WHERE id = $id;\n";
    } elsif (@mine > 50) {
      my @doomed = splice @mine, int rand(@mine - 40), 1 + int rand 40;
      $sql .= "\\echo try @doomed\nDELETE FROM t WHERE id IN (" . join(',', @doomed) . ");\n\\echo gone @doomed\n";
    }
  }
  open my $out, '>', $file or die "$file: $!";
  print $out $sql;
  close $out;
  return $file;
}

sub write_vacuum_script {
  my $file = "$folder/vacuum.sql";
  open my $out, '>', $file or die "$file: $!";
  for (1 .. 100) {
    print $out "VACUUM (INDEX_CLEANUP ON, TRUNCATE OFF) t;\n", rand() < 0.3 ? "CHECKPOINT;\n" : '', "SELECT pg_sleep(0.05);\n";
  }
  close $out;
  return $file;
}

sub take_account {
  my ($file) = @_;
  for my $line (split /\n/, slurp_file("$file.out")) {
    my ($what, @ids) = split / /, $line;
    if ($what eq 'kept') { $kept{$_} = 1 for $ids[0] .. $ids[-1] }
    elsif ($what eq 'try') { delete $kept{$_} for @ids }
    elsif ($what eq 'gone') { for (@ids) { delete $kept{$_}; $gone{$_} = 1 } }
    else { die "unexpected output: $line" }
  }
  my $error = slurp_file("$file.err");
  die "a session failed: $error" if $error =~ /ERROR:/;
}

sub check_round {
  my ($what, $sealed) = @_;
  local $Test::Builder::Level = $Test::Builder::Level + 1;
  my @wrong;
  # All rows, by the index alone.
  my $out = $node->safe_psql('postgres', <<"SQL");
SET enable_seqscan = off; SET enable_sort = off; SET tandem.iterative_scan = relaxed_order;
SELECT id FROM t ORDER BY embedding <-> spread_vector(17, $dimensions);
SQL
  my %found;
  $found{$_}++ for split /\n/, $out;
  push @wrong, map { "committed row $_ is lost" } grep { !$found{$_} } keys %kept;
  push @wrong, map { "row $_ comes $found{$_} times" } grep { $found{$_} > 1 } keys %found;
  push @wrong, map { "row $_ is back" } grep { $found{$_} } keys %gone;
  my $sealed_now = sealed_rows($node, 't_index');
  push @wrong, "$sealed rows were in segments, now $sealed_now are" if $sealed_now < $sealed;
  splice @wrong, 20 if @wrong > 20;
  push @wrong, grep { $_ ne '' } index_problems($node, 't_index'),
    graph_problems($node, 't', numbers => [ 1e6 + int rand 1e6, 1e6 + int rand 1e6 ], drain => 0);
  is(join("\n", @wrong), '', "$what: every acknowledged row, once; segments, pages and answers are right");
}
