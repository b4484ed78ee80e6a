// SPDX-License-Identifier: Apache-2.0
// What:        a member: an application with habits of its own, on a device whose clock can be
//              wrong, and the consumer that it starts, closes, kills and starts again.
// Flow:        Simulation -> turn() -> ShareConsumer <-> SimTransport; what it sees -> Oracle.
// Memory:      a Storage of its own for each life, so that a byte beyond it is seen.
// Valid until: Network and Oracle must outlive it.
// Errors:      Oracle::fault().
#ifndef KSHARE_SIM_MEMBER_HPP
#define KSHARE_SIM_MEMBER_HPP

#include <cstdio>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "../support/invariants.hpp"
#include "habits.hpp"
#include "kshare/kshare.hpp"
#include "network.hpp"
#include "oracle.hpp"
#include "wire.hpp"

namespace sim {

class Pool final : public kshare::TransportPool {
 public:
  Pool(uint32_t links, Network& network, int member, uint64_t seed)
      : transports(links), dice_(seed, 5) {
    for (SimTransport& t : transports) {
      t.network = &network;
      t.member = member;
    }
  }
  uint32_t size() const override { return static_cast<uint32_t>(transports.size()); }
  kshare::Transport& transport(uint32_t index) override { return transports[index]; }
  bool entropy(kshare::MutableBytes into) override {
    for (uint8_t& octet : into) octet = static_cast<uint8_t>(dice_.next());
    return true;
  }
  std::vector<SimTransport> transports;

 private:
  Dice dice_;
};

class AnyConsumer {
 public:
  explicit AnyConsumer(Pool& its_pool) : pool(its_pool) {}
  virtual ~AnyConsumer() = default;
  virtual kshare::ShareConsumer& get() = 0;
  Pool& pool;
};

template <const kshare::Limits& L>
class ConsumerOf final : public AnyConsumer {
 public:
  explicit ConsumerOf(Pool& its_pool)
      : AnyConsumer(its_pool),
        storage_(std::make_unique<kshare::Storage<L>>()),
        consumer_(*storage_, its_pool) {}
  kshare::ShareConsumer& get() override { return consumer_; }

 private:
  std::unique_ptr<kshare::Storage<L>> storage_;
  kshare::ShareConsumer consumer_;
};

// A record in the application's hands.
struct InHand {
  kshare::RecordId id;
  Place place;
  bool renewed = false;
};

class Member {
 public:
  Member(int index, Network& network, Oracle& its_oracle, const int64_t& now, uint64_t seed)
      : oracle(its_oracle), index_(index), network_(network), now_(now),
        dice_(seed, 100 + static_cast<uint64_t>(index)) {}

  Oracle& oracle;
  Habits habits;
  std::string group, bootstrap;
  std::vector<std::string> topics;
  bool verbose = false;      // prints events
  bool calm = false;         // only reads and accepts from now on
  bool may_be_rejected = false;  // the coordinator may refuse it for good
  int64_t start_at = 0;      // kNever: it is not started by itself
  int64_t resubscribe_at = kNever;
  bool close_then_start = false;
  int64_t pause_ms = 0;  // between its close and its next start

  bool running() const { return consumer_ != nullptr; }
  bool is_closing() const { return closing_; }
  uint32_t links() const { return links_of(habits.size); }
  int index() const { return index_; }
  Life* life() { return life_; }
  kshare::ShareConsumer& consumer() { return consumer_->get(); }
  std::string member_id() const {
    const kshare::Shared& s = consumer_->get().engine().shared();
    return std::string(s.member_id, sizeof s.member_id);
  }

  // --- its clock: behind or before the world's; it never goes back
  int64_t clock() const {
    return std::max(told_, (still_until_ > now_ ? still_at_ : now_) + ahead_);
  }
  void jump(int64_t ms) {
    ahead_ += ms;
    excuse();
  }
  void freeze(int64_t ms) {  // not scheduled for so long
    frozen_until_ = now_ + ms;
    excuse();
  }
  void stand_still(int64_t until) {
    const int64_t at = clock();
    still_at_ = at - ahead_;
    still_until_ = until;
  }
  void go_on() {
    if (still_until_ == 0 || still_until_ > now_) return;
    ahead_ += still_at_ - now_;
    still_until_ = 0;
  }

