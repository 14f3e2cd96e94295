/**
 * Programs at tc for kernels before 6.6: a clsact qdisc and one direct-action filter for each direction, by
 * rtnetlink. The kernel puts a new program in a filter's place atomically. What is pinned is the program, for the
 * interface holds the filter by itself.
 */
import { NLM_F_CREATE, NLM_F_EXCL, nested, text, u32 } from '../netlink.ts';
import { NETLINK_ROUTE, type NetlinkSocket, openNetlink } from '../netlink-socket.ts';
import { pinned } from './link.ts';
import type { Attachment, TcOptions } from './links.ts';
import { pin, unpin } from './syscall.ts';

const RTM_NEWQDISC = 36;
const RTM_DELQDISC = 37;
const RTM_NEWTFILTER = 44;
const RTM_DELTFILTER = 45;
const RTM_GETTFILTER = 46;
const TCA_KIND = 1;
const TCA_OPTIONS = 2;
const TCA_BPF_FD = 6;
const TCA_BPF_NAME = 7;
const TCA_BPF_FLAGS = 8;
const DIRECT_ACTION = 1;
const CLSACT_HANDLE = 0xffff0000;
const CLSACT_PARENT = 0xfffffff1;
const PARENT = { ingress: 0xfffffff2, egress: 0xfffffff3 } as const;
/** Ours among filters of others: priority 72, as our routes carry protocol 72. */
const PRIORITY = 72;
const HANDLE = 1;
/** ETH_P_ALL in network order. */
const ALL_PROTOCOLS = 0x0300;

function header(ifindex: number, handle: number, parent: number, info = 0): Buffer {
  const message = Buffer.alloc(20);
  message.writeInt32LE(ifindex, 4);
  message.writeUInt32LE(handle, 8);
  message.writeUInt32LE(parent, 12);
  message.writeUInt32LE(info, 16);
  return message;
}

const filterHeader = (ifindex: number, direction: TcOptions['direction']): Buffer =>
  header(ifindex, HANDLE, PARENT[direction], ((PRIORITY << 16) | ALL_PROTOCOLS) >>> 0);

function withSocket<T>(ns: TcOptions['ns'], use: (socket: NetlinkSocket) => T): T {
  const socket = openNetlink(NETLINK_ROUTE, ns);
  try {
    return use(socket);
  } finally {
    socket.close();
  }
}

type Place = Pick<TcOptions, 'ifindex' | 'ns' | 'direction'>;

/** Adds the filter or replaces its program. False where it was there. @throws HeddleError `Netlink` */
export function addFilter({
  ifindex,
  ns,
  direction,
  program,
}: Place & { readonly program: number }): boolean {
  return withSocket(ns, (socket) => {
    const qdisc = {
      type: RTM_NEWQDISC,
      flags: NLM_F_CREATE | NLM_F_EXCL,
      what: `add clsact to the interface ${ifindex}`,
      parts: [header(ifindex, CLSACT_HANDLE, CLSACT_PARENT), text(TCA_KIND, 'clsact')],
    };
    socket.attempt(qdisc, 'EEXIST');
    const options = nested(TCA_OPTIONS, [
      u32(TCA_BPF_FD, program),
      text(TCA_BPF_NAME, 'heddle'),
      u32(TCA_BPF_FLAGS, DIRECT_ACTION),
    ]);
    const filter = {
      type: RTM_NEWTFILTER,
      flags: NLM_F_CREATE | NLM_F_EXCL,
      what: `attach a program to ${direction} of the interface ${ifindex}`,
      parts: [filterHeader(ifindex, direction), text(TCA_KIND, 'bpf'), options],
    };
    if (socket.attempt(filter, 'EEXIST')) return true;
    socket.request({ ...filter, flags: NLM_F_CREATE });
    return false;
  });
}

/** @throws HeddleError `Netlink`, `Kernel` */
export function attachClsact(options: TcOptions): Attachment {
  const isNew = addFilter(options);
  const before = pinned(options.pinPath);
  unpin(options.pinPath);
  pin(options.program, options.pinPath);
  // A program's pin says nothing of the interface, which may have been made again.
  return { way: 'clsact', created: isNew && before !== 'link' };
}

/** The qdisc goes with its last filter. False where the filter or its interface was gone. */
export function removeFilter({ ifindex, ns, direction }: Place): boolean {
  return withSocket(ns, (socket) => {
    const filter = {
      type: RTM_DELTFILTER,
      flags: 0,
      what: `detach the program from ${direction} of the interface ${ifindex}`,
      parts: [filterHeader(ifindex, direction), text(TCA_KIND, 'bpf')],
    };
    const there = socket.attempt(filter, 'ENOENT', 'EINVAL', 'ENODEV');
    if (there && !hasFilters(socket, ifindex)) removeQdisc(socket, ifindex);
    return there;
  });
}

export function detachClsact(options: Place & Pick<TcOptions, 'pinPath'>): boolean {
  removeFilter(options);
  return unpin(options.pinPath);
}

const hasFilters = (socket: NetlinkSocket, ifindex: number): boolean =>
  Object.values(PARENT).some(
    (parent) =>
      socket.dump(
        {
          type: RTM_GETTFILTER,
          flags: 0,
          what: 'list filters',
          parts: [header(ifindex, 0, parent)],
        },
        (message) => message.type,
      ).length > 0,
  );

const removeQdisc = (socket: NetlinkSocket, ifindex: number): boolean =>
  socket.attempt(
    {
      type: RTM_DELQDISC,
      flags: 0,
      what: `remove clsact from the interface ${ifindex}`,
      parts: [header(ifindex, CLSACT_HANDLE, CLSACT_PARENT)],
    },
    'ENOENT',
    'EINVAL',
    'ENODEV',
  );
