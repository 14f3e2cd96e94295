import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { CiliumBgpNodeConfig, CiliumBgpPeerConfig } from '../../api/cilium-bgp-types.ts';
import {
  CILIUM_BGP_ADVERTISEMENT,
  CILIUM_BGP_NODE_CONFIG,
  CILIUM_BGP_PEER_CONFIG,
  CILIUM_NODE,
  CILIUM_POD_IP_POOL,
  SERVICE,
} from '../../api/kinds.ts';
import type { SpeakerConfig } from '../../bgp/config.ts';
import type { Advertisement } from '../../bgp/local-routes.ts';
import type { Speaker } from '../../bgp/speaker.ts';
import { createFakeClient, eventually, type FakeClient } from '../../client/fake.ts';
import { createInformer } from '../../client/informer.ts';
import { systemClock } from '../../lib/clock.ts';
import { silentLog } from '../../lib/log.ts';
import { createNodeBgp } from './bgp.ts';

/** A speaker that notes what it is told. */
interface Noted {
  config: SpeakerConfig;
  told: readonly Advertisement[];
  updates: number;
  closed: { graceful?: boolean; words?: string } | undefined;
}

const nodeConfig = (localASN: number): CiliumBgpNodeConfig => ({
  apiVersion: 'cilium.io/v2',
  kind: 'CiliumBGPNodeConfig',
  metadata: { name: 'node-1' },
  spec: {
    bgpInstances: [
      {
        name: 'main',
        localASN,
        peers: [
          { name: 'tor', peerAddress: '10.0.0.1', peerASN: 64512, peerConfigRef: { name: 'usual' } },
          { name: 'other', peerAddress: '10.0.0.2', peerASN: 64512 },
        ],
      },
    ],
  },
});

const peerConfig = (spec: CiliumBgpPeerConfig['spec']): CiliumBgpPeerConfig => ({
  apiVersion: 'cilium.io/v2',
  kind: 'CiliumBGPPeerConfig',
  metadata: { name: 'usual' },
  spec: { families: [{ afi: 'ipv4', safi: 'unicast', advertisements: {} }], ...spec },
});

async function withObjects(): Promise<FakeClient> {
  const client = createFakeClient();
  await client.create(CILIUM_BGP_PEER_CONFIG, peerConfig({}));
  await client.create(CILIUM_BGP_ADVERTISEMENT, {
    apiVersion: 'cilium.io/v2',
    kind: 'CiliumBGPAdvertisement',
    metadata: { name: 'pods' },
    spec: { advertisements: [{ advertisementType: 'PodCIDR' }] },
  });
  await client.create(CILIUM_BGP_NODE_CONFIG, nodeConfig(65001));
  return client;
}

interface Situation {
  memory?: Record<string, number>;
  fails?: () => boolean;
  passwords?: Map<string, string>;
}

function agent(
  t: TestContext,
  client: FakeClient,
  { memory = {}, fails = () => false, passwords = new Map() }: Situation = {},
) {
  const stop = new AbortController();
  const log = silentLog;
  const follow = <T>(kind: Parameters<typeof createInformer<T>>[1]) =>
    createInformer<T>(client, kind, { log });
  const informers = {
    nodeConfigs: follow(CILIUM_BGP_NODE_CONFIG),
    peerConfigs: follow(CILIUM_BGP_PEER_CONFIG),
    advertisements: follow(CILIUM_BGP_ADVERTISEMENT),
    services: follow(SERVICE),
    blocks: follow(CILIUM_NODE),
    pools: follow(CILIUM_POD_IP_POOL),
  };
  const started: Noted[] = [];
  const cleared: number[] = [];
  let saved = memory;
  const heard: (() => void)[] = [];
  const bgp = createNodeBgp({
    ...informers,
    client,
    node: 'node-1',
    addresses: ['10.240.0.1'],
    podCidrs: ['10.244.1.0/24'],
    clusterCidrs: ['10.244.0.0/16', '10.96.0.0/16'],
    secrets: () => ({
      get: (name) => (passwords.has(name) ? { text: passwords.get(name) } : undefined),
      onChange: (listener) => void heard.push(listener),
      synced: async () => {},
    }),
    plan: { services: new Map() },
    ready: Promise.resolve(),
    memory: { load: () => memory, save: (now) => void (saved = now) },
    clearRoutes: (metric) => void cleared.push(metric),
    gateway: () => undefined,
    addressesOf: () => [],
    clock: systemClock,
    log,
    paces: { tick: 20, write: 0 },
    startSpeaker(config) {
      if (fails()) throw new Error('the port is taken');
      const noted: Noted = { config, told: [], updates: 0, closed: undefined };
      started.push(noted);
      const peers = () =>
        noted.config.peers.map(({ name, peerAddress, peerASN }) => ({
          name,
          address: peerAddress,
          peerAS: peerASN,
          state: 'idle',
        }));
      return {
        advertise: (list: readonly Advertisement[]) => void (noted.told = list),
        update: (next: SpeakerConfig['peers']) => {
          noted.updates++;
          noted.config = { ...noted.config, peers: next };
        },
        status: () => ({ localAS: noted.config.localASN, peers: peers() }),
        close: async (how: NonNullable<Noted['closed']> = {}) => void (noted.closed = how),
      } as unknown as Speaker;
    },
  });
  const tasks = [...Object.values(informers).map((one) => one.run(stop.signal)), bgp.run(stop.signal)];
  const end = async () => {
    stop.abort();
    await Promise.all(tasks);
  };
  t.after(end);
  return {
    ran: tasks.at(-1),
    bgp,
    started,
    cleared,
    saved: () => saved,
    end,
    secretChanged: () => heard.forEach((fn) => fn()),
  };
}

