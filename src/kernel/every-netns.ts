/** The network namespaces of this machine that can be found: those that are mounted somewhere, and those of processes. */
import fs from 'node:fs';

/** What mountinfo (proc_pid_mountinfo(5)) and links below /proc/PID/ns call one. */
const NAME = /^net:\[(\d+)\]$/;

/** A path for each, by inode; a mounted one goes before one of a process, which ends. */
export function everyNetns(): Map<number, string> {
  const found = new Map<number, string>();
  const put = (name: string, path: string) => {
    const inode = Number(NAME.exec(name)?.[1] ?? 0);
    if (inode > 0 && !found.has(inode)) found.set(inode, path);
  };
  for (const line of fs.readFileSync('/proc/self/mountinfo', 'utf8').split('\n')) {
    const [, , , root = '', path = ''] = line.split(' ').map(unescape);
    put(root, path);
  }
  for (const pid of fs.readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    const path = `/proc/${pid}/ns/net`;
    try {
      put(fs.readlinkSync(path), path);
    } catch {
      // It has ended.
    }
  }
  return found;
}

/** The kernel writes blanks and backslashes of paths as `\040`. */
const unescape = (text: string): string =>
  text.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
