/*
 * The process whose mappings the probe's questions are about. It holds a region's file as descriptor 3, does one system
 * call or touch a line, and survives the signals of a touch, because the records tell signal and si_code.
 *
 *   map LENGTH PROT FLAGS OFFSET -> index of the new mapping, or the errno's name
 *   read M AT                    -> "read 0x0000002a", "SIGBUS code=2", "SIGSEGV code=2"
 *   write M AT VALUE             -> "wrote 0x0000002a", or the signal
 *   unmap M                      -> 0
 *   mprotect M PROT              -> 0, or "-1 " and the errno's name; so do madvise and mlock
 *   mremap M LENGTH              -> ok, or the errno's name; may move the mapping
 *   move M                       -> the same, to another address
 *   madvise M, mlock M           -> of the first page
 *   pipe M COUNT                 -> bytes that write() took from the mapping, or "-1 " and the errno's name
 */
#define _GNU_SOURCE
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { FD = 3, MAPPINGS_MAX = 64, PAGE = 4096 };

static struct {
  char *at;
  size_t length;
} mapping[MAPPINGS_MAX];
static int mappings;

static sigjmp_buf back;
static volatile int code;

static void caught(int signal, siginfo_t *info, void *context) {
  (void)context;
  code = info->si_code;
  siglongjmp(back, signal);
}

static void touch(volatile uint32_t *word, int store, uint32_t value) {
  int signal = sigsetjmp(back, 1);
  if (signal != 0) {
    printf("SIG%s code=%d\n", sigabbrev_np(signal), code);
  } else if (store) {
    *word = value;
    printf("wrote 0x%08x\n", value);
  } else {
    printf("read 0x%08x\n", *word);
  }
}

static void status(long result) {
  if (result < 0) printf("-1 %s\n", strerrorname_np(errno));
  else printf("%ld\n", result);
}

static void moved(unsigned long long m, void *to, size_t length) {
  if (to == MAP_FAILED) {
    puts(strerrorname_np(errno));
    return;
  }
  mapping[m].at = to;
  mapping[m].length = length;
  puts("ok");
}

static void map(size_t length, int protection, int flags, off_t offset) {
  void *at = mmap(NULL, length, protection, flags, FD, offset);
  if (at == MAP_FAILED) {
    puts(strerrorname_np(errno));
    return;
  }
  mapping[mappings].at = at;
  mapping[mappings].length = length;
  printf("%d\n", mappings++);
}

static void pipe_out(const char *at, size_t count) {
  int ends[2];
  if (pipe(ends) < 0) {
    status(-1);
    return;
  }
  status(write(ends[1], at, count));
  close(ends[0]);
  close(ends[1]);
}

int main(void) {
  char line[256], verb[16];
  struct sigaction action = {.sa_sigaction = caught, .sa_flags = SA_SIGINFO | SA_NODEFER};
  sigaction(SIGBUS, &action, NULL);
  sigaction(SIGSEGV, &action, NULL);
  setvbuf(stdout, NULL, _IOLBF, 0);
  while (fgets(line, sizeof line, stdin)) {
    unsigned long long a = 0, b = 0, c = 0, d = 0;
    sscanf(line, "%15s %llu %llu %llu %llu", verb, &a, &b, &c, &d);
    if (!strcmp(verb, "map") && mappings < MAPPINGS_MAX) {
      map(a, (int)b, (int)c, (off_t)d);
      continue;
    }
    if (a >= (unsigned long long)mappings) {
      printf("no mapping %llu for %s\n", a, verb);
      continue;
    }
    char *at = mapping[a].at;
    size_t length = mapping[a].length;
    if (!strcmp(verb, "read")) touch((void *)(at + b), 0, 0);
    else if (!strcmp(verb, "write")) touch((void *)(at + b), 1, (uint32_t)c);
    else if (!strcmp(verb, "unmap")) status(munmap(at, length));
    else if (!strcmp(verb, "mprotect")) status(mprotect(at, length, (int)b));
    else if (!strcmp(verb, "mremap")) moved(a, mremap(at, length, b, MREMAP_MAYMOVE), b);
    else if (!strcmp(verb, "move")) {
      void *hole = mmap(NULL, length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      moved(a, mremap(at, length, length, MREMAP_MAYMOVE | MREMAP_FIXED, hole), length);
    } else if (!strcmp(verb, "madvise")) status(madvise(at, PAGE, MADV_DONTNEED));
    else if (!strcmp(verb, "mlock")) status(mlock(at, PAGE));
    else if (!strcmp(verb, "pipe")) pipe_out(at, b);
    else printf("unknown command %s\n", verb);
  }
  return 0;
}
