/** Bodies of type application/vnd.kubernetes.protobuf to the JSON they stand for. */
import { unsupportedMediaType, badRequest } from '../failure.ts';
import { type FieldSpec, messageSpec } from './messages.ts';
import { bytesOf, numberOf, readFields, textOf, WireError, type WireValue } from '../../lib/protobuf.ts';

export const PROTOBUF = 'application/vnd.kubernetes.protobuf';
const MAGIC = Buffer.from('k8s\0', 'latin1');
const MAX_DEPTH = 40;

type Fields = Record<string, unknown>;

/** A message or a field that the tables do not know. */
class Unread extends Error {}

/** @throws ApiFailure 400, 415 */
export function decodeProtobuf(body: Uint8Array): Fields {
  try {
    if (Buffer.compare(body.subarray(0, 4), MAGIC) !== 0) throw new WireError('it does not begin with k8s');
    const envelope = message('Unknown', body.subarray(4), 0);
    const { apiVersion = '', kind = '' } = (envelope['typeMeta'] ?? {}) as Record<string, string>;
    const raw = envelope['raw'] as Uint8Array | undefined;
    return { kind, apiVersion, ...message(kind, raw ?? new Uint8Array(), 0) };
  } catch (error) {
    if (error instanceof Unread)
      throw unsupportedMediaType(['application/json', 'application/yaml'], `: ${error.message}; send JSON`);
    if (error instanceof WireError)
      throw badRequest(`the body is no protobuf of Kubernetes: ${error.message}`);
    throw error;
  }
}

function message(name: string, bytes: Uint8Array, depth: number): Fields {
  const spec = messageSpec(name);
  if (!spec) throw new Unread(`protobuf is not read for ${name}`);
  if (depth > MAX_DEPTH) throw new WireError('it is nested too deeply');
  const result: Fields = {};
  for (const { number, value } of readFields(bytes)) {
    const field = spec.get(number);
    if (!field && isEmpty(value)) continue;
    if (!field) throw new Unread(`field ${number} of ${name} is not read from protobuf`);
    put(result, field, value, depth);
  }
  return result;
}

/** Go writes every field that is no pointer, also those that newer versions have added. */
const isEmpty = (value: WireValue) => value === 0n || (typeof value !== 'bigint' && value.length === 0);

function put(result: Fields, field: FieldSpec, value: WireValue, depth: number): void {
  const { name, type, list } = field;
  if (type.startsWith('~')) {
    Object.assign(result, message(type.slice(1), bytesOf(value), depth + 1));
    return;
  }
  if (type === 'm' || type === 'n' || type === 'u') {
    const [key, held] = mapEntry(type, value);
    const map = (result[name] ??= {}) as Fields;
    Object.defineProperty(map, key, { value: held, enumerable: true, writable: true, configurable: true });
    return;
  }
  const read = readValue(type, value, depth);
  if (list) ((result[name] ??= []) as unknown[]).push(read);
  else if (read !== undefined && !isLeftOut(type, read)) result[name] = read;
}

/** Messages that say something by being there. */
const KEPT = new Set(['ObjectMeta', 'EmptyDirVolumeSource', 'DownwardAPIVolumeSource', 'LabelSelector']);

/** Go writes empty fields that are no pointers; in JSON they are left out. */
const isLeftOut = (type: string, value: unknown) =>
  (type === 's' && value === '') ||
  (type === 'i' && value === 0) ||
  (type === 'b' && value === false) ||
  (!KEPT.has(type) && typeof value === 'object' && value !== null && Object.keys(value).length === 0);

function readValue(type: string, value: WireValue, depth: number): unknown {
  switch (type) {
    case 's':
    case 'S':
      return textOf(value);
    case 'i':
    case 'I':
      return numberOf(value);
    case 'b':
    case 'B':
      return numberOf(value) !== 0;
    case 'q':
      return message('Quantity', bytesOf(value), depth + 1)['text'];
    case 'y':
      return bytesOf(value);
    case 't': {
      const { seconds } = message('Time', bytesOf(value), depth + 1) as { seconds?: number };
      return seconds === undefined ? undefined : timeOf(seconds);
    }
    case 'x': {
      const { type: kind = 0, intVal = 0, strVal = '' } = message('IntOrString', bytesOf(value), depth + 1);
      return kind === 0 ? intVal : strVal;
    }
    default:
      return message(type, bytesOf(value), depth + 1);
  }
}

function timeOf(seconds: number): string {
  // The largest time that a Date holds.
  if (Math.abs(seconds) > 8.64e12) throw new WireError('a time is out of range');
  return new Date(seconds * 1000).toISOString().replace('.000Z', 'Z');
}

function mapEntry(type: 'm' | 'n' | 'u', value: WireValue): [key: string, value: unknown] {
  let key = '';
  let held: unknown = '';
  for (const field of readFields(bytesOf(value)))
    if (field.number === 1) key = textOf(field.value);
    else if (field.number === 2)
      held =
        type === 'n'
          ? Buffer.from(bytesOf(field.value)).toString('base64')
          : readValue(type === 'm' ? 's' : 'q', field.value, 0);
  return [key, held];
}
