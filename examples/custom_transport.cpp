// SPDX-License-Identifier: Apache-2.0
// What:        kshare over a byte pipe that is not a socket: each connection is a process of its
//              own, spoken to through its standard input and output, as ssh does with ProxyCommand.
// Flow:        custom_transport HOST:PORT GROUP TOPIC COMMAND [ARG...]; runs "COMMAND ARG... HOST
//              PORT" for each connection: nc, socat, "ssh gateway nc". Prints the records' values.
// Memory:      three descriptors and a process a link; the consumer's is static.
// Errors:      exit 0 after SIGINT or SIGTERM, 1 usage, 2 failed for good; events go to standard
//              error. A command that ends is started again, after kshare's back-off.
//
// This is all that a port to another network needs: a Transport, a TransportPool, a clock and a
// wait. net/posix.hpp is not included. Names of hosts are the command's business: "broker.lan:9092"
// is fine here, and may mean something only where the command ends up.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kshare/kshare.hpp"

namespace {

constexpr auto& kLimits = kshare::kSmallLimits;
constexpr int kWordsMax = 32;
constexpr int64_t kSleepMsMax = 60000;  // no deadline is later: a turn in vain costs nothing

char** command = nullptr;  // COMMAND [ARG...], ended by nullptr
volatile sig_atomic_t stop_wanted = 0;

extern "C" void on_signal(int) { stop_wanted = 1; }

int16_t small(int error) { return static_cast<int16_t>(error); }

// One process and the two pipes to it. All-zero is a closed one, so that a static one costs nothing
// in the program's file: descriptors are kept plus one.
class Relay final : public kshare::Transport {
 public:
  // Begins to connect, and must not wait for it: starting a process is as far as it goes.
  kshare::Status open(const kshare::Endpoint& where, kshare::Instant) override {
    // The process before has had its SIGTERM from close(), and the time of a back-off to end.
    if (child_ > 0 && ::waitpid(child_, nullptr, WNOHANG) == 0) {
      static_cast<void>(::kill(child_, SIGKILL));
      return {kshare::Errc::connect_failed, EBUSY};  // kshare comes again after its back-off
    }
    child_ = 0;
    int ends[4] = {-1, -1, -1, -1};  // what the child reads, what we write; what we read, it writes
    const bool piped = ::pipe2(ends, O_CLOEXEC) == 0 && ::pipe2(ends + 2, O_CLOEXEC) == 0;
    int error = piped ? 0 : errno;
    fds_[kTo] = ends[1] + 1;
    fds_[kFrom] = ends[2] + 1;
    if (error == 0 && !watch()) error = errno;
    if (error == 0) error = start(where, ends[0], ends[3]);
    // The child has copies of its own. Only when ours are closed does its end show as an end.
    if (ends[0] >= 0) ::close(ends[0]);
    if (ends[3] >= 0) ::close(ends[3]);
    if (error == 0) return {};
    close();
    return {kshare::Errc::connect_failed, small(error)};
  }

  // Nobody says when the command has connected. Bytes wait in the pipe until then, and a command
  // that cannot connect shows by its end: read() tells.
  kshare::IoResult advance(kshare::Instant) override { return {kshare::Io::done, 0, {}}; }

  kshare::IoResult read(kshare::MutableBytes into) override {
    const ssize_t count = ::read(fd(kFrom), into.data, into.size);
    if (count > 0) return {kshare::Io::done, static_cast<uint32_t>(count), {}};
    if (count == 0) return {kshare::Io::closed, 0, {}};
    return failed();
  }

  kshare::IoResult write(kshare::Bytes from) override {
    const ssize_t count = ::write(fd(kTo), from.data, from.size);
    wait_for_room(count < static_cast<ssize_t>(from.size));
    if (count >= 0) return {kshare::Io::done, static_cast<uint32_t>(count), {}};
    return failed();
  }

  // May be called at any time, also twice. What has not left is dropped.
  void close() override {
    for (int& fd_plus_one : fds_) {
      if (fd_plus_one != 0) ::close(fd_plus_one - 1);
      fd_plus_one = 0;
    }
    waits_for_room_ = false;
    if (child_ > 0) static_cast<void>(::kill(child_, SIGTERM));  // reaped by the next open()
  }

