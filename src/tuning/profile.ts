/** Sets of kernel settings, each with its reason in words: what is built in, and the shape of one's own. */

export interface TuningKey {
  /** With dots: `net.ipv4.tcp_rmem`. */
  readonly key: string;
  readonly value: string;
  /** Why this value, for whoever finds it set. */
  readonly reason: string;
  /** A kernel that lacks the setting (a module that is not loaded) is no error: the key is left out there. */
  readonly optional: boolean;
}

export interface TuningProfile {
  readonly name: string;
  readonly description: string;
  readonly keys: readonly TuningKey[];
}

const must = (key: string, value: string, reason: string): TuningKey => ({
  key,
  value,
  reason,
  optional: false,
});
const may = (key: string, value: string, reason: string): TuningKey => ({
  key,
  value,
  reason,
  optional: true,
});

const throughput: TuningProfile = {
  name: 'throughput',
  description: 'many connections and long fat paths: buffers, connection tracking, fast open',
  keys: [
    must(
      'net.core.rmem_max',
      '134217728',
      'a program may ask for receive buffers of 128 MiB (SO_RCVBUF): 10 Gb/s over 100 ms has 125 MB on its way',
    ),
    must('net.core.wmem_max', '134217728', 'likewise what a program may ask for sending (SO_SNDBUF)'),
    must(
      'net.ipv4.tcp_rmem',
      '4096 87380 6291456',
      'receive buffers begin small and grow by themselves to 6 MiB: one stream fills 1 Gb/s over 50 ms',
    ),
    must(
      'net.ipv4.tcp_wmem',
      '4096 65536 4194304',
      'send buffers begin at 64 KiB, a first window of large answers, and grow to 4 MiB',
    ),
    may(
      'net.netfilter.nf_conntrack_max',
      '1048576',
      'a million connections are tracked before new ones are dropped; about 320 bytes each',
    ),
    may(
      'net.netfilter.nf_conntrack_buckets',
      '262144',
      'a quarter of nf_conntrack_max: four entries a chain when the table is full',
    ),
    must(
      'net.ipv4.tcp_fastopen',
      '3',
      'client and server may send data with the SYN: a round trip less for those who know each other',
    ),
    must(
      'net.ipv4.tcp_tw_reuse',
      '1',
      'outgoing connections may take a port that waits in TIME_WAIT: a busy client does not run out of them',
    ),
  ],
};

export const builtInProfiles: readonly TuningProfile[] = [throughput];
