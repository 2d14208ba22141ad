# Filter sets that are kept in shared memory: what one search found out serves others, of whatever session, and nothing that an answer
# depends on is left out of what it is kept by. HAZARDS H1, H10, H11, H16, H17, H35, H39, H44. Randomised: 024_filter_cache_attack.
#
# Seen to fail with: all rows taken for settled; keys without the value, or without the native index; keys compared by their hash;
# operators that are not IMMUTABLE kept; samples of gin_fuzzy_search_limit kept, at once and in mid-scan; rows that are not settled left
# out; pointers in keys; parts of operands that were not asked; rows of the graph in the rest; first batches of walks by turns passed over;
# the node behind a row's; lower bounds raised above what they are; sets kept where snapshots get too old.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TandemTest;
use Test::More;

my $nearest = "ORDER BY embedding <-> spread_vector(7, 4) LIMIT 20";

seed();
my $node = make_node('filters', preload => 1, init => [ allows_streaming => 1 ], conf => filters_asked_at_once() . <<'CONF');
tandem.naptime = '1h'
max_prepared_transactions = 5
jit = off
CONF
make_checker();

known_to_others();
combined();
environment();
scan_keys();
lives();
segments();
temporary();
by_reference();
later_limit();
nothing_of_an_and();
rest_of_an_or();
unsettled() if has_stop_points();
collisions() if has_stop_points();
one_old_transaction();
serializable();
pins();
walks_by_turns();
nodes_of_several_rows();
near_ties();
asked_later();
on_a_standby();
too_old();
$node->stop;
done_testing();

