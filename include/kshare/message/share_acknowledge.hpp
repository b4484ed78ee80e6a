// SPDX-License-Identifier: Apache-2.0
// What:        ShareAcknowledge (79), versions 1 and 2: acknowledgements that travel alone, and
//              the end of a session.
// Flow:        core/session.hpp encodes; core/intake.hpp decodes (message/share_answer.hpp).
// Memory:      see message/decode.hpp.
// Errors:      see message/share_answer.hpp.
// Source:      ShareAcknowledgeRequest.json, KIP-932, KIP-1222.
#ifndef KSHARE_MESSAGE_SHARE_ACKNOWLEDGE_HPP
#define KSHARE_MESSAGE_SHARE_ACKNOWLEDGE_HPP

#include <cstdint>
#include <string_view>

#include "kshare/message/share_answer.hpp"
#include "kshare/wire/writer.hpp"

namespace kshare {

struct ShareAcknowledgeHead {
  std::string_view group_id;
  std::string_view member_id;
  int32_t session_epoch = 0;
  bool renew = false;  // from version 2 on: acknowledge type 4 is allowed
};

// The head; Topics and the tags behind are the caller's.
inline void encode_share_acknowledge_head(Writer& out, int16_t version,
                                          const ShareAcknowledgeHead& head) {
  out.string(head.group_id);    // GroupId
  out.string(head.member_id);   // MemberId
  out.i32(head.session_epoch);  // ShareSessionEpoch
  if (version >= 2) out.boolean(head.renew);  // IsRenewAck
}

class ShareAcknowledgeDecoder : public ShareAnswerDecoder {
 public:
  void begin(int16_t version, TextSink words) { begin_acknowledge(version, words); }
};

}  // namespace kshare

#endif  // KSHARE_MESSAGE_SHARE_ACKNOWLEDGE_HPP
