// UNIX stream sockets, always CLOEXEC and non-blocking: no peer can make a call here wait.

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "state.h"

namespace vfio {

constexpr int STREAM = SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK;

// Makes a socket and binds or connects it; closes it again when that fails.
static double open_socket(const Arguments& a, int (*attach)(int, const sockaddr*, socklen_t), int backlog) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (!a.text(0, address.sun_path, sizeof address.sun_path)) return -ENAMETOOLONG;
  int fd = socket(AF_UNIX, STREAM, 0);
  if (fd < 0) return -errno;
  if (attach(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 && (backlog < 0 || listen(fd, backlog) == 0)) {
    return fd;
  }
  int error = errno;
  close(fd);
  return -error;
}

static double listen_call(const Arguments& a) { return open_socket(a, bind, a.integer(1)); }
static double connect_call(const Arguments& a) { return open_socket(a, connect, -1); }

int open_spare() { return open("/dev/null", O_RDONLY | O_CLOEXEC); }

// -EAGAIN when nobody waits. When no fd is free the client is turned away, else a level-triggered watcher would tell of
// it for ever: the spare fd makes room for accepting it, and comes back afterwards.
static double accept_call(const Arguments& a) {
  int& spare = state_of(a.env)->spare_fd;
  int fd = accept4(a.integer(0), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (fd >= 0) return fd;
  int error = errno == ECONNABORTED || errno == EINTR ? EAGAIN : errno;
  if ((error == EMFILE || error == ENFILE) && spare >= 0) {
    close(spare);
    int refused = accept4(a.integer(0), nullptr, nullptr, SOCK_CLOEXEC);
    if (refused >= 0) close(refused);
    spare = open_spare();
  }
  return -error;
}

// results: the two fds
static double socketpair_call(const Arguments& a) {
  int pair[2];
  if (socketpair(AF_UNIX, STREAM, 0, pair) < 0) return -errno;
  double* results = state_of(a.env)->results;
  results[0] = pair[0];
  results[1] = pair[1];
  return 0;
}

// results: pid, uid, gid
static double peer_credentials(const Arguments& a) {
  struct ucred peer;
  socklen_t size = sizeof peer;
  if (getsockopt(a.integer(0), SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0) return -errno;
  double* results = state_of(a.env)->results;
  results[0] = peer.pid;
  results[1] = peer.uid;
  results[2] = peer.gid;
  return 0;
}

static double shutdown_call(const Arguments& a) { return answer(shutdown(a.integer(0), SHUT_RDWR)); }

void export_sockets(napi_env env, napi_value exports) {
  export_call<listen_call>(env, exports, "listen");
  export_call<connect_call>(env, exports, "connect");
  export_call<accept_call>(env, exports, "accept");
  export_call<socketpair_call>(env, exports, "socketpair");
  export_call<peer_credentials>(env, exports, "peerCredentials");
  export_call<shutdown_call>(env, exports, "shutdown");
}

}  // namespace vfio
