/** get and list. */
import { apiVersionOf } from '../../api/kinds.ts';
import type { KubeObject } from '../../api/types.ts';
import { CompactedError, type Entry, type ListResult, type Store } from '../../store/types.ts';
import type { Answer, Call, Deps } from '../deps.ts';
import { badRequest, expired, futureRevision, notFound } from '../failure.ts';
import { includeObjectOf, type ListMeta, oneIn, partialOf, tableOf } from '../form.ts';
import { type Form, formOf } from '../negotiate.ts';
import { keyOf, objectOf } from '../objects.ts';
import { type Selection, selectionOf } from '../selection.ts';

export function get(deps: Deps, call: Call): Answer {
  const { resource, info, query, accept } = call;
  const form = formOf(accept);
  const entry = deps.store.get(keyOf(resource.kind, info.namespace, info.name));
  if (!entry) throw notFound(resource.kind, info.name);
  const options = { include: includeObjectOf(query), now: deps.clock.now() };
  return { code: 200, body: oneIn(form, resource, entry.value, options) };
}

export function list(deps: Deps, call: Call): Answer {
  const { resource, info, query } = call;
  const form = formOf(call.accept);
  const selection = selectionOf(resource, info, query);
  const { items, metadata } = readPage(deps.store, selection, query);
  return { code: 200, body: render(form, call, { items, metadata, now: deps.clock.now() }) };
}

interface Page {
  readonly items: readonly Entry[];
  readonly metadata: ListMeta;
}

interface Token {
  readonly rv: number;
  readonly after: string;
}

const encodeToken = (token: Token) => Buffer.from(JSON.stringify(token)).toString('base64url');

function decodeToken(text: string, prefix: string): Token {
  try {
    const { rv, after } = JSON.parse(Buffer.from(text, 'base64url').toString('utf8')) as Partial<Token>;
    if (Number.isSafeInteger(rv) && typeof after === 'string' && after.startsWith(prefix))
      return { rv: rv!, after };
  } catch {
    // Falls through to the one message.
  }
  throw badRequest('continue key is not valid: it is not of this server, or of another list');
}

/** A `resourceVersion` of a query. @throws ApiFailure 400 */
export function revisionOf(query: URLSearchParams): number | undefined {
  const text = query.get('resourceVersion');
  if (text === null || text === '') return undefined;
  if (!/^\d{1,15}$/.test(text))
    throw badRequest(
      `resourceVersion: Invalid value: ${JSON.stringify(text)}: must be a number that this server gave`,
    );
  return Number(text);
}

/** @throws ApiFailure 400, 410, 504 */
export function readPage(store: Store, selection: Selection, query: URLSearchParams): Page {
  const limitText = query.get('limit') ?? '';
  const limit = /^[1-9]\d*$/.test(limitText) ? Number(limitText) : undefined;
  const token = query.get('continue') || undefined;
  const from = token === undefined ? undefined : decodeToken(token, selection.prefix);
  const at = from?.rv ?? exactRevision(store, query, limit);
  let result: ListResult;
  try {
    result = readAll(store, selection.prefix, { at, after: from?.after });
  } catch (error) {
    if (!(error instanceof CompactedError)) throw error;
    throw expired(
      from
        ? 'The provided continue parameter is too old to display a consistent list result. You must start a new list without the continue parameter.'
        : 'The resourceVersion for the provided list is too old.',
    );
  }
  const { matches } = selection;
  const matching = matches ? result.items.filter((entry) => matches(objectOf(entry))) : result.items;
  const items = limit === undefined ? matching : matching.slice(0, limit);
  const remaining = matching.length - items.length;
  const metadata: ListMeta = {
    resourceVersion: String(result.revision),
    ...(remaining > 0
      ? {
          continue: encodeToken({ rv: result.revision, after: items.at(-1)!.key }),
          // With a selector Kubernetes does not count.
          ...(matches ? {} : { remainingItemCount: remaining }),
        }
      : {}),
  };
  return { items, metadata };
}

/** A prefix that is one whole key selects that key alone. */
function readAll(
  store: Store,
  prefix: string,
  { at, after }: { at?: number | undefined; after?: string | undefined },
): ListResult {
  const result = store.list(prefix, {
    ...(at === undefined ? {} : { revision: at }),
    ...(after === undefined ? {} : { after }),
  });
  return prefix.endsWith('/')
    ? result
    : { ...result, items: result.items.filter(({ key }) => key === prefix) };
}

/** The revision that must be shown exactly; undefined for the newest. @throws ApiFailure 400, 504 */
function exactRevision(store: Store, query: URLSearchParams, limit: number | undefined): number | undefined {
  const match = query.get('resourceVersionMatch') ?? '';
  const revision = revisionOf(query);
  if (match !== '' && match !== 'Exact' && match !== 'NotOlderThan')
    throw badRequest(
      `resourceVersionMatch: Unsupported value: ${JSON.stringify(match)}: supported values: "Exact", "NotOlderThan"`,
    );
  if (match !== '' && revision === undefined)
    throw badRequest('resourceVersionMatch is forbidden unless resourceVersion is provided');
  if (match === 'Exact' && revision === 0)
    throw badRequest('resourceVersionMatch "Exact" is forbidden for resourceVersion "0"');
  if (revision === undefined || revision === 0) return undefined;
  if (revision > store.revision()) throw futureRevision(revision, store.revision());
  return match === 'Exact' || (match === '' && limit !== undefined) ? revision : undefined;
}

function render(form: Form, { resource, query }: Call, page: Page & { now: number }): string {
  const { items, metadata, now } = page;
  const objects = (): KubeObject[] => items.map(objectOf);
  if (form.as === 'Table')
    return JSON.stringify(
      tableOf(resource, objects(), { version: form.version, metadata, include: includeObjectOf(query), now }),
    );
  if (form.as === 'PartialObjectMetadata')
    return JSON.stringify({
      kind: 'PartialObjectMetadataList',
      apiVersion: 'meta.k8s.io/v1',
      metadata,
      items: objects().map((object) => partialOf(object)),
    });
  const head = JSON.stringify({ kind: resource.listKind, apiVersion: apiVersionOf(resource.kind), metadata });
  // The stored texts are joined as they are: making them anew would take three times as long.
  return `${head.slice(0, -1)},"items":[${items.map(({ value }) => value).join(',')}]}`;
}
