import { age, text } from './columns.ts';
import { define } from './define.ts';
import { invalid, type Problems } from './field-error.ts';
import { dns1123Subdomain } from './formats.ts';
import { EVENT } from './kinds.ts';
import type { Event } from './types.ts';

const first = (e: Event): string | undefined =>
  e.firstTimestamp ?? e.eventTime ?? e.metadata.creationTimestamp ?? undefined;
const last = (e: Event): string | undefined => e.series?.lastObservedTime ?? e.lastTimestamp ?? first(e);

function objectText(e: Event): string {
  const { kind, name } = e.involvedObject;
  return name ? `${(kind ?? '').toLowerCase()}/${name}` : (kind ?? '').toLowerCase();
}

function source(e: Event): string {
  const component = e.source?.component || e.reportingComponent || '';
  const host = e.source?.host || e.reportingInstance || '';
  return [component, host].filter((part) => part !== '').join(', ');
}

function* validate(e: Event): Problems {
  const namespace = e.involvedObject.namespace ?? '';
  // Events about objects without a namespace live in `default`.
  if (namespace === '' ? e.metadata.namespace !== 'default' : namespace !== e.metadata.namespace)
    yield invalid('involvedObject.namespace', namespace, 'does not match event.namespace');
}

const object = (field: keyof Event['involvedObject']) => (e: Event) => e.involvedObject[field] ?? '';

export const event = define<Event>({
  kind: EVENT,
  singular: 'event',
  shortNames: ['ev'],
  name: dns1123Subdomain,
  columns: [
    text('Last Seen', 'When it last happened.', (e, now) => age(last(e), now)),
    text('Type', 'Normal or Warning.', (e) => e.type ?? ''),
    text('Reason', 'Why, in one word.', (e) => e.reason ?? ''),
    text('Object', 'What it is about.', objectText),
    text('Subobject', 'The part of the object.', (e) => e.involvedObject.fieldPath ?? '', true),
    text('Source', 'Who says so.', source, true),
    text('Message', 'What happened.', (e) => (e.message ?? '').trim()),
    text('First Seen', 'When it first happened.', (e, now) => age(first(e), now), true),
    text('Count', 'How often.', (e) => String(e.series?.count ?? e.count ?? 1), true),
    { ...text<Event>('Name', 'Name of the event.', (e) => e.metadata.name, true), format: 'name' },
  ],
  setDefaults(e) {
    e.involvedObject ??= {};
    e.source ??= {};
    e.reportingComponent ??= e.source.component ?? '';
    e.reportingInstance ??= e.source.host ?? '';
  },
  validate,
  selectable: {
    'involvedObject.kind': object('kind'),
    'involvedObject.namespace': object('namespace'),
    'involvedObject.name': object('name'),
    'involvedObject.uid': object('uid'),
    'involvedObject.apiVersion': object('apiVersion'),
    'involvedObject.resourceVersion': object('resourceVersion'),
    'involvedObject.fieldPath': object('fieldPath'),
    reason: (e) => e.reason ?? '',
    reportingComponent: (e) => e.reportingComponent ?? '',
    source: (e) => e.source?.component || e.reportingComponent || '',
    type: (e) => e.type ?? '',
  },
});
