// SPDX-License-Identifier: Apache-2.0
// What:        format(TraceEntry): one line of text for a log.
// Flow:        TraceEntry, of a hook or out of a TraceRing -> here -> the application's log.
//              Nothing in kshare calls it.
// Memory:      the caller's buffer; kLineBytes are enough.
// Valid until: the text is the caller's. It ends with a NUL that the answered count leaves out.
// Errors:      none: a text longer than the buffer is cut.
//
// It begins with the seconds of the clock that the application gives to poll():
//
//   12.345 link 1 node 3 > ShareFetch v2 #17 epoch 4, 146 bytes
//   12.350 link 1 node 3 < ShareFetch #17, 3021 bytes, 5 ms
#ifndef KSHARE_CORE_TRACE_FORMAT_HPP
#define KSHARE_CORE_TRACE_FORMAT_HPP

#include <cstdint>

#include "kshare/base/text.hpp"
#include "kshare/core/describe.hpp"
#include "kshare/core/link.hpp"
#include "kshare/core/member.hpp"
#include "kshare/core/trace.hpp"
#include "kshare/wire/api.hpp"

namespace kshare {

inline void format_link_state(const TraceEntry& entry, TextOut& out) {
  switch (static_cast<LinkState>(entry.state)) {
    case LinkState::idle: out << "closed"; break;
    case LinkState::waiting: out << "lost: " << entry.status; break;
    case LinkState::opening: out << "connecting"; break;
    case LinkState::negotiating: out << "connected"; break;
    case LinkState::ready: out << "ready"; break;
  }
  if (entry.correlation == 0) return;
  out << "; no answer to " << api_name(entry.api) << " #" << entry.correlation;
  out << " after " << int64_t{entry.elapsed_ms} << " ms";
}

inline void format_answer(const TraceEntry& entry, TextOut& out) {
  out << "< " << api_name(entry.api) << " #" << entry.correlation;
  out << ", " << int64_t{entry.bytes} << " bytes, " << int64_t{entry.elapsed_ms} << " ms";
  if (entry.throttle_ms != 0) out << ", throttled for " << int32_t{entry.throttle_ms} << " ms";
  if (entry.value == 0) return;
  out << ", error " << entry.value;
  const KafkaError error = kafka_error(static_cast<int16_t>(entry.value));
  if (error.name != nullptr) out << " " << error.name;
}

// What happened on a link.
inline void format_link(const TraceEntry& entry, TextOut& out) {
  out << "link " << int32_t{entry.link};
  if (entry.node >= 0) out << " node " << entry.node << " ";
  else if (entry.node == Link::kNoNode) out << " ";
  else out << " bootstrap " << -2 - entry.node << " ";
  if (entry.kind == TraceKind::link) {
    format_link_state(entry, out);
  } else if (entry.kind == TraceKind::request) {
    out << "> " << api_name(entry.api) << " v" << int32_t{entry.version};
    out << " #" << entry.correlation;
    const bool with_epoch = entry.api == Api::share_group_heartbeat ||
                            entry.api == Api::share_fetch || entry.api == Api::share_acknowledge;
    if (with_epoch) out << " epoch " << entry.value;
    out << ", " << int64_t{entry.bytes} << " bytes";
  } else if (entry.kind == TraceKind::answer) {
    format_answer(entry, out);
  } else if (entry.value == 0) {
    out << "share session over";
  } else {
    out << "share session open, epoch " << entry.value;
  }
}

inline void format_member(const TraceEntry& entry, TextOut& out) {
  switch (static_cast<MemberState>(entry.state)) {
    case MemberState::idle: out << "member of no group"; return;
    case MemberState::joining: out << "member joining"; return;
    case MemberState::stable: out << "member with epoch " << entry.value; return;
    case MemberState::leaving: out << "member leaving"; return;
  }
}

// One line for an entry, without a line break; answers its length without the NUL.
inline uint32_t format(const TraceEntry& entry, char* room, uint32_t bytes) {
  TextOut out(room, bytes);
  if (entry.kind == TraceKind::none) return 0;
  out << entry.at << " ";
  switch (entry.kind) {
    case TraceKind::none: break;
    case TraceKind::link:
    case TraceKind::request:
    case TraceKind::answer:
    case TraceKind::session: format_link(entry, out); break;
    case TraceKind::member: format_member(entry, out); break;
    case TraceKind::coordinator:
      if (entry.node < 0) out << "coordinator unknown";
      else out << "coordinator node " << entry.node;
      break;
    case TraceKind::assignment: out << "assigned partitions: " << entry.value; break;
  }
  return out.size();
}

}  // namespace kshare

#endif  // KSHARE_CORE_TRACE_FORMAT_HPP
