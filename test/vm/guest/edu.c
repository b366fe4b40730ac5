/*
 * Drives an edu device from user space and prints what it sees: edu BDF msi|intx
 *
 * It works on vfio-pci with an IOMMU, so it says itself where the device sees its memory. Nothing that it prints depends
 * on time, so two devices that behave alike give the same output.
 */
#include "vfio.h"

#include <poll.h>
#include <sys/eventfd.h>

enum {
  ID = 0x00, LIVENESS = 0x04, FACTORIAL = 0x08, STATUS = 0x20, IRQ_STATUS = 0x24, IRQ_RAISE = 0x60, IRQ_ACK = 0x64,
  DMA_SRC = 0x80, DMA_DST = 0x88, DMA_COUNT = 0x90, DMA_CMD = 0x98
};
enum { COMPUTING = 0x01, IRQ_FACTORIAL = 0x80 };
enum { RUN = 1, TO_MEMORY = 2, IRQ = 4 };
enum { BUFFER = 0x40000, PAGE = 4096, IOVA = 0x200000, TIMEOUT_MS = 10000 };

static volatile uint8_t *bar;
static int irq_fd, irq_index;
static uint64_t config_offset;

static uint32_t read32(int offset) { return *(volatile uint32_t *)(bar + offset); }
static void write32(int offset, uint32_t value) { *(volatile uint32_t *)(bar + offset) = value; }
static void write64(int offset, uint64_t value) { *(volatile uint64_t *)(bar + offset) = value; }

static void map_registers(void) {
  struct vfio_region_info info = {.argsz = sizeof info, .index = VFIO_PCI_BAR0_REGION_INDEX};
  if (ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &info)) fail("GET_REGION_INFO");
  bar = mmap(0, info.size, PROT_READ | PROT_WRITE, MAP_SHARED, device, info.offset);
  if (bar == MAP_FAILED) fail("mmap of BAR0");
  printf("BAR0: %llu bytes\n", info.size);
  info.index = VFIO_PCI_CONFIG_REGION_INDEX;
  if (ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &info)) fail("GET_REGION_INFO");
  config_offset = info.offset;
}

static void print_identity(void) {
  uint8_t config[64];
  if (pread(device, config, sizeof config, config_offset) != sizeof config) fail("config");
  uint16_t *words = (uint16_t *)config;
  printf("config: id %04x:%04x class %02x%02x revision %02x subsystem %04x:%04x pin %d\n", words[0], words[1], config[11],
         config[10], config[8], words[22], words[23], config[61]);
}

static void become_master(void) {
  uint16_t command;
  if (pread(device, &command, 2, config_offset + 4) != 2) fail("COMMAND");
  command |= 4;
  if (pwrite(device, &command, 2, config_offset + 4) != 2) fail("COMMAND");
}

static void set_irqs(uint32_t flags, uint32_t count, int fd) {
  struct { struct vfio_irq_set set; int fd; } request = {
    .set = {.argsz = sizeof request, .flags = flags, .index = irq_index, .start = 0, .count = count}, .fd = fd,
  };
  if (ioctl(device, VFIO_DEVICE_SET_IRQS, &request)) fail("SET_IRQS");
}

/** Waits for the interrupt and acknowledges it; prints how often it came and what the device says it was. */
static void take_interrupt(const char *what) {
  struct pollfd wait = {.fd = irq_fd, .events = POLLIN};
  uint64_t count = 0;
  if (poll(&wait, 1, TIMEOUT_MS) == 1 && read(irq_fd, &count, sizeof count) != sizeof count) fail("eventfd");
  uint32_t status = read32(IRQ_STATUS);
  write32(IRQ_ACK, status);
  printf("%s: %llu interrupt, status 0x%x, then 0x%x\n", what, (unsigned long long)count, status, read32(IRQ_STATUS));
  if (irq_index == VFIO_PCI_INTX_IRQ_INDEX) set_irqs(VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_UNMASK, 1, 0);
  // A line that was not lowered would come again now.
  wait.revents = 0;
  printf("%s: %d more\n", what, poll(&wait, 1, 100));
}

static void until_clear(int offset, uint32_t bit) {
  for (int ms = 0; (read32(offset) & bit) != 0; ms++) {
    if (ms == TIMEOUT_MS) {
      printf("0x%x stays 0x%x\n", offset, read32(offset));
      exit(1);
    }
    usleep(1000);
  }
}

static void transfer(uint64_t source, uint64_t target, uint32_t count, uint32_t command) {
  write64(DMA_SRC, source);
  write64(DMA_DST, target);
  write64(DMA_COUNT, count);
  write64(DMA_CMD, command | RUN);
  if (!(command & IRQ)) until_clear(DMA_CMD, RUN);
}

static void registers(void) {
  printf("ID: 0x%08x\n", read32(ID));
  write32(LIVENESS, 0x12345678);
  printf("LIVENESS: 0x%08x\n", read32(LIVENESS));
  for (uint32_t n = 0; n <= 13; n++) {
    write32(FACTORIAL, n);
    until_clear(STATUS, COMPUTING);
    printf("%u! = %u\n", n, read32(FACTORIAL));
  }
  write32(STATUS, 0xffffffff);
  printf("STATUS: 0x%x\n", read32(STATUS));
  write32(STATUS, 0);
  printf("STATUS: 0x%x\n", read32(STATUS));
}

static void interrupts(void) {
  write32(IRQ_RAISE, 0x42);
  take_interrupt("IRQ_RAISE");
  write32(STATUS, IRQ_FACTORIAL);
  write32(FACTORIAL, 10);
  take_interrupt("factorial");
  printf("10! = %u\n", read32(FACTORIAL));
  write32(STATUS, 0);
}

static void dma(void) {
  uint8_t *memory = mmap(0, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) fail("mmap");
  map_for_dma(memory, 2 * PAGE, IOVA);
  uint8_t *source = memory, *target = memory + PAGE;
  for (int i = 0; i < PAGE; i++) source[i] = i * 7 + (i >> 8);
  memset(target, 0, PAGE);
  transfer(IOVA, BUFFER, PAGE, IRQ);
  take_interrupt("DMA to the device");
  transfer(BUFFER, IOVA + PAGE, PAGE, TO_MEMORY | IRQ);
  take_interrupt("DMA to memory");
  printf("4096 bytes there and back: %s\n", memcmp(source, target, PAGE) ? "different" : "the same");
  memset(target, 0xee, PAGE);
  transfer(BUFFER + 100, IOVA + PAGE + 8, 1000, TO_MEMORY);
  int outside = 0;
  for (int i = 0; i < PAGE; i++) outside += (i < 8 || i >= 1008) && target[i] != 0xee;
  printf("1000 bytes from 100 to 8: %s, %d bytes outside changed\n", memcmp(source + 100, target + 8, 1000) ? "different" : "the same", outside);
}

int main(int count, char **args) {
  if (count != 3) return 2;
  setvbuf(stdout, 0, _IOLBF, 0);
  open_device(args[1]);
  map_registers();
  print_identity();
  become_master();
  irq_index = strcmp(args[2], "msi") == 0 ? VFIO_PCI_MSI_IRQ_INDEX : VFIO_PCI_INTX_IRQ_INDEX;
  irq_fd = eventfd(0, 0);
  registers();
  set_irqs(VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER, 1, irq_fd);
  interrupts();
  dma();
  return 0;
}
