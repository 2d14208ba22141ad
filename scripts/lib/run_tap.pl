#!/usr/bin/perl
# Runs a command that prints TAP and reports each top-level test as a line "pass|fail|skip<TAB>name<TAB>note".
# What the command prints goes to LOG. Exit status 0 unless the runner itself failed.
#
#   perl run_tap.pl LOG SECONDS COMMAND…
use strict;
use warnings;
use TAP::Parser;

my ($log_name, $seconds, @command) = @ARGV;
open my $log, '>', $log_name or die "$log_name: $!\n";
$log->autoflush;
open STDERR, '>&', $log or die "$log_name: $!\n";    # what the parser has to say
$| = 1;

my $parser = TAP::Parser->new({ exec => ['timeout', '-k', '20', $seconds, @command], merge => 1 });
my ($ran, $failed) = (0, 0);
while (my $result = $parser->next) {
  print $log $result->as_string, "\n";
  next unless $result->is_test;
  $ran++;
  my $name = clean($result->description);
  $name = 'test ' . $result->number if $name eq '';
  if ($result->has_skip) { report('skip', $name, clean($result->explanation)) }
  elsif ($result->is_ok) { report('pass', $name) }
  else                   { $failed++; report('fail', $name) }
}

if (defined $parser->skip_all) {
  report('skip', 'whole file', clean($parser->skip_all));
}
elsif ($parser->exit && !$failed || !$ran || $parser->parse_errors) {
  # Died, ran out of time, or ran another number of tests than planned.
  my $status = $parser->wait >> 8;
  my $why = $status == 124 || $status == 137 ? "stopped after $seconds seconds" : $parser->exit ? "ended with status $status" : '';
  report('fail', 'runs to its end', join '; ', grep { $_ ne '' } $why, $parser->parse_errors);
}

sub clean {
  my $text = $_[0] // '';
  $text =~ s/^[\s-]+//;
  $text =~ s/[\t\n]/ /g;
  return $text;
}

sub report {
  print join("\t", $_[0], $_[1], $_[2] // ''), "\n";
}
