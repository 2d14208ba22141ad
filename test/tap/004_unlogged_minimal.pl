# Indexes that are not logged, not yet logged, or copied without being logged: unlogged and temporary tables, tables
# created in the transaction that fills them, TRUNCATE in it, wal_level = minimal, databases made from a template.
# HAZARDS H11, H22.
#
# Seen to fail with: the init fork not logged; pages marked dirty only where the relation needs WAL. Not with the
# backend's cache kept over a rebuild in place: there the server drops it as well.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TandemTest;
use Test::More;

my $node = make_node('minimal', conf => "wal_level = minimal\nmax_wal_senders = 0\nmax_prepared_transactions = 5\n");

unlogged();
temporary();
created_and_filled($_) for 'minimal', 'replica';
copied_database();
switched();
$node->stop;
done_testing();

sub rows_sql {
  my ($table, $from, $to, $dimensions) = @_;
  return "INSERT INTO $table SELECT i, test_vector(i, $dimensions) FROM generate_series($from, $to) i;\n";
}

sub unlogged {
  $node->safe_psql('postgres', 'CREATE UNLOGGED TABLE u (id bigint, embedding vector(300));'
      . 'CREATE INDEX u_index ON u USING tandem (embedding vector_l2_ops);' . rows_sql('u', 1, 500, 300)
      . 'INSERT INTO u VALUES (501, NULL);'
      . 'CREATE UNLOGGED TABLE parts (id bigint, embedding vector(3));'
      . 'CREATE INDEX parts_index ON parts USING tandem (embedding vector_cosine_ops) WITH (strategy = flat);'
      . 'CHECKPOINT');
  check_index($node, 'u', 'u_index', 'unlogged: before the crash');
  for my $way (qw(immediate kill)) {
    if ($way eq 'kill') { kill_server($node) }
    else { $node->stop('immediate') }
    $node->start;
    is($node->safe_psql('postgres', 'SELECT count(*) FROM u'), 0, "unlogged, $way: the table is empty");
    is($node->safe_psql('postgres', "SELECT count(*) FROM tandem_rows('u_index')"), 0, "unlogged, $way: the index is empty");
    check_index($node, 'u', 'u_index', "unlogged, $way: it is sound");
    $node->safe_psql('postgres', rows_sql('u', 1, 700, 300) . 'DELETE FROM u WHERE id % 2 = 0; VACUUM u;'
        . rows_sql('u', 701, 900, 300));
    check_index($node, 'u', 'u_index', "unlogged, $way: and usable");
    check_index($node, 'parts', 'parts_index', "unlogged, $way: an index that was always empty", operator => '<=>');
  }
  $node->restart;
  is($node->safe_psql('postgres', 'SELECT count(*) FROM u'), 550, 'unlogged: a clean restart keeps the rows');
  check_index($node, 'u', 'u_index', 'unlogged: and the index');
  # Replayed from the log of the creating transaction, without a checkpoint in between.
  $node->safe_psql('postgres', 'CREATE UNLOGGED TABLE v (id bigint, embedding vector(3)); '
      . 'CREATE INDEX v_index ON v USING tandem (embedding vector_l2_ops);' . rows_sql('v', 1, 10, 3));
  $node->stop('immediate');
  $node->start;
  $node->safe_psql('postgres', rows_sql('v', 1, 10, 3));
  check_index($node, 'v', 'v_index', 'unlogged: crash right after CREATE INDEX');
}

