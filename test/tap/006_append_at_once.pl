# A row is in the index when its insert returns: no later moment at which it could be lost, appended to another file, or
# appended under a TID that meanwhile belongs to another row. HAZARDS H6, H7, H8.
#
# Seen to fail with: rows kept back to the end of the transaction.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TandemTest;
use Test::More;

my $dimensions = 40;
my $node = make_node('publisher', init => [ allows_streaming => 'logical' ],
  conf => "max_prepared_transactions = 10\nmax_connections = 20\n");
my $folder = PostgreSQL::Test::Utils::tempdir();

conflicting_inserts();
commands_after_insert();
other_tablespace_in_between();
prepared_transactions();
subtransactions();
triggers_and_portals();
logical_replication();
$node->stop;
done_testing();

sub rows_sql {
  my ($table, $from, $to) = @_;
  return "INSERT INTO $table SELECT i, test_vector(i, $dimensions) FROM generate_series($from, $to) i;\n";
}

# H6: a speculative insert loses against another session's while its statement goes on; VACUUM frees its place in the
# table, a third session takes it.
sub conflicting_inserts {
  # The unique index's expression is computed twice for a row: when conflicts are looked for, and after the row went
  # into the table and the tandem index, which is older than the unique one. For the slow session it waits, on locks
  # that the test holds, the second time, and at the statement's second row.
  $node->safe_psql('postgres', <<"SQL");
CREATE SEQUENCE calls;
CREATE FUNCTION slow_key(i bigint, who text) RETURNS bigint LANGUAGE plpgsql IMMUTABLE AS \$\$
DECLARE
  call bigint;
BEGIN
  IF who = 'slow' AND current_setting('application_name') = 'slow' THEN
    call := nextval('calls');
    IF call = 2 THEN PERFORM pg_advisory_xact_lock_shared(101);
    ELSIF call = 4 THEN PERFORM pg_advisory_xact_lock_shared(102);
    END IF;
  END IF;
  RETURN i;
END \$\$;
CREATE TABLE c (id bigint, who text, embedding vector($dimensions));
CREATE INDEX c_index ON c USING tandem (embedding vector_l2_ops);
CREATE UNIQUE INDEX c_key ON c (slow_key(id, who));
INSERT INTO c SELECT i, 'first', test_vector(i, $dimensions) FROM generate_series(1, 20) i;
SQL
  my $gate = start_session($node, 'gate');
  $gate->query_safe("SELECT pg_advisory_lock(101), pg_advisory_lock(102)");
  my $slow = start_session($node, 'slow');
  # Two rows: the first loses, and the statement is still running, at the second one, when its place is taken.
  send_sql($slow, "INSERT INTO c SELECT i, 'slow', test_vector(i + 5000, $dimensions) FROM (VALUES (101), (102)) v(i) "
      . 'ON CONFLICT DO NOTHING;');
  await_wait_event($node, 'slow', 'advisory');
  $node->safe_psql('postgres', "INSERT INTO c VALUES (101, 'fast', test_vector(101, $dimensions))");
  is($node->safe_psql('postgres', "SELECT count(*) FROM tandem_rows('c_index')"), 22, 'H6: the slow row is in the index');
  # It may go on: it is killed, and the statement waits at its second row.
  $gate->query_safe('SELECT pg_advisory_unlock(101)');
  $node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_locks l JOIN pg_stat_activity a USING (pid) "
      . "WHERE application_name = 'slow' AND locktype = 'advisory' AND NOT granted AND objid = 102")
    or die 'the slow session never came to its second row';
  $node->safe_psql('postgres', 'VACUUM (INDEX_CLEANUP ON) c');
  $node->safe_psql('postgres', "INSERT INTO c SELECT i, 'third', test_vector(i, $dimensions) FROM generate_series(201, 215) i");
  is($node->safe_psql('postgres', "SELECT count(*) FROM tandem_rows('c_index') dead JOIN tandem_rows('c_index') live USING (ctid) "
        . 'WHERE dead.dead AND NOT live.dead'), 1, 'H6: its place belongs to another row');
  check_index($node, 'c', 'c_index', 'H6: the lost row\'s place is taken by another row while its statement runs');
  $gate->query_safe('SELECT pg_advisory_unlock(102)');
  is(end_session($slow), '', 'H6: the statement succeeds');
  $gate->quit;
  is($node->safe_psql('postgres', "SELECT string_agg(id || who, ' ' ORDER BY id) FROM c WHERE id BETWEEN 100 AND 199"),
    '101fast 102slow', 'H6: of each key one row');
  check_index($node, 'c', 'c_index', 'H6: every row has its own vector');
  # The row that does come to be inserted after waiting, and an update instead.
  $node->safe_psql('postgres', "INSERT INTO c SELECT i, 'again', test_vector(i + 1, $dimensions) FROM generate_series(1, 40) i "
      . 'ON CONFLICT (slow_key(id, who)) DO UPDATE SET embedding = excluded.embedding; VACUUM c');
  check_index($node, 'c', 'c_index', 'ON CONFLICT DO UPDATE');
}

