/*
 * The second socket, if both sides wanted one: the server's DMA messages come here and are answered here, so that they
 * never stand in line behind replies.
 */
import {
  ERRNO,
  VFIO_USER_FLAG_TYPE_COMMAND,
  VFIO_USER_FLAG_TYPE_MASK,
  vfio_user_header,
} from '../abi/index.ts';
import type { VfioError } from '../core/index.ts';
import type { Connection, SysLayer } from '../sys/sys-layer.ts';
import type { ChannelOptions } from './channel.ts';
import type { DmaServer } from './dma-server.ts';
import { CONGESTED_BYTES } from './limits.ts';
import { Outbox } from './outbox.ts';
import { endError, protocolError } from './reply-error.ts';

const HEADER = vfio_user_header.at;

export class TwinSocket {
  readonly #connection: Connection;
  readonly #outbox: Outbox;
  readonly #server: DmaServer;
  readonly #onFailure: (error: VfioError) => void;

  /** Owns `fd`. `onFailure` is told once when it ends by itself: without it the device is of no use. */
  constructor(
    sys: SysLayer,
    fd: number,
    options: ChannelOptions,
    server: DmaServer,
    onFailure: (error: VfioError) => void,
  ) {
    this.#server = server;
    this.#onFailure = onFailure;
    const { maxMessageBytes, maxMessageFds, sendBufferBytes, busyPollUs } = options;
    const sendQueueBytes = CONGESTED_BYTES + 2 * sendBufferBytes;
    this.#connection = sys.connection(
      fd,
      { maxMessageBytes, maxMessageFds, sendBufferBytes, sendQueueBytes, busyPollUs },
      {
        onMessages: (end) => this.#onMessages(end),
        onOversized: (header) => {
          server.refuse(header, 0, ERRNO.E2BIG, this.#outbox);
          return this.#outbox.take();
        },
        onClose: (reason, errno) => onFailure(endError(`${options.address} (twin socket)`, reason, errno)),
      },
    );
    this.#outbox = new Outbox(this.#connection);
  }

  close(): void {
    this.#connection.close();
  }

  #onMessages(end: number): number {
    const { received } = this.#connection;
    for (let start = 0; start < end; ) {
      const size = received.getUint32(start + HEADER.msg_size, true);
      const type = received.getUint32(start + HEADER.flags, true) & VFIO_USER_FLAG_TYPE_MASK;
      if (type !== VFIO_USER_FLAG_TYPE_COMMAND) {
        this.#onFailure(protocolError(`a message of type ${type} on the twin socket`));
        return 0;
      }
      this.#server.onCommand(this.#connection, start, size, this.#outbox);
      start += size;
    }
    return this.#outbox.take();
  }
}
