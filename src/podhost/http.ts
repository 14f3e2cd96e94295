/**
 * What the agent's socket serves about pods:
 *   POST /exec                          upgrade, see exec-protocol.ts
 *   POST /port-forward                  upgrade, see forward-protocol.ts
 *   GET  /logs/<ns>/<pod>?container&tail=N&follow&previous&timestamps&sinceTime&limitBytes text
 *   POST /probe {namespace, pod, host, port, kind: tcp|http|udp, …} → ProbeResult
 *   GET  /pods                          → {pods: LocalPod[], …PodHostStatus}
 */
import { HeddleError } from '../lib/errors.ts';
import type { Metrics } from '../lib/metrics.ts';
import { json, type Routes, readJson, sendJson, type UpgradeHandler } from '../lib/socket-server.ts';
import { findContainer } from './containers.ts';
import { serveExec } from './exec.ts';
import type { ExecStart } from './exec-protocol.ts';
import { serveForward } from './forward.ts';
import type { ForwardStart } from './forward-protocol.ts';
import { hostnameOf, podFiles } from './files.ts';
import { jailed } from './jail.ts';
import { countStreams } from './http-metrics.ts';
import { sendLog } from './send-log.ts';
import type { PodHost } from './pod-host.ts';
import type { PodWorker } from './pod-worker.ts';
import type { ProbeRequest } from './probe/connect.ts';
import { podUserId } from './user-id.ts';

export interface PodHostRoutesDeps {
  host: PodHost;
  node: string;
  metrics: Metrics;
}

export function podHostRoutes(deps: PodHostRoutesDeps): {
  routes: Routes;
  upgrades: Record<string, UpgradeHandler>;
} {
  const { host } = deps;
  const counted = countStreams(deps.metrics);

  function find(namespace: string, name: string): PodWorker {
    const worker = host.find(namespace, name);
    if (worker) return worker;
    throw new HeddleError('PodNotHere', `node ${deps.node} has no pod ${namespace}/${name}`, {
      hint: 'it may have been deleted or run on another node: see "heddle get pods -A -o wide"',
    });
  }

  function withNetwork({ namespace, pod }: { namespace: string; pod: string }) {
    const worker = find(namespace, pod);
    const netns = worker.netns();
    if (netns !== undefined) return { worker, netns };
    throw new HeddleError('PodNotHere', `pod ${worker.label} has no network yet`, {
      hint: 'wait until it is Running',
    });
  }

  function forwardTarget(asked: ForwardStart) {
    const { worker, netns } = withNetwork(asked);
    return { netns, uid: worker.uid, ended: worker.ended };
  }

  async function target(asked: ExecStart) {
    const { worker, netns } = withNetwork(asked);
    const { argv, tty = false } = asked;
    const { ended } = worker;
    const processes = worker.processes();
    if (processes && !argv) return processes.attach(asked.container, tty);
    if (worker.pod) findContainer(worker.pod, asked.container);
    if (!argv) return { log: worker.logFile(), ended };
    if (processes) return { netns, ended, ...(await processes.enter(asked.container, argv, { tty })) };
    const hostname = worker.pod ? hostnameOf(worker.pod) : asked.pod;
    const env = {
      PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
      HOME: '/home',
      LANG: 'C.UTF-8',
      HOSTNAME: hostname,
      ...(tty ? { TERM: 'xterm' } : {}),
    };
    return {
      netns,
      ended,
      argv: jailed({
        hostname,
        files: podFiles(host.folder(worker.uid)),
        userId: podUserId(worker.uid),
        env,
        argv,
        pause: host.pause,
        tty,
      }),
    };
  }

  return {
    routes: {
      'GET /logs/': counted.request('containerLogs', async (req, res, url) => {
        const [, , namespace, name] = url.pathname.split('/').map(decodeURIComponent);
        const worker = find(namespace ?? '', name ?? '');
        await sendLog(worker, req, res, url.searchParams);
      }),
      async 'POST /probe'(req, res) {
        const asked = await readJson<ProbeRequest & { namespace: string; pod: string }>(req);
        const { namespace, pod, ...rest } = asked;
        sendJson(res, 200, await host.standIn.connect({ ...rest, uid: find(namespace, pod).uid }));
      },
      'GET /pods': json(() => ({ ...host.status(), local: host.localPods() })),
    },
    upgrades: {
      'POST /exec': counted.upgrade('exec', (req, socket, head) => serveExec(req, socket, head, { target })),
      'POST /port-forward': counted.upgrade('portForward', (req, socket, head) =>
        serveForward(req, socket, head, { target: forwardTarget }),
      ),
    },
  };
}
