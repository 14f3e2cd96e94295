/**
 * Says so when a node's agent has stopped reporting: its Ready condition becomes Unknown and nothing new is
 * scheduled there. Its pods are left alone: the node's data path works without its agent. What a node is short of,
 * its conditions say, and its taints keep pods away that would take more of it.
 */
import { NODE } from '../api/kinds.ts';
import type { Node } from '../api/types.ts';
import { isConflict, isNotFound } from '../client/api-error.ts';
import { errorText } from '../lib/errors.ts';
import { type Controller, type ControllerDeps, timestamp } from './loop.ts';

const NAME = 'node-lifecycle-controller';
/** Milliseconds without a report after which a node is unknown. Four heartbeats. */
const GRACE = 40_000;
const LOOK = 5_000;
const TAINT = { key: 'node.kubernetes.io/unreachable', effect: 'NoSchedule' } as const;

type Taint = NonNullable<NonNullable<Node['spec']>['taints']>[number];

/** By type of condition (kubernetes.io/docs/reference/labels-annotations-taints). */
const PRESSURE: Readonly<Record<string, string>> = {
  MemoryPressure: 'node.kubernetes.io/memory-pressure',
  DiskPressure: 'node.kubernetes.io/disk-pressure',
  PIDPressure: 'node.kubernetes.io/pid-pressure',
};
const PRESSURE_KEYS = new Set(Object.values(PRESSURE));

interface Report {
  /** The Ready condition as last reported. */
  text: string;
  /** Monotonic milliseconds when it was first seen here: clocks of other machines are not compared. */
  at: number;
}

export function createNodeLifecycleController(deps: ControllerDeps): Controller {
  const { client, informers, clock } = deps;
  const { nodes } = informers;
  const log = deps.log.with({ controller: NAME });
  const recorder = deps.recorder(NAME);
  const reports = new Map<string, Report>();

  async function look(): Promise<void> {
    const now = clock.monotonic();
    for (const node of nodes.list()) {
      if (pressureTaints(node)) await taintPressure(node);
      const text = reportOf(node);
      const known = reports.get(node.metadata.name);
      if (!known || known.text !== text) {
        reports.set(node.metadata.name, { text, at: now });
        if (hasTaint(node) && !isUnknown(node)) await untaint(node);
      } else if (now - known.at > GRACE && !isUnknown(node)) await declareUnknown(node, text);
    }
    for (const name of reports.keys()) if (!nodes.get(name)) reports.delete(name);
  }

  /** Asks the server first: after an outage of its own the copy is old, and nobody could report. */
  async function declareUnknown({ metadata }: Node, text: string): Promise<void> {
    const { name } = metadata;
    const live = await client.get(NODE, name);
    if (reportOf(live) !== text) return;
    const at = timestamp(clock.now());
    const condition = {
      ...live.status?.conditions?.find((one) => one.type === 'Ready'),
      type: 'Ready',
      status: 'Unknown',
      reason: 'NodeStatusUnknown',
      message: `the node's agent has not reported for ${GRACE / 1000} s`,
      lastTransitionTime: at,
    };
    const others = live.status?.conditions?.filter((one) => one.type !== 'Ready') ?? [];
    const conditions = [...others, condition];
    const updated = await client.updateStatus(NODE, { ...live, status: { ...live.status, conditions } });
    reports.set(name, { text: reportOf(updated), at: clock.monotonic() });
    recorder.event(live, 'Warning', 'NodeNotReady', condition.message);
    const taints = [...(updated.spec?.taints ?? []).filter((one) => one.key !== TAINT.key), TAINT];
    nodes.remember(await client.update(NODE, { ...updated, spec: { ...updated.spec, taints } }));
  }

  async function taintPressure({ metadata }: Node): Promise<void> {
    const live = await client.get(NODE, metadata.name);
    const taints = pressureTaints(live);
    if (taints) nodes.remember(await client.update(NODE, { ...live, spec: { ...live.spec, taints } }));
  }

  async function untaint(node: Node): Promise<void> {
    const live = await client.get(NODE, node.metadata.name);
    const taints = live.spec?.taints?.filter((one) => one.key !== TAINT.key);
    const spec = { ...live.spec, taints: taints?.length ? taints : undefined };
    nodes.remember(await client.update(NODE, { ...live, spec }));
  }

  let wake = new AbortController();
  // Pods that come meanwhile would be sent there, and refused.
  nodes.onChange((_name, now) => {
    if (now && pressureTaints(now)) wake.abort();
  });

  async function run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      if (nodes.hasSynced)
        await look().catch((error: unknown) => {
          // Nobody can report to a server that does not answer: every clock starts anew.
          if (!isNotFound(error) && !isConflict(error)) reports.clear();
          log.debug('nodes could not be looked at', { error: errorText(error) });
        });
      wake = new AbortController();
      await clock.sleep(LOOK, AbortSignal.any([signal, wake.signal])).catch(() => {});
    }
  }

  return { name: NAME, run };
}

function reportOf({ status }: Node): string {
  const ready = status?.conditions?.find((one) => one.type === 'Ready');
  return JSON.stringify([ready?.status, ready?.lastHeartbeatTime]);
}

const isUnknown = ({ status }: Node): boolean =>
  status?.conditions?.some((one) => one.type === 'Ready' && one.status === 'Unknown') === true;

const hasTaint = ({ spec }: Node): boolean => spec?.taints?.some((one) => one.key === TAINT.key) === true;

/** Those that it should have in place of its own; undefined: they are right. */
function pressureTaints({ spec, status }: Node): Taint[] | undefined {
  const keys = (status?.conditions ?? []).flatMap(({ type, status: is }) => {
    const key = is === 'True' ? PRESSURE[type] : undefined;
    return key === undefined ? [] : [key];
  });
  const has = (spec?.taints ?? []).filter(({ key }) => PRESSURE_KEYS.has(key)).map(({ key }) => key);
  if (keys.length === has.length && keys.every((key) => has.includes(key))) return undefined;
  const others = (spec?.taints ?? []).filter(({ key }) => !PRESSURE_KEYS.has(key));
  return [...others, ...keys.map((key) => ({ key, effect: 'NoSchedule' as const }))];
}
