/** What a client may ask about itself: `kubectl auth whoami` and `kubectl auth can-i`. */
import { isObject } from '../lib/json.ts';
import { type User, ANONYMOUS } from './authenticate.ts';
import { mayAll } from './authorize.ts';
import { parseBody } from './body.ts';
import type { Answer } from './deps.ts';
import type { RequestInfo } from './request-info.ts';

export function review(info: RequestInfo, user: User, body: string, contentType: string): Answer | undefined {
  const about = info.resource;
  if (info.method !== 'POST' || !about || about.version !== 'v1') return undefined;
  if (about.group === 'authentication.k8s.io' && about.resource === 'selfsubjectreviews')
    return answer('SelfSubjectReview', about.group, {
      status: {
        userInfo: { username: user.name, ...(user.uid ? { uid: user.uid } : {}), groups: user.groups },
      },
    });
  if (about.group !== 'authorization.k8s.io' || about.resource !== 'selfsubjectaccessreviews')
    return undefined;
  const given = parseBody(body, contentType);
  const allowed = user !== ANONYMOUS && mayAll(user);
  return answer('SelfSubjectAccessReview', about.group, {
    spec: isObject(given) ? given['spec'] : {},
    status: { allowed, ...(allowed ? {} : { reason: 'only administrators and components have rights' }) },
  });
}

const answer = (kind: string, group: string, rest: object): Answer => ({
  code: 201,
  body: { kind, apiVersion: `${group}/v1`, metadata: { creationTimestamp: null }, ...rest },
});
