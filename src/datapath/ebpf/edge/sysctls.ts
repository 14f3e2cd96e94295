/** What address translation asks of the node's namespace, and the way to give it back. */
export interface Sysctls {
  read(key: string): string;
  write(key: string, value: string): void;
}

/** Ports that the kernel gives to nobody by itself, both families. */
const RESERVED = 'net/ipv4/ip_local_reserved_ports';
/** A node that talks to its own node port hears answers from an address of its own, at `lo`. */
const ACCEPT_LOCAL = 'net/ipv4/conf/lo/accept_local';

const ranges = (text: string): string[] => text.trim().split(',').filter(Boolean);

/** @param ports of translated connections, `49152-65535`: no socket of the node is given one of them */
export function holdSysctls({ read, write }: Sysctls, ports: string): void {
  const held = ranges(read(RESERVED));
  if (!held.includes(ports)) write(RESERVED, [...held, ports].join(','));
  if (read(ACCEPT_LOCAL).trim() !== '1') write(ACCEPT_LOCAL, '1');
}

/** Whoever held them, this run or an earlier one. */
export function releaseSysctls({ read, write }: Sysctls, ports: string): void {
  const held = ranges(read(RESERVED));
  if (held.includes(ports)) {
    const rest = held.filter((range) => range !== ports);
    // An empty list is written as a blank line.
    write(RESERVED, rest.length > 0 ? rest.join(',') : '\n');
  }
  if (read(ACCEPT_LOCAL).trim() !== '0') write(ACCEPT_LOCAL, '0');
}
