# What the TAP tests share: servers with the extension, vectors that follow from a row's number, the comparison of an
# index with its table, stop points, and ways to kill a server.
package TandemTest;
use strict;
use warnings;

use Exporter 'import';
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

our @EXPORT = qw(
  make_node setup_database need_stop_points need_pgvector seed vector_text
  check_index index_problems answer_differences
  check_graph graph_problems segments_of sealed_rows await_folded await_rest await_horizon
  arm_sql arm_server await_stop_point release_stop_point clear_stop_points await_condition await_wait_event
  set_configuration worker_pid await_worker
  start_session send_sql end_session start_script start_pgbench finish_pgbench make_comparison check_filters filters_asked_at_once await_written
  crash_backend kill_server sqlstate_of children_of);

# Configuration under which every query with a filter goes by it, and asks native indexes at once.
sub filters_asked_at_once {
  return <<'CONF';
enable_seqscan = off
enable_sort = off
enable_indexscan = off
enable_bitmapscan = off
# So large that it says nothing, but that filters are asked at once.
tandem.max_scan_tuples = 2000000000
CONF
}

# A new, started server, without compiled expressions, which take longer than what the tests run, with the extension in database postgres. Options: init => [arguments of Cluster::init],
# conf => text appended to the configuration, preload => 1: with background workers that lose no time, and with graphs
# searched however few rows they have, and in no hurry (where the module has stop points): exact scans of test tables would be cheaper,
# and what has a limit of time would depend on the machine.
sub make_node {
  my ($name, %option) = @_;
  my $node = PostgreSQL::Test::Cluster->new($name);
  $node->init(@{ $option{init} // [] });
  # Logging every statement would write each vector twice more.
  $node->append_conf('postgresql.conf', <<"CONF");
log_statement = none
restart_after_crash = on
autovacuum = off
jit = off
max_connections = 30
shared_buffers = 8MB
CONF
  $node->append_conf('postgresql.conf', <<'CONF') if $option{preload};
shared_preload_libraries = 'tandem'
max_worker_processes = 16
tandem.naptime = '100ms'
tandem.build_threads = 1
tandem.stop_points = 'always-graph=on,no-hurry=on'
CONF
  # A standby that does not run for a while finds what it lacks.
  $node->append_conf('postgresql.conf', 'wal_keep_size = 2GB') if grep { $_ eq 'allows_streaming' } @{ $option{init} // [] };
  $node->append_conf('postgresql.conf', $option{conf}) if defined $option{conf};
  $node->start;
  setup_database($node, 'postgres');
  return $node;
}

# The extension; test_vector(number, dimensions), which vector_text() computes as well; spread_vector(number, dimensions),
# all over a cube, so that few dimensions make a graph with a recall near 1; and what check_graph() asks. Options:
# beside_pgvector => 1: vectors are pgvector's.
sub setup_database {
  my ($node, $database, %option) = @_;
  $node->safe_psql($database, $option{beside_pgvector} ? <<"SQL" : 'CREATE EXTENSION tandem');
CREATE EXTENSION vector;
CREATE SCHEMA tandem;
CREATE EXTENSION tandem SCHEMA tandem;
CREATE EXTENSION tandem_pgvector;
ALTER DATABASE $database SET search_path = public, tandem;
SQL
  $node->safe_psql($database, vector_functions_sql());
  $node->safe_psql($database, graph_checker_sql());
}

sub vector_functions_sql {
  return <<'SQL';
CREATE FUNCTION test_vector(i bigint, dimensions int) RETURNS vector LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT array_agg(CASE WHEN j = 1 THEN (i % 1000003)::real
                        ELSE ((i * 7919 + j * j * 31 + i * j * 13) % 2003)::real / 4 END ORDER BY j)::vector
  FROM generate_series(1::bigint, dimensions) j $$;
CREATE FUNCTION spread_vector(i bigint, dimensions int) RETURNS vector LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT array_agg((hashint8extended(i, j) & 1048575)::real / 1048576 ORDER BY j)::vector
  FROM generate_series(1::bigint, dimensions) j $$;
SQL
}

sub vector_text {
  my ($i, $dimensions) = @_;
  my @element = ($i % 1000003, map { (($i * 7919 + $_ * $_ * 31 + $i * $_ * 13) % 2003) / 4 } 2 .. $dimensions);
  return '[' . join(',', @element) . ']';
}

# Skips the whole file unless the module was built with stop points.
sub need_stop_points {
  my ($node) = @_;
  # A setting of a reserved prefix that the module does not define is refused.
  my ($status) = $node->psql('postgres', "LOAD 'tandem'; SET tandem.stop_points = ''");
  return if $status == 0;
  $node->stop;
  plan skip_all => 'the module was built without TANDEM_STOP_POINTS';
}

# Skips the whole file where pgvector is not installed.
sub need_pgvector {
  chomp(my $folder = `pg_config --sharedir`);
  plan skip_all => 'extension vector (pgvector) is not installed' unless -e "$folder/extension/vector.control";
}

# Seeds the random numbers, from TANDEM_TEST_SEED if set; prints the seed, to repeat a failure with.
sub seed {
  my $seed = $ENV{TANDEM_TEST_SEED} // time() * 1000 % 1_000_000;
  srand($seed);
  diag("seed: TANDEM_TEST_SEED=$seed");
  return $seed;
}

# ---- Is the index right? ----

# One test: tandem_verify() with heap check finds nothing, and the index returns what a sequential scan does.
sub check_index {
  my ($node, $table, $index, $label, %option) = @_;
  local $Test::Builder::Level = $Test::Builder::Level + 1;
  my $problems = index_problems($node, $index, %option);
  $problems .= answer_differences($node, $table, %option);
  is($problems, '', $label);
  return $problems eq '';
}

# What tandem_verify() says, at most 20 lines of it.
sub index_problems {
  my ($node, $index, %option) = @_;
  my ($status, $out, $error) = $node->psql($option{database} // 'postgres',
    "SELECT format('verify: block %s: %s', block, problem) FROM tandem_verify('$index', true) LIMIT 20");
  return "tandem_verify failed: $error" if $status != 0;
  return $out eq '' ? '' : "$out\n";
}

# Compares the answers of an index scan with those of a sequential scan, in one snapshot: the same rows, each once,
# the same distances, in ascending order. Options: database, column, operator, queries => [vectors], limit, where, setting => SQL.
sub answer_differences {
  my ($node, $table, %option) = @_;
  my $database = $option{database} // 'postgres';
  my $column = $option{column} // 'embedding';
  my $operator = $option{operator} // '<->';
  my $queries = $option{queries};
  if (!$queries) {
    # A vector of the index's width that is in no row.
    my $dimensions = $option{dimensions} // $node->safe_psql($database,
      "SELECT atttypmod FROM pg_attribute WHERE attrelid = '$table'::regclass AND attname = '$column'");
    $queries = [ vector_text(77, $dimensions) ];
  }
  my $tail = $option{limit} ? "LIMIT $option{limit}" : '';
  my $where = $option{where} ? "WHERE $option{where}" : '';
  my $setting = $option{setting} ? "$option{setting};" : '';
  my $differences = '';
  for my $query (@$queries) {
    my $distance = "$column $operator '$query'";
    my $ordered = "SELECT id, $distance FROM $table $where ORDER BY $distance $tail";
    my ($status, $out, $error) = $node->psql($database, <<"SQL");
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off; SET LOCAL enable_bitmapscan = off; $setting
EXPLAIN (COSTS OFF) $ordered;
\\echo ==
$ordered;
\\echo ==
SET LOCAL enable_seqscan = on; SET LOCAL enable_sort = on; SET LOCAL enable_indexscan = off; SET LOCAL tandem.enable_custom_scan = off;
$ordered;
COMMIT;
SQL
    return "query failed: $error\n" if $status != 0;
    my ($plan, $by_index, $by_table) = split /^==\n?/m, $out, 3;
    return "no index scan: $plan\n" unless $plan =~ /Index Scan using|Tandem Scan/;
    $differences .= compare_answers([ split /\n/, $by_index ], [ split /\n/, $by_table ], $option{limit});
  }
  return $differences;
}

sub compare_answers {
  my ($by_index, $by_table, $limit) = @_;
  my ($last, %seen, %expected);
  my @wrong;
  for my $line (@$by_index) {
    my ($id, $distance) = split /\|/, $line;
    push @wrong, "row $id comes twice" if $seen{$id}++;
    if (defined $last && ($distance // '') ne '') {
      push @wrong, "row $id at $distance comes after $last" if $last eq '' || $distance < $last;
    }
    $last = $distance // '';
  }
  if ($limit) {
    # Rows at the distance of the last one may be others.
    my ($a, $b) = map { join ' ', map { (split /\|/, $_)[1] // '' } @$_ } $by_index, $by_table;
    push @wrong, "distances differ: index $a, table $b" if $a ne $b;
  } else {
    $expected{$_}++ for @$by_table;
    for (@$by_index) { push @wrong, "index only: $_" unless $expected{$_}-- > 0 }
    for (keys %expected) { push @wrong, "table only: $_" if $expected{$_} > 0 }
  }
  splice @wrong, 20 if @wrong > 20;
  return join '', map { "$_\n" } @wrong;
}

# ---- Graphs ----

# What is wrong with a table's answers through its index, or ''. In one statement each, so for an exact comparison while
# others write, the caller's transaction must be REPEATABLE READ.
#   The nearest k rows: in ascending order, none twice, as many as the table has, and of the exact answer's rows at least
#   `floor` of all. Rows of a foreign place show as distances out of order: the executor computes them from the heap.
#   All rows, by relaxed_order, for the first query: the same ones as in the table.
sub graph_checker_sql {
  return <<'SQL';
CREATE FUNCTION graph_problems(target regclass, queries vector[], k int, floor float8, drain boolean DEFAULT true,
  operator text DEFAULT '<->', OUT problems text) LANGUAGE plpgsql AS $$
DECLARE
  query vector;
  plan text;
  ordered text := format('SELECT id, ctid, embedding %s $1 AS d FROM %s ORDER BY embedding %s $1', operator, target, operator);
  by_index float8[];
  by_table float8[];
  twice int;
  difference text;
  found bigint := 0;
  wanted bigint := 0;
BEGIN
  problems := '';
  FOREACH query IN ARRAY queries LOOP
    PERFORM set_config('enable_seqscan', 'off', true), set_config('enable_sort', 'off', true),
      set_config('enable_indexscan', 'on', true), set_config('tandem.iterative_scan', 'strict_order', true);
    EXECUTE 'EXPLAIN (FORMAT JSON) ' || replace(ordered, '$1', quote_literal(query) || '::vector') || ' LIMIT ' || k INTO plan;
    IF plan !~ '"(Index Scan|Tandem Scan)"' THEN problems := problems || 'no index scan: ' || plan; END IF;
    -- Not count(DISTINCT ctid) beside array_agg(): from 16 on the server would sort the rows for it.
    EXECUTE format('SELECT array_agg(d), (SELECT count(*) - count(DISTINCT c) FROM unnest(array_agg(ctid)) AS c) FROM (%s LIMIT %s) s', ordered, k)
      INTO by_index, twice USING query;
    IF drain THEN
      -- Both halves read one snapshot, being one statement; the second one cannot use the index.
      PERFORM set_config('tandem.iterative_scan', 'relaxed_order', true);
      EXECUTE format('WITH i AS MATERIALIZED (%s), t AS MATERIALIZED (SELECT id, ctid, embedding %s $1 AS d FROM %s)
        SELECT string_agg(line, E''\n'') FROM (
          (SELECT format(''index only: %%s %%s %%s'', id, ctid, d) AS line FROM (TABLE i EXCEPT ALL TABLE t) a LIMIT 10)
          UNION ALL
          (SELECT format(''table only: %%s %%s %%s'', id, ctid, d) FROM (TABLE t EXCEPT ALL TABLE i) b LIMIT 10)) l',
        ordered, operator, target) INTO difference USING query;
      IF difference IS NOT NULL THEN problems := problems || difference || E'\n'; END IF;
      PERFORM set_config('tandem.iterative_scan', 'strict_order', true);
      drain := false;    -- once is enough: comparing all rows takes longer than all else
    END IF;
    PERFORM set_config('enable_seqscan', 'on', true), set_config('enable_sort', 'on', true),
      set_config('enable_indexscan', 'off', true);
    EXECUTE format('SELECT array_agg(d) FROM (%s LIMIT %s) s', ordered, k) INTO by_table USING query;
    IF twice > 0 THEN problems := problems || format(E'%s rows come twice\n', twice); END IF;
    IF cardinality(by_index) IS DISTINCT FROM cardinality(by_table) THEN
      problems := problems || format(E'%s rows of %s\n', cardinality(by_index), cardinality(by_table));
    END IF;
    IF by_index <> ARRAY(SELECT d FROM unnest(by_index) d ORDER BY d) THEN
      problems := problems || format(E'out of order: %s\n', by_index);
    END IF;
    found := found + (SELECT count(*) FROM unnest(by_index) d WHERE d <= by_table[cardinality(by_table)] OR d IS NULL);
    wanted := wanted + coalesce(cardinality(by_table), 0);
    PERFORM set_config('enable_indexscan', 'on', true);
  END LOOP;
  IF found < floor * wanted THEN problems := problems || format(E'%s of %s nearest rows\n', found, wanted); END IF;
END $$;
SQL
}

# Options: database, dimensions, numbers => [of spread_vector()], k, floor, drain, operator.
sub graph_problems {
  my ($node, $table, %option) = @_;
  my $database = $option{database} // 'postgres';
  my $dimensions = $option{dimensions} // $node->safe_psql($database,
    "SELECT atttypmod FROM pg_attribute WHERE attrelid = '$table'::regclass AND attname = 'embedding'");
  my $queries = join ',', map { "spread_vector($_, $dimensions)" } @{ $option{numbers} // [ map { 1e6 + 37 * $_ } 1 .. 5 ] };
  my ($k, $floor, $operator) = ($option{k} // 10, $option{floor} // 0.9, $option{operator} // '<->');
  my $drain = $option{drain} // 1 ? 'true' : 'false';
  my ($status, $out, $error) = $node->psql($database,
    "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;\n"
      . "SELECT graph_problems('$table', ARRAY[$queries], $k, $floor, $drain, '$operator'); COMMIT");
  return "query failed: $error\n" if $status != 0;
  return $out eq '' ? '' : "$out\n";
}

# One test: tandem_verify() with heap check finds nothing, and the answers are those of the table.
sub check_graph {
  my ($node, $table, $index, $label, %option) = @_;
  local $Test::Builder::Level = $Test::Builder::Level + 1;
  my $problems = index_problems($node, $index, %option) . graph_problems($node, $table, %option);
  is($problems, '', $label);
  return $problems eq '';
}

# Ids of the index's segments, in the order of their rows.
sub segments_of {
  my ($node, $index, $database) = @_;
  return $node->safe_psql($database // 'postgres',
    "SELECT string_agg(segment_id::text, ' ' ORDER BY first_row) FROM tandem_segments('$index')");
}

# Row ids below this are in segments.
sub sealed_rows {
  my ($node, $index, $database) = @_;
  return $node->safe_psql($database // 'postgres', "SELECT coalesce(max(end_row), 0) FROM tandem_segments('$index')");
}

# Waits until the rows there are now are in segments, whoever folds them.
sub await_folded {
  my ($node, $index, $database) = @_;
  $node->safe_psql($database // 'postgres',
    "CALL tandem_wait('$index', '$PostgreSQL::Test::Utils::timeout_default s')");
}

# Waits until nobody builds and the segments have not changed for a second: merges are done as well. A worker that is there
# has something to do, or will leave soon; one that stays is given ten seconds.
sub await_rest {
  my ($node, $index, $database) = @_;
  $database //= 'postgres';
  await_folded($node, $index, $database);
  my ($last, $since) = ('', time);
  await_condition("$index at rest", sub {
    my ($workers, $now) = split /\|/, $node->safe_psql($database, "SELECT (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'tandem worker' AND datname = current_database()),
      coalesce(string_agg(segment_id::text, ' ' ORDER BY first_row), '') || ';' || (SELECT count(*) FROM tandem_build_progress WHERE indexrelid = '$index'::regclass AND pid <> 0) FROM tandem_segments('$index')"), 2;
    ($last, $since) = ($now, time) if $now ne $last || $now =~ /;[^0]/;
    return time - $since > ($workers ? 10 : 1);
  });
}

# Waits until no snapshot is older than what is committed by now, be it one that a worker takes for a moment: then VACUUM removes what has died.
sub await_horizon {
  my ($node) = @_;
  my $xid = $node->safe_psql('postgres', 'SELECT pg_current_xact_id()');
  $node->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_xmin::text::bigint < $xid AND pid <> pg_backend_pid()")
    or die 'an old snapshot stays';
}

# ---- Configuration and workers ----

# Appends lines to the configuration and reloads it; the last line of a setting counts.
sub set_configuration {
  my ($node, @lines) = @_;
  $node->append_conf('postgresql.conf', join '', map { "$_\n" } @lines);
  $node->reload if $node->{_pid};
}

# Arms stop points for all processes of the server, workers included; without names, disarms all.
sub arm_server {
  my ($node, @points) = @_;
  set_configuration($node, "tandem.stop_points = '" . join(',', 'always-graph=on', 'no-hurry=on', @points) . "'");
}

# The process that folds indexes of the database, or ''.
sub worker_pid {
  my ($node, $database) = @_;
  $database //= 'postgres';
  return $node->safe_psql('postgres',
    "SELECT pid FROM pg_stat_activity WHERE backend_type LIKE 'tandem%' AND datname = '$database' LIMIT 1");
}

sub await_worker {
  my ($node, $database) = @_;
  my $pid = '';
  await_condition('a worker', sub { $pid = worker_pid($node, $database) });
  return $pid;
}

# ---- Stop points ----

# The statement that arms stop points for a session, e.g. arm_sql('append-before-head=wait').
sub arm_sql { return "SET tandem.stop_points = '" . join(',', 'no-hurry=on', @_) . "';\n" }

sub stop_point_file {
  my ($node, $file) = @_;
  return $node->data_dir . "/tandem_stop_points/$file";
}

# Waits until a session has reached the stop point.
sub await_stop_point {
  my ($node, $name) = @_;
  my $file = stop_point_file($node, "$name.reached");
  await_condition("stop point $name", sub { -e $file });
}

sub release_stop_point {
  my ($node, $name) = @_;
  mkdir $node->data_dir . '/tandem_stop_points';
  append_to_file(stop_point_file($node, "$name.go"), '');
}

sub clear_stop_points {
  my ($node) = @_;
  unlink glob($node->data_dir . '/tandem_stop_points/*');
}

# Polls until the code returns something true; dies after the usual time limit.
sub await_condition {
  my ($what, $condition) = @_;
  my $end = time + $PostgreSQL::Test::Utils::timeout_default;
  until ($condition->()) {
    die "waited too long for: $what" if time > $end;
    sleep 0.02;
  }
}

# Polls until a file that is written again and again has been: with what happened before the call. Whoever writes it may have begun before that,
# so the second time counts.
sub await_written {
  my ($file) = @_;
  my $version = sub { join ' ', (Time::HiRes::stat($file))[1, 9] };
  for (1 .. 2) {
    my $before = $version->();
    await_condition("$file to be written", sub { $version->() ne $before });
  }
}

# Waits until a session with this application name waits for the event, e.g. 'BufferContent'.
sub await_wait_event {
  my ($node, $application, $event) = @_;
  $node->poll_query_until('postgres',
    "SELECT count(*) > 0 FROM pg_stat_activity WHERE application_name = '$application' AND wait_event = '$event'")
    or die "session $application never waited for $event";
}

# ---- Sessions ----

# A psql that takes SQL while others run. Its name is the application name.
sub start_session {
  my ($node, $name, %option) = @_;
  my $session = $node->background_psql($option{database} // 'postgres', on_error_stop => 0);
  $session->query_safe("SET application_name = '$name'");
  return $session;
}

# Sends statements without waiting for them to end.
sub send_sql {
  my ($session, $sql) = @_;
  $session->query_until(qr/sent\n/, "\\echo sent\n$sql\n");
}

# Waits for everything sent, ends the session, returns what it wrote to its standard error.
sub end_session {
  my ($session) = @_;
  eval { $session->quit };
  my $error = $session->{stderr};
  return $error;
}

# compare(n), for pgbench: an error if function(table, n), made by the test, finds differences in the tables "exact" or "graphs".
sub make_comparison {
  my ($node, $function) = @_;
  $node->safe_psql('postgres', <<"SQL");
CREATE FUNCTION compare(n int) RETURNS void LANGUAGE plpgsql AS \$\$
DECLARE
  problems text := $function((ARRAY['exact', 'graphs'])[1 + n % 2], n / 2);
BEGIN
  IF problems <> '' THEN RAISE EXCEPTION 'filter and table differ: %', left(problems, 1500); END IF;
END \$\$;
SQL
}

# One test for each of the two: function(table, 0 to last), and tandem_verify().
sub check_filters {
  my ($node, $function, $last, $label) = @_;
  for my $table (qw(exact graphs)) {
    my $problems = $node->safe_psql('postgres', "SELECT string_agg($function('$table', n), '') FROM generate_series(0, $last) AS n");
    is(index_problems($node, "${table}_index") . $problems, '', "$table, $label");
  }
}

# Starts psql over a script; output goes to FILE.out and FILE.err. It ends at the first error.
sub start_script {
  my ($node, $file, @variables) = @_;
  return IPC::Run::start(
    [ $node->installed_command('psql'), '-XqAt', '-v', 'ON_ERROR_STOP=1', '-v', 'VERBOSITY=verbose',
      (map { ('-v', $_) } @variables), '-d', $node->connstr('postgres'), '-f', $file ],
    '<', \undef, '>', "$file.out", '2>', "$file.err");
}

# Starts pgbench over scripts, each of which has a random :n from 0 to 9,900; ends by itself. script => {name => SQL},
# weight => {name => share}; clients, seconds, folder (for the scripts), options => [arguments of pgbench].
sub start_pgbench {
  my ($node, %run) = @_;
  my @command = ($node->installed_command('pgbench'), '-n', '-c', $run{clients}, '-j', 1, '-T', $run{seconds},
    '--random-seed=' . int(rand 1_000_000), @{ $run{options} // [] });
  for my $name (sort keys %{ $run{script} }) {
    my $file = "$run{folder}/$name.sql";
    append_to_file($file, "\\set n random(0, 9900)\n$run{script}{$name}") unless -e $file;
    push @command, '-f', "$file\@$run{weight}{$name}";
  }
  my ($out, $error) = ('', '');
  my $running = IPC::Run::start([ @command, $node->connstr('postgres') ], '<', \undef, '>', \$out, '2>', \$error,
    IPC::Run::timeout($run{seconds} + 2 * $PostgreSQL::Test::Utils::timeout_default));
  return [ $running, \$out, \$error ];
}

# Waits for it; three tests: no session had an error, all came to their end, there were transactions. Returns how many.
sub finish_pgbench {
  my ($started, $label) = @_;
  my ($running, $out, $error) = @$started;
  my $ok = $running->finish;
  $$error =~ s{^pgbench: setting random seed.*\n}{}mg;
  is($$error, '', "no session had an error: $label");
  ok($ok, "all sessions came to their end: $label");
  my ($transactions) = $$out =~ /transactions actually processed: (\d+)/;
  cmp_ok($transactions // 0, '>', 0, "there were transactions: $label");
  note(($transactions // 0) . " transactions: $label");
  return $transactions // 0;
}

# SQLSTATE of what psql wrote with VERBOSITY verbose or sqlstate.
sub sqlstate_of {
  my ($error) = @_;
  return $error =~ /(?:ERROR|FATAL|PANIC):  ([0-9A-Z]{5})\b/ ? $1 : "none in: $error";
}

# ---- Ways to die ----

sub children_of {
  my ($parent) = @_;
  my @children;
  for my $stat (glob '/proc/[0-9]*/stat') {
    open my $in, '<', $stat or next;
    my $line = <$in> // '';
    push @children, $1 if $line =~ /^(\d+) \(.*\) \S (\d+) / && $2 == $parent;
  }
  return @children;
}

# Kills one backend with SIGKILL: the postmaster then restarts everything. Returns when the server answers again.
sub crash_backend {
  my ($node, $pid) = @_;
  my $log_end = -s $node->logfile;
  if (!$pid) {
    my $pids = $node->safe_psql('postgres',
      "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()");
    my @pid = split /\n/, $pids;
    $pid = $pid[ rand @pid ] // return;
  }
  kill 'KILL', $pid or return;
  $node->wait_for_log(qr/database system is ready to accept connections/, $log_end);
}

# Kills the postmaster and all of its children with SIGKILL, as a power switch would, but for the kernel's cache.
sub kill_server {
  my ($node) = @_;
  my $postmaster = $node->{_pid};
  my @children = children_of($postmaster);
  $node->kill9;
  push @children, children_of($postmaster);
  kill 'KILL', @children;
  await_condition('the server to be gone', sub { !grep { kill 0, $_ } $postmaster, @children });
}

1;
