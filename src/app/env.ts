/** The environment, read in one place. Names are listed in docs/cli.md. */
export interface Env {
  /** NO_COLOR is set to anything (no-color.org). */
  readonly noColor: boolean;
  /** CI is set: nobody watches a terminal, and skipped tests count as failures. */
  readonly ci: boolean;
  /** Who called sudo: the owner of what is written for people (the kubeconfig). */
  readonly invoker: { readonly uid: number; readonly gid: number } | undefined;
  /** Folder of Node's compile cache, chosen by ./heddle, inherited by every process of a cluster. */
  readonly compileCache: string | undefined;
  /** HEDDLE_LOG_LEVEL: debug, info, warn or error. */
  readonly logLevel: 'debug' | 'info' | 'warn' | 'error';
  readonly path: string;
}

export function readEnv(source: Readonly<Record<string, string | undefined>> = process.env): Env {
  const uid = wholeNumber(source['SUDO_UID']);
  const level = source['HEDDLE_LOG_LEVEL'];
  return {
    noColor: (source['NO_COLOR'] ?? '') !== '',
    ci: !['', '0', 'false'].includes(source['CI'] ?? ''),
    invoker: uid === undefined ? undefined : { uid, gid: wholeNumber(source['SUDO_GID']) ?? uid },
    compileCache: source['NODE_COMPILE_CACHE'] || undefined,
    logLevel: level === 'debug' || level === 'warn' || level === 'error' ? level : 'info',
    path: source['PATH'] ?? '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  };
}

function wholeNumber(text: string | undefined): number | undefined {
  return text !== undefined && /^\d{1,10}$/.test(text) ? Number(text) : undefined;
}

/** What a child process of the cluster is given: nothing of the caller's but these. */
export function childEnv(env: Env): Record<string, string> {
  return {
    PATH: env.path,
    LANG: 'C.UTF-8',
    HEDDLE_LOG_LEVEL: env.logLevel,
    ...(env.compileCache === undefined ? {} : { NODE_COMPILE_CACHE: env.compileCache }),
  };
}
