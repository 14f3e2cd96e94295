/** Holds what was observed against what the policies say. Pure. */
import type { Decision, Direction, Side } from '../policy/decision.ts';
import { type Flow, podKey } from '../policy/world.ts';
import type { Attempt, Backend } from './attempts.ts';
import type { FlowEvent } from '../observe/flow-event.ts';

export interface Observation {
  readonly connected: boolean;
  /** Why not, in the kernel's or the stand-in's words. */
  readonly error?: string | undefined;
  readonly latencyUs?: number | undefined;
  /** `namespace/name` of the pod that answered. */
  readonly responder?: string | undefined;
  /** Source address that the responder saw. */
  readonly peerSeen?: string | undefined;
  /** Records of this very connection, from the kernels of all nodes. */
  readonly events: readonly FlowEvent[];
}

export interface Judgement {
  readonly attempt: Attempt;
  readonly observation: Observation;
  readonly observed: 'allowed' | 'denied' | 'unexplained';
  readonly expected: Decision | undefined;
  /** By which rule or default deny, as the kernel named it; why nothing had to be asked where it named none. */
  readonly by: string;
  /** What differs between kernel and policies; empty if nothing does. */
  readonly problems: readonly string[];
}

const eventOf = (events: readonly FlowEvent[], direction: Direction): FlowEvent | undefined =>
  events.find((event) => event.direction === direction);

/**
 * The pod that the connection went to after translation, as far as anyone saw it. Who answered counts first: a request
 * that was denied may be sent again, and translated to another backend then.
 */
function backendOf({ backends }: Attempt, { responder, events }: Observation): Backend | undefined {
  const seen = events[0]?.dst;
  if (responder !== undefined) {
    const answered = backends.find(({ pod }) => podKey(pod) === responder);
    if (answered) return answered;
  }
  if (seen !== undefined) return backends.find(({ address }) => address === seen);
  return backends.length === 1 ? backends[0] : undefined;
}

/** Without the records of requests that other backends did not get. */
function ofBackend(observation: Observation, backend: Backend | undefined): Observation {
  if (!backend || !observation.connected) return observation;
  return { ...observation, events: observation.events.filter(({ dst }) => dst === backend.address) };
}

function observedVerdict(attempt: Attempt, observation: Observation): Judgement['observed'] {
  if (observation.connected) return 'allowed';
  if (observation.events.some(({ verdict }) => verdict === 'deny')) return 'denied';
  // Outside it is enough that the kernel let it go.
  return attempt.outside && observation.events.length > 0 ? 'allowed' : 'unexplained';
}

/** The rule number that the kernel must have named for this side; 0 when it has nothing to name. */
function expectedRule(side: Side, reached: boolean): number {
  return reached && (side.reason === 'rule' || side.reason === 'default-deny') ? side.ruleNumber : 0;
}

/** The rule beside it, where audited policies would decide by another one. */
function expectedAudit(side: Side, reached: boolean): number | undefined {
  return reached && side.audit.ruleNumber !== side.ruleNumber ? side.audit.ruleNumber : undefined;
}

function attributionProblems(expected: Decision, events: readonly FlowEvent[]): string[] {
  const reached = expected.egress.verdict === 'allow';
  const { egress, ingress } = expected;
  const sides = [
    { direction: 'egress', rule: expectedRule(egress, true), audit: expectedAudit(egress, true) },
    { direction: 'ingress', rule: expectedRule(ingress, reached), audit: expectedAudit(ingress, reached) },
  ] as const;
  return sides.flatMap(({ direction, rule, audit }) => {
    const event = eventOf(events, direction);
    const named = event?.rule ?? 0;
    if (named === rule && event?.audit?.rule === audit) return [];
    if (named === rule) return [`${direction}: of audited policies the kernel named another rule`];
    const text = event?.text ?? (named === 0 ? 'no rule' : `rule ${named.toString(16)}`);
    return [
      `${direction}: the kernel named ${text}, the policies say ${rule === 0 ? 'no rule' : rule.toString(16)}`,
    ];
  });
}

function sourceProblem(expected: Decision, attempt: Attempt, observation: Observation): string[] {
  const { peerSeen } = observation;
  // A pod that reaches itself through its own service has to see another address than its own.
  if (peerSeen === undefined || expected.ingress.reason === 'self') return [];
  if (attempt.source.addresses.includes(peerSeen)) return [];
  return [
    `source address was not preserved: ${peerSeen} instead of ${attempt.source.addresses.join(' or ')}`,
  ];
}

function reasonText(expected: Decision | undefined): string {
  const reasons = { self: 'a pod to itself', 'own-node': 'own node', 'not-a-pod': 'no pod' } as const;
  const reason = expected?.ingress.reason;
  return reason !== undefined && reason in reasons
    ? reasons[reason as keyof typeof reasons]
    : 'no policy selects it';
}

function byText(observation: Observation, expected: Decision | undefined): string {
  const denial = observation.events.find(({ verdict }) => verdict === 'deny');
  const named = denial
    ? [denial]
    : (['egress', 'ingress'] as const).flatMap((d) => eventOf(observation.events, d) ?? []);
  const texts = named.map(({ text, rule, audit }) => {
    const audited = audit ? `; audited: ${audit.verdict} by ${audit.text ?? audit.rule.toString(16)}` : '';
    return `${text ?? `rule ${rule.toString(16)}`}${audited}`;
  });
  return texts.length > 0 ? texts.join('; ') : reasonText(expected);
}

/** Which decision applies, when nobody saw which backend it was: theirs, if they all agree. */
function commonDecision(decisions: readonly Decision[]): Decision | undefined {
  const [first, ...rest] = decisions;
  const text = (decision: Decision) => JSON.stringify([decision.verdict, decision.egress, decision.ingress]);
  return first && rest.every((each) => text(each) === text(first)) ? first : undefined;
}

const decideOutside = (decide: (flow: Flow) => Decision, attempt: Attempt): Decision =>
  decide({
    src: { pod: podKey(attempt.source) },
    dst: { address: attempt.host },
    protocol: attempt.protocol,
    port: attempt.port,
  });

/** The judgement of one attempt. */
export function judge(decide: (flow: Flow) => Decision, attempt: Attempt, all: Observation): Judgement {
  const decisionFor = ({ pod, port }: Backend) =>
    decide({
      src: { pod: podKey(attempt.source) },
      dst: { pod: podKey(pod) },
      protocol: attempt.protocol,
      port,
      family: attempt.family,
    });
  const backend = backendOf(attempt, all);
  const observation = ofBackend(all, backend);
  const decideInside = () =>
    backend ? decisionFor(backend) : commonDecision(attempt.backends.map(decisionFor));
  const observed = observedVerdict(attempt, observation);
  const expected = attempt.outside ? decideOutside(decide, attempt) : decideInside();
  const problems = expected
    ? differences(expected, observed, attempt, observation)
    : ['which of the backends was tried is not known, and the policies treat them differently'];
  const by = observed === 'unexplained' ? 'no kernel record' : byText(observation, expected);
  return { attempt, observation, observed, expected, by, problems };
}

function differences(
  expected: Decision,
  observed: Judgement['observed'],
  attempt: Attempt,
  observation: Observation,
): string[] {
  const wanted = expected.verdict === 'allow' ? 'allowed' : 'denied';
  if (observed === wanted)
    return [
      ...attributionProblems(expected, observation.events),
      ...sourceProblem(expected, attempt, observation),
    ];
  const why = observation.error === undefined ? '' : ` (${observation.error})`;
  return [`the policies say ${wanted}, the network says ${observed}${why}`];
}
