/** User-Mode Linux: a kernel as a process. Has IPVS, netem, SCTP, dummy, GENEVE; no nftables, no BTF, one processor. */
import fs from 'node:fs';
import { join } from 'node:path';
import { createBed, guestScript, inPath, isMain, main } from './bed.ts';

const MODULES = '/usr/lib/uml/modules';

export const uml = createBed({
  name: 'uml',
  missing() {
    if (process.geteuid?.() !== 0) return 'needs root';
    if (!inPath('linux.uml')) return 'needs the Debian package user-mode-linux (not in CI)';
    return inPath('modprobe') ? false : 'needs the Debian package kmod (not in CI)';
  },
  start: (folder, { memory }) => [
    inPath('linux.uml') ?? '',
    `mem=${memory}M`,
    'root=/dev/root',
    'rootfstype=hostfs',
    'rootflags=/',
    'ro',
    `uml_dir=${folder}/`,
    'con=null',
    'con0=null,fd:1',
    'quiet',
    'panic=-1',
    `init=${guestScript}`,
    `bed_share=hostfs:${folder}`,
    `bed_modules=${modules(folder)}`,
  ],
});

/** modprobe -d wants lib/modules below what it is told. */
function modules(folder: string): string {
  fs.mkdirSync(join(folder, 'lib'));
  fs.symlinkSync(MODULES, join(folder, 'lib/modules'));
  return '/run/share';
}

if (isMain(import.meta.url)) process.exitCode = await main(uml, process.argv.slice(2));
