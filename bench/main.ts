/** `npm run bench -- NAME [--quick] [--json]`: runs bench/NAME.ts; `--list` names what there is, `--help` says how. */
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

const help = `npm run -s bench -- NAME [--quick] [--json]

Measures ours and its peers in turns, and prints medians, their spread, and the ratio of each pair.

  --quick   ${QUICK_PAIRS} runs of each instead of ${PAIRS} or what the benchmark asks for
  --json    {name, ours, peers, ratio, unit, runs} instead of text
  --list    the names, one a line; bench/README.md says what each measures
  --help    this
`;

/** What was asked for, or undefined after saying what is wrong with it. */
function asked() {
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: {
        quick: { type: 'boolean', default: false },
        json: { type: 'boolean', default: false },
        list: { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h', default: false },
      },
    });
    const [name, ...others] = positionals;
    if (values.help || values.list) return { ...values, name: '' };
    if (others.length > 0) throw new Error(`one benchmark at a time: ${positionals.join(', ')} are several`);
    if (name === undefined) throw new Error(`a benchmark has to be named; there are: ${names.join(', ')}`);
    if (!names.includes(name))
      throw new Error(`no benchmark is called "${name}"; there are: ${names.join(', ')}`);
    return { ...values, name };
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n`);
    process.exitCode = 2;
    return undefined;
  }
}

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

async function measure({ name, quick, json }: { name: string; quick: boolean; json: boolean }) {
  const module = (await import(`./${name}.ts`)) as { benchmark(o: { quick: boolean }): Promise<Benchmark> };
  const benchmark = await module.benchmark({ quick });
  try {
    const pairs = quick ? QUICK_PAIRS : (benchmark.pairs ?? PAIRS);
    const result = await run(benchmark, pairs, (done) => {
      if (process.stderr.isTTY) process.stderr.write(`\r${done}/${pairs}`);
    });
    process.stdout.write(json ? `${JSON.stringify(result)}\n` : `${text(result)}\n`);
  } finally {
    await benchmark.close();
  }
}

const wish = asked();
if (wish?.help) process.stdout.write(help);
else if (wish?.list) process.stdout.write(`${names.join('\n')}\n`);
else if (wish) await measure(wish);
