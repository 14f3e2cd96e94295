/** The API server's process: `node api-server.ts <data-dir> [--listen-fd N]…`. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { parseTokens } from '../apiserver/authenticate.ts';
import type { Kubelets } from '../apiserver/kubelets.ts';
import { type ApiServerOptions, createApiServer } from '../apiserver/server.ts';
import type { ClusterConfig } from '../cluster/config.ts';
import { clusterPaths } from '../cluster/paths.ts';
import { pkiFiles } from '../identity/pki.ts';
import { watchForLost } from '../kernel/lost-peers.ts';
import { errorText, HeddleError } from '../lib/errors.ts';
import { formatHostPort } from '../lib/ip.ts';
import { createLog, type Log } from '../lib/log.ts';
import { aborted } from '../lib/signals.ts';
import { shutdownSignal } from '../lib/tasks.ts';
import { createKubelets } from './kubelets.ts';
import { createStore } from '../store/store.ts';
import type { Store } from '../store/types.ts';

/** @throws HeddleError `ApiSetup` */
function readSetup(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new HeddleError('ApiSetup', `the API server cannot read ${file}`, {
      hint: 'heddle up makes it; is this the data directory of a cluster?',
      cause: error,
    });
  }
}

async function main(log: Log, signal: AbortSignal): Promise<void> {
  const { positionals, values } = parseArgs({
    allowPositionals: true,
    options: { 'listen-fd': { type: 'string', multiple: true, default: [] } },
  });
  const paths = clusterPaths(positionals[0]);
  const config = JSON.parse(readSetup(paths.config)) as ClusterConfig;
  const { ca, apiServer: own, accountKey } = pkiFiles(paths.pki);
  const tls = { ca: readSetup(ca.cert), cert: readSetup(own.cert), key: readSetup(own.key) };
  const tokenFile = join(paths.pki, 'tokens.csv');
  const tokens = existsSync(tokenFile) ? parseTokens(readSetup(tokenFile), tokenFile) : [];

  const kubelets = createKubelets((node) => paths.node(node).agentSocket);
  const store = await createStore({ path: paths.store });
  try {
    await serve({
      store,
      log,
      signal,
      config,
      tls,
      tokens,
      accountKey: readSetup(accountKey),
      descriptors: values['listen-fd'].map(Number),
      kubelets,
    });
    if (store.failed.aborted) throw store.failed.reason;
  } finally {
    await store.close();
  }
}

interface Serving {
  readonly store: Store;
  readonly log: Log;
  readonly signal: AbortSignal;
  readonly config: ClusterConfig;
  readonly tls: ApiServerOptions['tls'];
  readonly tokens: NonNullable<ApiServerOptions['tokens']>;
  /** PEM. */
  readonly accountKey: string;
  /** Listening sockets that were inherited. */
  readonly descriptors: readonly number[];
  readonly kubelets: Kubelets;
}

/** Until the signal, or until the disk fails. */
async function serve({
  store,
  log,
  signal,
  config,
  tls,
  tokens,
  accountKey,
  descriptors,
  kubelets,
}: Serving): Promise<void> {
  const { addresses, port } = config.apiServer;
  const clients = watchForLost({
    onLost: ({ remoteAddress: address, remotePort }) =>
      log.info('a client has gone without a word', { address, port: remotePort }),
  });
  const server = await createApiServer({
    store,
    log,
    tls,
    tokens,
    kubelets,
    onConnection: clients.watch,
    accountTokens: {
      key: accountKey,
      issuer: `https://kubernetes.default.svc.${config.clusterDomain}`,
    },
    serviceCidrs: config.serviceCidrs,
    dnsAddresses: config.dnsAddresses,
    advertise: { addresses, port },
  });
  try {
    for (const host of addresses) await server.listen({ host, port });
    for (const fd of descriptors) await server.listen({ fd });
    log.info('the API server is ready', {
      addresses: addresses.map((host) => formatHostPort(host, port)),
      descriptors,
      revision: store.revision(),
    });
    await Promise.race([aborted(signal), aborted(store.failed)]);
  } finally {
    await server.close();
    clients.close();
  }
}

const log = createLog({ fields: { process: 'api-server' } });
try {
  await main(log, shutdownSignal());
} catch (error) {
  const hint = error instanceof HeddleError && error.hint ? { hint: error.hint } : {};
  log.error(errorText(error), { ...hint, ...(error instanceof HeddleError ? { code: error.code } : {}) });
  process.exitCode = 1;
}
