// Whether an fd can be read or written, on libuv's own poll. For listening sockets, interrupts and terminals; connections
// do not go this way.

#include "state.h"

namespace vfio {

struct Watch {
  uv_poll_t poll;
  State* state;
  Callback callback;
};

static void on_ready(uv_poll_t* handle, int, int) {
  Watch* watch = static_cast<Watch*>(handle->data);
  napi_env env = watch->state->env;
  napi_handle_scope scope;
  if (napi_open_handle_scope(env, &scope) != napi_ok) return;
  watch->callback.run(watch->state, 0, nullptr, [](napi_value) {});
  napi_close_handle_scope(env, scope);
}

// (fd, callback, whether writable instead of readable) -> id
static double watch_open(const Arguments& a) {
  State* state = state_of(a.env);
  Watch* watch = new Watch();
  watch->state = state;
  int error = uv_poll_init(state->uv, &watch->poll, a.integer(0));
  if (error < 0) {
    delete watch;
    return error;
  }
  watch->poll.data = watch;
  watch->callback.set(a.env, a.value[1], "vfio:watch");
  uv_poll_start(&watch->poll, a.integer(2) ? UV_WRITABLE : UV_READABLE, on_ready);
  size_t id = free_place(state->watches);
  state->watches[id] = watch;
  state->watches_open++;
  return static_cast<double>(id);
}

static void close_watch(State* state, size_t id) {
  Watch* watch = state->watches[id];
  state->watches[id] = nullptr;
  state->watches_open--;
  watch->callback.clear(state->env);
  uv_close(reinterpret_cast<uv_handle_t*>(&watch->poll), [](uv_handle_t* handle) { delete static_cast<Watch*>(handle->data); });
}

static double watch_close(const Arguments& a) {
  close_watch(state_of(a.env), a.integer(0));
  return 0;
}

// (id, hold)
static double watch_hold(const Arguments& a) {
  uv_handle_t* handle = reinterpret_cast<uv_handle_t*>(&state_of(a.env)->watches[a.integer(0)]->poll);
  a.integer(1) ? uv_ref(handle) : uv_unref(handle);
  return 0;
}

void watch_close_all(State* state) {
  for (size_t id = 0; id < state->watches.size(); id++) {
    if (state->watches[id] != nullptr) close_watch(state, id);
  }
}

void export_watch(napi_env env, napi_value exports) {
  export_call<watch_open>(env, exports, "watchOpen");
  export_call<watch_close>(env, exports, "watchClose");
  export_call<watch_hold>(env, exports, "watchHold");
}

}  // namespace vfio
