// SPDX-License-Identifier: Apache-2.0
// ack/renewal.hpp: every small case of one and of two lots, whatever happens while the request is
// out, against the truth of each offset: which lock time the broker has given it.
#include <doctest/doctest.h>

#include "../support/renewals.hpp"

namespace test_renewal {
namespace {

using kshare::Ack;
using kshare::AckSlot;
using kshare::AckState;
using kshare::Instant;
using kshare::Lot;
using kshare::Renewal;
using namespace renewals;

// Every lot with up to `slots_max` records out.
std::vector<Plan> all_plans(uint32_t slots_max) {
  const AckState kinds[] = {AckState::held, AckState::pending, AckState::renewing};
  std::vector<Plan> all;
  uint32_t combinations = 1;
  for (uint32_t count = 0; count <= slots_max; ++count, combinations *= 3) {
    for (uint32_t code = 0; code < combinations; ++code) {
      for (uint32_t rest = 0; rest < kRests; ++rest) {
        for (bool renew : {false, true}) {
          Plan plan;
          plan.rest = static_cast<Rest>(rest);
          plan.renew = renew;
          const bool owes = plan.rest != Rest::none && plan.rest != Rest::given_back;
          if ((renew && !owes) || (count == 0 && plan.rest == Rest::none)) continue;
          for (uint32_t i = 0, left = code; i < count; ++i, left /= 3) {
            plan.slots.push_back(kinds[left % 3]);
          }
          all.push_back(plan);
        }
      }
    }
  }
  return all;
}

// Lots are renewed again and again, in part; no offset is ever believed to be safe for too long.
struct Life {
  Bench& bench;
  kshare::Random random{};
  std::map<int64_t, Instant> truth{};

