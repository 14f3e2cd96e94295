import { test } from 'node:test';
import { needsRoot } from '../../kernel/test-netns.ts';
import { checkAgreement } from '../testing/agreement.ts';
import { checkServiceAgreement } from '../testing/service-agreement.ts';
import { openEbpf, openEbpfAtTc } from '../testing/ebpf.ts';

/** `node src/datapath/ebpf/agreement.test.ts --runs 1000` for a deep check. */
const flag = process.argv.indexOf('--runs');
const draws = (usual: number): number => (flag < 0 ? usual : Number(process.argv[flag + 1]));

test(
  'what packets meet is what the policies say: verdict and rule, on both sides',
  { skip: needsRoot },
  (t) => checkAgreement(t, openEbpf, draws(30)),
);

test('who answers at a service is who the plan says', { skip: needsRoot }, (t) =>
  checkServiceAgreement(t, openEbpf, draws(12)),
);

test('who answers at a service is who the plan says, where no socket has hooks', { skip: needsRoot }, (t) =>
  checkServiceAgreement(t, openEbpfAtTc, draws(12)),
);
