import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import fc from 'fast-check';
import { HeddleError } from '../../lib/errors.ts';
import { loadManifests, problemText, readManifests } from '../manifest.ts';
import { checkManifests } from './check.ts';
import { decodeText } from './files.ts';
import { nearest } from './nearest.ts';
import { parseManifests } from './parse.ts';

const read = (text: string) => {
  const { objects, problems } = parseManifests({ file: 'm.yaml', text });
  return { objects, problems: [...problems, ...checkManifests(objects)].map(problemText) };
};
const config = (name: string, more = '') =>
  `apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: ${name}\n${more}`;

test('documents, lists and comments give their objects with their lines', () => {
  const text = `# head\n---\n${config('a')}---\n# nothing\n---\n---\napiVersion: v1\nkind: List\nitems:\n- ${config('b').replaceAll('\n', '\n  ')}\n- {apiVersion: v1, kind: ConfigMap, metadata: {name: c}}\n`;
  const { objects, problems } = read(text);
  assert.deepEqual(problems, []);
  assert.deepEqual(
    objects.map((o) => [o.object.metadata.name, o.line]),
    [
      ['a', 3],
      ['b', 14],
      ['c', 19],
    ],
  );
});

test('a field knows its line, through lists, maps and anchors', () => {
  const [entry] = read(
    'apiVersion: v1\nkind: Service\nmetadata:\n  name: web\n  labels: &l\n    app.kubernetes.io/name: web\nspec:\n  selector: *l\n  ports:\n  - port: 80\n  - name: b\n    port: 81\n',
  ).objects;
  const lines = [
    'metadata.labels[app.kubernetes.io/name]',
    'spec.ports[1].port',
    'spec.ports[9]',
    'spec.selector',
    'spec.nothing',
    '',
  ];
  assert.deepEqual(
    lines.map((path) => entry?.lineOf(path)),
    [6, 12, 9, 8, 7, 1],
  );
});

test('YAML is read as kubectl reads it', () => {
  const [entry] = read(
    config(
      'a',
      'data: {yes: yes, mode: 0644, time: 22:22, date: 2026-01-31, big: 1_000, no: "no", f: 1.10}\n',
    ),
  ).objects;
  assert.deepEqual(entry?.object['data'], {
    true: true,
    mode: 420,
    time: '22:22',
    date: '2026-01-31',
    big: 1000,
    false: 'no',
    f: 1.1,
  });
});

test('merge keys and anchors are resolved, without shared objects', () => {
  const [entry] = read(config('a', 'data: &d {x: "1"}\nbinaryData: {<<: *d, z: AA==}\n')).objects;
  assert.deepEqual(entry?.object['binaryData'], { x: '1', z: 'AA==' });
});

const broken: [string, string, RegExp][] = [
  ['broken YAML', 'a: [1\nb: 2\n', /^m\.yaml:2:\d+: broken YAML/],
  ['a tab', 'a:\n\tb: 1\n', /^m\.yaml:2:\d+: broken YAML: a tab/],
  ['a key twice', 'a: 1\nb: 2\na: 3\n', /^m\.yaml:3:1: this key is here twice/],
  ['a text alone', 'hello\n', /^m\.yaml:1: expected an object/],
  ['a list alone', '- a\n', /^m\.yaml:1: expected an object/],
  ['no kind', 'apiVersion: v1\n', /^m\.yaml:1: kind missing/],
  ['no apiVersion nor kind', '\n\nmetadata: {}\n', /^m\.yaml:3: apiVersion and kind missing/],
  ['no name', 'apiVersion: v1\nkind: ConfigMap\n', /metadata\.name is missing/],
  [
    'a name to be made',
    'apiVersion: v1\nkind: ConfigMap\nmetadata:\n  generateName: a-\n',
    /generateName makes another object each time/,
  ],
  [
    'a misspelt field',
    config('a', 'dat:\n  a: b\n'),
    /^m\.yaml:5: ConfigMap default\/a: unknown field "dat"; did you mean "data"\?$/,
  ],
  [
    'a deep misspelt field',
    'apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\nspec:\n  template:\n    spec:\n      containers:\n      - name: a\n        imgae: x\n',
    /^m\.yaml:9: .*unknown field "spec\.template\.spec\.containers\[0\]\.imgae"; did you mean "image"\?/,
  ],
  [
    'a number for a text',
    config('a', 'data:\n  a: 1\n'),
    /^m\.yaml:6: .*data\[a\]: expected string, got number 1; put the value in quotes/,
  ],
  [
    'a wrong value',
    'apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec:\n  ports:\n  - port: 99999\n',
    /^m\.yaml:6: Service default\/s: spec\.ports\[0\]\.port: Invalid value: 99999/,
  ],
  [
    'an object twice',
    `${config('a')}---\n${config('a')}`,
    /^m\.yaml:6: ConfigMap default\/a: it is also at m\.yaml:1/,
  ],
  [
    'metadata that is no object',
    'apiVersion: v1\nkind: ConfigMap\nmetadata: x\n',
    /metadata must be an object/,
  ],
  ['a list of something else', 'apiVersion: v1\nkind: List\nitems: [1]\n', /items\[0\]: expected an object/],
];
for (const [name, text, expected] of broken)
  test(`refused with its place: ${name}`, () => {
    const { problems } = read(text);
    assert.ok(problems.length > 0, 'no problem found');
    assert.match(problems[0] ?? '', expected);
  });

