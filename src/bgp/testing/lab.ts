/** Two routers on one link, each in a namespace of this test's own, and hosts behind them. */
import dgram from 'node:dgram';
import type { TestContext } from 'node:test';
import type { Netns } from '../../kernel/netns.ts';
import { openRoute, type Route } from '../../kernel/route.ts';
import { bindUdp } from '../../kernel/sockets.ts';
import { writeSysctl } from '../../kernel/sysctl.ts';
import { testNetns } from '../../kernel/test-netns.ts';
import { until } from './until.ts';

/** What was begun last is ended first. */
export function backwards(t: Pick<TestContext, 'after'>): Pick<TestContext, 'after'> {
  const steps: (() => unknown)[] = [];
  t.after(async () => {
    for (const step of steps.toReversed()) await step();
  });
  return { after: (step) => void steps.push(step as () => unknown) };
}

export interface Place {
  readonly ns: Netns;
  readonly route: Route;
}

export function place(t: Pick<TestContext, 'after'>): Place {
  const ns = testNetns(t);
  const route = openRoute(ns);
  t.after(() => route.close());
  for (const key of ['net.ipv4.ip_forward', 'net.ipv6.conf.all.forwarding']) writeSysctl(ns, key, '1');
  return { ns, route };
}

/** Link `name` in both; `one` gets .1 and ::1, `other` .2 and ::2 of 10.1.N.0/24 and fd00:1:N::/64. */
export function connect(one: Place, other: Place, name: string, n: number): void {
  one.route.addVeth({ name, peer: { name, netns: other.ns } });
  for (const [i, { route }] of [one, other].entries()) {
    route.setLink(name, { up: true });
    route.replaceAddress(name, `10.1.${n}.${i + 1}/24`);
    route.replaceAddress(name, `fd00:1:${n}::${i + 1}/64`, { nodad: true });
  }
}

/** Hosts are addresses of `lo`: what is sent to them has been routed here. */
export function addHosts({ route }: Place, ...addresses: string[]): void {
  for (const address of addresses) route.replaceAddress('lo', address, { nodad: true });
}

/** Every datagram so far has come back; what is on its way may take its time. */
export async function noneLost(streams: readonly Stream[]): Promise<void> {
  for (const one of streams) {
    const sent = one.sent;
    await until(
      'every echo',
      () => Array.from({ length: sent }, (_, i) => i).filter((i) => !one.echoed.has(i)),
      (missing) => missing.length === 0,
      60_000,
    );
  }
}

export interface Stream {
  /** Numbered datagrams sent, and those whose echo came back. */
  readonly sent: number;
  readonly echoed: ReadonlySet<number>;
  stop(): void;
}

/** Answers every datagram on port 7 of the host. */
export function echo(t: Pick<TestContext, 'after'>, { ns }: Place, host: string): void {
  const socket = dgram.createSocket(host.includes(':') ? 'udp6' : 'udp4');
  socket.on('message', (data, from) => socket.send(data, from.port, from.address));
  socket.bind({ fd: bindUdp(ns, host, 7) });
  t.after(() => socket.close());
}

/** Sends a numbered datagram from one host to another's echo every `everyMs`. */
export function stream(
  t: Pick<TestContext, 'after'>,
  { ns }: Place,
  from: string,
  to: string,
  everyMs = 10,
): Stream {
  const socket = dgram.createSocket(from.includes(':') ? 'udp6' : 'udp4');
  const echoed = new Set<number>();
  let sent = 0;
  let isOpen = true;
  // Without a way there it is lost; that it was sent counts.
  socket.on('error', () => {});
  socket.on('message', (data) => echoed.add(Number(data)));
  socket.bind({ fd: bindUdp(ns, from, 0) });
  const timer = setInterval(() => socket.send(String(sent++), 7, to, () => {}), everyMs);
  const stop = () => {
    if (!isOpen) return;
    isOpen = false;
    clearInterval(timer);
    socket.close();
  };
  t.after(stop);
  return {
    get sent() {
      return sent;
    },
    echoed,
    stop,
  };
}
