// SPDX-License-Identifier: Apache-2.0
// The table of examples/static_memory.cpp as bytes of an object file, in a section of its own: they
// are read from there, so that no other architecture's program has to run.
#define main static_memory_main  // its own is not wanted
#include "../../examples/static_memory.cpp"
#undef main

namespace {

constexpr size_t kPartCount = sizeof Tiny::kParts / sizeof(Part);

struct Row {
  char name[32];
  uint32_t bytes[4];
};
struct Rows {
  Row row[kPartCount];
};

constexpr Rows rows() {
  Rows all{};
  for (size_t i = 0; i < kPartCount; ++i) {
    for (size_t at = 0; Tiny::kParts[i].name[at] != '\0'; ++at) {
      all.row[i].name[at] = Tiny::kParts[i].name[at];  // too long a name does not compile
    }
    all.row[i].bytes[0] = static_cast<uint32_t>(Tiny::kParts[i].bytes);
    all.row[i].bytes[1] = static_cast<uint32_t>(Small::kParts[i].bytes);
    all.row[i].bytes[2] = static_cast<uint32_t>(Default::kParts[i].bytes);
    all.row[i].bytes[3] = static_cast<uint32_t>(Large::kParts[i].bytes);
  }
  return all;
}

}  // namespace

extern "C" {
extern const Rows kshare_ram;
__attribute__((used, section(".kshare_ram"))) constexpr Rows kshare_ram = rows();
}
