{
  "targets": [
    {
      "target_name": "vfio",
      "sources": ["addon.cc", "calls.cc", "eventfd.cc", "discard.cc", "sockets.cc", "pty.cc", "guard.cc", "mapping.cc", "watch.cc", "connection.cc", "loop.cc"],
      "defines": ["NAPI_VERSION=8", "_GNU_SOURCE"],
      "cflags_cc": [
        "-std=c++17", "-O2", "-Wall", "-Wextra", "-Wno-cast-function-type",
        "-fno-exceptions", "-fno-rtti", "-fvisibility=hidden"
      ]
    }
  ]
}
