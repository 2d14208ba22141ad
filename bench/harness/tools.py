"""The C++ programs of the bench: built on demand, run, their JSON lines read."""

import json
import os
import shutil
import subprocess

BENCH = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ROOT = os.path.dirname(BENCH)


class ToolFailed(Exception):
    """A program ended with an error; the message is what it said."""


class Tools:
    """`folder` holds the programs; `cpu` is the core they are pinned to, or None; `environment` is set for all of them."""

    def __init__(self, folder, cpu=None, environment=None):
        self.folder = folder
        self.cpu = cpu
        self.environment = {**os.environ, **(environment or {})}

    def build(self):
        configured = os.path.exists(os.path.join(self.folder, "CMakeCache.txt"))
        steps = [] if configured else [["cmake", "-S", BENCH, "-B", self.folder]]
        steps.append(["cmake", "--build", self.folder, "-j2"])
        for step in steps:
            done = subprocess.run(step, capture_output=True, text=True)
            if done.returncode != 0:
                raise ToolFailed("%s failed:\n%s" % (" ".join(step[:2]), (done.stdout + done.stderr)[-3000:]))

    def has(self, program):
        return os.path.exists(os.path.join(self.folder, program))

    def command(self, program, *words, pinned=True, **options):
        """The command line; option values that are lists repeat the option, None leaves it out."""
        pin = ["taskset", "-c", str(self.cpu)] if pinned and self.cpu is not None and shutil.which("taskset") else []
        line = pin + [os.path.join(self.folder, program), *words]
        for name, value in options.items():
            for one in value if isinstance(value, (list, tuple)) else [value]:
                if one is not None:
                    line += ["--" + name.replace("_", "-"), str(one)]
        return line

    def json_lines(self, program, *words, **options):
        done = subprocess.run(self.command(program, *words, **options), capture_output=True, text=True, env=self.environment)
        if done.returncode != 0:
            raise ToolFailed(done.stderr.strip() or "%s ended with status %d" % (program, done.returncode))
        return [json.loads(line) for line in done.stdout.splitlines()]

    def json(self, program, *words, **options):
        return self.json_lines(program, *words, **options)[-1]

    def client(self, mode, server, **options):
        return self.client_lines(mode, server, **options)[-1]

    def client_lines(self, mode, server, **options):
        return self.json_lines("tandem-bench-client", mode, conninfo=server.conninfo(), **options)

    def start_client(self, mode, server, **options):
        """The same in the background: a Popen with pipes."""
        line = self.command("tandem-bench-client", mode, conninfo=server.conninfo(), **options)
        return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=self.environment)
