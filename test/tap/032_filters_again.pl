# Sets of filters that were hot are made again by the worker: after a restart, after a crash, and when filters gain memory. HAZARDS H34: it
# runs the support functions of native indexes as the table's owner, who can do nothing more than that; values that were asked for are in
# a file that nobody but the server reads. H26: it waits for no lock. What is made again is right: every type of key, and what became of the
# index meanwhile.
#
# Seen to fail with: nothing made again; the owner's role not taken; the restriction left out; the file written with the server's usual
# rights; no end to what one key may take; each new worker making them once more.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TandemTest;
use Test::More;

my $dimensions = 16;
my $rows = 12000;

# All terms, of which each has a key of its own.
my @conditions = (
  'number < 300', 'number BETWEEN 5 AND 160', "number = ANY ('{1,5,9}')", 'big = 12.5', "words = 'word 7'", "words LIKE 'word 1%'",
  "fixed = md5('8')::uuid", "moment < '2020-01-03 00:00+00'", "tags \@> '{tag 3}'", "document \@\@ 'lemon'", "mood = 'happy'", "place = 'p3'",
  'maybe IS NULL', 'maybe IS NOT NULL AND maybe < 40', 'hashed = 77', 'span && int4range(5, 9)', '(number % 7) = 3', 'short = 3::int2',
  'real > 0.99', "letter = 'c'", "cased = 'x1'");

# Files that a group may read: not this one.
my $node = make_node('again', preload => 1, init => [ extra => ['--allow-group-access'] ], conf => filters_asked_at_once() . <<'CONF');
tandem.persistence_interval = '1s'
max_prepared_transactions = 2
log_min_messages = debug1
CONF
my $file = $node->data_dir . '/pg_stat/tandem.filters';
need_stop_points($node);
# What a filter is worth is what making it took, and how long ago it was asked for.
arm_server($node, 'all-filters-hot=on');
make_table('t');
make_hot('t');
my $keys = keys_kept();
cmp_ok($keys, '>=', scalar @conditions, 'each condition has a key');
after_a_restart();
after_a_crash();
is_secret();
as_the_owner();
unbelievable();
ends_once();
not_of_another_file();
locked();
when_filters_gain();
$node->stop;
done_testing();

sub sql {
  my ($sql) = @_;
  return $node->safe_psql('postgres', $sql);
}

sub keys_kept {
  return sql('SELECT keys FROM tandem_filter_cache');
}

sub make_table {
  my ($table) = @_;
  sql(<<"SQL");
DO \$\$ BEGIN CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy'); EXCEPTION WHEN duplicate_object THEN NULL; END \$\$;
CREATE TABLE $table (id int, number int, big numeric, words text COLLATE "C", fixed uuid, moment timestamptz, tags text[],
  document tsvector, mood mood, place name, maybe int, hashed bigint, span int4range, short int2, real float8, letter "char", cased varchar(8),
  embedding vector($dimensions)) WITH (autovacuum_enabled = off);
INSERT INTO $table SELECT i, i % 4000, i % 100 + 0.5, 'word ' || i % 50, md5((i % 60)::text)::uuid, '2020-01-01 00:00+00'::timestamptz + i * interval '1 minute',
  ARRAY['tag ' || i % 9, 'tag ' || i % 31], to_tsvector('simple', CASE WHEN i % 20 = 0 THEN 'lemon tree' ELSE 'tree' END),
  (ARRAY['sad', 'ok', 'happy'])[1 + i % 3]::mood, 'p' || i % 40, CASE WHEN i % 30 > 0 THEN i % 500 END, i % 800, int4range(i % 1000, i % 1000 + 3),
  i % 90, (i % 1000) / 1000.0, chr(97 + i % 26)::"char", 'x' || i % 33, spread_vector(i, $dimensions)
  FROM generate_series(1, $rows) AS i;
CREATE INDEX ON $table (number);
CREATE INDEX ON $table ((number % 7));
CREATE INDEX ${table}_big ON $table (big);
CREATE INDEX ${table}_words ON $table (words);
CREATE INDEX ON $table (fixed);
CREATE INDEX ON $table (moment DESC);
CREATE INDEX ON $table USING gin (tags);
CREATE INDEX ON $table USING gin (document);
CREATE INDEX ON $table (mood);
CREATE INDEX ON $table (place);
CREATE INDEX ON $table (maybe NULLS FIRST);
CREATE INDEX ON $table USING hash (hashed);
CREATE INDEX ON $table USING gist (span);
CREATE INDEX ON $table (short);
CREATE INDEX ON $table (real);
CREATE INDEX ON $table (letter);
CREATE INDEX ON $table (cased);
CREATE INDEX ${table}_index ON $table USING tandem (embedding vector_l2_ops) WITH (strategy = hnsw_batch);
VACUUM ANALYZE $table;
SQL
  sql("CALL tandem_wait('${table}_index')");
}

