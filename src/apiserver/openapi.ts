/**
 * /openapi/v3: the index, and a document for each group and version. /openapi/v2: only what clients still
 * ask it for, which is whether a PATCH of a kind takes `fieldValidation` (kubectl does so for a `v1 List`).
 */
import type { Resource } from '../api/resource.ts';
import { openapiV3Document, openapiV3Index } from '../api/schema/openapi.ts';
import type { Answer } from './deps.ts';
import { noSuchPath } from './failure.ts';
import { prefixOf } from './objects.ts';
import { textField } from './protobuf/encode.ts';

const ROOT = '/openapi/v3';
/** Clients ask for it with an `@`, which is no media type that they could read in an answer. */
const V2_PROTOBUF = 'application/com.github.proto-openapi.spec.v2.v1.0+protobuf';

/** @throws ApiFailure 404 */
export function openapiAnswer(path: string, registry: readonly Resource[], accept = ''): Answer | undefined {
  if (path === ROOT) return { code: 200, body: openapiV3Index() };
  if (path === '/openapi/v2')
    return accept.includes('proto-openapi')
      ? { code: 200, body: protobufV2(registry), contentType: V2_PROTOBUF }
      : { code: 200, body: jsonV2(registry) };
  if (!path.startsWith(`${ROOT}/`)) return undefined;
  const document = openapiV3Document(path.slice(ROOT.length + 1));
  if (document === undefined) throw noSuchPath();
  // The address in the index carries a hash: what is under it never changes.
  return { code: 200, body: document, headers: { 'cache-control': 'public, immutable', vary: 'Accept' } };
}

const GVK = 'x-kubernetes-group-version-kind';
const TITLE = 'Kubernetes';
const VERSION = 'v1.35.0';
const pathOf = ({ kind }: Resource) => `/${prefixOf(kind)}{name}`;

function jsonV2(registry: readonly Resource[]): unknown {
  const operation = ({ kind: { group, version, kind } }: Resource) => ({
    [GVK]: { group, version, kind },
    parameters: [{ name: 'fieldValidation', in: 'query', type: 'string', uniqueItems: true }],
    responses: { 200: { description: 'OK' } },
  });
  return {
    swagger: '2.0',
    info: { title: TITLE, version: VERSION },
    paths: Object.fromEntries(registry.map((one) => [pathOf(one), { patch: operation(one) }])),
    definitions: {},
  };
}

/** The same as the messages of gnostic's openapi_v2.proto; the numbers are its fields'. */
function protobufV2(registry: readonly Resource[]): Buffer {
  const paths = registry.map((one) => {
    const { group, version, kind } = one.kind;
    const gvk = JSON.stringify({ group, version, kind });
    const query = [textField(2, 'query'), textField(4, 'fieldValidation')];
    // ParametersItem.parameter, Parameter.non_body_parameter, NonBodyParameter.query_parameter_sub_schema
    const parameter = textField(8, textField(1, textField(2, textField(3, ...query))));
    const extension = textField(13, textField(1, GVK), textField(2, textField(2, gvk)));
    const patch = textField(8, parameter, extension);
    return textField(2, textField(1, pathOf(one)), textField(2, patch));
  });
  const info = textField(2, textField(1, TITLE), textField(2, VERSION));
  return Buffer.concat([textField(1, '2.0'), info, textField(8, ...paths)]);
}
