/** The agent's own DNS, as results of ADD name it. */
import type { Dns } from './types.ts';

export interface OwnDns {
  /** One per family at most. */
  readonly addresses: readonly string[];
  readonly domain: string;
}

/** @param families of which the container has a way to the machine; servers that somebody asked for go before ours */
export function withOwnDns(asked: Dns, own: OwnDns | undefined, families: ReadonlySet<4 | 6>): Dns {
  if (!own || (asked.nameservers ?? []).length > 0) return asked;
  const nameservers = own.addresses.filter((address) => families.has(address.includes(':') ? 6 : 4));
  if (nameservers.length === 0) return asked;
  const { domain = own.domain, search = [own.domain] } = asked;
  return { ...asked, nameservers, domain, search };
}

/** Of default routes. */
export const waysOut = (routes: readonly { readonly dst: string }[]): Set<4 | 6> =>
  new Set(
    routes.flatMap(({ dst }) => (dst === '0.0.0.0/0' ? [4 as const] : dst === '::/0' ? [6 as const] : [])),
  );
