import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import fc from 'fast-check';
import { DEPLOYMENT, NETWORK_POLICY, POD } from '../kinds.ts';
import { registry } from '../registry.ts';
import { anyObject } from '../testing/arbitrary.ts';
import { pruneUnknown, siblingsOf, typeErrors, unknownFields } from './check.ts';
import { currentStamp, definitionName, generateSchemas, rootName } from './generate.ts';
import { definitionOf, loadSchemas, makeSchemas } from './load.ts';
import type { FieldType } from './model.ts';
import { openapiV3Document, openapiV3Index } from './openapi.ts';
import { allRules } from './patch-keys.ts';
import { readType, readTypeFile } from './read-types.ts';

const ref = (name: string): FieldType => ({ r: name });

test('the types of declaration files are read', () => {
  const cases: [string, FieldType][] = [
    ['string', 's'],
    ['number', 'i'],
    ['boolean', 'b'],
    ['number | string', 'x'],
    ['"A" | "B-c"', { e: ['A', 'B-c'] }],
    ['Array<string>', { a: 's' }],
    ['Array<IFoo | null>', { a: ref('IFoo') }],
    ['{\n        [key: string]: IBar;\n    }', { m: ref('IBar') }],
    ['{ [key: string]: Array<string> }', { m: { a: 's' } }],
    ['Array<Array<number>>', { a: { a: 'i' } }],
  ];
  for (const [source, expected] of cases) assert.deepEqual(readType(source, ref), expected, source);
  for (const source of ['', 'Array<', 'string | boolean', 'a b', '[string]'])
    assert.throws(() => readType(source, ref), source);
});

test('a declaration file gives its fields, their words and what must be there', () => {
  const source = [
    'import { IFoo } from "./Foo.js";',
    '/**',
    ' * Thing is a thing.',
    ' */',
    'export interface IThing extends TypeMeta {',
    '    /**',
    '     * First line.',
    '     *',
    '     *  - `"A"` is A; it is not "b"?: string;',
    '     */',
    '    "a"?: "A" | "B";',
    '    "foo": IFoo;',
    '    "map"?: {',
    '        [key: string]: string;',
    '    };',
    '}',
    'export declare class Thing {',
    '    "not": string;',
    '}',
  ].join('\n');
  const { imports, definition } = readTypeFile(source, ref);
  assert.equal(imports.get('IFoo'), './Foo.js');
  assert.deepEqual(definition, {
    d: 'Thing is a thing.',
    p: {
      a: [{ e: ['A', 'B'] }, 'First line.\n\n - `"A"` is A; it is not "b"?: string;'],
      foo: [ref('IFoo'), '', 1],
      map: [{ m: 's' }, ''],
    },
  });
});

test('no field of any declaration file is missed', () => {
  const folder = join(import.meta.dirname, '..', '..', '..', 'node_modules', 'kubernetes-models', 'v1');
  let files = 0;
  for (const file of readdirSync(folder).filter((name) => name.endsWith('.d.ts'))) {
    const name = definitionName('kubernetes-models', `v1/${file}`);
    const definition = definitionOf(name);
    if (!definition) continue;
    const source = readFileSync(join(folder, file), 'utf8').split('export declare class')[0] ?? '';
    const count = source.match(/^ {4}"[^"]+"\??:/gm)?.length ?? 0;
    assert.equal(Object.keys(definition.p).length, count, file);
    files++;
  }
  assert.ok(files > 100, `${files} files`);
});

test('names of definitions are those of the Kubernetes reference', () => {
  assert.equal(definitionName('kubernetes-models', 'v1/PodSpec.d.ts'), 'io.k8s.api.core.v1.PodSpec');
  assert.equal(
    definitionName('kubernetes-models', 'networking.k8s.io/v1/IPBlock'),
    'io.k8s.api.networking.v1.IPBlock',
  );
  assert.equal(
    definitionName('@kubernetes-models/apimachinery', 'apis/meta/v1/Time'),
    'io.k8s.apimachinery.pkg.apis.meta.v1.Time',
  );
  for (const { kind } of registry) assert.ok(definitionOf(rootName(kind)), kind.kind);
});

