/** `kubectl logs`: the log of a container, from the node that runs it. */
import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { forbidden, invalid as wrongValue } from '../../api/field-error.ts';
import { POD } from '../../api/kinds.ts';
import type { FieldError } from '../../api/resource.ts';
import type { Pod } from '../../api/types.ts';
import { errorText } from '../../lib/errors.ts';
import type { Call, Deps } from '../deps.ts';
import { badRequest, invalid, methodNotAllowed, notFound, unavailable } from '../failure.ts';
import type { PodRef } from '../kubelets.ts';
import { keyOf, objectOf } from '../objects.ts';
import { isTrue } from '../request-info.ts';

/** Takes over the response. @throws ApiFailure before the first byte */
export async function podLog(deps: Deps, call: Call, response: ServerResponse): Promise<void> {
  if (call.info.verb !== 'get') throw methodNotAllowed();
  const { kubelets } = deps;
  if (!kubelets) throw unavailable('this API server knows no nodes that keep logs');
  const gone = new AbortController();
  response.on('close', () => gone.abort(new Error('the reader went away')));
  const signal = AbortSignal.any([gone.signal, deps.stopping]);
  const ref = refOf(deps, call);
  const query = nodeQuery(call, deps);
  const text = await kubelets.log(ref, query, signal).catch((error: unknown) => {
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

/** What the node is asked. @throws ApiFailure 400, 422 as Kubernetes says it */
function nodeQuery({ query }: Call, { clock }: Deps): URLSearchParams {
  const text = (name: string) => query.get(name) || undefined;
  const number = (name: string) => wholeNumber(name, text(name));
  const asked = {
    tail: number('tailLines'),
    limitBytes: number('limitBytes'),
    seconds: number('sinceSeconds'),
    sinceTime: text('sinceTime'),
  };
  const wrong = problemsOf(asked);
  if (wrong.length > 0) throw invalid(POD_LOG_OPTIONS, '', wrong);
  if (asked.sinceTime !== undefined && Number.isNaN(Date.parse(asked.sinceTime)))
    throw badRequest(`unable to parse sinceTime ${JSON.stringify(asked.sinceTime)} as a time of RFC 3339`);
  const since =
    asked.seconds === undefined
      ? asked.sinceTime
      : new Date(clock.now() - asked.seconds * 1000).toISOString();
  const words = {
    container: text('container'),
    tail: asked.tail,
    limitBytes: asked.limitBytes,
    sinceTime: since,
  };
  const given = new URLSearchParams();
  for (const [name, value] of Object.entries(words)) if (value !== undefined) given.set(name, String(value));
  for (const name of ['follow', 'previous', 'timestamps'])
    if (isTrue(query.get(name))) given.set(name, 'true');
  return given;
}

const POD_LOG_OPTIONS = { ...POD, kind: 'PodLogOptions' };

function problemsOf(asked: {
  tail: number | undefined;
  limitBytes: number | undefined;
  seconds: number | undefined;
  sinceTime: string | undefined;
}): FieldError[] {
  const { tail = 0, limitBytes = 1, seconds = 1, sinceTime } = asked;
  const both = asked.seconds !== undefined && sinceTime !== undefined;
  return [
    ...(tail < 0 ? [wrongValue('tailLines', tail, 'must be greater than or equal to 0')] : []),
    ...(limitBytes < 1 ? [wrongValue('limitBytes', limitBytes, 'must be greater than 0')] : []),
    ...(both ? [forbidden('', 'at most one of `sinceTime` or `sinceSeconds` may be specified')] : []),
    ...(seconds < 1 ? [wrongValue('sinceSeconds', seconds, 'must be greater than 0')] : []),
  ];
}

function wholeNumber(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const number = Number(text);
  if (/^[+-]?\d+$/.test(text) && Number.isSafeInteger(number)) return number;
  throw badRequest(`unable to parse ${name} ${JSON.stringify(text)} as a whole number`);
}
