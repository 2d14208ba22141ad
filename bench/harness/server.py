"""The server under test: a throw-away one of this checkout, or any that a connection string names."""

import contextlib
import json
import os
import shutil
import subprocess
import time

from harness.tools import BENCH

FIELD = "\x1f"

# Of the throw-away server. Autovacuum, JIT and parallel workers are off so that nothing runs that a suite did not
# start; the rest keeps checkpoints out of the measured spans and all data in memory.
SETTINGS = {
    "shared_buffers": "4GB",
    "maintenance_work_mem": "1GB",
    "work_mem": "64MB",
    "max_wal_size": "32GB",
    "checkpoint_timeout": "1h",
    "autovacuum": "off",
    "jit": "off",
    "max_parallel_workers_per_gather": "0",
    "max_parallel_maintenance_workers": "0",
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "track_io_timing": "off",
}
UNITS = {"MB": 20, "GB": 30}
REPORTED = (*SETTINGS, "wal_level", "wal_compression", "random_page_cost", "huge_pages", "shared_preload_libraries")


class ServerError(Exception):
    """SQL or the server failed; the message is psql's."""


class Server:
    """Runs SQL through psql: every call is a session of its own. `home` is the ThrowAway that it belongs to, or None."""

    def __init__(self, base_conninfo, bindir, database="postgres", home=None):
        self.base = base_conninfo
        self.bindir = bindir
        self.database = database
        self.home = home

    def conninfo(self):
        return "%s dbname=%s" % (self.base, self.database)

    def program(self, name):
        path = os.path.join(self.bindir, name) if self.bindir else None
        return path if path and os.path.exists(path) else name

    def on(self, database):
        """The same server, another database."""
        return Server(self.base, self.bindir, database, self.home)

    def psql_command(self, *statements):
        line = [self.program("psql"), "-X", "-q", "-A", "-t", "-F", FIELD, "-v", "ON_ERROR_STOP=1"]
        line += ["-d", self.conninfo()]
        for statement in statements:
            line += ["-c", statement]
        return line

    def rows(self, *statements):
        """Runs the statements in one session, each in its own transaction; the rows of all, fields as text.

        Values must not contain line breaks.
        """
        done = subprocess.run(self.psql_command(*statements), capture_output=True, text=True)
        if done.returncode != 0:
            raise ServerError(done.stderr.strip())
        return [row.split(FIELD) for row in done.stdout.splitlines() if row]

    def script(self, *lines):
        """Feeds lines of SQL and of psql's own commands to one session; the lines that it prints."""
        command = [*self.psql_command(), "-f", "-"]
        done = subprocess.run(command, input="\n".join(lines) + "\n", capture_output=True, text=True)
        if done.returncode != 0:
            raise ServerError(done.stderr.strip())
        return done.stdout.splitlines()

    def value(self, *statements):
        rows = self.rows(*statements)
        return rows[-1][0] if rows else None

    def number(self, *statements):
        return float(self.value(*statements))

    def run(self, *statements):
        self.rows(*statements)

    def timed(self, statement, *before):
        """Seconds that one statement takes by the server's clock, so that starting psql is not counted."""
        clock = "SELECT 'bench clock', extract(epoch FROM clock_timestamp())"
        begin, end = (float(row[1]) for row in self.rows(*before, clock, statement, clock) if row[0] == "bench clock")
        return end - begin

    def plan(self, statement, *before):
        return "\n".join(row[0] for row in self.rows(*before, "EXPLAIN (COSTS OFF) " + statement))

    def fresh_database(self, name, extension):
        """Drops and makes a database with the extension in it. Only names beginning with tandem_bench."""
        if not name.startswith("tandem_bench"):
            raise ValueError("the bench drops only databases of its own")
        self.run("DROP DATABASE IF EXISTS %s WITH (FORCE)" % name, "CREATE DATABASE %s TEMPLATE template0" % name)
        fresh = self.on(name)
        fresh.run("CREATE EXTENSION %s" % extension)
        return fresh

    def drop_database(self, name):
        if name.startswith("tandem_bench"):
            self.run("DROP DATABASE IF EXISTS %s WITH (FORCE)" % name)

    def offers(self, extension):
        return self.value("SELECT count(*) FROM pg_available_extensions WHERE name = '%s'" % extension) == "1"

    def settings(self):
        names = ", ".join("'%s'" % name for name in REPORTED)
        return dict(self.rows("SELECT name, current_setting(name) FROM pg_settings WHERE name IN (%s) "
                              "OR name LIKE 'tandem.%%'" % names))

    @contextlib.contextmanager
    def configured(self, **settings):
        """While the block runs, server-wide settings of the extension are these: {"naptime": "1s"} is tandem.naptime.

        Sessions that begin meanwhile have them; processes that run already take them over within a moment.
        """
        self._configure(["ALTER SYSTEM SET tandem.%s = '%s'" % item for item in settings.items()])
        try:
            yield
        finally:
            self._configure(["ALTER SYSTEM RESET tandem.%s" % name for name in settings])

    def _configure(self, statements):
        self.run(*statements, "SELECT pg_reload_conf()")
        time.sleep(0.2)

    def pinned_to(self):
        """What pin() was last told, None of a server that is not ours."""
        return self.home.pinned if self.home else None

    def can_restart(self):
        return self.home is not None

    def restart(self, while_down=lambda: None):
        """Stops the server, calls `while_down`, starts it and binds it to the core that it was bound to."""
        self.home.order("pause")
        while_down()
        self.home.order("resume")
        if self.home.pinned is not None:
            self.pin(self.home.pinned)

    def wal_position(self):
        return self.value("SELECT pg_current_wal_insert_lsn()")

    def wal_bytes_since(self, position):
        return self.number("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '%s')" % position)

    def pin(self, cpu):
        """Binds the postmaster and every server process there is to a core, or to a list like "0,1"; backends to come
        inherit it.

        Works where the server is on this machine and its processes are ours to touch; says whether it did.
        """
        if cpu is None or not shutil.which("taskset"):
            return False
        try:
            postmaster = int(self.value("SELECT split_part(pg_read_file('postmaster.pid'), E'\\n', 1)"))
            with open("/proc/%d/comm" % postmaster, encoding="ascii") as name:
                if not name.read().startswith("postgres"):  # the server of another machine
                    return False
        except (ServerError, OSError, ValueError, IndexError):
            return False
        children = subprocess.run(["ps", "-o", "pid=", "--ppid", str(postmaster)], capture_output=True, text=True)
        for pid in [str(postmaster), *children.stdout.split()]:
            done = subprocess.run(["taskset", "-acp", str(cpu), pid], capture_output=True)
            if done.returncode != 0 and pid == str(postmaster):
                return False
        if self.home is not None:
            self.home.pinned = cpu
        return True


