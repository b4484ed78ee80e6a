// SPDX-License-Identifier: Apache-2.0
// What:        a look into a running consumer: membership, connections, share sessions, partitions,
//              records in hand, the last events, and what to do about it.
// Flow:        diagnose HOST:PORT GROUP TOPIC; a report for each SIGUSR1, each line on standard
//              input, and at the end. Values that begin with "hold" are never acknowledged.
// Memory:      the consumer's, and the last 8 events. Reporting takes one line on the stack.
// Errors:      exit 0 after SIGINT or SIGTERM, 1 usage, 2 failed for good.
//
// Copy Report into your program: it needs a consumer and a descriptor, and no state of its own but
// the events, which every program reads in its own way.
#include <poll.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "kshare/core/describe.hpp"
#include "kshare/kshare.hpp"
#include "kshare/net/posix.hpp"

namespace {

constexpr auto& kLimits = kshare::kSmallLimits;
kshare::Storage<kLimits> storage;
kshare::posix::TcpPool<kLimits> net;

volatile sig_atomic_t stop_wanted = 0;
volatile sig_atomic_t report_wanted = 0;
extern "C" void on_stop(int) { stop_wanted = 1; }
extern "C" void on_report(int) { report_wanted = 1; }

constexpr uint32_t kEvents = 8;
kshare::Event events[kEvents];  // a ring: event n lies at n % kEvents
uint64_t events_seen = 0;

void note_events(kshare::ShareConsumer& consumer) {
  while (consumer.next_event(events[events_seen % kEvents])) ++events_seen;
}

class Report {
 public:
  Report(const kshare::ShareConsumer& consumer, kshare::Instant now, int to)
      : consumer_(consumer), now_(now), to_(to) {}

  void write() {
    begin() << "---- kshare " << kshare::kVersion;
    end();
    member();
    topics();
    partitions();
    for (uint32_t i = 0; consumer_.link(i, link_); ++i) link(i);
    held();
    counters();
    last_events();
    if (advices_ == 0) advise("nothing: all is well");
    begin() << "---- end";
    end();
  }

 private:
  // A line at a time: `begin() << ...; end();`.
  kshare::TextOut& begin() {
    text_ = kshare::TextOut(line_, sizeof line_ - 1);
    return text_;
  }
  void end() {
    line_[text_.size()] = '\n';
    static_cast<void>(!::write(to_, line_, text_.size() + 1));
  }
  void advise(const char* words) {
    ++advices_;
    begin() << "advice: " << words;
    end();
  }

  void member() {
    const kshare::MemberInfo its = consumer_.member();
    begin() << "status: " << consumer_.status();
    if (!consumer_.last_error().empty()) text_ << " (" << consumer_.last_error() << ")";
    end();
    begin() << "member: " << kshare::describe(its.state) << ", epoch " << its.epoch << ", id "
            << its.id;
    if (its.coordinator >= 0) text_ << ", coordinator is node " << its.coordinator;
    if (its.due != kshare::kNever) text_ << ", due in " << its.due - now_ << " ms";
    end();
    const bool joined = its.state == kshare::MemberState::stable;
    if (!consumer_.engine().running()) return;
    if (its.state == kshare::MemberState::joining && its.coordinator < 0) {
      advise("the group coordinator is not known: is a broker reachable, and "
             "__share_group_state healthy?");
    } else if (joined && consumer_.assignment_count() == 0) {
      advise("nothing is assigned: does the topic exist? A new group takes a second or two");
    }
  }

  void topics() {
    kshare::SubscribedTopic its;
    for (uint32_t i = 0; consumer_.subscription(i, its); ++i) {
      begin() << "topic " << its.name << ": ";
      if (!its.status.ok()) text_ << its.status;
      else text_ << (its.id.is_zero() ? "not looked up yet" : "known");
      end();
      if (!its.status.ok()) advise("a topic cannot be used: see its line");
    }
  }

  void partitions() {
    kshare::AssignedPartition its;
    bool waits = false;
    bool fails = false;
    for (uint32_t i = 0; consumer_.assignment(i, its); ++i) {
      begin() << "partition " << its.topic << " " << its.partition << ": leader ";
      if (its.leader < 0) text_ << "unknown";
      else text_ << "node " << its.leader << " epoch " << its.leader_epoch;
      if (its.link >= 0) text_ << ", link " << its.link;
      text_ << (its.in_session ? ", in a session" : ", in no session");
      if (!its.status.ok()) text_ << ", " << its.status;
      end();
      waits = waits || (its.leader >= 0 && its.link < 0);
      fails = fails || !its.status.ok();
    }
    if (waits) advise("leaders take turns: raise Limits::links_max, to one more than the brokers");
    if (fails) advise("a partition cannot be fetched: see its line");
  }

  void link(uint32_t i) {
    if (link_.state == kshare::LinkState::idle) return;
    begin() << "link " << int64_t{i} << " " << kshare::describe(link_.role) << ": "
            << kshare::describe(link_.state) << ", ";
    if (link_.node >= 0) text_ << "node " << link_.node << " at ";
    text_ << link_.host << ":" << int32_t{link_.port};
    if (link_.busy) {
      text_ << ", " << kshare::describe(link_.request) << " out for " << now_ - link_.sent_at
            << " ms";
    }
    if (link_.session_epoch != 0) {
      text_ << ", session epoch " << link_.session_epoch << ", partitions "
            << int64_t{link_.partitions};
    }
    if (link_.lots != 0) {
      text_ << ", ranges " << int64_t{link_.lots} << ", waiting "
            << static_cast<int64_t>(link_.waiting) << ", unsettled " << int64_t{link_.unsettled};
    }
    if (link_.failures != 0) text_ << ", failures " << int64_t{link_.failures};
    if (link_.retry_at != kshare::kNever) {
      text_ << ", next attempt in " << link_.retry_at - now_ << " ms";
    }
    end();
    if (link_.failures > 2) {
      advise("a broker does not answer: is it up, is its advertised address right from here, and a "
             "plain listener?");
    }
    if (link_.busy && now_ - link_.sent_at > 5000) advise("a broker is slow: see the link's line");
  }

