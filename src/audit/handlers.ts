/*
 * Which functions a VFIO device's mmap() reaches: what initializers and assignments of the subsystem's structures put
 * into `.mmap`. Whoever only hands the VMA on to such a pointer is a dispatcher, and no handler.
 */
import type { Program } from './program.ts';
import { type Place, placeOf, type Token } from './tokens.ts';
import type { FunctionUnit } from './units.ts';

export type Role = 'vfio_device_ops' | 'vfio_pci_regops' | 'mdev' | 'file_operations';

const ROLES: Readonly<Record<string, Role>> = {
  vfio_device_ops: 'vfio_device_ops',
  vfio_pci_regops: 'vfio_pci_regops',
  mdev_parent_ops: 'mdev',
  file_operations: 'file_operations',
};
/** Only there are file operations those of a VFIO device. */
const SUBSYSTEM_FOLDER = /(^|\/)drivers\/vfio\//;

/** One structure that points to a handler. */
export interface Registration {
  readonly structType: string;
  readonly variable: string;
  readonly place: Place;
  readonly token: Token;
  /** Every name in the structure's initializer: the other operations of the same driver. */
  readonly neighbours: readonly string[];
}

export interface Candidate {
  readonly unit: FunctionUnit;
  readonly role: Role;
  readonly registrations: readonly Registration[];
}

export function findCandidates(program: Program): Candidate[] {
  const found = new Map<FunctionUnit, { role: Role; registrations: Registration[] }>();
  for (const value of program.fieldValues('mmap')) {
    const role = ROLES[value.structType];
    const { path } = value.token.file;
    if (role === undefined || (role === 'file_operations' && !SUBSYSTEM_FOLDER.test(path))) continue;
    const registration: Registration = {
      structType: value.structType,
      variable: value.variable,
      place: placeOf(value.token),
      token: value.token,
      neighbours: value.neighbours,
    };
    for (const { kind, text } of value.value) {
      if (kind !== 'word') continue;
      for (const unit of program.functionsNamed(text, path)) {
        const known = found.get(unit);
        if (known === undefined) found.set(unit, { role, registrations: [registration] });
        else if (
          !known.registrations.some(
            (one) => one.token.at === value.token.at && one.token.file === value.token.file,
          )
        ) {
          known.registrations.push(registration);
        }
      }
    }
  }
  return [...found].map(([unit, { role, registrations }]) => ({ unit, role, registrations }));
}
