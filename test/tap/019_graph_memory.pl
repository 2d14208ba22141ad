# Graphs in shared memory: whatever is there, not there, just coming or just going, searches answer the same.
#
# Seen to fail with: chunks filled from the wrong place; segments told apart without their incarnation
# (SegmentKey) or, for a backend's own, without their file (FindCachedSegment); a chunk left in the middle of loading by a
# session that ends (UnmarkMyLoad); page checksums not looked at while loading; memory of lost indexes kept
# (ForgetLostSegments), of replaced graphs, too (ForgetUnlistedSegments).
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TandemTest;
use Test::More;

my $dimensions = 8;
my $rows = 8000;
my $idle_seconds = 10;    # ChunkDirectory::kIdleSeconds
my $index_options = 'WITH (strategy = hnsw_batch, m = 16, ef_construction = 40)';

# No workers: what is loaded is what sessions load.
# From 18 on pages have checksums unless a cluster is made without; this file changes a page behind the server's back.
my $node = make_node('memory', preload => 1, init => [ no_data_checksums => 1 ], conf => <<'CONF');
max_worker_processes = 0
tandem.memory_budget = 0
allow_in_place_tablespaces = on
CONF
need_stop_points($node);
# Which rows are nearest to some vectors, in their order: equal texts, equal answers.
my $answers_sql = <<'SQL';
CREATE FUNCTION answers(target text, dimensions int, queries int DEFAULT 12) RETURNS text LANGUAGE plpgsql
    SET enable_seqscan = off SET enable_sort = off AS $$
DECLARE
  line text;
  lines text := '';
