import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';

test('a log that cannot be written ends nobody', () => {
  const full = openSync('/dev/full', 'w');
  const program = `import { createLog } from ${JSON.stringify(join(import.meta.dirname, 'log.ts'))};
    const log = createLog();
    log.error('one');
    await new Promise((resolve) => setTimeout(resolve, 1));
    log.error('two');
    process.stdout.write('done');`;
  try {
    const child = spawnSync(process.execPath, ['--input-type=module', '-e', program], {
      stdio: ['ignore', 'pipe', full],
      encoding: 'utf8',
    });
    assert.deepEqual([child.status, child.stdout], [0, 'done']);
  } finally {
    closeSync(full);
  }
});
