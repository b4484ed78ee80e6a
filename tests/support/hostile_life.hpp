// SPDX-License-Identifier: Apache-2.0
// What:        a whole consumer's life among hostile peers, decided by octets.
// Flow:        play(octets) -> hostile.hpp's peers <-> ShareConsumer -> invariants.hpp.
// Memory:      the tests' own.
// Valid until: a play() ends with what it began.
// Errors:      play() answers what went wrong, null if nothing did.
#ifndef KSHARE_TESTS_HOSTILE_LIFE_HPP
#define KSHARE_TESTS_HOSTILE_LIFE_HPP

#include <memory>
#include <vector>

#include "hostile.hpp"
#include "invariants.hpp"
#include "kshare/core/describe.hpp"

namespace hostile {

inline constexpr kshare::Limits kLimits = [] {
  kshare::Limits limits = kshare::kTinyLimits;
  limits.links_max = 3;
  limits.store_slots = 3;
  limits.store_bytes = 6144;
  limits.lots_max = 6;
  limits.records_max = 20;
  limits.partitions_max = 7;
  return limits;
}();

// A life with such peers.
class Life {
 public:
  Life(const uint8_t* data, size_t size) : in_(data, size), pool_(in_) {}

  const char* play() {
    kshare::Options options;
    options.bootstrap_servers = "h:1";
    options.group_id = "g";
    const uint8_t mode = in_.octet();
    options.acknowledgement_mode =
        (mode & 1) != 0 ? kshare::AckMode::explicit_mode : kshare::AckMode::implicit_mode;
    options.too_large = (mode & 2) != 0 ? kshare::Unusable::reject : kshare::Unusable::release;
    options.check_crcs = (mode & 4) == 0;
    options.max_poll_records = 1 + (mode >> 4);
    if (!consumer_.start(options).ok() || !consumer_.subscribe({"a", "b"}).ok()) return "start";
    for (uint32_t turn = 0; turn < 600 && !in_.empty() && consumer_.engine().running(); ++turn) {
      if (const char* broken = step()) return broken;
    }
    return end();
  }

 private:
  kshare::Instant now() const { return kshare::Instant{now_}; }
  // Polls until the consumer wants to wait: that is soon, whatever it was told.
  const char* poll() {
    consumer_.wake();
    uint32_t polls = 0;
    while (consumer_.poll(now()) && consumer_.deadline() <= now()) {
      if (++polls > 400) return "it spins";
    }
    kshare::Event event;
    char line[kshare::kLineBytes];
    while (consumer_.next_event(event)) sum_ += kshare::format(event, line, sizeof line);
    return invariants::broken_invariant(consumer_.engine().tables());
  }
  const char* step() {
    const uint8_t op = in_.octet();
    static constexpr int64_t kPauses[] = {0, 1, 20, 150, 1100, 7000, 31000, 0};
    now_ += kPauses[op & 7];
    if (const char* broken = poll()) return broken;
    for (uint32_t i = (op >> 3) & 7u; i != 0; --i) take();
    if ((op & 0xC0) == 0xC0) act();
    return invariants::broken_invariant(consumer_.engine().tables());
  }
  void take() {
    kshare::Record record;
    if (!consumer_.next(record, now())) return;
    for (uint8_t octet : record.key) sum_ += octet;
    for (uint8_t octet : record.value) sum_ += octet;
    for (const kshare::Header& header : record.headers) {
      sum_ += header.key.size() + header.value.size;
    }
    sum_ += record.topic.size() + static_cast<uint64_t>(record.timestamp);
    ids_.push_back(record.id);
  }
  void act() {
    const uint8_t op = in_.octet();
    if (op == 0xFF) {
      static_cast<void>(consumer_.subscribe({"b", "c"}));
    } else if (op == 0xFE) {
      static_cast<void>(consumer_.unsubscribe());
    } else if (op == 0xFD) {
      static_cast<void>(consumer_.subscribe({"a", "b"}));
    } else if (op >= 0xF0) {
      pool_.peers[op % kLimits.links_max].hang_up();
    } else if (!ids_.empty()) {
      const kshare::RecordId id = ids_[op % ids_.size()];
      static_cast<void>(consumer_.acknowledge(id, static_cast<kshare::Ack>(1 + in_.below(3))));
    }
  }
  const char* end() {
    const int64_t begin = now_;
    static_cast<void>(consumer_.close(now(), 2000));
    while (consumer_.poll(now())) {
      if (const char* broken = poll()) return broken;
      if (++now_ > begin + 2010) return "close() has no end";
    }
    const uint64_t requests = consumer_.stats().requests;
    const auto seconds = static_cast<uint64_t>(now_ / 1000) + 1;
    if (requests > 3000 + 400 * seconds) return "too many requests";
    if (consumer_.engine().tables().lots.free_count() < kLimits.lots_max) return "a lot is left";
    return nullptr;
  }

  Input in_;
  Pool pool_;
  std::unique_ptr<kshare::Storage<kLimits>> storage_ = std::make_unique<kshare::Storage<kLimits>>();
  kshare::ShareConsumer consumer_{*storage_, pool_};
  int64_t now_ = 1000;
  uint64_t sum_ = 0;
  std::vector<kshare::RecordId> ids_;
};

inline const char* play(const uint8_t* data, size_t size) { return Life{data, size}.play(); }

}  // namespace hostile

#endif  // KSHARE_TESTS_HOSTILE_LIFE_HPP
