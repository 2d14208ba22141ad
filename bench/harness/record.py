"""What is known about a measurement besides its figure, and the JSON lines it is kept in."""

import hashlib
import json
import os
import platform
import re
import statistics
import subprocess
import time

from harness.tools import BENCH, ROOT

RESULTS = os.path.join(BENCH, "results")


def _output(*command):
    try:
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def cpu_model():
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as source:
        text = source.read()
    found = {key: re.search(r"^%s\s*:\s*(.+)$" % key, text, re.M) for key in ("model name", "cpu family", "model")}
    words = {key: match[1] if match else "?" for key, match in found.items()}
    return "%s (family %s model %s)" % (words["model name"], words["cpu family"], words["model"])


def checkout():
    """Commit and whether anything that is built or measured differs from it."""
    dirty = _output("git", "status", "--porcelain", "--", "src", "extension", "Makefile", "bench")
    changes = [line for line in dirty.splitlines() if "bench/results/" not in line]
    return {"commit": _output("git", "rev-parse", "--short=12", "HEAD"), "dirty": bool(changes)}


def module_facts(server, extension):
    """What the installed module says about itself: its hash and, from its debug data, compiler and flags."""
    facts = {"extension": extension}
    facts["extension_version"] = server.value(
        "SELECT default_version FROM pg_available_extensions WHERE name = '%s'" % extension
    )
    folder = server.value("SELECT setting FROM pg_config WHERE name = 'PKGLIBDIR'")
    path = os.path.join(folder or "", extension + ".so")
    if os.path.exists(path):
        with open(path, "rb") as source:
            facts["module_sha256"] = hashlib.sha256(source.read()).hexdigest()[:16]
        producer = _producer(path)
        if producer:
            facts["compiler"] = producer
    return facts


def _producer(path):
    """DW_AT_producer of the first unit: the compiler's name, version and the flags it really ran with."""
    reader = subprocess.Popen(
        ["readelf", "--debug-dump=info", path], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, errors="replace"
    )
    try:
        for line in reader.stdout:
            if "DW_AT_producer" in line:
                return re.sub(r"^.*\): ", "", line.strip())
    except FileNotFoundError:
        return None
    finally:
        reader.kill()
        reader.wait()
    return None


def environment(server, extension):
    """Stamped on every line of a run."""
    stamp = {"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), **checkout()}
    stamp.update(cpu=cpu_model(), cores=os.cpu_count(), kernel=platform.release())
    # What else the machine was doing when the run began: above 1, times are to be distrusted and ratios kept.
    stamp["load_average"] = round(os.getloadavg()[0], 2)
    if server is not None:
        stamp["server_version"] = server.value("SHOW server_version")
        stamp["settings"] = server.settings()
        stamp.update(module_facts(server, extension))
    else:
        stamp["compiler"] = _output("c++", "--version").split("\n")[0] + ", -O3 -march=native"
    return stamp


def spread(values):
    """Repeats as they are kept: all of them, and what a table shows. None of what cannot be seen, as a process of a server elsewhere."""
    values = list(values)
    if None in values:
        return None
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "values": values}


class Recorder:
    """Appends the lines of one run to results/SUITE.jsonl (or to the folder given)."""

    def __init__(self, stamp, folder=None):
        self.stamp = stamp
        self.folder = folder or RESULTS

    def write(self, suite, **fields):
        os.makedirs(self.folder, exist_ok=True)
        line = {"suite": suite, **self.stamp, **fields}
        with open(os.path.join(self.folder, suite + ".jsonl"), "a", encoding="utf-8") as out:
            out.write(json.dumps(line, default=str) + "\n")
