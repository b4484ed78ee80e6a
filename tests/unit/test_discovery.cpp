// SPDX-License-Identifier: Apache-2.0
// core/discovery.hpp alone: when Metadata is asked for, and what an answer does to the topology.
#include <doctest/doctest.h>

#include "../support/decoders.hpp"
#include "../support/scenario.hpp"
#include "kshare/core/discovery.hpp"

namespace test_discovery {

using decoders::Build;
using decoders::Message;
using kshare::Discovery;
using kshare::Event;
using kshare::EventType;
using kshare::Instant;
using kshare::kNever;
using scenario::Desk;

namespace {

constexpr int16_t kOfTopic[] = {-1, 3, 5, 17, 29, 42, 100, 999};

struct Part {
  int32_t index, leader, epoch;
};
struct Topic {
  std::string name;
  uint8_t id = 0;
  int16_t error = 0;
  std::vector<Part> parts = {};
};

struct Office {
  Desk desk;
  Discovery discovery;
  int64_t now = 1000;
  std::vector<Event> events;

  Office() { REQUIRE(desk.tables.topology.subscribe("orders")); }
  kshare::Topology& topology() { return desk.tables.topology; }
  kshare::Shared& shared() { return desk.tables.shared; }
  int64_t due_in() const { return discovery.due_at().ms - now; }

