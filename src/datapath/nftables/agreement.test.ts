import { test } from 'node:test';
import { needsRoot } from '../../kernel/test-netns.ts';
import { checkAgreement } from '../testing/agreement.ts';
import { runs } from '../testing/runs.ts';
import { openNftables } from '../testing/nftables.ts';

/** `node src/datapath/nftables/agreement.test.ts --runs 1000` for a deep check. */
const flag = process.argv.indexOf('--runs');
const draws = flag < 0 ? runs(30).numRuns : Number(process.argv[flag + 1]);

test(
  'what packets meet is what the policies say: verdict and rule, on both sides',
  { skip: needsRoot },
  (t) => checkAgreement(t, openNftables, draws),
);
