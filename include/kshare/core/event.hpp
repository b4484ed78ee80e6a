// SPDX-License-Identifier: Apache-2.0
// What:        Event: something an operator may want to know, and the ring that keeps the last of
//              them.
// Flow:        core/ machines -> EventRing -> ShareConsumer::next_event -> format
//              (core/describe.hpp) -> a log.
// Memory:      80 bytes each, Limits::events_max of them. The ring is lossy: the oldest goes first,
//              and lost() counts.
// Errors:      none. Nothing in kshare waits for events to be read.
#ifndef KSHARE_CORE_EVENT_HPP
#define KSHARE_CORE_EVENT_HPP

#include <cstdint>
#include <string_view>

#include "kshare/base/bytes.hpp"
#include "kshare/base/status.hpp"

namespace kshare {

enum class EventType : uint8_t {
  none = 0,
  connected,             // text: host:port; node
  connection_failed,     // text: host:port; status; tried again by itself
  disconnected,          // text: host:port; status
  rebootstrapping,       // status: why; the brokers known are forgotten, bootstrap.servers are next
  coordinator_found,     // node
  joined,                // value: member epoch
  rejoining,             // status: why the coordinator put us out; membership starts again
  assignment_changed,    // value: partitions assigned now
  assignment_too_large,  // value: partitions that found no place in the tables
  leaders_too_many,      // value: leaders of ours whose address found no place in the tables
  topic_missing,         // text: topic; it may be created yet, kshare keeps looking
  topic_error,           // text: topic; status: Kafka error (29: READ or DESCRIBE missing)
  partition_error,       // text: topic; partition; status: Kafka error of a fetch
  session_reset,         // node; status: Kafka error, or why; opened again by itself
  session_surplus,       // node; value: acquired ranges beyond lots_max, given back by reopening
  // Below, text is the topic and [first, last] the offsets meant.
  record_too_large,   // partition; released or rejected by option
  batch_corrupt,      // partition; the CRC is wrong, rejected
  batch_undecodable,  // partition; no codec or an unknown form; by option
  record_malformed,   // partition; by option
  lock_expired,       // partition, first: still with the application, its lock is gone
  released_unseen,    // partition; given back, nobody took them in time
  renew_failed,       // partition; status: why; they are still ours until their old lock ends
  stalled,            // value: records with the application; nothing more comes until it
                      // acknowledges or detaches some
  acks_failed,        // partition; status: Kafka error; value: records
  acks_unknown,       // node; value: records whose answer was lost, they may come again
  group_error,        // status: Kafka error from the coordinator; text: the broker's words
  failed,             // status: fatal; last_error() has the words
};

struct Event {
  static constexpr uint32_t kTextBytes = 35;

  EventType type = EventType::none;
  uint8_t text_bytes = 0;
  uint8_t reserved[2] = {};
  Status status{};
  int32_t partition = -1;
  int32_t node = -1;
  int64_t value = 0;
  int64_t first = 0;
  int64_t last = 0;
  char text[kTextBytes + 1] = {};  // cut if longer

  std::string_view words() const { return {text, text_bytes}; }
};
static_assert(sizeof(Event) <= 80, "events are many");

class EventRing {
 public:
  void attach(Span<Event> memory) {
    memory_ = memory;
    clear();
  }
  void clear() { head_ = count_ = 0; }

  Event& push(EventType type, Status status = {}) {
    uint32_t at = head_ + count_;
    if (count_ == memory_.size) {
      head_ = (head_ + 1) % memory_.size;
      ++lost_;
    } else {
      ++count_;
    }
    Event& event = make_anew(memory_[at % memory_.size]);
    event.type = type;
    event.status = status;
    return event;
  }
  bool pop(Event& into) {
    if (count_ == 0) return false;
    into = memory_[head_];
    head_ = (head_ + 1) % memory_.size;
    --count_;
    return true;
  }
  uint64_t lost() const { return lost_; }

  static void set_text(Event& event, std::string_view text) {
    event.text_bytes = static_cast<uint8_t>(copy_text(event.text, Event::kTextBytes, text));
  }

 private:
  Span<Event> memory_{};
  uint32_t head_ = 0;
  uint32_t count_ = 0;
  uint64_t lost_ = 0;
};

}  // namespace kshare

#endif  // KSHARE_CORE_EVENT_HPP
