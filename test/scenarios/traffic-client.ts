/**
 * Traffic from inside a pod's namespace: to each target one kept connection that asks every 20 ms, and a new
 * connection every 20 ms. Arguments: targets as `host:port`. Prints how often each way was used, again and again, as
 * `so far KEPT NEW`; ends on SIGTERM and prints, as JSON, these counts and every failure with its time.
 */
import { Agent, request } from 'node:http';
import { Socket } from 'node:net';

interface Failure {
  at: number;
  target: string;
  way: 'kept' | 'new';
  error: string;
  /** Of the connection, at this end; 0: it never was one. */
  port: number;
  /** Answers that the connection had given, and milliseconds that this one was waited for. */
  answers: number;
  waited: number;
}

const INTERVAL = 20;
/** A request that takes longer has failed: well above a retransmission of a lost packet. */
const LIMIT = 5000;

const failures: Failure[] = [];
const counts = { kept: 0, new: 0, reconnects: 0 };
const stop = new AbortController();

function ask(target: string, agent: Agent): Promise<void> {
  const at = target.lastIndexOf(':');
  const [host, port] = [target.slice(0, at).replace(/^\[|\]$/g, ''), Number(target.slice(at + 1))];
  return new Promise((resolve, reject) => {
    const req = request({ host, port, agent, path: '/', timeout: LIMIT }, (res) => {
      res.resume();
      res.on('end', () =>
        res.statusCode === 200 ? resolve() : reject(new Error(`status ${res.statusCode}`)),
      );
      res.on('error', reject);
    });
    req.on('timeout', () => req.destroy(new Error(`no answer within ${LIMIT} ms`)));
    req.on('error', reject);
    req.end();
  });
}

async function generate(target: string, way: 'kept' | 'new'): Promise<void> {
  const agent = new Agent({ keepAlive: way === 'kept', maxSockets: 1 });
  let sockets = 0;
  let connection = { port: 0, answers: 0 };
  const create = agent.createConnection.bind(agent);
  agent.createConnection = (...args) => {
    sockets++;
    const made = { port: 0, answers: 0 };
    connection = made;
    const socket = create(...args);
    if (socket instanceof Socket) socket.once('connect', () => (made.port = socket.localPort ?? 0));
    return socket;
  };
  while (!stop.signal.aborted) {
    const asked = Date.now();
    try {
      await ask(target, agent);
      counts[way]++;
      connection.answers++;
    } catch (error) {
      failures.push({
        at: Date.now(),
        target,
        way,
        error: error instanceof Error ? error.message : String(error),
        ...connection,
        waited: Date.now() - asked,
      });
    }
    await new Promise((resolve) => setTimeout(resolve, INTERVAL));
  }
  if (way === 'kept') counts.reconnects += sockets - 1;
  agent.destroy();
}

const targets = process.argv.slice(2);
process.on('SIGTERM', () => {
  stop.abort();
});
process.stdout.write('started\n');
const progress = setInterval(() => process.stdout.write(`so far ${counts.kept} ${counts.new}\n`), 100);
await Promise.all(targets.flatMap((target) => [generate(target, 'kept'), generate(target, 'new')]));
clearInterval(progress);
process.stdout.write(`${JSON.stringify({ counts, failures })}\n`);
