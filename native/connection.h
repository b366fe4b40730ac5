// One stream of vfio-user messages: framing, the fds that belong to each message, and what waits to be sent.
#pragma once

#include <deque>
#include <vector>

#include "state.h"

namespace vfio {

constexpr size_t HEADER_BYTES = 16;
constexpr size_t SIZE_AT = 4;       // u32: the whole message's size
constexpr int FDS_MAX = 253;        // SCM_MAX_FD: the most that one sendmsg carries
constexpr size_t QUEUED_FDS_MAX = 1024;  // the default limit of open files; a peer that never reads must not use it up

// The words of the Int32Array that is shared with JavaScript.
constexpr int WORD_FD_COUNT = 0;    // fds in this batch
constexpr int WORD_QUEUED = 1;      // bytes that wait to be sent
constexpr int WORD_SURPLUS = 2;     // (start of message, count), twice: no more than two messages of a batch have fds
constexpr int WORD_SENT_FDS = 6;    // fds to go with `connectionSend`
constexpr int WORD_FDS = WORD_SENT_FDS + FDS_MAX;   // (start of message, fd), WORD_FD_COUNT times; -1 once taken
constexpr int CONTROL_WORDS = WORD_FDS + 2 * 2 * FDS_MAX;

// Why a connection ended; TypeScript has the words.
enum Reason { PEER_CLOSED, RECEIVE_FAILED, SEND_FAILED, BAD_SIZE, FDS_LOST, QUEUE_FULL };

// What the callback is told.
enum Event { MESSAGES, OVERSIZED, CLOSED };

// A few fds on their way. Whoever holds the list owns them.
struct Fds {
  int fd[FDS_MAX];
  int count = 0;
  int surplus = 0;  // closed because the message had too many
  void add(int value, int limit);
  void close_all();
};

struct Piece {
  std::vector<uint8_t> bytes;
  std::vector<int> fds;
  size_t sent = 0;
};

// How long a dedicated connection may keep libuv waiting: nothing that a person or a peer notices, and long enough that
// messages in a row come in time.
constexpr int NAP_US = 1000;

// What the received bytes begin with.
struct Batch {
  size_t end = 0;     // complete messages lie in [0, end)
  size_t last = 0;    // where the last of them starts
  enum { INCOMPLETE, TOO_SMALL, TOO_LARGE } rest = INCOMPLETE;  // what follows them
  uint32_t size = 0;  // the size that it claims
};

struct Connection {
  State* state = nullptr;
  int id = 0;
  int fd = -1;
  bool hold = true;    // keeps the process alive
  bool ended = false;  // the fd is closed; freed at the next turn of the loop
  bool failed = false;  // sending failed: its end is told at the next turn
  bool read_while_blocked = false;
  bool paused = false;  // JavaScript does not want to be told of more
  bool dedicated = false;  // the thread is there for this connection: see loop.cc
  Reason reason = PEER_CLOSED;
  int error = 0;

  uint8_t* received = nullptr;
  size_t received_size = 0;
  size_t have = 0;        // bytes in `received`
  uint64_t draining = 0;  // bytes still to come of a message that is too large
  Fds held;               // fds of the incomplete message at the front
  uint8_t* sending = nullptr;
  size_t sending_size = 0;
  int32_t* control = nullptr;
  size_t message_max = 0;
  int fds_max = 0;
  uint64_t spin_ns = 0;

  std::deque<Piece> queue;
  size_t queued = 0, queue_max = 0;
  size_t queued_fds = 0;

  Callback callback;
  std::vector<napi_ref> buffers;

  // Reads once and delivers what is complete. False when there was nothing to read. With `nap`, which only a dedicated
  // connection may say, it waits for that up to NAP_US.
  bool receive(bool nap = false);
  // Sends what waits, as far as the socket takes it.
  void flush();
  // `sending` [0, length), with fds on its first byte. 0, or a negative errno when the fds are no fds.
  int send(size_t length, const int* fds, int count);
  // Closes the fd and forgets everything but the struct itself. JavaScript is not told.
  void end();
  // `end`, and then tells JavaScript why.
  void end_and_tell(Reason why, int32_t detail);
  bool blocked() const { return !queue.empty(); }

 private:
  void deliver(Fds& fresh);
  void deliver_messages(const Batch& batch, Fds& fresh);
  Batch complete() const;
  void hand_over(Fds& fds, size_t start);
  bool tell(Event event, double first, double second);
  void drop_front(size_t length);
  void fail(Reason why, int detail);
  void enqueue(const uint8_t* bytes, size_t length, const int* fds, int count);
  void set_queued(size_t bytes);
};

}  // namespace vfio
