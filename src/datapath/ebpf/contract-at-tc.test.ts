import { packetContract } from '../testing/contract.ts';
import { openEbpfAtTc } from '../testing/ebpf.ts';

const deep = process.env['HEDDLE_DEEP'] === '1';

packetContract(
  'ebpf at tc',
  openEbpfAtTc,
  !deep && 'only what is said to services goes another way at tc: npm run check:deep (not in CI)',
);
