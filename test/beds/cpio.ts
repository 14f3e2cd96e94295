/** An archive as the kernel unpacks at boot (cpio, "newc": Documentation/driver-api/early-userspace/buffer-format). */

export interface CpioEntry {
  readonly name: string;
  /** With the type: 0o100755 is a program, 0o040755 a folder. */
  readonly mode: number;
  readonly data?: Uint8Array;
}

export function cpio(entries: readonly CpioEntry[]): Buffer {
  const all = [...entries, { name: 'TRAILER!!!', mode: 0 }];
  return Buffer.concat(all.flatMap((entry, i) => parts(entry, i + 1)));
}

function parts({ name, mode, data = new Uint8Array() }: CpioEntry, inode: number): Uint8Array[] {
  // inode, mode, uid, gid, links, time, size, device (2), device of a node (2), length of the name, checksum
  const numbers = [inode, mode, 0, 0, 1, 0, data.length, 0, 0, 0, 0, name.length + 1, 0];
  const header = `070701${numbers.map((n) => n.toString(16).padStart(8, '0')).join('')}${name}\0`;
  return [Buffer.from(header), padding(header.length), data, padding(data.length)];
}

const padding = (length: number): Buffer => Buffer.alloc((4 - (length % 4)) % 4);