  void held() {
    kshare::HeldRecord its;
    bool late = false;
    for (uint32_t i = 0; i < consumer_.held_max(); ++i) {
      if (!consumer_.held(i, its)) continue;
      begin() << "held " << its.topic << " " << its.partition << " offset " << its.offset;
      if (its.lock_lost) {
        text_ << ", lock lost";
      } else {
        text_ << ", delivery " << int32_t{its.delivery_count} << ", lock ends in "
              << its.lock_deadline - now_ << " ms";
      }
      if (its.renewing) text_ << ", being renewed";
      if (its.detached) text_ << ", detached";
      end();
      late = late || its.lock_lost || its.lock_deadline - now_ < 1000;
    }
    if (late) advise("records are held longer than their locks: acknowledge or renew in time");
    if (consumer_.held_count() == consumer_.held_max() && consumer_.held_max() != 0) {
      advise("the application holds all there is room for: acknowledge some");
    }
  }

  void count(const char* name, uint64_t value) {
    text_ << " " << name << " " << static_cast<int64_t>(value);
  }
  void counters() {
    const kshare::Stats& its = consumer_.stats();
    begin() << "counters:";
    count("records", its.records);
    count("redelivered", its.redelivered);
    count("acks_ok", its.acks_ok);
    count("acks_failed", its.acks_failed);
    count("acks_unknown", its.acks_unknown);
    count("expired", its.expired);
    count("reconnects", its.reconnects);
    count("session_resets", its.session_resets);
    count("bytes_received", its.bytes_received);
    count("events_lost", its.events_lost);
    end();
    if (its.acks_failed + its.expired > its.records / 100) {
      advise("many locks end before the work does: renew, take fewer records at once, or raise "
             "share.record.lock.duration.ms");
    }
    if (its.bytes_received > 4 * its.bytes + 1000000) {
      advise("more is received than handed out: is a store slot smaller than the producers' "
             "batches?");
    }
  }

  void last_events() {
    const uint64_t first = events_seen > kEvents ? events_seen - kEvents : 0;
    for (uint64_t n = first; n < events_seen; ++n) {
      char words[kshare::kLineBytes];
      kshare::format(events[n % kEvents], words, sizeof words);
      begin() << "event: " << words;
      end();
    }
  }

  const kshare::ShareConsumer& consumer_;
  kshare::LinkInfo link_{};
  kshare::Instant now_;
  int to_;
  int advices_ = 0;
  char line_[kshare::kLineBytes + 64];
  kshare::TextOut text_{line_, 0};
};

void handle(kshare::ShareConsumer& consumer, const kshare::Record& record) {
  const std::string_view value = record.value.text();
  const bool hold = value.size() >= 4 && std::memcmp(value.data(), "hold", 4) == 0;
  if (!hold) static_cast<void>(consumer.acknowledge(record, kshare::Ack::accept));
}

// Sleeps for the consumer, and for a line on standard input. Signals come in here only.
void wait(kshare::ShareConsumer& consumer, bool& listens, kshare::Instant now) {
  pollfd fds[kLimits.links_max + 1];
  const int sleep_ms = kshare::posix::timeout_ms(consumer, now, 60000);
  const timespec sleep = {sleep_ms / 1000, sleep_ms % 1000 * 1000000L};
  const uint32_t used = kshare::posix::fill(consumer, fds, kLimits.links_max);
  fds[used] = {listens ? STDIN_FILENO : -1, POLLIN, 0};
  sigset_t none;
  ::sigemptyset(&none);
  if (::ppoll(fds, used + 1, &sleep, &none) < 0) return;
  consumer.wake();  // whatever it was: the next poll() looks at all transports
  if (fds[used].revents == 0) return;
  char bytes[256];
  listens = ::read(STDIN_FILENO, bytes, sizeof bytes) > 0;
  if (listens) report_wanted = 1;
}

void run(kshare::ShareConsumer& consumer) {
  kshare::Record record;
  bool listens = true;
  for (auto now = net.now(); consumer.poll(now) && stop_wanted == 0; now = net.now()) {
    note_events(consumer);
    while (consumer.next(record, now)) handle(consumer, record);
    if (report_wanted != 0) {
      report_wanted = 0;
      Report(consumer, now, STDOUT_FILENO).write();
    }
    wait(consumer, listens, now);
  }
  note_events(consumer);
  Report(consumer, net.now(), STDOUT_FILENO).write();  // before close(): it shows how things stood
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) return 1;
  sigset_t ours;
  ::sigemptyset(&ours);
  for (const int number : {SIGINT, SIGTERM, SIGUSR1}) {
    ::sigaddset(&ours, number);
    ::signal(number, number == SIGUSR1 ? on_report : on_stop);
  }
  static_cast<void>(::sigprocmask(SIG_BLOCK, &ours, nullptr));

  kshare::Options options;
  options.bootstrap_servers = argv[1];
  options.group_id = argv[2];
  options.acknowledgement_mode = kshare::AckMode::explicit_mode;
  kshare::ShareConsumer consumer{storage, net};
  if (!consumer.start(options).ok() || !consumer.subscribe({argv[3]}).ok()) return 1;
  run(consumer);
  return kshare::posix::close(consumer, net, 5000).ok() ? 0 : 2;
}
