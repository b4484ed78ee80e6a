// SPDX-License-Identifier: Apache-2.0
// What:        all the chance there is in a simulation: numbers that depend on a seed alone.
// Flow:        seed -> Dice -> plan, habits, network.
// Memory:      eight bytes.
// Valid until: a plain value.
// Errors:      none.
#ifndef KSHARE_SIM_DICE_HPP
#define KSHARE_SIM_DICE_HPP

#include <cstdint>
#include <initializer_list>

namespace sim {

constexpr int64_t kNever = INT64_MAX;  // of the world's clock

class Dice {
 public:
  // Another `purpose`: other numbers of the same seed, however many were drawn for the first.
  explicit Dice(uint64_t seed, uint64_t purpose = 0)
      : state_(seed * 0x9e3779b97f4a7c15u + purpose * 0xd1342543de82ef95u + 1) {
    next();
  }
  uint64_t next() {
    state_ += 0x9e3779b97f4a7c15u;
    uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  uint32_t below(uint64_t count) { return static_cast<uint32_t>(next() % count); }
  int64_t between(int64_t least, int64_t most) {
    return least + static_cast<int64_t>(next() % static_cast<uint64_t>(most - least + 1));
  }
  bool chance(uint32_t percent) { return below(100) < percent; }
  template <typename T>
  T one_of(std::initializer_list<T> all) {
    return all.begin()[below(all.size())];
  }

 private:
  uint64_t state_;
};

}  // namespace sim

#endif  // KSHARE_SIM_DICE_HPP
