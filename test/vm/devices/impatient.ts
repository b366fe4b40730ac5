/**
 * A device whose handlers wait inside an access, as its author should not have them do:
 *
 *   0x00 write: fetches 4 bytes from the address that is written, before the write is answered
 *   0x04 read: what was fetched
 *   0x08 read: fetches from the same address before the read is answered
 *   0x0c write: takes 6 s
 */
import { PciDevice } from 'vfio';

const SLOW_MS = 6000;

export default class Impatient extends PciDevice {
  #address = 0;
  #fetched = 0;

  constructor() {
    super({
      name: 'impatient',
      vendorId: 0x1234,
      deviceId: 0x1d1e,
      classCode: 0xff0000,
      bars: { 0: { type: 'mem32', sizeBytes: 4096 } },
    });
    this.setBarHandler(0, {
      read: (offset, _count, view, at) => {
        if (offset !== 0x08) {
          view.setUint32(at, this.#fetched, true);
          return 0;
        }
        return this.#fetch().then((errno) => {
          view.setUint32(at, this.#fetched, true);
          return errno;
        });
      },
      write: (offset, _count, view, at) => {
        if (offset === 0x0c) return new Promise((resolve) => setTimeout(() => resolve(0), SLOW_MS));
        if (offset !== 0) return 0;
        this.#address = view.getUint32(at, true);
        return this.#fetch();
      },
    });
  }

  async #fetch(): Promise<number> {
    const bytes = new Uint8Array(4);
    const fault = await this.dma.read(this.#address, bytes);
    if (fault !== null) return 5;
    this.#fetched = new DataView(bytes.buffer).getUint32(0, true);
    return 0;
  }
}
