/** create, update, patch. */
import type { KubeObject } from '../../api/types.ts';
import { clone } from '../../lib/json.ts';
import { decodeObject, fieldValidationOf } from '../decode.ts';
import type { Answer, Call, Deps } from '../deps.ts';
import { ApiFailure, badRequest, methodNotAllowed } from '../failure.ts';
import { includeObjectOf, oneIn } from '../form.ts';
import { formOf } from '../negotiate.ts';
import { parseBody } from '../body.ts';
import { patcherOf } from '../patching.ts';
import { changeObject, createObject, type Target } from '../writes.ts';

/** @throws ApiFailure 400 */
export function targetOf({ resource, info, user, query, warn }: Call): Target {
  return { resource, namespace: info.namespace, user, dryRun: isDryRun(query.getAll('dryRun')), warn };
}

export function isDryRun(values: readonly string[]): boolean {
  const wrong = values.find((value) => value !== 'All' && value !== '');
  if (wrong !== undefined)
    throw badRequest(`dryRun: Unsupported value: ${JSON.stringify(wrong)}: supported values: "All"`);
  return values.includes('All');
}

/** Two tries after the first: a patch or an update without a revision only loses to others of its kind. */
const RETRIES = 20;

export async function create(deps: Deps, call: Call): Promise<Answer> {
  const { resource, info, query } = call;
  const form = formOf(call.accept);
  if (info.name !== '') throw methodNotAllowed();
  const decoding = { validation: fieldValidationOf(query), warn: call.warn };
  const object = decodeObject(resource.kind, parseBody(call.body, call.contentType), decoding);
  checkNamespace(call, object);
  const text = await createObject(deps, targetOf(call), object);
  const options = { include: includeObjectOf(query), now: deps.clock.now() };
  return { code: 201, body: oneIn(form, resource, text, options) };
}

/** @throws ApiFailure 400 */
function checkNamespace({ resource, info }: Call, { metadata }: KubeObject): void {
  if (!resource.kind.namespaced) return;
  if (info.namespace === '')
    throw badRequest(`an object of kind ${resource.kind.kind} is made in a namespace: the path names none`);
  if (metadata.namespace && metadata.namespace !== info.namespace)
    throw badRequest(
      `the namespace of the provided object does not match the namespace sent on the request (object: ${JSON.stringify(metadata.namespace)}, request: ${JSON.stringify(info.namespace)})`,
    );
}

/** @throws ApiFailure 400 */
function checkName({ info }: Call, { metadata }: KubeObject): void {
  if (metadata.name && metadata.name !== info.name)
    throw badRequest(
      `the name of the object (${metadata.name}) does not match the name on the URL (${info.name})`,
    );
}

export async function update(deps: Deps, call: Call): Promise<Answer> {
  const { resource, info, query } = call;
  const form = formOf(call.accept);
  const decoding = { validation: fieldValidationOf(query), warn: call.warn };
  const object = decodeObject(resource.kind, parseBody(call.body, call.contentType), decoding);
  checkName(call, object);
  checkNamespace(call, object);
  const wanted = { ...object, metadata: { ...object.metadata, name: info.name } };
  const text = await changeObject(deps, targetOf(call), {
    name: info.name,
    subresource: info.subresource,
    retries: object.metadata.resourceVersion ? 0 : RETRIES,
    apply: () => wanted,
  });
  return {
    code: 200,
    body: oneIn(form, resource, text, { include: includeObjectOf(query), now: deps.clock.now() }),
  };
}

export async function patch(deps: Deps, call: Call): Promise<Answer> {
  const { resource, info, query } = call;
  const form = formOf(call.accept);
  const decoding = { validation: fieldValidationOf(query), warn: call.warn };
  const apply = patcherOf(resource.kind, call.contentType, call.body);
  const text = await changeObject(deps, targetOf(call), {
    name: info.name,
    subresource: info.subresource,
    retries: RETRIES,
    apply(before) {
      const patched = decodeObject(resource.kind, apply(clone(before)), decoding);
      if (patched.metadata.name !== info.name)
        throw new ApiFailure(400, 'BadRequest', 'the name of the object may not be changed by a patch');
      // A patch that names a revision must meet it; one that does not is applied to whatever there is.
      const named = patched.metadata.resourceVersion;
      return named === before.metadata.resourceVersion
        ? { ...patched, metadata: { ...patched.metadata, resourceVersion: undefined } }
        : patched;
    },
  });
  return {
    code: 200,
    body: oneIn(form, resource, text, { include: includeObjectOf(query), now: deps.clock.now() }),
  };
}
