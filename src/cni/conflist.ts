/**
 * Runs a network configuration list the way libcni does: each plugin is an executable, gets the result of the
 * one before, and DEL goes the other way with the result that ADD ended with. That result is kept on disk, so
 * that a runtime which was restarted can still undo what it did.
 */
import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { HeddleError, errorText } from '../lib/errors.ts';
import type { Netns } from '../kernel/netns.ts';
import { run } from '../kernel/spawn.ts';
import { attachmentKey } from './attachment.ts';
import { createAttempts } from './attempts.ts';
import { CniCode, CniError, type CniErrorJson } from './error.ts';
import { formatArgs } from './request.ts';
import { type CachedResult, createResultCache, type ResultCache } from './result-cache.ts';
import type { Attachment, CniCommand, CniResult, NetConf, NetConfList } from './types.ts';
import { atLeast, newestOf } from './version.ts';

export interface RuntimeConf extends Attachment {
  netns: string;
  args?: Readonly<Record<string, string>>;
  /** By capability: `portMappings`, `bandwidth`, `ipRanges`, `dns`, … Plugins get what they declare. */
  capabilities?: Readonly<Record<string, unknown>>;
}

export interface ConflistOptions {
  list: NetConfList;
  /** Folders where plugins are looked for: CNI_PATH. */
  path: readonly string[];
  /** Folder of cached results. */
  cacheDir: string;
  /** Further environment of the plugins; HEDDLE_CNI_SOCKET belongs here. */
  env?: Readonly<Record<string, string>>;
  /** Milliseconds for one plugin. Default 60,000. */
  timeoutMs?: number;
  /** Where plugins run: the namespace of the machine. Default: that of this process. */
  netns?: Netns;
}

export interface Conflist {
  /** When it fails everything is taken back first. @throws CniError */
  add(conf: RuntimeConf): Promise<CniResult>;
  /** Does nothing where nothing is left. @throws CniError */
  del(conf: RuntimeConf): Promise<void>;
  check(conf: RuntimeConf): Promise<void>;
  /**
   * Undoes what is cached and not `valid`, then has every plugin look for what else is nobody's, as far as it can.
   * @throws CniError with all that went wrong
   */
  gc(valid: readonly Attachment[]): Promise<void>;
  /** Resolves where an ADD may be tried. @throws CniError notAvailable, limited */
  status(): Promise<void>;
  /** What an earlier ADD ended with, also in an earlier process. */
  cached(attachment: Attachment): Promise<CachedResult | undefined>;
  list(): Promise<CachedResult[]>;
}

/** Of a cluster's own pods. */
export const HEDDLE_LIST: NetConfList = {
  cniVersion: '1.1.0',
  name: 'heddle',
  plugins: [{ type: 'heddle-cni', capabilities: { portMappings: true } }],
};

/** GC and STATUS are about no container. */
const NOBODY: RuntimeConf = { containerId: '', ifName: '', netns: '' };

export function createConflist(options: ConflistOptions): Conflist {
  const { list } = options;
  const version = newestOf(list);
  const cache: ResultCache = createResultCache(options.cacheDir, list.name);

  async function exec(command: CniCommand, plugin: NetConf, conf: RuntimeConf, prev?: CniResult) {
    const config = pluginConfig(list, version, plugin, conf, prev);
    const file = await findPlugin(plugin.type, options.path);
    const { code, stdout, stderr } = await run([file], {
      input: JSON.stringify(config),
      timeoutMs: options.timeoutMs ?? 60_000,
      ...(options.netns ? { netns: options.netns } : {}),
      env: {
        PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
        ...options.env,
        CNI_COMMAND: command,
        CNI_CONTAINERID: conf.containerId,
        CNI_NETNS: conf.netns,
        CNI_IFNAME: conf.ifName,
        CNI_ARGS: formatArgs({ IgnoreUnknown: '1', ...conf.args }),
        CNI_PATH: options.path.join(':'),
      },
    }).catch((error: unknown) => {
      // Nothing is known of the attachment then, which a CHECK must not take for a fault of it.
      throw new CniError(CniCode.tryAgain, `plugin ${plugin.type}: ${errorText(error)}`, '', {
        cause: error,
      });
    });
    if (code !== 0) throw pluginError(plugin, command, code, stdout, stderr);
    return stdout;
  }

  async function del(conf: RuntimeConf): Promise<void> {
    const before = atLeast(version, '0.4.0') ? (await cache.read(conf))?.result : undefined;
    for (const plugin of list.plugins.toReversed()) await exec('DEL', plugin, conf, before);
    await cache.remove(conf);
  }

  /** After a failed ADD: every plugin gets its chance, whatever the others say. */
  async function takeBack(conf: RuntimeConf): Promise<void> {
    for (const plugin of list.plugins.toReversed()) await exec('DEL', plugin, conf).catch(() => {});
    await cache.remove(conf);
  }

  return {
    async add(conf) {
      let result: CniResult | undefined;
      try {
        for (const plugin of list.plugins)
          result = parseResult(plugin, await exec('ADD', plugin, conf, result), version);
        if (!result) throw new CniError(CniCode.invalidConfig, `the list "${list.name}" names no plugin`);
        await cache.write({ conf, list, result });
        return result;
      } catch (error) {
        await takeBack(conf);
        throw error;
      }
    },
    del,
    async check(conf) {
      if (list.disableCheck || !atLeast(version, '0.4.0')) return;
      const before = (await cache.read(conf))?.result;
      for (const plugin of list.plugins) await exec('CHECK', plugin, conf, before);
    },
    async gc(valid) {
      if (list.disableGC) return;
      const all = createAttempts();
      const keys = new Set(valid.map(attachmentKey));
      for (const { containerId, ifName } of await cache.list()) {
        const key = attachmentKey({ containerId, ifName });
        if (!keys.has(key)) await all.try(key, () => del({ containerId, ifName, netns: '' }));
      }
      const attachments = valid.map(({ containerId, ifName }) => ({
        containerID: containerId,
        ifname: ifName,
      }));
      const plugins = atLeast(version, '1.1.0') ? list.plugins : [];
      for (const plugin of plugins)
        await all.try(`GC of ${plugin.type}`, () =>
          exec('GC', { ...plugin, 'cni.dev/valid-attachments': attachments }, NOBODY),
        );
      all.end();
    },
    async status() {
      if (!atLeast(version, '1.1.0')) return;
      for (const plugin of list.plugins) await exec('STATUS', plugin, NOBODY);
    },
    cached: (attachment) => cache.read(attachment),
    list: () => cache.list(),
  };
}

