// SPDX-License-Identifier: Apache-2.0
// Each call of a consumer as a function of its own, for tests/footprint/stack.py to count the stack
// below it; and a program that starts a consumer, runs it on a painted stack and prints how deep it
// went there. HOSTS-FILE is where names are looked up, if it is compiled with names:
//
//     stack HOST:PORT TOPIC RECORDS HOSTS-FILE
#include <ucontext.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>

#include "kshare/consumer.hpp"
#include "kshare/net/dns.hpp"
#include "kshare/net/posix.hpp"

static constexpr auto kLimits = kshare::kTinyLimits;
using Network = kshare::posix::TcpPool<kLimits>;
static kshare::Storage<kLimits> storage;
static Network net;
#if defined(KSHARE_WITH_NAMES)
static kshare::posix::DnsStorage<kLimits.links_max + 2> names;
alignas(kshare::posix::Dns) static unsigned char dns_room[sizeof(kshare::posix::Dns)];
#endif
alignas(kshare::ShareConsumer) static unsigned char room[sizeof(kshare::ShareConsumer)];

#define ENTRY extern "C" __attribute__((noinline, used))

ENTRY kshare::ShareConsumer* stack_constructor() {
  return ::new (static_cast<void*>(room)) kshare::ShareConsumer{storage, net};
}
ENTRY kshare::Status stack_start(kshare::ShareConsumer& its, const kshare::Options& options) {
  return its.start(options);
}
ENTRY kshare::Status stack_subscribe(kshare::ShareConsumer& its, std::string_view topic) {
  return its.subscribe({topic});
}
ENTRY bool stack_poll(kshare::ShareConsumer& its, kshare::Instant now) { return its.poll(now); }
ENTRY bool stack_next(kshare::ShareConsumer& its, kshare::Record& record, kshare::Instant now) {
  return its.next(record, now);
}
ENTRY kshare::Status stack_acknowledge(kshare::ShareConsumer& its, const kshare::Record& record) {
  return its.acknowledge(record, kshare::Ack::renew);
}
ENTRY kshare::Status stack_commit(kshare::ShareConsumer& its, kshare::Ticket& ticket) {
  return its.commit(ticket);
}
ENTRY kshare::Status stack_close(kshare::ShareConsumer& its, kshare::Instant now) {
  return its.close(now, 5000);
}
ENTRY void stack_wait(kshare::ShareConsumer& its) { net.wait(its); }

#if defined(KSHARE_WITH_NAMES)
static void use_names(const char* hosts_path) {
  kshare::posix::DnsOptions options;
  options.hosts_path = hosts_path;
  net.use(*::new (static_cast<void*>(dns_room)) kshare::posix::Dns{names, options});
}
#else
static void use_names(const char*) {}
#endif

// ---- The painted stack.
static constexpr unsigned char kPaint = 0xA5;
alignas(16) static unsigned char painted[64 * 1024];
static ucontext_t outside;
static ucontext_t inside;
static long wanted;
static long records;

ENTRY void stack_loop() {
  kshare::ShareConsumer& consumer =
      *std::launder(static_cast<kshare::ShareConsumer*>(static_cast<void*>(room)));
  kshare::Record record;
  kshare::Ticket ticket = 0;
  for (auto now = net.now(); stack_poll(consumer, now); now = net.now()) {
    while (stack_next(consumer, record, now)) {
      static_cast<void>(stack_acknowledge(consumer, record));
      if (++records == wanted) {
        static_cast<void>(stack_commit(consumer, ticket));
        static_cast<void>(stack_close(consumer, now));
      }
    }
    stack_wait(consumer);
  }
}

int main(int count, char** words) {
  if (count != 5) return 1;
  wanted = std::atol(words[3]);
  kshare::ShareConsumer& consumer = *stack_constructor();
  kshare::Options options;
  options.bootstrap_servers = words[1];
  options.group_id = "footprint";
  use_names(words[4]);
  if (!stack_start(consumer, options).ok() || !stack_subscribe(consumer, words[2]).ok()) return 1;
  std::memset(painted, kPaint, sizeof painted);
  if (::getcontext(&inside) != 0) return 1;
  inside.uc_stack.ss_sp = painted;
  inside.uc_stack.ss_size = sizeof painted;
  inside.uc_link = &outside;
  ::makecontext(&inside, stack_loop, 0);
  if (::swapcontext(&outside, &inside) != 0) return 1;
  size_t untouched = 0;
  while (untouched < sizeof painted && painted[untouched] == kPaint) ++untouched;
  std::printf("%ld records, %zu bytes\n", records, sizeof painted - untouched);
  return records == wanted ? 0 : 1;
}
