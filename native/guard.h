// The SIGBUS guard: a window whose memory goes away under us turns into zero pages and is marked, instead of killing the
// process. The table of windows is one for the whole process, because a signal handler is.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace vfio {

// Far more than the 65530 mappings that Linux lets a process have by default.
constexpr uint32_t WINDOWS_MAX = 65536;

// One word a window, by slot: 0 good, 1 its memory was lost. JavaScript reads it without a call.
extern int32_t lost_table[WINDOWS_MAX];

// Puts the handler in place (again: somebody may have replaced it). What was there before still gets every other SIGBUS.
void guard_arm();
// A free slot, or -1. The window is guarded from here on.
int guard_add(void* base, size_t size);
void guard_remove(int slot);
// How often the guard fired, in all threads.
uint32_t guard_fired();
// Whether an address lies in a window that was lost.
bool guard_lost(const void* address);
uint32_t guard_windows();

// Private zero pages over [base, base + size): nothing there can fault any more. False when the kernel refuses.
bool map_zeros(void* base, size_t size);

}  // namespace vfio
