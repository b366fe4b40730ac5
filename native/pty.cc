// Pseudo terminals, in raw mode from the start.

#include <fcntl.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

#include "state.h"

namespace vfio {

constexpr size_t NAME_BYTES = 128;  // of /dev/pts/N
// A terminal that is opened must not become the process's own.
constexpr int FLAGS = O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC;

// Nothing is echoed, translated or kept until a line ends. 0, or -1 and errno.
static int make_raw(int fd) {
  struct termios settings;
  if (tcgetattr(fd, &settings) < 0) return -1;
  cfmakeraw(&settings);
  return tcsetattr(fd, TCSANOW, &settings);
}

// The terminal of a master, unlocked and raw, or -1 and errno.
static int open_slave(int master) {
  char name[NAME_BYTES];
  if (grantpt(master) < 0 || unlockpt(master) < 0) return -1;
  int error = ptsname_r(master, name, sizeof name);
  if (error != 0) {
    errno = error;
    return -1;
  }
  int slave = open(name, FLAGS);
  if (slave < 0 || make_raw(slave) == 0) return slave;
  error = errno;
  close(slave);
  errno = error;
  return -1;
}

// results: master, slave
static double open_pty(const Arguments& a) {
  int master = posix_openpt(FLAGS);
  if (master < 0) return -errno;
  int slave = open_slave(master);
  if (slave < 0) {
    int error = errno;
    close(master);
    return -error;
  }
  double* results = state_of(a.env)->results;
  results[0] = master;
  results[1] = slave;
  return 0;
}

void export_pty(napi_env env, napi_value exports) { export_call<open_pty>(env, exports, "openPty"); }

}  // namespace vfio
