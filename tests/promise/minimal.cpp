// SPDX-License-Identifier: Apache-2.0
// The smallest useful consumer, built as firmware would be: tests/promise/binary.py looks at its
// symbols and its sections, tests/footprint/run.py at its size. With one KSHARE_WITH_... it uses a
// feature more: what that adds is measured too.
#include "kshare/consumer.hpp"
#include "kshare/net/posix.hpp"
#if defined(KSHARE_WITH_NAMES)
#include "kshare/net/dns.hpp"
#elif defined(KSHARE_WITH_PROPERTIES)
#include "kshare/core/properties.hpp"
#elif defined(KSHARE_WITH_STATUS_TEXTS) || defined(KSHARE_WITH_EVENT_TEXTS)
#include "kshare/core/describe.hpp"
#elif defined(KSHARE_WITH_WIRE_TRACE)
#include "kshare/net/trace.hpp"
#elif defined(KSHARE_WITH_STATE_TRACE)
#include "kshare/core/trace_format.hpp"
#endif

static constexpr auto kLimits = kshare::kTinyLimits;
static kshare::Storage<kLimits> storage;
static kshare::posix::TcpPool<kLimits> net;

extern "C" void work(const void* value, uint32_t bytes);
__attribute__((noinline)) void work(const void* value, uint32_t bytes) {
  asm volatile("" : : "r"(value), "r"(bytes) : "memory");  // kept, but does nothing
}

// ---- The features: what they do before start(), with a record, and when there is none.
struct Feature {
  static void before(kshare::Options&) {}
  static void with(kshare::ShareConsumer&, const kshare::Record&) {}
  static void idle(kshare::ShareConsumer&) {}
  static kshare::TransportPool& pool() { return net; }
};

#if defined(KSHARE_WITH_NAMES)
static kshare::posix::DnsStorage<kLimits.links_max + 2> names;
static kshare::posix::Dns dns{names};
struct Used : Feature {
  static void before(kshare::Options&) { net.use(dns); }
};

#elif defined(KSHARE_WITH_PROPERTIES)
static const char* volatile property_name = "fetch.max.wait.ms";
static const char* volatile property_value = "250";
struct Used : Feature {
  static void before(kshare::Options& options) {
    const auto result = kshare::set(options, property_name, property_value);
    work(result.reason, static_cast<uint32_t>(result.outcome));
  }
};

#elif defined(KSHARE_WITH_STATUS_TEXTS)
struct Used : Feature {
  static void idle(kshare::ShareConsumer& consumer) {
    char line[kshare::kLineBytes];
    work(line, kshare::describe(consumer.status(), line, sizeof line));
  }
};

#elif defined(KSHARE_WITH_EVENT_TEXTS)
struct Used : Feature {
  static void idle(kshare::ShareConsumer& consumer) {
    char line[kshare::kLineBytes];
    kshare::Event event;
    while (consumer.next_event(event)) work(line, kshare::format(event, line, sizeof line));
  }
};

#elif defined(KSHARE_WITH_WIRE_TRACE)
static void show(void*, const kshare::WireEntry& entry) {
  char line[kshare::kLineBytes];
  work(line, kshare::format(entry, line, sizeof line));
}
static kshare::TracePool<kLimits, kshare::posix::TcpPool<kLimits>> traced{net, {show, nullptr}};
struct Used : Feature {
  static kshare::TransportPool& pool() { return traced; }
};

#elif defined(KSHARE_WITH_STATE_TRACE)
static void show(void*, const kshare::TraceEntry& entry) {
  char line[kshare::kLineBytes];
  work(line, kshare::format(entry, line, sizeof line));
}
struct Used : Feature {
  static void before(kshare::Options& options) { options.trace = {show, nullptr}; }
};

#elif defined(KSHARE_WITH_EXPLICIT_ACKS)
struct Used : Feature {
  static void before(kshare::Options& options) {
    options.acknowledgement_mode = kshare::AckMode::explicit_mode;
  }
  static void with(kshare::ShareConsumer& consumer, const kshare::Record& record) {
    static_cast<void>(consumer.acknowledge(record, kshare::Ack::renew));
    static_cast<void>(consumer.acknowledge(record, kshare::Ack::accept));
  }
};

#elif defined(KSHARE_WITH_COMMIT)
struct Used : Feature {
  static void idle(kshare::ShareConsumer& consumer) {
    static_cast<void>(kshare::posix::commit_sync(consumer, net, 1000));
  }
};

#elif defined(KSHARE_WITH_INSPECT)
struct Used : Feature {
  static void idle(kshare::ShareConsumer& consumer) {
    const kshare::MemberInfo member = consumer.member();
    work(&member, sizeof member);
    kshare::LinkInfo link;
    for (uint32_t i = 0; consumer.link(i, link); ++i) work(&link, sizeof link);
    kshare::AssignedPartition partition;
    for (uint32_t i = 0; consumer.assignment(i, partition); ++i) work(&partition, sizeof partition);
  }
};

#else
using Used = Feature;
#endif

int main() {
  kshare::Options options;
  options.bootstrap_servers = "127.0.0.1:9092";
  options.group_id = "gateways";
  Used::before(options);
  kshare::ShareConsumer consumer{storage, Used::pool()};
  static_cast<void>(consumer.start(options));
  static_cast<void>(consumer.subscribe({"commands"}));
  kshare::Record record;
  for (auto now = net.now(); consumer.poll(now); now = net.now()) {
    if (consumer.next(record, now)) {
      work(record.value.data, record.value.size);
      Used::with(consumer, record);
    } else {
      Used::idle(consumer);
      net.wait(consumer);
    }
  }
  return consumer.status().ok() ? 0 : 1;
}