  // The names asked for.
  std::vector<std::string> ask() {
    uint8_t bytes[512];
    kshare::Writer out{bytes, sizeof bytes};
    discovery.encode(out, desk.tables);
    REQUIRE(out.ok());
    discovery.begin_answer();
    minibroker::Reader in(bytes, out.size());
    std::vector<std::string> names;
    const int64_t topics = in.array(true);
    for (int64_t i = 0; i < topics; ++i) {
      in.uuid();
      names.push_back(in.nullable_string(true).value_or("null"));
      in.tags();
    }
    return names;
  }
  // Brokers 1 to `brokers`, and these topics.
  void answer(const std::vector<Topic>& topics, int32_t brokers = 3, int16_t error = 0) {
    Build b;
    b.i32(0).array(static_cast<uint32_t>(brokers));
    for (int32_t node = 1; node <= brokers; ++node) {
      b.i32(node).text("broker-" + std::to_string(node)).i32(9000 + node).null().tags();
    }
    b.text("cluster").i32(0).array(static_cast<uint32_t>(topics.size()));
    for (const Topic& topic : topics) {
      b.i16(topic.error).text(topic.name).uuid(topic.id).i8(0);
      b.array(static_cast<uint32_t>(topic.parts.size()));
      for (const Part& part : topic.parts) {
        b.i16(0).i32(part.index).i32(part.leader).i32(part.epoch);
        b.array(0).array(0).array(0).tags();
      }
      b.i32(0).tags();
    }
    const Message body = b.i16(error).tags().message;
    std::vector<uint8_t> window(4096);
    kshare::Reader in;
    in.attach(window.data(), 4096);
    REQUIRE(body.size() <= in.space().size);
    std::memcpy(in.space().data, body.data(), body.size());
    in.filled(decoders::size_of(body));
    in.begin_frame(decoders::size_of(body));
    kshare::MetadataDecoder decoder;
    decoder.begin(13);
    REQUIRE(discovery.read(decoder, in, desk.tables, Instant{now}));
    Event event;
    while (shared().events.pop(event)) events.push_back(event);
  }
  void ask_and(const std::vector<Topic>& topics, int32_t brokers = 3, int16_t error = 0) {
    static_cast<void>(ask());
    answer(topics, brokers, error);
  }
  int count(EventType type) const {
    int all = 0;
    for (const Event& event : events) all += event.type == type ? 1 : 0;
    return all;
  }
  kshare::PartitionRow& partition(int32_t index, uint8_t id = 7) {
    const uint32_t row = topology().find_partition(scenario::to_uuid(scenario::uuid_of(id)), index);
    REQUIRE(row != kshare::kNoRow);
    return topology().partition(row);
  }
};

}  // namespace

TEST_CASE("Metadata is asked for at once, for the subscribed topics, and once at a time") {
  Office o;
  REQUIRE(o.topology().subscribe("bills"));
  CHECK(o.discovery.due_at() <= Instant{o.now});
  CHECK_FALSE(o.discovery.has_answer());
  CHECK(o.ask() == std::vector<std::string>{"orders", "bills"});
  CHECK(o.discovery.due_at() == kNever);
  o.answer({{"orders", 7}, {"bills", 8}});
  CHECK(o.discovery.has_answer());
  CHECK(o.due_in() == o.shared().options.metadata_max_age_ms);
  o.discovery.refresh(Instant{o.now + 50});
  CHECK(o.due_in() == 50);
  o.discovery.refresh(Instant{o.now + 5000});  // later than it is wanted anyway
  CHECK(o.due_in() == 50);
}

TEST_CASE("an answer gives leaders to assigned partitions, and addresses to leaders") {
  Office o;
  o.topology().begin_assignment();
  const kshare::Uuid id = scenario::to_uuid(scenario::uuid_of(7));
  for (int32_t i = 0; i < 2; ++i) REQUIRE(o.topology().assign(id, i));
  static_cast<void>(o.topology().end_assignment());
  o.ask_and({{"strange", 9, 0, {{0, 1, 5}}}, {"orders", 7, 0, {{1, 3, 2}, {0, 2, 4}, {8, 1, 1}}}});
  CHECK(o.partition(0).leader == 2);
  CHECK(o.partition(0).leader_epoch == 4);
  CHECK(o.partition(1).leader == 3);
  const uint32_t row = o.topology().find_broker(3);
  REQUIRE(row != kshare::kNoRow);
  CHECK(o.topology().host(row) == "broker-3");
  CHECK(o.topology().broker(row).port == 9003);
  CHECK_FALSE(o.topology().any_leader_unknown());
  CHECK(o.due_in() == o.shared().options.metadata_max_age_ms);
  o.ask_and({{"orders", 7, 0, {{0, 1, 3}, {1, 1, 3}}}});  // older than what is known of one
  CHECK(o.partition(0).leader == 2);
  CHECK(o.partition(1).leader == 1);
}

TEST_CASE("a topic that appears, or comes back under a new id, is told to the member once") {
  Office o;
  o.ask_and({{"orders", 0, 3}});
  CHECK_FALSE(o.discovery.take_appeared());
  o.ask_and({{"orders", 7}});
  CHECK(o.discovery.take_appeared());
  CHECK_FALSE(o.discovery.take_appeared());
  o.ask_and({{"orders", 7}});
  CHECK_FALSE(o.discovery.take_appeared());
  o.ask_and({{"orders", 8}});
  CHECK(o.discovery.take_appeared());
}

TEST_CASE("a topic that is missing is told once, and asked for with growing back-off") {
  Office o;
  int64_t before = 0;
  for (int i = 0; i < 8; ++i) {
    o.ask_and({{"orders", 0, 3}});
    CHECK(o.due_in() >= 80);
    CHECK(o.due_in() <= 1200);
    if (i == 5) before = o.due_in();
    o.now += o.due_in();
  }
  CHECK(before >= 800);
  CHECK(o.count(EventType::topic_missing) == 1);
  o.ask_and({{"orders", 7}});
  CHECK(o.due_in() == o.shared().options.metadata_max_age_ms);
  o.ask_and({{"orders", 0, 3}});  // gone again: told again, and soon asked for again
  CHECK(o.count(EventType::topic_missing) == 2);
  CHECK(o.due_in() <= 120);
}

TEST_CASE("a topic that is being created is nothing to tell, only to ask for again") {
  Office o;
  o.ask_and({{"orders", 0, 5}});
  CHECK(o.events.empty());
  CHECK(o.due_in() <= 120);
}

TEST_CASE("a topic that is refused is told once, and asked for until it is granted") {
  Office o;
  for (int i = 0; i < 5; ++i) {
    o.ask_and({{"orders", 0, 29}});
    CHECK(o.due_in() <= 1200);
    o.now += o.due_in();
  }
  REQUIRE(o.count(EventType::topic_error) == 1);
  CHECK(o.events[0].status == kshare::Status{kshare::Errc::broker_error, 29});
  CHECK(o.events[0].words() == "orders");
  o.ask_and({{"orders", 7}});
  CHECK(o.discovery.take_appeared());
  CHECK(o.due_in() == o.shared().options.metadata_max_age_ms);
  o.ask_and({{"orders", 0, 29}});  // taken away again
  CHECK(o.count(EventType::topic_error) == 2);
}

TEST_CASE("errors of a topic, whichever they are: told once, and the others get their leaders") {
  for (const int16_t code : kOfTopic) {
    CAPTURE(code);
    Office o;
    REQUIRE(o.topology().subscribe("bills"));
    o.desk.assign(8, 1, -1);
    for (int i = 0; i < 4; ++i) {
      o.ask_and({{"orders", 0, code, {{0, 1, 5}}}, {"bills", 8, 0, {{0, 2, 1}}}});
      CHECK(o.partition(0, 8).leader == 2);
      CHECK(o.due_in() >= 80);  // asked for again, with back-off
      CHECK(o.due_in() <= 1200);
      o.now += o.due_in();
    }
    CHECK(o.events.size() == (code == 5 ? 0 : 1));  // 5: it is being created
    CHECK(o.count(code == 3 ? EventType::topic_missing : EventType::topic_error) ==
          (code == 5 ? 0 : 1));
    for (const Event& event : o.events) {
      CHECK(event.status == kshare::Status{kshare::Errc::broker_error, code});
      CHECK(event.words() == "orders");
    }
    CHECK_FALSE(o.shared().failed());
    o.ask_and({{"orders", 7}, {"bills", 8, 0, {{0, 2, 1}}}});
    CHECK(o.due_in() == o.shared().options.metadata_max_age_ms);
  }
}

TEST_CASE("a leader that nobody knows is asked for with back-off until it is known") {
  Office o;
  o.desk.assign(7, 1, -1);
  for (int i = 0; i < 6; ++i) {
    o.ask_and({{"orders", 7, 0, {{0, -1, i}}}});
    CHECK(o.due_in() <= 1200);
    o.now += o.due_in();
  }
  o.ask_and({{"orders", 7, 0, {{0, 44, 9}}}});  // a leader without an address is none
  CHECK(o.due_in() <= 1200);
  o.ask_and({{"orders", 7, 0, {{0, 2, 9}}}});
  CHECK(o.due_in() == o.shared().options.metadata_max_age_ms);
}

TEST_CASE("an answer in error, and one that never comes, are asked for again with back-off") {
  Office o;
  o.ask_and({}, 0, 56);
  CHECK_FALSE(o.discovery.has_answer());
  CHECK(o.due_in() >= 80);
  CHECK(o.due_in() <= 120);
  static_cast<void>(o.ask());
  o.discovery.lost(Instant{o.now}, o.shared());
  CHECK(o.due_in() >= 160);
  CHECK(o.due_in() <= 240);
}

TEST_CASE("more leaders than there is room for: told once, asked again after 30 s") {
  Office o;
  const auto brokers = static_cast<int32_t>(o.topology().broker_count());
  o.desk.assign(7, brokers + 2, -1);
  std::vector<Part> parts;
  for (int32_t i = 0; i < brokers + 2; ++i) parts.push_back({i, i + 1, 1});
  o.ask_and({{"orders", 7, 0, parts}}, brokers + 2);  // now it is known who leads
  o.ask_and({{"orders", 7, 0, parts}}, brokers + 2);
  o.ask_and({{"orders", 7, 0, parts}}, brokers + 2);
  REQUIRE(o.count(EventType::leaders_too_many) == 1);
  CHECK(o.due_in() == 30000);
  o.desk.assign(7, 1, 1);
  o.ask_and({{"orders", 7, 0, parts}}, brokers + 2);
  CHECK(o.due_in() == o.shared().options.metadata_max_age_ms);
}

TEST_CASE("Metadata wanted in vain for the trigger's time is overdue, once a trigger's time") {
  Office o;
  const int64_t trigger = o.shared().options.rebootstrap_trigger_ms;
  CHECK_FALSE(o.discovery.overdue(Instant{o.now}, o.shared()));
  CHECK_FALSE(o.discovery.overdue(Instant{o.now + trigger - 1}, o.shared()));
  CHECK(o.discovery.overdue(Instant{o.now + trigger}, o.shared()));
  CHECK_FALSE(o.discovery.overdue(Instant{o.now + trigger + 1}, o.shared()));
  o.now += 2 * trigger - 1;
  o.ask_and({{"orders", 7}});  // it has come: the time begins when it is wanted again
  CHECK_FALSE(o.discovery.overdue(Instant{o.now + 1}, o.shared()));
  const int64_t wanted = o.discovery.due_at().ms;
  CHECK_FALSE(o.discovery.overdue(Instant{wanted}, o.shared()));
  CHECK_FALSE(o.discovery.overdue(Instant{wanted + trigger - 1}, o.shared()));
  CHECK(o.discovery.overdue(Instant{wanted + trigger}, o.shared()));
}

}  // namespace test_discovery
