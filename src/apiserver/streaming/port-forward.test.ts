import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { duplexPair, type Duplex } from 'node:stream';
import { test } from 'node:test';
import { controlFrame, dataFrame, Reset, Type } from '../../lib/spdy/frame.ts';
import { createHeaderWriter } from '../../lib/spdy/headers.ts';
import { silentLog } from '../../lib/log.ts';
import type { Kubelets } from '../kubelets.ts';
import { spdyPortForward } from './port-forward-spdy.ts';
import type { Carrier } from './transport.ts';

const turn = () => new Promise((resolve) => setImmediate(resolve));

async function until(holds: () => boolean, what: string): Promise<void> {
  for (let round = 0; !holds(); round++) {
    assert.ok(round < 100_000, what);
    await turn();
  }
}

/** A client whose answers are thrown away, and pods that say nothing by themselves. */
function startSession() {
  const writeHeaders = createHeaderWriter();
  const pods: { ours: Duplex; theirs: Duplex; signal: AbortSignal }[] = [];
  const forward: Kubelets['forward'] = async (_ref, _port, signal) => {
    signal.throwIfAborted();
    const [ours, theirs] = duplexPair({ allowHalfOpen: true });
    pods.push({ ours, theirs, signal });
    return ours;
  };
  let carrier: Carrier | undefined;
  spdyPortForward(
    {
      kubelets: { forward } as Kubelets,
      ref: { node: 'n', namespace: 'default', pod: 'web' },
      stopping: new AbortController().signal,
      log: silentLog,
    },
    (to) => {
      carrier = to;
      const nothing = () => {};
      return { send: () => true, onceDrained: (go) => go(), pause: nothing, resume: nothing, close: nothing };
    },
  );
  const feed = (frame: Buffer) => carrier!.onData(frame);
  return {
    pods,
    feed,
    gone: () => carrier!.onGone(),
    open(id: number, streamtype: string, requestid: string) {
      const headers = writeHeaders(new Map(Object.entries({ streamtype, port: '80', requestid })));
      feed(controlFrame(Type.synStream, 0, id, 0, Buffer.alloc(2), headers));
    },
  };
}

test('a connection whose data the client takes back before its other half comes is not made', async () => {
  const session = startSession();
  session.open(1, 'data', 'a');
  session.feed(controlFrame(Type.rstStream, 0, 1, Reset.cancel));
  session.open(3, 'error', 'a');
  session.open(5, 'error', 'b');
  session.open(7, 'data', 'b');
  await until(() => session.pods.length > 0, 'no connection was made');
  await turn();
  assert.equal(session.pods.length, 1);
  session.gone();
  await until(() => session.pods[0]!.ours.destroyed, 'the connection to the pod stays');
});

test('a client that ended its half and goes does not leave its connection to the pod behind', async (t) => {
  const session = startSession();
  session.open(1, 'error', 'a');
  session.open(3, 'data', 'a');
  session.feed(dataFrame(3, Buffer.from('last words'), true));
  await until(() => session.pods.length > 0, 'no connection was made');
  const { ours, theirs } = session.pods[0]!;
  let heard = '';
  theirs.on('data', (chunk: Buffer) => (heard += chunk.toString()));
  await until(() => theirs.readableEnded, 'the pod hears of no end');
  assert.equal(heard, 'last words');
  t.mock.timers.enable({ apis: ['setTimeout'] });
  session.gone();
  await turn();
  t.mock.timers.tick(60_000);
  await until(() => ours.destroyed, 'the connection to the pod stays');
});

test('a connection that is over is not remembered', async () => {
  const session = startSession();
  session.open(1, 'error', 'a');
  session.open(3, 'data', 'a');
  session.feed(dataFrame(3, Buffer.alloc(0), true));
  await until(() => session.pods.length > 0, 'no connection was made');
  const { ours, theirs, signal } = session.pods[0]!;
  theirs.end();
  theirs.resume();
  await until(() => ours.destroyed, 'the connection does not end');
  await turn();
  assert.equal(signal.aborted, false);
  assert.equal(getEventListeners(signal, 'abort').length, 0);
  session.gone();
});
