// SPDX-License-Identifier: Apache-2.0
// Every response decoder. The first octet names the API, the next two the window and the pieces;
// the rest is the body. The items must be as many as the body allows and no more, and the same
// whatever the pieces.
#include <cstdlib>

#include "../support/decoders.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 3) return 0;
  const auto kind = static_cast<decoders::Kind>(data[0] % decoders::kKinds);
  decoders::Way way;
  way.window = 512u + data[1] * 4u;
  way.piece = 1u + data[2];
  const decoders::Message body(data + 3, data + size);
  const decoders::Result result = decoders::decode(kind, body, way);
  if (result.items.size() > body.size() + 1) std::abort();
  if (result.ended && result.malformed) std::abort();
  way.piece = UINT32_MAX;
  const decoders::Result whole = decoders::decode(kind, body, way);
  if (whole.items != result.items || whole.ended != result.ended) std::abort();
  if (whole.malformed != result.malformed) std::abort();
  return 0;
}
