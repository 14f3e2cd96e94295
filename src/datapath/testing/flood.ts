/** Packets of a pod that behaves badly: whole frames, past its own stack. */
import type { TestContext } from 'node:test';
import { openPacketSocket } from '../../kernel/packet-socket.ts';
import { openRoute } from '../../kernel/route.ts';
import { frame, type FrameOptions } from '../ebpf/core/testing/frames.ts';
import type { LabPod } from './lab.ts';

const ETH_P_ALL = 3;
/** Frames sent before others of this process have a turn. */
const BURST = 200;

export type Draw = (serial: number) => Omit<FrameOptions, 'src'> & { readonly src?: string };

export interface Flood {
  readonly sent: () => number;
  /** Resolves when the burst that is under way is out. */
  stop(): Promise<void>;
}

/** Sends one frame of each draw in turn, as fast as this process can, until it is stopped. */
export function flood(t: Pick<TestContext, 'after'>, pod: LabPod, draws: readonly Draw[]): Flood {
  const route = openRoute(pod.ns);
  t.after(() => route.close());
  const link = route.link('eth0')?.index ?? 0;
  const socket = openPacketSocket({ ns: pod.ns, link, protocol: ETH_P_ALL, filter: NOTHING, onFrame() {} });
  t.after(() => socket.close());
  let serial = 0;
  let sent = 0;
  const end = new AbortController();
  const done = (async () => {
    while (!end.signal.aborted) {
      for (let i = 0; i < BURST; i++, serial++) {
        const draw = draws[serial % draws.length]?.(serial);
        const src = pod.addresses[draw?.dst.includes(':') ? 1 : 0];
        if (draw && socket.send(frame({ src, mac: pod.mac, ...draw }))) sent++;
      }
      await new Promise((resolve) => setImmediate(resolve));
    }
  })();
  return {
    sent: () => sent,
    async stop() {
      end.abort();
      await done;
    },
  };
}

/** BPF_RET | BPF_K, 0 bytes. */
const NOTHING = [[6, 0, 0, 0]] as const;
