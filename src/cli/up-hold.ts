/** The cluster in the foreground: until Ctrl-C takes it down, or somebody else does. */
import type { StartedCluster } from '../cluster/start.ts';
import { HeddleError } from '../lib/errors.ts';
import { exitCodes } from './deps.ts';
import { type Own, takeDown } from './own-cluster.ts';

/** `failure`: why the cluster is up but not as asked; it stays, to be looked at. @throws HeddleError `SupervisorEnded` */
export async function holdInForeground(
  cluster: StartedCluster,
  failure: Error | undefined,
  own: Own,
): Promise<void> {
  const { request, interrupt, progress } = own;
  const { keep, paths } = request;
  // Before it was Ready; with --detach there is no other way to get here.
  const early = interrupt.signal.aborted;
  if (failure)
    progress.note(
      `warning: ${failure.message}${failure instanceof HeddleError && failure.hint ? `\n  ${failure.hint}` : ''}`,
    );
  if (!interrupt.signal.aborted) progress.note('Ctrl-C takes the cluster down.');
  const interrupted = new Promise<'interrupted'>((resolve) => {
    if (interrupt.signal.aborted) resolve('interrupted');
    interrupt.signal.addEventListener('abort', () => resolve('interrupted'), { once: true });
  });
  const first = await Promise.race([interrupted, cluster.ended]);
  if (first === 'interrupted') {
    await takeDown(own);
    progress.note(keep ? `the cluster is down; ${paths.dataDir} is kept` : 'the cluster is down and removed');
    process.exitCode = early ? exitCodes.interrupted : failure ? exitCodes.notReady : exitCodes.ok;
    return;
  }
  if (first.code !== 0)
    throw new HeddleError(
      'SupervisorEnded',
      `the supervisor ended (${first.signal ?? `exit code ${first.code}`})`,
      {
        hint: `the cluster goes on without it; remove it with: heddle down --data-dir ${paths.dataDir}`,
      },
    );
  progress.note('the cluster was taken down');
}
