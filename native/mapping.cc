// Windows: file memory as external ArrayBuffers, that may change or end while JavaScript holds views on them.
//
// An address is never given back while anything could still touch it. `unmap` puts zero pages there and detaches the
// buffer; when V8 has let go of it the range goes into quarantine, because a job in the thread pool (zlib, crypto) may
// hold the raw pointer longer than V8 does; only after that it is unmapped.

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <deque>
#include <mutex>

#include "guard.h"
#include "state.h"

namespace vfio {

constexpr size_t WINDOW_BYTES_MAX = 1ull << 30;  // V8 and Node 20 have limits on larger external buffers
constexpr size_t QUARANTINE_MAX = 4096;          // ranges; at most 4 TiB of the 128 TiB of addresses
constexpr uint64_t QUARANTINE_NS = 5000000000;   // longer than a job on one window takes

namespace {

struct Window {
  void* base;
  size_t size;
  int flags;
  int slot;
  bool ended;
};

struct Reserved {
  void* base;
  size_t size;
  uint64_t since;
};

Window* windows[WINDOWS_MAX];  // by slot; each is used by its own environment only

std::mutex& quarantine_mutex = *new std::mutex;  // never destroyed, see guard.cc
std::deque<Reserved>& quarantine = *new std::deque<Reserved>;

// Gives back what has been kept long enough, and the oldest when there is too much. What is left.
size_t quarantine_sweep() {
  uint64_t now = uv_hrtime();
  std::lock_guard<std::mutex> lock(quarantine_mutex);
  while (!quarantine.empty()) {
    Reserved& oldest = quarantine.front();
    if (quarantine.size() <= QUARANTINE_MAX && now - oldest.since < QUARANTINE_NS) break;
    munmap(oldest.base, oldest.size);
    quarantine.pop_front();
  }
  return quarantine.size();
}

void quarantine_add(void* base, size_t size) {
  {
    std::lock_guard<std::mutex> lock(quarantine_mutex);
    quarantine.push_back({base, size, uv_hrtime()});
  }
  quarantine_sweep();
}

// No memory of the file is behind the window any more, and its slot is free.
void window_end(Window* window) {
  if (window->ended) return;
  window->ended = true;
  guard_remove(window->slot);
  map_zeros(window->base, window->size);
}

// V8 has let go of the buffer: after `unmap`, or because nobody had a reference to it any more.
void window_free(napi_env, void*, void* hint) {
  Window* window = static_cast<Window*>(hint);
  window_end(window);
  quarantine_add(window->base, window->size);
  delete window;
}

// Whether the file has memory for all of [offset, offset + size) now; beyond its end only touching tells.
int check_range(int fd, int64_t offset, int64_t size) {
  int64_t page = sysconf(_SC_PAGESIZE);
  if (offset < 0 || size <= 0 || offset % page != 0 || size % page != 0) return -EINVAL;
  if (static_cast<size_t>(size) > WINDOW_BYTES_MAX) return -EINVAL;
  struct stat status;
  if (fstat(fd, &status) < 0) return -errno;
  if (S_ISREG(status.st_mode) && offset + size > (status.st_size + page - 1) / page * page) return -EINVAL;
  return 0;
}

void* map_file(void* at, size_t size, int flags, int fd, int64_t offset) {
  return mmap(at, size, PROT_READ | PROT_WRITE, flags, fd, offset);
}

// (fd, offset, size, write) -> ArrayBuffer, and its slot in results[0]; or a negative errno.
// Read-only windows are private copies on write: a stray store must not kill the process, nor reach the file.
napi_value map_call(napi_env env, napi_callback_info info) {
  Arguments a(env, info);
  int fd = a.integer(0);
  int64_t offset = a.number(1), size = a.number(2);
  if (int error = check_range(fd, offset, size)) return to_number(env, error);
  int flags = a.integer(3) ? MAP_SHARED : MAP_PRIVATE | MAP_NORESERVE;
  guard_arm();
  void* base = map_file(nullptr, size, flags, fd, offset);
  if (base == MAP_FAILED) return to_number(env, -errno);
  int slot = guard_add(base, size);
  if (slot < 0) {
    munmap(base, size);
    return to_number(env, -ENOMEM);
  }
  Window* window = new Window{base, static_cast<size_t>(size), flags, slot, false};
  windows[slot] = window;
  napi_value buffer;
  if (napi_create_external_arraybuffer(env, base, size, window_free, window, &buffer) != napi_ok) {
    window_free(env, nullptr, window);
    return to_number(env, -ENOMEM);
  }
  state_of(env)->results[0] = slot;
  return buffer;
}

// (slot, fd, offset)
double replace_call(const Arguments& a) {
  Window* window = windows[a.integer(0)];
  int64_t offset = a.number(2);
  if (int error = check_range(a.integer(1), offset, window->size)) return error;
  guard_arm();
  if (map_file(window->base, window->size, window->flags | MAP_FIXED, a.integer(1), offset) == MAP_FAILED) {
    int error = errno;  // the old mapping may be gone: nothing must be left that faults
    map_zeros(window->base, window->size);
    __atomic_store_n(&lost_table[window->slot], 1, __ATOMIC_RELEASE);
    return -error;
  }
  __atomic_store_n(&lost_table[window->slot], 0, __ATOMIC_RELEASE);
  return 0;
}

// (slot)
double revoke_call(const Arguments& a) {
  Window* window = windows[a.integer(0)];
  return map_zeros(window->base, window->size) ? 0 : -errno;
}

// (slot, buffer)
double unmap_call(const Arguments& a) {
  window_end(windows[a.integer(0)]);
  return napi_detach_arraybuffer(a.env, a.value[1]) == napi_ok ? 0 : -EINVAL;
}

// (target, targetAt, source, sourceAt, length). When the guard fired meanwhile, in whatever thread, look whether it was here.
double copy_call(const Arguments& a) {
  Bytes target = a.bytes(0), source = a.bytes(2);
  int64_t target_at = a.number(1), source_at = a.number(3), length = a.number(4);
  if (!target.holds(target_at, length) || !source.holds(source_at, length)) return -EINVAL;
  uint32_t before = guard_fired();
  std::atomic_signal_fence(std::memory_order_seq_cst);
  memmove(target.data + target_at, source.data + source_at, length);
  std::atomic_signal_fence(std::memory_order_seq_cst);
  if (guard_fired() == before) return 0;
  return guard_lost(target.data + target_at) || guard_lost(source.data + source_at) ? EFAULT : 0;
}

// -> what is still in quarantine; results[0]: windows in use
double sweep_call(const Arguments& a) {
  state_of(a.env)->results[0] = guard_windows();
  return quarantine_sweep();
}

}  // namespace

void export_mapping(napi_env env, napi_value exports) {
  export_function(env, exports, "map", map_call);
  export_call<replace_call>(env, exports, "replace");
  export_call<revoke_call>(env, exports, "revoke");
  export_call<unmap_call>(env, exports, "unmap");
  export_call<copy_call>(env, exports, "copy");
  export_call<sweep_call>(env, exports, "sweep");
  napi_value buffer, table;
  napi_create_external_arraybuffer(env, lost_table, sizeof lost_table, nullptr, nullptr, &buffer);
  napi_create_typedarray(env, napi_int32_array, WINDOWS_MAX, buffer, 0, &table);
  napi_set_named_property(env, exports, "lostTable", table);
}

}  // namespace vfio
