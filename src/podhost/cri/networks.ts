/**
 * A container runtime makes a sandbox's namespace and asks its network for it by CNI: `heddle-cni` then comes to the
 * pod host that asked for the sandbox, by a link with the pod's uid, so that one runtime serves the nodes of all clusters.
 */
import { mkdir, rm, symlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { CniCode, CniError } from '../../cni/error.ts';
import { type CniServer, serveCni } from '../../cni/server.ts';
import type { CniRequest, CniResult } from '../../cni/types.ts';
import type { Log } from '../../lib/log.ts';

export interface CriNetworks {
  /** While `work` runs, `make` answers the call for the pod's network. */
  during<T>(uid: string, make: (netns: string) => Promise<CniResult>, work: () => Promise<T>): Promise<T>;
  close(): Promise<void>;
}

export interface CriNetworksDeps {
  /** The folder that `heddle cni install --pods` tells the runtime's list. */
  pods: string;
  /** Our end of the links in it. */
  socketPath: string;
  log: Log;
}

export function createCriNetworks({ pods, socketPath, log }: CriNetworksDeps): CriNetworks {
  const waiting = new Map<string, (netns: string) => Promise<CniResult>>();
  let server: Promise<CniServer> | undefined;

  async function add({ args, netns }: CniRequest): Promise<CniResult> {
    const make = waiting.get(args['K8S_POD_UID'] ?? '');
    if (make) return make(netns);
    throw new CniError(CniCode.tryAgain, `no pod ${args['K8S_POD_UID']} waits for its network on this node`);
  }

  async function listen(): Promise<CniServer> {
    await mkdir(dirname(socketPath), { recursive: true, mode: 0o700 });
    // heddle-cni brings nothing else here.
    const nothing = async () => {};
    const handlers = { add, del: nothing, check: nothing, status: nothing, gc: nothing };
    return serveCni({ socketPath, handlers, log });
  }

  return {
    async during(uid, make, work) {
      server ??= listen().catch((error: unknown) => {
        server = undefined;
        throw error;
      });
      await server;
      await mkdir(pods, { recursive: true, mode: 0o700 });
      const link = join(pods, `${uid}.sock`);
      await rm(link, { force: true });
      await symlink(socketPath, link);
      waiting.set(uid, make);
      try {
        return await work();
      } finally {
        waiting.delete(uid);
        await rm(link, { force: true });
      }
    },
    close: async () => (await server?.catch(() => undefined))?.close(),
  };
}
