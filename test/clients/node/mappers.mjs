// npm's pgvector with knex and kysely, and drizzle, which brings its own columns and distances.

import assert from 'node:assert/strict';
import pg from 'pg';
import { sql as drizzleSql } from 'drizzle-orm';
import * as drizzleDistance from 'drizzle-orm';
import { drizzle } from 'drizzle-orm/node-postgres';
import { bit, halfvec, pgSchema, serial, sparsevec, vector } from 'drizzle-orm/pg-core';
import Knex from 'knex';
import { Kysely, PostgresDialect, sql } from 'kysely';
import knexVector from 'pgvector/knex';
import kyselyVector from 'pgvector/kysely';
import * as kyselyDistance from 'pgvector/kysely';
import { SparseVector } from 'pgvector';
import { order, rows } from './rows.mjs';
import { finish, test } from './tap.mjs';

const target = [1, 1, 1];
const pool = new pg.Pool({ max: 1, options: '-c search_path=mappers,public' });
await pool.query('CREATE EXTENSION IF NOT EXISTS tandem');
await pool.query('DROP SCHEMA IF EXISTS mappers CASCADE');
await pool.query('CREATE SCHEMA mappers');

const ids = (found) => found.map((item) => item.id);

/** True if the one ordered query of a plan uses an index of this name. */
async function usesIndex(table, name) {
  await pool.query('SET enable_seqscan = off');
  const plan = await pool.query(`EXPLAIN (COSTS OFF) SELECT id FROM ${table} ORDER BY embedding <-> '[1,1,1]' LIMIT 2`);
  return JSON.stringify(plan.rows).includes(name);
}

// What both call the distances, and the order by each.
const distances = [
  ['l2Distance', 'embedding', target, order.l2],
  ['l2Distance', 'half', target, order.l2],
  ['l2Distance', 'sparse', new SparseVector(target), order.l2],
  ['maxInnerProduct', 'embedding', target, order.inner],
  ['cosineDistance', 'embedding', target, order.cosine],
  ['l1Distance', 'embedding', target, order.l1],
  ['hammingDistance', 'bits', '101', order.hamming],
  ['jaccardDistance', 'bits', '101', order.jaccard],
];

// ---- knex ----

const knex = Knex({ client: 'pg', connection: {}, searchPath: ['mappers', 'public'], pool: { min: 1, max: 1 } });

await test('knex: columns of every type', () =>
  knex.schema.createTable('knex_items', (table) => {
    table.increments('id');
    table.vector('embedding', { dimensions: 3 });
    table.halfvec('half', { dimensions: 3 });
    table.bit('bits', { length: 3 });
    table.sparsevec('sparse', { dimensions: 3 });
  }));

await test('knex: insert and read', async () => {
  const asSql = (values) => (values === null ? null : knexVector.toSql(values));
  await knex('knex_items').insert(rows.map((row) => ({ ...row, embedding: asSql(row.embedding), half: asSql(row.half) })));
  const found = await knex('knex_items').orderBy('id');
  assert.deepEqual(knexVector.fromSql(found[1].embedding), rows[1].embedding);
  assert.deepEqual(knexVector.fromSql(found[1].half), rows[1].half);
  assert.equal(found[1].bits, rows[1].bits);
  assert.deepEqual(new SparseVector(found[1].sparse).toArray(), rows[1].sparse.toArray());
  assert.equal(found[3].embedding, null);
});

await test('knex: an index', async () => {
  await knex.schema.alterTable('knex_items', (table) =>
    table.index(knex.raw('embedding vector_l2_ops'), 'knex_embedding_idx', 'tandem'));
  assert.ok(await usesIndex('knex_items', 'knex_embedding_idx'));
});

for (const [name, column, to, expected] of distances) {
  await test(`knex: ${name} of ${column}`, async () =>
    assert.deepEqual(ids(await knex('knex_items').orderBy(knex[name](column, to)).limit(5)), expected));
}
await knex.destroy();

// ---- kysely ----

const kysely = new Kysely({ dialect: new PostgresDialect({ pool }) });

await test('kysely: columns of every type', () =>
  kysely.schema.createTable('kysely_items')
    .addColumn('id', 'serial', (column) => column.primaryKey())
    .addColumn('embedding', sql`vector(3)`)
    .addColumn('half', sql`halfvec(3)`)
    .addColumn('bits', sql`bit(3)`)
    .addColumn('sparse', sql`sparsevec(3)`)
    .execute());

await test('kysely: insert and read', async () => {
  const asSql = (values) => (values === null ? null : kyselyVector.toSql(values));
  const values = rows.map((row) => ({ ...row, embedding: asSql(row.embedding), half: asSql(row.half), sparse: asSql(row.sparse) }));
  await kysely.insertInto('kysely_items').values(values).execute();
  const found = await kysely.selectFrom('kysely_items').selectAll().orderBy('id').execute();
  assert.deepEqual(kyselyVector.fromSql(found[1].embedding), rows[1].embedding);
  assert.equal(found[3].sparse, null);
});

await test('kysely: an index', async () => {
  await kysely.schema.createIndex('kysely_embedding_idx').on('kysely_items').using('tandem')
    .expression(sql`embedding vector_l2_ops`).execute();
  assert.ok(await usesIndex('kysely_items', 'kysely_embedding_idx'));
});

for (const [name, column, to, expected] of distances) {
  await test(`kysely: ${name} of ${column}`, async () => {
    const query = kysely.selectFrom('kysely_items').selectAll().orderBy(kyselyDistance[name](column, to)).limit(5);
    assert.deepEqual(ids(await query.execute()), expected);
  });
}

await test('kysely: rows within a distance', async () => {
  const query = kysely.selectFrom('kysely_items').selectAll().where(kyselyDistance.l2Distance('embedding', target), '<', 1.5);
  assert.deepEqual(ids(await query.orderBy('id').execute()), [1, 3]);
});

// ---- drizzle ----

const db = drizzle(pool);
const items = pgSchema('mappers').table('drizzle_items', {
  id: serial('id').primaryKey(),
  embedding: vector('embedding', { dimensions: 3 }),
  half: halfvec('half', { dimensions: 3 }),
  bits: bit('bits', { dimensions: 3 }),
  sparse: sparsevec('sparse', { dimensions: 3 }),
});

await test('drizzle: its columns are types of the server', () =>
  db.execute(drizzleSql.raw(`CREATE TABLE mappers.drizzle_items (${Object.values(drizzleDistance.getTableColumns(items))
    .map((column) => `${column.name} ${column.getSQLType()}`).join(', ')})`)));

await test('drizzle: insert and read', async () => {
  await db.insert(items).values(rows.map((row) => ({ ...row, sparse: row.sparse?.toString() ?? null })));
  const found = await db.select().from(items).orderBy(items.id);
  assert.deepEqual(found[1].embedding, rows[1].embedding);
  assert.deepEqual(found[1].half, rows[1].half);
  assert.equal(found[3].embedding, null);
});

for (const [name, column, to, expected] of [
  ['l2Distance', 'embedding', target, order.l2],
  ['l2Distance', 'half', target, order.l2],
  ['innerProduct', 'embedding', target, order.inner],
  ['cosineDistance', 'embedding', target, order.cosine],
  ['l1Distance', 'embedding', target, order.l1],
  ['hammingDistance', 'bits', '101', order.hamming],
  ['jaccardDistance', 'bits', '101', order.jaccard],
]) {
  await test(`drizzle: ${name} of ${column}`, async () =>
    assert.deepEqual(ids(await db.select().from(items).orderBy(drizzleDistance[name](items[column], to)).limit(5)), expected));
}

await kysely.destroy();
finish();
