/**
 * Whether this kernel can carry the eBPF data path: each thing it needs is tried with a program of a few
 * instructions, in a scratch namespace and a scratch cgroup that are gone afterwards.
 */
import fs from 'node:fs';
import { join } from 'node:path';
import { errorText } from '../../lib/errors.ts';
import { findCgroup2Mount } from '../cgroup.ts';
import type { Feature } from '../features.ts';
import { libbpf } from '../ffi.ts';
import { inScratchNetns } from '../netns.ts';
import { openRoute } from '../route.ts';
import { addFilter } from './clsact.ts';
import { createLink } from './link.ts';
import { ATTACH } from './links.ts';
import { MAP_TYPE } from './map.ts';
import { btfLoad, mapCreate, must, programLoad } from './syscall.ts';

export type BpfFeatureName =
  | 'root'
  | 'libbpf'
  | 'bpf'
  | 'jit'
  | 'btf'
  | 'ringBuffer'
  | 'mmapableArray'
  | 'redirectPeer'
  | 'netnsCookie'
  | 'cgroupHooks'
  | 'tc'
  | 'tcx'
  | 'xdp';

export interface BpfFeature extends Feature {
  /** Without it the eBPF data path does not start; else it does less, or in another way. */
  readonly required: boolean;
}

export type BpfFeatures = Readonly<Record<BpfFeatureName, BpfFeature>>;

interface Check {
  readonly name: BpfFeatureName;
  readonly purpose: string;
  readonly hint: string;
  readonly optional?: true;
  /** Throws where it is missing. */
  try(): void;
}

/** Required ones that are missing, in the order in which to mend them. */
export const missingBpf = (features: BpfFeatures): [BpfFeatureName, BpfFeature][] =>
  checks.flatMap(({ name }) =>
    features[name].ok || !features[name].required ? [] : [[name, features[name]]],
  );

/** Takes some tens of milliseconds (attaching waits for the kernel) and leaves nothing behind. */
export function probeBpf(): BpfFeatures {
  const [root, ...others] = checks;
  const first = outcome(root!);
  const rest = first.ok
    ? inScratchNetns(() => others.map((check) => [check.name, outcome(check)] as const))
    : others.map((check) => [check.name, outcome(check, 'not tried: this needs root')] as const);
  return Object.fromEntries([['root', first], ...rest]) as Record<BpfFeatureName, BpfFeature>;
}

function outcome({ purpose, hint, optional, ...check }: Check, blocker?: string): BpfFeature {
  const base = { purpose, required: !optional };
  try {
    if (blocker !== undefined) return { ...base, ok: false, why: blocker, hint };
    check.try();
    return { ...base, ok: true, why: undefined, hint: undefined };
  } catch (error) {
    return { ...base, ok: false, why: errorText(error), hint };
  }
}

const LO = 1;
const TYPE = { SCHED_CLS: 3, XDP: 6, CGROUP_SOCK: 9, CGROUP_SOCK_ADDR: 18 } as const;
const HELPER = { NETNS_COOKIE: 122, REDIRECT_PEER: 155 } as const;

/** Instructions of 8 bytes: `r0 = result; exit`, after a call of `helper` with r1 as it is or `argument`. */
function instructions(result: number, helper?: number, argument?: number): Uint8Array {
  const move = (register: number, value: number) => [0xb7, register, 0, 0, value, 0, 0, 0];
  return Uint8Array.from([
    ...(argument === undefined ? [] : [...move(1, argument), ...move(2, 0)]),
    ...(helper === undefined ? [] : [0x85, 0, 0, 0, helper, 0, 0, 0]),
    ...move(0, result),
    0x95,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
  ]);
}

function withFd<T>(fd: number, use: (fd: number) => T): T {
  try {
    return use(fd);
  } finally {
    fs.closeSync(fd);
  }
}

const loads = (type: number, code: Uint8Array, attachType = 0) =>
  withFd(programLoad({ type, code, attachType }), () => {});
const creates = (map: Parameters<typeof mapCreate>[0]) => withFd(mapCreate(map), () => {});

/** A link that ends with its descriptor. */
function links(type: number, target: number, attachType: number, flags = 0): void {
  const code = instructions(type === TYPE.XDP ? 2 : 1);
  withFd(programLoad({ type, code, attachType }), (program) => {
    const link = createLink({ program, target, attachType, flags });
    withFd(must(link, 'attach a program'), () => {});
  });
}

/** Types: one 32-bit integer named "u". */
function smallestBtf(): Uint8Array {
  const words = Uint32Array.of(0x0001eb9f, 24, 0, 16, 16, 4, 1, 0x01000000, 4, 32);
  const bytes = new Uint8Array(words.byteLength + 4);
  bytes.set(new Uint8Array(words.buffer));
  bytes.set(Buffer.from('\0u\0\0'), words.byteLength);
  return bytes;
}

