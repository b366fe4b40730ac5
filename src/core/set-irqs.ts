/*
 * VFIO_DEVICE_SET_IRQS for every device and every transport: what a request may say, and what it does to the
 * tables of irq.ts. Nothing changes unless the whole request is good.
 *
 * The errno are those of the kernel (`vfio_set_irqs_validate_and_prepare`, `vfio_pci_set_irqs_ioctl`) and of
 * libvfio-user. Masking an index that cannot be masked is where bus drivers differ: vfio-pci has no function for it
 * (ENOTTY), the others refuse it (`vfio_platform_set_irq_mask`, `vfio_fsl_mc_set_irqs_ioctl`: EINVAL). Two of the kernel's refusals are left out, as in libvfio-user: disabling what is not enabled,
 * and INTx while MSI is armed. Each index has its own table here, so both are harmless.
 */
import {
  VFIO_DEVICE_API_PCI_STRING,
  VFIO_IRQ_INFO_MASKABLE,
  VFIO_IRQ_SET_ACTION_MASK,
  VFIO_IRQ_SET_ACTION_TRIGGER,
  VFIO_IRQ_SET_ACTION_TYPE_MASK,
  VFIO_IRQ_SET_ACTION_UNMASK,
  VFIO_IRQ_SET_DATA_BOOL,
  VFIO_IRQ_SET_DATA_EVENTFD,
  VFIO_IRQ_SET_DATA_NONE,
  VFIO_IRQ_SET_DATA_TYPE_MASK,
  VFIO_PCI_ERR_IRQ_INDEX,
  VFIO_PCI_REQ_IRQ_INDEX,
} from '../abi/vfio.ts';
import type { VfioDevice } from './device.ts';
import { VfioError } from './error.ts';
import type { Irq, IrqTrigger } from './irq.ts';

/** What the request carries: VFIO_IRQ_SET_DATA_*. */
export type IrqData = 'none' | 'bool' | 'eventfd';

/** What it asks for: VFIO_IRQ_SET_ACTION_*. */
export type IrqAction = 'mask' | 'unmask' | 'trigger';

/** A decoded `struct vfio_irq_set`. */
export interface IrqSet {
  readonly index: number;
  readonly start: number;
  readonly count: number;
  readonly data: IrqData;
  readonly action: IrqAction;
  /** With 'bool': `count` bytes; the vectors with a byte that is not 0 are meant. */
  readonly bools?: Uint8Array;
  /**
   * With 'eventfd': `count` triggers, null where the kernel takes -1; none at all unwires the whole range.
   */
  readonly triggers?: readonly (IrqTrigger | null)[];
}

/** Splits the `flags` word. EINVAL unless it has exactly one DATA and one ACTION bit and nothing else. */
export function decodeIrqSetFlags(flags: number): { data: IrqData; action: IrqAction } {
  const data = DATA.get(flags & VFIO_IRQ_SET_DATA_TYPE_MASK);
  const action = ACTIONS.get(flags & VFIO_IRQ_SET_ACTION_TYPE_MASK);
  const known = VFIO_IRQ_SET_DATA_TYPE_MASK | VFIO_IRQ_SET_ACTION_TYPE_MASK;
  if (data === undefined || action === undefined || (flags & ~known) !== 0) {
    throw invalid(`flags 0x${flags.toString(16)} need one DATA bit and one ACTION bit`);
  }
  return { data, action };
}

/**
 * Carries out one SET_IRQS. Takes the triggers over in every case: those that are not wired in the end are
 * closed, all of them when the request is refused. Errors: EINVAL for what does not fit the device or itself,
 * for masking an index that cannot be masked ENOTTY where clients see vfio-pci, else EINVAL.
 */
export function setIrqs(device: VfioDevice, request: IrqSet): void {
  let irq: Irq;
  try {
    irq = validate(device, request);
  } catch (error) {
    // A trigger may stand in several places of the request and is still closed once.
    for (const trigger of new Set(request.triggers)) trigger?.close();
    throw error;
  }
  if (request.data === 'eventfd') setTriggers(irq, request);
  else if (request.count === 0) irq.disable();
  else setVectors(irq, request);
}

