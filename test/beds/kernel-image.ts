/**
 * Debian's kernel, unpacked below build/beds and not installed: nothing of the machine's own boot is touched, and
 * no initramfs is made for it. Fetched once, some 70 MB.
 */
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import { join } from 'node:path';
import { root } from './bed.ts';
import { cpio, type CpioEntry } from './cpio.ts';

/** Its dependency is the package of the newest kernel. */
const PACKAGE = 'linux-image-amd64';
const FOLDER = join(root, 'build/beds');
/** What the root's file system needs, each after what it depends on. */
const BOOT_MODULES = ['virtio_pci', '9pnet_virtio', '9p'];
/** Two thirds of the package that no test-bed has hardware for. */
const LEFT_OUT = ['gpu', 'media', 'infiniband', 'iio', 'hwmon', 'usb', 'scsi', 'isdn', 'staging', 'input'];

export interface KernelImage {
  readonly vmlinuz: string;
  readonly initramfs: string;
  /** Has lib/modules. */
  readonly folder: string;
}

/** @throws where the package cannot be had */
export function kernelImage(): KernelImage {
  const name = /Depends: (linux-image-\S+)/.exec(run('apt-cache', 'depends', PACKAGE))?.[1];
  if (!name) throw new Error(`apt knows no ${PACKAGE}: is there a package list (apt-get update)?`);
  const folder = join(FOLDER, name);
  if (!fs.existsSync(folder)) unpack(name, folder);
  const initramfs = join(folder, 'initramfs');
  writeWhole(initramfs, makeInitramfs(folder));
  return { folder, initramfs, vmlinuz: join(folder, 'boot', only(join(folder, 'boot'))) };
}

/** The folder is there whole or not at all. */
function unpack(name: string, folder: string): void {
  fs.mkdirSync(FOLDER, { recursive: true });
  const work = fs.mkdtempSync(join(FOLDER, '.new-'));
  try {
    run('sh', '-c', 'cd "$1" && exec apt-get -q download "$2"', 'sh', work, name);
    const deb = join(work, fs.readdirSync(work).find((file) => file.endsWith('.deb')) ?? '');
    const target = join(work, 'root');
    fs.mkdirSync(target);
    const excluded = LEFT_OUT.map((each) => `--exclude=*/kernel/drivers/${each}`);
    const pattern = ['--wildcards', './boot/vmlinuz-*', './lib/modules'];
    run(
      'sh',
      '-c',
      'deb=$1 target=$2; shift 2; dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$target" "$@"',
      'sh',
      deb,
      target,
      ...excluded,
      ...pattern,
    );
    run('/usr/sbin/depmod', '-b', target, only(join(target, 'lib/modules')));
    fs.renameSync(target, folder);
  } finally {
    fs.rmSync(work, { recursive: true, force: true });
  }
}

function makeInitramfs(folder: string): Buffer {
  const modules = join(folder, 'lib/modules', only(join(folder, 'lib/modules')));
  const files = loadOrder(fs.readFileSync(join(modules, 'modules.dep'), 'utf8'), BOOT_MODULES);
  const init = join(FOLDER, 'init');
  const source = join(import.meta.dirname, 'init.c');
  if (!fs.existsSync(init) || fs.statSync(init).mtimeMs < fs.statSync(source).mtimeMs)
    run('gcc', '-O2', '-static', '-Wall', '-Werror', '-o', init, source);
  const folders: CpioEntry[] = ['modules', 'dev'].map((name) => ({ name, mode: 0o040755 }));
  return cpio([
    ...folders,
    { name: 'init', mode: 0o100755, data: fs.readFileSync(init) },
    ...files.map((file, i) => ({
      name: `modules/${String(i).padStart(2, '0')}.ko`,
      mode: 0o100644,
      data: fs.readFileSync(join(modules, file)),
    })),
  ]);
}

/** Lines of modules.dep: `a/b.ko: c/d.ko e/f.ko`, what b needs, the first to load last. */
export function loadOrder(dependencies: string, wanted: readonly string[]): string[] {
  const order = new Set<string>();
  for (const line of dependencies.split('\n')) {
    const [file = '', needs = ''] = line.split(':');
    const name = /([^/]+)\.ko/.exec(file)?.[1];
    if (name === undefined || !wanted.includes(name)) continue;
    for (const each of [...needs.trim().split(' ').filter(Boolean).reverse(), file]) order.add(each);
  }
  return [...order];
}

function writeWhole(path: string, data: Uint8Array): void {
  fs.writeFileSync(`${path}.${process.pid}`, data);
  fs.renameSync(`${path}.${process.pid}`, path);
}

function only(folder: string): string {
  const [name, ...others] = fs.readdirSync(folder);
  if (name === undefined || others.length > 0) throw new Error(`${folder} should hold one kernel`);
  return name;
}

const run = (program: string, ...args: string[]): string =>
  execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], timeout: 300_000 });
