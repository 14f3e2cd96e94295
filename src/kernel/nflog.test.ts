import assert from 'node:assert/strict';
import dgram from 'node:dgram';
import { type TestContext, test } from 'node:test';
import { openNflog, type NflogOptions, type NflogPacket } from './nflog.ts';
import { openNft } from './nft.ts';
import { bindUdp } from './sockets.ts';
import { needsRoot, testNetns } from './test-netns.ts';

const skip = needsRoot;

/** A namespace whose loopback reports UDP to port 7 as "rule 42", and one call to send some. */
function setUp(t: TestContext, options: Partial<NflogOptions> = {}) {
  const ns = testNetns(t);
  const nft = openNft(ns);
  nft.run(
    'table inet t { chain c { type filter hook output priority 0; udp dport 7 log prefix "rule 42" group 5 drop; }\n }',
  );
  nft.close();
  const socket = dgram.createSocket('udp4');
  socket.bind({ fd: bindUdp(ns, '127.0.0.1', 0) });
  const packets: NflogPacket[] = [];
  const waiting: (() => void)[] = [];
  const log = openNflog({
    ns,
    group: 5,
    onPackets(more) {
      packets.push(...more);
      waiting.splice(0).forEach((wake) => wake());
    },
    ...options,
  });
  t.after(() => [socket, log].forEach((each) => each.close()));
  // The rule drops, which the sender sees as EPERM.
  const send = (text: string) =>
    new Promise<void>((resolve) => socket.send(text, 7, '127.0.0.1', () => resolve()));
  const arrival = () => new Promise<void>((resolve) => waiting.push(resolve));
  return { ns, log, packets, send, arrival };
}

test('a packet arrives with its rule, its hook and its bytes', { skip }, async (t) => {
  const { packets, send, arrival, log } = setUp(t);
  const arrived = arrival();
  await send('hello');
  await arrived;
  const [packet] = packets;
  assert.deepEqual(
    [packet?.prefix, packet?.hook, packet?.inIf, packet?.outIf],
    ['rule 42', 'output', undefined, 1],
  );
  const payload = Buffer.from(packet?.payload ?? []);
  assert.equal(payload[9], 17);
  assert.equal(payload.toString('latin1', 28), 'hello');
  assert.deepEqual(log.stats(), { packets: 1, lost: 0, overruns: 0 });
});

test('payloads are cut where asked', { skip }, async (t) => {
  const { packets, send, arrival } = setUp(t, { copyBytes: 40 });
  const arrived = arrival();
  await send('x'.repeat(500));
  await arrived;
  assert.equal(packets[0]?.payload.length, 40);
});

test('what the buffer could not hold is counted, and the listener goes on', { skip }, async (t) => {
  const { packets, send, log } = setUp(t, { receiveBuffer: 4096, copyBytes: 1500, threshold: 1 });
  const text = (packet?: NflogPacket) => Buffer.from(packet?.payload ?? []).toString('latin1', 28);
  let sent = 300;
  await Promise.all(Array.from({ length: sent }, () => send('x'.repeat(1000))));
  for (; text(packets.at(-1)) !== 'after'; sent++) {
    await send('after');
    await new Promise(setImmediate);
  }
  const { lost, overruns } = log.stats();
  assert.ok(lost > 0 && overruns > 0);
  assert.equal(packets.length + lost, sent);
});

test('a group has one listener at a time', { skip }, async (t) => {
  const { ns, log } = setUp(t);
  const second = () => openNflog({ ns, group: 5, onPackets() {} });
  assert.throws(second, { code: 'NflogBusy' });
  log.close();
  second().close();
});
