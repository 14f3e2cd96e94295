import { packetContract } from '../testing/contract.ts';
import { openEbpfAtTc } from '../testing/ebpf.ts';

packetContract('ebpf at tc', openEbpfAtTc);
