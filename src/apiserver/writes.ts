/** Creating and changing objects: prepare, admit, validate, allocate, write. */
import { ephemeralProblems } from '../api/ephemeral-containers.ts';
import { type Kind, POD, SERVICE } from '../api/kinds.ts';
import type { Resource } from '../api/resource.ts';
import type { KubeObject, Pod, Service } from '../api/types.ts';
import { sameJson } from '../lib/json.ts';
import { ConflictError, type Entry } from '../store/types.ts';
import { admit } from './admission/chain.ts';
import { inheritAllocations } from './inherit-allocations.ts';
import type { User } from './authenticate.ts';
import type { Deps } from './deps.ts';
import { alreadyExists, conflict, internalError, invalid, notFound } from './failure.ts';
import { keyOf, objectOf, textAt } from './objects.ts';
import { generateName, isReleased, prepareCreate, prepareUpdate } from './strategy.ts';

type WriteDeps = Pick<Deps, 'store' | 'addresses' | 'clock'>;

export interface Target {
  readonly resource: Resource;
  readonly namespace: string;
  readonly user: User;
  readonly dryRun: boolean;
  /** For the response's Warning headers. */
  warn(text: string): void;
}

const podProblems = (kind: Kind, next: KubeObject, before: KubeObject | undefined, subresource: string) =>
  kind === POD
    ? ephemeralProblems(next as unknown as Pod, before as unknown as Pod | undefined, subresource)
    : [];

/** Names are drawn again when taken; with 27^5 of them this ends soon or means something is wrong. */
const NAME_TRIES = 8;

/** The stored text. @throws ApiFailure */
export async function createObject(deps: WriteDeps, target: Target, given: KubeObject): Promise<string> {
  const generated = !given.metadata.name && given.metadata.generateName;
  for (let attempt = 1; ; attempt++)
    try {
      const name = generated ? generateName(generated) : given.metadata.name;
      return await createOnce(deps, target, { ...given, metadata: { ...given.metadata, name } });
    } catch (error) {
      if (!(error instanceof ConflictError)) throw error;
      if (!generated || attempt >= NAME_TRIES)
        throw alreadyExists(
          target.resource.kind,
          error.current ? objectOf(error.current).metadata.name : given.metadata.name,
        );
    }
}

async function createOnce(deps: WriteDeps, target: Target, given: KubeObject): Promise<string> {
  const { resource, namespace, user, dryRun } = target;
  const object = prepareCreate(resource, given, namespace, deps.clock.now());
  const { name } = object.metadata;
  admit(
    {
      operation: 'create',
      resource,
      namespace,
      name: name ?? '',
      subresource: '',
      user,
      object,
      before: undefined,
    },
    deps,
  );
  settle(deps, resource, object);
  const errors = [...resource.validate(object), ...podProblems(resource.kind, object, undefined, '')];
  if (errors.length > 0) throw invalid(resource.kind, name ?? '', errors);
  for (const text of resource.warnings(object)) target.warn(text);
  const key = keyOf(resource.kind, namespace, name);
  // Before an address is claimed for it; the write looks again.
  const existing = deps.store.get(key);
  if (existing) throw new ConflictError(key, existing);
  const release = claim(deps, resource, key, object);
  if (dryRun) {
    release();
    return JSON.stringify(object);
  }
  try {
    const { now } = await deps.store.write({ key, expect: 0, value: (revision) => textAt(object, revision) });
    return now!.value;
  } catch (error) {
    release();
    throw error;
  }
}

/** @throws ApiFailure 422 */
function settle({ addresses }: WriteDeps, { kind }: Resource, object: KubeObject, before?: KubeObject): void {
  if (kind !== SERVICE) return;
  const errors = addresses.settle(object as unknown as Service, before as unknown as Service);
  if (errors.length > 0) throw invalid(kind, object.metadata.name, errors);
}

