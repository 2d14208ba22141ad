# shellcheck shell=bash
# What the scripts need from the distribution, and how it gets there. Sourced through server.sh.
#
#   tandem_install PURPOSE…   installs the packages of these purposes that are missing (usually none, and then
#                             this takes no privileges and a few milliseconds), then finds PG_CONFIG.
#                             Purposes: build  test  lint  quickstart  clients  bench  bench-references
#                             With TANDEM_NO_INSTALL in the environment, what is there must do.
#
# A server of PostgreSQL 15 or later that is already there is used; otherwise the distribution's own is
# installed, without letting its package create or start a cluster.

# Package names by purpose; @ stands for the server's major version.
declare -A tandem__packages=(
  [build]='g++ make libhnswlib-dev postgresql-@ postgresql-server-dev-@'
  [test]='cmake libgtest-dev libbenchmark-dev libhnswlib-dev libpq-dev clang libclang-rt-dev libipc-run-perl libio-pty-perl locales perl'
  [lint]='clang clang-format clang-tidy shellcheck pyflakes3 git perl'
  [quickstart]='python3 python3-scipy'
  [clients]='python3 python3-psycopg python3-psycopg2'
  [bench]='cmake pkg-config libpq-dev libhnswlib-dev python3-numpy'
  [bench-references]='libfaiss-dev liblapack-dev'
)

