// SPDX-License-Identifier: Apache-2.0
// What:        ShareFetch (78), versions 1 and 2: records of a share group, with acknowledgements
//              riding along.
// Flow:        core/session.hpp encodes; core/intake.hpp decodes (message/share_answer.hpp).
// Memory:      see message/decode.hpp.
// Errors:      see message/share_answer.hpp.
// Source:      ShareFetchRequest.json, KIP-932, KIP-1206, KIP-1222.
#ifndef KSHARE_MESSAGE_SHARE_FETCH_HPP
#define KSHARE_MESSAGE_SHARE_FETCH_HPP

#include <cstdint>
#include <string_view>

#include "kshare/message/share_answer.hpp"
#include "kshare/wire/writer.hpp"

namespace kshare {

struct ShareFetchHead {
  std::string_view group_id;
  std::string_view member_id;
  int32_t session_epoch = 0;
  int32_t max_wait_ms = 0;
  int32_t min_bytes = 0;
  int32_t max_bytes = 0;
  int32_t max_records = 0;
  int32_t batch_size = 0;
  int8_t acquire_mode = 0;  // from version 2 on
};

// The head; Topics, ForgottenTopicsData and the tags behind are the caller's.
inline void encode_share_fetch_head(Writer& out, int16_t version, const ShareFetchHead& head) {
  out.string(head.group_id);     // GroupId
  out.string(head.member_id);    // MemberId
  out.i32(head.session_epoch);   // ShareSessionEpoch
  out.i32(head.max_wait_ms);     // MaxWaitMs
  out.i32(head.min_bytes);       // MinBytes
  out.i32(head.max_bytes);       // MaxBytes
  out.i32(head.max_records);     // MaxRecords
  out.i32(head.batch_size);      // BatchSize
  if (version < 2) return;
  out.i8(head.acquire_mode);     // ShareAcquireMode
  out.boolean(false);            // IsRenewAck: renewals travel in ShareAcknowledge
}

class ShareFetchDecoder : public ShareAnswerDecoder {
 public:
  void begin(TextSink words) { begin_fetch(words); }
};

}  // namespace kshare

#endif  // KSHARE_MESSAGE_SHARE_FETCH_HPP
