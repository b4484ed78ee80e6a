// SPDX-License-Identifier: Apache-2.0
// What:        a policy for work that fails: tried again after a while, given to others, and set
//              aside as poison in the end.
// Flow:        retry_policy HOST:PORT GROUP TOPIC [QUARANTINE-FILE]; here the value says how its
//              work goes: "fail-once" fails the first time, "fail-here" until another delivery,
//              "fail-always" for ever, "poison" so that trying again is no use.
// Memory:      64 KiB for the consumer (kSmallLimits), 8 records that wait, one line.
// Errors:      exit 0 after SIGINT or SIGTERM, 1 usage, 2 failed for good.
//
// A share group knows no delay: what is released comes again at once, maybe here. So a record whose
// work has failed stays in hand until its next try, its lock renewed. After kTriesMax tries it is
// released, for another member may succeed where this one cannot. At the kDeliveriesMax-th delivery
// it is poison: written down, then rejected.
//
// What to know about the delivery count:
// - It counts deliveries, not failures. A member that is killed, loses its locks or closes raises
//   it for records that it has never looked at: count 2 does not mean that the work failed once.
// - At the group's own limit (share.delivery.count.limit, 5 unless configured) the broker drops a
//   record that is released, and tells nobody. Stay below it, and nothing is lost unseen.
// - The tries in hand are not in it, and are forgotten with this process.
// So the work, and the writing down too, should bear being done twice.
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "kshare/core/describe.hpp"
#include "kshare/kshare.hpp"
#include "kshare/net/posix.hpp"

namespace {

constexpr int32_t kTriesMax = 3;
constexpr int16_t kDeliveriesMax = 4;
constexpr int64_t kDelayMs = 250;  // before the second try; doubled before each one behind it

kshare::Storage<kshare::kSmallLimits> storage;
kshare::posix::TcpPool<kshare::kSmallLimits> net;
volatile sig_atomic_t stop_wanted = 0;
int quarantine = -1;

extern "C" void on_signal(int) {
  stop_wanted = 1;
  net.wakeup();
}

enum class Outcome { done, failed, hopeless };

// Your work. `tries`: those before this one, in this process and in this delivery.
Outcome work(const kshare::Record& record, int32_t tries) {
  const std::string_view value = record.value.text();
  const bool fresh = record.delivery_count == 1;
  if (value == "poison") return Outcome::hopeless;
  if (value == "fail-always") return Outcome::failed;
  if (value == "fail-here") return fresh ? Outcome::failed : Outcome::done;
  if (value == "fail-once") return fresh && tries == 0 ? Outcome::failed : Outcome::done;
  return Outcome::done;
}

bool write_all(int to, const void* data, size_t size) {
  const char* at = static_cast<const char*>(data);
  while (size != 0) {
    const ssize_t count = ::write(to, at, size);
    if (count <= 0) return false;
    at += count;
    size -= static_cast<size_t>(count);
  }
  return true;
}

// True once it is on the disk: only then may the broker forget the record. Killed between the two,
// we write it down again: its place tells that it is the same. (A group can have a topic for this,
// its dead-letter queue, where the broker offers that; then rejecting is enough.)
bool set_aside(const kshare::Record& record) {
  if (quarantine < 0) return true;  // not wanted
  // Room for the longest place, as a cut one would tell nothing: a topic's name has up to 249
  // letters, a partition 10 digits, an offset 19; three blanks, and the NUL.
  char head[249 + 10 + 19 + 3 + 1];
  kshare::TextOut text(head, sizeof head);
  text << record.topic << " " << record.partition << " " << record.offset << " ";
  return write_all(quarantine, head, text.size()) &&
         write_all(quarantine, record.value.data, record.value.size) &&
         write_all(quarantine, "\n", 1) && ::fsync(quarantine) == 0;
}

void print(const kshare::Record& record, int32_t tries, const char* what) {
  char line[kshare::kLineBytes];
  kshare::TextOut text(line, sizeof line - 1);
  text << record.offset << " delivery " << int32_t{record.delivery_count} << " try " << tries + 1
       << " " << what << " " << record.value.text();
  line[text.size()] = '\n';
  static_cast<void>(write_all(STDOUT_FILENO, line, text.size() + 1));
}

// The record ends here. lock_lost is no reason to worry: it comes again, its count one higher.
void settle(kshare::ShareConsumer& consumer, const kshare::Record& record, kshare::Ack ack) {
  static_cast<void>(consumer.acknowledge(record, ack));
}

void give_up(kshare::ShareConsumer& consumer, const kshare::Record& record, int32_t tries) {
  const bool written = set_aside(record);
  print(record, tries, written ? "poison" : "release, as it cannot be set aside");
  settle(consumer, record, written ? kshare::Ack::reject : kshare::Ack::release);
}

// A record in hand, its views valid until it is settled.
struct Case {
  kshare::Record record;
  int32_t tries = 0;  // those that have failed
  int64_t lock_ms = 0;
  kshare::Instant renew_at{};
  kshare::Instant retry_at{};
};

// Those that wait for their next try. They keep their store slots: where each is in another one
// nothing new comes, which is not wrong while everything fails. If it is: copy what the work needs,
// and detach().
class Waiting {
 public:
  // False: there is no place for one more.
  bool add(const Case& one) {
    for (Place& place : places_) {
      if (place.used) continue;
      place = {one, true};
      return true;
    }
    return false;
  }
  // One whose time has come.
  bool take(Case& one, kshare::Instant now) {
    for (Place& place : places_) {
      if (!place.used || now < place.its.retry_at) continue;
      one = place.its;
      place.used = false;
      return true;
    }
    return false;
  }
  void renew(kshare::ShareConsumer& consumer, kshare::Instant now) {
    for (Place& place : places_) {
      Case& its = place.its;
      if (!place.used || now < its.renew_at) continue;
      its.renew_at = now + its.lock_ms / 2;
      if (consumer.acknowledge(its.record, kshare::Ack::renew).ok()) continue;
      // It cannot be kept (Kafka 4.1, or too late): better now for somebody else than at the end of
      // its lock.
      print(its.record, its.tries, "release, not renewed:");
      settle(consumer, its.record, kshare::Ack::release);
      place.used = false;
    }
  }
  // Until something is to be done; -1: nothing is.
  int64_t wait_ms(kshare::Instant now) const {
    kshare::Instant next = kshare::kNever;
    for (const Place& place : places_) {
      if (!place.used) continue;
      next = kshare::earlier(next, kshare::earlier(place.its.retry_at, place.its.renew_at));
    }
    if (next == kshare::kNever) return -1;
    return next < now ? 0 : next - now;
  }

