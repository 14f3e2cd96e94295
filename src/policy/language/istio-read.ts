/** Parts that the languages of security.istio.io have in common. */
import type { WorkloadSelector } from '../../api/istio-types.ts';
import { readIpBlock, readPortText, readServiceAccount, ROOT_NAMESPACE } from '../../api/istio-words.ts';
import { isObject } from '../../lib/json.ts';
import type { Cidr } from '../../lib/ip.ts';
import type { Account, Scope } from '../mesh/model.ts';
import type { Report } from './read.ts';

/** A list and where it is written. */
type List = readonly [values: unknown, path: string];

export interface Lists {
  readonly values: List;
  readonly notValues: List;
}

export interface ReadTest<V> {
  readonly values: readonly V[];
  readonly notValues: readonly V[];
}

/**
 * None if there is nothing to test, or if values cannot be read: without them more would match than was written, with
 * those alone that can be read less.
 */
export function readTest<V>(lists: Lists, read: (text: string) => V | string, report: Report): ReadTest<V>[] {
  const values = readList(lists.values, read, report);
  const notValues = readList(lists.notValues, read, report);
  const isEmpty = values?.length === 0 && notValues?.length === 0;
  if (isEmpty || (!values && !notValues)) return [];
  return [{ values: values ?? [], notValues: notValues ?? [] }];
}

function readList<V>(
  [list, path]: List,
  read: (text: string) => V | string,
  report: Report,
): V[] | undefined {
  if (list === undefined || list === null) return [];
  if (!Array.isArray(list)) {
    report(path, 'is not a list');
    return undefined;
  }
  const found: V[] = [];
  for (const [i, text] of (list as unknown[]).entries()) {
    const value = typeof text === 'string' && text !== '' ? read(text) : 'is no text';
    if (typeof value === 'string') report(`${path}[${i}]`, `${JSON.stringify(text)} ${value}`);
    else found.push(value);
  }
  return found.length < list.length ? undefined : found;
}

export const readBlock = (text: string): Cidr | string =>
  readIpBlock(text) ?? 'is neither an address nor a range (expected 10.0.0.1 or 10.0.0.0/8)';

export const readMeshPort = (text: string): number | string =>
  readPortText(text) ?? 'is not a port from 0 to 65535';

export const accountReader =
  (namespace: string) =>
  (text: string): Account | string =>
    readServiceAccount(text, namespace) ?? 'is not a service account (expected name or namespace/name)';

/** In the root namespace it selects pods of every namespace. */
export function readScope(
  selector: WorkloadSelector | undefined,
  namespace: string,
  report: Report,
): Scope | undefined {
  const labels: unknown = selector?.matchLabels ?? {};
  if (!isObject(labels) || Object.values(labels).some((value) => typeof value !== 'string')) {
    report('spec.selector.matchLabels', 'are not labels and their values');
    return undefined;
  }
  return {
    namespace: namespace === ROOT_NAMESPACE ? null : namespace,
    labels: labels as Record<string, string>,
  };
}
