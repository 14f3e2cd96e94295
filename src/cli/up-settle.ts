/** After the API server answers: nodes Ready, manifests applied, pods Ready, and what to tell the user. */
import { DEPLOYMENT } from '../api/kinds.ts';
import type { Client } from '../client/types.ts';
import { systemClock } from '../lib/clock.ts';
import { errorText } from '../lib/errors.ts';
import { connect } from './connect.ts';
import type { CliDeps } from './deps.ts';
import { watchShortage } from './machine-short.ts';
import type { Progress } from './progress.ts';
import { publishWarnings } from './publish-check.ts';
import { checkProcesses } from './quarantine.ts';
import { type Tally, waitForNodes, waitForPods } from './readiness.ts';
import type { Manifests } from './up-manifests.ts';
import type { UpRequest } from './up-request.ts';

export interface SettleDeps {
  readonly request: UpRequest;
  readonly manifests: Manifests;
  readonly progress: Progress;
  readonly deps: CliDeps;
  readonly signal: AbortSignal;
  /** When a cluster of our own was started, in Unix milliseconds: a kept store tells of an earlier one. */
  readonly since?: number;
}

/** The error that kept it from settling, if any: the cluster runs all the same. */
export async function settle(settling: SettleDeps): Promise<Error | undefined> {
  const { request, progress, signal } = settling;
  const client = await connect(request.paths);
  try {
    await steps(settling, client);
    progress.done();
    for (const warning of await publishWarnings(client, request.publish))
      progress.note(`warning: ${warning}`);
    summary(settling);
    notActedOn(settling);
    return undefined;
  } catch (error) {
    progress.fail();
    if (signal.aborted) return undefined;
    notActedOn(settling);
    return error instanceof Error ? error : new Error(errorText(error));
  } finally {
    client.close();
  }
}

async function steps(settling: SettleDeps, client: Client): Promise<void> {
  const { request, manifests, progress, signal, since } = settling;
  const checkNodes = watchShortage(client, request.paths.dataDir, systemClock);
  const wait = (unit: string) => ({
    client,
    signal,
    timeout: request.timeout,
    since,
    async check() {
      await checkProcesses(request.paths);
      await checkNodes();
    },
    onTally: ({ ready, total }: Tally) => progress.detail(`${ready} of ${total} ${unit} Ready`),
  });
  if (request.wait) {
    progress.step('waiting for nodes');
    await waitForNodes(request.config.nodes.length, wait('nodes'));
  }
  if (manifests.count > 0) await applyAll(settling, client);
  const pods = manifests.count > 0 || (request.continues && since !== undefined);
  if (!request.wait || !pods) return;
  progress.step('waiting for pods');
  await waitForPods(wait('pods'), () => wantedReplicas(client));
}

async function applyAll({ manifests, progress, signal }: SettleDeps, client: Client): Promise<void> {
  progress.step('applying manifests');
  const { applyObjects } = await import('./apply-objects.ts');
  let applied = 0;
  await applyObjects(client, manifests.entries, {
    createNamespaces: true,
    signal,
    onApplied: () => progress.detail(`${++applied} of ${Math.max(applied, manifests.count)}`),
  });
}

/** Pods that deployments ask for: more than there are while the controllers are at work. */
async function wantedReplicas(client: Client): Promise<number> {
  const { items } = await client.list(DEPLOYMENT);
  return items.reduce((sum, { spec }) => sum + (spec?.replicas ?? 1), 0);
}

function summary({ request, progress }: SettleDeps): void {
  const { config, paths, publish } = request;
  progress.note(
    `cluster ${config.id}: ${config.nodes.length} nodes, API server at https://127.0.0.1:${config.apiServer.publishedPort}`,
  );
  for (const { namespace, service, port, hostPort } of publish)
    progress.note(`  http://127.0.0.1:${hostPort} is port ${port} of the service ${namespace}/${service}`);
  progress.note(`  kubectl --kubeconfig ${paths.kubeconfig} get pods -A`);
}

function notActedOn({ manifests, progress }: SettleDeps): void {
  if (manifests.notes.length > 0) progress.note('Not acted on:');
  for (const note of manifests.notes) progress.note(`  ${note}`);
}
