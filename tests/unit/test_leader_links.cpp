// SPDX-License-Identifier: Apache-2.0
// core/leaders.hpp with one link and a broker made by hand: what leaves next when something is
// short, when an answer must not be followed at once, when a renewal has failed.
#include <doctest/doctest.h>

#include <optional>

#include "../support/scenario.hpp"
#include "../support/wire.hpp"
#include "kshare/core/leaders.hpp"

namespace test_leader_links {
namespace {

using kshare::Ack;
using kshare::EventType;
using kshare::Instant;
using kshare::Lot;
using minibroker::Writer;

constexpr int32_t kNode = 4;
constexpr uint32_t kLink = 1;
constexpr int32_t kLockMs = 30000;

struct Sent {
  int16_t key = 0;
  minibroker::ShareRequest request{};  // of a ShareFetch or ShareAcknowledge
};

// Link 1 to broker 4, which leads all partitions; the clock is the test's.
struct Bench {
  scenario::Desk desk;
  kshare::Tables& t = desk.tables;
  kshare::Peer& peer = desk.memory.peers[kLink];
  kshare::Leaders leaders;
  Instant now{1000};
  std::vector<uint8_t> sending;
  int32_t correlation = 0;
  int version = 2;

  explicit Bench(int32_t partitions = 1, uint32_t send_bytes = 512, int its_version = 2)
      : sending(send_bytes), version(its_version) {
    desk.assign(1, partitions, kNode);
    REQUIRE(t.topology.note_broker(kNode, "host", 9092, true));
    t.lock_ms = kLockMs;
    const uint32_t window = desk.memory.limits->receive_window_bytes;
    peer.link.attach({desk.memory.receive_windows + window, window},
                     {sending.data(), send_bytes}, kLink);
    leaders.attach(desk.memory.peers);
    step();
    connect();
  }
  void connect() {
    peer.link.on_opening(now, 1000, t.shared);
    peer.link.on_connected(now, t.shared);
    peer.link.sent(peer.link.unsent().size, t.shared);
    wire::Offer offer;
    offer.set(minibroker::kShareFetch, 1, version).set(minibroker::kShareAcknowledge, 1, version);
    receive(wire::Wire::frame(++correlation, offer.body()));
    REQUIRE(peer.link.in_answer());
    REQUIRE(peer.link.negotiate(now, t.shared) == kshare::Link::Negotiation::ready);
  }
  Instant step() { return leaders.step(t, now); }
  // The request that has left since this was last called.
  std::optional<Sent> sent() {
    const kshare::Bytes bytes = peer.link.unsent();
    if (bytes.size == 0) return {};
    minibroker::Reader in(bytes.data, bytes.size);
    in.i32();
    const minibroker::RequestHeader head = minibroker::decode_header(in);
    in.tags();
    Sent its;
    its.key = head.key;
    if (head.key == minibroker::kShareFetch) {
      its.request = minibroker::decode_share_fetch(in, head.version);
    } else if (head.key == minibroker::kShareAcknowledge) {
      its.request = minibroker::decode_share_acknowledge(in, head.version);
    }
    peer.link.sent(bytes.size, t.shared);
    ++correlation;
    return its;
  }
  std::optional<Sent> next() {
    step();
    return sent();
  }
  // Nothing has come of a ShareFetch.
  void answer_fetch(int16_t error = 0) {
    answer(Writer().i32(0).i16(error).null().i32(kLockMs).array(0));
  }
  // The same error for all partitions that the request has named.
  void answer_acks(const Sent& sent, int16_t error, int16_t top_level = 0) {
    Writer w;
    w.i32(0).i16(top_level).null();
    if (version >= 2) w.i32(kLockMs);
    w.array(1).uuid(scenario::uuid_of(1)).array(sent.request.parts.size());
    for (const auto& part : sent.request.parts) {
      w.i32(part.tp.second).i16(error).null().i32(-1).i32(-1).tags().tags();
    }
    answer(w.tags());
  }
  void open() {
    const auto first = next();
    REQUIRE(first.has_value());
    CHECK(first->request.epoch == 0);
    now = now + 500;
    answer_fetch();
  }
  uint32_t row(int32_t index) const {
    return t.topology.find_partition(scenario::to_uuid(scenario::uuid_of(1)), index);
  }
  // Ten offsets that wait for the application; their lock has run for half its time.
  uint32_t lot_to_renew(int32_t index) {
    const uint32_t its = t.lots.add(row(index), kLink, 100, 109);
    t.lots[its].walked = 110;
    t.lots[its].lock_min = t.lots[its].lock_max = now + kLockMs / 2;
    t.lots[its].renew = t.renewing = true;
    return its;
  }
  bool told(EventType type) {
    kshare::Event event;
    while (t.shared.events.pop(event)) {
      if (event.type == type) return true;
    }
    return false;
  }

