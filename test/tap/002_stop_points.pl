# Crashes, errors and races at named places of the code, staged with stop points: nothing that was committed is lost,
# no row id is lost, no row comes twice, and the index goes on working. HAZARDS H1, H4, H9, H24.
#
# Seen to fail with: the tail's head page unlocked while a vector is being written (H1); tombstones not set, and set but
# not logged (H4); a session's hint of the tail beyond the directory it knows taken for the end of the rows; a build's
# pages not logged.
# Of sparse rows also with: elements laid over those of the row before; a place written after the record of its head.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TandemTest;
use Test::More;

my $dimensions = 5000;    # 20,000 bytes: three or four pages, so one or two records, from row to row; 40,000 as sparsevec
my $type = 'vector';
# From 18 on pages have checksums unless a cluster is made without; this file changes pages behind the server's back.
my $node = make_node('stop', init => [ no_data_checksums => 1 ], conf => "wal_level = replica\n");
need_stop_points($node);
make_table();

crashes();
errors();
tail_beyond_known_extents();
wide_insert_against_insert();
wide_insert_killed();
vacuum_before_append();
append_before_vacuum();
tombstones_survive();
directory_nearly_full();
# Rows of any length: their elements lie in a stream of their own.
$type = 'sparsevec';
make_table();
crashes_of_appends();
errors();
wide_insert_against_insert();
wide_insert_killed();
$node->stop;
done_testing();

my $next_id;

sub make_table {
  $next_id = 1;
  $node->safe_psql('postgres', <<"SQL");
DROP TABLE IF EXISTS t;
CREATE TABLE t (id bigint, embedding $type($dimensions));
CREATE INDEX t_index ON t USING tandem (embedding ${type}_l2_ops);
SQL
  insert_rows(12);
}

sub insert_sql {
  my ($count) = @_;
  my $from = $next_id;
  $next_id += $count;
  my $to = $next_id - 1;
  return "INSERT INTO t SELECT i, " . value_sql() . " FROM generate_series($from, $to) i;\n";
}

# Of row i. Of sparse rows every fourth one is empty, and every fourth one tiny.
sub value_sql {
  my $wide = "test_vector(i, $dimensions)";
  return $wide if $type eq 'vector';
  return "CASE i % 4 WHEN 0 THEN '{}/$dimensions'::sparsevec WHEN 1 THEN ('{7:' || i || '}/$dimensions')::sparsevec ELSE $wide\::sparsevec END";
}

# check_index() of `t`.
sub check_t {
  my ($label) = @_;
  local $Test::Builder::Level = $Test::Builder::Level + 1;
  my $query = $node->safe_psql('postgres', "SELECT test_vector(77, $dimensions)::$type");
  return check_index($node, 't', 't_index', $label, queries => [$query]);
}

sub insert_rows { $node->safe_psql('postgres', insert_sql($_[0])) }

sub ids { return $node->safe_psql('postgres', 'SELECT string_agg(id::text, \' \' ORDER BY id) FROM t') }

sub row_ids {
  my ($condition) = @_;
  return $node->safe_psql('postgres',
    "SELECT string_agg(row_id::text, ' ' ORDER BY row_id) FROM tandem_rows('t_index') WHERE $condition");
}

# Runs the statement in a session that is to die at the stop point, then waits for the recovery.
sub crash_at {
  my ($stop_point, $sql) = @_;
  my $log_end = -s $node->logfile;
  my ($status) = $node->psql('postgres', arm_sql("$stop_point=crash") . $sql);
  $node->wait_for_log(qr/database system is ready to accept connections/, $log_end) if $status != 0;
  return $status != 0;
}

sub crashes {
  crashes_of_appends();
  crashes_of_others();
}

sub crashes_of_appends {
  for my $stop_point (qw(append-between-records append-before-head append-before-unlock extent-before-log extent-after-log)) {
    my $before = ids();
    my $expected = $before;
    # As many rows as it takes: not each row needs an extent, or several records.
    my $crashed = 0;
    for (1 .. 40) {
      my $id = $next_id;
      $crashed = crash_at($stop_point, insert_sql(1));
      last if $crashed;
      $expected .= " $id";
    }
    ok($crashed, "$stop_point: the server crashes");
    is(ids(), $expected, "$stop_point: no row of the crashed statement");
    check_t("$stop_point: the index is right after the crash");
    insert_rows(3);
    check_t("$stop_point: and after further inserts");
  }
}

