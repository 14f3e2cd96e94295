import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { type TestContext, test } from 'node:test';
import fc from 'fast-check';
import { HeddleError } from '../lib/errors.ts';
import type { CliDeps } from './deps.ts';
import { duration, wholeNumber } from './flags.ts';
import { main, report } from './main.ts';
import { createProgress } from './progress.ts';
import { verbs } from './verbs.ts';

const docs = join(import.meta.dirname, '../../docs');

interface Run {
  code: number;
  out: string;
  err: string;
}

function deps(more: Partial<CliDeps> = {}): { deps: CliDeps; out(): string; err(): string } {
  const [stdout, stderr] = [new PassThrough(), new PassThrough()];
  const text = { out: '', err: '' };
  stdout.on('data', (chunk: Buffer) => (text.out += chunk.toString()));
  stderr.on('data', (chunk: Buffer) => (text.err += chunk.toString()));
  return {
    deps: {
      stdin: new PassThrough(),
      stdout,
      stderr,
      color: false,
      interactive: false,
      invoker: undefined,
      childEnv: {},
      isRoot: false,
      ...more,
    },
    out: () => text.out,
    err: () => text.err,
  };
}

async function run(t: TestContext, ...argv: string[]): Promise<Run> {
  const before = process.exitCode;
  t.after(() => {
    process.exitCode = before;
  });
  const captured = deps();
  const code = await main(argv, captured.deps);
  await new Promise((resolve) => setImmediate(resolve));
  return { code, out: captured.out(), err: captured.err() };
}

test('help names every verb, and costs no verb’s imports', async (t) => {
  const { code, out } = await run(t, '--help');
  assert.equal(code, 0);
  for (const { name, summary } of verbs)
    assert.match(out, new RegExp(`^  ${name} .*${summary.slice(0, 20)}`, 'm'));
  assert.equal((await run(t)).out, out);
});

for (const { name, summary } of verbs)
  test(`heddle ${name} --help says what it does, with examples`, async (t) => {
    const { code, out } = await run(t, name, '--help');
    assert.equal(code, 0);
    assert.ok(out.includes(summary), 'the summary of --help is the description of the verb');
    assert.match(out, /Examples?:\n/);
    // Those that have to do with no cluster.
    if (!['completion', 'agent', 'cni', 'image'].includes(name)) assert.match(out, /--data-dir/);
    assert.equal((await run(t, 'help', name)).out, out);
  });

test('docs/cli.md tells of every verb', () => {
  const text = readFileSync(join(docs, 'cli.md'), 'utf8');
  for (const { name } of verbs) assert.match(text, new RegExp(`^\\| .*\`${name}[ \`]`, 'm'), name);
});

test('an unknown verb and an unknown flag are usage errors', async (t) => {
  const verb = await run(t, 'dwon');
  assert.deepEqual([verb.code, verb.out], [2, '']);
  assert.match(verb.err, /unknown command 'dwon'\n.*down/);
  const flag = await run(t, 'down', '--forse');
  assert.equal(flag.code, 2);
  assert.match(flag.err, /unknown option '--forse'\n.*--force/);
});

for (const argv of [
  ['get', 'pods'],
  ['delete', 'pod', 'x'],
  ['exec', 'x'],
  ['logs', 'x'],
  ['kubeconfig'],
  ['status'],
  ['datapath', 'status'],
  ['tune', 'show'],
])
  test(`heddle ${argv.join(' ')} without a cluster says that there is none`, async () => {
    const [verb = '', ...rest] = argv;
    const captured = deps({ isRoot: true });
    const end = verb === 'exec' ? ['--', 'ls'] : [];
    const code = await main([verb, '--data-dir', '/nonexistent/cluster', ...rest, ...end], captured.deps);
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(code, 1);
    assert.match(captured.err(), /no cluster in \/nonexistent\/cluster.*\[NoCluster\]\n  hint: start one/);
    assert.equal(captured.out(), '');
  });

for (const [error, code, words] of [
  [new HeddleError('BadFlag', 'no', { hint: 'do this' }), 2, 'error: no [BadFlag]\n  hint: do this\n'],
  [new HeddleError('NotReady', 'late'), 3, 'error: late [NotReady]\n'],
  [new HeddleError('Kernel', 'x', { cause: new Error('EPERM') }), 1, 'error: x [Kernel]\n  cause: EPERM\n'],
  [new Error('plain'), 1, 'error: plain\n'],
] as const)
  test(`${String(error)} ends with ${code}`, async () => {
    const captured = deps();
    assert.equal(report(error, captured.deps), code);
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(captured.err(), words);
  });

test('a defect says that it is one', async () => {
  const captured = deps();
  assert.equal(report(new TypeError('x is not a function'), captured.deps), 1);
  await new Promise((resolve) => setImmediate(resolve));
  assert.match(captured.err(), /defect of Heddle/);
});

for (const [text, ms] of [
  ['90', 90_000],
  ['90s', 90_000],
  ['2m', 120_000],
  ['1m30s', 90_000],
  ['1h', 3_600_000],
] as const)
  test(`a time of ${text}`, () => assert.equal(duration('--timeout', text), ms));

test('no text crashes the readers of flags', () => {
  fc.assert(
    fc.property(fc.string(), (text) => {
      for (const read of [() => duration('--x', text), () => wholeNumber('--x', text, 1, 9)])
        try {
          assert.ok(read() >= 0);
        } catch (error) {
          assert.ok(
            error instanceof HeddleError && error.code === 'BadFlag' && error.message.startsWith('--x'),
          );
        }
    }),
  );
});

test('progress is one line a step where nobody watches', async () => {
  const captured = deps();
  let now = 0;
  const progress = createProgress(captured.deps, () => now);
  progress.step('first');
  progress.detail('1 of 2');
  progress.detail('2 of 2');
  now = 1500;
  progress.step('second');
  progress.fail();
  progress.done();
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(captured.err(), '✓ first: 2 of 2 (1.5 s)\n✗ second (0.0 s)\n');
});

for (const shell of ['bash', 'zsh'])
  test(`completion for ${shell} knows every verb and its flags`, async (t) => {
    const { code, out } = await run(t, 'completion', shell);
    assert.equal(code, 0);
    for (const { name } of verbs) assert.match(out, new RegExp(`\\b${name}\\)`));
    assert.match(out, /--publish/);
  });
