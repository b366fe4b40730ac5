/**
 * Reads the capability lists of a PCI function's config space: what each capability is and, for those that
 * decide how a device is driven, what it says. Wording follows lspci.
 *
 * Config space comes from a device that may be broken: a list that loops or points outside ends the walk, it
 * does not end the program.
 */
import * as pci from '../../abi/pci-regs.ts';

export interface Capability {
  /** Offset in config space. */
  readonly offset: number;
  readonly id: number;
  /** In the extended list, from offset 0x100 on. */
  readonly extended: boolean;
  readonly name: string;
  /** The decoded fields, for programs. */
  readonly fields: Readonly<Record<string, string | number | boolean>>;
  /** The same in one line, for people. */
  readonly summary: string;
}

/** Most capabilities that fit: each takes at least 4 bytes of what is behind the header. */
const MAX_CAPABILITIES = (pci.PCI_CFG_SPACE_SIZE - pci.PCI_STD_HEADER_SIZEOF) / pci.PCI_CAP_SIZEOF;
/** The same for the extended list. */
const MAX_EXTENDED_CAPABILITIES = (pci.PCI_CFG_SPACE_EXP_SIZE - pci.PCI_CFG_SPACE_SIZE) / 4;

/** Extended capabilities start here, if the function has them at all. */
const EXTENDED_START = pci.PCI_CFG_SPACE_SIZE;

type Decoder = (config: DataView, at: number) => Pick<Capability, 'fields' | 'summary'>;

interface Kind {
  readonly name: string;
  readonly decode?: Decoder;
  /** Bytes that `decode` looks at; a capability that is cut off is only named. */
  readonly sizeBytes?: number;
}

const STANDARD: ReadonlyMap<number, Kind> = new Map([
  [pci.PCI_CAP_ID_PM, { name: 'Power Management', decode: powerManagement, sizeBytes: pci.PCI_PM_SIZEOF }],
  [pci.PCI_CAP_ID_VPD, { name: 'Vital Product Data' }],
  [pci.PCI_CAP_ID_MSI, { name: 'MSI', decode: msi, sizeBytes: pci.PCI_MSI_ADDRESS_LO }],
  [pci.PCI_CAP_ID_VNDR, { name: 'Vendor Specific Information', decode: vendorSpecific, sizeBytes: 3 }],
  [pci.PCI_CAP_ID_SSVID, { name: 'Subsystem' }],
  [pci.PCI_CAP_ID_EXP, { name: 'Express', decode: express, sizeBytes: pci.PCI_EXP_DEVCTL }],
  [pci.PCI_CAP_ID_MSIX, { name: 'MSI-X', decode: msix, sizeBytes: pci.PCI_CAP_MSIX_SIZEOF }],
  [pci.PCI_CAP_ID_AF, { name: 'PCI Advanced Features', decode: advancedFeatures, sizeBytes: 4 }],
]);

const EXTENDED: ReadonlyMap<number, Kind> = new Map([
  [pci.PCI_EXT_CAP_ID_ERR, { name: 'Advanced Error Reporting' }],
  [pci.PCI_EXT_CAP_ID_DSN, { name: 'Device Serial Number', decode: serialNumber, sizeBytes: 12 }],
  [pci.PCI_EXT_CAP_ID_VNDR, { name: 'Vendor Specific Information', decode: vendorExtended, sizeBytes: 8 }],
  [pci.PCI_EXT_CAP_ID_ACS, { name: 'Access Control Services' }],
  [pci.PCI_EXT_CAP_ID_ARI, { name: 'Alternative Routing-ID Interpretation (ARI)' }],
  [pci.PCI_EXT_CAP_ID_ATS, { name: 'Address Translation Service (ATS)' }],
  [pci.PCI_EXT_CAP_ID_SRIOV, { name: 'Single Root I/O Virtualization (SR-IOV)' }],
  [pci.PCI_EXT_CAP_ID_REBAR, { name: 'Physical Resizable BAR' }],
  [pci.PCI_EXT_CAP_ID_LTR, { name: 'Latency Tolerance Reporting' }],
  [pci.PCI_EXT_CAP_ID_PASID, { name: 'Process Address Space ID (PASID)' }],
]);

