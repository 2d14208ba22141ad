# shellcheck shell=bash
# The stages of scripts/check. Each runs in a subshell of its own and reports every test through `result`.
#
#   result pass|fail|skip NAME [NOTE]   one test
#   excerpt FILE [LINES]                shows the end of a log; for failures
#   $STAGE_LOG                          folder for this stage's logs
#
# Whatever a stage prints is shown, in the order of the stages, when it has ended.

result() {
  printf '%s\t%s\t%s\n' "$1" "$2" "${3-}" >>"$STAGE_RESULTS"
  if [[ $1 == fail ]]; then
    printf '  FAILED: %s%s\n' "$2" "${3:+ ($3)}"
  elif [[ -n $CHECK_VERBOSE ]]; then
    printf '  %s: %s%s\n' "$1" "$2" "${3:+ ($3)}"
  fi
}

excerpt() {
  [[ -s $1 ]] || return 0
  printf '  ---- end of %s\n' "$1"
  tail -n "${2:-60}" "$1" | sed 's/^/  | /'
}

# A check that is one command: silent when it passes, shown when it fails.
one_check() {
  local name=$1 log=$STAGE_LOG/$1.log
  shift
  if "$@" >"$log" 2>&1; then
    result pass "$name"
  else
    result fail "$name"
    excerpt "$log"
  fi
}

# --- lint -----------------------------------------------------------------------------------------------------

stage_lint() {
  cd "$TANDEM_ROOT" || return
  one_check layers tools/check-layers
  one_check tests-listed tools/check-tests-listed
  one_check words tools/check-words
  one_check format tools/format --check
  local scripts=() python=()
  mapfile -t scripts < <(grep -rlE '^#!.*\b(bash|sh)$' scripts tools bench .ci examples 2>/dev/null | sort)
  one_check shell shellcheck -x -P SCRIPTDIR scripts/lib/*.sh "${scripts[@]}"
  mapfile -t python < <(grep -rlE '^#!.*python' bench examples test 2>/dev/null; find bench examples test -name '*.py' 2>/dev/null)
  if ((${#python[@]} > 0)); then one_check python pyflakes3 "${python[@]}"; fi
  one_check build-gcc tandem__compile release
  one_check exports tools/check-exports "$TANDEM_WORK/build/release/tandem.so" extension/*.sql
  one_check build-clang tandem__compile clang
}

# Slow, hence by request only.
stage_tidy() {
  tandem_sync "$TANDEM_WORK/unit" "${unit_paths[@]}" .clang-tidy
  cd "$TANDEM_WORK/unit" || return
  one_check configure cmake --preset clang
  # shellcheck disable=SC2016  # expanded by the inner shell
  one_check clang-tidy bash -c 'set -o pipefail
    find src -regextype egrep -regex "src/(base|vec|policy|graph)/.*[.]cpp" | sort |
    xargs -r -n 1 -P "$TANDEM_JOBS" clang-tidy --quiet -p build/clang'
  local server
  server=$("$PG_CONFIG" --includedir-server)
  # shellcheck disable=SC2016  # expanded by the inner shell
  one_check clang-tidy-server bash -c 'set -o pipefail
    find src -name "*.cpp" ! -regex "src/\(base\|vec\|policy\|graph\)/.*" | sort |
    xargs -r -n 1 -P "$TANDEM_JOBS" -I FILE clang-tidy --quiet FILE -- -std=c++17 -Isrc -isystem "$1" -D_GNU_SOURCE \
      "-DPGDLLEXPORT=__attribute__((visibility(\"default\")))" -DTANDEM_STOP_POINTS' bash "$server"
}

# --- unit -----------------------------------------------------------------------------------------------------

unit_paths=(CMakeLists.txt CMakePresets.json cmake src test/unit test/fuzz bench)

stage_unit() {
  local preset=$1 status=0
  tandem_sync "$TANDEM_WORK/unit" "${unit_paths[@]}"
  cd "$TANDEM_WORK/unit" || return
  # Line numbers are enough here; the code is the same.
  if ! cmake --preset "$preset" -DCMAKE_CXX_FLAGS_RELWITHDEBINFO="-O2 -g1" ${CHECK_STRICT:+-DTANDEM_WARNINGS_AS_ERRORS=ON} >"$STAGE_LOG/configure.log" 2>&1; then
    result fail "configure"
    excerpt "$STAGE_LOG/configure.log"
    return
  fi
  if ! cmake --build --preset "$preset" -j "$TANDEM_JOBS" >"$STAGE_LOG/build.log" 2>&1; then
    result fail "build"
    grep -A 12 -m 3 -E 'error|FAILED' "$STAGE_LOG/build.log" | sed 's/^/  | /' || true
    return
  fi
  # A locale with a decimal comma, for the tests that numbers do not depend on it; the machine may have none.
  if [[ ! -d $TANDEM_WORK/locale/de_DE.UTF-8 ]]; then
    mkdir -p "$TANDEM_WORK/locale"
    localedef -i de_DE -f UTF-8 "$TANDEM_WORK/locale/de_DE.UTF-8" >"$STAGE_LOG/localedef.log" 2>&1 || true
  fi
  LOCPATH=$TANDEM_WORK/locale ctest --preset "$preset" -j "$TANDEM_JOBS" --output-junit "$STAGE_LOG/junit.xml" \
    >"$STAGE_LOG/ctest.log" 2>&1 || status=$?
  if [[ ! -s $STAGE_LOG/junit.xml ]]; then
    result fail "ctest" "status $status"
    excerpt "$STAGE_LOG/ctest.log"
    return
  fi
  local state name note
  while IFS=$'\t' read -r state name note; do
    result "$state" "$name" "$note"
  done < <(perl -0777 -ne '
    while (/<testcase name="([^"]*)"[^>]*status="(\w+)"[^>]*?(?:\/>|>(.*?)<\/testcase>)/gs) {
      my ($name, $status, $body) = ($1, $2, $3 // "");
      $name =~ s/&quot;/"/g; $name =~ s/&lt;/</g; $name =~ s/&gt;/>/g; $name =~ s/&amp;/&/g;
      $name =~ s/\s+# GetParam\(\).*//;
      my $note = $body =~ /<skipped message="([^"]*)"/ ? $1 : "";
      my $state = $status eq "run" ? "pass" : $status eq "fail" ? "fail" : $note || $status eq "disabled" ? "skip" : "fail";
      $note = "" if $note =~ /^SKIP_/;    # the word of ctest for what GTEST_SKIP() says
      print "$state\t$name\t$note\n";
    }' "$STAGE_LOG/junit.xml")
  if ((status != 0)); then
    grep -vE '^ *(Start +[0-9]+:|[0-9]+/[0-9]+ Test .*Passed|Test project)' "$STAGE_LOG/ctest.log" >"$STAGE_LOG/failures.log" || true
    excerpt "$STAGE_LOG/failures.log" 100
  fi
}

