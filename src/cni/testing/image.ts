/** For tests: the smallest root file system that serves, from Debian's static busybox. */
import fs from 'node:fs';
import { join } from 'node:path';
import { until } from './host.ts';

const BUSYBOX = '/bin/busybox';

/** A folder with `/bin` of busybox, and `/www/name`, which a server in it answers with. */
export function tinyRoot(folder: string): string {
  const root = join(folder, 'rootfs');
  for (const name of ['bin', 'www', 'tmp', 'proc', 'dev', 'etc'])
    fs.mkdirSync(join(root, name), { recursive: true });
  fs.copyFileSync(BUSYBOX, join(root, 'bin/busybox'));
  fs.chmodSync(join(root, 'bin/busybox'), 0o755);
  for (const applet of ['sh', 'httpd', 'wget', 'sleep', 'cat'])
    fs.symlinkSync('busybox', join(root, 'bin', applet));
  fs.writeFileSync(join(root, 'www/name'), 'a container');
  return root;
}

/** Control groups of a name of one's own that container engines leave: they go when the last process in them has ended. */
export async function removeCgroups(name: string): Promise<void> {
  const root = '/sys/fs/cgroup';
  const homes = [root, ...fs.readdirSync(root).map((each) => join(root, each))];
  const left = () => homes.map((home) => join(home, name)).filter((folder) => fs.existsSync(folder));
  await until(`the control groups ${name} to be empty`, () => {
    for (const folder of left()) removeTree(folder);
    return left().length === 0;
  });
}

function removeTree(folder: string): void {
  const below = fs
    .readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name))
    .toSorted((a, b) => b.length - a.length);
  try {
    for (const path of [...below, folder]) fs.rmdirSync(path);
  } catch {
    // A process in it is about to end.
  }
}
