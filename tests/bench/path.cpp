// SPDX-License-Identifier: Apache-2.0
// What:        the whole consumer in memory, the mini broker behind it: for callgrind, which counts
//              what kshare does behind the first record, and neither transports nor the broker.
// Flow:        path VALUE_BYTES RECORDS
// Memory:      the topic, and static as bench/limits.hpp says.
// Errors:      exit 1 when not every record has been accepted.
#include <cstdio>
#include <cstdlib>

#include "bench/batches.hpp"
#include "bench/collect.hpp"
#include "bench/limits.hpp"
#include "support/world.hpp"

namespace {

// Another transport, not counted while it works.
class Uncounted final : public kshare::Transport {
 public:
  kshare::Transport* inner = nullptr;

  kshare::Status open(const kshare::Endpoint& endpoint, kshare::Instant now) override {
    const bench::Aside aside;
    return inner->open(endpoint, now);
  }
  kshare::IoResult advance(kshare::Instant now) override {
    const bench::Aside aside;
    return inner->advance(now);
  }
  kshare::IoResult read(kshare::MutableBytes into) override {
    const bench::Aside aside;
    return inner->read(into);
  }
  kshare::IoResult write(kshare::Bytes from) override {
    const bench::Aside aside;
    return inner->write(from);
  }
  void close() override {
    const bench::Aside aside;
    inner->close();
  }
  kshare::Interest interest() const override {
    const bench::Aside aside;
    return inner->interest();
  }
};

class Pool final : public kshare::TransportPool {
 public:
  Pool(minibroker::Broker& broker, const int64_t& clock) : inner_(size()) {
    for (uint32_t i = 0; i < size(); ++i) {
      inner_.transports[i].broker = &broker;
      inner_.transports[i].clock = &clock;
      wrapped_[i].inner = &inner_.transports[i];
    }
  }
  uint32_t size() const override { return bench::limits.links_max; }
  kshare::Transport& transport(uint32_t index) override { return wrapped_[index]; }
  bool entropy(kshare::MutableBytes into) override { return inner_.entropy(into); }

 private:
  world::Pool inner_;
  Uncounted wrapped_[bench::limits.links_max];
};

kshare::Storage<bench::limits> storage;

// The README's loop, until there is nothing at hand.
uint64_t turn(kshare::ShareConsumer& consumer, kshare::Instant now) {
  const bench::Collect collect{consumer.stats().records != 0};
  uint64_t sum = 0;
  kshare::Record record;
  consumer.wake();
  while (consumer.poll(now) && consumer.next(record, now)) {
    sum += record.value.size + record.value.data[0];
  }
  return sum;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return 1;
  const size_t wanted = std::strtoul(argv[2], nullptr, 10);
  minibroker::Broker broker{minibroker::Config{}};
  bench::fill(broker, std::strtoul(argv[1], nullptr, 10), wanted);
  int64_t now = 1000;
  Pool pool{broker, now};
  kshare::ShareConsumer consumer{storage, pool};
  kshare::Options options;
  options.bootstrap_servers = "127.0.0.1:9092";
  options.group_id = "g";
  if (!consumer.start(options).ok() || !consumer.subscribe({"t"}).ok()) return 1;
  uint64_t sum = 0;
  for (uint64_t turns = 0; consumer.stats().acks_ok < wanted && turns < 100 * wanted; ++turns) {
    broker.tick(now);
    sum += turn(consumer, kshare::Instant{now});
    if (turns % 4 == 0) ++now;
  }
  std::printf("{\"records\": %llu, \"bytes\": %llu, \"bytes_received\": %llu, \"sum\": %llu}\n",
              static_cast<unsigned long long>(consumer.stats().acks_ok),
              static_cast<unsigned long long>(consumer.stats().bytes),
              static_cast<unsigned long long>(consumer.stats().bytes_received),
              static_cast<unsigned long long>(sum));
  return consumer.stats().acks_ok == wanted ? 0 : 1;
}
