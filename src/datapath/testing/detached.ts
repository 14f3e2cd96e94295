/** Programs that are loaded, and at no link: for tests that run them and look at all that it changed. */
import fs from 'node:fs';
import { dirname, join } from 'node:path';
import { detachTc } from '../../kernel/bpf/links.ts';
import type { Programs } from '../ebpf/loader.ts';
import type { LabNode } from './lab.ts';

/**
 * No packet meets the programs but those that are run through them: kernels look for routers whenever they like, and
 * that is dropped and counted as well.
 */
export function detachLinks({ linkPath }: Pick<Programs, 'linkPath'>, { ns }: Pick<LabNode, 'ns'>): void {
  const folder = dirname(linkPath('x'));
  for (const file of fs.readdirSync(folder)) {
    const [, way, index] = /^(from|to|xdp)-.*?(\d+)$/.exec(file) ?? [];
    if (way === undefined) continue;
    const direction = way === 'to' ? 'egress' : 'ingress';
    detachTc({ ifindex: Number(index), ns, direction, pinPath: join(folder, file) });
  }
}
