"""Huge pages for what is measured: reserved for the server's shared memory, advised for processes beside it.

PostgreSQL takes reserved ones when `huge_pages` allows it; glibc's malloc asks for transparent ones when it is told to. A walk
touches a thousand places of a gigabyte, more than any cache of page addresses holds at 4 KB a page.
"""

import contextlib

NUMBER = "/proc/sys/vm/nr_hugepages"
SPARE = 512 << 20  # what a server takes beside its two large areas, and pages that are cut up already

# Of a process whose memory is malloc's: what the server gets, its peers in process shall have.
ENVIRONMENT = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}


class NotReserved(Exception):
    """The system has not that many; the message says what to do."""


@contextlib.contextmanager
def reserved(size):
    """So many bytes of huge pages while the block runs. Needs root."""
    wanted = -(-(size + SPARE) // _page_size())
    before = _read()
    try:
        with open(NUMBER, "w", encoding="ascii") as file:
            file.write("%d" % (before + wanted))
    except OSError as error:
        raise NotReserved("cannot reserve huge pages (%s): run as root, or without --huge-pages" % error) from error
    try:
        if _read() < before + wanted:
            raise NotReserved("only %d of %d huge pages could be reserved: memory is short or in pieces" % (_read() - before, wanted))
        yield
    finally:
        with open(NUMBER, "w", encoding="ascii") as file:
            file.write("%d" % before)


def _read():
    with open(NUMBER, encoding="ascii") as file:
        return int(file.read())


def _page_size():
    with open("/proc/meminfo", encoding="ascii") as file:
        return next(int(line.split()[1]) << 10 for line in file if line.startswith("Hugepagesize:"))