class ThrowAway:
    """Context manager: a throw-away server of this checkout, gone afterwards."""

    def __init__(self, settings):
        self.settings = {**SETTINGS, **settings}
        self.pinned = None  # the cores that Server.pin() gave it

    def __enter__(self):
        script = os.path.join(BENCH, "throwaway-server")
        words = ["%s=%s" % item for item in self.settings.items()]
        self.process = subprocess.Popen(
            [script, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        line = self.process.stdout.readline()
        if not line:
            raise ServerError("the throw-away server did not start")
        where = json.loads(line)
        return Server("host=%s port=%s user=%s" % (where["host"], where["port"], where["user"]), where["bindir"],
                      home=self)

    def shared_bytes(self):
        """What its two large areas of shared memory take."""
        return sum(int(size[:-2]) << UNITS[size[-2:]]
                   for size in (self.settings["shared_buffers"], self.settings.get("tandem.memory_budget", "0MB")))

    def order(self, word):
        """Tells the throw-away server to "pause" or to "resume", and waits until it has."""
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()
        if self.process.stdout.readline().strip() != "done":
            raise ServerError("the throw-away server did not %s" % word)

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()


class Given:
    """Context manager: the server that a connection string names. It is left running."""

    def __init__(self, conninfo):
        self.conninfo = conninfo

    def __enter__(self):
        return Server(self.conninfo, None)

    def __exit__(self, *_):
        pass