function claim(
  { addresses }: WriteDeps,
  resource: Resource,
  key: string,
  object: KubeObject,
  before?: KubeObject,
): () => void {
  if (resource.kind !== SERVICE) return () => {};
  const { errors, release } = addresses.claim(
    key,
    object as unknown as Service,
    before as unknown as Service,
  );
  if (errors.length > 0) throw invalid(resource.kind, object.metadata.name, errors);
  return release;
}

export interface Change {
  readonly name: string;
  readonly subresource: string;
  /** From what is stored (not to be changed) to what is wanted. May be called again after a conflict. */
  apply(before: KubeObject): KubeObject;
  /** How often to try again when somebody else wrote in between; 0 when the client named a revision. */
  readonly retries: number;
}

/** The stored text. @throws ApiFailure */
export async function changeObject(deps: WriteDeps, target: Target, change: Change): Promise<string> {
  const { kind } = target.resource;
  const key = keyOf(kind, target.namespace, change.name);
  for (let attempt = 0; ; attempt++) {
    const entry = deps.store.get(key);
    if (!entry) throw notFound(kind, change.name);
    try {
      return await changeOnce(deps, target, change, entry);
    } catch (error) {
      if (!(error instanceof ConflictError)) throw error;
      if (attempt >= change.retries) throw conflict(kind, change.name);
    }
  }
}

async function changeOnce(deps: WriteDeps, target: Target, change: Change, entry: Entry): Promise<string> {
  const { resource, namespace, user, dryRun } = target;
  const { name, subresource } = change;
  const { kind } = resource;
  const before = objectOf(entry);
  const wanted = change.apply(before);
  checkRevision(resource, wanted, entry);
  const next = prepareUpdate(resource, wanted, before, subresource);
  if (kind === SERVICE && subresource === '')
    inheritAllocations(next as unknown as Service, before as unknown as Service);
  admit({ operation: 'update', resource, namespace, name, subresource, user, object: next, before }, deps);
  if (subresource === '') settle(deps, resource, next, before);
  const errors = [
    ...resource.validate(next),
    ...resource.validateUpdate(next, before),
    ...podProblems(kind, next, before, subresource),
  ];
  if (errors.length > 0) throw invalid(kind, name, dedupe(errors));
  if (subresource === '') for (const text of resource.warnings(next)) target.warn(text);
  const gone = isReleased(kind, next);
  // Nothing is given to what goes with this write.
  const release = gone || subresource !== '' ? () => {} : claim(deps, resource, entry.key, next, before);
  if (dryRun || (!gone && sameJson(next, before))) {
    release();
    return dryRun ? JSON.stringify(next) : entry.value;
  }
  try {
    const value = gone ? null : (revision: number) => textAt(next, revision);
    const written = await deps.store.write({ key: entry.key, expect: entry.revision, value });
    return written.now?.value ?? textAt(next, written.revision);
  } catch (error) {
    release();
    throw error;
  }
}

/** @throws ApiFailure 409 */
function checkRevision({ kind }: Resource, wanted: KubeObject, entry: Entry): void {
  const { resourceVersion, uid, name } = wanted.metadata;
  const stored = objectOf(entry).metadata.uid;
  if (uid && uid !== stored)
    throw conflict(
      kind,
      name,
      `StorageError: invalid object, Code: 4, Key: /registry/${entry.key}, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: ${uid}, UID in object meta: ${stored}`,
    );
  if (resourceVersion && resourceVersion !== '0' && resourceVersion !== String(entry.revision))
    throw conflict(kind, name);
}

function dedupe<T extends { field: string; message: string }>(errors: readonly T[]): T[] {
  return [...new Map(errors.map((error) => [`${error.field} ${error.message}`, error])).values()];
}

/** For writes of the server itself. @throws ApiFailure */
export function mustFind(registry: readonly Resource[], kindName: string): Resource {
  const found = registry.find(({ kind }) => kind.kind === kindName);
  if (!found) throw internalError(`the kind ${kindName} is not served`);
  return found;
}
