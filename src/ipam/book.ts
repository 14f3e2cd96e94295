/** Whether a file is an address book: what is half of one is none. */
import { tryParseCidr } from '../lib/ip.ts';
import { isObject } from '../lib/json.ts';

const isTexts = (value: unknown): boolean =>
  Array.isArray(value) && value.every((each) => typeof each === 'string');

const isList = (value: unknown, isOne: (one: Readonly<Record<string, unknown>>) => boolean): boolean =>
  Array.isArray(value) && value.every((each) => isObject(each) && isOne(each));

const isPool = (state: unknown): boolean =>
  isObject(state) &&
  Array.isArray(state['families']) &&
  Array.isArray(state['blocks']) &&
  state['blocks'].every((cidr) => typeof cidr === 'string' && tryParseCidr(cidr) !== undefined);

const isPools = (value: unknown): boolean =>
  Array.isArray(value) &&
  value.every((each) => Array.isArray(each) && typeof each[0] === 'string' && isPool(each[1]));

export const isBook = (value: unknown): boolean =>
  isObject(value) &&
  value['version'] === 1 &&
  isList(
    value['allocations'],
    ({ key, label, addresses, details = {} }) =>
      typeof key === 'string' && typeof label === 'string' && isTexts(addresses) && isObject(details),
  ) &&
  isList(
    value['cooling'],
    ({ address, since }) => typeof address === 'string' && typeof since === 'number',
  ) &&
  isList(
    value['kept'] ?? [],
    ({ address, label, until }) =>
      typeof address === 'string' && typeof label === 'string' && typeof until === 'number',
  ) &&
  isPools(value['pools'] ?? []);
