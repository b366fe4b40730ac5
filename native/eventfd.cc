// Eventfds that are shared with a peer. Whether an open file blocks is a flag of the file, not of our fd for it: a peer can
// clear O_NONBLOCK at any moment, and fill or drain the counter at the next. So nothing here relies on it.
//
// A read can refuse to wait by itself (RWF_NOWAIT); a write of an eventfd cannot. The kernel's own way of signalling never
// waits, and asynchronous I/O offers it: reading nothing from /dev/null is done when io_submit returns, and its
// completion signals the eventfd. Where that is not to be had (a seccomp filter, fs.aio-max-nr), the counter is asked
// first and then written to; only there a peer that fills it in between stops the thread until it reads.

#include <linux/aio_abi.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <fcntl.h>
#include <unistd.h>

#include "state.h"

namespace vfio {

constexpr int COMPLETIONS = 64;  // completions that are kept until they are fetched, all at once

static double eventfd_call(const Arguments& a) { return answer(eventfd(a.integer(0), EFD_CLOEXEC | EFD_NONBLOCK)); }

static double set_nonblocking(const Arguments& a) {
  int flags = fcntl(a.integer(0), F_GETFL);
  return flags < 0 ? -errno : answer(fcntl(a.integer(0), F_SETFL, flags | O_NONBLOCK));
}

static bool ready(int fd, short event) {
  pollfd one = {fd, event, 0};
  return poll(&one, 1, 0) > 0 && (one.revents & event) != 0;
}

static void fetch_completions(State* state) {
  io_event events[COMPLETIONS];
  timespec now = {};
  syscall(SYS_io_getevents, state->aio, 0, COMPLETIONS, events, &now);
  state->aio_unfetched = 0;
}

static bool aio_begin(State* state) {
  if (state->aio != 0) return true;
  if (state->aio_refused || state->spare_fd < 0) return false;
  state->aio_refused = syscall(SYS_io_setup, COMPLETIONS, &state->aio) < 0;
  return !state->aio_refused;
}

void aio_end(State* state) {
  if (state->aio != 0) syscall(SYS_io_destroy, state->aio);
  state->aio = 0;
}

// 0, or -1 and errno.
static int signal_without_wait(State* state, int fd) {
  uint8_t nothing;
  iocb request;
  memset(&request, 0, sizeof request);
  request.aio_lio_opcode = IOCB_CMD_PREAD;
  request.aio_fildes = state->spare_fd;
  request.aio_buf = reinterpret_cast<uintptr_t>(&nothing);
  request.aio_nbytes = sizeof nothing;
  request.aio_flags = IOCB_FLAG_RESFD;
  request.aio_resfd = fd;
  iocb* requests[] = {&request};
  if (++state->aio_unfetched == COMPLETIONS) fetch_completions(state);
  return syscall(SYS_io_submit, state->aio, 1, requests) == 1 ? 0 : -1;
}

static double eventfd_signal(const Arguments& a) {
  State* state = state_of(a.env);
  int fd = a.integer(0);
  if (aio_begin(state)) return signal_without_wait(state, fd) < 0 ? -errno : 0;
  uint64_t one = 1;
  if (!ready(fd, POLLOUT)) return 0;
  if (write(fd, &one, sizeof one) < 0 && errno != EAGAIN) return -errno;
  return 0;
}

static double eventfd_read(const Arguments& a) {
  uint64_t count = 0;
  iovec place = {&count, sizeof count};
  int fd = a.integer(0);
  ssize_t got = preadv2(fd, &place, 1, -1, RWF_NOWAIT);
  // Kernels before 5.8 do not know how.
  if (got < 0 && errno == EOPNOTSUPP) got = ready(fd, POLLIN) ? read(fd, &count, sizeof count) : 0;
  if (got < 0) return errno == EAGAIN ? 0 : -errno;
  return static_cast<double>(count);
}

void export_eventfd(napi_env env, napi_value exports) {
  export_call<eventfd_call>(env, exports, "eventfd");
  export_call<set_nonblocking>(env, exports, "setNonblocking");
  export_call<eventfd_signal>(env, exports, "eventfdSignal");
  export_call<eventfd_read>(env, exports, "eventfdRead");
}

}  // namespace vfio
