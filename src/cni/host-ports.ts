/** Ports of the machine that lead to a container: what a mapping is, and who keeps them. */
export interface PortMapping {
  readonly hostPort: number;
  readonly containerPort: number;
  readonly protocol: 'tcp' | 'udp' | 'sctp';
  /** Only at this address of the machine, canonical; at all of them without, at all of a family with `0.0.0.0`, `::`. */
  readonly hostIP?: string;
}

export interface PortHolder {
  /** Name of the host's end of the attachment's link: the mark of what is its. */
  readonly link: string;
  /** For people: `namespace/name`. */
  readonly label?: string;
  readonly ports: readonly PortMapping[];
  /** The container's, one per family. */
  readonly addresses: readonly string[];
  /** Whose members are on one link with it, and answer it without passing the machine: `10.1.0.0/24`. */
  readonly networks?: readonly string[];
}

export interface HostPorts {
  /** All or nothing; what `link` held before is replaced. @throws HeddleError `HostPortTaken`, `Nft` */
  publish(holder: PortHolder): void;
  /** Nothing happens where `link` holds none. */
  withdraw(link: string): void;
  /** What of a holder's is missing, in words. */
  missing(holder: PortHolder): string[];
  /** Links that hold any. */
  holders(): string[];
}

export const portText = ({ hostIP, hostPort, protocol }: PortMapping): string =>
  `${hostIP === undefined ? '' : `${hostIP.includes(':') ? `[${hostIP}]` : hostIP}:`}${hostPort}/${protocol}`;
