/** Shows what a DNS server counts; the hot path keeps plain numbers and this reads them when asked. */
import type { Metrics } from '../lib/metrics.ts';
import type { Records } from './records.ts';
import type { DnsServer } from './server.ts';

const rcodes: Readonly<Record<string, string>> = {
  0: 'NOERROR',
  1: 'FORMERR',
  2: 'SERVFAIL',
  3: 'NXDOMAIN',
  4: 'NOTIMP',
  5: 'REFUSED',
  16: 'BADVERS',
};

/** @param records of a cluster's services; without, what is said of names is said elsewhere */
export function exposeDns(
  metrics: Metrics,
  server: Pick<DnsServer, 'stats' | 'listening'>,
  records?: Pick<Records, 'size' | 'isSynced'>,
): void {
  const responses = metrics.counter(
    'heddle_dns_responses_total',
    'DNS responses sent, by transport and code.',
  );
  const dropped = metrics.counter('heddle_dns_dropped_total', 'DNS queries that got no response, by reason.');
  if (records) exposeNames(metrics, records);
  const listening = metrics.gauge('heddle_dns_listening', 'Sockets that listen for DNS queries.');
  const before = new Map<string, number>();
  const sinceLast = (key: string, now: number) => {
    const more = now - (before.get(key) ?? 0);
    before.set(key, now);
    return more;
  };
  metrics.onCollect(() => {
    const stats = server.stats();
    for (const [key, count] of stats.responses) {
      const [transport = '', rcode = ''] = key.split(' ');
      responses.inc({ transport, rcode: rcodes[rcode] ?? rcode }, sinceLast(key, count));
    }
    for (const reason of ['malformed', 'overload'] as const)
      dropped.inc({ reason }, sinceLast(reason, stats[reason]));
    listening.set(server.listening().length);
  });
}

function exposeNames(metrics: Metrics, records: Pick<Records, 'size' | 'isSynced'>): void {
  const names = metrics.gauge('heddle_dns_names', 'Names that services have.');
  const synced = metrics.gauge('heddle_dns_synced', '1 once the names are complete.');
  metrics.onCollect(() => {
    names.set(records.size);
    synced.set(records.isSynced ? 1 : 0);
  });
}
