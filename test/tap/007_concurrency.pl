# Everything at once: inserts, wide inserts, deletes, VACUUM, growth, searches, verification. Nobody waits for ever
# (HAZARDS H36: page locks have no deadlock detection), searches agree with the table in every snapshot, and at the end
# the index is right. 15 seconds; TANDEM_TEST_SOAK_SECONDS for longer.
#
# Seen to fail with: an extent handed out without looking whether another session had been quicker; row heads looked at
# by a scan that holds a vector page's lock (hangs); tandem_verify() judging TIDs by one look at each.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TandemTest;
use Test::More;
use Time::HiRes qw(time);

my $seconds = $ENV{TANDEM_TEST_SOAK_SECONDS} // 15;
my $dimensions = 96;
my $wide_dimensions = 9000;
my $folder = PostgreSQL::Test::Utils::tempdir();
# Longer than anything here takes on a slow machine, shorter than the time limit of the tests.
my $patience = $PostgreSQL::Test::Utils::timeout_default;    # seconds

seed();
my $node = make_node('soak', conf => "shared_buffers = 4MB\nmax_connections = 40\ndeadlock_timeout = 100ms\n");
$node->safe_psql('postgres', <<"SQL");
CREATE SEQUENCE ids;
CREATE TABLE t (id bigint DEFAULT nextval('ids'), embedding vector($dimensions));
CREATE INDEX t_index ON t USING tandem (embedding vector_l2_ops);
CREATE TABLE wide (id bigint DEFAULT nextval('ids'), embedding vector($wide_dimensions));
CREATE INDEX wide_index ON wide USING tandem (embedding vector_l2_ops);
-- Some vectors to insert again and again: making them would take longer than inserting them.
CREATE TABLE stock AS SELECT i, test_vector(i, $dimensions)::vector($dimensions) AS embedding FROM generate_series(0, 499) i;
CREATE TABLE wide_stock AS SELECT i, test_vector(i, $wide_dimensions)::vector($wide_dimensions) AS embedding FROM generate_series(0, 3) i;
-- The nearest rows by index and by table, in one snapshot. Raises an error if they differ.
CREATE FUNCTION compare(query vector) RETURNS void LANGUAGE plpgsql AS \$\$
DECLARE
  by_index float8[];
  by_table float8[];
  duplicates int;
BEGIN
  SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off; SET LOCAL enable_indexscan = on;
  EXECUTE 'SELECT array_agg(d), (SELECT count(*) - count(DISTINCT c) FROM unnest(array_agg(ctid)) AS c) FROM
    (SELECT ctid, embedding <-> \$1 AS d FROM t ORDER BY embedding <-> \$1 LIMIT 200) s' INTO by_index, duplicates USING query;
  SET LOCAL enable_seqscan = on; SET LOCAL enable_sort = on; SET LOCAL enable_indexscan = off;
  EXECUTE 'SELECT array_agg(d) FROM
    (SELECT embedding <-> \$1 AS d FROM t ORDER BY embedding <-> \$1 LIMIT 200) s' INTO by_table USING query;
  IF by_index IS DISTINCT FROM by_table OR duplicates <> 0 THEN
    RAISE EXCEPTION 'index and table differ: % and %, % duplicates', by_index, by_table, duplicates;
  END IF;
END \$\$;
CREATE FUNCTION verify() RETURNS void LANGUAGE plpgsql AS \$\$
DECLARE
  problems text;
BEGIN
  SELECT string_agg(format('block %s: %s', block, problem), '; ') INTO problems FROM tandem_verify('t_index', true);
  IF problems IS NOT NULL THEN RAISE EXCEPTION 'tandem_verify: %', left(problems, 500); END IF;
END \$\$;
SQL

