/** The API server's process: `node api-server.ts <data-dir> [--listen-fd N]…`. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { parseTokens } from '../apiserver/authenticate.ts';
import { createApiServer } from '../apiserver/server.ts';
import type { ClusterConfig } from '../cluster/config.ts';
import { clusterPaths } from '../cluster/paths.ts';
import { pkiFiles } from '../identity/pki.ts';
import { errorText, HeddleError } from '../lib/errors.ts';
import { formatHostPort } from '../lib/ip.ts';
import { createLog, type Log } from '../lib/log.ts';
import { shutdownSignal } from '../lib/tasks.ts';
import { createStore } from '../store/store.ts';

/** @throws HeddleError `ApiSetup` */
function readSetup(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new HeddleError('ApiSetup', `the API server cannot read ${file}: ${errorText(error)}`, {
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
  const { ca, apiServer: own } = pkiFiles(paths.pki);
  const tls = { ca: readSetup(ca.cert), cert: readSetup(own.cert), key: readSetup(own.key) };
  const tokenFile = join(paths.pki, 'tokens.csv');
  const tokens = existsSync(tokenFile) ? parseTokens(readSetup(tokenFile), tokenFile) : [];

  const store = await createStore({ path: paths.store });
  const server = await createApiServer({
    store,
    log,
    tls,
    tokens,
    serviceCidrs: config.serviceCidrs,
    dnsAddresses: config.dnsAddresses,
    advertise: config.apiServer,
  });
  const { addresses, port } = config.apiServer;
  for (const host of addresses) await server.listen({ host, port });
  for (const fd of values['listen-fd']) await server.listen({ fd: Number(fd) });
  log.info('the API server is ready', {
    addresses: addresses.map((host) => formatHostPort(host, port)),
    descriptors: values['listen-fd'],
    revision: store.revision(),
  });

  await new Promise<void>((resolve) => {
    for (const end of [signal, store.failed])
      if (end.aborted) resolve();
      else end.addEventListener('abort', () => resolve(), { once: true });
  });
  await server.close();
  if (store.failed.aborted) throw store.failed.reason;
  await store.close();
}

const log = createLog({ fields: { process: 'api-server' } });
try {
  await main(log, shutdownSignal());
} catch (error) {
  const hint = error instanceof HeddleError && error.hint ? { hint: error.hint } : {};
  log.error(errorText(error), { ...hint, ...(error instanceof HeddleError ? { code: error.code } : {}) });
  process.exitCode = 1;
}
