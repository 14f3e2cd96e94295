/** Two nodes, a pod that sends frames of any guise, and what comes of them. */
import { createSocket } from 'node:dgram';
import type { TestContext } from 'node:test';
import type { Netns } from '../../../../kernel/netns.ts';
import { openPacketSocket } from '../../../../kernel/packet-socket.ts';
import { openRoute } from '../../../../kernel/route.ts';
import { bindUdp } from '../../../../kernel/sockets.ts';
import { createCluster } from '../../../testing/cluster.ts';
import { openEbpf } from '../../../testing/ebpf.ts';
import type { LabPod } from '../../../testing/lab.ts';
import { settled } from '../../../testing/packets.ts';
import { type OddFrame, oddFrame } from './odd-frames.ts';
import { rawWriter } from './raw.ts';

/** UDP that pods b (of a's node) and c (of the other) listen to. */
export const PORT = 8081;
const ETH_P_ALL = 3;

/** What has come to UDP `PORT` of the namespace. */
function listen(t: TestContext, ns: Netns, addresses: readonly string[]): string[] {
  const heard: string[] = [];
  for (const address of addresses) {
    const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4');
    socket.on('message', (data) => void heard.push(data.toString().trim()));
    socket.bind({ fd: bindUdp(ns, address, PORT) });
    t.after(() => void socket.close());
  }
  return heard;
}

/** Every frame that comes to the end of the link, or leaves it. */
export function capture(t: TestContext, ns: Netns, link = 'eth0'): Buffer[] {
  const frames: Buffer[] = [];
  const route = openRoute(ns);
  const index = route.link(link)?.index ?? 0;
  route.close();
  const socket = openPacketSocket({
    ns,
    link: index,
    protocol: ETH_P_ALL,
    allMulticast: true,
    onFrame: (frame) => void frames.push(frame),
  });
  t.after(() => socket.close());
  return frames;
}

export const oddCluster = async (t: TestContext) => {
  const made = await createCluster(t, openEbpf, [['a', 'b'], ['c']]);
  const { pod, lab, backends } = made;
  const [a, b, c] = [pod('a'), pod('b'), pod('c')];
  const heard = listen(t, b.ns, b.addresses);
  const heardFar = listen(t, c.ns, c.addresses);
  const send = rawWriter(t, a);
  let serial = 0;
  const drops = (reason: string): number => backends[0]?.drops?.().get(reason)?.packets ?? 0;
  return {
    ...made,
    lab,
    a,
    b,
    c,
    heard,
    heardFar,
    drops,
    send,
    /** Sends UDP of pod a in this guise, and says whether it came; what comes later than a plain one does not. */
    async arrives(to: LabPod, family: 0 | 1, guise: Partial<OddFrame>): Promise<boolean> {
      const [src, dst] = [a.addresses[family], to.addresses[family]];
      const name = `${++serial}`.padStart(6, '0');
      send(oddFrame({ src, dst, mac: a.mac, dport: PORT, ...guise, payload: `odd ${name}` }));
      send(oddFrame({ src, dst, mac: a.mac, dport: PORT, payload: `end ${name}` }));
      const list = to === c ? heardFar : heard;
      await settled(
        () => list.includes(`end ${name}`),
        () => `the plain packet after ${JSON.stringify(guise)}`,
      );
      return list.includes(`odd ${name}`);
    },
  };
};
