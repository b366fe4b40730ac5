/*
 * A client as bad as any: it holds a region's fd (descriptor 3), maps it, touches it and changes the file, one command
 * a line on stdin, one answer a line on stdout. Nothing guards it, so a touch of memory that is gone kills it by SIGBUS.
 *
 *   map OFFSET SIZE     -> index of the new mapping
 *   read MAPPING AT     -> the byte there
 *   write MAPPING AT B  -> ok
 *   truncate SIZE       -> ok
 *   punch OFFSET SIZE   -> ok
 *   size                -> st_size
 *   spin MAPPING PAGES MS -> "spun N": how often it found in a page what it had written there, all the time
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { FD = 3, MAPPINGS_MAX = 16 };

static volatile unsigned char *mapping[MAPPINGS_MAX];
static int mappings;

static void answer(int result) {
  if (result < 0) printf("error %s\n", strerrorname_np(errno));
  else puts("ok");
}

static long long now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

/* Writes a count to the first bytes of each page and reads it back the next time around. */
static void spin(volatile unsigned char *memory, int pages, int ms) {
  long long end = now_ms() + ms;
  unsigned long long count = 0;
  do {
    for (int page = 0; page < pages; page++) {
      volatile unsigned long long *place = (void *)(memory + page * 4096);
      if (count > 0 && *place != count) {
        printf("lost a store after %llu\n", count);
        return;
      }
      *place = count + 1;
    }
    count++;
  } while (now_ms() < end);
  printf("spun %llu\n", count);
}

int main(void) {
  char line[256], verb[16];
  setvbuf(stdout, NULL, _IOLBF, 0);
  while (fgets(line, sizeof line, stdin)) {
    unsigned long long a = 0, b = 0, c = 0;
    struct stat status;
    sscanf(line, "%15s %llu %llu %llu", verb, &a, &b, &c);
    if (!strcmp(verb, "map") && mappings < MAPPINGS_MAX) {
      void *at = mmap(NULL, b, PROT_READ | PROT_WRITE, MAP_SHARED, FD, (off_t)a);
      if (at == MAP_FAILED) {
        answer(-1);
        continue;
      }
      mapping[mappings] = at;
      printf("%d\n", mappings++);
    } else if (!strcmp(verb, "read")) {
      printf("%d\n", mapping[a][b]);
    } else if (!strcmp(verb, "write")) {
      mapping[a][b] = (unsigned char)c;
      answer(0);
    } else if (!strcmp(verb, "truncate")) {
      answer(ftruncate(FD, (off_t)a));
    } else if (!strcmp(verb, "punch")) {
      answer(fallocate(FD, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)a, (off_t)b));
    } else if (!strcmp(verb, "spin")) {
      spin(mapping[a], (int)b, (int)c);
    } else if (!strcmp(verb, "size")) {
      if (fstat(FD, &status) < 0) answer(-1);
      else printf("%lld\n", (long long)status.st_size);
    } else {
      printf("unknown command %s\n", verb);
    }
  }
  return 0;
}
