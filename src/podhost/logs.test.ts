import assert from 'node:assert/strict';
import {
  appendFileSync,
  existsSync,
  mkdtempSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import fc from 'fast-check';
import { needsRoot, testFolder } from '../kernel/test-netns.ts';
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

function logOfFiles(t: TestContext) {
  const path = join(testFolder(t), '0.log');
  /** The oldest first. */
  const write = (files: readonly string[]) => {
    for (const one of logPaths(path)) rmSync(one, { force: true });
    for (const [age, text] of files.toReversed().entries()) writeFileSync(logPaths(path)[age]!, text);
  };
  const read = async (tail?: number, enough?: () => boolean) => {
    let text = '';
    await readLog(
      { path, ...(tail === undefined ? {} : { tail }), ...(enough ? { enough } : {}) },
      async (chunk) => void (text += chunk.toString('latin1')),
      AbortSignal.abort(),
    );
    return text;
  };
  return { path, write, read };
}

/** What `tail` says, by reading all. */
function lastLines(text: string, count: number): string {
  const closed = text.endsWith('\n');
  const lines = (closed ? text.slice(0, -1) : text).split('\n');
  if (count === 0 || text === '') return '';
  return lines.slice(-count).join('\n') + (closed ? '\n' : '');
}

const CHUNK = 64 * 1024;

test('the last lines are those of all files together, wherever the files and the blocks that are read begin', async (t) => {
  const { write, read } = logOfFiles(t);
  // Short lines, empty ones, and such that an end of line falls on the edge of a block.
  const line = fc.oneof(
    { weight: 8, arbitrary: fc.nat(3) },
    fc.integer({ min: CHUNK - 3, max: CHUNK + 3 }),
    fc.constant(2 * CHUNK - 1),
  );
  const file = fc.record({ lines: fc.array(line, { maxLength: 6 }), open: fc.boolean() });
  const files = fc.array(file, { minLength: 1, maxLength: LOG_FILES });
  await fc.assert(
    fc.asyncProperty(files, fc.nat(20), async (some, tail) => {
      const texts = some.map(
        ({ lines, open }, i) =>
          lines.map((length) => `${String.fromCharCode(97 + i).repeat(length)}\n`).join('') +
          (open ? 'z' : ''),
      );
      write(texts);
      const all = texts.join('');
      assert.ok((await read()) === all);
      assert.ok((await read(tail)) === lastLines(all, tail), `${tail} of ${JSON.stringify(some)}`);
    }),
  );
});

test('of a log of any size no more is read than its last lines, and nothing once the reader has enough', async (t) => {
  const { path, write, read } = logOfFiles(t);
  write(['first\n', '']);
  // 64 GiB that take no room: whoever reads all of it is not done today.
  truncateSync(path, 64 * 2 ** 30);
  appendFileSync(path, '\nlast\nof all\n');
  assert.equal(await read(2), 'last\nof all\n');
  let asked = 0;
  const some = await read(undefined, () => ++asked > 3);
  assert.ok(some.length <= 'first\n'.length + 3 * CHUNK);
});

test('a reader that does not follow ends, however fast the log grows meanwhile', async (t) => {
  const { path, write } = logOfFiles(t);
  write(['one\n', 'two\n']);
  let seen = '';
  const more = async (chunk: Buffer) => {
    seen += chunk.toString();
    appendFileSync(path, 'more\n');
  };
  await readLog({ path }, more, AbortSignal.abort());
  assert.equal(seen, 'one\ntwo\n');
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
