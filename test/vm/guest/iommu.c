/*
 * Maps and unmaps memory for a device behind a virtual IOMMU: iommu BDF MIB ROUNDS
 *
 * QEMU passes each page on by itself. Prints a line a round, the milliseconds that it took.
 */
#include "vfio.h"

#include <time.h>

enum { IOVA = 0x10000000 };

static double milliseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1e3 + now.tv_nsec * 1e-6;
}

int main(int count, char **args) {
  if (count != 4) return 2;
  open_device(args[1]);
  uint64_t size = strtoull(args[2], 0, 0) << 20;
  void *memory = mmap(0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  if (memory == MAP_FAILED) fail("mmap");
  for (int round = atoi(args[3]); round > 0; round--) {
    double start = milliseconds();
    map_for_dma(memory, size, IOVA);
    struct vfio_iommu_type1_dma_unmap unmap = {.argsz = sizeof unmap, .iova = IOVA, .size = size};
    if (ioctl(container, VFIO_IOMMU_UNMAP_DMA, &unmap)) fail("UNMAP_DMA");
    printf("%.0f\n", milliseconds() - start);
  }
  return 0;
}
