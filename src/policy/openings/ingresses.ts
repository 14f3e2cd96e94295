/** What an Ingress opens: each backend of its rules, and the one for everything else. */
import type { KubeObject } from '../../api/types.ts';
import type { Opened, OpenedBy, Sender, Unopened } from './opened.ts';

interface Backend {
  service?: { name?: string; port?: { number?: number; name?: string } };
  resource?: { kind?: string; name?: string };
  /** As versions before v1 have it. */
  serviceName?: string;
  servicePort?: number | string;
}

export interface IngressObject extends KubeObject {
  spec?: {
    ingressClassName?: string;
    defaultBackend?: Backend;
    backend?: Backend;
    rules?: { host?: string; http?: { paths?: { path?: string; backend?: Backend }[] } }[];
  };
}

const CLASS_ANNOTATION = 'kubernetes.io/ingress.class';

export function openedByIngress(ingress: IngressObject): OpenedBy {
  const { metadata, spec = {} } = ingress;
  const namespace = metadata.namespace ?? 'default';
  const ref = { kind: 'Ingress', namespace, name: metadata.name };
  const className = spec.ingressClassName ?? metadata.annotations?.[CLASS_ANNOTATION];
  const sender: Sender = { type: 'ingress', className };
  const opened: Opened[] = [];
  const unopened: Unopened[] = [];

  function add(path: string, entry: string, backend: Backend | undefined): void {
    const by = { ...ref, path };
    const { service, resource, serviceName = service?.name, servicePort } = backend ?? {};
    const port = service?.port?.number ?? service?.port?.name ?? servicePort;
    if (resource)
      unopened.push({ by, message: `its backend is a ${resource.kind ?? 'resource'}, no Service` });
    else if (serviceName === undefined || port === undefined)
      unopened.push({ by, message: 'has no backend: expected the name and a port of a Service' });
    else opened.push({ by, entry, sender, service: { namespace, name: serviceName }, port, protocol: 'TCP' });
  }

  const rest = spec.defaultBackend ? 'defaultBackend' : spec.backend ? 'backend' : undefined;
  if (rest) add(`spec.${rest}`, 'whatever no rule takes', spec[rest]);
  for (const [i, { host, http }] of (spec.rules ?? []).entries()) {
    const where = host ? `host ${host}` : 'any host';
    // A rule without paths is for the default backend.
    for (const [j, { path, backend }] of (http?.paths ?? []).entries())
      add(`spec.rules[${i}].http.paths[${j}]`, `${where} path ${path ?? '/'}`, backend);
  }
  return { opened, unopened };
}
