// SPDX-License-Identifier: Apache-2.0
// What:        what happens in a simulation and when: records that are produced, and faults.
// Flow:        seed -> draw_plan() -> Simulation, which carries it out; less of it -> shrink.
// Memory:      plain values.
// Valid until: an item means the same whichever others are left out.
// Errors:      none.
#ifndef KSHARE_SIM_PLAN_HPP
#define KSHARE_SIM_PLAN_HPP

#include <algorithm>
#include <string>
#include <vector>

#include "dice.hpp"

namespace sim {

enum class Kind : uint8_t {
  produce,          // a: partition, b: records, c: octets of each at most
  produce_control,  // a: partition; the marker of a transaction
  produce_aborted,  // a: partition, b: records
  produce_corrupt,  // a: partition, b: records in a batch whose CRC is wrong
  produce_large,    // a: partition; a record that small slots cannot hold
  compact,          // a: partition, b: which batch goes
  delete_records,   // a: partition, b: percent of it
  // From here on: faults.
  node_restart,       // a: node, ms: down; b: what it held is lost to all (no FIN)
  all_restart,        // ms: down; b: they come back at other ports
  leader_move,        // a: partition, b: node, c: with a hint
  leader_gone,        // a: partition, ms
  coordinator_move,   // a: node
  coordinator_lie,    // a: who is asked, b: who is named, ms
  session_drop,       // a: member
  member_put_out,     // a: member; the coordinator forgets it
  group_forgotten,    // a: group
  error_of_api,       // a: which API, b: which error, c: times
  error_of_fetch,     // a: partition, b: which error, c: times
  error_of_acks,      // a: partition, b: which error, c: times
  answers_lost,       // a: which API, c: times, b: hung up as well
  fetch_hidden,       // c: times, ms: throttle
  throttle,           // ms: for how long; c: throttle time
  member_kill,        // a: member, ms: until it starts again, b: nobody is told
  member_close,       // a: member, ms: until it starts again
  member_freeze,      // a: member, ms
  clock_jump,         // a: member, ms
  clock_still,        // a: member, ms
  unsubscribe,        // a: member, ms: until it subscribes again
  resubscribe,        // a: member, b: to which topics
  topic_remake,       // a: topic, ms: in between
  partitions_add,     // a: topic, b: how many
  net_cut,            // a: member, b: connection, c: octets; b odd: up; ms: the broker's ignorance
  net_half_close,     // a: member, b: connection
  net_hold,           // a: member, ms
  net_lose,           // a: member, b: connection, ms: until the broker notices
  net_refuse,         // a: node, ms
  net_silent,         // a: node, ms
  node_hold,          // a: node, ms; as if it were stopped
  count,
};

inline const char* name_of(Kind kind) {
  static const char* const names[] = {
      "produce", "produce_control", "produce_aborted", "produce_corrupt", "produce_large",
      "compact", "delete_records", "node_restart", "all_restart", "leader_move", "leader_gone",
      "coordinator_move", "coordinator_lie", "session_drop", "member_put_out", "group_forgotten",
      "error_of_api", "error_of_fetch", "error_of_acks", "answers_lost", "fetch_hidden",
      "throttle", "member_kill", "member_close", "member_freeze", "clock_jump", "clock_still",
      "unsubscribe", "resubscribe", "topic_remake", "partitions_add", "net_cut",
      "net_half_close", "net_hold", "net_lose", "net_refuse", "net_silent", "node_hold"};
  static_assert(sizeof names / sizeof *names == static_cast<size_t>(Kind::count), "a name each");
  return names[static_cast<size_t>(kind)];
}

struct Item {
  int number = 0;  // by which it can be asked for again
  int64_t at = 0;
  Kind kind = Kind::produce;
  uint32_t a = 0, b = 0, c = 0;
  int64_t ms = 0;

  bool is_fault() const { return kind >= Kind::node_restart; }
  std::string text() const {
    return "#" + std::to_string(number) + " at " + std::to_string(at) + " " + name_of(kind) +
           " a=" + std::to_string(a) + " b=" + std::to_string(b) + " c=" + std::to_string(c) +
           " ms=" + std::to_string(ms);
  }
};

struct Plan {
  std::vector<Item> items;
  int64_t span = 0;  // the last item comes before