 private:
  struct Place {
    Case its;
    bool used = false;
  };
  Place places_[8];
};

void attempt(kshare::ShareConsumer& consumer, Waiting& waiting, Case& one, kshare::Instant now) {
  const kshare::Record& record = one.record;
  const Outcome outcome = work(record, one.tries);
  if (outcome == Outcome::done) {
    print(record, one.tries, "accept");
    return settle(consumer, record, kshare::Ack::accept);
  }
  if (outcome == Outcome::hopeless) return give_up(consumer, record, one.tries);
  Case again = one;
  again.retry_at = now + (kDelayMs << one.tries);
  if (++again.tries < kTriesMax && waiting.add(again)) return print(record, one.tries, "later");
  if (record.delivery_count >= kDeliveriesMax) return give_up(consumer, record, one.tries);
  print(record, one.tries, "release");
  settle(consumer, record, kshare::Ack::release);
}

// The next record to work on: one that has waited, else a new one.
bool next(kshare::ShareConsumer& consumer, Waiting& waiting, Case& one, kshare::Instant now) {
  if (waiting.take(one, now)) return true;
  one = Case{};
  if (!consumer.next(one.record, now)) return false;
  one.lock_ms = one.record.lock_deadline - now;
  one.renew_at = now + one.lock_ms / 2;
  return true;
}

void report(kshare::ShareConsumer& consumer) {
  kshare::Event event;
  while (consumer.next_event(event)) {
    char line[kshare::kLineBytes];
    const uint32_t size = kshare::format(event, line, sizeof line - 1);
    line[size] = '\n';
    static_cast<void>(write_all(STDERR_FILENO, line, size + 1));
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4 && argc != 5) return 1;
  if (argc == 5) quarantine = ::open(argv[4], O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
  if (argc == 5 && quarantine < 0) return 1;
  kshare::Options options;
  options.bootstrap_servers = argv[1];
  options.group_id = argv[2];
  options.acknowledgement_mode = kshare::AckMode::explicit_mode;
  ::signal(SIGINT, on_signal);
  ::signal(SIGTERM, on_signal);

  kshare::ShareConsumer consumer{storage, net};
  if (!consumer.start(options).ok() || !consumer.subscribe({argv[3]}).ok()) return 1;
  Waiting waiting;
  Case one;
  for (auto now = net.now(); stop_wanted == 0 && consumer.poll(now); now = net.now()) {
    report(consumer);
    waiting.renew(consumer, now);
    if (next(consumer, waiting, one, now)) attempt(consumer, waiting, one, now);
    else net.wait(consumer, waiting.wait_ms(now));
  }
  // What waits is released with the rest, for others to try.
  const kshare::Status status = kshare::posix::close(consumer, net, 5000);
  report(consumer);
  return status.ok() ? 0 : 2;
}