  void start() {
    const uint32_t links = links_of(habits.size);
    pool_ = std::make_unique<Pool>(links, network_, index_, dice_.next());
    switch (habits.size) {
      case 0: consumer_ = std::make_unique<ConsumerOf<kNanoLimits>>(*pool_); break;
      case 1: consumer_ = std::make_unique<ConsumerOf<kshare::kTinyLimits>>(*pool_); break;
      case 2: consumer_ = std::make_unique<ConsumerOf<kshare::kSmallLimits>>(*pool_); break;
      case 4: consumer_ = std::make_unique<ConsumerOf<kThinLimits>>(*pool_); break;
      default: consumer_ = std::make_unique<ConsumerOf<kWideLimits>>(*pool_); break;
    }
    all_lives_.push_back(std::make_unique<Life>());
    life_ = all_lives_.back().get();
    life_->id = (static_cast<uint64_t>(index_) << 32) + all_lives_.size();
    life_->oracle = &oracle;
    life_->clock = [this] { return clock(); };
    habits.options.group_id = group;
    habits.options.bootstrap_servers = bootstrap;
    start_at = kNever;
    closing_ = false;
    if (!consumer().start(habits.options).ok()) return oracle.fault("start() refused");
    life_->slot_bytes = consumer().engine().shared().limits->slot_bytes();
    oracle.slot_bytes = std::min(oracle.slot_bytes, life_->slot_bytes);
    subscribe();
  }
  void subscribe() {
    resubscribe_at = kNever;
    if (closing_) return;
    std::vector<std::string_view> names(topics.begin(), topics.end());
    const kshare::Span<const std::string_view> span{names.data(),
                                                    static_cast<uint32_t>(names.size())};
    if (!consumer().subscribe(span).ok()) oracle.fault("subscribe() refused");
  }
  void begin_close(int64_t timeout_ms) {
    static_cast<void>(consumer().close(kshare::Instant{clock()}, timeout_ms));
    closing_ = true;
    busy_until_ = 0;
    close_by_ = clock() + timeout_ms;
    excuse();
  }
  // The process is gone from one moment to the next; `quiet`: the network with it.
  void kill(bool quiet, int64_t notice_at) {
    for (int conn : network_.of_member(index_)) {
      if (quiet) network_.lose(conn, notice_at);
    }
    for (SimTransport& t : pool_->transports) t.close();
    end();
  }
  void become_calm() {
    calm = true;
    habits.work_ms = habits.between_ms = 0;
    habits.takes_most = 1000;
    if (told_ <= now_ + ahead_) busy_until_ = 0;  // its clock would go back
    frozen_until_ = 0;
    still_until_ = still_until_ == 0 ? 0 : now_;
    go_on();
  }

  // Whether its event loop has something to do now.
  bool is_due() {
    if (consumer_ == nullptr || frozen_until_ > now_ || busy_until_ > now_) return false;
    if (wants_turn_ || consumer().deadline().ms <= clock() || resubscribe_at <= now_) return true;
    for (uint32_t i = 0; i < pool_->size(); ++i) {
      if (pool_->transports[i].has_news(consumer().interest(i).write)) return true;
    }
    return false;
  }
  int64_t due_at() {
    if (consumer_ == nullptr) return start_at;
    const int64_t due = consumer().deadline().ms;
    int64_t at = due >= kNever / 2 ? kNever : due - ahead_;
    if (still_until_ > now_) at = still_until_;
    at = std::min(at, resubscribe_at);
    if (wants_turn_) at = now_;
    return std::max({at, frozen_until_, busy_until_});
  }

  void turn() {
    if (resubscribe_at <= now_) subscribe();
    bool news = wants_turn_;
    wants_turn_ = false;
    for (uint32_t i = 0; i < pool_->size(); ++i) {
      SimTransport& t = pool_->transports[i];
      if (t.has_news(consumer().interest(i).write)) {
        consumer().wake(i);
        news = true;
      }
      t.seen();
    }
    const kshare::Instant now{clock()};
    const uint64_t before = life_->requests + network_.opens(index_);
    const bool running = consumer().poll(now);
    const bool idle = !news && before == life_->requests + network_.opens(index_);
    idle_streak_ = idle ? idle_streak_ + 1 : 0;
    if (idle_streak_ > kIdleStreak) count_idle_turn();
    kshare::Event event;
    while ((habits.reads_events || verbose) && consumer().next_event(event)) {
      if (verbose) print(event);
      check(event);
    }
    check_tables();
    if (!running) return ended();
    if (closing_) return;
    settle_some();
    take(now);
    wants_turn_ = wants_turn_ || busy_until_ > now_ || in_hand_.size() > (calm ? 0 : habits.hold);
    if (dice_.chance(habits.commit)) commit();
  }
  // The consumer has had its end, as it should.
  void check_end() {
    const kshare::Stats& s = consumer().stats();
    if (s.records != handed_) oracle.fault("stats().records is wrong");
    if (s.acks_ok != life_->acks_ok && !life_->torn) {
      oracle.fault("stats().acks_ok " + std::to_string(s.acks_ok) + ", confirmed were " +
                   std::to_string(life_->acks_ok));
    }
    if (consumer().commit_status(ticket_).code == kshare::Errc::in_progress) {
      oracle.fault("a commit has never ended");
    }
    const uint64_t sum = s.acks_ok + s.acks_failed + s.acks_unknown + consumer().unsettled();
    if (s.records != sum) oracle.fault("stats(): the outcomes do not add up");
  }

