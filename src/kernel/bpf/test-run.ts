/** Programs run on a packet made up here, without an interface: what `trace` and the tests of programs use. */
import { addressOf } from '../ffi.ts';
import { inNetns, type Netns } from '../netns.ts';
import { attributes, call, COMMAND, must } from './syscall.ts';

/** Fields of `struct __sk_buff` that the kernel lets a test run set. */
export interface SkbContext {
  readonly mark?: number;
  readonly priority?: number;
  readonly ingressIfindex?: number;
  /** The interface it is at: must exist in the namespace. Default: its `lo`. */
  readonly ifindex?: number;
  /** Five words. */
  readonly cb?: readonly number[];
  /** Nanoseconds. */
  readonly tstamp?: bigint;
  readonly gsoSegments?: number;
  readonly gsoSize?: number;
}

export interface TestRunOptions {
  /** Descriptor of a program of type tc or XDP. */
  readonly program: number;
  /** From the Ethernet header on; at least 14 bytes. */
  readonly data: Uint8Array;
  /** For tc only. */
  readonly context?: SkbContext;
  /** The same packet as often, for timing; it goes in as the run before left it. Default 1. */
  readonly repeat?: number;
  /** Default: this process's. */
  readonly ns?: Netns;
}

export interface TestRunResult {
  /** What the program returned: TC_ACT_* (signed) or XDP_*. */
  readonly verdict: number;
  /** The packet afterwards. */
  readonly data: Uint8Array;
  readonly context: Required<Pick<SkbContext, 'mark' | 'priority' | 'cb' | 'tstamp'>> | undefined;
  /** Nanoseconds of one run, the mean of `repeat`. */
  readonly durationNs: number;
}

const SKB_SIZE = 192;
const AT = {
  mark: 8,
  priority: 32,
  ingressIfindex: 36,
  ifindex: 40,
  cb: 48,
  tstamp: 152,
  gsoSegs: 164,
  gsoSize: 176,
};
/** What programs may add in front of or behind the packet. */
const ROOM = 512;

/** @throws HeddleError `Kernel`: the program's type cannot be run so (cgroup hooks), or the packet is none */
export function testRun({ program, data, context, repeat = 1, ns }: TestRunOptions): TestRunResult {
  const out = new Uint8Array(data.length + ROOM);
  const skb = context && encodeSkb(context);
  const { bytes, view } = attributes(80);
  view.setUint32(0, program, true);
  view.setUint32(8, data.length, true);
  view.setUint32(12, out.length, true);
  view.setBigUint64(16, addressOf(data), true);
  view.setBigUint64(24, addressOf(out), true);
  view.setUint32(32, repeat, true);
  if (skb) {
    view.setUint32(40, skb.length, true);
    view.setUint32(44, skb.length, true);
    view.setBigUint64(48, addressOf(skb), true);
    view.setBigUint64(56, addressOf(skb), true);
  }
  const run = () => call(COMMAND.PROG_TEST_RUN, bytes, data, out, skb);
  must(ns ? inNetns(ns, run) : run(), 'run a program on a packet');
  return {
    verdict: view.getInt32(4, true),
    data: out.slice(0, view.getUint32(12, true)),
    context: skb && decodeSkb(skb),
    durationNs: view.getUint32(36, true),
  };
}

function encodeSkb(context: SkbContext): Uint8Array {
  const { bytes, view } = attributes(SKB_SIZE);
  view.setUint32(AT.mark, context.mark ?? 0, true);
  view.setUint32(AT.priority, context.priority ?? 0, true);
  view.setUint32(AT.ingressIfindex, context.ingressIfindex ?? 0, true);
  view.setUint32(AT.ifindex, context.ifindex ?? 0, true);
  for (const [i, word] of (context.cb ?? []).slice(0, 5).entries()) view.setUint32(AT.cb + i * 4, word, true);
  view.setBigUint64(AT.tstamp, context.tstamp ?? 0n, true);
  view.setUint32(AT.gsoSegs, context.gsoSegments ?? 0, true);
  view.setUint32(AT.gsoSize, context.gsoSize ?? 0, true);
  return bytes;
}

function decodeSkb(bytes: Uint8Array): NonNullable<TestRunResult['context']> {
  const view = new DataView(bytes.buffer);
  return {
    mark: view.getUint32(AT.mark, true),
    priority: view.getUint32(AT.priority, true),
    cb: [0, 1, 2, 3, 4].map((i) => view.getUint32(AT.cb + i * 4, true)),
    tstamp: view.getBigUint64(AT.tstamp, true),
  };
}

export interface ReceiveOptions extends Pick<TestRunOptions, 'program' | 'data'> {
  /** Where the frames come in, in `ns`. */
  readonly ifindex: number;
  readonly ns: Netns;
  readonly count: number;
}

const LIVE_FRAMES = 2;
const XDP_MD_SIZE = 24;

/**
 * Frames come in at an interface as a driver with XDP hands them over: what the program drops is gone, what it passes
 * goes to the stack. Linux 5.18 and later. Returns when all of them have been dealt with.
 * @throws HeddleError `Kernel`
 */
export function receiveFrames({ program, data, ifindex, ns, count }: ReceiveOptions): void {
  const context = attributes(XDP_MD_SIZE);
  context.view.setUint32(4, data.length, true);
  context.view.setUint32(12, ifindex, true);
  const { bytes, view } = attributes(80);
  view.setUint32(0, program, true);
  view.setUint32(8, data.length, true);
  view.setBigUint64(16, addressOf(data), true);
  view.setUint32(32, count, true);
  view.setUint32(40, XDP_MD_SIZE, true);
  view.setBigUint64(48, addressOf(context.bytes), true);
  view.setUint32(64, LIVE_FRAMES, true);
  must(
    inNetns(ns, () => call(COMMAND.PROG_TEST_RUN, bytes, data, context.bytes)),
    'let frames come in at an interface',
  );
}
