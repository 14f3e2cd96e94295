/** delete and deletecollection. */
import { apiVersionOf } from '../../api/kinds.ts';
import { isObject } from '../../lib/json.ts';
import type { Answer, Call, Deps } from '../deps.ts';
import { ApiFailure, badRequest, notFound } from '../failure.ts';
import { includeObjectOf, oneIn } from '../form.ts';
import { formOf } from '../negotiate.ts';
import { objectOf } from '../objects.ts';
import { type DeleteOptions, deleteObject } from '../removal.ts';
import { selectionOf } from '../selection.ts';
import { parseBody } from '../body.ts';
import { readPage } from './read.ts';
import { isDryRun, targetOf } from './write.ts';

interface Asked {
  readonly options: DeleteOptions;
  readonly dryRun: boolean;
}

const POLICIES = ['Orphan', 'Background', 'Foreground'];

/** From the body, else from the query. @throws ApiFailure 400, 422 */
function optionsOf({ body, contentType, query }: Call): Asked {
  const given = body.trim() === '' ? {} : parseBody(body, contentType);
  if (!isObject(given)) throw badRequest('the body of a deletion is a DeleteOptions object');
  const inQuery = query.get('gracePeriodSeconds');
  const gracePeriodSeconds = given['gracePeriodSeconds'] ?? (inQuery === null ? undefined : Number(inQuery));
  if (
    gracePeriodSeconds !== undefined &&
    gracePeriodSeconds !== null &&
    !Number.isSafeInteger(gracePeriodSeconds)
  )
    throw badRequest(`gracePeriodSeconds: expected seconds, got ${JSON.stringify(gracePeriodSeconds)}`);
  const propagationPolicy = (given['propagationPolicy'] ?? query.get('propagationPolicy') ?? undefined) as
    | string
    | undefined;
  if (propagationPolicy !== undefined && !POLICIES.includes(propagationPolicy))
    throw new ApiFailure(
      422,
      'Invalid',
      `DeleteOptions.meta.k8s.io "" is invalid: propagationPolicy: Unsupported value: ${JSON.stringify(propagationPolicy)}: supported values: "Foreground", "Background", "Orphan", "nil"`,
    );
  const { preconditions, orphanDependents, dryRun } = given as {
    preconditions?: DeleteOptions['preconditions'];
    orphanDependents?: boolean;
    dryRun?: string[];
  };
  return {
    dryRun: isDryRun([...(dryRun ?? []), ...query.getAll('dryRun')]),
    options: {
      ...(gracePeriodSeconds === undefined || gracePeriodSeconds === null
        ? {}
        : { gracePeriodSeconds: gracePeriodSeconds as number }),
      ...(propagationPolicy === undefined ? {} : { propagationPolicy }),
      ...(orphanDependents === undefined ? {} : { orphanDependents }),
      ...(preconditions ? { preconditions } : {}),
    },
  };
}

export async function remove(deps: Deps, call: Call): Promise<Answer> {
  const { resource, info } = call;
  const form = formOf(call.accept);
  const { options, dryRun } = optionsOf(call);
  const target = { ...targetOf(call), dryRun };
  const { text, object, gone } = await deleteObject(deps, target, info.name, options);
  if (!gone)
    return {
      code: 200,
      body: oneIn(form, resource, text, { include: includeObjectOf(call.query), now: deps.clock.now() }),
    };
  const { group, resource: kind } = resource.kind;
  return {
    code: 200,
    body: {
      kind: 'Status',
      apiVersion: 'v1',
      metadata: {},
      status: 'Success',
      details: {
        name: object.metadata.name,
        ...(group === '' ? {} : { group }),
        kind,
        uid: object.metadata.uid,
      },
    },
  };
}

export async function removeCollection(deps: Deps, call: Call): Promise<Answer> {
  const { resource, info, query } = call;
  const { options, dryRun } = optionsOf(call);
  const { items, metadata } = readPage(deps.store, selectionOf(resource, info, query), query);
  const texts = await Promise.all(
    items.map(async (entry) => {
      const { name, namespace = '' } = objectOf(entry).metadata;
      try {
        return (await deleteObject(deps, { ...targetOf(call), namespace, dryRun }, name, options)).text;
      } catch (error) {
        // Somebody else was faster.
        if (error instanceof ApiFailure && error.code === notFound(resource.kind, name).code)
          return undefined;
        throw error;
      }
    }),
  );
  const head = JSON.stringify({ kind: resource.listKind, apiVersion: apiVersionOf(resource.kind), metadata });
  const removed = texts.filter((text) => text !== undefined);
  return { code: 200, body: `${head.slice(0, -1)},"items":[${removed.join(',')}]}` };
}
