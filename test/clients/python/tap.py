"""Tests that print TAP, one after the other."""

import sys
import traceback

_count = 0
_failed = 0


def test(name):
    """Decorator: runs the function at once; an exception is its failure."""

    def run(body):
        global _count, _failed
        _count += 1
        try:
            body()
            print(f"ok {_count} - {name}", flush=True)
        except Exception:
            _failed += 1
            print(f"not ok {_count} - {name}")
            print("".join("# " + line + "\n" for line in traceback.format_exc().splitlines()), end="", flush=True)
        return body

    return run


def skip_all(why):
    """Ends the program: nothing of it can run here."""
    print(f"1..0 # SKIP {why}")
    sys.exit(0)


def finish():
    print(f"1..{_count}")
    sys.exit(1 if _failed else 0)


def equal(found, expected):
    if found != expected:
        raise AssertionError(f"found {found!r}, expected {expected!r}")
