"""Embeds package descriptions by latent semantic analysis; no neural network, no downloaded model.

1. A package is a bag of terms: words and neighbouring pairs of its summary (counted twice) and of its long description,
   where there is one, words of its name, its section and its debtags. Weights are TF-IDF, ln(1 + tf) * ln(N / df).
2. A truncated singular value decomposition of the package-term matrix gives every term a direction in a space where
   terms that keep the same company lie close together (Deerwester, Dumais, Furnas, Landauer, Harshman, "Indexing by
   latent semantic analysis", 1990), computed by randomized subspace iteration (Halko, Martinsson, Tropp, "Finding
   structure with randomness", 2011, algorithm 4.4).
3. Plain LSA lets rare terms vanish, as their directions are short. Here each term's direction is scaled to length 1, so
   that only its IDF says how much it counts; and as many dimensions again hold a random direction for each term
   (random indexing: Kanerva, Kristofersson, Holst 2000), so that the very word typed still counts as such.
4. The embedding of any text is the sum over its terms of ln(1 + tf) * idf * projection, scaled to length 1. schema.sql
   does that sum for queries, with the extension's functions.

The constants were chosen on expected_packages.tsv of the tests. With summaries alone, 38 of its 42 queries have an
expected package among the first ten (TF-IDF without any projection: 35; plain LSA with 256 dimensions: 18).
"""

import collections
import math

import numpy
import scipy.sparse

from tokenizer import words, words_and_pairs

LATENT_DIMENSIONS = 128
RANDOM_DIMENSIONS = 128
DIMENSIONS = LATENT_DIMENSIONS + RANDOM_DIMENSIONS
RANDOM_SHARE = 0.6  # length of a term's random part; that of its latent part is 1

SUMMARY_WEIGHT = 2.0
DESCRIPTION_WEIGHT = 0.5
DESCRIPTION_CHARACTERS = 2000
DESCRIPTION_REPEATS = 3  # a term counts so often at most in one description

MINIMUM_PACKAGES = 2  # with fewer a term relates nothing to anything
MINIMUM_PACKAGES_OF_PAIR = 3
MAXIMUM_TERMS = 60_000  # the most frequent; 60 MB of projections

# Sections whose thousands of near-identical summaries ("Perl module for", "development files") would claim most
# dimensions for themselves; they count half when the space is made, and are embedded like all others.
BULK_SECTIONS = frozenset(
    """cli-mono debug devel doc gnu-r golang haskell introspection java javascript libdevel libs lisp localization
    metapackages ocaml oldlibs perl php python ruby rust tasks""".split()
)
BULK_WEIGHT = 0.5

SEED = 1990


class Embedding:
    """terms: list of str; idf: float32 (terms); projection: float32 (terms, DIMENSIONS)."""

    def __init__(self, terms, idf, projection):
        self.terms = terms
        self.idf = idf
        self.projection = projection
        self._row = {term: row for row, term in enumerate(terms)}

    def embed(self, text):
        """What embed(text) gives in SQL: a float32 vector of length 1, or None if no term is known."""
        counts = collections.Counter(term for term in words_and_pairs(text) if term in self._row)
        if not counts:
            return None
        total = numpy.zeros(DIMENSIONS)
        for term, count in counts.items():
            row = self._row[term]
            total += math.log1p(count) * self.idf[row] * self.projection[row].astype(numpy.float64)
        return (total / numpy.linalg.norm(total)).astype(numpy.float32)


def package_terms(package):
    """Terms of a package with their (fractional) frequencies."""
    frequencies = collections.Counter()

    def add(terms, weight):
        for term in terms:
            frequencies[term] += weight

    add(words_and_pairs(package.summary), SUMMARY_WEIGHT)
    add(words(package.name), 1.0)
    add(words(package.section), 1.0)
    for tag in package.tags:
        add(words(tag.rpartition("::")[2]), 1.0)
    if package.description:
        repeated = collections.Counter(words_and_pairs(package.description[:DESCRIPTION_CHARACTERS]))
        for term, count in repeated.items():
            frequencies[term] += DESCRIPTION_WEIGHT * min(count, DESCRIPTION_REPEATS)
    return frequencies


