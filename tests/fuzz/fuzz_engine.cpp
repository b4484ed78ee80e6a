// SPDX-License-Identifier: Apache-2.0
// The whole consumer with the mini broker in virtual time. The input is a row of deeds: answers are
// spoilt, connections break, leaders move, records come, the application acknowledges at random,
// time passes. The tables' rules hold after each, requests stay bounded, close() ends in time.
#include <cstdio>
#include <cstdlib>

#include "../support/hostile.hpp"
#include "../support/spoiler.hpp"

namespace {

class Game {
 public:
  Game(const uint8_t* data, size_t size) : in_(data, size) {
    minibroker::Config config;
    const uint8_t mode = in_.octet();
    config.nodes = 1 + (mode & 1);
    config.lock_ms = (mode & 2) != 0 ? 1000 : 30000;
    config.merge_acquired = (mode & 4) == 0;
    world_ = std::make_unique<world::World>(config);
    if ((mode & 8) != 0) member_.options.acknowledgement_mode = kshare::AckMode::explicit_mode;
    if ((mode & 16) != 0) member_.options.acquire_mode = kshare::AcquireMode::record_limit;
    member_.judge = [this](const kshare::Record& record, kshare::Ack& ack) {
      return judge(record, ack);
    };
    world_->broker.on_response = [this](int, std::string& frame) {
      const spoiler::Change change = next_;
      next_ = {};
      return spoiler::spoil(change, frame);
    };
    world_->broker.add_topic("t", 2);
    world_->broker.append("t", 0, spoiler::records(20));
    world_->broker.append("t", 1, spoiler::records(3));
    world_->join(member_);
  }

  void play() {
    if (!member_.start({"t"}).ok()) std::abort();
    world_->run_for(1000);
    for (int turn = 0; turn < 300 && !in_.empty() && member_.alive; ++turn) {
      deed();
      check();
    }
    next_ = {};
    const int64_t seconds = world_->now / 1000 + 1;
    if (world_->broker.requests_total() > 3000 + 400 * seconds) fail("too many requests");
    if (member_.alive && !world_->close(member_, 2000)) fail("close() has no end");
  }

 private:
  [[noreturn]] static void fail(const char* why) {
    std::fprintf(stderr, "broken: %s\n", why);
    std::abort();
  }
  void check() {
    const char* broken = invariants::broken_invariant(member_.consumer().engine().tables());
    if (broken != nullptr) fail(broken);
  }
  // Some are acknowledged in time, some later, some never.
  bool judge(const kshare::Record& record, kshare::Ack& ack) {
    uint64_t sum = record.key.size;
    for (uint8_t octet : record.value) sum += octet;
    const uint8_t word = in_.octet();
    ack = static_cast<kshare::Ack>(1 + word % 3);
    return (word & 0xC0) == 0 && sum != UINT64_MAX;
  }
  void deed() {
    minibroker::Broker& broker = world_->broker;
    world::PipeTransport& pipe = member_.pool.transports[in_.octet() & 1u];
    const uint8_t op = in_.octet();
    const uint8_t word = in_.octet();
    static constexpr int16_t kErrors[] = {3, 5, 6, 7, 14, 15, 16, 25, 29, 69, 74, 100, 110, 121,
                                          122, 123, 133, -1};
    static constexpr int16_t kKeys[] = {1, 10, 76, 78, 79};
    switch (op % 20) {
      case 0: return spoil(spoiler::How::change, word);
      case 1: return spoil(spoiler::How::end, word);
      case 2: return spoil(spoiler::How::cut, word);
      case 3: return spoil(spoiler::How::insert, word);
      case 4: return spoil(spoiler::How::drop, word);
      case 5: return spoil(spoiler::How::lose, word);
      case 6: if (pipe.conn() >= 0) broker.close_connection(pipe.conn(), world_->now); break;
      case 7: return pipe.forget();
      case 8: pipe.piece = word == 0 ? UINT32_MAX : word; break;
      case 9: pipe.stall = word % 2 == 0; break;
      case 10: broker.fail_next(kKeys[word % 5], kErrors[word % 18]); break;
      case 11: broker.fail_partition("t", word & 1, kErrors[word % 18]); break;
      case 12: broker.fail_acks("t", word & 1, kErrors[word % 18]); break;
      case 13: broker.append("t", word & 1, spoiler::records(1 + word % 30)); break;
      case 14: broker.move_leader("t", word & 1, word % broker.config().nodes); break;
      case 15: return acknowledge(word);
      case 16: member_.takes = word % 2 == 0; break;
      case 17: resubscribe(word); break;
      case 18: broker.hide_next_fetch(1, word); break;
      default: broker.set_log_start("t", 0, word % 16); break;
    }
    world_->run_for(int64_t{word} * (word & 15));
  }
  void spoil(spoiler::How how, uint8_t word) {
    next_ = {how, in_.octet() * 8u + word, static_cast<uint8_t>(word | 1u)};
    world_->run_for(500);
  }
  void acknowledge(uint8_t word) {
    if (member_.ids.empty()) return;
    const kshare::RecordId id = member_.ids[word % member_.ids.size()];
    static_cast<void>(
        member_.consumer().acknowledge(id, static_cast<kshare::Ack>(1 + in_.below(3))));
  }
  void resubscribe(uint8_t word) {
    if (word % 2 == 0) {
      static_cast<void>(member_.consumer().unsubscribe());
    } else {
      static_cast<void>(member_.consumer().subscribe({"t", "u"}));
    }
  }

  hostile::Input in_;
  spoiler::Change next_{};
  std::unique_ptr<world::World> world_;
  world::Member<> member_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Game{data, size}.play();
  return 0;
}
