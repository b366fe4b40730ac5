// Serves connections where libuv would sleep.
//
// A prepare handle runs just before libuv polls. It polls by itself: every connection, and libuv's backend fd, for as long
// as libuv would have slept. Connections are served right there, again and again, so a message costs poll, recvmsg, one
// call into JavaScript and sendmsg, on the main thread as in a worker, and no turn of libuv's loop. As soon as libuv has
// anything to do (the backend fd is readable, a timer is due, a handle was opened or closed, an immediate waits, the loop
// is to stop) control goes back. libuv knows nothing of the connections and would sleep without them: an idle handle,
// started whenever control goes back, makes it look at its own fds without waiting.

#include <poll.h>
#include <sched.h>

#include <algorithm>

#include "connection.h"

namespace vfio {

// After this many turns control goes back in any case: there are phases (check handles, unreferenced immediates,
// finalizers) that libuv announces through nothing that we could see.
constexpr int TURNS_MAX = 256;
// While it looks without sleeping, other fds and libuv get their chance every so many tries.
constexpr int SPINS_PER_POLL = 32;

// Tells the ends that could not be told where they happened, and frees connections that ended.
static void finish(State* state) {
  while (state->unfinished) {
    state->unfinished = false;
    for (size_t id = 0; id < state->connections.size(); id++) {
      Connection* connection = state->connections[id];
      if (connection != nullptr && connection->failed && !connection->ended) {
        connection->end_and_tell(connection->reason, connection->error);
      }
    }
    for (Connection*& connection : state->connections) {
      if (connection == nullptr || !connection->ended) continue;
      delete connection;
      connection = nullptr;
      state->connections_open--;
    }
  }
}

static bool may_read(const Connection* connection) {
  if (connection->ended || connection->failed || connection->paused) return false;
  return connection->read_while_blocked || !connection->blocked();
}

static void received_something(State* state, const Connection* connection) {
  state->in_a_row = true;
  if (connection->spin_ns == 0) return;
  state->spin_until = std::max(state->spin_until, uv_hrtime() + connection->spin_ns);
}

// Whether the last message came so recently that sleeping is not worth it.
static bool still_looking(State* state) {
  if (state->spin_until == 0) return false;
  if (uv_hrtime() < state->spin_until) return true;
  state->spin_until = 0;
  return false;
}

// Looks once at every connection that asked for it.
static void spin(State* state) {
  bool any = false;
  for (size_t id = 0; id < state->connections.size() && !state->halted; id++) {
    Connection* connection = state->connections[id];
    if (connection == nullptr || connection->spin_ns == 0 || !may_read(connection)) continue;
    if (!connection->receive()) continue;
    received_something(state, connection);
    any = true;
  }
  if (!any) sched_yield();
}

static void serve(State* state, Connection* connection, short events) {
  if ((events & POLLOUT) != 0 && !connection->ended) connection->flush();
  // Errors and hang-ups are found by reading: what the peer sent before comes first.
  if ((events & (POLLIN | POLLHUP | POLLERR | POLLNVAL)) == 0) return;
  if (may_read(connection) && connection->receive()) received_something(state, connection);
}

// Waits at most `timeout` ms and serves what is ready. False when libuv has something to do: an fd, or a timer.
static bool wait_and_serve(State* state, int timeout) {
  std::vector<pollfd>& fds = state->poll_fds;
  fds.clear();
  fds.push_back({uv_backend_fd(state->uv), POLLIN, 0});
  for (Connection* connection : state->connections) {
    short events = 0;
    if (connection != nullptr && connection->blocked()) events |= POLLOUT;
    if (connection != nullptr && may_read(connection)) events |= POLLIN;
    // a negative fd is skipped, so places and ids stay the same
    fds.push_back({events != 0 ? connection->fd : -1, events, 0});
  }
  int ready = poll(fds.data(), fds.size(), timeout);
  if (ready < 0) return true;  // a signal: libuv's own pipe will tell
  bool libuv_ready = fds[0].revents != 0;
  for (size_t id = 0; id + 1 < fds.size() && !state->halted; id++) {
    // A connection opened meanwhile in a freed place was not polled: places are freed between turns only.
    if (fds[id + 1].revents != 0) serve(state, state->connections[id], fds[id + 1].revents);
  }
  return !libuv_ready && (ready > 0 || timeout == 0);
}

// The one connection of a thread that does nothing else, or null. While messages keep coming, sleeping in its socket saves
// the poll, a third of what a message costs. What else happens in the thread waits for TURNS_MAX messages or NAP_US.
static Connection* napping(State* state) {
  if (state->connections_open != 1) return nullptr;
  for (Connection* connection : state->connections) {
    if (connection == nullptr) continue;
    bool may_nap = connection->dedicated && may_read(connection) && !connection->blocked();
    return may_nap ? connection : nullptr;
  }
  return nullptr;
}

static void on_prepare(uv_prepare_t* handle) {
  State* state = static_cast<State*>(handle->data);
  if (state->serving) return;  // somebody runs the loop from inside a handler
  state->serving = true;
  uv_idle_stop(&state->idle);
  for (int turn = 0; turn < TURNS_MAX && !state->halted; turn++) {
    finish(state);
    if (state->connections_open == 0) break;
    uv_update_time(state->uv);
    int timeout = uv_backend_timeout(state->uv);
    bool looking = timeout != 0 && still_looking(state);
    Connection* connection = state->in_a_row && timeout != 0 && !looking ? napping(state) : nullptr;
    if (connection != nullptr) {
      state->in_a_row = connection->receive(true);
    } else if (looking && turn % SPINS_PER_POLL != 0) {
      spin(state);
    } else if (!wait_and_serve(state, looking ? 0 : timeout) || timeout == 0) {
      break;
    }
  }
  if (!state->halted) finish(state);
  state->serving = false;
  if (state->connections_open > 0) {
    uv_idle_start(&state->idle, [](uv_idle_t*) {});
  } else {
    uv_prepare_stop(&state->prepare);
  }
}

void loop_init(State* state) {
  uv_prepare_init(state->uv, &state->prepare);
  uv_idle_init(state->uv, &state->idle);
  state->prepare.data = state;
  uv_unref(reinterpret_cast<uv_handle_t*>(&state->prepare));
  uv_unref(reinterpret_cast<uv_handle_t*>(&state->idle));
}

void loop_added(State* state) {
  state->connections_open++;
  loop_hold(state, 1);
  uv_prepare_start(&state->prepare, on_prepare);
}

void loop_hold(State* state, int change) {
  state->connections_held += change;
  uv_handle_t* handle = reinterpret_cast<uv_handle_t*>(&state->prepare);
  state->connections_held > 0 ? uv_ref(handle) : uv_unref(handle);
}

void loop_close(State* state) {
  for (Connection*& connection : state->connections) {
    if (connection == nullptr) continue;
    connection->end();
    delete connection;
    connection = nullptr;
  }
  close_handle(state, reinterpret_cast<uv_handle_t*>(&state->prepare));
  close_handle(state, reinterpret_cast<uv_handle_t*>(&state->idle));
}

}  // namespace vfio
