/*
 * Mistakes that the explorer must find: each changes one line of src/core, of the steps of src/sim, or the order of steps of our
 * design. `find` is in the file exactly once; where one line is not enough to tell the place, the lines before or after it are
 * given too and stay as they are.
 */
import { ORDERS, type Order, type Orders } from '../../src/sim/index.ts';

/** One mistake in one line. */
export interface Mutant {
  readonly name: string;
  /** Below src/. */
  readonly file: string;
  readonly find: string;
  readonly replace: string;
}

/** A line that is left out. */
function without(name: string, file: string, line: string): Mutant {
  return { name, file, find: line, replace: '' };
}

const DEVICE = 'core/device.ts';
const REGION = 'core/region.ts';
const SOURCE = 'core/source.ts';
const VMA = 'core/vma.ts';
const SPACE = 'core/address-space.ts';
const CONTAINER = 'core/container.ts';
const OFFSET = 'core/offset.ts';
const EFFECTS = 'sim/steps/effects.ts';
const DEVICES = 'sim/steps/device.ts';
const IOMMU = 'sim/steps/iommu.ts';
const CPU = 'sim/steps/cpu.ts';
const FILES = 'sim/steps/files.ts';

export const CORE_MUTANTS: readonly Mutant[] = [
  {
    name: 'the invalidated range begins a page late',
    file: SPACE,
    find: 'const first = Math.floor(start / PAGE_SIZE);\n    const end',
    replace: 'const first = Math.floor(start / PAGE_SIZE) + 1;\n    const end',
  },
  {
    name: 'the last page of a VMA is not zapped',
    file: SPACE,
    find: 'const to = Math.min(end, vma.endPgoff);',
    replace: 'const to = Math.min(end, vma.endPgoff - 1);',
  },
  {
    name: 'of each VMA one page is zapped',
    file: SPACE,
    find: '(to - from) * PAGE_SIZE);',
    replace: 'PAGE_SIZE);',
  },
  {
    name: 'the invalidated range ends at BAR2',
    file: DEVICE,
    find: '? VFIO_PCI_ROM_REGION_INDEX : this.regionCount;',
    replace: '? 2 : this.regionCount;',
  },
  {
    name: 'the invalidated range goes beyond the BARs',
    file: DEVICE,
    find: '? VFIO_PCI_ROM_REGION_INDEX : this.regionCount;',
    replace: '? 10 : this.regionCount;',
  },
  {
    name: 'a suspend forgets which regions it changed',
    file: DEVICE,
    find: 'if (region.block(reason)) changed.add(region);',
    replace: 'region.block(reason);',
  },
  without(
    'a suspend tells no listener',
    DEVICE,
    "for (const run of runs) this.#events.emit('suspend', { ...run, reason }, errors);",
  ),
  without(
    'a suspend zaps no VMA',
    DEVICE,
    'attempt(() => this.addressSpace.unmapMappingRange(run.start, run.length), errors);',
  ),
  {
    name: 'a resume forgets which regions it changed',
    file: DEVICE,
    find: 'if (region.unblock(reason)) changed.add(region);',
    replace: 'region.unblock(reason);',
  },
  {
    name: 'a resume tells no listener',
    file: DEVICE,
    find: "this.#events.emit('resume', { ...run, reason }, errors);",
    replace: ';',
  },
  {
    name: 'a resume does not end the reason',
    file: DEVICE,
    find: 'if (this.#released || ranges === undefined) return;',
    replace: 'return;',
  },
  without(
    'a release blocks no region',
    DEVICE,
    'for (const region of this.regions.values()) region.blockForGood(reason);',
  ),
  without(
    'a release tells no listener',
    DEVICE,
    "this.#events.emit('release', { start: 0, length: this.regionCount * REGION_SPAN, reason }, errors);",
  ),
  without(
    'a withdrawal of consent tells nobody',
    DEVICE,
    "if (consent === 'deny') this.#events.emit('suspend', range, errors);\n    else",
  ),
  {
    name: 'an announcement of consent tells nobody',
    file: DEVICE,
    find: "else if (this.accessible(region) === null) this.#events.emit('resume', range, errors);",
    replace: '',
  },
  {
    name: 'resuming takes the oldest reason away, whichever it is',
    file: REGION,
    find: 'this.#blockers.splice(at, 1);',
    replace: 'this.#blockers.splice(0, 1);',
  },
  {
    name: 'a DMA does not ask whether the region can be reached',
    file: REGION,
    find: 'if (reason !== null) return reason;',
    replace: '',
  },
  {
    name: 'a DMA does not ask for consent',
    file: REGION,
    find: "return this.#walk(offset, size, true) ? null : 'consent was withdrawn';",
    replace: "return this.#walk(offset, size, false) ? null : 'consent was withdrawn';",
  },
  {
    name: 'every mappable area has consent',
    file: REGION,
    find: "return this.#walk(offset, size, true) ? 'allow' : 'deny';",
    replace: "return this.#walk(offset, size, false) ? 'allow' : 'deny';",
  },
  {
    name: 'a walk over areas does not look at consent',
    file: REGION,
    find: "if (area.offset > next || (consented && area.dma === 'deny')) return false;",
    replace: 'if (area.offset > next) return false;',
  },
  without(
    'the device is not told of a change of consent',
    REGION,
    'this.device.consentChanged(this, area.offset, area.size, consent);',
  ),
  {
    name: 'memory is suspended when it should be resumed',
    file: REGION,
    find: 'if (suspended) this.#memory.suspend();',
    replace: 'if (!suspended) this.#memory.suspend();',
  },
  {
    name: 'memory stays suspended',
    file: REGION,
    find: 'else this.#memory.resume();',
    replace: '',
  },
  {
    name: 'a revocation looks for memory at its offset in the region',
    file: SOURCE,
    find: 'const first = this.region.offset + this.offset;\n    if (first >= end',
    replace: 'const first = this.offset;\n    if (first >= end',
  },
  {
    name: 'a revocation tells nobody whose memory is gone',
    file: SOURCE,
    find: 'if (reason === null) return;',
    replace: 'if (reason !== null) return;',
  },
  {
    name: 'device memory is always available',
    file: SOURCE,
    find: 'return this.#seat.region.dmaReason(this.offset + offset, size);',
    replace: 'return null;',
  },
  {
    name: 'a mapping that ends stays on the list of who is told',
    file: SOURCE,
    find: 'this.#listeners.clear();\n    DeviceWatch.of(this.device).delete(this);',
    replace: 'this.#listeners.clear();',
  },
  without('nobody watches for a suspend', SOURCE, "this.#device.on('suspend', tell),"),
  without('nobody watches for a release', SOURCE, "this.#device.on('release', tell),"),
  without(
    'the watch of a device is never given up',
    SOURCE,
    'for (const unsubscribe of this.#unsubscribe) unsubscribe();',
  ),
  {
    name: 'the upper half of a split VMA keeps the pgoff of the lower',
    file: VMA,
    find: 'pgoff: this.#pgoff + low / PAGE_SIZE,',
    replace: 'pgoff: this.#pgoff,',
  },
  {
    name: 'a VMA that is moved shows the next page',
    file: VMA,
    find: 'this.#change(newStart, this.#sizeBytes, this.#pgoff);',
    replace: 'this.#change(newStart, this.#sizeBytes, this.#pgoff + 1);',
  },
  {
    name: 'the lookup forgets where in the VMA it was asked',
    file: VMA,
    find: 'const fileOffset = pgoffToOffset(vma.pgoff) + (address - vma.start);',
    replace: 'const fileOffset = pgoffToOffset(vma.pgoff);',
  },
  {
    name: 'a VMA that changes leaves the address space',
    file: VMA,
    find: 'this.#pgoff = pgoff;\n    space?.insert(this);',
    replace: 'this.#pgoff = pgoff;',
  },
  {
    name: 'a region begins at half of its offset',
    file: OFFSET,
    find: 'return index * REGION_SPAN;',
    replace: 'return (index * REGION_SPAN) / 2;',
  },
  {
    name: 'an unmap tells no listener',
    file: CONTAINER,
    find: 'for (const listener of this.#listeners) attempt(() => listener(mapping), errors);',
    replace: '',
  },
  without(
    'a mapping that is gone does not let go of its source',
    CONTAINER,
    'attempt(() => mapping.source.detach(), errors);',
  ),
  {
    name: 'the last use does not remove a dying mapping',
    file: CONTAINER,
    find: 'this.#remove(mapping, errors);\n    this.#wake(mapping);',
    replace: 'this.#wake(mapping);',
  },
];

