/** Quantities of resources: `100m`, `1.5Gi`, `2e3`. */
const FORM = /^([+-]?(?:\d+(?:\.\d*)?|\.\d+))(?:([KMGTPE]i|[numkMGTPE])|[eE]([+-]?\d+))?$/;
const DECIMAL: Readonly<Record<string, number>> = {
  n: 1e-9,
  u: 1e-6,
  m: 1e-3,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
  E: 1e18,
};
const BINARY = ['Ki', 'Mi', 'Gi', 'Ti', 'Pi', 'Ei'];

/** The number, good enough to compare; undefined for what is no quantity. */
export function quantityValue(quantity: string | number): number | undefined {
  const match = FORM.exec(String(quantity));
  if (!match) return undefined;
  const [, digits = '0', suffix, exponent] = match;
  const number = Number(digits);
  if (exponent !== undefined) return number * 10 ** Number(exponent);
  if (suffix === undefined) return number;
  const binary = BINARY.indexOf(suffix);
  return binary < 0 ? number * (DECIMAL[suffix] ?? 1) : number * 1024 ** (binary + 1);
}

/** Bytes with the largest suffix that leaves a whole number. */
export function binaryQuantity(bytes: number): string {
  let at = -1;
  let value = bytes;
  while (at + 1 < BINARY.length && value >= 1024 && value % 1024 === 0) {
    value /= 1024;
    at++;
  }
  return `${value}${BINARY[at] ?? ''}`;
}

const inBytes = (name: string): boolean =>
  name === 'memory' || name === 'ephemeral-storage' || name.startsWith('hugepages-');

/** As nodes tell it; `amount` as `amountOf` of pod-requests.ts gives it. */
export function amountQuantity(name: string, amount: number): string {
  if (name === 'cpu') return amount % 1000 === 0 ? String(amount / 1000) : `${amount}m`;
  return inBytes(name) ? binaryQuantity(amount) : String(amount);
}

export const QUANTITY_WORDS =
  "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
