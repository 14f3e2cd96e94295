/** Random objects of a kind, drawn from its field list: right in type, in nothing else. For tests. */
import fc from 'fast-check';
import { apiVersionOf, type Kind } from '../kinds.ts';
import { definitionOf, schemaOf } from '../schema/load.ts';
import type { Definition, FieldType } from '../schema/model.ts';

const text = fc.oneof(
  fc.constantFrom(
    '',
    'a',
    'web',
    'x.y',
    'TCP',
    'In',
    'Exists',
    '10.0.0.0/8',
    '10.1.2.3',
    'fd00::1',
    'Always',
    '50%',
    'None',
    'True',
    'toString',
    '__proto__',
  ),
  fc.string({ maxLength: 8 }),
);
const integer = fc.oneof(fc.constantFrom(0, 1, -1, 80, 65535, 65536), fc.integer());
const time = fc.constantFrom('2026-01-31T12:00:00Z', '2026-01-31T12:00:00.123456Z');

const SCALARS: Readonly<Record<string, fc.Arbitrary<unknown>>> = {
  s: text,
  i: integer,
  n: fc.oneof(integer, fc.constantFrom(0.5, -2.25, 1e6)),
  b: fc.boolean(),
  x: fc.oneof(text, integer),
  q: fc.constantFrom('100m', '1Gi', 2, 'x', '-1'),
  t: time,
  o: fc.constant({}),
};

/** `fill`: the chance, of 100, that a field is there. */
export function anyObject(kind: Kind, fill = 30): fc.Arbitrary<Record<string, unknown>> {
  const base = { apiVersion: apiVersionOf(kind), kind: kind.kind };
  const metadata = fc.record({
    name: text,
    namespace: text,
    labels: fc.dictionary(text, text, { maxKeys: 2 }),
  });
  return fc
    .tuple(fields(schemaOf(kind), 7, fill), metadata)
    .map(([drawn, own]) => ({ ...drawn, ...base, metadata: { ...(drawn['metadata'] as object), ...own } }))
    .map((value) => JSON.parse(JSON.stringify(value)) as Record<string, unknown>);
}

function fields(definition: Definition, depth: number, fill: number): fc.Arbitrary<Record<string, unknown>> {
  const entries = Object.entries(definition.p);
  const present = fc.array(fc.nat(99), { minLength: entries.length, maxLength: entries.length });
  return present.chain((dice) => {
    const chosen = entries.filter((_, i) => (dice[i] ?? 99) < fill);
    return fc.record(Object.fromEntries(chosen.map(([key, [type]]) => [key, value(type, depth - 1, fill)])));
  });
}

function value(type: FieldType, depth: number, fill: number): fc.Arbitrary<unknown> {
  if (typeof type === 'string') return SCALARS[type] ?? text;
  if ('e' in type) return fc.oneof(fc.constantFrom(...type.e), text);
  if ('a' in type)
    return depth <= 0 ? fc.constant([]) : fc.array(value(type.a, depth - 1, fill), { maxLength: 2 });
  if ('m' in type) return fc.dictionary(text, value(type.m, depth - 1, fill), { maxKeys: 2 });
  const definition = definitionOf(type.r);
  return depth <= 0 || !definition ? fc.constant({}) : fields(definition, depth, fill);
}
