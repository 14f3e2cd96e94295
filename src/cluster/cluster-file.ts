/**
 * `kind: Cluster` of heddle.dev/v1alpha1: what `heddle up` takes as flags, and the nodes with their places and the
 * links between those (docs/cluster-file.md). Pure; every problem is told with its file and line.
 */
import { labelValue, dns1123Label, qualifiedName } from '../api/formats.ts';
import { manifestError, type ManifestProblem } from '../api/manifest/problem.ts';
import type { ManifestObject } from '../api/manifest/parse.ts';
import { nearest } from '../api/manifest/nearest.ts';
import { isObject } from '../lib/json.ts';
import { CLUSTER_API } from './cluster-kind.ts';
import { betweenProblem, type PlaceLink, placeProblems, placesOf, sameEnds } from './lines/places.ts';
import { type LinkField, linkFieldNames, linkFields, settingsProblem } from './lines/values.ts';
import { inOrder, type NodeResources, quantityProblem, resourceNameProblem } from './node-resources.ts';
import type { NodeSpec } from './plan.ts';

/** A flag of `up` that the file may give, by its name in camel case. */
export interface FileOption {
  readonly name: string;
  readonly kind: 'boolean' | 'list' | 'text';
}

export interface ClusterFile {
  readonly file: string;
  readonly name: string;
  /** A number, or each by name; undefined where the file says nothing. */
  readonly nodes: number | readonly NodeSpec[] | undefined;
  readonly links: readonly PlaceLink[];
  readonly seed: number | undefined;
  readonly mtu: number | undefined;
  /** Paths as written: relative to the file's folder. */
  readonly manifests: readonly string[];
  /** As flags would give them. */
  readonly options: Readonly<Record<string, boolean | string | readonly string[]>>;
  lineOf(path: string): number;
}

/** Names that the cluster itself has for namespaces beside its nodes'. */
const RESERVED = new Set(['underlay', 'control-plane', 'outside']);
const NODE_FIELDS = ['name', 'labels', 'region', 'zone', 'rack', 'resources'];
const OWN_FIELDS = ['nodes', 'links', 'seed', 'mtu', 'manifests'];

/** @throws HeddleError `BadManifest` that lists every problem */
export function readClusterFile(entry: ManifestObject, allowed: readonly FileOption[]): ClusterFile {
  const { object, file, lineOf } = entry;
  const problems: ManifestProblem[] = [];
  const given: unknown = object.metadata?.name;
  const name = typeof given === 'string' ? given : '';
  const say = (path: string, message: string) =>
    problems.push({ file, line: lineOf(path), object: `Cluster ${name}`, message: `${path}: ${message}` });
  if (object.apiVersion !== CLUSTER_API) say('apiVersion', `"${object.apiVersion}"; expected ${CLUSTER_API}`);
  for (const problem of dns1123Label(name)) say('metadata.name', `${shown(given)}: ${problem}`);
  const unknownAt = (path: string, value: object, fields: readonly string[]) => {
    for (const key of Object.keys(value)) {
      if (fields.includes(key)) continue;
      const guess = nearest(key, fields);
      say(
        path === '' ? key : `${path}.${key}`,
        `unknown field${guess === undefined ? `; expected ${fields.join(', ')}` : `; did you mean "${guess}"?`}`,
      );
    }
  };
  unknownAt('', object, ['apiVersion', 'kind', 'metadata', 'spec']);
  const whole = object as unknown as Record<string, unknown>;
  const spec = whole['spec'] ?? {};
  const reader = { say, unknownAt };
  if (!isObject(spec)) {
    say('spec', `${shown(spec)}; expected an object`);
    throw manifestError(problems)!;
  }
  unknownAt('spec', spec, [...OWN_FIELDS, ...allowed.map((option) => option.name)]);
  const nodes = readNodes(spec['nodes'], reader);
  const links = readLinks(spec['links'], Array.isArray(nodes) ? nodes : [], reader);
  const result: ClusterFile = {
    file,
    name,
    nodes,
    links,
    seed: wholeNumber('spec.seed', spec['seed'], 0, 2 ** 32 - 1, reader),
    mtu: wholeNumber('spec.mtu', spec['mtu'], 1280, 65_535, reader),
    manifests: texts('spec.manifests', spec['manifests'], reader) ?? [],
    options: readOptions(spec, allowed, reader),
    lineOf,
  };
  const error = manifestError(problems);
  if (error) throw error;
  return result;
}

