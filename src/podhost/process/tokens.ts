/** Tokens of the pod's service account for its volumes: asked for once, and again when most of their time is over. */
import type { Pod } from '../../api/types.ts';
import type { Clock } from '../../lib/clock.ts';

/** What a volume asks for. */
export interface TokenWish {
  /** Undefined: the API server's own. */
  audience?: string | undefined;
  seconds: number;
}

export interface Token {
  token: string;
  /** Milliseconds since 1970. */
  expires: number;
}

/** Bound to the pod. */
export type TokenReader = (pod: Pod, wish: TokenWish) => Promise<Token>;

export interface Tokens {
  /** All that the pod's volumes need. Rejects when one cannot be had, and there is none that still holds. */
  current(pod: Pod): Promise<(wish: TokenWish) => string>;
}

const DEFAULT_SECONDS = 3600;
/** As a kubelet: renewed when a fifth of its time is left, and each day. */
const SPARE = 0.2;
const DAY_MS = 86_400_000;

export type TokenSource = NonNullable<
  NonNullable<NonNullable<NonNullable<Pod['spec']>['volumes']>[number]['projected']>['sources']
>[number]['serviceAccountToken'];

export const wishOf = (source: NonNullable<TokenSource>): TokenWish => ({
  audience: source.audience || undefined,
  seconds: source.expirationSeconds ?? DEFAULT_SECONDS,
});

const keyOf = ({ audience = '', seconds }: TokenWish): string => `${seconds} ${audience}`;

const wishesOf = (pod: Pod): TokenWish[] =>
  (pod.spec?.volumes ?? [])
    .flatMap(({ projected }) => projected?.sources ?? [])
    .flatMap(({ serviceAccountToken }) => (serviceAccountToken ? [wishOf(serviceAccountToken)] : []));

export function createTokens(read: TokenReader, clock: Pick<Clock, 'now'>): Tokens {
  const held = new Map<string, Token & { since: number }>();

  async function renew(pod: Pod, wish: TokenWish): Promise<void> {
    const key = keyOf(wish);
    const old = held.get(key);
    const now = clock.now();
    if (old && now < Math.min(old.since + DAY_MS, old.expires - (old.expires - old.since) * SPARE)) return;
    try {
      held.set(key, { ...(await read(pod, wish)), since: now });
    } catch (error) {
      if (!old || clock.now() >= old.expires) throw error;
    }
  }

  return {
    async current(pod) {
      await Promise.all(wishesOf(pod).map((wish) => renew(pod, wish)));
      return (wish) => held.get(keyOf(wish))?.token ?? '';
    },
  };
}
