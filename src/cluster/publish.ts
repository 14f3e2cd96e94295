/** `--publish SVC:PORT[:HOSTPORT]`: a port of a service on 127.0.0.1 of the machine. */
import { HeddleError } from '../lib/errors.ts';

export interface PublishedPort {
  readonly namespace: string;
  readonly service: string;
  /** Of the service. */
  readonly port: number;
  /** On 127.0.0.1. */
  readonly hostPort: number;
}

const expected = 'expected SERVICE:PORT[:HOSTPORT] or NAMESPACE/SERVICE:PORT[:HOSTPORT]';
const label = '[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?';
const shape = new RegExp(`^(?:(${label})/)?(${label}):(\\d{1,5})(?::(\\d{1,5}))?$`);

/** @throws HeddleError `BadFlag` */
export function parsePublish(text: string): PublishedPort {
  const match = shape.exec(text);
  const port = Number(match?.[3]);
  const hostPort = Number(match?.[4] ?? match?.[3]);
  const fits = (n: number) => n >= 1 && n <= 65_535;
  if (!match || !fits(port) || !fits(hostPort))
    throw new HeddleError('BadFlag', `--publish "${text}": ${expected}`, {
      hint: 'for example --publish web:80:8080 or --publish shop/frontend:8080; ports are 1 to 65535',
    });
  return { namespace: match[1] ?? 'default', service: match[2] ?? '', port, hostPort };
}

/** @throws HeddleError `BadFlag` when two of them want one port of the machine */
export function parsePublishes(texts: readonly string[], apiPort: number): PublishedPort[] {
  const ports = texts.map(parsePublish);
  const taken = new Map([[apiPort, 'the API server (--api-port)']]);
  for (const { namespace, service, hostPort } of ports) {
    const other = taken.get(hostPort);
    if (other !== undefined)
      throw new HeddleError(
        'BadFlag',
        `--publish: port ${hostPort} of 127.0.0.1 is wanted by ${namespace}/${service} and by ${other}`,
        {
          hint: 'name another one: SERVICE:PORT:HOSTPORT',
        },
      );
    taken.set(hostPort, `${namespace}/${service}`);
  }
  return ports;
}
