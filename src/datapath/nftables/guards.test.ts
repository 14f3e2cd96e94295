import { guardsContract } from '../testing/guards.ts';
import { openNftables } from '../testing/nftables.ts';

guardsContract('nftables', openNftables);
