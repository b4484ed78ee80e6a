// SPDX-License-Identifier: Apache-2.0
// core/locks.hpp: which locks are renewed, given back or lost, and when; with tables and a peer
// made by hand, and a clock that jumps to where Locks wants to look next.
#include <doctest/doctest.h>

#include "../support/invariants.hpp"
#include "../support/scenario.hpp"
#include "../support/wire.hpp"

namespace test_locks {
namespace {

using kshare::Ack;
using kshare::AckState;
using kshare::Event;
using kshare::EventType;
using kshare::Instant;
using kshare::kNever;
using kshare::Locks;
using kshare::Lot;
using kshare::Peer;

constexpr uint32_t kLink = 1;
constexpr int32_t kLockMs = 10000;
constexpr int32_t kMarginMs = 100;
constexpr Instant kBegin{1000};
constexpr Instant kHalf{6000};
constexpr Instant kLate{10900};
constexpr Instant kMin{11000};
constexpr Instant kMax{11200};

// What an application does: it asks for records every so often, until it stops.
struct Habit {
  int64_t every_ms = 500;
  Instant until = kNever;
};

struct Bench {
  scenario::Desk desk;
  kshare::Tables& t = desk.tables;
  Peer& peer = desk.memory.peers[kLink];
  Locks locks;
  Instant now = kBegin;
  Instant ask_at = kBegin;
  Habit habit;
  uint32_t row = 0;
  uint32_t looks = 0;
  bool closing = false;

  explicit Bench(int version = 2) {
    desk.assign(1, 1, 4);
    row = t.topology.find_partition(scenario::to_uuid(scenario::uuid_of(1)), 0);
    t.lock_ms = kLockMs;
    t.shared.options.lock_margin_ms = kMarginMs;
    desk.memory.peers[0].session.attach(0);
    peer.session.attach(kLink);
    connect(version);
    open_session();
    locks.attach(desk.memory.peers);
  }
  void connect(int version) {
    const uint32_t window = desk.memory.limits->receive_window_bytes;
    const uint32_t sending = desk.memory.limits->send_window_bytes;
    kshare::Link& link = kshare::make_anew(peer.link);
    link.attach({desk.memory.receive_windows + window, window},
                {desk.memory.send_windows + sending, sending});
    link.set_target(4, now, t.shared);
    link.on_opening(now, 1000, t.shared);
    link.on_connected(now, t.shared);
    wire::Offer offer;
    offer.set(78, 1, version).set(79, 1, version);
    const wire::Message answer = wire::Wire::frame(1, offer.body());
    REQUIRE(answer.size() <= link.space().size);
    std::memcpy(link.space().data, answer.data(), answer.size());
    link.received(static_cast<uint32_t>(answer.size()), now, t.shared);
    REQUIRE(link.in_answer());
    REQUIRE(link.negotiate(now, t.shared) == kshare::Link::Negotiation::ready);
    REQUIRE(link.can_renew() == (version >= 2));
  }
  void open_session() {
    uint8_t bytes[512];
    kshare::Writer out{bytes, sizeof bytes};
    peer.session.encode_fetch(out, 2, t, 4, {}, now);
    peer.session.succeeded(t);
  }

  // A lot of ten offsets, none of them handed out, as it comes with an answer now.
  uint32_t acquire() {
    const uint32_t index = t.lots.add(row, kLink, 10, 19);
    t.lots[index].lock_min = now + kLockMs;
    t.lots[index].lock_max = now + (kLockMs + 200);
    locks.plan(t, now);
    return index;
  }
  // All of it goes to the application.
  std::vector<kshare::RecordId> hand_out(uint32_t index) {
    std::vector<kshare::RecordId> ids;
    Lot& lot = t.lots[index];
    const uint32_t slot = t.store.reserve(kLink);
    lot.walked = lot.last + 1;
    t.lots.enter_slot(t.store, index, slot);
    t.store.publish(slot);
    while (lot.cursor <= lot.last) ids.push_back(t.acks.hand_out(index, lot.cursor++));
    t.lots.leave_slot(t.store, index);
    locks.plan(t, now);
    return ids;
  }
  Lot& lot() { return t.lots[0]; }

