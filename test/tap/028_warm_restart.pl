# What was hot before a restart is in memory first after it: a file that is written from time to time and at the end, whole or not at all, and
# that is not believed if it is damaged or another server's. HAZARDS H34: it holds no names and no values. And what is warmed for filters
# that are about to gain memory: pages of native indexes, without asking them anything. And for what was hot: its own pages, and its table's.
# Seen to fail with: no pages read after a start.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TandemTest;
use Test::More;
use Time::HiRes qw(sleep);

my $dimensions = 16;
my $rows = 8000;
my @tables = qw(a b c d);

# Room for two of the four graphs, or less.
my $node = make_node('warm', preload => 1, conf => <<'CONF');
tandem.memory_budget = '4MB'
tandem.persistence_interval = '1s'
CONF
my $file = $node->data_dir . '/pg_stat/tandem.heat';
make_tables();
for my $hot (qw(c b)) {
  make_hot($hot);
  $node->restart;
  is_loaded_first($hot, "$hot was searched most");
}
make_hot('b');
await_written($file);
$node->stop('immediate');
$node->start;
is_loaded_first('b', 'after a crash');
secrets();
unbelievable();
native_pages();
pages_of_hot_indexes();
$node->stop;
done_testing();

sub sql {
  my ($sql) = @_;
  return $node->safe_psql('postgres', $sql);
}

sub make_tables {
  for my $table (@tables) {
    sql("CREATE TABLE $table (id bigint, secret text, embedding vector($dimensions)) WITH (autovacuum_enabled = off);"
        . "INSERT INTO $table SELECT i, 'diagnosis ' || i, spread_vector(i, $dimensions) FROM generate_series(1, $rows) i;"
        . "CREATE INDEX ${table}_index ON $table USING tandem (embedding vector_l2_ops) WITH (strategy = hnsw_batch)");
  }
  sql("CALL tandem_wait('${_}_index')") for @tables;
}

sub is_complete {
  my ($table) = @_;
  return sql("SELECT cached_chunks = chunks FROM tandem_memory WHERE indexname = '${table}_index' AND kind = 'graph'") eq 't';
}

# The others have not been used for so long that they are worth little. Those that a worker has loaded since the start may have all the room,
# and give way when nobody has used them for ten seconds.
sub make_hot {
  my ($table) = @_;
  await_condition("room for $table", sub { sql("SELECT tandem_prewarm('${table}_index')"); return is_complete($table) });
  sql("SET enable_seqscan = off; SET enable_sort = off;\n"
      . join '', map { "SELECT id FROM $table ORDER BY embedding <-> spread_vector($_, $dimensions) LIMIT 10;\n" } 1 .. 400);
}

sub cached {
  my ($table) = @_;
  return sql("SELECT coalesce(sum(cached_chunks), 0) FROM tandem_memory WHERE indexname = '${table}_index' AND kind = 'graph'");
}

sub is_loaded_first {
  my ($table, $label) = @_;
  await_condition("$table in memory", sub { is_complete($table) });
  pass("$label: it is loaded, by nobody's search");
  my @less = grep { $_ ne $table && cached($_) < cached($table) } @tables;
  cmp_ok(scalar @less, '>=', 2, '... and others are not, for which there is no room');
}

# Searches first, then conditions alone, on a few pages of an index: all of them come into shared_buffers.
sub native_pages {
  sql("CREATE EXTENSION pg_buffercache; CREATE INDEX a_secret ON a (secret); CREATE INDEX a_unused ON a (id); VACUUM ANALYZE a;"
      . "ALTER SYSTEM SET tandem.rebalance_interval = '1s'");
  $node->restart;
  my $buffered = sub { sql("SELECT count(*) FROM pg_buffercache WHERE relfilenode = pg_relation_filenode('$_[0]') AND relforknumber = 0") };
  my $pages = sql("SELECT pg_relation_size('a_secret') / current_setting('block_size')::int");
  await_condition('searches to be seen', sub { make_hot('a'); return sql('SELECT pattern FROM tandem_coordination') eq 'vector_heavy' });
  cmp_ok($buffered->('a_secret'), '<', 5, 'nobody has read the index');
  await_condition('conditions to be seen', sub {
    sql('SET enable_seqscan = off;' . "SELECT count(*) FROM a WHERE secret = 'diagnosis 5';\n" x 60);
    return $buffered->('a_secret') == $pages;
  });
  cmp_ok($pages, '>', 20, 'all of its pages were read in, of which the conditions need a few');
  cmp_ok($buffered->('a_unused'), '<', 5, '... but not of an index that nobody scans');
}

# Not only graphs come back after a restart, but also what rows are re-ranked and fetched from.
sub pages_of_hot_indexes {
  make_hot('c');
  $node->restart;
  for my $relation (qw(c_index c)) {
    my $pages = sql("SELECT pg_relation_size('$relation') / current_setting('block_size')::int");
    cmp_ok($pages, '>', 30, "$relation has some pages");
    await_condition("$relation in buffers", sub {
      return sql("SELECT count(*) FROM pg_buffercache WHERE relfilenode = pg_relation_filenode('$relation') AND relforknumber = 0") == $pages;
    });
    pass("all of $relation is read, by nobody's search");
  }
}

sub secrets {
  my $content = slurp_file($file);
  unlike($content, qr/diagnosis|_index|secret/, 'no names, no values');
  is((stat $file)[2] & 07777, (stat $node->data_dir . '/global/pg_control')[2] & 07777, 'read by whom the server lets read its files');
}

sub unbelievable {
  $node->stop;
  my $content = slurp_file($file);
  my %files = (
    'a flipped bit' => substr($content, 0, -3) . chr(ord(substr $content, -3, 1) ^ 4) . substr($content, -2),
    'a short one' => substr($content, 0, -5),
    'another server\'s' => substr($content, 0, 8) . chr(ord(substr $content, 8, 1) ^ 1) . substr($content, 9),
    'an empty one' => '',
    'anything' => 'x' x 5000,
  );
  for my $kind (sort keys %files) {
    open my $handle, '>:raw', $file or die "$file: $!";
    print $handle $files{$kind};
    close $handle;
    my $log_end = -s $node->logfile;
    $node->start;
    $node->wait_for_log(qr/ignoring file "pg_stat\/tandem.heat"/, $log_end);
    pass("$kind is not believed");
    $node->stop('immediate');
  }
  unlink $file;
  my $log_end = -s $node->logfile;
  $node->start;
  await_condition('graphs to be loaded', sub { sql('SELECT count(*) FROM tandem_memory WHERE cached_chunks > 0') > 0 });
  unlike(slurp_file($node->logfile, $log_end), qr/tandem\.heat/, 'none is no news');
}