interface Reader {
  say(path: string, message: string): void;
  unknownAt(path: string, value: object, fields: readonly string[]): void;
}

const shown = (value: unknown): string => JSON.stringify(value) ?? 'nothing';

function readOptions(spec: Record<string, unknown>, allowed: readonly FileOption[], reader: Reader) {
  const options: Record<string, boolean | string | readonly string[]> = {};
  for (const { name, kind } of allowed) {
    const value = spec[name];
    const path = `spec.${name}`;
    if (value === undefined) continue;
    if (kind === 'boolean') {
      if (typeof value === 'boolean') options[name] = value;
      else reader.say(path, `${shown(value)}; expected true or false`);
    } else if (kind === 'list') options[name] = texts(path, value, reader) ?? [];
    else if (typeof value === 'string' || typeof value === 'number') options[name] = String(value);
    else reader.say(path, `${shown(value)}; expected a text or a number`);
  }
  return options;
}

function texts(path: string, value: unknown, { say }: Reader): string[] | undefined {
  if (value === undefined) return undefined;
  if (Array.isArray(value) && value.every((one) => typeof one === 'string')) return value;
  say(path, `${shown(value)}; expected a list of texts`);
  return undefined;
}

function wholeNumber(
  path: string,
  value: unknown,
  least: number,
  most: number,
  { say }: Reader,
): number | undefined {
  if (value === undefined) return undefined;
  if (typeof value === 'number' && Number.isInteger(value) && value >= least && value <= most) return value;
  say(path, `${shown(value)}; expected a whole number from ${least} to ${most}`);
  return undefined;
}

function readNodes(value: unknown, reader: Reader): ClusterFile['nodes'] {
  if (value === undefined || typeof value === 'number')
    return wholeNumber('spec.nodes', value, 1, 250, reader);
  if (!Array.isArray(value) || value.length === 0) {
    reader.say('spec.nodes', `${shown(value)}; expected a number of nodes, or a list of them`);
    return undefined;
  }
  const nodes = value.map((node, i) => readNode(`spec.nodes[${i}]`, node, reader));
  const seen = new Map<string, number>();
  for (const [i, { name }] of nodes.entries()) {
    const first = seen.get(name);
    if (first === undefined) seen.set(name, i);
    else
      reader.say(
        `spec.nodes[${i}].name`,
        `"${name}" is the name of spec.nodes[${first}] too; expected another`,
      );
  }
  for (const { index, field, message } of placeProblems(nodes))
    reader.say(`spec.nodes[${index}].${field}`, message);
  return nodes;
}

function readNode(path: string, value: unknown, reader: Reader): NodeSpec {
  const { say, unknownAt } = reader;
  if (!isObject(value)) {
    say(path, `${shown(value)}; expected an object with a name`);
    return { name: path };
  }
  unknownAt(path, value, NODE_FIELDS);
  const { name } = value;
  if (typeof name !== 'string') say(`${path}.name`, `${shown(name)}; expected the node's name`);
  else if (RESERVED.has(name))
    say(`${path}.name`, `"${name}" is what Heddle calls a part of its own; expected another name`);
  else for (const problem of dns1123Label(name)) say(`${path}.name`, `"${name}": ${problem}`);
  const place = (field: 'region' | 'zone' | 'rack'): string | undefined => {
    const given = value[field];
    if (given === undefined) return undefined;
    if (typeof given !== 'string' || given === '')
      say(`${path}.${field}`, `${shown(given)}; expected a name`);
    else for (const problem of labelValue(given)) say(`${path}.${field}`, `"${given}": ${problem}`);
    return typeof given === 'string' ? given : undefined;
  };
  const [region, zone, rack] = [place('region'), place('zone'), place('rack')];
  const labels = readLabels(`${path}.labels`, value['labels'], reader);
  const resources = readResources(`${path}.resources`, value['resources'], reader);
  return {
    name: String(name),
    ...(region === undefined ? {} : { region }),
    ...(zone === undefined ? {} : { zone }),
    ...(rack === undefined ? {} : { rack }),
    ...(labels === undefined ? {} : { labels }),
    ...(resources === undefined ? {} : { resources }),
  };
}

