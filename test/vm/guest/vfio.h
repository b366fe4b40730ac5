/*
 * What guest programs on vfio-pci begin with: the container and the device of one PCI function, behind an IOMMU.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

static int container, device;

static void fail(const char *what) {
  printf("%s: %s\n", what, strerror(errno));
  exit(1);
}

/** Opens the device through the group that it is in. */
static void open_device(const char *bdf) {
  char path[256], link[256];
  snprintf(path, sizeof path, "/sys/bus/pci/devices/%s/iommu_group", bdf);
  ssize_t length = readlink(path, link, sizeof link - 1);
  if (length < 0) fail(path);
  link[length] = 0;
  snprintf(path, sizeof path, "/dev/vfio/%s", strrchr(link, '/') + 1);
  container = open("/dev/vfio/vfio", O_RDWR);
  int group = open(path, O_RDWR);
  if (container < 0 || group < 0) fail(path);
  if (ioctl(group, VFIO_GROUP_SET_CONTAINER, &container)) fail("SET_CONTAINER");
  if (ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU)) fail("SET_IOMMU");
  device = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, bdf);
  if (device < 0) fail("GET_DEVICE_FD");
}

/** Lets the device reach `memory` at `iova`. */
static void map_for_dma(void *memory, uint64_t size, uint64_t iova) {
  struct vfio_iommu_type1_dma_map map = {
    .argsz = sizeof map, .flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
    .vaddr = (uintptr_t)memory, .iova = iova, .size = size,
  };
  if (ioctl(container, VFIO_IOMMU_MAP_DMA, &map)) fail("MAP_DMA");
}
