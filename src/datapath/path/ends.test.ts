import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { bindUdp } from '../../kernel/sockets.ts';
import { needsRoot, testNetns } from '../../kernel/test-netns.ts';
import { silentLog } from '../../lib/log.ts';
import { openPathEnds } from './ends.ts';
import { PROBE_PORT } from './wire.ts';

const PATIENCE = 60_000;

test('a port that another process has is said, and taken once it is free; other addresses answer meanwhile', {
  skip: needsRoot,
}, async (t) => {
  const ns = testNetns(t);
  const holder = createSocket('udp4').bind({ fd: bindUdp(ns, '127.0.0.2', PROBE_PORT) });
  const addresses = ['127.0.0.2', '127.0.0.3', '192.0.2.1'];
  const ends = openPathEnds({ addresses, ns, log: silentLog, retryMs: 10 });
  t.after(() => ends.close());
  const [taken, absent, ...more] = ends.silent();
  assert.match(taken ?? '', /^UDP 127\.0\.0\.2:7248 is taken by another process/);
  assert.match(absent ?? '', /^UDP 192\.0\.2\.1:7248 cannot be listened at: .*EADDRNOTAVAIL/);
  assert.deepEqual(more, []);
  assert.notEqual(await ends.probe('127.0.0.3', 128, PATIENCE), undefined);
  holder.close();
  for (const end = Date.now() + PATIENCE; ends.silent().length > 1 && Date.now() < end; ) await sleep(10);
  assert.equal(ends.silent().length, 1, 'the address that is nowhere');
  assert.notEqual(await ends.probe('127.0.0.2', 128, PATIENCE), undefined);
});