 private:
  void receive(const std::vector<uint8_t>& bytes) {
    const kshare::MutableBytes space = peer.link.space();
    REQUIRE(bytes.size() <= space.size);
    std::memcpy(space.data, bytes.data(), bytes.size());
    peer.link.received(static_cast<uint32_t>(bytes.size()), now, t.shared);
  }
  void answer(Writer& w) {
    const std::string body = w.array(0).tags().out;
    const std::string frame = minibroker::framed(Writer().i32(correlation).tags().raw(body).out);
    receive({frame.begin(), frame.end()});
    REQUIRE(peer.link.in_answer());
    static_cast<void>(leaders.read(kLink, t, now));
    REQUIRE_FALSE(peer.link.busy());
  }
};

}  // namespace

TEST_CASE("empty answers to long polls that come at once: a few are followed, then it waits") {
  Bench b;
  b.open();
  int at_once = 0;
  for (; b.next().has_value(); ++at_once) {
    REQUIRE(at_once < 20);
    b.answer_fetch();
  }
  CHECK(at_once > 4);  // a broker may skip aborted data now and then
  int64_t longest = 0;
  for (int round = 0; round < 300; ++round) {
    const Instant wake = b.step();
    REQUIRE_FALSE(b.sent().has_value());
    REQUIRE(wake > b.now);
    longest = std::max(longest, wake - b.now);
    b.now = wake;
    REQUIRE(b.next().has_value());
    b.answer_fetch();
  }
  CHECK(longest > 500);
  CHECK(longest <= b.t.shared.options.retry_backoff_max_ms * 6 / 5);  // jitter
  b.now = b.step();
  REQUIRE(b.next().has_value());
  b.now = b.now + 500;  // it has waited as it was asked to
  b.answer_fetch();
  CHECK(b.next().has_value());
}

TEST_CASE("no session is opened without a store slot; as soon as there is one it is") {
  Bench b;
  std::vector<uint32_t> slots;
  while (b.t.store.free_count() != 0) slots.push_back(b.t.store.reserve(2));
  for (int i = 0; i < 3; ++i) CHECK_FALSE(b.next().has_value());
  CHECK(b.t.slot_starved);  // whoever has one is asked to hurry
  b.t.store.drop_reservation(slots.front());
  const auto first = b.next();
  REQUIRE(first.has_value());
  CHECK(first->request.epoch == 0);
  CHECK(first->request.max_records > 0);
}

TEST_CASE("renewals that find no room in a request go with the next, each of them once") {
  constexpr int32_t kPartitions = 10;
  Bench b(kPartitions, 256);
  b.open();
  for (int32_t i = 0; i < kPartitions; ++i) b.lot_to_renew(i);
  std::map<int32_t, int> renewed;
  int requests = 0;
  for (int i = 0; i < 40 && renewed.size() < kPartitions; ++i) {
    const auto its = b.next();
    REQUIRE(its.has_value());
    CHECK(b.t.acks.renewals() == 0);  // what was left out has no slot meanwhile
    b.now = b.now + 100;
    if (!its->request.renew) {
      b.answer_fetch();
      continue;
    }
    ++requests;
    for (const auto& part : its->request.parts) ++renewed[part.tp.second];
    CHECK(b.t.acks.used() == its->request.parts.size());
    b.answer_acks(*its, 0);
  }
  CHECK(requests > 1);
  CHECK(renewed.size() == kPartitions);
  for (const auto& one : renewed) CHECK(one.second == 1);
  CHECK(b.t.shared.stats.renewed == 10 * kPartitions);
  CHECK(b.t.acks.used() == 0);
}

TEST_CASE("a renewal that may be tried again is, after a back-off, and nobody is told") {
  for (const int16_t error : {int16_t{7}, int16_t{14}, int16_t{15}, int16_t{16}}) {
    CAPTURE(error);
    Bench b;
    b.open();
    const uint32_t lot = b.lot_to_renew(0);
    const auto first = b.next();
    REQUIRE(first.has_value());
    REQUIRE(first->request.renew);
    b.answer_acks(*first, error);
    CHECK(bool{b.t.lots[lot].renew});
    const Instant wake = b.step();
    CHECK_FALSE(b.sent().has_value());
    CHECK(wake > b.now);
    b.now = wake;
    auto again = b.next();
    if (again.has_value() && !again->request.renew) {  // others are not kept waiting by it
      b.answer_fetch();
      again = b.next();
    }
    REQUIRE(again.has_value());
    CHECK(again->request.renew);
    b.answer_acks(*again, 0);
    CHECK(b.t.lots[lot].lock_min == b.now + kLockMs);
    CHECK_FALSE(b.told(EventType::renew_failed));
    CHECK(b.t.shared.stats.renewed == 10);
  }
}

TEST_CASE("the session is lost under a renewal: it goes with the next session, not with epoch 0") {
  for (const int16_t error : {int16_t{122}, int16_t{123}, int16_t{133}}) {
    CAPTURE(error);
    Bench b;
    b.open();
    const uint32_t lot = b.lot_to_renew(0);
    const auto first = b.next();
    REQUIRE(first.has_value());
    b.answer_acks(*first, 0, error);
    CHECK(b.told(EventType::session_reset));
    b.now = b.step();
    const auto opening = b.next();
    REQUIRE(opening.has_value());
    CHECK(opening->request.epoch == 0);
    CHECK(opening->request.max_records == 0);  // it could acquire the very same offsets
    CHECK_FALSE(opening->request.any_acks());
    b.answer_fetch();
    auto again = b.next();
    REQUIRE(again.has_value());
    if (!again->request.renew) {
      b.answer_fetch();
      again = b.next();
      REQUIRE(again.has_value());
    }
    CHECK(again->request.renew);
    CHECK(again->request.epoch >= 1);
    b.answer_acks(*again, 0);
    CHECK(b.t.lots[lot].lock_min == b.now + kLockMs);
    CHECK_FALSE(b.told(EventType::renew_failed));
  }
}

TEST_CASE("a renewal that is refused is told once and not asked for again") {
  Bench b;
  b.open();
  const uint32_t lot = b.lot_to_renew(0);
  const Instant end = b.t.lots[lot].lock_min;
  const auto first = b.next();
  REQUIRE(first.has_value());
  b.answer_acks(*first, 121);
  CHECK(b.told(EventType::renew_failed));
  CHECK(b.t.shared.stats.renew_failed == 10);
  CHECK(b.t.lots[lot].lock_min == end);
  for (int i = 0; i < 5; ++i) {
    const auto its = b.next();
    REQUIRE(its.has_value());
    CHECK_FALSE(its->request.renew);
    b.now = b.now + 100;
    b.answer_fetch();
  }
  CHECK_FALSE(b.told(EventType::renew_failed));
}

TEST_CASE("what was to be renewed is not, when the link now leads to a broker of Kafka 4.1") {
  Bench b(1, 512, 1);
  b.open();
  b.lot_to_renew(0);
  for (int i = 0; i < 5; ++i) {
    const auto its = b.next();
    REQUIRE(its.has_value());
    CHECK(its->key == minibroker::kShareFetch);
    b.now = b.now + 100;
    b.answer_fetch();
  }
  CHECK(b.t.acks.used() == 0);
}

TEST_CASE("bytes are not read again before there is an ack slot for what they bring") {
  Bench b;
  b.t.acks.attach({b.desk.memory.acks.data, 1}, b.desk.memory.commits, b.t.lots, b.t.store);
  b.open();
  const uint32_t lot = b.t.lots.add(b.row(0), kLink, 100, 109);
  b.t.lots[lot].lock_min = b.t.lots[lot].lock_max = b.now + kLockMs;
  const kshare::RecordId held = [&] {
    const uint32_t other = b.t.lots.add(b.row(0), kLink, 50, 50);
    b.t.lots[other].cursor = b.t.lots[other].walked = 51;
    b.t.lots[other].lock_min = b.t.lots[other].lock_max = b.now + kLockMs;
    return b.t.acks.hand_out(other, 50);
  }();
  for (int i = 0; i < 3; ++i) CHECK_FALSE(b.next().has_value());
  bool freed = false;
  CHECK(b.t.acks.acknowledge(held, Ack::accept, freed).ok());
  b.now = b.now + 50;
  const auto acks = b.next();
  REQUIRE(acks.has_value());
  CHECK(acks->key == minibroker::kShareAcknowledge);
  b.answer_acks(*acks, 0);
  const auto fetch = b.next();
  REQUIRE(fetch.has_value());
  CHECK(fetch->key == 1);
}

}  // namespace test_leader_links
