/** `Backend.probe`: a packet run through the node's loaded programs, which say what they would do and do nothing. */
import { randomFillSync, randomInt } from 'node:crypto';
import { testRun } from '../../kernel/bpf/test-run.ts';
import type { Netns } from '../../kernel/netns.ts';
import { HeddleError } from '../../lib/errors.ts';
import type { Backend, ProbePacket, ProbeResult } from '../backend.ts';
import type { LocalPod } from '../plan/tables.ts';
import { probeFrame } from '../probe-frame.ts';
import { TUNNEL_LINKS } from '../routing.ts';
import type { NodeLink } from './core/links.ts';
import { DROP_REASONS } from './drops.ts';
import type { Programs } from './loader.ts';
import { addressText, swapPort } from './services/address-bytes.ts';

export interface ProbeDeps {
  readonly programs: Pick<Programs, 'program' | 'map' | 'codec'>;
  /** The node's. */
  readonly ns: Netns;
  /** Every link of the node. */
  links(): readonly (NodeLink & { readonly mac: string })[];
  /** By `namespace/name`. */
  pods(): ReadonlyMap<string, LocalPod>;
  /** Index of a link that has the node's address. */
  uplink(): number | undefined;
  /** Of the link by which other nodes' pods speak; undefined: the uplink. */
  tunnel(): string | undefined;
  /** Whether the program runs at the link. */
  isAttached(program: string, link: number): boolean;
}

/** bpf/include/dry.h */
const DRY_CALL = 0x6865_6476;
const DRY_ANSWER = 0x6865_6477;
const NUMBER_WORDS = 4;
const END = { dropped: 1, refused: 2, stack: 3, pod: 4, overlay: 5 } as const;
const FLAG = { known: 1, deniedEgress: 8, deniedIngress: 16, answers: 32 } as const;

interface DryAnswer {
  readonly magic: number;
  readonly end: number;
  readonly reason: number;
  readonly flags: number;
  readonly link: number;
  readonly egress_rule: number;
  readonly ingress_rule: number;
  readonly src: Uint8Array;
  readonly dst: Uint8Array;
  readonly sport: number;
  readonly dport: number;
  readonly mac: Uint8Array;
}

const UNASKED = { end: END.stack, reason: 0, flags: 0, link: 0, egress_rule: 0, ingress_rule: 0 };

/** TC_ACT_OK */
const PASSED = 0;

type Answer = Omit<DryAnswer, 'magic' | 'src' | 'dst' | 'sport' | 'dport' | 'mac'> & Partial<DryAnswer>;

interface Hook {
  readonly program: string;
  readonly link: NodeLink & { readonly mac: string };
  /** Where the packet came in, for who is asked behind the stack. */
  readonly ingressIfindex: number;
}

/** For each end that may be met. With a hundred that are equal, all are met as good as ever. */
const TRIES = 32;
const MOST_TRIES = 1024;
const FIRST_PORT = 1024;
const PORTS = 65_536 - FIRST_PORT;