/** Every capability of a config space of 256 or 4096 bytes, in the order of the lists. */
export function capabilities(config: Uint8Array): readonly Capability[] {
  const view = new DataView(config.buffer, config.byteOffset, config.byteLength);
  if (config.byteLength < pci.PCI_STD_HEADER_SIZEOF) return [];
  return [...standardList(view), ...extendedList(view)];
}

function* standardList(config: DataView): Generator<Capability> {
  if ((config.getUint16(pci.PCI_STATUS, true) & pci.PCI_STATUS_CAP_LIST) === 0) return;
  let at = config.getUint8(pci.PCI_CAPABILITY_LIST) & ~3;
  for (let count = 0; count < MAX_CAPABILITIES && at >= pci.PCI_STD_HEADER_SIZEOF; count++) {
    if (at + pci.PCI_CAP_SIZEOF > Math.min(config.byteLength, pci.PCI_CFG_SPACE_SIZE)) return;
    const id = config.getUint8(at + pci.PCI_CAP_LIST_ID);
    // All ones: nobody answered this read, so there is no list.
    if (id === 0xff) return;
    yield decoded(config, at, id, false, STANDARD.get(id));
    at = config.getUint8(at + pci.PCI_CAP_LIST_NEXT) & ~3;
  }
}

function* extendedList(config: DataView): Generator<Capability> {
  let at = EXTENDED_START;
  for (let count = 0; count < MAX_EXTENDED_CAPABILITIES && at >= EXTENDED_START; count++) {
    if (at + 4 > config.byteLength) return;
    const header = config.getUint32(at, true);
    if (header === 0 || header === 0xffff_ffff) return;
    const id = header & 0xffff;
    yield decoded(config, at, id, true, EXTENDED.get(id));
    at = (header >>> 20) & ~3;
  }
}

function decoded(
  config: DataView,
  offset: number,
  id: number,
  extended: boolean,
  kind: Kind | undefined,
): Capability {
  const name = kind?.name ?? `Capability 0x${id.toString(16).padStart(2, '0')}`;
  const fits = offset + (kind?.sizeBytes ?? 0) <= config.byteLength;
  const details = fits ? kind?.decode?.(config, offset) : undefined;
  return { offset, id, extended, name, fields: details?.fields ?? {}, summary: details?.summary ?? name };
}

/** lspci's way of writing a bit: `Enable+` or `Enable-`. */
function bit(name: string, set: boolean): string {
  return name + (set ? '+' : '-');
}

function powerManagement(config: DataView, at: number): ReturnType<Decoder> {
  const capability = config.getUint16(at + pci.PCI_PM_PMC, true);
  const control = config.getUint16(at + pci.PCI_PM_CTRL, true);
  const version = capability & pci.PCI_PM_CAP_VER_MASK;
  const state = `D${control & pci.PCI_PM_CTRL_STATE_MASK}`;
  const noSoftReset = (control & pci.PCI_PM_CTRL_NO_SOFT_RESET) !== 0;
  return {
    fields: { version, state, noSoftReset },
    summary: `Power Management version ${version}: Status: ${state} ${bit('NoSoftRst', noSoftReset)}`,
  };
}

function msi(config: DataView, at: number): ReturnType<Decoder> {
  const flags = config.getUint16(at + pci.PCI_MSI_FLAGS, true);
  const enabled = (flags & pci.PCI_MSI_FLAGS_ENABLE) !== 0;
  const vectors = 1 << ((flags & pci.PCI_MSI_FLAGS_QMASK) >>> 1);
  const allocated = 1 << ((flags & pci.PCI_MSI_FLAGS_QSIZE) >>> 4);
  const maskable = (flags & pci.PCI_MSI_FLAGS_MASKBIT) !== 0;
  const wide = (flags & pci.PCI_MSI_FLAGS_64BIT) !== 0;
  const count = `Count=${allocated}/${vectors}`;
  return {
    fields: { enabled, vectors, allocated, maskable, address64: wide },
    summary: `MSI: ${bit('Enable', enabled)} ${count} ${bit('Maskable', maskable)} ${bit('64bit', wide)}`,
  };
}

