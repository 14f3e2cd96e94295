import { openEbpf } from '../testing/ebpf.ts';
import { sctpContract } from '../testing/sctp-contract.ts';

sctpContract('ebpf', openEbpf);
