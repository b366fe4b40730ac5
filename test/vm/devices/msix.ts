/**
 * A device with one register and, unless it is told otherwise, MSI-X.
 */
import { PciDevice } from 'vfio';

export default class MsixDevice extends PciDevice {
  constructor(options: { readonly msix?: string } = {}) {
    super({
      name: 'msix',
      vendorId: 0x1234,
      deviceId: 0x6d78,
      classCode: 0xff0000,
      interruptPin: 1,
      bars: { 0: { type: 'mem32', sizeBytes: 4096 }, 1: { type: 'mem32', sizeBytes: 4096 } },
      capabilities: options.msix === 'no' ? [] : [{ type: 'msix', vectors: 4, bar: 1 }],
    });
    this.addRegisters(0, { ID: { offset: 0, width: 4, access: 'ro', reset: 0x6d78 } });
  }
}
