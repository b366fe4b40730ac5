/* What a driver of the corpus hands to the probe: one mmap handler, and how its device is told to zap. */
#ifndef PROBE_H
#define PROBE_H

#include <linux/vfio.h>

enum probe_kind { PROBE_VFIO, PROBE_MDEV, PROBE_REGOPS };

struct probe {
	const char *name;
	enum probe_kind kind;
	void *mmap;
	void (*request)(struct vfio_device *vdev, unsigned int count);
	long (*ioctl)(struct vfio_device *vdev, unsigned int cmd, unsigned long arg);
	struct probe *next;
};

void probe_add(struct probe *probe);

#define PROBE(id, label, how, handler, request_op, ioctl_op) \
	__attribute__((constructor)) static void probe_##id(void) \
	{ \
		static struct probe probe = { label, how, (void *)handler, request_op, ioctl_op }; \
		probe_add(&probe); \
	}

#endif