  // Interest has one descriptor, and here are two. An epoll instance is a descriptor too, readable
  // when one of those inside is ready: it stands for both. (A serial line or a pty has one anyway.)
  kshare::Interest interest() const override {
    kshare::Interest its;
    its.fd = fd(kBoth);
    its.read = true;
    its.generation = generation_;  // tells this connection from the next with the same number
    return its;
  }

 private:
  enum Which { kTo, kFrom, kBoth };

  int fd(Which which) const { return fds_[which] - 1; }

  bool watch() {
    ++generation_;
    fds_[kBoth] = ::epoll_create1(EPOLL_CLOEXEC) + 1;
    epoll_event readable = {};
    readable.events = EPOLLIN;
    return fds_[kBoth] != 0 && ::fcntl(fd(kTo), F_SETFL, O_NONBLOCK) == 0 &&
           ::fcntl(fd(kFrom), F_SETFL, O_NONBLOCK) == 0 &&
           ::epoll_ctl(fd(kBoth), EPOLL_CTL_ADD, fd(kFrom), &readable) == 0;
  }

  // Only while bytes wait: a pipe with room is writable all the time, and so is a broken one.
  void wait_for_room(bool wanted) {
    if (wanted == waits_for_room_) return;
    epoll_event writable = {};
    writable.events = EPOLLOUT;
    const int how = wanted ? EPOLL_CTL_ADD : EPOLL_CTL_DEL;
    if (::epoll_ctl(fd(kBoth), how, fd(kTo), &writable) == 0) waits_for_room_ = wanted;
  }

  static kshare::IoResult failed() {
    if (errno == EAGAIN || errno == EINTR) return {};  // pending
    return {kshare::Io::failed, 0, {kshare::Errc::disconnected, small(errno)}};
  }

  // Answers an errno, 0: it runs.
  int start(const kshare::Endpoint& where, int its_input, int its_output) {
    char host[256];  // the view is not ended by a NUL, and gone after open()
    char port[8];
    if (where.host.size() >= sizeof host) return ENAMETOOLONG;
    host[kshare::copy_text(host, sizeof host - 1, where.host)] = '\0';
    kshare::TextOut(port, sizeof port) << int32_t{where.port};
    char* words[kWordsMax + 3];
    int count = 0;
    while (command[count] != nullptr && count < kWordsMax) {
      words[count] = command[count];
      ++count;
    }
    words[count++] = host;
    words[count++] = port;
    words[count] = nullptr;

    posix_spawn_file_actions_t files;
    posix_spawnattr_t how;
    sigset_t none, pipe;
    ::sigemptyset(&none);
    ::sigemptyset(&pipe);
    ::sigaddset(&pipe, SIGPIPE);
    int error = ::posix_spawn_file_actions_init(&files);
    if (error != 0) return error;
    error = ::posix_spawnattr_init(&how);
    if (error == 0) {
      ::posix_spawn_file_actions_adddup2(&files, its_input, STDIN_FILENO);
      ::posix_spawn_file_actions_adddup2(&files, its_output, STDOUT_FILENO);
      // Our signals are not its own. In a process group of its own Ctrl-C does not reach it either,
      // or it would be gone before the consumer has left its group.
      ::posix_spawnattr_setsigmask(&how, &none);
      ::posix_spawnattr_setsigdefault(&how, &pipe);
      ::posix_spawnattr_setflags(
          &how, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
      error = ::posix_spawnp(&child_, words[0], &files, &how, words, environ);
      ::posix_spawnattr_destroy(&how);
    }
    ::posix_spawn_file_actions_destroy(&files);
    if (error != 0) child_ = 0;
    return error;
  }

  int fds_[3] = {};
  pid_t child_ = 0;
  uint32_t generation_ = 0;
  bool waits_for_room_ = false;
};

// As many as the consumer has links; and what every consumer needs of its system.
class RelayPool final : public kshare::TransportPool {
 public:
  constexpr RelayPool() = default;

