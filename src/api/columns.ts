/** Parts of table columns that several kinds share, worded as kubectl shows them. */
import type { Column } from './resource.ts';
import type { KubeObject, ObjectMeta } from './types.ts';

/** A length of time in kubectl's short words: `45s`, `5m10s`, `3h`, `2d4h`, `1y30d`. */
export function humanDuration(milliseconds: number): string {
  const seconds = Math.floor(milliseconds / 1000);
  if (seconds < -1) return '<invalid>';
  if (seconds < 0) return '0s';
  const minutes = Math.floor(seconds / 60);
  const hours = Math.floor(minutes / 60);
  const days = Math.floor(hours / 24);
  const years = Math.floor(days / 365);
  if (seconds < 120) return `${seconds}s`;
  if (minutes < 10) return two(minutes, 'm', seconds % 60, 's');
  if (hours < 3) return `${minutes}m`;
  if (hours < 8) return two(hours, 'h', minutes % 60, 'm');
  if (hours < 48) return `${hours}h`;
  if (days < 8) return two(days, 'd', hours % 24, 'h');
  if (years < 2) return `${days}d`;
  if (years < 8) return two(years, 'y', days % 365, 'd');
  return `${years}y`;
}

const two = (large: number, unit: string, small: number, smallUnit: string): string =>
  small === 0 ? `${large}${unit}` : `${large}${unit}${small}${smallUnit}`;

/** `now` in milliseconds; `<unknown>` for no time. */
export function age(time: string | undefined | null, now: number): string {
  if (!time) return '<unknown>';
  const at = Date.parse(time);
  return Number.isNaN(at) ? '<invalid>' : humanDuration(now - at);
}

/** `a=1,b=2`, sorted by key; `<none>` for no labels. */
export function labelsText(labels: Record<string, string> | undefined): string {
  const entries = Object.entries(labels ?? {});
  if (entries.length === 0) return '<none>';
  return entries
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([k, v]) => `${k}=${v}`)
    .join(',');
}

/** Joins with commas; `<none>` for nothing. */
export const joined = (values: readonly (string | undefined)[]): string =>
  values.filter((v) => v !== undefined && v !== '').join(',') || '<none>';

type WithMeta = { metadata: ObjectMeta };

export const nameColumn: Column<WithMeta> = {
  name: 'Name',
  type: 'string',
  format: 'name',
  description: 'Name of the object, unique within its namespace and kind.',
  priority: 0,
  value: (obj) => obj.metadata.name,
};

export const ageColumn: Column<WithMeta> = {
  name: 'Age',
  type: 'string',
  description: 'Time since the object was created.',
  priority: 0,
  value: (obj, now) => age(obj.metadata.creationTimestamp, now),
};

/** A column of texts. `wide` columns are shown with `-o wide` only. */
export function text<T = KubeObject>(
  name: string,
  description: string,
  value: (obj: T, now: number) => string,
  wide = false,
): Column<T> {
  return { name, type: 'string', description, priority: wide ? 1 : 0, value };
}

export function integer<T = KubeObject>(
  name: string,
  description: string,
  value: (obj: T, now: number) => number,
): Column<T> {
  return { name, type: 'integer', description, priority: 0, value };
}
