/** What rules say of requests, as data and back. */
import { namePattern } from '../language/cilium-names.ts';
import {
  anyCase,
  anyText,
  endsWith,
  fullMatch,
  oneOf,
  present,
  type RequestMatch,
  startsWith,
  type TextForm,
  type TextMatch,
} from '../request.ts';
import type { HeaderForm, RequestForm } from './model.ts';

export function formOf(match: RequestMatch): RequestForm {
  switch (match.type) {
    case 'http': {
      const { method, path, target, host, headers } = match;
      return { type: 'http', ...formsOf({ method, path, target, host }), ...headerForms(headers) };
    }
    case 'grpc': {
      const { service, method, host, headers } = match;
      return { type: 'grpc', ...formsOf({ service, method, host }), ...headerForms(headers) };
    }
    case 'dns':
      return { type: 'dns', names: match.names.map(({ form }) => form) };
    default: {
      const { apiKeys, apiVersion, topic, clientId } = match;
      return { type: 'kafka', ...given({ apiKeys, apiVersion, topic, clientId }) };
    }
  }
}

export function matchOf(form: RequestForm): RequestMatch {
  switch (form.type) {
    case 'http': {
      const { method, path, target, host, headers } = form;
      return { type: 'http', ...matchesOf({ method, path, target, host }), ...headerMatches(headers) };
    }
    case 'grpc': {
      const { service, method, host, headers } = form;
      return { type: 'grpc', ...matchesOf({ service, method, host }), ...headerMatches(headers) };
    }
    case 'dns':
      return { type: 'dns', names: form.names.map(textOf) };
    default:
      return form;
  }
}

function textOf(form: TextForm): TextMatch {
  switch (form.is) {
    case 'any':
      return anyText;
    case 'present':
      return present;
    case 'exact':
      return oneOf(form.values);
    case 'prefix':
      return startsWith(form.value);
    case 'suffix':
      return endsWith(form.value);
    case 'regex':
      return fullMatch(form.value);
    case 'name':
      return namePattern(form.value);
    default:
      return anyCase(textOf(form.form));
  }
}

type Given<T> = { readonly [K in keyof T]?: Exclude<T[K], undefined> };

const given = <T extends object>(parts: T): Given<T> =>
  Object.fromEntries(Object.entries(parts).filter(([, value]) => value !== undefined)) as Given<T>;

const mapped = <K extends string, A, B>(parts: Readonly<Record<K, A | undefined>>, to: (from: A) => B) =>
  Object.fromEntries(
    Object.entries<A | undefined>(parts).flatMap(([name, value]) =>
      value === undefined ? [] : [[name, to(value)]],
    ),
  ) as { readonly [N in K]?: B };

const formsOf = <K extends string>(parts: Readonly<Record<K, TextMatch | undefined>>) =>
  mapped(parts, ({ form }: TextMatch) => form);

const matchesOf = <K extends string>(parts: Readonly<Record<K, TextForm | undefined>>) =>
  mapped(parts, textOf);

const headerForms = (headers: readonly { name: string; value: TextMatch }[] | undefined) =>
  headers ? { headers: headers.map(({ name, value }): HeaderForm => ({ name, value: value.form })) } : {};

const headerMatches = (headers: readonly HeaderForm[] | undefined) =>
  headers ? { headers: headers.map(({ name, value }) => ({ name, value: textOf(value) })) } : {};
