// Files and anonymous memory: thin calls, one system call (or one question) each.

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>

#include "state.h"

namespace vfio {

constexpr size_t NAME_MAX_BYTES = 249;             // what memfd_create takes
constexpr size_t COPY_CHUNK_BYTES = 256 * 1024;    // large enough that the copy, not the calls, takes the time
constexpr double EXACT_INODE = 9007199254740992.;  // 2^53

static double memfd_create_call(const Arguments& a) {
  char name[NAME_MAX_BYTES + 1];
  if (!a.text(0, name, sizeof name)) return -EINVAL;
  const bool sealable = a.integer(1) != 0;
  const int fd = memfd_create(name, MFD_CLOEXEC | (sealable ? MFD_ALLOW_SEALING : 0));
  // Where sysctl vm.memfd_noexec is set, every memfd can be sealed. Elsewhere this one is sealed so already: EPERM.
  if (fd >= 0 && !sealable) fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL);
  return answer(fd);
}

static double ftruncate_call(const Arguments& a) { return answer(ftruncate(a.integer(0), a.number(1))); }

static double fallocate_call(const Arguments& a) {
  return answer(fallocate(a.integer(0), a.integer(1), a.number(2), a.number(3)));
}

static double add_seals(const Arguments& a) { return answer(fcntl(a.integer(0), F_ADD_SEALS, a.integer(1))); }
static double close_call(const Arguments& a) { return answer(close(a.integer(0))); }
// How many fds the process holds for peers: one limit for all threads, so one count.
static std::atomic<int> peer_fds{0};

static double count_peer_fds(const Arguments& a) {
  int change = a.integer(0);
  return peer_fds.fetch_add(change) + change;
}

static double max_open_files(const Arguments&) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) < 0) return -errno;
  return static_cast<double>(limit.rlim_cur);
}

static double dup_call(const Arguments& a) { return answer(fcntl(a.integer(0), F_DUPFD_CLOEXEC, 0)); }

// fstat that asks nobody but the kernel.
static int stat_cached(int fd, struct stat* status) {
  struct statx known;
  if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_BASIC_STATS, &known) < 0) return -1;
  status->st_dev = makedev(known.stx_dev_major, known.stx_dev_minor);
  status->st_ino = known.stx_ino;
  status->st_size = known.stx_size;
  status->st_mode = known.stx_mode;
  status->st_blocks = known.stx_blocks;
  return 0;
}

// results: dev, ino, size, seals, access mode, mode, allocated bytes
static double identity(const Arguments& a) {
  int fd = a.integer(0);
  struct stat status;
  int flags = fcntl(fd, F_GETFL);
  if (flags < 0) return -errno;
  // Only memory knows seals. Any other file may be served by a program (FUSE) that would let fstat wait.
  int seals = fcntl(fd, F_GET_SEALS);
  if ((seals >= 0 ? fstat(fd, &status) : stat_cached(fd, &status)) < 0) return -errno;
  double* results = state_of(a.env)->results;
  // A 64-bit inode number does not fit a double; what is above goes to the device number, so that the pair is exact.
  uint64_t inode = status.st_ino;
  uint64_t upper = inode / static_cast<uint64_t>(EXACT_INODE);
  results[0] = static_cast<double>(status.st_dev) + static_cast<double>(upper) * 4294967296.;
  results[1] = static_cast<double>(inode % static_cast<uint64_t>(EXACT_INODE));
  results[2] = static_cast<double>(status.st_size);
  results[3] = seals;
  results[4] = flags & O_ACCMODE;
  results[5] = status.st_mode;
  results[6] = static_cast<double>(status.st_blocks) * 512;
  return 0;
}

static double pread_call(const Arguments& a) {
  Bytes bytes = a.bytes(1);
  int64_t at = a.number(2), length = a.number(3);
  if (!bytes.holds(at, length)) return -EINVAL;
  return answer(TEMP_FAILURE_RETRY(pread(a.integer(0), bytes.data + at, length, a.number(4))));
}

static double pwrite_call(const Arguments& a) {
  Bytes bytes = a.bytes(1);
  int64_t at = a.number(2), length = a.number(3);
  if (!bytes.holds(at, length)) return -EINVAL;
  return answer(TEMP_FAILURE_RETRY(pwrite(a.integer(0), bytes.data + at, length, a.number(4))));
}

static double read_call(const Arguments& a) {
  Bytes bytes = a.bytes(1);
  int64_t at = a.number(2), length = a.number(3);
  if (!bytes.holds(at, length)) return -EINVAL;
  return answer(TEMP_FAILURE_RETRY(read(a.integer(0), bytes.data + at, length)));
}

static double write_call(const Arguments& a) {
  Bytes bytes = a.bytes(1);
  int64_t at = a.number(2), length = a.number(3);
  if (!bytes.holds(at, length)) return -EINVAL;
  return answer(TEMP_FAILURE_RETRY(write(a.integer(0), bytes.data + at, length)));
}

// Copies [at, end), which is all data, through `chunk`. Bytes copied, or -1 and errno.
static int64_t copy_range(int from, int to, int64_t at, int64_t end, uint8_t* chunk) {
  int64_t start = at;
  while (at < end) {
    ssize_t got = pread(from, chunk, std::min<int64_t>(COPY_CHUNK_BYTES, end - at), at);
    if (got == 0) break;  // the file became shorter
    if (got < 0) return -1;
    for (ssize_t done = 0; done < got;) {
      ssize_t put = pwrite(to, chunk + done, got - done, at + done);
      if (put < 0) return -1;
      done += put;
    }
    at += got;
  }
  return at - start;
}

static double copy_populated(const Arguments& a) {
  int from = a.integer(0), to = a.integer(1);
  int64_t at = a.number(2), end = at + a.number(3), copied = 0;
  uint8_t* chunk = nullptr;
  int64_t failed = 0;
  while (at < end) {
    int64_t data = lseek(from, at, SEEK_DATA);
    if (data < 0 && errno == ENXIO) break;  // nothing but holes from here on
    int64_t hole = data < 0 ? -1 : lseek(from, data, SEEK_HOLE);
    if (hole < 0) {
      failed = -errno;
      break;
    }
    if (data >= end) break;
    if (chunk == nullptr) chunk = static_cast<uint8_t*>(malloc(COPY_CHUNK_BYTES));
    int64_t part = chunk == nullptr ? (errno = ENOMEM, -1) : copy_range(from, to, data, std::min(hole, end), chunk);
    if (part < 0) {
      failed = -errno;
      break;
    }
    copied += part;
    at = hole;
  }
  free(chunk);
  return failed < 0 ? failed : copied;
}

void export_calls(napi_env env, napi_value exports) {
  export_call<memfd_create_call>(env, exports, "memfdCreate");
  export_call<ftruncate_call>(env, exports, "ftruncate");
  export_call<fallocate_call>(env, exports, "fallocate");
  export_call<add_seals>(env, exports, "addSeals");
  export_call<close_call>(env, exports, "close");
  export_call<dup_call>(env, exports, "dup");
  export_call<count_peer_fds>(env, exports, "countPeerFds");
  export_call<max_open_files>(env, exports, "maxOpenFiles");
  export_call<identity>(env, exports, "identity");
  export_call<pread_call>(env, exports, "pread");
  export_call<pwrite_call>(env, exports, "pwrite");
  export_call<read_call>(env, exports, "read");
  export_call<write_call>(env, exports, "write");
  export_call<copy_populated>(env, exports, "copyPopulated");
}

}  // namespace vfio
