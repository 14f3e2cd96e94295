/** The client of the cluster that --data-dir names. */
import { createClient } from '../client/client.ts';
import { loadKubeconfig } from '../client/kubeconfig.ts';
import type { Client } from '../client/types.ts';
import type { ClusterPaths } from '../cluster/paths.ts';

/** @throws HeddleError `BadKubeconfig` */
export async function connect(paths: ClusterPaths): Promise<Client> {
  const { client } = await loadKubeconfig(paths.kubeconfig);
  return createClient(client);
}
