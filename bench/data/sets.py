"""Bench sets by name: made on first use, kept in the cache folder, described by set.json (see formats.py).

The cache is TANDEM_BENCH_DIR, else tandem-bench below XDG_CACHE_HOME or ~/.cache: outside of the checkout, since a
set takes up to 2.5 GB. A set whose recipe has changed since is made anew.
"""

import dataclasses
import os
import shutil
import sys

import numpy as np

from data import formats, real, synthetic

NAMES = ("fashion", "acl", "acl-title", *synthetic.RECIPES)
FORMAT_VERSION = 1  # of the files in a set; a set of another version is made anew
TRUTH_WIDTH = 100
LEAST_ROWS, LEAST_QUERIES = 1_000, 50  # of a scaled-down set


@dataclasses.dataclass(frozen=True)
class BenchSet:
    """A prepared set. `description` is the content of set.json."""

    folder: str
    description: dict

    def path(self, name):
        return os.path.join(self.folder, name)

    @property
    def name(self):
        return self.description["name"]

    @property
    def rows(self):
        return self.description["rows"]

    @property
    def dims(self):
        return self.description["dims"]

    @property
    def queries(self):
        return self.description["queries"]

    @property
    def metric(self):
        return self.description["metric"]

    def create_table(self, table):
        columns = ", ".join("%s %s" % tuple(column) for column in self.description["columns"])
        return "CREATE TABLE %s (%s, embedding vector(%d))" % (table, columns, self.dims)


def cache_folder():
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.path.abspath(os.environ.get("TANDEM_BENCH_DIR") or os.path.join(cache, "tandem-bench"))


def prepare(name, tools, scale=1.0, progress=sys.stderr):
    """The set, made if need be. `tools` runs the ground-truth program. Raises real.DataMissing."""
    wish = _wish(name, scale)
    folder = os.path.join(cache_folder(), name if scale == 1.0 else "%s-%d" % (name, wish["rows"]))
    try:
        found = formats.load_description(folder)
        if all(found.get(key) == value for key, value in wish.items()):
            return BenchSet(folder, found)
    except (FileNotFoundError, ValueError):
        pass
    print("preparing set %s (%d rows) in %s" % (name, wish["rows"], folder), file=progress, flush=True)
    making = folder + ".making"
    shutil.rmtree(making, ignore_errors=True)
    os.makedirs(making)
    description = dict(wish)
    description.update(_MAKERS.get(name, _make_synthetic)(name, making, wish, tools))
    description["sha256"] = formats.hash_set(making)
    formats.save_description(making, description)
    shutil.rmtree(folder, ignore_errors=True)
    os.rename(making, folder)
    return BenchSet(folder, description)


def _wish(name, scale):
    """What identifies the set: compared with set.json, so any change makes it anew."""
    full = {"fashion": (60_000, 784, 1_000), "acl": (100_278, 256, 1_000), "acl-title": (100_278, 256, 1_000)}
    if name in synthetic.RECIPES:
        recipe = synthetic.RECIPES[name]
        full[name] = (recipe.rows, recipe.dims, recipe.queries)
    elif name not in full:
        raise KeyError("unknown set %s (one of %s)" % (name, ", ".join(NAMES)))
    rows, dims, queries = full[name]
    wish = {
        "name": name,
        "format": FORMAT_VERSION,
        "rows": rows if scale == 1.0 else min(rows, max(LEAST_ROWS, int(rows * scale))),
        "dims": dims,
        "queries": queries if scale == 1.0 else min(queries, max(LEAST_QUERIES, int(queries * scale))),
        "metric": "cosine" if name.startswith("acl") else "l2",
    }
    if name in synthetic.RECIPES:
        recipe = dataclasses.asdict(synthetic.RECIPES[name])
        wish["recipe"] = {key: list(value) if isinstance(value, tuple) else value for key, value in recipe.items()}
        wish["seed"] = recipe["seed"]
    return wish


