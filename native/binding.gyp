{
  "targets": [
    {
      "target_name": "vfio",
      "sources": ["addon.cc"],
      "defines": ["NAPI_VERSION=8", "_GNU_SOURCE"],
      "cflags_cc": ["-std=c++17", "-O2", "-Wall", "-Wextra", "-fno-exceptions", "-fno-rtti"]
    }
  ]
}
