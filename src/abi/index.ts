/* Public names of the abi room: constants and layouts of linux/vfio.h, vfio-user and linux/pci_regs.h. */
export * from './errno.ts';
export * from './pci-regs.ts';
export * from './struct.ts';
export * from './structs.ts';
export * from './vfio.ts';
export * from './vfio-user.ts';
