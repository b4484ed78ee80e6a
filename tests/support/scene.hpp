// SPDX-License-Identifier: Apache-2.0
// What:        what the whole-engine tests of records, acknowledgements and closing have in common:
//              records to append, a World with one member, a log of the acks that a broker saw.
// Flow:        support/world.hpp -> here -> tests/unit.
// Memory:      the tests' own.
// Valid until: a Scene must outlive what it is asked for.
// Errors:      check_*() report through doctest.
#ifndef KSHARE_TESTS_SCENE_HPP
#define KSHARE_TESTS_SCENE_HPP

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "invariants.hpp"
#include "world.hpp"

namespace world {

inline std::vector<minibroker::Rec> records(int count, size_t bytes = 20) {
  std::vector<minibroker::Rec> all;
  for (int i = 0; i < count; ++i) {
    minibroker::Rec rec;
    rec.value = std::to_string(i) + ":" + std::string(bytes, 'x');
    all.push_back(rec);
  }
  return all;
}

inline void check_clean(World& w) {
  for (const std::string& violation : w.broker.violations()) FAIL_CHECK(violation);
}

inline minibroker::Config locks_of(int64_t lock_ms) {
  minibroker::Config config;
  config.lock_ms = lock_ms;
  return config;
}

// One offset that the broker was asked to settle.
struct Settled {
  int request;  // counts the share requests that the broker has answered
  int partition;
  int64_t offset;
  int type;
  int16_t error;
  int node;  // that was asked
};

// Every record handed out has exactly one outcome, or is still with someone.
inline void check_sums(const kshare::ShareConsumer& consumer) {
  const kshare::Stats& s = consumer.stats();
  CHECK(s.records == s.acks_ok + s.acks_failed + s.acks_unknown + consumer.unsettled());
}

template <const kshare::Limits& L = kshare::kTinyLimits>
struct SceneOf {
  explicit SceneOf(minibroker::Config config = {}) : w(config) {
    w.broker.on_ack = [this](const minibroker::AckEvent& event) { note(event); };
    w.broker.on_response = [this](int api, std::string& frame) {
      if (api == minibroker::kShareFetch || api == minibroker::kShareAcknowledge) ++answers;
      return on_answer ? on_answer(api, frame) : true;
    };
    w.join(m);
  }

  World w;
  Member<L> m;
  std::vector<Settled> settled;
  int answers = 0;
  std::function<bool(int, std::string&)> on_answer;

  kshare::ShareConsumer& consumer() { return m.consumer(); }
  const kshare::Stats& stats() { return m.consumer().stats(); }
  kshare::Instant now() const { return kshare::Instant{w.now}; }

  // Explicit mode; nothing is acknowledged unless the test does it.
  void hold_all() {
    m.options.acknowledgement_mode = kshare::AckMode::explicit_mode;
    m.judge = [](const kshare::Record&, kshare::Ack&) { return false; };
  }
  // A topic "t" with records in every partition, one batch each; then the member starts.
  void start(int partitions, int per_partition, size_t bytes = 20) {
    w.broker.add_topic("t", partitions);
    for (int p = 0; p < partitions && per_partition > 0; ++p) {
      w.broker.append("t", p, records(per_partition, bytes));
    }
    REQUIRE(m.start({"t"}).ok());
  }
  // Work on each record takes `ms`, and nothing else happens in that time.
  void work_slowly(int64_t ms) {
    m.takes_max = 1;
    m.judge = [this, ms](const kshare::Record&, kshare::Ack& ack) {
      w.now += ms;
      ack = kshare::Ack::accept;
      return m.options.acknowledgement_mode == kshare::AckMode::explicit_mode;
    };
  }
  // The broker closes every connection.
  void hang_up() {
    for (auto& transport : m.pool.transports) w.broker.close_connection(transport.conn(), w.now);
  }
  void check_tables() {
    const char* const broken = invariants::broken_invariant(m.consumer().engine().tables());
    if (broken != nullptr) FAIL_CHECK(std::string(broken));
  }
  // More records, at this moment (the broker's clock stands where it was last asked).
  void append(int partition, int count, size_t bytes = 20) {
    w.broker.tick(w.now);
    w.broker.append("t", partition, records(count, bytes));
  }
  bool until_seen(size_t count, int64_t for_ms = 20000) {
    return w.run_until([&] { return m.seen.size() >= count; }, for_ms);
  }
  // Nothing is on its way any more, and nobody holds anything.
  bool until_settled(int64_t for_ms = 20000) {
    return w.run_until([&] { return m.consumer().unsettled() == 0; }, for_ms);
  }
  kshare::Status ack(size_t index, kshare::Ack type) {
    return m.consumer().acknowledge(m.ids.at(index), type);
  }
  void ack_all(kshare::Ack type = kshare::Ack::accept) {
    for (size_t i = 0; i < m.ids.size(); ++i) CHECK(ack(i, type).ok());
  }
  // How often an offset was settled in the broker's eyes.
  int times(int partition, int64_t offset) const {
    int count = 0;
    for (const Settled& s : settled) {
      count += s.partition == partition && s.offset == offset ? 1 : 0;
    }
    return count;
  }
  const Settled* last(int partition, int64_t offset) const {
    const Settled* found = nullptr;
    for (const Settled& s : settled) {
      if (s.partition == partition && s.offset == offset) found = &s;
    }
    return found;
  }
  minibroker::State state(int64_t offset, int partition = 0) const {
    return w.broker.state_of("group", "t", partition, offset).state;
  }

 private:
  int node_of(int conn) const {
    for (const int node : w.broker.node_ids()) {
      for (const int its : w.broker.connections(node)) {
        if (its == conn) return node;
      }
    }
    return -1;
  }
  void note(const minibroker::AckEvent& event) {
    const int node = node_of(event.conn);
    for (int64_t at = event.first; at <= event.last && at - event.first < 100000; ++at) {
      const bool one = event.types.size() == 1;
      const size_t index = one ? 0 : static_cast<size_t>(at - event.first);
      settled.push_back({answers, event.partition, at, event.types[index], event.error, node});
    }
  }
};

using Scene = SceneOf<>;

}  // namespace world

#endif  // KSHARE_TESTS_SCENE_HPP
