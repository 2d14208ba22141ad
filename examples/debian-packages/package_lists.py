"""Reads the package lists that apt keeps on this machine. Downloads nothing."""

import collections
import re
import subprocess

Package = collections.namedtuple(
    "Package", "name source section priority installed_size version summary description tags"
)

_TAG = re.compile(r"[^\s,{}]+(?:\{[^}]*\})?")


def read_packages():
    """All packages that apt can see, sorted by name. The description is empty where the machine has only summaries."""
    available = subprocess.run(["apt-cache", "dumpavail"], stdout=subprocess.PIPE, check=True).stdout
    translations = {}
    for path in _translation_files():
        for stanza in stanzas(_decompressed(path)):
            if "Description-en" in stanza:
                translations[stanza.get("Description-md5")] = stanza["Description-en"]
    return parse_packages(available.decode("utf-8", "replace"), translations)


def parse_packages(available, translations):
    """Packages of the text of a package list.

    translations: long descriptions by the MD5 sum that package lists give them. They are files of their own, which
    small installations and containers leave out.
    """
    packages = {}
    for stanza in stanzas(available):
        name = stanza.get("Package")
        # The first one wins: other architectures and older versions repeat the name.
        if name is None or name in packages:
            continue
        text = translations.get(stanza.get("Description-md5")) or stanza.get("Description") or stanza.get("Description-en", "")
        summary, _, description = text.partition("\n")
        size = stanza.get("Installed-Size", "")
        packages[name] = Package(
            name=name,
            source=stanza.get("Source", name).split(" ")[0],
            section=stanza.get("Section", "unknown").rpartition("/")[2],
            priority=stanza.get("Priority", "unknown"),
            installed_size=int(size) if size.isdigit() else None,
            version=stanza.get("Version", ""),
            summary=summary.strip(),
            description=_paragraphs(description),
            tags=tuple(_tags(stanza.get("Tag", ""))),
        )
    return [packages[name] for name in sorted(packages)]


def stanzas(text):
    """Stanzas of a file in Debian's control format, as dictionaries; continued lines keep their line breaks."""
    for block in text.split("\n\n"):
        fields = {}
        field = None
        for line in block.split("\n"):
            if line[:1] in (" ", "\t"):
                if field is not None:
                    fields[field] += "\n" + line[1:]
            elif ":" in line:
                field, _, value = line.partition(":")
                fields[field] = value.strip()
        if fields:
            yield fields


def _translation_files():
    listing = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(FILENAME)", "Created-By: Translations", "Language: en"],
        stdout=subprocess.PIPE, check=True,
    )
    return listing.stdout.decode().split()


def _decompressed(path):
    # apt knows every compression that it may have chosen for its lists.
    helper = subprocess.run(["/usr/lib/apt/apt-helper", "cat-file", path], stdout=subprocess.PIPE, check=False)
    return helper.stdout.decode("utf-8", "replace")


def _paragraphs(description):
    """A line with a single dot separates paragraphs in the control format."""
    return "\n".join("" if line.strip() == "." else line.rstrip() for line in description.split("\n")).strip("\n")


def _tags(field):
    """Expands "works-with::{audio,video}", the short form of two tags with one facet."""
    for tag in _TAG.findall(field.replace("\n", " ")):
        facet, brace, values = tag.partition("{")
        if brace:
            for value in values.rstrip("}").split(","):
                yield facet + value.strip()
        else:
            yield tag
