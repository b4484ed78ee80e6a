// SPDX-License-Identifier: Apache-2.0
// What:        a gateway's daemon: works on the records of a share group for ever, under systemd or
//              any other supervisor, with a watchdog.
// Flow:        gateway PROPERTIES; records -> handle() (handle.cpp) -> accept, release, reject.
// Memory:      static; no heap, no thread, no stdio.
// Errors:      exit 0: stopped by SIGTERM, SIGINT or SIGHUP (a supervisor that restarts it then has
//              the new configuration read); 64: usage; 78: the configuration is wrong. Nothing else
//              ends it: it waits and begins again.
#include <signal.h>

#include "config.hpp"
#include "handle.hpp"
#include "kshare/kshare.hpp"
#include "kshare/net/dns.hpp"
#include "kshare/net/posix.hpp"
#include "log.hpp"
#include "report.hpp"
#include "supervisor.hpp"

namespace gateway {
namespace {

constexpr int kStopped = 0;
constexpr int kUsage = 64;        // EX_USAGE
constexpr int kConfigWrong = 78;  // EX_CONFIG

using kshare::Ack;
using kshare::Errc;
using kshare::Instant;
using kshare::Status;

kshare::Storage<kLimits> storage;
kshare::posix::TcpPool<kLimits> net;
kshare::posix::DnsStorage<kLimits.links_max + 2> names;
kshare::posix::Dns dns{names};
char config_text[kConfigBytes + 1];
Supervisor supervisor;
Reporter reporter;
volatile sig_atomic_t stop_wanted = 0;

extern "C" void on_signal(int) {
  stop_wanted = 1;
  net.wakeup();
}

void take_signals() {
  struct sigaction action = {};
  action.sa_handler = on_signal;
  for (const int number : {SIGTERM, SIGINT, SIGHUP}) ::sigaction(number, &action, nullptr);
  action.sa_handler = SIG_IGN;
  ::sigaction(SIGPIPE, &action, nullptr);  // write() says it too
}

int64_t sooner(int64_t a_ms, int64_t b_ms) {
  return a_ms < 0 ? b_ms : b_ms < 0 || a_ms < b_ms ? a_ms : b_ms;
}

void work(kshare::ShareConsumer& consumer, const kshare::Record& record) {
  const Work outcome = handle(record);
  const Ack ack = outcome == Work::done    ? Ack::accept
                  : outcome == Work::retry ? Ack::release
                                           : Ack::reject;
  if (outcome == Work::bad) {
    Line(Level::warning) << "bad record: " << record.topic << " partition " << record.partition
                         << " offset " << record.offset;
  }
  const Status status = consumer.acknowledge(record, ack);
  if (status.ok()) return;
  Line(Level::warning) << record.topic << " partition " << record.partition << " offset "
                       << record.offset << ": " << status;
}

// One life of the consumer, until a signal or a failure that ends it. True: it was in the group.
bool serve(kshare::ShareConsumer& consumer) {
  bool joined = false;
  kshare::Record record;
  for (Instant now = net.now(); stop_wanted == 0 && consumer.poll(now); now = net.now()) {
    supervisor.feed(now);
    if (reporter.turn(consumer, supervisor, now)) joined = true;
    if (consumer.next(record, now)) work(consumer, record);
    else net.wait(consumer, sooner(supervisor.wait_ms(now), reporter.wait_ms(now)));
  }
  return joined;
}

// What has been acknowledged leaves, what has not is released, the group is left; as
// kshare::posix::close(), but with the watchdog fed.
void close(kshare::ShareConsumer& consumer, int64_t timeout_ms) {
  Instant now = net.now();
  static_cast<void>(consumer.close(now, timeout_ms));
  for (; consumer.poll(now); now = net.now()) {
    supervisor.feed(now);
    net.wait(consumer, supervisor.wait_ms(now));
  }
  reporter.turn(consumer, supervisor, now);
}

// net.wait() without a consumer: signals end it.
struct Nobody {
  static uint32_t interest_count() { return 0; }
  static kshare::Interest interest(uint32_t) { return {}; }
  static Instant deadline() { return kshare::kNever; }
  static void wake(uint32_t) {}
};

void rest(int64_t ms) {
  Nobody nobody;
  const Instant until = net.now() + ms;
  for (Instant now = net.now(); stop_wanted == 0 && now < until; now = net.now()) {
    supervisor.feed(now);
    net.wait(nobody, sooner(supervisor.wait_ms(now), until - now));
  }
}

Status start(kshare::ShareConsumer& consumer, const Config& config) {
  const Status status = consumer.start(config.options);
  if (!status.ok()) return status;
  return consumer.subscribe({config.topics, config.topic_count});
}

bool is_wrong_config(Status status) {
  return status.code == Errc::bad_option || status.code == Errc::too_long ||
         status.code == Errc::too_many;
}

void tell_failure(const kshare::ShareConsumer& consumer, Status status, int64_t rest_ms) {
  char words[kshare::kLineBytes];
  kshare::TextOut out(words, sizeof words);
  out << "waits " << rest_ms << " ms and starts again: " << status;
  if (!consumer.last_error().empty()) out << " (" << consumer.last_error() << ")";
  Line(Level::error) << words;
  supervisor.status(words);
}

int run(const Config& config) {
  kshare::ShareConsumer consumer{storage, net};
  int64_t rest_ms = config.restart_ms;
  for (bool first = true; stop_wanted == 0; first = false) {
    const Status started = start(consumer, config);
    if (is_wrong_config(started)) {
      Line(Level::error) << "configuration: " << started << " (" << consumer.last_error() << ")";
      return kConfigWrong;
    }
    // Not when the group is joined: a network that is down must not have us started over and over.
    if (first) supervisor.ready();
    if (serve(consumer)) rest_ms = config.restart_ms;
    if (stop_wanted != 0) break;
    const Status failure = started.ok() ? consumer.status() : started;
    close(consumer, config.close_ms);
    tell_failure(consumer, failure, rest_ms);
    rest(rest_ms);
    rest_ms = rest_ms < config.restart_max_ms / 2 ? rest_ms * 2 : config.restart_max_ms;
  }
  supervisor.stopping();
  close(consumer, config.close_ms);
  reporter.counters(consumer, supervisor);
  supervisor.end();
  return kStopped;
}

int main_with(const char* path) {
  Config config;
  if (!read_config(path, config_text, config)) return kConfigWrong;
  take_signals();
  net.use(dns);
  supervisor.begin(config.watchdog_device, config.watchdog_feed_ms);
  reporter.begin(config.status_ms, net.now());
  return run(config);
}

}  // namespace
}  // namespace gateway

int main(int argc, char** argv) {
  if (argc == 2) return gateway::main_with(argv[1]);
  gateway::Line(gateway::Level::error) << "usage: gateway PROPERTIES";
  return gateway::kUsage;
}