# Several segments that are all walked: what each finds first is among the answers.
sub walks_by_turns {
  $node->safe_psql('postgres', <<'SQL');
SET tandem.build_memory = '16MB';
CREATE TABLE walked (id int, tag int, v vector(4)) WITH (autovacuum_enabled = off);
INSERT INTO walked SELECT i, i % 100, ARRAY[hashint4(i) % 1000, hashint4(-i) % 1000, hashint4(i # 12345678) % 1000, hashint4(i + 7654321) % 1000]::vector
  FROM generate_series(1, 200000) AS i;
CREATE INDEX walked_v ON walked USING tandem (v vector_l2_ops) WITH (strategy = hnsw_inline, m = 4, ef_construction = 16, ef_search = 40);
CREATE INDEX ON walked (tag);
VACUUM ANALYZE walked;
SELECT tandem_prewarm('walked_v');
SQL
  my $query = "SELECT id FROM walked WHERE tag < 20 ORDER BY v <-> '[10,20,30,40]' LIMIT 20";
  my $plan = $node->safe_psql('postgres', "EXPLAIN (ANALYZE, VERBOSE) $query");
  like($plan, qr/Filtered Walks: [2-9]/, 'several segments are walked by a filter');
  my $found = $node->safe_psql('postgres', <<"SQL");
CREATE TEMP TABLE by_walks AS $query;
SET tandem.enable_custom_scan = off;
SET enable_seqscan = on;
SET enable_sort = on;
CREATE TEMP TABLE by_sort AS $query;
SELECT count(*) FROM by_walks JOIN by_sort USING (id);
SQL
  cmp_ok($found, '>=', 16, "of the nearest 20 they find $found");
}

# Vectors that many rows share are one node each, so a row's place in the graph does not tell its node. All codes of a filter are compared,
# of few rows and of many.
sub nodes_of_several_rows {
  $node->safe_psql('postgres', <<'SQL');
CREATE TABLE shared (id int, tag int, v vector(32)) WITH (autovacuum_enabled = off);
INSERT INTO shared SELECT i, hashint4(i) & 1023, spread_vector(CASE WHEN i % 4 = 0 THEN i % 60 WHEN i % 4 = 1 THEN i / 8 ELSE i END, 32)
  FROM generate_series(1, 30000) AS i;
CREATE INDEX shared_v ON shared USING tandem (v vector_l2_ops) WITH (strategy = hnsw_inline);
CREATE INDEX ON shared (tag);
VACUUM ANALYZE shared;
SELECT tandem_prewarm('shared_v');
SQL
  for my $tags (30, 90, 200) {
    my $query = "SELECT id, v <-> spread_vector(11, 32) AS d FROM shared WHERE tag < $tags ORDER BY v <-> spread_vector(11, 32) LIMIT 40";
    like($node->safe_psql('postgres', "EXPLAIN (ANALYZE, COSTS OFF) $query"), qr/Tactic: codes of the set/, "tag < $tags: codes are compared");
    # Of rows at the same distance as the last one any may be returned.
    is($node->safe_psql('postgres', "SELECT compare('SELECT row_number() OVER (ORDER BY d), d FROM ($query) AS n')"), '40 rows', "tag < $tags: the nearest");
  }
  nodes_without_rows() if has_stop_points();
}

# Sets of rows give way without those of their nodes: these serve rows that are made again, also when some have died since, and others
# have their TIDs.
sub nodes_without_rows {
  my $query = 'SELECT id, v <-> spread_vector(11, 32) AS d FROM shared WHERE tag < 90 ORDER BY v <-> spread_vector(11, 32) LIMIT 40';
  my $again = "SET tandem.stop_points = 'filter-rows-unknown=on';";
  my $hits = sub { $node->safe_psql('postgres', 'SELECT hits FROM tandem_filter_cache') };
  my $same = sub {
    my ($label) = @_;
    is($node->safe_psql('postgres', "$again SELECT compare('SELECT row_number() OVER (ORDER BY d), d FROM ($query) AS n')"), '40 rows', "$label: the nearest");
  };
  my $before = $hits->();
  is($node->safe_psql('postgres', "$again SELECT use('$query')"), 'hits: 0 misses: 1', 'rows are made again');
  cmp_ok($hits->(), '>', $before, 'their nodes are found');
  $same->('nodes of rows that are made again');
  $node->safe_psql('postgres', <<'SQL');
DELETE FROM shared WHERE id % 3 = 0;
VACUUM shared;
INSERT INTO shared SELECT i, hashint4(i) & 127, spread_vector(i % 70, 32) FROM generate_series(30001, 34000) AS i;
UPDATE shared SET tag = 1000 - tag WHERE id % 7 = 0 AND tag < 1000;
SQL
  $before = $hits->();
  $same->('with rows that have died, and TIDs used again');
  cmp_ok($hits->(), '>', $before, 'by the same nodes');
}

# Rows that four bits a dimension cannot tell apart: where all codes of a filter are compared, the answer is exact all the same. H17.
sub near_ties {
  $node->safe_psql('postgres', <<'SQL');
CREATE TABLE near (id int, tag int, v vector(64)) WITH (autovacuum_enabled = off);
INSERT INTO near SELECT i, hashint4(i) & 1023,
  CASE WHEN i % 2 = 0 THEN spread_vector(7, 64) + spread_vector(i, 64) * array_fill(0.001, ARRAY[64])::vector ELSE spread_vector(i, 64) END
  FROM generate_series(1, 20000) AS i;
CREATE INDEX near_v ON near USING tandem (v vector_l2_ops) WITH (strategy = hnsw_inline, codec = sq4);
CREATE INDEX ON near (tag);
VACUUM ANALYZE near;
SELECT tandem_prewarm('near_v');
SQL
  for my $k (1, 2, 10, 50, 200) {
    my $q = "spread_vector(7, 64) + spread_vector(-$k, 64) * array_fill(0.3, ARRAY[64])::vector";
    my $query = "SELECT id, v <-> ($q) AS d FROM near WHERE tag < 100 ORDER BY v <-> ($q) LIMIT $k";
    like($node->safe_psql('postgres', "EXPLAIN (ANALYZE, COSTS OFF) $query"), qr/Tactic: codes of the set/, "$k near ties: codes are compared");
    is($node->safe_psql('postgres', "SELECT compare('$query')"), "$k rows", "$k near ties: the nearest");
  }
}

# Where native indexes are dear to ask, rows are looked at in order of distance at first, and the index is asked once these cost too much, or
# once so few of them fulfil the conditions that those who do lie elsewhere. All rows come, none twice, in order. `far`: rank from the
# farthest on. Of the last two conditions the plan expects more rows than there are.
sub asked_later {
  my $q = 'spread_vector(7, 32)';
  $node->safe_psql('postgres', <<"SQL");
CREATE TABLE later (id int, tag int, far int, v vector(32)) WITH (autovacuum_enabled = off);
INSERT INTO later SELECT i, hashint4(i) & 1023, row_number() OVER (ORDER BY v <-> $q DESC, i), v
  FROM (SELECT i, spread_vector(i / 3, 32) AS v FROM generate_series(1, 20000) AS i) AS r;
CREATE INDEX later_v ON later USING tandem (v vector_l2_ops) WITH (strategy = hnsw_inline);
CREATE INDEX ON later (tag);
CREATE INDEX ON later (far);
VACUUM ANALYZE later;
SELECT tandem_prewarm('later_v');
SQL
  our $dear = "SET tandem.max_scan_tuples = 0; SET cpu_index_tuple_cost = 1;";
  for my $case (
    [ 'tag < 200', 20, 'plain walk' ],
    [ 'tag < 100', 20, 'plain walk' ],
    [ 'far <= 4000', 20, 'plain walk, .*' ],
    [ 'far <= 4000', 150, 'plain walk, .*' ],
    [ 'tag < 500', 20, 'plain walk', 'SET enable_indexscan = on;' ],
    [ 'far <= 10000', 20, 'plain walk.*', 'SET enable_indexscan = on;' ],
    [ 'tag < 300 AND hashint4(id) & 63 < 1', 20, 'plain walk, .*' ],
    [ 'tag < 300 AND hashint4(id) & 63 < 1', 60, 'plain walk, .*' ])
  {
    my ($condition, $wanted, $tactic, $settings) = @$case;
    local $dear = $dear . ($settings // '');
    my $query = "SELECT id, v <-> $q AS d FROM later WHERE $condition ORDER BY v <-> $q LIMIT $wanted";
    my $found = $node->safe_psql('postgres', <<"SQL");
$dear
CREATE TEMP TABLE ours AS SELECT row_number() OVER () AS n, * FROM ($query) AS r;
SET tandem.enable_custom_scan = off; SET enable_seqscan = on; SET enable_sort = on;
CREATE TEMP TABLE theirs AS $query;
SELECT (SELECT count(DISTINCT id) FROM ours), (SELECT count(*) FROM ours), (SELECT count(*) FROM theirs),
  (SELECT bool_and(d >= before) FROM (SELECT d, lag(d) OVER (ORDER BY n) AS before FROM ours) AS o),
  (SELECT count(*) FROM ours WHERE d <= (SELECT max(d) FROM theirs)) >= 0.9 * (SELECT count(*) FROM theirs);
SQL
    is($found, "$wanted|$wanted|$wanted|t|t", "$condition, $wanted rows: all, once, in order, the nearest");
    # What was asked is known by now: another set, of some rows more.
    my $more = $wanted / 5;
    $query =~ s/(<=? )(\d+)/$1 . ($2 + $more)/e;
    my $plan = $node->safe_psql('postgres', "$dear EXPLAIN (ANALYZE, COSTS OFF) $query");
    like($plan, qr/Tactic: $tactic\n/, "$condition, $wanted rows: $tactic");
    like($plan, qr/Misses: 1\n/, "$condition, $wanted rows: asks, since they lie elsewhere") if $condition =~ /^far/;
  }
  # What searches of a session have spent adds up.
  my $query = "SELECT id FROM later WHERE tag < 150 ORDER BY v <-> $q LIMIT 20";
  my $asked = "EXPLAIN (ANALYZE, COSTS OFF) $query";
  like($node->safe_psql('postgres', "$dear $asked"), qr/Filter Cache Hits: 0\n.*Misses: 0\n/, 'one search does not ask');
  like($node->safe_psql('postgres', "$dear DO \$\$ BEGIN FOR i IN 1 .. 2000 LOOP PERFORM 1 FROM ($query) AS s; END LOOP; END \$\$; $asked"),
    qr/Filter Cache Hits: 1\n.*Misses: 0\n/, 'one of many does, and others know what it was told');
  # Where a scan without the filter would do, it is taken along: others may have asked.
  my $on = 'SET tandem.max_scan_tuples = 0; SET enable_indexscan = on;';
  (my $half = $query) =~ s/tag < 150/tag < 520/;
  like($node->safe_psql('postgres', "$on EXPLAIN (ANALYZE, COSTS OFF) $half"), qr/Hits: 0\n.*Misses: 0\n.*Tactic: plain walk\n.*never executed/s,
    'one search by a condition of half of the rows does not ask');
  $node->safe_psql('postgres', "SET tandem.iterative_scan = relaxed_order; SET enable_indexscan = off; $half");
  like($node->safe_psql('postgres', "$on EXPLAIN (ANALYZE, COSTS OFF) $half"), qr/Hits: 1\n.*Misses: 0\n.*never executed/s, 'and goes by what others were told');
  like($node->safe_psql('postgres', "$on SET tandem.iterative_scan = off; EXPLAIN (ANALYZE, COSTS OFF) $half"), qr/^((?!Filter Cache).)*$/s, 'not where it may end early');
}

sub has_stop_points {
  my ($status) = $node->psql('postgres', "SET tandem.stop_points = 'always-graph=on'");
  return $status == 0;
}

# compare(query): the rows of a query for (id, distance) by a filtered scan, if they are those of a sort; use(query): hits and
# misses of its filter.
sub make_checker {
  $node->safe_psql('postgres', <<'SQL');
CREATE FUNCTION compare(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  collect text := 'SELECT array_agg(id || '':'' || d ORDER BY d, id) FROM (' || query || ') AS s(id, d)';
  by_filter text[];
  by_sort text[];
  line text;
  plan text := '';
BEGIN
  FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP plan := plan || line || E'\n'; END LOOP;
  IF plan !~ 'Tandem Scan.*Bitmap' THEN RETURN 'not by a filter: ' || plan; END IF;
  EXECUTE collect INTO by_filter;
  PERFORM set_config('tandem.enable_custom_scan', 'off', true), set_config('enable_sort', 'on', true), set_config('enable_seqscan', 'on', true);
  EXECUTE collect INTO by_sort;
  PERFORM set_config('tandem.enable_custom_scan', 'on', true), set_config('enable_sort', 'off', true), set_config('enable_seqscan', 'off', true);
  IF by_filter IS DISTINCT FROM by_sort THEN RETURN format('%s, not %s', by_filter, by_sort); END IF;
  RETURN coalesce(cardinality(by_filter), 0) || ' rows';
END $$;
CREATE FUNCTION use(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  line text;
  use text := '';
BEGIN
  FOR line IN EXECUTE 'EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) ' || query LOOP
    IF line ~ 'Filter Cache' THEN use := use || ' ' || lower(regexp_replace(line, '^ *Filter Cache ', '')); END IF;
  END LOOP;
  RETURN btrim(use);
END $$;
SQL
}

sub query { return "SELECT id, embedding <-> spread_vector(7, 4) AS d FROM $_[0] WHERE $_[1] $nearest" }

# Checks the answer, and how the filter's terms were known. The answer is looked at last: it would make them known.
sub check {
  my ($label, $table, $condition, $use, %option) = @_;
  my $text = query($table, $condition);
  my $settings = $option{settings} // '';
  is($node->safe_psql('postgres', "$settings SELECT use(\$q\$$text\$q\$)"), $use, "$label: $use");
  my $answer = $node->safe_psql('postgres', "$settings SELECT compare(\$q\$$text\$q\$)");
  like($answer, qr/^\d+ rows$/, "$label: the right rows");
  isnt($answer, '0 rows', "$label: some") unless $option{empty};
}

sub make_table {
  my ($name, %option) = @_;
  my $rows = $option{rows} // 3000;
  my $strategy = $option{strategy} // 'hnsw_batch';
  $node->safe_psql('postgres', <<"SQL");
CREATE TABLE $name (id int, a int, b int, c int8, at timestamptz, t text, tags int[], touched int DEFAULT 0, embedding vector(4)) WITH (fillfactor = 70);
CREATE INDEX ${name}_index ON $name USING tandem (embedding vector_l2_ops) WITH (strategy = $strategy);
CREATE INDEX ${name}_a ON $name (a);
CREATE INDEX ${name}_b ON $name (b);
CREATE INDEX ${name}_c ON $name USING hash (c);
CREATE INDEX ${name}_at ON $name (at);
CREATE INDEX ${name}_t ON $name (t);
CREATE INDEX ${name}_tags ON $name USING gin (tags);
CREATE INDEX ${name}_id ON $name USING brin (id);
INSERT INTO $name SELECT i, i % 10, i % 7, i % 13, '2020-01-01 00:00+00'::timestamptz + i * interval '1 hour', 'name ' || i % 9, ARRAY[i % 11, 20 + i % 5], 0,
  CASE WHEN i % 90 <> 0 THEN spread_vector(i, 4) END FROM generate_series(1, $rows) AS i;
CALL tandem_build('${name}_index');
ANALYZE $name;
SQL
}

sub drop_table { $node->safe_psql('postgres', "DROP TABLE $_[0]") }

sub known_to_others {
  make_table('t');
  check('a filter that is new', 't', 'a = 3', 'hits: 0 misses: 1');
  check('the same in another session', 't', 'a = 3', 'hits: 1 misses: 0');
  check('another value', 't', 'a = 4', 'hits: 0 misses: 1');
  check('another column', 't', 'b = 3', 'hits: 0 misses: 1');
  $node->safe_psql('postgres', 'UPDATE t SET touched = 1 WHERE id % 3 = 0');    # partly HOT
  check('after HOT updates', 't', 'a = 3', 'hits: 1 misses: 0');
  $node->safe_psql('postgres', 'UPDATE t SET a = 3 WHERE id % 100 = 1; UPDATE t SET a = 8 WHERE id % 100 = 53');
  check('after updates of the column', 't', 'a = 3', 'hits: 1 misses: 0');
  $node->safe_psql('postgres', 'DELETE FROM t WHERE id % 100 = 23; VACUUM t; INSERT INTO t SELECT i, 3, 3, 3, now(), NULL, NULL, 0, spread_vector(i, 4) FROM generate_series(3001, 3100) AS i');
  check('after VACUUM, and with TIDs used again', 't', 'a = 3', 'hits: 1 misses: 0');
  check('nobody has the value', 't', 'a = 1000', 'hits: 0 misses: 1', empty => 1);
  check('nobody has it still', 't', 'a = 1000', 'hits: 1 misses: 0', empty => 1);
  is($node->safe_psql('postgres', q{SELECT keys > 0 AND sets > 0 AND pinned = 0 AND bytes_used > 0 AND bytes_used <= bytes_total AND hits > 0 AND misses > 0 FROM tandem_filter_cache}),
    't', 'tandem_filter_cache tells of them');
}

sub combined {
  check('And of one that is known and one that is not', 't', 'a = 3 AND c = 5', 'hits: 1 misses: 1');
  check('And of new ones', 't', 'a = 1 AND b = 2', 'hits: 0 misses: 2');
  check('each of them alone', 't', $_, 'hits: 1 misses: 0') for 'a = 1', 'b = 2';
  check('both again', 't', 'a = 1 AND b = 2', 'hits: 2 misses: 0');
  check('Or of a known one and a new one', 't', 'a IN (1, 2, 3) OR b = 2', 'hits: 1 misses: 1');
  check('Or of known ones', 't', 'a IN (1, 2, 3) OR b = 2', 'hits: 2 misses: 0');
  check('And and Or of known ones', 't', 'a IN (1, 2, 3) AND c = 5 OR a = 1 AND b = 2', 'hits: 3 misses: 0');
  check('GIN', 't', "tags \@> '{3, 22}'", 'hits: 0 misses: 1');
  check('GIN again', 't', "tags \@> '{3, 22}'", 'hits: 1 misses: 0');
}

# H10. Sets that depend on more than the key are not kept, nor used by who would get another answer.
sub environment {
  for my $zone ('UTC', 'Asia/Tokyo', 'UTC') {
    check("timestamptz and date in $zone", 't', "at BETWEEN date '2020-01-03' AND date '2020-01-09'", 'hits: 0 misses: 1', settings => "SET timezone = '$zone';");
  }
  check('timestamptz alone', 't', "at < '2020-01-09 00:00+00'", 'hits: 0 misses: 1');
  check('timestamptz alone, again', 't', "at < '2020-01-09 00:00+00'", 'hits: 1 misses: 0', settings => "SET timezone = 'Asia/Tokyo';");
  check('BRIN', 't', 'id BETWEEN 100 AND 900', 'hits: 0 misses: 1') for 1 .. 2;
  # A sample would be nobody's answer.
  $node->safe_psql('postgres', "SET gin_fuzzy_search_limit = 20; " . query('t', "tags \@> '{4}'"));
  check('GIN after a limit', 't', "tags \@> '{4}'", 'hits: 1 misses: 0');
  is($node->safe_psql('postgres', "SET gin_fuzzy_search_limit = 20; SET tandem.iterative_scan = 'relaxed_order'; SELECT count(*) FROM (" . query('t', "tags \@> '{4}'") =~ s/LIMIT 20/OFFSET 0/r . ') AS s'),
    $node->safe_psql('postgres', "SELECT count(*) FROM t WHERE tags \@> '{4}' AND touched >= 0"), 'a limit for GIN does not hold for filters');
}

sub scan_keys {
  check('int4', 't', 'a = 5', 'hits: 0 misses: 1');
  check('int8', 't', 'a = 5::int8', 'hits: 0 misses: 1');
  check('int8 again', 't', 'a = 5::int8', 'hits: 1 misses: 0');
  check('hash', 't', 'c = 6', 'hits: 0 misses: 1');
  check('hash again', 't', 'c = 6', 'hits: 1 misses: 0');
  check('a list', 't', 'a IN (5, 6)', 'hits: 0 misses: 1');
  check('a longer one', 't', 'a IN (5, 6, 7)', 'hits: 0 misses: 1');
  check('the list again', 't', 'a = ANY (ARRAY[5, 6])', 'hits: 1 misses: 0');
  check('with NULL', 't', 'a = ANY (ARRAY[5, 6, NULL])', 'hits: 0 misses: 1');
  check('NULL', 't', 't IS NULL', 'hits: 0 misses: 1');
  check('not NULL', 't', 't IS NOT NULL', 'hits: 0 misses: 1');
  check('a text', 't', "t = 'name 1'", 'hits: 0 misses: 1');
  check('the text again', 't', "t = 'name ' || 1", 'hits: 1 misses: 0');
  check('a long list', 't', 'a = ANY (ARRAY(SELECT 2 + i / 1000 FROM generate_series(1, 3000) AS i))', 'hits: 0 misses: 1') for 1 .. 2;
  check('a condition of a join', 't', 'a = (SELECT max(i) FROM generate_series(1, 6) AS i)', 'hits: 0 misses: 1');
  check('a condition of a join, again', 't', 'a = (SELECT count(*) FROM generate_series(1, 6) AS i)::int', 'hits: 1 misses: 0');
  drop_table('t');
}

# H11. The same names, the same files, other contents.
sub lives {
  make_table('t');
  check('before', 't', 'a = 3', 'hits: 0 misses: 1');
  $node->safe_psql('postgres', 'REINDEX INDEX t_a');
  check('after REINDEX of the native index', 't', 'a = 3', 'hits: 0 misses: 1');
  $node->safe_psql('postgres', 'REINDEX INDEX t_index; ANALYZE t');
  check('after REINDEX of ours', 't', 'a = 3', 'hits: 0 misses: 1');
  $node->safe_psql('postgres', 'REINDEX INDEX CONCURRENTLY t_a; REINDEX INDEX CONCURRENTLY t_index; ANALYZE t');
  check('after both, CONCURRENTLY', 't', 'a = 3', 'hits: 0 misses: 1');
  $node->safe_psql('postgres', 'DROP INDEX t_a; UPDATE t SET a = (a + 1) % 10; CREATE INDEX t_a ON t (a); ANALYZE t');
  check('dropped, values changed by HOT updates, and made again', 't', 'a = 3', 'hits: 0 misses: 1');
  $node->safe_psql('postgres', 'TRUNCATE t; INSERT INTO t SELECT i, i % 3, 0, 0, now(), NULL, NULL, 0, spread_vector(i, 4) FROM generate_series(1, 1000) AS i; ANALYZE t');
  check('after TRUNCATE', 't', 'a = 1', 'hits: 0 misses: 1');
  $node->safe_psql('postgres', 'VACUUM FULL t; ANALYZE t');
  check('after VACUUM FULL', 't', 'a = 1', 'hits: 0 misses: 1');
  drop_table('t');
  # TRUNCATE in the transaction that made the table keeps the files.
  my $session = start_session($node, 'truncating');
  $session->query_safe(<<'SQL');
BEGIN;
CREATE TABLE t (id int, a int, embedding vector(4));
CREATE INDEX t_index ON t USING tandem (embedding vector_l2_ops);
CREATE INDEX t_a ON t (a);
INSERT INTO t SELECT i, i % 5, spread_vector(i, 4) FROM generate_series(1, 500) AS i;
SQL
  like($session->query_safe("SELECT compare(\$q\$" . query('t', 'a = 1') . "\$q\$)"), qr/20 rows/, 'in the transaction that made the table');
  $session->query_safe('TRUNCATE t; INSERT INTO t SELECT i, i % 7, spread_vector(i, 4) FROM generate_series(1, 500) AS i');
  like($session->query_safe("SELECT compare(\$q\$" . query('t', 'a = 1') . "\$q\$)"), qr/20 rows/, 'and after TRUNCATE in it');
  $session->query_safe('COMMIT');
  end_session($session);
  check('and when it has ended', 't', 'a = 1', 'hits: 0 misses: 1');
  # Rows that are frozen from the start, of a transaction that has not ended.
  my $rows = q{seq 1 500 | awk '{ printf "%d\t%d\t[%d,%d,1,2]\n", $1, $1 % 5, $1 % 17, $1 }'};
  my $copying = start_session($node, 'copying');
  $copying->query_safe("BEGIN; TRUNCATE t; COPY t FROM PROGRAM \$\$$rows\$\$ (FREEZE)");
  like($copying->query_safe("SELECT compare(\$q\$" . query('t', 'a = 1') . "\$q\$)"), qr/^20 rows/, 'in a transaction with COPY FREEZE');
  $copying->query_safe('INSERT INTO t VALUES (501, 1, spread_vector(7, 4)); COMMIT');
  end_session($copying);
  check('and when that has ended', 't', 'a = 1', 'hits: 0 misses: 1');
  like($node->safe_psql('postgres', query('t', 'a = 1')), qr/^501\|0$/m, 'with the row that came after it');
  drop_table('t');
}

# Segments come and go; row ids stay.
sub segments {
  make_table('t', rows => 2000);
  check('one segment', 't', 'a = 3', 'hits: 0 misses: 1');
  my $insert = sub { $node->safe_psql('postgres', "INSERT INTO t SELECT i, i % 10, 0, 0, now(), NULL, NULL, 0, spread_vector(i, 4) FROM generate_series($_[0], $_[0] + $_[1]) AS i") };
  $insert->(10_000, 100);
  check('and a short tail', 't', 'a = 3', 'hits: 1 misses: 0');
  $insert->(20_000, 1000);
  check('and a longer one', 't', 'a = 3', 'hits: 1 misses: 1');
  check('and it again', 't', 'a = 3', 'hits: 1 misses: 0');
  $node->safe_psql('postgres', "CALL tandem_build('t_index')");
  check('segments merged', 't', 'a = 3', 'hits: 0 misses: 1');
  check('again', 't', 'a = 3', 'hits: 1 misses: 0');
  $node->safe_psql('postgres', "DELETE FROM t WHERE id < 1500; VACUUM t; CALL tandem_build('t_index')");
  is($node->safe_psql('postgres', "SELECT compare(\$q\$" . query('t', 'a = 3') . "\$q\$)"), '20 rows', 'when most rows are gone');
  is(index_problems($node, 't_index'), '', 'the index is sound');
  drop_table('t');
}

sub temporary {
  my $session = start_session($node, 'temporary');
  $session->query_safe(<<'SQL');
CREATE TEMP TABLE t (id int, a int, embedding vector(4)) ON COMMIT PRESERVE ROWS;
CREATE INDEX t_index ON t USING tandem (embedding vector_l2_ops);
CREATE INDEX t_a ON t (a);
INSERT INTO t SELECT i, i % 5, spread_vector(i, 4) FROM generate_series(1, 500) AS i;
ANALYZE t;
SQL
  for (1 .. 2) {
    is($session->query_safe('SELECT use($q$' . query('t', 'a = 1') . '$q$)'), 'hits: 0 misses: 1', 'filters of temporary tables are not kept');
  }
  end_session($session);
}

# Values that an operator family knows as `anyelement` are pointers; those of fresh sessions are the same.
sub by_reference {
  $node->safe_psql('postgres', <<'SQL');
CREATE TABLE t (id int, r numrange, embedding vector(4));
CREATE INDEX t_index ON t USING tandem (embedding vector_l2_ops) WITH (strategy = hnsw_batch);
CREATE INDEX t_r ON t USING gist (r);
INSERT INTO t SELECT i, numrange(i % 10, i % 10 + 1), spread_vector(i, 4) FROM generate_series(1, 3000) AS i;
CALL tandem_build('t_index');
ANALYZE t;
SQL
  check("ranges with $_", 't', "r \@> $_", 'hits: 0 misses: 1') for 1.5, 2.5, 3.5;
  check('ranges beside a range', 't', "r && numrange(3.2, 3.5)", 'hits: 0 misses: 1');
  check('again', 't', "r && numrange(3.2, 3.5)", 'hits: 1 misses: 0');
  drop_table('t');
}

# A term may be asked long after its filter was made, with other settings.
sub later_limit {
  $node->safe_psql('postgres', <<'SQL');
CREATE TABLE t (id int, tags int[], embedding vector(4));
CREATE INDEX t_index ON t USING tandem (embedding vector_cosine_ops) WITH (strategy = hnsw_batch);
CREATE INDEX t_tags ON t USING gin (tags) WITH (fastupdate = off);
INSERT INTO t SELECT i, ARRAY[i % 11, 20 + i % 5], CASE WHEN i % 4 = 0 THEN '[0,0,0,0]'::vector ELSE spread_vector(i, 4) END FROM generate_series(1, 20000) AS i;
CALL tandem_build('t_index');
ANALYZE t;
SQL
  my $query = "SELECT id FROM t WHERE tags \@> '{4}' ORDER BY embedding <=> spread_vector(7, 4)";
  $node->safe_psql('postgres', "$query LIMIT 5");
  $node->safe_psql('postgres', "SET tandem.iterative_scan = 'relaxed_order'; BEGIN; DECLARE c CURSOR FOR $query; FETCH 1 FROM c; SET LOCAL gin_fuzzy_search_limit = 20; MOVE ALL FROM c; COMMIT");
  is($node->safe_psql('postgres', "SET tandem.iterative_scan = 'relaxed_order'; SELECT count(*) FROM ($query OFFSET 0) AS s"),
    $node->safe_psql('postgres', "SELECT count(*) FROM t WHERE tags \@> '{4}'"), 'a limit for GIN that came in mid-scan made no sample of what is kept');
  drop_table('t');
}

# An And of which nothing is left in a segment does not ask its other operands there; nodes of several rows are wanted all the same.
sub nothing_of_an_and {
  $node->safe_psql('postgres', <<'SQL');
CREATE TABLE t (id int, a int, b int, c int, pad text, embedding vector(4));
CREATE INDEX t_index ON t USING tandem (embedding vector_l2_ops) WITH (strategy = hnsw_batch);
CREATE INDEX t_a ON t (a);
CREATE INDEX t_b ON t (b);
CREATE INDEX t_c ON t (c);
INSERT INTO t SELECT i, i % 10, i % 9, i % 30, repeat('x', 300), spread_vector(i / 2, 4) FROM generate_series(1, 20000) AS i;
CALL tandem_build('t_index');
INSERT INTO t SELECT 100000 + i, 1000, i % 9, 77, repeat('x', 300), spread_vector(i, 4) FROM generate_series(1, 2000) AS i;
ANALYZE t;
SQL
  check('Or of an And of nothing', 't', '(a = 1000 AND b = 3) OR c = 1', 'hits: 0 misses: 3') if has_stop_points();
  like($node->safe_psql('postgres', "SELECT compare(\$q\$" . query('t', '(a = 1000 AND b = 3) OR c = 1') . "\$q\$)"), qr/^20 rows/, 'Or of an And of nothing, again');
  drop_table('t');
}

# What is known exactly of one operand may be known by blocks only when the rest of a segment is asked for.
sub rest_of_an_or {
  $node->safe_psql('postgres', $_) for <<'SQL', 'VACUUM t', "CALL tandem_build('t_index')", 'ANALYZE t';
CREATE TABLE t (id int, a int, c int, embedding vector(4), pad text);
CREATE INDEX t_index ON t USING tandem (embedding vector_l2_ops) WITH (strategy = hnsw_batch);
CREATE INDEX t_a ON t (a);
CREATE INDEX t_c ON t (c);
INSERT INTO t SELECT i, i % 5, i % 50, spread_vector(i, 4), repeat('x', 900) FROM generate_series(1, 20000) AS i;
DELETE FROM t WHERE id % 100 = 7;
SQL
  $node->safe_psql('postgres', query('t', $_)) for 'a = 3', 'c = 1';
  is($node->safe_psql('postgres', "SET work_mem = '64kB'; SET tandem.iterative_scan = 'relaxed_order'; SELECT count(*), count(DISTINCT id) FROM (SELECT id FROM t WHERE a = 3 OR c = 1 ORDER BY embedding <-> spread_vector(7, 4) OFFSET 0) AS s"),
    '4400|4400', 'rows of an Or, once each');
  drop_table('t');
}

# H1, H16. An insert has its row in our index, and not yet in the native one.
sub unsettled {
  make_table('t', rows => 4000);
  for my $case ('', 'SAVEPOINT s; ') {
    clear_stop_points($node);
    my $inserter = start_session($node, 'inserter');
    $inserter->query_safe(arm_sql('always-graph=on', 'row-appended=wait') . "BEGIN; $case");
    send_sql($inserter, "INSERT INTO t SELECT 9999, 3, 3, 3, now(), NULL, NULL, 0, spread_vector(7, 4);");
    await_stop_point($node, 'row-appended');
    # Others' rows behind it.
    $node->safe_psql('postgres', 'INSERT INTO t SELECT i, 3, 3, 3, now(), NULL, NULL, 0, spread_vector(i, 4) FROM generate_series(5000, 5009) AS i');
    $node->safe_psql('postgres', query('t', 'a = 3 AND b = 3'));
    $node->safe_psql('postgres', query('t', 'a = 3'));
    release_stop_point($node, 'row-appended');
    is($inserter->query_safe(($case ne '' ? 'RELEASE s; ' : '') . 'COMMIT'), '', 'an insert between two indexes goes on');
    is(end_session($inserter), '', 'and ends');
    like($node->safe_psql('postgres', query('t', 'a = 3')), qr/^9999\|0$/m, 'its row is found by a filter that was kept meanwhile');
    check('and all others', 't', 'a = 3', 'hits: 1 misses: 0');
    $node->safe_psql('postgres', 'DELETE FROM t WHERE id = 9999');
  }
  drop_table('t');
}

sub collisions {
  $node->safe_psql('postgres', "ALTER SYSTEM SET tandem.stop_points = 'always-graph=on,filter-hash-collides=on'");
  $node->reload;
  make_table('t');
  for my $use ('hits: 0 misses: 1', 'hits: 1 misses: 0') {
    check('all keys have one hash', 't', "a = $_", $use) for 1 .. 4;
  }
  drop_table('t');
  $node->safe_psql('postgres', 'ALTER SYSTEM RESET tandem.stop_points');
  $node->reload;
}

# H39. Behind an old transaction's row nothing is settled; a few rows more are looked at, for many the filter is asked anew.
sub one_old_transaction {
  make_table('t');
  $node->safe_psql('postgres', 'INSERT INTO t SELECT i, i % 10, 3, 3, now(), NULL, NULL, 0, spread_vector(i, 4) FROM generate_series(4000, 5700) AS i');
  my $old = start_session($node, 'old');
  $old->query_safe('BEGIN; INSERT INTO t SELECT 8000, 3, 3, 3, now(), NULL, NULL, 0, spread_vector(7, 4)');
  $node->safe_psql('postgres', 'INSERT INTO t SELECT i, i % 10, 3, 3, now(), NULL, NULL, 0, spread_vector(i, 4) FROM generate_series(10000, 10100) AS i');
  check('a new filter beside an old transaction', 't', 'a <= 7', 'hits: 0 misses: 1');
  check('some rows behind it', 't', 'a <= 7', 'hits: 1 misses: 0');
  $node->safe_psql('postgres', 'INSERT INTO t SELECT i, i % 10, 3, 3, now(), NULL, NULL, 0, spread_vector(i, 4) FROM generate_series(20000, 24000) AS i');
  check('many rows behind it', 't', 'a <= 7', 'hits: 1 misses: 1') for 1 .. 2;
  $old->query_safe("PREPARE TRANSACTION 'old'");
  end_session($old);
  check('and prepared', 't', 'a <= 7', 'hits: 1 misses: 1');
  $node->safe_psql('postgres', "COMMIT PREPARED 'old'");
  check('once it has ended', 't', 'a <= 7', 'hits: 1 misses: 1');
  check('and from then on', 't', 'a <= 7', 'hits: 1 misses: 0');
  like($node->safe_psql('postgres', query('t', 'a <= 7')), qr/^8000\|/m, 'with its row');
  drop_table('t');
}

# H35. Write skew between searches that read nothing of the native index.
sub serializable {
  make_table('t');
  $node->safe_psql('postgres', query('t', "a = $_")) for 3, 4;
  my @sessions = map { start_session($node, "writer $_") } 3, 4;
  my $count = sub { 'SELECT count(*) FROM (' . query('t', "a = $_[0]") . ') AS s' };
  $sessions[0]->query_safe('BEGIN ISOLATION LEVEL SERIALIZABLE; ' . $count->(3));
  $sessions[1]->query_safe('BEGIN ISOLATION LEVEL SERIALIZABLE; ' . $count->(4));
  send_sql($sessions[0], 'INSERT INTO t SELECT 9001, 4, 3, 3, now(), NULL, NULL, 0, spread_vector(7, 4); COMMIT;');
  end_session($sessions[0]);
  send_sql($sessions[1], 'INSERT INTO t SELECT 9002, 3, 3, 3, now(), NULL, NULL, 0, spread_vector(7, 4); COMMIT;');
  like(end_session($sessions[1]), qr/could not serialize access/, 'write skew between searches by kept filters is found');
  drop_table('t');
}

# Snapshots of a standby know which transactions are at work, too; what it keeps is its own, and right once it is promoted.
sub on_a_standby {
  make_table('t');
  $node->safe_psql('postgres', 'INSERT INTO t SELECT i, i % 10, 3, 3, now(), NULL, NULL, 0, spread_vector(i, 4) FROM generate_series(4200, 5900) AS i');
  $node->backup('with_filters');
  my $standby = PostgreSQL::Test::Cluster->new('with_filters');
  $standby->init_from_backup($node, 'with_filters', has_streaming => 1);
  $standby->start;
  my $primary = $node;
  my $old = start_session($primary, 'at work');
  $old->query_safe('BEGIN; INSERT INTO t SELECT 8000, 3, 3, 3, now(), NULL, NULL, 0, spread_vector(7, 4)');
  $primary->safe_psql('postgres', 'INSERT INTO t SELECT i, i % 10, 3, 3, now(), NULL, NULL, 0, spread_vector(i, 4) FROM generate_series(4000, 4100) AS i');
  my $look = sub {
    my ($label, $use) = @_;
    $primary->wait_for_catchup($standby) if $standby->safe_psql('postgres', 'SELECT pg_is_in_recovery()') eq 't';
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    $node = $standby;
    check($label, 't', 'a <= 7', $use);
    $node = $primary;
    return $standby->safe_psql('postgres', query('t', 'a <= 7'));
  };
  unlike($look->('new on a standby', 'hits: 0 misses: 1'), qr/^8000\|/m, 'without a row of a transaction at work');
  $look->('known to it', 'hits: 1 misses: 0');
  $old->query_safe('COMMIT');
  end_session($old);
  like($look->('when that has ended', 'hits: 1 misses: 0'), qr/^8000\|0$/m, 'with its row');
  $primary->safe_psql('postgres', 'DELETE FROM t WHERE id % 100 = 23; VACUUM t; INSERT INTO t SELECT i, 3, 3, 3, now(), NULL, NULL, 0, spread_vector(i, 4) FROM generate_series(5000, 5100) AS i');
  $look->('after VACUUM, and with TIDs used again', 'hits: 1 misses: 0');
  $primary->wait_for_catchup($standby);
  $standby->promote;
  $look->('promoted', 'hits: 1 misses: 0');
  $standby->safe_psql('postgres', 'INSERT INTO t SELECT 9000, 3, 3, 3, now(), NULL, NULL, 0, spread_vector(7, 4)');
  like($look->('with rows of its own', 'hits: 1 misses: 0'), qr/^9000\|0$/m, 'which are found');
  $standby->stop;
  drop_table('t');
}

# H44. The server looks whether a snapshot is too old when a page is read: nothing is kept, as what is known reads none.
sub too_old {
  return if $node->safe_psql('postgres', "SELECT count(*) FROM pg_settings WHERE name = 'old_snapshot_threshold'") == 0;
  make_table('t');
  $node->append_conf('postgresql.conf', 'old_snapshot_threshold = 1h');
  $node->restart;
  check('while snapshots get too old', 't', 'a = 3', 'hits: 0 misses: 1') for 1 .. 2;
  is($node->safe_psql('postgres', 'SELECT keys FROM tandem_filter_cache'), 0, 'nothing is kept');
  drop_table('t');
}

# A cursor keeps what it uses, whatever becomes of subtransactions and of the cache.
sub pins {
  make_table('t');
  $node->safe_psql('postgres', query('t', 'a = 3'));
  my $all = $node->safe_psql('postgres', 'SELECT string_agg(id::text, E\'\n\') FROM (SELECT id FROM t WHERE a = 3 AND embedding IS NOT NULL ORDER BY embedding <-> spread_vector(7, 4) OFFSET 0) AS s');
  my $session = start_session($node, 'cursor');
  $session->query_safe("SET tandem.iterative_scan = 'relaxed_order'; BEGIN; DECLARE c CURSOR FOR SELECT id FROM t WHERE a = 3 AND embedding IS NOT NULL ORDER BY embedding <-> spread_vector(7, 4)");
  $session->query_safe('SAVEPOINT s');
  my $rows = $session->query_safe('FETCH 5 FROM c');
  isnt($node->safe_psql('postgres', 'SELECT pinned FROM tandem_filter_cache'), 0, 'an open cursor has its sets pinned');
  $session->query_safe(<<'SQL');
DO $$ BEGIN
  PERFORM id, 1 / (a - 3) FROM t WHERE a = 3 ORDER BY embedding <-> spread_vector(7, 4) LIMIT 5;
EXCEPTION WHEN division_by_zero THEN NULL;
END $$
SQL
  $session->query_safe('ROLLBACK TO s');
  isnt($node->safe_psql('postgres', 'SELECT pinned FROM tandem_filter_cache'), 0, 'also when the subtransaction in which it was begun has failed');
  # Other filters press what nobody has pinned out.
  $node->safe_psql('postgres', "DO \$\$ BEGIN FOR i IN 1 .. 200 LOOP EXECUTE format('SELECT id FROM t WHERE b IN (%s, 3) ORDER BY embedding <-> spread_vector(7, 4) LIMIT 1', i); END LOOP; END \$\$");
  $rows .= "\n" . $session->query_safe('FETCH ALL FROM c');
  is(join("\n", sort split(/\n/, $rows)), join("\n", sort split(/\n/, $all)), 'and goes on to its end');
  $session->query_safe('COMMIT');
  end_session($session);
  is($node->safe_psql('postgres', 'SELECT pinned FROM tandem_filter_cache'), 0, 'then nothing is pinned');
  drop_table('t');
}
