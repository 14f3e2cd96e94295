/** A writer is killed at random moments; whatever it said was acknowledged must be there afterwards. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { createStore } from './store.ts';

// Twenty keys counting upwards; after each acknowledgement the child says "key number".
const writer = `
  import { writeSync } from 'node:fs';
  import { createStore } from ${JSON.stringify(new URL('./store.ts', import.meta.url).href)};
  const store = await createStore({ path: process.argv[1], window: { events: 100, bytes: 1 << 20 } });
  writeSync(1, 'open 0\\n');
  await Promise.all(Array.from({ length: 20 }, async (_, i) => {
    const key = 'x/y/' + i;
    for (let n = Number(store.get(key)?.value ?? 0) + 1; ; n++) {
      await store.write({ key, value: String(n) });
      writeSync(1, key + ' ' + n + '\\n');
    }
  }));
`;

test('nothing acknowledged is lost when the process is killed', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'heddle-crash-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const path = join(dir, 'store.db');
  const acknowledged = new Map<string, number>();
  for (let round = 0; round < 6; round++) {
    const child = spawn(process.execPath, ['--input-type=module', '-e', writer, path], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const ended = new Promise((resolve) => child.on('close', resolve));
    let opened = () => {};
    const ready = new Promise<void>((resolve) => (opened = resolve));
    createInterface({ input: child.stdout }).on('line', (line) => {
      const [key, n] = line.split(' ');
      if (key === 'open') return opened();
      // The last line may have been cut; a prefix of a number is less than it.
      if (key?.startsWith('x/y/') && n)
        acknowledged.set(key, Math.max(acknowledged.get(key) ?? 0, Number(n)));
    });
    await Promise.race([ready, ended]);
    assert.equal(child.exitCode, null, 'the writer ended by itself');
    await sleep(Math.random() * 150);
    child.kill('SIGKILL');
    await ended;
    const store = await createStore({ path });
    const last = Math.max(1, ...store.list('x/y/').items.map(({ revision }) => revision));
    assert.equal(store.revision(), last);
    for (const [key, n] of acknowledged) assert.ok(Number(store.get(key)?.value ?? 0) >= n, `${key} ${n}`);
    await store.close();
  }
  assert.ok(acknowledged.size > 0);
});
