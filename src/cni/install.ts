/** Where container runtimes look: the plugin's executable in one folder, the network's list in another. */
import { mkdir, open, readdir, readFile, readlink, rename, rm, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoCode, HeddleError } from '../lib/errors.ts';
import { MAIN_KINDS } from './main/config.ts';
import { META_KINDS } from './meta/config.ts';
import { isObject } from '../lib/json.ts';

export const PLUGIN = 'heddle-cni';
export const CAPABILITIES = [
  'portMappings',
  'bandwidth',
  'ips',
  'mac',
  'dns',
  'ipRanges',
  'aliases',
] as const;
/** Names by which lists call the plugin for what the reference's plugins of these names do: links to it. */
export const FURTHER = [...MAIN_KINDS, ...META_KINDS].map((kind) => `heddle-${kind}`);
/** Every build of heddle-cni has this in it. */
const SIGNATURE = 'HCNI1 ';

export interface InstallOptions {
  binDir: string;
  confDir: string;
  /** The executable to copy. */
  pluginFile: string;
  network: string;
  socket: string;
  /** Of pods whose networks clusters' pod hosts make: the folder where heddle-cni finds them, in place of `socket`. */
  pods?: string | undefined;
}

export interface Installed {
  path: string;
  /** False where it was there as it should be. */
  changed: boolean;
}

const listFile = ({ confDir, network }: Pick<InstallOptions, 'confDir' | 'network'>): string =>
  join(confDir, `10-${network}.conflist`);

/**
 * The executable first, so that no list names what is not there. Each file is replaced whole or not at all.
 * @throws HeddleError `CniFileForeign`, `CniInstall`
 */
export async function installPlugin(options: InstallOptions): Promise<Installed[]> {
  const { binDir, pluginFile } = options;
  const program = await readOr(pluginFile);
  if (!program)
    throw new HeddleError('CniInstall', `there is no ${pluginFile} to install`, {
      hint: 'scripts/setup builds it',
    });
  const binary = join(binDir, PLUGIN);
  const list = listFile(options);
  refuseForeign(binary, isPlugin(await readOr(binary)));
  refuseForeign(list, isOurList(await readOr(list)));
  const further = FURTHER.map((name) => join(binDir, name));
  for (const path of further) refuseForeign(path, isPlugin(await readOr(path)));
  return [
    await put(binDir, binary, program, 0o755),
    ...(await Promise.all(further.map(putLink))),
    await put(options.confDir, list, Buffer.from(conflistText(options)), 0o644),
  ];
}

/** The list first; the executable stays while another list of the folder names it. @throws HeddleError `CniFileForeign` */
export async function uninstallPlugin(
  options: Pick<InstallOptions, 'binDir' | 'confDir' | 'network'>,
): Promise<Installed[]> {
  const list = listFile(options);
  const binary = join(options.binDir, PLUGIN);
  refuseForeign(list, isOurList(await readOr(list)));
  refuseForeign(binary, isPlugin(await readOr(binary)));
  const removed = [await remove(list)];
  if (await othersUseIt(options.confDir)) return removed;
  for (const path of FURTHER.map((name) => join(options.binDir, name)))
    if ((await linkTarget(path)) === PLUGIN) removed.push(await remove(path));
  return [...removed, await remove(binary)];
}

/** Versions that the list is good for: runtimes that know `cniVersions` take the newest, the others the first. */
export function conflistText({
  network,
  socket,
  pods,
}: Pick<InstallOptions, 'network' | 'socket' | 'pods'>): string {
  const list = {
    cniVersion: '1.0.0',
    cniVersions: ['0.4.0', '1.0.0', '1.1.0'],
    name: network,
    plugins: [
      {
        type: PLUGIN,
        ...(pods === undefined
          ? { socket, capabilities: Object.fromEntries(CAPABILITIES.map((name) => [name, true])) }
          : { pods }),
      },
    ],
  };
  return `${JSON.stringify(list, undefined, 2)}\n`;
}

/** Undefined where there is no such file. */
async function readOr(path: string): Promise<Buffer | undefined> {
  try {
    return await readFile(path);
  } catch (error) {
    if (errnoCode(error) === 'ENOENT') return undefined;
    throw failed(`read ${path}`, error);
  }
}

const isPlugin = (content: Buffer | undefined): boolean => !content || content.includes(SIGNATURE);

function isOurList(content: Buffer | undefined): boolean {
  if (!content) return true;
  try {
    const list: unknown = JSON.parse(content.toString('utf8'));
    const plugins: unknown[] = isObject(list) && Array.isArray(list['plugins']) ? list['plugins'] : [];
    return plugins.some(
      (plugin) => isObject(plugin) && [PLUGIN, ...FURTHER].includes(String(plugin['type'])),
    );
  } catch {
    return false;
  }
}

function refuseForeign(path: string, ours: boolean): void {
  if (ours) return;
  throw new HeddleError('CniFileForeign', `${path} is there and is not Heddle's: it is left alone`, {
    hint: 'move it away, or choose another folder or network name',
  });
}

async function othersUseIt(confDir: string): Promise<boolean> {
  const names = await readdir(confDir).catch(() => []);
  const lists = names.filter((name) => name.endsWith('.conflist') || name.endsWith('.conf'));
  const contents = await Promise.all(lists.map((name) => readOr(join(confDir, name))));
  return contents.some((content) => [PLUGIN, ...FURTHER].some((name) => content?.includes(`"${name}"`)));
}

async function put(folder: string, path: string, content: Buffer, mode: number): Promise<Installed> {
  if ((await readOr(path))?.equals(content)) return { path, changed: false };
  // No runtime takes a file with such an ending for a list or a plugin.
  const fresh = `${path}.${process.pid}.new`;
  try {
    await mkdir(folder, { recursive: true, mode: 0o755 });
    const file = await open(fresh, 'w', mode);
    try {
      await file.chmod(mode);
      await file.writeFile(content);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(fresh, path);
  } catch (error) {
    await rm(fresh, { force: true });
    throw failed(`write ${path}`, error);
  }
  return { path, changed: true };
}

const linkTarget = (path: string): Promise<string | undefined> => readlink(path).catch(() => undefined);

async function putLink(path: string): Promise<Installed> {
  if ((await linkTarget(path)) === PLUGIN) return { path, changed: false };
  const fresh = `${path}.${process.pid}.new`;
  try {
    await symlink(PLUGIN, fresh);
    await rename(fresh, path);
  } catch (error) {
    await rm(fresh, { force: true });
    throw failed(`write ${path}`, error);
  }
  return { path, changed: true };
}

async function remove(path: string): Promise<Installed> {
  const there = (await readOr(path)) !== undefined;
  await rm(path, { force: true });
  return { path, changed: there };
}

const failed = (what: string, cause: unknown): HeddleError =>
  new HeddleError('CniInstall', `cannot ${what}: ${errnoCode(cause) ?? String(cause)}`, {
    hint: 'this needs root, and folders that can be written',
    cause,
  });