# All in one session, so the answers are compared there.
sub temporary {
  my $compare = <<'SQL';
SELECT count(*), count(DISTINCT a.id), bool_and(a.d = b.d) FROM
  (SELECT id, embedding <-> '[3,1,4]' AS d FROM tmp ORDER BY embedding <-> '[3,1,4]') a
  JOIN (SELECT id, embedding <-> '[3,1,4]' AS d FROM tmp) b USING (id);
SQL
  my $verify = "SELECT count(*) FROM tandem_verify('tmp_index', true);\n";
  my $out = $node->safe_psql('postgres', <<"SQL");
SET enable_seqscan = off; SET enable_sort = off;
CREATE TEMP TABLE tmp (id bigint, embedding vector(3)) ON COMMIT DELETE ROWS;
CREATE INDEX tmp_index ON tmp USING tandem (embedding vector_l2_ops);
BEGIN;
@{[ rows_sql('tmp', 1, 3000, 3) ]} $compare $verify
COMMIT;
$compare
BEGIN;
@{[ rows_sql('tmp', 5001, 5010, 3) ]} $compare $verify
SAVEPOINT a;
@{[ rows_sql('tmp', 6001, 6010, 3) ]} $compare
ROLLBACK TO a;
$compare $verify
COMMIT;
BEGIN;
@{[ rows_sql('tmp', 7001, 9500, 3) ]} $compare $verify
COMMIT;
SELECT count(*) FROM tandem_rows('tmp_index');
SQL
  is($out, join("\n", '3000|3000|t', 0, '0|0|', '10|10|t', 0, '20|20|t', '10|10|t', 0, '2500|2500|t', 0, 0),
    'temporary, ON COMMIT DELETE ROWS: each transaction sees its own rows');
  $out = $node->safe_psql('postgres', <<"SQL");
SET enable_seqscan = off; SET enable_sort = off; SET temp_buffers = '800kB';
CREATE TEMP TABLE tmp (id bigint, embedding vector(3));
@{[ rows_sql('tmp', 1, 5000, 3) ]}
CREATE INDEX tmp_index ON tmp USING tandem (embedding vector_l2_ops);
@{[ rows_sql('tmp', 5001, 20000, 3) ]} $compare $verify
DELETE FROM tmp WHERE id % 3 = 0; VACUUM tmp;
@{[ rows_sql('tmp', 20001, 22000, 3) ]} $compare $verify
TRUNCATE tmp;
@{[ rows_sql('tmp', 1, 100, 3) ]} $compare $verify
SQL
  is($out, join("\n", '20000|20000|t', 0, '15334|15334|t', 0, '100|100|t', 0), 'temporary: larger than its buffers');
}

# Tables created in the transaction that fills them, with TRUNCATE in it, then a crash after the commit. With
# wal_level = minimal their files are synced, or logged whole when small, instead of logged row by row.
sub created_and_filled {
  my ($level) = @_;
  $node->append_conf('postgresql.conf', "wal_level = $level\n");
  $node->restart;
  for my $threshold ('0', '1GB') {
    $node->safe_psql('postgres', <<"SQL");
DROP TABLE IF EXISTS c, d, e, f;
SET wal_skip_threshold = '$threshold';
BEGIN;
CREATE TABLE c (id bigint, embedding vector(300));
CREATE INDEX c_index ON c USING tandem (embedding vector_l2_ops);
@{[ rows_sql('c', 1, 1200, 300) ]}
INSERT INTO c VALUES (0, NULL);
COMMIT;
BEGIN;
CREATE TABLE d (id bigint, embedding vector(300));
@{[ rows_sql('d', 1, 400, 300) ]}
CREATE INDEX d_index ON d USING tandem (embedding vector_l2_ops);
@{[ rows_sql('d', 401, 800, 300) ]}
TRUNCATE d;
@{[ rows_sql('d', 801, 900, 300) ]}
SAVEPOINT a;
TRUNCATE d;
@{[ rows_sql('d', 901, 1000, 300) ]}
ROLLBACK TO a;
@{[ rows_sql('d', 1001, 1010, 300) ]}
COMMIT;
CREATE TABLE e (id bigint, embedding vector(9000));
CREATE INDEX e_index ON e USING tandem (embedding vector_l2_ops);
BEGIN;
TRUNCATE e;
@{[ rows_sql('e', 1, 5, 9000) ]}
COMMIT;
@{[ rows_sql('e', 6, 8, 9000) ]}
BEGIN;
CREATE TABLE f (id bigint, embedding vector(3));
CREATE INDEX f_index ON f USING tandem (embedding vector_l2_ops);
@{[ rows_sql('f', 1, 2000, 3) ]}
PREPARE TRANSACTION 'f';
SQL
    my %rows = (c => 1201, d => 110, e => 8, f => 2000);
    $node->stop('immediate');
    $node->start;
    $node->safe_psql('postgres', "COMMIT PREPARED 'f'");
    for my $table (sort keys %rows) {
      my $label = "wal_level $level, wal_skip_threshold $threshold, table $table";
      is($node->safe_psql('postgres', "SELECT count(*) FROM $table"), $rows{$table}, "$label: rows after the crash");
      check_index($node, $table, "${table}_index", "$label: index after the crash");
    }
    # First deltas on pages that were never logged one by one.
    $node->safe_psql('postgres', rows_sql('c', 2001, 2100, 300) . 'DELETE FROM c WHERE id < 50; VACUUM c;'
        . rows_sql('d', 2001, 2100, 300) . rows_sql('e', 2001, 2002, 9000) . rows_sql('f', 2001, 2100, 3));
    $node->stop('immediate');
    $node->start;
    check_index($node, $_, "${_}_index", "wal_level $level, wal_skip_threshold $threshold, table $_: crash after more rows")
      for sort keys %rows;
  }
}

