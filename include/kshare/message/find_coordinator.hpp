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
    *this = FindCoordinatorDecoder{};
    words_ = words;
  }

  int32_t throttle_ms() const { return throttle_ms_; }
  const NodeEndpoint& coordinator() const { return node_; }  // at Item::coordinator
  int16_t error() const { return error_; }                   // at Item::end
  const TextSink& words() const { return words_; }

  Item next(Reader& in) {
    while (in.settle()) {
      switch (at_) {
        case At::head:
          throttle_ms_ = in.i32();  // ThrottleTimeMs
          left_ = in.array(14);     // Coordinators
          if (!in.commit()) return Item::none;
          if (left_ == 0) in.fail();
          at_ = At::coordinator;
          break;
        case At::coordinator:
          if (left_ == 0) {
            at_ = At::tail;
            break;
          }
          in.skip_text();  // Key: the one we asked for
          if (!in.commit()) return Item::none;
          at_ = At::node;
          break;
        case At::node:
          node_.node_id = in.i32();             // NodeId
          node_.host = in.view(kHostBytesMax);  // Host
          node_.port = in.i32();                // Port
          if (!in.commit()) return Item::none;
          at_ = At::error;
          return Item::coordinator;
        case At::error:
          error_ = in.i16();     // ErrorCode
          words_.copy_from(in);  // ErrorMessage
          if (!in.commit()) return Item::none;
          at_ = At::tags;
          break;
        case At::tags:
          in.tags();
          if (!in.commit()) return Item::none;
          --left_;
          at_ = At::coordinator;
          break;
        case At::tail:
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
  enum class At : uint8_t { head, coordinator, node, error, tags, tail, end };

  NodeEndpoint node_{};
  TextSink words_{};
  uint32_t left_ = 0;
  int32_t throttle_ms_ = 0;
  int16_t error_ = 0;
  At at_ = At::head;
};

}  // namespace kshare

#endif  // KSHARE_MESSAGE_FIND_COORDINATOR_HPP
