/** Limits of what a pod may send and be sent, as the CNI plugin "bandwidth" reads them from annotations. */
import { invalid, type Problems } from './field-error.ts';
import { QUANTITY_WORDS, quantityValue } from './quantity.ts';
import type { Pod } from './types.ts';

const ANNOTATIONS = {
  ingress: 'kubernetes.io/ingress-bandwidth',
  egress: 'kubernetes.io/egress-bandwidth',
} as const;
/** Bits per second, as the kubelet bounds them. */
const LEAST = 1e3;
const MOST = 1e15;

type Annotations = Readonly<Record<string, string>> | undefined;

const rateOf = (text: string): number | undefined => {
  const value = quantityValue(text);
  return value !== undefined && value >= LEAST && value <= MOST ? Math.floor(value) : undefined;
};

export function* validateBandwidth(annotations: Annotations, path: string): Problems {
  for (const name of Object.values(ANNOTATIONS)) {
    const text = annotations?.[name];
    if (text === undefined || rateOf(text) !== undefined) continue;
    const words =
      quantityValue(text) === undefined ? QUANTITY_WORDS : 'must be between 1k and 1P bits per second';
    yield invalid(`${path}[${name}]`, text, words);
  }
}

/** Bits per second. Undefined: there is no limit; one that cannot be read is none. */
export function podBandwidth({ metadata }: Pod): { ingress?: number; egress?: number } | undefined {
  const [ingress, egress] = [ANNOTATIONS.ingress, ANNOTATIONS.egress].map((name) => {
    const text = metadata.annotations?.[name];
    return text === undefined ? undefined : rateOf(text);
  });
  if (ingress === undefined && egress === undefined) return undefined;
  return { ...(ingress !== undefined && { ingress }), ...(egress !== undefined && { egress }) };
}
