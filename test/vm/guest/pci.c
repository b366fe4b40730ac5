/*
 * Reaches PCI devices from a shell, through sysfs:
 *
 *   pci read BDF config|BAR OFFSET WIDTH              prints the value
 *   pci write BDF config|BAR OFFSET WIDTH VALUE
 *   pci address BDF BAR                               prints where the BAR is on the bus
 *   pci fill BDF BAR OFFSET SIZE SEED                 writes a pattern
 *   pci check BDF BAR OFFSET SIZE SEED                compares with the pattern: "same", "zeros" or "different"
 *   pci put BDF ADDRESS SIZE SEED                     has an edu write the pattern to a bus address, up to 4096 bytes
 *   pci get BDF ADDRESS SIZE SEED                     has an edu read there, and compares as check does
 *   pci dump BDF ADDRESS SIZE                         has an edu read there, and prints the bytes in hex
 *   pci copy BDF ADDRESS SIZE ROUNDS                  has an edu write SIZE bytes to ADDRESS and read them, ROUNDS times
 *   pci poll BDF BAR OFFSET COUNT                     reads a 4-byte register COUNT times; prints ns for each read
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { PAGE = 4096 };
/** edu's registers and the address of its buffer. */
enum { DMA_SRC = 0x80, DMA_DST = 0x88, DMA_COUNT = 0x90, DMA_CMD = 0x98, BUFFER = 0x40000, RUN = 1, TO_MEMORY = 2 };

static void fail(const char *what) {
  fprintf(stderr, "%s: %s\n", what, strerror(errno));
  exit(1);
}

static uint64_t number(const char *text) { return strtoull(text, 0, 0); }

static int open_file(const char *bdf, const char *name, int mode) {
  char path[256];
  snprintf(path, sizeof path, "/sys/bus/pci/devices/%s/%s", bdf, name);
  int fd = open(path, mode | O_SYNC);
  if (fd < 0) fail(path);
  return fd;
}

static volatile uint8_t *map_bar(const char *bdf, const char *index) {
  char name[32];
  struct stat file;
  snprintf(name, sizeof name, "resource%s", index);
  int fd = open_file(bdf, name, O_RDWR);
  if (fstat(fd, &file)) fail(name);
  void *memory = mmap(0, file.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED) fail(name);
  return memory;
}

static uint64_t load(volatile uint8_t *at, int width) {
  if (width == 8) return *(volatile uint64_t *)at;
  if (width == 4) return *(volatile uint32_t *)at;
  return width == 2 ? *(volatile uint16_t *)at : *at;
}

static void store(volatile uint8_t *at, int width, uint64_t value) {
  if (width == 8) *(volatile uint64_t *)at = value;
  else if (width == 4) *(volatile uint32_t *)at = value;
  else if (width == 2) *(volatile uint16_t *)at = value;
  else *at = value;
}

static void access_register(char **args, int write) {
  uint64_t offset = number(args[2]), value = write ? number(args[4]) : 0;
  int width = number(args[3]);
  if (strcmp(args[1], "config") == 0) {
    int fd = open_file(args[0], "config", O_RDWR);
    ssize_t done = write ? pwrite(fd, &value, width, offset) : pread(fd, &value, width, offset);
    if (done != width) fail("config");
  } else if (write) store(map_bar(args[0], args[1]) + offset, width, value);
  else value = load(map_bar(args[0], args[1]) + offset, width);
  if (!write) printf("0x%llx\n", (unsigned long long)value);
}

static void print_address(char **args) {
  FILE *file = fdopen(open_file(args[0], "resource", O_RDONLY), "r");
  char line[128];
  for (int index = number(args[1]); index >= 0; index--) if (!fgets(line, sizeof line, file)) fail("resource");
  printf("%s\n", strtok(line, " "));
}

static uint8_t pattern(uint64_t seed, uint64_t i) { return (seed * 131 + i * 7 + (i >> 8) * 13 + 1) & 0xff; }

static void print_comparison(volatile uint8_t *bytes, uint64_t size, uint64_t seed) {
  uint64_t same = 0, zeros = 0;
  for (uint64_t i = 0; i < size; i++) {
    same += bytes[i] == pattern(seed, i);
    zeros += bytes[i] == 0;
  }
  printf("%s\n", same == size ? "same" : zeros == size ? "zeros" : "different");
}

