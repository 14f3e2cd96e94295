/** Edits of policies, and worlds with them made. */
import { clone, isObject, setOwn } from '../../lib/json.ts';
import type { PolicyRef } from '../decision.ts';
import type { MeshObject } from '../mesh/objects.ts';
import { kindOf, namespaceOf, type PolicyObject } from '../objects.ts';
import type { World } from '../world.ts';

export interface Edit {
  readonly policy: PolicyRef;
  /**
   * `create`: `value` is a new object, and `path` empty. `append`: `value` goes to the end of the list at `path`.
   * `insert`: it goes into a list, before the item at `path`. `replace`: its items stand for the item at `path`.
   * `set`: it becomes the field at `path`.
   */
  readonly op: 'create' | 'append' | 'insert' | 'replace' | 'set';
  /** `spec.ingress[0].ports` */
  readonly path: string;
  readonly value: unknown;
}

/** An edit to try. */
export interface Candidate {
  readonly edit: Edit;
  /** It speaks of connections where a request was asked about: every request on them passes. */
  readonly whole?: true;
}

type AnyObject = PolicyObject | MeshObject;

const isMeshKind = (kind: string): boolean => kind === 'AuthorizationPolicy' || kind === 'PeerAuthentication';

const refOf = (object: AnyObject): PolicyRef => {
  const { kind, metadata } = object;
  if (isMeshKind(kind)) return { kind, namespace: metadata.namespace ?? 'default', name: metadata.name };
  const policy = object as PolicyObject;
  return { kind: kindOf(policy), namespace: namespaceOf(policy), name: metadata.name };
};

export const creating = (value: AnyObject): Edit => ({ policy: refOf(value), op: 'create', path: '', value });

export function objectOf({ policies, mesh = [] }: World, ref: PolicyRef): AnyObject | undefined {
  const list: readonly AnyObject[] = isMeshKind(ref.kind) ? mesh : policies;
  return list.findLast((each) => isSame(refOf(each), ref));
}

const isSame = (a: PolicyRef, b: PolicyRef): boolean =>
  a.kind === b.kind && a.namespace === b.namespace && a.name === b.name;

/** The world with it made; the very same world if it has no such object, or no such item. */
export function applyEdit(world: World, edit: Edit): World {
  const { policy, op } = edit;
  const key = isMeshKind(policy.kind) ? 'mesh' : 'policies';
  const list: readonly AnyObject[] = world[key] ?? [];
  if (op === 'create') return { ...world, [key]: [...list, edit.value as AnyObject] };
  const at = list.findLastIndex((each) => isSame(refOf(each), policy));
  const old = list[at];
  if (!old) return world;
  const fresh = clone(old);
  return make(fresh, edit) ? { ...world, [key]: list.with(at, fresh) } : world;
}

function make(object: object, { op, path, value }: Edit): boolean {
  const keys = path.split(/[.[\]]+/).filter((key) => key !== '');
  const last = keys.pop();
  if (last === undefined) return false;
  let holder: unknown = object;
  for (const key of keys) {
    if (isObject(holder) && (holder[key] === undefined || holder[key] === null)) setOwn(holder, key, {});
    holder = memberOf(holder, key);
  }
  if (Array.isArray(holder)) {
    const index = Number(last);
    if (op === 'insert') holder.splice(index, 0, value);
    else if (op === 'replace') holder.splice(index, 1, ...(value as unknown[]));
    return op === 'insert' || op === 'replace';
  }
  if (!isObject(holder)) return false;
  if (op === 'set') setOwn(holder, last, value);
  else if (op === 'append') setOwn(holder, last, [...((holder[last] as unknown[] | undefined) ?? []), value]);
  return op === 'set' || op === 'append';
}

function memberOf(holder: unknown, key: string): unknown {
  if (Array.isArray(holder)) return holder[Number(key)];
  return isObject(holder) && Object.hasOwn(holder, key) ? holder[key] : undefined;
}

/** One that no object of its kind has: `base`, `base-2`, … */
export function freeName(world: World, of: Omit<PolicyRef, 'name'>, base: string): string {
  let name = base;
  for (let i = 2; objectOf(world, { ...of, name }); i++) name = `${base}-${i}`;
  return name;
}