def _make_synthetic(name, folder, wish, tools):
    generator = synthetic.Generator(synthetic.RECIPES[name])
    rows = wish["rows"]
    formats.write_vectors(os.path.join(folder, "base.fvecs"), generator.base_blocks(rows), "<f4")
    formats.write_vectors(os.path.join(folder, "query.fvecs"), generator.queries()[: wish["queries"]], "<f4")
    meta = generator.metadata(rows)
    columns = [("id", "int", np.arange(rows, dtype=np.int32))]
    columns += [(filter_name, "int", meta[filter_name]) for filter_name in synthetic.FILTERS]
    columns.append(("price", "double precision", meta["price"]))
    parameters = generator.parameters()
    filters = {key: (meta[key], parameters[key][: wish["queries"]]) for key in synthetic.FILTERS}
    return _finish(folder, wish, tools, columns, filters)


def _make_fashion(_name, folder, wish, tools):
    base, query, label, query_label = real.fashion()
    rows, queries = wish["rows"], wish["queries"]
    formats.write_vectors(os.path.join(folder, "base.fvecs"), base[:rows], "<f4")
    formats.write_vectors(os.path.join(folder, "query.fvecs"), query[:queries], "<f4")
    columns = [
        ("id", "int", np.arange(rows, dtype=np.int32)),
        ("label", "smallint", label[:rows].astype(np.int16)),
    ]
    result = _finish(folder, wish, tools, columns, {"label": (label[:rows], query_label[:queries])})
    if rows == len(base):
        _compare_with_shipped(folder, "fashion-query.gt")
    return result


def _make_acl(name, folder, wish, tools):
    part = "titlequery" if name == "acl-title" else "query"
    base = real.read_f16("acl-base.f16bin")[: wish["rows"]]
    formats.write_vectors(os.path.join(folder, "base.fvecs"), base, "<f4")
    query = real.read_f16("acl-%s.f16bin" % part)[: wish["queries"]]
    formats.write_vectors(os.path.join(folder, "query.fvecs"), query, "<f4")
    rows = real.acl_rows(wish["rows"])
    columns = next(rows)
    formats.write_copy_rows(os.path.join(folder, "rows.copy"), rows, base)
    _truth(folder, wish, tools)
    if wish["rows"] == 100_278:
        _compare_with_shipped(folder, "acl-%s.gt" % part)
    return {"columns": columns, "filters": []}


def _finish(folder, wish, tools, columns, filters):
    base = formats.read_vectors(os.path.join(folder, "base.fvecs"))
    formats.write_copy(os.path.join(folder, "rows.copy"), columns, base)
    _truth(folder, wish, tools)
    for name, (labels, parameters) in filters.items():
        for part, values in (("label", labels), ("param", parameters)):
            path = os.path.join(folder, "%s_%s.ivecs" % (part, name))
            formats.write_vectors(path, np.ascontiguousarray(values, "<i4").reshape(-1, 1), "<i4")
        _truth(folder, wish, tools, name)
    return {"columns": [(name, sql_type) for name, sql_type, _ in columns], "filters": sorted(filters)}


def _truth(folder, wish, tools, filter_name=None):
    stem = "gt" if filter_name is None else "gt_" + filter_name
    options = {
        "base": "base.fvecs",
        "query": "query.fvecs",
        "out-ids": stem + ".ivecs",
        "out-distances": stem + "_distance.fvecs",
    }
    if filter_name is not None:
        options.update(labels="label_%s.ivecs" % filter_name, params="param_%s.ivecs" % filter_name)
    paths = {key: os.path.join(folder, file) for key, file in options.items()}
    tools.json("tandem-bench-truth", metric=wish["metric"], k=TRUTH_WIDTH, **paths)


def _compare_with_shipped(folder, shipped):
    """Two independent computations of the exact answer must agree in every distance."""
    _, theirs = real.read_shipped_truth(shipped)
    ours = formats.read_vectors(os.path.join(folder, "gt_distance.fvecs"))
    width = min(theirs.shape[1], ours.shape[1])
    rows = min(len(theirs), len(ours))
    if not np.allclose(theirs[:rows, :width], ours[:rows, :width], rtol=1e-5, atol=1e-6):
        raise RuntimeError("the ground truth computed for %s differs from the one in %s" % (folder, shipped))


_MAKERS = {"fashion": _make_fashion, "acl": _make_acl, "acl-title": _make_acl}
