/**
 * Packets of a denied range, one of 10,000, dropped on one core: by XDP in a driver, in the stack (generic), by a program
 * at tc that drops everything, and by nftables sets. Frames come in as a driver with XDP hands them over, so that no
 * figure has a sender in it.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { frame } from '../src/datapath/ebpf/core/testing/frames.ts';
import { openPrograms } from '../src/datapath/ebpf/loader.ts';
import { createXdpPart } from '../src/datapath/ebpf/xdp/part.ts';
import { DROP, dropped, protectionChange } from '../src/datapath/ebpf/xdp/testing.ts';
import type { Settings } from '../src/datapath/plan/tables.ts';
import { attachTc } from '../src/kernel/bpf/links.ts';
import { compileObject } from '../src/kernel/bpf/test-object.ts';
import { receiveFrames } from '../src/kernel/bpf/test-run.ts';
import type { Netns } from '../src/kernel/netns.ts';
import { openNft } from '../src/kernel/nft.ts';
import { openRoute } from '../src/kernel/route.ts';
import { testBpffs, testNetns } from '../src/kernel/test-netns.ts';
import { silentLog } from '../src/lib/log.ts';
import type { Benchmark, Contender } from './harness.ts';
import { createCleanup } from './services.ts';

type Cleanup = ReturnType<typeof createCleanup>;

const NODE = '10.240.0.11';
const SENDER = '198.51.100.7';
/** Where `frame` sends to. */
const MAC = '02:00:00:00:00:fe';
/** 11.0.0.0/24 and on, and the sender's. */
const RANGES = [
  ...Array.from({ length: 9_999 }, (_, i) => `${11 + (i >> 16)}.${(i >> 8) & 255}.${i & 255}.0/24`),
  '198.51.100.0/24',
];
const DATA = frame({ src: SENDER, dst: NODE, protocol: 17, sport: 7000, dport: 7000 });

interface Rig {
  readonly node: Netns;
  readonly link: number;
  /** Packets a second; `program` is what a driver runs. */
  rate(program: number): number;
}

function createRig(t: Cleanup, count: number): Rig {
  const node = testNetns(t);
  const route = openRoute(node);
  t.after(() => route.close());
  route.addVeth({ name: 'eth0', mac: MAC, peer: { name: 'far' } });
  for (const name of ['eth0', 'far']) route.setLink(name, { up: true });
  route.replaceAddress('eth0', `${NODE}/24`);
  const ifindex = route.link('eth0')?.index ?? 0;
  return {
    node,
    link: ifindex,
    rate(program) {
      const began = performance.now();
      receiveFrames({ program, data: DATA, ifindex, ns: node, count });
      return (count * 1000) / (performance.now() - began);
    },
  };
}

function openProtection(t: Cleanup, rig: Rig, way: 'native' | 'generic') {
  const programs = openPrograms({
    objectDir: join(import.meta.dirname, '../build/bpf'),
    pinDir: testBpffs(t),
    objects: ['xdp-uplink'],
    log: silentLog,
  });
  const route = { addresses: () => [{ link: rig.link, address: `${NODE}/24` }] };
  const part = createXdpPart({ programs, ns: rig.node, route, way, log: silentLog });
  t.after(() => {
    part.remove?.();
    programs.close();
  });
  const settings = { nodeAddresses: [NODE] } as unknown as Settings;
  part.apply([{ table: 'settings', key: 'node', value: settings }, protectionChange({ denied: RANGES })]);
  return programs;
}

function xdp(t: Cleanup, way: 'native' | 'generic', pass: number, count: number): Contender {
  const rig = createRig(t, count);
  const programs = openProtection(t, rig, way);
  return {
    name: `XDP, ${way}`,
    measure: async () => {
      const before = dropped(programs, DROP.denied);
      const rate = rig.rate(way === 'native' ? programs.program('xdp_uplink') : pass);
      const gone = dropped(programs, DROP.denied) - before;
      if (gone !== count) throw new Error(`${gone} of ${count} packets were dropped by the program`);
      return rate;
    },
  };
}

function tc(t: Cleanup, pass: number, program: number, count: number): Contender {
  const rig = createRig(t, count);
  const pinPath = join(testBpffs(t), 'tc');
  attachTc({ ifindex: rig.link, ns: rig.node, direction: 'ingress', program, pinPath });
  return { name: 'tc, a program that drops everything', measure: async () => rig.rate(pass) };
}

function nftables(t: Cleanup, pass: number, at: 'the link' | 'before routing', count: number): Contender {
  const rig = createRig(t, count);
  const nft = openNft(rig.node);
  t.after(() => nft.close());
  const [family, chain] =
    at === 'the link'
      ? ['netdev', 'type filter hook ingress device eth0 priority 0;']
      : ['inet', 'type filter hook prerouting priority -300;'];
  nft.run(`add table ${family} bench
add set ${family} bench denied { type ipv4_addr; flags interval; elements = { ${RANGES.join(', ')} }; }
add chain ${family} bench input { ${chain} }
add rule ${family} bench input ip saddr @denied counter drop`);
  return { name: `nftables set, ${at}`, measure: async () => rig.rate(pass) };
}

/** Of a driver that hands everything to the stack, and of tc. */
async function openPlain(t: Cleanup) {
  const folder = mkdtempSync(join(tmpdir(), 'heddle-bench-'));
  t.after(() => rmSync(folder, { recursive: true }));
  await compileObject(
    folder,
    'plain',
    `SEC("xdp") int pass(struct xdp_md *ctx) { return XDP_PASS; }
SEC("tc") int shoot(struct __sk_buff *skb) { return TC_ACT_SHOT; }`,
  );
  const programs = openPrograms({ objectDir: folder, pinDir: testBpffs(t), log: silentLog });
  t.after(() => programs.close());
  return { pass: programs.program('pass'), shoot: programs.program('shoot') };
}

export async function benchmark({ quick }: { quick: boolean }): Promise<Benchmark> {
  const t = createCleanup();
  const count = quick ? 200_000 : 1_000_000;
  try {
    const { pass, shoot } = await openPlain(t);
    return {
      name: 'xdp-drop',
      unit: 'packets/s',
      larger: true,
      ours: xdp(t, 'native', pass, count),
      peers: [
        xdp(t, 'generic', pass, count),
        tc(t, pass, shoot, count),
        nftables(t, pass, 'the link', count),
        nftables(t, pass, 'before routing', count),
      ],
      close: () => t.run(),
    };
  } catch (error) {
    await t.run();
    throw error;
  }
}
