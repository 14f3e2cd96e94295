import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Cri } from '../../cri/client.ts';
import { ContainerState, type ContainerStatus } from '../../cri/types.ts';
import { systemClock } from '../../lib/clock.ts';
import { eventually } from '../test-node.ts';
import { openCriPause } from './pause.ts';
import type { Look } from './watch.ts';

test('a log that was turned and not begun anew is asked for until it is', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), `heddle-test-${process.pid}-turn-`));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const logPath = join(folder, '0.log');
  writeFileSync(logPath, '');
  truncateSync(logPath, 11 << 20);
  let asked = 0;
  const status = { state: ContainerState.running, startedAt: 1, logPath } as ContainerStatus;
  const cri = {
    containerStatus: async () => ({ status, info: {} }),
    async reopenContainerLog() {
      asked++;
      if (asked < 3) throw new Error('not now');
      writeFileSync(logPath, '');
    },
  } as unknown as Cri;
  let listener: (look: Look) => void = () => {};
  const containers = [
    { id: 'abc', metadata: { name: 'main', attempt: 0 }, state: ContainerState.running, labels: {} },
  ] as unknown as Look['containers'];
  const look = () => listener({ containers, sandboxes: [], askedAt: 0 });
  const pause = await openCriPause(
    {
      uid: 'one',
      folder,
      cri,
      watch: {
        onLook(_uid, told) {
          listener = told;
          return () => {};
        },
        look: async () => look(),
      },
      prepared: () => ({}) as never,
      sandboxLost: () => {},
      clock: systemClock,
    },
    new AbortController().signal,
  );
  t.after(() => pause.close());
  await eventually('the third time', () => {
    look();
    return asked >= 3;
  });
  assert.equal(asked, 3);
  assert.ok(existsSync(`${logPath}.1`) && !existsSync(`${logPath}.2`), 'turned once');
});