test('a template gets a hint', () => {
  const { problems } = parseManifests({ file: 't.yaml', text: 'a: {{ .Values.x }}\n b: c\n' });
  assert.match(problems[0]?.hint ?? '', /helm template/);
});

test('anchors that multiply without bounds are refused, and deep nesting', () => {
  const bomb = `a: &a [1,2,3,4,5,6,7,8,9]\n${'bcdefghi'
    .split('')
    .map((c, i) => `${c}: &${c} [${Array(9).fill(`*${'abcdefghi'[i]}`).join(',')}]`)
    .join('\n')}\n`;
  assert.match(read(bomb).problems[0] ?? '', /uses of anchors/);
  assert.match(read('['.repeat(100_000)).problems[0] ?? '', /nested too deeply|broken YAML/);
});

test('any text is objects or problems', () => {
  const piece = fc.constantFrom(
    'apiVersion: v1\n',
    'kind: Pod\n',
    'metadata:\n',
    '  name: a\n',
    '---\n',
    '- ',
    '&a ',
    '*a',
    '<<: ',
    '{',
    '}',
    '[',
    ': ',
    '\t',
    '"',
    'spec:\n',
    '!!x ',
    '? ',
    '| \n',
    '\0',
  );
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.array(piece, { maxLength: 20 }).map((parts) => parts.join('')),
      ),
      (text) => {
        for (const problem of read(text).problems) assert.match(problem, /^m\.yaml/);
      },
    ),
    { numRuns: 500 },
  );
});

test('text: UTF-8 with or without mark, UTF-16, and what is neither', () => {
  assert.equal(decodeText(Buffer.from('\ufeffa: é')), 'a: é');
  assert.equal(decodeText(Buffer.concat([Buffer.from([0xff, 0xfe]), Buffer.from('a', 'utf16le')])), 'a');
  assert.deepEqual(decodeText(Buffer.from([0x61, 0x0a, 0xff])), {
    problem: 'the file is not UTF-8 text (the first byte that is not: on line 2)',
  });
});

test('the nearest word is found, a far one is not', () => {
  assert.equal(nearest('imgae', ['image', 'name']), 'image');
  assert.equal(nearest('replica', ['replicas', 'selector']), 'replicas');
  assert.equal(nearest('foo', ['image', 'name']), undefined);
  assert.equal(nearest('podSelecter', ['podSelector', 'policyTypes']), 'podSelector');
});

test('files: folders by name, not in depth unless asked, other files left alone', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'heddle-manifest-'));
  try {
    mkdirSync(join(folder, 'more'));
    writeFileSync(join(folder, 'b.yml'), config('b'));
    writeFileSync(join(folder, 'a.yaml'), config('a'));
    writeFileSync(
      join(folder, 'c.json'),
      '{\n\t"apiVersion": "v1",\n\t"kind": "ConfigMap",\n\t"metadata": {"name": "c"}\n}',
    );
    writeFileSync(join(folder, 'README.md'), '# no manifest');
    writeFileSync(join(folder, 'more', 'd.yaml'), config('d'));
    writeFileSync(join(folder, 'empty.yaml'), '');
    const names = async (recursive: boolean) =>
      (await loadManifests([folder], { recursive })).map((o) => o.object.metadata.name);
    assert.deepEqual(await names(false), ['a', 'b', 'c']);
    assert.deepEqual(await names(true), ['a', 'b', 'c', 'd']);
    await assert.rejects(
      loadManifests([join(folder, 'none.yaml')]),
      (error) =>
        error instanceof HeddleError && error.code === 'BadManifest' && /no such file/.test(error.message),
    );
    await assert.rejects(loadManifests([join(folder, 'empty.yaml')]), /nothing to do/);
    const everything = await readManifests([folder, join(folder, 'a.yaml')]);
    assert.match(everything.problems.map(problemText).join('\n'), /it is also at/);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('stdin is read as -, and objects get the namespace asked for', async () => {
  const stdin = (async function* () {
    yield Buffer.from(config('a'));
  })();
  const [entry] = await loadManifests(['-'], { stdin, namespace: 'shop' });
  assert.equal(entry?.file, '<stdin>');
  assert.equal(entry?.object.metadata.namespace, 'shop');
});

test('objects of a version that is the served one by another name are read as that', () => {
  const { objects } = parseManifests({
    file: 'a.yaml',
    text: 'apiVersion: security.istio.io/v1beta1\nkind: PeerAuthentication\nmetadata: { name: a }\n',
  });
  assert.equal(objects[0]?.object.apiVersion, 'security.istio.io/v1');
  assert.deepEqual(checkManifests(objects), []);
});
