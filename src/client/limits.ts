/*
 * Every limit of the client, in one place. A server may be broken or hostile, so whatever it can make grow has a
 * number here, and the reason for that number.
 */

/** Requests without a reply. The slot number takes 12 bits of the 16 bit message id; 4096 is also what our server queues. */
export const PENDING_SLOT_BITS = 12;
export const PENDING_LIMIT: number = 1 << PENDING_SLOT_BITS;

/** As long as QEMU waits for a reply. */
export const DEFAULT_REQUEST_TIMEOUT_MS = 5_000;

/** Fds in one message that we take: what QEMU offers. */
export const DEFAULT_MESSAGE_FDS = 16;
/** What one SCM_RIGHTS message can carry in Linux. */
export const KERNEL_MESSAGE_FDS = 253;

/** Largest `count` of a DMA message that we take, unless an option says otherwise: the default of the protocol. */
export const DEFAULT_TRANSFER_BYTES: number = 1 << 20;
/** A server that announces less leaves room for little more than headers. */
export const MIN_TRANSFER_BYTES = 64;

/** Header and the fixed part of the largest message around its data. */
export const MESSAGE_OVERHEAD_BYTES = 64;
/** Smallest room for an incoming message: region info with all its areas, VERSION with its JSON. */
export const MIN_MESSAGE_BYTES: number = 128 << 10;
/** Room for requests beyond the largest one, so that a batch leaves in one send. */
export const SEND_BATCH_BYTES: number = 64 << 10;

/** Bytes that may wait for a server that does not read, before new requests are refused with EAGAIN. */
export const CONGESTED_BYTES: number = 8 << 20;
/** Large reads and writes are cut into messages; so many of them are under way at a time. */
export const TRANSFERS_IN_FLIGHT = 4;

/** Region info with its capabilities: 2048 areas of 32 bytes. */
export const REGION_INFO_BYTES_MAX: number = 64 << 10;
/** A chain of capabilities longer than this goes in circles. */
export const CAPABILITIES_MAX = 32;

/** JSON of a VERSION reply: QEMU's is below 300 bytes. */
export const VERSION_JSON_BYTES_MAX: number = 16 << 10;

/** Writes of a batch that are under way together where the server has no REGION_WRITE_MULTI. */
export const WRITES_IN_FLIGHT = 256;

/** Writes in one REGION_WRITE_MULTI: what QEMU sends at most, so every server takes them. */
export const WRITE_MULTI_MAX = 200;

/** A message that claims more is none of vfio-user's: twice the largest transfer that QEMU knows. */
export const ABSURD_MESSAGE_BYTES: number = 128 << 20;

/** Transfers that the server asked for and that wait for a peer's answer. One more is refused with EBUSY. */
export const PEER_TRANSFERS_MAX = 64;

/** Where DMA memory goes when nobody says where: above what a PC's firmware uses, within reach of 28 bit devices. */
export const FIRST_IOVA = 0x100000;
/** Writes to this window of an x86 machine are interrupts, not memory. */
export const MSI_WINDOW_START = 0xfee00000;
export const MSI_WINDOW_END = 0xfef00000;

/** A mapping is one ArrayBuffer view; larger regions are mapped in parts. */
export const MAPPING_BYTES_MAX: number = 1 << 30;

/** How long `close` waits for posted writes that the server has not read yet. */
export const CLOSE_DRAIN_MS = 1_000;
/** How often it looks, and how often a connect is tried again. */
export const POLL_MS = 10;

/** Listeners of one vector: a program that needs more has lost count of them. */
export const LISTENERS_PER_VECTOR_MAX = 64;
