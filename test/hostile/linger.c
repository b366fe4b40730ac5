/*
 * A client whose fd cannot be closed at once: a TCP connection with unsent data and SO_LINGER, whose last holder waits in
 * close(). It sends that as the fd of a DMA_MAP to the UNIX socket argv[1], lets go of its own, and says "sent".
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { LINGER_SECONDS = 60 };

/* Connected to a peer that never reads, and full. */
static int full_connection(void) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof address;
  int listener = socket(AF_INET, SOCK_STREAM, 0), fd = socket(AF_INET, SOCK_STREAM, 0);
  if (bind(listener, (void *)&address, size) < 0 || listen(listener, 1) < 0) return -1;
  getsockname(listener, (void *)&address, &size);
  if (connect(fd, (void *)&address, size) < 0) return -1;
  accept(listener, NULL, NULL);
  fcntl(fd, F_SETFL, O_NONBLOCK);
  static char data[1 << 16];
  while (send(fd, data, sizeof data, MSG_NOSIGNAL) > 0) continue;
  struct linger linger = {1, LINGER_SECONDS};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
  return fd;
}

int main(int count, char **arguments) {
  struct sockaddr_un path = {.sun_family = AF_UNIX};
  if (count < 2) return 2;
  strncpy(path.sun_path, arguments[1], sizeof path.sun_path - 1);
  int server = socket(AF_UNIX, SOCK_STREAM, 0), fd = full_connection();
  if (fd < 0 || connect(server, (void *)&path, sizeof path) < 0) return 1;
  uint32_t header[4] = {2 << 16, sizeof header, 0, 0}; /* DMA_MAP, before VERSION and without a body */
  struct iovec place = {header, sizeof header};
  union {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof(int))];
  } ancillary;
  struct msghdr message = {NULL, 0, &place, 1, &ancillary, sizeof ancillary, 0};
  ancillary.header = (struct cmsghdr){CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
  memcpy(CMSG_DATA(&ancillary.header), &fd, sizeof fd);
  if (sendmsg(server, &message, 0) < 0) return 1;
  close(fd);
  puts("sent");
  fflush(stdout);
  pause();
}
