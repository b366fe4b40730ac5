/*
 * What software sees of a function's config space that cannot change under it, by name where the field has one.
 */
import {
  PCI_BASE_ADDRESS_0,
  PCI_CAPABILITY_LIST,
  PCI_CLASS_PROG,
  PCI_DEVICE_ID,
  PCI_INTERRUPT_PIN,
  PCI_REVISION_ID,
  PCI_ROM_ADDRESS,
  PCI_STD_NUM_BARS,
  PCI_SUBSYSTEM_ID,
  PCI_SUBSYSTEM_VENDOR_ID,
  PCI_VENDOR_ID,
} from '../../abi/index.ts';
import type { ConfigSpace } from './config-space.ts';

interface Field {
  readonly at: number;
  readonly sizeBytes: number;
  readonly name: string;
  /** Software writes parts of it, so its value says nothing about the function. */
  readonly assigned?: boolean;
}

const FIELDS: readonly Field[] = [
  { at: PCI_VENDOR_ID, sizeBytes: 2, name: 'vendor id' },
  { at: PCI_DEVICE_ID, sizeBytes: 2, name: 'device id' },
  { at: PCI_REVISION_ID, sizeBytes: 1, name: 'revision id' },
  { at: PCI_CLASS_PROG, sizeBytes: 3, name: 'class code' },
  ...Array.from({ length: PCI_STD_NUM_BARS }, (_, index) => ({
    at: PCI_BASE_ADDRESS_0 + 4 * index,
    sizeBytes: 4,
    name: `register of BAR${index}`,
    assigned: true,
  })),
  { at: PCI_SUBSYSTEM_VENDOR_ID, sizeBytes: 2, name: 'subsystem vendor id' },
  { at: PCI_SUBSYSTEM_ID, sizeBytes: 2, name: 'subsystem id' },
  { at: PCI_ROM_ADDRESS, sizeBytes: 4, name: 'register of the ROM', assigned: true },
  { at: PCI_CAPABILITY_LIST, sizeBytes: 1, name: 'place of the first capability' },
  { at: PCI_INTERRUPT_PIN, sizeBytes: 1, name: 'interrupt pin' },
];

/** What `next` has differently, one phrase a field; what has no name here, capabilities mostly, goes by its offset. */
export function configDifferences(old: ConfigSpace, next: ConfigSpace): string[] {
  const fields = new Set<Field>();
  const doublewords = new Set<number>();
  for (const offset of old.differences(next)) {
    const field = FIELDS.find(({ at, sizeBytes }) => offset >= at && offset < at + sizeBytes);
    if (field === undefined) doublewords.add(offset & ~3);
    else fields.add(field);
  }
  const found = [...fields].map((field) =>
    field.assigned
      ? `${field.name} is another kind or size`
      : `${field.name}: ${fixedValue(old, field)} before, ${fixedValue(next, field)} now`,
  );
  if (doublewords.size > 0) {
    const places = [...doublewords].map((at) => `0x${at.toString(16)}`);
    found.push(`config space is another at ${places.join(', ')}`);
  }
  return found;
}

function fixedValue(config: ConfigSpace, { at, sizeBytes }: Field): string {
  let value = 0;
  for (let i = sizeBytes - 1; i >= 0; i--) value = value * 256 + config.get8(at + i);
  return `0x${value.toString(16)}`;
}
