/** Node ports: given when asked for, drawn otherwise. */
import { randomInt } from 'node:crypto';
import { duplicate, invalid } from '../api/field-error.ts';
import type { FieldError } from '../api/resource.ts';
import type { Service } from '../api/types.ts';

const NODE_PORTS = { first: 30_000, last: 32_767 } as const;
const COUNT = NODE_PORTS.last - NODE_PORTS.first + 1;

type Port = NonNullable<NonNullable<Service['spec']>['ports']>[number];
/** Takes `TCP/30080`, unless somebody has it. */
type Take = (held: string) => boolean;

const held = (port: Port, number: number) => `${port.protocol ?? 'TCP'}/${number}`;

export function claimNodePorts({ spec }: Service, take: Take): FieldError[] {
  const exposed = spec?.type === 'NodePort' || spec?.type === 'LoadBalancer';
  if (!spec || !exposed) return [];
  const ports = spec.ports ?? [];
  for (const [i, port] of ports.entries()) {
    const words = port.nodePort ? refusal(port, port.nodePort, take) : undefined;
    if (words !== undefined) return [invalid(`spec.ports[${i}].nodePort`, port.nodePort, words)];
  }
  if (spec.type === 'LoadBalancer' && spec.allocateLoadBalancerNodePorts === false) return [];
  for (const port of ports) {
    port.nodePort ||= draw(port, take);
    if (!port.nodePort) return [duplicate('spec.ports', 'no node port is free')];
  }
  return [];
}

function refusal(port: Port, number: number, take: Take): string | undefined {
  const { first, last } = NODE_PORTS;
  if (number < first || number > last)
    return `provided port is not in the valid range. The range of valid ports is ${first}-${last}`;
  return take(held(port, number)) ? undefined : 'provided port is already allocated';
}

function draw(port: Port, take: Take): number | undefined {
  const start = randomInt(COUNT);
  for (let i = 0; i < COUNT; i++) {
    const number = NODE_PORTS.first + ((start + i) % COUNT);
    if (take(held(port, number))) return number;
  }
  return undefined;
}
