import assert from 'node:assert/strict';
import { appendFileSync, existsSync, mkdtempSync, renameSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { needsRoot } from '../kernel/test-netns.ts';
import { deepOnly } from '../../test/scenarios/deep-only.ts';
import { LOG_FILES, logPaths, readLog } from './logs.ts';
import { add, processPod, sh } from './process/test-pods.ts';
import { createTestNode, eventually } from './test-node.ts';

/** As native/pause-log.c does it. */
function turn(path: string): void {
  for (const [age, from] of [...logPaths(path).slice(0, -1).entries()].toReversed())
    if (existsSync(from)) renameSync(from, logPaths(path)[age + 1]!);
  appendFileSync(path, '');
}

test('a reader that follows meets every line once, in order, however the log turns between two looks', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'heddle-test-log-'));
  const path = join(folder, '0.log');
  const stop = new AbortController();
  let seen = '';
  let written = '';
  const say = (line: number) => {
    appendFileSync(path, `${line}\n`);
    written += `${line}\n`;
  };
  say(0);
  turn(path);
  say(1);
  const reading = readLog({ path, follow: true }, async (chunk) => void (seen += chunk), stop.signal);
  t.after(async () => {
    stop.abort();
    await reading;
    rmSync(folder, { recursive: true, force: true });
  });
  let line = 2;
  for (let turns = 0; turns < LOG_FILES; turns++) {
    await eventually('what was written is read', () => seen === written);
    say(line++);
    for (let i = 0; i < turns; i++) {
      turn(path);
      say(line++);
    }
  }
  await eventually('the rest is read', () => seen === written);
  assert.equal(logPaths(path).filter((one) => existsSync(one)).length, LOG_FILES);
  // The last lines are those of all files together.
  let tail = '';
  await readLog({ path, tail: 3 }, async (chunk) => void (tail += chunk), AbortSignal.abort());
  assert.equal(tail, written.split('\n').slice(-4).join('\n'));
});

test('a container’s log turns at 10 MiB, five files are kept, and who follows misses nothing', {
  skip: needsRoot || deepOnly('60 MB of log'),
}, async (t) => {
  const node = await createTestNode();
  t.after(() => node.close());
  await node.startHost();
  const lines = 60_000;
  // A line is a thousand bytes; now and then it waits, so that the reader, who looks five times a second, can keep up.
  const script = `text=$(head -c 990 /dev/zero | tr '\\0' x); i=0
    while [ $i -lt ${lines} ]; do echo $((100000 + i)) $text; i=$((i+1)); [ $((i % 5000)) = 0 ] && sleep 1; done; sleep 1000`;
  const path = join(node.folder, 'logs/shop_loud_uid-loud/main/0.log');
  add(node, processPod('loud', [sh('main', script)], { terminationGracePeriodSeconds: 1 }));
  await eventually('it has begun', () => existsSync(path));
  const stop = new AbortController();
  let [count, rest, wrong] = [0, '', ''];
  const reading = readLog(
    { path, follow: true },
    async (chunk) => {
      const parts = (rest + chunk.toString()).split('\n');
      rest = parts.pop() ?? '';
      for (const one of parts) if (!one.includes(` F ${100_000 + count++} x`)) wrong ||= one.slice(0, 80);
    },
    stop.signal,
  );
  t.after(() => stop.abort());
  await eventually('all of it is read', () => count >= lines);
  stop.abort();
  await reading;
  assert.deepEqual([count, wrong], [lines, '']);
  const sizes = logPaths(path).map((one) => statSync(one).size);
  assert.ok(
    sizes.slice(1).every((size) => size > 10 << 20 && size < 11 << 20),
    sizes.join(' '),
  );
});
