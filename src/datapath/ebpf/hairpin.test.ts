/** What sockets' hooks do not see: a pod that reaches itself through a service, by packets of its own making. */
import { test } from 'node:test';
import { needsRoot } from '../../kernel/test-netns.ts';
import type { PacketFlow } from '../packet.ts';
import { createCluster, serviceAddresses } from '../testing/cluster.ts';
import { openEbpf } from '../testing/ebpf.ts';
import { settled, witness } from '../testing/packets.ts';
import { datagram, rawWriter } from './core/testing/raw.ts';

test('no policy keeps a pod from itself, through a service that tc translates either', {
  skip: needsRoot,
}, async (t) => {
  const { pod, setPolicies, setFrontends } = await createCluster(t, openEbpf);
  const a = pod('a');
  const arrived: PacketFlow[] = [];
  witness(t, a.ns, (flow) => void arrived.push(flow));
  await setPolicies({
    closed: { podSelector: { matchLabels: { app: 'a' } }, policyTypes: ['Ingress', 'Egress'] },
  });
  const [service] = serviceAddresses(30);
  await setFrontends([
    { kind: 'ClusterIP', addresses: serviceAddresses(30), protocol: 'UDP', port: 9000, pods: [a] },
  ]);
  rawWriter(t, a)(datagram(a, service, 9000, Buffer.from('?')));
  await settled(
    () => arrived.some(({ dport }) => dport === 8081),
    () => 'its own datagram',
  );
});
