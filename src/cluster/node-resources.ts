/** What nodes are said to have: `cpu=8,memory=32Gi`, or an object in the cluster file. Pure. */
import { qualifiedName } from '../api/formats.ts';
import { amountOf } from '../api/pod-requests.ts';
import { quantityValue } from '../api/quantity.ts';

export type NodeResources = Readonly<Record<string, string>>;

/** Of these and of what has a domain (`example.com/gpu`) a node may have some. */
const NATIVE = ['cpu', 'memory', 'ephemeral-storage', 'pods'];
const PAGES = /^hugepages-\d+[KMG]i$/;
/** Of others there are whole ones only. */
const DIVISIBLE = new Set(['cpu']);

export function resourceNameProblem(name: string): string | undefined {
  if (NATIVE.includes(name) || PAGES.test(name)) return undefined;
  if (!name.includes('/'))
    return `expected ${NATIVE.join(', ')}, hugepages-SIZE, or a name with a domain such as example.com/gpu`;
  return [...qualifiedName(name)][0];
}

export function quantityProblem(name: string, quantity: string): string | undefined {
  const value = quantityValue(quantity);
  const amount = amountOf(name, quantity);
  if (value === undefined || amount === undefined) return 'expected a quantity such as 8, 500m or 32Gi';
  if (value < 0) return 'expected 0 or more';
  if (!DIVISIBLE.has(name) && !Number.isInteger(value)) return 'expected a whole number';
  return Number.isSafeInteger(amount) ? undefined : 'expected less than 8Pi';
}

/** Of a flag; `none`: nothing. A text tells what is wrong with it. */
export function parseNodeResources(text: string): NodeResources | string {
  if (text === 'none') return {};
  const found = new Map<string, string>();
  for (const part of text.split(',')) {
    const [name = '', quantity, ...more] = part.split('=').map((each) => each.trim());
    if (quantity === undefined || more.length > 0) return `"${part}": expected NAME=QUANTITY, such as cpu=8`;
    const problem = resourceNameProblem(name);
    if (problem !== undefined) return `"${name}": ${problem}`;
    if (found.has(name)) return `"${name}": given twice; expected it once`;
    const wrong = quantityProblem(name, quantity);
    if (wrong !== undefined) return `${name} "${quantity}": ${wrong}`;
    found.set(name, quantity);
  }
  return inOrder(found);
}

/** By name: the same resources are the same text. */
export const inOrder = (resources: Iterable<readonly [string, string]>): NodeResources =>
  Object.fromEntries([...resources].sort(([a], [b]) => (a < b ? -1 : 1)));
