/**
 * Where programs run. An attachment is pinned, so it stays when this process ends; attaching again puts another
 * program in its place without a moment in which none runs.
 */
import fs from 'node:fs';
import { HeddleError } from '../../lib/errors.ts';
import { inNetns, type Netns } from '../netns.ts';
import { attachClsact, detachClsact, removeFilter } from './clsact.ts';
import {
  createLink,
  detachPinned,
  LINK_CGROUP,
  LINK_TCX,
  LINK_XDP,
  type LinkInfo,
  notThere,
  pinned,
  pinNew,
  replacePinned,
} from './link.ts';
import { failure, must, unpin } from './syscall.ts';
import { xdpWay } from './xdp-way.ts';

export { linkInfo, type LinkInfo } from './link.ts';

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
  const wasClsact = pinned(pinPath) === 'program';
  if (!wasClsact && replacePinned(pinPath, program, sameHook)) return { way: 'tcx', created: false };
  const create = () => createLink({ program, target: ifindex, attachType });
  const link = ns ? inNetns(ns, create) : create();
  if (link < 0 && options.way === undefined && notThere(link)) return attachClsact(options);
  must(link, `attach a program to ${direction} of the interface ${ifindex}`);
  if (wasClsact) unpin(pinPath);
  pinNew(link, pinPath);
  if (wasClsact) removeFilter(options);
  return { way: 'tcx', created: !wasClsact };
}

/** False where nothing was attached. An interface that is gone took its programs with it. */
export function detachTc(options: Pick<TcOptions, 'ifindex' | 'ns' | 'direction' | 'pinPath'>): boolean {
  return pinned(options.pinPath) === 'program' ? detachClsact(options) : detachPinned(options.pinPath);
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
export const detach = (pinPath: string): boolean => detachPinned(pinPath);

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
  if (replacePinned(pinPath, program, sameHook)) return { way: xdpWay(ifindex, ns), created: false };
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