export const STEP_MUTANTS: readonly Mutant[] = [
  {
    name: 'a zap spares the last page',
    file: EFFECTS,
    find: 'each < page + pages; each++',
    replace: 'each < page + pages - 1; each++',
  },
  {
    name: 'clearing an IOMMU entry does nothing',
    file: EFFECTS,
    find: 'state[at + ENTRY] = 0;',
    replace: '',
  },
  { name: 'flushing the IOTLB does nothing', file: EFFECTS, find: 'state[at + TLB] = 0;', replace: '' },
  {
    name: 'DMA in flight is not waited for',
    file: EFFECTS,
    find: "if (word === 'drain') return !inFlight(machine, state, effect.mapping);",
    replace: "if (word === 'drain') return true;",
  },
  {
    name: 'the reference count does not go down',
    file: EFFECTS,
    find: 'state[machine.layout.device(device) + REFERENCES]!--;',
    replace: '',
  },
  {
    name: 'an entry that comes back names the first page of the device',
    file: EFFECTS,
    find: 'machine.plan.frame(device, place, targets[mapping]! - 1);',
    replace: 'machine.plan.frame(device, place, 0);',
  },
  {
    name: 'an entry that comes back names where the BAR was at first',
    file: EFFECTS,
    find: 'machine.plan.frame(device, place, targets[mapping]! - 1);',
    replace: 'machine.plan.frame(device, 0, targets[mapping]! - 1);',
  },
  {
    name: 'a mapping that cannot be reached is given an entry',
    file: EFFECTS,
    find: 'if (!reachable[mapping] || state[at + MAPPED] === 0) return;',
    replace: '',
  },
  {
    name: 'contents are not brought back',
    file: EFFECTS,
    find: 'state[at + CONTENT] = state[at + PARKED]!;',
    replace: '',
  },
  {
    name: 'VMAs may come while they are walked',
    file: EFFECTS,
    find: "if (list.some(({ kind }) => kind === 'zap')) state",
    replace: 'if (list.length === 0) state',
  },
  {
    name: 'a fault computes the frame from where the BAR was at first',
    file: CPU,
    find: 'return machine.plan.frame(device, state[machine.layout.device(device) + PLACE]!, found - 1);',
    replace: 'return machine.plan.frame(device, 0, found - 1);',
  },
  {
    name: 'a fault of the second page finds the first',
    file: CPU,
    find: 'machine.facts(state).faults[firstCell + page]!;',
    replace: 'machine.facts(state).faults[firstCell]!;',
  },
  {
    name: 'MAP_DMA takes a reference and does not count it',
    file: IOMMU,
    find: 'state[layout.device(device) + REFERENCES]!++;',
    replace: '',
  },
  {
    name: 'fork does not count the files that it shares',
    file: FILES,
    find: 'state[layout.file(child, device)] = 1;\n  state[layout.device(device) + OPENS]!++;',
    replace: 'state[layout.file(child, device)] = 1;',
  },
  {
    name: 'fork copies entries of VMAs that the zap does not know',
    file: 'sim/design.ts',
    find: "fork: ['lock mm', 'insert', 'copy', 'unlock'],",
    replace: "fork: ['lock mm', 'copy', 'insert', 'unlock'],",
  },
  {
    name: 'a wake tells the core another reason',
    file: DEVICES,
    find: 'return { order: enable, reason: sleep,',
    replace: 'return { order: enable, reason: decode,',
  },
];