function readResources(path: string, value: unknown, { say }: Reader): NodeResources | undefined {
  if (value === undefined) return undefined;
  if (!isObject(value)) {
    say(path, `${shown(value)}; expected an object of quantities, such as {cpu: 8, memory: 32Gi}`);
    return undefined;
  }
  const found = Object.entries(value).map(([name, given]): [string, string] => {
    const at = `${path}[${name}]`;
    const quantity = typeof given === 'string' || typeof given === 'number' ? String(given) : '';
    const problem = resourceNameProblem(name);
    if (problem !== undefined) say(at, problem);
    else {
      const wrong = quantityProblem(name, quantity);
      if (wrong !== undefined) say(at, `${shown(given)}; ${wrong}`);
    }
    return [name, quantity];
  });
  return inOrder(found);
}

/** What Heddle says of a node itself. */
const OWN_LABEL = /^(kubernetes\.io\/(hostname|os|arch)|topology\.(kubernetes\.io|heddle\.dev)\/.*)$/;

function readLabels(path: string, value: unknown, { say }: Reader): Record<string, string> | undefined {
  if (value === undefined) return undefined;
  if (!isObject(value)) {
    say(path, `${shown(value)}; expected an object of texts`);
    return undefined;
  }
  for (const [key, text] of Object.entries(value)) {
    const at = `${path}[${key}]`;
    if (OWN_LABEL.test(key)) say(at, 'Heddle sets it itself; expected region, zone and rack beside the name');
    for (const problem of qualifiedName(key)) say(at, problem);
    if (typeof text !== 'string') say(at, `${shown(text)}; expected a text (put it in quotes)`);
    else for (const problem of labelValue(text)) say(at, `"${text}": ${problem}`);
  }
  return value as Record<string, string>;
}

function readLinks(value: unknown, nodes: readonly NodeSpec[], reader: Reader): PlaceLink[] {
  if (value === undefined) return [];
  if (!Array.isArray(value)) {
    reader.say('spec.links', `${shown(value)}; expected a list`);
    return [];
  }
  const places = placesOf(nodes);
  const links: PlaceLink[] = [];
  for (const [i, item] of value.entries()) {
    const path = `spec.links[${i}]`;
    const link = readLink(path, item, reader);
    if (!link) continue;
    const problem = betweenProblem(link.between, places);
    const first = links.findIndex(({ between }) => sameEnds(between, link.between));
    if (problem !== undefined) reader.say(`${path}.between`, problem);
    else if (first >= 0)
      reader.say(`${path}.between`, `spec.links[${first}] is between the same; expected one link`);
    links.push(link);
  }
  return links;
}

function readLink(path: string, value: unknown, { say, unknownAt }: Reader): PlaceLink | undefined {
  if (!isObject(value)) {
    say(path, `${shown(value)}; expected an object with "between"`);
    return undefined;
  }
  unknownAt(path, value, ['between', ...linkFieldNames]);
  const settings: Partial<Record<LinkField, number>> = {};
  for (const field of linkFieldNames) {
    const given = value[field];
    if (given === undefined) continue;
    const { expected, read } = linkFields[field];
    const number = typeof given === 'string' || typeof given === 'number' ? read(String(given)) : undefined;
    if (number === undefined) say(`${path}.${field}`, `${shown(given)}; expected ${expected}`);
    else settings[field] = number;
  }
  const problem = settingsProblem(settings);
  if (problem !== undefined) say(`${path}.jitter`, `${problem}; expected at most that`);
  const { between } = value;
  if (
    Array.isArray(between) &&
    between.length === 2 &&
    between.every((end) => typeof end === 'string' && end !== '')
  )
    return { between: between as [string, string], ...settings };
  say(`${path}.between`, `${shown(between)}; expected two places, such as [zone-a, zone-b]`);
  return undefined;
}