function msix(config: DataView, at: number): ReturnType<Decoder> {
  const flags = config.getUint16(at + pci.PCI_MSIX_FLAGS, true);
  const table = config.getUint32(at + pci.PCI_MSIX_TABLE, true);
  const pending = config.getUint32(at + pci.PCI_MSIX_PBA, true);
  const enabled = (flags & pci.PCI_MSIX_FLAGS_ENABLE) !== 0;
  const masked = (flags & pci.PCI_MSIX_FLAGS_MASKALL) !== 0;
  const vectors = (flags & pci.PCI_MSIX_FLAGS_QSIZE) + 1;
  const tableBar = table & pci.PCI_MSIX_TABLE_BIR;
  const tableOffset = (table & pci.PCI_MSIX_TABLE_OFFSET) >>> 0;
  const pbaBar = pending & pci.PCI_MSIX_PBA_BIR;
  const pbaOffset = (pending & pci.PCI_MSIX_PBA_OFFSET) >>> 0;
  const place = (bar: number, offset: number) => `BAR=${bar} offset=${offset.toString(16).padStart(8, '0')}`;
  return {
    fields: { enabled, masked, vectors, tableBar, tableOffset, pbaBar, pbaOffset },
    summary:
      `MSI-X: ${bit('Enable', enabled)} Count=${vectors} ${bit('Masked', masked)}; ` +
      `Vector table: ${place(tableBar, tableOffset)}; PBA: ${place(pbaBar, pbaOffset)}`,
  };
}

const PORT_TYPES: ReadonlyMap<number, string> = new Map([
  [pci.PCI_EXP_TYPE_ENDPOINT, 'Endpoint'],
  [pci.PCI_EXP_TYPE_LEG_END, 'Legacy Endpoint'],
  [pci.PCI_EXP_TYPE_ROOT_PORT, 'Root Port'],
  [pci.PCI_EXP_TYPE_UPSTREAM, 'Upstream Port'],
  [pci.PCI_EXP_TYPE_DOWNSTREAM, 'Downstream Port'],
  [pci.PCI_EXP_TYPE_RC_END, 'Root Complex Integrated Endpoint'],
]);

function express(config: DataView, at: number): ReturnType<Decoder> {
  const flags = config.getUint16(at + pci.PCI_EXP_FLAGS, true);
  const version = flags & pci.PCI_EXP_FLAGS_VERS;
  const type = (flags & pci.PCI_EXP_FLAGS_TYPE) >>> 4;
  const port = PORT_TYPES.get(type) ?? `type ${type}`;
  const flr = (config.getUint32(at + pci.PCI_EXP_DEVCAP, true) & pci.PCI_EXP_DEVCAP_FLR) !== 0;
  return {
    fields: { version, port, functionLevelReset: flr },
    summary: `Express (v${version}) ${port}: ${bit('FLReset', flr)}`,
  };
}

function advancedFeatures(config: DataView, at: number): ReturnType<Decoder> {
  const capability = config.getUint8(at + pci.PCI_AF_CAP);
  const flr = (capability & pci.PCI_AF_CAP_FLR) !== 0;
  return {
    fields: { functionLevelReset: flr },
    summary: `PCI Advanced Features: ${bit('FLR', flr)}`,
  };
}

function vendorSpecific(config: DataView, at: number): ReturnType<Decoder> {
  const length = config.getUint8(at + pci.PCI_CAP_FLAGS);
  return {
    fields: { lengthBytes: length },
    summary: `Vendor Specific Information: Len=${length.toString(16).padStart(2, '0')}`,
  };
}

function serialNumber(config: DataView, at: number): ReturnType<Decoder> {
  const bytes: string[] = [];
  for (let i = 7; i >= 0; i--) {
    bytes.push(
      config
        .getUint8(at + 4 + i)
        .toString(16)
        .padStart(2, '0'),
    );
  }
  const serial = bytes.join('-');
  return { fields: { serial }, summary: `Device Serial Number ${serial}` };
}

function vendorExtended(config: DataView, at: number): ReturnType<Decoder> {
  const header = config.getUint32(at + pci.PCI_VNDR_HEADER, true);
  const id = header & 0xffff;
  const revision = (header >>> 16) & 0xf;
  const length = header >>> pci.PCI_VSEC_HDR_LEN_SHIFT;
  const place = `ID=${id.toString(16).padStart(4, '0')} Rev=${revision} Len=${length.toString(16)}`;
  return {
    fields: { vendorId: id, revision, lengthBytes: length },
    summary: `Vendor Specific Information: ${place}`,
  };
}