  // As the engine does it: at each moment that Locks or the application has named, no later.
  void turn() {
    locks.on_poll(now);
    if (now < locks.due_at()) return;
    ++looks;
    locks.expire(t, closing, now);
    if (locks.due_at() <= now) FAIL_CHECK("looks again at once, at " << now.ms);
    const char* broken = invariants::broken_invariant(t);
    if (broken != nullptr) FAIL_CHECK(std::string(broken) << " at " << now.ms);
    for (uint32_t i = 0; i < t.lots.count(); ++i) {
      if (t.lots[i].used && locks.due_at() == kNever) FAIL_CHECK("sleeps for ever at " << now.ms);
    }
  }
  template <typename Done>
  bool run_until(Instant end, const Done& done) {
    for (; now <= end; now = earlier(locks.due_at(), ask_at)) {
      turn();
      if (now >= ask_at) {
        ask_at = now + habit.every_ms;
        if (now < habit.until) static_cast<void>(locks.on_asked(t));
      }
      if (done()) return true;
    }
    now = end;
    return false;
  }
  void run_to(Instant end) {
    static_cast<void>(run_until(end, [] { return false; }));
  }
  uint32_t told(EventType type) {
    uint32_t count = 0;
    Event event;
    while (t.shared.events.pop(event)) count += event.type == type ? 1u : 0u;
    return count;
  }
};

}  // namespace

TEST_CASE("the times of this test are those of a lot acquired at its beginning") {
  Bench b;
  static_cast<void>(b.acquire());
  CHECK(b.lot().lock_min == kMin);
  CHECK(b.lot().lock_max == kMax);
  CHECK(b.locks.due_at() == kHalf);
}

TEST_CASE("while records are taken, a lock is to be renewed from its half on, not before") {
  Bench b;
  static_cast<void>(b.acquire());
  CHECK_FALSE(b.run_until(kHalf + (-1), [&] { return b.lot().renew || b.lot().give_back; }));
  CHECK_FALSE(b.t.renewing);
  b.run_to(kHalf);
  CHECK(bool{b.lot().renew});
  CHECK(b.t.renewing);
  CHECK_FALSE(bool{b.lot().give_back});
}

TEST_CASE("what stands in the way of a renewal: the records go back at the margin") {
  struct Obstacle {
    const char* name;
    void (*put)(Bench&);
  };
  const Obstacle obstacles[] = {
      {"auto_renew is off", [](Bench& b) { b.t.shared.options.auto_renew = false; }},
      {"one was refused", [](Bench& b) { b.lot().no_renewal = true; }},
      {"the connection is another", [](Bench& b) { b.lot().doubtful = true; }},
      {"the session is to be ended", [](Bench& b) { b.peer.ending = true; }},
      {"the link is for another leader", [](Bench& b) { b.peer.ending = b.peer.leaving = true; }},
      {"no session", [](Bench& b) { b.peer.session.ended(b.t); }},
      {"the connection is gone", [](Bench& b) { b.peer.link.on_lost(b.now, b.t.shared); }},
      {"the link is idle", [](Bench& b) { b.peer.link.stop(b.t.shared); }},
      {"Kafka 4.1", [](Bench& b) { b.connect(1); }},
      {"closing", [](Bench& b) { b.closing = true; }},
  };
  for (const Obstacle& obstacle : obstacles) {
    CAPTURE(std::string(obstacle.name));
    Bench b;
    static_cast<void>(b.acquire());
    obstacle.put(b);
    bool renewed = false;
    const bool back = b.run_until(kMax, [&] {
      renewed = renewed || b.lot().renew || b.t.renewing;
      return bool{b.lot().give_back};
    });
    CHECK_FALSE(renewed);
    CHECK(back);
    CHECK(b.now == kLate);
    CHECK(b.t.giving_back);
    CHECK(b.told(EventType::released_unseen) == 1);
    CHECK(b.t.shared.stats.expired == 10);
    CHECK(b.looks < 120);
  }
}

TEST_CASE("an obstacle that is gone in time is none, and one that comes ends the renewal") {
  Bench b;
  static_cast<void>(b.acquire());
  b.run_to(kHalf);
  REQUIRE(bool{b.lot().renew});
  b.peer.ending = true;
  b.locks.expire(b.t, false, b.now);
  CHECK_FALSE(bool{b.lot().renew});
  CHECK_FALSE(b.t.renewing);
  b.peer.ending = false;
  b.locks.expire(b.t, false, b.now);
  CHECK(bool{b.lot().renew});
  CHECK(b.t.renewing);
}

TEST_CASE("an application that has stopped for half a lock gets nothing renewed: it goes back") {
  for (int64_t stop : {0, 1, 900, 2500, 5000, 7500, 9000}) {
    CAPTURE(stop);
    Bench b;
    b.habit = {100, kBegin + stop};
    static_cast<void>(b.acquire());
    if (stop != 0) static_cast<void>(b.locks.on_asked(b.t));
    b.run_until(kLate, [&] { return bool{b.lot().give_back}; });
    REQUIRE(bool{b.lot().give_back});
    // Half of the lock is gone, and so is half a lock without a call; the margin at the latest.
    const Instant idle = kBegin + (stop + kLockMs / 2);
    const Instant wanted = earlier(later(kHalf, idle), kLate);
    CHECK(b.now.ms >= wanted.ms - 100);
    CHECK(b.now <= wanted + 100);
    CHECK(b.told(EventType::released_unseen) == 1);
    CHECK_FALSE(bool{b.lot().renew});
  }
}

TEST_CASE("an application that stops shortly before a renewal: it goes back as soon as any other") {
  for (int64_t stop : {100, 1000, 2500, 4900}) {
    CAPTURE(stop);
    Bench b;
    b.habit = {100, kBegin + stop};
    static_cast<void>(b.acquire());
    static_cast<void>(b.locks.on_asked(b.t));
    REQUIRE(b.run_until(kHalf + 100, [&] { return bool{b.lot().renew}; }));
    b.lot().renew = false;  // sent, and answered
    b.lot().renewed = true;
    b.lot().lock_min = b.now + kLockMs;
    b.lot().lock_max = b.now + (kLockMs + 5);
    b.locks.plan(b.t, b.now);
    CHECK_FALSE(b.t.idle);
    REQUIRE(b.run_until(kMax, [&] { return bool{b.lot().give_back}; }));
    CHECK(b.now.ms >= kBegin.ms + stop - 100 + kLockMs / 2);
    CHECK(b.now.ms <= kBegin.ms + stop + 100 + kLockMs / 2);
    CHECK(b.t.idle);
    CHECK(b.told(EventType::released_unseen) == 1);
  }
}

TEST_CASE("records that are taken slowly are renewed: the work on one may take most of a lock") {
  for (int64_t every : {100, 1000, 3000, 4900}) {
    CAPTURE(every);
    Bench b;
    b.habit.every_ms = every;
    static_cast<void>(b.locks.on_asked(b.t));
    static_cast<void>(b.acquire());
    for (int renewals = 0; renewals < 20; ++renewals) {
      const Instant begun = b.now;
      REQUIRE(b.run_until(b.now + kLockMs, [&] { return bool{b.lot().renew}; }));
      CHECK_FALSE(bool{b.lot().give_back});
      CHECK(b.now - begun <= kLockMs / 2 + every);
      b.lot().renew = false;  // sent, and answered
      b.lot().lock_min = b.now + kLockMs;
      b.lot().lock_max = b.now + (kLockMs + 5);
      b.locks.plan(b.t, b.now);
      CHECK_FALSE(b.t.renewing);
    }
    CHECK(b.told(EventType::released_unseen) == 0);
  }
}

TEST_CASE("a call of next() counts as long as it is not followed by a turn, however late that is") {
  Bench b;
  static_cast<void>(b.acquire());
  static_cast<void>(b.locks.on_asked(b.t));  // and then works on the record for most of the lock
  b.now = kLate + (-1);
  b.turn();
  CHECK_FALSE(bool{b.lot().give_back});
  CHECK(bool{b.lot().renew});
  b.now = kLate;
  b.turn();
  CHECK(bool{b.lot().give_back});  // too late for a renewal
}

TEST_CASE("a call of next() counts at once, before the turn that takes note of it") {
  Bench b;
  static_cast<void>(b.acquire());
  static_cast<void>(b.locks.on_asked(b.t));
  b.locks.expire(b.t, false, kHalf + 1);
  CHECK_FALSE(bool{b.lot().give_back});
  b.locks.on_poll(kHalf + 2);
  b.locks.expire(b.t, false, kHalf + 2);
  CHECK_FALSE(bool{b.lot().give_back});
}

TEST_CASE("records that have just come do not go back with those that nobody took") {
  Bench b;
  b.habit.until = kBegin;
  static_cast<void>(b.acquire());
  b.run_to(kHalf + (-1000));
  const uint32_t later = b.t.lots.add(b.row, kLink, 20, 29);
  b.t.lots[later].lock_min = b.now + kLockMs;
  b.t.lots[later].lock_max = b.now + kLockMs;
  b.locks.plan(b.t, b.now);
  b.run_to(kHalf + 2000);
  CHECK(bool{b.lot().give_back});
  CHECK_FALSE(bool{b.t.lots[later].give_back});
  b.run_to(kHalf + 4000);
  CHECK(bool{b.t.lots[later].give_back});
}

TEST_CASE("what the application holds is lost when the lock is gone for certain, not before") {
  Bench b;
  const uint32_t index = b.acquire();
  const auto ids = b.hand_out(index);
  CHECK(b.locks.due_at() == kMax);
  CHECK_FALSE(b.run_until(kMax + (-1), [&] { return b.told(EventType::lock_expired) != 0; }));
  CHECK(b.looks == 0);
  b.run_to(kMax);
  CHECK(b.t.shared.stats.expired == ids.size());
  CHECK_FALSE(bool{b.t.lots[index].used});
  CHECK(b.t.acks.slot(ids[0].slot).state == AckState::lost);
  CHECK(b.locks.due_at() == kNever);
}

TEST_CASE("acks in flight keep their lot; it is looked at now and then until they are answered") {
  Bench b;
  const uint32_t index = b.acquire();
  for (const auto& id : b.hand_out(index)) {
    bool freed = false;
    CHECK(b.t.acks.acknowledge(id, Ack::accept, freed).ok());
    b.t.acks.mark_in_flight(id.slot);
  }
  b.habit.until = kBegin;
  b.run_to(kMax + 5000);
  CHECK(bool{b.lot().used});
  CHECK(b.looks >= 10);
  CHECK(b.looks <= 110);
  b.t.resolve(b.row, kLink, kshare::kafka::kNone, b.now);
  CHECK_FALSE(bool{b.lot().used});
  b.run_to(b.now + 1000);
  CHECK(b.locks.due_at() == kNever);
}

TEST_CASE("while a renewal is in flight nothing is given back or lost, however late it is") {
  for (bool held : {false, true}) {
    CAPTURE(held);
    Bench b;
    const uint32_t index = b.acquire();
    if (held) {
      bool freed = false;
      for (const kshare::RecordId& id : b.hand_out(index)) {
        CHECK(b.t.acks.acknowledge(id, Ack::renew, freed).ok());
        b.t.acks.mark_renew_in_flight(id.slot);
      }
    }
    b.lot().renew = b.lot().renewing = true;
    b.run_to(kMax + 3000);
    CHECK(bool{b.lot().used});
    CHECK_FALSE(bool{b.lot().give_back});
    CHECK(b.t.shared.stats.expired == 0);
    CHECK(b.looks <= 300);
    b.t.fail_renewals(b.row, kLink, false, {kshare::Errc::broker_error, 121});
    b.lot().renew = b.lot().renewing = false;
    b.locks.plan(b.t, b.now);
    b.run_to(b.now + 100);
    CHECK(b.t.shared.stats.expired == 10);
    CHECK_FALSE(bool{b.lot().used});
  }
}

TEST_CASE("what is given back is not looked at before its lock is gone") {
  Bench b;
  static_cast<void>(b.acquire());
  b.t.give_back(0);
  b.locks.plan(b.t, b.now);
  CHECK(b.locks.due_at() == kMax);
  b.run_to(kMax);
  CHECK(b.looks == 1);
  CHECK_FALSE(bool{b.lot().used});
}

TEST_CASE("without lots there is nothing to wait for; with several the first counts") {
  Bench b;
  b.locks.plan(b.t, b.now);
  CHECK(b.locks.due_at() == kNever);
  b.locks.expire(b.t, false, b.now);
  CHECK(b.locks.due_at() == kNever);
  for (int64_t i = 0; i < 4; ++i) {
    const uint32_t index = b.t.lots.add(b.row, kLink, 100 * i, 100 * i + 9);
    b.t.lots[index].lock_min = kMin + (i == 2 ? -400 : i * 10);
    b.t.lots[index].lock_max = kMax + (i == 2 ? -400 : i * 10);
  }
  b.locks.plan(b.t, b.now);
  CHECK(b.locks.due_at() == kHalf + (-400));
}

TEST_CASE("a margin near the lock itself, or longer, counts as a quarter of it") {
  for (const int32_t margin : {kLockMs / 2, kLockMs, 10 * kLockMs}) {
    Bench b;
    b.t.shared.options.auto_renew = false;
    b.t.shared.options.lock_margin_ms = margin;
    static_cast<void>(b.acquire());
    CHECK(b.run_until(kMax, [&] { return bool{b.lot().give_back}; }));
    CHECK(b.now == kMin + (-kLockMs / 4));
    CHECK(b.told(EventType::released_unseen) == 1);
  }
}

TEST_CASE("a renewal that cannot leave does not keep the device awake") {
  Bench b;
  static_cast<void>(b.acquire());
  b.run_to(kLate + (-1));
  CHECK(bool{b.lot().renew});
  CHECK(b.looks <= 20);
}

TEST_CASE("a lot that could not be renewed when half was gone is renewed when it can") {
  Bench b;
  b.peer.ending = true;
  static_cast<void>(b.acquire());
  b.run_to(kHalf + 200);
  b.peer.ending = false;
  b.locks.plan(b.t, b.now);
  b.run_to(kLate + (-1));
  CHECK(bool{b.lot().renew});
}

TEST_CASE("what the application holds is not lost with a neighbour's lock, but with its own") {
  Bench b;
  const auto first = b.hand_out(b.acquire());
  const uint32_t index = b.t.lots.add(b.row, kLink, 30, 39);
  b.t.lots[index].set_lock({kMin + 100, kMax + 100});
  const auto second = b.hand_out(index);
  b.run_to(kMax);
  for (const auto& id : first) CHECK(b.t.acks.slot(id.slot).state == AckState::lost);
  for (const auto& id : second) CHECK(b.t.acks.slot(id.slot).state == AckState::held);
  b.run_to(kMax + 100);
  for (const auto& id : second) CHECK(b.t.acks.slot(id.slot).state == AckState::lost);
}

TEST_CASE("acks in flight of one lot do not put off the end of another's lock") {
  Bench b;
  const uint32_t first = b.acquire();
  for (const auto& id : b.hand_out(first)) {
    bool freed = false;
    REQUIRE(b.t.acks.acknowledge(id, Ack::accept, freed).ok());
    b.t.acks.mark_in_flight(id.slot);
  }
  const uint32_t second = b.t.lots.add(b.row, kLink, 30, 39);
  b.t.lots[second].lock_min = b.t.lots[second].lock_max = kMax + 7;
  b.hand_out(second);
  b.run_to(kMax);
  REQUIRE(bool{b.t.lots[first].used});  // it is looked at now and then
  CHECK(b.locks.due_at() == kMax + 7);
  b.run_to(kMax + 7);
  CHECK(b.t.shared.stats.expired == 10);
}

}  // namespace test_locks
