// SPDX-License-Identifier: Apache-2.0
// What:        ApiVersions (18), version 3 with its fall-back 0: what a broker can do.
// Flow:        core/link.hpp, first on every connection.
// Memory:      see message/decode.hpp.
// Errors:      a broker that cannot do our version answers 35 with a body of version 0; so the
//              body's form is known only behind the error code.
// Source:      ApiVersionsRequest.json, ApiVersionsResponse.json, KIP-511.
#ifndef KSHARE_MESSAGE_API_VERSIONS_HPP
#define KSHARE_MESSAGE_API_VERSIONS_HPP

#include <cstdint>
#include <string_view>

#include "kshare/message/decode.hpp"
#include "kshare/wire/error_code.hpp"
#include "kshare/wire/writer.hpp"

namespace kshare {

// `version` 0 has no body.
inline void encode_api_versions(Writer& out, int16_t version, std::string_view software_name,
                                std::string_view software_version) {
  if (version < 3) return;
  out.string(software_name);     // ClientSoftwareName
  out.string(software_version);  // ClientSoftwareVersion
  out.no_tags();
}

class ApiVersionsDecoder {
 public:
  enum class Item : uint8_t { none, range, end };

  void begin(int16_t version) {
    *this = ApiVersionsDecoder{};
    flexible_ = version >= 3;
  }

  int16_t error() const { return error_; }
  int16_t key() const { return key_; }
  int16_t min() const { return min_; }
  int16_t max() const { return max_; }

  Item next(Reader& in) {
    while (in.settle()) {
      switch (at_) {
        case At::head:
          error_ = in.i16();  // ErrorCode
          if (error_ == kafka::kUnsupportedVersion) flexible_ = false;
          left_ = flexible_ ? in.array(7) : in.u32();  // ApiKeys
          if (!in.commit()) return Item::none;
          if (left_ > in.frame_left() / 6) in.fail();  // version 0 has no array() to refuse it
          at_ = At::range;
          break;
        case At::range:
          if (left_ == 0) {
            at_ = flexible_ ? At::tail : At::end;
            break;
          }
          key_ = in.i16();  // ApiKey
          min_ = in.i16();  // MinVersion
          max_ = in.i16();  // MaxVersion
          if (flexible_) in.tags();
          if (!in.commit()) return Item::none;
          --left_;
          return Item::range;
        case At::tail:
          static_cast<void>(in.i32());  // ThrottleTimeMs
          in.tags();
          if (!in.commit()) return Item::none;
          at_ = At::end;
          break;
        case At::end: return Item::end;
      }
    }
    return Item::none;
  }

 private:
  enum class At : uint8_t { head, range, tail, end };

  uint32_t left_ = 0;
  int16_t error_ = 0;
  int16_t key_ = 0;
  int16_t min_ = 0;
  int16_t max_ = 0;
  At at_ = At::head;
  bool flexible_ = true;
};

}  // namespace kshare

#endif  // KSHARE_MESSAGE_API_VERSIONS_HPP
