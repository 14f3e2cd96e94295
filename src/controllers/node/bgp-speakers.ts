/** The speakers of a node: begun, changed and ended as the plan says, and remembered over a restart of the agent. */
import type { SpeakerConfig } from '../../bgp/config.ts';
import type { Speaker } from '../../bgp/speaker.ts';
import { errorText } from '../../lib/errors.ts';
import { sameJson } from '../../lib/json.ts';
import type { Log } from '../../lib/log.ts';
import type { InstancePlan } from './bgp-plan.ts';
import type { NamedSpeaker } from './bgp-report.ts';

export type StartSpeaker = (config: SpeakerConfig) => Speaker;

/** Which speakers run, and with which metric their routes are in the kernel: what the next agent goes on with. */
export interface BgpMemory {
  load(): Readonly<Record<string, number>>;
  save(metrics: Readonly<Record<string, number>>): void;
}

export interface SpeakersDeps {
  readonly startSpeaker: StartSpeaker;
  readonly memory: BgpMemory;
  clearRoutes(metric: number): void;
  readonly log: Log;
}

export interface Speakers {
  list(): readonly NamedSpeaker[];
  /** What did not go, by instance. */
  apply(plans: readonly InstancePlan[]): Promise<string[]>;
  /** What an agent before has left of instances that are not among these. */
  forgetOthers(names: readonly string[]): void;
  closeAll(how: { graceful?: boolean; words?: string }): Promise<void>;
}

/** Of the first instance; each has its own, so that none removes another's routes. */
const FIRST_METRIC = 1179;
const MOST_INSTANCES = 16;

interface Running {
  readonly speaker: Speaker;
  config: SpeakerConfig;
}

export function createSpeakers({ startSpeaker, memory, clearRoutes, log }: SpeakersDeps): Speakers {
  const running = new Map<string, Running>();
  const metrics = new Map(Object.entries(memory.load()));
  /** Of these an agent before has told peers that it would be back. */
  const restarting = new Set(metrics.keys());

  const save = () => memory.save(Object.fromEntries(metrics));

  function metricOf(name: string): number {
    const known = metrics.get(name);
    if (known !== undefined) return known;
    const taken = new Set(metrics.values());
    const free = Array.from({ length: MOST_INSTANCES }, (_, i) => FIRST_METRIC + i).find(
      (metric) => !taken.has(metric),
    );
    return free ?? FIRST_METRIC + MOST_INSTANCES;
  }

  function start(name: string, config: SpeakerConfig): Running {
    const metric = metricOf(name);
    const isBack = restarting.has(name);
    // Peers are waiting for this agent from the moment that it has told them anything.
    metrics.set(name, metric);
    save();
    const speaker = startSpeaker({ ...config, metric, restarting: isBack });
    restarting.delete(name);
    log.info('BGP speaker started', { instance: name, localASN: config.localASN, restarting: isBack });
    return { speaker, config };
  }

  async function end(name: string, words: string): Promise<void> {
    const metric = metrics.get(name);
    const found = running.get(name);
    if (!found && metric === undefined) return;
    await found?.speaker.close({ words });
    // Of one that was not begun again, what an agent before has left.
    if (!found && metric !== undefined) clearRoutes(metric);
    running.delete(name);
    metrics.delete(name);
    restarting.delete(name);
    save();
  }

  async function applyOne({ name, config, advertisements }: InstancePlan): Promise<void> {
    if (!config) return end(name, 'its configuration is not complete');
    const found = running.get(name);
    if (found && !sameJson(placeOf(found.config), placeOf(config)))
      await end(name, 'its configuration has changed');
    const one = running.get(name) ?? start(name, config);
    running.set(name, one);
    one.speaker.advertise(advertisements);
    // Also after a start, which costs nothing: what is the same goes on.
    if (one.config !== config) one.speaker.update(config.peers);
    one.config = config;
  }

  function forgetOthers(names: readonly string[]): void {
    const others = [...metrics].filter(([name]) => !names.includes(name) && !running.has(name));
    for (const [name, metric] of others) {
      clearRoutes(metric);
      metrics.delete(name);
      restarting.delete(name);
    }
    if (others.length > 0) save();
  }

  return {
    list: () => [...running].map(([name, { speaker }]) => ({ name, speaker })),
    forgetOthers,
    async apply(plans) {
      const names = plans.map(({ name }) => name);
      for (const name of running.keys())
        if (!names.includes(name)) await end(name, 'it is no longer configured');
      forgetOthers(names);
      const failed: string[] = [];
      for (const plan of plans)
        await applyOne(plan).catch((error: unknown) => failed.push(`${plan.name}: ${errorText(error)}`));
      return failed;
    },
    async closeAll({ graceful = false, words }) {
      await Promise.all(
        [...running.values()].map(({ speaker }) => speaker.close({ graceful, ...(words ? { words } : {}) })),
      );
      running.clear();
      if (graceful) return;
      metrics.clear();
      save();
    },
  };
}

/** What cannot change in a speaker that runs. */
const placeOf = (config: SpeakerConfig) => ({ ...config, peers: undefined });
