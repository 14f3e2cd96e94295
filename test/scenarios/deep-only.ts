/** Scenarios of which one kind runs in `npm test` and the others in `npm run check:deep`. */
const deep = process.env['HEDDLE_DEEP'] === '1';

/** For the option `skip` of a test. `why` says what holds it meanwhile. */
export const deepOnly = (why: string): string | false => !deep && `${why}: npm run check:deep (not in CI)`;

/** Every data path passes one contract, and is held to `decide` by packets. */
export const otherDatapath = (datapath: string): string | false =>
  datapath !== 'ebpf' && deepOnly('eBPF runs the scenario');
