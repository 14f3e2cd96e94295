/**
 * Where programs run. An attachment is pinned, so it stays when this process ends; attaching again puts another
 * program in its place without a moment in which none runs.
 */
import fs from 'node:fs';
import { HeddleError } from '../../lib/errors.ts';
import { inNetns, type Netns } from '../netns.ts';
import { attachClsact, detachClsact } from './clsact.ts';
import { attributes, call, COMMAND, failure, getPinned, must, objectInfo, pin, unpin } from './syscall.ts';

export const ATTACH = {
  sockCreate: 2,
  sockOps: 3,
  bind4: 8,
  bind6: 9,
  connect4: 10,
  connect6: 11,
  postBind4: 12,
  postBind6: 13,
  sendmsg4: 14,
  sendmsg6: 15,
  recvmsg4: 19,
  recvmsg6: 20,
  getsockopt: 21,
  setsockopt: 22,
  getpeername4: 29,
  getpeername6: 30,
  getsockname4: 31,
  getsockname6: 32,
  sockRelease: 34,
  xdp: 37,
  tcxIngress: 46,
  tcxEgress: 47,
} as const;
export type CgroupHook = Exclude<keyof typeof ATTACH, 'xdp' | 'tcxIngress' | 'tcxEgress'>;
export type Direction = 'ingress' | 'egress';

export interface Attachment {
  /** How: `tcx` and `clsact` for tc, `native` and `generic` for XDP. */
  readonly way: 'tcx' | 'clsact' | 'cgroup' | 'native' | 'generic';
  /** False where an earlier attachment was there and only its program was replaced. */
  readonly created: boolean;
}

interface Target {
  readonly program: number;
  /** An interface's index, or the descriptor of a cgroup. */
  readonly target: number;
  readonly attachType: number;
  readonly flags?: number;
}

/** The new link's descriptor or a negative errno. */
function createLink({ program, target, attachType, flags = 0 }: Target): number {
  const { bytes, view } = attributes(64);
  view.setUint32(0, program, true);
  view.setUint32(4, target, true);
  view.setUint32(8, attachType, true);
  view.setUint32(12, flags, true);
  return call(COMMAND.LINK_CREATE, bytes);
}

function updateLink(link: number, program: number): number {
  const { bytes, view } = attributes(16);
  view.setUint32(0, link, true);
  view.setUint32(4, program, true);
  return call(COMMAND.LINK_UPDATE, bytes);
}

export interface LinkInfo {
  readonly type: number;
  readonly id: number;
  readonly programId: number;
  /** Of tcx and XDP: 0 once the interface is gone. */
  readonly ifindex: number;
  /** Of tcx and cgroup. */
  readonly attachType: number;
  /** Of a cgroup's. */
  readonly cgroupId: bigint;
}

const LINK_CGROUP = 3;
const LINK_XDP = 6;
const LINK_TCX = 11;

export function linkInfo(fd: number): LinkInfo {
  const info = objectInfo(fd);
  const type = info.getUint32(0, true);
  return {
    type,
    id: info.getUint32(4, true),
    programId: info.getUint32(8, true),
    ifindex: type === LINK_TCX || type === LINK_XDP ? info.getUint32(16, true) : 0,
    attachType:
      type === LINK_TCX ? info.getUint32(20, true) : type === LINK_CGROUP ? info.getUint32(24, true) : 0,
    cgroupId: type === LINK_CGROUP ? info.getBigUint64(16, true) : 0n,
  };
}

/**
 * Replaces the program of the link pinned at `pinPath` where it is the one wanted; removes a pin whose link is
 * another or is dead. Undefined: there is none now.
 */
function replacePinned(pinPath: string, program: number, wanted: (info: LinkInfo) => boolean): boolean {
  const link = getPinned(pinPath);
  if (link === undefined) return false;
  try {
    if (isLink(link) && wanted(linkInfo(link))) {
      const result = updateLink(link, program);
      if (result >= 0) return true;
      // The interface or cgroup went away in between.
      if (failure(result) !== 'ENOLINK') must(result, `replace the program of ${pinPath}`);
    }
    unpin(pinPath);
    return false;
  } finally {
    fs.closeSync(link);
  }
}

/** Pins of clsact hold programs, not links. Kernels write `bpf_link` or `bpf-link`. */
const isLink = (fd: number): boolean => /:bpf.link$/.test(fs.readlinkSync(`/proc/self/fd/${fd}`));

function pinNew(link: number, pinPath: string): void {
  try {
    pin(link, pinPath);
  } finally {
    fs.closeSync(link);
  }
}

/** What a kernel says that has no such attach type. */
const notThere = (result: number): boolean => ['EINVAL', 'EOPNOTSUPP', 'errno 524'].includes(failure(result));

export interface TcOptions {
  /** In the namespace `ns`, by default this process's. */
  readonly ifindex: number;
  readonly ns?: Netns;
  readonly direction: Direction;
  /** Descriptor of a program of type "tc". */
  readonly program: number;
  /** In a bpffs. */
  readonly pinPath: string;
  /** Default: tcx where the kernel has it. */
  readonly way?: 'tcx' | 'clsact';
}

