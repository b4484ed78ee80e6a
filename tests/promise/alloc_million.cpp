// SPDX-License-Identifier: Apache-2.0
// A million records through the whole consumer, mini broker behind it: kshare makes no heap call.
// What the transports and the broker do is not counted; everything else inside poll, next and
// acknowledge is.
#include <cstdio>

#include "support/alloc_count.hpp"
#include "support/world.hpp"

namespace {

constexpr int kBatches = 10000;
constexpr int kPerBatch = 100;
constexpr uint64_t kRecords = uint64_t{kBatches} * kPerBatch;

template <typename Work>
auto aside(const Work& work) {
  const bool counting = alloc_count::enabled;
  alloc_count::enabled = false;
  auto result = work();
  alloc_count::enabled = counting;
  return result;
}

// Another transport, with the counting suspended while it works.
class Uncounted final : public kshare::Transport {
 public:
  kshare::Transport* inner = nullptr;

  kshare::Status open(const kshare::Endpoint& endpoint, kshare::Instant now) override {
    return aside([&] { return inner->open(endpoint, now); });
  }
  kshare::IoResult advance(kshare::Instant now) override {
    return aside([&] { return inner->advance(now); });
  }
  kshare::IoResult read(kshare::MutableBytes into) override {
    return aside([&] { return inner->read(into); });
  }
  kshare::IoResult write(kshare::Bytes from) override {
    return aside([&] { return inner->write(from); });
  }
  void close() override {
    aside([&] {
      inner->close();
      return 0;
    });
  }
  kshare::Interest interest() const override { return inner->interest(); }
};

constexpr auto& kLimits = kshare::kDefaultLimits;
kshare::Storage<kLimits> storage_of_the_consumer;

class UncountedPool final : public kshare::TransportPool {
 public:
  explicit UncountedPool(minibroker::Broker& broker, const int64_t& clock) : inner(size()) {
    for (uint32_t i = 0; i < size(); ++i) {
      inner.transports[i].broker = &broker;
      inner.transports[i].clock = &clock;
      wrapped_[i].inner = &inner.transports[i];
    }
  }
  uint32_t size() const override { return kLimits.links_max; }
  kshare::Transport& transport(uint32_t index) override { return wrapped_[index]; }
  bool entropy(kshare::MutableBytes into) override { return inner.entropy(into); }
  world::Pool inner;

 private:
  Uncounted wrapped_[kLimits.links_max];
};

void fill(minibroker::Broker& broker) {
  broker.add_topic("t", 4);
  std::vector<minibroker::Rec> batch(kPerBatch);
  for (auto& record : batch) record.value = "a value of some twenty";
  for (int i = 0; i < kBatches; ++i) broker.append("t", i % 4, batch);
}

// One turn of an application's loop, counted.
uint64_t turn(kshare::ShareConsumer& consumer, kshare::Instant now) {
  AllocCount count;
  consumer.wake();
  consumer.poll(now);
  kshare::Record record;
  while (consumer.next(record, now)) {
  }
  return count.calls();
}

}  // namespace

int main() {
  minibroker::Broker broker{minibroker::Config{}};
  int64_t now = 1000;
  fill(broker);
  UncountedPool pool{broker, now};
  kshare::ShareConsumer consumer{storage_of_the_consumer, pool};
  kshare::Options options;
  options.bootstrap_servers = "127.0.0.1:9092";
  options.group_id = "g";
  uint64_t calls = 0;
  bool started = false;
  {
    AllocCount count;
    started = consumer.start(options).ok() && consumer.subscribe({"t"}).ok();
    calls += count.calls();
  }
  for (int turns = 0; started && consumer.stats().acks_ok < kRecords && turns < 1000000; ++turns) {
    broker.tick(now);
    calls += turn(consumer, kshare::Instant{now});
    if (turns % 4 == 0) ++now;
  }
  std::printf("%u heap calls in %u records\n", static_cast<unsigned>(calls),
              static_cast<unsigned>(consumer.stats().acks_ok));
  return calls == 0 && consumer.stats().acks_ok == kRecords ? 0 : 1;
}
