/** The kernel's IPVS as far as tests look: remembers what it is told and refuses as the kernel does. */
import { type Ipvs, type IpvsEdit, ipvsText } from '../../kernel/ipvs.ts';
import type { IpvsKey, IpvsListed, IpvsService } from '../../kernel/ipvs-codec.ts';

export interface FakeIpvs extends Ipvs {
  /** Edits that were sent. */
  readonly sent: IpvsEdit[];
  /** As if clients had so many connections to a destination. */
  connect(key: IpvsKey, address: string, connections: number): void;
}

export function fakeIpvs(): FakeIpvs {
  const services = new Map<string, { service: IpvsService; destinations: Map<string, IpvsListed> }>();
  const sent: IpvsEdit[] = [];
  const nameOf = ({ address, port }: { address: string; port: number }) => `${address} ${port}`;

  function runOne(edit: IpvsEdit): void {
    if ('of' in edit) {
      const destinations = services.get(ipvsText(edit.of))?.destinations;
      const name = nameOf(edit.destination);
      const had = destinations?.get(name);
      if (!destinations || (edit.do === 'set' && !had))
        throw new Error(`ENOENT ${ipvsText(edit.of)} ${name}`);
      if (edit.do === 'delete') destinations.delete(name);
      else if (edit.do === 'set' || !had) {
        const { address, port, weight } = edit.destination;
        destinations.set(name, {
          ...(had ?? { active: 0, inactive: 0, persistent: 0 }),
          address,
          port,
          weight,
        });
      }
      return;
    }
    const text = ipvsText(edit.service.key);
    const had = services.get(text);
    if (edit.do === 'delete') services.delete(text);
    else if (edit.do === 'set' && !had) throw new Error(`ESRCH ${text}`);
    else if (edit.do === 'set' || !had)
      services.set(text, { service: edit.service, destinations: had?.destinations ?? new Map() });
  }

  return {
    sent,
    services: () => [...services.values()].map(({ service }) => service),
    service: (key) => services.get(ipvsText(key))?.service,
    destinations: (key) => [...(services.get(ipvsText(key))?.destinations.values() ?? [])],
    run(edits) {
      sent.push(...edits);
      for (const edit of edits) runOne(edit);
    },
    connect(key, address, connections) {
      const destinations = services.get(ipvsText(key))?.destinations;
      for (const [name, each] of destinations ?? [])
        if (each.address === address) destinations?.set(name, { ...each, active: connections });
    },
    close() {},
  };
}
