# shellcheck shell=bash
# Messages, clean-up, work folder and privileges, shared by the scripts. Source server.sh, which includes this.
#
# The sourcing script runs under `set -euo pipefail`. Names beginning with tandem__ are internal.
#
# Variables set by sourcing:
#   TANDEM_ROOT    the checkout (absolute)
#   TANDEM_WORK    where everything is written: builds, private servers, logs, throw-away clusters. From the
#                  environment if set there, else /var/tmp/tandem-UID/NAME-HASH with one folder for each checkout
#   TANDEM_RUN_AS  the user that server commands run as: the caller, or for root `postgres` (else `nobody`);
#                  root may choose another through the environment
#   TANDEM_JOBS    parallel compiler jobs: the number of CPUs unless set
#
# Functions:
#   tandem_say TEXT…             one line of progress on standard output
#   tandem_warn TEXT…            one line on standard error
#   tandem_die TEXT…             message on standard error, then exit 1
#   tandem_step TEXT COMMAND…    runs COMMAND with its output in a log, prints "TEXT … 12 s"; on failure prints
#                                the end of the log and returns COMMAND's status
#   tandem_on_exit COMMAND…      runs COMMAND when the script ends, however it ends; last registered runs first
#   tandem_as_root COMMAND…      runs COMMAND as root, through sudo if need be; dies with a hint if neither works
#   tandem_as_server_user COMMAND…  runs COMMAND as TANDEM_RUN_AS in a folder which that user can enter

tandem_say() { printf '%s\n' "$*"; }
tandem_warn() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }
tandem_die() {
  tandem_warn "$*"
  exit 1
}

tandem__exit_commands=()

tandem_on_exit() {
  local quoted
  printf -v quoted '%q ' "$@"
  tandem__exit_commands+=("$quoted")
}

tandem__at_exit() {
  local status=$? i
  trap - EXIT
  trap '' INT TERM HUP
  set +e
  for ((i = ${#tandem__exit_commands[@]} - 1; i >= 0; i--)); do
    eval "${tandem__exit_commands[i]}"
  done
  exit "$status"
}
trap tandem__at_exit EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

tandem_step() {
  local text=$1 log started=$SECONDS status=0
  shift
  mkdir -p "$TANDEM_WORK/log"
  log=$TANDEM_WORK/log/$(tr -cs 'A-Za-z0-9\n' '-' <<<"$text" | cut -c1-60).log
  printf '%s … ' "$text"
  "$@" >"$log" 2>&1 </dev/null || status=$?
  if ((status == 0)); then
    printf '%d s\n' $((SECONDS - started))
  else
    printf 'failed after %d s; the end of %s:\n' $((SECONDS - started)) "$log"
    tail -n 40 "$log"
  fi
  return "$status"
}

tandem_as_root() {
  if ((EUID == 0)); then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo -- "$@"
  else
    tandem_die "this needs root: run it as root, or install sudo and try again (wanted: $*)"
  fi
}

tandem_as_server_user() (
  cd "$TANDEM_WORK/run" || exit 1
  # A server that outlives this script must not keep its lock.
  if [[ -n ${tandem__lock_fd-} ]]; then exec {tandem__lock_fd}>&-; fi
  if ((EUID != 0)); then
    exec "$@"
  fi
  # setpriv rather than runuser or su: no session and no process in between, so signals and exit status pass.
  exec setpriv --reuid="$TANDEM_RUN_AS" --regid="$(id -g "$TANDEM_RUN_AS")" --init-groups \
    env -u TMPDIR HOME="$TANDEM_WORK/run" USER="$TANDEM_RUN_AS" LOGNAME="$TANDEM_RUN_AS" "$@"
)

# The postgres user comes into being with the server's packages, so this is asked again after installing.
tandem__choose_user() {
  if ((EUID != 0)); then
    TANDEM_RUN_AS=$(id -un)
  elif [[ -n ${tandem__run_as_wish-} ]]; then
    TANDEM_RUN_AS=$tandem__run_as_wish
    id -u "$TANDEM_RUN_AS" >/dev/null 2>&1 || tandem_die "TANDEM_RUN_AS: there is no user \"$TANDEM_RUN_AS\""
    (($(id -u "$TANDEM_RUN_AS") != 0)) || tandem_die "TANDEM_RUN_AS must not be root: the server refuses root"
  elif id -u postgres >/dev/null 2>&1; then
    TANDEM_RUN_AS=postgres
  else
    TANDEM_RUN_AS=nobody
  fi
}

# Makes the work folder, refusing one that another user could have planted under a name that can be guessed.
tandem__make_work() {
  local parent
  if [[ -z ${TANDEM_WORK-} ]]; then
    parent=${TMPDIR:-/var/tmp}
    # root's server user must be able to enter the folder, which a private TMPDIR does not allow
    if ((EUID == 0)); then parent=/var/tmp; fi
    parent=$parent/tandem-$EUID
    TANDEM_WORK=$parent/$(basename "$TANDEM_ROOT" | tr -c 'A-Za-z0-9.\n' -)-$(cksum <<<"$TANDEM_ROOT" | cut -d' ' -f1)
    mkdir -m 755 "$parent" 2>/dev/null || true
    [[ -d $parent && ! -L $parent && -O $parent ]] || tandem_die "$parent is not a folder of ours; set TANDEM_WORK"
  fi
  mkdir -p "$TANDEM_WORK"
  TANDEM_WORK=$(cd "$TANDEM_WORK" && pwd -P)
  [[ -O $TANDEM_WORK ]] || tandem_die "the work folder $TANDEM_WORK belongs to somebody else; set TANDEM_WORK"
  [[ $TANDEM_WORK/ != "$TANDEM_ROOT"/* ]] || tandem_die "TANDEM_WORK must not lie inside the checkout"
  # The checkout may have any name, but make and the server's build files cannot live with spaces.
  [[ $TANDEM_WORK =~ ^[A-Za-z0-9_./@+,-]+$ ]] || tandem_die "TANDEM_WORK must consist of plain letters: $TANDEM_WORK"
  chmod 755 "$TANDEM_WORK"
  mkdir -p "$TANDEM_WORK/run" "$TANDEM_WORK/log"
  tandem__own_run
}

tandem__own_run() {
  tandem__choose_user
  if ((EUID == 0)); then
    chown "$TANDEM_RUN_AS:" "$TANDEM_WORK/run"
    (tandem_as_server_user test -w "$TANDEM_WORK/run") ||
      tandem_die "user $TANDEM_RUN_AS cannot reach the work folder $TANDEM_WORK; set TANDEM_WORK to another place"
  fi
}

umask 022
TANDEM_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
tandem__run_as_wish=${TANDEM_RUN_AS-}
tandem__make_work
TANDEM_JOBS=${TANDEM_JOBS:-$(nproc)}
export TANDEM_ROOT TANDEM_WORK TANDEM_RUN_AS TANDEM_JOBS
