# Damages pages of graphs, of the manifest and of row heads on purpose, and asks: does tandem_verify() say what is wrong and
# at which block, and do searches go on exactly, or end with a clean error, but never with a crash or a wrong row?
#
# Seen to fail with: page checksums not compared (ProblemOfPage); pages not asked for their blob's id (IsPageOf); a manifest
# believed without its checksum (LoadManifest); TIDs of a graph not compared with row heads (CheckTid); errors for what leads out of
# a segment.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TandemTest;
use Test::More;

# page_format.hpp: the trailer is the last 24 bytes, kinds 3 and up, the root lies in the meta page's payload.
my $block_size = 8192;
my $trailer_at = $block_size - 24;
my ($heads, $segment, $manifest) = (3, 6, 7);
my $payload_at = 24;
my $root_at = $payload_at + 48;
my %in_trailer = (blob => 8, checksum => 12, ordinal => 16);

my $rows = 5000;
my $dimensions = 8;
my $dead_row = 20;
# From 18 on pages have checksums unless a cluster is made without; this file changes pages behind the server's back.
my $node = make_node('damage', init => [ no_data_checksums => 1 ]);
need_stop_points($node);
$node->safe_psql('postgres', <<"SQL");
CREATE TABLE t (id bigint, embedding vector($dimensions)) WITH (autovacuum_enabled = off);
CREATE INDEX t_index ON t USING tandem (embedding vector_l2_ops) WITH (strategy = hnsw_batch, m = 8, ef_construction = 40);
INSERT INTO t SELECT i, spread_vector(i, $dimensions) FROM generate_series(0, $rows - 1) i;
SQL
# A row that the graph leaves out: VACUUM has marked its head.
$node->safe_psql('postgres', "SET tandem.seal_rows = 1000000; DELETE FROM t WHERE id = $dead_row; VACUUM t");
$node->safe_psql('postgres', "CALL tandem_build('t_index')");
is(index_problems($node, 't_index'), '', 'undamaged');

my $file = $node->data_dir . '/' . $node->safe_psql('postgres', "SELECT pg_relation_filepath('t_index')");
$node->stop;
my $sound = slurp_file($file);
my %page = find_pages();
my $records = $page{$segment}[3];    # in the middle of the graph's links and codes

damaged_graph('a byte of the graph', $records, flip($records, 4000), qr/^$records\|segment \d+: page has a wrong checksum$/m);
damaged_graph('the checksum', $records, flip($records, $trailer_at + $in_trailer{checksum}),
  qr/^$records\|segment \d+: page has a wrong checksum$/m);
lost_page('another blob', flip($records, $trailer_at + $in_trailer{blob}), qr/^$records\|.*another kind, blob or number$/m);
lost_page('another page', flip($records, $trailer_at + $in_trailer{ordinal}), qr/^$records\|.*another kind, blob or number$/m);
lost_page('an empty page', [ $records * $block_size, "\0" x $block_size ], qr/^$records\|.*is empty$/m);

