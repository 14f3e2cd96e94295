/** Before a cluster ends: its nodes tell the routers outside, who else would wait for them to come back. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { errorText } from '../lib/errors.ts';
import type { Log } from '../lib/log.ts';
import { callSocket } from '../lib/unix-http.ts';
import type { ClusterPaths } from './paths.ts';

/** Milliseconds that all agents together have. */
const PATIENCE = 2000;
const SUFFIX = '.agent.sock';

/** What does not answer in time is left behind: a router notices at its hold timer. */
export async function sayFarewell({ runDir }: Pick<ClusterPaths, 'runDir'>, log?: Log): Promise<void> {
  const folder = join(runDir, 'nodes');
  await Promise.all(
    sockets(folder).map((name) =>
      callSocket({
        socketPath: join(folder, name),
        method: 'POST',
        path: '/bgp/leave',
        timeoutMs: PATIENCE,
      }).catch((error: unknown) =>
        log?.debug('a node did not say farewell', {
          node: name.slice(0, -SUFFIX.length),
          error: errorText(error),
        }),
      ),
    ),
  );
}

function sockets(folder: string): string[] {
  try {
    return readdirSync(folder).filter((name) => name.endsWith(SUFFIX));
  } catch {
    // There is no cluster, or it never came so far.
    return [];
  }
}