def make_embedding(packages):
    """Returns the Embedding of these packages' terms and the packages' vectors, float32 (packages, DIMENSIONS)."""
    frequencies = [package_terms(package) for package in packages]
    terms, idf = _vocabulary(frequencies)
    matrix = _weighted_matrix(frequencies, terms, idf)
    projection = _projection(matrix, packages)
    vectors = _unit_rows(matrix @ projection)
    return Embedding(terms, idf, projection), vectors


def _vocabulary(frequencies):
    packages_with = collections.Counter()
    for counts in frequencies:
        packages_with.update(counts.keys())
    kept = [
        term for term, count in packages_with.items()
        if count >= (MINIMUM_PACKAGES_OF_PAIR if " " in term else MINIMUM_PACKAGES)
    ]
    kept.sort(key=lambda term: (-packages_with[term], term))
    del kept[MAXIMUM_TERMS:]
    # A term of every package would get weight 0 and then be known but without effect.
    idf = numpy.array([math.log((len(frequencies) + 1) / packages_with[term]) for term in kept], dtype=numpy.float32)
    return kept, idf


def _weighted_matrix(frequencies, terms, idf):
    """Sparse TF-IDF matrix, one row of length 1 per package."""
    column_of = {term: column for column, term in enumerate(terms)}
    columns, values, ends = [], [], [0]
    for counts in frequencies:
        for term, frequency in counts.items():
            column = column_of.get(term)
            if column is not None:
                columns.append(column)
                values.append(math.log1p(frequency) * idf[column])
        ends.append(len(columns))
    matrix = scipy.sparse.csr_matrix(
        (numpy.array(values, dtype=numpy.float32), columns, ends), shape=(len(frequencies), len(terms))
    )
    lengths = numpy.sqrt(matrix.multiply(matrix).sum(axis=1)).A1
    return _scaled_rows(matrix, 1 / numpy.maximum(lengths, 1e-12))


def _projection(matrix, packages):
    # One source package often makes dozens of near-identical binary packages: together they count as the root of
    # their number, so that no family of packages buys itself a dimension.
    siblings = collections.Counter(package.source for package in packages)
    weights = numpy.array([
        siblings[package.source] ** -0.5 * (BULK_WEIGHT if package.section in BULK_SECTIONS else 1.0)
        for package in packages
    ])
    generator = numpy.random.default_rng(SEED)
    latent = _term_directions(_scaled_rows(matrix, weights), min(LATENT_DIMENSIONS, min(matrix.shape) - 1), generator)
    # A corpus smaller than the space (tests) leaves dimensions empty.
    latent = numpy.pad(_unit_rows(latent), ((0, 0), (0, LATENT_DIMENSIONS - latent.shape[1])))
    random = generator.standard_normal((matrix.shape[1], RANDOM_DIMENSIONS)).astype(numpy.float32)
    return numpy.hstack([latent, RANDOM_SHARE * _unit_rows(random)]).astype(numpy.float32)


def _term_directions(matrix, rank, generator, oversampling=20, iterations=3):
    """Right singular vectors of the sparse matrix times the roots of their singular values, float32 (terms, rank)."""
    transposed = matrix.T.tocsr()
    columns = min(rank + oversampling, min(matrix.shape))
    sample = matrix @ generator.standard_normal((matrix.shape[1], columns)).astype(numpy.float32)
    for _ in range(iterations):
        basis = numpy.linalg.qr(transposed @ numpy.linalg.qr(sample)[0])[0]
        sample = matrix @ basis
    basis = numpy.linalg.qr(sample)[0]
    reduced = (transposed @ basis).astype(numpy.float64)
    # Singular vectors of the tall matrix from the eigenvectors of its small Gram matrix: accurate enough for the
    # large singular values, which are the ones wanted.
    squares, rotation = numpy.linalg.eigh(reduced.T @ reduced)
    largest = numpy.argsort(-squares)[:rank]
    singular = numpy.sqrt(numpy.maximum(squares[largest], 1e-12))
    return (reduced @ rotation[:, largest] / numpy.sqrt(singular)).astype(numpy.float32)


def _scaled_rows(matrix, factors):
    return (scipy.sparse.diags(factors) @ matrix).tocsr().astype(numpy.float32)


def _unit_rows(matrix):
    lengths = numpy.linalg.norm(matrix, axis=1, keepdims=True)
    return (matrix / numpy.maximum(lengths, 1e-12)).astype(numpy.float32)
