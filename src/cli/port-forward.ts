/** `heddle port-forward POD PORTS…`: ports of this machine that lead into a pod, until Ctrl-C. */
import { createServer, isIP, type Server, type Socket } from 'node:net';
import { pipeline } from 'node:stream';
import type { Command } from 'commander';
import { clusterPaths } from '../cluster/paths.ts';
import { errnoCode, errorText, HeddleError } from '../lib/errors.ts';
import { formatHostPort } from '../lib/ip.ts';
import { forwardOverSocket } from '../podhost/forward-protocol.ts';
import { connect } from './connect.ts';
import type { CliDeps } from './deps.ts';
import { requireRoot, withDataDir } from './flags.ts';
import { type PortPair, parsePorts, resolvePorts } from './forward-ports.ts';
import { onInterrupt } from './interrupt.ts';
import { findPod } from './pod-target.ts';

const examples = `
Examples:
  heddle port-forward web-0 8080:80 -n shop     http://localhost:8080 is port 80 of the pod
  heddle port-forward svc/web :http -n shop     a free port here, the port "http" of the service there
  heddle port-forward deploy/web 80 --address 127.0.0.1,10.0.0.5

Connections are made from inside of the pod: what listens on its 127.0.0.1 is reached too, and no policy asked.`;

interface ForwardFlags {
  dataDir: string;
  namespace: string;
  address: string;
}

export function register(program: Command, deps: CliDeps): void {
  withDataDir(program.command('port-forward').description('lead ports of this machine into a pod'))
    .argument('<pod>', 'POD, or deploy/NAME, rs/NAME, svc/NAME: one of its pods')
    .argument('<ports...>', 'PORT, LOCAL:PORT, or :PORT for a free one here; by number or by name')
    .option('-n, --namespace <name>', 'of the pod', 'default')
    .option('--address <list>', 'where to listen: addresses or localhost, separated by commas', 'localhost')
    .addHelpText('after', examples)
    .action((pod: string, ports: string[], flags: ForwardFlags) => portForward(pod, ports, flags, deps));
}

async function portForward(word: string, ports: string[], flags: ForwardFlags, deps: CliDeps): Promise<void> {
  const wishes = ports.map(parsePorts);
  const addresses = parseAddresses(flags.address);
  requireRoot(deps.isRoot, 'reaching into a pod');
  const paths = clusterPaths(flags.dataDir);
  const client = await connect(paths);
  const found = await (async () => {
    const target = await findPod(client, word, flags.namespace);
    return { target, pairs: await resolvePorts(client, word, target, wishes) };
  })().finally(() => client.close());
  const { target, pairs } = found;
  const stop = new AbortController();
  const interrupt = onInterrupt();
  const signal = AbortSignal.any([stop.signal, interrupt.signal]);
  const servers: Server[] = [];
  const sockets = new Set<Socket>();

  async function serve(socket: Socket, { remote }: PortPair, local: number): Promise<void> {
    deps.stdout.write(`Handling connection for ${local}\n`);
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => socket.destroy());
    try {
      const start = { namespace: target.namespace, pod: target.pod, port: remote };
      const pod = await forwardOverSocket(paths.node(target.node).agentSocket, start, signal);
      pipeline(socket, pod, () => {});
      pipeline(pod, socket, () => {});
    } catch (error) {
      socket.resetAndDestroy();
      if (signal.aborted) return;
      if (error instanceof HeddleError && error.code === 'PodNotHere') stop.abort(error);
      else deps.stderr.write(`error: forwarding ${local} -> ${remote}: ${errorText(error)}\n`);
    }
  }

  try {
    for (const pair of pairs) servers.push(...(await listenAll(pair, addresses, serve, deps)));
    await new Promise<void>((resolve, reject) => {
      interrupt.signal.addEventListener('abort', () => resolve(), { once: true });
      stop.signal.addEventListener('abort', () => reject(stop.signal.reason as Error), { once: true });
      if (interrupt.signal.aborted) resolve();
    });
  } finally {
    for (const server of servers) server.close();
    for (const socket of sockets) socket.destroy();
    interrupt.dispose();
  }
}

type Serve = (socket: Socket, pair: PortPair, local: number) => Promise<void>;

/** The same port at each address, even if it is any. @throws HeddleError `PortInUse` */
async function listenAll(
  pair: PortPair,
  addresses: readonly Listen[],
  serve: Serve,
  deps: CliDeps,
): Promise<Server[]> {
  const servers: Server[] = [];
  let { local } = pair;
  for (const { address, optional } of addresses) {
    const server = createServer({ allowHalfOpen: true }, (socket) => void serve(socket, pair, local));
    try {
      await listen(server, address, local);
    } catch (error) {
      // Of localhost one family is enough, for machines that have no other.
      if (optional && servers.length > 0) continue;
      for (const one of servers) one.close();
      throw error;
    }
    servers.push(server);
    local = (server.address() as { port: number }).port;
    deps.stdout.write(`Forwarding from ${formatHostPort(address, local)} -> ${pair.remote}\n`);
  }
  return servers;
}

interface Listen {
  address: string;
  optional: boolean;
}

/** @throws HeddleError `BadFlag` */
function parseAddresses(text: string): Listen[] {
  return text
    .split(',')
    .map((one) => one.trim())
    .flatMap((one): Listen[] => {
      if (one === 'localhost') return ['127.0.0.1', '::1'].map((address) => ({ address, optional: true }));
      if (isIP(one) !== 0) return [{ address: one, optional: false }];
      throw new HeddleError('BadFlag', `--address "${one}": expected an address, or localhost`);
    });
}

function listen(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause) => {
      const inUse = errnoCode(cause) === 'EADDRINUSE';
      const where = formatHostPort(host, port);
      reject(
        new HeddleError('PortInUse', `cannot listen at ${where}${inUse ? ': it is in use' : ''}`, {
          hint: inUse
            ? 'choose another port, or :PORT for a free one'
            : 'is that an address of this machine?',
          cause,
        }),
      );
    });
    server.listen({ host, port, ipv6Only: true }, resolve);
  });
}
