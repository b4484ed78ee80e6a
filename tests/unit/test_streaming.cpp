// SPDX-License-Identifier: Apache-2.0
// No response is too large: a big cluster's metadata and a 4 MiB answer through a 1 KiB window.
#include <doctest/doctest.h>

#include <memory>
#include <set>
#include <string>

#include "../support/decoders.hpp"
#include "../support/world.hpp"

namespace test_streaming {

using decoders::Build;
using decoders::Message;
using kshare::Instant;
using world::Member;
using world::World;

namespace {

// The tables of kTinyLimits, and the machine that reads Metadata into them.
struct Bench {
  Bench() {
    const kshare::Memory memory = kshare::Memory::of(*storage);
    tables.shared.limits = memory.limits;
    tables.shared.events.attach(memory.events);
    tables.shared.random.seed(3);
    tables.lots.attach(memory.lots, memory.lists);
    tables.topology.attach(memory.topics, memory.topic_names, memory.brokers, memory.hosts,
                           memory.partitions, tables.lots);
  }
  // One answer through a 1 KiB window, `piece` octets at a time.
  bool read(const Message& answer, uint32_t piece) {
    uint8_t request[512];
    kshare::Writer out{request, sizeof request};
    discovery.encode(out, tables);
    const std::unique_ptr<uint8_t[]> window{new uint8_t[1024]};
    kshare::Reader in;
    in.attach(window.get(), 1024);
    in.begin_frame(decoders::size_of(answer));
    kshare::MetadataDecoder decoder;
    decoder.begin(13);
    discovery.begin_answer();
    uint32_t at = 0;
    while (!discovery.read(decoder, in, tables, now)) {
      if (in.malformed()) return false;
      const kshare::MutableBytes space = in.space();
      const uint32_t count = std::min({space.size, piece, decoders::size_of(answer) - at});
      if (count == 0) return false;
      std::memcpy(space.data, answer.data() + at, count);
      in.filled(count);
      at += count;
    }
    return at == decoders::size_of(answer);
  }
  std::string host_of(int32_t node) const {
    const uint32_t row = tables.topology.find_broker(node);
    return row == kshare::kNoRow ? "" : std::string(tables.topology.host(row));
  }

