/** What a client may ask about itself (`kubectl auth whoami`, `kubectl auth can-i`), and about a token that it was shown. */
import { isObject } from '../lib/json.ts';
import { type Authenticate, type User, ANONYMOUS } from './authenticate.ts';
import { mayAll } from './authorize.ts';
import { type Body, parseBody } from './body.ts';
import type { Answer } from './deps.ts';
import type { RequestInfo } from './request-info.ts';

export function review(
  { info, user, authenticate }: { info: RequestInfo; user: User; authenticate: Authenticate },
  body: Body,
): Answer | undefined {
  const about = info.resource;
  if (info.method !== 'POST' || !about || about.version !== 'v1') return undefined;
  if (about.group === 'authentication.k8s.io' && about.resource === 'selfsubjectreviews')
    return answer('SelfSubjectReview', about.group, {
      status: { userInfo: userInfo(user) },
    });
  if (about.group === 'authentication.k8s.io' && about.resource === 'tokenreviews')
    return answer('TokenReview', about.group, tokenReview(parseBody(body.text, body.type), authenticate));
  if (about.group !== 'authorization.k8s.io' || about.resource !== 'selfsubjectaccessreviews')
    return undefined;
  const given = parseBody(body.text, body.type);
  const allowed = user !== ANONYMOUS && mayAll(user);
  return answer('SelfSubjectAccessReview', about.group, {
    spec: isObject(given) ? given['spec'] : {},
    status: { allowed, ...(allowed ? {} : { reason: 'only administrators and components have rights' }) },
  });
}

const userInfo = ({ name, uid, groups, extra }: User) => ({
  username: name,
  ...(uid ? { uid } : {}),
  groups,
  ...(extra ? { extra } : {}),
});

function tokenReview(given: unknown, authenticate: Authenticate) {
  const spec = isObject(given) && isObject(given['spec']) ? given['spec'] : {};
  const asked = Array.isArray(spec['audiences']) ? spec['audiences'].map(String) : [];
  const found =
    typeof spec['token'] === 'string'
      ? authenticate.token(spec['token'], asked.length > 0 ? asked : undefined)
      : undefined;
  if (!found) return { spec, status: { user: {}, error: 'invalid bearer token' } };
  const { user, audiences } = found;
  return { spec, status: { authenticated: true, user: userInfo(user), audiences } };
}

const answer = (kind: string, group: string, rest: object): Answer => ({
  code: 201,
  body: { kind, apiVersion: `${group}/v1`, metadata: { creationTimestamp: null }, ...rest },
});
