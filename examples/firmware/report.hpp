// SPDX-License-Identifier: Apache-2.0
// What:        what the log and systemd are told: events, and now and then a line with counters.
// Flow:        ShareConsumer's events and stats() -> lines.
// Memory:      a few numbers.
// Errors:      a network that is down for a night does not fill the log: between two lines with
//              counters kEventsMax events are told, the others are counted.
#ifndef GATEWAY_REPORT_HPP
#define GATEWAY_REPORT_HPP

#include "kshare/consumer.hpp"
#include "kshare/core/describe.hpp"
#include "log.hpp"
#include "supervisor.hpp"

namespace gateway {

class Reporter {
 public:
  void begin(int64_t interval_ms, kshare::Instant now) {
    interval_ms_ = interval_ms;
    due_ = now + interval_ms;
  }
  // True if the group has been joined since the last call.
  bool turn(kshare::ShareConsumer& consumer, Supervisor& supervisor, kshare::Instant now) {
    bool joined = false;
    kshare::Event event;
    while (consumer.next_event(event)) {
      joined = joined || event.type == kshare::EventType::joined;
      tell(event, supervisor);
    }
    if (now >= due_) {
      due_ = now + interval_ms_;
      counters(consumer, supervisor);
    }
    return joined;
  }
  int64_t wait_ms(kshare::Instant now) const { return due_ < now ? 0 : due_ - now; }

  void counters(const kshare::ShareConsumer& consumer, Supervisor& supervisor) {
    const kshare::Stats& stats = consumer.stats();
    char words[kshare::kLineBytes];
    kshare::TextOut out(words, sizeof words);
    const kshare::Status status = consumer.status();
    if (consumer.member_epoch() > 0) out << "in the group";
    else if (status.ok()) out << "not in the group";
    else out << "not in the group (" << status << ")";
    out << ", partitions " << int64_t{consumer.assignment_count()};
    out << ", records " << number(stats.records) << ", redelivered " << number(stats.redelivered);
    out << ", accepted " << number(stats.acks_ok - stats.released - stats.rejected);
    out << ", released " << number(stats.released) << ", rejected " << number(stats.rejected);
    out << ", acks lost " << number(stats.acks_failed + stats.acks_unknown);
    out << ", reconnects " << number(stats.reconnects);
    if (silent_ != 0) out << ", events not told " << silent_;
    told_ = silent_ = 0;
    Line(Level::info) << words;
    supervisor.status(words);
  }

 private:
  static constexpr int32_t kEventsMax = 20;

  static int64_t number(uint64_t value) { return static_cast<int64_t>(value); }

  static Level level(kshare::EventType type) {
    using kshare::EventType;
    const bool good = type == EventType::connected || type == EventType::coordinator_found ||
                      type == EventType::joined || type == EventType::assignment_changed;
    return type == EventType::failed ? Level::error : good ? Level::info : Level::warning;
  }
  void tell(const kshare::Event& event, Supervisor& supervisor) {
    const bool always = event.type == kshare::EventType::failed;
    if (told_ == kEventsMax && !always) {
      ++silent_;
      return;
    }
    if (!always) ++told_;
    char words[kshare::kLineBytes];
    kshare::format(event, words, sizeof words);
    Line(level(event.type)) << words;
    supervisor.status(words);
  }

  int64_t interval_ms_ = 0;
  kshare::Instant due_{};
  int32_t told_ = 0;
  int32_t silent_ = 0;
};

}  // namespace gateway

#endif  // GATEWAY_REPORT_HPP
