// See guard.h. The handler takes no lock and allocates nothing: it may interrupt anything, in any thread.

#include "guard.h"

#include <errno.h>
#include <signal.h>
#include <sys/mman.h>

#include <atomic>
#include <mutex>
#include <vector>

namespace vfio {

int32_t lost_table[WINDOWS_MAX];

namespace {

struct Slot {
  std::atomic<uintptr_t> base{0};  // 0: free
  std::atomic<size_t> size{0};
};

Slot slots[WINDOWS_MAX];
std::atomic<uint32_t> slots_touched{0};  // all slots from here on were never used
std::atomic<uint32_t> fired{0};
std::atomic<struct sigaction*> previous{nullptr};

// Never destroyed: workers may still run when the process's destructors do.
std::mutex& table_mutex = *new std::mutex;
std::vector<uint32_t>& free_slots = *new std::vector<uint32_t>;
uint32_t windows = 0;

int slot_of(uintptr_t address) {
  uint32_t end = slots_touched.load(std::memory_order_acquire);
  for (uint32_t i = 0; i < end; i++) {
    uintptr_t base = slots[i].base.load(std::memory_order_acquire);
    if (base == 0 || address < base) continue;
    if (address - base < slots[i].size.load(std::memory_order_relaxed)) return static_cast<int>(i);
  }
  return -1;
}

// Hands a SIGBUS that is not ours to whoever was here before us, or lets it kill as it would without us.
void pass_on(int number, siginfo_t* info, void* context) {
  static std::atomic<int> depth{0};
  constexpr int CHAIN_MAX = 16;  // a handler that calls us back would go round for ever
  struct sigaction* before = previous.load(std::memory_order_acquire);
  bool with_info = before != nullptr && (before->sa_flags & SA_SIGINFO) != 0 && before->sa_sigaction != nullptr;
  bool plain = before != nullptr && !with_info && before->sa_handler != SIG_DFL && before->sa_handler != SIG_IGN;
  if ((with_info || plain) && depth.fetch_add(1) < CHAIN_MAX) {
    with_info ? before->sa_sigaction(number, info, context) : before->sa_handler(number);
    depth.fetch_sub(1);
    return;
  }
  signal(SIGBUS, SIG_DFL);
  // A fault happens again on return and kills with its true cause; a signal that was sent has to be sent again.
  if (info->si_code <= 0) raise(SIGBUS);
}

void on_sigbus(int number, siginfo_t* info, void* context) {
  int saved = errno;
  int slot = info->si_code > 0 ? slot_of(reinterpret_cast<uintptr_t>(info->si_addr)) : -1;
  if (slot < 0) {
    pass_on(number, info, context);
    errno = saved;
    return;
  }
  // All of the window, so that it is one kind of data and faults once at most.
  __atomic_store_n(&lost_table[slot], 1, __ATOMIC_RELEASE);
  fired.fetch_add(1);
  void* base = reinterpret_cast<void*>(slots[slot].base.load());
  if (!map_zeros(base, slots[slot].size.load())) signal(SIGBUS, SIG_DFL);
  errno = saved;
}

}  // namespace

bool map_zeros(void* base, size_t size) {
  int flags = MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
  return mmap(base, size, PROT_READ | PROT_WRITE, flags, -1, 0) == base;
}

void guard_arm() {
  std::lock_guard<std::mutex> lock(table_mutex);
  struct sigaction now;
  sigaction(SIGBUS, nullptr, &now);
  if ((now.sa_flags & SA_SIGINFO) != 0 && now.sa_sigaction == on_sigbus) return;
  // The handler may be reading the old one in another thread: a new record each time, and none is ever freed.
  previous.store(new struct sigaction(now), std::memory_order_release);
  struct sigaction ours = {};
  ours.sa_sigaction = on_sigbus;
  ours.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
  sigaction(SIGBUS, &ours, nullptr);
}

int guard_add(void* base, size_t size) {
  std::lock_guard<std::mutex> lock(table_mutex);
  uint32_t slot = slots_touched.load();
  if (!free_slots.empty()) {
    slot = free_slots.back();
    free_slots.pop_back();
  } else if (slot == WINDOWS_MAX) {
    return -1;
  }
  __atomic_store_n(&lost_table[slot], 0, __ATOMIC_RELEASE);
  slots[slot].size.store(size, std::memory_order_relaxed);
  slots[slot].base.store(reinterpret_cast<uintptr_t>(base), std::memory_order_release);
  if (slot == slots_touched.load()) slots_touched.store(slot + 1, std::memory_order_release);
  windows++;
  return static_cast<int>(slot);
}

void guard_remove(int slot) {
  std::lock_guard<std::mutex> lock(table_mutex);
  slots[slot].base.store(0, std::memory_order_release);
  free_slots.push_back(static_cast<uint32_t>(slot));
  windows--;
}

uint32_t guard_fired() { return fired.load(std::memory_order_relaxed); }

bool guard_lost(const void* address) {
  int slot = slot_of(reinterpret_cast<uintptr_t>(address));
  return slot >= 0 && __atomic_load_n(&lost_table[slot], __ATOMIC_ACQUIRE) != 0;
}

uint32_t guard_windows() {
  std::lock_guard<std::mutex> lock(table_mutex);
  return windows;
}

}  // namespace vfio
