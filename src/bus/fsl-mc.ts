/*
 * Objects of NXP's Management Complex (DPAA2): network interfaces (dpni), I/O portals (dpio), and the containers (dprc)
 * that hold them. Regions and interrupts have the indexes that the object's descriptor gives them.
 *
 * What clients are told follows Linux's vfio-fsl-mc (vfio_fsl_mc.c, vfio_fsl_mc_intr.c):
 * - a region can be read, and written unless its resource is read-only; whole pages are mappable, except those of a
 *   container, whose region is the portal that its commands go through;
 * - each interrupt is an index of its own with one vector and EVENTFD alone: messages of the MC's MSI controller, which
 *   nobody can mask here;
 * - VFIO_DEVICE_FLAGS_RESET is set for containers. Linux sets it for nothing else, though VFIO_DEVICE_RESET of newer
 *   versions resets any object; here the flag says what works: a class of another object that overrides `onReset` has it.
 *
 * Linux takes commands to a portal only as 64 bytes at offset 0; here every access reaches the region's handler.
 */
import { VFIO_IRQ_INFO_EVENTFD } from '../abi/index.ts';
import { assert } from '../core/index.ts';
import { PlainDevice, type PlainRegionSpec } from './plain-device.ts';

/** One region of an object. */
export interface FslMcRegionSpec extends PlainRegionSpec {
  /** Clients may map all of it: then it is memory, and no handler sees what they do. Default: not. */
  readonly mappable?: true;
}

/** An object of the Management Complex. */
export interface FslMcDeviceSpec {
  readonly name: string;
  /** As the MC calls it: 'dprc', 'dpni', 'dpio', 'dpbp', 'dpcon', 'dpmcp' and others. */
  readonly objectType: string;
  /** In the order of their indexes. */
  readonly regions?: readonly FslMcRegionSpec[];
  /** Names of its interrupts, in the order of their indexes. */
  readonly interrupts?: readonly string[];
}

/** The container object: what is in it is reset with it. */
const CONTAINER = 'dprc';

/** Base class of fsl-mc objects. */
export class FslMcDevice extends PlainDevice {
  readonly spec: FslMcDeviceSpec;

  constructor(spec: FslMcDeviceSpec) {
    const container = spec.objectType === CONTAINER;
    const regions = spec.regions ?? [];
    for (const { name, mappable } of regions) {
      assert(
        !container || mappable === undefined,
        `${spec.name}, ${name}: a container's portal is not mappable`,
      );
    }
    super({
      name: spec.name,
      kind: 'fsl-mc',
      regions: regions.map((region, index) => ({ ...region, index })),
      irqs: (spec.interrupts ?? []).map((name, index) => ({
        name,
        index,
        count: 1,
        flags: VFIO_IRQ_INFO_EVENTFD,
      })),
      alwaysResettable: container,
    });
    this.spec = spec;
  }
}
