/**
 * Tokens of service accounts, as Kubernetes signs them: bound to a time, to audiences, to their account and, where
 * asked for, to a pod, secret or node. One that is bound to what is gone is worth nothing.
 */
import { randomUUID } from 'node:crypto';
import { NODE, POD, SECRET, SERVICE_ACCOUNT } from '../api/kinds.ts';
import type { Kind } from '../api/kinds.ts';
import type { KubeObject, Pod } from '../api/types.ts';
import type { Clock } from '../lib/clock.ts';
import { isObject } from '../lib/json.ts';
import type { Store } from '../store/types.ts';
import type { User } from './authenticate.ts';
import { type Claims, claimsOf, keySet, signingKey, signToken } from './jwt.ts';
import { keyOf, objectOf } from './objects.ts';

export interface AccountTokensOptions {
  /** PEM, P-256. */
  readonly key: string;
  /** What tokens say of who signed them; also the audience of tokens that name none: an https URL. */
  readonly issuer: string;
}

export interface Grant {
  readonly account: KubeObject;
  readonly audiences: readonly string[];
  readonly seconds: number;
  readonly bound?: { readonly kind: Kind; readonly object: KubeObject } | undefined;
}

export interface Verified {
  readonly user: User;
  /** Those asked for that the token is meant for. */
  readonly audiences: readonly string[];
}

export interface AccountTokens {
  readonly issuer: string;
  /** Until when: milliseconds since 1970. */
  issue(grant: Grant): { token: string; expires: number };
  /** Undefined for what is no valid token of ours for any of `audiences` (default: the API server's). */
  verify(token: string, audiences?: readonly string[]): Verified | undefined;
  /** RFC 7517. */
  keys(): object;
}

/** Kubernetes' own claim. */
const PRIVATE = 'kubernetes.io';
/** Milliseconds for which what is bound to a pod that is deleted goes on to hold: it has to say good-bye. */
const LEEWAY = 60_000;
/** Kinds that tokens are bound to, and what claims call them. */
const BOUND = [
  ['pod', POD],
  ['secret', SECRET],
  ['node', NODE],
] as const;

export function createAccountTokens(
  options: AccountTokensOptions,
  { store, clock }: { store: Pick<Store, 'get'>; clock: Clock },
): AccountTokens {
  const key = signingKey(options.key);
  const { issuer } = options;

  function find(kind: Kind, namespace: string, { name, uid }: Reference): KubeObject | undefined {
    const entry = store.get(keyOf(kind, kind.namespaced ? namespace : '', name));
    const object = entry && objectOf(entry);
    if (!object || object.metadata.uid !== uid) return undefined;
    const going = object.metadata.deletionTimestamp;
    return going !== undefined && Date.parse(going) < clock.now() - LEEWAY ? undefined : object;
  }

  /** True when all that the token is bound to is still there. */
  function holds(own: Claims, namespace: string): boolean {
    const account = reference(own['serviceaccount']);
    if (!account || !find(SERVICE_ACCOUNT, namespace, account)) return false;
    // A pod's token names its node, too, but ends with the pod.
    return BOUND.every(([name, kind]) => {
      const bound = reference(own[name]);
      return !bound || (name === 'node' && own['pod']) || find(kind, namespace, bound) !== undefined;
    });
  }

  return {
    issuer,
    issue({ account, audiences, seconds, bound }) {
      const now = Math.floor(clock.now() / 1000);
      const { name, namespace = '' } = account.metadata;
      const expires = now + seconds;
      const token = signToken(key, {
        aud: audiences.length > 0 ? audiences : [issuer],
        exp: expires,
        iat: now,
        iss: issuer,
        jti: randomUUID(),
        [PRIVATE]: { namespace, ...(bound ? boundClaims(bound) : {}), serviceaccount: refOf(account) },
        nbf: now,
        sub: `system:serviceaccount:${namespace}:${name}`,
      });
      return { token, expires: expires * 1000 };
    },
    verify(token, audiences = [issuer]) {
      const claims = claimsOf(key, token);
      if (!claims || claims['iss'] !== issuer) return undefined;
      const now = clock.now() / 1000;
      if (!(Number(claims['exp']) > now && Number(claims['nbf']) <= now + 1)) return undefined;
      const given = Array.isArray(claims['aud']) ? (claims['aud'] as unknown[]) : [];
      const meant = audiences.filter((one) => given.includes(one));
      const own = claims[PRIVATE];
      if (meant.length === 0 || !isObject(own)) return undefined;
      const namespace = textOf(own['namespace']);
      return holds(own, namespace)
        ? { user: userOf(own, namespace, textOf(claims['jti'])), audiences: meant }
        : undefined;
    },
    keys: () => keySet(key),
  };

  function boundClaims({ kind, object }: NonNullable<Grant['bound']>): Claims {
    const [name = ''] = BOUND.find(([, one]) => one === kind) ?? [];
    const node = kind === POD ? (object as unknown as Pod).spec?.nodeName : undefined;
    const entry = node === undefined ? undefined : store.get(keyOf(NODE, '', node));
    return {
      [name]: refOf(object),
      ...(node === undefined ? {} : { node: entry ? refOf(objectOf(entry)) : { name: node } }),
    };
  }
}

const textOf = (value: unknown): string => (typeof value === 'string' ? value : '');

interface Reference {
  readonly name: string;
  readonly uid: string;
}

const refOf = ({ metadata }: KubeObject): Reference => ({ name: metadata.name, uid: metadata.uid ?? '' });

const reference = (value: unknown): Reference | undefined =>
  isObject(value) ? { name: textOf(value['name']), uid: textOf(value['uid']) } : undefined;

function userOf(own: Claims, namespace: string, id: string): User {
  const account = reference(own['serviceaccount'])!;
  const [pod, node] = [reference(own['pod']), reference(own['node'])];
  const extra = (name: string, value: string) => ({ [`authentication.kubernetes.io/${name}`]: [value] });
  return {
    name: `system:serviceaccount:${namespace}:${account.name}`,
    uid: account.uid,
    groups: ['system:serviceaccounts', `system:serviceaccounts:${namespace}`, 'system:authenticated'],
    extra: {
      ...extra('credential-id', `JTI=${id}`),
      ...(node ? { ...extra('node-name', node.name), ...extra('node-uid', node.uid) } : {}),
      ...(pod ? { ...extra('pod-name', pod.name), ...extra('pod-uid', pod.uid) } : {}),
    },
  };
}
