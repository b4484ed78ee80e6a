// SPDX-License-Identifier: Apache-2.0
// core/rota.hpp alone: which link serves which leader, who waits, and who makes room when.
#include <doctest/doctest.h>

#include "../support/scenario.hpp"
#include "../support/wire.hpp"
#include "kshare/core/rota.hpp"

namespace test_rota {

using kshare::EventType;
using kshare::Instant;
using kshare::kNever;
using kshare::Peer;
using kshare::Rota;
using scenario::Desk;

namespace {

constexpr int64_t kTurn = Rota::kTurnMs;
constexpr uint32_t kWindow = 512;

// Link 0 is the control link; the others are for leaders 1, 2, 3, ..., each of one partition.
struct Bench {
  Desk desk;
  kshare::Tables& t = desk.tables;
  std::vector<Peer> peers;
  std::vector<uint8_t> windows;
  Rota rota;
  Instant now{10000};

  Bench(uint32_t links, int32_t leaders)
      : peers(links + 1), windows(size_t{2} * kWindow * (links + 1)) {
    for (uint32_t i = 0; i <= links; ++i) {
      uint8_t* const at = windows.data() + size_t{2} * kWindow * i;
      peers[i].link.attach({at, kWindow}, {at + kWindow, kWindow}, i);
      peers[i].session.attach(i);
    }
    rota.attach({peers.data(), links + 1});
    lead(leaders);
  }
  void lead(int32_t leaders) {
    desk.assign(1, leaders, -1);
    for (int32_t i = 0; i < leaders; ++i) {
      partition(i).leader = i + 1;
      REQUIRE(t.topology.note_broker(i + 1, "host", 9000 + i, true));
    }
  }
  uint32_t row(int32_t index) const {
    return t.topology.find_partition(scenario::to_uuid(scenario::uuid_of(1)), index);
  }
  kshare::PartitionRow& partition(int32_t index) { return t.topology.partition(row(index)); }
  Instant assign() { return rota.assign(t, now); }
  void connect(uint32_t i) {
    kshare::Link& link = peers[i].link;
    link.closed();
    link.on_opening(now, 1000, t.shared);
    link.on_connected(now, t.shared);
    const wire::Message answer = wire::Wire::frame(++correlations[i], wire::Offer{}.body());
    REQUIRE(answer.size() <= link.space().size);
    std::memcpy(link.space().data, answer.data(), answer.size());
    link.received(static_cast<uint32_t>(answer.size()), now, t.shared);
    REQUIRE(link.in_answer());
    REQUIRE(link.negotiate(now, t.shared) == kshare::Link::Negotiation::ready);
  }
  void open_session(uint32_t i) {
    uint8_t bytes[512];
    kshare::Writer out{bytes, sizeof bytes};
    peers[i].session.encode_fetch(out, 2, t, peers[i].link.target(), {}, now);
    peers[i].session.succeeded(t);
  }
  int32_t served(uint32_t i) const {
    return peers[i].link.in_use() ? peers[i].link.target() : kshare::Link::kNoNode;
  }
  std::map<uint32_t, int32_t> correlations;
};

}  // namespace

TEST_CASE("several leaders leave ack slots to each other, until one is alone and nothing is out") {
  Bench b(2, 2);
  static_cast<void>(b.assign());
  const uint32_t part = b.t.acks.count() / 3;
  CHECK(b.t.ack_part == part);
  const uint32_t lot = b.desk.settled(b.row(0), 1, 0, 0, kshare::Ack::accept);
  b.partition(1).leader = -1;  // unknown for a moment
  static_cast<void>(b.assign());
  CHECK(b.served(2) == kshare::Link::kNoNode);
  CHECK(b.t.ack_part == part);
  b.t.lose_lot(lot, {});
  REQUIRE(b.t.acks.used() == 0);
  static_cast<void>(b.assign());
  CHECK(b.t.ack_part == 0);
}

TEST_CASE("each leader has a link of its own as far as there are links, the control link never") {
  Bench b(3, 3);
  CHECK(b.assign() == kNever);
  CHECK(b.served(0) == kshare::Link::kNoNode);
  for (uint32_t i = 1; i <= 3; ++i) CHECK(b.served(i) == static_cast<int32_t>(i));
  CHECK_FALSE(b.rota.crowded(b.now));
  b.now = b.now + 10 * kTurn;  // nobody waits: nobody makes room
  CHECK(b.assign() == kNever);
  for (uint32_t i = 1; i <= 3; ++i) CHECK_FALSE(b.peers[i].leaving);
}

TEST_CASE("no link for a partition without a leader, or with one whose address is unknown") {
  Bench b(3, 3);
  b.partition(0).leader = -1;
  b.partition(1).leader = 77;
  static_cast<void>(b.assign());
  CHECK(b.served(1) == 3);
  CHECK(b.served(2) == kshare::Link::kNoNode);
  b.partition(2).assigned = false;  // nor for one that is not ours
  static_cast<void>(b.assign());
  CHECK(b.served(1) == kshare::Link::kNoNode);
}

TEST_CASE("a leader that leads nothing of ours any more: its link is free at once if unconnected") {
  Bench b(2, 2);
  static_cast<void>(b.assign());
  const uint32_t lot = b.t.lots.add(b.row(0), 1, 10, 19);
  CHECK(lot != kshare::kNoLot);
  b.partition(0).leader = 2;
  static_cast<void>(b.assign());
  CHECK(b.served(1) == kshare::Link::kNoNode);
  CHECK(b.t.lots.free_count() == b.t.lots.count());  // nothing can be settled there any more
  CHECK(b.t.shared.stats.expired == 10);
}

TEST_CASE("a connected link stays until its session has ended and all is settled") {
  Bench b(2, 2);
  static_cast<void>(b.assign());
  b.connect(1);
  b.open_session(1);
  const uint32_t lot = b.t.lots.add(b.row(0), 1, 10, 10);
  b.partition(0).leader = 2;
  static_cast<void>(b.assign());
  CHECK(b.served(1) == 1);
  CHECK(b.peers[1].leaving);
  CHECK(b.peers[1].ending);  // what is to be done first
  b.peers[1].session.ended(b.t);
  static_cast<void>(b.assign());
  CHECK(b.served(1) == 1);  // not yet: a record of it is with the application
  b.t.lots[lot].cursor = 11;
  CHECK(b.t.lots.free_if_done(lot));
  static_cast<void>(b.assign());
  CHECK(b.served(1) == kshare::Link::kNoNode);
  CHECK_FALSE(b.peers[1].leaving);
}

TEST_CASE("a leader that is back before its link is free keeps it") {
  Bench b(2, 2);
  static_cast<void>(b.assign());
  b.connect(1);
  b.open_session(1);
  b.partition(0).leader = 2;
  static_cast<void>(b.assign());
  CHECK(b.peers[1].leaving);
  b.partition(0).leader = 1;
  static_cast<void>(b.assign());
  CHECK_FALSE(b.peers[1].leaving);
  CHECK_FALSE(b.peers[1].ending);
  CHECK(b.served(1) == 1);
}

TEST_CASE("more leaders than links: who has been served longest makes room, after a second") {
  Bench b(2, 3);
  CHECK(b.assign() == b.now + kTurn);
  CHECK(b.rota.crowded(b.now));
  for (uint32_t i = 1; i <= 2; ++i) {
    b.connect(i);
    b.open_session(i);
  }
  b.now = b.now + (kTurn - 1);
  CHECK(b.assign() == b.now + 1);
  CHECK_FALSE(b.peers[1].leaving);
  b.now = b.now + 1;
  static_cast<void>(b.assign());
  CHECK(b.peers[1].leaving);
  b.now = b.now + 1;
  static_cast<void>(b.assign());
  CHECK_FALSE(b.peers[2].leaving);  // one after the other
  b.peers[1].session.ended(b.t);
  static_cast<void>(b.assign());
  CHECK(b.served(1) == 3);
  CHECK_FALSE(b.peers[1].leaving);
  CHECK(b.peers[1].since == b.now);
}

TEST_CASE("more leaders than links: each has its turn before anyone has a second one") {
  for (uint32_t links = 1; links <= 3; ++links) {
    Bench b(links, 4);  // as many as the smallest table of brokers holds
    std::map<int32_t, int> turns;
    std::vector<int32_t> before(links + 1, kshare::Link::kNoNode);
    for (int step = 0; step < 400; ++step) {
      const Instant wake = b.assign();
      for (uint32_t i = 1; i <= links; ++i) {
        if (b.served(i) != before[i]) ++turns[b.served(i)];
        before[i] = b.served(i);
      }
      int least = INT32_MAX;
      int most = 0;
      for (int32_t node = 1; node <= 4; ++node) {
        least = std::min(least, turns[node]);
        most = std::max(most, turns[node]);
      }
      CHECK(most - least <= 1);
      REQUIRE(wake != kNever);  // somebody always waits
      b.now = later(wake, b.now + 1);
    }
    for (int32_t node = 1; node <= 4; ++node) CHECK(turns[node] > 20);
  }
}

}  // namespace test_rota
