/** Probes and lifecycle hooks: exactly one action, its port, its times. */
import type { IHTTPGetAction } from 'kubernetes-models/v1/HTTPGetAction';
import type { ILifecycleHandler } from 'kubernetes-models/v1/LifecycleHandler';
import type { IProbe } from 'kubernetes-models/v1/Probe';
import { forbidden, formatted, invalid, oneOf, type Problems, required } from './field-error.ts';
import { portName, portNumber } from './formats.ts';

const HEADER = /^[-A-Za-z0-9!#$%&'*+.^_`|~]+$/;
const ACTIONS = ['exec', 'httpGet', 'tcpSocket', 'grpc', 'sleep'] as const;

type Actions = Pick<IProbe, 'exec' | 'httpGet' | 'tcpSocket' | 'grpc'> & Pick<ILifecycleHandler, 'sleep'>;

export function* validateProbe(probe: IProbe, path: string): Problems {
  yield* validateAction(probe, path);
  for (const name of [
    'initialDelaySeconds',
    'timeoutSeconds',
    'periodSeconds',
    'successThreshold',
    'failureThreshold',
  ] as const) {
    const value = probe[name];
    if (value !== undefined && value < 0)
      yield invalid(`${path}.${name}`, value, 'must be greater than or equal to 0');
  }
  const grace = probe.terminationGracePeriodSeconds;
  if (grace !== undefined && grace <= 0)
    yield invalid(`${path}.terminationGracePeriodSeconds`, grace, 'must be greater than 0');
}

export const validateHook = (hook: ILifecycleHandler, path: string): Problems => validateAction(hook, path);

function* validateAction(actions: Actions, path: string): Problems {
  const named = ACTIONS.filter((name) => actions[name] !== undefined && actions[name] !== null);
  if (named.length === 0) yield required(path, 'must specify a handler type');
  for (const name of named.slice(1))
    yield forbidden(`${path}.${name}`, 'may not specify more than 1 handler type');
  if (actions.exec && (actions.exec.command?.length ?? 0) === 0) yield required(`${path}.exec.command`);
  if (actions.httpGet) yield* validateHttp(actions.httpGet, `${path}.httpGet`);
  if (actions.tcpSocket) yield* validatePort(actions.tcpSocket.port, `${path}.tcpSocket.port`);
  if (actions.grpc) yield* validatePort(actions.grpc.port, `${path}.grpc.port`);
}

function* validateHttp(action: IHTTPGetAction, path: string): Problems {
  if (!action.path) yield required(`${path}.path`);
  yield* validatePort(action.port, `${path}.port`);
  yield* oneOf(`${path}.scheme`, action.scheme, ['HTTP', 'HTTPS']);
  for (const header of action.httpHeaders ?? [])
    if (!HEADER.test(header.name ?? ''))
      yield invalid(
        `${path}.httpHeaders`,
        header.name,
        "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')",
      );
}

function* validatePort(port: string | number | undefined, path: string): Problems {
  if (port === undefined) yield required(path);
  else if (typeof port === 'string') yield* formatted(path, port, portName);
  else for (const words of portNumber(port)) yield invalid(path, port, words);
}