BEGIN
  FOR i IN 1 .. queries LOOP
    EXECUTE format('SELECT string_agg(id::text, '' '') FROM
      (SELECT id FROM %s ORDER BY embedding <-> $1 LIMIT 30) nearest', target) INTO line
      USING spread_vector(1000000 + i, dimensions);
    lines := lines || line || E'\n';
  END LOOP;
  RETURN lines;
END $$;
SQL
$node->safe_psql('postgres', $answers_sql);

make_table($node, 't', $rows, $dimensions);
make_table($node, 'other', $rows, $dimensions);
make_table($node, 'wide', 1500, 600, 'sq4');
is($node->safe_psql('postgres', "SELECT codec FROM tandem_segments('wide_index')"), 'sq4', 'codes that are made from those on pages');
my %by_pages = map { $_->[0] => answers($node, @$_) } ([ 't', $dimensions ], [ 'other', $dimensions ], [ 'wide', 600 ]);
is(codes_from_pages($node, 't', $dimensions) > 0, 1, 'without a budget, searches read pages');
my ($status, undef, $error) = $node->psql('postgres', "\\set VERBOSITY sqlstate\nSELECT tandem_prewarm('t_index')");
is(sqlstate_of($error), '55000', 'without a budget there is nothing to load into');

# ---- Budgets ----

for my $budget ('1MB', '64MB') {
  set_configuration($node, "tandem.memory_budget = '$budget'");
  $node->restart;
  # Some searches load, others find what they loaded, and several indexes want the same memory.
  for my $round (1 .. 3) {
    same_answers("$budget, round $round", $_) for qw(t other wide);
  }
  my $bytes = $node->safe_psql('postgres', "SELECT tandem_prewarm('t_index')");
  is($bytes, memory_bytes($node, 't_index'), "$budget: tandem_prewarm() tells what is in memory");
  same_answers("$budget, prewarmed", $_) for qw(t other wide);
}
is(codes_from_pages($node, 't', $dimensions), 0, 'all of it is in memory');
my $all_of_t = memory_bytes($node, 't_index');
cmp_ok($all_of_t, '>', 1.2 * 1024 * 1024, 'more than the small budget had room for');

set_configuration($node, "tandem.memory_budget = '1MB'");
my ($filled, $of_others, $used);
await_condition('an attempt within the time that a graph is in use', sub {
  $node->restart;
  my $began = time;
  $node->safe_psql('postgres', "SELECT tandem_prewarm('t_index')");
  $filled = memory_bytes($node, 't_index');
  $used = answers($node, 't', $dimensions);
  $of_others = $node->safe_psql('postgres', "SELECT tandem_prewarm('wide_index')");
  return time - $began < $idle_seconds - 1;
});
cmp_ok($filled, '>', 900 * 1024, 'a graph larger than the budget fills it');
cmp_ok($filled, '<', $all_of_t, '... and the rest, lists of links, is read from pages');
is($used, $by_pages{t}, 'codes from memory, links from pages');

# ---- Lost indexes ----

is($of_others, 0, 'graphs just used keep their memory');
$node->safe_psql('postgres', 'DROP INDEX t_index');
cmp_ok($node->safe_psql('postgres', "SELECT tandem_prewarm('wide_index')"), '>', 500 * 1024, 'those of a dropped index do not');
$node->safe_psql('postgres', "CREATE INDEX t_index ON t USING tandem (embedding vector_l2_ops) $index_options; CALL tandem_build('t_index')");

set_configuration($node, "tandem.memory_budget = '64MB'");
$node->restart;

# ---- New files, new contents ----

$node->safe_psql('postgres', "SELECT tandem_prewarm('t_index')");
check_graph($node, 't', 't_index', 'dropped and made again', dimensions => $dimensions);
my $before = answers($node, 't', $dimensions);
$node->safe_psql('postgres', "CREATE TABLESPACE elsewhere LOCATION ''");
$node->safe_psql('postgres', 'ALTER INDEX t_index SET TABLESPACE elsewhere');
is(memory_bytes($node, 't_index'), 0, 'a moved index is another file');
is(answers($node, 't', $dimensions), $before, '... with the same answers');

# A move is taken back, and what was built in the new place with it: in the old one, the same numbers get other contents.
my $mover = start_session($node, 'mover');
$mover->query_safe("BEGIN; ALTER INDEX t_index SET TABLESPACE pg_default; INSERT INTO t SELECT i, spread_vector(i + 90000, $dimensions) FROM generate_series(200001, 203000) i");
$mover->query_safe("CALL tandem_build('t_index')");
my $undone = $mover->query_safe("SELECT max(segment_id) FROM tandem_segments('t_index')");
$mover->query_safe("SELECT answers('t', $dimensions); ROLLBACK");
$node->safe_psql('postgres', "INSERT INTO t SELECT i, spread_vector(i + 95000, $dimensions) FROM generate_series(300001, 303000) i; CALL tandem_build('t_index')");
is($mover->query_safe("SELECT max(segment_id) FROM tandem_segments('t_index')"), $undone, 'a segment id that a rolled back move had given away');
is($mover->query_safe("SELECT answers('t', $dimensions)"), answers($node, 't', $dimensions), '... means the other content, for who moved, too');
end_session($mover);
check_graph($node, 't', 't_index', '... with all rows', dimensions => $dimensions);
$node->safe_psql('postgres', "UPDATE t SET embedding = spread_vector(id + 50000, $dimensions); REINDEX INDEX t_index; CALL tandem_build('t_index')");
check_graph($node, 't', 't_index', 'rebuilt with other rows', dimensions => $dimensions) for 1 .. 2;

# The same file, the same ids of segments, other rows: TRUNCATE empties in place what its own transaction created.
my $truncated = <<"SQL";
BEGIN;
CREATE TABLE u (id bigint, embedding vector($dimensions));
INSERT INTO u SELECT i, spread_vector(i, $dimensions) FROM generate_series(1, 3000) i;
CREATE INDEX u_index ON u USING tandem (embedding vector_l2_ops) $index_options;
CALL tandem_build('u_index');
SELECT tandem_prewarm('u_index') > 0;
SELECT segment_id, pg_relation_filenode('u_index') FROM tandem_segments('u_index');
TRUNCATE u;
INSERT INTO u SELECT i, spread_vector(i + 70000, $dimensions) FROM generate_series(1, 3000) i;
CALL tandem_build('u_index');
SELECT segment_id, pg_relation_filenode('u_index') FROM tandem_segments('u_index');
COMMIT;
SQL
my @lines = split /\n/, $node->safe_psql('postgres', $truncated);
is($lines[1], $lines[2], 'TRUNCATE in the creating transaction: the same file and segment');
check_graph($node, 'u', 'u_index', '... other rows', dimensions => $dimensions);

# ---- Merges beside searches ----

my $reader = start_session($node, 'reader');
my $query = "SELECT id FROM other ORDER BY embedding <-> spread_vector(2000000, $dimensions) LIMIT 1000";
my $expected = $node->safe_psql('postgres', "SET enable_seqscan = off; $query");
$node->safe_psql('postgres', "SELECT tandem_prewarm('other_index')");
$reader->query_safe("SET enable_seqscan = off; BEGIN; DECLARE c CURSOR FOR $query; FETCH 5 FROM c");
$node->safe_psql('postgres', "INSERT INTO other SELECT i, spread_vector(i, $dimensions) FROM generate_series(100001, 104000) i; CALL tandem_build('other_index')");
is($node->safe_psql('postgres', "SELECT segments FROM tandem_memory WHERE indexname = 'other_index'"),
  scalar(split / /, segments_of($node, 'other_index')), 'a graph that was replaced is no longer in memory');
is(codes_from_pages($node, 'other', $dimensions), 0, '... and the new one is there at once');
my $rest = $reader->query_safe('FETCH ALL FROM c');
is($rest, (split /\n/, $expected, 6)[5], 'a cursor goes on through the graphs that it began with');
$reader->query_safe('COMMIT');
end_session($reader);
check_graph($node, 'other', 'other_index', 'after the merge', dimensions => $dimensions);

# ---- Ends in the middle of loading ----

restart_cold($node);
my $victim = start_session($node, 'victim');
send_sql($victim, arm_sql('always-graph=on', 'chunk-begun=wait') . "SELECT answers('other', $dimensions, 1);");
await_stop_point($node, 'chunk-begun');
same_as_before('while somebody loads', 'other');
$node->safe_psql('postgres', "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'victim'");
await_condition('its end', sub {
  $node->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'victim'") eq '0' });
end_session($victim);
clear_stop_points($node);
loads_all('other', 'after it was terminated');

restart_cold($node);
($status, undef, $error) = $node->psql('postgres', arm_sql('always-graph=on', 'chunk-filled=error') . "SELECT answers('other', $dimensions, 1)");
isnt($status, 0, 'an error while loading');
loads_all('other', 'after the error');

restart_cold($node);
($status, undef, $error) = $node->psql('postgres', <<"SQL");
@{[ arm_sql('always-graph=on', 'chunk-filled=error') ]}
CREATE FUNCTION caught() RETURNS text LANGUAGE plpgsql AS \$\$
BEGIN
  PERFORM answers('other', $dimensions, 1);
  RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
  RETURN 'caught';
END \$\$;
BEGIN;
SELECT caught();
SET tandem.stop_points = 'always-graph=on';
SELECT answers('other', $dimensions, 1) IS NOT NULL;
COMMIT;
SQL
is($status, 0, 'an error that a subtransaction catches');
loads_all('other', 'after it');

restart_cold($node);
my $log_end = -s $node->logfile;
$node->psql('postgres', arm_sql('always-graph=on', 'chunk-filled=crash') . "SELECT answers('other', $dimensions, 1)");
$node->wait_for_log(qr/database system is ready to accept connections/, $log_end);
is(memory_bytes($node, 'other_index'), 0, 'nothing in memory after a crash');
loads_all('other', 'after a crash while loading');
same_as_before('after the crash', 'other');

# ---- Damage ----

# A page whose checksum is wrong stays out of memory: nobody would ever see again that it is.
my $file = $node->data_dir . '/' . $node->safe_psql('postgres', "SELECT pg_relation_filepath('wide_index')");
$node->stop;
my $block = flip_byte_of_graph($file);
$node->start;
(undef, undef, $error) = $node->psql('postgres', "SELECT tandem_prewarm('wide_index')");
like($error, qr/WARNING:.*damaged page.*Nothing is taken from it/s, "a damaged page ($block) is not loaded");
$node->psql('postgres', "SELECT answers('wide', 600)") for 1 .. 2;
is($node->safe_psql('postgres', 'SELECT 1'), 1, '... and searches go on');
$node->stop;

# ---- Workers ----

my $primary = make_node('primary', preload => 1, init => [ allows_streaming => 1 ], conf => "tandem.memory_budget = '64MB'\n");
$primary->safe_psql('postgres', $answers_sql);
make_table($primary, 't', $rows, $dimensions);
await_rest($primary, 't_index');
await_memory($primary, 'what a worker publishes, it loads');
$primary->restart;
await_memory($primary, 'what is there when it starts, too');
is(codes_from_pages($primary, 't', $dimensions), 0, '... so no search reads pages');

# Loading is in nobody's way, like all work of theirs.
arm_server($primary, 'worker-between-loads=wait');
$primary->restart;
await_stop_point($primary, 'worker-between-loads');
($status, undef, $error) = $primary->psql('postgres', "SET lock_timeout = '60s'; ALTER INDEX t_index SET (m = 17); ALTER INDEX t_index RESET (m);
  BEGIN; DROP INDEX t_index; ROLLBACK");
is($error, '', 'commands do not wait for a worker that loads');
my $worker = worker_pid($primary);
$primary->safe_psql('postgres', "SELECT pg_terminate_backend($worker)");
await_condition('the end of the worker', sub { !kill 0, $worker });
arm_server($primary);
clear_stop_points($primary);
await_memory($primary, 'one that was terminated while loading has a successor');
$primary->safe_psql('postgres', "CREATE TABLE dropped AS SELECT * FROM t; CREATE INDEX dropped_index ON dropped USING tandem (embedding vector_l2_ops) $index_options");
await_rest($primary, 'dropped_index');
await_condition('a second index in memory', sub { $primary->safe_psql('postgres', 'SELECT count(*) FROM tandem_memory') eq '2' });
$primary->safe_psql('postgres', 'DROP TABLE dropped; REINDEX INDEX t_index');
await_rest($primary, 't_index');
await_condition('memory of lost files to be free', sub { $primary->safe_psql('postgres', 'SELECT count(*) FROM tandem_memory') eq '1' });
pass('what is lost does not stay in memory');
await_memory($primary, '... and what came instead is there');
my $answers = answers($primary, 't', $dimensions);

# ---- Standby ----

$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;
$primary->wait_for_catchup($standby);
is(memory_bytes($standby, 't_index'), 0, 'a standby has no worker');
is(answers($standby, 't', $dimensions), $answers, 'a standby from pages');
cmp_ok(memory_bytes($standby, 't_index'), '>', 0, '... loads what its searches miss');
is(answers($standby, 't', $dimensions), $answers, '... with the same answers');
is($standby->safe_psql('postgres', "SELECT tandem_prewarm('t_index')"), memory_bytes($primary, 't_index'), '... or everything');
is(answers($standby, 't', $dimensions), $answers, 'a standby from memory');
$primary->safe_psql('postgres', "INSERT INTO t SELECT i, spread_vector(i, $dimensions) FROM generate_series(100001, 104000) i; CALL tandem_build('t_index')");
# Another merge by the worker between the two answers would make both right and different.
await_rest($primary, 't_index');
$primary->wait_for_catchup($standby);
$answers = answers($primary, 't', $dimensions);
is(answers($standby, 't', $dimensions), $answers, "round $_ after a merge") for 1 .. 2;
$standby->promote;
is(answers($standby, 't', $dimensions), $answers, 'promoted');
check_graph($standby, 't', 't_index', '... and right', dimensions => $dimensions);
$standby->stop;
$primary->stop;
done_testing();

# A table of `count` vectors with one graph, of this walk code if one is named.
sub make_table {
  my ($server, $table, $count, $width, $codec) = @_;
  my $options = $codec ? $index_options =~ s/\)$/, codec = $codec)/r : $index_options;
  $server->safe_psql('postgres', <<"SQL");
CREATE TABLE $table (id bigint, embedding vector($width)) WITH (autovacuum_enabled = off);
INSERT INTO $table SELECT i, spread_vector(i + @{[ length $table ]} * 10000, $width) FROM generate_series(1, $count) i;
CREATE INDEX ${table}_index ON $table USING tandem (embedding vector_l2_ops) $options;
CALL tandem_build('${table}_index');
SQL
}

sub answers {
  my ($server, $table, $width) = @_;
  return $server->safe_psql('postgres', "SELECT answers('$table', $width)");
}

sub same_answers {
  my ($label, $table) = @_;
  is(answers($node, $table, $table eq 'wide' ? 600 : $dimensions), $by_pages{$table}, "$label: $table");
}

# `other` has got rows since then.
sub same_as_before {
  my ($label, $table) = @_;
  check_graph($node, $table, "${table}_index", $label, dimensions => $dimensions, drain => 0);
}

sub memory_bytes {
  my ($server, $index) = @_;
  return $server->safe_psql('postgres', "SELECT memory_bytes FROM tandem_index_stats WHERE indexname = '$index'");
}

# Codes that a search compared and did not find in memory.
sub codes_from_pages {
  my ($server, $table, $width) = @_;
  my $plan = $server->safe_psql('postgres', "SET enable_seqscan = off; EXPLAIN (ANALYZE, VERBOSE)
    SELECT id FROM $table ORDER BY embedding <-> spread_vector(3000000, $width) LIMIT 10");
  return $plan =~ /Codes Read from Pages: (\d+)/ ? $1 : "none in: $plan";
}

# Restarts; without workers nothing is in memory then.
sub restart_cold {
  my ($server) = @_;
  $server->restart;
  is(memory_bytes($server, 'other_index'), 0, 'nothing in memory after a restart');
}

# No chunk and no frame is lost to somebody who did not finish.
sub loads_all {
  my ($table, $label) = @_;
  $node->safe_psql('postgres', "SELECT tandem_prewarm('${table}_index')");
  is($node->safe_psql('postgres', "SELECT chunks - cached_chunks FROM tandem_memory WHERE indexname = '${table}_index'"), 0,
    "$label, everything can be loaded");
  is($node->safe_psql('postgres', 'SELECT used_bytes - (SELECT sum(cached_bytes) FROM tandem_memory) FROM tandem_memory_status()'), 0,
    '... and no memory is lost');
}

sub await_memory {
  my ($server, $label) = @_;
  await_condition($label, sub { codes_from_pages($server, 't', $dimensions) eq '0' });
  pass($label);
}

# Flips a byte in the middle of the graph with the most pages; returns the block. page_format.hpp has the trailer.
sub flip_byte_of_graph {
  my ($path) = @_;
  my ($block_size, $segment_kind) = (8192, 6);
  open my $handle, '+<:raw', $path or die "$path: $!";
  my $bytes = do { local $/; <$handle> };
  my %blocks;
  for my $at (0 .. length($bytes) / $block_size - 1) {
    my (undef, $blob, undef, undef, $kind, $id) = unpack('Q< L< L< L< S< S<', substr($bytes, ($at + 1) * $block_size - 24, 24));
    push @{ $blocks{$blob} }, $at if $id == 0xFD01 && $kind == $segment_kind;
  }
  my ($largest) = sort { @$b <=> @$a } values %blocks;
  my $block_number = $largest->[ @$largest / 2 ];
  seek $handle, $block_number * $block_size + 4000, 0;
  print $handle chr(ord(substr($bytes, $block_number * $block_size + 4000, 1)) ^ 0x55);
  close $handle;
  return $block_number;
}