sub query {
  my ($table, $condition, $number) = @_;
  return "SELECT id FROM $table WHERE $condition ORDER BY embedding <-> spread_vector($number, $dimensions) LIMIT 8";
}

sub make_hot {
  my ($table) = @_;
  sql(join '', map { my $condition = $_; map { query($table, $condition, $_) . ";\n" } 1 .. 100 } @conditions);
}

# What a condition is answered with, by a filter that is known, or not.
sub is_known {
  my ($table, $condition, $known, $label) = @_;
  my $plan = sql('EXPLAIN (ANALYZE, VERBOSE, COSTS OFF) ' . query($table, $condition, 7));
  my ($asked) = $plan =~ /Filter Cache Misses: (\d+)/;
  is(($asked // 'not told') eq '0' ? 1 : 0, $known, $label) or diag $plan;
  is(sql(query($table, $condition, 7)), sql('SET tandem.enable_custom_scan = off; SET enable_seqscan = on; SET enable_sort = on;' . query($table, $condition, 7)),
    '... and it answers rightly');
}

sub all_are_known {
  my ($label) = @_;
  await_condition('sets to be made', sub { keys_kept() >= $keys });
  is(sql('SELECT count(*) FROM tandem_search_counts()'), 0, "$label: nobody has searched");
  is_known('t', $_, 1, "$label: $_") for @conditions;
}

sub after_a_restart {
  $node->restart;
  all_are_known('after a restart');
}

sub after_a_crash {
  make_hot('t');
  await_written($file);
  $node->stop('immediate');
  $node->start;
  await_condition('sets to be made after a crash', sub { keys_kept() >= $keys });
  is_known('t', $_, 1, "after a crash: $_") for @conditions[0 .. 3];
}

sub is_secret {
  my $content = slurp_file($file);
  like($content, qr/word 7/, 'the file holds values');
  is((stat $file)[2] & 07777, 0600, 'which nobody else may read');
  is((stat $node->data_dir . '/global/pg_control')[2] & 07777, 0640, '... as others of this server\'s may');
  unlike(slurp_file($node->data_dir . '/pg_stat/tandem.heat'), qr/word 7/, 'nor are they anywhere else');
}

# An operator class is a superuser's, but the functions of this one do what they can.
sub as_the_owner {
  sql(<<"SQL");
CREATE ROLE alice;
CREATE FUNCTION spy_hash(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS \$\$
BEGIN
  RAISE LOG 'spy runs as %, path %', current_user, current_setting('search_path');
  IF \$1 = 46 AND current_user = 'alice' THEN RAISE EXCEPTION 'spy tells %', \$1; END IF;
  IF \$1 = 47 AND current_user = 'alice' THEN PERFORM pg_sleep(3600); END IF;
  PERFORM set_config('role', 'none', false);
  RAISE LOG 'spy is free';
  RETURN \$1;
EXCEPTION WHEN insufficient_privilege THEN
  RETURN \$1;
END \$\$;
CREATE OPERATOR === (LEFTARG = int, RIGHTARG = int, FUNCTION = int4eq, RESTRICT = eqsel);
CREATE OPERATOR CLASS spy_ops FOR TYPE int USING hash AS OPERATOR 1 ===, FUNCTION 1 spy_hash(int);
CREATE TABLE spied (id int, number int, embedding vector($dimensions)) WITH (autovacuum_enabled = off);
INSERT INTO spied SELECT i, i % 50, spread_vector(i, $dimensions) FROM generate_series(1, 3000) AS i;
CREATE INDEX ON spied USING hash (number spy_ops);
CREATE INDEX spied_index ON spied USING tandem (embedding vector_l2_ops) WITH (strategy = hnsw_batch);
VACUUM ANALYZE spied;
ALTER TABLE spied OWNER TO alice;
SQL
  sql("CALL tandem_wait('spied_index')");
  # What is not used for some writes of the file is forgotten.
  make_hot('t');
  sql(join '', map { my $number = $_; map { query('spied', "number === $number", $_) . ";\n" } 1 .. 100 } 5, 46, 47);
  my $log_end = -s $node->logfile;
  $node->restart;
  $node->wait_for_log(qr/spy runs as alice, path pg_catalog, pg_temp/, $log_end);
  await_condition('all other sets to be made', sub { keys_kept() == $keys + 1 });
  await_condition('all to be tried', sub { slurp_file($node->logfile, $log_end) =~ /a filter ahead: 57014/ });
  my $log = slurp_file($node->logfile, $log_end);
  my @others = grep { !/alice/ } $log =~ /spy runs as (.*)/g;
  is("@others", '', 'an index is asked as the owner of its table');
  unlike($log, qr/spy is free/, 'who cannot become anybody else');
  like($log, qr/could not make a set of a filter ahead: P0001/, 'an error is told');
  like($log, qr/could not make a set of a filter ahead: 57014/, 'who takes too long is not waited for');
  unlike($log, qr/spy tells/, '... without a value');
  is_known('spied', "number === $_", $_ == 5 ? 1 : 0, "number === $_") for 5, 46, 47;
  sql('DROP TABLE spied');
}

sub unbelievable {
  make_hot('t');
  for my $kind ('a flipped bit', 'a short one', 'anything') {
    $node->stop;
    my $content = slurp_file($file);
    my %damaged = ('a flipped bit' => substr($content, 0, -3) . chr(ord(substr $content, -3, 1) ^ 4) . substr($content, -2),
      'a short one' => substr($content, 0, -5), 'anything' => 'x' x 5000);
    open my $handle, '>:raw', $file or die "$file: $!";
    print $handle $damaged{$kind};
    close $handle;
    my $log_end = -s $node->logfile;
    $node->start;
    $node->wait_for_log(qr/ignoring file "pg_stat\/tandem.filters"/, $log_end);
    is_known('t', 'number < 300', 0, "$kind is not believed");
    make_hot('t');
  }
}

# If it ended the server it would at each start.
sub ends_once {
  make_hot('t');
  await_written($file);
  arm_server($node, 'all-filters-hot=on', 'worker-between-filters=crash');
  my $log_end = -s $node->logfile;
  $node->restart;
  $node->wait_for_log(qr/sets of filters are not made ahead this time/, $log_end);
  await_condition('the server to be there', sub { $node->psql('postgres', 'SELECT 1') == 0 });
  is_known('t', 'number < 300', 0, 'the server goes on without them');
  arm_server($node, 'all-filters-hot=on');
  make_hot('t');
  $node->restart;
  await_condition('sets to be made', sub { keys_kept() >= $keys });
  is_known('t', 'number < 300', 1, 'another time they are made');
}

# Indexes that were built anew, or have gone, since the file was written.
sub not_of_another_file {
  make_hot('t');
  await_written($file);
  set_configuration($node, 'tandem.persistence_interval = \'1d\'');
  sql('REINDEX INDEX t_words; DROP INDEX t_big');
  my $log_end = -s $node->logfile;
  $node->restart;
  # Three conditions are of those two; one is hot enough to come last, or not.
  await_condition('sets of other indexes to be made', sub { keys_kept() >= $keys - 3 });
  is_known('t', "words = 'word 7'", 0, 'an index that was built anew is asked anew');
  is_known('t', 'number < 300', 1, 'others are known');
  unlike(slurp_file($node->logfile, $log_end), qr/could not make sets/, 'without a word');
  sql('CREATE INDEX t_big ON t (big); VACUUM ANALYZE t');
  set_configuration($node, 'tandem.persistence_interval = 0');
  await_condition('the file to go', sub { !-e $file });
  pass('where nothing is to be written down, nothing is left');
  set_configuration($node, "tandem.persistence_interval = '1s'");
  await_condition('the file to be there', sub { -e $file });
}

# By a transaction that was prepared before the restart.
sub locked {
  make_table('u');
  make_hot($_) for qw(t u);
  await_written($file);
  sql("BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE; PREPARE TRANSACTION 'holder'");
  $node->restart;
  await_condition('sets of the other table to be made', sub { keys_kept() >= @conditions });
  is(sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"), 0, 'nobody waits for who has locked the table');
  is_known('u', 'number < 300', 1, 'the other table\'s sets are made');
  sql("COMMIT PREPARED 'holder'");
  is_known('t', 'number < 300', 0, 'those of the locked one are not');
  sql('DROP TABLE u');
}

# The file comes into its place when the server has started. Then conditions alone are asked, so that filters are to have more memory.
sub when_filters_gain {
  make_hot('t');
  await_written($file);
  set_configuration($node, 'tandem.persistence_interval = \'1d\'', "tandem.rebalance_interval = '1s'");
  $node->stop;
  rename $file, "$file.later" or die "$file: $!";
  $node->start;
  await_condition('searches to be seen', sub {
    sql(join '', map { "SELECT id FROM t ORDER BY embedding <-> spread_vector($_, $dimensions) LIMIT 8;\n" } 1 .. 600);
    return sql('SELECT pattern FROM tandem_coordination') eq 'vector_heavy';
  });
  is(keys_kept(), 0, 'nothing is kept');
  rename "$file.later", $file or die "$file: $!";
  await_condition('sets to be made', sub {
    sql("SELECT count(*) FROM t WHERE number = 5;\n" x 60);
    return keys_kept() >= $keys;
  });
  is_known('t', $_, 1, "filters gain memory: $_") for @conditions[0 .. 3];
  # Workers come and go.
  await_condition('the border to have gone all the way', sub {
    sql("SELECT count(*) FROM t WHERE number = 5;\n" x 60);
    return sql('SELECT round(graph_share::numeric, 3) FROM tandem_coordination') eq '0.200';
  });
  my $times = sub { scalar(() = slurp_file($node->logfile) =~ /tandem makes sets of filters again/g) };
  my $before = $times->();
  cmp_ok($before, '>', 0, 'it is told');
  my $worker = q{SELECT pid FROM pg_stat_activity WHERE application_name = 'tandem worker' AND datname = 'postgres'};
  my $old = sql("SELECT coalesce(max(pid), 0) FROM ($worker) w");
  sql("SELECT pg_terminate_backend(pid) FROM ($worker) w");
  sql("INSERT INTO t SELECT * FROM t LIMIT 1; CALL tandem_build('t_index')");
  await_condition('another worker', sub {
    sql('INSERT INTO t SELECT * FROM t LIMIT 1');
    return sql("SELECT count(*) FROM ($worker) w WHERE pid <> $old") > 0;
  });
  sql("CALL tandem_wait('t_index')");
  is($times->(), $before, 'another worker does not make them once more');
}
