// SPDX-License-Identifier: Apache-2.0
// What:        FindCoordinator (10), versions 4 to 6: which broker keeps our group.
// Flow:        core/member.hpp over the control link, to any broker.
// Memory:      see message/decode.hpp.
// Errors:      in the item: ErrorCode of the group's entry.
// Source:      FindCoordinatorRequest.json, FindCoordinatorResponse.json. A share group is asked
//              for with key type GROUP; key type SHARE is the brokers' own. The versions have one
//              form.
#ifndef KSHARE_MESSAGE_FIND_COORDINATOR_HPP
#define KSHARE_MESSAGE_FIND_COORDINATOR_HPP

#include <cstdint>
#include <string_view>

#include "kshare/message/decode.hpp"
#include "kshare/wire/writer.hpp"

namespace kshare {

inline void encode_find_coordinator(Writer& out, std::string_view group_id) {
  out.i8(0);  // KeyType GROUP
  const uint32_t keys = out.begin_array();
  out.string(group_id);  // CoordinatorKeys
  out.end_array(keys, 1);
  out.no_tags();
}

class FindCoordinatorDecoder {
 public:
  enum class Item : uint8_t { none, coordinator, end };

  void begin(TextSink words) {
    at_ = At::head;  // the rest is set by the step that reads it
    words_ = words;
  }

  int32_t throttle_ms() const { return throttle_ms_; }
  const NodeEndpoint& coordinator() const { return node_; }  // at Item::coordinator
  int16_t error() const { return error_; }                   // at Item::end
  const TextSink& words() const { return words_; }

  Item next(Reader& in) {
    while (in.settle()) {
      const At step = at_;
      uint32_t none = 0;
      uint32_t* left = &none;  // of these one is through
      item_ = Item::none;
      switch (step) {
        case At::head:
          throttle_ms_ = in.i32();  // ThrottleTimeMs
          left_ = in.array(14);     // Coordinators
          at_ = At::coordinator;
          break;
        case At::coordinator:
          if (left_ == 0) in.fail();
          in.skip_text();  // Key: the one we asked for
          at_ = At::node;
          break;
        case At::node:
          node_.read_from(in);  // NodeId, Host, Port
          at_ = At::error;
          item_ = Item::coordinator;
          break;
        case At::error:
          error_ = in.i16();     // ErrorCode
          words_.copy_from(in);  // ErrorMessage
          at_ = At::tags;
          break;
        case At::tags:
          in.tags();
          left = &left_;
          at_ = left_ == 1 ? At::tail : At::coordinator;
          break;
        case At::tail:
          in.tags();
          at_ = At::end;
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
  enum class At : uint8_t { head, coordinator, node, error, tags, tail, end };

  At at_ = At::head;
  Item item_ = Item::none;
  int16_t error_ = 0;
  NodeEndpoint node_{};
  TextSink words_{};
  uint32_t left_ = 0;
  int32_t throttle_ms_ = 0;
};

}  // namespace kshare

#endif  // KSHARE_MESSAGE_FIND_COORDINATOR_HPP
