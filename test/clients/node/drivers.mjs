// npm's pgvector with node-postgres.

import assert from 'node:assert/strict';
import pg from 'pg';
import pgvector from 'pgvector/pg';
import { SparseVector } from 'pgvector';
import { finish, test } from './tap.mjs';

const client = new pg.Client();
await client.connect();
await client.query(`
  CREATE EXTENSION IF NOT EXISTS tandem;
  DROP SCHEMA IF EXISTS drivers CASCADE;
  CREATE SCHEMA drivers;
  SET search_path = drivers, public;
  CREATE TABLE items (
    id serial PRIMARY KEY,
    embedding vector(3),
    half halfvec(3),
    bits bit(3),
    sparse sparsevec(3),
    several vector(2)[]
  )`);

/** The one row of a query, as an array. */
async function row(text, values) {
  const result = await client.query({ text, values, rowMode: 'array' });
  assert.equal(result.rows.length, 1);
  return result.rows[0];
}

/** The binary form of vector: dimensions and a zero as int16, then float4, all big endian. */
function wireVector(values) {
  const bytes = Buffer.alloc(4 + 4 * values.length);
  bytes.writeInt16BE(values.length, 0);
  values.forEach((value, i) => bytes.writeFloatBE(value, 4 + 4 * i));
  return bytes;
}

/** The binary form of sparsevec: dimensions, how many are not zero, a zero, then their places from 0, and their values. */
function wireSparse(dimensions, entries) {
  const bytes = Buffer.alloc(12 + 8 * entries.length);
  bytes.writeInt32BE(dimensions, 0);
  bytes.writeInt32BE(entries.length, 4);
  entries.forEach(([place, value], i) => {
    bytes.writeInt32BE(place, 12 + 4 * i);
    bytes.writeFloatBE(value, 12 + 4 * entries.length + 4 * i);
  });
  return bytes;
}

await test('the types are found by name and registered', () => pgvector.registerTypes(client));

await test('vector, halfvec, bit and sparsevec come back as they went', async () => {
  const back = await row(
    'INSERT INTO items (embedding, half, bits, sparse) VALUES ($1, $2, $3, $4) RETURNING embedding, half, bits, sparse',
    [pgvector.toSql([1.5, -2, 3e-5]), pgvector.toSql([1.5, -2, 0.25]), '101', pgvector.toSql(new SparseVector([0, 2.5, 0]))]);
  assert.deepEqual(back[0], [1.5, -2, 3e-5]);
  assert.deepEqual(back[1], [1.5, -2, 0.25]);
  assert.equal(back[2], '101');
  assert.deepEqual(back[3].toArray(), [0, 2.5, 0]);
});

await test('NULL stays NULL', async () => {
  assert.deepEqual(await row('SELECT $1::vector, $2::halfvec, $3::sparsevec', [null, null, null]), [null, null, null]);
});

await test('an array of vectors', async () => {
  assert.deepEqual(await row('SELECT ($1::vector[])[2]', [['[1,2]', '[3,4]']]), [[3, 4]]);
});

// Results in binary form cannot be asked for: the driver reads them as UTF-8 first. What the server would send is looked at there.
await test('vector in binary form, both ways', async () => {
  const wire = wireVector([1.5, -2, 0.1]);
  assert.deepEqual(await row(`SELECT encode(vector_send($1), 'hex')`, [wire]), [wire.toString('hex')]);
  assert.deepEqual(await row('SELECT $1::vector', [wire]), [[1.5, -2, 0.1]]);
});

await test('halfvec in binary form, both ways', async () => {
  const wire = Buffer.from('000300003e00c0003400', 'hex');    // 1.5, -2, 0.25
  assert.deepEqual(await row(`SELECT encode(halfvec_send($1), 'hex')`, [wire]), [wire.toString('hex')]);
  assert.deepEqual(await row('SELECT $1::halfvec', [wire]), [[1.5, -2, 0.25]]);
});

await test('sparsevec in binary form, both ways', async () => {
  const wire = wireSparse(5, [[0, 1.5], [3, -2]]);
  assert.deepEqual(await row(`SELECT encode(sparsevec_send($1), 'hex')`, [wire]), [wire.toString('hex')]);
  assert.deepEqual(await row('SELECT $1::sparsevec::text', [wire]), ['{1:1.5,4:-2}/5']);
});

await test('a binary value that is cut short is an error of its own', async () => {
  await assert.rejects(row('SELECT $1::vector', [wireVector([1, 2, 3]).subarray(0, 10)]), (error) => error.code === '08P01');
});

await test('a vector of other dimensions is refused with the class that pgvector uses', async () => {
  await assert.rejects(row('SELECT $1::vector(3)', ['[1,2]']), (error) => error.code === '22000' && /expected 3 dimensions, not 2/.test(error.message));
});

await test('an index made by DDL answers an ordered query, prepared by name and run again', async () => {
  await client.query(`INSERT INTO items (embedding) SELECT ARRAY[i % 10, i / 10, 1]::vector FROM generate_series(0, 99) i`);
  await client.query('CREATE INDEX ON items USING tandem (embedding vector_l2_ops) WITH (strategy = flat)');
  await client.query('SET enable_seqscan = off');
  const text = 'SELECT embedding FROM items ORDER BY embedding <-> $1 LIMIT 3';
  for (const x of [2, 7, 4, 5, 6, 1, 3]) {
    const found = await client.query({ name: 'nearest', text, values: [pgvector.toSql([x, 4.25, 1])] });
    assert.deepEqual(found.rows.map((r) => r.embedding)[0], [x, 4, 1]);
  }
  const plan = await client.query(`EXPLAIN (COSTS OFF) SELECT id FROM items ORDER BY embedding <-> '[1,2,3]' LIMIT 3`);
  assert.match(JSON.stringify(plan.rows), /items_embedding_idx/);
});

await test('a cursor reads on through an ordered query', async () => {
  await client.query('BEGIN');
  await client.query(`DECLARE nearest CURSOR FOR SELECT id, embedding <-> '[0,0,1]' AS distance FROM items
                      WHERE embedding IS NOT NULL ORDER BY embedding <-> '[0,0,1]'`);
  const distances = [];
  for (;;) {
    const { rows } = await client.query('FETCH 30 FROM nearest');
    if (rows.length === 0) break;
    distances.push(...rows.map((r) => r.distance));
  }
  await client.query('COMMIT');
  assert.equal(distances.length, 101);
  assert.deepEqual(distances, [...distances].sort((a, b) => a - b));
});

await test('what is not a list is refused before it is sent', () => {
  assert.throws(() => pgvector.toSql({ hello: 'world' }), /expected array/);
});

await client.end();
finish();
