/**
 * For tests: containers of every kind of link, source of addresses and chain of functions, drawn anew each time, while
 * the agent, or heddle-cni itself, is killed somewhere in it.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Netns } from '../../kernel/netns.ts';
import { openRoute } from '../../kernel/route.ts';
import type { CniResult } from '../types.ts';
import { type Host, testHost } from './host.ts';

export interface Entry {
  readonly type: string;
  readonly [field: string]: unknown;
}

export interface MixedHost {
  readonly host: Host;
  /** Everything that could be left: of the kernel, the disk, and within containers. */
  inventory(): Promise<string[]>;
  /** In the order of the list, until one fails or `stopped` says so. */
  add(id: string, list: readonly Entry[], stopped?: () => boolean): Promise<Ended>;
  del(id: string, list: readonly Entry[], stopped?: () => boolean): Promise<Ended>;
}

export interface Ended {
  /** Of the last entry that was called; 0 where all went well. */
  readonly code: number;
  readonly said: string;
  readonly done: number;
  readonly result: CniResult | undefined;
}

const pick = <T>(all: readonly T[]): T => all[Math.floor(Math.random() * all.length)] as T;
const often = (): boolean => Math.random() < 0.5;

const SOURCES: Readonly<Record<string, readonly string[]>> = {
  'heddle-cni': [''],
  'heddle-bridge': ['heddle', 'host-local', 'static'],
  'heddle-ptp': ['heddle', 'host-local', 'static'],
  'heddle-macvlan': ['host-local', 'static', 'dhcp'],
};

/** Every link with every source that it can have. */
export const PAIRS: readonly (readonly [type: string, source: string])[] = Object.entries(SOURCES).flatMap(
  ([type, sources]) => sources.map((source) => [type, source] as const),
);

/** Short names: each source has a bridge, and so a gateway, of its own. */
const BRIDGES: Readonly<Record<string, string>> = {
  heddle: 'brown',
  'host-local': 'brlocal',
  static: 'brfixed',
};

function sourceOf(folder: string, type: string, source: string): object {
  const net = `${type === 'heddle-bridge' ? 20 : type === 'heddle-ptp' ? 30 : 40}`;
  if (source === '') return {};
  if (source === 'host-local')
    return {
      ipam: {
        type: source,
        dataDir: join(folder, 'networks', type),
        ranges: [[{ subnet: `10.${net}.0.0/24` }], [{ subnet: `fd00:${net}::/64` }]],
        routes: [{ dst: '198.51.100.0/24' }],
      },
    };
  if (source === 'static') return { ipam: { type: source, addresses: [{ address: `10.${net}.1.5/24` }] } };
  return { ipam: { type: source } };
}

/** @param functions which of them, and whether each has an entry of its own */
export function listOf(
  folder: string,
  [type, source]: readonly [string, string],
  { functions, apart }: { functions: readonly string[]; apart: boolean },
): Entry[] {
  const limits = { ingressRate: 1e8, ingressBurst: 1e6, egressRate: 1e8, egressBurst: 1e6 };
  const ports = { runtimeConfig: { portMappings: [{ hostPort: 8080, containerPort: 80, protocol: 'tcp' }] } };
  const fields: Readonly<Record<string, object>> = {
    portmap: ports,
    bandwidth: limits,
    firewall: {},
    tuning: { mtu: 1400, promisc: true, sysctl: { 'net.ipv4.conf.IFNAME.arp_ignore': '1' } },
  };
  const own =
    type === 'heddle-macvlan'
      ? functions.filter((each) => !['portmap', 'bandwidth'].includes(each))
      : functions;
  const within = (name: string): object => {
    if (!own.includes(name)) return {};
    if (name === 'portmap') return { portMappings: ports.runtimeConfig.portMappings };
    return { [name]: fields[name] };
  };
  const main: Entry = {
    type,
    ...(type === 'heddle-bridge'
      ? {
          bridge: BRIDGES[source],
          isDefaultGateway: true,
          ipMasq: true,
          hairpinMode: true,
          macspoofchk: true,
        }
      : {}),
    ...(type === 'heddle-ptp' ? { ipMasq: true } : {}),
    ...(type === 'heddle-macvlan' ? { master: 'up0' } : {}),
    ...sourceOf(folder, type, source),
  };
  if (apart) return [main, ...own.map((name) => ({ type: `heddle-${name}`, ...fields[name] }))];
  return [
    {
      ...main,
      runtimeConfig: { ...within('portmap'), ...within('bandwidth') },
      ...within('firewall'),
      ...within('tuning'),
    },
  ];
}

const FUNCTIONS = ['portmap', 'bandwidth', 'firewall', 'tuning'];

export const drawList = (folder: string): Entry[] =>
  listOf(folder, pick(PAIRS), { functions: FUNCTIONS.filter(often), apart: often() });

