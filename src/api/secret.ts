import { ageColumn, integer, nameColumn, text } from './columns.ts';
import { DATA_LIMIT } from './config-map.ts';
import { define } from './define.ts';
import { forbidden, formatted, immutable, invalid, type Problems, required, tooLong } from './field-error.ts';
import { configKey, dns1123Subdomain } from './formats.ts';
import { SECRET } from './kinds.ts';
import type { Secret } from './types.ts';

/** The keys that a type of secret must have. */
const REQUIRED_KEYS: ReadonlyMap<string, readonly string[]> = new Map(
  Object.entries({
    'kubernetes.io/tls': ['tls.crt', 'tls.key'],
    'kubernetes.io/ssh-auth': ['ssh-privatekey'],
    'kubernetes.io/dockercfg': ['.dockercfg'],
    'kubernetes.io/dockerconfigjson': ['.dockerconfigjson'],
  }),
);
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

function* validate(secret: Secret): Problems {
  let size = 0;
  for (const [key, value] of Object.entries(secret.data ?? {})) {
    yield* formatted(`data[${key}]`, key, configKey);
    if (!BASE64.test(value.replace(/[\r\n]/g, '')))
      yield invalid(
        `data[${key}]`,
        '<redacted>',
        'must be base64 (RFC 4648); put plain text into stringData',
      );
    size += Buffer.byteLength(value, 'base64');
  }
  if (size > DATA_LIMIT) yield tooLong('data', DATA_LIMIT);
  const has = secret.data ?? {};
  for (const key of REQUIRED_KEYS.get(secret.type ?? '') ?? [])
    if (!Object.hasOwn(has, key)) yield required(`data[${key}]`);
  if (secret.type === 'kubernetes.io/basic-auth' && !('username' in has) && !('password' in has)) {
    yield required('data[username]');
    yield required('data[password]');
  }
}

export const secret = define<Secret>({
  kind: SECRET,
  singular: 'secret',
  name: dns1123Subdomain,
  columns: [
    nameColumn,
    text('Type', 'What the secret is for.', (s) => s.type ?? 'Opaque'),
    integer('Data', 'Number of keys.', (s) => Object.keys(s.data ?? {}).length),
    ageColumn,
  ],
  setDefaults(s) {
    s.type ||= 'Opaque';
    if (s.stringData) {
      // stringData is for writing only: Kubernetes folds it into data and never shows it.
      const encoded = Object.entries(s.stringData).map(([key, value]) => [
        key,
        Buffer.from(value).toString('base64'),
      ]);
      s.data = { ...s.data, ...(Object.fromEntries(encoded) as Record<string, string>) };
      delete s.stringData;
    }
  },
  validate,
  *validateUpdate(now, before) {
    yield* immutable('type', now.type, before.type);
    if (!before.immutable) return;
    const words = 'field is immutable when `immutable` is set';
    if (!now.immutable) yield forbidden('immutable', words);
    // The values themselves stay out of the message.
    if ([...immutable('data', now.data, before.data)].length > 0) yield forbidden('data', words);
  },
  selectable: { type: (s) => s.type ?? '' },
});
