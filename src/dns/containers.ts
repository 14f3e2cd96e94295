/**
 * Names of containers, each as far as the asker may know it: those of the networks that the asker is on. A name stands alone,
 * or in the zone DOMAIN, which is answered with authority. Who is on no network is refused, whatever it asks.
 */
import { parseAddress, toBytes } from '../lib/ip.ts';
import { type Answer, failure, type Plugin } from './chain.ts';
import { RCODE } from './message.ts';
import { CLASS_ANY, CLASS_IN, type ResourceRecord, TYPE } from './record.ts';
import { addressOf } from './reverse.ts';

export interface NameView {
  /** Canonical addresses of a lower-case name; undefined where nobody has it. */
  addresses(name: string): readonly string[] | undefined;
  /** Of who has the canonical address. */
  nameOf(address: string): string | undefined;
}

export interface ContainerNames {
  /** What the asker at a canonical address sees; undefined where it is on no network. */
  viewOf(client: string): NameView | undefined;
}

export interface ContainersOptions {
  /** Lower case, without the dot at its end. */
  readonly domain: string;
  readonly names: ContainerNames;
}

/** Seconds: containers come and go. */
const TTL = 5;
const MAPPED = '::ffff:';

export function containers({ domain, names }: ContainersOptions): Plugin {
  const below = `.${domain}`;

  const negative = (rcode: number): Answer => ({
    rcode,
    authoritative: true,
    answers: [],
    authorities: [
      {
        name: domain,
        type: 'SOA',
        ttl: TTL,
        mname: `ns.${domain}`,
        rname: `hostmaster.${domain}`,
        serial: 1,
        refresh: 7200,
        retry: 1800,
        expire: 86_400,
        minimum: TTL,
      },
    ],
    additionals: [],
  });
  const positive = (answers: readonly ResourceRecord[]): Answer =>
    answers.length === 0
      ? negative(RCODE.NOERROR)
      : { rcode: RCODE.NOERROR, authoritative: true, answers, authorities: [], additionals: [] };

  function addressRecords(name: string, type: number, addresses: readonly string[]): ResourceRecord[] {
    const records = addresses.map((text): ResourceRecord => {
      const address = parseAddress(text);
      return { name, ttl: TTL, type: address.family === 4 ? 'A' : 'AAAA', address: toBytes(address) };
    });
    // ANY is answered with the records of one type (RFC 8482 section 4.1).
    const wanted =
      type === TYPE.ANY ? records[0]?.type : type === TYPE.A ? 'A' : type === TYPE.AAAA ? 'AAAA' : '';
    return records.filter((record) => record.type === wanted);
  }

  return (query, next) => {
    const view = names.viewOf(
      query.client.startsWith(MAPPED) ? query.client.slice(MAPPED.length) : query.client,
    );
    if (!view) return failure(RCODE.REFUSED);
    if (query.class !== CLASS_IN && query.class !== CLASS_ANY) return next(query);
    const { name, type } = query;
    const inZone = name === domain || name.endsWith(below);
    const short = name.endsWith(below) ? name.slice(0, -below.length) : name;
    const found = name === domain ? undefined : view.addresses(short);
    if (found) return positive(addressRecords(name, type, found));
    if (inZone) return negative(name === domain ? RCODE.NOERROR : RCODE.NXDOMAIN);
    const asked = name.endsWith('.arpa') ? addressOf(name) : undefined;
    const owner = asked === undefined ? undefined : view.nameOf(asked);
    if (owner === undefined) return next(query);
    return positive(type === TYPE.PTR ? [{ name, type: 'PTR', ttl: TTL, target: `${owner}${below}` }] : []);
  };
}
