// SPDX-License-Identifier: Apache-2.0
// What:        two consumers in one loop, with one poll(2) for both. They know nothing of each
//              other: another group, another cluster, other limits are all the same.
// Flow:        two_consumers HOST:PORT GROUP TOPIC HOST:PORT GROUP TOPIC; prints "1 VALUE" or
//              "2 VALUE".
// Memory:      each has its own Storage and its own pool; that is all they are.
// Errors:      exit 0 after SIGINT or SIGTERM, 1 usage, 2 when both have failed for good. When one
//              has, the other goes on.
#include <poll.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "kshare/core/describe.hpp"
#include "kshare/kshare.hpp"
#include "kshare/net/posix.hpp"

namespace {

kshare::Storage<kshare::kSmallLimits> commands_storage;
kshare::posix::TcpPool<kshare::kSmallLimits> commands_net;
kshare::Storage<kshare::kTinyLimits> alarms_storage;
kshare::posix::TcpPool<kshare::kTinyLimits> alarms_net;

constexpr uint32_t kRoom = kshare::kSmallLimits.links_max + kshare::kTinyLimits.links_max;
constexpr int kTurn = 64;               // records taken from one before it is the other's turn
constexpr int64_t kSleepMsMax = 60000;  // no deadline is later: a turn in vain costs nothing

volatile sig_atomic_t stop_wanted = 0;
extern "C" void on_signal(int) { stop_wanted = 1; }

// A consumer and what this loop remembers of it.
struct Station {
  kshare::ShareConsumer& consumer;
  const char* name;
  bool runs = true;   // poll() has not answered false
  bool more = false;  // its turn was over before its records were
};

void print(const char* name, const kshare::Record& record) {
  static_cast<void>(!::write(STDOUT_FILENO, name, 2));
  static_cast<void>(!::write(STDOUT_FILENO, record.value.data, record.value.size));
  static_cast<void>(!::write(STDOUT_FILENO, "\n", 1));
}

void turn(Station& station, kshare::Instant now) {
  if (station.runs && !station.consumer.poll(now)) {
    station.runs = false;
    char line[kshare::kLineBytes];
    kshare::TextOut text(line, sizeof line);
    text << station.name << station.consumer.status() << "\n";
    static_cast<void>(!::write(STDERR_FILENO, line, text.size()));
  }
  station.more = false;
  kshare::Record record;
  for (int i = 0; station.runs && stop_wanted == 0 && !station.more; ++i) {
    if (!station.consumer.next(record, now)) return;
    print(station.name, record);
    station.more = i == kTurn - 1;
  }
}

// The transports of one consumer lie in the order of its interest()s; those that are waited for
// have got an entry each, in that order too. Says which are ready, and answers what is behind them.
const pollfd* wake_ready(kshare::ShareConsumer& consumer, const pollfd* asked) {
  for (uint32_t i = 0; i < consumer.interest_count(); ++i) {
    const kshare::Interest interest = consumer.interest(i);
    const bool waited = kshare::posix::is_waited_for(interest);
    if (interest.ready_now || (waited && asked->revents != 0)) consumer.wake(i);
    if (waited) ++asked;
  }
  return asked;
}

// Sleeps until either has something to do. Between fill() and wake_ready() nothing may be called
// that changes a consumer, or the entries would no longer match.
void wait(Station& first, Station& second, kshare::Instant now) {
  pollfd fds[kRoom];
  uint32_t used = 0;
  int sleep_ms = static_cast<int>(kSleepMsMax);
  for (Station* station : {&first, &second}) {
    if (!station->runs) continue;
    used += kshare::posix::fill(station->consumer, fds + used, kRoom - used);
    // The bound becomes what is left by the one before: the smaller timeout counts.
    sleep_ms = kshare::posix::timeout_ms(station->consumer, now, sleep_ms);
    if (station->more) sleep_ms = 0;
  }
  // Signals come in while it sleeps and at no other time (main() has blocked them): none slips
  // through between the look at stop_wanted and the sleep.
  const timespec sleep = {sleep_ms / 1000, sleep_ms % 1000 * 1000000L};
  sigset_t none;
  ::sigemptyset(&none);
  if (::ppoll(fds, used, &sleep, &none) < 0) return;  // a signal: revents mean nothing
  const pollfd* asked = fds;
  for (Station* station : {&first, &second}) {
    if (station->runs) asked = wake_ready(station->consumer, asked);
  }
}

bool begin(kshare::ShareConsumer& consumer, char** words) {
  kshare::Options options;
  options.bootstrap_servers = words[0];
  options.group_id = words[1];
  return consumer.start(options).ok() && consumer.subscribe({words[2]}).ok();
}

void run(Station& first, Station& second) {
  bool closing = false;
  for (;;) {
    // Both pools read the same clock.
    const kshare::Instant now = commands_net.now();
    if (stop_wanted != 0 && !closing) {  // both at once, and the loop goes on until they have left
      closing = true;
      static_cast<void>(first.consumer.close(now, 5000));
      static_cast<void>(second.consumer.close(now, 5000));
    }
    turn(first, now);
    turn(second, now);
    if (!first.runs && !second.runs) return;
    wait(first, second, now);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 7) return 1;
  sigset_t ours;
  ::sigemptyset(&ours);
  ::sigaddset(&ours, SIGINT);
  ::sigaddset(&ours, SIGTERM);
  static_cast<void>(::sigprocmask(SIG_BLOCK, &ours, nullptr));
  ::signal(SIGINT, on_signal);
  ::signal(SIGTERM, on_signal);

  kshare::ShareConsumer commands{commands_storage, commands_net};
  kshare::ShareConsumer alarms{alarms_storage, alarms_net};
  if (!begin(commands, argv + 1) || !begin(alarms, argv + 4)) return 1;
  Station first{commands, "1 "};
  Station second{alarms, "2 "};
  run(first, second);
  return stop_wanted != 0 && commands.status().ok() && alarms.status().ok() ? 0 : 2;
}