# H7: commands that rebuild, empty or drop the index in the transaction that inserted before.
sub commands_after_insert {
  my %commands = (
    'REINDEX' => 'REINDEX INDEX r_index;',
    'REINDEX TABLE' => 'REINDEX TABLE r;',
    'rewrite' => 'ALTER TABLE r ALTER id TYPE numeric USING id::numeric;',
    'rewrite of the vector' => "ALTER TABLE r ALTER embedding TYPE vector($dimensions) USING test_vector(id::bigint + 1, $dimensions);",
    'TRUNCATE' => 'TRUNCATE r;',
    'DROP INDEX' => 'DROP INDEX r_index;',
    'CLUSTER' => 'CREATE INDEX r_id ON r (id); CLUSTER r USING r_id;',
    'SET TABLESPACE' => 'ALTER INDEX r_index SET TABLESPACE pg_default;',
    'ALTER INDEX SET' => 'ALTER INDEX r_index SET (strategy = flat);',
  );
  for my $what (sort keys %commands) {
    my $command = $commands{$what};
    # The same with savepoints: undone, and released.
    my %shapes = (
      plain => "$command\n",
      undone => "SAVEPOINT a;\n$command\n" . rows_sql('r', 201, 210) . "ROLLBACK TO a;\n",
      released => "SAVEPOINT a;\n" . rows_sql('r', 211, 220) . "$command\nRELEASE a;\n",
    );
    for my $shape (sort keys %shapes) {
      my ($status, undef, $error) = $node->psql('postgres', <<"SQL");
SET client_min_messages = warning;
DROP TABLE IF EXISTS r;
CREATE TABLE r (id bigint, embedding vector($dimensions));
CREATE INDEX r_index ON r USING tandem (embedding vector_l2_ops);
@{[ rows_sql('r', 1, 50) ]}
BEGIN;
@{[ rows_sql('r', 51, 100) ]}
DELETE FROM r WHERE id % 10 = 0;
$shapes{$shape}
@{[ rows_sql('r', 301, 310) ]}
COMMIT;
@{[ rows_sql('r', 311, 320) ]}
SQL
      is($error, '', "H7: $what, $shape: succeeds");
      my $dropped = $what eq 'DROP INDEX' && $shape ne 'undone';
      is($node->safe_psql('postgres', "SELECT count(*) FROM pg_class WHERE relname = 'r_index'"), $dropped ? 0 : 1,
        "H7: $what, $shape: the index is there, or not");
      check_index($node, 'r', 'r_index', "H7: $what, $shape: the index is right") unless $dropped;
    }
  }
}

