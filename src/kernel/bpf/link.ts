/** Links of bpf(2): a program at a hook, with a descriptor, and with a pin that keeps it. */
import fs from 'node:fs';
import { attributes, call, COMMAND, failure, getPinned, must, objectInfo, pin, unpin } from './syscall.ts';

export interface Target {
  readonly program: number;
  /** An interface's index, or the descriptor of a cgroup. */
  readonly target: number;
  readonly attachType: number;
  readonly flags?: number;
}

/** The new link's descriptor or a negative errno. */
export function createLink({ program, target, attachType, flags = 0 }: Target): number {
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

/** At once: a link whose last pin goes is only let go of a moment later, and holds its place until then. */
export function detachPinned(pinPath: string): boolean {
  const link = getPinned(pinPath);
  if (link === undefined) return false;
  try {
    const { bytes, view } = attributes(4);
    view.setUint32(0, link, true);
    // A kernel that cannot (before 5.9), or a link whose interface is gone: the pin was what kept it.
    if (isLink(link)) call(COMMAND.LINK_DETACH, bytes);
  } finally {
    fs.closeSync(link);
  }
  return unpin(pinPath);
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

export const LINK_CGROUP = 3;
export const LINK_XDP = 6;
export const LINK_TCX = 11;

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
 * another or is dead. False: nothing is pinned there now.
 */
export function replacePinned(
  pinPath: string,
  program: number,
  wanted: (info: LinkInfo) => boolean,
): boolean {
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

/** Pins of clsact hold programs. */
export function pinned(path: string): 'link' | 'program' | undefined {
  const fd = getPinned(path);
  if (fd === undefined) return undefined;
  try {
    return isLink(fd) ? 'link' : 'program';
  } finally {
    fs.closeSync(fd);
  }
}

/** Kernels write `bpf_link` or `bpf-link`. */
export const isLink = (fd: number): boolean => /:bpf.link$/.test(fs.readlinkSync(`/proc/self/fd/${fd}`));

export function pinNew(link: number, pinPath: string): void {
  try {
    pin(link, pinPath);
  } finally {
    fs.closeSync(link);
  }
}

/** What a kernel says that has no such attach type. */
export const notThere = (result: number): boolean =>
  ['EINVAL', 'EOPNOTSUPP', 'errno 524'].includes(failure(result));
