# Writers, searchers, VACUUM and workers at once: eight sessions insert, update, delete, roll back, and prepare
# transactions, four search and compare with the table in each snapshot, while rows are folded and segments merged. Then
# transactions that end in unusual ways, CREATE INDEX CONCURRENTLY beside an eager worker (H13), and partitions.
# 15 seconds; TANDEM_TEST_SOAK_SECONDS for longer. HAZARDS H1, H4, H13, H36.
#
# Seen to fail with: the builder lock shared by all (two builders take the same free pages).
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TandemTest;
use Test::More;
use Time::HiRes qw(sleep time);

my $seconds = $ENV{TANDEM_TEST_SOAK_SECONDS} // 15;
my $dimensions = 8;
my $folder = PostgreSQL::Test::Utils::tempdir();
my $patience = $PostgreSQL::Test::Utils::timeout_default;    # seconds

seed();
my $node = make_node('soak', preload => 1, conf => <<'CONF');
tandem.seal_rows = 1000
shared_buffers = 8MB
max_connections = 40
max_prepared_transactions = 20
deadlock_timeout = 100ms
CONF

soak();
unusual_ends();
concurrently();
partitions();
$node->stop;
done_testing();

sub soak {
  $node->safe_psql('postgres', <<"SQL");
CREATE SEQUENCE ids;
CREATE TABLE t (id bigint DEFAULT nextval('ids'), touched int DEFAULT 0, embedding vector($dimensions));
CREATE INDEX t_index ON t USING tandem (embedding vector_l2_ops) WITH (strategy = hnsw_batch, m = 8, ef_construction = 40);
CREATE INDEX t_id ON t (id);
CREATE INDEX t_touched ON t (touched);    -- no update is HOT
-- Vectors to insert: making them would take longer than inserting them.
CREATE TABLE stock AS SELECT i, spread_vector(i, $dimensions)::vector($dimensions) AS embedding FROM generate_series(0, 9999) i;
CREATE UNIQUE INDEX ON stock (i);
INSERT INTO t (embedding) SELECT embedding FROM stock WHERE i < 5000;
CREATE FUNCTION compare(n int) RETURNS void LANGUAGE plpgsql AS \$\$
DECLARE
  found text;
BEGIN
  found := graph_problems('t', ARRAY[spread_vector(1000000 + n, $dimensions)], 20, 0.7, n % 10 = 0);
  IF found <> '' THEN RAISE EXCEPTION 'index and table differ: %', left(found, 1000); END IF;
END \$\$;
CREATE FUNCTION verify() RETURNS void LANGUAGE plpgsql AS \$\$
DECLARE
  problems text;
BEGIN
  SELECT string_agg(format('block %s: %s', block, problem), '; ') INTO problems FROM tandem_verify('t_index', true);
  IF problems IS NOT NULL THEN RAISE EXCEPTION 'tandem_verify: %', left(problems, 500); END IF;
END \$\$;
SQL
  my $mine = 'id = (SELECT id FROM t WHERE id >= :n * (SELECT last_value FROM ids) / 10000 ORDER BY id LIMIT 1)';
  my %script = (
    insert => 'INSERT INTO t (embedding) SELECT embedding FROM stock WHERE i = :n;',
    insert_many => 'INSERT INTO t (embedding) SELECT CASE WHEN i % 50 <> 0 THEN embedding END FROM stock WHERE i BETWEEN :n AND :n + 80;',
    undone => "BEGIN;\nINSERT INTO t (embedding) SELECT embedding FROM stock WHERE i BETWEEN :n AND :n + 20;\nSAVEPOINT a;\n"
      . "INSERT INTO t (embedding) SELECT embedding FROM stock WHERE i = :n;\nROLLBACK TO a;\n"
      . "INSERT INTO t (embedding) SELECT embedding FROM stock WHERE i = :n;\nROLLBACK;",
    partly => "BEGIN;\nINSERT INTO t (embedding) SELECT embedding FROM stock WHERE i = :n;\nSAVEPOINT a;\n"
      . "INSERT INTO t (embedding) SELECT embedding FROM stock WHERE i = :n + 1;\nROLLBACK TO a;\nCOMMIT;",
    touch => "UPDATE t SET touched = touched + 1 WHERE $mine;",
    change => "UPDATE t SET embedding = (SELECT embedding FROM stock WHERE i = :n) WHERE $mine;",
    delete => 'DELETE FROM t WHERE ctid = ANY (SELECT ctid FROM t TABLESAMPLE system (4) LIMIT 30);',
    prepared => "BEGIN;\nINSERT INTO t (embedding) SELECT embedding FROM stock WHERE i = :n;\n"
      . "PREPARE TRANSACTION 'p:client_id';\nCOMMIT PREPARED 'p:client_id';",
    vacuum => 'VACUUM (INDEX_CLEANUP ON, TRUNCATE OFF) t;',
    build => "CALL tandem_build('t_index');",
    checkpoint => 'CHECKPOINT;',
  );
  my %weight = (insert => 20, insert_many => 6, undone => 3, partly => 3, touch => 6, change => 6, delete => 8,
    prepared => 3, vacuum => 1, build => 1, checkpoint => 1);
  my %search = (
    search => 'SELECT FROM (SELECT FROM t ORDER BY embedding <-> (SELECT embedding FROM stock WHERE i = :n) LIMIT 10) s;',
    compare => "BEGIN ISOLATION LEVEL REPEATABLE READ;\nSELECT compare(:n);\nCOMMIT;",
    verify => 'SELECT verify();',
  );
  my %search_weight = (search => 10, compare => 30, verify => 1);
  local $ENV{PGOPTIONS} = "-c statement_timeout=${patience}s";
  my $before = segments_of($node, 't_index');
  # Once more where the machine has had no time for a fold.
  for (1 .. 5) {
    my @running = (start_pgbench(8, \%script, \%weight), start_pgbench(4, \%search, \%search_weight));
    for (@running) {
      my ($run, $out, $error) = @$_;
      my $ok = $run->finish;
      $$error =~ s{^pgbench: setting random seed.*\n}{}mg;
      # An update that lost a race is no error of ours, nor is a row that another session deleted first.
      is($$error, '', 'no session had an error');
      ok($ok, 'all sessions came to their end');
      my ($transactions) = $$out =~ /transactions actually processed: (\d+)/;
      cmp_ok($transactions // 0, '>', 0, 'there were transactions');
      note(($transactions // 0) . ' transactions');
    }
    last if segments_of($node, 't_index') ne $before;
  }
  delete $ENV{PGOPTIONS};
  isnt(segments_of($node, 't_index'), $before, 'segments came and went meanwhile');
  check_graph($node, 't', 't_index', 'at once afterwards');
  await_rest($node, 't_index');
  check_graph($node, 't', 't_index', 'at rest');
  await_horizon($node);
  $node->safe_psql('postgres', 'VACUUM t');
  check_graph($node, 't', 't_index', 'after a last VACUUM');
  is($node->safe_psql('postgres', "SELECT count(*) FROM tandem_rows('t_index') WHERE NOT dead"),
    $node->safe_psql('postgres', 'SELECT count(*) FROM t'), 'as many live index rows as table rows');
  note($node->safe_psql('postgres', "SELECT string_agg(s::text, ' ') FROM tandem_segments('t_index') s"));
  $node->stop('immediate');
  $node->start;
  check_graph($node, 't', 't_index', 'after a crash');
}

sub start_pgbench {
  my ($clients, $script, $weight) = @_;
  my @command = ($node->installed_command('pgbench'), '-n', '-c', $clients, '-j', 2, '-T', $seconds,
    '--random-seed=' . int rand 1_000_000);
  for my $name (sort keys %$script) {
    append_to_file("$folder/$name.sql", "\\set n random(0, 9900)\n$script->{$name}\n") unless -e "$folder/$name.sql";
    push @command, '-f', "$folder/$name.sql\@$weight->{$name}";
  }
  my ($out, $error) = ('', '');
  my $run = IPC::Run::start([ @command, $node->connstr('postgres') ], '<', \undef, '>', \$out, '2>', \$error,
    IPC::Run::timeout($seconds + 2 * $patience));
  return [ $run, \$out, \$error ];
}

# Prepared transactions that outlive a fold and a crash; subtransactions undone after a fold has taken their rows.
sub unusual_ends {
  $node->safe_psql('postgres', <<"SQL");
CREATE TABLE u (id bigint, embedding vector($dimensions));
CREATE INDEX u_index ON u USING tandem (embedding vector_l2_ops) WITH (strategy = hnsw_batch, m = 8, ef_construction = 40);
INSERT INTO u SELECT i, spread_vector(i, $dimensions) FROM generate_series(1, 2500) i;
SQL
  my $insert = sub { "INSERT INTO u SELECT i, spread_vector(i, $dimensions) FROM generate_series($_[0], $_[1]) i;\n" };
  for my $name (qw(kept dropped)) {
    my $from = $name eq 'kept' ? 3001 : 4001;
    $node->safe_psql('postgres', "BEGIN;\n" . $insert->($from, $from + 499) . "PREPARE TRANSACTION '$name';");
  }
  my $session = start_session($node, 'open');
  $session->query_safe("BEGIN;\n" . $insert->(5001, 5100) . "SAVEPOINT a;\n" . $insert->(5101, 5300));
  $node->safe_psql('postgres', "CALL tandem_build('u_index')");
  is($node->safe_psql('postgres', "SELECT tail_rows FROM tandem_index_stats WHERE indexname = 'u_index'"), 0,
    'rows of unfinished transactions are folded, too');
  check_graph($node, 'u', 'u_index', 'and seen by nobody else');
  $session->query_safe("ROLLBACK TO a;\n" . $insert->(5301, 5310) . 'COMMIT;');
  $session->quit;
  check_graph($node, 'u', 'u_index', 'a savepoint undone after its rows were folded');
  $node->stop('immediate');
  $node->start;
  $node->safe_psql('postgres', "COMMIT PREPARED 'kept'; ");
  $node->safe_psql('postgres', "ROLLBACK PREPARED 'dropped'");
  is($node->safe_psql('postgres', 'SELECT count(*) FROM u'), 2500 + 500 + 110, 'rows after both');
  check_graph($node, 'u', 'u_index', 'prepared transactions that ended after a fold and a crash');
  $node->safe_psql('postgres', 'VACUUM u');
  await_rest($node, 'u_index');
  check_graph($node, 'u', 'u_index', 'after VACUUM');
}

# H13: pages of an index that is not ready yet are seen by everybody; no worker may touch them.
sub concurrently {
  set_configuration($node, "tandem.naptime = '10ms'");
  $node->safe_psql('postgres', <<"SQL");
CREATE TABLE c (id bigint, embedding vector($dimensions));
INSERT INTO c SELECT i, spread_vector(i, $dimensions) FROM generate_series(1, 6000) i;
SQL
  append_to_file("$folder/c_insert.sql", "\\set n random(7000, 1000000)\nINSERT INTO c SELECT i, spread_vector(i, $dimensions) FROM generate_series(:n, :n + 20) i;\n");
  append_to_file("$folder/c_delete.sql", "DELETE FROM c WHERE ctid = ANY (SELECT ctid FROM c TABLESAMPLE system (3) LIMIT 15);\n");
  my ($out, $error) = ('', '');
  my $changes = IPC::Run::start([ $node->installed_command('pgbench'), '-n', '-c', 3, '-T', 600, '-R', 200,
    '-f', "$folder/c_insert.sql", '-f', "$folder/c_delete.sql", $node->connstr('postgres') ],
    '<', \undef, '>', \$out, '2>', \$error);
  my $with = 'WITH (strategy = hnsw_batch, m = 8, ef_construction = 40)';
  $node->safe_psql('postgres', "CREATE INDEX CONCURRENTLY c_index ON c USING tandem (embedding vector_l2_ops) $with");
  check_graph($node, 'c', 'c_index', 'CREATE INDEX CONCURRENTLY beside an eager worker');
  $node->safe_psql('postgres', 'REINDEX INDEX CONCURRENTLY c_index');
  check_graph($node, 'c', 'c_index', 'REINDEX CONCURRENTLY beside an eager worker');
  await_folded($node, 'c_index');
  check_graph($node, 'c', 'c_index', 'folded');
  $changes->signal('INT');
  eval { $changes->finish };
  unlike($error, qr/ERROR/, 'no session had an error') or diag($error);
  set_configuration($node, "tandem.naptime = '100ms'");
  # One left invalid is not touched.
  my ($status) = $node->psql('postgres', "SET statement_timeout = '1ms'; CREATE INDEX CONCURRENTLY c_left ON c USING tandem (embedding vector_l2_ops) $with");
  if ($node->safe_psql('postgres', "SELECT count(*) FROM pg_class WHERE relname = 'c_left'")) {
    sleep 1;
    is($node->safe_psql('postgres', "SELECT pid FROM tandem_build_progress WHERE indexrelid = 'c_left'::regclass AND pid <> 0"), '',
      'nobody builds an index that was left invalid');
    $node->safe_psql('postgres', 'DROP INDEX c_left');
  }
}

sub partitions {
  $node->safe_psql('postgres', <<"SQL");
CREATE TABLE parted (id bigint, embedding vector($dimensions)) PARTITION BY RANGE (id);
CREATE TABLE part_1 PARTITION OF parted FOR VALUES FROM (0) TO (5000);
CREATE INDEX parted_index ON parted USING tandem (embedding vector_l2_ops) WITH (strategy = hnsw_batch, m = 8, ef_construction = 40);
INSERT INTO parted SELECT i, spread_vector(i, $dimensions) FROM generate_series(1, 4000) i;
CREATE TABLE part_2 (id bigint, embedding vector($dimensions));
INSERT INTO part_2 SELECT i, spread_vector(i, $dimensions) FROM generate_series(5000, 8000) i;
CREATE INDEX part_2_index ON part_2 USING tandem (embedding vector_l2_ops) WITH (strategy = hnsw_batch, m = 8, ef_construction = 40);
ALTER TABLE parted ATTACH PARTITION part_2 FOR VALUES FROM (5000) TO (10000);
CREATE TABLE part_3 (id bigint, embedding vector($dimensions));
INSERT INTO part_3 SELECT i, spread_vector(i, $dimensions) FROM generate_series(10000, 13000) i;
-- Attaching it makes its index.
ALTER TABLE parted ATTACH PARTITION part_3 FOR VALUES FROM (10000) TO (20000);
SQL
  my @indexes = split /\n/, $node->safe_psql('postgres', "SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = 'parted_index'::regclass ORDER BY 1");
  is(scalar @indexes, 3, 'an index for each partition');
  await_folded($node, $_) for @indexes;
  isnt(segments_of($node, $_), '', "$_ has segments") for @indexes;
  $node->safe_psql('postgres', 'INSERT INTO parted SELECT i, spread_vector(i + 50000, 8) FROM generate_series(4001, 15000, 3) i');
  for my $number (1 .. 3) {
    my $index = $node->safe_psql('postgres', "SELECT indexname FROM tandem_index_stats WHERE tablename = 'part_$number'");
    check_graph($node, "part_$number", $index, "partition $number");
  }
  my $nearest = "SELECT id, embedding <-> spread_vector(777777, $dimensions) FROM parted ORDER BY 2 LIMIT 10";
  my ($by_index, $by_table) = map { $node->safe_psql('postgres', "SET $_ = off; $nearest") } 'enable_seqscan', 'enable_indexscan';
  is($by_index, $by_table, 'the nearest of all partitions');
  $node->safe_psql('postgres', 'ALTER TABLE parted DETACH PARTITION part_1; DROP TABLE part_1; INSERT INTO part_2 SELECT i, spread_vector(i, 8) FROM generate_series(5000, 7000) i');
  await_folded($node, $indexes[1]);
  check_graph($node, 'part_2', $indexes[1], 'after another partition was dropped');
}
