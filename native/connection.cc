// See connection.h. The receiving half finds messages and their fds; the sending half never blocks.

#include "connection.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>

#include "discard.h"

namespace vfio {

void Fds::add(int value, int limit) {
  if (count < limit) {
    fd[count++] = value;
  } else {
    discard(value);
    surplus++;
  }
}

void Fds::close_all() {
  for (int i = 0; i < count; i++) discard(fd[i]);
  count = surplus = 0;
}

// ---------------------------------------------------------------------------------------------------------- receiving

static void collect_fds(msghdr* message, Fds* fresh) {
  for (cmsghdr* header = CMSG_FIRSTHDR(message); header != nullptr; header = CMSG_NXTHDR(message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; i++) {
      int fd;
      memcpy(&fd, CMSG_DATA(header) + i * sizeof fd, sizeof fd);
      fresh->add(fd, FDS_MAX);
    }
  }
}

bool Connection::receive(bool nap) {
  alignas(cmsghdr) uint8_t ancillary[CMSG_SPACE(sizeof(int) * FDS_MAX)];
  iovec place = {received + have, received_size - have};
  msghdr message = {};
  message.msg_iov = &place;
  message.msg_iovlen = 1;
  message.msg_control = ancillary;
  message.msg_controllen = sizeof ancillary;
  ssize_t got = recvmsg(fd, &message, (nap ? 0 : MSG_DONTWAIT) | MSG_CMSG_CLOEXEC);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return false;
  if (got < 0) {
    end_and_tell(RECEIVE_FAILED, errno);
    return true;
  }
  Fds fresh;
  if (message.msg_controllen > 0) collect_fds(&message, &fresh);
  if ((message.msg_flags & MSG_CTRUNC) != 0) {
    // Which ones are missing is not known: no message after this could be trusted to have the right fds.
    end_and_tell(FDS_LOST, EMFILE);
  } else if (got == 0) {
    end_and_tell(PEER_CLOSED, 0);
  } else {
    have += got;
    deliver(fresh);
  }
  fresh.close_all();
  return true;
}

Batch Connection::complete() const {
  Batch batch;
  while (have - batch.end >= HEADER_BYTES) {
    memcpy(&batch.size, received + batch.end + SIZE_AT, sizeof batch.size);
    if (batch.size < HEADER_BYTES) batch.rest = Batch::TOO_SMALL;
    if (batch.size > message_max) batch.rest = Batch::TOO_LARGE;
    if (batch.rest != Batch::INCOMPLETE || batch.size > have - batch.end) break;
    batch.last = batch.end;
    batch.end += batch.size;
  }
  return batch;
}

// Hands over what is complete. `fresh` came with these bytes: it belongs to the message that holds the last of them.
void Connection::deliver(Fds& fresh) {
  while (!ended) {
    if (draining > 0) {
      size_t part = std::min<uint64_t>(draining, have);
      draining -= part;
      drop_front(part);
      if (have == 0) return;
    }
    Batch batch = complete();
    if (batch.end > 0) {
      deliver_messages(batch, fresh);
      if (ended) return;
      drop_front(batch.end);
      if (have == 0) return;
    }
    if (batch.rest == Batch::INCOMPLETE) {
      for (int i = 0; i < fresh.count; i++) held.add(fresh.fd[i], fds_max);
      fresh.count = 0;
      return;
    }
    if (batch.rest == Batch::TOO_SMALL) {
      end_and_tell(BAD_SIZE, EPROTO);
      return;
    }
    held.close_all();
    draining = batch.size;
    tell(OVERSIZED, 0, 0);
  }
}

void Connection::deliver_messages(const Batch& batch, Fds& fresh) {
  int32_t* words = control;
  words[WORD_FD_COUNT] = 0;
  words[WORD_SURPLUS] = words[WORD_SURPLUS + 2] = -1;
  hand_over(held, 0);
  if (batch.end == have) hand_over(fresh, batch.last);
  int offered = words[WORD_FD_COUNT];
  tell(MESSAGES, static_cast<double>(batch.end), 0);
  // By index into a buffer that JavaScript shares, and that stays ours while the handler runs.
  for (int i = 0; i < offered; i++) {
    int left = words[WORD_FDS + 2 * i + 1];
    if (left >= 0) discard(left);
  }
  if (offered > 0 && !ended) words[WORD_FD_COUNT] = 0;
}

void Connection::drop_front(size_t length) {
  have -= length;
  if (have > 0) memmove(received, received + length, have);
}

// Offers fds to JavaScript as those of the message at `start`, and counts what is over the limit.
void Connection::hand_over(Fds& fds, size_t start) {
  if (fds.count == 0 && fds.surplus == 0) return;
  int32_t here = static_cast<int32_t>(start);
  int offered = 0;
  for (int i = 0; i < control[WORD_FD_COUNT]; i++) offered += control[WORD_FDS + 2 * i] == here;
  int over = fds.surplus;
  for (int i = 0; i < fds.count; i++) {
    if (offered++ >= fds_max) {
      discard(fds.fd[i]);
      over++;
      continue;
    }
    int32_t* entry = control + WORD_FDS + 2 * control[WORD_FD_COUNT]++;
    entry[0] = here;
    entry[1] = fds.fd[i];
  }
  fds.count = fds.surplus = 0;
  if (over == 0) return;
  int32_t* surplus = control + WORD_SURPLUS;
  if (surplus[0] >= 0 && surplus[0] != here) surplus += 2;
  surplus[1] = (surplus[0] == here ? surplus[1] : 0) + over;
  surplus[0] = here;
}

// One call into JavaScript; its result, bytes of `sending`, is sent before promise continuations can touch that buffer.
bool Connection::tell(Event event, double first, double second) {
  napi_env env = state->env;
  napi_handle_scope scope;
  if (napi_open_handle_scope(env, &scope) != napi_ok) return false;
  napi_value arguments[] = {to_number(env, event), to_number(env, first), to_number(env, second)};
  bool good = callback.run(state, 3, arguments, [this](napi_value result) {
    int64_t length = 0;
    napi_get_value_int64(state->env, result, &length);
    if (length > 0 && !ended && static_cast<size_t>(length) <= sending_size) send(length, nullptr, 0);
  });
  napi_close_handle_scope(env, scope);
  return good;
}

// ------------------------------------------------------------------------------------------------------------ sending

static ssize_t send_once(int to, const uint8_t* bytes, size_t length, const int* fds, int count) {
  alignas(cmsghdr) uint8_t ancillary[CMSG_SPACE(sizeof(int) * FDS_MAX)];
  iovec place = {const_cast<uint8_t*>(bytes), length};
  msghdr message = {};
  message.msg_iov = &place;
  message.msg_iovlen = 1;
  if (count > 0) {
    memset(ancillary, 0, sizeof(cmsghdr));
    message.msg_control = ancillary;
    message.msg_controllen = CMSG_SPACE(sizeof(int) * count);
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int) * count);
    memcpy(CMSG_DATA(header), fds, sizeof(int) * count);
  }
  ssize_t sent;
  do {
    sent = sendmsg(to, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
  } while (sent < 0 && errno == EINTR);
  return sent;
}