export function createProbe(deps: ProbeDeps): NonNullable<Backend['probe']> {
  const { programs, ns } = deps;
  const codec = programs.codec<DryAnswer>('struct dry_answer');
  const calls = programs.map('dry_calls');
  const key = new Uint8Array(calls.keySize);

  function hookOf({ origin, from, dst }: ProbePacket): Hook {
    const links = deps.links();
    const tunnel = deps.tunnel();
    if (origin === 'overlay' && tunnel !== undefined) {
      const program = tunnel === TUNNEL_LINKS.gre ? 'from_tunnel' : 'from_overlay';
      return { program, link: named(links, tunnel), ingressIfindex: 0 };
    }
    if (origin === 'uplink' || origin === 'overlay') {
      const uplink = links.find(({ index }) => index === deps.uplink());
      if (!uplink) throw cannot('no link has the address of the node');
      return { program: 'from_uplink', link: uplink, ingressIfindex: 0 };
    }
    const pods = deps.pods();
    const pod =
      origin === 'pod'
        ? pods.get(from ?? '')
        : [...pods.values()].find(({ addresses }) => addresses.includes(dst));
    if (!pod) throw cannot(`no pod of this node ${origin === 'pod' ? `is ${from ?? ''}` : `has ${dst}`}`);
    const link = named(links, pod.interface);
    if (origin === 'pod') return { program: 'from_pod', link, ingressIfindex: 0 };
    return {
      program: 'to_pod',
      link,
      ingressIfindex: origin === 'outside' ? (deps.uplink() ?? 0) : 0,
    };
  }

  /** With a number of this run, that no packet of the wire can know. */
  function run({ program, link, ingressIfindex }: Hook, data: Uint8Array, turn: number): Answer {
    const number = randomFillSync(new Uint32Array(NUMBER_WORDS));
    calls.update(key, new Uint8Array(number.buffer));
    try {
      const cb = [...number, DRY_CALL];
      const context = { ifindex: link.index, ingressIfindex, cb, priority: turn };
      const ran = testRun({ program: programs.program(program), data, context, ns });
      const answer = codec.decode(ran.data);
      if (answer.magic === DRY_ANSWER) return answer;
      // What is no business of the uplink's it does not ask about.
      if (program === 'from_uplink' && ran.verdict === PASSED) return UNASKED;
      throw cannot(`the program ${program} gave no answer`);
    } finally {
      calls.update(key, new Uint8Array(calls.valueSize));
    }
  }

  function result(packet: ProbePacket, hook: Hook, attached: boolean, answer: Answer): ProbeResult {
    const { end, reason, flags, egress_rule: egressRule, ingress_rule: ingressRule } = answer;
    const denied = (flags & (FLAG.deniedEgress | FLAG.deniedIngress)) !== 0;
    const passes = end >= END.stack;
    const common = {
      program: hook.program,
      link: hook.link.name,
      attached,
      egressRule,
      ingressRule,
      known: flags & FLAG.answers ? 'answered' : flags & FLAG.known ? 'begun' : undefined,
      ...(passes || denied ? endsOf(answer, packet) : endsAsSent(packet)),
    } as const;
    if (end === END.refused) return { ...common, verdict: 'refuse', next: 'nowhere' };
    if (denied) {
      const direction = flags & FLAG.deniedEgress ? 'egress' : 'ingress';
      return { ...common, verdict: 'deny', next: 'nowhere', direction };
    }
    if (!passes)
      return { ...common, verdict: 'drop', next: 'nowhere', reason: DROP_REASONS.get(reason) ?? `${reason}` };
    if (end === END.stack) return { ...common, verdict: 'allow', next: 'stack' };
    if (end === END.overlay)
      return { ...common, verdict: 'allow', next: 'tunnel', to: answer.mac && macText(answer.mac) };
    return { ...common, verdict: 'allow', next: 'pod', to: podAt(answer.link) };
  }

  function podAt(index: number): string {
    const name = deps.links().find((link) => link.index === index)?.name;
    const pod = [...deps.pods()].find(([, each]) => each.interface === name);
    return pod?.[0] ?? `link ${name ?? index}`;
  }

  return async (packet) => {
    const hook = hookOf(packet);
    const attached = deps.isAttached(hook.program, hook.link.index);
    const found = new Map<string, ProbeResult>();
    const ends = packet.sport === 0 ? (packet.ends ?? 1) : 1;
    const tries = Math.min(ends > 1 ? ends * TRIES : 1, MOST_TRIES);
    const start = randomInt(PORTS);
    for (let i = 0; i < tries && found.size < ends; i++) {
      const sport = packet.sport || FIRST_PORT + ((start + i) % PORTS);
      const tried = { ...packet, sport };
      const answer = result(packet, hook, attached, run(hook, probeFrame(tried, hook.link.mac), i));
      const name = `${answer.verdict} ${answer.dst} ${answer.dport} ${answer.egressRule} ${answer.ingressRule}`;
      if (!found.has(name)) found.set(name, answer);
    }
    return [...found.values()];
  };
}

const isIcmp = (protocol: number): boolean => protocol === 1 || protocol === 58;

/** A port that was drawn for the run is nobody's business. */
function endsOf({ src, dst, sport, dport }: Answer, packet: ProbePacket) {
  if (!src || !dst || sport === undefined || dport === undefined) return endsAsSent(packet);
  const icmp = isIcmp(packet.protocol);
  return {
    src: addressText(src),
    sport: packet.sport === 0 ? 0 : swapPort(sport),
    dst: addressText(dst),
    dport: icmp ? 0 : swapPort(dport),
  };
}

const endsAsSent = ({ src, sport, dst, dport }: ProbePacket) => ({ src, sport, dst, dport });

const macText = (mac: Uint8Array): string =>
  [...mac].map((byte) => byte.toString(16).padStart(2, '0')).join(':');

function named<L extends NodeLink>(links: readonly L[], name: string): L {
  const link = links.find((each) => each.name === name);
  if (!link) throw cannot(`there is no link ${name}`);
  return link;
}

const cannot = (why: string): HeddleError =>
  new HeddleError('BpfProbe', `cannot run a packet through the loaded programs: ${why}`, {
    hint: '"heddle datapath verify" says what is missing',
  });
