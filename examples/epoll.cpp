// SPDX-License-Identifier: Apache-2.0
// What:        kshare in an event loop that is not its own: epoll here, libuv or any other alike.
// Flow:        epoll HOST:PORT GROUP TOPIC; the loop also watches standard input: a line, or its
//              end, closes the consumer.
// Memory:      one small table beside the consumer's: what epoll has been told about each link.
// Errors:      exit 0 closed, 1 usage, 2 failed for good.
//
// What a loop owes a consumer: poll() when one of its descriptors is ready (after wake()), and when
// deadline() has come. What to watch may change in every poll(), so it is compared after each.
#include <sys/epoll.h>
#include <unistd.h>

#include "kshare/kshare.hpp"
#include "kshare/net/posix.hpp"

namespace {

constexpr auto& kLimits = kshare::kSmallLimits;
kshare::Storage<kLimits> storage;
kshare::posix::TcpPool<kLimits> net;

constexpr uint64_t kInputKey = UINT64_MAX;  // the loop's own descriptor; the others are indices

struct Watched {
  uint32_t generation = 0;
  uint32_t events = 0;
  bool there = false;
};

class Watcher {
 public:
  explicit Watcher(int epoll) : epoll_(epoll) {}

  // Tells epoll what has changed, and the consumer of bytes that wait where no descriptor tells.
  void update(kshare::ShareConsumer& consumer) {
    for (uint32_t i = 0; i < consumer.interest_count() && i < kRoom; ++i) {
      const kshare::Interest interest = consumer.interest(i);
      if (interest.ready_now) consumer.wake(i);
      tell(i, interest);
    }
  }

 private:
  static constexpr uint32_t kRoom = kLimits.links_max + 4;

  void tell(uint32_t index, const kshare::Interest& interest) {
    Watched& watched = watched_[index];
    // A closed descriptor has left the epoll set by itself. Its number may be in use again, here or
    // for another transport, so nothing must be deleted by number: the generation tells.
    if (interest.fd < 0 || interest.generation != watched.generation) watched.there = false;
    if (interest.fd < 0) return;
    const uint32_t events = (interest.read ? uint32_t{EPOLLIN} : 0) |
                            (interest.write ? uint32_t{EPOLLOUT} : 0);
    if (watched.there && watched.events == events) return;
    epoll_event event = {};
    event.events = events;
    event.data.u64 = index;
    const int how = watched.there ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    if (::epoll_ctl(epoll_, how, interest.fd, &event) == 0) {
      watched = {interest.generation, events, true};
    }
  }

  int epoll_;
  Watched watched_[kRoom];
};

void print(const kshare::Record& record) {
  static_cast<void>(!::write(STDOUT_FILENO, record.value.data, record.value.size));
  static_cast<void>(!::write(STDOUT_FILENO, "\n", 1));
}

// Sleeps; answers whether standard input has something to say.
bool wait(int epoll, kshare::ShareConsumer& consumer, int timeout_ms) {
  epoll_event events[8];
  const int count = ::epoll_wait(epoll, events, 8, timeout_ms);
  bool input = false;
  for (int i = 0; i < count; ++i) {
    if (events[i].data.u64 == kInputKey) input = true;
    else consumer.wake(static_cast<uint32_t>(events[i].data.u64));  // the next poll() looks there
  }
  return input;
}

int run(kshare::ShareConsumer& consumer, int epoll) {
  Watcher watcher(epoll);
  bool closing = false;
  kshare::Record record;
  for (auto now = net.now(); consumer.poll(now); now = net.now()) {
    while (!closing && consumer.next(record, now)) print(record);
    // Records may have been taken since poll(): deadline() knows.
    watcher.update(consumer);
    const int timeout_ms = kshare::posix::timeout_ms(consumer, now);
    if (!wait(epoll, consumer, timeout_ms) || closing) continue;
    closing = true;
    static_cast<void>(::epoll_ctl(epoll, EPOLL_CTL_DEL, STDIN_FILENO, nullptr));
    static_cast<void>(consumer.close(net.now(), 5000));
  }
  return consumer.status().ok() ? 0 : 2;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) return 1;
  const int epoll = ::epoll_create1(EPOLL_CLOEXEC);
  epoll_event input = {};
  input.events = EPOLLIN;
  input.data.u64 = kInputKey;
  if (epoll < 0 || ::epoll_ctl(epoll, EPOLL_CTL_ADD, STDIN_FILENO, &input) != 0) return 1;

  kshare::Options options;
  options.bootstrap_servers = argv[1];
  options.group_id = argv[2];
  kshare::ShareConsumer consumer{storage, net};
  if (!consumer.start(options).ok() || !consumer.subscribe({argv[3]}).ok()) return 1;
  return run(consumer, epoll);
}
