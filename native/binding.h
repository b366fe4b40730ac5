// How a native function reads its arguments and gives its answer.
//
// Every call takes plain numbers (and, on cold paths, strings or byte arrays) and answers with one number: the result, or
// a negative errno. TypeScript turns that into errors. Numbers travel as doubles: file offsets stay below 2^53.
#pragma once

#include <errno.h>
#include <node_api.h>
#include <stddef.h>
#include <stdint.h>

namespace vfio {

constexpr size_t MAX_ARGUMENTS = 12;

struct Bytes {
  uint8_t* data = nullptr;
  size_t size = 0;
  bool holds(int64_t at, int64_t length) const {
    return at >= 0 && length >= 0 && static_cast<uint64_t>(at) <= size && static_cast<uint64_t>(length) <= size - at;
  }
};

struct Arguments {
  napi_env env;
  napi_value value[MAX_ARGUMENTS];

  Arguments(napi_env of, napi_callback_info info) : env(of) {
    size_t count = MAX_ARGUMENTS;
    napi_get_cb_info(env, info, &count, value, nullptr, nullptr);
  }
  int64_t number(int index) const {
    int64_t result = 0;
    napi_get_value_int64(env, value[index], &result);
    return result;
  }
  int integer(int index) const {
    int32_t result = 0;
    napi_get_value_int32(env, value[index], &result);
    return result;
  }
  // A byte array, or {nullptr, 0} for anything else (and for an array whose buffer was detached).
  Bytes bytes(int index) const {
    napi_typedarray_type type;
    Bytes found;
    void* data = nullptr;
    if (napi_get_typedarray_info(env, value[index], &type, &found.size, &data, nullptr, nullptr) != napi_ok) return {};
    if (type != napi_uint8_array || data == nullptr) return {};
    found.data = static_cast<uint8_t*>(data);
    return found;
  }
  // A string of fewer than `capacity` bytes, with its end mark. False when it is longer.
  bool text(int index, char* target, size_t capacity) const {
    size_t length = 0;
    if (napi_get_value_string_utf8(env, value[index], nullptr, 0, &length) != napi_ok || length >= capacity) return false;
    return napi_get_value_string_utf8(env, value[index], target, capacity, &length) == napi_ok;
  }
};

inline napi_value to_number(napi_env env, double value) {
  napi_value result;
  napi_create_double(env, value, &result);
  return result;
}

// The answer of a system call that says -1 and errno.
inline double answer(int64_t result) { return result < 0 ? -errno : static_cast<double>(result); }

using Call = double (*)(const Arguments&);

template <Call call>
napi_value entry(napi_env env, napi_callback_info info) {
  return to_number(env, call(Arguments(env, info)));
}

inline void export_function(napi_env env, napi_value exports, const char* name, napi_callback function, void* data = nullptr) {
  napi_value value;
  napi_create_function(env, name, NAPI_AUTO_LENGTH, function, data, &value);
  napi_set_named_property(env, exports, name, value);
}

template <Call call>
void export_call(napi_env env, napi_value exports, const char* name) {
  export_function(env, exports, name, entry<call>);
}

inline void export_constant(napi_env env, napi_value exports, const char* name, double value) {
  napi_set_named_property(env, exports, name, to_number(env, value));
}

// Where calls with more than one result leave them: a Float64Array that JavaScript holds from the start.
constexpr size_t RESULT_WORDS = 8;

struct State;
State* state_of(napi_env env);

// What each file adds to the module.
void export_calls(napi_env env, napi_value exports);
void export_discard(napi_env env, napi_value exports);
void export_eventfd(napi_env env, napi_value exports);
void export_sockets(napi_env env, napi_value exports);
void export_pty(napi_env env, napi_value exports);
void export_mapping(napi_env env, napi_value exports);
void export_watch(napi_env env, napi_value exports);
void export_connection(napi_env env, napi_value exports);

}  // namespace vfio
