/** `npm run bench -- NAME [--quick] [--json]`: runs bench/NAME.ts; `--list` names what there is. */
import { readdirSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { type Benchmark, type Result, run } from './harness.ts';

const PAIRS = 15;
const QUICK_PAIRS = 6;

const helpers = new Set([
  'main.ts',
  'harness.ts',
  'ping-pong.ts',
  'pods.ts',
  'cni.ts',
  'connects.ts',
  'services.ts',
  'kube-proxy.ts',
  'cluster.ts',
  'policies.ts',
  'agent.ts',
  'policy-estates.ts',
  'policy-worlds.ts',
]);
const names = readdirSync(import.meta.dirname)
  .filter((file) => file.endsWith('.ts') && !file.endsWith('.test.ts') && !helpers.has(file))
  .map((file) => file.slice(0, -3))
  .toSorted();

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    quick: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    list: { type: 'boolean', default: false },
  },
});
const [name = ''] = positionals;

function text(result: Result): string {
  const figure = (n: number) => n.toLocaleString('en', { maximumFractionDigits: n < 100 ? 3 : 0 });
  const lines = [result.ours, ...result.peers].map(
    (s) => `  ${s.name}: ${figure(s.median)} ${result.unit} (p10 ${figure(s.p10)}, p90 ${figure(s.p90)})`,
  );
  const ratios = result.ratio.map(
    (r) => `  ratio to ${r.peer}: ${figure(r.median)} (95 %: ${figure(r.low)} to ${figure(r.high)})`,
  );
  return [`${result.name}, ${result.runs} alternating runs`, ...lines, ...ratios].join('\n');
}

if (values.list) process.stdout.write(`${names.join('\n')}\n`);
else if (!names.includes(name)) {
  process.stderr.write(`no benchmark is called "${name}"; there are: ${names.join(', ')}\n`);
  process.exitCode = 2;
} else {
  const module = (await import(`./${name}.ts`)) as { benchmark(o: { quick: boolean }): Promise<Benchmark> };
  const benchmark = await module.benchmark({ quick: values.quick });
  try {
    const pairs = values.quick ? QUICK_PAIRS : (benchmark.pairs ?? PAIRS);
    const result = await run(benchmark, pairs, (done) => {
      if (process.stderr.isTTY) process.stderr.write(`\r${done}/${pairs}`);
    });
    process.stdout.write(values.json ? `${JSON.stringify(result)}\n` : `${text(result)}\n`);
  } finally {
    await benchmark.close();
  }
}
