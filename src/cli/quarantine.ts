/** A process of the cluster that ends whenever it is started: waiting for it is waiting for ever. */
import { lastWords } from '../cluster/log-file.ts';
import type { ClusterPaths } from '../cluster/paths.ts';
import type { SupervisorStatus } from '../cluster/supervisor-protocol.ts';
import { HeddleError } from '../lib/errors.ts';
import { callSocket } from '../lib/unix-http.ts';

/** @throws HeddleError `ProcessFails` */
export async function checkProcesses(paths: ClusterPaths): Promise<void> {
  const call = { socketPath: paths.supervisorSocket, path: '/status', timeoutMs: 5000 };
  // A supervisor that does not answer is told by whoever follows it.
  const status = await callSocket<SupervisorStatus>(call).catch(() => undefined);
  const failing = status?.processes.find(({ state }) => state === 'quarantined');
  if (!failing) return;
  throw new HeddleError('ProcessFails', `${failing.name} ends whenever it is started`, {
    hint: lastWords(failing.log),
  });
}
