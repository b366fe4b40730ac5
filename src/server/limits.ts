/*
 * Every limit of the server, in one place. A client chooses what it sends, so whatever it can make grow has a
 * number here, and the reason for that number.
 */

/** Below this a transfer is little more than headers; a client that announces less is refused. */
export const MIN_TRANSFER_BYTES = 64;

/** Above this a size is no mistake of a client but another protocol: twice the largest transfer that QEMU knows. */
export const ABSURD_MESSAGE_BYTES: number = 128 << 20;

/** What one SCM_RIGHTS message can carry in Linux. */
export const KERNEL_MESSAGE_FDS = 253;

/** Page sizes that a client may map with: 4 KiB, 2 MiB, 1 GiB, as an x86 IOMMU reports them. */
export const PAGE_SIZES = 0x40201000;

/** The JSON of VERSION: QEMU's is below 300 bytes. */
export const MAX_VERSION_JSON_BYTES: number = 16 << 10;

/** A client that connects and says nothing would hold the device for ever. */
export const NEGOTIATION_TIMEOUT_MS = 10_000;

/** How long `close` waits for a device that is still at work. */
export const CLOSE_TIMEOUT_MS = 5_000;

/** How long a device that is to be replaced may finish its command: longer than a person takes for a reload that hangs. */
export const REPLACE_PATIENCE_MS = 1_000;

/** A DMA_READ or DMA_WRITE without an answer: as long as QEMU waits for ours. */
export const DEFAULT_REQUEST_TIMEOUT_MS = 5_000;
/** DMA messages under way at once: enough to keep the socket busy, few enough to find a reply by looking. */
export const MAX_OUTSTANDING_REQUESTS = 8;
/** Bytes that they move at once; a larger one goes alone. */
export const MAX_OUTSTANDING_BYTES: number = 8 << 20;
/** DMA messages that wait for their turn; beyond it a transfer of the device fails with EAGAIN. */
export const MAX_WAITING_REQUESTS = 4096;

/** How long a client waits for a reply before it is answered for the device: less than the 5 s after which QEMU gives up. */
export const DEFAULT_REPLY_TIMEOUT_MS = 3_000;
/** What a timer can hold. */
export const MAX_REPLY_TIMEOUT_MS: number = 2 ** 31 - 1;
/**
 * The same while DMA messages wait behind the command, for a client that may not serve them before it has its reply. A
 * write is answered soon, for that harms nobody; a read that is given up is lost.
 */
export const WRITE_STALL_MS = 10;
export const READ_STALL_MS = 500;
/** Handlers that go on after their command was answered; a further write is refused with ENOBUFS. */
export const MAX_BACKGROUND_HANDLERS = 1024;
/** How long a reset waits for them. */
export const RESET_PATIENCE_MS = 1_000;
/** DMA messages that were given up and may still be answered: their answers are no mistake of the client. */
export const MAX_GIVEN_UP_REQUESTS = 1024;

/** Commands that wait while the device is at work or the client does not read: more than one receive buffer holds. */
export const MAX_QUEUED_COMMANDS: number = 1 << 16;
/** Room for some writes of the largest size among them. */
export const MAX_QUEUED_BYTES: number = 16 << 20;
/** Well below the usual limit of 1024 fds for a process. */
export const MAX_QUEUED_FDS = 256;

/** How long a client that comes while there is one waits for the other's end: a reconnect may overtake it. */
export const ARRIVAL_GRACE_MS = 20;
/** Clients being turned away at the same time; one more is closed without a word. */
export const MAX_REFUSALS = 8;
/** How long a client that is turned away may take to say VERSION. */
export const REFUSAL_TIMEOUT_MS = 1_000;
/** Enough for a VERSION; a refused client has no business with more. */
export const REFUSAL_MESSAGE_BYTES: number = 32 << 10;

/** How long the commands of one session may keep the thread while others wait: a delay that no guest notices. */
export const TURN_MS = 10;
/** How much of a batch of region accesses is served between two looks at the clock: some fifteen of them. */
export const SLICE_BYTES = 512;

/** Mistakes of one session that are logged; a hostile client makes as many as it likes. */
export const MAX_LOGGED_ERRORS = 32;

/** Sockets that wait in the kernel for accept(). */
export const LISTEN_BACKLOG = 16;

/** Room for replies beyond the largest one, so that a batch of small replies leaves in one send. */
export const REPLY_BATCH_BYTES: number = 64 << 10;
/** With more than this unread, no further command is handled: one batch of requests may ask for a thousand large replies. */
export const CONGESTION_BYTES: number = 1 << 20;
/** How often an unread socket is looked at: soon at first, for a client that is only busy. */
export const CONGESTION_POLL_MS: readonly number[] = [1, 2, 5, 10, 20, 50];
/** What is kept for a client that does not read, before its session ends: some of the largest replies. */
export const SEND_QUEUE_BYTES: number = 16 << 20;
