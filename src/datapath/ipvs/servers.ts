/** The kernel's virtual services, made to be those of the frontends. */
import { type Ipvs, type IpvsEdit, ipvsText } from '../../kernel/ipvs.ts';
import type { IpvsKey } from '../../kernel/ipvs-codec.ts';
import { type Actual, compare, type Step } from './compare.ts';
import type { Virtual } from './virtual.ts';

export interface Servers {
  /** What `frontend` wants from now on. */
  replace(frontend: string, virtuals: readonly Virtual[]): void;
  /** What has to change for what was replaced since, and for those who drain. */
  steps(): Step;
  /** The same for everything. `isOurs` picks what may be removed. */
  allSteps(isOurs: (key: IpvsKey) => boolean): Step;
  /** After a step has been taken. */
  run(edits: readonly IpvsEdit[]): void;
  readonly draining: boolean;
}

export function createServers(ipvs: Ipvs): Servers {
  const wanted = new Map<string, Virtual>();
  const byFrontend = new Map<string, readonly IpvsKey[]>();
  const touched = new Map<string, IpvsKey>();
  const draining = new Map<string, IpvsKey>();

  function read(key: IpvsKey): Actual | undefined {
    const service = ipvs.service(key);
    return service && { service, destinations: ipvs.destinations(key) };
  }

  function stepOf(text: string, key: IpvsKey, actual: Actual | undefined): Step {
    const step = compare(actual, wanted.get(text));
    if (step.draining) draining.set(text, key);
    else draining.delete(text);
    return step;
  }

  return {
    replace(frontend, virtuals) {
      for (const key of byFrontend.get(frontend) ?? []) {
        wanted.delete(ipvsText(key));
        touched.set(ipvsText(key), key);
      }
      for (const virtual of virtuals) {
        wanted.set(ipvsText(virtual.service.key), virtual);
        touched.set(ipvsText(virtual.service.key), virtual.service.key);
      }
      if (virtuals.length === 0) byFrontend.delete(frontend);
      else
        byFrontend.set(
          frontend,
          virtuals.map(({ service }) => service.key),
        );
    },
    steps() {
      const keys = new Map([...draining, ...touched]);
      touched.clear();
      return joined([...keys].map(([text, key]) => stepOf(text, key, read(key))));
    },
    allSteps(isOurs) {
      touched.clear();
      const actual = new Map(
        ipvs
          .services()
          .map((service) => [
            ipvsText(service.key),
            { service, destinations: ipvs.destinations(service.key) },
          ]),
      );
      const keys = new Map([
        ...[...actual].map(([text, { service }]) => [text, service.key] as const),
        ...[...wanted].map(([text, { service }]) => [text, service.key] as const),
      ]);
      return joined(
        [...keys]
          .filter(([text, key]) => wanted.has(text) || isOurs(key))
          .map(([text, key]) => stepOf(text, key, actual.get(text))),
      );
    },
    run(edits) {
      if (edits.length > 0) ipvs.run(edits);
    },
    get draining() {
      return draining.size > 0;
    },
  };
}

const joined = (steps: readonly Step[]): Step => ({
  adds: steps.flatMap(({ adds }) => adds),
  removes: steps.flatMap(({ removes }) => removes),
  differences: steps.flatMap(({ differences }) => differences),
  draining: steps.some(({ draining }) => draining),
});

/** Also a difference that changes no packet. */
export const isNothing = ({ adds, removes }: Step): boolean => adds.length + removes.length === 0;
