// Entry and exit of the addon, once for every JavaScript environment that loads it.

#include <unistd.h>

#include "state.h"

namespace vfio {

State* state_of(napi_env env) {
  void* state = nullptr;
  napi_get_instance_data(env, &state);
  return static_cast<State*>(state);
}

void Callback::set(napi_env env, napi_value function, const char* name) {
  napi_value resource, label;
  napi_create_object(env, &resource);
  napi_create_string_utf8(env, name, NAPI_AUTO_LENGTH, &label);
  napi_async_init(env, resource, label, &context_);
  napi_create_reference(env, function, 1, &function_);
}

void Callback::clear(napi_env env) {
  if (function_ == nullptr) return;
  napi_delete_reference(env, function_);
  napi_async_destroy(env, context_);
  function_ = nullptr;
}

bool Callback::open(State* state, napi_callback_scope* scope) {
  if (function_ == nullptr || state->halted) return false;
  return napi_open_callback_scope(state->env, nullptr, context_, scope) == napi_ok;
}

napi_value Callback::invoke(State* state, size_t count, const napi_value* arguments) {
  napi_env env = state->env;
  napi_value function, global, result;
  napi_get_reference_value(env, function_, &function);
  napi_get_global(env, &global);
  if (napi_call_function(env, global, function, count, arguments, &result) == napi_ok) return result;
  bool thrown = false;
  napi_value exception;
  napi_is_exception_pending(env, &thrown);
  if (!thrown || napi_get_and_clear_last_exception(env, &exception) != napi_ok ||
      napi_fatal_exception(env, exception) != napi_ok) {
    state->halted = true;
  }
  return nullptr;
}

// Counts handles that libuv still holds; the environment may go when the last one is closed.
void close_handle(State* state, uv_handle_t* handle) {
  state->handles_closing++;
  handle->data = state;
  uv_close(handle, [](uv_handle_t* closed) {
    State* owner = static_cast<State*>(closed->data);
    if (--owner->handles_closing > 0) return;
    napi_remove_async_cleanup_hook(owner->cleanup);
    delete owner;
  });
}

static void on_environment_end(napi_async_cleanup_hook_handle, void* data) {
  State* state = static_cast<State*>(data);
  state->halted = true;
  aio_end(state);
  if (state->spare_fd >= 0) close(state->spare_fd);
  watch_close_all(state);
  loop_close(state);
}

static void export_results(State* state, napi_value exports) {
  napi_value buffer, array;
  napi_ref keep;
  void* data = nullptr;
  napi_create_arraybuffer(state->env, RESULT_WORDS * sizeof(double), &data, &buffer);
  napi_create_typedarray(state->env, napi_float64_array, RESULT_WORDS, buffer, 0, &array);
  napi_create_reference(state->env, buffer, 1, &keep);  // for the environment's life
  napi_set_named_property(state->env, exports, "results", array);
  state->results = static_cast<double*>(data);
}

}  // namespace vfio

NAPI_MODULE_INIT() {
  using namespace vfio;
  State* state = new State();
  state->env = env;
  napi_get_uv_event_loop(env, &state->uv);
  napi_set_instance_data(env, state, nullptr, nullptr);
  state->spare_fd = open_spare();
  loop_init(state);
  napi_add_async_cleanup_hook(env, on_environment_end, state, &state->cleanup);
  export_results(state, exports);
  export_calls(env, exports);
  export_discard(env, exports);
  export_eventfd(env, exports);
  export_sockets(env, exports);
  export_pty(env, exports);
  export_mapping(env, exports);
  export_watch(env, exports);
  export_connection(env, exports);
  return exports;
}