  uint32_t roll(uint32_t sides) { return random.below(sides); }
  void begin(uint32_t seed) {
    random.seed(seed);
    bench.begin(3 + seed % 4);
    bench.name = "seed " + std::to_string(seed);
    Plan plan;
    plan.slots.assign(2, AckState::held);
    plan.rest = Rest::in_slot;
    for (uint32_t lot = 0; lot < 2; ++lot) {
      static_cast<void>(bench.add(plan));
      for (int64_t at = 0; at < 5; ++at) truth[10 * lot + 10 + at] = old_times(lot).min;
    }
  }
  void work() {
    const int64_t at = 10 + 10 * int64_t{roll(2)} + int64_t{roll(5)};
    if (bench.t.acks.is_held(bench.id_at(at)) && roll(10) == 0) bench.say(at, Ack::accept);
    if (bench.t.acks.is_held(bench.id_at(at)) && roll(2) == 0) bench.say(at, Ack::renew);
    const uint32_t index = roll(2);
    Lot& lot = bench.t.lots[index];
    if (!lot.used) return;
    if (lot.in_slot && bench.t.acks.free_count() != 0 && roll(4) == 0) {
      const uint32_t slot = lot.slot;
      static_cast<void>(bench.t.acks.hand_out(index, lot.cursor++));
      if (lot.cursor == lot.walked) bench.t.lots.leave_slot(bench.t.store, index);
      static_cast<void>(bench.t.store.free_if_done(slot));
    }
    if (lot.owes() && roll(3) == 0) lot.renew = true;
  }
  void renew(Instant until) {
    bench.asked.clear();
    bench.send(1 + roll(4));
    if (roll(3) == 0) {
      bench.fail(roll(2) == 0);
    } else {
      for (int64_t offset : bench.asked) truth[offset] = until;
      static_cast<void>(
          Renewal(bench.t.lots, bench.t.acks).succeeded(bench.row, kLink, {until, until + 5}));
    }
    for (const auto& [offset, place] : bench.places()) {
      if (place.times.min > truth[offset]) bench.fault("longer than true");
    }
    bench.check_ended();
  }
  void end() {
    bench.t.evicted(bench.row, kLink);
    const auto on_lost = [](void*, const AckSlot&) {};
    static_cast<void>(bench.t.acks.lose(bench.row, {}, {}, {on_lost, nullptr}));
    if (bench.t.lots.free_count() != bench.t.lots.count()) bench.fault("a lot is left");
  }
};

}  // namespace

TEST_CASE("one lot with up to four records out, everything that may happen, every answer") {
  Bench bench;
  for (const Plan& plan : all_plans(4)) {
    for (uint32_t rows = 0; rows < 2; ++rows) {
      for (uint32_t limit : {1u, kSlots}) {
        for (uint32_t what = 0; what < kMeanwhiles; ++what) {
          for (uint32_t answer = 0; answer < kAnswers; ++answer) {
            bench.run({plan}, rows, limit, static_cast<Meanwhile>(what),
                      static_cast<Answer>(answer));
          }
        }
      }
    }
  }
  CHECK(bench.cases > 50000);
  CHECK(bench.faults == 0);
}

TEST_CASE("two lots with up to two records out each, renewed with one answer") {
  Bench bench;
  const std::vector<Plan> plans = all_plans(2);
  for (const Plan& a : plans) {
    for (const Plan& b : plans) {
      for (uint32_t rows = 0; rows < 3; ++rows) {
        for (Meanwhile what :
             {Meanwhile::nothing, Meanwhile::ack_first, Meanwhile::ack_all, Meanwhile::lose_all}) {
          bench.run({a, b}, rows, kSlots, what, Answer::ok);
        }
        bench.run({a, b}, rows, 2, Meanwhile::nothing, Answer::ok);
      }
      bench.run({a, b}, 0, kSlots, Meanwhile::nothing, Answer::failed);
    }
  }
  CHECK(bench.cases > 100000);
  CHECK(bench.faults == 0);
}

TEST_CASE("as many lots are staged as ack slots are free, those of other links and others not") {
  Bench bench;
  bench.begin(6);
  Plan plan;
  plan.rest = Rest::missing;
  static_cast<void>(bench.add(plan));  // not to be renewed
  plan.renew = true;
  for (int i = 0; i < 3; ++i) static_cast<void>(bench.add(plan));
  bench.t.lots[2].link = 2;
  plan.rest = Rest::none;
  plan.slots.assign(kSlots - 1, AckState::held);
  static_cast<void>(bench.add(plan));  // owes nothing
  Renewal renewal(bench.t.lots, bench.t.acks);
  renewal.stage(kLink);
  CHECK(bench.t.acks.renewals() == 1);
  CHECK(bench.t.acks.free_count() == 0);
  const AckSlot& range = bench.t.acks.slot(bench.t.acks.head(bench.row));
  CHECK(range.first == 20);
  CHECK(range.last() == 22);
  CHECK(range.type == 4);
  CHECK_FALSE(bool{range.record});
  renewal.unstage(bench.row);
  CHECK(bench.t.acks.renewals() == 0);
  CHECK(bench.t.acks.free_count() == 1);
  CHECK(bool{bench.t.lots[1].renew});  // for the next request
  bench.say(50, Ack::accept);
  bench.t.acks.mark_in_flight(bench.id_at(50).slot);
  bench.t.resolve(bench.row, kLink, kshare::kafka::kNone, {});
  renewal.stage(kLink);
  CHECK(bench.t.acks.renewals() == 2);
  CHECK(bench.t.acks.slot(bench.t.acks.next(bench.t.acks.head(bench.row))).first == 40);
  renewal.unstage(bench.row);
  CHECK(bench.faults == 0);
}

TEST_CASE("an answer is for the lots of its link and its partition, and for what was in flight") {
  Bench bench;
  for (uint32_t answer = 0; answer < kAnswers; ++answer) {
    bench.begin(4);
    Plan plan;
    plan.slots = {AckState::renewing};
    plan.rest = Rest::missing;
    plan.renew = true;
    static_cast<void>(bench.add(plan));
    static_cast<void>(bench.add(plan));
    Renewal renewal(bench.t.lots, bench.t.acks);
    bench.send(kSlots);
    bench.t.lots[1].link = 2;
    const auto silent = [](int64_t, int64_t) {};
    if (answer == 0) CHECK(renewal.succeeded(bench.row, 2, kNew) == 4);
    if (answer != 0) renewal.failed(bench.row, 2, answer == 2, silent);
    CHECK(bench.t.acks.slot(bench.id_at(10).slot).state == AckState::renew_in_flight);
    CHECK(bench.t.acks.slot(bench.id_at(20).slot).state != AckState::renew_in_flight);
    CHECK(bool{bench.t.lots[0].renewing});
    CHECK_FALSE(bool{bench.t.lots[1].renewing});
    CHECK_FALSE(bool{bench.t.lots[0].no_renewal});
    CHECK(bench.t.lots[0].lock_min == old_times(0).min);
    CHECK(renewal.succeeded(bench.row + 1, kLink, kNew) == 0);
    CHECK(renewal.succeeded(bench.row, kLink, kNew) == 4);
    CHECK(renewal.succeeded(bench.row, kLink, {{9000}, {9000}}) == 0);  // it has its answer
    CHECK(bench.t.lots[0].lock_min == kNew.min);
  }
}

TEST_CASE(
    "without a row, and with locks that have become shorter, the late end stays what it was") {
  Bench bench;
  bench.begin(1);
  Plan plan;
  plan.slots = {AckState::held, AckState::renewing};
  static_cast<void>(bench.add(plan));
  bench.send(kSlots);
  CHECK(Renewal(bench.t.lots, bench.t.acks).succeeded(bench.row, kLink, {{900}, {910}}) == 1);
  CHECK(bench.t.lots[0].lock_min == old_times(0).min);
  CHECK(bench.t.lots[0].lock_max == old_times(0).max);
}

TEST_CASE("long lives: lots are renewed again and again, in part, until all is settled") {
  Bench bench;
  for (uint32_t seed = 1; seed <= 400; ++seed) {
    Life life{bench};
    life.begin(seed);
    for (int64_t step = 0; step < 60; ++step) {
      life.work();
      if (life.roll(3) == 0) life.renew({2000 + step});
    }
    life.end();
  }
  CHECK(bench.faults == 0);
}

}  // namespace test_renewal
