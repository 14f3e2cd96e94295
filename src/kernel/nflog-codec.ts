/** NFNETLINK_LOG messages (linux/netfilter/nfnetlink_log.h). nfnetlink's numbers are in network order. */
import { attribute, type Message, parseAttributes, type Request, textOf, u16be, u32be } from './netlink.ts';

const NFNL_SUBSYS_ULOG = 4;
const PACKET = (NFNL_SUBSYS_ULOG << 8) | 0;
const CONFIG = (NFNL_SUBSYS_ULOG << 8) | 1;

const CFG = { CMD: 1, MODE: 2, NLBUFSIZ: 3, TIMEOUT: 4, QTHRESH: 5, FLAGS: 6 } as const;
const CMD_BIND = 1;
const CMD_UNBIND = 2;
const COPY_PACKET = 2;
const FLAG_SEQ = 1;

const NFULA = {
  PACKET_HDR: 1,
  MARK: 2,
  TIMESTAMP: 3,
  INDEV: 4,
  OUTDEV: 5,
  PAYLOAD: 9,
  PREFIX: 10,
  SEQ: 12,
} as const;

const hooks: readonly (NflogPacket['hook'] | undefined)[] = [
  'prerouting',
  'input',
  'forward',
  'output',
  'postrouting',
];

export interface NflogPacket {
  /** What the rule's `log prefix` says. */
  readonly prefix: string;
  readonly hook: 'prerouting' | 'input' | 'forward' | 'output' | 'postrouting' | undefined;
  /** Indexes of the links it came from and goes to. */
  readonly inIf: number | undefined;
  readonly outIf: number | undefined;
  readonly mark: number;
  /** From the IP header on, cut after `copyBytes`. */
  readonly payload: Uint8Array;
  /** Milliseconds since 1970, where the kernel stamped the packet. */
  readonly timestamp: number | undefined;
  /** Counts what this group was to deliver; a gap is what got lost. */
  readonly sequence: number | undefined;
}

/** struct nfgenmsg: family, version, resource id. */
export function nfgenmsg(family: number, resource = 0): Buffer {
  return Buffer.from([family, 0, resource >> 8, resource & 255]);
}

export interface NflogSettings {
  group: number;
  copyBytes: number;
  /** The kernel sends when so many packets wait … */
  threshold: number;
  /** … or after so many hundredths of a second. */
  delay: number;
}

export function configRequests({ group, copyBytes, threshold, delay }: NflogSettings): Request[] {
  const mode = Buffer.alloc(6);
  mode.writeUInt32BE(copyBytes, 0);
  mode[4] = COPY_PACKET;
  const configure = (what: string, parts: Buffer[]): Request => ({
    type: CONFIG,
    flags: 0,
    parts: [nfgenmsg(0, group), ...parts],
    what: `${what} of NFLOG group ${group}`,
  });
  return [
    configure('become the listener', [attribute(CFG.CMD, Uint8Array.of(CMD_BIND))]),
    configure('set the mode', [
      attribute(CFG.MODE, mode),
      u32be(CFG.NLBUFSIZ, 16 * 1024),
      u32be(CFG.QTHRESH, threshold),
      u32be(CFG.TIMEOUT, delay),
      u16be(CFG.FLAGS, FLAG_SEQ),
    ]),
  ];
}

export const unbindRequest = (group: number): Request => ({
  type: CONFIG,
  flags: 0,
  parts: [nfgenmsg(0, group), attribute(CFG.CMD, Uint8Array.of(CMD_UNBIND))],
  what: `leave NFLOG group ${group}`,
});

const u32beOf = (data: Buffer | undefined): number | undefined =>
  data && data.length >= 4 ? data.readUInt32BE(0) : undefined;

/** Undefined for messages that are no packets. */
export function parsePacket(message: Message): NflogPacket | undefined {
  if (message.type !== PACKET || message.body.length < 4) return undefined;
  const attributes = parseAttributes(message.body, 4);
  const header = attributes.get(NFULA.PACKET_HDR);
  const stamp = attributes.get(NFULA.TIMESTAMP);
  return {
    prefix: textOf(attributes.get(NFULA.PREFIX)) ?? '',
    hook: hooks[header?.[2] ?? -1],
    inIf: u32beOf(attributes.get(NFULA.INDEV)),
    outIf: u32beOf(attributes.get(NFULA.OUTDEV)),
    mark: u32beOf(attributes.get(NFULA.MARK)) ?? 0,
    payload: Uint8Array.from(attributes.get(NFULA.PAYLOAD) ?? []),
    timestamp:
      stamp && stamp.length >= 16
        ? Number(stamp.readBigUInt64BE(0)) * 1000 + Number(stamp.readBigUInt64BE(8)) / 1000
        : undefined,
    sequence: u32beOf(attributes.get(NFULA.SEQ)),
  };
}
