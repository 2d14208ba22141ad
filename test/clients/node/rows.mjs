// The rows that every mapper inserts and finds again, and the order in which each distance must bring them.

import { SparseVector } from 'pgvector';

/** id 1 to 4; the last has no vectors. */
export const rows = [
  { embedding: [1, 1, 1], half: [1, 1, 1], bits: '000', sparse: new SparseVector([1, 1, 1]) },
  { embedding: [2, 2, 2.5], half: [2, 2, 2.5], bits: '101', sparse: new SparseVector([2, 2, 2.5]) },
  { embedding: [1, 1, 2], half: [1, 1, 2], bits: '111', sparse: new SparseVector([1, 1, 2]) },
  { embedding: null, half: null, bits: null, sparse: null },
];

/** Ids by distance from [1, 1, 1], or from 101 for bits; NULL comes last. Worked out by hand. */
export const order = {
  l2: [1, 3, 2, 4],
  inner: [2, 3, 1, 4],
  cosine: [1, 2, 3, 4],
  l1: [1, 3, 2, 4],
  hamming: [2, 3, 1, 4],
  jaccard: [2, 3, 1, 4],
};