my %script = (
  insert => 'INSERT INTO t (embedding) SELECT embedding FROM stock WHERE i = :n;',
  insert_many => 'INSERT INTO t (embedding) SELECT CASE WHEN i % 10 <> 0 THEN embedding END FROM stock WHERE i BETWEEN :n AND :n + 60;',
  insert_undone => "BEGIN;\nINSERT INTO t (embedding) SELECT embedding FROM stock WHERE i < 20;\nSAVEPOINT a;\n"
    . "INSERT INTO t (embedding) SELECT embedding FROM stock WHERE i < 5;\nROLLBACK TO a;\n"
    . "INSERT INTO t (embedding) SELECT embedding FROM stock WHERE i = :n;\nROLLBACK;",
  insert_wide => 'INSERT INTO wide (embedding) SELECT embedding FROM wide_stock WHERE i = :n % 4;',
  insert_both => "BEGIN;\nINSERT INTO wide (embedding) SELECT embedding FROM wide_stock WHERE i = :n % 4;\n"
    . "INSERT INTO t (embedding) SELECT embedding FROM stock WHERE i = :n;\nCOMMIT;",
  delete => 'DELETE FROM t WHERE ctid = ANY (SELECT ctid FROM t TABLESAMPLE system (5) LIMIT 40);',
  delete_wide => 'DELETE FROM wide WHERE ctid = ANY (SELECT ctid FROM wide TABLESAMPLE system (50) LIMIT 3);',
  search => 'SELECT FROM (SELECT FROM t ORDER BY embedding <-> (SELECT embedding FROM stock WHERE i = :n) LIMIT 10) s;',
  compare => "BEGIN ISOLATION LEVEL REPEATABLE READ;\nSELECT compare(embedding) FROM stock WHERE i = :n;\nCOMMIT;",
  vacuum => 'VACUUM (INDEX_CLEANUP ON, TRUNCATE OFF) t;',
  vacuum_wide => 'VACUUM (INDEX_CLEANUP ON, TRUNCATE OFF) wide;',
  verify => 'SELECT verify();',
  checkpoint => 'CHECKPOINT;',
);
my %weight = (insert => 20, insert_many => 5, insert_undone => 3, insert_wide => 3, insert_both => 2, delete => 8,
  delete_wide => 2, search => 10, compare => 6, vacuum => 2, vacuum_wide => 1, verify => 1, checkpoint => 1);

my @command = ($node->installed_command('pgbench'), '-n', '-c', 12, '-j', 2, '-T', $seconds,
  "--random-seed=" . int rand 1_000_000);
for my $name (sort keys %script) {
  append_to_file("$folder/$name.sql", "\\set n random(0, 499)\n$script{$name}\n");
  push @command, '-f', "$folder/$name.sql\@$weight{$name}";
}
# Two VACUUMs of one table wait for each other: neither takes long, as cutting off the table's empty end would.
local $ENV{PGOPTIONS} = "-c statement_timeout=${patience}s";
my ($out, $error) = ('', '');
my $started = time;
my $ok = IPC::Run::run([ @command, $node->connstr('postgres') ], '<', \undef, '>', \$out, '2>', \$error,
  IPC::Run::timeout($seconds + 2 * $patience));
delete $ENV{PGOPTIONS};
is($error =~ s{^pgbench: setting random seed.*\n}{}mr, '', 'no session had an error');
ok($ok, 'all sessions came to their end');
my ($transactions) = $out =~ /transactions actually processed: (\d+)/;
cmp_ok($transactions // 0, '>', 0, 'there were transactions');
note(sprintf '%d transactions in %.1f s', $transactions // 0, time - $started);
note($node->safe_psql('postgres', 'SELECT tablename, rows, null_rows, dead_rows, total_bytes FROM tandem_index_stats'));
check_index($node, 't', 't_index', 'the index is right at the end');
check_index($node, 'wide', 'wide_index', 'the wide index is right at the end');
$node->safe_psql('postgres', 'VACUUM t, wide');
check_index($node, 't', 't_index', 'and after a last VACUUM');
$node->stop('immediate');
$node->start;
check_index($node, 't', 't_index', 'and after a crash');
check_index($node, 'wide', 'wide_index', 'the wide index after a crash');
$node->stop;
done_testing();
