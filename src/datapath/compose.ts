/**
 * A backend out of parts, each with its share of the plan: services by one, policy and routes by another. The modes
 * `iptables` and `ipvs` are made so, with the policy of nftables.
 */
import type { Backend, Capabilities, Difference } from './backend.ts';

/** What it does not have, it has no share in. */
export type Part = Pick<Backend, 'name' | 'apply' | 'prune' | 'verify' | 'close'> &
  Partial<Omit<Backend, 'name' | 'apply' | 'prune' | 'verify' | 'close' | 'capabilities'>> & {
    readonly capabilities: Partial<Capabilities>;
  };

export interface Composition {
  readonly name: string;
  /**
   * In the order in which they are programmed: policy first, so that nobody is led to what is still open. Later ones'
   * capabilities win. Tables of the parts must be their own: two backends may be in force at once.
   */
  readonly parts: readonly Part[];
}

/**
 * A batch takes effect part by part. Where a part fails, the ones before it have what the others have not: the error
 * is thrown and `prune` mends, as after any other.
 */
export function composeBackends({ name, parts }: Composition): Backend {
  const capabilities: Capabilities = Object.assign(
    { families: [4, 6] as const, policy: false, cutsEstablished: false, sessionAffinity: false },
    ...parts.map((part) => part.capabilities),
  ) as Capabilities;
  const tracking = parts.find((part) => part.flows);
  const heir = parts.find((part) => part.takeOver);
  let queue: Promise<unknown> = Promise.resolve();

  /** Programs run while others ask: what is compared must not change below it. */
  function inTurn<T>(work: () => Promise<T>): Promise<T> {
    const next = queue.then(work, work);
    queue = next.catch(() => {});
    return next;
  }

  const each = async (work: (part: Part) => Promise<Difference[]>): Promise<Difference[]> => {
    const found: Difference[] = [];
    for (const part of parts) found.push(...(await work(part)));
    return found;
  };

  return {
    name,
    capabilities,
    apply: (changes) =>
      inTurn(async () => {
        for (const part of parts) await part.apply(changes);
      }),
    prune: (state) => inTurn(() => each((part) => part.prune(state))),
    verify: () => inTurn(() => each((part) => part.verify())),
    async counters() {
      const lists = await Promise.all(parts.flatMap((part) => part.counters?.() ?? []));
      return new Map(lists.flatMap((list) => [...list]));
    },
    events(listener) {
      const stops = parts.map((part) => part.events?.(listener));
      return () => {
        for (const stop of stops) stop?.();
      };
    },
    translated: () =>
      inTurn(async () => (await Promise.all(parts.flatMap((part) => part.translated?.() ?? []))).flat()),
    // Absent where no part has connections of its own: then they are the kernel's.
    ...(tracking && { flows: () => tracking.flows?.() ?? Promise.resolve([]) }),
    ...(heir && {
      handOver: (state) => inTurn(() => heir.handOver?.(state) ?? Promise.resolve([])),
      takeOver: (connections, state) =>
        inTurn(() => heir.takeOver?.(connections, state) ?? Promise.resolve()),
    }),
    ...(heir?.forget && { forget: (state) => inTurn(() => heir.forget?.(state) ?? Promise.resolve()) }),
    pressure: () => parts.flatMap((part) => part.pressure?.() ?? []),
    maps: () => parts.flatMap((part) => part.maps?.() ?? []),
    podUse: () => parts.flatMap((part) => part.podUse?.() ?? []),
    drops: () => new Map(parts.flatMap((part) => [...(part.drops?.() ?? [])])),
    ruleCount: () => new Map(parts.flatMap((part) => [...(part.ruleCount?.() ?? [])])),
    remove: () =>
      inTurn(async () => {
        const errors: unknown[] = [];
        for (const part of parts.toReversed())
          await part.remove?.().catch((error: unknown) => void errors.push(error));
        if (errors.length > 0) throw errors[0];
      }),
    close() {
      for (const part of parts.toReversed()) part.close();
    },
  };
}
