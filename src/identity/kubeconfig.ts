/** A kubeconfig (client-go's v1 Config) with everything inside it. */
export interface KubeconfigInput {
  /** `https://host:port` */
  readonly server: string;
  readonly cluster: string;
  readonly user: string;
  /** PEM texts. */
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

/** JSON, which is YAML: every reader of kubeconfigs takes it, and nothing has to be quoted by hand. */
export function kubeconfigText(input: KubeconfigInput): string {
  const data = (pem: string) => Buffer.from(pem).toString('base64');
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [
      {
        name: input.cluster,
        cluster: { server: input.server, 'certificate-authority-data': data(input.ca) },
      },
    ],
    users: [
      {
        name: input.user,
        user: { 'client-certificate-data': data(input.cert), 'client-key-data': data(input.key) },
      },
    ],
    contexts: [{ name: input.cluster, context: { cluster: input.cluster, user: input.user } }],
    'current-context': input.cluster,
  };
  return `${JSON.stringify(config, undefined, 2)}\n`;
}
