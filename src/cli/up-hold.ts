/** The cluster in the foreground: until Ctrl-C takes it down, or somebody else does. */
import type { StartedCluster } from '../cluster/start.ts';
import { stopCluster } from '../cluster/stop.ts';
import { HeddleError } from '../lib/errors.ts';
import { type CliDeps, exitCodes } from './deps.ts';
import type { Interrupt } from './interrupt.ts';
import type { Progress } from './progress.ts';
import type { UpRequest } from './up-request.ts';

export interface HoldDeps {
  readonly cluster: StartedCluster;
  readonly request: UpRequest;
  /** Why the cluster is up but not as asked; it stays, to be looked at. */
  readonly failure: Error | undefined;
  readonly interrupt: Interrupt;
  readonly progress: Progress;
  readonly deps: CliDeps;
}

export async function holdInForeground(hold: HoldDeps): Promise<void> {
  const { cluster, request, failure, interrupt, progress } = hold;
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
    await takeDown(hold);
    process.exitCode = failure
      ? exitCodes.notReady
      : interruptedBeforeReady(hold)
        ? exitCodes.interrupted
        : exitCodes.ok;
    return;
  }
  if (first.code !== 0)
    throw new HeddleError(
      'SupervisorEnded',
      `the supervisor ended (${first.signal ?? `exit code ${first.code}`})`,
      {
        hint: `the cluster goes on without it; remove it with: heddle down --data-dir ${request.paths.dataDir}`,
      },
    );
  progress.note('the cluster was taken down');
}

const interruptedBeforeReady = ({ request }: HoldDeps): boolean => request.detach;

async function takeDown({ request, interrupt, progress }: HoldDeps): Promise<void> {
  const { paths, keep } = request;
  const stop = (force: boolean) => stopCluster({ paths, keep, force, onStep: (text) => progress.step(text) });
  const forced = new Promise<void>((resolve, reject) => {
    interrupt.onSecond(() => {
      progress.note('by force');
      stop(true).then(() => resolve(), reject);
    });
  });
  await Promise.race([stop(false), forced]);
  progress.done();
  progress.note(keep ? `the cluster is down; ${paths.dataDir} is kept` : 'the cluster is down and removed');
}
