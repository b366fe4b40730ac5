// Closing what a peer sent. The last close of a socket may wait for its data to be sent (SO_LINGER), each close of a file in
// user space (FUSE) for its server, and both as long as the peer likes. So nothing that a peer sent is closed in a thread
// that serves anybody, unless the kernel says that it is one of its own objects.

#include "discard.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include <deque>
#include <mutex>

#include "binding.h"

namespace vfio {

namespace {

constexpr int CLOSERS_MAX = 16;             // threads; a hostile peer can make each wait
constexpr size_t STACK_BYTES = 64 * 1024;   // of a thread that only calls close()

std::mutex& mutex = *new std::mutex;  // never destroyed: a thread may outlive the process's destructors
std::deque<int>& waiting = *new std::deque<int>;
int closers = 0;

void* close_waiting(void*) {
  for (;;) {
    int fd;
    {
      std::lock_guard<std::mutex> lock(mutex);
      if (waiting.empty()) {
        closers--;
        return nullptr;
      }
      fd = waiting.front();
      waiting.pop_front();
    }
    close(fd);
  }
}

bool start_closer() {
  pthread_attr_t attributes;
  pthread_t thread;
  pthread_attr_init(&attributes);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  pthread_attr_setstacksize(&attributes, STACK_BYTES);
  bool started = pthread_create(&thread, &attributes, close_waiting, nullptr) == 0;
  pthread_attr_destroy(&attributes);
  return started;
}

// Memory (only that knows seals), or a kernel object without a file system, as an eventfd is: its inode has no file type.
bool closes_at_once(int fd) {
  struct statx known;
  if (fcntl(fd, F_GET_SEALS) >= 0) return true;
  int asked = statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE, &known);
  return asked == 0 && (known.stx_mode & S_IFMT) == 0;
}

double discard_call(const Arguments& a) {
  discard(a.integer(0));
  return 0;
}

}  // namespace

void discard(int fd) {
  if (closes_at_once(fd)) {
    close(fd);
    return;
  }
  std::lock_guard<std::mutex> lock(mutex);
  waiting.push_back(fd);
  if (closers < CLOSERS_MAX && start_closer()) closers++;
}

void export_discard(napi_env env, napi_value exports) { export_call<discard_call>(env, exports, "discard"); }

}  // namespace vfio
