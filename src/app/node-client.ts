/** The API server as a node reaches it: at its addresses on the underlay, as who the node is. */
import { readFileSync } from 'node:fs';
import { createClient } from '../client/client.ts';
import type { Client } from '../client/types.ts';
import type { ClusterConfig } from '../cluster/config.ts';
import type { ClusterPaths } from '../cluster/paths.ts';
import { pkiFiles } from '../identity/pki.ts';
import { formatHostPort } from '../lib/ip.ts';

export function nodeClient(
  paths: Pick<ClusterPaths, 'pki'>,
  { apiServer }: Pick<ClusterConfig, 'apiServer'>,
  node: string,
): Client {
  const files = pkiFiles(paths.pki);
  const identity = files.node(node);
  return createClient({
    server: `https://${formatHostPort(apiServer.addresses[0] ?? '', apiServer.port)}`,
    dialAddresses: apiServer.addresses,
    ca: readFileSync(files.ca.cert, 'utf8'),
    cert: readFileSync(identity.cert, 'utf8'),
    key: readFileSync(identity.key, 'utf8'),
  });
}