static uint64_t physical(void *memory) {
  uint64_t entry;
  int pagemap = open("/proc/self/pagemap", O_RDONLY);
  if (pread(pagemap, &entry, 8, (uintptr_t)memory / PAGE * 8) != 8) fail("pagemap");
  close(pagemap);
  return (entry & ((1ULL << 55) - 1)) * PAGE;
}

static void edu_transfer(volatile uint8_t *edu, uint64_t source, uint64_t target, uint64_t size, uint64_t command) {
  store(edu + DMA_SRC, 8, source);
  store(edu + DMA_DST, 8, target);
  store(edu + DMA_COUNT, 8, size);
  store(edu + DMA_CMD, 8, command | RUN);
  while (load(edu + DMA_CMD, 4) & RUN) {}
}

static uint8_t *locked_page(void) {
  uint8_t *page = mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED, -1, 0);
  if (page == MAP_FAILED) fail("mmap");
  memset(page, 0xee, PAGE);
  return page;
}

/** Between the bus address and memory of ours, through edu's buffer. */
static void edu_reach(char **args, int put) {
  volatile uint8_t *edu = map_bar(args[0], "0");
  uint64_t address = number(args[1]), size = number(args[2]), seed = number(args[3]);
  uint8_t *page = locked_page();
  if (put) {
    for (uint64_t i = 0; i < size; i++) page[i] = pattern(seed, i);
    edu_transfer(edu, physical(page), BUFFER, size, 0);
    edu_transfer(edu, BUFFER, address, size, TO_MEMORY);
    return;
  }
  edu_transfer(edu, address, BUFFER, size, 0);
  edu_transfer(edu, BUFFER, physical(page), size, TO_MEMORY);
  print_comparison(page, size, seed);
}

static void edu_dump(char **args) {
  volatile uint8_t *edu = map_bar(args[0], "0");
  uint64_t size = number(args[2]);
  uint8_t *page = locked_page();
  edu_transfer(edu, number(args[1]), BUFFER, size, 0);
  edu_transfer(edu, BUFFER, physical(page), size, TO_MEMORY);
  for (uint64_t i = 0; i < size; i++) printf("%02x", page[i]);
  printf("\n");
}

static double seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec + now.tv_nsec * 1e-9;
}

static void measure_copies(char **args) {
  volatile uint8_t *edu = map_bar(args[0], "0");
  uint64_t address = number(args[1]), size = number(args[2]), rounds = number(args[3]);
  if (address == 0) address = physical(locked_page());
  double start = seconds();
  for (uint64_t i = 0; i < rounds; i++) {
    edu_transfer(edu, BUFFER, address, size, TO_MEMORY);
    edu_transfer(edu, address, BUFFER, size, 0);
  }
  printf("%.0f\n", 2 * size * rounds / (seconds() - start));
}

static void measure_reads(char **args) {
  volatile uint8_t *at = map_bar(args[0], args[1]) + number(args[2]);
  uint64_t count = number(args[3]);
  double start = seconds();
  for (uint64_t i = 0; i < count; i++) load(at, 4);
  printf("%.0f\n", (seconds() - start) / count * 1e9);
}

int main(int count, char **args) {
  const char *verb = count > 1 ? args[1] : "";
  char **rest = args + 2;
  if (strcmp(verb, "read") == 0 && count == 6) access_register(rest, 0);
  else if (strcmp(verb, "write") == 0 && count == 7) access_register(rest, 1);
  else if (strcmp(verb, "address") == 0 && count == 4) print_address(rest);
  else if (strcmp(verb, "fill") == 0 && count == 7) {
    volatile uint8_t *bar = map_bar(rest[0], rest[1]) + number(rest[2]);
    for (uint64_t i = 0; i < number(rest[3]); i++) bar[i] = pattern(number(rest[4]), i);
  } else if (strcmp(verb, "check") == 0 && count == 7) {
    print_comparison(map_bar(rest[0], rest[1]) + number(rest[2]), number(rest[3]), number(rest[4]));
  } else if (strcmp(verb, "put") == 0 && count == 6) edu_reach(rest, 1);
  else if (strcmp(verb, "get") == 0 && count == 6) edu_reach(rest, 0);
  else if (strcmp(verb, "dump") == 0 && count == 5) edu_dump(rest);
  else if (strcmp(verb, "copy") == 0 && count == 6) measure_copies(rest);
  else if (strcmp(verb, "poll") == 0 && count == 6) measure_reads(rest);
  else {
    fprintf(stderr, "usage: see the head of pci.c\n");
    return 2;
  }
  return 0;
}