int Connection::send(size_t length, const int* fds, int count) {
  if (ended || failed) return 0;
  ssize_t sent = 0;
  if (!blocked()) {
    sent = send_once(fd, sending, length, fds, count);
    if (sent < 0 && errno == EBADF && count > 0) return -EBADF;
    if (sent < 0 && errno != EAGAIN) {
      fail(SEND_FAILED, errno);
      return 0;
    }
    if (sent < 0) sent = 0;
    if (sent > 0) count = 0;  // fds go with the first byte
  }
  if (static_cast<size_t>(sent) < length) enqueue(sending + sent, length - sent, fds, count);
  return 0;
}

void Connection::enqueue(const uint8_t* bytes, size_t length, const int* fds, int count) {
  if (queued + length > queue_max || queued_fds + count > QUEUED_FDS_MAX) return fail(QUEUE_FULL, EAGAIN);
  // Bytes after a message with fds must not leave in the same sendmsg: its last byte says whose the fds are.
  if (count > 0 || queue.empty() || !queue.back().fds.empty()) queue.emplace_back();
  Piece& piece = queue.back();
  for (int i = 0; i < count; i++) {
    int copy = fcntl(fds[i], F_DUPFD_CLOEXEC, 0);
    if (copy < 0) return fail(SEND_FAILED, errno);
    piece.fds.push_back(copy);
    queued_fds++;
  }
  piece.bytes.insert(piece.bytes.end(), bytes, bytes + length);
  set_queued(queued + length);
}

void Connection::flush() {
  while (!queue.empty()) {
    Piece& piece = queue.front();
    size_t left = piece.bytes.size() - piece.sent;
    ssize_t sent = send_once(fd, piece.bytes.data() + piece.sent, left, piece.fds.data(), piece.fds.size());
    if (sent < 0 && errno == EAGAIN) return;
    if (sent < 0) return fail(SEND_FAILED, errno);
    for (int copy : piece.fds) close(copy);
    queued_fds -= piece.fds.size();
    piece.fds.clear();
    piece.sent += sent;
    set_queued(queued - sent);
    if (static_cast<size_t>(sent) < left) return;
    queue.pop_front();
  }
}

void Connection::set_queued(size_t bytes) {
  queued = bytes;
  control[WORD_QUEUED] = static_cast<int32_t>(bytes);
}

// ------------------------------------------------------------------------------------------------------------- ending

