/**
 * `save FILE` writes down what is on the machine; `compare FILE` says what of ours is there now and was not
 * then, or what of the machine changed. Exit code 1 where anything did.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Inventory, difference, takeInventory } from '../src/cluster/snapshot.ts';

const [, , verb, file = ''] = process.argv;

/** Milliseconds for what ends by itself: namespaces are freed after their last process. */
const PATIENCE = 5000;

/** Other programs of the machine come and go in namespaces of their own: only links and mounts of ours tell. */
const isOurs = (line: string): boolean =>
  !line.startsWith('+ namespaces:') && !line.startsWith('- namespaces:');

async function compare(before: Inventory): Promise<string[]> {
  const end = performance.now() + PATIENCE;
  for (;;) {
    const lines = difference(before, takeInventory(), isOurs);
    if (lines.length === 0 || performance.now() > end) return lines;
    await sleep(100);
  }
}

if (process.geteuid?.() !== 0) process.stderr.write('leftovers are looked for as root only\n');
else if (verb === 'save') writeFileSync(file, JSON.stringify(takeInventory()));
else {
  const lines = await compare(JSON.parse(readFileSync(file, 'utf8')) as Inventory);
  for (const line of lines) process.stderr.write(`left behind or changed: ${line}\n`);
  process.exitCode = lines.length > 0 ? 1 : 0;
}
