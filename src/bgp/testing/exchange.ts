/** A node with a pod and a router with a host behind it, for tests with a real router: what both sides must see. */
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { acceptAll } from '../rib/filter.ts';
import type { PeerConfig } from '../config.ts';
import type { Speaker } from '../speaker.ts';
import type { Router } from './bird.ts';
import { addHosts, backwards, connect, echo, type Place, place, stream } from './lab.ts';
import { until } from './until.ts';

export interface Exchange {
  readonly t: Pick<TestContext, 'after'>;
  readonly node: Place;
  readonly router: Place;
}

export function exchangeLab(test: TestContext): Exchange {
  const t = backwards(test);
  const [node, router] = [place(t), place(t)];
  connect(node, router, 'uplink', 1);
  addHosts(node, '10.244.1.5/32', 'fd00:10:244:1::5/128');
  addHosts(router, '192.168.50.1/32', 'fd00:50::1/128');
  echo(t, router, '192.168.50.1');
  echo(t, router, 'fd00:50::1');
  return { t, node, router };
}

/** A session for each family. */
export const peersOf = (name: string, peerASN: number, four: Partial<PeerConfig> = {}): PeerConfig[] => [
  {
    name: `${name}4`,
    peerAddress: '10.1.1.2',
    peerASN,
    families: ['ipv4'],
    importFilter: acceptAll,
    ...four,
  },
  { name: `${name}6`, peerAddress: 'fd00:1:1::2', peerASN, families: ['ipv6'], importFilter: acceptAll },
];

export const podRanges = [
  { prefix: '10.244.1.0/24', communities: ['65001:100', '65001:7:8'] },
  { prefix: 'fd00:10:244:1::/64' },
];

export const waitForRoutes = (speaker: Speaker, count: number): Promise<string[]> =>
  until(
    'routes',
    () => [...speaker.routes().keys()],
    (prefixes) => prefixes.length === count,
  );

/** Until the router's answer to `command` is as it should be. */
export const waitForAnswer = (router: Router, command: string, words: RegExp): Promise<string> =>
  until(
    `${words} in the answer to ${command}`,
    () => router.ask(command),
    (text) => words.test(text),
  );

/** Both ways, of both families. */
export async function packetsPass({ t, node }: Exchange): Promise<void> {
  for (const [from, to] of [
    ['10.244.1.5', '192.168.50.1'],
    ['fd00:10:244:1::5', 'fd00:50::1'],
  ] as const) {
    const packets = stream(t, node, from, to);
    await until(
      `echoes from ${to}`,
      () => packets.echoed.size,
      (count) => count > 3,
    );
    packets.stop();
    assert.ok(packets.sent > 3);
  }
}