/** Runs `program` for every packet of the interface. @throws HeddleError `Kernel`, `Netlink` */
export function attachTc(options: TcOptions): Attachment {
  const { ifindex, direction, program, pinPath, ns } = options;
  if (options.way === 'clsact') return attachClsact(options);
  const attachType = direction === 'ingress' ? ATTACH.tcxIngress : ATTACH.tcxEgress;
  const sameHook = (info: LinkInfo) =>
    info.type === LINK_TCX && info.ifindex === ifindex && info.attachType === attachType;
  if (replacePinned(pinPath, program, sameHook)) return { way: 'tcx', created: false };
  const create = () => createLink({ program, target: ifindex, attachType });
  const link = ns ? inNetns(ns, create) : create();
  if (link < 0 && options.way === undefined && notThere(link)) return attachClsact(options);
  must(link, `attach a program to ${direction} of the interface ${ifindex}`);
  pinNew(link, pinPath);
  return { way: 'tcx', created: true };
}

/** False where nothing was attached. An interface that is gone took its programs with it. */
export function detachTc(options: Pick<TcOptions, 'ifindex' | 'ns' | 'direction' | 'pinPath'>): boolean {
  const link = getPinned(options.pinPath);
  if (link === undefined) return false;
  const clsact = !isLink(link);
  fs.closeSync(link);
  if (clsact) return detachClsact(options);
  return unpin(options.pinPath);
}

export interface CgroupOptions {
  /** Its folder. */
  readonly cgroup: string;
  readonly attachType: CgroupHook;
  readonly program: number;
  readonly pinPath: string;
}

/** Runs beside others' programs at the same cgroup and above it. @throws HeddleError `Kernel`, `BpfAttach` */
export function attachCgroup(options: CgroupOptions): Attachment {
  const { cgroup, program, pinPath } = options;
  const attachType = ATTACH[options.attachType];
  const directory = openCgroup(cgroup);
  try {
    const cgroupId = fs.fstatSync(directory, { bigint: true }).ino;
    const sameHook = (info: LinkInfo) =>
      info.type === LINK_CGROUP && info.attachType === attachType && info.cgroupId === cgroupId;
    if (replacePinned(pinPath, program, sameHook)) return { way: 'cgroup', created: false };
    const link = createLink({ program, target: directory, attachType });
    if (link < 0 && failure(link) === 'EPERM')
      throw new HeddleError(
        'BpfAttach',
        `the cgroup ${cgroup} refuses ${options.attachType} programs: EPERM`,
        {
          hint: 'a program attached above it does not allow others below (bpftool cgroup tree)',
        },
      );
    must(link, `attach a program to ${options.attachType} of ${cgroup}`);
    pinNew(link, pinPath);
    return { way: 'cgroup', created: true };
  } finally {
    fs.closeSync(directory);
  }
}

function openCgroup(path: string): number {
  try {
    return fs.openSync(path, fs.constants.O_RDONLY | fs.constants.O_DIRECTORY);
  } catch (cause) {
    throw new HeddleError('BpfAttach', `cannot open the cgroup ${path}`, { cause });
  }
}

/** For cgroup and XDP links: what is pinned there runs no more. False where there was none. */
export const detach = (pinPath: string): boolean => unpin(pinPath);

export interface XdpOptions {
  readonly ifindex: number;
  readonly ns?: Netns;
  readonly program: number;
  readonly pinPath: string;
  /** Default: the driver's own where it has it, else generic. */
  readonly way?: 'native' | 'generic';
}

const XDP_SKB_MODE = 2;
const XDP_DRV_MODE = 4;

/** @throws HeddleError `Kernel`, `BpfAttach` where another program is there already */
export function attachXdp(options: XdpOptions): Attachment {
  const { ifindex, program, pinPath, ns } = options;
  const sameHook = (info: LinkInfo) => info.type === LINK_XDP && info.ifindex === ifindex;
  const replaced = replacePinned(pinPath, program, sameHook);
  if (replaced) return { way: options.way ?? 'native', created: false };
  const ways = options.way ? [options.way] : (['native', 'generic'] as const);
  let result = -1;
  for (const way of ways) {
    const flags = way === 'native' ? XDP_DRV_MODE : XDP_SKB_MODE;
    const create = () => createLink({ program, target: ifindex, attachType: ATTACH.xdp, flags });
    result = ns ? inNetns(ns, create) : create();
    if (result >= 0) {
      pinNew(result, pinPath);
      return { way, created: true };
    }
    if (failure(result) === 'EBUSY' || failure(result) === 'EEXIST')
      throw new HeddleError('BpfAttach', `the interface ${ifindex} has an XDP program of somebody else`, {
        hint: 'ip link show names it; ip link set dev … xdp off removes it',
      });
  }
  must(result, `attach an XDP program to the interface ${ifindex}`);
  throw new HeddleError('BpfAttach', `cannot attach an XDP program to the interface ${ifindex}`);
}
