# Kills the server at random moments while sessions insert, update, delete and vacuum, and asks after each recovery:
# is every acknowledged row found, once, and nothing that was rolled back or deleted; does the index answer like its
# table; are its pages sound?
#
# Seen to fail with: a row's head left out of its WAL record; the records of a wide row before the last one not written
# (recovery then stops).
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TandemTest;
use Test::More;
use Time::HiRes qw(sleep);

my $rounds = $ENV{TANDEM_TEST_ROUNDS} // 20;
my $dimensions = 96;           # 21 rows a page: the directory gets leaves within a few rounds
my $wide_dimensions = 9000;    # 36,000 bytes: always more pages than one WAL record takes
my $inserters = 3;
my $folder = PostgreSQL::Test::Utils::tempdir();

seed();
my $node = make_node('crash', init => [ extra => ['--data-checksums'] ], conf => "shared_buffers = 2MB\n");
$node->safe_psql('postgres', <<"SQL");
CREATE TABLE t (id bigint, embedding vector($dimensions));
CREATE INDEX t_index ON t USING tandem (embedding vector_l2_ops);
CREATE TABLE wide (id bigint, embedding vector($wide_dimensions));
CREATE INDEX wide_index ON wide USING tandem (embedding vector_l2_ops);
SQL

my %kept;       # table => { id => 1 }: acknowledged, must be there
my %gone;       # acknowledged as deleted or rolled back, must not be there
my $next_id = 1;

for my $round (1 .. $rounds) {
  # Checkpoints that come often make most records deltas on pages already written; without full page images deltas
  # are all there is. SIGKILL can cut a page's write in two, so then the server is only ever told to stop.
  my $images = rand() < 0.6;
  $node->safe_psql('postgres',
    'ALTER SYSTEM SET full_page_writes = ' . ($images ? 'on' : 'off') . '; SELECT pg_reload_conf()');
  my @scripts = map { write_script($_, $round) } 1 .. $inserters;
  my @running = map { start_script($node, $_) } @scripts, write_vacuum_script($round, rand() < 0.5);
  # Once at the least some rows are acknowledged to each session first, however busy the machine is.
  await_condition('rows', sub {
    $node->safe_psql('postgres', "SELECT (SELECT count(*) FROM t) > 20 * $inserters AND (SELECT count(*) FROM wide) > 3 * $inserters") eq 't' || !$running[0]->pumpable;
  }) if $round == 1;
  sleep 0.1 + rand(0.6);
  my $way = $images ? (qw(backend immediate kill))[ rand 3 ] : 'immediate';
  note("round $round: $way, full_page_writes " . ($images ? 'on' : 'off'));
  if ($way eq 'backend') {
    crash_backend($node);
  } elsif ($way eq 'kill') {
    kill_server($node);
  } else {
    $node->stop('immediate');
  }
  eval { $_->finish } for @running;
  if ($way ne 'backend') {
    $node->start;
  }
  take_account($_) for @scripts;
  check_round($round, $way);
}
cmp_ok(scalar(keys %{ $kept{t} }), '>', 0, 'rows were acknowledged');
cmp_ok(scalar(keys %{ $kept{wide} }), '>', 0, 'wide rows were acknowledged');
$node->safe_psql('postgres', 'VACUUM t, wide');
check_index($node, 't', 't_index', 'after a last VACUUM');
$node->stop;
done_testing();

