/** `heddle policy`: what network policies let pass, why, and whether that is what was meant. */
import type { Command } from 'commander';
import type { CliDeps } from '../deps.ts';
import { withDataDir } from '../flags.ts';
import { addAudit } from './audit.ts';
import { addBlastRadius } from './blast-radius.ts';
import { addConnectivity } from './connectivity.ts';
import { addDiff } from './diff.ts';
import { addExplain } from './explain.ts';
import { addGenerate } from './generate.ts';
import { addLint } from './lint.ts';
import { addProve } from './prove.ts';
import { addRender } from './render.ts';
import { addTest } from './cases.ts';

const epilogue = `
Examples:
  heddle policy connectivity -f k8s/
  helm template ./chart | heddle policy connectivity -f - -o md
  heddle policy explain -f k8s/ --from shop/frontend --to shop/cart --port 8080
  heddle policy connectivity --live -f changed/       the running cluster with these files applied

Without -f they ask the running cluster. Workloads are NAMESPACE/NAME, or NAMESPACE/KIND/NAME.

Exit codes:
  0    it holds: allowed, no difference, nothing found, proved, passed
  1    it does not hold: denied, different, found, disproved, failed
  2    nothing was answered: the command line or a file was refused, or the cluster could not be asked`;

export function register(program: Command, deps: CliDeps): void {
  const policy = withDataDir(
    program.command('policy').description('ask and prove what network policies let pass'),
  )
    .configureHelp({ showGlobalOptions: true })
    .addHelpText('after', epilogue);
  addConnectivity(policy, deps);
  addExplain(policy, deps);
  addDiff(policy, deps);
  addLint(policy, deps);
  addProve(policy, deps);
  addTest(policy, deps);
  addBlastRadius(policy, deps);
  addGenerate(policy, deps);
  addRender(policy, deps);
  addAudit(policy, deps);
}