 private:
  static constexpr int kIdleStreak = 5;
  static uint32_t links_of(int size) {
    return size == 0 ? kNanoLimits.links_max : size == 1 ? kshare::kTinyLimits.links_max
           : size == 2 ? kshare::kSmallLimits.links_max : kWideLimits.links_max;
  }
  void end() {
    oracle.end_life(life_->id);
    consumer_.reset();
    pool_.reset();
    in_hand_.clear();
    forgotten_.clear();
    settled_.clear();
    ticket_ = kshare::Ticket{};
    last_ = InHand();
    has_last_ = false;
    handed_ = 0;
    wants_turn_ = false;
    closing_ = close_then_start = false;
    busy_until_ = 0;
    resubscribe_at = kNever;
  }
  void ended() {
    const kshare::Errc why = consumer().status().code;
    const bool for_good = why == kshare::Errc::group_rejected ||
                          why == kshare::Errc::share_groups_off;
    if (for_good && may_be_rejected) return rejected();
    if (!closing_) {
      char line[kshare::kLineBytes];
      kshare::describe(consumer().status(), line, sizeof line);
      return oracle.fault("member " + std::to_string(index_) + " has failed: " + line);
    }
    if (clock() > close_by_ + 5) oracle.fault("close() has taken longer than its time-out");
    check_end();
    const int64_t again = close_then_start ? now_ + pause_ms : kNever;
    end();
    start_at = again;
  }
  // It gives up its records and connections, and its application starts it again.
  void rejected() {
    life_->torn = true;  // answers under way are not waited for
    if (!closing_) begin_close(0);
    if (consumer().poll(kshare::Instant{clock()})) oracle.fault("it runs although it has failed");
    for (const SimTransport& t : pool_->transports) {
      if (t.interest().fd >= 0) oracle.fault("a rejected member keeps a connection");
    }
    check_end();
    end();
    start_at = now_ + 1000;
  }
  // Nobody was slow, nothing was wrong: then nothing is given back unseen.
  void check(const kshare::Event& event) {
    if (event.type != kshare::EventType::released_unseen || !oracle.prompt || calm) return;
    if (oracle.disturbed_between(now_ - 2 * oracle.lock_ms, now_, Place{}, -1)) return;
    oracle.fault("records are given back unseen");
  }
  void print(const kshare::Event& event) const {
    char line[kshare::kLineBytes];
    kshare::format(event, line, sizeof line);
    std::printf("%7lld  member %d: %s\n", static_cast<long long>(now_), index_, line);
  }
  // It cannot have closed before it runs again.
  void excuse() {
    close_by_ = std::max(close_by_, clock() + std::max<int64_t>(0, frozen_until_ - now_));
  }
  static constexpr size_t kIdleTurns = 100;  // a second
  void count_idle_turn() {
    while (!idle_turns_.empty() && idle_turns_.front() <= now_ - 1000) idle_turns_.pop_front();
    idle_turns_.push_back(now_);
    if (idle_turns_.size() > kIdleTurns) oracle.fault("it wakes for nothing, again and again");
  }
  void check_tables() {
    if (dice_.below(8) != 0) return;
    const char* broken = invariants::broken_invariant(consumer().engine().tables());
    if (broken != nullptr) oracle.fault(broken);
  }

