/** The workloads that proxy for Ingresses and Gateways, as far as labels that the field agreed on tell them. */
import type { Labels } from '../../api/selector.ts';
import type { Estate, Workload } from '../analyse/estate.ts';
import type { Sender } from './opened.ts';

/** On the pods that a Gateway was given (Gateway API, GEP-1762). */
const GATEWAY_NAME = 'gateway.networking.k8s.io/gateway-name';

const APP_NAME = 'app.kubernetes.io/name';
const COMPONENT = 'app.kubernetes.io/component';

/** What charts of the usual controllers call them. */
const CONTROLLERS: ReadonlySet<string> = new Set([
  'ingress-nginx',
  'nginx-ingress',
  'traefik',
  'haproxy-ingress',
  'kubernetes-ingress',
  'kong',
  'contour',
]);

/** Of charts whose names are also those of other parts: the one that traffic goes through. */
const COMPONENTS: ReadonlySet<string | undefined> = new Set([
  undefined,
  'controller',
  'app',
  'envoy',
  'proxy',
]);

const isController = (labels: Labels): boolean =>
  (CONTROLLERS.has(labels[APP_NAME] ?? '') && COMPONENTS.has(labels[COMPONENT])) ||
  labels['istio'] === 'ingressgateway';

/** @param named by whoever asks; then labels are asked only of the Gateway's own pods */
export function createProxies(
  { workloads }: Estate,
  named: readonly Workload[] | undefined,
): (sender: Sender) => readonly Workload[] {
  const guessed = named ?? workloads.filter(({ pods }) => pods.some(({ labels }) => isController(labels)));
  return (sender) => {
    if (sender.type === 'outside') return [];
    if (sender.type === 'ingress') return guessed;
    const { namespace, name } = sender;
    const own = workloads.filter(
      (workload) =>
        workload.namespace === namespace && workload.pods.some(({ labels }) => labels[GATEWAY_NAME] === name),
    );
    return own.length > 0 ? own : guessed;
  };
}
