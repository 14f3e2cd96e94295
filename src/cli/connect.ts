/** The client of the cluster that --data-dir names. */
import { accessSync, constants } from 'node:fs';
import { createClient } from '../client/client.ts';
import { loadKubeconfig } from '../client/kubeconfig.ts';
import type { Client } from '../client/types.ts';
import type { ClusterPaths } from '../cluster/paths.ts';
import { errnoCode, HeddleError } from '../lib/errors.ts';

/** @throws HeddleError `NoCluster`, `NotRoot`, `BadKubeconfig` */
export async function connect(paths: ClusterPaths): Promise<Client> {
  const { client } = await loadKubeconfig(readableKubeconfig(paths));
  return createClient(client);
}

/** Its path, once it is known to be there. @throws HeddleError `NoCluster`, `NotRoot` */
export function readableKubeconfig({ kubeconfig, dataDir }: ClusterPaths): string {
  try {
    accessSync(kubeconfig, constants.R_OK);
    return kubeconfig;
  } catch (cause) {
    if (errnoCode(cause) === 'ENOENT' || errnoCode(cause) === 'ENOTDIR')
      throw new HeddleError('NoCluster', `there is no cluster in ${dataDir}: no ${kubeconfig}`, {
        hint: 'start one with "heddle up", or name another with --data-dir',
      });
    throw new HeddleError('NotRoot', `cannot read ${kubeconfig}`, {
      hint: 'it belongs to whoever ran "sudo heddle up"; use sudo',
      cause,
    });
  }
}