  // Only the items of these numbers.
  void keep(const std::vector<int>& numbers) {
    const auto wanted = [&](const Item& item) {
      return std::find(numbers.begin(), numbers.end(), item.number) != numbers.end();
    };
    std::vector<Item> kept;
    std::copy_if(items.begin(), items.end(), std::back_inserter(kept), wanted);
    items.swap(kept);
  }
};

// Times of a fault: most are short, some outlast every time-out there is.
inline int64_t draw_ms(Dice& dice) {
  switch (dice.below(4)) {
    case 0: return dice.between(0, 50);
    case 1: return dice.between(50, 1000);
    case 2: return dice.between(1000, 5000);
    default: return dice.between(5000, 20000);
  }
}

inline Item draw_item(Dice& dice, Kind kind, int64_t span) {
  Item item;
  item.at = dice.between(0, span);
  item.kind = kind;
  item.a = dice.below(1000);
  item.b = dice.below(1000);
  item.c = dice.below(1000);
  item.ms = draw_ms(dice);
  return item;
}

inline Kind draw_producing(Dice& dice) {
  const uint32_t which = dice.below(100);
  if (which < 84) return Kind::produce;
  if (which < 88) return Kind::produce_control;
  if (which < 90) return Kind::produce_aborted;
  if (which < 92) return Kind::produce_corrupt;
  if (which < 94) return Kind::produce_large;
  return which < 97 ? Kind::compact : Kind::delete_records;
}

constexpr int64_t kJoiningMs = 12000;  // by then groups have settled

// Without faults every record comes exactly once.
inline bool is_calm(uint64_t seed) { return seed % 8 == 0; }
// All applications are prompt and have links enough: what comes twice has another reason.
inline bool is_prompt(uint64_t seed) {
  return seed % 16 == 0 || seed % 8 == 2 || seed % 8 == 6;
}
// Of the prompt ones: nothing but lines that break, and locks that outlast everything. A record
// that somebody has to wait for was acquired for nobody, and given back by nobody.
inline bool is_broken_lines(uint64_t seed) { return seed % 32 == 10; }
inline Kind draw_broken_line(Dice& dice) {
  return dice.one_of({Kind::net_cut, Kind::net_cut, Kind::net_half_close, Kind::net_lose});
}
// Of the prompt ones too: nothing but a broker that freezes for most of a minute, perhaps again,
// and time-outs that outlast it. What the others lead flows all the same.
inline bool is_frozen_broker(uint64_t seed) { return seed % 32 == 26; }

// Of those that are not calm some have one kind of fault many times, some all kinds.
inline Plan draw_plan(uint64_t seed) {
  Dice dice(seed, 2);
  Plan plan;
  plan.span = dice.between(500, dice.chance(50) ? 5000 : 20000);
  const bool calm = is_calm(seed);
  const bool lines = is_broken_lines(seed);
  const bool frozen = is_frozen_broker(seed);
  if (frozen) plan.span += 60000;
  const int64_t batches = dice.between(3, 25);
  for (int64_t i = 0; i < batches; ++i) {
    const Kind kind = calm || lines || frozen ? Kind::produce : draw_producing(dice);
    plan.items.push_back(draw_item(dice, kind, plan.span));
    if (calm || frozen) plan.items.back().at += kJoiningMs;
  }
  if (calm || frozen) plan.span += kJoiningMs;
  const auto first = static_cast<uint32_t>(Kind::node_restart);
  const uint32_t kinds = static_cast<uint32_t>(Kind::count) - first;
  const auto any = [&] { return static_cast<Kind>(first + dice.below(kinds)); };
  const Kind focus[2] = {any(), any()};
  const bool focused = dice.chance(50);
  const int64_t faults = calm ? 0 : dice.between(1, dice.chance(80) ? 6 : 20);
  for (int64_t i = 0; i < faults; ++i) {
    const Kind kind = lines    ? draw_broken_line(dice)
                      : frozen ? Kind::node_hold
                      : focused ? focus[dice.below(2)]
                                : any();
    plan.items.push_back(draw_item(dice, kind, plan.span));
    if (!frozen) continue;
    Item& item = plan.items.back();
    item.ms = dice.between(20000, 60000);
    item.at = std::max(item.at, kJoiningMs);
    item.a = static_cast<uint32_t>(seed / 32);
  }
  std::stable_sort(plan.items.begin(), plan.items.end(),
                   [](const Item& x, const Item& y) { return x.at < y.at; });
  for (size_t i = 0; i < plan.items.size(); ++i) plan.items[i].number = static_cast<int>(i);
  return plan;
}

}  // namespace sim

#endif  // KSHARE_SIM_PLAN_HPP
