/** `ipam` of the type dhcp, with the fields of the reference's daemon. */
import { isObject } from '../../../lib/json.ts';
import type { CniRequest } from '../../types.ts';
import { booleanOf, fieldsOf, listOf, numberOf, textOf, unsupported, wrong } from '../read.ts';

export interface DhcpConfig {
  /** By option code: bytes that the client sends. */
  readonly provide: readonly (readonly [code: number, data: string])[];
  /** Codes that the server is asked for. */
  readonly ask: readonly number[];
  /** A lower metric wins: of the routes that come with the lease. */
  readonly priority: number | undefined;
}

const FIELDS = ['type', 'daemonSocketPath', 'provide', 'request', 'priority'];
/** Subnet mask, routers, DNS, domain, broadcast, classless routes, lease times (RFC 2132, RFC 3442). */
const DEFAULT_REQUEST = [1, 3, 6, 15, 26, 28, 51, 54, 58, 59, 119, 121];
/** Names as dhcp-options(5) has them. */
const NAMES: Readonly<Record<string, number>> = {
  'subnet-mask': 1,
  routers: 3,
  'domain-name-servers': 6,
  'host-name': 12,
  'domain-name': 15,
  'interface-mtu': 26,
  'broadcast-address': 28,
  'ntp-servers': 42,
  'vendor-class-identifier': 60,
  'dhcp-client-identifier': 61,
  'user-class': 77,
  'domain-search': 119,
  'classless-static-routes': 121,
};
/** What the protocol itself sends. */
const RESERVED = new Set([0, 50, 51, 53, 54, 55, 57, 61, 255]);

/** @throws CniError invalidConfig, unsupportedField */
export function dhcpOf({ config, args }: CniRequest): DhcpConfig {
  const ipam = fieldsOf(config['ipam'], 'ipam');
  for (const [key, value] of Object.entries(ipam))
    if (!FIELDS.includes(key)) throw unsupported(`ipam.${key}`, value, `dhcp has ${FIELDS.join(', ')}`);
  if (textOf(ipam['daemonSocketPath'], 'ipam.daemonSocketPath') !== undefined)
    throw unsupported('ipam.daemonSocketPath', ipam['daemonSocketPath'], 'the agent itself is the client');
  const asked = listOf(ipam['request'], 'ipam.request').map((each) => fieldsOf(each, 'ipam.request'));
  const skip = asked.some(({ skipDefault }) => booleanOf(skipDefault, 'ipam.request.skipDefault'));
  return {
    provide: listOf(ipam['provide'], 'ipam.provide').map((each) => provideOf(each, args)),
    ask: [
      ...new Set([
        ...(skip ? [] : DEFAULT_REQUEST),
        ...asked.flatMap(({ option }) =>
          option === undefined ? [] : [codeOf(option, 'ipam.request.option')],
        ),
      ]),
    ],
    priority: numberOf(ipam['priority'], 'ipam.priority', [0, 0xffffffff]),
  };
}

function provideOf(value: unknown, args: Readonly<Record<string, string>>): readonly [number, string] {
  const fields = isObject(value) ? value : {};
  const code = codeOf(fields['option'], 'ipam.provide.option');
  if (RESERVED.has(code))
    throw unsupported('ipam.provide.option', fields['option'], 'the client says it by itself');
  const from = textOf(fields['fromArg'], 'ipam.provide.fromArg');
  const text = textOf(fields['value'], 'ipam.provide.value') ?? (from === undefined ? undefined : args[from]);
  if (text === undefined || Buffer.byteLength(text) > 255)
    throw wrong(
      'ipam.provide',
      value,
      'an option with a value of 1 to 255 bytes, or fromArg that names one of CNI_ARGS',
    );
  return [code, text];
}

function codeOf(value: unknown, key: string): number {
  const code = typeof value === 'string' ? (NAMES[value] ?? Number(value)) : value;
  if (typeof code === 'number' && Number.isInteger(code) && code > 0 && code < 255) return code;
  throw wrong(key, value, `a number from 1 to 254, or one of ${Object.keys(NAMES).join(', ')}`);
}
