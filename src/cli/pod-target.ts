/** Which pod a user means: `web-1`, `pod/web-1`, or one of `deploy/web`, `rs/…`, `svc/…`. */
import { DEPLOYMENT, type Kind, POD, REPLICA_SET, SERVICE } from '../api/kinds.ts';
import type { Pod } from '../api/types.ts';
import { isNotFound } from '../client/api-error.ts';
import type { Client } from '../client/types.ts';
import { HeddleError } from '../lib/errors.ts';
import { isReady } from './readiness.ts';

export interface PodTarget {
  readonly namespace: string;
  readonly pod: string;
  readonly node: string;
}

interface Selecting {
  spec?: { selector?: Readonly<Record<string, unknown>> };
}

const selecting: Readonly<Record<string, Kind>> = {
  deploy: DEPLOYMENT,
  deployment: DEPLOYMENT,
  deployments: DEPLOYMENT,
  rs: REPLICA_SET,
  replicaset: REPLICA_SET,
  svc: SERVICE,
  service: SERVICE,
};
const podWords = new Set(['pod', 'pods', 'po']);

/** @throws HeddleError `NoSuchPod`, `BadFlag`, `PodNotPlaced` */
export async function findPod(client: Client, word: string, namespace: string): Promise<PodTarget> {
  const slash = word.indexOf('/');
  const [kindWord, name] =
    slash < 0 ? ['pod', word] : [word.slice(0, slash).toLowerCase(), word.slice(slash + 1)];
  const pod = podWords.has(kindWord)
    ? await get(client, POD, name, namespace)
    : await selected(client, kindWord, name, namespace);
  const node = pod.spec?.nodeName;
  if (!node)
    throw new HeddleError('PodNotPlaced', `pod ${namespace}/${pod.metadata.name} is on no node yet`, {
      hint: 'wait until it is Running: heddle get pods -A',
    });
  return { namespace, pod: pod.metadata.name, node };
}

async function get<T>(client: Client, kind: Kind<T>, name: string, namespace: string): Promise<T> {
  try {
    return await client.get(kind, name, namespace);
  } catch (error) {
    if (!isNotFound(error)) throw error;
    throw new HeddleError('NoSuchPod', `there is no ${kind.kind} ${name} in namespace ${namespace}`, {
      hint: 'name its namespace with -n; "heddle get pods -A" lists them all',
    });
  }
}

/** One of the pods behind it, a Ready one where there is one. */
async function selected(client: Client, word: string, name: string, namespace: string): Promise<Pod> {
  const kind = selecting[word];
  if (!kind)
    throw new HeddleError(
      'BadFlag',
      `"${word}/${name}": expected POD, or one of pod/, deploy/, rs/, svc/ and a name`,
    );
  const owner = (await get(client, kind, name, namespace)) as Selecting;
  const labels = owner.spec?.selector?.['matchLabels'] ?? owner.spec?.selector ?? {};
  const labelSelector = Object.entries(labels)
    .map(([key, value]) => `${key}=${String(value)}`)
    .join(',');
  const { items } = await client.list(POD, { namespace, labelSelector });
  const pod = items.find(isReady) ?? items[0];
  if (!pod || labelSelector === '')
    throw new HeddleError('NoSuchPod', `no pod is behind ${kind.kind} ${namespace}/${name}`, {
      hint: 'heddle get pods -A shows what there is',
    });
  return pod;
}
