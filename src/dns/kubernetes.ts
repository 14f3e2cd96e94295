/**
 * The cluster's zone and the reverse zones of its ranges, as the Kubernetes DNS-Based Service Discovery
 * specification 1.1.0 says. Authoritative: what is not there does not exist, once the data are complete.
 */
import { parseAddress, toBytes } from '../lib/ip.ts';
import { type Answer, failure, type Plugin, type Query } from './chain.ts';
import { RCODE } from './message.ts';
import { CLASS_ANY, CLASS_IN, type ResourceRecord, TYPE, typeNumber } from './record.ts';
import type { Records } from './records.ts';
import { addressOf, createReverseZones } from './reverse.ts';

export interface KubernetesOptions {
  records: Records;
  /** Ranges of services and pods: whose reverse names are answered. */
  ranges: readonly string[];
  /** Where this DNS is reached: what `ns.dns.DOMAIN` stands for. */
  addresses: readonly string[];
}

const SPEC_VERSION = '1.1.0';
/** CNAMEs followed within the zone; more is a loop. */
const MAX_ALIASES = 8;

export function kubernetes(options: KubernetesOptions): Plugin {
  const { records } = options;
  const { domain } = records;
  const reverse = createReverseZones(options.ranges);
  const fixed = fixedNames(options);
  const below = `.${domain}`;

  const zoneOf = (name: string): string | undefined =>
    name === domain || name.endsWith(below) ? domain : reverse.zone(name);

  function lookup(name: string): readonly ResourceRecord[] | undefined {
    if (name === domain) return apex(soa(domain));
    return records.lookup(name) ?? fixed.get(name);
  }

  const soa = (zone: string): ResourceRecord => ({
    name: zone,
    type: 'SOA',
    ttl: records.ttl,
    mname: `ns.dns.${domain}`,
    rname: `hostmaster.${domain}`,
    serial: records.serial,
    refresh: 7200,
    retry: 1800,
    expire: 86_400,
    minimum: records.ttl,
  });

  const apex = (soaRecord: ResourceRecord): ResourceRecord[] => [
    soaRecord,
    { name: domain, type: 'NS', ttl: records.ttl, target: `ns.dns.${domain}` },
  ];

  const negative = (rcode: number, zone: string, answers: readonly ResourceRecord[] = []): Answer => ({
    rcode,
    authoritative: true,
    answers,
    authorities: [soa(zone)],
    additionals: [],
  });

  const positive = (answers: readonly ResourceRecord[]): Answer => ({
    rcode: RCODE.NOERROR,
    authoritative: true,
    answers,
    authorities: [],
    additionals: additionalsOf(answers),
  });

  /** RFC 2782: addresses of SRV targets spare the asker a question. */
  function additionalsOf(answers: readonly ResourceRecord[]): readonly ResourceRecord[] {
    const first = answers[0];
    if (first?.type !== 'SRV' && first?.type !== 'NS') return [];
    const targets = new Set(answers.flatMap((r) => (r.type === 'SRV' || r.type === 'NS' ? [r.target] : [])));
    return [...targets].flatMap((target) =>
      (lookup(target) ?? []).filter((record) => record.type === 'A' || record.type === 'AAAA'),
    );
  }

  /** A name that stands for another is answered with both, as far as the other is ours (RFC 1034 section 4.3.2). */
  function forward(query: Query): Answer {
    const chain: ResourceRecord[] = [];
    for (let name = query.name; chain.length <= MAX_ALIASES; ) {
      const found = lookup(name);
      if (!found) return negative(RCODE.NXDOMAIN, domain, chain);
      const alias = found.find(isAlias);
      if (!alias || query.type === TYPE.CNAME || query.type === TYPE.ANY) {
        const matching = ofType(found, query.type);
        if (matching.length === 0) return negative(RCODE.NOERROR, domain, chain);
        return positive(chain.length === 0 ? matching : [...chain, ...matching]);
      }
      chain.push(alias);
      name = alias.target.toLowerCase();
      if (zoneOf(name) !== domain) return positive(chain);
    }
    return failure(RCODE.SERVFAIL);
  }

  function backward(query: Query, zone: string): Answer {
    if (query.name === zone)
      return query.type === TYPE.SOA ? positive([soa(zone)]) : negative(RCODE.NOERROR, zone);
    const address = addressOf(query.name);
    // Part of an address: something may be below.
    if (address === undefined) return negative(RCODE.NOERROR, zone);
    const targets = records.reverse(address);
    if (targets.length === 0) return negative(RCODE.NXDOMAIN, zone);
    if (query.type !== TYPE.PTR && query.type !== TYPE.ANY) return negative(RCODE.NOERROR, zone);
    return positive(targets.map((target) => ({ name: query.name, type: 'PTR', ttl: records.ttl, target })));
  }

  return (query, next) => {
    const zone = zoneOf(query.name);
    if (zone === undefined || (query.class !== CLASS_IN && query.class !== CLASS_ANY)) return next(query);
    if (query.type === TYPE.AXFR || query.type === TYPE.IXFR) return failure(RCODE.REFUSED);
    if (!records.isSynced) return failure(RCODE.SERVFAIL);
    return zone === domain ? forward(query) : backward(query, zone);
  };
}

type Alias = ResourceRecord & { readonly type: 'CNAME'; readonly target: string };
const isAlias = (record: ResourceRecord): record is Alias => record.type === 'CNAME';

/** ANY is answered with the records of one type (RFC 8482 section 4.1). */
function ofType(records: readonly ResourceRecord[], type: number): readonly ResourceRecord[] {
  const wanted = type === TYPE.ANY && records[0] ? typeNumber(records[0]) : type;
  for (const record of records)
    if (typeNumber(record) !== wanted) return records.filter((each) => typeNumber(each) === wanted);
  return records;
}

/** Names that are always there: the version of the specification, and the name server itself. */
function fixedNames({ records, addresses }: KubernetesOptions): Map<string, readonly ResourceRecord[]> {
  const { domain, ttl } = records;
  const version = `dns-version.${domain}`;
  const server = `ns.dns.${domain}`;
  const own = addresses.map((text): ResourceRecord => {
    const address = parseAddress(text);
    return { name: server, ttl, type: address.family === 4 ? 'A' : 'AAAA', address: toBytes(address) };
  });
  return new Map<string, readonly ResourceRecord[]>([
    [version, [{ name: version, ttl, type: 'TXT', texts: [Buffer.from(SPEC_VERSION)] }]],
    [`dns.${domain}`, []],
    [server, own],
  ]);
}
