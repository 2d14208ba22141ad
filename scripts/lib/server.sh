# shellcheck shell=bash
# A private copy of the installed PostgreSQL server, with tandem built into it, and throw-away clusters on it.
# Nothing here writes to the system's PostgreSQL folders or looks at an existing cluster.
#
#   set -euo pipefail
#   source "$(dirname "$0")/lib/server.sh"     # includes common.sh and packages.sh; see their headers
#   tandem_install build                       # packages; sets PG_CONFIG
#   tandem_private_server release              # sets TANDEM_PREFIX, TANDEM_BINDIR
#   tandem_server_start                        # sets TANDEM_PGDATA, PGHOST, PGPORT, PGUSER, PGDATABASE
#   tandem_psql -c 'CREATE EXTENSION tandem'   # the server is stopped and removed when the script ends
#
# tandem_private_server FLAVOUR
#     Copies the server, builds this checkout outside of it and installs it into the copy. Keyed on the contents
#     of the sources: where nothing changed, nothing is done; otherwise only what changed is compiled. Flavours:
#       release   the module as `make` builds it
#       checked   with the stop points of the race and crash tests and with the server's Assert in our module
#       clang     for lint
#     With TANDEM_WERROR in the environment, as in all checks, warnings are errors.
#     Sets and exports TANDEM_PREFIX (the copy), TANDEM_BINDIR (its programs; also first in PATH), and
#     TANDEM_PG_CONFIG.
#
# tandem_server_start [--name NAME] [--keep] [SETTING=VALUE]…
#     Makes a cluster if the name is new, and starts it, under the private server chosen last. Superuser is
#     "postgres", without a password, over a socket folder that only the server's user (and root) can enter; no
#     TCP, so it meets no other server. The port, which then only names the socket, is one that was free.
#     Settings go to the configuration, e.g. work_mem=64MB.
#       (no option)   a cluster of this script: fsync is off, stopped and removed when the script ends
#       --name NAME --keep   stays running after the script; a second call finds the running server and only
#                            sets the variables. Restarted if it was started under another build of tandem.
#     Sets and exports TANDEM_PGDATA, TANDEM_SERVER_LOG, PGHOST, PGPORT, PGUSER=postgres, PGDATABASE=postgres.
#
# tandem_server_stop            stops the server started last; removes it unless it is kept
# tandem_server_pause           stops it, cleanly, and keeps it, whatever it is
# tandem_server_resume          starts it again, with the same settings and the same port
# tandem_server_remove NAME     stops and removes a kept one; no error if there is none
# tandem_server_running NAME    true if a kept one of this name runs
# tandem_psql ARGUMENT…         psql of the private server: no psqlrc, ON_ERROR_STOP, as the server's user.
#                               Files given by name must be readable for that user: prefer standard input
# tandem_sync DESTINATION PATH…  brings DESTINATION (a folder of ours) to the contents of the named files and
#                               folders of the checkout, touching only files that differ

# shellcheck source=scripts/lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source=scripts/lib/packages.sh
source "$(dirname "${BASH_SOURCE[0]}")/packages.sh"

tandem__module_paths=(Makefile tandem.control tandem_pgvector.control extension src)

# --- the private server ---------------------------------------------------------------------------------------

tandem_private_server() {
  local flavour=$1 key prefix
  [[ -n ${PG_CONFIG-} ]] || tandem_find_pg_config
  key=$(tandem__module_key "$flavour")
  prefix=$TANDEM_WORK/server/$flavour-$key
  mkdir -p "$TANDEM_WORK/server"
  # Stages of a check run side by side, and one of them builds.
  (
    flock 8
    [[ ! -e $prefix/complete ]] || exit 0
    tandem_step "building tandem ($flavour) for $("$PG_CONFIG" --version)" tandem__build_server "$flavour" "$prefix" ||
      tandem_die "the module does not build"
    tandem__drop_old_servers "$flavour" "$prefix"
  ) 8>"$TANDEM_WORK/server/$flavour.lock" || exit 1
  TANDEM_PREFIX=$prefix
  TANDEM_BINDIR=$(<"$prefix/complete")
  TANDEM_PG_CONFIG=$TANDEM_BINDIR/pg_config
  PATH=$TANDEM_BINDIR:$PATH
  export TANDEM_PREFIX TANDEM_BINDIR TANDEM_PG_CONFIG PATH
}

