/**
 * What an agent keeps of Services and EndpointSlices: there are tens of thousands, and most of what they say is for
 * others. Parts that many have alike (ports, conditions) are kept once.
 */
import { LAST_APPLIED, SERVICE_NAME } from '../../api/labels.ts';
import type { EndpointSlice, ObjectMeta, Service } from '../../api/types.ts';

/** Different parts remembered; then it begins anew. */
const MAX_SHARED = 1000;

export interface Keepers {
  service(service: Service): Service;
  slice(slice: EndpointSlice): EndpointSlice;
}

/** Fields that nobody on a node reads are left out; what is kept must not be changed. */
export function createKeepers(): Keepers {
  const share = createSharing();
  return {
    service({ apiVersion, kind, metadata, spec, status }) {
      const { ipFamilies: _families, ipFamilyPolicy: _policy, clusterIP, ...rest } = spec ?? {};
      const { ports } = rest;
      return {
        apiVersion,
        kind,
        metadata: { ...kept(metadata), ...(metadata.labels ? { labels: metadata.labels } : {}) },
        spec: {
          ...rest,
          // As a rule the first of `clusterIPs`: one text for both.
          ...(clusterIP === undefined ? {} : { clusterIP: same(clusterIP, rest.clusterIPs?.[0]) }),
          ...(ports ? { ports: share(ports) } : {}),
        },
        // Of the other kinds of Service it says nothing.
        ...(spec?.type === 'LoadBalancer' && status ? { status } : {}),
      };
    },
    slice({ apiVersion, kind, metadata, addressType, ports, endpoints }) {
      const service = metadata.labels?.[SERVICE_NAME];
      return {
        apiVersion,
        kind,
        metadata: {
          ...kept(metadata),
          ...(service === undefined ? {} : { labels: { [SERVICE_NAME]: service } }),
        },
        addressType,
        ...(ports ? { ports: share(ports) } : {}),
        ...(endpoints
          ? {
              endpoints: endpoints.map(({ addresses, conditions, hints, hostname, nodeName }) => ({
                addresses,
                ...(conditions ? { conditions: share(conditions) } : {}),
                ...(hints ? { hints: share(hints) } : {}),
                ...(hostname === undefined ? {} : { hostname }),
                ...(nodeName === undefined ? {} : { nodeName: share(nodeName) }),
              })),
            }
          : {}),
      };
    },
  };
}

function kept({ namespace, name, annotations }: ObjectMeta): ObjectMeta {
  const { [LAST_APPLIED]: _applied, ...rest } = annotations ?? {};
  return {
    ...(namespace === undefined ? {} : { namespace }),
    name,
    ...(Object.keys(rest).length > 0 ? { annotations: rest } : {}),
  };
}

const same = (text: string, other: string | undefined): string => (text === other ? other : text);

/** The first of equal values, for all of them. */
function createSharing(): <T>(value: T) => T {
  let known = new Map<string, unknown>();
  return <T>(value: T): T => {
    const text = JSON.stringify(value);
    const found = known.get(text);
    if (found !== undefined) return found as T;
    if (known.size >= MAX_SHARED) known = new Map();
    known.set(text, value);
    return value;
  };
}
