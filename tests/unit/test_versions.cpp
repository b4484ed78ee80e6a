// SPDX-License-Identifier: Apache-2.0
// The whole consumer with brokers of different ages: which versions it speaks, what it says to
// those that cannot serve it.
#include <doctest/doctest.h>

#include <set>

#include "../support/scenario.hpp"

namespace test_versions {

using kshare::Errc;
using minibroker::Config;
using world::Member;
using world::World;

namespace {

// The (API, version) pairs that a member sends.
struct Spoken {
  explicit Spoken(world::AnyMember& m) {
    for (world::PipeTransport& transport : m.pool.transports) {
      transport.on_write = [this](kshare::Bytes frame) {
        minibroker::Reader in(frame.data, frame.size);
        in.i32();
        const minibroker::RequestHeader h = minibroker::decode_header(in);
        if (in.ok()) all.insert({h.key, h.version});
      };
    }
  }
  std::set<int> of(int16_t key) const {
    std::set<int> versions;
    for (const auto& one : all) {
      if (one.first == key) versions.insert(one.second);
    }
    return versions;
  }
  std::set<std::pair<int16_t, int16_t>> all;
};

Config before_4_4() {
  Config config;
  config.max_api_versions_version = 4;
  return config;
}

// Twelve records in two partitions, accepted; nothing that a broker could complain about.
void check_served(World& w, Member<>& m) {
  w.broker.add_topic("t", 2);
  scenario::fill(w, "t", 0, 2, 3);
  scenario::fill(w, "t", 1, 1, 6);
  w.join(m);
  REQUIRE(m.start({"t"}).ok());
  CHECK(w.run_until([&] { return m.consumer().stats().acks_ok == 12; }));
  CHECK(m.seen.size() == 12);
  CHECK(w.close(m));
  CHECK(m.consumer().status().ok());
  for (const std::string& violation : w.broker.violations()) FAIL_CHECK(violation);
}

// A broker that cannot be used: the consumer ends by itself, and has asked for nothing more.
void check_refused(World& w, Member<>& m, Errc why, const char* word) {
  w.broker.add_topic("t", 1);
  w.join(m);
  REQUIRE(m.start({"t"}).ok());
  CHECK(w.run_until([&] { return !m.alive; }, 5000));
  CHECK(m.consumer().status().code == why);
  CHECK(m.event_count(kshare::EventType::failed) == 1);
  const std::string words(m.consumer().last_error());
  CHECK(words.find(word) != std::string::npos);
  CHECK(w.broker.requests(minibroker::kShareFetch) == 0);
}

}  // namespace

TEST_CASE("Kafka 4.1, 4.2 and 4.4: each is served in the newest versions that it has") {
  struct Case {
    Config config;
    int hello, share;
  };
  for (const Case& one : {Case{minibroker::kafka_4_1(), 4, 1}, Case{before_4_4(), 4, 2},
                          Case{Config{}, 5, 2}}) {
    CAPTURE(one.hello);
    CAPTURE(one.share);
    World w(one.config);
    Member<> m;
    const Spoken spoken(m);
    check_served(w, m);
    CHECK(spoken.of(minibroker::kShareFetch) == std::set<int>{one.share});
    CHECK(spoken.of(minibroker::kShareAcknowledge) == std::set<int>{one.share});
    CHECK(spoken.of(minibroker::kMetadata) == std::set<int>{13});
    CHECK(spoken.of(minibroker::kFindCoordinator) == std::set<int>{6});
    std::set<int> hello{5};
    hello.insert(one.hello);
    CHECK(spoken.of(minibroker::kApiVersions) == hello);
    // Two connections; only the first has to be refused.
    CHECK(w.broker.requests(minibroker::kApiVersions) == (one.hello == 5 ? 2 : 3));
  }
}

TEST_CASE("brokers with older versions of the common APIs are served in those") {
  for (int hello : {0, 2, 3}) {
    Config config;
    config.max_api_versions_version = hello;
    config.max_metadata_version = 12;
    config.max_find_coordinator_version = 4 + hello / 2;
    World w(config);
    Member<> m;
    const Spoken spoken(m);
    check_served(w, m);
    CHECK(spoken.of(minibroker::kApiVersions) == std::set<int>{hello == 3 ? 3 : 0, 5});
    CHECK(spoken.of(minibroker::kMetadata) == std::set<int>{12});
    CHECK(spoken.of(minibroker::kFindCoordinator) == std::set<int>{4 + hello / 2});
  }
}

TEST_CASE("share groups that are switched off are told at the first answer") {
  for (int level : {0, -1}) {
    for (int hello : {3, 4, 5}) {
      Config config;
      config.share_version = level;
      config.max_api_versions_version = hello;
      World w(config);
      Member<> m;
      check_refused(w, m, Errc::share_groups_off, "share.version");
      CHECK(w.broker.requests(minibroker::kShareGroupHeartbeat) == 0);
      CHECK(w.broker.violations().empty());
    }
  }
}

TEST_CASE("without a list of features the refusal comes with the first heartbeat") {
  Config config;
  config.share_version = 0;
  config.max_api_versions_version = 2;
  World w(config);
  Member<> m;
  check_refused(w, m, Errc::share_groups_off, "share.version");
  CHECK(w.broker.requests(minibroker::kShareGroupHeartbeat) == 1);
}

TEST_CASE("record_limit needs Kafka 4.2") {
  Member<> m;
  m.options.acquire_mode = kshare::AcquireMode::record_limit;
  World old(minibroker::kafka_4_1());
  check_refused(old, m, Errc::unsupported_broker, "4.2");
  Member<> other;
  other.options.acquire_mode = kshare::AcquireMode::record_limit;
  World w(before_4_4());
  check_served(w, other);
}

TEST_CASE("share.version 2, of Kafka 4.4, is served as 1 is") {
  Config config;
  config.share_version = 2;
  World w(config);
  Member<> m;
  check_served(w, m);
}

}  // namespace test_versions