# One word for everything that the built module depends on.
tandem__module_key() {
  {
    printf '%s\n' "$1" "$("$PG_CONFIG" --version)" "$("$PG_CONFIG" --bindir)" "${CXX-}"
    stat -L -c '%s %Y' "$("$PG_CONFIG" --bindir)/postgres" "$(command -v "${CXX:-g++}")"
    cat "${BASH_SOURCE[0]}"
    cd "$TANDEM_ROOT" || exit 1
    tandem__list_files "${tandem__module_paths[@]}" | xargs -0 sha256sum
  } | sha256sum | cut -c1-12
}

# The command line of make for a flavour, one word to a line.
tandem__make_words() {
  local cxx="${CXX:-g++}${TANDEM_WERROR:+ -Werror}"
  case $1 in
    release) printf '%s\n' "CXX=$cxx" ;;
    checked)
      # Line numbers are enough for a stack; describing every variable takes longer than the code.
      printf '%s\n' TANDEM_STOP_POINTS=1 TANDEM_CXXFLAGS=-g1 TANDEM_PRECOMPILED=1
      # From 18 on the headers' assertions call functions that only a server with assertions has.
      if (($(tandem__major) < 18)); then
        printf '%s\n' "CXX=$cxx -DUSE_ASSERT_CHECKING"
      else
        printf '%s\n' "CXX=$cxx"
      fi
      ;;
    clang)
      # Only its warnings are wanted.
      printf '%s\n' TANDEM_STOP_POINTS=1 'TANDEM_CXXFLAGS=-O1 -g0' TANDEM_PRECOMPILED=1
      # The server's flags and attributes are gcc's; clang does not know all of them.
      printf '%s\n' "CXX=clang++${TANDEM_WERROR:+ -Werror} -Wno-unknown-warning-option -Wno-ignored-optimization-argument -Wno-unused-command-line-argument -Wno-ignored-attributes"
      ;;
    *) tandem_die "unknown flavour \"$1\"" ;;
  esac
}