// Whoever sends is in the middle of something: that it failed is told from the loop.
void Connection::fail(Reason why, int detail) {
  if (failed) return;
  failed = true;
  reason = why;
  error = detail;
  state->unfinished = true;
}

void Connection::end() {
  if (ended) return;
  ended = true;
  state->unfinished = true;
  close(fd);
  held.close_all();
  for (Piece& piece : queue) {
    for (int copy : piece.fds) close(copy);
  }
  queue.clear();
  set_queued(0);
  callback.clear(state->env);
  for (napi_ref buffer : buffers) napi_delete_reference(state->env, buffer);
  if (hold) loop_hold(state, -1);
}

void Connection::end_and_tell(Reason why, int32_t detail) {
  if (ended) return;
  // The fd goes first, so that JavaScript finds nothing left to close; the callback must live for one more call.
  Callback last = callback;
  callback = Callback();
  end();
  callback = last;
  tell(CLOSED, why, detail);
  callback.clear(state->env);
}

// ----------------------------------------------------------------------------------------------- calls from JavaScript

static uint8_t* hold_buffer(Connection* connection, napi_env env, napi_value buffer, size_t* size) {
  void* data = nullptr;
  napi_ref reference;
  if (napi_get_arraybuffer_info(env, buffer, &data, size) != napi_ok) return nullptr;
  napi_create_reference(env, buffer, 1, &reference);
  connection->buffers.push_back(reference);
  return static_cast<uint8_t*>(data);
}

// Lets `receive` sleep in the socket. All other calls on it say MSG_DONTWAIT.
static void allow_naps(int fd) {
  timeval limit = {0, NAP_US};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
}

// (fd, received, sending, control, messageMax, fdsMax, queueMax, readWhileBlocked, busyPollUs, dedicated, callback) -> id
static double open_call(const Arguments& a) {
  State* state = state_of(a.env);
  Connection* connection = new Connection();
  size_t control_size = 0;
  connection->state = state;
  connection->fd = a.integer(0);
  connection->received = hold_buffer(connection, a.env, a.value[1], &connection->received_size);
  connection->sending = hold_buffer(connection, a.env, a.value[2], &connection->sending_size);
  connection->control = reinterpret_cast<int32_t*>(hold_buffer(connection, a.env, a.value[3], &control_size));
  connection->message_max = a.number(4);
  connection->fds_max = a.integer(5);
  connection->queue_max = a.number(6);
  connection->read_while_blocked = a.integer(7) != 0;
  connection->spin_ns = static_cast<uint64_t>(a.number(8)) * 1000;
  connection->dedicated = a.integer(9) != 0;
  if (connection->dedicated) allow_naps(connection->fd);
  connection->callback.set(a.env, a.value[10], "vfio:connection");
  connection->id = static_cast<int>(free_place(state->connections));
  state->connections[connection->id] = connection;
  loop_added(state);
  return connection->id;
}

static Connection* connection_of(const Arguments& a) { return state_of(a.env)->connections[a.integer(0)]; }

// (id, length, count): the fds are in the control words
static double send_call(const Arguments& a) {
  Connection* connection = connection_of(a);
  if (a.number(1) < 0 || static_cast<size_t>(a.number(1)) > connection->sending_size) return -EINVAL;
  return connection->send(a.number(1), connection->control + WORD_SENT_FDS, a.integer(2));
}

static double close_call(const Arguments& a) {
  connection_of(a)->end();
  return 0;
}

// (id, on)
static double reading_call(const Arguments& a) {
  connection_of(a)->paused = a.integer(1) == 0;
  return 0;
}

// (id, hold)
static double hold_call(const Arguments& a) {
  Connection* connection = connection_of(a);
  bool hold = a.integer(1) != 0;
  if (hold != connection->hold) loop_hold(connection->state, hold ? 1 : -1);
  connection->hold = hold;
  return 0;
}

void export_connection(napi_env env, napi_value exports) {
  export_call<open_call>(env, exports, "connectionOpen");
  export_call<send_call>(env, exports, "connectionSend");
  export_call<close_call>(env, exports, "connectionClose");
  export_call<reading_call>(env, exports, "connectionReading");
  export_call<hold_call>(env, exports, "connectionHold");
  export_constant(env, exports, "WORD_FD_COUNT", WORD_FD_COUNT);
  export_constant(env, exports, "WORD_QUEUED", WORD_QUEUED);
  export_constant(env, exports, "WORD_SURPLUS", WORD_SURPLUS);
  export_constant(env, exports, "WORD_SENT_FDS", WORD_SENT_FDS);
  export_constant(env, exports, "WORD_FDS", WORD_FDS);
  export_constant(env, exports, "CONTROL_WORDS", CONTROL_WORDS);
}

}  // namespace vfio
