import { ageColumn, integer, nameColumn } from './columns.ts';
import { define } from './define.ts';
import { forbidden, formatted, immutable, invalid, type Problems, tooLong } from './field-error.ts';
import { configKey, dns1123Subdomain } from './formats.ts';
import { CONFIG_MAP } from './kinds.ts';
import type { ConfigMap } from './types.ts';

/** Of all values of a ConfigMap or a Secret, in bytes. */
export const DATA_LIMIT = 1024 * 1024;

function* validate(map: ConfigMap): Problems {
  let size = 0;
  for (const [key, value] of Object.entries(map.data ?? {})) {
    yield* formatted(`data[${key}]`, key, configKey);
    if (map.binaryData && Object.hasOwn(map.binaryData, key))
      yield invalid(`data[${key}]`, key, 'duplicate of key present in binaryData');
    size += Buffer.byteLength(value);
  }
  for (const [key, value] of Object.entries(map.binaryData ?? {})) {
    yield* formatted(`binaryData[${key}]`, key, configKey);
    size += Buffer.byteLength(value, 'base64');
  }
  if (size > DATA_LIMIT) yield tooLong('', DATA_LIMIT);
}

export const configMap = define<ConfigMap>({
  kind: CONFIG_MAP,
  singular: 'configmap',
  shortNames: ['cm'],
  name: dns1123Subdomain,
  columns: [
    nameColumn,
    integer(
      'Data',
      'Number of keys.',
      (map) => Object.keys(map.data ?? {}).length + Object.keys(map.binaryData ?? {}).length,
    ),
    ageColumn,
  ],
  validate,
  *validateUpdate(now, before) {
    if (!before.immutable) return;
    if (!now.immutable) yield forbidden('immutable', 'field is immutable when `immutable` is set');
    const words = 'field is immutable when `immutable` is set';
    yield* immutable('data', now.data, before.data, words);
    yield* immutable('binaryData', now.binaryData, before.binaryData, words);
  },
});