const names = (noted: Noted | undefined) => noted?.config.peers.map(({ name }) => name);
const conditionOf = (client: FakeClient) => client.all(CILIUM_BGP_NODE_CONFIG)[0]?.status?.conditions?.[0];

test('what a node is to speak begins, is told all before anybody connects, and shows in the object', async (t) => {
  const client = await withObjects();
  const { started, saved } = agent(t, client);
  await eventually('a speaker', () => started.length === 1);
  assert.deepEqual(started[0]?.told, [{ prefix: '10.244.1.0/24', peers: ['tor'] }]);
  assert.deepEqual([started[0]?.config.restarting, started[0]?.config.metric], [false, 1179]);
  assert.deepEqual(saved(), { main: 1179 });
  await eventually('its status', () => conditionOf(client)?.status === 'False');
  assert.deepEqual(client.all(CILIUM_BGP_NODE_CONFIG)[0]?.status?.bgpInstances?.[0]?.peers?.[0], {
    name: 'tor',
    peerAddress: '10.0.0.1',
    peerASN: 64512,
    peeringState: 'idle',
  });
});

test('a speaker goes on while its peers change; with another AS number it begins anew, and peers are told', async (t) => {
  const client = await withObjects();
  const { started } = agent(t, client);
  await eventually('a speaker', () => started.length === 1);
  await client.update(CILIUM_BGP_PEER_CONFIG, peerConfig({ timers: { holdTimeSeconds: 9 } }));
  await eventually('an update', () => started[0]?.config.peers[0]?.timers?.holdTimeSeconds === 9);
  assert.deepEqual([started.length, started[0]?.closed], [1, undefined]);
  await client.patch(CILIUM_BGP_NODE_CONFIG, 'node-1', undefined, { spec: nodeConfig(65009).spec });
  await eventually('another speaker', () => started.length === 2);
  assert.match(started[0]?.closed?.words ?? '', /configuration has changed/);
  assert.deepEqual([started[1]?.config.localASN, started[1]?.config.restarting], [65009, false]);
  await client.delete(CILIUM_BGP_NODE_CONFIG, 'node-1');
  await eventually('its end', () => started[1]?.closed !== undefined);
  assert.match(started[1]?.closed?.words ?? '', /no longer configured/);
});

test('an agent that ends breaks off without a word, and the next one says that it is back', async (t) => {
  const client = await withObjects();
  const first = agent(t, client);
  await eventually('a speaker', () => first.started.length === 1);
  await first.end();
  assert.deepEqual(first.started[0]?.closed, { graceful: true });
  const second = agent(t, client, { memory: { ...first.saved(), gone: 1180 } });
  await eventually('a speaker', () => second.started.length === 1);
  assert.deepEqual([second.started[0]?.config.restarting, second.started[0]?.config.metric], [true, 1179]);
  assert.deepEqual(
    [second.cleared, second.saved()],
    [[1180], { main: 1179 }],
    'what is not configured any more',
  );
});

test('with the cluster peers are told, nothing is remembered, and nothing begins again', async (t) => {
  const client = await withObjects();
  const { bgp, started, saved, ran } = agent(t, client);
  await eventually('a speaker', () => started.length === 1);
  await bgp.leave('the cluster is going down');
  assert.deepEqual(started[0]?.closed, { graceful: false, words: 'the cluster is going down' });
  assert.deepEqual(saved(), {});
  await ran;
  assert.equal(started.length, 1);
});

test('a peer whose Secret is missing waits for it, and the others are spoken with', async (t) => {
  const client = await withObjects();
  await client.update(CILIUM_BGP_PEER_CONFIG, peerConfig({ authSecretRef: 'key' }));
  const passwords = new Map<string, string>();
  const { started, secretChanged } = agent(t, client, { passwords });
  await eventually('a speaker', () => started.length === 1);
  assert.deepEqual(names(started[0]), ['other']);
  await eventually('the condition', () => conditionOf(client)?.status === 'True');
  assert.match(conditionOf(client)?.message ?? '', /main: peer tor: there is no Secret kube-system\/key/);
  passwords.set('key', 'secret');
  secretChanged();
  await eventually('the peer', () => names(started[0])?.join() === 'tor,other');
  assert.equal(started[0]?.config.peers[0]?.password, 'secret');
  await eventually('the condition', () => conditionOf(client)?.status === 'False');
});

test('a speaker that cannot begin is tried again, and said', async (t) => {
  const client = await withObjects();
  let isTaken = true;
  const { bgp, started } = agent(t, client, { memory: { main: 1179 }, fails: () => isTaken });
  await eventually('the problem', () => bgp.problems().join() === 'main: the port is taken');
  isTaken = false;
  await eventually('a speaker', () => started.length === 1);
  assert.equal(started[0]?.config.restarting, true, 'it has not been told to anybody yet');
  await eventually('no problem', () => bgp.problems().length === 0);
});

test('of an instance that cannot be any more, what an agent before has left in the kernel goes', async (t) => {
  const client = await withObjects();
  await client.patch(CILIUM_BGP_NODE_CONFIG, 'node-1', undefined, {
    spec: { bgpInstances: [{ name: 'main' }] },
  });
  const { cleared, saved, started } = agent(t, client, { memory: { main: 1181 } });
  await eventually('the routes gone', () => cleared.length > 0);
  await eventually('nothing remembered', () => Object.keys(saved()).length === 0);
  assert.deepEqual([cleared, started.length], [[1181], 0]);
});
