// SPDX-License-Identifier: Apache-2.0
// What:        what an application of a simulation is like: its limits, options and manners.
// Flow:        seed -> Habits::draw() -> Member.
// Memory:      plain values.
// Valid until: a copy.
// Errors:      none.
#ifndef KSHARE_SIM_HABITS_HPP
#define KSHARE_SIM_HABITS_HPP

#include "dice.hpp"
#include "kshare/kshare.hpp"

namespace sim {

// Even less than Tiny, so that everything runs out at times.
inline constexpr kshare::Limits kNanoLimits = [] {
  kshare::Limits limits = kshare::kTinyLimits;
  limits.records_max = 8;
  limits.lots_max = 6;
  limits.receive_window_bytes = 512;
  return limits;
}();
// As little, with a link for each broker.
inline constexpr kshare::Limits kThinLimits = [] {
  kshare::Limits limits = kNanoLimits;
  limits.links_max = limits.store_slots = limits.brokers_max = 5;
  limits.store_bytes = limits.store_slots * 2048;
  limits.records_max = 20;
  limits.lots_max = 16;
  return limits;
}();
inline constexpr kshare::Limits kWideLimits = [] {
  kshare::Limits limits = kshare::kDefaultLimits;
  limits.links_max = 5;
  return limits;
}();

// What an application is like.
struct Habits {
  int size = 1;  // 0 Nano, 1 Tiny, 2 Small, 3 with five links, 4 with five and little else
  bool explicit_mode = false;
  uint32_t takes_most = 100;  // records a turn
  int64_t work_ms = 0;        // on each record; nothing else happens meanwhile
  int64_t between_ms = 0;     // between one next() and another, without poll()
  uint32_t hold = 0;          // explicit: so many are held, and settled in any order
  uint32_t release = 0, reject = 0, renew = 0, forget = 0;  // percent; explicit mode
  uint32_t override_percent = 0;                            // implicit mode: said otherwise
  uint32_t detach = 0, commit = 0;                          // percent
  bool reads_events = true;
  kshare::Options options;

  // `prompt`: it takes and settles at once what there is, and `nodes` brokers have a link each.
  static Habits draw(Dice& dice, int64_t lock_ms, bool calm, bool prompt, int nodes) {
    Habits h;
    h.size = dice.one_of({0, 1, 1, 1, 2, 3});
    if (prompt) h.size = nodes > 1 || dice.chance(30) ? 3 : dice.one_of({1, 2});
    h.explicit_mode = dice.chance(50);
    h.takes_most = dice.one_of<uint32_t>({1, 3, 100, 100});
    if (!calm && dice.chance(40)) h.work_ms = dice.one_of<int64_t>({1, 5, 20, lock_ms / 20});
    if (!calm && dice.chance(10)) h.work_ms = dice.one_of<int64_t>({lock_ms / 2, lock_ms * 2});
    if (!calm && dice.chance(10)) h.between_ms = dice.one_of<int64_t>({lock_ms / 20, lock_ms / 3});
    h.hold = calm ? 0 : dice.one_of<uint32_t>({0, 0, 3, 20});
    if (prompt) {
      h.takes_most = 100;
      h.work_ms = h.between_ms = 0;
      h.hold = 0;
    }
    if (!calm && !prompt && dice.chance(50)) {
      h.release = dice.below(15);
      h.reject = dice.below(10);
      h.renew = dice.below(15);
      h.forget = dice.chance(50) ? dice.below(5) : 0;
    }
    h.override_percent = !calm && !prompt && dice.chance(30) ? dice.below(20) : 0;
    h.detach = dice.chance(30) ? dice.below(50) : 0;
    h.commit = dice.chance(30) ? dice.below(10) : 0;
    h.reads_events = dice.chance(80);
    kshare::Options& o = h.options;
    o.acknowledgement_mode =
        h.explicit_mode ? kshare::AckMode::explicit_mode : kshare::AckMode::implicit_mode;
    o.acquire_mode = dice.chance(30) ? kshare::AcquireMode::record_limit
                                     : kshare::AcquireMode::batch_optimized;
    o.max_poll_records = prompt ? 500 : dice.one_of({1, 10, 500, 500});
    o.request_timeout_ms = static_cast<int32_t>(dice.between(1500, 6000));
    o.connection_setup_timeout_ms = static_cast<int32_t>(dice.between(500, 3000));
    o.metadata_max_age_ms = dice.chance(30) ? 3000 : 300000;
    o.rebootstrap_trigger_ms = dice.chance(30) ? 5000 : 300000;
    o.auto_renew = calm || prompt || dice.chance(80);
    o.too_large = dice.chance(50) ? kshare::Unusable::reject : kshare::Unusable::release;
    o.ack_linger_ms = dice.one_of({0, 20, 20, 200});
    o.fetch_max_wait_ms = dice.one_of({100, 500, 2000});
    return h;
  }
};

}  // namespace sim

#endif  // KSHARE_SIM_HABITS_HPP
