import { openEbpf } from './testing/ebpf.ts';
import { nativeContract } from './testing/native.ts';
import { openNftables } from './testing/nftables.ts';

nativeContract('ebpf', openEbpf);
nativeContract('nftables', openNftables);
