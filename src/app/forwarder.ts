/**
 * Carries published ports into a cluster: `node forwarder.ts DATA-DIR NAMESPACE/SERVICE:PORT…`, one listening
 * socket of the machine per service on descriptors 3, 4, …. It runs in a node's namespace, where service
 * addresses work; names are asked of the cluster's own DNS.
 */
import { Resolver } from 'node:dns/promises';
import { readFileSync } from 'node:fs';
import { type Socket, connect, createServer } from 'node:net';
import type { ClusterConfig } from '../cluster/config.ts';
import { clusterPaths } from '../cluster/paths.ts';
import { errorText } from '../lib/errors.ts';
import { formatHostPort } from '../lib/ip.ts';
import { createLog } from '../lib/log.ts';
import { readEnv } from './env.ts';

const [, , dataDir, ...targets] = process.argv;
const log = createLog({ level: readEnv().logLevel, fields: { process: 'forwarder' } });
const config = JSON.parse(readFileSync(clusterPaths(dataDir).config, 'utf8')) as ClusterConfig;

const resolver = new Resolver({ timeout: 500, tries: 3 });
resolver.setServers(config.dnsAddresses.map((address) => formatHostPort(address, 53)));

/** A service keeps its address for life: the last answer serves while the node's DNS restarts. */
const known = new Map<string, string>();

async function addressOf(name: string): Promise<string> {
  try {
    const [address] = await resolver.resolve4(name);
    if (address === undefined) throw new Error(`${name} has no IPv4 address`);
    known.set(name, address);
    return address;
  } catch (error) {
    const last = known.get(name);
    if (last === undefined) throw error;
    return last;
  }
}

/** Milliseconds. */
const CONNECT_TIMEOUT = 5000;

async function forward(client: Socket, name: string, port: number): Promise<void> {
  client.on('error', () => client.destroy());
  const host = await addressOf(name);
  const server = connect({ host, port, allowHalfOpen: true });
  server.setTimeout(CONNECT_TIMEOUT, () =>
    server.destroy(new Error(`no answer within ${CONNECT_TIMEOUT} ms`)),
  );
  server.once('connect', () => server.setTimeout(0));
  server.on('error', (error) => {
    log.warn('cannot reach the service', { service: name, host, port, error: errorText(error) });
    client.resetAndDestroy();
  });
  client.on('close', () => server.destroy());
  server.on('close', () => client.destroy());
  client.pipe(server);
  server.pipe(client);
}

for (const [i, target] of targets.entries()) {
  const [, namespace = '', service = '', port = ''] = /^([^/]+)\/([^:]+):(\d+)$/.exec(target) ?? [];
  const name = `${service}.${namespace}.svc.${config.clusterDomain}`;
  const listener = createServer({ allowHalfOpen: true }, (client) => {
    forward(client, name, Number(port)).catch((error: unknown) => {
      log.warn('cannot forward', { service: name, error: errorText(error) });
      client.resetAndDestroy();
    });
  });
  listener.listen({ fd: 3 + i });
  log.info('forwarding', { service: name, port });
}