  void take(kshare::Instant now) {
    uint32_t taken = 0;
    bool more = true;
    while (taken < habits.takes_most && busy_until_ <= now_ + habits.between_ms * taken) {
      accept_last();
      kshare::Record record;
      more = consumer().next(record, now);
      if (!more) break;
      ++taken;
      ++handed_;
      const InHand one{record.id, Oracle::place_of(record), false};
      const auto name = oracle.names.find(std::get<0>(one.place));
      life_->rereads.clear();
      oracle.hand_out(life_->id, record, now.ms, name == oracle.names.end() ? "" : name->second);
      if (dice_.chance(habits.detach)) static_cast<void>(consumer().detach(record.id));
      told_ = now.ms += habits.between_ms;
      busy_until_ = now_ + habits.work_ms + habits.between_ms * taken;
      if (habits.explicit_mode) in_hand_.push_back(one);
      else take_implicit(one);
    }
    wants_turn_ = wants_turn_ || more;
    // Who does not poll for long may lose its connections, whatever has come meanwhile.
    if (taken > 0 && !is_prompt()) oracle.disturb(busy_until_ + oracle.lock_ms + 3000, index_);
  }
  // Asking for the next record, or for a commit, accepts the last one, if it is still ours.
  void accept_last() {
    if (has_last_ && oracle.has(life_->id, last_.place)) {
      oracle.said(life_->id, last_.place, static_cast<uint8_t>(kshare::Ack::accept), is_prompt());
    }
    has_last_ = false;
  }
  void take_implicit(const InHand& one) {
    last_ = one;
    has_last_ = true;
    if (!dice_.chance(habits.override_percent)) return;
    has_last_ = !say(one, dice_.chance(50) ? kshare::Ack::release : kshare::Ack::reject);
  }
  bool is_prompt() const { return habits.work_ms <= oracle.lock_ms / 20 && habits.between_ms == 0; }
  // True: the consumer took the word.
  bool say(const InHand& one, kshare::Ack ack) {
    const kshare::Status status = consumer().acknowledge(one.id, ack);
    if (verbose && !status.ok()) {
      std::printf("%7lld  member %d: %s: %d is refused: %d\n", static_cast<long long>(now_), index_,
                  oracle.name(one.place).c_str(), static_cast<int>(ack),
                  static_cast<int>(status.code));
    }
    if (!status.ok()) return false;
    if (ack != kshare::Ack::renew) settled_.push_back(one);
    if (ack != kshare::Ack::renew) {
      oracle.said(life_->id, one.place, static_cast<uint8_t>(ack), is_prompt());
    }
    return true;
  }
  void settle_some() {
    while (in_hand_.size() > (calm ? 0 : habits.hold)) settle_one();
    if (!in_hand_.empty() && dice_.chance(20)) settle_one();
    use_old_handle();
    if (!calm) return;
    for (const InHand& one : forgotten_) static_cast<void>(say(one, kshare::Ack::accept));
    forgotten_.clear();
  }
  // What was settled long ago is refused, whatever has the place of it now.
  void use_old_handle() {
    if (calm || settled_.empty() || !dice_.chance(20)) return;
    const size_t at = dice_.below(settled_.size());
    const InHand old = settled_[at];
    settled_.erase(settled_.begin() + static_cast<std::ptrdiff_t>(at));
    static_cast<void>(say(old, kshare::Ack::reject));
  }
  void settle_one() {
    const size_t at = dice_.below(in_hand_.size());
    InHand one = in_hand_[at];
    in_hand_.erase(in_hand_.begin() + static_cast<std::ptrdiff_t>(at));
    const uint32_t which = calm ? 100 : dice_.below(100);
    const Habits& h = habits;
    if (which < h.release) {
      static_cast<void>(say(one, kshare::Ack::release));
    } else if (which < h.release + h.reject) {
      static_cast<void>(say(one, kshare::Ack::reject));
    } else if (which < h.release + h.reject + h.renew && !one.renewed) {
      one.renewed = true;
      static_cast<void>(say(one, kshare::Ack::renew));  // whether it can or not: it is at work
      in_hand_.push_back(one);
    } else if (!calm && which >= 100 - h.forget) {
      forgotten_.push_back(one);
    } else {
      static_cast<void>(say(one, kshare::Ack::accept));
    }
  }
  void commit() {
    kshare::Ticket ticket;
    accept_last();
    if (consumer().commit(ticket).ok()) ticket_ = ticket;
  }

  int index_;
  Network& network_;
  const int64_t& now_;
  Dice dice_;
  std::unique_ptr<Pool> pool_;
  std::unique_ptr<AnyConsumer> consumer_;
  std::vector<std::unique_ptr<Life>> all_lives_;  // the wire still knows of them
  Life* life_ = nullptr;
  int64_t told_ = 0;  // what next() was told last
  std::deque<int64_t> idle_turns_;
  std::vector<InHand> in_hand_;
  std::vector<InHand> settled_;    // handles that are used up
  std::vector<InHand> forgotten_;  // never acknowledged, unless all is calm
  kshare::Ticket ticket_{};
  InHand last_;
  bool has_last_ = false;
  bool wants_turn_ = false;
  int idle_streak_ = 0;  // turns one behind the other, without effect
  bool closing_ = false;
  uint64_t handed_ = 0;
  int64_t close_by_ = 0;
  int64_t busy_until_ = 0;
  int64_t frozen_until_ = 0;
  int64_t ahead_ = 0;
  int64_t still_at_ = 0;
  int64_t still_until_ = 0;
};

}  // namespace sim

#endif  // KSHARE_SIM_MEMBER_HPP
