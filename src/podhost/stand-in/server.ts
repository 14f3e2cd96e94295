/** The stand-in server of a node: engine, control and memory put together. */
import { fstatSync } from 'node:fs';
import { closeNetns, type Netns, openNetns } from '../../kernel/netns.ts';
import { bindUdp, connectTcp, listenTcp } from '../../kernel/sockets.ts';
import type { Clock } from '../../lib/clock.ts';
import { errorText } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import { createStateFile } from '../../lib/state-file.ts';
import { probe } from '../probe/connect.ts';
import { call } from './call.ts';
import { serveControl } from './control.ts';
import { createEngine, type EngineDeps } from './engine.ts';
import type { StandInConnect, StandInPod, StandInPods } from './types.ts';

export interface StandInServerOptions {
  socketPath: string;
  /** JSON file of the wanted pods: what a restarted server goes on with before any agent speaks to it. */
  statePath: string;
  clock: Clock;
  log: Log;
}

/** Runs until the signal or POST /stop. */
export async function runStandInServer(options: StandInServerOptions, signal: AbortSignal): Promise<void> {
  const { log, clock } = options;
  const state = createStateFile<StandInPods>(options.statePath);
  const engine = createEngine({ enter, call: callFrom(clock), log, now: () => new Date(clock.now()) });
  const stopped = Promise.withResolvers<void>();
  signal.addEventListener('abort', () => stopped.resolve(), { once: true });

  const known = await state.load().catch((error: unknown) => {
    log.warn('the list of stand-ins is lost; the agent will send it again', { error: errorText(error) });
    return undefined;
  });
  if (known) engine.apply(known.pods);
  let latest: StandInPods = known ?? { pods: [] };
  const control = await serveControl({
    socketPath: options.socketPath,
    engine,
    remember(pods) {
      latest = pods;
      return state.save(() => latest);
    },
    connect: (pod, asked) => connectFrom(pod, asked, clock),
    stop: () => stopped.resolve(),
    log,
  });
  log.info('stand-in server serves', { pods: known?.pods.length ?? 0 });
  const retry = setInterval(() => engine.retry(), 1000);

  await stopped.promise;
  clearInterval(retry);
  control.close();
  control.closeAllConnections();
  await engine.close();
  // A list that came just before the end is kept whole.
  await state.idle();
}

const enter: EngineDeps['enter'] = (path) => {
  const ns = openNetns(path);
  return {
    open: {
      // One socket for both families: half the descriptors.
      listenTcp: (port) => listenTcp(ns, '::', port),
      bindUdp: (port) => bindUdp(ns, '::', port),
    },
    identity: String(fstatSync(ns.fd).ino),
    close: () => closeNetns(ns),
  };
};

/** From the pod's namespace, which what is asked for too late does not find open any more. */
const callFrom =
  (clock: Clock): EngineDeps['call'] =>
  async (pod, target, headers, signal) => {
    let ns: Netns | undefined;
    const inside = (): Netns => {
      if (!ns) throw new Error('ECANCELED the call is over');
      return ns;
    };
    try {
      ns = openNetns(pod.netns);
      return await call(target, headers, signal, {
        resolv: pod.resolv,
        connectTcp: async (to) => connectTcp(inside(), to),
        bindUdp: (family) => bindUdp(inside(), family === 4 ? '0.0.0.0' : '::', 0),
        now: () => clock.monotonic(),
      });
    } catch (error) {
      return { url: target.url, ms: 0, error: errorText(error) };
    } finally {
      if (ns) closeNetns(ns);
      ns = undefined;
    }
  };

let port = Math.floor(Math.random() * 28_000);
/** In turn through the range that systems use for outgoing connections. */
const nextPort = (): number => 32_768 + (port++ % 28_000);

async function connectFrom(pod: StandInPod, asked: StandInConnect, clock: Clock) {
  const ns = openNetns(pod.netns);
  try {
    return await probe(asked, {
      resolv: pod.resolv,
      addressOf: (family) => pod.addresses.find((address) => address.includes(':') === (family === 6)),
      nextPort,
      connectTcp: (to) => connectTcp(ns, to),
      bindUdp: (family, port) => bindUdp(ns, family === 4 ? '0.0.0.0' : '::', port),
      now: () => clock.monotonic(),
    });
  } finally {
    closeNetns(ns);
  }
}
