/**
 * How packets of pods travel between nodes, what that costs of each packet, and so how large pods' packets may be.
 * Pure: the one place that knows these numbers.
 */
import { HeddleError } from '../lib/errors.ts';
import type { Family } from '../lib/ip.ts';

export type Tunnel = 'vxlan' | 'geneve' | 'gre';
/** `native`: as they are, by routes on the link that nodes share. */
export type Encapsulation = Tunnel | 'native';

export const TUNNELS: readonly Tunnel[] = ['vxlan', 'geneve', 'gre'];
export const ENCAPSULATIONS: readonly Encapsulation[] = ['native', ...TUNNELS];

/** RFC 791 without options, RFC 8200 without extension headers. */
const IP_HEADER = { 4: 20, 6: 40 } as const;
const UDP_HEADER = 8;
const ETHERNET_HEADER = 14;
/** RFC 7348 section 5. */
const VXLAN_HEADER = 8;
/** RFC 8926 section 3.1; options come after it, in steps of 4. */
const GENEVE_HEADER = 8;
/** RFC 2784 section 2; with a key, RFC 2890 section 2, 4 more. */
const GRE_HEADER = 4;
const GRE_KEY = 4;

export interface OverheadOptions {
  /** Bytes of options in each GENEVE header. Default 0. */
  readonly geneveOptions?: number;
  /** GRE headers carry a key. Default: they do not. */
  readonly greKey?: boolean;
}

/** Bytes that each packet of a pod grows by. `family`: of the underlay, which carries it. */
export function overheadOf(
  encapsulation: Encapsulation,
  family: Family,
  { geneveOptions = 0, greKey = false }: OverheadOptions = {},
): number {
  const ip = IP_HEADER[family];
  const headers: Readonly<Record<Encapsulation, number>> = {
    native: 0,
    vxlan: ip + UDP_HEADER + VXLAN_HEADER + ETHERNET_HEADER,
    geneve: ip + UDP_HEADER + GENEVE_HEADER + geneveOptions + ETHERNET_HEADER,
    gre: ip + GRE_HEADER + (greKey ? GRE_KEY : 0),
  };
  return headers[encapsulation];
}

/** RFC 791: every machine takes datagrams of so many bytes; RFC 8200 section 5: every link of IPv6 carries so many. */
const LEAST = { 4: 576, 6: 1280 } as const;
const MOST = 65_535;

export interface PodMtuOptions extends OverheadOptions {
  readonly encapsulation: Encapsulation;
  /** Of the underlay's addresses between which packets travel. */
  readonly underlayFamily: Family;
  /** MTU of the link that has these addresses, as the kernel says it. */
  readonly underlayMtu: number;
  /** Families of pods' addresses. */
  readonly podFamilies: readonly Family[];
}

/**
 * The largest packet that a pod may send to any other.
 * @throws HeddleError `UnderlayMtu` where less is left than pods' families need
 */
export function podMtu(options: PodMtuOptions): number {
  const { encapsulation, underlayFamily, underlayMtu, podFamilies } = options;
  const mtu = Math.min(underlayMtu, MOST) - overheadOf(encapsulation, underlayFamily, options);
  const least = Math.max(...podFamilies.map((family) => LEAST[family]));
  if (mtu < least)
    throw new HeddleError(
      'UnderlayMtu',
      `an underlay of MTU ${underlayMtu} leaves pods ${mtu} bytes by ${encapsulation} over IPv${underlayFamily}; IPv${
        least === LEAST[6] ? 6 : 4
      } needs ${least}`,
      { hint: `set the MTU of the nodes' link to ${least + underlayMtu - mtu} or more` },
    );
  return mtu;
}

/** Largest for all of `encapsulations`: what pods may send while nodes go over from one to another. */
export const commonPodMtu = (
  encapsulations: readonly Encapsulation[],
  options: Omit<PodMtuOptions, 'encapsulation'>,
): number => Math.min(...encapsulations.map((encapsulation) => podMtu({ ...options, encapsulation })));