# Statements of one session. What it says about rows: "try" before a statement that deletes, "kept", "gone" after the
# commit was acknowledged.
sub write_script {
  my ($worker, $round) = @_;
  my $file = "$folder/worker_$worker.sql";
  my @mine;
  my $sql = '';
  for (1 .. 250) {
    my $what = rand;
    if ($what < 0.35) {
      my $id = new_id(\@mine);
      $sql .= "INSERT INTO t VALUES ($id, test_vector($id, $dimensions));\n\\echo kept t $id\n";
    } elsif ($what < 0.50) {
      my ($from, $to) = new_ids(\@mine, 2 + int rand 60);
      # Some rows without a vector, which live in a stream of their own.
      $sql .= "INSERT INTO t SELECT i, CASE WHEN i % 17 <> 0 THEN test_vector(i, $dimensions) END "
        . "FROM generate_series($from, $to) i;\n\\echo kept t $from $to\n";
    } elsif ($what < 0.60) {
      my ($from, $to) = new_ids(\@mine, 1 + int rand 150);
      $sql .= "COPY t FROM STDIN;\n" . join('', map { "$_\t" . vector_text($_, $dimensions) . "\n" } $from .. $to)
        . "\\.\n\\echo kept t $from $to\n";
    } elsif ($what < 0.70) {
      my ($before, $undone, $after) = map { new_id(\@mine) } 1 .. 3;
      pop @mine for 1 .. 3;
      my $insert = sub { "INSERT INTO t VALUES ($_[0], test_vector($_[0], $dimensions));\n" };
      $sql .= "BEGIN;\n" . $insert->($before) . "SAVEPOINT a;\n" . $insert->($undone)
        . "ROLLBACK TO a;\nSAVEPOINT b;\n" . $insert->($after) . "RELEASE b;\nCOMMIT;\n"
        . "\\echo kept t $before\n\\echo gone t $undone\n\\echo kept t $after\n";
    } elsif ($what < 0.80) {
      my $id = $next_id++;
      $sql .= "INSERT INTO wide VALUES ($id, test_vector($id, $wide_dimensions));\n\\echo kept wide $id\n";
    } elsif ($what < 0.87 && @mine) {
      my $id = $mine[ rand @mine ];
      # A new version of the row: a new entry in the index, the old one dead.
      $sql .= "UPDATE t SET embedding = test_vector($id + 1, $dimensions) WHERE id = $id;\n";
    } elsif (@mine) {
      my @doomed = splice @mine, int rand @mine, 1 + int rand 20;
      my $list = join ',', @doomed;
      $sql .= "\\echo try t @doomed\nDELETE FROM t WHERE id IN ($list);\n"
        . join '', map { "\\echo gone t $_\n" } @doomed;
    }
  }
  open my $out, '>', $file or die "$file: $!";
  print $out $sql;
  close $out;
  return $file;
}

sub write_vacuum_script {
  my ($round, $checkpoints) = @_;
  my $file = "$folder/vacuum.sql";
  open my $out, '>', $file or die "$file: $!";
  for (1 .. 200) {
    print $out "VACUUM (INDEX_CLEANUP ON, TRUNCATE OFF) t;\n";
    print $out "CHECKPOINT;\n" if $checkpoints;
    print $out "SELECT pg_sleep(0.02);\n";
  }
  close $out;
  return $file;
}

sub new_id {
  my ($mine) = @_;
  push @$mine, $next_id;
  return $next_id++;
}

sub new_ids {
  my ($mine, $count) = @_;
  my $from = $next_id;
  $next_id += $count;
  push @$mine, $from .. $next_id - 1;
  return ($from, $next_id - 1);
}

sub take_account {
  my ($file) = @_;
  for my $line (split /\n/, slurp_file("$file.out")) {
    my ($what, $table, @ids) = split / /, $line;
    if ($what eq 'kept') { $kept{$table}{$_} = 1 for $ids[0] .. $ids[-1] }
    elsif ($what eq 'try') { delete $kept{$table}{$_} for @ids }
    elsif ($what eq 'gone') { delete $kept{$table}{$ids[0]}; $gone{$table}{$ids[0]} = 1 }
    else { die "unexpected output: $line" }
  }
  my $error = slurp_file("$file.err");
  # Whatever else the session saw, it must not be an error of the index.
  die "a session failed: $error" if $error =~ /ERROR:/;
}

sub check_round {
  my ($round, $way) = @_;
  my @wrong;
  for my $table (qw(t wide)) {
    my %found;
    # All rows, by the index alone.
    my $query = vector_text(1, $table eq 't' ? $dimensions : $wide_dimensions);
    my $out = $node->safe_psql('postgres', <<"SQL");
SET enable_seqscan = off; SET enable_sort = off;
SELECT id FROM $table ORDER BY embedding <-> '$query';
SQL
    $found{$_}++ for split /\n/, $out;
    push @wrong, map { "$table: committed row $_ is lost" } grep { !$found{$_} } keys %{ $kept{$table} };
    push @wrong, map { "$table: row $_ comes $found{$_} times" } grep { $found{$_} > 1 } keys %found;
    push @wrong, map { "$table: row $_ is back" } grep { $found{$_} } keys %{ $gone{$table} };
    push @wrong, index_problems($node, "${table}_index");
  }
  push @wrong, answer_differences($node, 't', dimensions => $dimensions);
  @wrong = grep { $_ ne '' } @wrong;
  splice @wrong, 20 if @wrong > 20;
  is(join("\n", @wrong), '', "round $round ($way): every acknowledged row, once; pages and answers are right");
}
