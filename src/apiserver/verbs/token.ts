/** POST serviceaccounts/x/token: a TokenRequest (authentication.k8s.io/v1) is answered with a token. */
import { NODE, POD, SECRET } from '../../api/kinds.ts';
import type { KubeObject, Pod } from '../../api/types.ts';
import { isObject } from '../../lib/json.ts';
import { parseBody } from '../body.ts';
import type { Answer, Call, Deps } from '../deps.ts';
import { badRequest, conflict, invalid, noSuchPath, notFound } from '../failure.ts';
import { keyOf, objectOf } from '../objects.ts';
import { timeText } from '../strategy.ts';

/** Seconds, as Kubernetes bounds them. */
const DEFAULT_SECONDS = 3600;
const MIN_SECONDS = 600;
const MAX_SECONDS = 2 ** 32;
const REQUEST = {
  group: 'authentication.k8s.io',
  version: 'v1',
  kind: 'TokenRequest',
  resource: 'tokenrequests',
  namespaced: true,
} as const;
const BINDABLE = [POD, SECRET, NODE] as const;

/** @throws ApiFailure */
export function requestToken(deps: Deps, call: Call): Answer {
  const { info, resource } = call;
  if (!deps.accountTokens) throw noSuchPath();
  const entry = deps.store.get(keyOf(resource.kind, info.namespace, info.name));
  if (!entry) throw notFound(resource.kind, info.name);
  const given = parseBody(call.body, call.contentType);
  const spec = isObject(given) && isObject(given['spec']) ? given['spec'] : {};
  const audiences = textsOf(spec['audiences']);
  const seconds = secondsOf(spec['expirationSeconds'], info.name);
  const ref = isObject(spec['boundObjectRef']) ? spec['boundObjectRef'] : undefined;
  const bound = ref && boundTo(deps, call, ref);
  const { token, expires } = deps.accountTokens.issue({
    account: objectOf(entry),
    audiences,
    seconds,
    bound,
  });
  return {
    code: 201,
    body: {
      kind: REQUEST.kind,
      apiVersion: `${REQUEST.group}/${REQUEST.version}`,
      metadata: {
        name: info.name,
        namespace: info.namespace,
        creationTimestamp: timeText(deps.clock.now()),
      },
      spec: {
        audiences: audiences.length > 0 ? audiences : [deps.accountTokens.issuer],
        expirationSeconds: seconds,
        boundObjectRef: ref ? { ...ref, uid: bound!.object.metadata.uid } : null,
      },
      status: { token, expirationTimestamp: timeText(expires) },
    },
  };
}

const textsOf = (value: unknown): string[] =>
  Array.isArray(value) ? value.filter((one): one is string => typeof one === 'string' && one !== '') : [];

function secondsOf(value: unknown, name: string): number {
  const seconds = value ?? DEFAULT_SECONDS;
  const why = !Number.isSafeInteger(seconds)
    ? 'must be a whole number'
    : (seconds as number) < MIN_SECONDS
      ? 'may not specify a duration less than 10 minutes'
      : (seconds as number) > MAX_SECONDS
        ? 'may not specify a duration larger than 2^32 seconds'
        : undefined;
  if (why === undefined) return seconds as number;
  throw invalid(REQUEST, name, [
    {
      type: 'FieldValueInvalid',
      field: 'spec.expirationSeconds',
      message: `Invalid value: ${JSON.stringify(value)}: ${why}`,
    },
  ]);
}

function boundTo(deps: Deps, { info, resource }: Call, ref: Record<string, unknown>) {
  const { kind: asked, name, uid, apiVersion = 'v1' } = ref as Record<string, string | undefined>;
  const kind = BINDABLE.find((one) => one.kind === asked && apiVersion === 'v1');
  if (!kind || typeof name !== 'string')
    throw badRequest(`cannot bind token for object of type ${apiVersion}, Kind=${asked}`);
  const entry = deps.store.get(keyOf(kind, kind.namespaced ? info.namespace : '', name));
  if (!entry) throw notFound(kind, name);
  const object: KubeObject = objectOf(entry);
  if (uid !== undefined && uid !== '' && uid !== object.metadata.uid)
    throw conflict(
      resource.kind,
      info.name,
      `the UID in the bound object reference (${uid}) does not match the UID in record. The object might have been deleted and then recreated`,
    );
  if (kind === POD && (object as unknown as Pod).spec?.serviceAccountName !== info.name)
    throw badRequest(
      `cannot bind token for serviceaccount ${JSON.stringify(info.name)} to pod running with different serviceaccount name.`,
    );
  return { kind, object };
}