const DATA: ReadonlyMap<number, IrqData> = new Map([
  [VFIO_IRQ_SET_DATA_NONE, 'none'],
  [VFIO_IRQ_SET_DATA_BOOL, 'bool'],
  [VFIO_IRQ_SET_DATA_EVENTFD, 'eventfd'],
]);

const ACTIONS: ReadonlyMap<number, IrqAction> = new Map([
  [VFIO_IRQ_SET_ACTION_MASK, 'mask'],
  [VFIO_IRQ_SET_ACTION_UNMASK, 'unmask'],
  [VFIO_IRQ_SET_ACTION_TRIGGER, 'trigger'],
]);

function validate(device: VfioDevice, request: IrqSet): Irq {
  const { index, start, count, data, action } = request;
  const irq = device.irqs[index];
  if (irq === undefined) throw invalid(`index ${index}; ${device.name} has ${device.irqs.length} indexes`);
  if (!isU32(start) || !isU32(count) || start >= irq.count || start + count > irq.count) {
    throw invalid(`vectors ${start} to ${start + count - 1}; index ${index} has ${irq.count}`);
  }
  if (count === 0 && (start !== 0 || data !== 'none' || action !== 'trigger')) {
    throw invalid('count 0 means disable, and only with start 0, DATA_NONE and ACTION_TRIGGER');
  }
  if (action !== 'trigger') {
    if (isNotification(device, index)) throw invalid(`index ${index} (ERR, REQ) can only be triggered`);
    if ((irq.flags & VFIO_IRQ_INFO_MASKABLE) === 0) {
      throw new VfioError(
        device.api === VFIO_DEVICE_API_PCI_STRING ? 'ENOTTY' : 'EINVAL',
        `SET_IRQS: index ${index} of ${device.name} has no VFIO_IRQ_INFO_MASKABLE`,
      );
    }
  }
  validateData(irq, request);
  return irq;
}

function validateData(irq: Irq, { count, data, action, bools, triggers }: IrqSet): void {
  const boolCount = bools?.length ?? 0;
  const triggerCount = triggers?.length ?? 0;
  if (boolCount !== (data === 'bool' ? count : 0))
    throw invalid(`${boolCount} bools came with count ${count}`);
  if (triggerCount === 0) return;
  if (data !== 'eventfd') throw invalid('eventfds came without DATA_EVENTFD');
  if (triggerCount !== count) throw invalid(`${triggerCount} eventfds came with count ${count}`);
  if (action === 'trigger') return;
  if (!irq.level)
    throw invalid(`index ${irq.index} is not a level line; only those are (un)masked by eventfd`);
  if (triggers!.some((trigger) => trigger !== null && trigger.listen === undefined)) {
    throw invalid('this trigger cannot be listened to; (un)masking needs an eventfd');
  }
}

function setTriggers(irq: Irq, { start, count, action, triggers }: IrqSet): void {
  const given = triggers?.length ? triggers : new Array<null>(count).fill(null);
  if (action === 'trigger') irq.wire(start, given);
  else if (action === 'mask') irq.setMaskSource(given[0]!);
  else irq.setResample(given[0]!);
}

function setVectors(irq: Irq, { start, count, action, bools }: IrqSet): void {
  for (let i = 0; i < count; i++) {
    if (bools !== undefined && bools[i] === 0) continue;
    if (action === 'trigger') irq.loopback(start + i);
    else if (action === 'mask') irq.mask(start + i, 1);
    else irq.unmask(start + i, 1);
  }
}

/** ERR and REQ tell the client something; they are no interrupts of the guest's device. */
function isNotification(device: VfioDevice, index: number): boolean {
  if (device.api !== VFIO_DEVICE_API_PCI_STRING) return false;
  return index === VFIO_PCI_ERR_IRQ_INDEX || index === VFIO_PCI_REQ_IRQ_INDEX;
}

function isU32(value: number): boolean {
  return Number.isInteger(value) && value >= 0 && value < 2 ** 32;
}

function invalid(what: string): VfioError {
  return new VfioError('EINVAL', `SET_IRQS: ${what}`);
}
