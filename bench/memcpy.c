// SPDX-License-Identifier: MIT
/*
 * memcpy: the floor for DMA copies. Copies LEN bytes between a 1 MiB buffer and a 64 MiB memfd mapping that is walked as the
 * bench device walks it (stride max(LEN, 4096), wrapping), and prints ns per copy for each LEN and direction.
 * usage: memcpy [-i ITERS] [-c CPU]
 */
#define _GNU_SOURCE
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static uint64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

int main(int argc, char **argv)
{
    size_t iters = 20000;
    int o, cpu = -1;
    while ((o = getopt(argc, argv, "i:c:")) != -1) {
        if (o == 'i') iters = strtoull(optarg, NULL, 0);
        if (o == 'c') cpu = atoi(optarg);
    }
    if (cpu >= 0) {
        cpu_set_t s;
        CPU_ZERO(&s);
        CPU_SET((unsigned)cpu, &s);
        sched_setaffinity(0, sizeof(s), &s);
    }
    const size_t span = 64u << 20;
    int fd = memfd_create("memcpy", 0);
    if (fd < 0 || ftruncate(fd, (off_t)span) < 0) {
        return 1;
    }
    uint8_t *mem = mmap(NULL, span, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    uint8_t *buf = malloc(1u << 20);
    memset(mem, 1, span);
    memset(buf, 2, 1u << 20);
    static const uint32_t lens[] = { 64, 4096, 65536, 1u << 20 };
    for (int l = 0; l < 4; l++) {
        for (int w = 0; w < 2; w++) {
            size_t len = lens[l], stride = len < 4096 ? 4096 : len, off = 0;
            size_t n = iters * 4096 / (len < 4096 ? 4096 : len);
            if (n < 16) n = 16;
            uint64_t t0 = now();
            for (size_t i = 0; i < n; i++) {
                if (w) memcpy(mem + off, buf, len); else memcpy(buf, mem + off, len);
                __asm__ volatile("" ::: "memory");
                off += stride;
                if (off >= span) off = 0;
            }
            uint64_t d = now() - t0;
            printf("{\"test\":\"memcpy\",\"len\":%zu,\"dir\":\"%s\",\"ns_per_op\":%.1f}\n", len, w ? "write" : "read", (double)d / (double)n);
        }
    }
    return 0;
}