sub crashes_of_others {
  for my $stop_point (qw(vacuum-before-tombstones vacuum-before-counts)) {
    my $id = $next_id;
    insert_rows(4);
    $node->safe_psql('postgres', "DELETE FROM t WHERE id = $id");
    my $expected = ids();
    ok(crash_at($stop_point, "VACUUM (INDEX_CLEANUP ON) t"), "$stop_point: the server crashes");
    is(ids(), $expected, "$stop_point: same rows as before");
    check_t("$stop_point: the index is right after the crash");
    $node->safe_psql('postgres', 'VACUUM (INDEX_CLEANUP ON) t');
    insert_rows(3);
    check_t("$stop_point: and after VACUUM and inserts into the freed places");
  }
  ok(crash_at('build-before-log', 'REINDEX INDEX t_index'), 'build-before-log: the server crashes');
  check_t('build-before-log: the index is what it was');
  $node->safe_psql('postgres', 'REINDEX INDEX t_index');
  $node->stop('immediate');
  $node->start;
  check_t('a finished build survives a crash');
}

sub errors {
  make_table();
  my $expected = ids();
  for my $stop_point (qw(append-between-records append-before-head extent-before-log extent-after-log)) {
    my $rows = row_ids('true');
    my $failed = 0;
    for (1 .. 40) {
      my $id = $next_id;
      my ($status, undef, $error) = $node->psql('postgres', arm_sql("$stop_point=error") . insert_sql(1));
      $failed = $status != 0;
      if ($failed) {
        like($error, qr/stop point "$stop_point"/, "$stop_point: the insert fails");
        last;
      }
      $expected .= " $id";
      $rows = row_ids('true');
    }
    ok($failed, "$stop_point: was reached");
    is(row_ids('true'), $rows, "$stop_point: a failed insert takes no row id");
    is(ids(), $expected, "$stop_point: same rows as before");
    check_t("$stop_point: the index is right after an error");
    $expected .= " $next_id";
    insert_rows(1);
    check_t("$stop_point: and after the next insert");
  }
  # From here on the row is logged: its head stays, dead.
  my ($status) = $node->psql('postgres', arm_sql('append-before-unlock=error') . insert_sql(1));
  isnt($status, 0, 'append-before-unlock: the insert fails');
  is(ids(), $expected, 'append-before-unlock: same rows as before');
  check_t('append-before-unlock: the index is right after an error');
  $node->safe_psql('postgres', 'VACUUM (INDEX_CLEANUP ON) t');
  is($node->safe_psql('postgres', "SELECT count(*) FROM tandem_rows('t_index') WHERE dead"), 1,
    'append-before-unlock: VACUUM marks the failed row dead');
  # Rows of a statement before the one that failed, and of a subtransaction.
  $node->psql('postgres', "BEGIN;\n" . insert_sql(2) . "SAVEPOINT a;\n" . arm_sql('append-before-head=error')
      . "\\set ON_ERROR_STOP 0\n" . insert_sql(1) . "ROLLBACK TO a;\nSET tandem.stop_points = '';\n" . insert_sql(1)
      . "COMMIT;\n", on_error_stop => 0);
  is($node->safe_psql('postgres', 'SELECT count(*) FROM t'), scalar(split / /, $expected) + 3,
    'rows around a failed subtransaction are committed');
  check_t('the index is right after a failed subtransaction');
}

# A session whose insert failed while it asked for an extent remembers a tail beyond the directory it knows.
sub tail_beyond_known_extents {
  $node->safe_psql('postgres', <<'SQL');
CREATE TABLE narrow (id bigint, embedding vector(3));
CREATE INDEX narrow_index ON narrow USING tandem (embedding vector_l2_ops);
INSERT INTO narrow SELECT i, test_vector(i, 3) FROM generate_series(1, 1018) i;
SQL
  my $session = start_session($node, 'failing');
  $session->query(arm_sql('extent-before-log=error'));
  $session->query('INSERT INTO narrow VALUES (1019, test_vector(1019, 3))');
  $session->query("SET tandem.stop_points = ''; SET enable_seqscan = off; SET enable_sort = off");
  $session->{stderr} = '';
  is($node->safe_psql('postgres', "SELECT count(*) FROM tandem_rows('narrow_index')"), 1018, 'the head page is full');
  $node->safe_psql('postgres', 'INSERT INTO narrow SELECT i, test_vector(i, 3) FROM generate_series(2000, 2099) i');
  is($session->query("SELECT count(*) FROM (SELECT * FROM narrow ORDER BY embedding <-> '[2050,1,1]') s"), 1118,
    'a session that failed to extend the index finds what others appended since');
  $session->query_safe('INSERT INTO narrow VALUES (3000, test_vector(3000, 3))');
  $session->quit;
  check_index($node, 'narrow', 'narrow_index', 'and can insert');
}

