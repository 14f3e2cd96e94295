/** Patches by media type. */
import type { Kind } from '../api/kinds.ts';
import { jsonPatch } from '../api/patch/json-patch.ts';
import { mergePatch } from '../api/patch/merge-patch.ts';
import { PatchError } from '../api/patch/patch-error.ts';
import { strategicMerge } from '../api/patch/strategic-merge.ts';
import type { KubeObject } from '../api/types.ts';
import type { Json } from '../lib/json.ts';
import { parseJson } from './body.ts';
import { ApiFailure, badRequest, unsupportedMediaType } from './failure.ts';

const TYPES = [
  'application/json-patch+json',
  'application/merge-patch+json',
  'application/strategic-merge-patch+json',
] as const;
const APPLY_TYPES = ['application/apply-patch+yaml', 'application/apply-patch+cbor'];
/** Operations of one JSON patch; as Kubernetes. */
const MAX_OPERATIONS = 10_000;

/** The result throws ApiFailure 422 when the patch does not fit. @throws ApiFailure 400, 413, 415 */
export function patcherOf(kind: Kind, contentType: string, body: string): (object: KubeObject) => unknown {
  if (APPLY_TYPES.includes(contentType))
    throw unsupportedMediaType(
      TYPES,
      ': server-side apply is not served; apply without --server-side, or send a merge patch',
    );
  if (!(TYPES as readonly string[]).includes(contentType)) throw unsupportedMediaType(TYPES);
  const patch = parseJson(body) as Json;
  const json = contentType === TYPES[0];
  if (json && !Array.isArray(patch)) throw badRequest('a JSON patch is a list of operations');
  if (!json && (typeof patch !== 'object' || patch === null || Array.isArray(patch)))
    throw badRequest('a merge patch of an object is an object');
  if (Array.isArray(patch) && patch.length > MAX_OPERATIONS)
    throw new ApiFailure(
      413,
      'RequestEntityTooLarge',
      `The allowed maximum operations in a JSON patch is ${MAX_OPERATIONS}, got ${patch.length}`,
    );
  return (object) => {
    try {
      if (json) return jsonPatch(object as unknown as Json, patch);
      if (contentType === TYPES[1]) return mergePatch(object as unknown as Json, patch);
      return strategicMerge(kind, object, patch);
    } catch (error) {
      if (!(error instanceof PatchError)) throw error;
      if (error.why === 'malformed') throw badRequest(error.message);
      throw new ApiFailure(
        422,
        'Invalid',
        `the server rejected our request due to an error in our request: ${error.message}`,
      );
    }
  };
}
