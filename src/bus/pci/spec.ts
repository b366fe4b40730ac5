/*
 * How a PCI function is declared. A PciDeviceSpec is plain data: what the function is (ids, class), what it decodes
 * (BARs, ROM) and what it can do (capabilities). PciDevice turns it into regions, interrupts and a config space.
 *
 * Offsets and sizes are bytes. Whatever is left out has the default of real endpoints.
 */
import type { Consent, MappableArea, RegionHandler, RegionSpec } from '../../core/index.ts';

/** Index of a base address register. */
export type BarIndex = 0 | 1 | 2 | 3 | 4 | 5;

/** One base address register, and the region behind it. */
export interface BarSpec {
  /** `mem64` takes the next register too. */
  readonly type: 'mem32' | 'mem64' | 'io';
  /** A power of two. Memory: 16 bytes (4 KiB if mappable) to 2 GiB, `mem64` to 1 TiB. I/O: 4 to 256 bytes. */
  readonly sizeBytes: number;
  readonly prefetchable?: boolean;
  /**
   * Answers accesses by message. Absent: see PciDevice.addRegisters; without those either, accesses to a mappable
   * BAR go to its memory, and others read as ones.
   */
  readonly handler?: RegionHandler;
  /**
   * Which parts clients may map. `true`: all of it but the pages with the MSI-X table and PBA. Areas are whole
   * pages; a handler does not see accesses that lie within an area, its memory answers them.
   */
  readonly mappable?: true | readonly MappableArea[];
  /** Whether the memory may be a DMA target of other devices, where `mappable` is `true`. Default 'deny'. */
  readonly dma?: Consent;
  /** A reset writes zeros to the memory behind the BAR. Default: contents survive it. */
  readonly resetClears?: boolean;
}

/** PCI Power Management: D0 and D3hot through PMCSR. */
export interface PowerManagementSpec {
  readonly type: 'power-management';
  /** No_Soft_Reset: going from D3hot to D0 keeps the function's state. Default true. */
  readonly noSoftReset?: boolean;
  /** PME# can be signalled from D0 and D3hot. Default false. */
  readonly pme?: boolean;
}

/** Message signalled interrupts. */
export interface MsiSpec {
  readonly type: 'msi';
  /** A power of two up to 32. Default 1. */
  readonly vectors?: number;
  /** 64-bit message address. Default true. */
  readonly address64?: boolean;
  /** Per-vector masking. Default false. */
  readonly maskable?: boolean;
}

/** MSI-X. Table and PBA lie in a memory BAR and answer accesses there before the BAR's own handler. */
export interface MsixSpec {
  readonly type: 'msix';
  /** 1 to 2048. */
  readonly vectors: number;
  readonly bar: BarIndex;
  /** Of the table in its BAR; a multiple of 8. Default 0. */
  readonly tableOffset?: number;
  /** Default: the BAR of the table. */
  readonly pbaBar?: BarIndex;
  /** A multiple of 8. Default: right behind the table. */
  readonly pbaOffset?: number;
}

/** PCI Express endpoint; makes config space 4096 bytes. */
export interface ExpressSpec {
  readonly type: 'express';
  /** Function level reset through DEVCTL. Default true. */
  readonly functionLevelReset?: boolean;
  /** An endpoint integrated in the root complex has no link. Default false. */
  readonly integrated?: boolean;
}

/** Vendor-specific capability, up to 255 bytes with its 3 bytes of header. */
export interface VendorSpec {
  readonly type: 'vendor';
  /** What follows the header. */
  readonly data: Uint8Array;
  /** Bits of `data` that clients can write. Default: none. */
  readonly writable?: Uint8Array;
  /** Called after a write that touched `data`. `data` is a copy of the present bytes. */
  readonly onWrite?: (data: Uint8Array) => void;
}

/** A capability that we do not know: its bytes as they are, without the 2 bytes of id and next. */
export interface RawSpec {
  readonly type: 'raw';
  readonly id: number;
  readonly data: Uint8Array;
  readonly writable?: Uint8Array;
}

export type CapabilitySpec = PowerManagementSpec | MsiSpec | MsixSpec | ExpressSpec | VendorSpec | RawSpec;

/** Vendor-specific extended capability (VSEC). */
export interface VendorExtendedSpec {
  readonly type: 'vendor-extended';
  /** VSEC ID, 16 bits. */
  readonly id: number;
  /** VSEC revision, 4 bits. Default 0. */
  readonly revision?: number;
  /** What follows the 8 bytes of headers. */
  readonly data: Uint8Array;
  readonly writable?: Uint8Array;
  readonly onWrite?: (data: Uint8Array) => void;
}

/** An extended capability that we do not know: its bytes without the 4 bytes of header. */
export interface RawExtendedSpec {
  readonly type: 'raw-extended';
  readonly id: number;
  readonly version: number;
  readonly data: Uint8Array;
  readonly writable?: Uint8Array;
}

export type ExtendedCapabilitySpec = VendorExtendedSpec | RawExtendedSpec;

/** A PCI function. */
export interface PciDeviceSpec {
  readonly name: string;
  readonly vendorId: number;
  readonly deviceId: number;
  /** Default: the vendor and device id. */
  readonly subsystemVendorId?: number;
  readonly subsystemId?: number;
  /** 24 bits: base class, subclass, programming interface, as in 0x010802 for NVMe. */
  readonly classCode: number;
  readonly revisionId?: number;
  /** INTA to INTD as 1 to 4. Absent: no INTx. */
  readonly interruptPin?: 1 | 2 | 3 | 4;
  readonly bars?: { readonly [Index in BarIndex]?: BarSpec };
  /** Expansion ROM image; its region is the next power of two, at least 2 KiB. */
  readonly rom?: Uint8Array;
  /** In this order in the chain, from 0x40 on. */
  readonly capabilities?: readonly CapabilitySpec[];
  /** In this order from 0x100 on, after the serial number. They need the `express` capability. */
  readonly extendedCapabilities?: readonly ExtendedCapabilitySpec[];
  /** 64 bits for a Device Serial Number extended capability. */
  readonly serialNumber?: bigint;
  /** Device-specific regions: index 9 and up, each with its type. */
  readonly extraRegions?: readonly RegionSpec[];
  /**
   * Whether clients can reset the function (VFIO_DEVICE_RESET). Default true. False, as of a conventional function alone
   * on no bus of its own, goes with no other reset: neither FLR nor a loss of state on leaving D3hot.
   */
  readonly resettable?: boolean;
  /**
   * COMMAND when a client opens the device. Default, as after vfio-pci's open: I/O and memory decode as there are
   * BARs for them, no bus mastering.
   */
  readonly commandAtOpen?: number;
}