/** A machine that has had one of each: what stays by design is there, such as bridges. */
export async function mixedHost(t: TestContext): Promise<MixedHost> {
  const host = await testHost(t);
  const containers = new Map<string, Netns>();
  serveDhcp(host);
  await host.startAgent();

  async function each(
    command: 'ADD' | 'DEL',
    id: string,
    list: readonly Entry[],
    stopped: () => boolean,
  ): Promise<Ended> {
    let result: CniResult | undefined;
    let done = 0;
    for (const entry of command === 'ADD' ? list : list.toReversed()) {
      if (stopped()) break;
      const { code, out } = await host.cni(command, id, {
        ...entry,
        ...(result ? { prevResult: result } : {}),
      });
      if (code !== 0) return { code: out?.code ?? code, said: out?.msg ?? '', done, result };
      if (command === 'ADD') result = out;
      done++;
    }
    return { code: 0, said: '', done, result };
  }

  const mixed: MixedHost = {
    host,
    add(id, list, stopped = () => false) {
      if (!containers.has(id)) containers.set(id, host.container(id));
      return each('ADD', id, list, stopped);
    },
    del: (id, list, stopped = () => false) => each('DEL', id, list, stopped),
    inventory: () => inventoryOf(host, containers),
  };
  for (const [index, pair] of PAIRS.entries()) {
    const list = listOf(host.folder, pair, { functions: FUNCTIONS, apart: true });
    const added = await mixed.add(`first-${index}`, list);
    assert.equal(added.code, 0, `${pair.join(' with ')}: ${added.said}`);
    const deleted = await mixed.del(`first-${index}`, list);
    assert.equal(deleted.code, 0, `${pair.join(' with ')}: ${deleted.said}`);
  }
  return mixed;
}

function serveDhcp(host: Host): void {
  const file = join(host.folder, 'udhcpd.conf');
  fs.writeFileSync(join(host.folder, 'leases'), '');
  fs.writeFileSync(
    file,
    `start 192.0.2.50\nend 192.0.2.250\ninterface up0\nlease_file ${host.folder}/leases\noption lease 3600\noption subnet 255.255.255.0\noption router 192.0.2.2\n`,
  );
  const server = host.startOutside(['busybox', 'udhcpd', '-f', file], join(host.folder, 'udhcpd.log'));
  host.atEnd(async () => {
    const ended = new Promise((resolve) => server.once('exit', resolve));
    if (server.kill('SIGKILL')) await ended;
  });
}

const COUNTER = /counter packets \d+ bytes \d+/;

async function inventoryOf(host: Host, containers: ReadonlyMap<string, Netns>): Promise<string[]> {
  const { stdout } = await host.run(['nft', 'list', 'ruleset']);
  const state = join(host.folder, 'state');
  const networks = join(host.folder, 'networks');
  const leases = join(state, 'dhcp.json');
  return [
    ...host.inventory(),
    ...stdout.split('\n').map((line) => `rule ${line.trim().replace(COUNTER, '')}`),
    ...fs.readdirSync(state).map((name) => `state ${name}`),
    ...(fs.existsSync(networks) ? fs.readdirSync(networks, { recursive: true, encoding: 'utf8' }) : [])
      .filter((name) => !/last_reserved_ip/.test(name))
      .map((name) => `network ${name}`),
    `leases ${fs.existsSync(leases) ? JSON.stringify(JSON.parse(fs.readFileSync(leases, 'utf8')).leases) : '[]'}`,
    ...[...containers].flatMap(([id, ns]) => linksInside(ns, id)),
  ].toSorted();
}

function linksInside(ns: Netns, id: string): string[] {
  const route = openRoute(ns);
  try {
    return route.links().flatMap(({ name }) => (name === 'lo' ? [] : [`inside ${id} ${name}`]));
  } finally {
    route.close();
  }
}

export interface Rounds {
  readonly command: 'ADD' | 'DEL';
  readonly rounds: number;
  /** Who is killed. */
  readonly who: 'agent' | 'heddle-cni';
}

/** What the next start found, or the agent that went on: all of it, a part that DEL took away, nothing. */
export interface Outcome {
  readonly whole: number;
  readonly part: number;
  readonly nothing: number;
}

export async function killMixed(t: TestContext, { command, rounds, who }: Rounds): Promise<Outcome> {
  const mixed = await mixedHost(t);
  const before = await mixed.inventory();
  const pace = await msOfEntry(mixed);
  const outcome = { whole: 0, part: 0, nothing: 0 };
  for (let round = 0; round < rounds; round++) {
    const id = `${command.toLowerCase()}-${round}`;
    const list = drawList(mixed.host.folder);
    const what = `round ${round}, ${JSON.stringify(list)}`;
    if (command === 'DEL') {
      const added = await mixed.add(id, list);
      assert.equal(added.code, 0, `${what}: ${added.said}`);
    }
    let stopped = false;
    const call = mixed[command === 'ADD' ? 'add' : 'del'](id, list, () => stopped);
    await sleep(Math.random() * pace * (list.length + 0.5));
    stopped = true;
    if (who === 'agent') {
      await mixed.host.stopAgent('SIGKILL');
      await mixed.host.startAgent();
    } else mixed.host.killCalls();
    const ended = await call;
    const after = await mixed.inventory();
    const whole = command === 'ADD' && ended.code === 0 && ended.done === list.length;
    if (whole) {
      outcome.whole++;
      for (const entry of list) {
        const { out } = await mixed.host.cni('CHECK', id, { ...entry, prevResult: ended.result });
        assert.equal(out?.msg, undefined, `${what}: ${entry.type}`);
      }
    } else if (who === 'agent' && !after.some((line) => line.startsWith(`book ${id}/`))) {
      outcome.nothing++;
      assert.deepEqual(after, before, `${what}: left by the next start`);
    } else outcome.part++;
    const deleted = await mixed.del(id, list);
    assert.equal(deleted.code, 0, `${what}: DEL says ${deleted.said}`);
    assert.deepEqual(await mixed.inventory(), before, `${what}: left by DEL`);
  }
  return outcome;
}

/** Milliseconds of one entry that nobody disturbs. */
async function msOfEntry(mixed: MixedHost): Promise<number> {
  const list = listOf(mixed.host.folder, ['heddle-bridge', 'host-local'], {
    functions: FUNCTIONS,
    apart: true,
  });
  const start = performance.now();
  await mixed.add('usual', list);
  await mixed.del('usual', list);
  return (performance.now() - start) / (2 * list.length);
}
