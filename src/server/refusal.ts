/*
 * A client that comes while the device has one: its VERSION is answered with EBUSY and the connection closed, so that it
 * knows at once and can say why. Clients that say nothing are closed after a moment.
 */
import {
  ERRNO,
  VFIO_USER_FLAG_ERROR,
  VFIO_USER_FLAG_NO_REPLY,
  VFIO_USER_FLAG_TYPE_REPLY,
  VFIO_USER_HEADER_SIZE,
  vfio_user_header,
} from '../abi/index.ts';
import type { Connection, ConnectionHandler, SysLayer } from '../sys/sys-layer.ts';
import { REFUSAL_MESSAGE_BYTES, REFUSAL_TIMEOUT_MS } from './limits.ts';

/** One client on its way out. */
export class Refusal implements ConnectionHandler {
  readonly #connection: Connection;
  readonly #onDone: () => void;
  readonly #timer: NodeJS.Timeout;
  #done = false;

  /** Takes over the connected socket `fd`. */
  constructor(fd: number, sys: SysLayer, onDone: () => void) {
    this.#onDone = onDone;
    this.#connection = sys.connection(
      fd,
      { maxMessageBytes: REFUSAL_MESSAGE_BYTES, maxMessageFds: 1, sendBufferBytes: VFIO_USER_HEADER_SIZE },
      this,
    );
    this.#timer = setTimeout(() => this.close(), REFUSAL_TIMEOUT_MS).unref();
  }

  onMessages(): number {
    this.#answer(this.#connection.received);
    return 0;
  }

  onOversized(header: DataView): number {
    this.#answer(header);
    return 0;
  }

  onClose(): void {
    this.close();
  }

  close(): void {
    if (this.#done) return;
    this.#done = true;
    clearTimeout(this.#timer);
    this.#connection.close();
    this.#onDone();
  }

  #answer(header: DataView): void {
    if (this.#done) return;
    const { msg_id, cmd, flags } = vfio_user_header.at;
    if ((header.getUint32(flags, true) & VFIO_USER_FLAG_NO_REPLY) === 0) {
      vfio_user_header.encode(this.#connection.sending, 0, {
        msg_id: header.getUint16(msg_id, true),
        cmd: header.getUint16(cmd, true),
        msg_size: VFIO_USER_HEADER_SIZE,
        flags: VFIO_USER_FLAG_TYPE_REPLY | VFIO_USER_FLAG_ERROR,
        error_no: ERRNO.EBUSY,
      });
      this.#connection.send(VFIO_USER_HEADER_SIZE);
    }
    this.close();
  }
}