# --- regress and isolation ------------------------------------------------------------------------------------

# The part of the checkout that server tests read, in a place where the server's user can read it.
# shellcheck disable=SC2153  # STAGE and its like come from run_stage
sync_tests() {
  tandem_sync "$TANDEM_WORK/tests" sql expected test/isolation test/tap test/perl bench/data
}

# Reads what pg_regress and pg_isolation_regress print: up to 15 "test NAME ... ok", from 16 on TAP.
regress_results() {
  perl -ne '
    if (/^(?:test\s+|\s+)(\S+)\s+\.\.\. (ok|FAILED)/) { print $2 eq "ok" ? "pass" : "fail", "\t$1\t\n" }
    elsif (/^(not )?ok \d+\s+[-+]\s+(\S+)/) { print $1 ? "fail" : "pass", "\t$2\t\n" }' "$1"
}

# run_regress PROGRAM INPUT_FOLDER TEST…
run_regress() {
  local program=$1 input=$2 status=0 out state name note
  shift 2
  out=$(tandem_as_server_user mktemp -d "$TANDEM_WORK/run/out.XXXXXX")
  tandem_on_exit discard_output "$out"
  # An ANALYZE by autovacuum holds a snapshot, and then VACUUM removes less than a test expects.
  tandem_server_start --name "$STAGE" max_prepared_transactions=10 jit=off log_min_messages=notice autovacuum=off
  tandem_as_server_user "$program" --bindir="$TANDEM_BINDIR" --host="$PGHOST" --port="$PGPORT" --user=postgres \
    --dbname=contrib_regression --inputdir="$input" --outputdir="$out" "$@" >"$STAGE_LOG/regress.log" 2>&1 || status=$?
  cp "$out/regression.diffs" "$STAGE_LOG/" 2>/dev/null || true
  cp "$TANDEM_SERVER_LOG" "$STAGE_LOG/server.log"
  while IFS=$'\t' read -r state name note; do
    result "$state" "$name" "$note"
  done < <(regress_results "$STAGE_LOG/regress.log")
  if ((status != 0)); then
    grep -q $'^fail\t' "$STAGE_RESULTS" || result fail "$(basename "$program")" "status $status"
    excerpt "$STAGE_LOG/regress.log" 20
    excerpt "$STAGE_LOG/regression.diffs" 120
  fi
  # A backend that died may have been masked by a retry or a later connection.
  if grep -nE 'PANIC:|TRAP:|terminated by signal|AddressSanitizer' "$STAGE_LOG/server.log" >"$STAGE_LOG/crashes.log"; then
    result fail "no crash in the server's log"
    excerpt "$STAGE_LOG/crashes.log" 10
  else
    result pass "no crash in the server's log"
  fi
}

