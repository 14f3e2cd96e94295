/** A port of a Service that an object opens to the outside, before anybody looks for who answers there. */
import type { PortProtocol } from '../world.ts';

/** A part of an object. */
export interface OpenerRef {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly path: string;
}

/** Who sends what comes in: clients outside themselves, or a proxy of the cluster for them. */
export type Sender =
  /** `ranges`: only addresses in these; null = any. */
  | { readonly type: 'outside'; readonly ranges: readonly string[] | null }
  | { readonly type: 'ingress'; readonly className: string | undefined }
  | { readonly type: 'gateway'; readonly namespace: string; readonly name: string };

export interface Opened {
  readonly by: OpenerRef;
  /** `node port 30080`, `host shop.example path /cart`, `listener web (80 HTTP)` */
  readonly entry: string;
  readonly sender: Sender;
  readonly service: { readonly namespace: string; readonly name: string };
  /** Of the Service: its number or its name. Null: every one of its ports. */
  readonly port: number | string | null;
  readonly protocol: PortProtocol;
}

/** A part that opens nothing, though it looks as if it did. */
export interface Unopened {
  readonly by: OpenerRef;
  readonly message: string;
}

export interface OpenedBy {
  readonly opened: readonly Opened[];
  readonly unopened: readonly Unopened[];
}