# H7: between two statements the index is not locked: another session moves it.
sub other_tablespace_in_between {
  mkdir "$folder/other";
  $node->safe_psql('postgres', "CREATE TABLESPACE other LOCATION '$folder/other'");
  $node->safe_psql('postgres', "CREATE TABLE m (id bigint, embedding vector($dimensions));"
      . 'CREATE INDEX m_index ON m USING tandem (embedding vector_l2_ops);' . rows_sql('m', 1, 30));
  my $session = start_session($node, 'inserting');
  $session->query_safe("BEGIN;\n" . rows_sql('m', 31, 60));
  $node->safe_psql('postgres', 'ALTER INDEX m_index SET TABLESPACE other');
  $session->query_safe(rows_sql('m', 61, 90));
  $node->safe_psql('postgres', 'ALTER INDEX m_index SET TABLESPACE pg_default');
  $session->query_safe("COMMIT;\n");
  is($session->query_safe('SET enable_seqscan = off; SET enable_sort = off;'
        . "SELECT count(*) FROM (SELECT * FROM m ORDER BY embedding <-> '" . vector_text(1, $dimensions) . "') s"), 90,
    'H7: moved twice in mid-transaction: all rows are found');
  $session->quit;
  check_index($node, 'm', 'm_index', 'H7: moved twice in mid-transaction: the index is right');
}

sub prepared_transactions {
  $node->safe_psql('postgres', "CREATE TABLE p (id bigint, embedding vector($dimensions));"
      . 'CREATE INDEX p_index ON p USING tandem (embedding vector_l2_ops);' . rows_sql('p', 1, 10));
  $node->safe_psql('postgres', "BEGIN;\n" . rows_sql('p', 11, 20) . "SAVEPOINT a;\n" . rows_sql('p', 21, 30)
      . "PREPARE TRANSACTION 'kept';\nBEGIN;\n" . rows_sql('p', 31, 40) . "PREPARE TRANSACTION 'undone';\n");
  $node->safe_psql('postgres', 'VACUUM (INDEX_CLEANUP ON) p;' . rows_sql('p', 41, 50));
  check_index($node, 'p', 'p_index', 'prepared: before the end');
  $node->stop('immediate');
  $node->start;
  check_index($node, 'p', 'p_index', 'prepared: after a crash');
  $node->safe_psql('postgres', "COMMIT PREPARED 'kept'; ROLLBACK PREPARED 'undone'; VACUUM (INDEX_CLEANUP ON) p;"
      . rows_sql('p', 51, 60));
  is($node->safe_psql('postgres', 'SELECT count(*) FROM p'), 50, 'prepared: rows after COMMIT and ROLLBACK PREPARED');
  is($node->safe_psql('postgres', "SELECT count(*) FROM tandem_rows('p_index') WHERE dead"), 10,
    'prepared: VACUUM marks the rows rolled back');
  check_index($node, 'p', 'p_index', 'prepared: after COMMIT and ROLLBACK PREPARED');
}

sub subtransactions {
  $node->safe_psql('postgres', <<"SQL");
CREATE TABLE s (id bigint, embedding vector($dimensions));
CREATE INDEX s_index ON s USING tandem (embedding vector_l2_ops);
BEGIN;
@{[ rows_sql('s', 1, 5) ]} SAVEPOINT a;
@{[ rows_sql('s', 6, 10) ]} SAVEPOINT b;
@{[ rows_sql('s', 11, 15) ]} SAVEPOINT c;
@{[ rows_sql('s', 16, 20) ]} RELEASE c;
ROLLBACK TO b;
@{[ rows_sql('s', 21, 25) ]} SAVEPOINT d;
@{[ rows_sql('s', 26, 30) ]} RELEASE a;
@{[ rows_sql('s', 31, 35) ]}
COMMIT;
DO \$\$ BEGIN
  FOR i IN 100 .. 140 LOOP
    BEGIN
      INSERT INTO s VALUES (i, test_vector(i, $dimensions));
      IF i % 3 = 0 THEN RAISE division_by_zero; END IF;
    EXCEPTION WHEN division_by_zero THEN
      INSERT INTO s VALUES (i + 1000, test_vector(i + 1000, $dimensions));
    END;
  END LOOP;
END \$\$;
SQL
  is($node->safe_psql('postgres', "SELECT count(*), count(DISTINCT id) FROM s"), '66|66', 'subtransactions: rows');
  check_index($node, 's', 's_index', 'subtransactions: the index is right');
}

