/** `ipam` of the type static: the addresses that the configuration, or the runtime, names. Nobody checks that they are free. */
import { contains, tryParseAddress } from '../../lib/ip.ts';
import { CniCode, CniError } from '../error.ts';
import type { CniRequest } from '../types.ts';
import {
  addressOf,
  dnsOf,
  fieldsOf,
  interfaceAddressOf,
  listOf,
  routesOf,
  unsupported,
  wrong,
} from './read.ts';
import type { Lease, LeasedAddress } from './types.ts';

const FIELDS = ['type', 'addresses', 'routes', 'dns'];

/**
 * In place of `addresses`: the capability `ips`, else `args.cni.ips`, else IP and GATEWAY of CNI_ARGS.
 * @throws CniError invalidConfig, unsupportedField
 */
export function staticLease({ config, args }: CniRequest): Lease {
  const ipam = fieldsOf(config['ipam'], 'ipam');
  for (const [key, value] of Object.entries(ipam))
    if (!FIELDS.includes(key)) throw unsupported(`ipam.${key}`, value, `static has ${FIELDS.join(', ')}`);
  const runtime = fieldsOf(config.runtimeConfig, 'runtimeConfig');
  const given = fieldsOf(fieldsOf(config['args'], 'args')['cni'], 'args.cni');
  const configured = listOf(ipam['addresses'], 'ipam.addresses').map((each, index) => {
    const at = `ipam.addresses[${index}]`;
    const fields = fieldsOf(each, at);
    return addressWith(fields['address'], fields['gateway'], at);
  });
  const asked =
    [listOf(runtime['ips'], 'runtimeConfig.ips'), listOf(given['ips'], 'args.cni.ips')].find(
      (list) => list.length > 0,
    ) ?? [];
  const addresses =
    asked.length > 0
      ? asked.map((each) => withGatewayOf(configured, addressWith(each, undefined, 'ips')))
      : [...configured, ...fromArgs(args)];
  if (addresses.length === 0)
    throw new CniError(
      CniCode.invalidConfig,
      'ipam of the type static names no address: expected ipam.addresses, runtimeConfig.ips or IP in CNI_ARGS',
    );
  return { addresses, routes: routesOf(ipam['routes'], 'ipam.routes'), dns: dnsOf(ipam['dns'], 'ipam.dns') };
}

function addressWith(address: unknown, gateway: unknown, at: string): LeasedAddress {
  const read = interfaceAddressOf(address, `${at}.address`);
  const via = addressOf(gateway, `${at}.gateway`);
  if (via !== undefined && via.includes(':') !== read.address.includes(':'))
    throw wrong(`${at}.gateway`, gateway, `of the family of ${read.address}`);
  return { address: read.address, ...(via === undefined ? {} : { gateway: via }) };
}

/** An address that the runtime names has the gateway of a configured one in the same network. */
function withGatewayOf(configured: readonly LeasedAddress[], asked: LeasedAddress): LeasedAddress {
  const { network } = interfaceAddressOf(asked.address, 'ips');
  const gateway = configured.find(({ gateway: via }) => {
    const parsed = via === undefined ? undefined : tryParseAddress(via);
    return parsed !== undefined && contains(network, parsed);
  })?.gateway;
  return gateway === undefined ? asked : { ...asked, gateway };
}

function fromArgs(args: Readonly<Record<string, string>>): LeasedAddress[] {
  const list = (key: string) => (args[key] ?? '').split(',').map((text) => text.trim());
  const gateways = list('GATEWAY').filter((text) => text !== '');
  return list('IP')
    .filter((text) => text !== '')
    .map((text) => {
      const read = interfaceAddressOf(text, 'CNI_ARGS IP');
      const gateway = gateways.find((via) => via.includes(':') === text.includes(':'));
      return addressWith(read.address, gateway, 'CNI_ARGS');
    });
}
