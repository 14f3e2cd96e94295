/** Two speakers of ours with time, connections and kernels in memory. */
import assert from 'node:assert/strict';
import { silentLog } from '../../lib/log.ts';
import type { PeerConfig, SpeakerConfig } from '../config.ts';
import { acceptAll } from '../rib/filter.ts';
import { startSpeaker } from '../speaker.ts';
import { fakeKernel, fakeNet, type FakeNet, type FakeTimers, fakeTimers } from './fake.ts';

export const A = '10.1.1.1';
export const B = '10.1.1.2';

export function begin(
  net: FakeNet,
  timers: FakeTimers,
  address: string,
  config: Partial<SpeakerConfig> & { peers: readonly PeerConfig[] },
) {
  const kernel = fakeKernel(address);
  const speaker = startSpeaker({
    config: { localASN: 65001, routerId: address, ...config },
    transport: net.transport(address),
    route: kernel.route,
    timers,
    random: () => 0.5,
    log: silentLog,
  });
  const peer = (index = 0) => speaker.status().peers[index] ?? assert.fail();
  return { speaker, kernel, peer };
}

export const peerOf = (peerAddress: string, peerASN: number, more: Partial<PeerConfig> = {}): PeerConfig => ({
  name: peerAddress,
  peerAddress,
  peerASN,
  importFilter: acceptAll,
  ...more,
});

export function pair(one: Partial<PeerConfig> = {}, other: Partial<PeerConfig> = {}) {
  const [net, timers] = [fakeNet(), fakeTimers()];
  const a = begin(net, timers, A, { peers: [peerOf(B, 65002, one)] });
  const b = begin(net, timers, B, { localASN: 65002, peers: [peerOf(A, 65001, other)] });
  return { a, b, timers, net };
}
