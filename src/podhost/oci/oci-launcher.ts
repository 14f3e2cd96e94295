/** Containers of images: heddle-pause makes the file system, runc starts the program in it. */
import { chmod, chown, mkdir, stat, writeFile } from 'node:fs/promises';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Pod } from '../../api/types.ts';
import type { ImageConfig } from '../../image/archive.ts';
import type { ImageStore } from '../../image/store.ts';
import { v1Paths } from '../../kernel/cgroup-set.ts';
import { removeTree } from '../../kernel/remove-tree.ts';
import { replaceFile } from '../../lib/files.ts';
import { podFiles } from '../files.ts';
import { ConfigError, expand } from '../process/environment.ts';
import { joined, type Launcher, type Made, PATH } from '../process/launcher.ts';
import { containerLimits } from '../process/limits.ts';
import type { Container } from '../process/types.ts';
import { profileText } from '../seccomp/profile.ts';
import { hasOwnProfile, isUnconfined, seccompOf } from '../seccomp/wanted.ts';
import { capabilitiesOf, capabilityMask } from './capabilities.ts';
import { mayGainPrivileges, runtimeConfig } from './config.ts';
import { ImageError, imageOf } from './images.ts';
import { resourcesOf } from './resources.ts';
import { stageFolder, stagingOf } from '../process/stage.ts';
import { podMounts } from './mounts.ts';
import { signalNumber } from './signals.ts';
import { type ContainerUser, userOf } from './user.ts';

export interface OciLauncherDeps {
  pod(): Pod;
  /** heddle-pause */
  program: string;
  /** The pod's own folder. */
  folder: string;
  store: ImageStore;
  /** Folder of the node's profiles of system calls. */
  seccomp: string;
}

/** Of a container's last start, for an agent that comes later: a file in its bundle. */
interface Started {
  imageId: string;
  /** The first of the pod's ids. */
  base: number;
  stopSignal: number;
  user: ContainerUser;
  cwd: string;
}

/** A folder that is there whoever runs; in the mount namespace of each container it is that container's own. */
const STAGE = '/run/heddle';

