// SPDX-License-Identifier: Apache-2.0
// What:        ApiVersions (18), versions 3 to 5 with the fall-back 0: what a broker can do, and
//              which features the cluster has switched on.
// Flow:        core/link.hpp, first on every connection.
// Memory:      see message/decode.hpp.
// Errors:      a broker that cannot do our version answers 35 with a body of version 0, in which
//              its own range for ApiVersions stands; so the body's form is known only behind the
//              error code.
// Source:      ApiVersionsRequest.json, ApiVersionsResponse.json, KIP-511, KIP-584 (features),
//              KIP-1242 (version 5: the cluster and node that the client believes to talk to).
#ifndef KSHARE_MESSAGE_API_VERSIONS_HPP
#define KSHARE_MESSAGE_API_VERSIONS_HPP

#include <cstdint>
#include <string_view>

#include "kshare/message/decode.hpp"
#include "kshare/wire/error_code.hpp"
#include "kshare/wire/writer.hpp"

namespace kshare {

// Who the client takes the broker for (KIP-1242): both are known, or it is not checked.
struct ExpectedBroker {
  std::string_view cluster_id;
  int32_t node_id = -1;
};

// `version` 0 has no body.
inline void encode_api_versions(Writer& out, int16_t version, std::string_view software_name,
                                std::string_view software_version,
                                const ExpectedBroker& expected = {}) {
  if (version < 3) return;
  out.string(software_name);     // ClientSoftwareName
  out.string(software_version);  // ClientSoftwareVersion
  if (version >= 5) {
    const bool known = !expected.cluster_id.empty() && expected.node_id >= 0;
    if (known) out.string(expected.cluster_id);  // ClusterId
    else out.null_string();
    out.i32(known ? expected.node_id : -1);      // NodeId
  }
  out.no_tags();
}

class ApiVersionsDecoder {
 public:
  enum class Item : uint8_t { none, range, feature, end };

  void begin(int16_t version) {
    at_ = At::head;  // the rest is set by the step that reads it
    has_features_ = false;
    flexible_ = version >= 3;
  }

  int16_t error() const { return error_; }
  int16_t key() const { return key_; }
  int16_t min() const { return min_; }
  int16_t max() const { return max_; }
  // At Item::feature: a finalized feature and its level. Features that are off may be missing.
  std::string_view feature() const { return feature_; }
  int16_t level() const { return max_; }
  bool has_features() const { return has_features_; }  // at Item::end: the list was there

  Item next(Reader& in) {
    while (in.settle()) {
      const At step = at_;
      uint32_t none = 0;
      uint32_t* left = &none;  // of these one is through
      item_ = Item::none;
      switch (step) {
        case At::head:
          error_ = in.i16();  // ErrorCode
          if (error_ == kafka::kUnsupportedVersion) flexible_ = false;
          left_ = flexible_ ? in.array(7) : in.u32();  // ApiKeys
          if (left_ > in.step_left() / 6) in.fail();  // version 0 has no array() to refuse it
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
          left = &left_;
          item_ = Item::range;
          break;
        case At::tail:
          static_cast<void>(in.i32());  // ThrottleTimeMs
          left_ = in.uvarint();         // tagged fields
          at_ = At::tag;
          break;
        case At::tag:
          if (left_ == 0) {
            at_ = At::end;
            break;
          }
          left = &left_;
          begin_tag(in);
          break;
        case At::features:
          has_features_ = true;  // not before: a tag is known when its step is committed
          if (features_left_ == 0) {
            if (in.frame_left() != features_end_) in.fail();
            at_ = At::tag;
            break;
          }
          feature_ = in.view(kTopicNameBytesMax);  // Name
          max_ = in.i16();                         // MaxVersionLevel
          static_cast<void>(in.i16());             // MinVersionLevel
          at_ = At::feature_tags;
          item_ = Item::feature;
          break;
        case At::feature_tags:
          in.tags();
          left = &features_left_;
          at_ = At::features;
          break;
        case At::end: return Item::end;
      }
      if (!in.commit()) {
        at_ = step;
        return Item::none;
      }
      --*left;
      if (item_ != Item::none) return item_;
    }
    return Item::none;
  }

 private:
  enum class At : uint8_t { head, range, tail, tag, features, feature_tags, end };
  static constexpr uint32_t kFinalizedFeatures = 2;

  // A tagged field begins: the finalized features are read, others passed over.
  void begin_tag(Reader& in) {
    const uint32_t tag = in.uvarint();
    const uint32_t size = in.uvarint();
    if (tag != kFinalizedFeatures) return in.skip(size, 1);
    const uint32_t before = in.step_left();
    features_left_ = in.array(6);  // FinalizedFeatures
    if (size > before) in.fail();
    features_end_ = before - size;
    at_ = At::features;
  }

  At at_ = At::head;
  Item item_ = Item::none;
  int16_t error_ = 0;
  uint32_t left_ = 0;
  std::string_view feature_{};
  uint32_t features_left_ = 0;
  uint32_t features_end_ = 0;  // what is left of the frame behind them
  int16_t key_ = 0;
  int16_t min_ = 0;
  int16_t max_ = 0;
  bool flexible_ = true;
  bool has_features_ = false;
};

}  // namespace kshare

#endif  // KSHARE_MESSAGE_API_VERSIONS_HPP
