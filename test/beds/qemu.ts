/**
 * Debian's kernel under qemu, every instruction translated (TCG), so some ten times slower than the machine. Has
 * what distributions have: nftables, IPVS, SCTP, WireGuard, eBPF with BTF; before Linux 6.6 no tcx.
 */
import { errorText } from '../../src/lib/errors.ts';
import { createBed, guestScript, inPath, isMain, main } from './bed.ts';
import { kernelImage } from './kernel-image.ts';

const PROGRAM = 'qemu-system-x86_64';

export const qemu = createBed({
  name: 'qemu',
  // What tests wait for takes longer here (src/datapath/testing/pace.ts).
  env: { HEDDLE_PATIENCE: '8' },
  missing() {
    if (process.geteuid?.() !== 0) return 'needs root';
    if (process.arch !== 'x64') return `is for x86_64, this is ${process.arch} (not in CI)`;
    if (!inPath(PROGRAM)) return 'needs the Debian package qemu-system-x86 (not in CI)';
    if (!inPath('modprobe')) return 'needs the Debian package kmod (not in CI)';
    try {
      kernelImage();
      return false;
    } catch (error) {
      return `needs Debian's kernel: ${errorText(error)} (not in CI)`;
    }
  },
  start(folder, { memory, processors }) {
    const { vmlinuz, initramfs, folder: modules } = kernelImage();
    const kernelLine = ['console=ttyS0', 'quiet', 'panic=-1', 'random.trust_cpu=on', 'mitigations=off'];
    const bedLine = [`bed_init=${guestScript}`, 'bed_share=9p:share', `bed_modules=${modules}`];
    // Without keys for memory (pku): V8 would use them and now and then ends in a failed check under emulation.
    const machine = `-machine q35,accel=tcg -cpu max,-pku -smp ${processors} -m ${memory} -nodefaults -no-user-config -no-reboot`;
    return [
      inPath(PROGRAM) ?? '',
      ...`${machine} -display none -serial stdio`.split(' '),
      '-kernel',
      vmlinuz,
      '-initrd',
      initramfs,
      '-append',
      [...kernelLine, ...bedLine].join(' '),
      ...share('machine', '/', 'readonly=on'),
      ...share('share', folder, 'readonly=off'),
    ];
  },
});

const share = (tag: string, path: string, mode: string): string[] => [
  '-fsdev',
  `local,id=${tag},path=${path},security_model=none,multidevs=remap,${mode}`,
  '-device',
  `virtio-9p-pci,fsdev=${tag},mount_tag=${tag}`,
];

if (isMain(import.meta.url)) process.exitCode = await main(qemu, process.argv.slice(2));
