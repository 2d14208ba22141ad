"""Prints texts to embed on both sides: the hand-made ones, the queries, and summaries, above all those beyond ASCII."""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.environ["TANDEM_EXAMPLE"])
import package_lists  # noqa: E402

ORDINARY_SUMMARIES = 200

sys.stdout.reconfigure(encoding="utf-8")
with open(os.path.join(HERE, "samples.txt"), encoding="utf-8") as lines:
    print(lines.read(), end="")
with open(os.path.join(HERE, "expected_packages.tsv"), encoding="utf-8") as lines:
    for line in lines:
        if not line.startswith("#"):
            print(line.partition("\t")[0])
summaries = [package.summary for package in package_lists.read_packages()]
for summary in summaries:
    if not summary.isascii():
        print(summary)
for summary in summaries[:: max(1, len(summaries) // ORDINARY_SUMMARIES)]:
    print(summary)
