/** The process that carries frames between zones: links of the kernel on one side, lines on the other. */
import { readFileSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';
import { openTap, type Tap } from '../../kernel/tap.ts';
import { createWake } from '../../kernel/wake.ts';
import { errnoCode, HeddleError } from '../../lib/errors.ts';
import { replaceFile } from '../../lib/files.ts';
import type { Netns } from '../../kernel/netns.ts';
import type { Log } from '../../lib/log.ts';
import { aborted } from '../../lib/signals.ts';
import { json, readJson, sendJson, serveSocket } from '../../lib/socket-server.ts';
import type { ClusterConfig } from '../config.ts';
import type { ClusterPaths } from '../paths.ts';
import { underlayMac } from '../underlay-mac.ts';
import { lineTap } from './names.ts';
import type { PlaceLink } from './places.ts';
import type { LinesStatus } from './status.ts';
import { createSwitch } from './switch.ts';

export interface LinesDeps {
  readonly config: ClusterConfig;
  readonly paths: Pick<ClusterPaths, 'config' | 'links' | 'linesSocket'>;
  readonly log: Log;
  /** Where the links are. Default: the namespace of this process. */
  readonly ns?: Netns;
}

/** Until the signal aborts. @throws HeddleError `Kernel`, `KernelFeature` */
export async function runLines({ config, paths, log, ns }: LinesDeps, signal: AbortSignal): Promise<void> {
  const { topology } = config;
  if (!topology) throw new HeddleError('BadClusterFile', `${paths.config} has no topology`);
  let links = readLinks(paths.links) ?? topology.links;
  const taps: Tap[] = [];
  const addressOf = new Map(config.nodes.map(({ name, addresses }) => [name, addresses[0]]));
  const carrier = createSwitch({
    ports: topology.groups.map((group, i) => ({
      ...group,
      macs: group.nodes.map((node) => underlayMac(addressOf.get(node))),
      write: (frame) => void taps[i]?.write(frame),
    })),
    links,
    seed: topology.seed,
  });
  let set = Infinity;
  const wake = createWake(() => {
    set = Infinity;
    step();
  });
  function step(): void {
    carrier.release(performance.now());
    const due = carrier.due();
    if (due === Infinity || due === set) return;
    set = due;
    wake.in(due - performance.now());
  }
  for (const i of topology.groups.keys())
    taps.push(
      openTap({
        ...(ns ? { ns } : {}),
        name: lineTap(i),
        onFrame: (frame) => carrier.take(i, frame, performance.now()),
        onTurn: step,
      }),
    );
  const server = await serveSocket({
    socketPath: paths.linesSocket,
    routes: {
      'GET /status': json((): LinesStatus => ({ links, counters: carrier.counters() })),
      async 'PUT /links'(req, res) {
        const wanted = await readJson<PlaceLink[]>(req);
        // First for the process that comes after this one.
        await replaceFile(paths.links, JSON.stringify(wanted), { mode: 0o600, synced: false });
        links = wanted;
        carrier.setLinks(links, performance.now());
        step();
        log.info('links changed', { links: links.length });
        sendJson(res, 200, {});
      },
    },
    log,
  });
  log.info('carrying', { groups: topology.groups.map(({ name }) => name), links: links.length });
  await aborted(signal);
  server.close();
  wake.close();
  for (const tap of taps) tap.close();
  // They let go of their links at the end of this turn.
  await setTimeout(1);
}

function readLinks(path: string): PlaceLink[] | undefined {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as PlaceLink[];
  } catch (error) {
    if (errnoCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}
