/** Frames as a pod writes them past its own sockets. */
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { openPacketSocket } from '../../../../kernel/packet-socket.ts';
import { openRoute } from '../../../../kernel/route.ts';
import { parseAddress, toBytes } from '../../../../lib/ip.ts';
import type { LabPod } from '../../../testing/lab.ts';
import { checksum } from './fragments.ts';

const HOST_MAC = '0200000000fe';
/** For local experiments (IEEE 802): nothing is received. */
const NOTHING = 0x88b5;

export function rawWriter(t: Pick<TestContext, 'after'>, pod: LabPod): (frame: Buffer) => void {
  const route = openRoute(pod.ns);
  const link = route.link('eth0')!.index;
  route.close();
  const socket = openPacketSocket({ ns: pod.ns, link, protocol: NOTHING, onFrame: () => {} });
  t.after(() => socket.close());
  return (frame) => assert.ok(socket.send(frame));
}

/** UDP over IPv4, without a checksum of its own. */
export function datagram(pod: LabPod, dst: string, dport: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(42);
  head.write(`${HOST_MAC}${pod.mac.replaceAll(':', '')}08004500`, 'hex');
  head.writeUInt16BE(28 + payload.length, 16);
  head.writeUInt16BE(0x4011, 22);
  head.set(toBytes(parseAddress(pod.addresses[0])), 26);
  head.set(toBytes(parseAddress(dst)), 30);
  head.writeUInt16BE(checksum(head.subarray(14, 34)), 24);
  head.writeUInt16BE(50_000, 34);
  head.writeUInt16BE(dport, 36);
  head.writeUInt16BE(8 + payload.length, 38);
  return Buffer.concat([head, payload]);
}
