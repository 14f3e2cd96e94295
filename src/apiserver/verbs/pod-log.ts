/** `kubectl logs`: the log of a container, from the node that runs it. */
import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { POD } from '../../api/kinds.ts';
import type { Pod } from '../../api/types.ts';
import { errorText } from '../../lib/errors.ts';
import type { Call, Deps } from '../deps.ts';
import { badRequest, methodNotAllowed, notFound, unavailable } from '../failure.ts';
import type { PodRef } from '../kubelets.ts';
import { keyOf, objectOf } from '../objects.ts';
import { isTrue } from '../request-info.ts';

/** Names of Kubernetes' query and of the node's. */
const SAME = ['container', 'limitBytes', 'sinceTime'] as const;

/** Takes over the response. @throws ApiFailure before the first byte */
export async function podLog(deps: Deps, call: Call, response: ServerResponse): Promise<void> {
  if (call.info.verb !== 'get') throw methodNotAllowed();
  const { kubelets } = deps;
  if (!kubelets) throw unavailable('this API server knows no nodes that keep logs');
  const gone = new AbortController();
  response.on('close', () => gone.abort(new Error('the reader went away')));
  const signal = AbortSignal.any([gone.signal, deps.stopping]);
  const ref = refOf(deps, call);
  const text = await kubelets.log(ref, queryOf(call, deps), signal).catch((error: unknown) => {
    throw badRequest(errorText(error));
  });
  response.writeHead(200, { 'content-type': 'text/plain', 'cache-control': 'no-cache, private' });
  response.flushHeaders();
  text.on('error', () => response.destroy());
  text.pipe(response);
  if (!response.closed) await once(response, 'close');
}

/** Where the pod is. @throws ApiFailure */
export function refOf({ store }: Deps, { info, resource }: Call): PodRef {
  const { namespace, name } = info;
  const entry = store.get(keyOf(resource.kind, namespace, name));
  if (!entry) throw notFound(POD, name);
  const node = (objectOf(entry) as unknown as Pod).spec?.nodeName;
  if (!node) throw badRequest(`pod ${name} does not have a host assigned`);
  return { node, namespace, pod: name };
}

function queryOf({ query }: Call, { clock }: Deps): URLSearchParams {
  const asked = new URLSearchParams();
  for (const name of SAME) {
    const value = query.get(name);
    if (value !== null && value !== '') asked.set(name, value);
  }
  for (const name of ['follow', 'previous', 'timestamps'])
    if (isTrue(query.get(name))) asked.set(name, 'true');
  const tail = query.get('tailLines');
  if (tail !== null && tail !== '') asked.set('tail', tail);
  const seconds = Number(query.get('sinceSeconds') ?? 0);
  if (seconds > 0) asked.set('sinceTime', new Date(clock.now() - seconds * 1000).toISOString());
  return asked;
}