tandem_install() {
  local purpose package missing=() wanted=() version=''
  if [[ -n ${TANDEM_NO_INSTALL-} ]]; then set --; else version=$(tandem__server_version); fi
  for purpose; do
    [[ -n ${tandem__packages[$purpose]-} ]] || tandem_die "no package list for \"$purpose\""
    read -ra wanted <<<"${tandem__packages[$purpose]//@/$version}"
    for package in "${wanted[@]}"; do
      tandem__installed "$package" || missing+=("$package")
    done
  done
  if ((${#missing[@]} > 0)); then
    mapfile -t missing < <(printf '%s\n' "${missing[@]}" | sort -u)
    tandem__apt_install "${missing[@]}"
  fi
  tandem_find_pg_config
  tandem__own_run
}

# Finds the pg_config of a server with development files and sets PG_CONFIG (exported). A PG_CONFIG from the
# environment is taken as it is.
tandem_find_pg_config() {
  local candidate
  if [[ -n ${PG_CONFIG-} ]]; then
    tandem__usable_pg_config "$PG_CONFIG" ||
      tandem_die "PG_CONFIG=$PG_CONFIG names no server of PostgreSQL 15 or later with development files"
    PG_CONFIG=$(command -v "$PG_CONFIG")
    export PG_CONFIG
    return
  fi
  while read -r candidate; do
    if tandem__usable_pg_config "$candidate"; then
      export PG_CONFIG=$candidate
      return
    fi
  done < <(command -v pg_config || true; printf '%s\n' /usr/lib/postgresql/*/bin/pg_config | sort -rV)
  tandem_die "found no PostgreSQL server 15 or later with development files; set PG_CONFIG"
}

tandem__usable_pg_config() {
  local config version bindir
  config=$(command -v "$1" 2>/dev/null) || return 1
  version=$("$config" --version 2>/dev/null) || return 1
  version=${version#PostgreSQL }
  version=${version%%[!0-9]*}
  bindir=$("$config" --bindir)
  ((version >= 15)) && [[ -x $bindir/postgres && -x $bindir/initdb && -e $("$config" --pgxs) ]]
}

tandem__installed() {
  local state
  # With PG_CONFIG from the environment, the server is the caller's business.
  if [[ -n ${PG_CONFIG-} && $1 == postgresql-* ]]; then return 0; fi
  state=$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null) && [[ $state == installed ]]
}

# Major version of the server to use: the newest one installed with its development files, else the newest one
# installed, else the one that the distribution's package "postgresql" stands for.
tandem__server_version() {
  local version best='' dir
  for dir in $(printf '%s\n' /usr/lib/postgresql/*/ | sort -V); do
    version=$(basename "$dir")
    [[ -x ${dir}bin/postgres && $version =~ ^[0-9]+$ ]] || continue
    if ((version < 15)); then continue; fi
    if [[ -n $best && -e /usr/lib/postgresql/$best/lib/pgxs && ! -e ${dir}lib/pgxs ]]; then continue; fi
    best=$version
  done
  if [[ -z $best && -n ${PG_CONFIG-} ]]; then best=0; fi
  if [[ -z $best ]]; then
    best=$(tandem__packaged_version)
    if [[ -z $best ]]; then
      tandem__apt_update >&2
      best=$(tandem__packaged_version)
    fi
    [[ -n $best ]] || tandem_die "the package lists know no package \"postgresql\": is this Debian or a relative of it?"
    ((best >= 15)) || tandem_die "the distribution's PostgreSQL is $best; tandem needs 15 or later"
  fi
  printf '%s\n' "$best"
}

tandem__packaged_version() {
  apt-cache depends postgresql 2>/dev/null | sed -n 's/^ *Depends: postgresql-\([0-9][0-9]*\)$/\1/p' | head -n 1
}

tandem__apt_update() {
  command -v apt-get >/dev/null || tandem_die "no apt-get here: install the packages named in scripts/lib/packages.sh by hand"
  tandem_step "refreshing the package lists" tandem_as_root apt-get -qq update
}

tandem__apt_install() {
  command -v apt-get >/dev/null || tandem_die "no apt-get here; missing packages: $*"
  if ((EUID != 0)); then
    command -v sudo >/dev/null ||
      tandem_die "missing packages: $* (install them, or run this as root or as a user with sudo)"
    # Asks for the password here, in sight, if one is needed at all.
    sudo -v || tandem_die "missing packages: $* (install them, or run this as a user that sudo trusts)"
  fi
  if ! apt-cache show "$@" >/dev/null 2>&1; then
    tandem__apt_update || tandem_die "could not refresh the package lists"
  fi
  if [[ $* == *postgresql-[0-9]* ]]; then tandem__prevent_main_cluster "$@"; fi
  tandem_say "missing packages: $*"
  if ! tandem_step "installing $# packages and what they depend on" tandem__apt_get "$@"; then
    # Package lists that are too old name files which the mirror no longer has.
    tandem__apt_update || tandem_die "could not refresh the package lists"
    tandem_step "installing $# packages, second try" tandem__apt_get "$@" || tandem_die "could not install: $*"
  fi
  tandem__allow_main_cluster
}

tandem__apt_get() {
  tandem_as_root env DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 \
    apt-get -y -q --no-install-recommends --no-remove install "$@"
}

# A first installation of postgresql-NN creates and starts a cluster "main", unless createcluster.conf says no.
# Its include folder takes that word for the time of the installation; afterwards all is as it was. A cluster
# that exists is not touched by any of this.
tandem__no_cluster_dir=/etc/postgresql-common/createcluster.d
tandem__no_cluster_file=$tandem__no_cluster_dir/zz-tandem-installing.conf

tandem__prevent_main_cluster() {
  local script conf=/etc/postgresql-common/createcluster.conf
  if [[ -e $conf ]] && ! grep -Eq "^[[:space:]]*(include_dir .*createcluster\.d|create_main_cluster *= *'?(off|false|no))" "$conf"; then
    tandem_die "$conf does not read createcluster.d, so installing the server would also make a cluster \"main\";" \
      "set create_main_cluster = off there, or install the server yourself: $*"
  fi
  # shellcheck disable=SC2016  # expanded by the inner shell
  script='umask 022
    for dir in /etc/postgresql-common "$1"; do [ -d "$dir" ] || { mkdir "$dir" && made="$dir $made"; }; done
    printf "# made by tandem, removed after installing\n# folders: %s\ncreate_main_cluster = off\n" "$made" >"$2"'
  tandem_as_root sh -c "$script" sh "$tandem__no_cluster_dir" "$tandem__no_cluster_file"
  tandem_on_exit tandem__allow_main_cluster
}

tandem__allow_main_cluster() {
  [[ -e $tandem__no_cluster_file ]] || return 0
  # rmdir leaves a folder alone that has meanwhile got other contents or an owning package that filled it
  # shellcheck disable=SC2016  # expanded by the inner shell
  tandem_as_root sh -c '
    made=$(sed -n "s/^# folders: //p" "$1"); rm -f "$1"
    for dir in $made; do rmdir --ignore-fail-on-non-empty "$dir"; done' sh "$tandem__no_cluster_file"
}