tandem__major() {
  local version
  version=$("$PG_CONFIG" --version)
  version=${version#PostgreSQL }
  printf '%s\n' "${version%%[!0-9]*}"
}

# Compiles into TANDEM_WORK/build/FLAVOUR, whose objects are kept for the next time.
tandem__compile() {
  mkdir -p "$TANDEM_WORK/build"
  (
    flock 9
    tandem__compile_alone "$1"
  ) 9>"$TANDEM_WORK/build/$1.lock"
}

tandem__compile_alone() {
  local flavour=$1 build=$TANDEM_WORK/build/$1 words=() stamp
  mapfile -t words < <(tandem__make_words "$flavour")
  tandem_sync "$build" "${tandem__module_paths[@]}" || return
  # Objects know their headers, but not the command line, the build file or the server that they were made for.
  stamp=$(printf '%s\n' "${words[@]// -Werror/}" "$("$PG_CONFIG" --version)" "$PG_CONFIG" && cat "$build/Makefile")
  if [[ ! -e $build/stamp || $(<"$build/stamp") != "$stamp" ]]; then
    find "$build" -type f \( -name '*.o' -o -name '*.d' -o -name '*.gch' -o -name '*.so' \) -delete
    printf '%s\n' "$stamp" >"$build/stamp"
  fi
  # Silent, so that a log shows warnings and errors only.
  make -s -C "$build" -j"$TANDEM_JOBS" PG_CONFIG="$PG_CONFIG" "${words[@]}"
}

tandem__build_server() {
  local flavour=$1 prefix=$2 words=() part source common bindir
  tandem__compile "$flavour" || return
  mapfile -t words < <(tandem__make_words "$flavour")
  # PostgreSQL finds its folders relative to its program, so the copy keeps their places relative to each other.
  bindir=$("$PG_CONFIG" --bindir)
  common=$bindir
  for part in sharedir pkglibdir includedir includedir-server; do
    source=$("$PG_CONFIG" --$part)
    while [[ $source/ != "$common"/* ]]; do common=$(dirname "$common"); done
  done
  rm -rf "$prefix" "$prefix.new"
  for part in bindir sharedir pkglibdir; do
    source=$("$PG_CONFIG" --$part)
    mkdir -p "$prefix.new/$(dirname "${source#"$common"}")"
    [[ -d $prefix.new/${source#"$common"} ]] || cp -a --reflink=auto "$source" "$prefix.new/${source#"$common"}" || return
  done
  for part in includedir includedir-server; do
    source=$("$PG_CONFIG" --$part)
    [[ ! -e $prefix.new/${source#"$common"} ]] || continue
    mkdir -p "$prefix.new/$(dirname "${source#"$common"}")"
    ln -s "$source" "$prefix.new/${source#"$common"}" || return
  done
  mv "$prefix.new" "$prefix"
  bindir=$prefix${bindir#"$common"}
  make -C "$TANDEM_WORK/build/$flavour" PG_CONFIG="$bindir/pg_config" "${words[@]}" install || return
  printf '%s\n' "$bindir" >"$prefix/complete"
}

# Copies that are no longer the newest of their flavour go, unless a server runs from them.
tandem__drop_old_servers() {
  local flavour=$1 keep=$2 old
  for old in "$TANDEM_WORK/server/$flavour"-*; do
    [[ $old != "$keep" ]] || continue
    if ! grep -qsxF "$old" "$TANDEM_WORK"/run/*/prefix; then rm -rf "$old" "$TANDEM_WORK/run/template-${old##*/}"*; fi
  done
}

# Files below the named paths, NUL-separated and sorted, without what builds and editors leave behind.
tandem__list_files() {
  local path present=()
  for path; do
    if [[ -e $path ]]; then present+=("$path"); fi
  done
  ((${#present[@]} > 0)) || return 0
  find "${present[@]}" \( -name .git -o -name build -o -name tmp_check -o -name results -o -name __pycache__ \) -prune -o \
    -type f ! -name '*.o' ! -name '*.d' ! -name '*.gch' ! -name '*.so' ! -name '*.bc' ! -name '.*.sw?' ! -name '*~' -print0 | sort -z
}

tandem_sync() {
  mkdir -p "$1" || return
  # Stages that run side by side share folders.
  (
    flock 7
    tandem__sync "$@"
  ) 7>"$1.sync"
}

tandem__sync() {
  local destination=$1 file path existing=()
  shift
  local -A wanted=()
  for path; do
    [[ -e $TANDEM_ROOT/$path ]] || continue
    while IFS= read -r -d '' file; do
      wanted[$file]=1
      if ! cmp -s "$TANDEM_ROOT/$file" "$destination/$file"; then
        mkdir -p "$destination/$(dirname "$file")" || return
        rm -f "$destination/$file"
        # Without the time stamp: the copy is as new as its contents, which is what make looks at.
        cp --preserve=mode "$TANDEM_ROOT/$file" "$destination/$file" || return
        chmod u+w,a+r "$destination/$file"
      fi
    done < <(cd "$TANDEM_ROOT" && tandem__list_files "$path")
    [[ -d $destination/$path ]] || continue
    mapfile -d '' -t existing < <(cd "$destination" && tandem__list_files "$path")
    for file in "${existing[@]}"; do
      [[ -n ${wanted[$file]-} ]] || rm -f "$destination/$file"
    done
  done
}

# --- clusters -------------------------------------------------------------------------------------------------

tandem_server_start() {
  local name='' keep='' settings=()
  while (($# > 0)); do
    case $1 in
      --name) name=$2 && shift ;;
      --keep) keep=1 ;;
      *=*) settings+=("$1") ;;
      *) tandem_die "tandem_server_start: unknown word \"$1\"" ;;
    esac
    shift
  done
  [[ -n ${TANDEM_BINDIR-} ]] || tandem_die "tandem_server_start: call tandem_private_server first"
  [[ -z $keep || $name =~ ^[A-Za-z0-9_-]+$ ]] || tandem_die "tandem_server_start --keep: a plain --name is needed"
  tandem__sweep
  if [[ -n $keep ]]; then
    tandem__run_dir=$TANDEM_WORK/run/kept-$name
    if tandem_server_running "$name"; then
      if [[ $(<"$tandem__run_dir/prefix") == "$TANDEM_PREFIX" ]]; then
        tandem__server_variables
        return
      fi
      tandem__stop "$tandem__run_dir" fast
    fi
  else
    tandem__run_dir=$(tandem_as_server_user mktemp -d "$TANDEM_WORK/run/temp-${name:-server}.XXXXXX")
    tandem_on_exit tandem__discard "$tandem__run_dir"
  fi
  # shellcheck disable=SC2016  # expanded by the inner shell
  tandem_as_server_user bash -c '
      set -euo pipefail
      mkdir -p -m 700 "$1"
      printf "%s\n" "$2" >"$1/prefix"; printf "%s\n" "$3" >"$1/owner"' bash \
    "$tandem__run_dir" "$TANDEM_PREFIX" "$([[ -n $keep ]] && echo kept || echo $$)"
  if [[ ! -e $tandem__run_dir/data/PG_VERSION ]]; then tandem__initdb; fi
  tandem__configure "$keep" ${settings[@]+"${settings[@]}"}
  tandem_server_resume
}

tandem_server_pause() {
  tandem__stop "$tandem__run_dir" fast
}

tandem_server_resume() {
  # A server that stays up must not hold what this script was given: `quickstart | tail` would wait for it for ever.
  if ! (
    tandem__close_descriptors
    tandem_as_server_user "$TANDEM_BINDIR/pg_ctl" -D "$tandem__run_dir/data" -l "$tandem__run_dir/server.log" \
      -w -t 60 start
  ) >"$TANDEM_WORK/log/pg_ctl.log" 2>&1 </dev/null; then
    cat "$TANDEM_WORK/log/pg_ctl.log" >&2
    tail -n 20 "$tandem__run_dir/server.log" >&2 || true
    tandem_die "the server did not start"
  fi
  tandem__server_variables
}

tandem__initdb() {
  local template=$TANDEM_WORK/run/template-${TANDEM_PREFIX##*/}
  # A cluster of another build that was given up half-way is of no use.
  tandem_as_server_user rm -rf "$tandem__run_dir/data"
  # Made once for a build, and copied, which takes a third of the time.
  (
    flock 9
    if [[ ! -e $template/PG_VERSION ]]; then
      tandem_as_server_user rm -rf "$template.new"
      tandem_as_server_user "$TANDEM_BINDIR/initdb" -D "$template.new" -U postgres --auth=trust \
        --encoding=UTF8 --locale=C.UTF-8 --no-sync >"$TANDEM_WORK/log/initdb.log" 2>&1 9>&- || {
        cat "$TANDEM_WORK/log/initdb.log" >&2
        tandem_die "initdb failed"
      }
      tandem_as_server_user mv "$template.new" "$template"
    fi
    tandem_as_server_user cp -a --reflink=auto "$template" "$tandem__run_dir/data"
  ) 9>"$TANDEM_WORK/run.lock" || exit 1
}

tandem__configure() {
  local keep=$1 sockets=$tandem__run_dir/s quote="'" setting port
  shift
  # The system's limit for a socket's path is 107 bytes.
  if ((${#sockets} > 85)); then
    sockets=$(tandem_as_server_user mktemp -d /tmp/tandem.XXXXXX)
  else
    tandem_as_server_user mkdir -p -m 700 "$sockets"
  fi
  port=$(tandem__free_port)
  {
    printf "port = %d\nunix_socket_directories = '%s'\n" "$port" "$sockets"
    printf "listen_addresses = ''\n"
    if [[ -z $keep ]]; then printf 'fsync = off\nfull_page_writes = on\n'; fi
    for setting in "${@//$quote/$quote$quote}"; do
      printf "%s = '%s'\n" "${setting%%=*}" "${setting#*=}"
    done
  } | tandem_as_server_user tee "$tandem__run_dir/data/tandem.conf" >/dev/null
  # shellcheck disable=SC2016  # expanded by the inner shell
  tandem_as_server_user bash -c '
      set -euo pipefail
      printf "%s\n%s\n" "$2" "$3" >"$1/address"
      grep -qx "include .tandem.conf." "$1/data/postgresql.conf" || echo "include '\''tandem.conf'\''" >>"$1/data/postgresql.conf"
      printf "local all all trust\nlocal replication all trust\n" >"$1/data/pg_hba.conf"' \
    bash "$tandem__run_dir" "$sockets" "$port"
}

tandem__server_variables() {
  local address=()
  mapfile -t address < <(tandem_as_server_user cat "$tandem__run_dir/address")
  TANDEM_PGDATA=$tandem__run_dir/data
  TANDEM_SERVER_LOG=$tandem__run_dir/server.log
  PGHOST=${address[0]}
  PGPORT=${address[1]}
  PGUSER=postgres
  PGDATABASE=postgres
  export TANDEM_PGDATA TANDEM_SERVER_LOG PGHOST PGPORT PGUSER PGDATABASE
}

tandem__free_port() {
  # Asks the kernel for one that nobody listens on.
  perl -MIO::Socket::INET -e 'my $s = IO::Socket::INET->new(Listen => 1, LocalAddr => "127.0.0.1", ReuseAddr => 1)
    or die "no free port: $@\n"; print $s->sockport, "\n"'
}

tandem_server_stop() {
  if [[ $(<"$tandem__run_dir/owner") == kept ]]; then
    tandem__stop "$tandem__run_dir" fast
  else
    tandem__discard "$tandem__run_dir"
  fi
}

tandem_server_running() {
  local dir=$TANDEM_WORK/run/kept-$1
  [[ -e $dir/prefix ]] && tandem_as_server_user "$(<"$(<"$dir/prefix")/complete")/pg_ctl" -D "$dir/data" status >/dev/null 2>&1
}

# Closes every descriptor of this (sub)shell but the standard ones and bash's own.
tandem__close_descriptors() {
  local fd
  for fd in "/proc/$BASHPID/fd"/*; do
    fd=${fd##*/}
    if ((fd > 2 && fd != 255)); then eval "exec $fd>&-"; fi
  done
}

tandem_server_remove() {
  if [[ -d $TANDEM_WORK/run/kept-$1 ]]; then tandem__discard "$TANDEM_WORK/run/kept-$1"; fi
}

tandem__stop() {
  local dir=$1 mode=$2 prefix
  [[ -e $dir/prefix && -e $dir/data/postmaster.pid ]] || return 0
  prefix=$(<"$dir/prefix")
  tandem_as_server_user "$(<"$prefix/complete")/pg_ctl" -D "$dir/data" -m "$mode" -w stop >/dev/null 2>&1 || true
}

tandem__discard() {
  local dir=$1 sockets
  [[ -d $dir ]] || return 0
  tandem__stop "$dir" immediate
  sockets=$(head -n 1 "$dir/address" 2>/dev/null || true)
  if [[ $sockets == /tmp/tandem.* ]]; then rm -rf "$sockets"; fi
  rm -rf "$dir"
}

# Removes what a script that was killed could not remove itself.
tandem__sweep() {
  local dir owner
  for dir in "$TANDEM_WORK"/run/temp-*; do
    [[ -e $dir/owner ]] || continue
    owner=$(<"$dir/owner")
    if ! [[ -d /proc/$owner ]]; then tandem__discard "$dir"; fi
  done
}

tandem_psql() {
  tandem_as_server_user "$TANDEM_BINDIR/psql" -X -q -v ON_ERROR_STOP=1 "$@"
}
