// SPDX-License-Identifier: Apache-2.0
// The smallest useful consumer, built as firmware would be: its symbols, its sections and its size
// are what tests/promise/binary.py looks at.
#include "kshare/consumer.hpp"
#include "kshare/net/posix.hpp"

static constexpr auto kLimits = kshare::kTinyLimits;
static kshare::Storage<kLimits> storage;
static kshare::posix::TcpPool<kLimits> net;

extern "C" void work(const uint8_t* value, uint32_t bytes);
__attribute__((noinline)) void work(const uint8_t* value, uint32_t bytes) {
  asm volatile("" : : "r"(value), "r"(bytes) : "memory");  // kept, but does nothing
}

int main() {
  kshare::Options options;
  options.bootstrap_servers = "127.0.0.1:9092";
  options.group_id = "gateways";
  kshare::ShareConsumer consumer{storage, net};
  static_cast<void>(consumer.start(options));
  static_cast<void>(consumer.subscribe({"commands"}));
  kshare::Record record;
  for (auto now = net.now(); consumer.poll(now); now = net.now()) {
    if (consumer.next(record, now)) {
      work(record.value.data, record.value.size);
    } else {
      net.wait(consumer);
    }
  }
  return consumer.status().ok() ? 0 : 1;
}