/** A mistake in the order of steps of our design: words that are left out, or stand elsewhere. */
export interface OrderMutant {
  readonly name: string;
  readonly order: Partial<Orders>;
}

const { fault, disable, enable, reset, release, revoke, map, unmap } = ORDERS;
const lookupMap = map.filter((word) => word !== 'fault in' && word !== 'walk');
const omit = (order: Order, word: string): Order => order.filter((each) => each !== word);
/** Two neighbours change places. */
const swap = (order: Order, first: string, second: string): Order =>
  order.map((word) => (word === first ? second : word === second ? first : word));

export const ORDER_MUTANTS: readonly OrderMutant[] = [
  { name: 'a fault takes no memory lock', order: { fault: omit(fault, 'lock memory') } },
  {
    name: 'a fault looks up before it has the lock',
    order: { fault: swap(fault, 'lock memory', 'look up') },
  },
  { name: 'a fault inserts nothing', order: { fault: omit(fault, 'insert') } },
  { name: 'a fault keeps its locks', order: { fault: omit(fault, 'unlock') } },
  { name: 'a disable takes no lock', order: { disable: omit(disable, 'lock memory') } },
  { name: 'a disable withdraws nothing', order: { disable: omit(disable, 'withdraw') } },
  { name: 'decode goes off first', order: { disable: swap(disable, 'withdraw', 'hardware off') } },
  { name: 'a disable keeps its lock', order: { disable: omit(disable, 'unlock') } },
  { name: 'memory is back before decode is on', order: { enable: swap(enable, 'hardware on', 'return') } },
  { name: 'an enable gives nothing back', order: { enable: omit(enable, 'return') } },
  { name: 'a reset takes no lock', order: { reset: omit(reset, 'lock memory') } },
  { name: 'memory is back before the reset is over', order: { reset: swap(reset, 'hardware on', 'return') } },
  { name: 'a reset gives nothing back', order: { reset: omit(reset, 'return') } },
  { name: 'a release tells nobody', order: { release: omit(release, 'withdraw') } },
  {
    name: 'a device is off before its release is told',
    order: { release: swap(release, 'withdraw', 'hardware off') },
  },
  { name: 'a revocation clears nothing', order: { revoke: omit(revoke, 'clear') } },
  { name: 'a revocation flushes nothing', order: { revoke: omit(revoke, 'flush') } },
  {
    name: 'the IOTLB is flushed before the entry is cleared',
    order: { revoke: swap(revoke, 'clear', 'flush') },
  },
  { name: 'a revocation waits for no DMA', order: { revoke: omit(revoke, 'drain') } },
  {
    name: 'DMA is waited for before the IOTLB is flushed',
    order: { revoke: swap(revoke, 'flush', 'drain') },
  },
  { name: 'a revocation keeps its reference', order: { revoke: omit(revoke, 'drop reference') } },
  { name: 'MAP_DMA takes no memory lock', order: { map: omit(lookupMap, 'lock memory') } },
  {
    name: 'MAP_DMA locks the other way round',
    order: { map: swap(lookupMap, 'lock memory', 'lock container') },
  },
  { name: 'MAP_DMA takes no reference', order: { map: omit(lookupMap, 'reference') } },
  { name: 'MAP_DMA writes no entry', order: { map: omit(lookupMap, 'program') } },
  { name: 'UNMAP_DMA takes no lock', order: { unmap: omit(unmap, 'lock container') } },
  { name: 'UNMAP_DMA never lets go', order: { unmap: omit(unmap, 'let go') } },
  { name: 'UNMAP_DMA lets go before it unmaps', order: { unmap: swap(unmap, 'remove', 'let go') } },
];