# H1: a row whose vector takes several records is being written; another insert must not come in between.
sub wide_insert_against_insert {
  for my $stop_point (qw(append-between-records append-before-head append-before-unlock)) {
    clear_stop_points($node);
    # A row that crosses three page boundaries takes two records.
    make_table();
    my $slow = start_session($node, 'slow');
    my ($slow_id, $fast_id) = ($next_id + 1, $next_id + 2);
    insert_rows(1);
    $slow->query_safe(arm_sql("$stop_point=wait"));
    send_sql($slow, insert_until_records());
    await_stop_point($node, $stop_point);
    my $fast = start_session($node, 'fast');
    send_sql($fast, insert_sql(1));
    # It waits, or it is through: what counts is that no row is lost.
    $node->poll_query_until('postgres', "SELECT wait_event = 'BufferContent' OR state = 'idle' AND query LIKE 'INSERT%' "
        . "FROM pg_stat_activity WHERE application_name = 'fast'") or die 'the other insert got stuck';
    release_stop_point($node, $stop_point);
    is(end_session($slow), '', "H1, $stop_point: the slow insert succeeds");
    is(end_session($fast), '', "H1, $stop_point: the other insert succeeds");
    is($node->safe_psql('postgres', 'SELECT count(*) FROM t'), $next_id - 1, "H1, $stop_point: all rows are there");
    check_t("H1, $stop_point: the index is right");
  }
}

# Statements that reach every stop point of an append: four rows of 20,000 bytes cross every kind of boundary.
sub insert_until_records { return insert_sql(4) }

# The same with the slow session killed in the middle: the other one's row was not written, or is there.
sub wide_insert_killed {
  clear_stop_points($node);
  make_table();
  my $before = ids();
  my $slow = start_session($node, 'slow');
  my $pid = $slow->query_safe('SELECT pg_backend_pid()');
  $slow->query_safe(arm_sql('append-before-head=wait'));
  send_sql($slow, insert_until_records());
  await_stop_point($node, 'append-before-head');
  my $fast = start_session($node, 'fast');
  send_sql($fast, insert_sql(1));
  await_wait_event($node, 'fast', 'BufferContent');
  crash_backend($node, $pid);
  end_session($slow);
  end_session($fast);
  clear_stop_points($node);
  is(ids(), $before, 'killed between vector and head: neither row is there');
  check_t('killed between vector and head: the index is right');
  insert_rows(5);
  check_t('killed between vector and head: and after further inserts');
}

# H4: VACUUM has looked at the last page and not marked it yet; rows are appended to it; then the freed places in the
# table are used again.
sub vacuum_before_append {
  clear_stop_points($node);
  make_table();
  my $freed = $node->safe_psql('postgres', "SELECT string_agg(ctid::text, ' ') FROM t WHERE id BETWEEN 3 AND 8");
  $node->safe_psql('postgres', 'DELETE FROM t WHERE id BETWEEN 3 AND 8');
  my $vacuum = start_session($node, 'vacuum');
  $vacuum->query_safe(arm_sql('vacuum-before-tombstones=wait'));
  send_sql($vacuum, 'VACUUM (INDEX_CLEANUP ON) t;');
  await_stop_point($node, 'vacuum-before-tombstones');
  insert_rows(3);
  check_t('H4: appends while VACUUM is about to mark the page');
  release_stop_point($node, 'vacuum-before-tombstones');
  is(end_session($vacuum), '', 'H4: VACUUM succeeds');
  is(row_ids('dead'), '2 3 4 5 6 7', 'H4: the deleted rows are marked, and only they');
  reuse_freed($freed, 'H4, VACUUM first');
}

