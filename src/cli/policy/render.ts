/** `heddle policy render`: policies in another language, and what of them is lost there. */
import { type Command, Option } from 'commander';
import { partyText } from '../../policy/analyse/connectivity.ts';
import { changeKind, diff } from '../../policy/analyse/diff.ts';
import { portSetText } from '../../policy/analyse/port-set.ts';
import { policyText } from '../../policy/decision.ts';
import type { PolicyObject } from '../../policy/objects.ts';
import type { Loss } from '../../policy/render/loss.ts';
import { LANGUAGES, type Language, render } from '../../policy/render/render.ts';
import type { CliDeps } from '../deps.ts';
import { outputFormat } from '../flags.ts';
import { answers, type EstateFlags, estateOf, printValue, withEstate } from './common.ts';
import type { LoadedEstate } from './read-estate.ts';
import { renderEnvoy } from './render-envoy.ts';

interface RenderFlags extends EstateFlags {
  to: Language | 'envoy';
}

const help = `
Languages:
  kubernetes   NetworkPolicy (networking.k8s.io/v1)
  cilium       CiliumNetworkPolicy (cilium.io/v2)
  calico       NetworkPolicy (projectcalico.org/v3)
  cluster      ClusterNetworkPolicy (policy.networking.k8s.io/v1alpha2)
  admin        AdminNetworkPolicy and BaselineAdminNetworkPolicy (policy.networking.k8s.io/v1alpha1)
  envoy        RBAC filters (envoy.config.rbac.v3) of each workload, of AuthorizationPolicies alone; not compared
               (docs/schemas/policy-render-envoy.json)

Examples:
  heddle policy render -f k8s/ --to cilium > cilium.yaml
  heddle policy render -f admin.yaml --to cluster

Policies go to stdout, those that are in the language already as they are; what is lost, and why, to stderr, with file and
line. Then both are compared for every pair of workloads that is known and every address outside: what differs is told.

0 if nothing is lost and nothing differs, 1 if something does.`;

export function addRender(policy: Command, deps: CliDeps): void {
  withEstate(policy.command('render').description('policies in another language, and what is lost there'))
    .addOption(
      new Option('--to <language>', 'to write').choices([...LANGUAGES, 'envoy']).makeOptionMandatory(),
    )
    .option('-o, --output <format>', 'yaml or json')
    .addHelpText('after', help)
    .action(async (_: unknown, command: Command) => {
      const flags = command.optsWithGlobals<RenderFlags>();
      const format = outputFormat(flags.output, ['yaml', 'json']) ?? 'yaml';
      const loaded = await estateOf(flags, deps);
      if (flags.to === 'envoy') return tellEnvoy(loaded, format, deps);
      const { objects, kept, losses } = render(loaded.estate.world, flags.to);
      await printObjects([...kept, ...objects], format, deps);
      for (const loss of losses) deps.stderr.write(lossText(loss, loaded));
      const differences = tellDifferences(loaded, [...kept, ...objects], deps);
      const isLost = losses.some(({ flows }) => flows.directions.length > 0);
      process.exitCode = isLost || differences > 0 ? answers.no : answers.yes;
    });
}

async function tellEnvoy({ estate }: LoadedEstate, format: 'yaml' | 'json', deps: CliDeps): Promise<void> {
  const { workloads, losses } = renderEnvoy(estate);
  await printValue({ workloads }, format, deps);
  for (const loss of losses) deps.stderr.write(`lost: ${loss}\n`);
  process.exitCode = losses.length > 0 ? answers.no : answers.yes;
}

async function printObjects(
  objects: readonly PolicyObject[],
  format: 'yaml' | 'json',
  { stdout }: CliDeps,
): Promise<void> {
  if (format === 'json') {
    stdout.write(`${JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects }, undefined, 2)}\n`);
    return;
  }
  const { stringify } = await import('yaml');
  const options = { lineWidth: 0, version: '1.1', aliasDuplicateObjects: false } as const;
  stdout.write(objects.map((each) => stringify(each, options)).join('---\n'));
}

function lossText({ policy, path, message, flows }: Loss, { placeOf }: LoadedEstate): string {
  const place = placeOf(policy, path);
  const where = place ? `${place.file}:${place.line}: ` : '';
  const word = flows.directions.length > 0 ? 'lost' : 'note';
  return `${where}${word}: ${policyText(policy)} ${path}: ${message}\n`;
}

/** Returns how many. */
function tellDifferences(
  { estate }: LoadedEstate,
  policies: readonly PolicyObject[],
  { stderr }: CliDeps,
): number {
  let count = 0;
  for (const change of diff(estate, { ...estate, world: { ...estate.world, policies } }, { family: 4 })) {
    count++;
    const { src, dst, before, after } = change;
    stderr.write(
      `differs: ${partyText(src)} → ${partyText(dst)} ${changeKind(change)}: ${portSetText(before)}, now ${portSetText(after)}\n`,
    );
  }
  return count;
}
