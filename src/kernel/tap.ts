/**
 * Links whose other end is a process (TAP devices, tun.c): what a bridge sends into one can be read frame by frame,
 * and what is written comes out of it. The kernel has cut large segments and written all checksums before, for no
 * offload is asked for.
 */
import fs from 'node:fs';
import { errnoCode, HeddleError } from '../lib/errors.ts';
import { errnoName, lastErrno, libc, systemError, watchFd } from './ffi.ts';
import { linkName } from './link-codec.ts';
import { inNetns, type Netns } from './netns.ts';

const DEVICE = '/dev/net/tun';
const TUNSETIFF = 0x400454ca;
const TUNSETPERSIST = 0x400454cb;
const IFF_TAP = 0x0002;
/** No packet information before the frame. */
const IFF_NO_PI = 0x1000;
/** sizeof(struct ifreq) */
const IFREQ = 40;
/** Frames read in one go; the rest waits for the next turn of the event loop. */
const FRAMES_PER_TURN = 64;
/** A frame of the largest MTU of a link, with its Ethernet header and a VLAN tag. */
const MAX_FRAME = 65_536 + 18;

export interface TapOptions {
  /** Namespace of the link. Default: the one this process is in. */
  readonly ns?: Netns;
  readonly name: string;
  /** The frame may be kept. */
  onFrame(frame: Buffer): void;
  /** After the frames of one turn. */
  onTurn?(): void;
}

export interface Tap {
  /** False where the link does not take it now: it is down, or memory is short. */
  write(frame: Uint8Array): boolean;
  close(): void;
}

/** A link that stays when nobody holds its other end: frames into it are lost meanwhile. @throws HeddleError `Kernel`, `KernelFeature` */
export function makeTap(ns: Netns | undefined, name: string): void {
  const fd = attach(ns, name);
  try {
    // The argument is a truth, not an address: any but zero is yes.
    if (libc.ioctl(fd, TUNSETPERSIST, Buffer.alloc(1)) !== 0) throw systemError(`keep the link ${name}`);
  } finally {
    fs.closeSync(fd);
  }
}

/** One process at a time holds it. @throws HeddleError `Kernel`, `KernelFeature` */
export function openTap(options: TapOptions): Tap {
  const fd = attach(options.ns, options.name);
  const buffer = Buffer.allocUnsafeSlow(MAX_FRAME);
  let open = true;
  const watch = watchFd(fd, 'readable', () => {
    for (let i = 0; i < FRAMES_PER_TURN; i++) {
      if (!open) return;
      const length = libc.read(fd, buffer, buffer.length);
      // EIO: the link is down, and comes up again.
      if (length < 0) break;
      options.onFrame(Buffer.from(buffer.subarray(0, length)));
    }
    options.onTurn?.();
  });
  return {
    write: (frame) => open && libc.write(fd, frame, frame.length) === frame.length,
    close() {
      if (!open) return;
      open = false;
      watch.close();
      // The descriptor leaves the event loop's tables at the end of this turn.
      setImmediate(() => fs.closeSync(fd));
    },
  };
}

function attach(ns: Netns | undefined, name: string): number {
  const fd = openDevice(ns);
  const request = Buffer.alloc(IFREQ);
  linkName(name).copy(request, 0, 4);
  request.writeUInt16LE(IFF_TAP | IFF_NO_PI, 16);
  if (libc.ioctl(fd, TUNSETIFF, request) === 0) return fd;
  const errno = lastErrno();
  fs.closeSync(fd);
  if (errnoName(errno) === 'EBUSY')
    throw new HeddleError('Kernel', `cannot take the link ${name}: another process holds it`, {
      hint: 'it is let go when that process ends',
    });
  throw systemError(`take the link ${name}`, errno);
}

function openDevice(ns: Netns | undefined): number {
  const open = () => fs.openSync(DEVICE, fs.constants.O_RDWR | fs.constants.O_NONBLOCK);
  try {
    return ns ? inNetns(ns, open) : open();
  } catch (error) {
    throw new HeddleError('KernelFeature', `cannot open ${DEVICE}: ${errnoCode(error) ?? String(error)}`, {
      hint: 'lines of a topology need TUN/TAP: kernel option CONFIG_TUN (modprobe tun); in a container: --device /dev/net/tun',
    });
  }
}
