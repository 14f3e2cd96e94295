/**
 * The numbers of the fields in the messages that kubectl's own commands send (`create namespace`, `create
 * deployment`, `auth can-i`, `drain`, …); manifests always come as JSON. Each line is `number name type`:
 * s text, i number, b flag (left out when empty; S, I and B are kept, being pointers in Go), y bytes, t time,
 * x number or text, q quantity, m map of texts, n map of bytes, u map of quantities, or another message; [] for
 * lists, ~ for a message whose fields JSON has in place of it.
 */
import { POD_MESSAGES } from './pod-messages.ts';

export interface FieldSpec {
  readonly name: string;
  readonly type: string;
  readonly list: boolean;
}
export type MessageSpec = ReadonlyMap<number, FieldSpec>;

const SOURCE: Readonly<Record<string, string>> = {
  ...POD_MESSAGES,
  ObjectMeta: `1 name s, 2 generateName s, 3 namespace s, 4 selfLink s, 5 uid s, 6 resourceVersion s,
    7 generation i, 8 creationTimestamp t, 9 deletionTimestamp t, 10 deletionGracePeriodSeconds I, 11 labels m,
    12 annotations m, 13 ownerReferences []OwnerReference, 14 finalizers []s`,
  OwnerReference: '1 kind s, 3 name s, 4 uid s, 5 apiVersion s, 6 controller B, 7 blockOwnerDeletion B',
  LabelSelector: '1 matchLabels m, 2 matchExpressions []LabelSelectorRequirement',
  LabelSelectorRequirement: '1 key s, 2 operator s, 3 values []s',
  Namespace: '1 metadata ObjectMeta, 2 spec NamespaceSpec, 3 status NamespaceStatus',
  NamespaceSpec: '1 finalizers []s',
  NamespaceStatus: '1 phase s',
  ConfigMap: '1 metadata ObjectMeta, 2 data m, 3 binaryData n, 4 immutable B',
  Secret: '1 metadata ObjectMeta, 2 data n, 3 type s, 4 stringData m, 5 immutable B',
  ServiceAccount: `1 metadata ObjectMeta, 2 secrets []ObjectReference, 3 imagePullSecrets []LocalObjectReference,
    4 automountServiceAccountToken B`,
  ObjectReference:
    '1 kind s, 2 namespace s, 3 name s, 4 uid s, 5 apiVersion s, 6 resourceVersion s, 7 fieldPath s',
  LocalObjectReference: '1 name s',
  Service: '1 metadata ObjectMeta, 2 spec ServiceSpec, 3 status ServiceStatus',
  ServiceStatus: '1 loadBalancer LoadBalancerStatus',
  LoadBalancerStatus: '',
  ServiceSpec: `1 ports []ServicePort, 2 selector m, 3 clusterIP s, 4 type s, 5 externalIPs []s,
    7 sessionAffinity s, 8 loadBalancerIP s, 9 loadBalancerSourceRanges []s, 10 externalName s,
    11 externalTrafficPolicy s, 12 healthCheckNodePort i, 13 publishNotReadyAddresses b, 17 ipFamilyPolicy s,
    18 clusterIPs []s, 19 ipFamilies []s, 20 allocateLoadBalancerNodePorts B, 21 loadBalancerClass s,
    22 internalTrafficPolicy s`,
  ServicePort: '1 name s, 2 protocol s, 3 port i, 4 targetPort x, 5 nodePort i, 6 appProtocol s',
  Deployment: '1 metadata ObjectMeta, 2 spec DeploymentSpec, 3 status DeploymentStatus',
  DeploymentStatus: `1 observedGeneration i, 2 replicas i, 3 updatedReplicas i, 4 availableReplicas i,
    5 unavailableReplicas i, 7 readyReplicas i`,
  DeploymentSpec: `1 replicas I, 2 selector LabelSelector, 3 template PodTemplateSpec,
    4 strategy DeploymentStrategy, 5 minReadySeconds i, 6 revisionHistoryLimit I, 7 paused b,
    9 progressDeadlineSeconds I`,
  DeploymentStrategy: '1 type s, 2 rollingUpdate RollingUpdateDeployment',
  RollingUpdateDeployment: '1 maxUnavailable x, 2 maxSurge x',
  PodTemplateSpec: '1 metadata ObjectMeta, 2 spec PodSpec',
  Empty: '',
  Binding: '1 metadata ObjectMeta, 2 target ObjectReference',
  Eviction: '1 metadata ObjectMeta, 2 deleteOptions DeleteOptions',
  DeleteOptions: `1 gracePeriodSeconds I, 2 preconditions Preconditions, 3 orphanDependents B,
    4 propagationPolicy s, 5 dryRun []s`,
  Preconditions: '1 uid s, 2 resourceVersion s',
  TokenRequest: '1 metadata ObjectMeta, 2 spec TokenRequestSpec, 3 status TokenRequestStatus',
  TokenRequestSpec: '1 audiences []s, 3 boundObjectRef BoundObjectReference, 4 expirationSeconds I',
  TokenRequestStatus: '1 token s, 2 expirationTimestamp t',
  BoundObjectReference: '1 kind s, 2 apiVersion s, 3 name s, 4 uid s',
  SelfSubjectReview: '1 metadata ObjectMeta, 2 status SelfSubjectReviewStatus',
  SelfSubjectReviewStatus: '1 userInfo Empty',
  SelfSubjectAccessReview: '1 metadata ObjectMeta, 2 spec AccessSpec, 3 status AccessStatus',
  AccessSpec: '1 resourceAttributes ResourceAttributes, 2 nonResourceAttributes NonResourceAttributes',
  AccessStatus: '1 allowed b, 2 reason s, 3 evaluationError s, 4 denied b',
  ResourceAttributes:
    '1 namespace s, 2 verb s, 3 group s, 4 version s, 5 resource s, 6 subresource s, 7 name s',
  NonResourceAttributes: '1 path s, 2 verb s',
  Scale: '1 metadata ObjectMeta, 2 spec ScaleSpec, 3 status ScaleStatus',
  ScaleSpec: '1 replicas I',
  ScaleStatus: '1 replicas i, 2 selector s',
  IntOrString: '1 type i, 2 intVal i, 3 strVal s',
  Time: '1 seconds i, 2 nanos i',
  Unknown: '1 typeMeta TypeMeta, 2 raw y, 3 contentEncoding s, 4 contentType s',
  TypeMeta: '1 apiVersion s, 2 kind s',
};

const specs = new Map(
  Object.entries(SOURCE).map(([message, text]) => {
    const fields = text.split(',').flatMap((line): [number, FieldSpec][] => {
      const [number, name, type] = line.trim().split(/\s+/);
      if (!number || !name || !type) return [];
      return [[Number(number), { name, type: type.replace('[]', ''), list: type.startsWith('[]') }]];
    });
    return [message, new Map(fields)] as const;
  }),
);

export const messageSpec = (name: string): MessageSpec | undefined => specs.get(name);