# Deferred triggers insert at commit; a cursor is open while its own transaction inserts.
sub triggers_and_portals {
  $node->safe_psql('postgres', <<"SQL");
CREATE TABLE g (id bigint, embedding vector($dimensions));
CREATE INDEX g_index ON g USING tandem (embedding vector_l2_ops);
CREATE FUNCTION add_more() RETURNS trigger LANGUAGE plpgsql AS \$\$
BEGIN
  IF NEW.id < 1000 THEN INSERT INTO g VALUES (NEW.id + 1000, test_vector(NEW.id + 1000, $dimensions)); END IF;
  RETURN NULL;
END \$\$;
CREATE CONSTRAINT TRIGGER late AFTER INSERT ON g DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION add_more();
@{[ rows_sql('g', 1, 40) ]}
SQL
  check_index($node, 'g', 'g_index', 'deferred triggers');
  my $out = $node->safe_psql('postgres', <<"SQL");
SET enable_seqscan = off; SET enable_sort = off;
BEGIN;
DECLARE c CURSOR FOR SELECT id FROM g ORDER BY embedding <-> '@{[ vector_text(1, $dimensions) ]}';
FETCH 1 FROM c;
@{[ rows_sql('g', 500, 520) ]}
DELETE FROM g WHERE id = 40;
MOVE FORWARD ALL FROM c;
CLOSE c;
SELECT count(*) FROM (SELECT id FROM g ORDER BY embedding <-> '@{[ vector_text(1, $dimensions) ]}') s;
COMMIT;
SQL
  is($out, "1\n100", 'a cursor, and a query after it, in the transaction that inserts');
  check_index($node, 'g', 'g_index', 'a cursor in the transaction that inserts');
}

# H8: the apply worker runs no statement of its own.
sub logical_replication {
  my $subscriber = make_node('subscriber', init => [ allows_streaming => 'logical' ]);
  my $table = "CREATE TABLE l (id bigint PRIMARY KEY, embedding vector($dimensions));";
  $node->safe_psql('postgres', $table . rows_sql('l', 1, 300) . 'CREATE PUBLICATION p FOR TABLE l');
  $subscriber->safe_psql('postgres', $table . 'CREATE INDEX l_index ON l USING tandem (embedding vector_l2_ops)');
  my $connection = $node->connstr . ' dbname=postgres';
  $subscriber->safe_psql('postgres', "CREATE SUBSCRIPTION s CONNECTION '$connection' PUBLICATION p WITH (streaming = on)");
  $subscriber->wait_for_subscription_sync($node, 's');
  check_index($subscriber, 'l', 'l_index', 'H8: initial copy by the subscription');
  $node->safe_psql('postgres', rows_sql('l', 301, 900) . 'DELETE FROM l WHERE id % 5 = 0;'
      . "UPDATE l SET embedding = test_vector(id + 7, $dimensions) WHERE id % 7 = 0;"
      . "BEGIN;\n" . rows_sql('l', 1001, 1100) . "SAVEPOINT a;\n" . rows_sql('l', 1101, 1200) . "ROLLBACK TO a;\n"
      . rows_sql('l', 1201, 1300) . "COMMIT;\nBEGIN;\n" . rows_sql('l', 2001, 2100) . "ROLLBACK;\n");
  $node->wait_for_catchup('s');
  is($subscriber->safe_psql('postgres', 'SELECT count(*) FROM l'), $node->safe_psql('postgres', 'SELECT count(*) FROM l'),
    'H8: applied rows');
  check_index($subscriber, 'l', 'l_index', 'H8: the subscriber\'s index is right');
  $subscriber->safe_psql('postgres', 'VACUUM l');
  $node->safe_psql('postgres', rows_sql('l', 3001, 3200));
  $node->wait_for_catchup('s');
  check_index($subscriber, 'l', 'l_index', 'H8: applied into freed places');
  $subscriber->safe_psql('postgres', 'DROP SUBSCRIPTION s');
  $subscriber->stop;
}
