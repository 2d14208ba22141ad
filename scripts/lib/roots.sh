# shellcheck shell=bash
# Other versions of PostgreSQL: root folders of other Debian releases, made from packages, and commands run in them.
# Source server.sh before.
#
#   tandem_root VERSION     finds or makes the root with this version of PostgreSQL and sets TANDEM_PG_ROOT. Where that cannot
#                           be done here (no root rights, no mirror in reach, …) it prints why, in one line, and returns 1.
#   tandem_in_root ROOT FOLDER=PLACE… -- COMMAND…
#                           runs COMMAND as root in ROOT, with each FOLDER of this machine at PLACE (read-only if written
#                           FOLDER=PLACE:ro). Its processes and mounts go with it, however it ends. The network is this
#                           machine's: servers in there need sockets or ports of their own.
#
# A root takes about 800 MB and half a minute, and is kept for all checkouts: in TANDEM_ROOTS if set, else tandem/roots in the
# user's cache folder. It may be removed at any time that nothing runs in it.

# The release that has the version. Debian packages one version of PostgreSQL to a release; none that is alive has 16.
declare -A tandem__releases=([17]=trixie [18]=forky [19]=sid)

# What is to be added to a release that does not have the version yet; it is not one by itself, and has no pgvector for it.
declare -A tandem__previews=([19]=experimental)

# All that building and testing needs; @ stands for the version. What the server's development package depends on would pull in
# LLVM and clang, twice the size of everything else and only for bitcode, so that one is unpacked without (tandem__root_make).
tandem__root_packages='postgresql-@ postgresql-@-pgvector libpq-dev libhnswlib-dev libroaring-dev g++ make cmake libgtest-dev
  libbenchmark-dev libipc-run-perl libio-pty-perl locales perl'

tandem_root() {
  local version=$1 release folder key
  release=${tandem__releases[$version]-}
  if [[ -z $release ]]; then
    printf 'there is no Debian release to take PostgreSQL %s from\n' "$version"
    return 1
  fi
  if ((EUID != 0)); then
    printf 'needs root rights, to make and to enter a root folder\n'
    return 1
  fi
  # As in containers that may not mount.
  if ! unshare --mount --ipc --pid --fork true 2>/dev/null; then
    printf 'needs mounts of its own, which this machine does not allow\n'
    return 1
  fi
  folder=${TANDEM_ROOTS:-${XDG_CACHE_HOME:-${HOME:-$TANDEM_WORK}/.cache}/tandem/roots}
  key=$(printf '%s\n' "$release" "$version" "$(tandem__packages_of "$version")" "$(declare -f tandem__root_make)" | sha256sum | cut -c1-12)
  TANDEM_PG_ROOT=$folder/$release-$key
  mkdir -p "$folder"
  # One at a time makes a root; the others wait and find it.
  (
    flock 9
    [[ ! -e $TANDEM_PG_ROOT/complete ]] || exit 0
    rm -rf "${TANDEM_PG_ROOT:?}"
    log=$TANDEM_WORK/log/root-$version.log
    if ! tandem__root_make "$version" "$release" "$TANDEM_PG_ROOT" >"$log" 2>&1; then
      rm -rf "${TANDEM_PG_ROOT:?}"
      printf 'no root folder from Debian %s: %s (%s)\n' "$release" \
        "$({ grep -E '^(E|W|Err)[: ]' "$log" || tail -n 1 "$log"; } | head -n 1)" "$log"
      exit 1
    fi
    touch "$TANDEM_PG_ROOT/complete"
  ) 9>"$folder/lock"
}

# tandem__packages_of VERSION
tandem__packages_of() {
  local packages=${tandem__root_packages//@/$1} preview=${tandem__previews[$1]-}
  if [[ -n $preview ]]; then
    packages="${packages/postgresql-$1-pgvector libpq-dev/} libpq5/$preview libpq-dev/$preview"
  fi
  tr -s ' \n' ',' <<<"$packages" | sed 's/,$//'
}

# tandem__root_make VERSION RELEASE FOLDER
# shellcheck disable=SC2016  # apt and mmdebstrap's hooks expand what stands in single quotes
tandem__root_make() {
  local version=$1 release=$2 folder=$3 preview=${tandem__previews[$1]-} mirror sources
  # In a shell of its own: what it says when it cannot install ends that one only.
  command -v mmdebstrap >/dev/null || (tandem__apt_install mmdebstrap) || return
  # Whatever mirror this machine uses.
  mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -v security | head -n 1)
  [[ -n $mirror ]] || {
    echo "apt knows no mirror"
    return 1
  }
  sources=("$mirror")
  if [[ -n $preview ]]; then sources=("deb $mirror $release main" "deb $mirror $preview main"); fi
  # Check-Valid-Until: the mirror's copy of a release that is not stable yet may be some weeks old.
  mmdebstrap --variant=minbase --include="$(tandem__packages_of "$version")" \
    --aptopt='Acquire::Check-Valid-Until "false"' --aptopt='Acquire::Retries "2"' --aptopt='Acquire::http::Timeout "20"' \
    --dpkgopt='force-unsafe-io' --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
    --essential-hook='mkdir -p "$1/etc/postgresql-common/createcluster.d"' \
    --essential-hook='echo "create_main_cluster = off" >"$1/etc/postgresql-common/createcluster.d/none.conf"' \
    --customize-hook='cd "$1/tmp" && APT_CONFIG=$MMDEBSTRAP_APT_CONFIG apt-get download postgresql-server-dev-'"$version" \
    --customize-hook='dpkg -x "$1"/tmp/postgresql-server-dev-*.deb "$1" && rm "$1"/tmp/postgresql-server-dev-*.deb' \
    "$release" "$folder" "${sources[@]}" || return
  [[ -e $folder/usr/lib/postgresql/$version/lib/pgxs/src/makefiles/pgxs.mk ]]
}

tandem_in_root() {
  # shellcheck disable=SC2016  # expanded by the inner shell
  unshare --mount --ipc --pid --fork --kill-child --propagation private bash -c '
    set -euo pipefail
    root=$1
    shift
    mount -t proc proc "$root/proc"
    for device in null zero full random urandom tty; do
      [[ -e $root/dev/$device ]] || : >"$root/dev/$device"
      mount --bind "/dev/$device" "$root/dev/$device"
    done
    for folder in dev/shm run tmp; do
      mkdir -p "$root/$folder"
      mount -t tmpfs -o mode=1777 tmpfs "$root/$folder"
    done
    mkdir -p "$root/dev/pts"
    mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts "$root/dev/pts"
    ln -sfn pts/ptmx "$root/dev/ptmx"
    ln -sfn /proc/self/fd "$root/dev/fd"
    while [[ $1 != -- ]]; do
      place=${1#*=}
      mkdir -p "$root${place%:ro}"
      mount --bind "${1%%=*}" "$root${place%:ro}"
      if [[ $place == *:ro ]]; then mount -o remount,bind,ro "$root${place%:ro}"; fi
      shift
    done
    shift
    exec chroot "$root" env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
      HOME=/root LANG=C.UTF-8 "$@"' bash "$@"
}
