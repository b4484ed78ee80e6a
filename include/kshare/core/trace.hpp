// SPDX-License-Identifier: Apache-2.0
// What:        TraceEntry: one thing that a state machine has done, as numbers. TraceHook: who is
//              told of each, at once. TraceRing: keeps the last of them for a look afterwards.
// Flow:        core/ machines -> Shared -> Options::trace -> the application, or a TraceRing of
//              its -> format (core/trace_format.hpp) -> a log.
// Memory:      the hook is two pointers in Options; an entry 40 bytes, a ring N of them, the
//              application's.
// Valid until: hook and context are used until poll() has answered false.
// Errors:      none. The ring is lossy: the oldest entry goes first, and lost() counts.
//
// The hook is called in the middle of poll() and close(): it must not call the consumer. Nothing is
// traced record by record. Events (core/event.hpp) are for operators, entries for whoever wants to
// know what went over the wire, and why.
#ifndef KSHARE_CORE_TRACE_HPP
#define KSHARE_CORE_TRACE_HPP

#include <cstdint>

#include "kshare/base/status.hpp"
#include "kshare/base/time.hpp"
#include "kshare/wire/api.hpp"

namespace kshare {

// What happened, and which members of the entry say more.
enum class TraceKind : uint8_t {
  none = 0,
  link,         // link, node; state: its LinkState now; value: the one before. Lost: status; and if
                // an answer was to come yet: api, correlation, elapsed_ms of its request
  request,      // link, node, api, version, correlation, bytes; value: the epoch of the member or
                // of the share session that it carries
  answer,       // link, node, api, correlation, bytes, elapsed_ms, throttle_ms; value: Kafka's
                // error code for the whole of it
  member,       // state: MemberState; value: the member's epoch
  coordinator,  // node; -1: forgotten
  assignment,   // value: partitions assigned now
  session,      // link, node; value: the share session's epoch. 1: opened; 0: over
};

// What its kind does not name has no meaning.
struct TraceEntry {
  Instant at{};  // of the poll() or close() in which it happened
  TraceKind kind = TraceKind::none;
  uint8_t link = 0;  // 0: the one to the coordinator; the others go to partition leaders
  uint8_t state = 0;
  Api api = Api::fetch;
  int8_t version = 0;
  uint8_t reserved = 0;
  uint16_t throttle_ms = 0;
  Status status{};
  int32_t node = 0;         // a broker by its id, entry i of bootstrap.servers as -2 - i, -1: none
  int32_t correlation = 0;  // counts the requests of a link from 1; 0: none
  uint32_t bytes = 0;       // of the frame, its size field included
  uint32_t elapsed_ms = 0;  // since the request
  int32_t value = 0;
};
static_assert(sizeof(TraceEntry) == 40, "a ring has many");

struct TraceHook {
  void (*function)(void* context, const TraceEntry& entry) = nullptr;
  void* context = nullptr;
};

// The last N entries of one consumer; all-zero it is empty.
//
//   static kshare::TraceRing<64> ring;
//   options.trace = ring.hook();
//   ...
//   for (uint32_t i = 0; ring.entry(i, entry); ++i) log(line, kshare::format(entry, line, room));
template <uint32_t N>
class TraceRing {
 public:
  constexpr TraceRing() = default;

  TraceHook hook() { return {&TraceRing::take, this}; }

  // Entry i of those that are kept, the oldest first; false behind the last.
  bool entry(uint32_t i, TraceEntry& into) const {
    if (i >= size_) return false;
    into = entries_[(next_ + N - size_ + i) % N];
    return true;
  }
  uint32_t size() const { return size_; }
  uint64_t lost() const { return lost_; }
  void clear() {
    size_ = 0;
    lost_ = 0;
  }

 private:
  static_assert(N != 0 && N < UINT32_MAX / 2, "a ring has some places");
  static void take(void* ring, const TraceEntry& entry) {
    auto& its = *static_cast<TraceRing*>(ring);
    its.entries_[its.next_] = entry;
    its.next_ = (its.next_ + 1) % N;
    if (its.size_ == N) ++its.lost_;
    else ++its.size_;
  }

  TraceEntry entries_[N];
  uint32_t next_ = 0;  // where the next one goes
  uint32_t size_ = 0;
  uint64_t lost_ = 0;
};

}  // namespace kshare

#endif  // KSHARE_CORE_TRACE_HPP