# What leads out of the segment, beginning with its header: graph/segment_layout.hpp.
my $header = $page{$segment}[0];
lost_graph('the magic number', flip($header, $payload_at), qr/damaged page 0 of blob/);
lost_graph('the first row', flip($header, $payload_at + 64), qr/damaged page 0 of blob/);
my $rows_at = unpack 'Q<', substr $sound, $header * $block_size + $payload_at + 136, 8;
my $first_rows = $page{$segment}[ $rows_at / ($trailer_at - $payload_at) ];
lost_graph('a row of a node', flip_all($first_rows, $payload_at + $rows_at % ($trailer_at - $payload_at) + 3), qr/a row that is not the segment's/);

my $listed = $page{$manifest}[0];
lost_manifest('a byte of the manifest', flip($listed, $payload_at + 40), qr/^$listed\|manifest: page has a wrong checksum$/m);
lost_manifest('another manifest', flip($listed, $trailer_at + $in_trailer{blob}), qr/^$listed\|manifest: .*blob or number$/m);
lost_manifest('an empty manifest', [ $listed * $block_size, "\0" x $block_size ], qr/^$listed\|manifest: .*is empty$/m);
lost_manifest('the root names another blob', flip(0, $root_at + 28), qr/^\|the manifest has a page that is not its own$/m);
lost_manifest('the root seals other rows', flip(0, $root_at + 16), qr/^\|the manifest's segments end elsewhere/m);

my $first_heads = $page{$heads}[0];
my $head_at = $payload_at + 8 * ($dead_row + 1);
damage(flip($first_heads, $head_at + 2));
like(verify(), qr/row @{[ $dead_row + 1 ]} has another heap TID than its row head$/m, 'a TID: told from the graph');
restore();
damage(flip($first_heads, $payload_at + 8 * $dead_row + 6, 1));
like(verify(), qr/1 live rows of its range are missing, the first is $dead_row$/m, 'a row that the graph should have');
restore();

$node->start;
is(index_problems($node, 't_index'), '', 'undamaged again');
$node->stop;

# A fold does without a graph that it cannot start from. Nothing is restored after this.
damage(flip($header, $payload_at));
$node->safe_psql('postgres', "INSERT INTO t SELECT i, spread_vector(i, $dimensions) FROM generate_series($rows, $rows + 999) i");
my ($status, undef, $error) = $node->psql('postgres', "CALL tandem_build('t_index')");
is($status, 0, 'a build of more rows');
like($error, qr/WARNING:  graph segment \d+ of index "t_index" cannot be read.*A graph is built from its rows instead/s, 'says that it begins anew');
check_graph($node, 't', 't_index', 'and the index is sound again');
$node->stop;
done_testing();

# kind => [blocks of the newest blob, or of the stream, by ordinal]
sub find_pages {
  my (%found, %newest);
  for my $block (1 .. length($sound) / $block_size - 1) {
    my (undef, $blob, undef, $ordinal, $kind, $id) =
      unpack('Q< L< L< L< S< S<', substr($sound, $block * $block_size + $trailer_at, 24));
    next unless $id == 0xFD01;
    $blob = 0 if $kind == $heads;
    next if $blob < ($newest{$kind} // 0);
    $found{$kind} = [] if $blob > ($newest{$kind} // 0);
    $newest{$kind} = $blob;
    $found{$kind}[$ordinal] = $block;
  }
  return %found;
}

# [offset in the file, what stands there instead]
sub flip {
  my ($block, $offset, $bits) = @_;
  my $at = $block * $block_size + $offset;
  return [ $at, substr($sound, $at, 1) ^ chr($bits // 0x10) ];
}

# The same with a whole byte, and with as many of the places that follow as make a page's worth of rows: which of them a search
# looks at is not known.
sub flip_all {
  my ($block, $offset) = @_;
  my $at = $block * $block_size + $offset;
  my $end = $block * $block_size + $trailer_at;
  my $bytes = substr $sound, $at, $end - $at;
  for (my $i = 0 ; $i < length $bytes ; $i += 4) { substr($bytes, $i, 1) ^= chr(0x7f) }
  return [ $at, $bytes ];
}

# The server runs on the damaged file until restore().
sub damage {
  my ($edit) = @_;
  open my $out, '+<:raw', $file or die "$file: $!";
  seek $out, $edit->[0], 0;
  print $out $edit->[1];
  close $out or die $!;
  $node->start;
}

sub restore {
  $node->stop;
  open my $out, '>:raw', $file or die "$file: $!";
  print $out $sound;
  close $out or die $!;
}

sub verify {
  return $node->safe_psql('postgres', "SELECT block, problem FROM tandem_verify('t_index', true)");
}

# Status, rows and messages of a short search and of one that is drained, both of the graph first.
sub search {
  my ($status, $out, $error) = $node->psql('postgres', arm_sql('always-graph=on') . <<"SQL");
\\set VERBOSITY verbose
SET enable_seqscan = off;
SET enable_sort = off;
SELECT count(*), count(DISTINCT id), bool_and(id BETWEEN 0 AND $rows - 1)
FROM (SELECT id FROM t ORDER BY embedding <-> spread_vector(7, $dimensions) LIMIT 50) nearest;
SELECT count(*), count(DISTINCT id) FROM (SELECT id FROM t ORDER BY embedding <-> spread_vector(7, $dimensions)) all_of_them;
SQL
  return ($status, $out, $error);
}

# Nothing shows it but the checksum: other rows may be found, none twice.
sub damaged_graph {
  my ($name, undef, $edit, $problem) = @_;
  damage($edit);
  like(verify(), $problem, "$name: told");
  my ($status, $out, $error) = search();
  ok($status == 0 ? $out =~ /^50\|50\|t\n(\d+)\|\1$/ : $error =~ /XX002/, "$name: rows, or a clean error") or diag("$out$error");
  restore();
}

# Searches see it, and go on without the graph.
sub lost_page {
  my ($name, $edit, $problem) = @_;
  damage($edit);
  like(verify(), $problem, "$name: told");
  my ($status, $out, $error) = search();
  my $live = $rows - 1;
  is("$status $out", "0 50|50|t\n$live|$live", "$name: every row");
  like($error, qr/WARNING:  XX002: index "t_index" has a damaged page 3 of blob/, "$name: a warning");
  restore();
}

# The same, told once in a session; two searches are in one.
sub lost_graph {
  my ($name, $edit, $problem) = @_;
  damage($edit);
  like(verify(), qr/^\d+\|segment \d+: page has a wrong checksum$/m, "$name: told");
  my ($status, $out, $error) = search();
  my $live = $rows - 1;
  is("$status $out", "0 50|50|t\n$live|$live", "$name: every row");
  like($error, $problem, "$name: a warning");
  is(scalar(() = $error =~ /WARNING/g), 1, "$name: one warning");
  restore();
}

sub lost_manifest {
  my ($name, $edit, $problem) = @_;
  damage($edit);
  like(verify(), $problem, "$name: told");
  my ($status, $out, $error) = search();
  like($error, qr/ERROR:  XX002: index "t_index" is damaged/, "$name: a clean error");
  restore();
}