discard_output() {
  if [[ -z ${TANDEM_KEEP-} ]]; then rm -rf "$1"; else printf '  kept: %s\n' "$1"; fi
}

stage_sql() {
  local tests=()
  sync_tests
  tests=("$TANDEM_WORK"/tests/sql/*.sql)
  ((${#tests[@]} > 0)) || return 0
  mapfile -t tests < <(basename -a -s .sql "${tests[@]}")
  tandem_private_server checked
  run_regress "$(dirname "$("$TANDEM_PG_CONFIG" --pgxs)")/../test/regress/pg_regress" "$TANDEM_WORK/tests" "${tests[@]}"
}

stage_isolation() {
  local tests=()
  sync_tests
  tests=("$TANDEM_WORK"/tests/test/isolation/specs/*.spec)
  ((${#tests[@]} > 0)) || return 0
  mapfile -t tests < <(basename -a -s .spec "${tests[@]}")
  tandem_private_server checked
  run_regress "$(dirname "$("$TANDEM_PG_CONFIG" --pgxs)")/../test/isolation/pg_isolation_regress" \
    "$TANDEM_WORK/tests/test/isolation" --load-extension=tandem "${tests[@]}"
}

# --- TAP ------------------------------------------------------------------------------------------------------

tap_seconds=1800    # for one file; the longest takes a few minutes, on a machine with nothing else to do
tap_wait_seconds=600    # for anything that a test waits for
tap_jobs=2         # files at a time: most of them wait for a server most of the time

stage_tap() {
  local pgxs out name files=()
  sync_tests
  for name in "$TANDEM_WORK"/tests/test/tap/*.pl; do
    name=$(basename "$name" .pl)
    if ((${#CHECK_TAP_FILES[@]} == 0)) || tap_chosen "$name"; then files+=("$name"); fi
  done
  if ((${#files[@]} == 0)); then
    ((${#CHECK_TAP_FILES[@]} == 0)) || result fail "${CHECK_TAP_FILES[*]}" "no such TAP file"
    return 0
  fi
  tandem_private_server checked
  pgxs=$(cd "$(dirname "$("$TANDEM_PG_CONFIG" --pgxs)")/../.." && pwd)
  out=$(tandem_as_server_user mktemp -d "$TANDEM_WORK/run/tap.XXXXXX")
  tandem_on_exit discard_tap "$out"
  for name in "${files[@]}"; do
    while (($(jobs -pr | wc -l) >= tap_jobs)); do wait -n || true; done
    run_tap_file "$name" "$out" "$pgxs" &
  done
  wait
  # In the order of their numbers, whichever ended first.
  for name in "${files[@]}"; do show_tap_file "$name"; done
}

run_tap_file() {
  local name=$1 out=$2 pgxs=$3 started=$SECONDS
  local log=$STAGE_LOG/$name
  mkdir -p "$log"
  tandem_as_server_user mkdir -p "$out/$name"
  tandem_as_server_user env -C "$TANDEM_WORK/tests" -u PGHOST -u PGPORT -u PGUSER -u PGDATABASE \
    TESTDIR="$out/$name" TESTDATADIR="$out/$name/tmp_check" TESTLOGDIR="$out/$name/tmp_check/log" \
    PG_TEST_TIMEOUT_DEFAULT="${PG_TEST_TIMEOUT_DEFAULT:-$tap_wait_seconds}" PGCTLTIMEOUT="${PGCTLTIMEOUT:-$tap_wait_seconds}" \
    PG_REGRESS="$pgxs/src/test/regress/pg_regress" PG_TEST_PORT_DIR="$out" \
    ${TANDEM_KEEP:+PG_TEST_NOCLEAN=1} LC_ALL=C TZ=UTC PERL5LIB="$TANDEM_WORK/tests/test/perl:$pgxs/src/test/perl" \
    perl - "$out/$name/tap.log" "$tap_seconds" perl "test/tap/$name.pl" \
    <"$TANDEM_ROOT/scripts/lib/run_tap.pl" >"$log/results" 2>"$log/runner.log" ||
    printf 'fail\trunner\t\n' >>"$log/results"
  cp "$out/$name/tap.log" "$out/$name"/tmp_check/log/* "$log/" 2>/dev/null || true
  if grep -nHE 'TRAP:|was terminated by signal (4|6|7|8|11):' "$log"/*.log >"$log/crashes"; then
    printf 'fail\tno crash in a server log\t\n' >>"$log/results"
  fi
  stop_tap_servers "$out/$name"
  if [[ -z ${TANDEM_KEEP-} ]]; then rm -rf "${out:?}/$name"; fi
  printf '%d\n' $((SECONDS - started)) >"$log/seconds"
}

show_tap_file() {
  local log=$STAGE_LOG/$1 state test note
  printf '  %-32s %4d tests, %4d s\n' "$1" "$(wc -l <"$log/results")" "$(<"$log/seconds")"
  while IFS=$'\t' read -r state test note; do
    result "$state" "$1: $test" "$note"
  done <"$log/results"
  if grep -q $'^fail\t' "$log/results"; then
    excerpt "$log/runner.log"
    excerpt "$log/tap.log" 40
    excerpt "$log/regress_log_$1" 40
    excerpt "$log/crashes" 10
  fi
}

tap_chosen() {
  local wanted
  for wanted in "${CHECK_TAP_FILES[@]}"; do
    wanted=$(basename "$wanted" .pl)
    if [[ $1 == "$wanted" || $1 == "${wanted}"_* || $1 == ???_"$wanted" ]]; then return 0; fi
  done
  return 1
}

discard_tap() {
  stop_tap_servers "$1"
  discard_output "$1"
}

# Servers that a test left behind because it was killed; their folders are below ours, so they are ours.
stop_tap_servers() {
  local pidfile pid
  while IFS= read -r pidfile; do
    pid=$(head -n 1 "$pidfile" 2>/dev/null) || continue
    if [[ $(readlink "/proc/$pid/cwd" 2>/dev/null) == "$(dirname "$pidfile")" ]]; then
      kill -QUIT "$pid" 2>/dev/null || true
    fi
  done < <(find "$1" -name postmaster.pid 2>/dev/null)
}

# --- quickstart -----------------------------------------------------------------------------------------------

stage_quickstart() {
  [[ -x $TANDEM_ROOT/test/quickstart/run ]] || return 0
  # Built here, in sight, so that the time limit is the tests' own.
  tandem_private_server checked
  tap_program '' "$TANDEM_ROOT/test/quickstart/run"
}

# tap_program NAME COMMAND…   a program that prints TAP; NAME, if not empty, goes before the names of its tests
tap_program() {
  local name=$1 log=$STAGE_LOG${1:+/$1} state test note
  shift
  mkdir -p "$log"
  perl "$TANDEM_ROOT/scripts/lib/run_tap.pl" "$log/tap.log" "$tap_seconds" "$@" >"$log/results" 2>"$log/runner.log" ||
    printf 'fail\trunner\t\n' >>"$log/results"
  while IFS=$'\t' read -r state test note; do
    result "$state" "${name:+$name: }$test" "$note"
  done <"$log/results"
  if grep -q $'^fail\t' "$log/results"; then
    excerpt "$log/runner.log"
    excerpt "$log/tap.log"
  fi
}

# --- clients --------------------------------------------------------------------------------------------------

# What applications use, from Debian's packages and npm's registry. What cannot be had is skipped.
stage_clients() {
  local program why
  # In a shell of its own, which a refusal ends.
  (tandem_install clients) >"$STAGE_LOG/install.log" 2>&1 || true
  tandem_private_server checked
  tandem_server_start --name clients
  export PYTHONDONTWRITEBYTECODE=1
  for program in "$TANDEM_ROOT"/test/clients/python/*_test.py; do
    tap_program "$(basename "$program" _test.py)" /usr/bin/python3 "$program"
  done
  if ! install_node_clients; then
    result skip node "$why"
    return
  fi
  for program in drivers mappers; do tap_program "node-$program" node "$TANDEM_WORK/clients/$program.mjs"; done
}

# The packages named in package.json, in the work folder. Sets `why` and fails if they cannot be had.
install_node_clients() {
  local folder=$TANDEM_WORK/clients
  why='node and npm are not installed'
  if ! command -v node >/dev/null || ! command -v npm >/dev/null; then return 1; fi
  why='node is older than 20'
  (($(node -p 'process.versions.node.split(".")[0]') >= 20)) || return 1
  mkdir -p "$folder"
  cp "$TANDEM_ROOT"/test/clients/node/* "$folder/"
  if ! cmp -s "$folder/package.json" "$folder/node_modules/installed"; then
    why="npm could not fetch the packages; see $STAGE_LOG/npm.log"
    rm -rf "$folder/node_modules"
    npm install --prefix "$folder" --no-package-lock --ignore-scripts --no-audit --no-fund --fetch-retries 1 \
      --fetch-timeout 20000 >"$STAGE_LOG/npm.log" 2>&1 || return 1
    cp "$folder/package.json" "$folder/node_modules/installed"
  fi
}

# --- bench ----------------------------------------------------------------------------------------------------

# Every suite once, small: its answers are checked, its speed is not.
stage_bench() {
  local suite status
  tandem_private_server release
  export TANDEM_BENCH_BUILD=$TANDEM_WORK/build/bench PYTHONDONTWRITEBYTECODE=1
  for suite in $("$TANDEM_ROOT/bench/run" --list | sed -n 's/^\([a-z-]*\):.*/\1/p'); do
    if [[ $suite == inprocess || $suite == tuning ]]; then continue; fi    # other people's libraries, minutes
    status=0
    "$TANDEM_ROOT/bench/run" --scale 0.01 --repeats 1 --pin none --results "$STAGE_LOG/lines" "$suite" \
      >"$STAGE_LOG/$suite.log" 2>&1 || status=$?
    case $status in
      0) result pass "$suite" ;;
      77) result skip "$suite" "the data sets are not there" ;;
      *)
        result fail "$suite" "status $status"
        excerpt "$STAGE_LOG/$suite.log"
        ;;
    esac
  done
}

