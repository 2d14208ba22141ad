"""The operating system's cache of a database's files: dropping them from it, as if the machine had just started."""

import os
import shutil
import subprocess


def files_of(databases):
    """Every file of the databases."""
    found = []
    for db in databases:
        folder = db.value("SELECT current_setting('data_directory') || '/base/' || oid FROM pg_database "
                          "WHERE datname = current_database()")
        if os.access(folder, os.R_OK):
            found += [os.path.join(folder, name) for name in os.listdir(folder)]
    return found


def drop(files):
    """Drops the files from the cache, the server being down; the share of their bytes that stayed, None if it was not to
    be done."""
    if not files:
        return None
    for path in files:
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            continue
        except PermissionError:
            return None
        try:
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)
    return _share_in_cache(files)


def _share_in_cache(files):
    if not shutil.which("fincore"):
        return float("nan")
    out = subprocess.run(["fincore", "-b", "-n", "-o", "RES", *files], capture_output=True, text=True, check=False).stdout
    size = sum(os.path.getsize(path) for path in files if os.path.exists(path))
    return sum(int(text) for text in out.split()) / max(1, size)