function pluginConfig(
  list: NetConfList,
  version: string,
  plugin: NetConf,
  conf: RuntimeConf,
  prev: CniResult | undefined,
): NetConf {
  const { capabilities, ...rest } = plugin;
  const runtimeConfig = Object.fromEntries(
    Object.entries(conf.capabilities ?? {}).filter(([name]) => capabilities?.[name] === true),
  );
  return {
    ...rest,
    name: list.name,
    cniVersion: version,
    ...(Object.keys(runtimeConfig).length > 0 ? { runtimeConfig } : {}),
    ...(prev ? { prevResult: prev } : {}),
  };
}

async function findPlugin(type: string | undefined, path: readonly string[]): Promise<string> {
  if (type === undefined || type === '' || type.includes('/'))
    throw new CniError(
      CniCode.invalidConfig,
      `a plugin's type is "${type ?? ''}"; expected the name of a program`,
    );
  for (const folder of path) {
    const file = join(folder, type);
    if (
      await access(file, constants.X_OK).then(
        () => true,
        () => false,
      )
    )
      return file;
  }
  throw new CniError(CniCode.tryAgain, `there is no plugin "${type}" in ${path.join(', ')}`);
}

function parseResult(plugin: NetConf, stdout: string, version: string): CniResult {
  try {
    const result = JSON.parse(stdout) as CniResult;
    if (typeof result === 'object' && result !== null)
      return { ...result, cniVersion: result.cniVersion ?? version };
  } catch {
    // Told below, with what was printed.
  }
  throw new CniError(CniCode.decode, `plugin ${plugin.type} printed no result`, stdout.slice(0, 500));
}

function pluginError(
  plugin: NetConf,
  command: string,
  code: number,
  stdout: string,
  stderr: string,
): CniError {
  let said: Partial<CniErrorJson> = {};
  try {
    said = JSON.parse(stdout) as Partial<CniErrorJson>;
  } catch {
    // Not every plugin prints what the specification asks for.
  }
  const words = said.msg ?? (stdout.trim() || stderr.trim() || `exit code ${code}`);
  return new CniError(
    said.code ?? CniCode.failed,
    `plugin ${plugin.type} ${command}: ${words}`,
    said.details ?? '',
  );
}

/** @throws HeddleError `BadConflist` */
export function parseConflist(text: string, source: string): NetConfList {
  const fail = (what: string, cause?: unknown): never => {
    throw new HeddleError('BadConflist', `${source}: ${what}`, {
      hint: 'expected a CNI network configuration list: {"cniVersion", "name", "plugins": [{"type": …}]}',
      cause,
    });
  };
  let list: Partial<NetConfList> | null = null;
  try {
    list = JSON.parse(text) as Partial<NetConfList> | null;
  } catch (error) {
    fail('is not JSON', error);
  }
  if (typeof list !== 'object' || list === null) return fail('is not a JSON object');
  if (typeof list.name !== 'string' || !/^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/.test(list.name))
    return fail(`has the name ${JSON.stringify(list.name)}`);
  if (!Array.isArray(list.plugins) || list.plugins.length === 0) return fail('has no plugins');
  if (list.plugins.some((plugin) => typeof plugin?.type !== 'string'))
    return fail('has a plugin without a type');
  return { ...(list as NetConfList), ...flagsOf(list, fail) };
}

const FLAGS = ['disableCheck', 'disableGC', 'loadOnlyInlinedPlugins'] as const;

/**
 * Texts too, as libcni reads them. loadOnlyInlinedPlugins changes nothing here: plugins of a list are those that are in it,
 * which the specification leaves to the runtime (section "Configuration format").
 */
function flagsOf(
  list: object,
  fail: (what: string) => never,
): Partial<Record<(typeof FLAGS)[number], boolean>> {
  const values = new Map(Object.entries(list));
  return Object.fromEntries(
    FLAGS.flatMap((flag) => {
      const value: unknown = values.get(flag);
      if (value === undefined) return [];
      const text = typeof value === 'boolean' ? String(value) : value;
      if (typeof text !== 'string' || !/^(true|false)$/i.test(text))
        return fail(`has ${flag} ${JSON.stringify(value)}, which is neither true nor false`);
      return [[flag, text.toLowerCase() === 'true'] as const];
    }),
  );
}
