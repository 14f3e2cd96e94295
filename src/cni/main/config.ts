/** Fields of the main plugins, by the reference's names, from the configuration. */
import type { IpvlanMode, MacvlanMode } from '../../kernel/route.ts';
import { booleanOf, fieldsOf, listOf, numberOf, textOf, wrong } from '../leases/read.ts';
import type { NetConf } from '../types.ts';
import type { MainKind } from './types.ts';

export const MAIN_KINDS = ['bridge', 'ptp', 'macvlan', 'ipvlan'] as const;
const PREFIX = 'heddle-';

/** `heddle-bridge` is the plugin `bridge` as Heddle does it. Undefined for `heddle-cni`, and for none. */
export function mainKindOf({ type }: NetConf): MainKind | undefined {
  return MAIN_KINDS.find((kind) => type === `${PREFIX}${kind}`);
}

export interface BridgeConfig {
  readonly name: string;
  readonly isGateway: boolean;
  readonly isDefaultGateway: boolean;
  readonly forceAddress: boolean;
  readonly ipMasq: boolean;
  readonly hairpin: boolean;
  readonly promisc: boolean;
  readonly vlan: number | undefined;
  readonly trunk: readonly (readonly [first: number, last: number])[];
  readonly keepDefaultVlan: boolean;
  readonly checkMac: boolean;
  readonly disabled: boolean;
  readonly isolated: boolean;
}

const VLANS = [1, 4094] as const;
/** Every port of a bridge is in it until it leaves (default_pvid). */
export const DEFAULT_VLAN = 1;

/** Without, a bridge need not tell VLANs apart, and preserveDefaultVlan means nothing, as in the reference. */
export const hasVlans = ({ vlan, trunk }: Pick<BridgeConfig, 'vlan' | 'trunk'>): boolean =>
  vlan !== undefined || trunk.length > 0;

/** @throws CniError invalidConfig */
export function bridgeOf(config: NetConf): BridgeConfig {
  const is = (key: string) => booleanOf(config[key], key);
  const isDefaultGateway = is('isDefaultGateway');
  const vlan = numberOf(config['vlan'], 'vlan', [0, 4094]);
  const read = {
    name: linkNameOf(config['bridge'], 'bridge') ?? 'cni0',
    isDefaultGateway,
    isGateway: isDefaultGateway || is('isGateway'),
    forceAddress: is('forceAddress'),
    ipMasq: is('ipMasq'),
    hairpin: is('hairpinMode'),
    promisc: is('promiscMode'),
    vlan: vlan === 0 ? undefined : vlan,
    trunk: trunkOf(config['vlanTrunk']),
    keepDefaultVlan: config['preserveDefaultVlan'] === undefined || is('preserveDefaultVlan'),
    checkMac: is('macspoofchk'),
    disabled: is('disableContainerInterface'),
    isolated: is('portIsolation'),
  };
  if (read.hairpin && read.promisc)
    throw wrong('hairpinMode', true, 'possible together with promiscMode: choose one');
  return read;
}

function trunkOf(value: unknown): (readonly [number, number])[] {
  return listOf(value, 'vlanTrunk').flatMap((each, index) => {
    const at = `vlanTrunk[${index}]`;
    const fields = fieldsOf(each, at);
    const [id, first, last] = ['id', 'minID', 'maxID'].map((key) => numberOf(fields[key], at, VLANS));
    const isRange = first !== undefined && last !== undefined && first <= last;
    if (!isRange && (first !== undefined || last !== undefined || id === undefined))
      throw wrong(at, each, 'an id, or minID and maxID, from 1 to 4094');
    return [...(id === undefined ? [] : [[id, id] as const]), ...(isRange ? [[first, last] as const] : [])];
  });
}

const MACVLAN_MODES: readonly MacvlanMode[] = ['bridge', 'private', 'vepa', 'passthru'];
const IPVLAN_MODES: readonly IpvlanMode[] = ['l2', 'l3', 'l3s'];

export interface SlaveConfig<Mode> {
  /** The link it is on; that of the default route without. */
  readonly master: string | undefined;
  readonly mode: Mode;
  /** `master` is in the container, not on the machine. */
  readonly linkInContainer: boolean;
}

export const macvlanOf = (config: NetConf): SlaveConfig<MacvlanMode> => slaveOf(config, MACVLAN_MODES);
export const ipvlanOf = (config: NetConf): SlaveConfig<IpvlanMode> => slaveOf(config, IPVLAN_MODES);

/** The first mode is the one without any. */
function slaveOf<Mode extends string>(config: NetConf, modes: readonly Mode[]): SlaveConfig<Mode> {
  const text = textOf(config['mode'], 'mode') ?? modes[0];
  const mode = modes.find((each) => each === text);
  if (mode === undefined) throw wrong('mode', text, `one of ${modes.join(', ')}`);
  return {
    master: linkNameOf(config['master'], 'master'),
    mode,
    linkInContainer: booleanOf(config['linkInContainer'], 'linkInContainer'),
  };
}

function linkNameOf(value: unknown, key: string): string | undefined {
  const name = textOf(value, key);
  if (name === undefined) return undefined;
  const good = /^[^\s/:]+$/.test(name) && Buffer.byteLength(name) <= 15 && name !== '.' && name !== '..';
  if (!good) throw wrong(key, name, 'the name of a network interface, 1 to 15 bytes');
  return name;
}
