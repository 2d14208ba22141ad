"""Seeded synthetic sets that are as hard for a graph index as real embeddings, and reproducible.

Points are drawn from a Gaussian mixture in a small latent space, pushed through one fixed random tanh layer and a
linear map, and get isotropic noise: many ambient dimensions, few intrinsic ones, clusters of unequal weight and
width. Queries are fresh draws from the same distribution.

How hard a set is was set by `width` (spread within a component) and `noise`, tuned until hnswlib
(M 16, efConstruction 200) needs an ef of about 57 (syn1m) for recall@10 of 0.95, as SIFT does, and of about 50 for
0.952 (syn768). `bench/run tuning` measures it; bench/results/tuning.jsonl has the figures. What matters is
the width: at 100,000 x 128, (0.5, 1.1) needs ef 29, (0.6, 1.2) 32, (0.7, 1.3) 36, while noise of 0.2 for 0.1 adds one.

Seeding. Every part has a stream of its own, spawned from the set's seed: the network, the queries, and each block of
50,000 base rows and of their metadata. So the first N rows are the same whatever the total, and a scaled-down set is
a prefix of the full one.
"""

from dataclasses import dataclass

import numpy as np

BLOCK = 50_000  # rows per random stream; part of what defines the sets, never change it


@dataclass(frozen=True)
class Recipe:
    rows: int
    dims: int
    latent: int  # dimensions of the mixture
    hidden: int  # width of the tanh layer
    components: int  # of the mixture
    width: tuple  # range of the components' standard deviations; their centres have deviation 1
    gain: float  # of the first layer: how far into saturation the tanh units are driven
    noise: float  # standard deviation per ambient dimension, where the signal has about 1
    seed: int
    queries: int = 1_000


RECIPES = {
    "syn1m": Recipe(1_000_000, 128, 24, 256, 50, (0.7, 1.3), 1.0, 0.10, 20261121),
    "syn768": Recipe(200_000, 768, 32, 512, 50, (0.78, 1.38), 1.0, 0.10, 20261122),
}

# Metadata independent of the vector: share of rows that one value keeps.
FILTERS = {"cat": 10, "sub": 100, "tag": 1000}


class Generator:
    """Draws the parts of one recipe."""

    def __init__(self, recipe):
        self.recipe = recipe
        network, self.query_seed, self.base_seed, self.meta_seed, self.param_seed = np.random.SeedSequence(
            recipe.seed
        ).spawn(5)
        rng = np.random.default_rng(network)
        self.centre = rng.standard_normal((recipe.components, recipe.latent))
        self.deviation = rng.uniform(*recipe.width, recipe.components)
        weight = rng.lognormal(0.0, 0.7, recipe.components)
        self.weight = weight / weight.sum()
        scale = recipe.gain / np.sqrt(recipe.latent)
        self.first = (rng.standard_normal((recipe.latent, recipe.hidden)) * scale).astype(np.float32)
        self.bias = (0.3 * rng.standard_normal(recipe.hidden)).astype(np.float32)
        self.second = (rng.standard_normal((recipe.hidden, recipe.dims)) * 1.5 / np.sqrt(recipe.hidden)).astype(
            np.float32
        )

    def _draw(self, rng, count):
        recipe = self.recipe
        component = rng.choice(recipe.components, count, p=self.weight)
        latent = self.centre[component] + self.deviation[component, None] * rng.standard_normal(
            (count, recipe.latent)
        )
        signal = np.tanh(latent.astype(np.float32) @ self.first + self.bias) @ self.second
        return signal + recipe.noise * rng.standard_normal(signal.shape, np.float32)

    def base_blocks(self, rows):
        """The first `rows` base vectors in blocks of at most BLOCK, float32."""
        blocks = -(-rows // BLOCK)
        for block, seed in enumerate(self.base_seed.spawn(blocks)):
            count = min(BLOCK, rows - block * BLOCK)
            yield self._draw(np.random.default_rng(seed), BLOCK)[:count]

    def queries(self):
        return self._draw(np.random.default_rng(self.query_seed), self.recipe.queries)

    def metadata(self, rows):
        """Dict of arrays: cat (10 % per value), sub (1 %), tag (0.1 %), price (log-normal)."""
        parts = {name: [] for name in (*FILTERS, "price")}
        for seed in self.meta_seed.spawn(-(-rows // BLOCK)):
            rng = np.random.default_rng(seed)
            for name, values in FILTERS.items():
                parts[name].append(rng.integers(values, size=BLOCK, dtype=np.int32))
            parts["price"].append(np.round(rng.lognormal(3.0, 1.0, BLOCK), 2))
        return {name: np.concatenate(blocks)[:rows] for name, blocks in parts.items()}

    def parameters(self):
        """Dict of arrays: the value of each filter column that a query asks for."""
        rng = np.random.default_rng(self.param_seed)
        return {
            name: rng.integers(values, size=self.recipe.queries, dtype=np.int32)
            for name, values in FILTERS.items()
        }