# --- other versions of the server -----------------------------------------------------------------------------

# The TAP files of crashes, recovery, standbys and everything at once, which other versions' WAL, buffers and processes could break; and those
# beside pgvector, which these releases package.
version_tap_files=(001 002 003 004 007 011 012 040 041)

# Of a short pass, beside the regress files.
short_tap_files=(001)

# This script again, in a root folder that has the version; what it says and counts becomes this stage's.
stage_pg() {
  local version=$1 work=$TANDEM_WORK/pg-$1 words=() folders=() status=0 file
  if ! tandem_root "$version" >"$STAGE_LOG/root"; then
    result skip "PostgreSQL $version" "$(<"$STAGE_LOG/root")"
    return
  fi
  mkdir -p "$work"
  rm -rf "${work:?}/log"
  folders=("$TANDEM_ROOT=/tandem/source:ro" "$work=/tandem/work")
  if [[ -n ${TANDEM_DATA-} ]]; then folders+=("$TANDEM_DATA=/tandem/data:ro"); fi
  mapfile -t words < <(version_words)
  tandem_in_root "$TANDEM_PG_ROOT" "${folders[@]}" -- TANDEM_WORK=/tandem/work ${TANDEM_DATA:+TANDEM_DATA=/tandem/data} \
    TANDEM_NO_INSTALL=1 CHECK_STRICT=1 TANDEM_JOBS="$TANDEM_JOBS" ${TANDEM_KEEP:+TANDEM_KEEP=1} \
    /tandem/source/scripts/check "${words[@]}" >"$STAGE_LOG/check.log" 2>&1 || status=$?
  sed '$d; s/^/  /' "$STAGE_LOG/check.log"
  for file in "$work"/log/check/*.results; do
    awk -F '\t' -v OFS='\t' -v stage="$(basename "$file" .results)" '{ $2 = stage ": " $2 } 1' "$file" >>"$STAGE_RESULTS"
  done
  if ((status != 0)) && ! grep -q $'^fail\t' "$STAGE_RESULTS"; then result fail "PostgreSQL $version" "status $status"; fi
}

# What the script is called with in there, a word to a line.
version_words() {
  local group
  if [[ -n $CHECK_VERBOSE ]]; then echo -v; fi
  if [[ -n $CHECK_SHORT ]]; then
    printf '%s\n' --sql --tap "${short_tap_files[@]}"
    return
  fi
  if ((${#CHECK_GROUPS[@]} == 0)); then
    printf '%s\n' --unit release --sql --isolation --tap "${version_tap_files[@]}"
    return
  fi
  for group in "${CHECK_GROUPS[@]}"; do
    printf '%s\n' "--$group"
    case $group in
      unit) printf '%s\n' "${CHECK_FLAVOURS[@]:-release}" ;;
      tap) printf '%s\n' ${CHECK_TAP_FILES[@]+"${CHECK_TAP_FILES[@]}"} ;;
    esac
  done
}