# The other order: VACUUM meets a page that is being appended to.
sub append_before_vacuum {
  clear_stop_points($node);
  make_table();
  my $freed = $node->safe_psql('postgres', "SELECT string_agg(ctid::text, ' ') FROM t WHERE id BETWEEN 3 AND 8");
  $node->safe_psql('postgres', 'DELETE FROM t WHERE id BETWEEN 3 AND 8');
  my $slow = start_session($node, 'slow');
  $slow->query_safe(arm_sql('append-before-head=wait'));
  send_sql($slow, insert_sql(1));
  await_stop_point($node, 'append-before-head');
  my $vacuum = start_session($node, 'vacuum');
  send_sql($vacuum, 'VACUUM (INDEX_CLEANUP ON) t;');
  await_wait_event($node, 'vacuum', 'BufferContent');
  release_stop_point($node, 'append-before-head');
  is(end_session($slow), '', 'H4: the insert succeeds');
  is(end_session($vacuum), '', 'H4: VACUUM succeeds');
  is(row_ids('dead'), '2 3 4 5 6 7', 'H4: the deleted rows are marked, and only they');
  reuse_freed($freed, 'H4, append first');
}

sub reuse_freed {
  my ($freed, $label) = @_;
  insert_rows(20);
  my $list = join ',', map { "'$_'" } split / /, $freed;
  cmp_ok($node->safe_psql('postgres', "SELECT count(*) FROM t WHERE ctid::text IN ($list)"), '>', 0,
    "$label: freed places hold other rows now");
  check_t("$label: each distance is the table row's own");
}

# The tombstones' record must say it all: its page has been written since the checkpoint, so it carries no image.
sub tombstones_survive {
  clear_stop_points($node);
  make_table();
  my $freed = $node->safe_psql('postgres', "SELECT string_agg(ctid::text, ' ') FROM t WHERE id BETWEEN 3 AND 8");
  $node->safe_psql('postgres', 'CHECKPOINT');
  insert_rows(1);
  $node->safe_psql('postgres', 'DELETE FROM t WHERE id BETWEEN 3 AND 8');
  $node->safe_psql('postgres', 'VACUUM (INDEX_CLEANUP ON) t');
  insert_rows(6);
  $node->stop('immediate');
  $node->start;
  is(row_ids('dead'), '2 3 4 5 6 7', 'tombstones survive a crash');
  reuse_freed($freed, 'after the crash');
}

# H24: the file is nearly as long as a file can be. The meta page is told so, in a stopped server.
sub directory_nearly_full {
  $node->safe_psql('postgres', <<'SQL');
CREATE TABLE full_up (id bigint, embedding vector(2000));
CREATE INDEX full_up_index ON full_up USING tandem (embedding vector_l2_ops);
INSERT INTO full_up SELECT i, test_vector(i, 2000) FROM generate_series(1, 5) i;
SQL
  my $path = $node->data_dir . '/' . $node->safe_psql('postgres', "SELECT pg_relation_filepath('full_up_index')");
  $node->stop;
  # Page header 24 bytes; magic, version and metric, dimensions, row bytes, incarnation; then the first block that
  # was not handed out. 2^32 - 1 is no block, 2^32 - 2 the last one.
  open my $file, '+<:raw', $path or die "$path: $!";
  seek $file, 24 + 4 + 4 + 4 + 4 + 8, 0;
  read $file, my $old, 4;
  cmp_ok(unpack('V', $old), '<=', (-s $path) / 8192, 'the high-water mark is where the test expects it');
  seek $file, -4, 1;
  print $file pack('V', 0xFFFFFFFE - 3);
  close $file;
  $node->start;
  my ($status, $out, $error) = $node->psql('postgres',
    "\\set VERBOSITY verbose\nINSERT INTO full_up SELECT i, test_vector(i, 2000) FROM generate_series(6, 40) i");
  is(sqlstate_of($error), '54000', 'H24: an index that cannot grow says so');
  like($error, qr/HINT:.*REINDEX/, 'H24: and what to do');
  is(answer_differences($node, 'full_up'), '', 'H24: it still answers');
  $node->safe_psql('postgres', 'REINDEX INDEX full_up_index');
  $node->safe_psql('postgres', 'INSERT INTO full_up SELECT i, test_vector(i, 2000) FROM generate_series(6, 40) i');
  check_index($node, 'full_up', 'full_up_index', 'H24: and grows again after REINDEX');
}