  std::unique_ptr<kshare::Storage<kshare::kTinyLimits>> storage =
      std::make_unique<kshare::Storage<kshare::kTinyLimits>>();
  kshare::Tables tables{};
  kshare::Discovery discovery{};
  Instant now{5000};
};

constexpr uint32_t kNodes = 500;
constexpr uint32_t kParts = 10000;

// Partition p is led by broker (7 p) mod 500, with epoch p mod 50.
Message large_cluster() {
  Build b;
  b.i32(0).array(kNodes);
  for (uint32_t node = 0; node < kNodes; ++node) {
    b.i32(node).text("broker-" + std::to_string(node) + ".cluster").i32(9000 + node);
    b.text("rack-" + std::to_string(node % 3)).tags();
  }
  b.text("a cluster").i32(0).array(2);
  for (uint8_t topic = 1; topic <= 2; ++topic) {
    b.i16(0).text(topic == 1 ? "other" : "large").uuid(topic).i8(0).array(kParts / 2);
    for (uint32_t p = 0; p < kParts / 2; ++p) {
      b.i16(0).i32(p).i32(7 * p % kNodes).i32(p % 50);
      b.array(3).i32(1).i32(2).i32(3).array(3).i32(1).i32(2).i32(3).array(0).tags();
    }
    b.i32(0).tags();
  }
  return b.i16(0).tags().message;
}

}  // namespace

TEST_CASE("10,000 partitions and 500 brokers through a 1 KiB window: our leaders are found") {
  const Message answer = large_cluster();
  CHECK(answer.size() > 400000);
  for (uint32_t piece : {1024u, 77u}) {
    Bench b;
    kshare::Topology& topology = b.tables.topology;
    REQUIRE(topology.subscribe("large"));
    kshare::Uuid id;
    std::memset(id.octets, 2, sizeof id.octets);
    topology.begin_assignment();
    const int32_t ours[] = {0, 1234, 4999, 4321};
    for (int32_t index : ours) REQUIRE(topology.assign(id, index));
    CHECK(topology.end_assignment());
    REQUIRE(b.read(answer, piece));
    for (int32_t index : ours) {
      const uint32_t row = topology.find_partition(id, index);
      REQUIRE(row != kshare::kNoRow);
      CHECK(topology.partition(row).leader == 7 * index % 500);
      CHECK(topology.partition(row).leader_epoch == index % 50);
    }
    // Brokers come before leaders in the answer: four rows hold whoever came first. Now that the
    // leaders are known they are wanted, and the next answer brings them.
    CHECK(topology.any_leader_unknown());
    CHECK(b.discovery.due_at() > b.now);
    CHECK(b.discovery.due_at() <= b.now + 120);
    REQUIRE(b.read(answer, piece));
    CHECK_FALSE(topology.any_leader_unknown());
    for (int32_t index : ours) {
      const int32_t leader = 7 * index % 500;
      CHECK(b.host_of(leader) == "broker-" + std::to_string(leader) + ".cluster");
      CHECK(topology.broker(topology.find_broker(leader)).port == 9000 + leader);
    }
    CHECK(b.discovery.due_at() == b.now + b.tables.shared.options.metadata_max_age_ms);
    CHECK(b.discovery.take_appeared());
  }
}

TEST_CASE("the coordinator's address survives metadata with more brokers than rows") {
  Bench b;
  kshare::Topology& topology = b.tables.topology;
  REQUIRE(topology.subscribe("large"));
  REQUIRE(topology.note_broker(250, "broker-250.cluster", 9250, true));
  topology.keep_broker(250);
  kshare::Uuid id;
  std::memset(id.octets, 2, sizeof id.octets);
  topology.begin_assignment();
  for (int32_t index : {1, 2, 3}) REQUIRE(topology.assign(id, index));
  static_cast<void>(topology.end_assignment());
  const Message answer = large_cluster();
  REQUIRE(b.read(answer, 1024));
  REQUIRE(b.read(answer, 1024));
  CHECK_FALSE(topology.any_leader_unknown());
  CHECK(b.host_of(250) == "broker-250.cluster");
  CHECK(b.host_of(7) == "broker-7.cluster");
  CHECK(b.host_of(14) == "broker-14.cluster");
  CHECK(b.host_of(21) == "broker-21.cluster");
}

TEST_CASE("a batch of more than 4 MiB passes through a 1 KiB window: small records are handed out, "
          "those larger than a slot are rejected by name") {
  World w;
  w.broker.add_topic("big", 1);
  std::vector<minibroker::Rec> batch(40);
  for (size_t i = 0; i < batch.size(); ++i) {
    batch[i].value = std::string(i % 10 == 3 ? 100 : 120000, static_cast<char>('a' + i % 26));
  }
  w.broker.append("big", 0, batch);
  std::vector<minibroker::Rec> behind(3);
  for (auto& rec : behind) rec.value = "behind";
  w.broker.append("big", 0, behind);
  uint64_t largest = 0;
  w.broker.on_response = [&](int api, std::string& frame) {
    if (api == minibroker::kShareFetch) largest = std::max<uint64_t>(largest, frame.size());
    return true;
  };
  Member<> m;  // kTinyLimits: windows of 1 KiB, slots of 2 KiB
  m.options.too_large = kshare::Unusable::reject;
  w.join(m);
  REQUIRE(m.start({"big"}).ok());
  uint64_t most = 0;
  uint64_t before = 0;
  CHECK(w.run_until([&] {
    const uint64_t received = m.consumer().stats().bytes_received;
    most = std::max(most, received - before);
    before = received;
    return w.broker.start_offset("group", "big", 0) == 43;
  }));
  CHECK(largest > 4u * 1024 * 1024);
  CHECK(most <= 2 * (kshare::kTinyLimits.work_bytes + kshare::kTinyLimits.receive_window_bytes));
  CHECK(m.seen.size() == 7);
  for (const auto& record : m.seen) {
    CHECK(record.count == 1);
    const bool small = record.offset < 40 && record.offset % 10 == 3;
    CHECK((small || record.offset >= 40));
    CHECK(record.value.size() == (small ? 100u : 6u));
  }
  CHECK(m.has_event(kshare::EventType::record_too_large));  // more of them than the ring holds
  CHECK(m.consumer().stats().rejected == 36);
  CHECK(w.broker.violations().empty());
  CHECK(w.close(m));
}

}  // namespace test_streaming
