/*
 * Fetches Debian packages into a folder and unpacks them there. apt is told to use lists, cache and dpkg status of its
 * own, so nothing is installed, no source of the machine changes, and no privilege is needed. The empty status makes apt
 * fetch all that a package depends on: the result runs on any distribution.
 */
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { VfioError } from '../core/index.ts';

const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';
const APT_FOLDER = '/etc/apt';
/** A mirror's address in a one-line or a deb822 source. */
const MIRROR = /^\s*(?:URIs:\s*|deb\s+(?:\[[^\]]*\]\s*)?)(https?:\/\/\S*debian\/?)(?=\s|$)/gm;
/** Far longer than a download takes; a mirror that hangs must not hang us. */
const TIMEOUT_MS = 20 * 60_000;
const MAX_OUTPUT_CHARS = 64 << 20;

/** Where packages come from: a mirror of Debian, without a suite. */
export function debianMirror(
  environment: NodeJS.ProcessEnv = process.env,
  folder: string = APT_FOLDER,
): string {
  const own = environment['VFIO_DEBIAN_MIRROR'];
  if (own !== undefined && own !== '') return own;
  const sources = join(folder, 'sources.list.d');
  const files = [
    ...(existsSync(sources) ? readdirSync(sources).map((name) => join(sources, name)) : []),
    join(folder, 'sources.list'),
  ];
  for (const file of files.filter((path) => existsSync(path))) {
    for (const [, mirror] of readFileSync(file, 'utf8').matchAll(MIRROR)) return mirror!;
  }
  throw new VfioError(
    'ENOENT',
    "no Debian mirror stands in apt's sources. Set VFIO_DEBIAN_MIRROR to the address of one, http://…/debian",
  );
}

/** One apt with its own folder. */
export class DebianPackages {
  readonly #folder: string;
  readonly #mirror: string;
  readonly #suites: readonly string[];

  /**
   * @param folder apt's lists and the packages go there
   * @param suites for example trixie, trixie-backports
   */
  constructor(folder: string, suites: readonly string[], mirror: string = debianMirror()) {
    this.#folder = folder;
    this.#mirror = mirror;
    this.#suites = suites;
  }

  /** Reads the mirror's lists. ENOENT without apt or without Debian's keys, EIO when the mirror does not answer. */
  async update(): Promise<void> {
    if (!existsSync(KEYRING)) {
      throw new VfioError('ENOENT', `${KEYRING} is missing. Install the package debian-archive-keyring`);
    }
    for (const name of ['lists/partial', 'cache/archives/partial']) {
      mkdirSync(join(this.#folder, name), { recursive: true });
    }
    writeFileSync(join(this.#folder, 'status'), '');
    const lines = this.#suites.map((suite) => `deb [signed-by=${KEYRING}] ${this.#mirror} ${suite} main\n`);
    writeFileSync(join(this.#folder, 'sources.list'), lines.join(''));
    await this.#apt('apt-get', ['update']);
  }

  /** Fetches a package and all that it depends on, and unpacks them below `target`. */
  async unpackWithDependencies(name: string, suite: string, target: string): Promise<void> {
    await this.#apt('apt-get', [
      'install',
      '-y',
      '--download-only',
      '--no-install-recommends',
      '-t',
      suite,
      name,
    ]);
    await this.#unpack(join(this.#folder, 'cache/archives'), target);
  }

  /** Fetches just these packages and unpacks them below `target`. */
  async unpack(names: readonly string[], target: string): Promise<void> {
    const folder = join(this.#folder, `single-${names[0]}`);
    mkdirSync(folder, { recursive: true });
    await this.#apt('apt-get', ['download', ...names], folder);
    await this.#unpack(folder, target);
  }

  /** What `name` of `suite` depends on and begins with `prefix`: the package that a name without version points to. */
  async dependency(name: string, suite: string, prefix: string): Promise<string> {
    const text = await this.#apt('apt-cache', ['depends', `${name}/${suite}`]);
    const all = [...text.matchAll(/Depends: (\S+)/g)].map(([, dependency]) => dependency!);
    const found = all.find((dependency) => dependency.startsWith(prefix));
    if (found !== undefined) return found;
    throw new VfioError('ENOENT', `${name} is not in ${suite} of ${this.#mirror}. Use another mirror`);
  }

  async #unpack(folder: string, target: string): Promise<void> {
    mkdirSync(target, { recursive: true });
    for (const name of readdirSync(folder)) {
      if (name.endsWith('.deb')) await run('dpkg-deb', ['-x', join(folder, name), target]);
    }
  }

  #apt(program: string, args: readonly string[], cwd?: string): Promise<string> {
    const options = [
      `Dir::Etc::SourceList=${join(this.#folder, 'sources.list')}`,
      'Dir::Etc::SourceParts=/dev/null',
      `Dir::State::Lists=${join(this.#folder, 'lists')}`,
      `Dir::Cache=${join(this.#folder, 'cache')}`,
      `Dir::State::status=${join(this.#folder, 'status')}`,
      'APT::Sandbox::User=root',
    ];
    return run(program, ['-q', ...options.flatMap((option) => ['-o', option]), ...args], cwd);
  }
}

/** Runs a program to its end and returns its output. */
function run(program: string, args: readonly string[], cwd?: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      ...(cwd === undefined ? {} : { cwd }),
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: TIMEOUT_MS,
    });
    let output = '';
    const keep = (text: Buffer): void => {
      if (output.length < MAX_OUTPUT_CHARS) output += text.toString();
    };
    child.stdout.on('data', keep);
    child.stderr.on('data', keep);
    child.once('error', () => {
      reject(new VfioError('ENOENT', `${program} cannot be run. Use a machine with Debian's apt and dpkg`));
    });
    child.once('close', (code) => {
      if (code === 0) {
        resolve(output);
        return;
      }
      const end = output.trim().split('\n').slice(-5).join('\n');
      const what = [program, ...args.filter((arg) => !arg.includes('=') && arg !== '-o')].join(' ');
      reject(
        new VfioError(
          'EIO',
          `${what} failed (${code ?? 'killed'}); check the network and try again:\n${end}`,
        ),
      );
    });
  });
}
