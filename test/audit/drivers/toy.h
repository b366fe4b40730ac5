/* The device that the drivers of this folder share: a few regions of physical memory. */
#ifndef TOY_H
#define TOY_H

#define TOY_REGIONS 6
#define TOY_CACHEABLE 1

struct toy_region {
	phys_addr_t addr;
	u64 size;
	u32 flags;
};

struct toy_device {
	struct vfio_device vdev;
	struct toy_region regions[TOY_REGIONS];
	struct mutex lock;
	struct list_head vmas;
	unsigned long last_pfn;
};

struct toy_vma {
	struct vm_area_struct *vma;
	struct list_head entry;
};

#endif
