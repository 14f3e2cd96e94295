/** `heddle image`: the images that pods of runtime `oci` run. */
import { Option, type Command } from 'commander';
import { importImages } from '../image/import.ts';
import { machineArchitecture } from '../image/platform.ts';
import { shortName } from '../image/reference.ts';
import { DEFAULT_IMAGE_DIR, openStore, type StoredImage } from '../image/store.ts';
import { HeddleError } from '../lib/errors.ts';
import type { CliDeps } from './deps.ts';
import { outputFormat, requireRoot, wholeNumber } from './flags.ts';
import { onInterrupt } from './interrupt.ts';
import { plainTable } from './plain-table.ts';
import { createProgress } from './progress.ts';

const examples = `
Examples:
  docker save shop/web:1 -o web.tar && heddle image import web.tar
  skopeo copy docker://docker.io/library/busybox oci:busybox && heddle image import busybox --name busybox
  heddle image list
  heddle image rm shop/web:1

Images are read from files alone: an OCI image layout (a folder or a tar file) or what "docker save" writes, in gzip or
zstd as well. All clusters of the machine share them. Pods use them with the annotation heddle.dev/runtime: oci, or all
pods that ask for no runtime do with "heddle up --runtime oci".`;

interface Flags {
  imageDir: string;
  name?: string;
  output?: string;
  force?: boolean;
  maxSize: string;
  maxFiles: string;
}

export const imageDirOption = (): Option =>
  new Option('--image-dir <dir>', 'where images are kept, for all clusters').default(DEFAULT_IMAGE_DIR);

export function register(program: Command, deps: CliDeps): void {
  const image = program
    .command('image')
    .description('import, list and remove the images of pods')
    .addHelpText('after', examples);
  const verb = (usage: string, description: string): Command =>
    image.command(usage).description(description).addOption(imageDirOption());
  verb('import <path>', 'take the images of an archive: a file, or the folder of an OCI layout')
    .option('--name <ref>', 'what to call it (default: what the archive says)')
    .option('--max-size <GiB>', 'that an image may unpack to', '64')
    .option('--max-files <n>', 'that an image may unpack to', '2000000')
    .action((path: string, flags: Flags) => add(path, flags, deps));
  verb('list', 'show what is there')
    .alias('ls')
    .option('-o, --output <format>', 'wide, or json (docs/schemas/image-list.json)')
    .action((flags: Flags) => list(flags, deps));
  verb('inspect <ref>', 'print the configuration of an image in JSON').action((ref: string, flags: Flags) =>
    inspect(ref, flags, deps),
  );
  verb('rm <refs...>', 'take names away, and an image with its last one')
    .option('--force', 'also an image that pods use')
    .action((refs: string[], flags: Flags) => remove(refs, flags, deps));
}

async function add(path: string, flags: Flags, deps: CliDeps): Promise<void> {
  requireRoot(deps.isRoot, 'importing images');
  const progress = createProgress(deps);
  const interrupt = onInterrupt();
  progress.step(`import ${path}`);
  try {
    const done = await importImages({
      path,
      ...(flags.name === undefined ? {} : { name: flags.name }),
      architecture: machineArchitecture(),
      maxBytes: wholeNumber('--max-size', flags.maxSize, 1, 4096) * 2 ** 30,
      maxEntries: wholeNumber('--max-files', flags.maxFiles, 1, 100_000_000),
      store: openStore(flags.imageDir),
      progress: progress.detail,
      now: () => new Date(),
      signal: interrupt.signal,
    });
    progress.detail('');
    progress.done();
    for (const { notes } of done) for (const note of notes) deps.stderr.write(`${note}\n`);
    for (const { names, id, known } of done)
      for (const name of names)
        deps.stdout.write(
          `${shortName(name)} is ${id.slice(7, 19)}${known ? ', which was there already' : ''}\n`,
        );
  } catch (error) {
    progress.fail();
    if (interrupt.signal.aborted)
      throw new HeddleError('Interrupted', `the import of ${path} was interrupted; nothing of it is kept`);
    throw error;
  } finally {
    interrupt.dispose();
  }
}

const sizeText = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`;

/** A name in two columns; `<none>` where only pods still have the image. */
function rowsOf(image: StoredImage, wide: boolean): (string | number)[][] {
  const more = wide ? [image.pods.length, image.digests[0] ?? '<none>', image.imported] : [];
  const names = image.names.length > 0 ? image.names.map(shortName) : ['<none>:<none>'];
  return names.map((name) => {
    const colon = name.lastIndexOf(':');
    return [
      name.slice(0, colon),
      name.slice(colon + 1),
      image.id.slice(7, 19),
      sizeText(image.size),
      ...more,
    ];
  });
}

function list(flags: Flags, deps: CliDeps): void {
  const format = outputFormat(flags.output, ['wide', 'json']);
  requireRoot(deps.isRoot, 'looking at images');
  const images = openStore(flags.imageDir).list();
  if (format === 'json') {
    const rows = images.map(({ id, names, digests, size, imported, pods, notes }) => ({
      id,
      names,
      digests,
      size,
      imported,
      pods,
      notes,
    }));
    deps.stdout.write(`${JSON.stringify({ images: rows }, undefined, 2)}\n`);
    return;
  }
  const wide = format === 'wide';
  const head = ['REPOSITORY', 'TAG', 'IMAGE ID', 'SIZE', ...(wide ? ['PODS', 'DIGEST', 'IMPORTED'] : [])];
  deps.stdout.write(`${plainTable([head, ...images.flatMap((one) => rowsOf(one, wide))]).join('\n')}\n`);
}

function inspect(ref: string, flags: Flags, deps: CliDeps): void {
  requireRoot(deps.isRoot, 'looking at images');
  const image = openStore(flags.imageDir).find(ref);
  if (!image)
    throw new HeddleError('NoSuchImage', `there is no image ${ref}`, {
      hint: '"heddle image list" shows all',
    });
  deps.stdout.write(`${JSON.stringify(image, undefined, 2)}\n`);
}

/** One after the other: what went is said, also when a later one cannot go. */
async function remove(refs: readonly string[], flags: Flags, deps: CliDeps): Promise<void> {
  requireRoot(deps.isRoot, 'removing images');
  const store = openStore(flags.imageDir);
  for (const ref of refs) {
    const { name, image } = await store.remove(ref, { force: flags.force === true });
    if (name !== undefined) deps.stdout.write(`untagged ${shortName(name)}\n`);
    if (image !== undefined) deps.stdout.write(`deleted ${image.slice(7, 19)}\n`);
  }
}
