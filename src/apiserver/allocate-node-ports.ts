/** Node ports, health checks' too: given when asked for, drawn otherwise. */
import { randomInt } from 'node:crypto';
import { invalid } from '../api/field-error.ts';
import type { FieldError } from '../api/resource.ts';
import type { Service } from '../api/types.ts';

const NODE_PORTS = { first: 30_000, last: 32_767 } as const;
const COUNT = NODE_PORTS.last - NODE_PORTS.first + 1;
/** As Kubernetes: the low end is left to those who ask for a port by its number, until the rest is full. */
const LOW = Math.min(Math.max(16, Math.floor(COUNT / 32)), 128);
const FULL = 'Internal error: failed to allocate a nodePort: range is full';

type Port = NonNullable<NonNullable<Service['spec']>['ports']>[number];
/** Takes `TCP/30080`, unless somebody has it. */
type Take = (held: string) => boolean;

const held = (port: Pick<Port, 'protocol'>, number: number) => `${port.protocol ?? 'TCP'}/${number}`;

export function claimNodePorts({ spec }: Service, take: Take): FieldError[] {
  const exposed = spec?.type === 'NodePort' || spec?.type === 'LoadBalancer';
  if (!spec || !exposed) return [];
  const ports = spec.ports ?? [];
  for (const [i, port] of ports.entries()) {
    const words = port.nodePort ? refusal(port, port.nodePort, take) : undefined;
    if (words !== undefined) return [invalid(`spec.ports[${i}].nodePort`, port.nodePort, words)];
  }
  const given = spec.type === 'LoadBalancer' && spec.allocateLoadBalancerNodePorts === false ? [] : ports;
  for (const [i, port] of given.entries()) {
    port.nodePort ||= sameNumber(port, ports, take) ?? draw((number) => take(held(port, number)));
    if (!port.nodePort)
      return [{ type: 'FieldValueInvalid', field: `spec.ports[${i}].nodePort`, message: FULL }];
  }
  return claimHealthCheck(spec, take);
}

/** As Kubernetes: one port by several protocols (DNS's) has one node port, if that is free. */
function sameNumber(port: Port, ports: readonly Port[], take: Take): number | undefined {
  const number = ports.find((other) => other.port === port.port && other.nodePort)?.nodePort;
  return number && take(held(port, number)) ? number : undefined;
}

/** Where balancers outside ask a node whether it has an endpoint; one for the whole Service. */
function claimHealthCheck(spec: NonNullable<Service['spec']>, take: Take): FieldError[] {
  if (!needsHealthCheck(spec)) return [];
  const asked = spec.healthCheckNodePort;
  const words = asked ? refusal({}, asked, take) : undefined;
  if (words !== undefined)
    return [
      invalid(
        'spec.healthCheckNodePort',
        asked,
        `failed to allocate requested HealthCheck NodePort ${asked}: ${words}`,
      ),
    ];
  const number = asked || draw((each) => take(held({}, each)));
  if (!number) return [{ type: 'FieldValueInvalid', field: 'spec.healthCheckNodePort', message: FULL }];
  spec.healthCheckNodePort = number;
  return [];
}

export const needsHealthCheck = (spec: NonNullable<Service['spec']>): boolean =>
  spec.type === 'LoadBalancer' && spec.externalTrafficPolicy === 'Local';

function refusal(port: Pick<Port, 'protocol'>, number: number, take: Take): string | undefined {
  const { first, last } = NODE_PORTS;
  if (number < first || number > last)
    return `provided port is not in the valid range. The range of valid ports is ${first}-${last}`;
  return take(held(port, number)) ? undefined : 'provided port is already allocated';
}

function draw(take: (number: number) => boolean): number | undefined {
  const search = (first: number, count: number) => {
    const start = randomInt(count);
    for (let i = 0; i < count; i++) {
      const number = first + ((start + i) % count);
      if (take(number)) return number;
    }
    return undefined;
  };
  return search(NODE_PORTS.first + LOW, COUNT - LOW) ?? search(NODE_PORTS.first, LOW);
}
