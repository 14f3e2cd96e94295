/** Who may do what: administrators and Heddle's own components everything, anybody the health of the server. */
import type { User } from './authenticate.ts';
import { ApiFailure, unauthorized } from './failure.ts';
import type { RequestInfo, ResourceInfo } from './request-info.ts';

const ALL_POWERFUL = ['system:masters', 'heddle:components'] as const;

const OPEN_PATHS = new Set(['/livez', '/readyz', '/healthz', '/version']);
/** Also open to those who are known: what kubectl reads before it does anything. */
const KNOWN_PATHS = [
  '/api',
  '/apis',
  '/openapi',
  '/version',
  '/.well-known/openid-configuration',
  '/openid/v1/jwks',
];

export const mayAll = (user: User): boolean =>
  user.groups.some((group) => (ALL_POWERFUL as readonly string[]).includes(group));

/** @throws ApiFailure 401, 403 */
export function authorize(user: User, info: RequestInfo): void {
  if (mayAll(user)) return;
  const path = info.path.replace(/(.)\/+$/, '$1');
  const reading = info.method === 'GET' || info.method === 'HEAD';
  if (reading && OPEN_PATHS.has(`/${path.split('/')[1] ?? ''}`)) return;
  if (user.groups.includes('system:unauthenticated')) {
    // As Kubernetes with anonymous requests on: a 403 that names the anonymous user.
    throw refuse(user, info);
  }
  const open = KNOWN_PATHS.some((root) => path === root || path.startsWith(`${root}/`));
  if (reading && !info.resource && open) return;
  if (info.resource && isSelfReview(info.resource) && info.method === 'POST') return;
  throw refuse(user, info);
}

const isSelfReview = ({ group, resource }: ResourceInfo) =>
  (group === 'authorization.k8s.io' && resource === 'selfsubjectaccessreviews') ||
  (group === 'authentication.k8s.io' && resource === 'selfsubjectreviews');

function refuse(user: User, { resource: about, path, method }: RequestInfo): ApiFailure {
  if (user.name === '') return unauthorized();
  if (!about)
    return new ApiFailure(
      403,
      'Forbidden',
      `forbidden: User ${JSON.stringify(user.name)} cannot ${method.toLowerCase()} path ${JSON.stringify(path)}`,
      {},
    );
  const what = about.subresource === '' ? about.resource : `${about.resource}/${about.subresource}`;
  const where = about.namespace === '' ? 'at the cluster scope' : `in the namespace "${about.namespace}"`;
  const qualified = about.group === '' ? about.resource : `${about.resource}.${about.group}`;
  const subject = about.name === '' ? qualified : `${qualified} "${about.name}"`;
  return new ApiFailure(
    403,
    'Forbidden',
    `${subject} is forbidden: User "${user.name}" cannot ${about.verb} resource "${what}" in API group "${about.group}" ${where}`,
    {
      ...(about.name === '' ? {} : { name: about.name }),
      ...(about.group === '' ? {} : { group: about.group }),
      kind: about.resource,
    },
  );
}
