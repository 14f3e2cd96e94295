/** Destinations by Service: its pods, or the addresses outside of the cluster that it stands for. */
import type { CiliumService } from '../../api/cilium-policy-types.ts';
import { tryParseAddress } from '../../lib/ip.ts';
import { outsideBlock, type Peer, podPeer } from '../peers.ts';
import { everything, parseSelector, type Selector } from '../selector.ts';
import type { WorldService } from '../world.ts';
import { readSelector, type Report } from './read.ts';

/** One entry of toServices. A Service that is not there is nobody. */
export function readService(
  entry: CiliumService,
  services: readonly WorldService[],
  path: string,
  report: Report,
): Peer[] | undefined {
  const { k8sService, k8sServiceSelector } = entry;
  if (!k8sService === !k8sServiceSelector) {
    report(path, 'needs one of k8sService and k8sServiceSelector');
    return undefined;
  }
  if (k8sService) {
    const { serviceName, namespace } = k8sService;
    if (serviceName)
      return peersOf(services.filter((each) => each.name === serviceName && isIn(each, namespace)));
    report(`${path}.k8sService.serviceName`, 'is missing');
    return undefined;
  }
  const { selector, namespace } = k8sServiceSelector!;
  const read = readSelector(selector ?? {}, `${path}.k8sServiceSelector.selector`, report);
  return read && peersOf(services.filter((each) => read.selects(each.labels) && isIn(each, namespace)));
}

/** Without a namespace: Services of all. */
const isIn = (service: WorldService, namespace: string | undefined): boolean =>
  !namespace || service.namespace === namespace;

const peersOf = (services: readonly WorldService[]): Peer[] =>
  services.flatMap(({ namespace, selector, addresses = [] }): Peer[] =>
    selector
      ? [podPeer({ name: namespace }, selectorOf(selector))]
      : addresses
          .map(tryParseAddress)
          .filter((address) => address !== undefined)
          .map((address) => outsideBlock({ ...address, length: address.family === 4 ? 32 : 128 }, [])),
  );

function selectorOf(matchLabels: Readonly<Record<string, string>>): Selector {
  const parsed = parseSelector({ matchLabels });
  return parsed.ok ? parsed.selector : everything;
}
