// SPDX-License-Identifier: Apache-2.0
// What:        what all response decoders have in common: they are pulled, one item a call.
// Flow:        core/link.hpp's window -> wire/reader.hpp -> a decoder's next() -> core/.
// Memory:      a few dozen bytes a decoder; views in an item are gone at the next call.
// Errors:      an item `none` means: more bytes are needed, or in.malformed().
//
// Each decoder is one switch in schema order. A case is a step (wire/reader.hpp): it reads one
// element, and says which step is behind it, which item is complete with it and which count goes
// down by one; all of that holds once the step is committed, behind the switch. Loops over arrays
// count down in the decoder, so a huge answer costs no memory.
#ifndef KSHARE_MESSAGE_DECODE_HPP
#define KSHARE_MESSAGE_DECODE_HPP

#include <cstdint>

#include "kshare/wire/reader.hpp"

namespace kshare {

inline constexpr uint32_t kHostBytesMax = 255;
inline constexpr uint32_t kTopicNameBytesMax = 249;

// Where a decoder puts the broker's own words.
struct TextSink {
  char* to = nullptr;
  uint32_t room = 0;
  uint32_t size = 0;

  void copy_from(Reader& in) { size = in.copy(to, room); }
};

struct NodeEndpoint {
  int32_t node_id = -1;
  int32_t port = 0;
  std::string_view host;

  void read_from(Reader& in) {
    node_id = in.i32();
    host = in.view(kHostBytesMax);
    port = in.i32();
  }
};

}  // namespace kshare

#endif  // KSHARE_MESSAGE_DECODE_HPP
