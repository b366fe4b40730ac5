/*
 * What an fd of FakeSys stands for: an open file description, shared by every duplicate and by fds on their way through a
 * socket, and released with the last of them.
 */
import type { FakeFile } from './fake-file.ts';
import type { FakeSocket } from './fake-socket.ts';

export interface Description {
  readonly kind: 'file' | 'eventfd' | 'socket' | 'listener' | 'pty';
  readonly name: string;
  references: number;
  readonly readable: boolean;
  readonly writable: boolean;
  /** Told when one of the two may have become true. */
  readonly watchers: Set<() => void>;
  released(): void;
}

abstract class Base {
  references = 0;
  readonly watchers: Set<() => void> = new Set();

  protected changed(): void {
    for (const watcher of this.watchers) watcher();
  }
}

export class FileDescription extends Base implements Description {
  readonly kind = 'file';
  readonly readable = true;
  readonly writable = true;
  readonly file: FakeFile;

  constructor(file: FakeFile) {
    super();
    this.file = file;
  }

  get name(): string {
    return `/memfd:${this.file.name} (deleted)`;
  }

  released(): void {
    // the file's memory is garbage with it
  }
}

export class EventDescription extends Base implements Description {
  readonly kind = 'eventfd';
  readonly writable = true;
  readonly name = 'anon_inode:[eventfd]';
  count: number;

  constructor(initial: number) {
    super();
    this.count = initial;
  }

  get readable(): boolean {
    return this.count > 0;
  }

  signal(): void {
    this.count++;
    this.changed();
  }

  released(): void {
    this.count = 0;
  }
}

export class ListenerDescription extends Base implements Description {
  readonly kind = 'listener';
  readonly writable = false;
  readonly name: string;
  readonly waiting: FakeSocket[] = [];
  readonly backlog: number;
  alive = true;

  constructor(path: string, backlog: number) {
    super();
    this.name = `socket:[${path}]`;
    this.backlog = backlog;
  }

  get readable(): boolean {
    return this.waiting.length > 0;
  }

  arrive(socket: FakeSocket): void {
    this.waiting.push(socket);
    this.changed();
  }

  released(): void {
    this.alive = false;
    for (const socket of this.waiting) socket.released();
  }
}
