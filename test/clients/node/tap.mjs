// Tests that print TAP, one after the other.

let count = 0;
let failed = 0;

/** Runs one test; an exception is its failure. */
export async function test(name, body) {
  count++;
  try {
    await body();
    console.log(`ok ${count} - ${name}`);
  } catch (error) {
    failed++;
    console.log(`not ok ${count} - ${name}`);
    console.log(String(error?.stack ?? error).replace(/^/gm, '# '));
  }
}

/** Says how many tests there were; the process ends with 1 if one failed. */
export function finish() {
  console.log(`1..${count}`);
  process.exitCode = failed > 0 ? 1 : 0;
}