export function createOciLauncher({ pod, program, folder, store, seccomp }: OciLauncherDeps): Launcher {
  const uid = () => pod().metadata.uid ?? '';
  const bundleOf = (container: string) => join(folder, `oci-${container}`);
  const startedFile = (container: string) => join(bundleOf(container), 'started.json');
  /** Of the pod; known once it was asked for. */
  let base: number | undefined;
  const images = new Map<string, string>();

  function startedOf(container: string): Started | undefined {
    try {
      return JSON.parse(readFileSync(startedFile(container), 'utf8')) as Started;
    } catch {
      return undefined;
    }
  }

  /** Written first, looked for then: whoever removes images does it the other way round. */
  async function hold(container?: string, image?: string): Promise<number> {
    if (container !== undefined && image !== undefined) images.set(container, image);
    const { spec, metadata } = pod();
    const all = [spec?.initContainers, spec?.containers, spec?.ephemeralContainers].flatMap(
      (list) => list ?? [],
    );
    const earlier = all.flatMap(({ name }) => (images.has(name) ? [] : (startedOf(name)?.imageId ?? [])));
    const use = await store.use(uid(), {
      pod: `${metadata.namespace}/${metadata.name}`,
      folder,
      images: [...new Set([...earlier, ...images.values()])],
    });
    base = use.base;
    return use.base;
  }

  const profileFile = (container: string) => join(bundleOf(container), 'seccomp');

  async function makeLayer(path: string, rootfs: string, owner: number): Promise<void> {
    await removeTree(path);
    for (const name of ['upper', 'work']) await mkdir(join(path, name), { recursive: true, mode: 0o700 });
    const top = await stat(rootfs);
    await chown(join(path, 'upper'), owner + top.uid, owner + top.gid);
    await chmod(join(path, 'upper'), top.mode & 0o7777);
  }

  async function makeBundle(
    container: Container,
    image: { id: string; config: ImageConfig },
    made: Made,
    user: ContainerUser,
    owner: number,
  ) {
    const bundle = bundleOf(container.name);
    const cwd = container.workingDir || image.config.config?.WorkingDir || '/';
    const started: Started = {
      imageId: image.id,
      base: owner,
      stopSignal: signalNumber(image.config.config?.StopSignal),
      user,
      cwd,
    };
    const { mounts: volumes, stage } = stagingOf({
      pod: pod(),
      container,
      folder,
      env: made.env,
      ...(owner === 0 ? {} : { base: owner }),
    });
    const filter = seccompOf(pod(), container, {
      folder: seccomp,
      capabilities: capabilitiesOf(container.securityContext),
    });
    if (stage) await mkdir(stageFolder(folder), { recursive: true, mode: 0o700 });
    const mounts = podMounts({
      container,
      volumes,
      files: podFiles(folder),
      termination: made.files.termination,
    });
    const config = runtimeConfig({
      container,
      user,
      env: made.env,
      argv: made.argv,
      cwd,
      base: owner,
      stage: STAGE,
      seccomp: filter,
      resources: resourcesOf(containerLimits(container), made.groups),
      sharesProcesses: pod().spec?.shareProcessNamespace === true,
      mounts,
      ...(made.target ? { targetPid: made.target.pid } : {}),
    });
    await mkdir(bundle, { recursive: true, mode: 0o700 });
    if (typeof filter !== 'string') await writeFile(profileFile(container.name), profileText(filter));
    await makeLayer(join(bundle, 'layer'), store.rootfs(image.id), owner);
    // It holds the environment.
    await writeFile(join(bundle, 'config.json'), JSON.stringify(config), { mode: 0o600 });
    await replaceFile(startedFile(container.name), JSON.stringify(started), { mode: 0o600, synced: false });
    return { bundle, stage };
  }

  return {
    limitsItself: true,
    async owners() {
      const own = base ?? (await hold());
      return { owner: own, group: (id) => own + id };
    },
    async begin(container) {
      const image = imageOf(container, store);
      const held = await hold(container.name, image.id);
      // Who is privileged is who it says that it is.
      const owner = container.securityContext?.privileged ? 0 : held;
      if (!store.get(image.id))
        throw new ImageError('ImagePullBackOff', `image "${container.image}" is being removed`);
      const own = image.config.config ?? {};
      const user = userOf(pod(), container, own.User ?? '', store.rootfs(image.id));
      return {
        base: { PATH, HOME: user.home, ...environment(own.Env) },
        argv: (env) => argvOf(container, own, env),
        user: owner + user.uid,
        async command(made) {
          refuseNul(made);
          const { bundle, stage } = await makeBundle(container, image, made, user, owner);
          const files = { '--rootfs': store.rootfs(image.id), '--layer': join(bundle, 'layer') };
          const flags = {
            '--runc': 'runc',
            '--bundle': bundle,
            '--stage': STAGE,
            '--base': String(owner),
            ...files,
            ...(container.tty ? { '--tty': '1' } : {}),
          };
          const staged = stage ? [program, 'stage', ...stage, '--'] : [];
          const groups = v1Paths(made.groups).flatMap((path) => ['--join', path]);
          const argv = [...staged, program, 'oci', ...Object.entries(flags).flat(), ...groups];
          return joined(program, { score: made.score }, argv);
        },
      };
    },
    async enter(container, cgroup) {
      const started = startedOf(container.name);
      if (!started) throw new ConfigError(`container ${container.name} was not started`);
      const { user, cwd } = started;
      const pair = (id: number) => `${id}:${started.base + id}`;
      return [
        join(cgroup, 'box'),
        '--user',
        pair(user.uid),
        '--group',
        pair(user.gid),
        ...(user.groups.length > 0 ? ['--groups', user.groups.map(pair).join(',')] : []),
        '--capabilities',
        capabilityMask(capabilitiesOf(container.securityContext)),
        ...(mayGainPrivileges(container) ? ['--new-privileges'] : []),
        ...(isUnconfined(pod(), container) ? ['--unconfined'] : []),
        ...(hasOwnProfile(pod(), container) ? ['--seccomp', profileFile(container.name)] : []),
        '--cwd',
        cwd,
      ];
    },
    processesOf: (cgroup) => join(cgroup, 'box'),
    stopSignal: async ({ name }) => startedOf(name)?.stopSignal ?? signalNumber(undefined),
    layers: (container) => [join(bundleOf(container), 'layer')],
    imageId: (container) => startedOf(container)?.imageId ?? '',
    remove: async () => store.unuse(uid()),
  };
}

/** `NAME=VALUE`; what is none is passed over. */
const environment = (list: readonly string[] | undefined): Record<string, string> =>
  Object.fromEntries(
    (list ?? []).flatMap((one) => {
      const at = one.indexOf('=');
      return at > 0 ? [[one.slice(0, at), one.slice(at + 1)]] : [];
    }),
  );

/** `command` stands for the image's entry point and takes its arguments along; `args` for its arguments. */
export function argvOf(
  { command, args }: Pick<Container, 'command' | 'args'>,
  image: { Entrypoint?: string[] | null; Cmd?: string[] | null },
  env: Readonly<Record<string, string>>,
): string[] {
  const expanded = (list: readonly string[]) => list.map((word) => expand(word, env));
  const hasCommand = command !== undefined && command.length > 0;
  const hasArgs = args !== undefined && args.length > 0;
  const argv = [
    ...(hasCommand ? expanded(command) : (image.Entrypoint ?? [])),
    ...(hasArgs ? expanded(args) : hasCommand ? [] : (image.Cmd ?? [])),
  ];
  if (argv.length === 0)
    throw new ConfigError('no command specified: neither the container nor its image has one');
  return argv;
}

export function refuseNul({ env, argv }: Made): void {
  const cut = [...argv, ...Object.entries(env).flat()].find((text) => text.includes('\0'));
  if (cut !== undefined)
    throw new ConfigError(`${JSON.stringify(cut)} has a NUL, which no program can be given`);
}