  uint32_t size() const override { return kLimits.links_max; }
  kshare::Transport& transport(uint32_t index) override { return relays_[index]; }
  bool entropy(kshare::MutableBytes into) override {
    const ssize_t count = ::getrandom(into.data, into.size, GRND_NONBLOCK);
    return count == static_cast<ssize_t>(into.size);  // 256 octets at most come whole, or not
  }

  // Any clock that only goes forward, in milliseconds, also while the device sleeps.
  static kshare::Instant now() {
    timespec time = {};
    static_cast<void>(::clock_gettime(CLOCK_BOOTTIME, &time));
    int64_t ms = time.tv_sec;
    return {ms * 1000 + time.tv_nsec / 1000000};
  }

  // Sleeps until a transport is ready, the consumer's deadline has come or a signal; then says
  // which transports are worth looking at. ppoll lets signals in while it sleeps and at no other
  // time (main() has blocked them): none slips through between the look and the sleep.
  static void wait(kshare::ShareConsumer& consumer) {
    pollfd fds[kLimits.links_max];
    uint32_t whose[kLimits.links_max];
    uint32_t used = 0;
    for (uint32_t i = 0; i < consumer.interest_count(); ++i) {
      const kshare::Interest its = consumer.interest(i);
      if (its.fd < 0 || !its.read) continue;
      fds[used] = {its.fd, POLLIN, 0};  // room to write shows as readable, too: see interest()
      whose[used++] = i;
    }
    const kshare::Instant here = now();
    const kshare::Instant until = kshare::earlier(consumer.deadline(), here + kSleepMsMax);
    const int left_ms = until > here ? static_cast<int>(until - here) : 0;
    const timespec sleep = {left_ms / 1000, left_ms % 1000 * 1000000L};
    sigset_t none;
    ::sigemptyset(&none);
    const int ready = ::ppoll(fds, used, &sleep, &none);
    for (uint32_t i = 0; i < used && ready > 0; ++i) {
      if (fds[i].revents != 0) consumer.wake(whose[i]);
    }
  }

 private:
  Relay relays_[kLimits.links_max];
};

kshare::Storage<kLimits> storage;
RelayPool net;

void print_line(int to, const void* text, size_t size) {
  static_cast<void>(!::write(to, text, size));
  static_cast<void>(!::write(to, "\n", 1));
}

void tell(kshare::ShareConsumer& consumer) {
  kshare::Event event;
  while (consumer.next_event(event)) {
    char line[kshare::kLineBytes];
    print_line(STDERR_FILENO, line, kshare::format(event, line, sizeof line));
  }
}

int run(kshare::ShareConsumer& consumer) {
  kshare::Record record;
  bool closing = false;
  for (auto now = net.now(); consumer.poll(now); now = net.now()) {
    tell(consumer);
    if (stop_wanted != 0 && !closing) {
      closing = true;
      static_cast<void>(consumer.close(now, 5000));
    } else if (!closing && consumer.next(record, now)) {
      print_line(STDOUT_FILENO, record.value.data, record.value.size);
    } else {
      net.wait(consumer);
    }
  }
  tell(consumer);
  return consumer.status().ok() ? 0 : 2;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 5 || argc - 4 > kWordsMax) return 1;
  command = argv + 4;
  ::signal(SIGPIPE, SIG_IGN);  // a pipe without a reader is an error of write(), no reason to die
  sigset_t ours;
  ::sigemptyset(&ours);
  ::sigaddset(&ours, SIGINT);
  ::sigaddset(&ours, SIGTERM);
  static_cast<void>(::sigprocmask(SIG_BLOCK, &ours, nullptr));
  ::signal(SIGINT, on_signal);
  ::signal(SIGTERM, on_signal);

  kshare::Options options;
  options.bootstrap_servers = argv[1];
  options.group_id = argv[2];
  kshare::ShareConsumer consumer{storage, net};
  if (!consumer.start(options).ok() || !consumer.subscribe({argv[3]}).ok()) return 1;
  return run(consumer);
}
