import assert from 'node:assert/strict';
import { Duplex, duplexPair } from 'node:stream';
import { test } from 'node:test';
import { dataFrame } from '../../lib/spdy/frame.ts';
import { startRuntimeAttach } from './attach.ts';

/** Streams as they are opened where nobody gives input: error, stdout, stderr. */
const [ERROR, STDOUT] = [1, 3];
const turn = () => new Promise((resolve) => void setImmediate(resolve));

/** A caller who takes only what `read` is called for. */
function slowCaller() {
  const waiting: (() => void)[] = [];
  let text = '';
  const caller = new Duplex({
    writableHighWaterMark: 1024,
    read() {},
    write(chunk: Buffer, _encoding, done) {
      text += chunk.toString('latin1');
      waiting.push(done);
    },
  });
  return {
    caller,
    text: () => text,
    async readAll() {
      for (let i = 0; i < 20; i++) {
        for (const done of waiting.splice(0)) done();
        await turn();
      }
    },
  };
}

test('who looks on and takes nothing is let go in time; who reads on is not', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const [ours, theirs] = duplexPair();
  theirs.resume();
  const { caller, text, readAll } = slowCaller();
  const attach = async () => ({ socket: ours, head: Buffer.alloc(0) });
  await startRuntimeAttach(
    { attach, takesInput: false, tty: false },
    { namespace: 'shop', pod: 'one' },
    caller,
  );
  const say = async () => {
    for (let i = 0; i < 8; i++) theirs.write(dataFrame(STDOUT, Buffer.alloc(4096, 'x')));
    for (let i = 0; i < 20; i++) await turn();
  };
  await say();
  t.mock.timers.tick(29_000);
  await readAll();
  t.mock.timers.tick(29_000);
  await readAll();
  assert.equal(ours.destroyed, false);
  await say();
  t.mock.timers.tick(29_999);
  assert.equal(ours.destroyed, false);
  t.mock.timers.tick(1);
  assert.equal(ours.destroyed, true, 'the runtime, and so the container, waits for him no longer');
  await readAll();
  assert.match(text(), /nobody takes what the container says/);
});

test('an end that never ends is not kept', async () => {
  const [ours, theirs] = duplexPair();
  theirs.resume();
  const { caller, text, readAll } = slowCaller();
  const attach = async () => ({ socket: ours, head: Buffer.alloc(0) });
  await startRuntimeAttach(
    { attach, takesInput: false, tty: false },
    { namespace: 'shop', pod: 'one' },
    caller,
  );
  for (let i = 0; i < 100; i++) theirs.write(dataFrame(ERROR, Buffer.alloc(10_000, 'y'), i === 99));
  for (let i = 0; i < 500 && !ours.destroyed; i++) await turn();
  await readAll();
  assert.match(text(), /the container runtime: y+/);
  assert.ok(text().length < 70_000, `${text().length} characters`);
});