function tryCgroupHooks(): void {
  const mount = findCgroup2Mount();
  if (mount === undefined) throw new Error('no cgroup2 is mounted');
  const folder = join(mount, `heddle-probe-${process.pid}`);
  fs.mkdirSync(folder);
  try {
    withFd(fs.openSync(folder, fs.constants.O_RDONLY | fs.constants.O_DIRECTORY), (cgroup) => {
      for (const hook of ['connect4', 'connect6', 'sendmsg4', 'sendmsg6', 'recvmsg4', 'recvmsg6'] as const)
        links(TYPE.CGROUP_SOCK_ADDR, cgroup, ATTACH[hook]);
      for (const hook of ['getpeername4', 'getpeername6'] as const)
        links(TYPE.CGROUP_SOCK_ADDR, cgroup, ATTACH[hook]);
      links(TYPE.CGROUP_SOCK, cgroup, ATTACH.sockRelease);
    });
  } finally {
    fs.rmdirSync(folder);
  }
}

/** What kernels before 6.6 have; where it is there the eBPF data path can run. */
function tryClsact(): void {
  withFd(programLoad({ type: TYPE.SCHED_CLS, code: instructions(0) }), (program) => {
    for (const direction of ['ingress', 'egress'] as const) addFilter({ ifindex: LO, direction, program });
  });
}

function tryXdp(): void {
  const route = openRoute();
  try {
    route.addVeth({ name: 'bpf-probe0', peer: { name: 'bpf-probe1' } });
    links(TYPE.XDP, route.link('bpf-probe0')!.index, ATTACH.xdp);
  } finally {
    route.close();
  }
}

const checks: readonly Check[] = [
  {
    name: 'root',
    purpose: 'loading and attaching programs',
    hint: 'run it with sudo; in a container: --privileged, or CAP_BPF, CAP_NET_ADMIN and CAP_SYS_ADMIN',
    try() {
      if (process.geteuid?.() !== 0) throw new Error(`this process runs as user ${process.geteuid?.()}`);
    },
  },
  {
    name: 'libbpf',
    purpose: 'reading objects of programs',
    hint: 'apt-get install libbpf1',
    try: () => void libbpf(),
  },
  {
    name: 'bpf',
    purpose: 'programs and maps in the kernel',
    hint: 'kernel option CONFIG_BPF_SYSCALL; in a container a seccomp profile may forbid bpf(2)',
    try() {
      creates({ type: MAP_TYPE.LRU_HASH, keySize: 4, valueSize: 4, maxEntries: 2 });
      loads(TYPE.SCHED_CLS, instructions(0));
    },
  },
  {
    name: 'jit',
    purpose: 'programs at the speed of the machine; calls between programs',
    hint: 'kernel option CONFIG_BPF_JIT, and sysctl net.core.bpf_jit_enable=1',
    try() {
      // Only the first namespace shows it; where it is not shown there is nothing to say.
      const path = '/proc/sys/net/core/bpf_jit_enable';
      if (fs.existsSync(path) && fs.readFileSync(path, 'utf8').trim() === '0')
        throw new Error(`${path} is 0`);
    },
  },
  {
    name: 'btf',
    purpose: 'maps whose entries are read by field name',
    hint: 'kernel option CONFIG_BPF_SYSCALL, Linux 4.18 or later',
    try: () => withFd(btfLoad(smallestBtf()), () => {}),
  },
  {
    name: 'ringBuffer',
    purpose: 'events of programs',
    hint: 'needs Linux 5.8 or later',
    try: () => creates({ type: MAP_TYPE.RINGBUF, keySize: 0, valueSize: 0, maxEntries: 4096 }),
  },
  {
    name: 'mmapableArray',
    purpose: 'settings that all programs share',
    hint: 'needs Linux 5.5 or later',
    try: () => creates({ type: MAP_TYPE.ARRAY, keySize: 4, valueSize: 8, maxEntries: 1, flags: 1 << 10 }),
  },
  {
    name: 'redirectPeer',
    purpose: 'packets from pod to pod without the host’s stack',
    hint: 'needs Linux 5.10 or later',
    try: () => loads(TYPE.SCHED_CLS, instructions(0, HELPER.REDIRECT_PEER, LO)),
  },
  {
    name: 'netnsCookie',
    purpose: 'telling the sockets of one node from those of another',
    hint: 'needs Linux 5.7 or later',
    try: () => loads(TYPE.CGROUP_SOCK_ADDR, instructions(1, HELPER.NETNS_COOKIE), ATTACH.connect4),
  },
  {
    name: 'cgroupHooks',
    purpose: 'services at the socket: connect, sendmsg, recvmsg, getpeername, release',
    hint: 'kernel option CONFIG_CGROUP_BPF, Linux 5.9 or later, and a cgroup2 in which folders can be made',
    try: tryCgroupHooks,
  },
  {
    name: 'tc',
    purpose: 'programs at the links of pods',
    hint: 'kernel options CONFIG_NET_CLS_BPF and CONFIG_NET_SCH_INGRESS (modprobe cls_bpf sch_ingress)',
    try: () => {
      try {
        links(TYPE.SCHED_CLS, LO, ATTACH.tcxIngress);
      } catch {
        tryClsact();
      }
    },
  },
  {
    name: 'tcx',
    purpose: 'attachments at tc that are pinned; without it clsact filters do the same',
    hint: 'needs Linux 6.6 or later with CONFIG_NET_XGRESS',
    optional: true,
    try: () => links(TYPE.SCHED_CLS, LO, ATTACH.tcxIngress),
  },
  {
    name: 'xdp',
    purpose: 'the fast path of load balancers at uplinks; without it they are served at tc',
    hint: 'needs Linux 5.9 or later with XDP in the driver or generic',
    optional: true,
    try: tryXdp,
  },
];
