import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openPacketSocket } from '../../../kernel/packet-socket.ts';
import { openRoute } from '../../../kernel/route.ts';
import { needsRoot } from '../../../kernel/test-netns.ts';
import { createCluster } from '../../testing/cluster.ts';
import { openEbpf } from '../../testing/ebpf.ts';
import { GATEWAYS, OUTSIDE } from '../../testing/lab.ts';
import { settled } from '../../testing/packets.ts';
import { frame } from '../core/testing/frames.ts';
import { DROP, dropped, openSink, protectionChange } from './testing.ts';

const PORT = 7001;
const MALFORMED = 3;
/** IEEE 802.1Q, no VLAN, a priority: the kernel takes such frames like those without. */
const TAG = Buffer.from('81004000', 'hex');

test('a frame with a tag hides no denied source', { skip: needsRoot }, async (t) => {
  const { lab, backends } = await createCluster(t, openEbpf, [['a']]);
  const node = lab.nodes[0]!;
  const [backend] = backends;
  const [address = ''] = node.settings.nodeAddresses;
  await backend!.apply([protectionChange({ denied: ['192.0.2.0/24'] })]);
  const route = openRoute(lab.outside);
  const link = route.link('eth0')!.index;
  route.close();
  const socket = openPacketSocket({ ns: lab.outside, link, protocol: 0x88b5, onFrame: () => {} });
  t.after(() => socket.close());
  const sink = openSink(t, node.ns, address, PORT);
  let received = 0;
  const send = (src: string, tags: number) => {
    const data = frame({ src, dst: address, protocol: 17, sport: 1, dport: PORT });
    data.write(node.route.link('eth0')!.mac.replaceAll(':', ''), 'hex');
    const tagged = [data.subarray(0, 12), ...Array.from({ length: tags }, () => TAG), data.subarray(12)];
    assert.ok(socket.send(Buffer.concat(tagged)));
  };
  // A bridge on the way may take one off.
  for (const tags of [0, 1, 2, 3, 6]) send(OUTSIDE[0], tags);
  for (const tags of [0, 1]) send(GATEWAYS[0], tags);
  await settled(
    () => (received += sink.count()) >= 2,
    () => `${received} datagrams`,
  );
  assert.equal(received, 2);
  assert.equal(dropped(backend!.programs, DROP.denied), 4);
  assert.equal(dropped(backend!.programs, MALFORMED), 1);
});