test('every reference leads to a definition', () => {
  const { definitions } = generateSchemas();
  const walk = (type: FieldType): void => {
    if (typeof type !== 'object' || 'e' in type) return;
    if ('r' in type) assert.ok(definitions[type.r], type.r);
    else walk('a' in type ? type.a : type.m);
  };
  for (const definition of Object.values(definitions))
    for (const [type] of Object.values(definition.p)) walk(type);
});

test('a file of other package versions is made anew', () => {
  const folder = mkdtempSync(join(tmpdir(), 'heddle-schemas-'));
  try {
    const file = join(folder, 'deep', 'schemas.json');
    assert.equal(makeSchemas(file).stamp, currentStamp());
    assert.equal((JSON.parse(readFileSync(file, 'utf8')) as { stamp: string }).stamp, currentStamp());
    assert.deepEqual(readdirSync(join(folder, 'deep')), ['schemas.json']);
    writeFileSync(join(folder, 'flat'), '');
    // Where nothing can be written, they are made all the same.
    assert.equal(makeSchemas(join(folder, 'flat', 'schemas.json')).stamp, currentStamp());
  } finally {
    rmSync(folder, { recursive: true });
  }
  assert.equal(loadSchemas().stamp, currentStamp());
});

test('rules for lists name lists that exist, and keys that their items have', () => {
  for (const [definition, field, rule] of allRules()) {
    const type = definitionOf(definition)?.p[field]?.[0];
    assert.ok(type, `${definition}.${field}`);
    if (!rule.key) continue;
    assert.ok(
      typeof type === 'object' && 'a' in type && typeof type.a === 'object' && 'r' in type.a,
      `${definition}.${field} is no list`,
    );
    for (const key of [rule.key, ...(rule.mapKeys ?? [])])
      assert.ok(definitionOf(type.a.r)?.p[key], `${definition}.${field}: ${key}`);
  }
});

const wrongPod = {
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'p', labels: { a: 1 }, creationTimestamp: 'yesterday' },
  specs: {},
  spec: {
    containers: [
      {
        name: 'a',
        imagee: 'x',
        ports: [{ containerPort: '80' }, 'x'],
        resources: { limits: { cpu: true } },
        args: 'no',
      },
    ],
    terminationGracePeriodSeconds: 1.5,
    hostNetwork: 'yes',
    nodeSelector: [],
  },
};

test('unknown fields are named by path', () => {
  assert.deepEqual(unknownFields(POD, wrongPod), ['specs', 'spec.containers[0].imagee']);
  assert.ok(siblingsOf(POD, 'spec.containers[0].imagee').includes('image'));
  assert.ok(siblingsOf(DEPLOYMENT, 'spec.template.spec.foo').includes('containers'));
  assert.deepEqual(siblingsOf(POD, 'metadata.labels.a.b'), []);
});

test('values of another type are named with what was expected', () => {
  assert.deepEqual(
    typeErrors(POD, wrongPod).map((p) => `${p.field}: ${p.message}`),
    [
      'metadata.labels[a]: expected string, got number 1',
      'metadata.creationTimestamp: expected a time such as 2026-01-31T12:00:00Z, got string "yesterday"',
      'spec.containers[0].ports[0].containerPort: expected integer, got string "80"',
      'spec.containers[0].ports[1]: expected an object, got string "x"',
      'spec.containers[0].resources.limits[cpu]: expected a quantity such as 100m or 1Gi, got boolean true',
      'spec.containers[0].args: expected a list, got string "no"',
      'spec.terminationGracePeriodSeconds: expected integer, got number 1.5',
      'spec.hostNetwork: expected boolean, got string "yes"',
      'spec.nodeSelector: expected an object, got a list',
    ],
  );
  assert.deepEqual(typeErrors(POD, []), [{ field: '', message: 'expected an object, got a list' }]);
});

test('what is stored holds known fields, no nulls, and zero values for what must be there', () => {
  const drawn = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'p', labels: { a: null }, creationTimestamp: null },
    unknown: 1,
    spec: { containers: [{ image: 'i', env: [null], resources: { limits: { cpu: 2 } } }], nodeName: null },
  };
  assert.deepEqual(pruneUnknown(POD, drawn), {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'p', labels: { a: '' } },
    spec: { containers: [{ image: 'i', env: [{}], resources: { limits: { cpu: '2' } }, name: '' }] },
  });
});