# Same file numbers in another database; nothing remembered of one may serve the other.
sub copied_database {
  $node->safe_psql('postgres', 'CREATE DATABASE original');
  setup_database($node, 'original');
  $node->safe_psql('original', 'CREATE TABLE t (id bigint, embedding vector(300));'
      . 'CREATE INDEX t_index ON t USING tandem (embedding vector_l2_ops);' . rows_sql('t', 1, 1500, 300)
      . 'DELETE FROM t WHERE id % 3 = 0; VACUUM t');
  my $from = 5001;
  for my $strategy (qw(wal_log file_copy)) {
    my $copy = "copy_$strategy";
    $node->safe_psql('postgres', "CREATE DATABASE $copy TEMPLATE original STRATEGY $strategy");
    $node->safe_psql($copy, rows_sql('t', 3001, 3300, 300) . 'DELETE FROM t WHERE id BETWEEN 100 AND 400; VACUUM t;');
    $node->safe_psql('original', rows_sql('t', $from, $from + 9, 300));
    $from += 10;
    check_index($node, 't', 't_index', "$strategy: the copy", database => $copy);
    check_index($node, 't', 't_index', "$strategy: the original", database => 'original');
  }
  $node->stop('immediate');
  $node->start;
  check_index($node, 't', 't_index', "$_ after a crash", database => $_) for qw(original copy_wal_log copy_file_copy);
}

sub switched {
  $node->safe_psql('postgres', 'CREATE TABLE s (id bigint, embedding vector(300));'
      . 'CREATE INDEX s_index ON s USING tandem (embedding vector_l2_ops);' . rows_sql('s', 1, 600, 300)
      . 'ALTER TABLE s SET UNLOGGED;' . rows_sql('s', 601, 700, 300));
  check_index($node, 's', 's_index', 'SET UNLOGGED');
  $node->safe_psql('postgres', 'ALTER TABLE s SET LOGGED;' . rows_sql('s', 701, 800, 300));
  $node->stop('immediate');
  $node->start;
  is($node->safe_psql('postgres', 'SELECT count(*) FROM s'), 800, 'SET LOGGED: rows survive a crash');
  check_index($node, 's', 's_index', 'SET LOGGED: the index survives a crash');
  $node->safe_psql('postgres', 'ALTER TABLE s SET UNLOGGED;');
  $node->stop('immediate');
  $node->start;
  is($node->safe_psql('postgres', 'SELECT count(*) FROM s'), 0, 'SET UNLOGGED: empty after a crash');
  $node->safe_psql('postgres', rows_sql('s', 1, 10, 300));
  check_index($node, 's', 's_index', 'SET UNLOGGED: usable after a crash');
}
