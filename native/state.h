// What one JavaScript environment (the main thread, or one worker) owns natively.
#pragma once

#include <linux/aio_abi.h>
#include <poll.h>
#include <uv.h>

#include <vector>

#include "binding.h"

namespace vfio {

struct Connection;
struct Watch;

struct State {
  napi_env env = nullptr;
  uv_loop_t* uv = nullptr;
  double* results = nullptr;
  int spare_fd = -1;  // of /dev/null. sockets.cc: given up for a moment when all other fds are in use

  // eventfd.cc: how eventfds are signalled
  aio_context_t aio = 0;
  bool aio_refused = false;
  int aio_unfetched = 0;  // completions that the kernel keeps for us

  // loop.cc: the handles that let connections be served in place of libuv's sleep.
  uv_prepare_t prepare;
  uv_idle_t idle;
  std::vector<Connection*> connections;  // by id; null where free
  size_t connections_open = 0;           // not yet freed
  size_t connections_held = 0;           // open, and keeping the process alive
  bool serving = false;
  bool unfinished = false;  // a connection waits for its end to be told, or to be freed
  bool halted = false;      // JavaScript cannot be called any more: the environment is going away
  uint64_t spin_until = 0;  // uv_hrtime(); until then look instead of sleeping
  bool in_a_row = false;  // the last look at a connection found something
  std::vector<pollfd> poll_fds;

  std::vector<Watch*> watches;  // by id; null where free
  size_t watches_open = 0;

  // addon.cc: handles that must be closed before the environment may go.
  int handles_closing = 0;
  napi_async_cleanup_hook_handle cleanup = nullptr;
};

// The smallest free place in a table of pointers.
template <typename T>
size_t free_place(std::vector<T*>& table) {
  for (size_t i = 0; i < table.size(); i++) {
    if (table[i] == nullptr) return i;
  }
  table.push_back(nullptr);
  return table.size() - 1;
}

// Calls into JavaScript from the event loop. Holds a function alive, and the identity that async hooks see.
class Callback {
 public:
  void set(napi_env env, napi_value function, const char* name);
  // Runs it, then `with_result` on what it returned, then promise continuations. An exception goes to uncaughtException.
  // False when it threw or when JavaScript cannot run any more.
  template <typename WithResult>
  bool run(State* state, size_t count, const napi_value* arguments, WithResult with_result) {
    napi_callback_scope scope;
    if (!open(state, &scope)) return false;
    napi_value result = invoke(state, count, arguments);
    if (result != nullptr) with_result(result);
    napi_close_callback_scope(state->env, scope);
    return result != nullptr;
  }
  void clear(napi_env env);

 private:
  bool open(State* state, napi_callback_scope* scope);
  napi_value invoke(State* state, size_t count, const napi_value* arguments);
  napi_ref function_ = nullptr;
  napi_async_context context_ = nullptr;
};

// loop.cc
void loop_init(State* state);
void loop_added(State* state);           // after a connection was put into the table
void loop_hold(State* state, int change);  // one connection more (+1) or less (-1) keeps the process alive
void loop_close(State* state);           // the environment ends

// eventfd.cc
void aio_end(State* state);

// sockets.cc
int open_spare();

// watch.cc
void watch_close_all(State* state);

// addon.cc
void close_handle(State* state, uv_handle_t* handle);

}  // namespace vfio