test('names of the prototype are no fields', () => {
  assert.deepEqual(unknownFields(POD, JSON.parse('{"constructor":1,"toString":{},"__proto__":{}}')), [
    'constructor',
    'toString',
    '__proto__',
  ]);
});

test('pruning twice is pruning once, and leaves nothing unknown', () => {
  fc.assert(
    fc.property(anyObject(NETWORK_POLICY, 60), fc.jsonValue(), (object, more) => {
      const once = pruneUnknown(NETWORK_POLICY, {
        ...object,
        extra: more,
        spec: { ...(object['spec'] as object), extra: more },
      });
      assert.deepEqual(pruneUnknown(NETWORK_POLICY, once), once);
      assert.deepEqual(unknownFields(NETWORK_POLICY, once), []);
    }),
  );
});

test('any JSON can be checked', () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      unknownFields(DEPLOYMENT, value);
      typeErrors(DEPLOYMENT, { spec: value, metadata: value });
      pruneUnknown(DEPLOYMENT, { spec: value, metadata: value });
    }),
  );
});

interface Document {
  components: {
    schemas: Record<
      string,
      Record<string, unknown> & { properties?: Record<string, Record<string, unknown>> }
    >;
  };
  paths: Record<string, Record<string, Record<string, unknown>>>;
}
const documentOf = (path: string) => JSON.parse(openapiV3Document(path) ?? 'null') as Document;

test('OpenAPI: every group is in the index, and its document is closed under references', () => {
  const paths = Object.keys(openapiV3Index().paths);
  assert.deepEqual(paths.sort(), [
    'api/v1',
    'apis/apps/v1',
    'apis/cilium.io/v2',
    'apis/cilium.io/v2alpha1',
    'apis/coordination.k8s.io/v1',
    'apis/crd.projectcalico.org/v1',
    'apis/discovery.k8s.io/v1',
    'apis/heddle.dev/v1alpha1',
    'apis/networking.k8s.io/v1',
    'apis/policy.networking.k8s.io/v1alpha1',
    'apis/policy.networking.k8s.io/v1alpha2',
    'apis/projectcalico.org/v3',
    'apis/security.istio.io/v1',
  ]);
  for (const path of paths) {
    const text = openapiV3Document(path) ?? '';
    const { schemas } = documentOf(path).components;
    for (const [, name = ''] of text.matchAll(/"#\/components\/schemas\/([^"]+)"/g))
      assert.ok(schemas[name], `${path}: ${name}`);
  }
  assert.equal(openapiV3Document('apis/batch/v1'), undefined);
});

test('OpenAPI: kinds carry their names, lists their merge keys', () => {
  const { schemas } = documentOf('apis/apps/v1').components;
  assert.deepEqual(schemas['io.k8s.api.apps.v1.Deployment']?.['x-kubernetes-group-version-kind'], [
    { group: 'apps', version: 'v1', kind: 'Deployment' },
  ]);
  const containers = schemas['io.k8s.api.core.v1.PodSpec']?.properties?.['containers'];
  assert.equal(containers?.['x-kubernetes-patch-merge-key'], 'name');
  assert.equal(containers?.['x-kubernetes-patch-strategy'], 'merge');
  assert.deepEqual(containers?.['x-kubernetes-list-map-keys'], ['name']);
});

test('OpenAPI: patches take fieldValidation and dryRun, which kubectl looks for', () => {
  const { paths } = documentOf('api/v1');
  const patch = paths['/api/v1/namespaces/{namespace}/pods/{name}']?.['patch'];
  assert.deepEqual(patch?.['x-kubernetes-group-version-kind'], { group: '', kind: 'Pod', version: 'v1' });
  assert.equal(patch?.['x-kubernetes-action'], 'patch');
  const names = ((patch?.['parameters'] ?? []) as { name: string }[]).map((p) => p.name);
  for (const name of ['fieldValidation', 'dryRun', 'fieldManager']) assert.ok(names.includes(name), name);
  assert.ok(paths['/api/v1/nodes/{name}/status']);
  assert.ok(!paths['/api/v1/namespaces/{namespace}/configmaps/{name}/status']);
});
